//! Makes one outgoing call: sends the request, and waits for the response
//! (`docs/protocol/02-messages.md#s4` to `#s6`).
//!
//! A caller may drop the future at any await. The destructor of
//! [`HandedOut`](crate::service::HandedOut) then ends the session and removes the exported objects.
//! The destructor of [`CancelOnDrop`] cancels the call at the callee.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::cancel::CancelOnDrop;
use crate::engine::{Failure, LastSeen, MAX_IDLE_TIMEOUT, Response, answer_within, rejection};
use crate::service::{Direction, Engine, Exports};
use hypha_wire::keys::{BUILT_IN_METHODS, RINTF_PREFIX};
use hypha_wire::{Args, Handle, Head, Message, PromiseKind, ReplyMode, Rope, random_id};

/// One request, without its arguments.
pub(crate) struct Exchange<'a> {
    /// Address of the callee.
    pub(crate) to: &'a str,
    /// Path of the method at the callee.
    pub(crate) method: &'a str,
    pub(crate) promise: PromiseKind,
    /// Session in which the callee exported the called function. `None` for the methods of
    /// services.
    pub(crate) parent: Option<&'a str>,
    /// Public key of the callee. If this client has keys, the call is encrypted with the key of the
    /// callee.
    pub(crate) key: Option<&'a Bytes>,
    /// Idle timeout. Default: the idle timeout of the connection.
    pub(crate) idle_timeout: Option<Duration>,
    /// Total timeout. Default: none.
    pub(crate) total: Option<Duration>,
    /// Whether the call is part of the connection setup. Such a call does not wait for the setup to
    /// complete.
    pub(crate) setup: bool,
    /// Whether the callee accepts cancellations.
    pub(crate) cancel: bool,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(to: &'a str, method: &'a str, promise: PromiseKind) -> Self {
        Exchange {
            to,
            method,
            promise,
            parent: None,
            key: None,
            idle_timeout: None,
            total: None,
            setup: false,
            cancel: false,
        }
    }

    /// Returns the idle timeout (`docs/protocol/02-messages.md#s6`).
    fn idle_timeout(&self, engine: &Engine) -> Duration {
        let limit = self.idle_timeout.unwrap_or({
            if self.method.contains(RINTF_PREFIX) {
                engine.settings.interface_idle_timeout
            } else {
                engine.settings.idle_timeout
            }
        });
        limit.min(MAX_IDLE_TIMEOUT)
    }

    /// Waits for the connection, sends the request and waits for the response. Returns `None` if
    /// the caller requested no response.
    pub(crate) async fn run(
        self,
        engine: &Arc<Engine>,
        args: Args,
    ) -> Result<Option<Message>, Failure> {
        let sent = AtomicBool::new(false);
        let request = async {
            if !self.setup && !engine.lifecycle.is_connected() {
                let limit = match self.total {
                    // A timer around this future enforces the total timeout, so no other limit is
                    // necessary.
                    Some(_) => MAX_IDLE_TIMEOUT,
                    None => self.idle_timeout(engine),
                };
                let connected = engine.lifecycle.wait_connected(limit, &engine.counters);
                connected.await?;
            }
            self.request(engine, args, &sent).await
        };
        let Some(limit) = self.total else {
            return request.await;
        };
        match crate::runtime::timeout(limit, request).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Late {
                limit,
                sent: sent.into_inner(),
            }),
        }
    }

    /// Sends the request and waits for its response. Sets `sent` as soon as the callee may have
    /// started the method.
    async fn request(
        &self,
        engine: &Arc<Engine>,
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
        } = self;
        let present = engine.membership.present_manager(to);
        let to = present.as_deref().unwrap_or(to);
        let key = key.filter(|_| engine.secrecy.is_on());
        let seal = |message: Rope| match key {
            Some(key) => engine.secrecy.seal(message, key),
            None => Ok(message),
        };
        let identity = engine.identity();
        let address = identity.address();
        let mut head = Head {
            from: &address,
            to,
            method,
            parent,
            session: None,
        };
        let session = random_id();
        let mut exports = Exports::new(engine, &identity, &session, to, Direction::Call);
        let mut name = |handle: &Handle| engine.handlers.name_handle(&mut exports, handle);
        if promise == PromiseKind::None {
            let message = seal(args.finish_with(&head, ReplyMode::None, &mut name)?)?;
            // No response arrives that would end the session. Instead, the exported objects are
            // removed when no peer has used them for a while.
            let handed_out = exports.keep(None)?;
            send_request(engine, message, to, method, sent).await?;
            handed_out.stays();
            return Ok(None);
        }
        let limit = self.idle_timeout(engine);
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
        let seen = LastSeen::default();
        // Guard that ends the session when it is dropped. The guard is also dropped if the caller
        // drops this future.
        let mut handed_out = exports.keep(Some((seen.clone(), reply)))?;

        let mut cancel = CancelOnDrop {
            engine,
            to,
            session: &session,
            armed: false,
        };
        // Send the request and wait for the response at the same time. The response may arrive
        // before the last chunk of the request is acknowledged.
        let sending = send_request(engine, message, to, method, sent);
        tokio::pin!(sending);
        tokio::select! {
            biased;
            answer = &mut answer => {
                handed_out.sent();
                return finished(engine, answer, sent, key);
            }
            outcome = &mut sending => outcome?,
        }
        handed_out.sent();
        // Send no cancellation before the request is sent, because the callee does not know the
        // call before.
        cancel.armed = self.cancel;
        // Start the idle timeout after the request is sent, so that the time to send a large
        // request does not count.
        seen.at(engine.clock.now());
        match answer_within(&mut answer, &seen, limit, engine.clock).await {
            Some(answer) => {
                cancel.armed = false;
                finished(engine, answer, sent, key)
            }
            None => Err(Failure::Silent { limit, sent: true }),
        }
    }
}

