//! Tests callbacks, objects and interfaces: the receiver can use them, and the owner drops them in
//! time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, stream};
use hypha_rpc::error::{Lost, RejectKind, report};
use hypha_rpc::prelude::*;
use hypha_rpc::{Error, Value, args};
use tokio::sync::Notify;

use crate::support::{
    PEER, breathe, client, list, map, method_main, seconds, settled, two_clients, with,
};

/// An object that counts.
#[hypha_service]
pub(crate) trait Counter {
    async fn increment(&self, by: i64) -> i64;
    async fn value(&self) -> i64;
}

#[derive(Clone, Default)]
struct Count(Arc<AtomicI64>);

impl Counter for Count {
    async fn increment(&self, by: i64) -> i64 {
        self.0.fetch_add(by, Ordering::Relaxed) + by
    }

    async fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Functions inside a struct.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Hooks {
    name: String,
    on_done: Option<Callback<String, String>>,
    others: BTreeMap<String, Vec<Callback<()>>>,
}

/// Service that uses callbacks, objects and streams.
#[hypha_service(id = "desk", visibility = "public")]
pub(crate) trait Desk {
    async fn train(&self, epochs: u32, on_loss: Callback<(u32, f64)>) -> anyhow::Result<u32>;
    async fn twice(&self, callback: Callback<i64, i64>) -> Result<i64, Error>;
    async fn report(&self, steps: u32, on_step: Callback<u32>);
    async fn hooks(&self, hooks: Hooks) -> Result<String, Error>;
    async fn adder(&self, n: i64) -> Callback<i64, i64>;
    async fn counter(&self) -> Object<CounterProxy>;
    async fn keep(&self, counter: Object<CounterProxy>);
    async fn use_kept(&self) -> Result<i64, Error>;
    async fn dispose_kept(&self) -> Result<(), Error>;

