//! Measures the peak memory of HTTP requests, and the memory of requests that wait.
//!
//! This is a separate test program, because it needs a counting allocator. The tests run one after
//! the other.

mod support;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_server::Server;
use peak_alloc::PeakAlloc;
use reqwest::StatusCode;
use support::server_with;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The running test holds this lock, because each test measures the memory of the whole program.
static TURN: Mutex<()> = Mutex::const_new(());

const MIB: usize = 1024 * 1024;
/// Size of a large body, in bytes.
const LARGE: usize = 4 * MIB;
/// Number of calls that never end.
const CALLS: usize = 100;

/// Starts a service that neither decodes nor stores its arguments.
async fn host(server: &Server) -> Result<(Client, String)> {
    let client = hypha_rpc::connect(server.url()).await?;
    let swallow = Method::new(
        "swallow",
        |call: IncomingCall| async move { call.reply(&()) },
    );
    let nils = Method::new("nils", |call: IncomingCall| async move {
        let count: usize = call.args(&["count"])?.required(0)?;
        call.reply(&vec![(); count])
    });
    let wait = Method::new("wait", |_: IncomingCall| async move {
        std::future::pending::<()>().await;
        Ok(hypha_rpc::Args::new(0, 0))
    });
    let file = Method::new("file", |call: IncomingCall| async move {
        let size: u64 = call.args(&["size"])?.required(0)?;
        let content = tokio::io::AsyncReadExt::take(tokio::io::repeat(7), size);
        call.reply(&RemoteFile::from_reader(content).sized(size))
    });
    let noise = Method::new("noise", |call: IncomingCall| async move {
        let side: usize = call.args(&["side"])?.required(0)?;
        let pixels = (0..side * side).map(|place| ((place * place * 40_503) >> 7) as u16);
        call.reply(&hypha_rpc::Array::from_vec([side, side], pixels.collect()).expect("fits"))
    });
    let service = Service::new("desk")
        .method(swallow)
        .method(nils)
        .method(wait)
        .method(file)
        .method(noise);
    let service = client.register_service(service);
    service.visibility(Visibility::Public).await?;
    let url = format!("{}/{}/services", server.url(), client.workspace());
    Ok((client, url))
}

/// Sends a request. Reads the response piece by piece, and returns its status and length.
async fn send(request: reqwest::RequestBuilder) -> Result<(StatusCode, usize)> {
    let mut response = request.send().await?;
    let mut len = 0;
    while let Some(piece) = response.chunk().await? {
        len += piece.len();
    }
    Ok((response.status(), len))
}

/// Returns a request body whose argument is a list of nils.
fn json() -> Vec<u8> {
    let mut body = br#"{"value":["#.to_vec();
    while body.len() < LARGE - 10 {
        body.extend_from_slice(b"null,");
    }
    body.extend_from_slice(b"0]}");
    body
}

/// Returns a request body whose argument is a list of floats, which are longer in msgpack than in
/// JSON. The body ends with a syntax error. Without the error, the service in this program would
/// receive the floats and use memory too.
fn floats() -> Vec<u8> {
    let mut body = br#"{"value":["#.to_vec();
    while body.len() < LARGE - 10 {
        body.extend_from_slice(b"0.5,");
    }
    body
}

fn msgpack() -> Vec<u8> {
    let count = LARGE - 100;
    let mut body = b"\x81\xa5value\xdd".to_vec();
    body.extend((count as u32).to_be_bytes());
    body.resize(body.len() + count, 0xc0);
    body
}

