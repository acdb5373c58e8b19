//! The table of calls that wait for an answer (protocol 02 §10). Pure: no I/O, no clock, no tasks.
//!
//! It stands behind a mutex, not inside the driver task: a caller that drops its future frees its
//! session at once, without asking anybody.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// When the peer of a call last gave a sign of life, in milliseconds of the connection's clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<AtomicU64>);

impl Heard {
    pub(crate) fn at(&self, now: u64) {
        self.0.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Pending<R> {
    /// Absolute address of the callee: only it may answer.
    target: String,
    heard: Heard,
    reply: R,
}

/// The open calls of one connection. `R` is what an answer is handed to.
pub(crate) struct Sessions<R> {
    open: HashMap<String, Pending<R>>,
    /// Why no call can be opened any more.
    closed: Option<Arc<str>>,
}

/// What became of a message to a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<R> {
    /// The call is over; hand the answer to this.
    Final(R),
    /// No such session: it has ended before. Late answers are normal.
    Unknown,
    /// The sender is not the callee.
    Stranger,
}

impl<R> Sessions<R> {
    pub(crate) fn new() -> Self {
        Sessions {
            open: HashMap::new(),
            closed: None,
        }
    }

    /// Opens a session; gives `reply` back with the reason if the connection is closed.
    pub(crate) fn open(
        &mut self,
        id: &str,
        target: &str,
        heard: Heard,
        reply: R,
    ) -> Result<(), (Arc<str>, R)> {
        if let Some(reason) = &self.closed {
            return Err((Arc::clone(reason), reply));
        }
        self.open.insert(
            id.to_owned(),
            Pending {
                target: target.to_owned(),
                heard,
                reply,
            },
        );
        Ok(())
    }

    /// Ends the session by an answer from `from`.
    pub(crate) fn answer(&mut self, id: &str, from: &str) -> Answer<R> {
        match self.open.get(id) {
            None => Answer::Unknown,
            Some(pending) if pending.target != from => Answer::Stranger,
            Some(_) => match self.open.remove(id) {
                Some(pending) => Answer::Final(pending.reply),
                None => Answer::Unknown,
            },
        }
    }

    /// Notes a heartbeat; false if there is no such session or the sender is not its callee.
    pub(crate) fn heartbeat(&mut self, id: &str, from: &str, now: u64) -> bool {
        match self.open.get(id) {
            Some(pending) if pending.target == from => {
                pending.heard.at(now);
                true
            }
            _ => false,
        }
    }

    /// Frees the session of a caller that does not wait any more.
    pub(crate) fn forget(&mut self, id: &str) {
        self.open.remove(id);
    }

    /// Ends all sessions whose callee is `peer`.
    pub(crate) fn peer_gone(&mut self, peer: &str) -> Vec<R> {
        let ids: Vec<String> = self
            .open
            .iter()
            .filter(|(_, pending)| pending.target == peer)
            .map(|(id, _)| id.clone())
            .collect();
        ids.iter()
            .filter_map(|id| self.open.remove(id))
            .map(|pending| pending.reply)
            .collect()
    }

    /// Ends all sessions and lets no other begin.
    pub(crate) fn close(&mut self, reason: &str) -> Vec<R> {
        self.closed.get_or_insert_with(|| reason.into());
        self.open
            .drain()
            .map(|(_, pending)| pending.reply)
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Sessions<u32> {
        let mut sessions = Sessions::new();
        sessions.open("s1", "ws/a", Heard::default(), 1).unwrap();
        sessions.open("s2", "ws/a", Heard::default(), 2).unwrap();
        sessions.open("s3", "ws/b", Heard::default(), 3).unwrap();
        sessions
    }

    #[test]
    fn only_the_callee_answers_and_only_once() {
        let mut sessions = table();
        assert_eq!(sessions.answer("s1", "ws/b"), Answer::Stranger);
        assert_eq!(sessions.answer("s1", "ws/a"), Answer::Final(1));
        assert_eq!(sessions.answer("s1", "ws/a"), Answer::Unknown);
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn a_peer_that_leaves_takes_its_sessions_along() {
        let mut sessions = table();
        let mut ended = sessions.peer_gone("ws/a");
        ended.sort_unstable();
        assert_eq!((ended, sessions.len()), (vec![1, 2], 1));
    }

    #[test]
    fn nothing_opens_after_the_end() {
        let mut sessions = table();
        assert_eq!(sessions.close("bye").len(), 3);
        let (reason, reply) = sessions
            .open("s4", "ws/a", Heard::default(), 4)
            .unwrap_err();
        assert_eq!((&*reason, reply), ("bye", 4));
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn heartbeats_count_only_from_the_callee() {
        let mut sessions = Sessions::new();
        let heard = Heard::default();
        sessions.open("s", "ws/a", heard.clone(), ()).unwrap();
        assert!(!sessions.heartbeat("s", "ws/x", 7));
        assert!(sessions.heartbeat("s", "ws/a", 9));
        assert_eq!(heard.last(), 9);
    }
}
