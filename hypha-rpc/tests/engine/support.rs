//! Support for tests: a peer that the test controls frame by frame, and a service with test
//! methods.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hypha_rpc::client::{Identity, Settings};
use hypha_rpc::service::{IncomingCall, Method, Service, Visibility};
use hypha_rpc::transport::Frame;
use hypha_rpc::transport::memory::{MemoryLink, pair};
use hypha_rpc::{Client, Error, Map, RemoteService, Value};
use hypha_wire::{Message, from_slice, to_vec};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Address of the client under test.
pub(crate) const ME: &str = "ws/me";
/// Address of the peer that the test acts as.
pub(crate) const PEER: &str = "ws/peer";

macro_rules! map {
    ($($key:literal : $value:expr),* $(,)?) => {
        hypha_rpc::Value::Map(hypha_rpc::Map::from_iter([
            $(($key.to_owned(), hypha_rpc::Value::from($value))),*
        ]))
    };
}
pub(crate) use map;

macro_rules! list {
    ($($value:expr),* $(,)?) => {
        hypha_rpc::Value::List(vec![$(hypha_rpc::Value::from($value)),*])
    };
}
pub(crate) use list;

/// The peer at the other end of a client's link. The test reads and writes its frames.
pub(crate) struct Peer {
    pub(crate) link: MemoryLink,
}

/// A received message.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) main: Map,
    pub(crate) extra: Option<Map>,
}

/// Returns a client with the address `ws/me`, and the peer at the other end of the client's link.
pub(crate) fn client() -> (Client, Peer) {
    client_with(Settings::in_process(), 1024)
}

pub(crate) fn client_with(settings: Settings, capacity: usize) -> (Client, Peer) {
    client_as(Identity::new("ws", "me"), settings, capacity)
}

pub(crate) fn client_as(identity: Identity, settings: Settings, capacity: usize) -> (Client, Peer) {
    let (ours, link) = pair(capacity);
    (
        Client::from_link(Box::new(ours), identity, settings),
        Peer { link },
    )
}

/// Returns two connected clients: `ws/a` and `ws/b`.
pub(crate) fn two_clients(settings: Settings) -> (Client, Client) {
    let (a, b) = pair(1024);
    (
        Client::from_link(Box::new(a), Identity::new("ws", "a"), settings.clone()),
        Client::from_link(Box::new(b), Identity::new("ws", "b"), settings),
    )
}

