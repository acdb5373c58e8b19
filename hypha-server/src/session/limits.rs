//! How fast and how many: the limits that are counted per connection, user and workspace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant};

/// So many messages per second on average, and so many at once.
pub(crate) struct RateLimit {
    per_second: f64,
    burst: f64,
    left: f64,
    since: Instant,
}

impl RateLimit {
    pub(crate) fn new(per_second: f64, burst: f64) -> RateLimit {
        RateLimit {
            per_second,
            burst,
            left: burst,
            since: Instant::now(),
        }
    }

    /// Count one message that came at `now`; false if it is one too many.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        self.earn(now);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }

    /// Whether the next one would be one too many.
    pub(crate) fn is_spent(&mut self) -> bool {
        self.earn(Instant::now());
        self.left < 1.0
    }

    /// Whether nothing has come for so long that nothing is left to remember.
    pub(crate) fn is_rested(&mut self) -> bool {
        self.earn(Instant::now());
        self.left >= self.burst
    }

    fn earn(&mut self, now: Instant) {
        let earned = now.duration_since(self.since).as_secs_f64() * self.per_second;
        self.left = (self.left + earned).min(self.burst);
        self.since = now;
    }
}

/// Messages sent in the last minute or so, for `min_load`.
#[derive(Default)]
pub(crate) struct LoadMeter(Mutex<Option<Window>>);

struct Window {
    since: Instant,
    now: u64,
    before: u64,
}

const LOAD_WINDOW: Duration = Duration::from_secs(60);

impl LoadMeter {
    pub(crate) fn count(&self) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        roll(&mut window).now += 1;
    }

    /// Messages per minute.
    pub(crate) fn load(&self) -> f64 {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = roll(&mut window);
        let part = window.since.elapsed().as_secs_f64() / LOAD_WINDOW.as_secs_f64();
        window.now as f64 + window.before as f64 * (1.0 - part.min(1.0))
    }
}

fn roll(slot: &mut Option<Window>) -> &mut Window {
    let window = slot.get_or_insert_with(|| Window {
        since: Instant::now(),
        now: 0,
        before: 0,
    });
    let age = window.since.elapsed();
    if age >= LOAD_WINDOW {
        window.before = if age < LOAD_WINDOW * 2 { window.now } else { 0 };
        window.now = 0;
        window.since = Instant::now();
    }
    window
}

/// Connections counted by some name, up to a limit each.
pub(crate) struct Seats {
    limit: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// One connection's place; given back when dropped.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    name: String,
}

impl Seats {
    pub(crate) fn new(limit: usize) -> Arc<Seats> {
        Arc::new(Seats {
            limit,
            taken: Mutex::default(),
        })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Who replaces a connection of its own gets a place even when all are taken: the other's
    /// becomes free in a moment.
    pub(crate) fn take(self: &Arc<Self>, name: &str, replacing: bool) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(name.to_owned()).or_default();
        if *count >= self.limit && !replacing {
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
        let mut taken = self
            .seats
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
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

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate_counts() {
        let mut limit = RateLimit::new(10.0, 5.0);
        assert!((0..5).all(|_| limit.admit(Instant::now())));
        assert!(!limit.admit(Instant::now()));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert!(limit.admit(Instant::now()));
        assert!(limit.admit(Instant::now()));
        assert!(!limit.admit(Instant::now()));
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(
            (0..100).filter(|_| limit.admit(Instant::now())).count(),
            5,
            "no more than a burst is saved"
        );
    }

    #[test]
    fn seats_are_given_back() {
        let seats = Seats::new(2);
        let first = seats.take("u", false).unwrap();
        let _second = seats.take("u", false).unwrap();
        assert!(seats.take("u", false).is_none());
        assert!(seats.take("u", true).is_some());
        assert!(seats.take("v", false).is_some());
        drop(first);
        assert!(seats.take("u", false).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn load_fades() {
        let meter = LoadMeter::default();
        (0..60).for_each(|_| meter.count());
        assert_eq!(meter.load(), 60.0);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert!(meter.load() <= 60.0 && meter.load() > 0.0);
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(meter.load(), 0.0);
    }
}
