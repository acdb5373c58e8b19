//! Stores the sessions of a connection. A session contains a call that waits for a response,
//! objects that peers may call, or both (`docs/protocol/02-messages.md#s10`).
//!
//! The table performs no I/O, and uses no clock, tasks or locks. So tests can cover all orders of
//! events. [`Sessions`](super::sessions::Sessions) adds the lock and the clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::LinkError;

/// Time of the last message from the callee, in milliseconds of the connection's clock. The driver
/// writes the time, and the caller reads the time.
///
/// `Ordering::Relaxed` is sufficient, because no other data depends on the time. The stored time
/// only increases, so a slow writer cannot replace a later time by an earlier time.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastSeen(Arc<AtomicU64>);

impl LastSeen {
    /// Records a message received at the time `now`.
    pub(crate) fn at(&self, now: u64) {
        self.0.fetch_max(now, Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A call that waits for its response.
struct Pending<R> {
    seen: LastSeen,
    reply: R,
}

/// One session. A session contains a call that waits for its response, the objects that were
/// exported with a message, or both.
struct Session<R, O> {
    /// Absolute address of the peer. Only this peer may respond to the call and use the objects.
    target: String,
    call: Option<Pending<R>>,
    objects: HashMap<String, O>,
    /// Time at which the peer last used one of the objects, in milliseconds of the connection's
    /// clock.
    used: u64,
}

/// The sessions of one connection. A value of type `R` receives the response of a call. A value of
/// type `O` is an object that peers can call.
///
/// The id of a nested session consists of the id of its parent, a dot and a suffix. When a session
/// ends, its nested sessions also end. The numbers `calls`, `objects` and `nested` always match the
/// content of `open`.
pub(super) struct SessionTable<R, O> {
    /// An ordered map, so that the nested sessions directly follow their parent.
    open: BTreeMap<String, Session<R, O>>,
    calls: usize,
    objects: usize,
    /// Number of nested sessions. If the number is 0, `end` does not search for nested sessions.
    nested: usize,
    /// Reason why no session can be opened. `None` until the connection is closed.
    closed: Option<LinkError>,
}

/// Contents of sessions that have ended. The caller must drop the contents after it has released
/// the lock, because their destructors may run any code.
#[derive(Debug)]
pub(super) struct Ended<R, O> {
    pub(super) replies: Vec<R>,
    pub(super) objects: Vec<O>,
}

/// Result of assigning a response to a session.
#[derive(Debug)]
pub(super) enum AnswerLookup<R, O> {
    /// The response ends the call. The caller of this function passes the response to `R`.
    Final(R, Ended<R, O>),
    /// The session does not exist, or contains no call. This is normal: a response may arrive after
    /// the caller has stopped waiting.
    Unknown,
    /// The sender of the response is not the callee.
    Stranger,
}

/// Result of looking up an object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ObjectLookup<'a, O> {
    Found(O),
    NoSession,
    NoObject,
    /// The sender of the call is not the peer of the session. Contains the address of the peer.
    Stranger(&'a str),
    /// The call names a parent session, and this parent session has ended.
    ParentClosed,
}

impl<R, O> Default for Ended<R, O> {
    fn default() -> Self {
        Ended {
            replies: Vec::new(),
            objects: Vec::new(),
        }
    }
}

impl<R, O: Clone> SessionTable<R, O> {
    pub(super) fn new() -> Self {
        SessionTable {
            open: BTreeMap::new(),
            calls: 0,
            objects: 0,
            nested: 0,
            closed: None,
        }
    }

    /// Opens a session. If the connection is closed, returns the reason together with `call` and
    /// `objects`. The caller of this function must drop `call` and `objects` after it has released
    /// the lock.
    pub(super) fn open(
        &mut self,
        id: &str,
        target: &str,
        call: Option<(LastSeen, R)>,
        objects: HashMap<String, O>,
        now: u64,
    ) -> Result<(), (LinkError, Ended<R, O>)> {
        if let Some(reason) = &self.closed {
            return Err((
                reason.clone(),
                Ended {
                    replies: call.map(|(_, reply)| reply).into_iter().collect(),
                    objects: objects.into_values().collect(),
                },
            ));
        }
        self.calls += usize::from(call.is_some());
        self.objects += objects.len();
        self.nested += usize::from(id.contains('.'));
        self.open.insert(
            id.to_owned(),
            Session {
                target: target.to_owned(),
                call: call.map(|(seen, reply)| Pending { seen, reply }),
                objects,
                used: now,
            },
        );
        Ok(())
    }

    pub(super) fn exists(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    /// Ends a session and its call after a response from `from`.
    pub(super) fn answer(&mut self, id: &str, from: &str) -> AnswerLookup<R, O> {
        match self.open.get_mut(id) {
            Some(session) if session.target != from => AnswerLookup::Stranger,
            Some(session) => match session.call.take() {
                Some(call) => {
                    self.calls -= 1;
                    AnswerLookup::Final(call.reply, self.end(id))
                }
                None => AnswerLookup::Unknown,
            },
            None => AnswerLookup::Unknown,
        }
    }

    /// Records a heartbeat. Returns `false` if there is no such call, or if the sender is not the
    /// callee.
    pub(super) fn heartbeat(&mut self, id: &str, from: &str, now: u64) -> bool {
        match self.open.get(id) {
            Some(Session {
                target,
                call: Some(call),
                ..
            }) if target == from => {
                call.seen.at(now);
                true
            }
            _ => false,
        }
    }

    /// Looks up an object for a call from `from`. `parent` is the parent session that the call
    /// names.
    pub(super) fn find(
        &mut self,
        id: &str,
        object: &str,
        from: &str,
        parent: Option<&str>,
        now: u64,
    ) -> ObjectLookup<'_, O> {
        let parent_closed = parent.is_some_and(|parent| !self.open.contains_key(parent));
        match self.open.get_mut(id) {
            None => ObjectLookup::NoSession,
            Some(session) if session.target != from => ObjectLookup::Stranger(&session.target),
            Some(_) if parent_closed => ObjectLookup::ParentClosed,
            Some(session) => {
                session.used = now;
                match session.objects.get(object) {
                    Some(object) => ObjectLookup::Found(object.clone()),
                    None => ObjectLookup::NoObject,
                }
            }
        }
    }

    /// Removes objects from a session. If the session then contains no objects and no call, ends
    /// the session.
    pub(super) fn withdraw(&mut self, id: &str, objects: &[&str]) -> Ended<R, O> {
        let mut ended = Ended::default();
        if let Some(session) = self.open.get_mut(id) {
            let found = objects.iter().filter_map(|o| session.objects.remove(*o));
            ended.objects.extend(found);
            self.objects -= ended.objects.len();
            if session.objects.is_empty() && session.call.is_none() {
                self.remove(id, &mut ended);
            }
        }
        ended
    }

    /// Ends a session and all of its nested sessions.
    pub(super) fn end(&mut self, id: &str) -> Ended<R, O> {
        let mut ended = Ended::default();
        self.remove(id, &mut ended);
        if self.nested == 0 {
            return ended;
        }
        // The ids that begin with `id.` are adjacent in the map. These ids sort before `id/`,
        // because the character `/` directly follows the dot.
        let inside = format!("{id}.")..format!("{id}/");
        let inside: Vec<String> = self.open.range(inside).map(|(id, _)| id.clone()).collect();
        for id in inside {
            self.remove(&id, &mut ended);
        }
        ended
    }

    /// Removes one session without its nested sessions, and updates the counters.
    fn remove(&mut self, id: &str, ended: &mut Ended<R, O>) {
        if let Some(session) = self.open.remove(id) {
            self.objects -= session.objects.len();
            self.calls -= usize::from(session.call.is_some());
            self.nested -= usize::from(id.contains('.'));
            ended.objects.extend(session.objects.into_values());
            ended.replies.extend(session.call.map(|call| call.reply));
        }
    }

    /// Ends the sessions for which `which` returns true, and their nested sessions.
    fn end_all(&mut self, which: impl Fn(&Session<R, O>) -> bool) -> Ended<R, O> {
        let ids = self.open.iter().filter(|(_, session)| which(session));
        let ids: Vec<String> = ids.map(|(id, _)| id.clone()).collect();
        let mut ended = Ended::default();
        for id in ids {
            let more = self.end(&id);
            ended.replies.extend(more.replies);
            ended.objects.extend(more.objects);
        }
        ended
    }

    /// Ends all sessions with `peer`.
    pub(super) fn peer_gone(&mut self, peer: &str) -> Ended<R, O> {
        self.end_all(|session| session.target == peer)
    }

    /// Ends the sessions with a pending call.
    pub(super) fn end_calls(&mut self) -> Ended<R, O> {
        self.end_all(|session| session.call.is_some())
    }

    /// Ends the sessions without a call whose objects no peer has used since the time `since`.
    pub(super) fn expire(&mut self, since: u64) -> Ended<R, O> {
        self.end_all(|session| session.call.is_none() && session.used < since)
    }

    /// Ends all sessions and rejects new sessions. If this function is called again, the first
    /// reason is kept.
    pub(super) fn close(&mut self, reason: &LinkError) -> Ended<R, O> {
        self.closed.get_or_insert_with(|| reason.clone());
        self.end_all(|_| true)
    }

    /// Returns the number of pending calls.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Returns the number of objects that peers can call.
    pub(super) fn objects(&self) -> usize {
        self.objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Table = SessionTable<u32, u32>;

    fn open(table: &mut Table, id: &str, target: &str, call: Option<u32>, objects: &[u32]) {
        let objects = objects.iter().map(|o| (format!("o{o}"), *o)).collect();
        let call = call.map(|reply| (LastSeen::default(), reply));
        table.open(id, target, call, objects, 0).unwrap();
    }

    fn table() -> Table {
        let mut table = Table::new();
        open(&mut table, "s1", "ws/a", Some(1), &[10, 11]);
        open(&mut table, "s1.r", "ws/a", None, &[12]);
        open(&mut table, "s10", "ws/a", Some(2), &[]);
        open(&mut table, "s2", "ws/b", Some(3), &[]);
        open(&mut table, "r", "ws/b", None, &[13]);
        table
    }

    fn counts(table: &Table) -> (usize, usize) {
        (table.calls(), table.objects())
    }

    #[test]
    fn only_the_callee_answers_and_only_once() {
        let mut table = table();
        assert!(matches!(table.answer("s1", "ws/b"), AnswerLookup::Stranger));
        let AnswerLookup::Final(1, ended) = table.answer("s1", "ws/a") else {
            panic!("not final");
        };
        assert_eq!(ended.objects.len(), 3, "the nested session ends too");
        assert!(matches!(table.answer("s1", "ws/a"), AnswerLookup::Unknown));
        assert!(matches!(table.answer("r", "ws/b"), AnswerLookup::Unknown));
        assert_eq!(counts(&table), (2, 1));
    }

    #[test]
    fn a_disconnected_peer_ends_its_sessions() {
        let mut table = table();
        let mut ended = table.peer_gone("ws/a");
        ended.replies.sort_unstable();
        assert_eq!(ended.replies, [1, 2]);
        assert_eq!(counts(&table), (1, 1));
    }

    #[test]
    fn a_lost_link_ends_only_the_calls() {
        let mut table = table();
        let mut ended = table.end_calls();
        ended.replies.sort_unstable();
        assert_eq!(ended.replies, [1, 2, 3]);
        assert_eq!(counts(&table), (0, 1), "the object of a result stays");
    }

    #[test]
    fn a_closed_table_opens_no_session() {
        let mut table = table();
        let ended = table.close(&"bye".into());
        assert_eq!((ended.replies.len(), ended.objects.len()), (3, 4));
        let call = Some((LastSeen::default(), 4));
        let (reason, ended) = table
            .open("s4", "ws/a", call, HashMap::new(), 0)
            .unwrap_err();
        assert_eq!((reason, ended.replies), ("bye".into(), vec![4]));
        assert_eq!(counts(&table), (0, 0));
    }

    #[test]
    fn heartbeats_count_only_from_the_callee() {
        let mut table = Table::new();
        let seen = LastSeen::default();
        let call = Some((seen.clone(), 0));
        table.open("s", "ws/a", call, HashMap::new(), 0).unwrap();
        assert!(!table.heartbeat("s", "ws/x", 7));
        assert!(table.heartbeat("s", "ws/a", 9));
        assert_eq!(seen.last(), 9);
    }

    #[test]
    fn only_the_peer_of_a_session_uses_its_objects() {
        let mut table = table();
        assert_eq!(
            table.find("s1", "o10", "ws/a", None, 1),
            ObjectLookup::Found(10)
        );
        assert_eq!(
            table.find("s1.r", "o12", "ws/a", Some("s1"), 1),
            ObjectLookup::Found(12)
        );
        assert_eq!(
            table.find("s1", "o10", "ws/b", None, 1),
            ObjectLookup::Stranger("ws/a")
        );
        assert_eq!(
            table.find("s1", "o99", "ws/a", None, 1),
            ObjectLookup::NoObject
        );
        assert_eq!(
            table.find("s9", "o10", "ws/a", None, 1),
            ObjectLookup::NoSession
        );
        assert_eq!(
            table.find("s1", "o10", "ws/a", Some("s9"), 1),
            ObjectLookup::ParentClosed
        );
    }

    #[test]
    fn unused_objects_expire() {
        let mut table = table();
        table.find("r", "o13", "ws/b", None, 500);
        assert_eq!(table.expire(400).objects, [12]);
        assert_eq!(table.expire(501).objects, [13]);
        assert_eq!(counts(&table), (3, 2), "the objects of calls stay");
    }

    #[test]
    fn a_session_without_objects_ends() {
        let mut table = table();
        assert_eq!(table.withdraw("r", &["o13", "none"]).objects, [13]);
        assert!(!table.exists("r"));
        assert_eq!(table.withdraw("s1", &["o10", "o11"]).objects.len(), 2);
        assert!(table.exists("s1"), "the call still waits");
        assert_eq!(counts(&table), (3, 1));
    }
}
