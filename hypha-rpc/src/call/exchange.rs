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

use super::{
    Heard,
    export::{Direction, Exports},
    release::Awaited,
};
use crate::{
    client::{Closed, Core, PeerInfo, Response},
    error::{Cause, LinkError, report},
    service::MAX_FRAME,
};
use hypha_wire::{
    Args, ConnectionRef, EncodeError, Handle, Head, Map, Message, PromiseKind, ReplyMode, Rope,
    Value, random_id,
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
    /// The callee's session in which it handed out the function.
    pub(crate) parent: Option<&'a str>,
    /// The key of the callee, to which the call is encrypted if this client does that.
    pub(crate) key: Option<&'a Bytes>,
    /// Another limit of silence than the connection's.
    pub(crate) silence: Option<Duration>,
    /// A limit for all of it.
    pub(crate) total: Option<Duration>,
    /// It is a part of setting the connection up, and does not wait until that is done.
    pub(crate) setup: bool,
    /// The callee wants to be told if nobody waits any more.
    pub(crate) cancel: bool,
}

/// Why there is no result.
#[derive(Clone, Debug)]
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
        loss: Loss,
        sent: bool,
    },
    Encode(EncodeError),
    /// The peer cannot take a message of that size.
    NoChunks,
    /// An answer that is not what it should be.
    Unreadable {
        message: String,
        cause: Option<Cause>,
    },
}

/// What is gone, and why.
#[derive(Clone, Debug)]
pub(crate) enum Loss {
    /// The peer of a call.
    Peer(LinkError),
    /// The link to the server; it is made again.
    Link(LinkError),
    /// The whole connection.
    Connection(LinkError),
}

impl Loss {
    pub(crate) fn reason(&self) -> &LinkError {
        match self {
            Loss::Peer(reason) | Loss::Link(reason) | Loss::Connection(reason) => reason,
        }
    }
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
            Failure::Lost { loss, .. } => f.write_str(&report(loss.reason())),
            Failure::Encode(e) => e.fmt(f),
            Failure::NoChunks => f.write_str(NO_CHUNKS),
            Failure::Unreadable { message, cause } => match cause {
                Some(cause) => write!(f, "{message}: {cause}"),
                None => f.write_str(message),
            },
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
            parent: None,
            key: None,
            silence: None,
            total: None,
            setup: false,
            cancel: false,
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
        if let Ok(frame) = args.finish(&head, ReplyMode::None) {
            // If there is no room, the receiver's own limits have to do.
            self.core.try_enqueue(frame);
        }
    }
}

