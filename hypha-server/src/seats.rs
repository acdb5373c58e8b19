//! Connections and calls counted by name, with an upper bound for each name.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts the seats that are taken under each name.
pub(crate) struct Seats {
    limit: usize,
    taken: Mutex<HashMap<String, usize>>,
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

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        if let Some(count) = taken.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.name);
            }
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
}
