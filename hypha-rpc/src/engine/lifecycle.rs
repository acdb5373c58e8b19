//! Whether the connection stands, who waits for it, and its end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{CloseReason, Core, Response, State, count};
use crate::{
    call::{Failure, Loss},
    error::{CallSite, Disconnected, LinkError, Lost, report},
};
use hypha_wire::{Map, Value};

impl Core {
    /// Another state, unless the connection is over.
    pub(crate) fn set_state(&self, new: State) {
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

    pub(crate) fn was_connected(&self) -> bool {
        self.was_connected.load(Ordering::Relaxed)
    }

    pub(crate) fn is_connected(&self) -> bool {
        *self.state.borrow() == State::Connected
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().is_closed()
    }

    /// Waits until calls can be made, at most for `limit`.
    pub(crate) async fn stands(&self, limit: Duration) -> Result<(), Failure> {
        if self.is_connected() {
            return Ok(());
        }
        let lost = |reason: String| Failure::Lost {
            loss: Loss::Link(reason.into()),
            sent: false,
        };
        let Ok(_waiting) = self.waiting.try_acquire() else {
            count(&self.counters.refused_waiting);
            let most = self.options.max_waiting_calls;
            return Err(lost(format!(
                "not connected, and {most} calls wait for the connection already"
            )));
        };
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| state.is_closed() || *state == State::Connected);
        match tokio::time::timeout(limit, settled).await {
            Ok(_) if self.is_closed() => Err(self.over()),
            Ok(_) => Ok(()),
            Err(_) => Err(lost(format!("not connected for {limit:?}"))),
        }
    }

    /// How many calls wait for the connection, and frames for the link.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let most = self.options.max_waiting_calls.min(Semaphore::MAX_PERMITS);
        (
            most - self.waiting.available_permits(),
            self.outbound.max_capacity() - self.outbound.capacity(),
        )
    }

    /// Gives the link up, so that another one takes its place.
    pub(crate) fn drop_link(&self) {
        self.broken.notify_waiters();
    }

    // The end

    /// Why the connection is over.
    pub(crate) fn close_reason(&self) -> Arc<CloseReason> {
        match &*self.state.borrow() {
            State::Closed { reason } => Arc::clone(reason),
            _ => Arc::new(CloseReason::Requested),
        }
    }

    /// The same as text.
    pub(crate) fn closed_reason(&self) -> LinkError {
        self.close_reason().as_link_error()
    }

    /// What a call meets that cannot be made any more.
    pub(crate) fn over(&self) -> Failure {
        Failure::Lost {
            loss: Loss::Connection(self.closed_reason()),
            sent: false,
        }
    }

    /// The same for what is no call of a peer.
    pub(crate) fn over_at(&self, call: CallSite) -> Disconnected {
        let reason = self.closed_reason();
        let error = Disconnected::new(Lost::Connection, reason.to_string(), false, call);
        error.with_cause(reason.cause())
    }

    /// Waits until the link has been closed.
    pub(crate) async fn ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Fails everything that waits, ends everything that runs, and lets nothing else begin. The
    /// first reason stays.
    pub(crate) fn close(&self, reason: CloseReason) {
        let reason = Arc::new(reason);
        let first = self.state.send_if_modified(|state| {
            let first = !state.is_closed();
            if first {
                *state = State::Closed { reason };
            }
            first
        });
        let reason = self.closed_reason();
        if first {
            let why = Map::from_iter([("reason".into(), Value::from(report(&reason)))]);
            self.tell("disconnected", why);
        }
        let ended = self.sessions.lock().close(&reason);
        for reply in ended.replies {
            let _ = reply.send(Response::Lost(Loss::Connection(reason.clone())));
        }
        self.calls.cancel(|_| true);
        self.handlers.lock().abort_all();
        self.budget.close();
        self.running.close();
        self.events.close();
        // A service may hold a handle of this connection, which then would hold itself for ever.
        let services = std::mem::take(&mut *self.services.write());
        drop(services);
        // So do the functions of the manager.
        let manager = self.manager.lock().take();
        drop(manager);
        #[cfg(feature = "metrics")]
        super::stats::publish(self);
    }
}
