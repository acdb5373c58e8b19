//! Provides a client that does not use the client library. It sends JSON and manually built
//! messages over a WebSocket.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "every test program uses its own part of this"
)]

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use hypha_rpc::Value;
use hypha_server::{Limits, Server};
use hypha_wire as wire;
use hypha_wire::Message;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Timeout of all operations of this module.
const LIMIT: Duration = Duration::from_secs(20);

/// Starts a server on a free port.
pub async fn server() -> Result<Server> {
    server_with(|_| ()).await
}

/// Starts a server with changed limits.
pub async fn server_with(change: impl FnOnce(&mut Limits)) -> Result<Server> {
    let mut limits = Limits::default();
    change(&mut limits);
    Ok(Server::builder()
        .bind("127.0.0.1:0")
        .limits(limits)
        .start()
        .await?)
}

/// Returns a plain HTTP client.
pub fn http() -> reqwest::Client {
    http_reader(|client| client)
}

/// Returns a plain HTTP client that decompresses responses.
pub fn http_reader(
    codings: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> reqwest::Client {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("no TLS")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
    let client = client.no_gzip().no_brotli().no_zstd();
    codings(client).build().expect("no client")
}

/// The end of a connection, as the server announced it.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// The text of the preceding error frame.
    pub error: Option<String>,
    pub code: u16,
    pub reason: String,
}

pub struct Raw {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub info: serde_json::Value,
}

impl Raw {
    /// Upgrades to a WebSocket, and sends nothing.
    pub async fn open(server: &Server, query: &str) -> Result<Raw> {
        let url = format!("{}/ws{query}", server.url().replacen("http", "ws", 1));
        let config = WebSocketConfig::default()
            .max_frame_size(None)
            .max_message_size(None);
        let connecting = tokio_tungstenite::connect_async_with_config(url, Some(config), true);
        let (socket, _) = timeout(LIMIT, connecting).await??;
        Ok(Raw {
            socket,
            info: serde_json::Value::Null,
        })
    }

    /// Upgrades to a WebSocket, and sends the first frame.
    pub async fn hello(server: &Server, hello: serde_json::Value) -> Result<Raw> {
        let mut raw = Raw::open(server, "").await?;
        raw.text(&hello.to_string()).await?;
        Ok(raw)
    }

    /// Connects a client with this first frame.
    pub async fn connect(server: &Server, hello: serde_json::Value) -> Result<Raw> {
        let mut raw = Raw::hello(server, hello).await?;
        match raw.next().await? {
            Frame::Text(text) => raw.info = serde_json::from_str(&text)?,
            other => bail!("{other:?} instead of connection_info"),
        }
        if raw.info["type"] != "connection_info" {
            bail!("{}", raw.info);
        }
        Ok(raw)
    }

    /// Connects a client without credentials.
    pub async fn anonymous(server: &Server, client_id: &str) -> Result<Raw> {
        Raw::connect(server, json!({"client_id": client_id})).await
    }

    /// Connects another client to the workspace of `self`, with a token that `self` generates.
    pub async fn colleague(
        &mut self,
        server: &Server,
        client_id: &str,
        permission: &str,
    ) -> Result<Raw> {
        let config = json!({"permission": permission});
        let token = self.ask("generate_token", json!([config])).await?;
        let token = token.as_str().context("no token")?;
        Raw::connect(server, json!({"client_id": client_id, "token": token})).await
    }

    pub fn field(&self, name: &str) -> &str {
        self.info[name].as_str().unwrap_or_default()
    }

    pub fn workspace(&self) -> &str {
        self.field("workspace")
    }

    pub fn address(&self) -> String {
        format!("{}/{}", self.workspace(), self.field("client_id"))
    }

    pub fn manager(&self) -> String {
        format!("*/{}", self.field("manager_id"))
    }

    pub async fn text(&mut self, text: &str) -> Result<()> {
        Ok(self.socket.send(Frame::text(text)).await?)
    }

    pub async fn binary(&mut self, bytes: Vec<u8>) -> Result<()> {
        Ok(self.socket.send(Frame::binary(bytes)).await?)
    }

