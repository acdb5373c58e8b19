//! Defines a minimal client that makes and receives calls.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hypha_wire::{Message, random_id};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::wire::{self, BINARY, Frame, Reader, TEXT, TIMEOUT, Writer};

/// Maximum size of a chunk, in bytes.
const CHUNK: usize = 480 * 1024;
/// Number of bytes to keep of the first chunk. They contain at least the first segment of the
/// message.
const HEAD: usize = 4096;

/// Time to wait until the receiver has probably handled a call. Without this pause, a later call
/// could overtake an earlier call, because the receiver handles calls concurrently.
const SETTLE_TIME: Duration = Duration::from_millis(200);

/// Id of the public service that every peer registers.
const SERVICE: &str = "desk";
/// Names of the functions of the service.
const FUNCTIONS: [&str; 4] = ["swallow", "wait", "nils", "default"];

/// Defines the response of a function of this peer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Respond with this value, which is encoded as msgpack.
    Value(Bytes),
    /// Do not respond.
    Never,
}

/// A connected client.
#[derive(Debug)]
pub struct Peer {
    reader: Reader,
    /// Sending half of the connection. It is public, so that attacks can send invalid frames.
    pub writer: Writer,
    /// Address, `workspace/client`.
    pub address: String,
    /// Address of the manager.
    pub manager: String,
    /// Responses of the functions of this peer, by function name. A function without an entry
    /// returns null.
    pub replies: HashMap<&'static str, Reply>,
    heads: HashMap<String, Bytes>,
}

/// A received event.
#[derive(Debug)]
pub enum Event {
    /// A call by this peer has ended. Contains the session of the call, and the result or error.
    Answer(String, Result<Value, String>),
    /// Another message, which this peer has already handled.
    Other,
    /// The connection has ended. Contains the reason.
    Closed(String),
}

impl Peer {
    /// Connects as an anonymous client.
    pub async fn enter(from: Ipv4Addr, server: SocketAddr) -> Result<Peer> {
        let (mut reader, mut writer) = wire::open(from, server).await?;
        let hello = json!({ "client_id": random_id() }).to_string();
        writer.frame(TEXT, hello.as_bytes()).await?;
        match timeout(TIMEOUT, reader.next())
            .await
            .context("no greeting")?
        {
            Frame::Text(text) => {
                let info: Value = serde_json::from_str(&text)?;
                let text = |key: &str| info[key].as_str().map(str::to_owned);
                let (Some(workspace), Some(client)) = (text("workspace"), text("client_id")) else {
                    bail!("refused: {}", text("message").unwrap_or_default());
                };
                Ok(Peer {
                    reader,
                    writer,
                    address: format!("{workspace}/{client}"),
                    manager: format!("*/{}", text("manager_id").unwrap_or_default()),
                    replies: HashMap::new(),
                    heads: HashMap::new(),
                })
            }
            Frame::Closed(code, reason) => bail!("closed {code} {reason}"),
            other => bail!("no greeting: {other:?}"),
        }
    }

