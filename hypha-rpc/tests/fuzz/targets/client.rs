//! Fuzz target for a whole client that is connected to a hostile peer. The peer sends calls,
//! responses, text frames, chunks and invalid messages in any order, while the client handles and
//! makes calls.
//!
//! The client must not panic. It must send only valid frames, and must keep no state after the
//! connection has been closed.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt, stream};
use hypha_rpc::client::{Client, Identity, Settings};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IntoService, Service};
use hypha_rpc::transport::Frame;
use hypha_rpc::transport::memory::{MemoryLink, pair};
use hypha_rpc::{Map, Set, Timestamp};
use hypha_wire::{Message, from_slice, skip, to_vec};

use super::input::Input;

/// An argument that is a struct.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Person {
    name: String,
    #[serde(default)]
    tags: Vec<String>,
    age: Option<u8>,
    address: Option<Box<Person>>,
}

/// An argument that is an enum.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
enum Shape {
    Empty,
    Circle(f64),
    Line(i32, i32),
    Label {
        text: String,
        data: hypha_rpc::Binary,
    },
    Group(Vec<Shape>),
}

/// An object that counts.
#[hypha_service]
trait Counter {
    async fn increment(&self, by: i64) -> i64;
}

struct Count;

impl Counter for Count {
    async fn increment(&self, by: i64) -> i64 {
        by.wrapping_add(1)
    }
}

/// Methods with all kinds of arguments and results.
#[hypha_service(id = "svc", visibility = "public")]
trait Everything {
    async fn echo(&self, value: Value) -> Value;
    async fn shapes(&self, shape: Shape, person: Option<Person>) -> Shape;
    async fn array(&self, image: NdArray, names: Set<Vec<String>>) -> anyhow::Result<NdArray>;
    async fn length(&self, ctx: &Context, data: &[u8], when: Timestamp) -> usize;
    async fn call_back(&self, callback: Callback<u32, Value>) -> Result<Value, Error>;
    async fn sum(&self, numbers: RemoteStream<f64>) -> Result<f64, Error>;
    async fn count(&self, n: u8) -> impl Stream<Item = u8>;
    async fn adder(&self, n: i64) -> Callback<i64, i64>;
    async fn counter(&self) -> Object<CounterProxy>;
    async fn methods(&self, service: Object<RemoteService>) -> Vec<String>;
}

/// Created once, because generating its schemas takes time.
static SERVICE: LazyLock<Service> = LazyLock::new(|| EverythingService::new(Impl).into_service());

struct Impl;

impl Everything for Impl {
    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn shapes(&self, shape: Shape, _: Option<Person>) -> Shape {
        shape
    }

    async fn array(&self, image: NdArray, _: Set<Vec<String>>) -> anyhow::Result<NdArray> {
        Ok(image.map_f64(|pixel| pixel * 2.0)?)
    }

    async fn length(&self, ctx: &Context, data: &[u8], _: Timestamp) -> usize {
        data.len() + ctx.from().len()
    }

    async fn call_back(&self, callback: Callback<u32, Value>) -> Result<Value, Error> {
        callback.call(1).await
    }

    async fn sum(&self, mut numbers: RemoteStream<f64>) -> Result<f64, Error> {
        let mut sum = 0.0;
        while let Some(number) = numbers.try_next().await? {
            sum += number;
        }
        Ok(sum)
    }

    async fn count(&self, n: u8) -> impl Stream<Item = u8> {
        stream::iter(0..n)
    }

    async fn adder(&self, n: i64) -> Callback<i64, i64> {
        Callback::new(move |by: i64| async move { n.wrapping_add(by) })
    }

    async fn counter(&self) -> Object<CounterProxy> {
        Object::new(CounterService::new(Count))
    }

    async fn methods(&self, service: Object<RemoteService>) -> Vec<String> {
        service.service().methods().map(str::to_owned).collect()
    }
}

const METHODS: &[&str] = &[
    "services.svc.echo",
    "services.svc.shapes",
    "services.svc.array",
    "services.svc.length",
    "services.svc.call_back",
    "services.svc.sum",
    "services.svc.count",
    "services.svc.adder",
    "services.svc.counter",
    "services.svc.methods",
    "services.svc",
    "services.built-in.ping",
    "services.built-in.get_service",
    "services.built-in.message_cache.create",
    "services.built-in.message_cache.append",
    "services.built-in.message_cache.set",
    "services.built-in.message_cache.process",
    "services.built-in.message_cache.remove",
];

