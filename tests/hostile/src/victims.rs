//! Defines a pair of honest clients. An attack must not affect the calls between these clients.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hypha_rpc_tests::figures::percentiles;
use tokio::runtime::Runtime;
use tokio::time::sleep_until;

use crate::peer::Peer;
use crate::server::Server;
use crate::wire;

/// Interval between calls. A call that takes longer delays the next call.
const PACE: Duration = Duration::from_millis(2);
const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const NEWCOMER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// Latency of calls, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Median.
    pub median: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Number of measured calls.
    pub calls: usize,
}

/// Client that calls. The thread that measures also runs this client. The host runs in another
/// thread.
#[derive(Debug)]
pub struct Victims {
    runtime: Runtime,
    caller: Peer,
    /// RPC address of the host.
    pub host: String,
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

impl Victims {
    /// Connects both clients.
    pub fn enter(server: &Server) -> Result<Victims> {
        let at_host = runtime()?;
        let host = at_host.block_on(Peer::enter(HOST, server.address))?;
        let address = host.address.clone();
        // Do not join the thread. It ends when the connection is closed.
        thread::spawn(move || at_host.block_on(host.serve()));
        let runtime = runtime()?;
        let caller = runtime.block_on(Peer::enter(CALLER, server.address))?;
        Ok(Victims {
            runtime,
            caller,
            host: address,
        })
    }

    /// Makes calls at a fixed rate until `done` returns true. The latency of a call is measured
    /// from its scheduled time. Therefore the latency includes the time for which the call waits
    /// for an earlier slow call.
    pub fn measure(&mut self, mut done: impl FnMut(Duration) -> Result<bool>) -> Result<Latency> {
        let Victims {
            runtime,
            caller,
            host,
        } = self;
        let begun = Instant::now();
        let mut samples = Vec::new();
        runtime.block_on(async {
            let mut due = tokio::time::Instant::now();
            while !done(begun.elapsed())? {
                sleep_until(due).await;
                // The timer may be up to 1 ms late. This delay must not count as latency of the
                // server.
                let from = if due.elapsed() < PACE {
                    tokio::time::Instant::now()
                } else {
                    due
                };
                let called = caller.call(host, "services.desk.swallow", &[]).await;
                called.context("a call of the victims failed")?;
                samples.push(from.elapsed());
                due += PACE;
            }
            anyhow::Ok(())
        })?;
        let calls = samples.len();
        let (median, p99) = percentiles(&mut samples);
        Ok(Latency { median, p99, calls })
    }

    /// Returns the time in which a new client connects, calls the manager and starts a login.
    pub fn newcomer(&self, server: &Server) -> Result<Duration> {
        let begun = Instant::now();
        self.runtime
            .block_on(async {
                let mut peer = Peer::enter(NEWCOMER, server.address).await?;
                peer.ask("echo", &[&wire::pack(&1.into())])
                    .await
                    .context("echo")?;
                let head = wire::request("GET", "/public/services/hypha-login/start", "", 0);
                let (status, body) = wire::exchange(NEWCOMER, server.address, &head, b"").await?;
                if status != 200 {
                    bail!("login: {status} {}", String::from_utf8_lossy(&body));
                }
                anyhow::Ok(())
            })
            .context("a new client failed")?;
        Ok(begun.elapsed())
    }
}