fn gzip(body: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body)?;
    Ok(encoder.finish()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_results_cost_a_few_times_their_size() -> Result<()> {
    let _turn = TURN.lock().await;
    let server = server_with(|_| ()).await?;
    let (_host, url) = host(&server).await?;
    let http = support::http();
    let zipped = gzip(&json())?;
    for (what, target, body, kind, coding, status) in [
        ("json to nobody", "nobody/swallow", json(), "json", "", 404),
        (
            "msgpack to nobody",
            "nobody/swallow",
            msgpack(),
            "msgpack",
            "",
            404,
        ),
        (
            "gzip to nobody",
            "nobody/swallow",
            zipped.clone(),
            "json",
            "gzip",
            404,
        ),
        (
            "json to no function",
            "desk/nothing",
            json(),
            "json",
            "",
            404,
        ),
        ("json", "desk/swallow", json(), "json", "", 200),
        ("floats", "desk/swallow", floats(), "json", "", 400),
        ("gzip", "desk/swallow", zipped, "json", "gzip", 200),
        ("msgpack", "desk/swallow", msgpack(), "msgpack", "", 200),
        (
            "broken json",
            "desk/swallow",
            json().split_off(5),
            "json",
            "",
            400,
        ),
        (
            "broken msgpack",
            "desk/swallow",
            msgpack().split_off(5),
            "msgpack",
            "",
            400,
        ),
    ] {
        // The memory before the request includes the body, which the test itself holds.
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let mut request = http.post(format!("{url}/{target}")).body(body);
        request = request.header("content-type", format!("application/{kind}"));
        if !coding.is_empty() {
            request = request.header("content-encoding", coding);
        }
        let (got, _) = send(request).await?;
        let peak = ALLOCATOR.peak_usage() - before;
        println!("{what}: {got}, {} KiB", peak / 1024);
        ensure!(got == status, "{what}: {got}");
        let bound = if status == 404 {
            8 * MIB
        } else {
            4 * LARGE + 16 * MIB
        };
        ensure!(peak < bound, "{what}: {peak} bytes");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_results_are_sent_piece_by_piece_or_refused() -> Result<()> {
    let _turn = TURN.lock().await;
    let server = server_with(|_| ()).await?;
    let (_host, url) = host(&server).await?;
    let http = support::http();
    for (count, kind, len) in [
        (LARGE, "msgpack", LARGE + 5),
        (LARGE, "json", 5 * LARGE + 1),
    ] {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let request = http.get(format!("{url}/desk/nils?count={count}"));
        let request = request.header("content-type", format!("application/{kind}"));
        let (status, got) = send(request).await?;
        let peak = ALLOCATOR.peak_usage() - before;
        println!(
            "{count} nils as {kind}: {status}, {got}, {} KiB",
            peak / 1024
        );
        ensure!((status, got) == (StatusCode::OK, len), "{status}: {got}");
        // The peak includes the memory of the service, which runs in this program. The service has
        // encoded the result in a buffer that doubles as it grows.
        ensure!(peak < 8 * count + 16 * MIB, "{peak} bytes");
    }
    let (status, _) = send(http.get(format!("{url}/desk/nils?count={}", 70 * MIB))).await?;
    ensure!(status == StatusCode::PAYLOAD_TOO_LARGE, "{status}");
    ensure!(send(http.get(format!("{url}/desk/swallow"))).await?.0 == StatusCode::OK);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_never_end_cost_little_and_end_with_the_visitor() -> Result<()> {
    let _turn = TURN.lock().await;
    let server = server_with(|limits| limits.http_concurrent_requests = CALLS).await?;
    let (host, url) = host(&server).await?;
    let http = support::http();
    ensure!(send(http.get(format!("{url}/desk/swallow"))).await?.0 == StatusCode::OK);
    let before = ALLOCATOR.current_usage();
    // The requests use no client library, because the memory of the library would count.
    let address = server.url().trim_start_matches("http://").to_owned();
    let path = url.trim_start_matches(server.url());
    let request = format!("GET {path}/desk/wait HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        let mut call = TcpStream::connect(&address).await?;
        call.write_all(request.as_bytes()).await?;
        calls.push(call);
    }
    let clients = || async { anyhow::Ok(server.stats().http_requests_open) };
    until(|| async { Ok(clients().await? == CALLS as u64) }).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let each = (ALLOCATOR.current_usage() - before) / CALLS;
    println!("{each} bytes for each call");
    // The number includes the memory of the service, which runs in this program.
    ensure!(each < 100 * 1024, "{each} bytes");
    drop(calls);
    until(|| async { Ok(clients().await? == 0) }).await?;
    drop(host);
    Ok(())
}

/// Waits until `is_so` returns true.
async fn until<F: Future<Output = Result<bool>>>(is_so: impl Fn() -> F) -> Result<()> {
    let waiting = async {
        while !is_so().await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.context("the awaited state does not occur")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_never_in_memory_as_a_whole() -> Result<()> {
    let _turn = TURN.lock().await;
    let server = server_with(|_| ()).await?;
    let (_host, url) = host(&server).await?;
    let http = support::http();
    let size = 96 * MIB;
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let request = http.get(format!("{url}/desk/file?size={size}"));
    let got = send(request.header("accept", "*/*")).await?;
    let peak = ALLOCATOR.peak_usage() - before;
    println!("a file of {size} bytes: {} KiB", peak / 1024);
    ensure!(got == (StatusCode::OK, size), "{got:?}");
    // The bound is far below the size of the file, and above the memory of the pieces that are in
    // transit.
    ensure!(peak < 8 * MIB, "{peak} bytes");
    Ok(())
}

#[cfg(feature = "images")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_costs_as_much_as_is_charged_or_is_refused() -> Result<()> {
    let _turn = TURN.lock().await;
    let start = || server_with(|limits| limits.connection_memory_bytes = 32 * MIB);
    let server = start().await?;
    let (_host, url) = host(&server).await?;
    let http = support::http();
    let snap = |url: &str, side: usize, accept: &'static str| {
        let request = http.get(format!("{url}/desk/noise?side={side}"));
        send(request.header("accept", accept))
    };
    // 4 MiB of pixels, which cannot be compressed.
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let (status, len) = snap(&url, 1448, "image/png").await?;
    let peak = ALLOCATOR.peak_usage() - before;
    println!("an image: {status}, {len}, {} KiB", peak / 1024);
    ensure!(status == StatusCode::OK && len > 3 * MIB, "{status}: {len}");
    // The peak includes the memory of the service, which runs in this program. The service holds
    // the pixels, the encoded message and its chunks.
    ensure!(peak < 32 * MIB, "{peak} bytes");
    // An array of 16 MiB fits into the memory limit, but the array and its PNG encoding together do
    // not. The other server may still hold the end of the first response.
    let server = start().await?;
    let (_host, url) = host(&server).await?;
    let (status, len) = snap(&url, 2896, "application/x-npy").await?;
    ensure!(
        status == StatusCode::OK && len > 15 * MIB,
        "{status}: {len}"
    );
    let (status, _) = snap(&url, 2896, "image/png").await?;
    ensure!(status == StatusCode::PAYLOAD_TOO_LARGE, "{status}");
    Ok(())
}