impl Core {
    /// Sends a request and waits for its answer; `None` if none was asked for.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        exchange: Exchange<'_>,
        args: Args,
    ) -> Result<Option<Message>, Failure> {
        let sent = AtomicBool::new(false);
        let request = async {
            if !exchange.setup && !self.is_connected() {
                let limit = match exchange.total {
                    Some(_) => LONGEST_SILENCE,
                    None => self.silence(&exchange).min(LONGEST_SILENCE),
                };
                self.stands(limit).await?;
            }
            self.request(&exchange, args, &sent).await
        };
        let Some(limit) = exchange.total else {
            return request.await;
        };
        match tokio::time::timeout(limit, request).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Late {
                limit,
                sent: sent.into_inner(),
            }),
        }
    }

    async fn request(
        self: &Arc<Self>,
        exchange: &Exchange<'_>,
        args: Args,
        sent: &AtomicBool,
    ) -> Result<Option<Message>, Failure> {
        let &Exchange {
            to,
            method,
            promise,
            parent,
            key,
            ..
        } = exchange;
        let present = self.present_manager(to);
        let to = present.as_deref().unwrap_or(to);
        let key = key.filter(|_| self.secrecy.is_on());
        let seal = |message: Rope| match key {
            Some(key) => self.secrecy.seal(message, key),
            None => Ok(message),
        };
        let identity = self.identity();
        let address = identity.address();
        let mut head = Head {
            from: &address,
            to,
            method,
            parent: None,
            session: None,
        };
        head.parent = parent;
        let session = random_id();
        let mut exports = Exports::new(self, &identity, &session, to, Direction::Call);
        let mut name = |handle: &Handle| exports.name(handle);
        if promise == PromiseKind::None {
            let message = seal(args.finish_with(&head, ReplyMode::None, &mut name)?)?;
            // What was handed out stays until it is not used any more: no answer ends the session.
            let handed_out = exports.keep(None)?;
            self.send_request(message, to, method, sent).await?;
            handed_out.stays();
            return Ok(None);
        }
        let limit = self.silence(exchange).min(LONGEST_SILENCE);
        let interval = limit.as_secs_f64() / 2.0;
        head.session = Some(&session);
        tracing::Span::current().record("session", session.as_str());
        let reply = match promise {
            PromiseKind::Full => ReplyMode::Full {
                target: &identity.client_id,
                session: &session,
                interval,
            },
            _ => ReplyMode::Star { interval },
        };
        let message = seal(args.finish_with(&head, reply, &mut name)?)?;
        let (reply, mut answer) = oneshot::channel();
        let heard = Heard::default();
        // Ends the session when the caller is done with it, also when its future is dropped.
        let mut handed_out = exports.keep(Some((heard.clone(), reply)))?;

        let mut awaited = Awaited {
            core: self,
            to,
            session: &session,
            tell: false,
        };
        // The answer may come before the last chunk of the request is acknowledged.
        let sending = self.send_request(message, to, method, sent);
        tokio::pin!(sending);
        tokio::select! {
            biased;
            answer = &mut answer => {
                handed_out.sent();
                return self.finished(answer, sent, key);
            }
            outcome = &mut sending => outcome?,
        }
        handed_out.sent();
        awaited.tell = exchange.cancel;
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
                answer = &mut answer => {
                    awaited.tell = false;
                    return self.finished(answer, sent, key);
                }
                () = &mut silent => {
                    if self.now().saturating_sub(heard.last()) >= limit.as_millis() as u64 {
                        return Err(Failure::Silent { limit, sent: true });
                    }
                    silent.as_mut().reset(deadline(&heard));
                }
            }
        }
    }

    /// How long the callee may be silent (02 §6).
    fn silence(&self, exchange: &Exchange<'_>) -> Duration {
        exchange.silence.unwrap_or({
            if exchange.method.contains("_rintf_") {
                self.options.interface_idle_timeout
            } else {
                self.options.idle_timeout
            }
        })
    }

    /// Sends a request and notes in `sent` from when on it may run.
    async fn send_request(
        self: &Arc<Self>,
        message: Rope,
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
                Failure::Lost { loss, .. } => Failure::Lost { loss, sent },
                Failure::Silent { limit, .. } => Failure::Silent { limit, sent },
                e => e,
            }
        })
    }

    /// Sends an answer to the receiver's session `parent`.
    pub(crate) async fn send_answer(
        self: &Arc<Self>,
        message: Rope,
        to: &str,
        parent: &str,
    ) -> Result<(), Failure> {
        self.send(message, to, Some(parent), &AtomicBool::new(false))
            .await
    }

    /// Sends a message in one frame.
    pub(crate) async fn send_whole(&self, message: Rope) -> Result<(), Failure> {
        self.enqueue(message.into_bytes())
            .await
            .map_err(|Closed| self.over())
    }

    /// Sends a message in one frame or in chunks. `parent` is the receiver's session that it answers.
    async fn send(
        self: &Arc<Self>,
        message: Rope,
        to: &str,
        parent: Option<&str>,
        sent: &AtomicBool,
    ) -> Result<(), Failure> {
        if message.len() <= self.options.chunk_bytes + CHUNK_MARGIN {
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
        self: &Arc<Self>,
        message: Rope,
        to: &str,
        parent: Option<&str>,
        sent: &AtomicBool,
    ) -> Result<(), Failure> {
        let peer = self.built_in(to).await?;
        let size = self
            .options
            .chunk_bytes
            .max(self.options.large_frame_bytes.min(peer.max_frame));
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
            Box::pin(self.request(&exchange, args, &AtomicBool::new(false))).await
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
                let end = (start + size).min(message.len());
                let chunk = crate::Binary::from(message.slice(start..end));
                let mut args = Args::new(4, 0);
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
            self.options.max_concurrent_chunks.max(1)
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
    async fn built_in(self: &Arc<Self>, to: &str) -> Result<PeerInfo, Failure> {
        if let Some(known) = self.peer_info(to) {
            return Ok(known);
        }
        let mut args = Args::new(1, 0);
        args.push("service_id", "built-in");
        let exchange = Exchange::new(to, "services.built-in.get_service", PromiseKind::Full);
        let answer = Box::pin(self.request(&exchange, args, &AtomicBool::new(false))).await?;
        let home = Arc::clone(self) as Arc<dyn ConnectionRef>;
        let service: Map = super::result(answer, home).unwrap_or_default();
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

    fn finished(
        &self,
        answer: Result<Response, oneshot::error::RecvError>,
        sent: &AtomicBool,
        key: Option<&Bytes>,
    ) -> Result<Option<Message>, Failure> {
        let sent = sent.load(Ordering::Relaxed);
        match answer {
            Ok(Response::Resolve(message)) => Ok(Some(self.opened(message, key)?)),
            Ok(Response::Reject(message)) => {
                // Whoever carries the call may say that there is nobody to answer it, and has no key.
                let message = match self.opened(message.clone(), key) {
                    Err(_) if is_notice(&message) => message,
                    opened => opened?,
                };
                if is_forgotten(&message, &self.identity().address()) {
                    self.drop_link();
                }
                Err(Failure::Rejected(Box::new(message)))
            }
            Ok(Response::Lost(loss)) => Err(Failure::Lost { loss, sent }),
            Err(_) => Err(Failure::Lost {
                loss: Loss::Connection(self.closed_reason()),
                sent,
            }),
        }
    }

    /// The answer to an encrypted call: it must come from the owner of the key that the call was
    /// encrypted to.
    fn opened(&self, answer: Message, key: Option<&Bytes>) -> Result<Message, Failure> {
        let Some(key) = key else { return Ok(answer) };
        let failed = |what: String| Failure::Unreadable {
            message: format!("the answer is refused: {what}"),
            cause: None,
        };
        let extra = answer.extra().map_err(|e| failed(e.to_string()))?;
        let Some(encrypted) = extra.encrypted else {
            return Err(failed("the call was encrypted, and it is not".into()));
        };
        let (plain, sender) = self.secrecy.open(&encrypted).map_err(failed)?;
        if sender != *key {
            return Err(failed(
                "it is encrypted with another key than the callee's".into(),
            ));
        }
        Ok(answer.with_extra(plain))
    }
}

/// Whether the server has forgotten this client although the link stands, as the Python server does when
/// another one has tried to connect with its id (01 §13).
fn is_forgotten(rejection: &Message, address: &str) -> bool {
    let text = super::rejection(rejection).message;
    text.contains("Connection has already been closed (client: ") && text.contains(address)
}

/// What a server says of a callee that is gone, or a callee that cannot decrypt: refusals, which tell
/// nothing.
fn is_notice(rejection: &Message) -> bool {
    super::rejection(rejection)
        .name
        .is_none_or(|name| name.starts_with("hypha."))
}
