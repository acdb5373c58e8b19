//! The program of `cargo xtask bench`. In one run, it measures `hypha-server` with Rust clients,
//! the Python stack, and a WebSocket relay without RPC. Absolute numbers vary between runs, so
//! compare the ratios within a run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::figures::Figures;
use hypha_rpc_tests::peers::{chromium, javascript_program, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server, Setup};

/// Measures calls and payloads, and prints a table.
#[derive(Parser)]
struct Options {
    /// Duration of each measurement, in seconds. Each stack has seven measurements.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Number of rounds. The best value of each measurement counts.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Folder with release programs of another build of this project, to measure in the same run.
    #[arg(long)]
    beside: Option<PathBuf>,
}

const OURS: &str = "Rust - Rust, hypha-server";
const DIRECT: &str = "Rust - Rust, WebRTC";
const RELAY: &str = "bare frames, WebSocket relay";
const OTHER_BUILD: &str = "Rust - Rust, the other build";

const LIMIT: Duration = Duration::from_secs(300);

fn main() -> Result<()> {
    let options = Options::parse();
    let python = Server::start(Kind::Python)?;
    let ours = Server::start(Kind::Ours)?;
    let other = match &options.beside {
        Some(folder) => {
            let program = Some(folder.join("hypha-server"));
            let server = Server::start_as(
                Kind::Ours,
                &Setup {
                    program,
                    ..Setup::default()
                },
            )?;
            Some((server, folder.join("bench_peer")))
        }
        None => None,
    };
    let peer = executable("bench_peer")?;
    let browser = chromium().ok();
    let mut rows: Vec<(&str, Option<Figures>)> = vec![
        (OURS, None),
        (OTHER_BUILD, None),
        (DIRECT, None),
        ("Python - Rust, hypha-server", None),
        ("Python - Rust, WebRTC", None),
        ("Chromium - Rust, WebRTC", None),
        ("Rust - Rust, Python server", None),
        ("Python - Python, Python server", None),
        (RELAY, None),
    ];
    for _ in 0..options.rounds.max(1) {
        let measured = [
            Some(rust(&peer, &ours.url, options.seconds, &[])?),
            match &other {
                Some((server, peer)) => Some(rust(peer, &server.url, options.seconds, &[])?),
                None => None,
            },
            Some(rust(&peer, &ours.url, options.seconds, &["--webrtc"])?),
            Some(python_calls_rust(&peer, &ours.url, options.seconds, &[])?),
            Some(python_calls_rust(
                &peer,
                &ours.url,
                options.seconds,
                &["--webrtc"],
            )?),
            match &browser {
                Some(browser) => Some(page(&peer, browser, &ours.url, options.seconds)?),
                None => None,
            },
            Some(rust(&peer, &python.url, options.seconds, &[])?),
            Some(through_python(&python.url, options.seconds)?),
            Some(relay(options.seconds)?),
        ];
        for (row, new) in rows.iter_mut().zip(measured) {
            let Some(new) = new else { continue };
            row.1 = Some(match row.1.take() {
                None => new,
                Some(old) => best(&old, &new),
            });
        }
    }
    print(&rows);
    let (rust, python) = python_stream(&python.url, options.rounds)?;
    println!(
        "a Python generator through the Python server: {rust:.0} items/s read by Rust, {python:.0} \
         by Python"
    );
    Ok(())
}

fn rust(peer: &Path, url: &str, seconds: f64, more: &[&str]) -> Result<Figures> {
    let host = start("the Rust host", Command::new(peer).args(["host", url]))?;
    let service = host.wait_for_prefix(LIMIT, "READY ")?;
    let mut caller = Command::new(peer);
    caller.args(["call", url, &service, &seconds.to_string()]);
    caller.args(more);
    figures("the Rust caller", &mut caller)
}

fn python_calls_rust(peer: &Path, url: &str, seconds: f64, more: &[&str]) -> Result<Figures> {
    let host = start("the Rust host", Command::new(peer).args(["host", url]))?;
    let service = host.wait_for_prefix(LIMIT, "READY ")?;
    let mut caller = python_program("bench_client.py")?;
    caller.args(["--server-url", url, "--service", &service]);
    caller.args(["--seconds", &seconds.to_string()]).args(more);
    figures("the Python caller", &mut caller)
}

/// Measures a page in Chromium that calls a Rust host over WebRTC.
fn page(peer: &Path, browser: &Path, url: &str, seconds: f64) -> Result<Figures> {
    let host = start("the Rust host", Command::new(peer).args(["host", url]))?;
    let service = host.wait_for_prefix(LIMIT, "READY ")?;
    let mut page = javascript_program("webrtc_page.mjs")?;
    page.args(["--server-url", url, "--automatic", &service]);
    page.args(["--seconds", &seconds.to_string()]);
    figures("the page", page.arg("--browser").arg(browser))
}

fn through_python(url: &str, seconds: f64) -> Result<Figures> {
    let mut host = python_program("bench_host.py")?;
    let host = start("the Python host", host.args(["--server-url", url]))?;
    let service = host.wait_for_prefix(LIMIT, "READY ")?;
    let mut caller = python_program("bench_client.py")?;
    caller.args(["--server-url", url, "--service", &service]);
    figures(
        "the Python caller",
        caller.args(["--seconds", &seconds.to_string()]),
    )
}

