//! Tests Ctrl-C: the first signal cancels the handlers, and the second signal ends the process.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    reason = "everything that fails here fails the test"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use hypha_rpc::client::Identity;
use hypha_rpc::prelude::*;
use hypha_rpc::transport::Frame;
use hypha_rpc::transport::memory::pair;
use hypha_wire::{Args, Head, ReplyMode};

/// Environment variable that is set in the process that receives the signals.
const SERVING: &str = "HYPHA_TEST_SERVING";

struct Stubborn;

#[hypha_service(id = "stubborn")]
impl Stubborn {
    /// Ignores cancellation and never returns.
    pub async fn run(&self, ctx: &Context) {
        println!("\nrunning");
        ctx.cancellation().cancelled().await;
        println!("told");
        std::future::pending::<()>().await;
    }
}

/// Runs in the child process that the test below starts.
#[tokio::test]
async fn serves_until_it_is_stopped() {
    if std::env::var_os(SERVING).is_none() {
        return;
    }
    let (mut ours, theirs) = pair(64);
    let identity = Identity::new("ws", "me");
    let client = Client::from_link(Box::new(theirs), identity, <_>::default());
    client.register_service(Stubborn).await.unwrap();
    let head = Head {
        from: "ws/peer",
        to: "ws/me",
        method: "services.stubborn.run",
        parent: None,
        session: Some("s"),
    };
    let reply = ReplyMode::Star { interval: 10.0 };
    let call = Args::new(0, 0).finish(&head, reply).unwrap();
    let serving = tokio::spawn(async move { client.run_until_ctrl_c().await });
    tokio::task::yield_now().await;
    ours.send(Frame::Binary(call)).await.unwrap();
    tokio::spawn(async move { while ours.next().await.is_some() {} });
    serving.await.unwrap().unwrap();
}

#[test]
fn the_first_signal_cancels_and_the_second_ends_the_process() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "serves_until_it_is_stopped", "--nocapture"])
        .env(SERVING, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let signal = |process: &std::process::Child| {
        let id = process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
    };
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut wait_for = |line: &str| assert!(lines.any(|read| read.unwrap() == line), "{line}");
    wait_for("running");
    let begin = Instant::now();
    signal(&process);
    wait_for("told");
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "after the grace period"
    );
    signal(&process);
    let ended = process.wait().unwrap();
    assert_eq!(ended.code(), Some(130), "{ended}");
    assert!(
        begin.elapsed() < Duration::from_secs(4),
        "after the grace period"
    );
}
