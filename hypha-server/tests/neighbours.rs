//! Tests that a client at a limit of the server does not slow down the calls of other clients.
//!
//! This program has only one test, so that no other test runs at the same time.

mod support;

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hypha_rpc::prelude::*;
use hypha_rpc::{RemoteService, args};
use hypha_server::{Server, Stats};
use serde_json::json;
use support::{Raw, server_with};
use tokio::sync::oneshot;

const CALLS: usize = 200;
/// Maximum factor by which a client at its limit (the offender) may slow down the calls of other
/// clients. All clients share two cores.
const FACTOR: u32 = 4;
/// Time that is added to the bound, because a factor alone is too strict for short times.
const TOLERANCE: Duration = Duration::from_millis(10);
/// Maximum number of measurements. At least one measurement must be within the bounds.
const ROUNDS: usize = 3;
/// Timeout for an offender to reach its limit.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Desk;

/// The service of well-behaved clients.
#[hypha_service(id = "desk")]
impl Desk {
    /// Adds.
    pub(crate) async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

/// Latencies of calls.
struct Figures {
    median: Duration,
    p99: Duration,
}

/// Measures calls to a service and to the manager.
async fn measure(desk: &RemoteService, client: &Client) -> Result<Figures> {
    let id = desk.id().to_owned();
    let mut took = Vec::with_capacity(CALLS);
    for number in 0..CALLS {
        let begun = Instant::now();
        let sum: i64 = desk.call("add", args!(number, 1)).await?;
        client.get_service(id.as_str()).await?;
        took.push(begun.elapsed());
        ensure!(sum == number as i64 + 1);
    }
    took.sort();
    Ok(Figures {
        median: took[CALLS / 2],
        p99: took[CALLS * 99 / 100],
    })
}

/// A client that repeats one action in a separate thread.
struct Offender {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Offender {
    fn start<F>(server: &Arc<Server>, offend: F) -> Offender
    where
        F: AsyncFn(&Server) -> Result<()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let server = server.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("no runtime");
            let again_and_again = async {
                loop {
                    // The result is ignored, because the server is expected to refuse or delay the
                    // client.
                    let offence = tokio::time::timeout(Duration::from_secs(2), offend(&server));
                    let _ = offence.await;
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = again_and_again => {}
                }
            });
        });
        Offender {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Offender {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// Compares the latency of calls without and with an offender at its limit. The offender is at its
/// limit when `count` has grown by `enough`. The measurement is repeated, because other programs on
/// the machine can disturb it.
async fn beside<F>(what: &str, count: fn(&Stats) -> u64, enough: u64, offend: F) -> Result<()>
where
    F: AsyncFn(&Server) -> Result<()> + Copy + Send + 'static,
{
    for _ in 1..ROUNDS {
        match round(what, count, enough, offend).await {
            Ok(()) => return Ok(()),
            Err(error) => println!("{error:#}; once more"),
        }
    }
    round(what, count, enough, offend).await
}

async fn round<F>(what: &str, count: fn(&Stats) -> u64, enough: u64, offend: F) -> Result<()>
where
    F: AsyncFn(&Server) -> Result<()> + Send + 'static,
{
    let server = server_with(|limits| {
        limits.services_per_client = 50;
        limits.handshake_timeout = Duration::from_secs(1);
    });
    let server = Arc::new(server.await?);
    let host = hypha_rpc::connect(server.url()).await?;
    let desk = host.register_service(Desk);
    desk.visibility(Visibility::Public).await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let id = format!("{}/{}:desk", host.workspace(), host.client_id());
    let desk = client.get_service(id).await?;

    let alone = measure(&desk, &client).await?;
    let before = count(&server.stats());
    let offender = Offender::start(&server, offend);
    let begun = Instant::now();
    while count(&server.stats()) < before + enough {
        ensure!(begun.elapsed() < TIMEOUT, "{what}: no client is at a limit");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let beside = measure(&desk, &client).await?;
    let entering = Instant::now();
    let newcomer = hypha_rpc::connect(server.url()).await?;
    let entering = entering.elapsed();
    newcomer.disconnect().await;
    drop(offender);

    println!(
        "{what}: median {:.1?}, alone {:.1?}; 99 of 100 within {:.1?}, alone {:.1?}; a newcomer is \
         in after {entering:.1?}",
        beside.median, alone.median, beside.p99, alone.p99,
    );
    let bound = alone.median * FACTOR + TOLERANCE;
    ensure!(
        beside.median <= bound,
        "{what}: a median of more than {bound:.1?}"
    );
    ensure!(
        entering < Duration::from_secs(2),
        "{what}: a newcomer waits for {entering:.1?}"
    );
    client.disconnect().await;
    host.disconnect().await;
    Ok(())
}

/// Sends messages as fast as possible.
async fn flood(server: &Server) -> Result<()> {
    let mut raw = Raw::anonymous(server, "flood").await?;
    let main = json!({"type": "method", "to": "nobody", "method": "services.x.y"});
    loop {
        raw.send(main.clone(), None).await?;
    }
}

/// Reads none of the messages that another client sends to it.
async fn deaf(server: &Server) -> Result<()> {
    let mut deaf = Raw::anonymous(server, "deaf").await?;
    let mut sender = deaf.colleague(server, "sender", "read_write").await?;
    let extra = json!({"args": ["x".repeat(500_000)]});
    let main = json!({"type": "method", "to": "deaf", "method": "services.x.y"});
    loop {
        sender.send(main.clone(), Some(extra.clone())).await?;
    }
}

/// Registers services above the quota.
async fn hoard(server: &Server) -> Result<()> {
    let mut raw = Raw::anonymous(server, "hoarder").await?;
    raw.register("built-in", json!({})).await?;
    for number in 0..1500 {
        // Errors are ignored, because the server refuses most registrations.
        let _ = raw.register(&format!("svc-{number}"), json!({})).await;
    }
    Ok(())
}

/// Opens connections without completing the handshake.
async fn dawdle(server: &Server) -> Result<()> {
    use std::io::Write;
    let mut half = Vec::new();
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(server.local_addr())?;
        stream.write_all(b"GET /ws HTTP/1.1\r\nHost: ")?;
        half.push(stream);
        silent.push(Raw::open(server, "").await?);
        // Some of the handshakes are refused.
        let hello = json!({"client_id": format!("c{number}"), "token": "garbage"});
        support::refused(server, hello).await?;
    }
    Ok(())
}

/// Sends frames of the maximum size, and then a larger frame.
async fn bulk(server: &Server) -> Result<()> {
    let mut raw = Raw::anonymous(server, "bulk").await?;
    let size = 16 * 1024 * 1024;
    let main = json!({"type": "method", "to": "bulk", "method": "services.x.y"});
    let mut frame = hypha_wire::to_vec(&main)?;
    frame.resize(size, 0);
    raw.binary(frame.clone()).await?;
    raw.next().await?;
    frame.resize(size + 1, 0);
    raw.binary(frame).await?;
    raw.end().await.map(drop)
}

// The server runs in one thread, which no client may block.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_client_at_its_limit_does_not_slow_the_others() -> Result<()> {
    let begun = Instant::now();
    beside(
        "too many messages",
        |stats| stats.messages_received,
        5000,
        flood,
    )
    .await?;
    beside("a full queue", |stats| stats.messages_received, 8, deaf).await?;
    beside(
        "too many services",
        |stats| stats.messages_received,
        150,
        hoard,
    )
    .await?;
    beside(
        "slow handshakes",
        |stats| stats.handshakes_refused,
        20,
        dawdle,
    )
    .await?;
    beside("huge frames", |stats| stats.closed_too_large, 1, bulk).await?;
    println!("in all {:.1?}", begun.elapsed());
    Ok(())
}
