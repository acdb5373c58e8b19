//! Tests Ctrl-C: the first signal cancels the handlers, and the second signal ends the process.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "everything that fails here fails the test"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};
use hypha_rpc::client::Identity;
use hypha_rpc::prelude::*;
use hypha_rpc::transport::memory::pair;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

/// Environment variable that is set in the process that receives the signals. Its value is the part
/// of the process.
const SERVING: &str = "HYPHA_TEST_SERVING";

#[hypha_service(id = "stubborn", visibility = "public")]
trait Stubborn {
    /// Ignores cancellation and never returns.
    async fn run(&self, ctx: &Context);
    /// Ignores cancellation, and blocks its thread forever.
    #[hypha(blocking)]
    fn block(&self, ctx: &Context);
    /// Sends 0, and after the cancellation the numbers from 1 to 3.
    async fn count(&self, ctx: &Context) -> impl Stream<Item = u32>;
    /// Returns a file of 2 MiB.
    async fn file(&self) -> RemoteFile;
}

struct Running(mpsc::UnboundedSender<Context>);

impl Stubborn for Running {
    async fn run(&self, ctx: &Context) {
        println!("\nrunning");
        ctx.cancellation().cancelled().await;
        println!("told");
        std::future::pending::<()>().await;
    }

    fn block(&self, ctx: &Context) {
        println!("\nrunning");
        self.0.send(ctx.clone()).unwrap();
        loop {
            std::thread::park();
        }
    }

    async fn count(&self, ctx: &Context) -> impl Stream<Item = u32> {
        let ctx = ctx.clone();
        futures_util::stream::unfold(0, move |count| {
            let ctx = ctx.clone();
            async move {
                if count == 1 {
                    ctx.cancellation().cancelled().await;
                }
                (count < 4).then_some((count, count + 1))
            }
        })
    }

    async fn file(&self) -> RemoteFile {
        RemoteFile::from_bytes(vec![1; 2 << 20])
    }
}

/// Runs in the child process that the tests below start.
#[tokio::test]
async fn serves_until_it_is_stopped() {
    let Ok(part) = std::env::var(SERVING) else {
        return;
    };
    let (ours, theirs) = pair(64);
    let client =
        |link, id| Client::from_link(Box::new(link), Identity::new("ws", id), <_>::default());
    let (client, caller) = (client(theirs, "me"), client(ours, "peer"));
    let (sender, mut contexts) = mpsc::unbounded_channel();
    let service = client.register_service(StubbornService::new(Running(sender)));
    service.await.unwrap();
    let service = caller.get_remote_service("ws/me:stubborn").await.unwrap();
    let proxy = StubbornProxy::from_service(service);
    let serving = tokio::spawn(async move { client.run_until_ctrl_c().await });
    match &*part {
        "run" => {
            let (ran, served) = tokio::join!(proxy.run(), serving);
            ran.unwrap_err();
            served.unwrap().unwrap();
        }
        "block" => {
            let call = tokio::spawn(proxy.block().into_future());
            let context = contexts.recv().await.unwrap();
            context.cancellation().cancelled().await;
            println!("told");
            tokio::time::pause();
            // The clock does not advance on its own while a thread is blocked.
            while !serving.is_finished() {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            serving.await.unwrap().unwrap();
            call.await.unwrap().unwrap_err();
            println!("returned");
        }
        "read" => {
            let mut numbers = proxy.count().await.unwrap();
            let mut file = proxy.file().await.unwrap();
            assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
            println!("\nrunning");
            let rest: Vec<u32> = numbers.try_collect().await.unwrap();
            assert_eq!(rest, [1, 2, 3]);
            println!("told");
            tokio::time::pause();
            for _ in 0..5 {
                // Shorter than the pause for which a closing connection waits.
                tokio::time::sleep(Duration::from_millis(400)).await;
                file.read_exact(&mut [1; 256 << 10]).await.unwrap();
            }
            println!("read");
            serving.await.unwrap().unwrap();
            file.read_to_end(&mut Vec::new()).await.unwrap_err();
            println!("returned");
        }
        other => panic!("{other}"),
    }
}

/// Process that serves, and the lines that it prints.
struct Serving {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Serving {
    fn begin(part: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serves_until_it_is_stopped", "--nocapture"])
            .env(SERVING, part)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut serving = Serving { process, lines };
        serving.wait_for("running");
        serving
    }

    fn signal(&self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.unwrap().success());
    }

    fn wait_for(&mut self, line: &str) {
        assert!(self.lines.any(|read| read.unwrap() == line), "{line}");
    }

    fn code(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

#[test]
fn the_first_signal_cancels_and_the_second_ends_the_process() {
    let mut serving = Serving::begin("run");
    serving.signal();
    serving.wait_for("told");
    serving.signal();
    assert_eq!(serving.code(), Some(130));
}

#[test]
fn a_signal_ends_a_process_whose_runtime_has_ended() {
    let mut serving = Serving::begin("block");
    serving.signal();
    serving.wait_for("told");
    serving.wait_for("returned");
    serving.signal();
    assert_eq!(serving.code(), Some(130));
}

#[test]
fn streams_and_files_can_be_read_after_the_first_signal() {
    let mut serving = Serving::begin("read");
    serving.signal();
    for line in ["told", "read", "returned"] {
        serving.wait_for(line);
    }
    assert_eq!(serving.code(), Some(0));
}
