//! Tests that a client still responds when handlers block the worker threads of its runtime.
#![allow(
    clippy::unwrap_used,
    reason = "everything that fails here fails the test"
)]

use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use hypha_rpc::client::{Identity, Settings, Stats};
use hypha_rpc::service::{Method, Service};
use hypha_rpc::transport::Frame;
use hypha_rpc::transport::memory::pair;
use hypha_rpc::{Client, Value};
use hypha_wire::{Args, Head, Message, ReplyMode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::{WebSocketStream, tungstenite};

/// Duration for which the method `block` blocks its thread.
const BLOCKED: Duration = Duration::from_millis(1200);

/// Heartbeat interval in seconds: the shortest interval that a callee accepts.
const INTERVAL: f64 = 0.1;

/// Collects the log output.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns the log of all tests in this program.
    fn start() -> &'static Log {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Log::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            log
        })
    }

    fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(text)
    }
}

impl io::Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn service(id: &str) -> Service {
    Service::new(id)
        .method(Method::new("block", |call| async move {
            std::thread::sleep(BLOCKED);
            call.reply(&Value::Null)
        }))
        .method(Method::new("quick", |call| async move {
            call.reply(&Value::from("quick"))
        }))
}

/// Time after which the client reports a handler that blocks its thread.
const WARNING: Duration = Duration::from_millis(400);

/// The peer at the other end of the client's link. The peer runs on a separate runtime.
struct Peer {
    id: &'static str,
    send: mpsc::UnboundedSender<Bytes>,
    received: mpsc::UnboundedReceiver<Bytes>,
}

impl Peer {
    /// Copies frames between this peer and a link.
    fn over<E>(
        id: &'static str,
        link: impl Stream<Item = Bytes> + Sink<Bytes, Error = E> + Send + 'static,
    ) -> Peer {
        let (send, mut to_send) = mpsc::unbounded_channel();
        let (receive, received) = mpsc::unbounded_channel();
        let (mut sink, mut stream) = link.split();
        tokio::spawn(async move {
            while let Some(frame) = to_send.recv().await {
                if sink.send(frame).await.is_err() {
                    break;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(frame) = stream.next().await {
                if receive.send(frame).is_err() {
                    break;
                }
            }
        });
        Peer { id, send, received }
    }

    fn call(&self, method: &str) {
        let head = Head {
            from: "ws/peer",
            to: "ws/me",
            method: &format!("services.{}.{method}", self.id),
            parent: None,
            session: Some(method),
        };
        let reply = ReplyMode::Star { interval: INTERVAL };
        let message = Args::new(0, 0).finish(&head, reply).unwrap();
        self.send.send(message).unwrap();
    }

    /// Calls the non-blocking method `quick`, and waits for its response.
    async fn quick(&mut self) {
        self.call("quick");
        let answer = timeout(BLOCKED * 5, self.received("quick.resolve")).await;
        answer.expect("no other method runs");
    }

    /// Receives messages until a call of the method `last` arrives. Returns the method of each
    /// message, and the time at which it arrived.
    async fn received(&mut self, last: &str) -> Vec<(String, Duration)> {
        let begin = Instant::now();
        let mut all = Vec::new();
        while let Some(data) = self.received.recv().await {
            let method = Message::parse(data).unwrap().method().unwrap().to_owned();
            all.push((method.clone(), begin.elapsed()));
            if method == last {
                return all;
            }
        }
        panic!("the link ended: {all:?}");
    }

    /// Receives messages until the blocked handler responds. Asserts that heartbeats arrived while
    /// the handler was blocked.
    async fn assert_heartbeats_while_blocked(&mut self) {
        let came = self.received("block.resolve").await;
        let beats = came.iter().filter(|(m, _)| m == "block.heartbeat").count();
        let gaps = came.windows(2).map(|w| w[1].1 - w[0].1);
        let longest = came[0].1.max(gaps.max().unwrap_or_default());
        assert!(beats >= 6, "{came:?}");
        assert!(longest < Duration::from_millis(600), "{came:?}");
    }
}

/// Acts as a WebSocket server: performs the handshake, and accepts every request to the manager.
async fn accept<S>(id: &'static str, socket: S) -> Peer
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let info = r#"{"type": "connection_info", "workspace": "ws", "manager_id": "manager"}"#;
    socket.send(tungstenite::Message::text(info)).await.unwrap();
    loop {
        let request = message(&mut socket).await;
        let session = request.session().unwrap();
        let mut args = Args::new(1, 0);
        let is_last = request.method() == Some("services.default.register_service");
        if request.method() == Some("services.built-in.get_service") {
            let member = |key: &str, value: &str| (key.to_owned(), Value::from(value));
            let register = [
                member("_rtype", "method"),
                member("_rtarget", "ws/manager"),
                member("_rmethod", "services.default.register_service"),
                member("_rpromise", "*"),
            ];
            let register = Value::Map(register.into_iter().collect());
            let service = [
                member("id", "default"),
                ("register_service".to_owned(), register),
            ];
            args.push("service", &Value::Map(service.into_iter().collect()));
        } else {
            args.push("nothing", &Value::Null);
        }
        let head = Head {
            from: request.to().unwrap(),
            to: "ws/me",
            method: &format!("{session}.resolve"),
            parent: Some(session),
            session: None,
        };
        let answer = args.finish(&head, ReplyMode::None).unwrap();
        socket
            .send(tungstenite::Message::Binary(answer))
            .await
            .unwrap();
        if is_last {
            break;
        }
    }
    let frames = socket
        .filter_map(|message| async move {
            match message {
                Ok(tungstenite::Message::Binary(data)) => Some(data),
                _ => None,
            }
        })
        .with(
            |frame| async move { Ok::<_, tungstenite::Error>(tungstenite::Message::Binary(frame)) },
        );
    Peer::over(id, Box::pin(frames))
}

/// Returns the next message of the client.
async fn message<S>(socket: &mut WebSocketStream<S>) -> Message
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        if let tungstenite::Message::Binary(data) = socket.next().await.unwrap().unwrap() {
            return Message::parse(data).unwrap();
        }
    }
}

