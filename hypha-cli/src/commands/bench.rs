//! `hypha bench`: measures the speed of a method.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use futures_util::future::join_all;
use hypha_rpc::RemoteService;
use hypha_wire::RawValue;
use serde_json::json;

use crate::callback::Progress;
use crate::connection::ConnectionOptions;
use crate::failure::Failure;
use crate::interrupt::{GRACE, unless_interrupted};
use crate::values::{self, Source};
use crate::{duration, output};

/// Number of ranges of the histogram.
const RANGES: usize = 12;
/// Width of the longest bar of the histogram, in characters.
const WIDTH: usize = 40;
/// Maximum number of errors that are printed.
const ERRORS: usize = 3;

/// Measure the latency and the call rate of a method
///
/// The arguments have the same form as for `hypha call`. The method is called many times, so it
/// should have no side effects.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha bench calculator.divide 1 b=4
  hypha bench calculator.divide 1 b=4 --concurrency 16 --duration 30s --json")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Service and method: `id.method`, `client:id.method` or `workspace/client:id.method`
    #[arg(value_name = "SERVICE.METHOD")]
    target: String,
    /// Arguments of the method, positional arguments first
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Number of concurrent calls
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Duration of the measurement
    #[arg(long, short, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    duration: Duration,
    /// Timeout of a call
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Results of one worker, or of all workers.
#[derive(Default)]
struct Outcome {
    /// Durations of the successful calls.
    times: Vec<Duration>,
    failed: u64,
    errors: Vec<String>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let (service, method) = super::call::split(&options.target)?;
    let client = options.connection.connect().await?;
    let work = async {
        let found = super::call::find(&client, service, method).await?;
        measure(&found, method, &options).await
    };
    let result = unless_interrupted(work).await;
    client.shutdown(GRACE).await;
    let (outcome, elapsed) = result.ok_or(Failure::Interrupted)??;
    report(outcome, elapsed, &options)
}

async fn measure(
    service: &RemoteService,
    method: &str,
    options: &Options,
) -> Result<(Outcome, Duration)> {
    let schema = service.schema(method).map(|schema| schema.to_json());
    let parameters = values::Parameters::of(schema.as_ref());
    let arguments = values::parse(&options.arguments, parameters)?;
    if arguments
        .iter()
        .any(|argument| !matches!(argument.source, Source::Value(_)))
    {
        let text = "functions and files serve one call only, and a measurement makes many calls";
        return Err(Failure::Usage(text.into()).into());
    }
    let args = super::call::encode(arguments, parameters, &Progress::new()).await?;
    let call = || {
        service
            .call::<RawValue>(method, args.clone())
            .timeout(options.timeout)
    };
    // Do not measure the first call, because it also looks up the service. If it fails, the
    // measurement has no value.
    call().await.context("the first call has failed")?;
    let begin = Instant::now();
    let workers = (0..options.concurrency).map(|_| async {
        let mut outcome = Outcome::default();
        while begin.elapsed() < options.duration {
            let start = Instant::now();
            match call().await {
                Ok(_) => outcome.times.push(start.elapsed()),
                Err(error) => {
                    outcome.failed += 1;
                    let text = error.to_string();
                    if outcome.errors.len() < ERRORS && !outcome.errors.contains(&text) {
                        outcome.errors.push(text);
                    }
                    if matches!(error, hypha_rpc::Error::Disconnected(_)) {
                        break;
                    }
                }
            }
        }
        outcome
    });
    let mut all = Outcome::default();
    for outcome in join_all(workers).await {
        all.times.extend(outcome.times);
        all.failed += outcome.failed;
        for error in outcome.errors {
            if all.errors.len() < ERRORS && !all.errors.contains(&error) {
                all.errors.push(error);
            }
        }
    }
    Ok((all, begin.elapsed()))
}

