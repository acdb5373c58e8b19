//! One request and its answer, and how a message too large for one frame gets there (protocol 02 §4
//! to §6, §9).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::Heard;
use crate::{
    client::{Closed, Core, PeerInfo, Reply as Answered},
    service::MAX_FRAME,
    wire::{Args, EncodeError, Head, Map, Message, PromiseKind, Reply, Value, random_id},
};

/// What is added to the chunk size before a message is split: room for the envelope of a chunk.
const CHUNK_MARGIN: usize = 1024;

/// A longer limit of silence is this long: neither clocks nor peers can count much further.
const LONGEST_SILENCE: Duration = Duration::from_secs(365 * 24 * 3600);

/// The methods of the built-in service, which chunks are made of.
pub(crate) const BUILT_IN: &str = "services.built-in.";

/// One request.
pub(crate) struct Exchange<'a> {
    pub(crate) to: &'a str,
    pub(crate) method: &'a str,
    pub(crate) promise: PromiseKind,
    /// Another limit of silence than the connection's.
    pub(crate) silence: Option<Duration>,
    /// A limit for all of it.
    pub(crate) total: Option<Duration>,
}

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Failure {
    Rejected(Box<Message>),
    Silent {
        limit: Duration,
        sent: bool,
    },
    Late {
        limit: Duration,
        sent: bool,
    },
    Lost {
        reason: Arc<str>,
        sent: bool,
    },
    Encode(EncodeError),
    /// The peer cannot take a message of that size.
    NoChunks,
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        Failure::Encode(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Rejected(message) => f.write_str(&super::rejection(message).message),
            Failure::Silent { limit, .. } => write!(f, "no sign of life within {limit:?}"),
            Failure::Late { limit, .. } => write!(f, "no answer within {limit:?}"),
            Failure::Lost { reason, .. } => f.write_str(reason),
            Failure::Encode(e) => e.fmt(f),
            Failure::NoChunks => f.write_str(NO_CHUNKS),
        }
    }
}

/// Other clients know this text.
pub(super) const NO_CHUNKS: &str =
    "Remote client does not support message caching for long message.";

impl<'a> Exchange<'a> {
    pub(crate) fn new(to: &'a str, method: &'a str, promise: PromiseKind) -> Self {
        Exchange {
            to,
            method,
            promise,
            silence: None,
            total: None,
        }
    }
}

/// Chunks at a receiver. If they do not become a message, because one was refused or nobody waits for the
/// call any more, the receiver is told to forget them. No answer is awaited: a peer that has fallen
/// silent would not give one.
struct Unfinished<'a> {
    core: &'a Core,
    to: &'a str,
    key: &'a str,
    finished: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut args = Args::new(1, 0);
        args.push("key", self.key);
        let head = Head {
            from: &self.core.identity().address(),
            to: self.to,
            method: &format!("{BUILT_IN}message_cache.remove"),
            parent: None,
            session: None,
        };
        if let Ok(frame) = args.finish(&head, Reply::None) {
            // If there is no room, the receiver's own limits have to do.
            self.core.try_enqueue(frame);
        }
    }
}

/// Frees the session when the caller is done with it, also when its future is dropped.
struct SessionGuard<'a> {
    core: &'a Core,
    id: String,
}

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        self.core.forget_session(&self.id);
    }
}

