//! The open sessions of a connection, behind their lock.
//!
//! They are behind a lock instead of in the driver's task, so that a caller that drops its future
//! frees its session at once, without a message that might not fit into a queue. The lock is held
//! for a look-up, never across an await. The functions of a session are dropped without the lock,
//! because a closure of the program may run any code when it is dropped.

use std::collections::HashMap;

use hypha_wire::Message;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::session_table::{AnswerLookup, Ended, LastSeen, ObjectLookup, SessionTable};
use super::{Clock, Failure, Loss};

use crate::error::LinkError;

/// The end of a call, as its caller receives it. Messages are passed on undecoded, so that the
/// caller's task decodes them instead of the driver.
#[derive(Debug)]
pub(crate) enum Response {
    /// The result.
    Resolve(Message),
    /// The error of the method, or a rejection.
    Reject(Message),
    /// There will be no response.
    Lost(Loss),
}

type Table<O> = SessionTable<oneshot::Sender<Response>, O>;

/// The open sessions. `O` is an object of this program that a peer may call.
pub(crate) struct Sessions<O> {
    table: Mutex<Table<O>>,
    clock: Clock,
}

/// Numbers of waiting calls and of objects that peers can call.
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

    /// Opens a session for a call that waits, for objects that are handed out, or for both.
    pub(crate) fn open(
        &self,
        id: &str,
        target: &str,
        call: Option<(LastSeen, oneshot::Sender<Response>)>,
        objects: HashMap<String, O>,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let opened = self.table.lock().open(id, target, call, objects, now);
        // The guard has ended, so the objects of a refused session are dropped without the lock.
        opened.map_err(|(reason, _)| Loss::Connection(reason).before_sending())
    }

    pub(crate) fn exists(&self, id: &str) -> bool {
        self.table.lock().exists(id)
    }

    /// Ends a session and those nested in it.
    pub(crate) fn end(&self, id: &str) {
        let ended = self.table.lock().end(id);
        drop(ended);
    }

    /// Ends the call of a session after a response from `from`, and the session with it.
    pub(super) fn answer(
        &self,
        id: &str,
        from: &str,
    ) -> AnswerLookup<oneshot::Sender<Response>, O> {
        self.table.lock().answer(id, from)
    }

    /// Records a heartbeat of a callee; returns false if there is no such call or it is not its
    /// callee.
    pub(crate) fn heartbeat(&self, id: &str, from: &str) -> bool {
        let now = self.clock.now();
        self.table.lock().heartbeat(id, from, now)
    }

    /// Looks up an object for a call from `from`, and runs `then` with the lock held. `then` must
    /// be short and must not take a lock of the engine.
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

    /// Takes an object out of a session, if the session is with `peer`: only the receiver of an
    /// object may release it.
    pub(crate) fn release(&self, peer: &str, id: &str, object: &str) {
        let found = self.with_object(id, object, peer, None, |found| {
            matches!(found, ObjectLookup::Found(_))
        });
        if found {
            self.withdraw(id, &[object]);
        }
    }

    /// Takes objects out of a session.
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

    /// Ends all sessions with `peer`. The calls fail when [`Lost::tell`] is called.
    pub(super) fn peer_gone(&self, peer: &str) -> Lost<O> {
        Lost(self.table.lock().peer_gone(peer))
    }

    /// Ends the sessions of waiting calls. Sessions that only hold objects stay, because peers can
    /// use these over the next link.
    pub(super) fn link_lost(&self) -> Lost<O> {
        Lost(self.table.lock().end_calls())
    }

    /// Ends all sessions and lets no other begin.
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

/// Sessions that ended without a response. A separate step fails their calls, so that the lock is
/// released before.
pub(super) struct Lost<O>(Ended<oneshot::Sender<Response>, O>);

impl<O> Lost<O> {
    /// Fails the calls and drops the objects.
    pub(super) fn tell(self, loss: impl Fn(LinkError) -> Loss, reason: &LinkError) {
        for reply in self.0.replies {
            // The caller may have dropped its future.
            let _ = reply.send(Response::Lost(loss(reason.clone())));
        }
    }
}
