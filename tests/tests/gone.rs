//! Tests calls between clients in two workspaces when one of the clients is killed. The other
//! client must be notified immediately, in all languages and over both transports.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::stream;
use hypha_rpc::args;
use hypha_rpc::prelude::*;
use hypha_rpc::transport::Transport;
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::{javascript_program, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::Kind;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(60);

/// Maximum time until the other client is notified. Without a notice, a caller would wait for 30 s.
const AT_ONCE: Duration = Duration::from_secs(4);
/// Time for a client over HTTP to reopen its stream (`HYPHA_STREAM_GRACE`).
const STREAM_GRACE: Duration = Duration::from_secs(5);

/// Methods that never return by themselves.
#[hypha_service(id = "gone", visibility = "public")]
trait Endless {
    /// Waits forever.
    async fn wait(&self, ctx: &Context) -> u32;

    /// Counts forever.
    async fn numbers(&self) -> RemoteStream<u32>;
}

/// Service that reports when a call starts or is cancelled, and when a stream is dropped.
struct Reports(mpsc::UnboundedSender<&'static str>);

/// Sends a report when dropped.
struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("closed");
    }
}

impl Endless for Reports {
    async fn wait(&self, ctx: &Context) -> u32 {
        let _ = self.0.send("begun");
        ctx.cancellation().cancelled().await;
        let _ = self.0.send("cancelled");
        0
    }

    async fn numbers(&self) -> RemoteStream<u32> {
        let numbers = stream::unfold((0, Dropped(self.0.clone())), async |(number, dropped)| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((number, (number + 1, dropped)))
        });
        RemoteStream::new(numbers)
    }
}

type Seen = mpsc::UnboundedReceiver<&'static str>;

/// A client with its own runtime. Killing this program stops all tasks of the client without
/// cleanup.
struct Program {
    runtime: Runtime,
    client: Client,
}

impl Program {
    fn connect(url: &str, transport: Transport) -> Result<Program> {
        let runtime = Runtime::new()?;
        let connecting = hypha_rpc::connect(url).transport(transport);
        let client = runtime.block_on(connecting.into_future())?;
        Ok(Program { runtime, client })
    }

    /// Registers the service. Returns the id of the service, and the receiver of its reports.
    fn offer(&self) -> Result<(String, Seen)> {
        let (report, reports) = mpsc::unbounded_channel();
        let service = EndlessService::new(Reports(report));
        let registering = self.client.register_service(service);
        let info = self.runtime.block_on(registering.into_future())?;
        Ok((info.id, reports))
    }

    fn kill(self) -> Instant {
        // Leak the client, because dropping its last handle would disconnect it gracefully.
        #[expect(clippy::mem_forget, reason = "a killed program runs no destructor")]
        std::mem::forget(self.client);
        self.runtime.shutdown_background();
        Instant::now()
    }
}

/// Waits until the report `expected` arrives.
fn wait_for(runtime: &Runtime, reports: &mut Seen, expected: &str) -> Result<()> {
    let waiting = async {
        while let Some(report) = reports.recv().await {
            if report == expected {
                return Ok(());
            }
        }
        anyhow::bail!("no report")
    };
    let limited = async { tokio::time::timeout(LIMIT, waiting).await };
    runtime
        .block_on(limited)
        .with_context(|| format!("not {expected}"))?
}

/// Starts a peer in another language.
fn start(language: Language, url: &str, options: &[&str]) -> Result<Process> {
    let mut command = match language {
        Language::Python => python_program("gone_peer.py")?,
        _ => javascript_program("gone_peer.mjs")?,
    };
    command.args(["--server-url", url]).args(options);
    Process::start(format!("{language:?}"), &command)
}

/// Checks that the other client was notified in time. The limit depends on the transport of the
/// killed client.
fn in_time(killed: Instant, transport: Transport) -> Result<()> {
    let limit = match transport {
        Transport::WebSocket => AT_ONCE,
        _ => STREAM_GRACE + AT_ONCE,
    };
    let time = killed.elapsed();
    ensure!(time < limit, "it took {time:?}");
    Ok(())
}

/// Kills the callee of a call.
fn callee_is_killed(language: Language, caller: Transport, callee: Transport) {
    run_blocking(Kind::Ours, &[language], |server| {
        let host = Program::connect(&server.url, callee)?;
        let (id, mut reports) = host.offer()?;
        if language != Language::Rust {
            let caller = start(language, &server.url, &["--service", &id])?;
            wait_for(&host.runtime, &mut reports, "begun")?;
            let killed = host.kill();
            caller.wait_for_prefix(LIMIT, "FAILED ")?;
            return in_time(killed, callee);
        }
        let caller = Program::connect(&server.url, caller)?;
        let finding = caller.client.get_service(&id);
        let service = caller.runtime.block_on(finding.into_future())?;
        let call = service.call::<u32>("wait", args!()).into_future();
        let calling = caller.runtime.spawn(call);
        wait_for(&host.runtime, &mut reports, "begun")?;
        let killed = host.kill();
        let outcome = caller.runtime.block_on(calling)?;
        ensure!(
            matches!(outcome, Err(Error::Disconnected(_))),
            "{outcome:?}"
        );
        in_time(killed, callee)
    });
}

/// Kills the caller of a call.
fn caller_is_killed(language: Language, caller_over: Transport, callee: Transport) {
    run_blocking(Kind::Ours, &[language], |server| {
        let caller = Program::connect(&server.url, caller_over)?;
        let read = |id: &str| -> Result<()> {
            let reading = async {
                let service = caller.client.get_service(id).await?;
                let numbers = service.call::<RemoteStream<u32>>("numbers", args!());
                let mut numbers = numbers.await?;
                numbers.next().await.context("no number")??;
                #[expect(clippy::mem_forget, reason = "a killed program runs no destructor")]
                std::mem::forget(numbers);
                let waiting = service.call::<u32>("wait", args!()).into_future();
                tokio::spawn(waiting);
                anyhow::Ok(())
            };
            caller.runtime.block_on(reading)
        };
        let host = Program::connect(&server.url, callee)?;
        let (id, mut reports) = host.offer()?;
        read(&id)?;
        wait_for(&host.runtime, &mut reports, "begun")?;
        let killed = caller.kill();
        // The two reports may arrive in any order.
        for _ in 0..2 {
            let next = async { tokio::time::timeout(LIMIT, reports.recv()).await };
            let report = host.runtime.block_on(next)?;
            ensure!(matches!(report, Some("cancelled" | "closed")), "{report:?}");
        }
        in_time(killed, caller_over)
    });
}

macro_rules! tests {
    ($($name:ident: $check:ident $language:ident $caller:ident $callee:ident;)*) => {$(
        #[test]
        fn $name() {
            $check(Language::$language, Transport::$caller, Transport::$callee);
        }
    )*};
}

tests! {
    callee_of_rust: callee_is_killed Rust WebSocket WebSocket;
    callee_of_rust_over_http: callee_is_killed Rust Http Http;
    callee_of_python: callee_is_killed Python WebSocket WebSocket;
    callee_of_python_over_http: callee_is_killed Python WebSocket Http;
    callee_of_javascript: callee_is_killed JavaScript WebSocket WebSocket;
    callee_of_javascript_over_http: callee_is_killed JavaScript WebSocket Http;
    caller_of_rust: caller_is_killed Rust WebSocket WebSocket;
    caller_of_rust_over_http: caller_is_killed Rust Http Http;
}
