//! Types for the results of the benchmark of one stack. The stack may use any language.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Measurements of one stack, which consists of a service, a server and a caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Calls per second if one call runs at a time.
    pub serial_rate: f64,
    /// Latency of calls if one call runs at a time, in microseconds: median and 99th percentile.
    pub serial_us: (f64, f64),
    /// Calls per second if 64 calls run concurrently.
    pub parallel_rate: f64,
    /// Latency of calls if 64 calls run concurrently, in microseconds: median and 99th percentile.
    pub parallel_us: (f64, f64),
    /// Throughput of echoes of 1 MB, in MB per second.
    pub mb_1: f64,
    /// Throughput of echoes of 16 MB, in MB per second.
    pub mb_16: f64,
    /// Throughput of echoes of 100 MB, in MB per second. Zero if it was not measured.
    #[serde(default)]
    pub mb_100: f64,
    /// Throughput of echoes of 16 MB arrays, in MB per second. Zero if the stack has no arrays.
    #[serde(default)]
    pub mb_array: f64,
    /// Stream items that the consumer receives per second. Zero if the stack has no streams.
    #[serde(default)]
    pub items: f64,
    /// Time to look up the service and to make the first call, in milliseconds. Zero if it was not
    /// measured.
    #[serde(default)]
    pub first_ms: f64,
}

/// Sorts the samples. Returns the median and the 99th percentile, in microseconds.
pub fn percentiles(samples: &mut [Duration]) -> (f64, f64) {
    samples.sort_unstable();
    let at = |share: f64| {
        let index = (samples.len() as f64 * share) as usize;
        let sample = samples.get(index.min(samples.len().saturating_sub(1)));
        sample.copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    (at(0.5), at(0.99))
}
