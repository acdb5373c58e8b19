//! Tests that callbacks, streams and chunked messages end if one side disconnects while it uses
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use hypha_rpc::client::Settings;
use hypha_rpc::error::Lost;
use hypha_rpc::prelude::*;
use hypha_rpc::service::{Method, Service};
use hypha_rpc::{Client, Error, Value, args};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::{
    PEER, Peer, Received, assert_passed, breathe, client, client_with, list, map, seconds, settled,
};

/// An object that counts.
#[hypha_service]
trait Counter {
    async fn increment(&self, by: i64) -> i64;
}

struct Plus;

impl Counter for Plus {
    async fn increment(&self, by: i64) -> i64 {
        by + 1
    }
}

/// Increments a count when created. Decrements the count when dropped.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn count(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Alive(Arc::clone(alive))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns a stream that never yields an item.
fn stuck(alive: &Arc<AtomicUsize>) -> RemoteStream<u32> {
    RemoteStream::new(stream::unfold(Alive::count(alive), async |_| {
        std::future::pending().await
    }))
}

/// Asserts that the client has no sessions or exported objects left.
async fn assert_settled(client: &Client) {
    breathe().await;
    settled(client).await;
    assert_eq!(client.stats().objects, 0);
}

async fn leave(peer: &mut Peer) {
    let data = map! {"id": "peer", "workspace": "ws"};
    let event = map! {"type": "client_disconnected", "to": "*", "data": data};
    peer.send(event, Value::Null).await;
}

/// Returns the wire form of a function of the peer.
fn function(method: &str) -> Value {
    map! {"_rtype": "method", "_rtarget": "peer", "_rmethod": method, "_rpromise": "*"}
}

/// Returns the wire form of a stream of the peer.
fn generator() -> Value {
    map! {
        "_rtype": "generator", "_rtarget": "peer", "_rmethod": "T.next",
        "_rclose_method": "T.close", "_rpromise": "*",
    }
}

fn path<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).expect("a path")
}

type Calling = JoinHandle<Result<Value, Error>>;

/// Makes `client` call the peer with these arguments, without waiting for the response.
async fn begin(client: &Client, peer: &mut Peer, args: hypha_wire::Args) -> Calling {
    let service = peer.offer(client).await;
    tokio::spawn(service.call::<Value>("call", args).into_future())
}

async fn aborted(calling: Calling) {
    calling.abort();
    assert!(calling.await.expect_err("is aborted").is_cancelled());
}

