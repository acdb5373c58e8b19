//! The bus of servers that share a Redis, with the channels of the original server:
//! `targeted:<workspace>/<client>:msg` for one client, `broadcast:<workspace>/*:msg` for a
//! workspace. The first byte of a payload is its format: `b` bytes, `d` JSON, `s` text.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, PubSubSink};
use ::redis::{AsyncCommands, Client, Msg, RedisResult};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::window::{Ask, Windows};
use super::{Bus, Notice, Recipient};

/// Pause between two attempts to reach Redis.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Timeout of sending one message to Redis.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Bound on the commands that wait for Redis.
const COMMANDS_MAX: usize = 65_536;
/// Bound on the bytes of broadcasts that wait for Redis.
const BROADCAST_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that a waiting broadcast costs beyond its own.
const BROADCAST_OVERHEAD: usize = 256;
const UNLOAD: &str = "broadcast:unload:";
const BROADCASTS: &str = "broadcast:*";
/// Notices of this server, which the original server does not know and ignores.
const TAKEN: &str = "broadcast:hypha-server:taken";
const REVOKED: &str = "broadcast:hypha-server:revoked";
const LEFT: &str = "broadcast:hypha-server:left";
const LOST: &str = "broadcast:hypha-server:lost";
const ASKED: &str = "broadcast:hypha-server:asked";
const ANSWERED: &str = "broadcast:hypha-server:answered";

pub(crate) struct RedisBus {
    server_id: String,
    connection: ConnectionManager,
    commands: mpsc::Sender<Command>,
    /// Apart from the commands, which a flood of broadcasts must not delay.
    broadcasts: mpsc::UnboundedSender<Broadcast>,
    broadcast_room: Arc<Semaphore>,
    windows: Arc<Windows>,
    up: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

/// A broadcast of a client, with its room.
struct Broadcast {
    channel: String,
    payload: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// A command of the task that owns the subscription. Commands are executed in order.
enum Command {
    Subscribe(String, oneshot::Sender<()>),
    Unsubscribe(String),
    Publish(String, Vec<u8>),
}

/// The receiving half of a bus, before it runs.
pub(crate) struct Receiver {
    client: Client,
    server_id: String,
    connection: ConnectionManager,
    commands: mpsc::Receiver<Command>,
    broadcasts: mpsc::UnboundedReceiver<Broadcast>,
    windows: Arc<Windows>,
    up: Arc<AtomicBool>,
    interrupted: Arc<AtomicBool>,
}

fn channel(address: &str) -> String {
    format!("targeted:{address}:msg")
}

fn marked(mark: u8, data: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(data.len() + 1);
    payload.push(mark);
    payload.extend_from_slice(data);
    payload
}

impl RedisBus {
    pub(crate) fn new(
        client: Client,
        connection: ConnectionManager,
        server_id: &str,
    ) -> (RedisBus, Receiver) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let up = Arc::new(AtomicBool::new(false));
        let windows = Arc::<Windows>::default();
        let (broadcasts, of_clients) = mpsc::unbounded_channel();
        let interrupted = Arc::new(AtomicBool::new(false));
        let bus = RedisBus {
            server_id: server_id.to_owned(),
            connection: connection.clone(),
            commands,
            broadcasts,
            broadcast_room: Arc::new(Semaphore::new(BROADCAST_BYTES)),
            windows: windows.clone(),
            up: up.clone(),
            interrupted: interrupted.clone(),
        };
        let started = Receiver {
            client,
            server_id: server_id.to_owned(),
            connection,
            commands: receiver,
            broadcasts: of_clients,
            windows,
            up,
            interrupted,
        };
        (bus, started)
    }

    /// Returns whether a server is subscribed to messages for this address.
    pub(crate) async fn has_subscriber(&self, address: &str) -> bool {
        let mut connection = self.connection.clone();
        let mut asked = ::redis::cmd("PUBSUB");
        asked.arg("NUMSUB").arg(channel(address));
        let answer: RedisResult<(String, u64)> = asked.query_async(&mut connection).await;
        answer.is_ok_and(|(_, listeners)| listeners > 0)
    }

    /// Sends a message to the servers that are subscribed to an address. Returns their number.
    async fn deliver(&self, address: &str, frame: &Bytes) -> u64 {
        let mut connection = self.connection.clone();
        let payload = marked(b'b', frame);
        let sending = connection.publish::<_, _, u64>(channel(address), payload);
        match tokio::time::timeout(SEND_TIMEOUT, sending).await {
            Ok(Ok(receivers)) => receivers,
            Ok(Err(error)) => {
                tracing::warn!(%error, address, "cannot pass a message on through Redis");
                0
            }
            Err(_) => 0,
        }
    }