/// Measures a Python generator: returns the items per second read by Rust and by Python.
fn python_stream(url: &str, rounds: usize) -> Result<(f64, f64)> {
    let mut host = python_program("bench_host.py")?;
    let host = start("the Python host", host.args(["--server-url", url]))?;
    let service = host.wait_for_prefix(LIMIT, "READY ")?;
    let items = "3000";
    let mut best = (0.0f64, 0.0f64);
    for _ in 0..rounds.max(1) {
        let mut rust = Command::new(executable("bench_peer")?);
        let rust = start(
            "the Rust reader",
            rust.args(["stream", url, &service, items]),
        )?;
        best.0 = best.0.max(rust.wait_for_prefix(LIMIT, "RATE ")?.parse()?);
        let mut python = python_program("bench_client.py")?;
        python.args(["--server-url", url, "--service", &service, "--items", items]);
        let python = start("the Python reader", &mut python)?;
        best.1 = best.1.max(python.wait_for_prefix(LIMIT, "RATE ")?.parse()?);
    }
    Ok(best)
}

fn relay(seconds: f64) -> Result<Figures> {
    let peer = executable("bench_peer")?;
    let relay = start("the relay", Command::new(&peer).arg("relay"))?;
    let url = relay.wait_for_prefix(LIMIT, "READY ")?;
    let host = start(
        "the relay's host",
        Command::new(&peer).args(["relay-host", &url]),
    )?;
    host.wait_for_prefix(LIMIT, "READY")?;
    let mut caller = Command::new(&peer);
    figures(
        "the relay's caller",
        caller.args(["relay-call", &url, &seconds.to_string()]),
    )
}

fn start(name: &str, command: &mut Command) -> Result<Process> {
    Process::start(name, command)
}

fn figures(name: &str, command: &mut Command) -> Result<Figures> {
    let caller = start(name, command)?;
    let line = caller.wait_for_prefix(LIMIT, "{")?;
    serde_json::from_str(&format!("{{{line}")).with_context(|| format!("{name} printed {line}"))
}

fn best(a: &Figures, b: &Figures) -> Figures {
    let low = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.min(b.1));
    Figures {
        serial_rate: a.serial_rate.max(b.serial_rate),
        serial_us: low(a.serial_us, b.serial_us),
        parallel_rate: a.parallel_rate.max(b.parallel_rate),
        parallel_us: low(a.parallel_us, b.parallel_us),
        mb_1: a.mb_1.max(b.mb_1),
        mb_16: a.mb_16.max(b.mb_16),
        mb_100: a.mb_100.max(b.mb_100),
        mb_array: a.mb_array.max(b.mb_array),
        items: a.items.max(b.items),
        first_ms: a.first_ms.min(b.first_ms),
    }
}

fn print(rows: &[(&str, Option<Figures>)]) {
    println!(
        "{:32} {:>9} {:>8} {:>8} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8}",
        "",
        "1 at once",
        "p50 us",
        "p99 us",
        "64 at once",
        "p50 us",
        "p99 us",
        "1 MB",
        "16 MB",
        "100 MB",
        "array",
        "stream",
        "first ms"
    );
    for (name, figures) in rows {
        let Some(f) = figures else { continue };
        println!(
            "{name:32} {:>7.0}/s {:>8.0} {:>8.0} {:>8.0}/s {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} \
             {:>8.0} {:>8.0}/s {:>8.1}",
            f.serial_rate,
            f.serial_us.0,
            f.serial_us.1,
            f.parallel_rate,
            f.parallel_us.0,
            f.parallel_us.1,
            f.mb_1,
            f.mb_16,
            f.mb_100,
            f.mb_array,
            f.items,
            f.first_ms
        );
    }
    println!(
        "(payloads in MB/s of one direction; array: 16 MB of float32; stream: small items at the \
         consumer; first: lookup and first call of a new client; 0: not measured)\n"
    );
    let find = |wanted: &str| rows.iter().find(|(name, _)| *name == wanted)?.1.as_ref();
    let ours = find(OURS);
    for beside in [OTHER_BUILD, DIRECT, "Python - Python, Python server", RELAY] {
        let (Some(ours), Some(other)) = (ours, find(beside)) else {
            continue;
        };
        // The other stacks have no arrays. Compare with their echo of 16 MB.
        let (array, items) = if [OTHER_BUILD, DIRECT].contains(&beside) {
            (other.mb_array, other.items)
        } else {
            (other.mb_16, f64::NAN)
        };
        print!(
            "hypha-server beside {beside}: {:.2} x calls one at a time, {:.2} x at 64 at once, \
             {:.2} x at 1 MB, {:.2} x at 16 MB, {:.2} x with an array",
            ours.serial_rate / other.serial_rate,
            ours.parallel_rate / other.parallel_rate,
            ours.mb_1 / other.mb_1,
            ours.mb_16 / other.mb_16,
            ours.mb_array / array
        );
        match ours.items / items {
            ratio if ratio.is_finite() => println!(", {ratio:.2} x stream items"),
            _ => println!(),
        }
    }
}
