//! Tests that `Error::source` returns the underlying error of the link, the server or the decoder.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hypha_rpc::client::{Identity, Settings};
use hypha_rpc::error::{
    ConnectError, ConnectErrorKind, EncodeError, ErrorKind, LinkError, Lost, report,
};
use hypha_rpc::service::{Method, Visibility};
use hypha_rpc::transport::Frame;
use hypha_rpc::transport::memory::{MemoryLink, pair};
use hypha_rpc::{Client, Error, Service, Value, args};

use crate::net::{Net, Plan};
use crate::support::{Peer, seconds, two_clients};

/// Link that fails with a network error.
struct Breaking(MemoryLink);

impl Stream for Breaking {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx).map(|frame| {
            Some(frame.unwrap_or_else(|| {
                let reset = io::Error::from(io::ErrorKind::ConnectionReset);
                Err(LinkError::new("the network failed").with_source(reset))
            }))
        })
    }
}

impl Sink<Frame> for Breaking {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.0.poll_ready_unpin(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), LinkError> {
        self.0.start_send_unpin(frame)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.0.poll_flush_unpin(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.0.poll_close_unpin(cx)
    }
}

fn reset(error: &dyn std::error::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::ConnectionReset)
}

#[tokio::test(start_paused = true)]
async fn the_network_error_is_the_source_of_failed_calls() {
    let (ours, link) = pair(1024);
    let identity = Identity::new("ws", "me");
    let client = Client::from_link(Box::new(Breaking(ours)), identity, Settings::in_process());
    let mut peer = Peer { link };
    let service = peer.offer(&client).await;
    let calls =
        [(); 2].map(|()| tokio::spawn(service.call::<Value>("call", args!()).into_future()));
    for _ in &calls {
        peer.receive().await;
    }
    drop(peer);
    for call in calls {
        let error = call.await.expect("runs").expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Disconnected);
        assert!(reset(&error), "{error:?}");
        assert_eq!(
            report(&error),
            "svc.call on ws/peer: Connection lost: the network failed (it may have run): \
             connection reset"
        );
    }
    // `closed` and later calls report the same cause.
    let reason = client.closed().await;
    assert!(reset(&*reason), "{reason:?}");
    let late = service.call::<Value>("call", args!()).await;
    let late = late.expect_err("over");
    assert!(reset(&late) && !late.may_have_run(), "{late:?}");
    assert_eq!(
        format!("{:#}", anyhow::Error::from(late)),
        "svc.call on ws/peer: Connection lost: the network failed: connection reset"
    );
}

#[tokio::test(start_paused = true)]
async fn the_refusal_is_the_source_of_failed_reconnects() {
    let (net, _others) = Net::new();
    let client = net.connect().await.expect("connects");
    let words = r#"{"type":"error","message":"Authentication error: expired"}"#;
    net.otherwise(Plan::Say(Frame::Text(words.into())));
    net.cut();
    client.closed().await;
    let Err(Error::Disconnected(error)) = client.get_service("svc").await else {
        panic!("it is over");
    };
    assert_eq!(error.lost, Lost::Connection);
    let refusal = error.source().and_then(|cause| cause.downcast_ref());
    let kind = refusal.map(ConnectError::kind);
    assert_eq!(kind, Some(ConnectErrorKind::TokenRejected), "{error:?}");
}

/// A handler fails with an error that has a chain of causes and a stack trace.
#[tokio::test(start_paused = true)]
async fn callers_get_the_causes_and_the_stack_trace_only_if_it_is_set() {
    let (a, b) = two_clients(Settings::in_process());
    for (id, send) in [("silent", false), ("open", true)] {
        let fail = Method::new("fail", |call| async move {
            let cause = io::Error::from(io::ErrorKind::PermissionDenied);
            let error = anyhow::Error::from(cause).context("the door is shut");
            let mut error = call.fail(error.context("cannot enter"));
            // Set the stack trace by hand, because errors capture a stack trace only if
            // `RUST_BACKTRACE` is set.
            error.backtrace = Some("\nStack backtrace:\n  at src/secret.rs:1\n".into());
            Err(error)
        });
        let service = Service::new(id).visibility(Visibility::Public);
        b.register_service(service.method(fail))
            .send_backtraces(send)
            .await
            .expect("registers");
        let service = a.get_remote_service(&format!("ws/b:{id}")).await;
        let called = service.expect("fetches").call::<Value>("fail", args!());
        let Err(Error::Remote(error)) = called.await else {
            panic!("it fails");
        };
        assert_eq!(
            report(&*error),
            format!("{id}.fail on ws/b: cannot enter: the door is shut: permission denied")
        );
        let deepest = error.source().and_then(|cause| cause.source());
        assert_eq!(
            deepest.map(ToString::to_string).as_deref(),
            Some("permission denied")
        );
        assert!(
            error.trace.contains("1: permission denied"),
            "{}",
            error.trace
        );
        assert_eq!(error.trace.contains("secret.rs"), send, "{}", error.trace);
    }
}

/// After a connection has worked, the client retries even after errors that would be permanent for
/// a first attempt. A proxy may respond with 404 while its server restarts, and a hotspot may
/// present another certificate.
#[tokio::test(start_paused = true)]
async fn reconnects_continue_after_a_proxy_error() {
    let (net, _others) = Net::new();
    let client = net.connect().await.expect("connects");
    net.otherwise(Plan::Fail(ConnectErrorKind::HttpStatus(404)));
    net.cut();
    tokio::time::sleep(seconds(20)).await;
    assert!(net.attempts() > 2);
    net.otherwise(Plan::Welcome);
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(client.state(), hypha_rpc::client::State::Connected);
}

#[tokio::test(start_paused = true)]
async fn the_encoder_error_is_the_source_of_unsendable_values() {
    let (client, mut peer) = crate::support::client();
    let service = peer.offer(&client).await;
    let keys = std::collections::HashMap::from([((1, 2), 3)]);
    let call = service.call::<Value>("call", args!(table = keys));
    let error = call.await.expect_err("fails");
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    assert_eq!(cause.and_then(EncodeError::argument), Some("table"));
    assert!(!error.may_have_run() && !error.is_retryable());
}