const PEERS: &[&str] = &["ws/peer", "ws/other", "other/peer", "*/manager"];

/// Names that the peer has read in the messages of the client.
#[derive(Default)]
struct Known {
    /// Sessions of the client's pending calls, each with the address of the callee.
    sessions: Vec<(String, String)>,
    /// Functions and streams of the client, which the peer can call.
    methods: Vec<String>,
}

struct Peer {
    link: MemoryLink,
    known: Known,
}

pub(crate) fn run(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(play(Input(input)));
}

async fn play(mut input: Input<'_>) {
    let (ours, link) = pair(1024);
    let mut settings = Settings::in_process();
    settings.idle_timeout = Duration::from_secs(5);
    let client = Client::from_link(Box::new(ours), Identity::new("ws", "me"), settings);
    let registered = client.register_service(SERVICE.clone()).await;
    registered.expect("registers");
    let mut peer = Peer {
        link,
        known: Known::default(),
    };
    let mut own = Vec::new();
    while !input.is_empty() {
        if !peer.act(&client, &mut input, &mut own).await {
            break;
        }
        peer.listen().await;
    }
    for task in own {
        task.abort();
    }
    drop(peer);
    client.closed().await;
    // Wait longer than the idle timeout (5 s), so that any remaining sessions and handlers are
    // leaks.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let stats = client.stats();
    assert_eq!((stats.sessions, stats.running), (0, 0), "{stats:?}");
}

impl Peer {
    /// Performs the next step that the input describes. Returns `false` if the connection has
    /// ended.
    async fn act(
        &mut self,
        client: &Client,
        input: &mut Input<'_>,
        own: &mut Vec<tokio::task::JoinHandle<()>>,
    ) -> bool {
        let frame = match input.byte() % 10 {
            0 => Frame::Binary(input.bytes().to_vec().into()),
            1 => Frame::Text(String::from_utf8_lossy(input.bytes()).into_owned()),
            2 => Frame::Close(None),
            // A call whose second segment is random bytes.
            3 => {
                let (from, method) = (input.pick(PEERS), input.pick(METHODS));
                message(from, method, None, input.bytes())
            }
            // A call whose arguments are random values.
            4 | 5 => {
                let (from, method) = (input.pick(PEERS), input.pick(METHODS));
                message(from, method, None, &arguments(input))
            }
            // A call of a function or a stream of the client.
            6 => {
                let Some(method) = choose(&self.known.methods, input.byte()) else {
                    return true;
                };
                message(input.pick(PEERS), method, None, &arguments(input))
            }
            // A response to a call of the client, usually from the correct callee.
            7 => {
                let Some((session, asked)) = choose(&self.known.sessions, input.byte()) else {
                    return true;
                };
                let member = input.pick(&["resolve", "reject", "heartbeat", "clear_timer", "x"]);
                let from = match input.byte() {
                    0..=0xef => asked,
                    other => PEERS[usize::from(other) % PEERS.len()],
                };
                let path = format!("{session}.{member}");
                message(from, &path, Some(session), &arguments(input))
            }
            8 => {
                own.push(call(client, input.byte()));
                return true;
            }
            _ => {
                tokio::time::sleep(Duration::from_secs(input.byte().into())).await;
                return true;
            }
        };
        let over = matches!(frame, Frame::Close(_));
        self.link.send(frame).await.is_ok() && !over
    }

    /// Reads frames until the client sends no more.
    async fn listen(&mut self) {
        // The paused clock advances only when all tasks wait. Therefore this timeout elapses only
        // if the client is idle.
        let quiet = Duration::from_nanos(1);
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(quiet, self.link.next()).await {
            let Frame::Binary(frame) = frame else {
                continue;
            };
            let message = Message::parse(frame).expect("the client sends messages");
            if message.kind() != "method" {
                // An event of the client contains no `from`, because the server adds this field.
                continue;
            }
            let (from, to) = (message.from().expect("from"), message.to().expect("to"));
            assert_eq!(from, "ws/me");
            if let (Some(session), true) = (message.session(), self.known.sessions.len() < 256) {
                self.known
                    .sessions
                    .push((session.to_owned(), to.to_owned()));
            }
            let extra = message.extra().expect("the client sends arguments");
            for index in 0..extra.args.positional() {
                let value: Value = extra.args.get(index).expect("given").expect("decodes");
                find_methods(&value, &mut self.known.methods);
            }
        }
    }
}