fn report(mut outcome: Outcome, elapsed: Duration, options: &Options) -> Result<()> {
    outcome.times.sort_unstable();
    let count = outcome.times.len();
    let rate = count as f64 / elapsed.as_secs_f64();
    let points = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
    let mut latency = vec![("min", quantile(&outcome.times, 0.0))];
    latency.extend(points.map(|(name, part)| (name, quantile(&outcome.times, part))));
    latency.push(("max", quantile(&outcome.times, 1.0)));
    if options.json {
        let latency = latency
            .iter()
            .map(|(name, ms)| ((*name).to_owned(), json!(ms)));
        output::json(&json!({
            "calls": count,
            "failed": outcome.failed,
            "seconds": elapsed.as_secs_f64(),
            "concurrency": options.concurrency,
            "calls_per_second": rate,
            "latency_ms": latency.collect::<serde_json::Map<_, _>>(),
            "histogram": histogram(&outcome.times)
                .into_iter()
                .map(|(ms, calls)| json!({"up_to_ms": ms, "calls": calls}))
                .collect::<Vec<_>>(),
        }))?;
    } else {
        let mut fields = vec![
            ("Calls", count.to_string()),
            ("Failed", outcome.failed.to_string()),
            ("Time", format!("{:.2} s", elapsed.as_secs_f64())),
            ("Rate", format!("{rate:.0} calls/s")),
        ];
        fields.extend(
            latency
                .iter()
                .map(|(name, ms)| (*name, format!("{ms:.3} ms"))),
        );
        output::write(&super::whoami::text(&fields), None)?;
        output::write(&bars(&histogram(&outcome.times)), None)?;
    }
    for error in &outcome.errors {
        output::note(&format!("failed: {}", output::line(error)));
    }
    match outcome.failed {
        0 => Ok(()),
        failed => anyhow::bail!("{failed} of {} calls have failed", failed + count as u64),
    }
}

/// Returns the number of calls in ranges of time, whose ends form a geometric series from the
/// shortest to the longest call. Each range has its upper end, in milliseconds.
fn histogram(sorted: &[Duration]) -> Vec<(f64, usize)> {
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    let (Some(min), Some(max)) = (sorted.first().map(ms), sorted.last().map(ms)) else {
        return Vec::new();
    };
    // Above 0, because a series cannot begin with 0.
    let min = min.max(0.001);
    let mut begin = 0;
    let ranges = (1..=RANGES).map(|range| {
        let end = min * (max / min).max(1.0).powf(range as f64 / RANGES as f64);
        // The last range has all others, also if its end is rounded down.
        let until = match range {
            RANGES => sorted.len(),
            _ => sorted.partition_point(|time| ms(time) <= end),
        };
        let count = until.saturating_sub(begin);
        begin = begin.max(until);
        (end, count)
    });
    ranges.collect()
}

/// Formats a histogram as bars.
fn bars(histogram: &[(f64, usize)]) -> String {
    let most = histogram.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let rows = histogram.iter().map(|(end, count)| {
        let width = (count * WIDTH).div_ceil(most.max(1));
        format!("{end:>12.3} ms  {:<WIDTH$}  {count}\n", "#".repeat(width))
    });
    rows.collect()
}

/// Returns the duration within which this fraction of the calls completed, in milliseconds.
fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (sorted.len() as f64 * part).ceil() as usize;
    let time = sorted.get(index.saturating_sub(1).min(last));
    time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_in_one_range() {
        let times: Vec<Duration> = (1..=1000).map(Duration::from_micros).collect();
        let ranges = histogram(&times);
        assert_eq!(ranges.len(), RANGES);
        assert_eq!(ranges.iter().map(|(_, count)| count).sum::<usize>(), 1000);
        assert!((ranges[RANGES - 1].0 - 1.0).abs() < 1e-9);
        assert!(ranges[0].1 < ranges[RANGES - 1].1);
        assert!(histogram(&[]).is_empty());
        let same = histogram(&[Duration::ZERO; 3]);
        assert_eq!(same.iter().map(|(_, count)| count).sum::<usize>(), 3);
        let text = bars(&[(0.5, 1), (1.0, 2)]);
        let half = "#".repeat(WIDTH / 2);
        assert!(
            text.starts_with(&format!("       0.500 ms  {half} ")),
            "{text}"
        );
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 0.0), 1.0);
        assert_eq!(quantile(&times, 0.5), 50.0);
        assert_eq!(quantile(&times, 0.99), 99.0);
        assert_eq!(quantile(&times, 1.0), 100.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
