//! Calls a service continuously, and prints each change of the connection state.
//!
//! Run `cargo run -p hypha-rpc-examples --example survivor -- --server-url URL`, then kill and
//! restart the server.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Parser;
use hypha_rpc::client::State;
use hypha_rpc::prelude::*;

/// Calls a service of this client in a loop, and shows the state of the connection on one line.
#[derive(Parser)]
struct Options {
    /// URL of the Hypha server.
    #[arg(long)]
    server_url: String,
    /// Pause between two calls, in milliseconds.
    #[arg(long, default_value_t = 200)]
    every: u64,
    /// Number of calls after which to exit. Default: runs until Ctrl-C.
    #[arg(long)]
    calls: Option<u64>,
}

/// A service that stays available after a restart of the server.
#[hypha_service(id = "survivor")]
trait Survivor {
    /// Return the next number.
    async fn next(&self, number: u64) -> u64;
}

struct Desk;

impl Survivor for Desk {
    async fn next(&self, number: u64) -> u64 {
        number + 1
    }
}

fn shown(state: State) -> String {
    match state {
        State::Backoff { attempt, until } => {
            let left = until.saturating_duration_since(Instant::now());
            format!("attempt {attempt} in {:.1} s", left.as_secs_f64())
        }
        State::Closed { reason } => format!("closed: {reason}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Prints one line. On a terminal, the line replaces the previous line.
fn show(client: &Client, latency: Option<Duration>) -> std::io::Result<()> {
    let stats = client.stats();
    let latency = latency.map_or("-".into(), |time| {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    });
    let mut out = std::io::stdout();
    let (begin, end) = if out.is_terminal() {
        ("\r\x1b[K", "")
    } else {
        ("", "\n")
    };
    write!(
        out,
        "{begin}{} | calls {} | errors {} | made again {} | reconnects {} | last latency \
         {latency}{end}",
        shown(client.state()),
        stats.calls_made,
        stats.call_errors,
        stats.retries,
        stats.reconnects,
    )?;
    out.flush()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    let connect = hypha_rpc::connect(options.server_url).retry_on_initial_connect(true);
    let hypha = connect.await?;
    let info = hypha.register_service(SurvivorService::new(Desk)).await?;
    let survivor: SurvivorProxy = hypha.proxy(&info.id).await?;

    // Print the line even while a call waits for the server.
    let watching = tokio::spawn({
        let hypha = hypha.clone();
        async move {
            let mut states = hypha.states();
            while states.next().await.is_some() {
                show(&hypha, None)?;
            }
            anyhow::Ok(())
        }
    });
    let calling = async {
        let mut number = 0;
        while options.calls.is_none_or(|most| number < most) {
            let begin = Instant::now();
            // The method is idempotent, so the call may be repeated if the link is lost.
            match survivor.next(number).idempotent().await {
                Ok(next) => number = next,
                Err(error) if error.is_retryable() => eprintln!("\n{error}"),
                Err(error) => return Err(error.into()),
            }
            show(&hypha, Some(begin.elapsed()))?;
            tokio::time::sleep(Duration::from_millis(options.every)).await;
        }
        anyhow::Ok(())
    };
    let outcome = tokio::select! {
        outcome = calling => outcome,
        stop = tokio::signal::ctrl_c() => Ok(stop?),
    };
    watching.abort();
    println!();
    hypha.disconnect().await;
    outcome
}