/// Sends a request. Sets `sent` as soon as the callee may have started the method.
async fn send_request(
    engine: &Engine,
    message: Rope,
    to: &str,
    method: &str,
    sent: &AtomicBool,
) -> Result<(), Failure> {
    // Never split a call of a built-in service into chunks, because such calls carry the chunks of
    // other messages.
    if method.starts_with(BUILT_IN_METHODS) {
        engine.send_whole(message).await?;
        sent.store(true, Ordering::Relaxed);
        return Ok(());
    }
    engine.send(message, to, None, sent).await.map_err(|e| {
        // The error describes the call that sent one chunk. Replace `sent` by a value that
        // describes the whole request: whether the callee may have received all of it.
        let sent = sent.load(Ordering::Relaxed);
        match e {
            Failure::Lost { loss, .. } => Failure::Lost { loss, sent },
            Failure::Silent { limit, .. } => Failure::Silent { limit, sent },
            e => e,
        }
    })
}

/// Converts the outcome of an exchange to the result of the call.
fn finished(
    engine: &Engine,
    answer: Result<Response, oneshot::error::RecvError>,
    sent: &AtomicBool,
    key: Option<&Bytes>,
) -> Result<Option<Message>, Failure> {
    let sent = sent.load(Ordering::Relaxed);
    match answer {
        Ok(Response::Resolve(message)) => Ok(Some(opened(engine, message, key)?)),
        Ok(Response::Reject(message)) => {
            // Accept an unencrypted rejection from the server. The server sends one if the callee
            // is not connected, and the server has no key.
            let message = match opened(engine, message.clone(), key) {
                Err(_) if is_notice(&message) => message,
                opened => opened?,
            };
            Err(engine.rejected(message))
        }
        Ok(Response::Lost(loss)) => Err(Failure::Lost { loss, sent }),
        Err(_) => Err(engine.lost(sent)),
    }
}

/// Decrypts the response to an encrypted call. Fails if the response is not encrypted by the
/// callee. Otherwise, the server could respond in place of the callee.
fn opened(engine: &Engine, answer: Message, key: Option<&Bytes>) -> Result<Message, Failure> {
    let Some(key) = key else { return Ok(answer) };
    let failed = |what: String| Failure::Unreadable {
        message: format!("the response was rejected: {what}"),
        cause: None,
    };
    let extra = answer.extra().map_err(|e| failed(e.to_string()))?;
    let Some(encrypted) = extra.encrypted else {
        return Err(failed(
            "the call was encrypted, and the response is not".into(),
        ));
    };
    let (plain, sender) = engine.secrecy.open(&encrypted).map_err(failed)?;
    if sender != *key {
        return Err(failed(
            "the response is encrypted with another key than the callee's".into(),
        ));
    }
    Ok(answer.with_extra(plain))
}

/// Returns whether a rejection may be unencrypted. There are two such rejections: the server sends
/// one if the callee is not connected, and the callee sends one if it cannot decrypt the call.
/// Neither rejection discloses any content of the call.
fn is_notice(rejected: &Message) -> bool {
    rejection(rejected)
        .name
        .is_none_or(|name| name.starts_with("hypha."))
}
