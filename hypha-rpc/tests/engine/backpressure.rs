//! Tests a client whose peer does not read: senders wait, the outbound queue stays bounded, and the
//! client continues to read.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use hypha_rpc::client::{Identity, Settings};
use hypha_rpc::error::TimeoutKind;
use hypha_rpc::service::Method;
use hypha_rpc::transport::{Frame, LinkError};
use hypha_rpc::{Client, Error, RemoteService, Service, Value, args};
use hypha_wire::keys;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::coop;
use tokio::time::Instant;

use crate::support::{
    PEER, Peer, Probe, assert_passed, breathe, client_with, list, map, message, payload, seconds,
    service, settled,
};

/// Capacity of the client's outbound queue, in frames. When it is full, senders wait.
const QUEUE: usize = 1024;

/// Makes calls without waiting for their responses, until the outbound queue is full. Returns the
/// number of calls sent. Panics after `most` calls.
async fn fill(service: &RemoteService, most: usize, size: usize) -> usize {
    for sent in 0..most {
        let call = service.call::<Value>("call", args!(payload(size))).send();
        if tokio::time::timeout(seconds(1), call).await.is_err() {
            return sent;
        }
    }
    panic!("{most} calls were sent without a wait");
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_a_peer_that_does_not_read() {
    let (client, mut peer) = client_with(Settings::in_process(), 4);
    let service = peer.offer(&client).await;
    let filled = fill(&service, 2 * QUEUE, 0).await;
    assert!((QUEUE..QUEUE + 8).contains(&filled), "{filled}");

    let begin = Instant::now();
    let calling = service.call::<i64>("call", args!()).timeout(seconds(5));
    let Err(Error::Timeout(timeout)) = calling.await else {
        panic!("not a time-out")
    };
    assert_eq!((timeout.kind, timeout.sent), (TimeoutKind::Total, false));
    assert_passed(begin, seconds(5));
    let calling = service
        .call::<i64>("call", args!())
        .timeout(seconds(5))
        .send();
    let outcome = tokio::time::timeout(seconds(6), calling)
        .await
        .expect("in time");
    let Err(Error::Timeout(timeout)) = outcome else {
        panic!("not a time-out: {outcome:?}")
    };
    assert!(!timeout.sent);
    assert_eq!(client.stats().sessions, 0);

    // A waiting caller continues when the queue has room. The idle timeout of a call starts when
    // the request is sent.
    let begin = Instant::now();
    let calling = service
        .call::<i64>("call", args!(-1))
        .idle_timeout(seconds(10));
    let reading = async {
        tokio::time::sleep(seconds(100)).await;
        for _ in 0..filled {
            peer.receive().await;
        }
        // The two callers above timed out before their requests were sent, so this is the next
        // request.
        assert_eq!(peer.receive().await.arg(0), Value::from(-1i64));
    };
    let (outcome, ()) = tokio::join!(calling.into_future(), reading);
    let Err(Error::Timeout(timeout)) = outcome else {
        panic!("not a time-out: {outcome:?}")
    };
    assert_eq!((timeout.kind, timeout.sent), (TimeoutKind::Idle, true));
    assert_passed(begin, seconds(110));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn large_frames_are_bounded_by_their_size() {
    let (client, mut peer) = client_with(Settings::in_process(), 1);
    let service = peer.offer(&client).await;
    let size = 256 << 10;
    let filled = fill(&service, QUEUE, size).await;
    assert!(
        filled * size <= 40 << 20,
        "{filled} frames of {size} bytes wait"
    );
    // The queue still has room for small requests.
    service
        .call::<Value>("call", args!())
        .send()
        .await
        .expect("queued");
    drop(peer);
    settled(&client).await;
}

/// If the connection ends while a call waits for room in the queue, the call fails and reports that
/// the call was not sent.
#[tokio::test(start_paused = true)]
async fn a_call_waiting_for_room_fails_with_the_connection() {
    for size in [0, 100 << 10] {
        let (client, mut peer) = client_with(Settings::in_process(), 4);
        let service = peer.offer(&client).await;
        fill(&service, 2 * QUEUE, size).await;
        let call = service.call::<Value>("call", args!(payload(size)));
        let calling = tokio::spawn(call.into_future());
        breathe().await;
        drop(peer);
        let outcome = calling.await.expect("runs");
        let Err(Error::Disconnected(lost)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (lost.reason.as_str(), lost.may_have_run),
            ("Connection lost", false)
        );
        settled(&client).await;
    }
}

/// Returns a client whose outbound queue is full of responses.
async fn with_full_queue() -> (Client, Peer, Arc<Probe>) {
    let (client, mut peer) = client_with(Settings::in_process(), 4);
    let probe = Arc::new(Probe::default());
    let registering = client.register_service(service(&probe));
    registering.await.expect("registers");
    let remote = peer.offer(&client).await;
    fill(&remote, 2 * QUEUE, 0).await;
    (client, peer, probe)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_cannot_write_still_reads() {
    let (client, mut peer, probe) = with_full_queue().await;
    let mut events = client.events("news");
    for n in 0..100i64 {
        peer.send(map! {"type": "news", "data": n}, Value::Null)
            .await;
    }
    for n in 0..100i64 {
        assert_eq!(
            events.next().await.expect("an event").data(),
            &Value::from(n)
        );
    }
    for n in 0..100 {
        peer.call_as(PEER, &format!("S{n}"), "services.svc.add", list![1i64])
            .await;
    }
    breathe().await;
    assert_eq!(probe.started(), 100);
    assert_eq!(client.stats().running, 100, "their answers wait");
    let mut answers = 0;
    while answers < 100 {
        let frame = peer.receive().await;
        answers += usize::from(frame.text("method").ends_with(".resolve"));
    }
    settled(&client).await;
}

/// A method must continue while its heartbeats cannot be sent.
#[tokio::test(start_paused = true)]
async fn a_method_continues_while_its_heartbeats_wait() {
    let (client, mut peer, _) = with_full_queue().await;
    let done = Arc::new(Notify::new());
    let told = Arc::clone(&done);
    let method = Method::new("work", move |call| {
        let told = Arc::clone(&told);
        async move {
            tokio::time::sleep(seconds(60)).await;
            told.notify_one();
            call.reply(&())
        }
    });
    let service = Service::new("w").method(method);
    client.register_service(service).await.expect("registers");
    let begin = Instant::now();
    peer.call("services.w.work", list![]).await;
    tokio::time::timeout(seconds(100), done.notified())
        .await
        .expect("worked");
    assert_passed(begin, seconds(60));
}

/// The client must not store an unlimited number of rejections for a peer that does not read.
#[tokio::test(start_paused = true)]
async fn unread_rejections_do_not_accumulate() {
    let mut settings = Settings::in_process();
    settings.max_concurrent_calls = 1;
    let (client, mut peer) = client_with(settings, 4);
    let probe = Arc::new(Probe::default());
    let registering = client.register_service(service(&probe));
    registering.await.expect("registers");
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for n in 0..5_000 {
        peer.call_as(PEER, &format!("S{n}"), "services.svc.wait", list![])
            .await;
    }
    breathe().await;
    assert_eq!(client.stats().refused_busy, 4_999);
    assert!(tasks() <= before + 1, "{} tasks", tasks() - before);
    assert!(client.stats().undelivered >= 3_900);
    probe.gate.notify_one();
    drop(peer);
    client.closed().await;
    settled(&client).await;
}

/// Link that always has another frame to read. As with a socket, each read consumes a part of the
/// task's tokio budget. A task without budget must yield.
struct Flood {
    frame: Frame,
    left: usize,
    sent: mpsc::UnboundedSender<Frame>,
}

impl Stream for Flood {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(coop::poll_proceed(cx)).made_progress();
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.left = left;
        Poll::Ready(Some(Ok(self.frame.clone())))
    }
}

impl Sink<Frame> for Flood {
    type Error = LinkError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, frame: Frame) -> Result<(), LinkError> {
        let _ = self.sent.send(frame);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(Ok(()))
    }
}

/// The client must send frames even if its link always has another frame to read.
#[tokio::test(start_paused = true)]
async fn a_flood_does_not_block_outgoing_frames() {
    let (sent, mut received) = mpsc::unbounded_channel();
    let link = Flood {
        frame: Frame::Binary(message(map! {"type": "noise"}, Value::Null)),
        left: 100_000,
        sent,
    };
    let identity = Identity::new("ws", "me");
    let client = Client::from_link(Box::new(link), identity, Settings::in_process());
    client.emit("hello", "*", 1i64).await.expect("queued");
    received.recv().await.expect("sent");
    let read = client.stats().frames_received;
    assert!(read < 10_000, "only after {read} frames");
}

/// A destructor cannot wait until the queue has room. The client must still send the destructor's
/// message later.
#[tokio::test(start_paused = true)]
async fn messages_of_destructors_survive_a_full_queue() {
    let (client, mut peer) = client_with(Settings::in_process(), 4);
    let service = peer.offer(&client).await;
    let mut functions = Vec::new();
    for n in 0..3 {
        let calling = tokio::spawn(service.call::<Value>("call", args!()).into_future());
        let call = peer.receive().await;
        let function = map! {
            "_rtype": "method", "_rtarget": PEER, "_rmethod": format!("S.f{n}"),
            "_rpromise": "*", "_rrelease": true,
        };
        peer.reply(&call, "resolve", list![function]).await;
        functions.push(calling.await.expect("runs").expect("a function"));
    }
    let filled = fill(&service, 2 * QUEUE, 0).await;
    drop(functions);
    let mut released = Vec::new();
    for _ in 0..filled + 3 {
        let frame = peer.receive().await;
        if frame.text("method") == keys::RELEASE {
            released.push(frame.arg(0));
        }
    }
    released.sort_by_key(ToString::to_string);
    assert_eq!(released, ["S.f0", "S.f1", "S.f2"].map(Value::from));
    assert_eq!(client.stats().undelivered, 0);
}