    fn publish(&self, channel: String, payload: Vec<u8>) {
        // Callers cannot wait. The queue fills only while Redis is gone, and then no server would
        // receive the broadcast anyway.
        if self
            .commands
            .try_send(Command::Publish(channel, payload))
            .is_err()
        {
            tracing::warn!("dropped a broadcast: too many commands wait for Redis");
        }
    }
}

impl Bus for RedisBus {
    fn send<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool> {
        async move {
            let bytes = frame.len();
            let ask = |Ask(number)| {
                self.announce(Notice::Asked {
                    address: address.to_owned(),
                    number,
                    server: self.server_id.clone(),
                });
            };
            let passage = self.windows.enter(address, bytes, ask).await;
            let receivers = self.deliver(address, &frame).await;
            if let Some(question) = passage.sent(receivers) {
                ask(question);
            }
            receivers > 0
        }
        .boxed()
    }

    fn send_at_once<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool> {
        async move { self.deliver(address, &frame).await > 0 }.boxed()
    }

    fn broadcast<'a>(&'a self, workspace: &'a str, frame: &'a Bytes) -> BoxFuture<'a, bool> {
        async move {
            let bytes = (frame.len() + BROADCAST_OVERHEAD).min(BROADCAST_BYTES);
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let room = self.broadcast_room.clone().acquire_many_owned(bytes);
            match tokio::time::timeout(SEND_TIMEOUT, room).await {
                Ok(Ok(room)) => {
                    // An error says that the server ends.
                    let _ = self.broadcasts.send(Broadcast {
                        channel: format!("broadcast:{workspace}/*:msg"),
                        payload: marked(b'b', frame),
                        _room: room,
                    });
                }
                _ => tracing::warn!(workspace, "dropped a broadcast: Redis does not take it"),
            }
            true
        }
        .boxed()
    }

    fn event(&self, workspace: &str, event: &dyn Fn() -> Option<Vec<u8>>) -> bool {
        if let Some(event) = event() {
            self.publish(format!("broadcast:{workspace}/*:msg"), marked(b'd', &event));
        }
        true
    }

    fn subscribe_address<'a>(&'a self, address: &'a str) -> BoxFuture<'a, ()> {
        async move {
            let (done, heard) = oneshot::channel();
            let listen = async {
                let _ = self
                    .commands
                    .send(Command::Subscribe(address.to_owned(), done))
                    .await;
                heard.await
            };
            // Without Redis the subscription follows when Redis is back.
            let _ = tokio::time::timeout(SEND_TIMEOUT, listen).await;
        }
        .boxed()
    }

    fn unsubscribe_address(&self, address: &str) {
        let command = Command::Unsubscribe(address.to_owned());
        if self.commands.try_send(command).is_err() {
            // Messages that still arrive find no client.
            tracing::debug!(address, "stays subscribed until Redis is back");
        }
    }

    fn announce(&self, notice: Notice) {
        let own = |mut data: serde_json::Value| {
            data["server"] = json!(self.server_id);
            marked(b'd', data.to_string().as_bytes())
        };
        match notice {
            Notice::Taken { address } => {
                // Servers of the original reset the state of the client on this message.
                let payload = marked(b's', address.as_bytes());
                self.publish("broadcast:client-reconnected".into(), payload);
                self.publish(TAKEN.into(), own(json!({"address": address})));
            }
            Notice::Left { address } => {
                self.publish(LEFT.into(), own(json!({"address": address})));
            }
            Notice::Asked {
                address, number, ..
            } => {
                let notice = json!({"address": address, "number": number});
                self.publish(ASKED.into(), own(notice));
            }
            Notice::Answered {
                address,
                number,
                server,
                held,
            } => {
                let notice =
                    json!({"address": address, "number": number, "to": server, "held": held});
                self.publish(ANSWERED.into(), own(notice));
            }
            Notice::Unloaded { workspace } => {
                let channel = format!("{UNLOAD}{workspace}");
                self.publish(channel, marked(b's', self.server_id.as_bytes()));
            }
            Notice::ServerLost { server } => {
                self.publish(LOST.into(), own(json!({"lost": server})));
            }
            Notice::Revoked { token, end } => {
                self.publish(REVOKED.into(), own(json!({"token": token, "end": end})));
            }
        }
    }

    fn has_others(&self) -> bool {
        true
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    fn was_interrupted(&self) -> bool {
        self.interrupted.swap(false, Ordering::AcqRel)
    }
}

