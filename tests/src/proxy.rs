//! Defines a TCP proxy between clients and a server. The proxy simulates network faults.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Simulated state of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkState {
    /// All bytes arrive.
    Normal,
    /// All bytes arrive after this delay.
    Slow(Duration),
    /// No bytes arrive, and neither side notices. A half-open connection behaves like this.
    Stalled,
    /// The proxy closes new connections immediately.
    Refusing,
    /// Like `Normal`, but the proxy rejects WebSocket handshakes. An old HTTP proxy does the same.
    OnlyHttp,
}

/// A proxy in front of one server. When the proxy is dropped, it closes all connections.
#[derive(Debug)]
pub struct Proxy {
    /// URL for clients.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    network: watch::Sender<NetworkState>,
    /// Generation of the connections. When this number changes, the existing connections are
    /// closed.
    generation: watch::Sender<u64>,
    /// Number of bytes that clients may still send before all connections are closed. A negative
    /// number means no limit.
    bytes_left: AtomicI64,
    accepted: Mutex<Vec<Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn address(url: &str) -> Result<SocketAddr> {
    let address = url.strip_prefix("http://").context("not an http URL")?;
    Ok(address.parse()?)
}

impl Proxy {
    /// Starts a proxy in front of the server at `url`.
    pub async fn start(url: &str) -> Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared {
            target: Mutex::new(address(url)?),
            network: watch::Sender::new(NetworkState::Normal),
            generation: watch::Sender::new(0),
            bytes_left: AtomicI64::new(-1),
            accepted: Mutex::default(),
        });
        Ok(Proxy {
            url: format!("http://{}", listener.local_addr()?),
            task: tokio::spawn(accept(listener, Arc::clone(&shared))),
            shared,
        })
    }

    /// Forwards new connections to the server at `url`.
    pub fn redirect(&self, url: &str) -> Result<()> {
        *lock(&self.shared.target) = address(url)?;
        Ok(())
    }

    /// Sets the simulated state for existing and new connections.
    pub fn set_network(&self, network: NetworkState) {
        self.shared.network.send_replace(network);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.shared
            .generation
            .send_modify(|generation| *generation += 1);
    }

    /// Closes all connections after the clients have sent `bytes` more bytes.
    pub fn cut_after(&self, bytes: u32) {
        self.shared
            .bytes_left
            .store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Returns the times at which the proxy accepted connections. Includes connections that the
    /// proxy closed immediately.
    #[must_use]
    pub fn accepted(&self) -> Vec<Instant> {
        lock(&self.shared.accepted).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        lock(&shared.accepted).push(Instant::now());
        if *shared.network.borrow() == NetworkState::Refusing {
            continue;
        }
        tokio::spawn(connect(client, Arc::clone(&shared)));
    }
}

async fn connect(mut client: TcpStream, shared: Arc<Shared>) {
    let mut generation = shared.generation.subscribe();
    let target = *lock(&shared.target);
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // Ignore errors, because they only add latency. Without `nodelay`, small frames would wait for
    // acknowledgements.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_server, mut to_server) = server.into_split();
    if *shared.network.borrow() == NetworkState::OnlyHttp {
        let mut head = vec![0; 4096];
        let Ok(read) = client.read(&mut head).await else {
            return;
        };
        head.truncate(read);
        let asked = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if asked.contains("upgrade: websocket") {
            let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = client.write_all(answer.as_bytes()).await;
            return;
        }
        if to_server.write_all(&head).await.is_err() {
            return;
        }
    }
    let (from_client, to_client) = client.into_split();
    tokio::select! {
        _ = generation.changed() => {}
        () = carry(from_client, to_server, &shared, true) => {}
        () = carry(from_server, to_client, &shared, false) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, counted: bool) {
    let mut network = shared.network.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(read @ 1..) => read,
            _ => return,
        };
        let now = *network.borrow_and_update();
        match now {
            NetworkState::Slow(time) => tokio::time::sleep(time).await,
            NetworkState::Stalled => {
                // Hold the bytes until the fault ends. The proxy loses no bytes, because TCP loses
                // no bytes either.
                let clear = network.wait_for(|network| *network != NetworkState::Stalled);
                if clear.await.is_err() {
                    return;
                }
            }
            _ => {}
        }
        let mut part = &buffer[..read];
        if counted {
            let bytes_left = shared.bytes_left.load(Ordering::SeqCst);
            if bytes_left >= 0 {
                let left = bytes_left - read as i64;
                shared.bytes_left.store(left.max(-1), Ordering::SeqCst);
                if left <= 0 {
                    part = &part[..usize::try_from(bytes_left).unwrap_or(0).min(read)];
                    let _ = to.write_all(part).await;
                    shared.bytes_left.store(-1, Ordering::SeqCst);
                    shared.generation.send_modify(|generation| *generation += 1);
                    return;
                }
            }
        }
        if to.write_all(part).await.is_err() {
            return;
        }
    }
}
