//! A message in one frame or in chunks, which go through the receiver's built-in service
//! (`docs/protocol/02-messages.md#s9`), and the requests that chunks are made of.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use hypha_wire::keys::{BUILT_IN, CHUNK_MEMBERS, GET_SERVICE, MESSAGE_CACHE};
use hypha_wire::{
    Args, EncodeError, Handle, Head, Map, Message, PromiseKind, ReplyMode, Rope, Value, random_id,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::peers::PeerInfo;
use super::session_table::LastSeen;
use super::sessions::Response;
use super::{Clock, Closed, Engine, Failure, Handlers, Loss, rejection};

/// Bytes by which a message may exceed the chunk size and still be sent whole: the envelope of a
/// chunk needs as much.
const CHUNK_MARGIN: usize = 1024;

/// Upper bound of the idle timeout: clocks and peers cannot represent much longer times.
pub(crate) const MAX_IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The key in the config of a built-in service under which a peer announces its largest frame,
/// in bytes. An extension: the other clients do not say it, ignore it, and get frames of the common
/// size.
pub(crate) const MAX_FRAME_KEY: &str = "max_frame_size";

/// Chunks at a receiver. Dropped before the message is complete, because a chunk was refused or the
/// call was abandoned, it asks the receiver to drop them. It does not wait for a response, because
/// a peer that has stopped answering would not send one.
struct Unfinished<'a, H: Handlers> {
    engine: &'a Engine<H>,
    to: &'a str,
    key: &'a str,
    finished: bool,
}

impl<H: Handlers> Drop for Unfinished<'_, H> {
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

/// The session of a request, which ends with it.
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
        let queued = self.outbound.enqueue(message.into_bytes()).await;
        queued.map_err(|Closed| self.lifecycle.over())
    }

    /// Sends a message in one frame or in chunks. `parent` is the receiver's session that it
    /// answers; `sent` is set when the receiver may have it.
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
        // Boxed: it is rare and large.
        let outcome = Box::pin(self.send_large(message, to, parent, sent)).await;
        if outcome.is_err() {
            self.peers.forget(to);
        }
        outcome
    }

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
        // The chunks of an answer are heartbeats of the call, so they have the key of its
        // session.
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
        // From here on the receiver keeps the chunks until they are processed or removed.
        let mut unfinished = Unfinished {
            engine: self,
            to,
            key,
            finished: false,
        };
        let created = cache("create", args).await;
        // After a rejection, the receiver holds another message under this key.
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
        sent.store(true, Ordering::Relaxed);
        cache("process", args).await?;
        unfinished.finished = true;
        Ok(())
    }

    /// Returns the limits for large messages of the peer's built-in service. They are cached and
    /// fetched again from time to time.
    async fn peer_info(&self, to: &str) -> Result<PeerInfo, Failure> {
        if let Some(known) = self.peers.get(to) {
            return Ok(known);
        }
        let mut args = Args::new(1, 0);
        args.push("service_id", BUILT_IN);
        let answer = self.ask(to, GET_SERVICE, PromiseKind::Full, args).await?;
        // Without the connection the functions in it are plain maps: none of them is called.
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

    /// Makes a call of a built-in service and waits for its answer. It fits into a frame, hands
    /// nothing out and is not encrypted, unlike the calls of programs.
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
        let nothing =
            &mut |_: &Handle| Err(EncodeError::new("nothing can be handed out with this"));
        let message = args.finish_with(&head, reply, nothing)?;
        let (reply, mut answer) = oneshot::channel();
        let seen = LastSeen::default();
        let call = Some((seen.clone(), reply));
        self.sessions.open(&session, to, call, <_>::default())?;
        let _open = OpenSession {
            engine: self,
            id: &session,
        };
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

    /// The failure of a rejected call.
    pub(crate) fn rejected(&self, message: Message) -> Failure {
        if is_forgotten(&message, &self.identity().address()) {
            self.lifecycle.drop_link();
        }
        Failure::Rejected(Box::new(message))
    }

    /// The failure of a call whose session ended without a word, which it does with the connection.
    pub(crate) fn lost(&self, sent: bool) -> Failure {
        Failure::Lost {
            loss: Loss::Connection(self.lifecycle.closed_reason()),
            sent,
        }
    }
}

/// Waits for an answer; returns `None` if its callee sent neither a heartbeat nor the answer for
/// `limit`.
pub(crate) async fn answer_within(
    answer: &mut oneshot::Receiver<Response>,
    seen: &LastSeen,
    limit: Duration,
    clock: Clock,
) -> Option<Result<Response, oneshot::error::RecvError>> {
    let deadline = || {
        // The driver may have heard of the peer since `now` was read.
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

/// Whether the server has forgotten this client although the link stands, as the Python server does
/// when another one has tried to connect with its id
/// (`docs/protocol/01-transport-websocket.md#s13`).
fn is_forgotten(rejected: &Message, address: &str) -> bool {
    let text = rejection(rejected).message;
    text.contains("Connection has already been closed (client: ") && text.contains(address)
}
