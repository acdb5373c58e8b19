//! The Rust programs of the benchmark: a service and its caller, and the same measurements for
//! frames without RPC through a WebSocket relay. `bench` starts them. Each program prints one line.

use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use futures_util::{SinkExt, StreamExt};
use hypha_rpc::client::RtcOptions;
use hypha_rpc::prelude::*;
use hypha_rpc_tests::figures::{Figures, percentiles};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, accept_async_with_config, connect_async_with_config,
};

/// Allocator of this program: mimalloc, because glibc's allocator returns large blocks to the
/// system and requests new blocks. The first access to new memory costs as much as copying it, so
/// with glibc, messages of 16 MB take twice as long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Provide the service. Prints `READY <id>`.
    Host { server_url: String },
    /// Measure the service. Prints the figures as JSON.
    Call {
        server_url: String,
        service: String,
        seconds: f64,
        /// Call over a direct connection that the lookup opens, not through the server.
        #[arg(long)]
        webrtc: bool,
    },
    /// Read a stream of `items` numbers. Prints items per second.
    Stream {
        server_url: String,
        service: String,
        items: u32,
    },
    /// Relay frames between two connections. Prints `READY <url>`.
    Relay,
    /// Send each frame of a relay back. Prints `READY`.
    RelayHost { url: String },
    /// Measure the relay. Prints the figures as JSON.
    RelayCall { url: String, seconds: f64 },
    /// Respond to each message that a server routes to this client, without decoding it. Prints
    /// `READY <address>`.
    RouteHost { server_url: String },
    /// Send messages to a `route-host`. Prints exchanges per second, one at a time and 64 at once.
    RouteCall {
        server_url: String,
        address: String,
        seconds: f64,
    },
}

/// The measured methods.
#[hypha_service(id = "bench")]
trait Bench {
    /// Add two numbers: a call of about 100 bytes.
    async fn add(&self, a: f64, b: f64) -> f64;
    /// Return the bytes.
    async fn echo(&self, data: Binary) -> Binary;
    /// Return the array.
    async fn echo_array(&self, array: NdArray) -> NdArray;
    /// Stream numbers from 0.
    async fn numbers(&self, n: u32) -> impl Stream<Item = u32>;
}

struct Service;

impl Bench for Service {
    async fn add(&self, a: f64, b: f64) -> f64 {
        a + b
    }

    async fn echo(&self, data: Binary) -> Binary {
        data
    }

    async fn echo_array(&self, array: NdArray) -> NdArray {
        array
    }

    async fn numbers(&self, n: u32) -> impl Stream<Item = u32> {
        futures_util::stream::iter(0..n)
    }
}

const AT_ONCE: usize = 64;
/// Number of clients that each make a first call. The median counts.
const FIRST_CALLS: usize = 9;
const MB: usize = 1 << 20;
/// Number of echoes of each size to ignore. The first echoes are slow, because they get new memory
/// from the system.
const WARM_UP: usize = 3;
/// Number of items of a stream.
const ITEMS: u32 = 100_000;