impl Receiver {
    /// Exchanges messages with other servers until the recipient is gone.
    pub(crate) async fn run(mut self, recipient: Weak<dyn Recipient>) {
        let mut addresses = HashSet::new();
        while recipient.strong_count() > 0 {
            let ended = self.session(&recipient, &mut addresses).await;
            self.up.store(false, Ordering::Relaxed);
            if let Err(error) = ended {
                tracing::warn!(%error, "the connection to Redis is lost");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Serves one connection to Redis until it is lost.
    async fn session(
        &mut self,
        recipient: &Weak<dyn Recipient>,
        addresses: &mut HashSet<String>,
    ) -> RedisResult<()> {
        let (mut sink, mut messages) = self.client.get_async_pubsub().await?.split();
        sink.psubscribe(BROADCASTS).await?;
        for address in addresses.iter() {
            sink.subscribe(channel(address)).await?;
        }
        self.interrupted.store(true, Ordering::Release);
        self.up.store(true, Ordering::Relaxed);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => {
                        let Some(recipient) = recipient.upgrade() else { return Ok(()) };
                        self.receive(&*recipient, &message);
                    }
                    None => return Err((::redis::ErrorKind::Io, "the subscription ended").into()),
                },
                Some(broadcast) = self.broadcasts.recv() => {
                    self.connection
                        .publish::<_, _, ()>(&broadcast.channel, &broadcast.payload)
                        .await?;
                }
                command = self.commands.recv() => match command {
                    Some(command) => self.perform(command, recipient, &mut sink, addresses).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn perform(
        &mut self,
        command: Command,
        recipient: &Weak<dyn Recipient>,
        sink: &mut PubSubSink,
        addresses: &mut HashSet<String>,
    ) -> RedisResult<()> {
        match command {
            Command::Subscribe(address, done) => {
                // Remembered before the await, so that it is subscribed again after a loss.
                let subscribed = sink.subscribe(channel(&address));
                addresses.insert(address.clone());
                subscribed.await?;
                let _ = done.send(());
            }
            Command::Unsubscribe(address) => {
                let recipient = recipient.upgrade();
                let connected = recipient.is_some_and(|recipient| recipient.is_connected(&address));
                if !connected {
                    addresses.remove(&address);
                    sink.unsubscribe(channel(&address)).await?;
                }
            }
            Command::Publish(channel, payload) => {
                self.connection
                    .publish::<_, _, ()>(channel, payload)
                    .await?;
            }
        }
        Ok(())
    }

    fn receive(&self, recipient: &dyn Recipient, message: &Msg) {
        let channel = message.get_channel_name();
        let payload = message.get_payload_bytes();
        let Some((mark, data)) = payload.split_first() else {
            return;
        };
        if let Some(address) = channel
            .strip_prefix("targeted:")
            .and_then(|rest| rest.strip_suffix(":msg"))
        {
            recipient.message(address, Bytes::copy_from_slice(data));
        } else if [TAKEN, LEFT, REVOKED, LOST, ASKED, ANSWERED].contains(&channel) {
            match self.notice_of_another(channel, data) {
                Some(Notice::Answered {
                    address,
                    number,
                    server,
                    held,
                }) if server == self.server_id => {
                    self.windows.answered(&address, number, held);
                }
                Some(Notice::Answered { .. }) => {}
                Some(notice) => recipient.notice(notice),
                None => {}
            }
        } else if let Some(workspace) = channel.strip_prefix(UNLOAD) {
            // The server that announces it has closed its own connections in its own way.
            if data != self.server_id.as_bytes() {
                let workspace = workspace.to_owned();
                recipient.notice(Notice::Unloaded { workspace });
            }
        } else if let Some(workspace) = channel
            .strip_prefix("broadcast:")
            .and_then(|rest| rest.strip_suffix("/*:msg"))
        {
            match mark {
                b'b' => recipient.broadcast(workspace, Bytes::copy_from_slice(data)),
                b'd' => {
                    if let Ok(event) = serde_json::from_slice(data) {
                        recipient.event(workspace, event);
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads a notice in JSON. `None` for those of this server itself.
    fn notice_of_another(&self, channel: &str, data: &[u8]) -> Option<Notice> {
        let notice = serde_json::from_slice::<serde_json::Value>(data).ok()?;
        if notice["server"] == self.server_id.as_str() {
            return None;
        }
        if channel == REVOKED {
            return Some(Notice::Revoked {
                token: notice["token"].as_str()?.to_owned(),
                end: notice["end"].as_u64()?,
            });
        }
        if channel == LOST {
            return Some(Notice::ServerLost {
                server: notice["lost"].as_str()?.to_owned(),
            });
        }
        let address = notice["address"].as_str()?.to_owned();
        Some(match channel {
            LEFT => Notice::Left { address },
            ASKED => Notice::Asked {
                address,
                number: notice["number"].as_u64()?,
                server: notice["server"].as_str()?.to_owned(),
            },
            ANSWERED => Notice::Answered {
                address,
                number: notice["number"].as_u64()?,
                server: notice["to"].as_str()?.to_owned(),
                held: notice["held"].as_bool()?,
            },
            _ => Notice::Taken { address },
        })
    }
}
