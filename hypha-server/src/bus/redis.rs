//! Connects the servers of a cluster through Redis.
//!
//! The bus uses the same channels as the Python server, so that Rust and Python servers can share a
//! Redis. `targeted:<workspace>/<client>:msg` is the channel of one client.
//! `broadcast:<workspace>/*:msg` is the channel of a workspace. The first byte of a payload is its
//! format: `b` for bytes, `d` for JSON, `s` for text.
//!
//! [`RedisBus`] is the sending half of the bus. [`Receiver::run`] is the receiving half, a single
//! task that owns the subscription. This task executes the commands of the sending half in order,
//! and passes messages and notices of other servers to the recipient.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, PubSubSink};
use ::redis::{AsyncCommands, Client, Msg, RedisResult};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::window::{ProbeNumber, Windows};
use super::{Bus, Notice, Recipient};
use crate::metrics::Counters;

/// Pause between two attempts to connect to Redis.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Maximum time that Redis may take to accept a message, a broadcast or a subscription.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of commands that wait for Redis.
const COMMANDS_MAX: usize = 65_536;
/// Maximum size of the broadcasts that wait for Redis, in bytes.
const BROADCAST_BYTES: usize = 4 * 1024 * 1024;
/// Memory that a waiting broadcast needs in addition to its length, in bytes.
const BROADCAST_OVERHEAD: usize = 256;
/// Prefix of the channel on which a server announces a deleted workspace. The Python server uses
/// the same prefix.
const UNLOAD: &str = "broadcast:unload:";
/// Pattern that matches all channels except those of single clients.
const BROADCASTS: &str = "broadcast:*";
// Channels for notices between servers of this implementation. The Python server ignores these
// channels.
const TAKEN: &str = "broadcast:hypha-server:taken";
const REVOKED: &str = "broadcast:hypha-server:revoked";
const LEFT: &str = "broadcast:hypha-server:left";
const LOST: &str = "broadcast:hypha-server:lost";
const PROBE: &str = "broadcast:hypha-server:asked";
const PROBE_REPLY: &str = "broadcast:hypha-server:answered";

/// The sending half of the bus.
pub(crate) struct RedisBus {
    server_id: String,
    /// Connection that publishes messages for single clients. Clones of this value share one
    /// connection.
    connection: ConnectionManager,
    commands: mpsc::Sender<Command>,
    /// The queue of broadcasts. It is separate from the queue of commands, because many broadcasts
    /// must not delay the commands. `broadcast_room` limits the size of this queue.
    broadcasts: mpsc::UnboundedSender<Broadcast>,
    /// One permit for each byte that the waiting broadcasts may occupy.
    broadcast_room: Arc<Semaphore>,
    windows: Arc<Windows>,
    /// Whether the subscription is active. Accesses use `Relaxed`, because no other data depends on
    /// this value.
    up: Arc<AtomicBool>,
    /// Failures of the connection since the subscription was last active. Accesses use `Relaxed`,
    /// as for `up`.
    failures: Arc<AtomicU64>,
    /// Whether the subscription was interrupted and created again, so that this server may have
    /// missed notices.
    interrupted: Arc<AtomicBool>,
}

/// A broadcast of a client. The permits are released when Redis has received the broadcast.
struct Broadcast {
    channel: String,
    payload: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// A command for the task that owns the subscription. The task executes commands in order. If a
/// client disconnects and reconnects, its address therefore remains subscribed.
enum Command {
    /// Subscribes to an address. Signals the sender when the subscription is active.
    Subscribe(String, oneshot::Sender<()>),
    /// Unsubscribes from an address, unless the client with this address is connected.
    Unsubscribe(String),
    /// Publishes a payload on a channel.
    Publish(String, Vec<u8>),
}

/// The receiving half of the bus. [`run`](Self::run) starts it.
pub(crate) struct Receiver {
    client: Client,
    server_id: String,
    connection: ConnectionManager,
    commands: mpsc::Receiver<Command>,
    broadcasts: mpsc::UnboundedReceiver<Broadcast>,
    windows: Arc<Windows>,
    counters: Arc<Counters>,
    up: Arc<AtomicBool>,
    failures: Arc<AtomicU64>,
    interrupted: Arc<AtomicBool>,
}

/// Counts one connection of the [`Receiver`] and its subscriptions in the metrics. When this value
/// is dropped, the connection and its subscriptions no longer count as open.
struct Connected {
    counters: Arc<Counters>,
    subscriptions: u64,
}

impl Connected {
    fn new(counters: Arc<Counters>) -> Connected {
        counters.redis_connections.add();
        counters.redis_connections_open.add();
        Connected {
            counters,
            subscriptions: 0,
        }
    }

