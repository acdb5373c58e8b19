//! Implements the program that `cargo xtask server-figures` starts. Measures `hypha-server`: the
//! time of its start, its memory for idle clients, its routing compared with a relay without RPC,
//! and a long run in which clients connect and disconnect.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use futures_util::future::{join_all, try_join_all};
use hypha_rpc::prelude::*;
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server, http_get};

/// Measures the server, and prints a line per figure.
#[derive(Parser)]
struct Options {
    /// Number of idle clients.
    #[arg(long, default_value_t = 2000)]
    clients: usize,
    /// Duration of each routing measurement, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Number of routing measurements. The best rates are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Duration of the run in which clients connect and disconnect, in seconds. Zero skips this
    /// run.
    #[arg(long, default_value_t = 0.0)]
    soak: f64,
}

const LIMIT: Duration = Duration::from_secs(300);
const STARTS: usize = 20;

#[hypha_service(id = "adder")]
trait Adder {
    /// Add two numbers.
    async fn add(&self, a: f64, b: f64) -> f64;
}

#[derive(Clone)]
struct Sum;

impl Adder for Sum {
    async fn add(&self, a: f64, b: f64) -> f64 {
        a + b
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    start()?;
    routing(&options)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(idle_clients(options.clients))?;
    if options.soak > 0.0 {
        runtime.block_on(soak(Duration::from_secs_f64(options.soak)))?;
    }
    Ok(())
}

/// Measures the time from the start of the server program until the program prints `READY`.
fn start() -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..STARTS {
        let mut command = Command::new(executable("hypha-server")?);
        command.args(["--port=0", "--in-memory"]);
        let begun = Instant::now();
        let server = Process::start("hypha-server", &command)?;
        server.wait_for_prefix(LIMIT, "READY ")?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let (median, most) = (took[STARTS / 2], took[STARTS - 1]);
    println!("start to ready: median {median:.1?}, at most {most:.1?} of {STARTS}");
    Ok(())
}

/// Measures the rate of small calls between two clients, and the rate of frames through a relay.
fn routing(options: &Options) -> Result<()> {
    let peer = executable("bench_peer")?;
    let seconds = options.seconds.to_string();
    let mut best = [(0.0f64, 0.0f64); 2];
    for _ in 0..options.rounds.max(1) {
        let relay = Process::start("the relay", Command::new(&peer).arg("relay"))?;
        let url = relay.wait_for_prefix(LIMIT, "READY ")?;
        let host = Process::start("its host", Command::new(&peer).args(["relay-host", &url]))?;
        host.wait_for_prefix(LIMIT, "READY")?;
        let mut caller = Command::new(&peer);
        let caller = Process::start("its caller", caller.args(["relay-call", &url, &seconds]))?;
        let line = caller.wait_for_prefix(LIMIT, "{")?;
        let figures: serde_json::Value = serde_json::from_str(&format!("{{{line}"))?;
        let rate = |name: &str| figures[name].as_f64().context("no rate");
        let bare = (rate("serial_rate")?, rate("parallel_rate")?);
        drop((caller, host, relay));

        let server = Server::start(Kind::Ours)?;
        let mut host = Command::new(&peer);
        let host = Process::start("the host", host.args(["route-host", &server.url]))?;
        let address = host.wait_for_prefix(LIMIT, "READY ")?;
        let mut caller = Command::new(&peer);
        caller.args(["route-call", &server.url, &address, &seconds]);
        let caller = Process::start("the caller", &caller)?;
        let rates = caller.wait_for_prefix(LIMIT, "RATES ")?;
        let (serial, parallel) = rates.split_once(' ').context("two rates")?;
        let routed = (serial.parse()?, parallel.parse()?);
        for (best, new) in best.iter_mut().zip([bare, routed]) {
            *best = (best.0.max(new.0), best.1.max(new.1));
        }
    }
    let [bare, routed] = best;
    println!(
        "exchanges of messages of 100 bytes: one at a time {:.0}/s, relay {:.0}/s ({:.2} x its \
         time); 64 at once {:.0}/s, relay {:.0}/s ({:.2} x its time)",
        routed.0,
        bare.0,
        bare.0 / routed.0,
        routed.1,
        bare.1,
        bare.1 / routed.1
    );
    Ok(())
}

/// Returns the resident memory of the server process, in KiB.
fn resident(server: &Server) -> Result<u64> {
    let program = server.process.as_ref().context("no process")?.program()?;
    let status = std::fs::read_to_string(format!("/proc/{program}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.split_whitespace().next());
    Ok(size.context("no resident memory")?.parse()?)
}

/// Returns the value of a metric of the server.
fn count(server: &Server, name: &str) -> Result<f64> {
    let (status, text) = http_get(&server.url, "/metrics")?;
    ensure!(status == 200, "metrics: {status}");
    let mut values = text.lines().filter_map(|line| line.split_once(' '));
    let value = values.find(|(key, _)| *key == format!("hypha_server_{name}"));
    Ok(value.with_context(|| format!("no {name}"))?.1.parse()?)
}

async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

async fn idle_clients(clients: usize) -> Result<()> {
    let server = Server::start(Kind::Ours)?;
    settle().await;
    let alone = resident(&server)?;
    println!(
        "resident memory without clients: {:.1} MB",
        alone as f64 / 1024.0
    );
    let mut connected = Vec::new();
    while connected.len() < clients {
        let some = 50.min(clients - connected.len());
        let some = (0..some).map(|_| hypha_rpc::connect(&server.url).into_future());
        connected.extend(try_join_all(some).await?);
    }
    settle().await;
    let with = resident(&server)?;
    println!(
        "with {clients} idle clients: {:.1} MB, {:.1} KB each",
        with as f64 / 1024.0,
        (with - alone) as f64 / clients as f64
    );
    join_all(connected.iter().map(Client::disconnect)).await;
    settle().await;
    let after = resident(&server)?;
    let open = count(&server, "connections_open")?;
    println!(
        "after they have disconnected: {:.1} MB, {open} connections",
        after as f64 / 1024.0
    );
    Ok(())
}

/// Connects a client that registers a service, and a second client that calls the service. Then
/// disconnects both clients.
async fn connect_call_disconnect(url: &str, number: u64) -> Result<()> {
    let host = hypha_rpc::connect(url).await?;
    let service = AdderService::new(Sum);
    let info = host
        .register_service(service)
        .visibility(Visibility::Public)
        .await?;
    let caller = hypha_rpc::connect(url).await?;
    let adder: AdderProxy = caller.proxy(info.id).await?;
    for n in 0..20 {
        let sum = adder.add(f64::from(n), 1.0).await?;
        ensure!(sum == f64::from(n) + 1.0, "{n} + 1 is not {sum}");
    }
    // Alternate between disconnecting a client gracefully and dropping it.
    if number.is_multiple_of(2) {
        caller.disconnect().await;
    } else {
        host.disconnect().await;
    }
    Ok(())
}

async fn soak(time: Duration) -> Result<()> {
    const AT_ONCE: u64 = 8;
    let server = Server::start(Kind::Ours)?;
    let lives = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (url, lives, stop) = (server.url.clone(), Arc::clone(&lives), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    connect_call_disconnect(&url, lives.fetch_add(1, Ordering::Relaxed)).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    let begun = Instant::now();
    while begun.elapsed() < time {
        tokio::time::sleep(time / 20).await;
        println!(
            "soak, {:>4.0} s: {} lives, {:.1} MB, {} connections",
            begun.elapsed().as_secs_f64(),
            lives.load(Ordering::Relaxed),
            resident(&server)? as f64 / 1024.0,
            count(&server, "connections_open")?
        );
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await??;
    }
    settle().await;
    println!(
        "after the soak: {} lives, {:.1} MB, {} connections",
        lives.load(Ordering::Relaxed),
        resident(&server)? as f64 / 1024.0,
        count(&server, "connections_open")?
    );
    let open = count(&server, "connections_open")?;
    ensure!(open == 0.0, "{open} connections are left");
    Ok(())
}
