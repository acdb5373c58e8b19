//! The task that keeps a connection: it drives a link until that is lost, opens another one, offers the
//! services again, and so on until the connection is closed (protocol 01 §7, §9).

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{
    Client, Core,
    core::{Outgoing, lock},
    driver::{Driver, Ended, Queue},
    handshake::{Granted, Hello, handshake},
    settings::KeepAlive,
    state::{Backoff, CloseReason, Next, Recovery, State},
    stats::count,
};
use crate::{
    error::{ConnectError, ConnectErrorKind, Error, LinkError, report},
    transport::{BoxLink, Dial},
};
use hypha_wire::Map;

/// How a lost connection comes back.
pub(super) struct Way {
    pub(super) dial: Arc<dyn Dial>,
    pub(super) workspace: Option<String>,
    pub(super) token: Option<String>,
    /// For each attempt, from the first step to the last service.
    pub(super) limit: Duration,
    /// Nothing is registered.
    pub(super) silent: bool,
    pub(super) keep_alive: KeepAlive,
    /// `None`: it does not come back.
    pub(super) backoff: Option<Backoff>,
}

impl Way {
    /// Opens a link and introduces this client.
    pub(super) async fn open(
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

    /// The limit for connecting has passed.
    pub(super) fn timed_out(&self) -> ConnectError {
        ConnectError::new(ConnectErrorKind::Timeout, format!("{:?}", self.limit))
            .at(self.dial.url())
    }

    /// The timers of a link, with the limit that the server sets.
    pub(super) fn keep_alive(&self, granted: &Granted) -> KeepAlive {
        let mut keep_alive = self.keep_alive;
        if let Some(life) = granted.reconnection_token_life_time {
            let most = Duration::try_from_secs_f64(life / 1.5).unwrap_or(Duration::MAX);
            keep_alive.token_refresh_interval = keep_alive.token_refresh_interval.min(most);
        }
        keep_alive
    }
}

/// One connection, from its first link to its last.
pub(super) struct Connection {
    core: Arc<Core>,
    queue: Queue,
    way: Option<Way>,
}

/// Says that the task has ended, also if its runtime drops it or it panics.
struct Over(Arc<Core>);

impl Drop for Over {
    fn drop(&mut self) {
        let reason = "Connection lost: its task has ended";
        self.0.close(CloseReason::Lost(reason.into()));
        self.0.ended.send_replace(true);
    }
}

impl Connection {
    pub(super) fn new(core: Arc<Core>, queue: mpsc::Receiver<Outgoing>, way: Option<Way>) -> Self {
        Connection {
            core,
            queue: Queue::new(queue),
            way,
        }
    }

    /// Runs until the connection is closed; everything that waits has failed then.
    pub(super) async fn run(mut self, link: BoxLink, keep_alive: Option<KeepAlive>) {
        // Dropped last, when link and queue are gone.
        let _over = Over(Arc::clone(&self.core));
        let reason = self.keep(link, keep_alive).await;
        if let Some(reason) = reason {
            tracing::debug!("{reason}");
            self.core.close(reason);
        }
        drop(self);
    }

    /// Why the connection is over; `None` if it has been closed on this side.
    async fn keep(
        &mut self,
        mut link: BoxLink,
        mut keep_alive: Option<KeepAlive>,
    ) -> Option<CloseReason> {
        let backoff = self.way.as_ref().and_then(|way| way.backoff.clone());
        let mut recovery = Recovery::new(backoff.clone().unwrap_or_default());
        let mut again = false;
        loop {
            let begin = Instant::now();
            let reason = match self.drive(link, keep_alive, again).await {
                Ended::Closed => return None,
                Ended::Replaced => return Some(CloseReason::Replaced),
                Ended::Lost(reason) => reason,
            };
            // What does not even come about is for whoever connects to try again.
            if backoff.is_none() || !self.core.was_connected() {
                return Some(CloseReason::Lost(reason));
            }
            let next = recovery.lost(begin.elapsed(), rand::random());
            self.core.link_lost(&reason);
            self.queue.purge(&self.core);
            (link, keep_alive) = match self.regain(&mut recovery, next, reason).await {
                Ok(Some((link, keep_alive))) => (link, Some(keep_alive)),
                Ok(None) => return None,
                Err(reason) => return Some(reason),
            };
            again = true;
        }
    }

