//! Stores the state of a connection, and lets calls wait for [`State::Connected`].
//!
//! The task of the connection (`redial`) sets the state. While the state is locked, this module
//! calls no other code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};

use crate::error::{CallSite, Disconnected, LinkError, Lost};

use super::{CloseReason, Counters, Failure, Loss, Settings, State, count};

/// The state of the connection.
///
/// This state alone determines whether the connection is closed. The other parts of the engine have
/// locks of their own. Code that adds an item to such a part checks this state while holding the
/// lock of the part. [`close`](Self::close) sets this state first. Afterwards, the engine takes
/// each lock and removes all items.
pub(crate) struct Lifecycle {
    state: watch::Sender<State>,
    /// Whether the connection was ever established. `Ordering::Relaxed` is sufficient, because no
    /// other data depends on this value.
    was_connected: AtomicBool,
    /// One permit for each call that may wait for the connection.
    waiting: Semaphore,
    most_waiting: usize,
    /// Wakes the driver if the link must be replaced although the link is still open.
    broken: Notify,
    /// Whether the task of the connection has ended.
    ended: watch::Sender<bool>,
}

impl Lifecycle {
    pub(super) fn new(state: State, settings: &Settings) -> Self {
        let most_waiting = settings.max_waiting_calls.min(Semaphore::MAX_PERMITS);
        Lifecycle {
            was_connected: AtomicBool::new(state == State::Connected),
            state: watch::Sender::new(state),
            waiting: Semaphore::new(most_waiting),
            most_waiting,
            broken: Notify::new(),
            ended: watch::Sender::new(false),
        }
    }

    /// Returns the current state.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Sets a new state. Does nothing if the connection is closed, because a closed connection
    /// stays closed.
    pub(super) fn set_state(&self, new: State) {
        if new == State::Connected {
            self.was_connected.store(true, Ordering::Relaxed);
        }
        self.state.send_if_modified(|state| {
            let changed = !state.is_closed() && *state != new;
            if changed {
                *state = new;
            }
            changed
        });
    }

    pub(super) fn was_connected(&self) -> bool {
        self.was_connected.load(Ordering::Relaxed)
    }

    pub(crate) fn is_connected(&self) -> bool {
        *self.state.borrow() == State::Connected
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().is_closed()
    }

    /// Waits until the connection is established, for at most `limit`. Fails immediately if too
    /// many calls are already waiting.
    pub(crate) async fn wait_connected(
        &self,
        limit: Duration,
        counters: &Counters,
    ) -> Result<(), Failure> {
        if self.is_connected() {
            return Ok(());
        }
        let lost = |reason: String| Loss::Link(reason.into()).before_sending();
        // Fail instead of waiting for a permit. Each waiting call holds its arguments in memory, so
        // the number of waiting calls must be limited.
        let Ok(_waiting) = self.waiting.try_acquire() else {
            count(&counters.refused_waiting);
            return Err(lost(format!(
                "not connected, and {} calls wait for the connection already",
                self.most_waiting
            )));
        };
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| state.is_closed() || *state == State::Connected);
        match crate::runtime::timeout(limit, settled).await {
            Ok(_) if self.is_closed() => Err(self.over()),
            Ok(_) => Ok(()),
            Err(_) => Err(lost(format!("not connected for {limit:?}"))),
        }
    }

    /// Returns the number of calls that wait for the connection.
    pub(super) fn waiting(&self) -> usize {
        self.most_waiting - self.waiting.available_permits()
    }

    /// Makes the driver close the current link. The client then opens another link. Does nothing if
    /// there is no link, because the client is then already opening a link.
    pub(crate) fn drop_link(&self) {
        // Do not use `notify_one`. If there is no link, `notify_one` would store the notification,
        // and the stored notification would end the next link.
        self.broken.notify_waiters();
    }

    /// Waits until [`drop_link`](Self::drop_link) is called.
    pub(super) async fn link_dropped(&self) {
        self.broken.notified().await;
    }

    /// Marks the connection as closed. If the connection was closed before, keeps the first reason
    /// and returns `false`.
    pub(super) fn close(&self, reason: CloseReason) -> bool {
        let reason = Arc::new(reason);
        self.state.send_if_modified(|state| {
            let first = !state.is_closed();
            if first {
                *state = State::Closed { reason };
            }
            first
        })
    }

    /// Returns the reason why the connection was closed. Returns [`CloseReason::Requested`] if the
    /// connection is not closed.
    pub(crate) fn close_reason(&self) -> Arc<CloseReason> {
        match &*self.state.borrow() {
            State::Closed { reason } => Arc::clone(reason),
            _ => Arc::new(CloseReason::Requested),
        }
    }

    /// Returns the close reason as a [`LinkError`].
    pub(crate) fn closed_reason(&self) -> LinkError {
        self.close_reason().as_link_error()
    }

    /// Returns the failure of a call on a closed connection.
    pub(crate) fn over(&self) -> Failure {
        Loss::Connection(self.closed_reason()).before_sending()
    }

    /// Returns the error for an operation on a closed connection that is not a call of a peer. Such
    /// an operation is, for example, a registration.
    pub(crate) fn over_at(&self, call: CallSite) -> Disconnected {
        let reason = self.closed_reason();
        let error = Disconnected::new(Lost::Connection, reason.to_string(), false, call);
        error.with_cause(reason.cause())
    }

    /// Records that the task of the connection has ended and that the link is closed.
    pub(super) fn set_ended(&self) {
        self.ended.send_replace(true);
    }

    /// Waits until the task of the connection has ended and the link is closed.
    pub(crate) async fn ended(&self) {
        // `wait_for` fails only if the sender is dropped. This cannot happen, because `self` owns
        // the sender.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
