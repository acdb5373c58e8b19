//! Limits the concurrent uses of a resource for each name, such as a user id. [`Seats`] refuses a
//! use above the limit. [`Turns`] makes the caller wait.
//!
//! For example, [`Seats`] limits the connections of each user, and [`Turns`] limits the handshakes
//! of each IP address. A name needs memory only while it is in use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A fixed number of slots for each name. A request for a slot is refused if the name has no free
/// slot.
pub(crate) struct Seats {
    limit: usize,
    /// Number of slots in use, by name. A name without a slot in use has no entry.
    taken: Mutex<HashMap<String, usize>>,
}

/// A slot in use. Dropping this value frees the slot.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    name: String,
}

/// Decides whether a request may exceed the limit if its name has no free slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Refuses the request.
    WithinLimit,
    /// The request may exceed the limit, because it replaces a connection of the same name. That
    /// connection will free its slot soon.
    Replacement,
}

impl Seats {
    /// Creates `limit` slots for each name.
    pub(crate) fn new(limit: usize) -> Arc<Seats> {
        Arc::new(Seats {
            limit,
            taken: Mutex::default(),
        })
    }

    /// Returns the number of slots of each name.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes a slot of `name`. Returns `None` if no slot is free and `admit` does not allow
    /// exceeding the limit.
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

/// A fixed number of permits for each name. Tasks without a permit wait in the order of their
/// arrival.
pub(crate) struct Turns {
    limit: usize,
    /// The semaphore of each name for which a permit is in use or a task waits.
    queues: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A permit. Dropping the permit passes it to the next waiting task.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    name: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Creates `limit` permits for each name, at least one.
    pub(crate) fn new(limit: usize) -> Arc<Turns> {
        Arc::new(Turns {
            limit: limit.clamp(1, Semaphore::MAX_PERMITS),
            queues: Mutex::default(),
        })
    }

    /// Returns the number of permits of each name.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Waits up to `max_wait` for a permit of `name`. Returns `None` if there is no permit by then.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the task leaves the queue.
    pub(crate) async fn wait(self: &Arc<Self>, name: &str, max_wait: Duration) -> Option<Turn> {
        let queue = {
            let mut queues = self.queues.lock();
            let fresh = || Arc::new(Semaphore::new(self.limit));
            queues.entry(name.to_owned()).or_insert_with(fresh).clone()
        };
        // The guard is created before the wait, because its destructor also removes an unused
        // semaphore after a timeout, or when the future is dropped.
        let mut turn = Turn {
            turns: self.clone(),
            name: name.to_owned(),
            permit: None,
        };
        let permit = timeout(max_wait, queue.acquire_owned()).await;
        turn.permit = Some(permit.ok()?.ok()?);
        Some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.turns.queues.lock();
        // The permit is dropped under the lock, because it holds a reference to the semaphore. If
        // only the map still has a reference, no task has a permit or waits for a permit, and no
        // task can get the semaphore from the map meanwhile.
        drop(self.permit.take());
        if let Some(queue) = queues.get(&self.name)
            && Arc::strong_count(queue) == 1
        {
            queues.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_seats_can_be_taken_again() {
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
    async fn permits_are_granted_in_order() {
        let turns = Turns::new(1);
        let max_wait = Duration::from_secs(5);
        let first = turns.wait("u", max_wait).await.unwrap();
        assert!(turns.wait("u", max_wait).await.is_none());
        assert!(turns.wait("v", max_wait).await.is_some());
        let order = Mutex::new(Vec::new());
        let next = async |number| {
            let turn = turns.wait("u", max_wait).await;
            order.lock().push(number);
            turn.is_some()
        };
        let all = tokio::join!(next(1), next(2), next(3), async { drop(first) });
        assert_eq!(all, (true, true, true, ()));
        assert_eq!(*order.lock(), [1, 2, 3]);
        assert!(turns.queues.lock().is_empty());
    }
}
