//! Sends a message in one frame or in chunks. The chunks are requests to the receiver's built-in
//! service (`docs/protocol/02-messages.md#s9`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use hypha_wire::keys::{BUILT_IN, CHUNK_MEMBERS, GET_SERVICE, MESSAGE_CACHE};
use hypha_wire::{
    Args, EncodeError, Handle, Head, Map, Message, PromiseKind, ReplyMode, Rope, Stamp, Value,
    random_id,
};
use tokio::sync::oneshot;

use super::peers::PeerInfo;
use super::session_table::LastSeen;
use super::sessions::Response;
use super::{Clock, Closed, Engine, Failure, Handlers, Identity, Loss, rejection};
use crate::runtime::{Instant, sleep_until};

/// A message that exceeds the chunk size by at most this number of bytes is sent in one frame.
/// Every receiver of chunks accepts such a frame, because a frame with a chunk also exceeds the
/// chunk size.
const CHUNK_MARGIN: usize = 1024;

/// Maximum idle timeout. Clocks and peers cannot represent much longer times.
pub(crate) const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Null as msgpack.
const NIL: u8 = 0xc0;

/// Key in the config of the built-in service for the maximum frame size of a peer, in bytes.
/// Clients in other languages do not announce a maximum. Messages to such clients are split at
/// `chunk_bytes`.
pub(crate) const MAX_FRAME_KEY: &str = "max_frame_size";

/// The chunks of one message at its receiver. If a chunk is rejected or the call is dropped, the
/// message stays incomplete. The destructor then asks the receiver to drop the chunks, and requests
/// no response, because a destructor cannot wait.
struct UnfinishedMessage<'a, H: Handlers> {
    engine: &'a Engine<H>,
    to: &'a str,
    key: &'a str,
    finished: bool,
}

impl<H: Handlers> Drop for UnfinishedMessage<'_, H> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut args = Args::new(1, 0);
        args.push("key", self.key);
        let method = format!("{MESSAGE_CACHE}remove");
        self.engine.notify(self.to, &method, args);
    }
}

/// Session of a request. Dropping it ends the session, even if the request is cancelled.
struct OpenSession<'a, H: Handlers> {
    engine: &'a Engine<H>,
    id: &'a str,
}

impl<H: Handlers> Drop for OpenSession<'_, H> {
    fn drop(&mut self) {
        self.engine.sessions.end(self.id);
    }
}

impl<H: Handlers> Engine<H> {
    /// Sends a message in one frame.
    pub(crate) async fn send_whole(&self, message: Rope) -> Result<(), Failure> {
        let most = self.settings.max_frame_bytes;
        if message.len() > most {
            let text = format!("{} bytes; this link carries at most {most}", message.len());
            return Err(Failure::Encode(EncodeError::new(text)));
        }
        let queued = self.outbound.enqueue(message.into_bytes()).await;
        queued.map_err(|Closed| self.lifecycle.over())
    }

    /// Sends a message in one frame or in chunks.
    ///
    /// `parent` is the receiver's session if the message is a response. Sets `sent` as soon as the
    /// receiver may have the whole message: a call that fails later may have run. Relaxed is
    /// enough, because only the task of the call reads `sent`.
    pub(crate) async fn send(
        &self,
        message: Rope,
        to: &str,
        parent: Option<&str>,
        sent: &AtomicBool,
    ) -> Result<(), Failure> {
        if message.len() <= self.settings.chunk_bytes + CHUNK_MARGIN {
            self.send_whole(message).await?;
            sent.store(true, Ordering::Relaxed);
            return Ok(());
        }
        // Box this future, because it would enlarge the future of every call, and large messages
        // are rare.
        let outcome = Box::pin(self.send_large(message, to, parent, sent)).await;
        if outcome.is_err() {
            // Another program with other properties may have connected with this client id.
            self.peers.forget(to);
        }
        outcome
    }

