//! Runs the task of a connection. The task drives a link. When the link is lost, the task opens
//! another link and registers the services again. The task ends when the connection is closed
//! (`docs/protocol/01-transport-websocket.md#s7`, `#s9`).
//!
//! `client/connect.rs` opens the first link and starts the task. The task owns the link and the
//! queue of frames. When the task ends for any reason, [`CloseOnDrop`] closes the connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use super::driver::{Driver, Ended, Queue};
use super::handshake::{Granted, Hello, handshake};
use super::outbound::QueuedFrame;
use super::state::{Next, Recovery};
use super::stats::{add, count};
use super::{CloseReason, Engine, Handlers, KeepAlive, State, watchdog};
use crate::backoff::Backoff;
use crate::error::{ConnectError, ConnectErrorKind, Error, LinkError, report};
use crate::runtime::{Instant, Runtime, into_std, sleep_until, timeout};
use crate::transport::{BoxLink, Dial};

/// A server, and the credentials with which this client opens links to the server.
pub(crate) struct Endpoint {
    pub(crate) dial: Arc<dyn Dial>,
    /// Workspace that the program requested. If `None`, the server chooses the workspace.
    pub(crate) workspace: Option<String>,
    /// Access token. `None` if the user is anonymous.
    pub(crate) token: Option<String>,
    /// Timeout for opening a link, and for registering the services again on that link.
    pub(crate) limit: Duration,
    pub(crate) keep_alive: KeepAlive,
    /// Reconnect policy. `None` if the client does not reconnect.
    pub(crate) backoff: Option<Backoff>,
}

impl Endpoint {
    /// Opens a link and performs the handshake. The caller applies the timeout.
    pub(crate) async fn open(
        &self,
        client_id: &str,
        reconnection_token: Option<&str>,
    ) -> Result<(BoxLink, Granted), ConnectError> {
        let mut link = self.dial.dial().await?;
        let hello = Hello {
            client_id,
            workspace: self.workspace.as_deref(),
            token: self.token.as_deref(),
            reconnection_token,
        };
        let granted = handshake(&mut link, &hello).await;
        let mut granted = granted.map_err(|error| error.at(self.dial.url()))?;
        granted.identity.connection_type = self.dial.connection_type();
        if let Some(text) = granted.identity.connection_info.get("announcement") {
            tracing::info!("the server announces: {text}");
        }
        Ok((link, granted))
    }

    /// Returns the error for an attempt that took longer than [`limit`](Self::limit).
    pub(crate) fn timed_out(&self) -> ConnectError {
        ConnectError::new(ConnectErrorKind::Timeout, format!("{:?}", self.limit))
            .at(self.dial.url())
            .late_after(self.dial.earlier_failure())
    }

    /// Returns the timers for a link. A reconnection token with a short lifetime is refreshed after
    /// two thirds of the lifetime, so that the next token arrives before the token expires.
    pub(crate) fn keep_alive(&self, granted: &Granted) -> KeepAlive {
        let mut keep_alive = self.keep_alive;
        if let Some(life) = granted.reconnection_token_life_time {
            let most = Duration::try_from_secs_f64(life / 1.5).unwrap_or(Duration::MAX);
            keep_alive.token_refresh_interval = keep_alive.token_refresh_interval.min(most);
        }
        keep_alive
    }
}

/// Registers services and subscriptions again on a new link. These calls are sent before the
/// connection has the state [`State::Connected`].
pub(crate) type Restore = Box<dyn Fn() -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// The server of a connection, and the function that runs after each reconnect.
pub(crate) struct Reconnect {
    pub(crate) endpoint: Endpoint,
    /// Function that registers the services again on a new link. `None` for a silent client.
    pub(crate) restore: Option<Restore>,
}

/// Runs one connection, from the first link to the last link.
pub(crate) struct RedialLoop<H: Handlers> {
    engine: Arc<Engine<H>>,
    queue: Queue,
    reconnect: Option<Reconnect>,
}

/// Guard that closes the connection when the task of the connection ends. The guard also works if
/// the task panics, or if the runtime drops the task. Without the guard, calls would wait forever
/// for a link that no task opens.
struct CloseOnDrop<H: Handlers>(Arc<Engine<H>>);

impl<H: Handlers> Drop for CloseOnDrop<H> {
    fn drop(&mut self) {
        let reason = "Connection lost: its task has ended";
        self.0.close(CloseReason::Lost(reason.into()));
        self.0.lifecycle.set_ended();
    }
}