#[tokio::main]
async fn main() -> Result<()> {
    match Options::parse().role {
        Role::Host { server_url } => {
            let hypha = hypha_rpc::connect(server_url).webrtc(rtc()).await?;
            let service = BenchService::new(Service);
            let info = hypha
                .register_service(service)
                .visibility(Visibility::Public)
                .await?;
            say(&format!("READY {}", info.id))?;
            Ok(hypha.run_until_ctrl_c().await?)
        }
        Role::Call {
            server_url,
            service,
            seconds,
            webrtc,
        } => {
            let mut connect = hypha_rpc::connect(server_url);
            if webrtc {
                connect = connect.webrtc(rtc());
            }
            let mut first = Vec::new();
            for _ in 0..FIRST_CALLS {
                let hypha = connect.clone().await?;
                let started = Instant::now();
                hypha
                    .proxy::<BenchProxy>(&*service)
                    .await?
                    .add(1.0, 2.0)
                    .await?;
                first.push(started.elapsed());
                hypha.disconnect().await;
            }
            let hypha = connect.await?;
            let bench: BenchProxy = hypha.proxy(service).await?;
            let mut figures = call(&bench, Duration::from_secs_f64(seconds)).await?;
            figures.first_ms = percentiles(&mut first).0 / 1e3;
            let sent = hypha.stats().bytes_sent;
            if webrtc && sent > MB as u64 {
                bail!("{sent} bytes passed through the server");
            }
            say(&serde_json::to_string(&figures)?)
        }
        Role::Stream {
            server_url,
            service,
            items,
        } => {
            let hypha = hypha_rpc::connect(server_url).await?;
            let bench: BenchProxy = hypha.proxy(service).await?;
            say(&format!("RATE {}", stream(&bench, items).await?))
        }
        Role::Relay => relay().await,
        Role::RelayHost { url } => relay_host(&url).await,
        Role::RelayCall { url, seconds } => {
            let figures = relay_call(&url, Duration::from_secs_f64(seconds)).await?;
            say(&serde_json::to_string(&figures)?)
        }
        Role::RouteHost { server_url } => route_host(&server_url).await,
        Role::RouteCall {
            server_url,
            address,
            seconds,
        } => {
            let (mut socket, _) = client(&server_url).await?;
            let call = message(&address, "services.bench.add", Some("r7Yp2hBqT5mW"))?;
            let time = Duration::from_secs_f64(seconds);
            let serial = one_at_a_time(&mut socket, &call, time).await?;
            let parallel = many_at_once(&mut socket, &call, time).await?;
            say(&format!("RATES {} {}", serial.rate, parallel.rate))
        }
    }
}

/// Options of direct connections on one machine.
fn rtc() -> RtcOptions {
    let options = RtcOptions::new().visibility(Visibility::Public);
    options.ice_servers([])
}

fn say(line: &str) -> Result<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

async fn call(bench: &BenchProxy, time: Duration) -> Result<Figures> {
    for i in 0..200 {
        bench.add(f64::from(i), 1.0).await?;
    }
    let mut serial = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let begun = Instant::now();
        bench.add(1.0, 2.0).await?;
        serial.push(begun.elapsed());
    }
    let serial_rate = serial.len() as f64 / started.elapsed().as_secs_f64();

    let started = Instant::now();
    let tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let bench = bench.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < time {
                    let begun = Instant::now();
                    bench.add(1.0, 2.0).await?;
                    latencies.push(begun.elapsed());
                }
                Ok::<_, Error>(latencies)
            })
        })
        .collect();
    let mut parallel = Vec::new();
    for task in tasks {
        parallel.extend(task.await??);
    }
    let parallel_rate = parallel.len() as f64 / started.elapsed().as_secs_f64();

    let mut payload = [0.0; 3];
    for (rate, size) in payload.iter_mut().zip([MB, 16 * MB, 100 * MB]) {
        let data = Binary::from(vec![7u8; size]);
        let echo = async || -> Result<()> {
            let back = bench.echo(data.clone()).await?;
            if back.len() != size {
                bail!("{} bytes came back", back.len());
            }
            Ok(())
        };
        for _ in 0..WARM_UP {
            echo().await?;
        }
        let (started, mut done) = (Instant::now(), 0);
        while done == 0 || started.elapsed() < time {
            echo().await?;
            done += 1;
        }
        *rate = (done * size) as f64 / MB as f64 / started.elapsed().as_secs_f64();
    }
    let array = NdArray::from_vec([MB / 4, 16], vec![1.0f32; 4 * MB])?;
    let (started, mut done) = (Instant::now(), 0);
    while done == 0 || started.elapsed() < time {
        let back = bench.echo_array(array.clone()).await?;
        if back.len() != array.len() {
            bail!("an array of {} elements came back", back.len());
        }
        done += 1;
    }
    let mb_array = (done * 16) as f64 / started.elapsed().as_secs_f64();
    let mut items = 0.0f64;
    let started = Instant::now();
    while items == 0.0 || started.elapsed() < time {
        items = items.max(stream(bench, ITEMS).await?);
    }
    Ok(Figures {
        serial_rate,
        serial_us: percentiles(&mut serial),
        parallel_rate,
        parallel_us: percentiles(&mut parallel),
        mb_1: payload[0],
        mb_16: payload[1],
        mb_100: payload[2],
        mb_array,
        items,
        first_ms: 0.0,
    })
}

