//! Connections and calls counted by name, with an upper bound for each name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Counts the seats that are taken under each name.
pub(crate) struct Seats {
    limit: usize,
    taken: Mutex<HashMap<String, usize>>,
    /// Notified when a seat under a name that had no more is given back.
    freed: Notify,
}

/// One taken seat. Dropping it gives the seat back.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    name: String,
}

/// Whether a newcomer may exceed the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Only while a seat is free.
    WithinLimit,
    /// Always: the newcomer replaces a connection of its own, whose seat becomes free in a moment.
    Replacement,
}

impl Seats {
    /// Creates a count with at most `limit` seats for each name.
    pub(crate) fn new(limit: usize) -> Arc<Seats> {
        Arc::new(Seats {
            limit,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Returns the number of seats that each name has.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes a seat under `name`. Returns `None` if all of them are taken.
    pub(crate) fn take(self: &Arc<Self>, name: &str, admit: Admit) -> Option<Seat> {
        let mut taken = self.taken.lock();
        let count = taken.entry(name.to_owned()).or_default();
        if *count >= self.limit && admit == Admit::WithinLimit {
            return None;
        }
        *count += 1;
        Some(Seat {
            seats: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl Seats {
    /// Takes a seat under `name`; waits up to `patience` for one. Returns `None` if all of them are
    /// still taken then.
    pub(crate) async fn wait(self: &Arc<Self>, name: &str, patience: Duration) -> Option<Seat> {
        let free = || self.take(name, Admit::WithinLimit);
        if let Some(seat) = free() {
            return Some(seat);
        }
        let waiting = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // Registered before the look: a seat that is given back in between is not missed.
                freed.as_mut().enable();
                if let Some(seat) = free() {
                    return seat;
                }
                freed.await;
            }
        };
        timeout(patience, waiting).await.ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        let mut full = false;
        if let Some(count) = taken.get_mut(&self.name) {
            full = *count >= self.seats.limit;
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.name);
            }
        }
        drop(taken);
        if full {
            self.seats.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_given_back() {
        let seats = Seats::new(2);
        let take = |name, admit| seats.take(name, admit);
        let first = take("u", Admit::WithinLimit).unwrap();
        let _second = take("u", Admit::WithinLimit).unwrap();
        assert!(take("u", Admit::WithinLimit).is_none());
        assert!(take("u", Admit::Replacement).is_some());
        assert!(take("v", Admit::WithinLimit).is_some());
        drop(first);
        assert!(take("u", Admit::WithinLimit).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_waits_for_a_seat_and_then_gives_up() {
        let seats = Seats::new(1);
        let patience = Duration::from_secs(5);
        let first = seats.wait("u", patience).await.unwrap();
        assert!(seats.wait("u", patience).await.is_none());
        let (second, ()) = tokio::join!(seats.wait("u", patience), async { drop(first) });
        assert!(second.is_some());
        assert!(seats.wait("v", patience).await.is_some());
    }
}