impl<H: Handlers> RedialLoop<H> {
    pub(crate) fn new(
        engine: Arc<Engine<H>>,
        queue: mpsc::Receiver<QueuedFrame>,
        reconnect: Option<Reconnect>,
    ) -> Self {
        RedialLoop {
            engine,
            queue: Queue::new(queue),
            reconnect,
        }
    }

    /// Starts the task of the connection on the current runtime.
    pub(crate) fn start(self, link: BoxLink, keep_alive: Option<KeepAlive>) {
        let engine = Arc::clone(&self.engine);
        engine.tasks.set_runtime(Runtime::current());
        watchdog::spawn(&engine, self.run(link, keep_alive));
    }

    /// Runs until the connection is closed. Before `run` returns, all pending calls have failed.
    async fn run(mut self, link: BoxLink, keep_alive: Option<KeepAlive>) {
        // The guard is declared first, so that it is dropped last. The destructor of the guard sets
        // `ended`. At this time, the link must already be dropped and its socket must be closed.
        let _guard = CloseOnDrop(Arc::clone(&self.engine));
        let reason = self.keep(link, keep_alive).await;
        if let Some(reason) = reason {
            tracing::debug!("{reason}");
            self.engine.close(reason);
        }
        self.warn_if_lost();
        add(&self.engine.counters.undelivered, self.queue.len());
        // Drop `self` here. Arguments are dropped after local variables, so otherwise `self` would
        // be dropped after the guard.
        drop(self);
    }

    /// Logs a warning if the connection was closed, but not by this program. Without the warning, a
    /// service that peers can no longer reach would look like a service that no peer calls.
    fn warn_if_lost(&self) {
        let lifecycle = &self.engine.lifecycle;
        let reason = lifecycle.close_reason();
        // Two cases need no warning. If the link has no server, the other side normally closes the
        // link. If the first attempt to connect fails, `connect` returns the error.
        let is_client = self.reconnect.is_some() && lifecycle.was_connected();
        if is_client && *reason != CloseReason::Requested {
            let address = self.engine.identity().address();
            tracing::warn!(
                "the connection of {address} has ended: {}",
                report(&*reason)
            );
        }
    }

    /// Drives one link after another. When the connection ends, returns the reason. If this program
    /// has closed the connection, returns `None`.
    async fn keep(
        &mut self,
        mut link: BoxLink,
        mut keep_alive: Option<KeepAlive>,
    ) -> Option<CloseReason> {
        let reconnect = self.reconnect.as_ref();
        let backoff = reconnect.and_then(|r| r.endpoint.backoff.clone());
        let mut recovery = Recovery::new(backoff.clone().unwrap_or_default());
        let mut again = false;
        loop {
            let begin = Instant::now();
            let reason = match self.drive(link, keep_alive, again).await {
                Ended::Closed => return None,
                Ended::Replaced => return Some(CloseReason::Replaced),
                Ended::Lost(reason) => reason,
            };
            // If the first attempt to connect fails, do not retry, because `connect` returns the
            // error.
            if backoff.is_none() || !self.engine.lifecycle.was_connected() {
                return Some(CloseReason::Lost(reason));
            }
            let next = recovery.lost(begin.elapsed(), rand::random());
            self.engine.link_lost(&reason);
            let engine = &self.engine;
            // Call `purge` after the calls have failed, because `purge` drops the requests of
            // sessions that have ended.
            self.queue.purge(&engine.sessions);
            (link, keep_alive) = match self.reopen(&mut recovery, next, reason).await {
                Ok(Some((link, keep_alive))) => (link, Some(keep_alive)),
                Ok(None) => return None,
                Err(reason) => return Some(reason),
            };
            again = true;
        }
    }