    /// Writes raw bytes, which need not be a complete frame.
    pub async fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        use tokio::io::AsyncWriteExt;
        Ok(self.socket.get_mut().write_all(bytes).await?)
    }

    pub async fn ping(&mut self) -> Result<()> {
        Ok(self.socket.send(Frame::Ping(vec![0; 8].into())).await?)
    }

    /// Sends a message that consists of a first segment and an optional second segment.
    pub async fn send(
        &mut self,
        main: serde_json::Value,
        extra: Option<serde_json::Value>,
    ) -> Result<()> {
        let mut frame = wire::to_vec(&main)?;
        if let Some(extra) = extra {
            wire::encode(&mut frame, &extra)?;
        }
        self.binary(frame).await
    }

    /// Returns the next frame that is neither a ping nor a pong.
    pub async fn next(&mut self) -> Result<Frame> {
        loop {
            let frame = timeout(LIMIT, self.socket.next())
                .await
                .context("nothing came")?;
            match frame.context("the stream has ended")?? {
                Frame::Ping(_) | Frame::Pong(_) => {}
                frame => return Ok(frame),
            }
        }
    }

    /// Returns the next message.
    pub async fn message(&mut self) -> Result<Message> {
        match self.next().await? {
            Frame::Binary(bytes) => Ok(Message::parse(bytes)?),
            other => bail!("{other:?} instead of a message"),
        }
    }

    /// Returns the next message that is not an event.
    pub async fn answer(&mut self) -> Result<Message> {
        loop {
            let message = self.message().await?;
            if message.method().is_some() {
                return Ok(message);
            }
        }
    }

    pub async fn control(&mut self) -> Result<serde_json::Value> {
        match self.next().await? {
            Frame::Text(text) => Ok(serde_json::from_str(&text)?),
            other => bail!("{other:?} instead of a text"),
        }
    }

    /// Sends a ping, and returns whether the next frame is the pong. If so, no other frame is in
    /// transit, and the server has processed all earlier messages of this client.
    pub async fn is_quiet(&mut self) -> bool {
        if self.text(r#"{"type":"ping"}"#).await.is_err() {
            return false;
        }
        match self.control().await {
            Ok(answer) => answer["type"] == "pong",
            Err(_) => false,
        }
    }

    /// Calls the manager and waits for the response. Fails with the text of an error.
    pub async fn ask(&mut self, method: &str, args: serde_json::Value) -> Result<Value> {
        let session = wire::random_id();
        let main = json!({
            "type": "method", "from": "me", "to": self.manager(),
            "method": format!("services.default.{method}"), "session": session,
        });
        self.send(main, Some(json!({"args": args, "promise": "*", "t": 10.0})))
            .await?;
        loop {
            let message = self.message().await?;
            let Some(rest) = message
                .method()
                .and_then(|path| path.strip_prefix(&session))
            else {
                continue;
            };
            if rest == ".heartbeat" {
                continue;
            }
            let answer = message
                .extra()?
                .args
                .get::<Value>(0)
                .context("no answer")??;
            if rest == ".resolve" {
                return Ok(answer);
            }
            bail!(
                "{}",
                answer.get("_rvalue").and_then(Value::as_str).unwrap_or("?")
            );
        }
    }

    /// Registers a service of this client.
    pub async fn register(&mut self, name: &str, config: serde_json::Value) -> Result<()> {
        let id = format!("{}:{name}", self.address());
        let kind = if name == "built-in" {
            "built-in"
        } else {
            "generic"
        };
        let service = json!({"id": id, "type": kind, "config": config});
        self.ask("register_service", json!([service]))
            .await
            .map(drop)
    }

    /// Waits for the end of the connection.
    pub async fn end(&mut self) -> Result<End> {
        let mut error = None;
        loop {
            match self.next().await? {
                Frame::Text(text) => {
                    let frame: serde_json::Value = serde_json::from_str(&text)?;
                    if frame["type"] == "error" {
                        error = frame["message"].as_str().map(str::to_owned);
                    }
                }
                Frame::Close(Some(close)) => {
                    let reason = close.reason.to_string();
                    return Ok(End {
                        error,
                        code: close.code.into(),
                        reason,
                    });
                }
                Frame::Close(None) => bail!("a close frame without a code"),
                _ => {}
            }
        }
    }

    /// Closes the connection, and waits until the server has closed it too.
    pub async fn close(mut self) -> Result<()> {
        // The result is ignored, because an error means that the server has closed the connection
        // first.
        let _ = self.socket.close(None).await;
        while let Some(Ok(_)) = timeout(LIMIT, self.socket.next()).await? {}
        Ok(())
    }
}

/// Returns the error with which a refused handshake ends.
pub async fn refused(server: &Server, hello: serde_json::Value) -> Result<End> {
    Raw::hello(server, hello).await?.end().await
}
