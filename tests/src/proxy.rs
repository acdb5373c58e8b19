//! A TCP proxy between clients and a server, which simulates network faults.

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

/// Behavior of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// All bytes arrive.
    Fair,
    /// All bytes arrive with this delay.
    Slow(Duration),
    /// No bytes arrive, and neither side is notified, as with a half-open connection.
    Stalled,
    /// New connections are closed immediately.
    Refusing,
    /// Like `Fair`, but requests for a WebSocket are rejected, as by an old proxy.
    OnlyHttp,
}

/// A proxy in front of one server. Dropping it ends all connections.
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
    weather: watch::Sender<Weather>,
    /// Generation of connections. Changing it closes the existing ones.
    age: watch::Sender<u64>,
    /// Number of bytes from clients after which all connections are closed. Negative: no limit.
    fuse: AtomicI64,
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
            weather: watch::Sender::new(Weather::Fair),
            age: watch::Sender::new(0),
            fuse: AtomicI64::new(-1),
            accepted: Mutex::default(),
        });
        Ok(Proxy {
            url: format!("http://{}", listener.local_addr()?),
            task: tokio::spawn(accept(listener, Arc::clone(&shared))),
            shared,
        })
    }

    /// Connects new connections to another server.
    pub fn redirect(&self, url: &str) -> Result<()> {
        *lock(&self.shared.target) = address(url)?;
        Ok(())
    }

    /// Changes the behavior of existing and new connections.
    pub fn weather(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// Closes all connections.
    pub fn cut(&self) {
        self.shared.age.send_modify(|age| *age += 1);
    }

    /// Closes all connections after clients have sent this number of further bytes.
    pub fn cut_after(&self, bytes: u32) {
        self.shared.fuse.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Returns the times of all connection attempts, including refused ones.
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
        if *shared.weather.borrow() == Weather::Refusing {
            continue;
        }
        tokio::spawn(connect(client, Arc::clone(&shared)));
    }
}

async fn connect(mut client: TcpStream, shared: Arc<Shared>) {
    let mut age = shared.age.subscribe();
    let target = *lock(&shared.target);
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    // An error here only adds latency. Without `nodelay`, small frames would wait for
    // acknowledgements.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_server, mut to_server) = server.into_split();
    if *shared.weather.borrow() == Weather::OnlyHttp {
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
        _ = age.changed() => {}
        () = carry(from_client, to_server, &shared, true) => {}
        () = carry(from_server, to_client, &shared, false) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, counted: bool) {
    let mut weather = shared.weather.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(read @ 1..) => read,
            _ => return,
        };
        let now = *weather.borrow_and_update();
        match now {
            Weather::Slow(time) => tokio::time::sleep(time).await,
            Weather::Stalled => {
                // Delayed bytes arrive after the fault ends, as with TCP.
                let clear = weather.wait_for(|weather| *weather != Weather::Stalled);
                if clear.await.is_err() {
                    return;
                }
            }
            _ => {}
        }
        let mut part = &buffer[..read];
        if counted {
            let fuse = shared.fuse.load(Ordering::SeqCst);
            if fuse >= 0 {
                let left = fuse - read as i64;
                shared.fuse.store(left.max(-1), Ordering::SeqCst);
                if left <= 0 {
                    part = &part[..usize::try_from(fuse).unwrap_or(0).min(read)];
                    let _ = to.write_all(part).await;
                    shared.fuse.store(-1, Ordering::SeqCst);
                    shared.age.send_modify(|age| *age += 1);
                    return;
                }
            }
        }
        if to.write_all(part).await.is_err() {
            return;
        }
    }
}
