//! Protects the sessions of a connection with a lock.
//!
//! The sessions do not belong to the task of the driver. So if a caller drops its future, the
//! caller can free the session immediately. Sending a message to the driver instead could fail,
//! because a queue may be full. The lock is never held across an await. The functions in a session
//! are dropped after the lock is released, because dropping a closure of the program may run any
//! code.

use std::collections::HashMap;

use hypha_wire::Message;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::session_table::{AnswerLookup, Ended, LastSeen, ObjectLookup, SessionTable};
use super::{Clock, Failure, Loss};

use crate::error::LinkError;

/// Outcome of a call. The driver passes the outcome to the task of the caller. The message in the
/// outcome is still encoded, so that the task of the caller decodes the message instead of the
/// driver.
#[derive(Debug)]
pub(crate) enum Response {
    /// The result of the method.
    Resolve(Message),
    /// The error of the method, or a rejection.
    Reject(Message),
    /// No response will arrive.
    Lost(Loss),
}

type Table<O> = SessionTable<oneshot::Sender<Response>, O>;

/// The open sessions of a connection. A value of type `O` is an object of this program that a peer
/// may call.
pub(crate) struct Sessions<O> {
    table: Mutex<Table<O>>,
    clock: Clock,
}

/// Returns the number of pending calls and the number of objects that peers can call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) calls: usize,
    pub(crate) objects: usize,
}

impl<O: Clone> Sessions<O> {
    pub(super) fn new(clock: Clock) -> Self {
        Sessions {
            table: Mutex::new(SessionTable::new()),
            clock,
        }
    }

    /// Opens a session for a pending call, for exported objects, or for both.
    pub(crate) fn open(
        &self,
        id: &str,
        target: &str,
        call: Option<(LastSeen, oneshot::Sender<Response>)>,
        objects: HashMap<String, O>,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let opened = self.table.lock().open(id, target, call, objects, now);
        // The lock is already released at this point, so the objects of a rejected session are
        // dropped without the lock.
        opened.map_err(|(reason, _)| Loss::Connection(reason).before_sending())
    }

    pub(crate) fn exists(&self, id: &str) -> bool {
        self.table.lock().exists(id)
    }

    /// Ends a session and its nested sessions.
    pub(crate) fn end(&self, id: &str) {
        let ended = self.table.lock().end(id);
        drop(ended);
    }

    /// Ends a session and its call after a response from `from`.
    pub(super) fn answer(
        &self,
        id: &str,
        from: &str,
    ) -> AnswerLookup<oneshot::Sender<Response>, O> {
        self.table.lock().answer(id, from)
    }

    /// Records that the callee has sent a heartbeat. Returns `false` if there is no such call, or
    /// if the sender is not the callee.
    pub(crate) fn heartbeat(&self, id: &str, from: &str) -> bool {
        let now = self.clock.now();
        self.table.lock().heartbeat(id, from, now)
    }

    /// Looks up an object for a call from `from`. Calls `then` with the result while holding the
    /// lock. `then` must be short, and must not take a lock of the engine.
    pub(crate) fn with_object<T>(
        &self,
        id: &str,
        object: &str,
        from: &str,
        parent: Option<&str>,
        then: impl FnOnce(ObjectLookup<'_, O>) -> T,
    ) -> T {
        let now = self.clock.now();
        then(self.table.lock().find(id, object, from, parent, now))
    }

    /// Removes an object from a session, but only if `peer` is the peer of the session. Only the
    /// receiver of an object may release the object.
    pub(crate) fn release(&self, peer: &str, id: &str, object: &str) {
        let found = self.with_object(id, object, peer, None, |found| {
            matches!(found, ObjectLookup::Found(_))
        });
        if found {
            self.withdraw(id, &[object]);
        }
    }

    /// Removes objects from a session.
    pub(crate) fn withdraw(&self, id: &str, objects: &[&str]) {
        let ended = self.table.lock().withdraw(id, objects);
        drop(ended);
    }

    pub(super) fn counts(&self) -> Counts {
        let table = self.table.lock();
        Counts {
            calls: table.calls(),
            objects: table.objects(),
        }
    }

    /// Ends all sessions with `peer`. Call [`Lost::tell`] afterwards to fail the calls of these
    /// sessions.
    pub(super) fn peer_gone(&self, peer: &str) -> Lost<O> {
        Lost(self.table.lock().peer_gone(peer))
    }

    /// Ends the sessions with a pending call. Keeps the sessions that contain only objects, because
    /// peers can use these objects on the next link.
    pub(super) fn link_lost(&self) -> Lost<O> {
        Lost(self.table.lock().end_calls())
    }

    /// Ends all sessions and rejects new sessions.
    pub(super) fn close(&self, reason: &LinkError) -> Lost<O> {
        Lost(self.table.lock().close(reason))
    }

    /// Ends the sessions without a call whose objects no peer has used for `idle` milliseconds.
    pub(super) fn tidy(&self, idle: u64) {
        if let Some(since) = self.clock.now().checked_sub(idle) {
            let ended = self.table.lock().expire(since);
            drop(ended);
        }
    }
}

/// Sessions that have ended without a response. After the lock is released, [`tell`](Self::tell)
/// fails the calls of these sessions.
pub(super) struct Lost<O>(Ended<oneshot::Sender<Response>, O>);

impl<O> Lost<O> {
    /// Fails the calls and drops the objects.
    pub(super) fn tell(self, loss: impl Fn(LinkError) -> Loss, reason: &LinkError) {
        for reply in self.0.replies {
            // An error means that the caller has dropped its future.
            let _ = reply.send(Response::Lost(loss(reason.clone())));
        }
    }
}