/// Returns a callback that waits for `gate`.
fn gated(gate: &Arc<Notify>) -> Callback<i64, i64> {
    let gate = Arc::clone(gate);
    Callback::new(move |n| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            n
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_caller_disconnects_while_its_callback_runs() {
    let (client, mut peer) = client();
    let gate = Arc::new(Notify::new());
    let calling = begin(&client, &mut peer, args!(gated(&gate))).await;
    let asked = peer.receive().await;
    let callback = path(&asked.arg(0), "_rmethod").to_owned();
    peer.call(&callback, list![3i64]).await;
    breathe().await;
    assert_eq!(client.stats().running, 1);
    aborted(calling).await;
    let stats = client.stats();
    assert_eq!((stats.sessions, stats.objects, stats.running), (0, 0, 1));
    // Callbacks that are already running complete in order, and the client sends their responses.
    // No further callback starts.
    gate.notify_one();
    assert_eq!(peer.answer_of("S").await, Ok(Value::from(3i64)));
    let gone = peer.ask(&callback, list![3i64]).await.expect_err("is gone");
    assert!(gone.contains("Session not found"), "{gone}");
    assert_settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_callback_fails_when_its_peer_disconnects() {
    let (client, mut peer) = client();
    let service = Service::new("svc").method(Method::new("twice", |call| async move {
        let callback: Callback<i64, i64> = call.args(&["callback"])?.required(0)?;
        let answer = callback.call(1).await;
        call.reply(&answer.map_err(|e| hypha_rpc::ServiceError::to_wire(e.to_string()))?)
    }));
    client.register_service(service).await.expect("registers");
    let begun = Instant::now();
    peer.call("services.svc.twice", list![function("S.callback")])
        .await;
    let asked = peer.receive().await;
    assert_eq!(asked.text("method"), "S.callback");
    assert_eq!(asked.text("parent"), "S");
    leave(&mut peer).await;
    let refused = peer.answer_of("S").await.expect_err("nobody answers");
    assert!(
        refused.contains("Client disconnected: ws/peer"),
        "{refused}"
    );
    assert_passed(begun, Duration::ZERO);
    assert_settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_reader_disconnects() {
    let (client, mut peer) = client();
    let alive = Arc::new(AtomicUsize::new(0));
    let service = Service::new("svc").method({
        let alive = Arc::clone(&alive);
        Method::new("stuck", move |call| {
            let stream = stuck(&alive);
            async move { call.reply(&stream) }
        })
    });
    client.register_service(service).await.expect("registers");
    // The peer never reads the first stream. The peer reads the second stream, and waits for an
    // item.
    peer.ask("services.svc.stuck", list![])
        .await
        .expect("a stream");
    let read = peer.ask("services.svc.stuck", list![]).await;
    peer.call_as(
        PEER,
        "I",
        path(&read.expect("a stream"), "_rmethod"),
        list![],
    )
    .await;
    breathe().await;
    assert_eq!(alive.load(Ordering::Relaxed), 2);
    leave(&mut peer).await;
    assert_settled(&client).await;
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_fails_when_its_owner_disconnects() {
    let (client, mut peer) = client();
    let calling = begin(&client, &mut peer, args!()).await;
    let asked = peer.receive().await;
    peer.reply(&asked, "resolve", list![generator()]).await;
    let stream = calling.await.expect("no panic").expect("answers");
    let mut stream: RemoteStream<u32> = stream.decode_as().expect("a stream");
    let reading = tokio::spawn(async move { stream.try_next().await });
    let asked = peer.receive().await;
    assert_eq!(asked.text("method"), "T.next");
    let begun = Instant::now();
    leave(&mut peer).await;
    let error = reading.await.expect("no panic").expect_err("is gone");
    assert!(
        matches!(&error, Error::Disconnected(d) if d.lost == Lost::Peer),
        "{error:?}"
    );
    assert_passed(begun, Duration::ZERO);
    assert_settled(&client).await;
}

/// A JavaScript peer drops the streams of a call after the response, without running their
/// `finally` blocks. Therefore the client must send the close notice before the response.
#[tokio::test(start_paused = true)]
async fn a_stream_of_an_argument_is_closed_before_the_response() {
    let (client, mut peer) = client();
    let service = Service::new("svc").method(Method::new("first", |call| async move {
        let mut numbers: RemoteStream<i64> = call.args(&["numbers"])?.required(0)?;
        let first = numbers.try_next().await;
        drop(numbers);
        call.reply(&first.map_err(|e| hypha_rpc::ServiceError::to_wire(e.to_string()))?)
    }));
    client.register_service(service).await.expect("registers");
    peer.call("services.svc.first", list![generator()]).await;
    let mut asked = peer.receive().await;
    assert_eq!(
        (asked.text("method"), asked.text("parent")),
        ("T.next", "S")
    );
    peer.reply(&asked, "resolve", list![4i64]).await;
    // Skip the request for the next item, which the client sends in advance.
    loop {
        asked = peer.receive().await;
        if asked.text("method") != "T.next" {
            break;
        }
    }
    assert_eq!(
        (asked.text("method"), asked.text("parent")),
        ("T.close", "S")
    );
    assert_eq!(peer.answer_of("S").await, Ok(Value::from(4i64)));
    // The client does not repeat this close notice, because the end of the call also closes the
    // stream.
    assert!(asked.main.get("session").is_none());
    peer.nothing_for(seconds(100)).await;
    assert_settled(&client).await;
}

/// Makes `client` drop a stream of the peer. Returns the first close notice.
async fn dropped_stream(client: &Client, peer: &mut Peer) -> Received {
    let calling = begin(client, peer, args!()).await;
    let asked = peer.receive().await;
    peer.reply(&asked, "resolve", list![generator()]).await;
    drop(calling.await.expect("no panic").expect("answers"));
    let close = peer.receive().await;
    assert_eq!(close.text("method"), "T.close");
    close
}

/// Waits until the client sends `notice` again. Returns the time until then.
async fn again(peer: &mut Peer, notice: &Received) -> Duration {
    let begin = Instant::now();
    let repeated = peer.receive().await;
    assert_eq!(repeated.main, notice.main);
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn close_notices_are_repeated_until_acknowledged() {
    let (client, mut peer) = client();
    for end in ["resolve", "reject"] {
        let close = dropped_stream(&client, &mut peer).await;
        // Send no response, as if the peer or its link were slow, or the notice were lost.
        assert_eq!(again(&mut peer, &close).await.as_secs(), 5);
        assert_eq!(again(&mut peer, &close).await.as_secs(), 10);
        // Either the server reports that the peer is not connected, or the peer reports that it is
        // busy.
        for reason in [
            "Target peer ws/peer is not connected",
            "hypha.Busy: too many calls in progress",
        ] {
            let name = reason.split_once(": ").map(|(name, _)| name);
            let error = map! {"_rtype": "error", "_rvalue": reason, "_rname": name};
            peer.reply(&close, "reject", list![error]).await;
            let pause = again(&mut peer, &close).await;
            assert!(pause <= seconds(2), "{pause:?}");
        }
        // Any other rejection acknowledges the notice: a Python peer has no method `close`, and a
        // JavaScript peer has dropped the stream together with its call.
        let unknown = map! {"_rtype": "error", "_rvalue": "Method not found: T.close"};
        peer.reply(&close, end, list![unknown]).await;
        peer.nothing_for(seconds(100)).await;
    }
    let stats = client.stats();
    assert_eq!((stats.notices_repeated, stats.undelivered), (8, 0));
    assert_eq!(stats.dropped_late, 0);
    assert_settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn close_notices_expire_like_streams() {
    let (client, mut peer) = client();
    let close = dropped_stream(&client, &mut peer).await;
    let begin = Instant::now();
    leave(&mut peer).await;
    let mut times = 0;
    while let Ok(repeated) = tokio::time::timeout(seconds(100), peer.receive()).await {
        assert_eq!(repeated.main, close.main);
        times += 1;
        let text = "Target peer ws/peer is not connected";
        let error = map! {"_rtype": "error", "_rvalue": text};
        peer.reply(&close, "reject", list![error]).await;
    }
    assert!((15..40).contains(&times), "{times}");
    assert!(begin.elapsed() > seconds(600), "{:?}", begin.elapsed());
    assert_eq!(client.stats().undelivered, 1);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_close_notices_is_limited() {
    let mut settings = Settings::in_process();
    settings.max_unacknowledged = 1;
    let (client, mut peer) = client_with(settings, 1024);
    let first = dropped_stream(&client, &mut peer).await;
    dropped_stream(&client, &mut peer).await;
    again(&mut peer, &first).await;
    again(&mut peer, &first).await;
}

fn tiny() -> Settings {
    let mut settings = Settings::in_process();
    settings.chunk_bytes = 100;
    settings.large_frame_bytes = 0;
    settings
}

/// Acts as the peer's built-in service until the first chunk arrives. Returns the first chunk.
async fn first_chunk(peer: &mut Peer) -> Received {
    let asked = peer.receive().await;
    assert_eq!(asked.text("method"), "services.built-in.get_service");
    let built_in = map! {
        "id": "built-in", "config": map! {"api_version": 3i64},
        "message_cache": map! {"create": Value::Null},
    };
    peer.reply(&asked, "resolve", list![built_in]).await;
    let created = peer.receive().await;
    peer.reply(&created, "resolve", list![Value::Null]).await;
    let chunk = peer.receive().await;
    assert_eq!(chunk.text("method"), "services.built-in.message_cache.set");
    chunk
}

/// Returns arguments that contain a function, a stream, an interface and a large value.
fn large(gate: &Arc<Notify>, alive: &Arc<AtomicUsize>) -> hypha_wire::Args {
    let interface = Object::interface(CounterService::new(Plus));
    let large = Binary::from(vec![7; 5000]);
    args!(gated(gate), stuck(alive), interface, large)
}

#[tokio::test(start_paused = true)]
async fn objects_in_a_partial_request_end_with_the_caller() {
    let (client, mut peer) = client_with(tiny(), 1024);
    let (gate, alive) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let calling = begin(&client, &mut peer, large(&gate, &alive)).await;
    first_chunk(&mut peer).await;
    assert_eq!(client.stats().objects, 1 + 3 + 1);
    aborted(calling).await;
    assert_settled(&client).await;
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    // The client tells the peer to remove the chunks that the peer has received.
    loop {
        let last = peer.receive().await;
        if last.text("method") == "services.built-in.message_cache.remove" {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn objects_in_a_partial_request_end_with_the_receiver() {
    let (client, mut peer) = client_with(tiny(), 1024);
    let (gate, alive) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let calling = begin(&client, &mut peer, large(&gate, &alive)).await;
    first_chunk(&mut peer).await;
    leave(&mut peer).await;
    let error = calling.await.expect("no panic").expect_err("is gone");
    assert!(
        matches!(&error, Error::Disconnected(d) if d.lost == Lost::Peer && !d.may_have_run),
        "{error:?}"
    );
    assert_settled(&client).await;
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn objects_in_a_partial_response_end_with_the_receiver() {
    let (client, mut peer) = client_with(tiny(), 1024);
    let alive = Arc::new(AtomicUsize::new(0));
    let service = Service::new("svc").method({
        let alive = Arc::clone(&alive);
        Method::new("large", move |call| {
            let interface = Object::interface(CounterService::new(Plus));
            let double: Callback<i64, i64> = Callback::new(|n| async move { 2 * n });
            let answer = (
                stuck(&alive),
                interface,
                double,
                Binary::from(vec![7; 5000]),
            );
            async move { call.reply(&answer) }
        })
    });
    client.register_service(service).await.expect("registers");
    peer.call("services.svc.large", list![]).await;
    first_chunk(&mut peer).await;
    assert_eq!(client.stats().objects, 3 + 1 + 1);
    leave(&mut peer).await;
    assert_settled(&client).await;
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_outlives_the_connection() {
    let (client, mut peer) = client();
    let (gate, alive) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let service = peer.offer(&client).await;
    let interface = Object::interface(CounterService::new(Plus));
    let args = args!(gated(&gate), stuck(&alive), interface);
    let calling = tokio::spawn(service.call::<Value>("call", args).into_future());
    let asked = peer.receive().await;
    let (callback, stream) = (asked.arg(0), asked.arg(1));
    peer.call_as(PEER, "A", path(&callback, "_rmethod"), list![1i64])
        .await;
    peer.call_as(PEER, "B", path(&stream, "_rmethod"), list![])
        .await;
    breathe().await;
    let stats = client.stats();
    assert_eq!((stats.sessions, stats.objects, stats.running), (1, 5, 2));
    drop(peer);
    let error = calling.await.expect("no panic").expect_err("is lost");
    assert!(matches!(error, Error::Disconnected(_)), "{error:?}");
    assert_settled(&client).await;
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}
