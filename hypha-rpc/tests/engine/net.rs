//! Implements a fake server that sends prepared responses. A test can cut the connection, and the
//! client then reconnects in the same way as to a real server.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hypha_rpc::error::{ConnectError, ConnectErrorKind};
use hypha_rpc::transport::memory::{MemoryLink, pair};
use hypha_rpc::transport::{Dial, Dialing, Frame};
use hypha_rpc::{Client, ConnectOptions, Error, Map, Value};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::support::{Received, list, map, message, read};

/// Outcome of the next attempt to connect.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// The server accepts the client.
    Welcome,
    /// No server listens.
    Unreachable,
    /// The client cannot open a link, for this reason.
    Fail(ConnectErrorKind),
    /// The client can open a link. The server responds to the handshake with this frame, and ends
    /// the link.
    Say(Frame),
    /// The server ends the link before it responds to the handshake.
    HangUp,
    /// The client can open a link, but the server sends no frame.
    Silence,
    /// The server assigns another workspace to the client.
    Elsewhere,
}

/// A fake server that the test controls.
#[derive(Clone)]
pub(crate) struct Net(Arc<Inner>);

struct Inner {
    plans: Mutex<VecDeque<Plan>>,
    /// Outcome of an attempt to connect when `plans` is empty.
    otherwise: Mutex<Plan>,
    attempts: Mutex<Vec<Instant>>,
    hellos: Mutex<Vec<serde_json::Value>>,
    manager: Mutex<String>,
    /// Requests to the manager, in the order of arrival, such as `register svc` and `subscribe
    /// [..]`.
    asked: Mutex<Vec<String>>,
    /// Ids of the services that the manager refuses to register.
    refused: Mutex<Vec<String>>,
    /// Time that the manager takes for each registration.
    slowness: Mutex<Duration>,
    /// Capacity of each link, in frames.
    capacity: Mutex<usize>,
    /// Whether the manager ignores requests.
    deaf: Mutex<bool>,
    /// Address of the client that provides the service returned by the manager's `get_service`.
    owner: Mutex<String>,
    line: Mutex<Option<Line>>,
    others: mpsc::UnboundedSender<Received>,
}

/// The current link.
struct Line {
    push: mpsc::UnboundedSender<Frame>,
    task: AbortHandle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages that the client sends to peers other than the manager.
pub(crate) type Others = mpsc::UnboundedReceiver<Received>;

impl Dial for Net {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async {
            lock(&self.0.attempts).push(Instant::now());
            let plan = lock(&self.0.plans).pop_front();
            let plan = plan.unwrap_or_else(|| lock(&self.0.otherwise).clone());
            let failure = match plan {
                Plan::Unreachable => Some(ConnectErrorKind::Unreachable),
                Plan::Fail(kind) => Some(kind),
                _ => None,
            };
            if let Some(kind) = failure {
                return Err(ConnectError::new(kind, "")
                    .with_url("memory")
                    .with_source("nobody listens"));
            }
            let (theirs, link) = pair(*lock(&self.0.capacity));
            let (push, pushed) = mpsc::unbounded_channel();
            let task = tokio::spawn(self.clone().serve(link, pushed, plan));
            let line = Line {
                push,
                task: task.abort_handle(),
            };
            *lock(&self.0.line) = Some(line);
            Ok(Box::new(theirs) as hypha_rpc::transport::BoxLink)
        })
    }

    fn connection_type(&self) -> &'static str {
        "memory"
    }
}

impl Net {
    pub(crate) fn new() -> (Net, Others) {
        let (others, received) = mpsc::unbounded_channel();
        let net = Net(Arc::new(Inner {
            plans: Mutex::default(),
            otherwise: Mutex::new(Plan::Welcome),
            attempts: Mutex::default(),
            hellos: Mutex::default(),
            manager: Mutex::new("m1".into()),
            asked: Mutex::default(),
            refused: Mutex::default(),
            slowness: Mutex::default(),
            capacity: Mutex::new(1024),
            deaf: Mutex::default(),
            owner: Mutex::new("ws/peer".into()),
            line: Mutex::default(),
            others,
        }));
        (net, received)
    }