    fn subscribed(&mut self) {
        self.subscriptions += 1;
        self.counters.redis_subscriptions.add();
        self.counters.redis_subscriptions_open.add();
    }

    fn unsubscribed(&mut self) {
        if self.subscriptions > 0 {
            self.subscriptions -= 1;
            self.counters.redis_subscriptions_open.sub();
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.counters.redis_connections_open.sub();
        let subscriptions = &self.counters.redis_subscriptions_open;
        (0..self.subscriptions).for_each(|_| subscriptions.sub());
    }
}

/// Returns the name of the channel for messages to a client.
fn channel(address: &str) -> String {
    format!("targeted:{address}:msg")
}

/// Returns a payload. The first byte is the format `mark`, and `data` follows.
fn marked(mark: u8, data: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(data.len() + 1);
    payload.push(mark);
    payload.extend_from_slice(data);
    payload
}

impl RedisBus {
    /// Creates both halves of the bus. Until the receiving half runs, the bus can send only
    /// messages to single clients, and receives no messages.
    pub(crate) fn new(
        client: Client,
        connection: ConnectionManager,
        server_id: &str,
        counters: Arc<Counters>,
    ) -> (RedisBus, Receiver) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let up = Arc::new(AtomicBool::new(false));
        let failures = Arc::<AtomicU64>::default();
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
            failures: failures.clone(),
            interrupted: interrupted.clone(),
        };
        let started = Receiver {
            client,
            server_id: server_id.to_owned(),
            connection,
            commands: receiver,
            broadcasts: of_clients,
            windows,
            counters,
            up,
            failures,
            interrupted,
        };
        (bus, started)
    }

    /// Returns whether any server is subscribed to messages for the client `address`. Returns false
    /// if Redis does not respond.
    pub(crate) async fn has_subscriber(&self, address: &str) -> bool {
        let mut connection = self.connection.clone();
        let mut command = ::redis::cmd("PUBSUB");
        command.arg("NUMSUB").arg(channel(address));
        let response: RedisResult<(String, u64)> = command.query_async(&mut connection).await;
        response.is_ok_and(|(_, listeners)| listeners > 0)
    }

    /// Sends a message to the servers that are subscribed to the client `address`. Returns the
    /// number of these servers. Returns 0 if Redis does not accept the message.
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
            // After a timeout, treat the client as not connected. Otherwise, the caller would wait
            // for the timeout of its call.
            Err(_) => 0,
        }
    }

    /// Queues a payload for a channel. Drops the payload if too many commands wait.
    fn publish(&self, channel: String, payload: Vec<u8>) {
        // Drop the payload, because callers cannot wait. The queue becomes full only while Redis is
        // unreachable, and then no other server would receive the payload anyway.
        if self
            .commands
            .try_send(Command::Publish(channel, payload))
            .is_err()
        {
            tracing::warn!("dropped an event or notice: too many commands wait for Redis");
        }
    }
}