    /// Sends a message larger than a chunk. Sends the message in one frame if the peer accepts such
    /// a frame, and otherwise in chunks.
    async fn send_large(
        &self,
        message: Rope,
        to: &str,
        parent: Option<&str>,
        sent: &AtomicBool,
    ) -> Result<(), Failure> {
        let peer = self.peer_info(to).await?;
        let size = self
            .settings
            .chunk_bytes
            .max(self.settings.large_frame_bytes.min(peer.max_frame));
        if message.len() <= size + CHUNK_MARGIN {
            self.send_whole(message).await?;
            sent.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let fresh;
        // If the session of the call is the key, each chunk of the response counts as a heartbeat.
        // Otherwise a large response on a slow link would exceed the caller's idle timeout.
        let (key, heartbeat) = match parent {
            Some(parent) => (parent, true),
            None => {
                fresh = random_id();
                (fresh.as_str(), false)
            }
        };
        let cache = |member: &'static str, args: Args| async move {
            let method = format!("{MESSAGE_CACHE}{member}");
            self.ask(to, &method, PromiseKind::Star, args).await
        };
        let mut args = Args::new(2, 0);
        args.push("key", key);
        args.push("heartbeat", &heartbeat);
        // Create the guard before the first request, so that the receiver drops the chunks even if
        // this future is dropped while the request is in flight.
        let mut unfinished = UnfinishedMessage {
            engine: self,
            to,
            key,
            finished: false,
        };
        let created = cache("create", args).await;
        // After a rejection, the key may belong to another message, which must not be removed.
        unfinished.finished = matches!(created, Err(Failure::Rejected(_)));
        created?;
        let size = size.max(1);
        let chunks = (0..message.len())
            .step_by(size)
            .enumerate()
            .map(|(index, start)| {
                let end = (start + size).min(message.len());
                let chunk = hypha_wire::Binary::from(message.slice(start..end));
                let mut args = Args::new(4, 0);
                args.push("key", key);
                if peer.indexed_chunks {
                    args.push("index", &index);
                }
                args.push("data", &chunk);
                args.push("heartbeat", &heartbeat);
                let member = if peer.indexed_chunks { "set" } else { "append" };
                cache(member, args)
            });
        // Chunks without an index must arrive in order, so each chunk waits for the previous chunk.
        let together = if peer.indexed_chunks {
            self.settings.max_concurrent_chunks.max(1)
        } else {
            1
        };
        stream::iter(chunks)
            .buffered(together)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        let mut args = Args::new(2, 0);
        args.push("key", key);
        args.push("heartbeat", &heartbeat);
        // Set `sent` before the request, because `process` makes the receiver handle the message.
        sent.store(true, Ordering::Relaxed);
        cache("process", args).await?;
        unfinished.finished = true;
        Ok(())
    }

    /// Returns the limits of a peer for large messages, cached or from the peer's built-in service.
    async fn peer_info(&self, to: &str) -> Result<PeerInfo, Failure> {
        if let Some(known) = self.peers.get(to) {
            return Ok(known);
        }
        let mut args = Args::new(1, 0);
        args.push("service_id", BUILT_IN);
        let answer = self.ask(to, GET_SERVICE, PromiseKind::Full, args).await?;
        // Decode without the connection, so that the functions in the service are plain maps.
        // Handles would be released at the peer when dropped.
        let service = answer.extra().ok().and_then(|extra| extra.args.get(0));
        let service: Map = service.and_then(Result::ok).unwrap_or_default();
        if !service.contains_key(CHUNK_MEMBERS) {
            return Err(Failure::NoChunks);
        }
        let config = service.get("config");
        let version = config
            .and_then(|c| c.get("api_version"))
            .and_then(Value::as_f64);
        let max_frame = config
            .and_then(|c| c.get(MAX_FRAME_KEY))
            .and_then(Value::as_u64);
        let info = PeerInfo {
            indexed_chunks: version.unwrap_or(0.0) >= 3.0,
            max_frame: max_frame.map_or(0, |bytes| bytes.try_into().unwrap_or(usize::MAX)),
        };
        self.peers.remember(to, info);
        Ok(info)
    }