impl Peer {
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        // This timeout fails a test that would otherwise wait forever. The timeout takes no real
        // time, because the paused clock advances as soon as all tasks wait.
        let frame = tokio::time::timeout(seconds(10_000_000), self.link.next()).await;
        let frame = frame.expect("a frame in time");
        frame.map(|frame| frame.expect("a frame"))
    }

    pub(crate) async fn receive(&mut self) -> Received {
        match self.frame().await {
            Some(Frame::Binary(data)) => read(&data),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// Panics if a frame arrives within `time`.
    pub(crate) async fn nothing_for(&mut self, time: Duration) {
        let came = tokio::time::timeout(time, self.frame()).await;
        if let Ok(Some(Frame::Binary(data))) = &came {
            panic!("unexpected: {:?}", read(data));
        }
        assert!(came.is_err(), "unexpected: {came:?}");
    }

    pub(crate) async fn push(&mut self, frame: Frame) {
        self.link.send(frame).await.expect("the client reads");
    }

    /// Sends one message to the client. If `extra` is null, the message has no second segment.
    pub(crate) async fn send(&mut self, main: Value, extra: Value) {
        self.push(Frame::Binary(message(main, extra))).await;
    }

    /// Calls `method` as [`PEER`] in the session `S`. Requests a heartbeat every 10 s.
    pub(crate) async fn call(&mut self, method: &str, args: Value) {
        self.call_as(PEER, "S", method, args).await;
    }

    pub(crate) async fn call_as(&mut self, from: &str, session: &str, method: &str, args: Value) {
        let extra = map! {"args": args, "promise": "*", "t": 10.0};
        self.send(method_main(from, session, method), extra).await;
    }

    /// Calls `method` like [`Peer::call`], and returns the response.
    pub(crate) async fn ask(&mut self, method: &str, args: Value) -> Result<Value, String> {
        self.call(method, args).await;
        self.answer_of("S").await
    }

    pub(crate) async fn ask_as(
        &mut self,
        from: &str,
        method: &str,
        args: Value,
    ) -> Result<Value, String> {
        self.call_as(from, "S", method, args).await;
        self.answer_of("S").await
    }

    /// Waits for the next message, which must be the response to the call in `session`. Returns the
    /// result.
    pub(crate) async fn answer_of(&mut self, session: &str) -> Result<Value, String> {
        let answer = self.receive().await;
        assert_eq!(answer.text("parent"), session);
        let (of, member) = answer.text("method").rsplit_once('.').expect("a path");
        assert_eq!(of, session);
        match member {
            "resolve" => Ok(answer.arg(0)),
            "reject" => {
                let error = answer.arg(0);
                assert_eq!(error.get("_rtype").and_then(Value::as_str), Some("error"));
                let text = error.get("_rvalue").and_then(Value::as_str);
                Err(text.expect("a text").to_owned())
            }
            other => panic!("neither resolve nor reject: {other}"),
        }
    }

    /// Responds to a received call.
    pub(crate) async fn reply(&mut self, call: &Received, member: &str, args: Value) {
        self.reply_as(PEER, call, member, args).await;
    }

    pub(crate) async fn reply_as(
        &mut self,
        from: &str,
        call: &Received,
        member: &str,
        args: Value,
    ) {
        let session = call.text("session");
        let main = map! {
            "type": "method", "from": from, "to": ME,
            "method": format!("{session}.{member}"), "parent": session,
        };
        let extra = if args.is_null() {
            Value::Null
        } else {
            map! {"args": args}
        };
        self.send(main, extra).await;
    }

    /// Makes `client` fetch a service `svc` of this peer. The service has one method, `call`.
    pub(crate) async fn offer(&mut self, client: &Client) -> RemoteService {
        let fetching = client.get_remote_service("ws/peer:svc");
        let serving = async {
            let asked = self.receive().await;
            assert_eq!(asked.text("method"), "services.built-in.get_service");
            let call = map! {
                "_rtype": "method", "_rtarget": "peer", "_rmethod": "services.svc.call",
                "_rpromise": "*", "_rname": "call",
            };
            let service = map! {"id": "svc", "call": call};
            self.reply(&asked, "resolve", list![service]).await;
        };
        let (service, ()) = tokio::join!(fetching, serving);
        service.expect("the service")
    }
}

pub(crate) fn method_main(from: &str, session: &str, method: &str) -> Value {
    let ws = from.split('/').next().unwrap_or_default();
    map! {
        "type": "method", "from": from, "to": ME, "method": method, "session": session,
        "ws": ws, "user": map!{"id": format!("user of {from}")},
    }
}

/// Returns the map with `key` added or replaced.
pub(crate) fn with(map: Value, key: &str, value: impl Into<Value>) -> Value {
    let Value::Map(mut map) = map else {
        panic!("not a map: {map}")
    };
    map.insert(key.to_owned(), value.into());
    Value::Map(map)
}

pub(crate) fn message(main: Value, extra: Value) -> Bytes {
    let mut bytes = to_vec(&main).expect("encodes");
    if !extra.is_null() {
        bytes.extend(to_vec(&extra).expect("encodes"));
    }
    bytes.into()
}

pub(crate) fn read(data: &Bytes) -> Received {
    let message = Message::parse(data.clone()).expect("a message");
    let extra = message.extra_raw();
    Received {
        main: message.main().expect("a map"),
        extra: (!extra.is_empty()).then(|| from_slice(&extra).expect("a map")),
    }
}

impl Received {
    pub(crate) fn text(&self, key: &str) -> &str {
        let value = self.main.get(key).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.main.contains_key(key)
    }

    pub(crate) fn extra(&self, key: &str) -> Option<&Value> {
        self.extra.as_ref()?.get(key)
    }

    pub(crate) fn arg(&self, index: usize) -> Value {
        let args = self.extra("args").and_then(Value::as_list);
        args.and_then(|args| args.get(index))
            .cloned()
            .unwrap_or_default()
    }
}

/// Waits until no call is pending and no handler is running. Panics if a call or a handler remains.
pub(crate) async fn settled(client: &Client) {
    for _ in 0..1000 {
        let stats = client.stats();
        if stats.sessions == 0 && stats.running == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("something is left: {:?}", client.stats());
}

/// Lets all other tasks run until each of them waits, without advancing the clock.
pub(crate) async fn breathe() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Asserts that the duration `expected` has passed since `since`. Timers have a resolution of 1 ms.
pub(crate) fn assert_passed(since: Instant, expected: Duration) {
    let passed = since.elapsed();
    assert!(
        passed >= expected && passed <= expected + Duration::from_millis(2),
        "{passed:?} instead of {expected:?}"
    );
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Counters and signals shared by a test and the methods of [`service`].
#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) started: AtomicUsize,
    /// Number of dropped futures of the method `hang`.
    pub(crate) dropped: AtomicUsize,
    /// Lets one call of the method `wait` return.
    pub(crate) gate: Notify,
}

struct CountDrop(Weak<Probe>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        if let Some(probe) = self.0.upgrade() {
            probe.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Probe {
    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

/// Returns a public service `svc` with the methods below. Each method owns a clone of `probe`, so
/// the reference count of `probe` shows whether the service was dropped.
pub(crate) fn service(probe: &Arc<Probe>) -> Service {
    fn method<F, Fut>(name: &str, probe: &Arc<Probe>, f: F) -> Method
    where
        F: Fn(Arc<Probe>, IncomingCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<hypha_wire::Args, hypha_wire::WireError>> + Send + 'static,
    {
        let probe = Arc::clone(probe);
        Method::new(name, move |call| {
            probe.started.fetch_add(1, Ordering::SeqCst);
            f(Arc::clone(&probe), call)
        })
    }
    Service::new("svc")
        .visibility(Visibility::Public)
        .value("const", 5i64)
        .method(method("echo", probe, |_, call| async move {
            let value: Value = call.args(&["value"])?.required(0)?;
            call.reply(&value)
        }))
        .method(method("add", probe, |_, call| async move {
            let args = call.args(&["a", "b"])?;
            let (a, b): (i64, i64) = (args.required(0)?, args.optional(1)?.unwrap_or(1));
            call.reply(&(a + b))
        }))
        .method(method("names", probe, |_, call| async move {
            #[derive(serde::Deserialize)]
            struct Person {
                names: Vec<String>,
            }
            let person: Person = call.args(&["person"])?.required(0)?;
            call.reply(&person.names.len())
        }))
        .method(method("nothing", probe, |_, call| async move {
            call.args(&[])?;
            call.reply(&())
        }))
        .method(method("hang", probe, |probe, _| async move {
            let _count = CountDrop(Arc::downgrade(&probe));
            std::future::pending().await
        }))
        .method(method("wait", probe, |probe, call| async move {
            probe.gate.notified().await;
            call.reply(&"waited")
        }))
        .method(method("sleep", probe, |_, call| async move {
            let seconds: f64 = call.args(&["seconds"])?.required(0)?;
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            call.reply(&seconds)
        }))
        .method(method("panic_first", probe, |_, call| {
            if call.label() == "svc.panic_first" {
                panic!("before the future");
            }
            async move { call.reply(&()) }
        }))
        .method(method("panic_later", probe, |_, call| async move {
            tokio::task::yield_now().await;
            if call.label() == "svc.panic_later" {
                panic!("inside {}", "the future");
            }
            call.reply(&())
        }))
        .method(method("unencodable", probe, |_, call| async move {
            call.reply(&std::collections::HashMap::from([((1, 2), 3)]))
        }))
        .method(method("bytes", probe, |_, call| async move {
            let n: usize = call.args(&["n"])?.required(0)?;
            call.reply(&payload(n))
        }))
        .method(method("math.double", probe, |_, call| async move {
            let n: i64 = call.args(&["n"])?.required(0)?;
            call.reply(&(n * 2))
        }))
        .method(
            method("whoami", probe, |_, call| async move {
                let context = call.context();
                call.reply(&[context.from(), context.workspace(), &context.user().id])
            })
            .needs_context(true),
        )
}

/// Returns `n` bytes in a repeating pattern, so that a test detects bytes at a wrong position.
pub(crate) fn payload(n: usize) -> hypha_rpc::Binary {
    let bytes: Vec<u8> = (0..n).map(|i| (i % 251) as u8).collect();
    bytes.into()
}

/// Returns a client that provides [`service`].
pub(crate) async fn serving(settings: Settings) -> (Client, Peer, Arc<Probe>) {
    let (client, peer) = client_with(settings, 1024);
    let probe = Arc::new(Probe::default());
    client
        .register_service(service(&probe))
        .await
        .expect("registers");
    (client, peer, probe)
}

/// Returns two clients. The second client provides [`service`], and the first client has fetched
/// it.
pub(crate) async fn calling(settings: Settings) -> (Client, Client, RemoteService, Arc<Probe>) {
    let (a, b) = two_clients(settings);
    let probe = Arc::new(Probe::default());
    b.register_service(service(&probe))
        .await
        .expect("registers");
    let remote = a.get_remote_service("ws/b:svc").await.expect("fetches");
    (a, b, remote, probe)
}

/// Returns the message of the error. Panics if there is no error.
pub(crate) fn text<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    hypha_rpc::error::report(&outcome.expect_err("an error"))
}