/// A client, running on its own runtime.
struct Program {
    client: Client,
    _stop: mpsc::Sender<()>,
}

impl Program {
    /// Runs a client on `runtime`, in a separate thread.
    fn run(runtime: Runtime, connect: impl Future<Output = Client> + Send + 'static) -> Program {
        let (started, client) = std::sync::mpsc::channel();
        let (stop, mut stopped) = mpsc::channel(1);
        std::thread::spawn(move || {
            runtime.block_on(async {
                let client = tokio::spawn(connect).await.unwrap();
                started.send(client).unwrap();
                stopped.recv().await;
            });
        });
        Program {
            client: client.recv().unwrap(),
            _stop: stop,
        }
    }
}

fn two_workers() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Connects to the server at `url` and registers the service.
async fn connect(id: &'static str, url: String) -> Client {
    let client = hypha_rpc::connect(url)
        .client_id("me")
        .workspace("ws")
        .danger_accept_invalid_certificates(true)
        .settings(|settings| settings.blocking_warning = WARNING)
        .silent(true)
        .await
        .unwrap();
    client.register_service(service(id)).await.unwrap();
    client
}

/// Asserts that the number of blocked handlers in the statistics is `blocked`, and that the log
/// reports these handlers.
fn assert_reported(id: &str, stats: Stats, blocked: u64) {
    assert_eq!(stats.blocked_handlers, blocked, "{stats:?}");
    assert!(stats.stalls >= 1, "{stats:?}");
    let log = Log::start();
    assert!(log.has(&format!("`{id}.block` has blocked its thread for")));
    assert!(log.has(&format!("`{id}.block` blocked its thread for")));
}

/// Blocks one worker thread first, and both worker threads afterwards.
async fn block_workers(peer: &mut Peer) {
    // Only one of the two worker threads is blocked. The other thread must still run methods.
    peer.call("block");
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..3 {
        let asked = Instant::now();
        peer.quick().await;
        assert!(asked.elapsed() < BLOCKED / 3, "{:?}", asked.elapsed());
    }
    peer.received("block.resolve").await;
    // Both worker threads are blocked. The client must still send heartbeats.
    peer.call("block");
    peer.call("block");
    peer.assert_heartbeats_while_blocked().await;
    // The connection has moved back to its own runtime, and still works.
    peer.received("block.resolve").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    peer.quick().await;
}

#[test]
fn blocked_handlers_stop_neither_heartbeats_nor_other_methods() {
    Log::start();
    one_thread().block_on(async {
        let (ours, link) = pair(1024);
        let program = Program::run(two_workers(), async move {
            let mut settings = Settings::default();
            settings.blocking_warning = WARNING;
            let client = Client::from_link(Box::new(ours), Identity::new("ws", "me"), settings);
            client.register_service(service("memory")).await.unwrap();
            client
        });
        let frames = link
            .filter_map(|frame| async move {
                match frame {
                    Ok(Frame::Binary(data)) => Some(data),
                    _ => None,
                }
            })
            .with(
                |frame| async move { Ok::<_, hypha_rpc::error::LinkError>(Frame::Binary(frame)) },
            );
        let mut peer = Peer::over("memory", Box::pin(frames));
        block_workers(&mut peer).await;
        assert_reported("memory", program.client.stats(), 3);
    });
}

/// Starts a program that connects to this test over TCP. Returns the program and the accepted
/// socket.
async fn over_tcp(id: &'static str, scheme: &str, runtime: Runtime) -> (Starting, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}/ws", listener.local_addr().unwrap());
    let starting = tokio::task::spawn_blocking(move || Program::run(runtime, connect(id, url)));
    (starting, listener.accept().await.unwrap().0)
}

type Starting = tokio::task::JoinHandle<Program>;

#[test]
fn a_socket_moves_from_a_blocked_runtime_and_back() {
    Log::start();
    one_thread().block_on(async {
        let (starting, socket) = over_tcp("tcp", "ws", two_workers()).await;
        let mut peer = accept("tcp", socket).await;
        let program = starting.await.unwrap();
        block_workers(&mut peer).await;
        assert_reported("tcp", program.client.stats(), 3);
    });
}

#[cfg(feature = "tls")]
#[test]
fn an_encrypted_socket_moves_from_a_blocked_runtime_and_back() {
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::{ServerConfig, pki_types};
    Log::start();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().der().clone();
    let key = pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    one_thread().block_on(async {
        let (starting, socket) = over_tcp("tls", "wss", two_workers()).await;
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut peer = accept("tls", acceptor.accept(socket).await.unwrap()).await;
        let program = starting.await.unwrap();
        block_workers(&mut peer).await;
        assert_reported("tls", program.client.stats(), 3);
    });
}

#[test]
fn a_blocked_handler_on_the_only_thread_sends_heartbeats() {
    Log::start();
    one_thread().block_on(async {
        let (starting, socket) = over_tcp("single", "ws", one_thread()).await;
        let mut peer = accept("single", socket).await;
        let program = starting.await.unwrap();
        for _ in 0..2 {
            peer.call("block");
            peer.assert_heartbeats_while_blocked().await;
            // The connection has moved back to its own runtime, and still works.
            tokio::time::sleep(Duration::from_millis(150)).await;
            peer.quick().await;
        }
        assert_reported("single", program.client.stats(), 2);
    });
}
