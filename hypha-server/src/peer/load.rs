//! Measures the load of a client: the number of messages that the client sends per minute. The
//! selection mode `min_load` of the manager chooses the service of the client with the lowest load.

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// Length of the window over which messages are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts the messages that a client has sent in the last minute. Two fixed windows approximate a
/// sliding window, so that no timestamps are stored. The value is `None` before the first message.
#[derive(Default)]
pub(crate) struct LoadMeter(Mutex<Option<Window>>);

/// The current window, and the count of the previous window.
struct Window {
    since: Instant,
    /// Messages in this window.
    current: u64,
    /// Messages in the previous window.
    previous: u64,
}

impl LoadMeter {
    /// Counts one message.
    pub(crate) fn count(&self) {
        roll(&mut self.0.lock()).current += 1;
    }

    /// Returns the messages per minute. The previous window counts in proportion to the part of it
    /// that lies within the last minute.
    pub(crate) fn load(&self) -> f64 {
        let mut window = self.0.lock();
        let window = roll(&mut window);
        let part = window.since.elapsed().as_secs_f64() / WINDOW.as_secs_f64();
        window.current as f64 + window.previous as f64 * (1.0 - part.min(1.0))
    }
}

/// Returns the current window. Starts a new window if the last window has ended.
fn roll(slot: &mut Option<Window>) -> &mut Window {
    let window = slot.get_or_insert_with(|| Window {
        since: Instant::now(),
        current: 0,
        previous: 0,
    });
    let age = window.since.elapsed();
    if age >= WINDOW {
        window.previous = if age < WINDOW * 2 { window.current } else { 0 };
        window.current = 0;
        window.since = Instant::now();
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn load_decreases_over_time() {
        let meter = LoadMeter::default();
        (0..60).for_each(|_| meter.count());
        assert_eq!(meter.load(), 60.0);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert!(meter.load() <= 60.0 && meter.load() > 0.0);
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(meter.load(), 0.0);
    }
}