    /// Returns the options to connect a client `ws/me` to this server.
    pub(crate) fn connect(&self) -> ConnectOptions {
        hypha_rpc::connect("memory:")
            .client_id("me")
            .dial(self.clone())
    }

    pub(crate) fn plan(&self, plans: impl IntoIterator<Item = Plan>) {
        lock(&self.0.plans).extend(plans);
    }

    pub(crate) fn otherwise(&self, plan: Plan) {
        *lock(&self.0.otherwise) = plan;
    }

    /// Drops the server's end of the link. The client then detects the end of the link.
    pub(crate) fn cut(&self) {
        if let Some(line) = lock(&self.0.line).take() {
            line.task.abort();
        }
    }

    /// Drops the link after the client has read all frames sent so far, and has responded to them.
    pub(crate) async fn cut_after_all(&self) {
        crate::support::breathe().await;
        self.cut();
    }

    pub(crate) fn push(&self, frame: Frame) {
        let line = lock(&self.0.line);
        let push = &line.as_ref().expect("a link").push;
        push.send(frame).expect("the link stands");
    }

    pub(crate) fn send(&self, main: Value, extra: Value) {
        self.push(Frame::Binary(message(main, extra)));
    }

    /// Responds to a call that [`Others`] has received.
    pub(crate) fn reply(&self, call: &Received, member: &str, args: Value) {
        let session = call.text("session");
        let main = map! {
            "type": "method", "from": call.text("to"), "to": "ws/me",
            "method": format!("{session}.{member}"), "parent": session,
        };
        self.send(main, map! {"args": args});
    }

    pub(crate) fn attempts(&self) -> usize {
        lock(&self.0.attempts).len()
    }

    /// Returns the pauses between the attempts to connect, in seconds.
    pub(crate) fn pauses(&self) -> Vec<f64> {
        let attempts = lock(&self.0.attempts);
        let pairs = attempts.windows(2);
        pairs.map(|two| (two[1] - two[0]).as_secs_f64()).collect()
    }

    pub(crate) fn hellos(&self) -> Vec<serde_json::Value> {
        lock(&self.0.hellos).clone()
    }

    pub(crate) fn manager(&self, id: &str) {
        *lock(&self.0.manager) = id.into();
    }

    pub(crate) fn refuse(&self, services: &[&str]) {
        *lock(&self.0.refused) = services.iter().map(|s| (*s).to_owned()).collect();
    }

    pub(crate) fn slowness(&self, time: Duration) {
        *lock(&self.0.slowness) = time;
    }

    /// Sets the capacity of links that are opened later, in frames.
    pub(crate) fn capacity(&self, frames: usize) {
        *lock(&self.0.capacity) = frames;
    }

    pub(crate) fn deaf(&self, deaf: bool) {
        *lock(&self.0.deaf) = deaf;
    }

    pub(crate) fn owner(&self, address: &str) {
        *lock(&self.0.owner) = address.into();
    }

