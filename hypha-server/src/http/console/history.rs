//! Records samples of the server's metrics over the last minutes. The console shows the samples as
//! charts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use crate::metrics::Stats;
use crate::state::State;

/// Time between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// Number of samples in 15 minutes. These samples take about 100 KB of memory, which is not charged
/// to any account.
const SAMPLES: usize = 180;

/// The samples of a server, oldest first.
#[derive(Default)]
pub(in crate::http) struct History(Mutex<VecDeque<Stats>>);

impl History {
    /// Starts a task that takes samples until the server shuts down.
    pub(in crate::http) fn start(state: &Arc<State>) -> Arc<History> {
        let history = Arc::new(History::default());
        let weak = (Arc::downgrade(state), Arc::downgrade(&history));
        let stopped = state.shutdown.stopped();
        state.shutdown.spawn(async move {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut stopped = std::pin::pin!(stopped);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = &mut stopped => return,
                }
                let (Some(state), Some(history)) = (weak.0.upgrade(), weak.1.upgrade()) else {
                    return;
                };
                history.add(state.stats());
            }
        });
        history
    }

    fn add(&self, stats: Stats) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(stats);
    }

    /// Returns one value per sample.
    pub(super) fn levels(&self, value: impl Fn(&Stats) -> u64) -> Vec<f64> {
        self.0.lock().iter().map(|it| value(it) as f64).collect()
    }

    /// Returns the increase per second of a counter between samples.
    pub(super) fn rates(&self, value: impl Fn(&Stats) -> u64) -> Vec<f64> {
        self.ratios(value, |_| 0, INTERVAL.as_secs_f64())
    }

    /// Returns, for each pair of successive samples, the increase of the counter `value` divided
    /// by the increase of the counter `per`, or divided by `unit` if `per` has not increased.
    pub(super) fn ratios(
        &self,
        value: impl Fn(&Stats) -> u64,
        per: impl Fn(&Stats) -> u64,
        unit: f64,
    ) -> Vec<f64> {
        let samples = self.0.lock();
        let pairs = samples.iter().zip(samples.iter().skip(1));
        pairs
            .map(|(before, after)| {
                let increase = value(after).saturating_sub(value(before)) as f64;
                match per(after).saturating_sub(per(before)) {
                    0 => increase / unit,
                    count => increase / count as f64,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_show_increases() {
        let history = History::default();
        for (calls, milliseconds) in [(0, 0), (10, 50), (10, 50), (30, 150)] {
            history.add(Stats {
                http_calls: calls,
                http_call_milliseconds: milliseconds,
                ..Stats::default()
            });
        }
        assert_eq!(history.levels(|it| it.http_calls), [0.0, 10.0, 10.0, 30.0]);
        assert_eq!(history.rates(|it| it.http_calls), [2.0, 0.0, 4.0]);
        let latency = history.ratios(|it| it.http_call_milliseconds, |it| it.http_calls, 1.0);
        assert_eq!(latency, [5.0, 0.0, 5.0]);
        for _ in 0..2 * SAMPLES {
            history.add(Stats::default());
        }
        assert_eq!(history.levels(|it| it.http_calls).len(), SAMPLES);
    }
}