impl Core {
    /// Sends a request and waits for its answer; `None` if none was asked for.
    pub(crate) async fn exchange(
        &self,
        exchange: Exchange<'_>,
        args: Args,
    ) -> Result<Option<Message>, Failure> {
        let sent = AtomicBool::new(false);
        let Some(limit) = exchange.total else {
            return self.request(exchange, args, &sent).await;
        };
        match tokio::time::timeout(limit, self.request(exchange, args, &sent)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Late {
                limit,
                sent: sent.into_inner(),
            }),
        }
    }

    async fn request(
        &self,
        exchange: Exchange<'_>,
        args: Args,
        sent: &AtomicBool,
    ) -> Result<Option<Message>, Failure> {
        let Exchange {
            to,
            method,
            promise,
            silence,
            ..
        } = exchange;
        let identity = self.identity();
        let address = identity.address();
        let mut head = Head {
            from: &address,
            to,
            method,
            parent: None,
            session: None,
        };
        if promise == PromiseKind::None {
            let frame = args.finish(&head, Reply::None)?;
            self.send_request(frame, to, method, sent).await?;
            return Ok(None);
        }
        let limit = silence.unwrap_or(self.options.method_timeout);
        let limit = limit.min(LONGEST_SILENCE);
        let interval = limit.as_secs_f64() / 2.0;
        let session = random_id();
        head.session = Some(&session);
        let frame = match promise {
            PromiseKind::Full => args.finish(
                &head,
                Reply::Full {
                    target: &identity.client_id,
                    session: &session,
                    interval,
                },
            )?,
            _ => args.finish(&head, Reply::Star { interval })?,
        };
        let (reply, mut answer) = oneshot::channel();
        let heard = Heard::default();
        self.open_session(&session, to, heard.clone(), reply)
            .map_err(|reason| Failure::Lost {
                reason,
                sent: false,
            })?;
        let _guard = SessionGuard {
            core: self,
            id: session.clone(),
        };

        // The answer may come before the last chunk of the request is acknowledged.
        let sending = self.send_request(frame, to, method, sent);
        tokio::pin!(sending);
        tokio::select! {
            biased;
            answer = &mut answer => return finished(answer, sent),
            outcome = &mut sending => outcome?,
        }
        heard.at(self.now());
        let deadline = |heard: &Heard| {
            // The driver may have heard of the peer since `now` was read.
            let silence = Duration::from_millis(self.now().saturating_sub(heard.last()));
            Instant::now() + limit.saturating_sub(silence)
        };
        let silent = sleep_until(deadline(&heard));
        tokio::pin!(silent);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return finished(answer, sent),
                () = &mut silent => {
                    if self.now().saturating_sub(heard.last()) >= limit.as_millis() as u64 {
                        return Err(Failure::Silent { limit, sent: true });
                    }
                    silent.as_mut().reset(deadline(&heard));
                }
            }
        }
    }

    /// Sends a request and notes in `sent` from when on it may run.
    async fn send_request(
        &self,
        message: Bytes,
        to: &str,
        method: &str,
        sent: &AtomicBool,
    ) -> Result<(), Failure> {
        // What chunks are made of is one frame each, however much the envelope adds to it.
        if method.starts_with(BUILT_IN) {
            self.send_whole(message).await?;
            sent.store(true, Ordering::Relaxed);
            return Ok(());
        }
        self.send(message, to, None, sent).await.map_err(|e| {
            // What became of the chunks says nothing of the request that they were to become.
            let sent = sent.load(Ordering::Relaxed);
            match e {
                Failure::Lost { reason, .. } => Failure::Lost { reason, sent },
                Failure::Silent { limit, .. } => Failure::Silent { limit, sent },
                e => e,
            }
        })
    }

    /// Sends an answer to the receiver's session `parent`.
    pub(crate) async fn send_answer(
        &self,
        message: Bytes,
        to: &str,
        parent: &str,
    ) -> Result<(), Failure> {
        self.send(message, to, Some(parent), &AtomicBool::new(false))
            .await
    }

    /// Sends a message in one frame.
    pub(crate) async fn send_whole(&self, message: Bytes) -> Result<(), Failure> {
        self.enqueue(message).await.map_err(|Closed| Failure::Lost {
            reason: self.closed_reason(),
            sent: false,
        })
    }

    /// Sends a message in one frame or in chunks. `parent` is the receiver's session that it answers.
    async fn send(
        &self,
        message: Bytes,
        to: &str,
        parent: Option<&str>,
        sent: &AtomicBool,
    ) -> Result<(), Failure> {
        if message.len() <= self.options.chunk_size + CHUNK_MARGIN {
            self.send_whole(message).await?;
            sent.store(true, Ordering::Relaxed);
            return Ok(());
        }
        // Boxed: it is rare, large, and sends messages itself.
        let outcome = Box::pin(self.send_chunks(message, to, parent, sent)).await;
        if outcome.is_err() {
            self.forget_peer(to);
        }
        outcome
    }

    async fn send_chunks(
        &self,
        message: Bytes,
        to: &str,
        parent: Option<&str>,
        sent: &AtomicBool,
    ) -> Result<(), Failure> {
        let peer = self.built_in(to).await?;
        let size = self
            .options
            .chunk_size
            .max(self.options.large_frame.min(peer.max_frame));
        if message.len() <= size + CHUNK_MARGIN {
            self.send_whole(message).await?;
            sent.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let fresh;
        let (key, heartbeat) = match parent {
            Some(parent) => (parent, true),
            None => {
                fresh = random_id();
                (fresh.as_str(), false)
            }
        };
        let cache = |member: &'static str, promise: PromiseKind, args: Args| async move {
            let method = format!("{BUILT_IN}message_cache.{member}");
            let exchange = Exchange::new(to, &method, promise);
            Box::pin(self.request(exchange, args, &AtomicBool::new(false))).await
        };
        let mut args = Args::new(2, 0);
        args.push("key", key);
        args.push("heartbeat", &heartbeat);
        // From here on the receiver keeps what it has got, until it is told otherwise.
        let mut unfinished = Unfinished {
            core: self,
            to,
            key,
            finished: false,
        };
        let created = cache("create", PromiseKind::Star, args).await;
        // What the receiver has under this key then is another message.
        unfinished.finished = matches!(created, Err(Failure::Rejected(_)));
        created?;
        let size = size.max(1);
        let chunks = (0..message.len())
            .step_by(size)
            .enumerate()
            .map(|(index, start)| {
                let chunk =
                    crate::Bytes::from(message.slice(start..(start + size).min(message.len())));
                let mut args = Args::with_capacity(4, 0, chunk.len());
                args.push("key", key);
                if peer.indexed_chunks {
                    args.push("index", &index);
                }
                args.push("data", &chunk);
                args.push("heartbeat", &heartbeat);
                let member = if peer.indexed_chunks { "set" } else { "append" };
                cache(member, PromiseKind::Star, args)
            });
        let together = if peer.indexed_chunks {
            self.options.chunk_concurrency.max(1)
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
        cache("process", PromiseKind::Star, args).await?;
        unfinished.finished = true;
        Ok(())
    }

    /// What the peer's built-in service says of large messages; asked now and then.
    async fn built_in(&self, to: &str) -> Result<PeerInfo, Failure> {
        if let Some(known) = self.peer_info(to) {
            return Ok(known);
        }
        let mut args = Args::new(1, 0);
        args.push("service_id", "built-in");
        let exchange = Exchange::new(to, "services.built-in.get_service", PromiseKind::Full);
        let answer = Box::pin(self.request(exchange, args, &AtomicBool::new(false))).await?;
        let service: Map = super::result(answer.as_ref()).unwrap_or_default();
        if !service.contains_key("message_cache") {
            return Err(Failure::NoChunks);
        }
        let config = service.get("config");
        let version = config
            .and_then(|c| c.get("api_version"))
            .and_then(Value::as_f64);
        let max_frame = config
            .and_then(|c| c.get(MAX_FRAME))
            .and_then(Value::as_u64);
        let info = PeerInfo {
            indexed_chunks: version.unwrap_or(0.0) >= 3.0,
            max_frame: max_frame.map_or(0, |bytes| bytes.try_into().unwrap_or(usize::MAX)),
        };
        self.remember_peer(to, info);
        Ok(info)
    }
}

fn finished(
    answer: Result<Answered, oneshot::error::RecvError>,
    sent: &AtomicBool,
) -> Result<Option<Message>, Failure> {
    let sent = sent.load(Ordering::Relaxed);
    match answer {
        Ok(Answered::Resolve(message)) => Ok(Some(message)),
        Ok(Answered::Reject(message)) => Err(Failure::Rejected(Box::new(message))),
        Ok(Answered::Lost(reason)) => Err(Failure::Lost { reason, sent }),
        Err(_) => Err(Failure::Lost {
            reason: "RPC connection closed".into(),
            sent,
        }),
    }
}