    /// Returns the requests to the manager since the previous call of this method.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0.asked))
    }

    async fn serve(
        self,
        mut link: MemoryLink,
        mut pushed: mpsc::UnboundedReceiver<Frame>,
        plan: Plan,
    ) {
        let Some(Ok(Frame::Text(hello))) = link.next().await else {
            return;
        };
        let hello: serde_json::Value = serde_json::from_str(&hello).expect("JSON");
        lock(&self.0.hellos).push(hello);
        let mut workspace = "ws";
        match plan {
            Plan::Welcome | Plan::Unreachable | Plan::Fail(_) => {}
            Plan::Elsewhere => workspace = "other",
            Plan::HangUp => return,
            Plan::Silence => return std::future::pending().await,
            Plan::Say(frame) => {
                let _ = link.send(frame).await;
                return;
            }
        }
        let manager = lock(&self.0.manager).clone();
        let attempt = self.attempts();
        let info = serde_json::json!({
            "type": "connection_info", "workspace": workspace, "client_id": "me",
            "manager_id": manager, "public_base_url": "http://h",
            "reconnection_token": format!("secret-{attempt}"),
            "reconnection_token_life_time": 172800.0,
        });
        if link.send(Frame::Text(info.to_string())).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                frame = pushed.recv() => {
                    let Some(frame) = frame else { return };
                    let _ = link.send(frame).await;
                }
                frame = link.next() => match frame {
                    Some(Ok(Frame::Binary(data))) => {
                        let call = read(&data);
                        if call.text("to").starts_with("*/") {
                            self.managed(&mut link, &call, &manager).await;
                        } else {
                            let _ = self.0.others.send(call);
                        }
                    }
                    Some(Ok(Frame::Close(_))) => {
                        let _ = link.send(Frame::Close(None)).await;
                    }
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    }

    /// Responds to a call in the role of the workspace manager.
    async fn managed(&self, link: &mut MemoryLink, call: &Received, manager: &str) {
        if *lock(&self.0.deaf) {
            return;
        }
        let method = call
            .text("method")
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned();
        let address = format!("*/{manager}");
        if call.text("to") != address {
            // The call is for a previous manager, which no longer exists and does not respond.
            return;
        }
        let mut member = "resolve";
        let log = |what: String| lock(&self.0.asked).push(what);
        let answer = match method.as_str() {
            "get_service" if call.text("method").contains("built-in") => {
                let methods = [
                    "get_service",
                    "register_service",
                    "unregister_service",
                    "subscribe",
                    "echo",
                ];
                let methods = methods.map(|name| {
                    let function = map! {
                        "_rtype": "method", "_rtarget": address.as_str(), "_rpromise": "*",
                        "_rmethod": format!("services.default.{name}"), "_rname": name,
                    };
                    (name.to_owned(), function)
                });
                Value::Map(Map::from_iter(methods))
            }
            "get_service" => {
                let owner = lock(&self.0.owner).clone();
                log(format!("get_service at {owner}"));
                map! {
                    "id": format!("{owner}:svc"),
                    "call": map! {
                        "_rtype": "method", "_rtarget": owner.as_str(), "_rpromise": "*",
                        "_rmethod": "services.svc.call", "_rname": "call",
                    },
                }
            }
            "register_service" => {
                let id = call
                    .arg(0)
                    .get("id")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned();
                let id = id.rsplit(':').next().unwrap_or_default().to_owned();
                let slowness = *lock(&self.0.slowness);
                tokio::time::sleep(slowness).await;
                log(format!("register {id}"));
                if lock(&self.0.refused).contains(&id) {
                    member = "reject";
                    map! {"_rtype": "error", "_rvalue": format!("PermissionError: no {id}")}
                } else {
                    Value::Null
                }
            }
            "unregister_service" => {
                log(format!(
                    "unregister {}",
                    call.arg(0).as_str().unwrap_or_default()
                ));
                Value::Null
            }
            "subscribe" => {
                log(format!("subscribe {}", call.arg(0)));
                true.into()
            }
            _ => Value::Null,
        };
        let session = call.text("session");
        let main = map! {
            "type": "method", "from": address.as_str(), "to": "ws/me",
            "method": format!("{session}.{member}"), "parent": session,
        };
        let frame = Frame::Binary(message(main, map! {"args": list![answer]}));
        let _ = link.send(frame).await;
    }
}

/// Returns a connected client and its server.
pub(crate) async fn connected() -> (Client, Net, Others) {
    let (net, others) = Net::new();
    let client = net.connect().await.expect("connects");
    (client, net, others)
}

/// Waits until the client is connected, for at most an hour of paused time.
pub(crate) async fn back(client: &Client) {
    // First, let the client detect that the link is lost.
    crate::support::breathe().await;
    let mut states = client.states();
    let wait = async {
        while let Some(state) = states.next().await {
            if state == hypha_rpc::client::State::Connected {
                return;
            }
        }
        panic!("closed: {}", client.closed().await);
    };
    let waited = tokio::time::timeout(Duration::from_secs(3600), wait);
    waited.await.expect("comes back");
}

pub(crate) fn disconnected<T: std::fmt::Debug>(
    outcome: Result<T, Error>,
) -> hypha_rpc::error::Disconnected {
    match outcome {
        Err(Error::Disconnected(lost)) => lost,
        other => panic!("not disconnected: {other:?}"),
    }
}
