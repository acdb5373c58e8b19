//! Tests text frames (pings, tokens, errors of the server), and a server that stops responding.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hypha_rpc::Client;
use hypha_rpc::client::{Settings, State};
use hypha_rpc::transport::{Frame, LinkError};
use tokio::time::Instant;

use crate::support::{Peer, assert_passed, breathe, client_with, list, seconds};

fn client_with_intervals(ping: u64, patience: u64, refresh: u64) -> (Client, Peer) {
    let mut settings = Settings::in_process();
    settings.ping_interval = seconds(ping);
    settings.ping_timeout = seconds(patience);
    settings.token_refresh_interval = seconds(refresh);
    client_with(settings, 64)
}

fn text(text: &str) -> Frame {
    Frame::Text(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn control_messages_are_understood() {
    let (client, mut peer) = client_with(Settings::in_process(), 64);
    assert_eq!(client.reconnection_token(), None);
    for frame in [
        r#"{"type":"pong"}"#,
        r#"{"type":"reconnection_token","reconnection_token":"T1"}"#,
        r#"{"type":"reconnection_token","reconnection_token":5}"#,
        r#"{"type":"what is this"}"#,
        r#"{"type":5}"#,
        "[]",
        "null",
        "not JSON",
        "",
    ] {
        peer.push(text(frame)).await;
    }
    breathe().await;
    assert_eq!(client.reconnection_token().as_deref(), Some("T1"));
    peer.push(text(
        r#"{"type":"reconnection_token","reconnection_token":"T2"}"#,
    ))
    .await;
    breathe().await;
    assert_eq!(client.reconnection_token().as_deref(), Some("T2"));
    assert_eq!(client.state(), State::Connected);
    peer.nothing_for(seconds(1000)).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_server_is_the_close_reason() {
    for last in [Some(Frame::Close(Some((1008, "short".into())))), None] {
        let (client, mut peer) = client_with(Settings::in_process(), 64);
        peer.push(text(r#"{"type":"error","message":"You are banned"}"#))
            .await;
        breathe().await;
        assert_eq!(client.state(), State::Connected);
        if let Some(close) = last {
            peer.push(close).await;
        }
        drop(peer);
        assert_eq!(
            client.closed().await.to_string(),
            "Connection closed by the server: You are banned"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn pings_and_refreshes_go_out_in_time() {
    let begin = Instant::now();
    let (client, mut peer) = client_with_intervals(20, 20, 100);
    let mut pings = Vec::new();
    let mut refreshes = Vec::new();
    while begin.elapsed() < seconds(300) {
        match peer.frame().await {
            Some(Frame::Text(frame)) if frame == r#"{"type":"ping"}"# => {
                pings.push(begin.elapsed().as_secs());
                peer.push(text(r#"{"type":"pong"}"#)).await;
            }
            Some(Frame::Text(frame)) if frame == r#"{"type":"refresh_token"}"# => {
                refreshes.push(begin.elapsed().as_secs());
            }
            other => panic!("{other:?}"),
        }
    }
    let expected: Vec<u64> = (0..=15).map(|n| 2 + 20 * n).collect();
    assert_eq!(pings, expected[..pings.len()]);
    assert_eq!(refreshes, [2, 102, 202]);
    assert_eq!(client.state(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_disconnected() {
    let begin = Instant::now();
    let (client, mut peer) = client_with_intervals(20, 15, 0);
    let reading = async { while peer.frame().await.is_some() {} };
    let (reason, ()) = tokio::join!(client.closed(), reading);
    assert_eq!(
        reason.to_string(),
        "Connection lost: the server does not answer"
    );
    assert_passed(begin, seconds(35));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_neither_reads_nor_writes_is_disconnected() {
    let mut settings = Settings::in_process();
    settings.ping_interval = seconds(20);
    settings.ping_timeout = seconds(15);
    settings.token_refresh_interval = seconds(100);
    let begin = Instant::now();
    let (client, _peer) = client_with(settings, 1);
    assert_eq!(
        client.closed().await.to_string(),
        "Connection lost: the server does not answer"
    );
    assert_passed(begin, seconds(35));
}

/// Every received frame, not only a pong, shows that the server is alive.
#[tokio::test(start_paused = true)]
async fn any_frame_shows_that_the_server_is_alive() {
    let (client, mut peer) = client_with_intervals(20, 15, 0);
    for _ in 0..20 {
        tokio::time::sleep(seconds(34)).await;
        peer.call("services.built-in.ping", list!["ping"]).await;
        while !matches!(peer.frame().await, Some(Frame::Binary(_))) {}
    }
    assert_eq!(client.state(), State::Connected);
    let begin = Instant::now();
    let reading = async { while peer.frame().await.is_some() {} };
    tokio::join!(client.closed(), reading);
    assert_passed(begin, seconds(35));
}

#[tokio::test(start_paused = true)]
async fn disabled_timers_do_nothing() {
    let (client, mut peer) = client_with_intervals(0, 0, 0);
    peer.nothing_for(seconds(100_000)).await;
    assert_eq!(client.state(), State::Connected);
}

#[tokio::test(start_paused = true)]
async fn infinite_intervals_disable_the_timers() {
    let mut settings = Settings::in_process();
    settings.ping_interval = Duration::MAX;
    settings.ping_timeout = Duration::MAX;
    settings.token_refresh_interval = Duration::MAX;
    let (client, mut peer) = client_with(settings, 64);
    // The client still sends the first control messages shortly after connecting.
    for _ in 0..2 {
        assert!(matches!(peer.frame().await, Some(Frame::Text(_))));
    }
    peer.nothing_for(seconds(100_000)).await;
    assert_eq!(client.state(), State::Connected);
}

/// Link that records the WebSocket pings that the client requests.
struct Below {
    link: hypha_rpc::transport::memory::MemoryLink,
    pings: Arc<AtomicUsize>,
}

impl Stream for Below {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.link.poll_next_unpin(cx)
    }
}

impl Sink<Frame> for Below {
    type Error = LinkError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), LinkError>> {
        self.link.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), LinkError> {
        if frame == Frame::Ping {
            self.pings.fetch_add(1, Ordering::SeqCst);
        }
        self.link.start_send_unpin(frame)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), LinkError>> {
        self.link.poll_flush_unpin(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), LinkError>> {
        self.link.poll_close_unpin(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn pings_go_out_below_the_protocol_too() {
    let (link, _other) = hypha_rpc::transport::memory::pair(64);
    let pings = Arc::new(AtomicUsize::new(0));
    let below = Below {
        link,
        pings: Arc::clone(&pings),
    };
    let mut settings = Settings::in_process();
    settings.ping_interval = seconds(10);
    settings.ping_timeout = seconds(1000);
    settings.token_refresh_interval = seconds(0);
    let identity = hypha_rpc::client::Identity::new("ws", "me");
    let client = hypha_rpc::Client::from_link(Box::new(below), identity, settings);
    tokio::time::sleep(seconds(35)).await;
    assert_eq!(pings.load(Ordering::SeqCst), 4);
    drop(client);
}