    /// Drives a link to its end. If it is another one than the first, the services are offered again
    /// meanwhile.
    async fn drive(&mut self, link: BoxLink, keep_alive: Option<KeepAlive>, again: bool) -> Ended {
        let driver = Driver::new(link, &mut self.queue, Arc::clone(&self.core), keep_alive);
        let driving = driver.run();
        let Some(&Way { limit, silent, .. }) = self.way.as_ref().filter(|_| again) else {
            return driving.await;
        };
        tokio::pin!(driving);
        if !silent {
            let client = Client::of_core(&self.core).for_setup();
            let restored = tokio::select! {
                ended = &mut driving => return ended,
                restored = timeout(limit, client.restore()) => restored,
            };
            let failure = match restored {
                Ok(Ok(())) => None,
                Ok(Err(error)) => {
                    let failed = LinkError::new("the services could not be offered again");
                    Some(failed.with_source(error))
                }
                Err(_) => {
                    let failed = "the services could not be offered again";
                    Some(format!("{failed}: not done within {limit:?}").into())
                }
            };
            if let Some(failure) = failure {
                return Ended::Lost(failure);
            }
        }
        count(&self.core.counters.reconnects);
        self.core.connected();
        tracing::info!("connected again as {}", self.core.identity().address());
        driving.await
    }

    /// Opens another link. `Ok(None)` if the connection is closed meanwhile, an error if there is no way
    /// back.
    async fn regain(
        &mut self,
        recovery: &mut Recovery,
        mut next: Next,
        mut last: LinkError,
    ) -> Result<Option<(BoxLink, KeepAlive)>, CloseReason> {
        let Some(way) = &self.way else {
            return Ok(None);
        };
        let core = &self.core;
        let mut closed = core.state.subscribe();
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
                    core.set_state(State::Backoff {
                        attempt,
                        until: until.into_std(),
                    });
                    tokio::time::sleep_until(until)
                }
            };
            tokio::select! {
                _ = &mut closed => return Ok(None),
                () = pause => {}
            }
            core.tidy();
            core.set_state(State::Connecting);
            count(&core.counters.attempts);
            let opened = tokio::select! {
                _ = &mut closed => return Ok(None),
                opened = timeout(way.limit, self.open_again(way)) => opened,
            };
            match opened.unwrap_or(Err(way.timed_out())) {
                Ok((link, granted)) => {
                    let keep_alive = way.keep_alive(&granted);
                    core.adopt(granted);
                    return Ok(Some((link, keep_alive)));
                }
                Err(error) if error.is_retryable() || error.kind().is_below_the_protocol() => {
                    // The server has been reached before at this URL: proxies that have no server to
                    // pass a request to, and hotspots, answer with statuses and certificates of their own.
                    last = error.into();
                    next = recovery.failed(rand::random());
                }
                Err(error) => return Err(CloseReason::Refused(error)),
            }
        }
    }

    /// One attempt, as the same client in the same workspace.
    async fn open_again(&self, way: &Way) -> Result<(BoxLink, Granted), ConnectError> {
        let former = self.core.identity();
        let token = lock(&self.core.reconnection_token).clone();
        let mut opened = way.open(&former.client_id, token.as_deref()).await;
        // It lives for two days; who has been asleep for longer comes in by the front door.
        let expired = opened
            .as_ref()
            .is_err_and(|error| error.kind() == ConnectErrorKind::TokenRejected);
        if expired && token.is_some() && way.token.is_some() {
            tracing::debug!("the reconnection token is not accepted any more, the token may be");
            opened = way.open(&former.client_id, None).await;
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
            .at(way.dial.url()));
        }
        Ok((link, granted))
    }
}

impl Client {
    /// What the server must be told anew over a new link (protocol 01 §7).
    fn restore(self) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
        Box::pin(async move {
            self.announce().await?;
            let manager = self.identity().manager_id.clone();
            let data = Map::from_iter([("manager_id".into(), manager.into())]);
            self.core().tell("manager_refreshed", data);
            self.offer_again().await?;
            self.subscribe_again().await;
            Ok(())
        })
    }
}

impl Core {
    /// Takes over what the server said of a new link.
    pub(super) fn adopt(&self, granted: Granted) {
        if let Some(token) = granted.reconnection_token {
            *lock(&self.reconnection_token) = Some(token);
        }
        self.set_identity(granted.identity);
    }

    /// The link is lost, but not the connection.
    fn link_lost(&self, reason: &LinkError) {
        // With the state first, new calls wait; those that were made before fail now.
        self.set_state(State::Connecting);
        self.fail_calls(reason);
        self.forget_peers();
        self.tell(
            "disconnected",
            Map::from_iter([("reason".into(), report(reason).into())]),
        );
    }

    /// Everything is as it should be.
    pub(super) fn connected(&self) {
        self.set_state(State::Connected);
        let info = self.identity().connection_info.clone();
        self.tell("connected", info);
    }
}