    /// Calls a method of a built-in service and waits for the response.
    ///
    /// Unlike the calls of programs (`call/exchange.rs`), these calls fit into a frame, export no
    /// objects and are not encrypted.
    async fn ask(
        &self,
        to: &str,
        method: &str,
        promise: PromiseKind,
        args: Args,
    ) -> Result<Message, Failure> {
        let present = self.membership.present_manager(to);
        let to = present.as_deref().unwrap_or(to);
        let identity = self.identity();
        let session = random_id();
        let limit = self.settings.idle_timeout.min(MAX_IDLE_TIMEOUT);
        let interval = limit.as_secs_f64() / 2.0;
        let head = Head {
            from: &identity.address(),
            to,
            method,
            parent: None,
            session: Some(&session),
        };
        let reply = match promise {
            PromiseKind::Full => ReplyMode::Full {
                target: &identity.client_id,
                session: &session,
                interval,
            },
            _ => ReplyMode::Star { interval },
        };
        let nothing = &mut |_: &Handle| {
            Err(EncodeError::new(
                "this message cannot contain functions or streams",
            ))
        };
        let mut message = args.finish_with(&head, reply, nothing)?;
        if self.settings.link_peer.is_some() {
            message = with_sender(message, to, &identity);
        }
        let (reply, mut answer) = oneshot::channel();
        let seen = LastSeen::default();
        let call = Some((seen.clone(), reply));
        self.sessions.open(&session, to, call, <_>::default())?;
        let _open = OpenSession {
            engine: self,
            id: &session,
        };
        // Wait for the response and for room in the queue at the same time: if the connection
        // closes while the queue is full, the session ends before the request is queued.
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            sent = self.send_whole(message) => {
                sent?;
                seen.at(self.clock.now());
                let answer = answer_within(&mut answer, &seen, limit, self.clock).await;
                answer.ok_or(Failure::Silent { limit, sent: true })?
            }
        };
        match answer {
            Ok(Response::Resolve(message)) => Ok(message),
            Ok(Response::Reject(message)) => Err(self.rejected(message)),
            Ok(Response::Lost(loss)) => Err(Failure::Lost { loss, sent: true }),
            Err(_) => Err(self.lifecycle.over()),
        }
    }

    /// Returns the failure of a rejected call. If the server no longer knows this client, drops the
    /// link, because the client registers again on a new link.
    pub(crate) fn rejected(&self, message: Message) -> Failure {
        if is_forgotten(&message, &self.identity().address()) {
            self.lifecycle.drop_link();
        }
        Failure::Rejected(Box::new(message))
    }

    /// Returns the failure of a call whose session ended without a response, which happens only
    /// when the connection closes.
    pub(crate) fn lost(&self, sent: bool) -> Failure {
        Failure::Lost {
            loss: Loss::Connection(self.lifecycle.closed_reason()),
            sent,
        }
    }
}

/// Adds the workspace of the sender and an unknown user to a request. The other clients need both
/// to join chunks, but on a link without a server, no server adds them.
fn with_sender(message: Rope, to: &str, sender: &Identity) -> Rope {
    let bytes = message.into_bytes();
    let Ok(message) = Message::parse(bytes.clone()) else {
        return bytes.into();
    };
    let stamp = Stamp {
        to,
        from: &sender.address(),
        ws: &sender.workspace,
        user: &[NIL],
    };
    message.stamped(&stamp).into_bytes().into()
}

/// Waits for a response. Returns `None` if the callee sends neither a heartbeat nor the response
/// for `limit`.
///
/// Heartbeats do not wake this future, which saves a wake-up for each heartbeat. When the timer
/// fires, the future checks `seen`, and sets the timer again if a heartbeat has arrived.
pub(crate) async fn answer_within(
    answer: &mut oneshot::Receiver<Response>,
    seen: &LastSeen,
    limit: Duration,
    clock: Clock,
) -> Option<Result<Response, oneshot::error::RecvError>> {
    let deadline = || {
        // The subtraction saturates, because the driver may record a heartbeat after `now` is read.
        let idle = Duration::from_millis(clock.now().saturating_sub(seen.last()));
        Instant::now() + limit.saturating_sub(idle)
    };
    let silent = sleep_until(deadline());
    tokio::pin!(silent);
    loop {
        tokio::select! {
            biased;
            answer = &mut *answer => return Some(answer),
            () = &mut silent => {
                if clock.now().saturating_sub(seen.last()) >= limit.as_millis() as u64 {
                    return None;
                }
                silent.as_mut().reset(deadline());
            }
        }
    }
}

/// Returns whether the server no longer knows this client, although the link is open. The Python
/// server drops a registration when another client tries to connect with the same id
/// (`docs/protocol/01-transport-websocket.md#s13`).
fn is_forgotten(rejected: &Message, address: &str) -> bool {
    let text = rejection(rejected).message;
    text.contains("Connection has already been closed (client: ") && text.contains(address)
}