/// Chooses an item of a list, usually one of the last items.
fn choose<T>(of: &[T], which: u8) -> Option<&T> {
    let newest = of
        .len()
        .checked_sub(1 + usize::from(which) % of.len().max(1))?;
    of.get(newest)
}

/// Makes the client call the peer.
fn call(client: &Client, what: u8) -> tokio::task::JoinHandle<()> {
    let client = client.clone();
    tokio::spawn(async move {
        match what % 4 {
            0 => drop(client.ping("ws/peer", Duration::from_secs(3)).await),
            1 => {
                let fetched = client.get_remote_service("ws/peer:svc").await;
                let Ok(service) = fetched else { return };
                let names: HashSet<String> = service.methods().map(str::to_owned).collect();
                let _ = (service.info().is_ok(), to_vec(service.members()).is_ok());
                for name in names.iter().take(3) {
                    let _ = (service.schema(name), service.doc(name));
                    let numbers = RemoteStream::<f64>::from_iter([1.0, 2.0]);
                    let callback = Callback::<i64, i64>::new(|n: i64| async move { n });
                    let _ = service
                        .call::<Value>(name, hypha_rpc::args!(numbers, callback))
                        .await;
                }
            }
            2 => {
                let Ok(service) = client.get_remote_service("ws/other:s").await else {
                    return;
                };
                let stream: Result<RemoteStream<f64>, _> =
                    service.call("f", hypha_rpc::args!()).await;
                let Ok(mut stream) = stream else { return };
                while let Ok(Some(_)) = stream.try_next().await {}
            }
            _ => drop(client.emit("news", "*", Value::Null).await),
        }
    })
}

/// Adds the names of the functions and streams in `value` to `found`.
fn find_methods(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::List(items) => items.iter().for_each(|item| find_methods(item, found)),
        Value::Map(map) => {
            if let (Some(method), true) = (map.get("_rmethod"), found.len() < 256) {
                found.extend(method.as_str().map(str::to_owned));
            }
            map.values().for_each(|item| find_methods(item, found));
        }
        _ => {}
    }
}

/// Returns a second segment with a promise and up to 15 arguments. The arguments are the valid
/// values at the start of the input.
fn arguments(input: &mut Input<'_>) -> Vec<u8> {
    let names = input.byte() % 4 == 3;
    let raw = input.bytes();
    let (mut rest, mut count) = (raw, 0u8);
    while let (Ok(length), 0..15) = (skip(rest), count) {
        rest = &rest[length..];
        count += 1;
    }
    let values = &raw[..raw.len() - rest.len()];
    let mut extra = vec![0x83 + u8::from(names)];
    extra.extend(to_vec("args").expect("encodes"));
    extra.push(0x90 | count);
    extra.extend_from_slice(values);
    for (key, value) in [("promise", Value::from("*")), ("t", Value::Float(10.0))] {
        extra.extend(to_vec(key).expect("encodes"));
        extra.extend(to_vec(&value).expect("encodes"));
    }
    if names {
        extra.extend(to_vec("with_kwargs").expect("encodes"));
        extra.push(0xc3);
    }
    extra
}

fn message(from: &str, method: &str, parent: Option<&str>, extra: &[u8]) -> Frame {
    let workspace = from.split('/').next().unwrap_or_default();
    let mut main = Map::from_iter([
        ("type".to_owned(), Value::from("method")),
        ("from".to_owned(), from.into()),
        ("to".to_owned(), "ws/me".into()),
        ("method".to_owned(), method.into()),
        ("ws".to_owned(), workspace.into()),
        ("user".to_owned(), Value::Map(Map::new())),
    ]);
    let (key, id) = match parent {
        Some(parent) => ("parent", parent),
        None => ("session", "S"),
    };
    main.insert(key.to_owned(), id.into());
    let mut frame = to_vec(&main).expect("encodes");
    frame.extend_from_slice(extra);
    debug_assert!(from_slice::<Map>(&to_vec(&main).expect("encodes").into()).is_ok());
    Frame::Binary(frame.into())
}