    /// Splits the client into the receiving and the sending half of its connection.
    #[must_use]
    pub fn into_halves(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    /// Sends an RPC message.
    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.writer.frame(BINARY, message).await?)
    }

    /// Calls a function and waits for the response.
    pub async fn call(&mut self, to: &str, method: &str, args: &[&[u8]]) -> Result<Value> {
        let session = random_id();
        self.send(&wire::message(to, method, Some(&session), args))
            .await?;
        self.answer(&session).await
    }

    /// Waits for the response to a call.
    pub async fn answer(&mut self, session: &str) -> Result<Value> {
        let waiting = async {
            loop {
                match self.next().await? {
                    Event::Answer(of, result) if of == session => {
                        return result.map_err(anyhow::Error::msg);
                    }
                    Event::Closed(why) => bail!("{why}"),
                    _ => {}
                }
            }
        };
        timeout(TIMEOUT, waiting).await.context("no answer")?
    }

    /// Calls a method of the manager.
    pub async fn ask(&mut self, method: &str, args: &[&[u8]]) -> Result<Value> {
        let manager = self.manager.clone();
        self.call(&manager, &format!("services.default.{method}"), args)
            .await
    }

    /// Registers the built-in service and a public service. The public service has the type `kind`.
    /// Returns the URL path of the public service.
    pub async fn offer(&mut self, kind: &str) -> Result<String> {
        for (name, kind) in [("built-in", "built-in"), (SERVICE, kind)] {
            let id = format!("{}:{name}", self.address);
            let config = json!({ "visibility": "public" });
            let service = json!({ "id": id, "name": name, "type": kind, "config": config });
            self.ask("register_service", &[&wire::pack(&service)])
                .await?;
        }
        let (workspace, client) = self.address.split_once('/').unwrap_or_default();
        let place = if kind == "generic" {
            "services"
        } else {
            "apps"
        };
        Ok(format!("/{workspace}/{place}/{client}:{SERVICE}"))
    }

    /// Returns the next event. If the event is a call, first responds to the call.
    pub async fn next(&mut self) -> Result<Event> {
        match self.reader.next().await {
            Frame::Closed(code, reason) => {
                let reason: String = reason.chars().take(60).collect();
                Ok(Event::Closed(format!("closed {code} {reason}")))
            }
            Frame::Binary(bytes) => {
                let message = Message::parse(bytes)?;
                self.handle(&message).await
            }
            Frame::Text(_) | Frame::Control => Ok(Event::Other),
        }
    }

    /// Responds to calls until the connection ends. Returns the reason of the end.
    pub async fn serve(mut self) -> Result<String> {
        loop {
            if let Event::Closed(why) = self.next().await? {
                return Ok(why);
            }
        }
    }

    async fn handle(&mut self, message: &Message) -> Result<Event> {
        let method = message.method().unwrap_or_default();
        if let Some((session, end)) = method.rsplit_once('.')
            && !method.starts_with("services.")
        {
            let result = message.extra()?.args.get::<Value>(0).transpose();
            // A result that contains binary data is not JSON, but no attack uses such a result.
            let result = result.ok().flatten().unwrap_or_default();
            return Ok(match end {
                "resolve" => Event::Answer(session.to_owned(), Ok(result)),
                "reject" => {
                    let text = result["_rvalue"].as_str().unwrap_or("?");
                    Event::Answer(session.to_owned(), Err(text.to_owned()))
                }
                _ => Event::Other,
            });
        }
        let (Some(from), Some(session)) = (message.from(), message.session()) else {
            return Ok(Event::Other);
        };
        let null = Reply::Value(Bytes::from_static(&[0xc0]));
        let reply = match method.strip_prefix("services.built-in.") {
            Some("get_service") => {
                let id: String = message.extra()?.args.get(0).context("no id")??;
                Reply::Value(wire::pack(&self.describe(&id)).into())
            }
            Some("message_cache.set") => {
                let args = message.extra()?.args;
                let key: String = args.get(0).context("no key")??;
                if args.get::<u64>(1).context("no index")?? == 0 {
                    let data = wire::unpacked(&args.raw(2).context("no data")?);
                    let head = Bytes::copy_from_slice(&data[..data.len().min(HEAD)]);
                    self.heads.insert(key, head);
                }
                null
            }
            Some("message_cache.process") => {
                let key: String = message.extra()?.args.get(0).context("no key")??;
                self.reply(from, session, &null).await?;
                let Some(head) = self.heads.remove(&key) else {
                    return Ok(Event::Other);
                };
                return self.assembled(from, &head).await;
            }
            Some(_) => null,
            None => self.result(method),
        };
        self.reply(from, session, &reply).await?;
        Ok(Event::Other)
    }

    /// Handles a message that arrived in chunks. Only the start of the message was kept.
    async fn assembled(&mut self, from: &str, head: &Bytes) -> Result<Event> {
        let message = Message::parse(head.clone())?;
        let method = message.method().unwrap_or_default();
        if let Some(session) = method.strip_suffix(".resolve") {
            return Ok(Event::Answer(session.to_owned(), Ok(Value::Null)));
        }
        if let Some(session) = message.session() {
            let reply = self.result(method);
            self.reply(from, session, &reply).await?;
        }
        Ok(Event::Other)
    }

    fn result(&self, method: &str) -> Reply {
        let name = method.rsplit('.').next().unwrap_or_default();
        let reply = self.replies.get(name).cloned();
        reply.unwrap_or(Reply::Value(Bytes::from_static(&[0xc0])))
    }

    async fn reply(&mut self, to: &str, session: &str, reply: &Reply) -> Result<()> {
        let Reply::Value(value) = reply else {
            return Ok(());
        };
        let answer = wire::resolution(to, session, value);
        if answer.len() <= CHUNK {
            return self.send(&answer).await;
        }
        // Chunks are not acknowledged one by one. A receiver that rejects one chunk rejects all
        // chunks.
        self.send_chunks(to, &answer).await
    }

    /// Sends a message in chunks. The receiver handles calls concurrently. To preserve the order of
    /// the chunks, this method waits for a fixed time instead of an acknowledgement.
    pub async fn send_chunks(&mut self, to: &str, message: &[u8]) -> Result<()> {
        let key = wire::pack(&random_id().into());
        let path = |name: &str| format!("services.built-in.message_cache.{name}");
        self.send(&wire::message(to, &path("create"), None, &[&key]))
            .await?;
        sleep(SETTLE_TIME).await;
        for (index, part) in message.chunks(CHUNK).enumerate() {
            let mut data = vec![0xc6];
            data.extend((part.len() as u32).to_be_bytes());
            data.extend_from_slice(part);
            let index = wire::pack(&index.into());
            let args: [&[u8]; 3] = [&key, &index, &data];
            self.send(&wire::message(to, &path("set"), None, &args))
                .await?;
        }
        sleep(SETTLE_TIME).await;
        self.send(&wire::message(to, &path("process"), None, &[&key]))
            .await
    }

    /// Returns the description of the service `id` of this peer.
    fn describe(&self, id: &str) -> Value {
        let function = |path: String| {
            json!({
                "_rtype": "method", "_rtarget": self.address, "_rmethod": path,
                "_rpromise": true, "_rname": "f",
            })
        };
        let name = id.rsplit(['/', ':']).next().unwrap_or_default();
        let name = name.split('@').next().unwrap_or_default();
        let workspace = self.address.split('/').next();
        let mut service = json!({
            "id": format!("{}:{name}", self.address), "name": name, "type": "generic",
            "config": {
                "visibility": "public", "workspace": workspace, "api_version": 3,
                "max_frame_size": 8 << 20,
            },
        });
        if name == "built-in" {
            let methods = ["create", "append", "set", "remove", "process"];
            service["message_cache"] = methods
                .map(|name| {
                    let path = format!("services.built-in.message_cache.{name}");
                    (name.to_owned(), function(path))
                })
                .into_iter()
                .collect::<serde_json::Map<_, _>>()
                .into();
            service["type"] = "built-in".into();
        } else {
            for name in FUNCTIONS {
                service[name] = function(format!("services.{SERVICE}.{name}"));
            }
            if self.replies.contains_key("default") {
                service["type"] = "functions".into();
            }
        }
        service
    }
}