/// Reads a stream of numbers, checks that none is missing, and returns the items per second.
async fn stream(bench: &BenchProxy, items: u32) -> Result<f64> {
    let started = Instant::now();
    let mut numbers = bench.numbers(items).await?;
    let mut next = 0;
    while let Some(number) = numbers.try_next().await? {
        if number != next {
            bail!("{number} instead of {next}");
        }
        next += 1;
    }
    if next != items {
        bail!("the stream ended after {next} items");
    }
    Ok(f64::from(items) / started.elapsed().as_secs_f64())
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_frame_size(Some(32 * MB))
        .max_message_size(Some(32 * MB))
}

/// Accepts two connections, the first from the host, and forwards the frames of each connection to
/// the other.
async fn relay() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&format!("READY ws://{}", listener.local_addr()?))?;
    let host = accept_async_with_config(accept(&listener).await?, Some(config())).await?;
    let caller = accept_async_with_config(accept(&listener).await?, Some(config())).await?;
    let (to_host, from_host) = host.split();
    let (to_caller, from_caller) = caller.split();
    tokio::select! {
        end = pass(from_host, to_caller) => end,
        end = pass(from_caller, to_host) => end,
    }
}

async fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Forwards frames. All frames that have arrived are sent with one flush.
async fn pass(
    mut from: impl futures_util::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>>
    + Unpin,
    mut to: impl futures_util::Sink<Message, Error = tokio_tungstenite::tungstenite::Error> + Unpin,
) -> Result<()> {
    while let Some(message) = from.next().await {
        to.feed(message?).await?;
        while let Some(next) = futures_util::FutureExt::now_or_never(from.next()) {
            to.feed(next.context("the connection has ended")??).await?;
        }
        to.flush().await?;
    }
    Ok(())
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(url: &str) -> Result<Socket> {
    Ok(connect_async_with_config(url, Some(config()), true)
        .await?
        .0)
}

async fn relay_host(url: &str) -> Result<()> {
    let (to, from) = open(url).await?.split();
    say("READY")?;
    pass(from, to).await
}

/// Rate and latencies of exchanges of small frames.
struct Exchanges {
    rate: f64,
    took: Vec<Duration>,
}

impl Exchanges {
    fn new(took: Vec<Duration>, started: Instant) -> Self {
        let rate = took.len() as f64 / started.elapsed().as_secs_f64();
        Exchanges { rate, took }
    }
}

async fn one_at_a_time(
    socket: &mut Socket,
    frame: &bytes::Bytes,
    time: Duration,
) -> Result<Exchanges> {
    let mut took = Vec::new();
    let started = Instant::now();
    while started.elapsed() < time {
        let begun = Instant::now();
        exchange(socket, frame.clone()).await?;
        took.push(begun.elapsed());
    }
    Ok(Exchanges::new(took, started))
}

/// Keeps 64 frames in flight. Replies arrive in order, so each belongs to the oldest frame.
async fn many_at_once(
    socket: &mut Socket,
    frame: &bytes::Bytes,
    time: Duration,
) -> Result<Exchanges> {
    let started = Instant::now();
    let (mut took, mut out) = (Vec::new(), VecDeque::new());
    let mut room = AT_ONCE;
    loop {
        if started.elapsed() < time {
            for _ in 0..std::mem::take(&mut room) {
                out.push_back(Instant::now());
                socket.feed(Message::Binary(frame.clone())).await?;
            }
            socket.flush().await?;
        }
        let Some(begun) = out.pop_front() else { break };
        socket
            .next()
            .await
            .context("the other end has disconnected")??;
        took.push(begun.elapsed());
        room += 1;
        // Replace all frames whose replies have arrived with one flush.
        while let Some(next) = futures_util::FutureExt::now_or_never(socket.next()) {
            next.context("the other end has disconnected")??;
            let begun: Instant = out.pop_front().context("a frame that was not sent")?;
            took.push(begun.elapsed());
            room += 1;
        }
    }
    Ok(Exchanges::new(took, started))
}

async fn relay_call(url: &str, time: Duration) -> Result<Figures> {
    let mut socket = open(url).await?;
    let small = bytes::Bytes::from(vec![1u8; 100]);
    let mut serial = one_at_a_time(&mut socket, &small, time).await?;
    let mut parallel = many_at_once(&mut socket, &small, time).await?;

    let mut payload = [0.0; 2];
    for (rate, size) in payload.iter_mut().zip([MB, 16 * MB]) {
        let data = bytes::Bytes::from(vec![7u8; size]);
        for _ in 0..WARM_UP {
            exchange(&mut socket, data.clone()).await?;
        }
        let (started, mut done) = (Instant::now(), 0);
        while done == 0 || started.elapsed() < time {
            exchange(&mut socket, data.clone()).await?;
            done += 1;
        }
        *rate = (done * size) as f64 / MB as f64 / started.elapsed().as_secs_f64();
    }
    Ok(Figures {
        serial_rate: serial.rate,
        serial_us: percentiles(&mut serial.took),
        parallel_rate: parallel.rate,
        parallel_us: percentiles(&mut parallel.took),
        mb_1: payload[0],
        mb_16: payload[1],
        mb_100: 0.0,
        mb_array: 0.0,
        items: 0.0,
        first_ms: 0.0,
    })
}

async fn exchange(socket: &mut Socket, data: bytes::Bytes) -> Result<()> {
    socket.send(Message::Binary(data)).await?;
    socket.next().await.context("the relay is gone")??;
    Ok(())
}

/// Connects to a server, and returns the connection and its address.
async fn client(server_url: &str) -> Result<(Socket, String)> {
    let url = server_url.replacen("http", "ws", 1) + "/ws";
    let mut socket = open(&url).await?;
    let hello = serde_json::json!({ "client_id": hypha_wire::random_id() });
    socket.send(Message::text(hello.to_string())).await?;
    let info = socket.next().await.context("the server is gone")??;
    let info: serde_json::Value = serde_json::from_str(info.to_text()?)?;
    let part = |key: &str| {
        let part = info[key].as_str();
        part.with_context(|| format!("not connected: {info}"))
    };
    let address = format!("{}/{}", part("workspace")?, part("client_id")?);
    Ok((socket, address))
}

/// Returns a message of about 100 bytes: the size of a call with two numbers, and of its response.
fn message(to: &str, method: &str, session: Option<&str>) -> Result<bytes::Bytes> {
    let main =
        serde_json::json!({ "type": "method", "to": to, "method": method, "session": session });
    let extra = serde_json::json!({ "args": [1.0, 2.0] });
    let mut frame = rmp_serde::to_vec_named(&main)?;
    frame.extend(rmp_serde::to_vec_named(&extra)?);
    Ok(frame.into())
}

async fn route_host(server_url: &str) -> Result<()> {
    let (mut socket, address) = client(server_url).await?;
    say(&format!("READY {address}"))?;
    let first = socket
        .next()
        .await
        .context("the server is gone")??
        .into_data();
    let main: serde_json::Value = rmp_serde::from_read(&mut &first[..])?;
    let caller = main["from"].as_str().context("a message from nobody")?;
    let answer = Message::Binary(message(caller, "r7Yp2hBqT5mW.resolve", None)?);
    socket.send(answer.clone()).await?;
    while let Some(message) = socket.next().await {
        message?;
        socket.feed(answer.clone()).await?;
        while let Some(next) = futures_util::FutureExt::now_or_never(socket.next()) {
            next.context("the connection has ended")??;
            socket.feed(answer.clone()).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}
