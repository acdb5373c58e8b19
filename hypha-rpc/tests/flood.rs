//! Tests that the memory of a client stays bounded when a peer sends calls faster than the client
//! responds.
//!
//! This test is a separate program, because it measures the memory of the whole program.
#![cfg(target_os = "linux")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use hypha_rpc::Client;
use hypha_rpc::client::{Identity, Settings, Stats};
use hypha_rpc::service::{Method, Service, Visibility};
use hypha_rpc::transport::Frame;
use hypha_rpc::transport::memory::{MemoryLink, pair};
use hypha_wire::{Args, Head, ReplyMode};

/// Returns the peak memory of this program, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse::<usize>().ok())
        .expect("a number")
        << 10
}

fn call(session: usize, size: usize) -> Frame {
    let mut args = Args::new(1, 0);
    args.push("data", &hypha_rpc::Binary::from(vec![7; size]));
    let head = Head {
        from: "ws/flood",
        to: "ws/me",
        method: "services.svc.hang",
        parent: None,
        session: Some(&format!("S{session}")),
    };
    let message = args.finish(&head, ReplyMode::Star { interval: 10.0 });
    // Copy the message, so that each frame has its own buffer, like frames from a socket.
    Frame::Binary(Bytes::from(message.expect("encodes").to_vec()))
}

/// Sends calls as fast as the client accepts them, and reads the responses.
async fn flood(link: &mut MemoryLink, calls: usize, size: usize) {
    for n in 0..calls {
        link.send(call(n, size)).await.expect("the client reads");
        while let Some(Some(_)) = link.next().now_or_never() {}
    }
}

/// Waits until the client has received `calls` calls.
async fn wait_for_calls(client: &Client, link: &mut MemoryLink, calls: u64) -> Stats {
    let came = async {
        while client.stats().calls_received < calls {
            let _ = link.next().now_or_never();
            tokio::task::yield_now().await;
        }
        // The client counts an accepted call shortly before it starts the handler.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        client.stats()
    };
    let came = tokio::time::timeout(Duration::from_secs(60), came);
    came.await.expect("all calls come in")
}

#[tokio::test]
async fn a_flood_of_calls_has_a_bound() {
    let (theirs, mut link) = pair(4);
    let mut settings = Settings::in_process();
    settings.max_call_bytes = 32 << 20;
    let client = Client::from_link(Box::new(theirs), Identity::new("ws", "me"), settings);
    let hang = Method::new("hang", |_| std::future::pending());
    let service = Service::new("svc")
        .visibility(Visibility::Public)
        .method(hang);
    client.register_service(service).await.expect("registers");

    flood(&mut link, 10, 1 << 20).await;
    let before = peak();
    // These calls contain 2 GB in total, far more than the client may store.
    flood(&mut link, 2000, 1 << 20).await;
    let stats = wait_for_calls(&client, &mut link, 2010).await;
    let grown = peak() - before;
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    assert!((20..=32).contains(&stats.running), "{stats:?}");
    assert_eq!(stats.refused_busy, 2010 - stats.running as u64);

    // The number of small calls is limited, rather than their total size.
    flood(&mut link, 30_000, 10).await;
    let stats = wait_for_calls(&client, &mut link, 32_010).await;
    let grown = peak() - before;
    assert!(grown < 128 << 20, "{} MiB", grown >> 20);
    assert_eq!(stats.running, 4096);
}