impl Bus for RedisBus {
    fn send<'a>(&'a self, address: &'a str, frame: Bytes) -> BoxFuture<'a, bool> {
        async move {
            let bytes = frame.len();
            let send_probe = |ProbeNumber(number)| {
                self.announce(Notice::Probe {
                    address: address.to_owned(),
                    number,
                    server: self.server_id.clone(),
                });
            };
            let passage = self.windows.enter(address, bytes, send_probe).await;
            let receivers = self.deliver(address, &frame).await;
            if let Some(probe) = passage.sent(receivers) {
                send_probe(probe);
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
            // A broadcast larger than the limit takes all permits. Otherwise, it would wait
            // forever.
            let bytes = (frame.len() + BROADCAST_OVERHEAD).min(BROADCAST_BYTES);
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let room = self.broadcast_room.clone().acquire_many_owned(bytes);
            match tokio::time::timeout(SEND_TIMEOUT, room).await {
                Ok(Ok(room)) => {
                    // `send` fails only if the receiving half has ended, because the server is
                    // stopping.
                    let _ = self.broadcasts.send(Broadcast {
                        channel: format!("broadcast:{workspace}/*:msg"),
                        payload: marked(b'b', frame),
                        _room: room,
                    });
                }
                _ => tracing::warn!(
                    workspace,
                    "dropped a broadcast: too many broadcasts wait for Redis"
                ),
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
                // If the command cannot be sent, `done` is dropped. Then awaiting `heard` returns
                // an error.
                let _ = self
                    .commands
                    .send(Command::Subscribe(address.to_owned(), done))
                    .await;
                heard.await
            };
            // Ignore a timeout, because the command remains in the queue. The subscription becomes
            // active when Redis is reachable again.
            let _ = tokio::time::timeout(SEND_TIMEOUT, listen).await;
        }
        .boxed()
    }

    fn unsubscribe_address(&self, address: &str) {
        let command = Command::Unsubscribe(address.to_owned());
        if self.commands.try_send(command).is_err() {
            // Remaining subscribed does no harm, because the server drops messages for clients that
            // are not connected.
            tracing::debug!(
                address,
                "cannot unsubscribe: too many commands wait for Redis"
            );
        }
    }

    fn announce(&self, notice: Notice) {
        // Add the id of this server to the notice, because Redis also delivers the notice to this
        // server.
        let own = |mut data: serde_json::Value| {
            data["server"] = json!(self.server_id);
            marked(b'd', data.to_string().as_bytes())
        };
        match notice {
            Notice::Taken { address } => {
                // The first message is for Python servers, which then reset their state of the
                // client. The second message is for servers of this implementation. It contains the
                // id of this server, so that this server ignores its own notice.
                let payload = marked(b's', address.as_bytes());
                self.publish("broadcast:client-reconnected".into(), payload);
                self.publish(TAKEN.into(), own(json!({"address": address})));
            }
            Notice::Left { address } => {
                self.publish(LEFT.into(), own(json!({"address": address})));
            }
            Notice::Probe {
                address, number, ..
            } => {
                let notice = json!({"address": address, "number": number});
                self.publish(PROBE.into(), own(notice));
            }
            Notice::ProbeReply {
                address,
                number,
                server,
                held,
            } => {
                let notice =
                    json!({"address": address, "number": number, "to": server, "held": held});
                self.publish(PROBE_REPLY.into(), own(notice));
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

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn was_interrupted(&self) -> bool {
        self.interrupted.swap(false, Ordering::AcqRel)
    }
}

impl Receiver {
    /// Exchanges messages with other servers until the recipient is dropped. If the connection to
    /// Redis is lost, reconnects after a pause.
    ///
    /// `recipient` is a weak reference, because the recipient is the server's state, which owns the
    /// bus. A strong reference would keep the state of a stopped server alive.
    pub(crate) async fn run(mut self, recipient: Weak<dyn Recipient>) {
        let mut addresses = HashSet::new();
        while recipient.strong_count() > 0 {
            let ended = self.session(&recipient, &mut addresses).await;
            self.up.store(false, Ordering::Relaxed);
            if let Err(error) = ended {
                tracing::warn!(%error, "the connection to Redis is lost");
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.counters.redis_reconnects.add();
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// Uses one connection to Redis until the connection is lost. `addresses` contains the
    /// subscribed addresses, and remains the same for the next connection.
    async fn session(
        &mut self,
        recipient: &Weak<dyn Recipient>,
        addresses: &mut HashSet<String>,
    ) -> RedisResult<()> {
        let (mut sink, mut messages) = self.client.get_async_pubsub().await?.split();
        let mut link = Connected::new(self.counters.clone());
        sink.psubscribe(BROADCASTS).await?;
        link.subscribed();
        for address in addresses.iter() {
            sink.subscribe(channel(address)).await?;
            link.subscribed();
        }
        // Set this flag after the subscription, so that the server reads the revoked tokens from
        // Redis once more. The server then knows every token that was revoked before the
        // subscription.
        self.interrupted.store(true, Ordering::Release);
        self.failures.store(0, Ordering::Relaxed);
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
                // Wait until Redis has received the broadcast. If Redis is slow, the permits are
                // released later, and this slows the senders down.
                Some(broadcast) = self.broadcasts.recv() => {
                    self.connection
                        .publish::<_, _, ()>(&broadcast.channel, &broadcast.payload)
                        .await?;
                }
                command = self.commands.recv() => match command {
                    Some(command) => {
                        self.perform(command, recipient, &mut sink, addresses, &mut link)
                            .await?;
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    /// Executes one command.
    async fn perform(
        &mut self,
        command: Command,
        recipient: &Weak<dyn Recipient>,
        sink: &mut PubSubSink,
        addresses: &mut HashSet<String>,
        link: &mut Connected,
    ) -> RedisResult<()> {
        match command {
            Command::Subscribe(address, done) => {
                // Store the address before the await. If this connection fails during the await,
                // the next connection then subscribes to the address.
                let subscribed = sink.subscribe(channel(&address));
                let is_new = addresses.insert(address.clone());
                subscribed.await?;
                if is_new {
                    link.subscribed();
                }
                // `send` fails if the handshake of the client no longer waits for the subscription.
                let _ = done.send(());
            }
            Command::Unsubscribe(address) => {
                // Check again whether the client is connected, because it may have reconnected
                // after the command was sent.
                let recipient = recipient.upgrade();
                let connected = recipient.is_some_and(|recipient| recipient.is_connected(&address));
                if !connected {
                    let was_subscribed = addresses.remove(&address);
                    sink.unsubscribe(channel(&address)).await?;
                    if was_subscribed {
                        link.unsubscribed();
                    }
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

    /// Passes a payload to the recipient. Ignores an unknown payload, because a server of another
    /// version may have sent it.
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
            // Copy the data. It starts after the format byte, and is borrowed from the message.
            recipient.message(address, Bytes::copy_from_slice(data));
        } else if [TAKEN, LEFT, REVOKED, LOST, PROBE, PROBE_REPLY].contains(&channel) {
            match self.notice_of_another(channel, data) {
                Some(Notice::ProbeReply {
                    address,
                    number,
                    server,
                    held,
                }) if server == self.server_id => {
                    self.windows.replied(&address, number, held);
                }
                Some(Notice::ProbeReply { .. }) => {}
                Some(notice) => recipient.notice(notice),
                None => {}
            }
        } else if let Some(workspace) = channel.strip_prefix(UNLOAD) {
            // Ignore a notice that this server itself has sent, because this server has already
            // closed its own connections to the workspace.
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

    /// Parses a notice in JSON. Returns `None` if this server itself sent the notice, or if the
    /// notice cannot be parsed.
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
            PROBE => Notice::Probe {
                address,
                number: notice["number"].as_u64()?,
                server: notice["server"].as_str()?.to_owned(),
            },
            PROBE_REPLY => Notice::ProbeReply {
                address,
                number: notice["number"].as_u64()?,
                server: notice["to"].as_str()?.to_owned(),
                held: notice["held"].as_bool()?,
            },
            _ => Notice::Taken { address },
        })
    }
}