    /// Drives a link until the link ends. If this is not the first link, also registers the
    /// services again. The driver sends the requests of these registrations at the same time.
    async fn drive(&mut self, link: BoxLink, keep_alive: Option<KeepAlive>, again: bool) -> Ended {
        let engine = Arc::clone(&self.engine);
        let driving = Driver::new(link, &mut self.queue, engine, keep_alive).run();
        let Some(reconnect) = self.reconnect.as_ref().filter(|_| again) else {
            return driving.await;
        };
        tokio::pin!(driving);
        if let Some(restore) = &reconnect.restore {
            let limit = reconnect.endpoint.limit;
            let restored = tokio::select! {
                ended = &mut driving => return ended,
                restored = timeout(limit, restore()) => restored,
            };
            let failure = match restored {
                Ok(Ok(())) => None,
                Ok(Err(error)) => {
                    let failed = LinkError::new("the services could not be registered again");
                    Some(failed.with_source(error))
                }
                Err(_) => {
                    let failed = "the services could not be registered again";
                    Some(format!("{failed}: not done within {limit:?}").into())
                }
            };
            if let Some(failure) = failure {
                return Ended::Lost(failure);
            }
        }
        let engine = &self.engine;
        count(&engine.counters.reconnects);
        engine.set_connected();
        tracing::info!("connected again as {}", engine.identity().address());
        driving.await
    }

    /// Opens another link. If the connection is closed in the meantime, returns `Ok(None)`. If the
    /// client must stop reconnecting, returns the reason as an error.
    async fn reopen(
        &mut self,
        recovery: &mut Recovery,
        mut next: Next,
        mut last: LinkError,
    ) -> Result<Option<(BoxLink, KeepAlive)>, CloseReason> {
        let Some(Reconnect { endpoint, .. }) = &self.reconnect else {
            return Ok(None);
        };
        let engine = &self.engine;
        let mut closed = engine.lifecycle.subscribe();
        let mut closed = std::pin::pin!(closed.wait_for(State::is_closed));
        loop {
            let pause = match next {
                Next::GiveUp { attempts } => {
                    return Err(CloseReason::GaveUp { attempts, last });
                }
                Next::Try { attempt, pause } => {
                    let until = Instant::now() + pause;
                    let last = report(&last);
                    tracing::warn!("{last}; attempt {attempt} to reconnect begins in {pause:.1?}");
                    engine.lifecycle.set_state(State::Backoff {
                        attempt,
                        until: into_std(until),
                    });
                    sleep_until(until)
                }
            };
            tokio::select! {
                _ = &mut closed => return Ok(None),
                () = pause => {}
            }
            // Call `tidy` here as well, because the driver calls `tidy` only while a link is open.
            engine.tidy();
            engine.lifecycle.set_state(State::Connecting);
            count(&engine.counters.attempts);
            let opened = tokio::select! {
                _ = &mut closed => return Ok(None),
                opened = timeout(endpoint.limit, self.open_again(endpoint)) => opened,
            };
            match opened.unwrap_or(Err(endpoint.timed_out())) {
                Ok((link, granted)) => {
                    let keep_alive = endpoint.keep_alive(&granted);
                    engine.membership.adopt(granted);
                    return Ok(Some((link, keep_alive)));
                }
                Err(error) if error.is_retryable() || error.kind().is_below_the_protocol() => {
                    // Retry even after errors for which a first attempt would give up, because the
                    // URL has worked before. For example, a hotspot may temporarily respond with
                    // its own certificate, or a proxy may respond with an error status because its
                    // server is down.
                    last = error.into();
                    next = recovery.failed(rand::random());
                }
                Err(error) => return Err(CloseReason::Refused(error)),
            }
        }
    }

    /// Opens a link with the same client id in the same workspace. Fails if the server assigns
    /// another workspace, because the program may hold addresses that contain the name of the
    /// previous workspace.
    async fn open_again(&self, endpoint: &Endpoint) -> Result<(BoxLink, Granted), ConnectError> {
        let former = self.engine.identity();
        let token = self.engine.membership.reconnection_token();
        let mut opened = endpoint.open(&former.client_id, token.as_deref()).await;
        // Reconnection tokens expire after two days, and a restarted server may not accept them.
        // The access token may be valid for longer.
        let expired = opened
            .as_ref()
            .is_err_and(|error| error.kind() == ConnectErrorKind::TokenRejected);
        if expired && token.is_some() && endpoint.token.is_some() {
            tracing::debug!("the reconnection token was rejected; trying the access token");
            opened = endpoint.open(&former.client_id, None).await;
        }
        let (link, granted) = opened?;
        if granted.identity.workspace != former.workspace {
            return Err(ConnectError::new(
                ConnectErrorKind::WrongWorkspace,
                format!(
                    "Connected to wrong workspace: {}, expected: {}",
                    granted.identity.workspace, former.workspace
                ),
            )
            .at(endpoint.dial.url()));
        }
        Ok((link, granted))
    }
}