    async fn count(&self, from: u32, to: u32) -> impl Stream<Item = u32>;
    async fn fail_after(&self, n: u32) -> impl Stream<Item = anyhow::Result<u32>> + Send;
    async fn words(&self, text: &str) -> anyhow::Result<impl Stream<Item = String> + Send>;
    async fn sum(&self, numbers: RemoteStream<f64>) -> Result<f64, Error>;
    async fn slow(&self) -> impl Stream<Item = ()>;
    async fn doubled(&self, numbers: RemoteStream<i64>) -> impl Stream<Item = Result<i64, Error>>;
    async fn streams(&self) -> Vec<RemoteStream<u32>>;
}

#[derive(Default)]
struct Impl {
    kept: Mutex<Option<Object<CounterProxy>>>,
    counts: Count,
    /// Number of streams returned by `slow` that were not dropped yet.
    slow: Arc<AtomicUsize>,
    gate: Arc<Notify>,
}

pub(crate) struct Alive(pub(crate) Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Desk for Impl {
    async fn train(&self, epochs: u32, on_loss: Callback<(u32, f64)>) -> anyhow::Result<u32> {
        for epoch in 0..epochs {
            on_loss.call((epoch, 1.0 / f64::from(epoch + 1))).await?;
        }
        Ok(epochs)
    }

    async fn twice(&self, callback: Callback<i64, i64>) -> Result<i64, Error> {
        callback.call(callback.call(1).await?).await
    }

    async fn report(&self, steps: u32, on_step: Callback<u32>) {
        for step in 0..steps {
            on_step.call(step).send().await.expect("is sent");
        }
    }

    async fn hooks(&self, hooks: Hooks) -> Result<String, Error> {
        for callback in hooks.others.values().flatten() {
            callback.call(()).await?;
        }
        match hooks.on_done {
            Some(on_done) => on_done.call(hooks.name).await,
            None => Ok("nothing".into()),
        }
    }

    async fn adder(&self, n: i64) -> Callback<i64, i64> {
        Callback::new(move |m| async move { n + m })
    }

    async fn counter(&self) -> Object<CounterProxy> {
        Object::new(CounterService::new(self.counts.clone()))
    }

    async fn keep(&self, counter: Object<CounterProxy>) {
        *self.kept.lock().expect("lock") = Some(counter);
    }

    async fn use_kept(&self) -> Result<i64, Error> {
        let kept = self.kept.lock().expect("lock").clone();
        let counter = kept.ok_or_else(|| Error::Invalid("nothing is kept".into()))?;
        counter.proxy().increment(1).await
    }

    async fn dispose_kept(&self) -> Result<(), Error> {
        let kept = self.kept.lock().expect("lock").clone();
        match kept {
            Some(counter) => counter.dispose().await,
            None => Ok(()),
        }
    }

    async fn count(&self, from: u32, to: u32) -> impl Stream<Item = u32> {
        let first = from;
        stream::iter(first..to).map(move |n| n + (self.counts.0.load(Ordering::Relaxed) as u32))
    }

    async fn fail_after(&self, n: u32) -> impl Stream<Item = anyhow::Result<u32>> + Send {
        stream::iter(0..=n).map(move |i| {
            anyhow::ensure!(i < n, "failed after {n}");
            Ok(i)
        })
    }

    async fn words(&self, text: &str) -> anyhow::Result<impl Stream<Item = String> + Send> {
        anyhow::ensure!(!text.is_empty(), "no text");
        Ok(stream::iter(text.split(' ')).map(str::to_owned))
    }

    async fn sum(&self, mut numbers: RemoteStream<f64>) -> Result<f64, Error> {
        let mut sum = 0.0;
        while let Some(n) = numbers.try_next().await? {
            sum += n;
        }
        Ok(sum)
    }

    async fn slow(&self) -> impl Stream<Item = ()> {
        self.slow.fetch_add(1, Ordering::Relaxed);
        let alive = Alive(Arc::clone(&self.slow));
        stream::unfold(alive, async |alive| {
            self.gate.notified().await;
            Some(((), alive))
        })
    }

    async fn doubled(&self, numbers: RemoteStream<i64>) -> impl Stream<Item = Result<i64, Error>> {
        numbers.map(|n| n.map(|n| 2 * n))
    }

    async fn streams(&self) -> Vec<RemoteStream<u32>> {
        vec![RemoteStream::from_iter(0..3), RemoteStream::from_iter(3..5)]
    }
}

pub(crate) struct Both {
    pub(crate) a: Client,
    pub(crate) b: Client,
    pub(crate) desk: DeskProxy,
    pub(crate) slow: Arc<AtomicUsize>,
    pub(crate) gate: Arc<Notify>,
}

pub(crate) async fn both() -> Both {
    let (a, b) = two_clients(hypha_rpc::client::Settings::in_process());
    let desk = Impl::default();
    let (slow, gate) = (Arc::clone(&desk.slow), Arc::clone(&desk.gate));
    b.register_service(DeskService::new(desk))
        .await
        .expect("registers");
    let service = a.get_remote_service("ws/b:desk").await.expect("fetches");
    let desk = DeskProxy::from_service(service);
    Both {
        a,
        b,
        desk,
        slow,
        gate,
    }
}

impl Both {
    /// Asserts that both clients have no sessions or exported objects left.
    pub(crate) async fn settled(&self) {
        breathe().await;
        settled(&self.a).await;
        settled(&self.b).await;
        assert_eq!((self.a.stats().objects, self.b.stats().objects), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn callbacks_are_called_with_their_arguments() {
    let both = both().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let on_loss = {
        let seen = Arc::clone(&seen);
        Callback::new(move |(epoch, loss)| {
            let seen = Arc::clone(&seen);
            async move { seen.lock().expect("lock").push((epoch, loss)) }
        })
    };
    assert_eq!(both.desk.train(2, on_loss).await.expect("trains"), 2);
    assert_eq!(*seen.lock().expect("lock"), [(0, 1.0), (1, 0.5)]);

    let double = Callback::new(|n| async move { 2 * n });
    assert_eq!(both.desk.twice(double).await.expect("doubles"), 4);
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_fails_fails_its_caller() {
    let both = both().await;
    let fail = Callback::try_new(|n: i64| async move { Err::<i64, _>(format!("not {n}")) });
    let error = both.desk.twice(fail).await.expect_err("fails");
    assert!(error.to_string().contains("not 1"), "{error}");
    let panic = Callback::new(|n: i64| async move {
        assert!(n < 1, "too large");
        n
    });
    let error = both.desk.twice(panic).await.expect_err("fails");
    assert!(error.to_string().contains("panicked: too large"), "{error}");
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn callbacks_without_a_response_arrive_in_order() {
    let both = both().await;
    let (on_step, mut steps) = Callback::channel(4);
    let reading = async {
        let mut read = Vec::new();
        while let Some(step) = steps.recv().await {
            read.push(step);
            if read.len() == 1000 {
                break;
            }
        }
        read
    };
    let (done, read) = tokio::join!(both.desk.report(1000, on_step), reading);
    done.expect("reports");
    assert_eq!(read, Vec::from_iter(0..1000));
    breathe().await;
    both.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_wait_for_room_keep_their_order() {
    let both = both().await;
    let (on_step, mut steps) = Callback::channel(2);
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        while let Some(step) = steps.recv().await {
            read.push(step);
            if read.len() == 1000 {
                break;
            }
        }
        read
    });
    both.desk.report(1000, on_step).await.expect("reports");
    let read = reading.await.expect("reads");
    let wrong = read
        .iter()
        .enumerate()
        .find(|(index, step)| *index as u32 != **step);
    assert_eq!(wrong, None);
}

#[tokio::test(start_paused = true)]
async fn functions_may_be_nested_in_values() {
    let both = both().await;
    let called = Arc::new(AtomicUsize::new(0));
    let other = {
        let called = Arc::clone(&called);
        Callback::new(move |()| {
            called.fetch_add(1, Ordering::Relaxed);
            async {}
        })
    };
    let hooks = Hooks {
        name: "me".into(),
        on_done: Some(Callback::new(|name: String| async move {
            format!("{name} is done")
        })),
        others: BTreeMap::from([("x".into(), vec![other.clone(), other])]),
    };
    assert_eq!(both.desk.hooks(hooks).await.expect("answers"), "me is done");
    assert_eq!(called.load(Ordering::Relaxed), 2);
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_callback_ends_with_its_call() {
    let both = both().await;
    both.desk
        .keep(Object::new(CounterService::new(Count::default())))
        .await
        .expect("keeps");
    let error = both.desk.use_kept().await.expect_err("is gone");
    assert!(error.to_string().contains("Session not found"), "{error}");
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn functions_of_results_live_until_they_are_idle() {
    let both = both().await;
    let add = both.desk.adder(2).await.expect("answers");
    let counter = both.desk.counter().await.expect("answers").proxy();
    for _ in 0..3 {
        tokio::time::sleep(seconds(500)).await;
        assert_eq!(add.call(3).await.expect("adds"), 5);
    }
    let error = counter.increment(1).await.expect_err("idle for too long");
    assert!(
        matches!(&error, Error::Rejected(r) if r.kind == RejectKind::Expired),
        "{error:?}"
    );
    assert_eq!(both.b.stats().objects, 1);
    tokio::time::sleep(seconds(700)).await;
    add.call(3).await.expect_err("idle for too long");
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn functions_of_results_end_with_their_last_handle() {
    let both = both().await;
    let add = both.desk.adder(2).await.expect("answers");
    let again = add.clone();
    let counter = both.desk.counter().await.expect("answers");
    breathe().await;
    assert_eq!(both.b.stats().objects, 3);
    drop(add);
    breathe().await;
    assert_eq!(again.call(3).await.expect("adds"), 5);
    drop(again);
    breathe().await;
    assert_eq!(both.b.stats().objects, 2);
    let proxy = counter.proxy();
    drop(counter);
    assert_eq!(proxy.increment(1).await.expect("counts"), 1);
    drop(proxy);
    both.settled().await;
    // A pending call keeps its function alive, even if the last handle of the function is dropped.
    let call = both.desk.adder(2).await.expect("answers").call(3);
    assert_eq!(call.await.expect("adds"), 5);
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_is_used_like_a_service() {
    let both = both().await;
    let counter = both.desk.counter().await.expect("answers").proxy();
    assert_eq!(counter.increment(2).await.expect("counts"), 2);
    assert_eq!(counter.value().await.expect("reads"), 2);
    let dynamic: RemoteService = both
        .desk
        .service()
        .call("counter", args!())
        .await
        .expect("answers");
    assert_eq!(
        dynamic
            .call::<i64>("increment", args!(by = 3))
            .await
            .expect("counts"),
        5
    );
    let value: Value = both
        .desk
        .service()
        .call("counter", args!())
        .await
        .expect("answers");
    let add: Function = value
        .get("increment")
        .expect("there")
        .decode_as()
        .expect("a function");
    assert_eq!(add.call::<i64>(args!(1)).await.expect("counts"), 6);
}

#[tokio::test(start_paused = true)]
async fn an_interface_outlives_the_call_until_it_is_disposed_of() {
    let both = both().await;
    let count = Count::default();
    let counter = Object::interface(CounterService::new(count.clone()));
    both.desk.keep(counter.clone()).await.expect("keeps");
    tokio::time::sleep(seconds(10_000)).await;
    assert_eq!(both.desk.use_kept().await.expect("is there"), 1);
    assert_eq!(both.a.stats().objects, 1);
    both.desk.dispose_kept().await.expect("disposes");
    both.desk.use_kept().await.expect_err("is gone");
    both.settled().await;

    both.desk.keep(counter.clone()).await.expect("keeps");
    assert_eq!(both.desk.use_kept().await.expect("is there"), 2);
    counter.withdraw();
    both.desk.use_kept().await.expect_err("is gone");
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn other_clients_cannot_use_exported_functions() {
    let (client, mut peer) = client();
    let service = DeskService::new(Impl::default());
    client.register_service(service).await.expect("registers");
    let add = peer.ask("services.desk.adder", list![1i64]).await;
    let add = add.expect("a function");
    let method = add.get("_rmethod").and_then(Value::as_str).expect("a path");
    assert_eq!(
        add.get("_rtarget").and_then(Value::as_str),
        Some("ws/me"),
        "results name the workspace"
    );
    let stranger = "ws/stranger";
    let refused = peer.ask_as(stranger, method, list![2i64]).await;
    let refused = refused.expect_err("is refused");
    assert!(
        refused.contains("Access denied for method call"),
        "{refused}"
    );
    assert!(refused.contains("to target ws/peer"), "{refused}");
    // Another client cannot release the function either.
    let release = "services.built-in.release";
    peer.ask_as(stranger, release, list![method])
        .await
        .expect("answers");
    assert_eq!(peer.ask(method, list![2i64]).await, Ok(Value::from(3i64)));
    peer.ask(release, list![method]).await.expect("answers");
    let gone = peer.ask(method, list![2i64]).await.expect_err("is gone");
    assert!(gone.contains("Session not found"), "{gone}");
    assert_eq!(client.stats().objects, 0);
}

#[tokio::test(start_paused = true)]
async fn objects_exported_to_a_peer_end_when_it_disconnects() {
    let (client, mut peer) = client();
    let service = DeskService::new(Impl::default());
    client.register_service(service).await.expect("registers");
    for method in ["adder", "count", "counter"] {
        let args = match method {
            "adder" => list![1i64],
            "count" => list![1i64, 3i64],
            _ => list![],
        };
        let method = format!("services.desk.{method}");
        peer.ask(&method, args).await.expect("answers");
    }
    let service = peer.offer(&client).await;
    let interface = Object::interface(CounterService::new(Count::default()));
    let calling = tokio::spawn(
        service
            .call::<Value>("call", args!(interface))
            .into_future(),
    );
    let asked = peer.receive().await;
    let dispose = asked.arg(0);
    let dispose = dispose.get("_dispose").and_then(|d| d.get("_rmethod"));
    let dispose = dispose.and_then(Value::as_str).expect("a path").to_owned();
    let increment = dispose.replace("_dispose", "increment");
    assert_eq!(
        peer.ask(&increment, list![2i64]).await,
        Ok(Value::from(2i64))
    );
    let refused = peer.ask_as("ws/other", &increment, list![2i64]).await;
    assert!(
        refused
            .expect_err("is refused")
            .contains("is not the allowed caller ws/peer")
    );
    assert_eq!(client.stats().objects, 1 + 3 + 2 + 1);

    let event = map! {
        "type": "client_disconnected", "to": "*",
        "data": map! {"id": "peer", "workspace": "ws"},
    };
    peer.send(event, Value::Null).await;
    let ended = calling
        .await
        .expect("no panic")
        .expect_err("the peer is gone");
    assert!(matches!(ended, Error::Disconnected(d) if d.lost == Lost::Peer));
    settled(&client).await;
    assert_eq!(client.stats().objects, 0);
    let gone = peer
        .ask(&increment, list![2i64])
        .await
        .expect_err("is gone");
    assert!(gone.contains("Method expired or not found"), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn a_callback_of_an_ended_call_is_rejected() {
    let (client, mut peer) = client();
    let service = peer.offer(&client).await;
    let callback = Callback::new(|n: i64| async move { 2 * n });
    let calling = tokio::spawn(service.call::<Value>("call", args!(callback)).into_future());
    let asked = peer.receive().await;
    let callback = asked.arg(0);
    let method = callback
        .get("_rmethod")
        .and_then(Value::as_str)
        .expect("a path");
    let session = asked.text("session").to_owned();
    assert!(method.starts_with(&format!("{session}.")), "{method}");
    assert_eq!(callback.get("_rtarget").and_then(Value::as_str), Some("me"));
    let with_parent = |parent: &str| {
        let main = method_main(PEER, "S", method);
        with(main, "parent", parent)
    };
    let extra = map! {"args": list![4i64], "promise": "*", "t": 10.0};
    peer.send(with_parent(&session), extra.clone()).await;
    assert_eq!(peer.answer_of("S").await, Ok(Value::from(8i64)));
    peer.send(with_parent("other"), extra.clone()).await;
    let refused = peer.answer_of("S").await.expect_err("is refused");
    assert!(
        refused.contains("Parent session was closed: other"),
        "{refused}"
    );
    let unknown = format!("{session}.nothing");
    let refused = peer.ask(&unknown, list![]).await.expect_err("is refused");
    assert!(refused.contains("Method expired or not found"), "{refused}");

    // The session still exists when this call arrives, so the client calls the function.
    peer.send(with_parent(&session), extra.clone()).await;
    peer.reply(&asked, "resolve", list![1i64]).await;
    assert_eq!(peer.answer_of("S").await, Ok(Value::from(8i64)));
    calling.await.expect("no panic").expect("answers");
    let refused = peer.ask(method, list![4i64]).await.expect_err("is gone");
    assert!(refused.contains("Session not found"), "{refused}");
    assert_eq!(client.stats().objects, 0);
}

#[tokio::test(start_paused = true)]
async fn exported_objects_are_limited() {
    let settings = {
        let mut settings = hypha_rpc::client::Settings::in_process();
        settings.max_objects = 3;
        settings
    };
    let (a, b) = two_clients(settings);
    b.register_service(DeskService::new(Impl::default()))
        .await
        .expect("registers");
    let service = a.get_remote_service("ws/b:desk").await.expect("fetches");
    let desk = DeskProxy::from_service(service);
    let mut kept = Vec::new();
    for n in 0..3 {
        kept.push(desk.adder(n).await.expect("answers"));
    }
    let error = desk.adder(3).await.expect_err("too many");
    assert!(report(&error).contains("may not hold more"), "{error:?}");
    assert_eq!(kept[0].call(5).await.expect("adds"), 5);

    // The limit includes interfaces, which belong to no session.
    let interface = || Object::interface(CounterService::new(Count::default()));
    for _ in 0..3 {
        desk.keep(interface()).await.expect("keeps");
    }
    let error = desk.keep(interface()).await.expect_err("too many");
    assert!(report(&error).contains("may not hold more"), "{error:?}");
    assert_eq!(a.stats().objects, 3);
}

#[tokio::test(start_paused = true)]
async fn functions_and_streams_work_without_a_connection() {
    let desk = Impl::default();
    let double = Callback::new(|n| async move { 2 * n });
    assert_eq!(desk.twice(double).await.expect("doubles"), 4);
    let sum = desk.sum(RemoteStream::from_iter([1.0, 2.0])).await;
    assert_eq!(sum.expect("adds"), 3.0);
    assert_eq!(
        desk.counter()
            .await
            .proxy()
            .increment(4)
            .await
            .expect("counts"),
        4
    );
    let fail = Callback::try_new(|_: i64| async { Err::<i64, _>("no".to_owned()) });
    assert_eq!(
        desk.twice(fail).await.expect_err("fails").to_string(),
        "callback: no"
    );
    let value = Value::encode_from(&vec![Callback::<i64, i64>::new(|n| async move { n + 1 })]);
    let back: Vec<Function> = value.expect("encodes").decode_as().expect("functions");
    assert_eq!(back[0].call::<i64>(args!(1)).await.expect("adds"), 2);
}
