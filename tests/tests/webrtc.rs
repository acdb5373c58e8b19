//! Tests calls over WebRTC data channels between Rust, Python and JavaScript. The server only
//! forwards the offers and answers.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::stream;
use hypha_rpc::client::{IceServer, PeerConnection, RtcOptions};
use hypha_rpc::error::{ConnectErrorKind, RejectKind};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Method};
use hypha_rpc::{ServiceError as _, args};
use hypha_rpc_tests::cases::{run, run_blocking};
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::{
    chromium, javascript_program, program_or_skip, python_program, turn_server,
};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, free_port};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

const LIMIT: Duration = Duration::from_secs(180);

/// Time within which a lost peer is noticed, with a reserve for slow machines.
const NOTICED: Duration = Duration::from_secs(25);

/// Size of a value that needs many messages of a channel, in bytes.
const LARGE: usize = 1 << 20;

/// Service that clients call over a data channel. Its visibility is protected.
#[hypha_service(id = "direct")]
trait Direct {
    /// Returns address, workspace, user and transport of the caller.
    async fn caller(&self, ctx: &Context) -> (String, String, String, String);
    async fn echo(&self, data: Bytes) -> Bytes;
    async fn add(&self, a: NdArray, b: NdArray) -> Result<NdArray, String>;
    async fn tell(&self, listener: Callback<String, String>) -> Result<String, Error>;
    async fn numbers(&self, n: u32) -> impl Stream<Item = u32>;
    async fn length(&self, file: RemoteFile) -> Result<u64, String>;
    async fn refuse(&self) -> Result<(), String>;
    /// Waits forever.
    async fn wait(&self, ctx: &Context) -> u32;
}

/// Implementation that reports when a call of `wait` begins and ends.
struct Impl(mpsc::UnboundedSender<&'static str>);

/// Reports when it is dropped.
struct Dropped(mpsc::UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("ended");
    }
}

impl Direct for Impl {
    async fn caller(&self, ctx: &Context) -> (String, String, String, String) {
        let user = ctx.user().id.clone();
        let (from, workspace) = (ctx.from().to_owned(), ctx.workspace().to_owned());
        (from, workspace, user, ctx.connection_type().to_owned())
    }

    async fn echo(&self, data: Bytes) -> Bytes {
        data
    }

    async fn add(&self, a: NdArray, b: NdArray) -> Result<NdArray, String> {
        let read = |array: &NdArray| array.to_vec::<f64>().map_err(|e| e.to_string());
        let sums: Vec<f64> = read(&a)?
            .iter()
            .zip(read(&b)?)
            .map(|(a, b)| a + b)
            .collect();
        NdArray::from_vec(a.shape(), sums).map_err(|e| e.to_string())
    }

    async fn tell(&self, listener: Callback<String, String>) -> Result<String, Error> {
        listener.call("news".into()).await
    }

    async fn numbers(&self, n: u32) -> impl Stream<Item = u32> {
        stream::iter(0..n)
    }

    async fn length(&self, mut file: RemoteFile) -> Result<u64, String> {
        let mut content = Vec::new();
        let read = file.read_to_end(&mut content).await;
        read.map(|length| length as u64).map_err(|e| e.to_string())
    }

    async fn refuse(&self) -> Result<(), String> {
        Err("refused on purpose".into())
    }

    async fn wait(&self, ctx: &Context) -> u32 {
        let _ = self.0.send("begun");
        let _dropped = Dropped(self.0.clone());
        ctx.cancellation().cancelled().await;
        0
    }
}

/// Options without a STUN server, because tests have no network.
fn local() -> RtcOptions {
    RtcOptions::new().ice_servers([])
}

/// Waits for the next report.
async fn reported(reports: &mut mpsc::UnboundedReceiver<&'static str>) -> Result<&'static str> {
    let report = tokio::time::timeout(LIMIT, reports.recv()).await;
    report
        .context("nothing was reported")?
        .context("the host has ended")
}

/// Two clients in one workspace, with a connection between them.
struct Pair {
    host: Client,
    caller: Client,
    peer: PeerConnection,
    direct: DirectProxy,
    reports: mpsc::UnboundedReceiver<&'static str>,
}

/// Connects a client that offers the service and answers offers, and another one in its workspace.
async fn clients(
    url: &str,
    options: RtcOptions,
) -> Result<(Client, Client, mpsc::UnboundedReceiver<&'static str>)> {
    let host = hypha_rpc::connect(url).await?;
    let (report, reports) = mpsc::unbounded_channel();
    host.register_service(DirectService::new(Impl(report)))
        .await?;
    host.register_rtc_service("rtc", options).await?;
    let token = host.manager().await?.generate_token(None).await?;
    let caller = hypha_rpc::connect(url)
        .workspace(host.workspace())
        .token(token)
        .await?;
    Ok((host, caller, reports))
}

async fn pair(url: &str) -> Result<Pair> {
    let (host, caller, reports) = clients(url, local()).await?;
    let peer = caller.get_rtc_service("rtc", local()).await?;
    let direct = peer.proxy("direct").await?;
    Ok(Pair {
        host,
        caller,
        peer,
        direct,
        reports,
    })
}

/// Bytes without a pattern that could hide an exchange of chunks.
fn data(len: usize) -> Bytes {
    let numbers = (0..len as u32).map(|n| n.wrapping_mul(2_654_435_761));
    numbers.map(|n| (n >> 24) as u8).collect::<Vec<_>>().into()
}

/// Calls every method of the service.
async fn exercise(direct: &DirectProxy) -> Result<()> {
    ensure!(direct.echo(Bytes::from_static(b"x")).await? == "x");
    let array = NdArray::from_vec([2, 2], vec![1.0, 2.0, 3.0, 4.0])?;
    let sum = direct.add(array.clone(), array).await;
    ensure!(sum?.to_vec::<f64>()? == [2.0, 4.0, 6.0, 8.0]);
    let listener = Callback::new(|text: String| async move { format!("heard {text}") });
    let told = direct.tell(listener).await;
    ensure!(told.map_err(Error::untyped::<std::convert::Infallible>)? == "heard news");
    let mut numbers = direct.numbers(1000).await?;
    for expected in 0..1000 {
        ensure!(numbers.try_next().await? == Some(expected));
    }
    ensure!(numbers.try_next().await?.is_none());
    let file = RemoteFile::from_bytes(data(3 << 20)).named("data.bin");
    ensure!(direct.length(file).await? == 3 << 20);
    let error = direct.refuse().await.err().context("no error")?;
    ensure!(error.to_string().contains("refused on purpose"), "{error}");
    let large = data(LARGE);
    ensure!(direct.echo(large.clone()).await? == large, "other bytes");
    Ok(())
}

#[test]
fn everything_passes_over_a_channel() {
    run(Kind::Ours, &[], async |server| {
        let pair = pair(&server.url).await?;
        let before = pair.caller.stats().bytes_sent;
        exercise(&pair.direct).await?;
        // Several connections of one client do not disturb each other.
        let second = pair.caller.get_rtc_service("rtc", local()).await?;
        let direct: DirectProxy = second.proxy("direct").await?;
        let (a, b) = tokio::join!(exercise(&pair.direct), exercise(&direct));
        a.and(b)?;
        let large = data(16 << 20);
        ensure!(
            pair.direct.echo(large.clone()).await? == large,
            "other bytes"
        );
        second.disconnect().await;
        exercise(&pair.direct).await?;
        // Only the two offers passed through the server.
        let through_server = pair.caller.stats().bytes_sent - before;
        ensure!(through_server < 100_000, "{through_server} bytes");
        Ok(())
    });
}

#[test]
fn the_context_is_that_of_the_offer() {
    run(Kind::Ours, &[], async |server| {
        let pair = pair(&server.url).await?;
        let caller = &pair.caller;
        let seen = pair.direct.caller().await?;
        let expected = (
            caller.identity().address(),
            caller.workspace(),
            caller.user().id,
            "webrtc".to_owned(),
        );
        ensure!(seen == expected, "{seen:?}");
        // The address is the same through the server.
        let through_server: DirectProxy = caller.proxy("direct").await?;
        let seen = through_server.caller().await?;
        ensure!(seen.0 == expected.0 && seen.3 == "websocket", "{seen:?}");
        Ok(())
    });
}

#[test]
fn a_client_of_another_workspace_uses_only_public_services() {
    run(Kind::Ours, &[], async |server| {
        let host = hypha_rpc::connect(&server.url).await?;
        let (report, _reports) = mpsc::unbounded_channel();
        let service = DirectService::new(Impl(report));
        host.register_service(service).await?;
        let open = Service::new("open")
            .visibility(Visibility::Public)
            .method(Method::new("greet", |call: IncomingCall| async move {
                call.reply("hello")
            }));
        host.register_service(open).await?;
        let options = local().visibility(Visibility::Public);
        let rtc = host.register_rtc_service("rtc", options).await?;

        let stranger = hypha_rpc::connect(&server.url).await?;
        ensure!(stranger.workspace() != host.workspace());
        let peer = stranger.get_rtc_service(&rtc.id, local()).await?;
        let greeting: String = peer
            .get_service("open")?
            .await?
            .call("greet", args!())
            .await?;
        ensure!(greeting == "hello");
        match peer.get_service("direct")?.await {
            Err(Error::Rejected(refusal)) => {
                ensure!(refusal.kind == RejectKind::PermissionDenied, "{refusal}");
            }
            other => anyhow::bail!("{other:?}"),
        }
        // Without a public signaling service, there is no connection at all.
        let hidden = host.register_rtc_service("hidden", local()).await?;
        match stranger.get_rtc_service(&hidden.id, local()).await {
            Err(Error::Rejected(refusal)) => {
                ensure!(refusal.kind == RejectKind::PermissionDenied, "{refusal}");
            }
            other => anyhow::bail!("{other:?}"),
        }
        Ok(())
    });
}

#[test]
fn closing_fails_pending_calls() {
    run(Kind::Ours, &[], async |server| {
        let mut pair = pair(&server.url).await?;
        let waiting = tokio::spawn(pair.direct.wait().into_future());
        ensure!(reported(&mut pair.reports).await? == "begun");
        let begin = Instant::now();
        pair.peer.disconnect().await;
        let outcome = waiting.await?;
        ensure!(
            matches!(outcome, Err(Error::Disconnected(_))),
            "{outcome:?}"
        );
        ensure!(reported(&mut pair.reports).await? == "ended");
        ensure!(
            begin.elapsed() < Duration::from_secs(4),
            "{:?}",
            begin.elapsed()
        );
        let outcome = pair.direct.caller().await;
        ensure!(
            matches!(outcome, Err(Error::Disconnected(_))),
            "{outcome:?}"
        );

        // The answering side closes its connections when it disconnects from the server.
        let peer = pair.caller.get_rtc_service("rtc", local()).await?;
        pair.host.disconnect().await;
        tokio::time::timeout(NOTICED, peer.closed()).await?;
        Ok(())
    });
}

#[test]
fn a_lost_peer_is_noticed() {
    run_blocking(Kind::Ours, &[], |server| {
        // The host has its own runtime. Without it, its tasks stop without any cleanup.
        let lost = Runtime::new()?;
        let kept = Runtime::new()?;
        let (host, caller, mut reports) = lost.block_on(clients(&server.url, local()))?;
        let token = lost.block_on(async {
            let manager = caller.manager().await?;
            anyhow::Ok(manager.generate_token(None).await?)
        });
        let caller = kept.block_on(
            hypha_rpc::connect(&server.url)
                .workspace(host.workspace())
                .token(token?)
                .into_future(),
        )?;
        let peer = kept.block_on(caller.get_rtc_service("rtc", local()))?;
        let direct: DirectProxy = kept.block_on(peer.proxy("direct"))?;
        let waiting = kept.spawn(direct.wait().into_future());
        ensure!(kept.block_on(reported(&mut reports))? == "begun");
        #[expect(clippy::mem_forget, reason = "a killed program runs no destructor")]
        std::mem::forget(host);
        lost.shutdown_background();
        let begin = Instant::now();
        let outcome = kept.block_on(waiting)?;
        ensure!(
            matches!(outcome, Err(Error::Disconnected(_))),
            "{outcome:?}"
        );
        ensure!(begin.elapsed() < NOTICED, "{:?}", begin.elapsed());
        Ok(())
    });
}

#[test]
fn a_peer_that_does_not_answer_is_an_error() {
    run(Kind::Ours, &[], async |server| {
        let (host, caller, _reports) = clients(&server.url, local()).await?;
        let silent =
            Service::new("silent").method(Method::new("offer", |_| std::future::pending()));
        host.register_service(silent).await?;
        let wrong =
            Service::new("wrong").method(Method::new("offer", |call: IncomingCall| async move {
                let answer = json!({"sdp": "v=0\r\nnonsense", "type": "answer"});
                call.reply(&answer)
            }));
        host.register_service(wrong).await?;
        for (id, text) in [
            ("silent", "not open within 1s"),
            ("wrong", "session description"),
        ] {
            let options = local().timeout(Duration::from_secs(1));
            match caller.get_rtc_service(id, options).await {
                Err(Error::Connect(error)) => {
                    ensure!(error.kind() == ConnectErrorKind::PeerConnection, "{error}");
                    let said = error.to_string();
                    ensure!(said.contains(text) && said.contains(id), "{said}");
                }
                other => anyhow::bail!("{id}: {other:?}"),
            }
        }
        Ok(())
    });
}

#[test]
fn a_silent_stun_server_delays_a_connection_by_seconds() {
    run(Kind::Ours, &[], async |server| {
        let silent = UdpSocket::bind("127.0.0.1:0")?;
        let stun = IceServer::new(format!("stun:{}", silent.local_addr()?));
        let options = || RtcOptions::new().ice_servers([stun.clone()]);
        let (_host, caller, _reports) = clients(&server.url, options()).await?;
        let begin = Instant::now();
        let peer = caller.get_rtc_service("rtc", options()).await?;
        // Each side waits 2 s.
        let elapsed = begin.elapsed();
        ensure!(elapsed < Duration::from_secs(8), "{elapsed:?}");
        let direct: DirectProxy = peer.proxy("direct").await?;
        ensure!(direct.echo(Bytes::from_static(b"x")).await? == "x");
        Ok(())
    });
}

/// Connects a client that opens and accepts direct connections, in the workspace of `token`.
async fn automatic(url: &str, workspace: &str, token: &str, id: &str) -> Result<Client> {
    let options = hypha_rpc::connect(url).workspace(workspace).token(token);
    Ok(options.client_id(id).webrtc(local()).await?)
}

/// Connects a client that owns a workspace. Returns it with the name of the workspace and a token.
async fn owner(url: &str) -> Result<(Client, String, String)> {
    let owner = hypha_rpc::connect(url).client_id("owner").await?;
    let token = owner.manager().await?.generate_token(None).await?;
    let workspace = owner.workspace();
    Ok((owner, workspace, token))
}

/// Registers the service `direct` at a client.
async fn host(client: &Client) -> Result<mpsc::UnboundedReceiver<&'static str>> {
    let (report, reports) = mpsc::unbounded_channel();
    let service = DirectService::new(Impl(report));
    client.register_service(service).await?;
    Ok(reports)
}

/// Returns the transport of a call: `webrtc` or `websocket`.
async fn transport(direct: &DirectProxy) -> Result<String, Error> {
    direct
        .caller()
        .await
        .map(|(_, _, _, transport)| transport)
        .map_err(Error::untyped::<std::convert::Infallible>)
}

#[test]
fn a_lookup_opens_a_direct_connection() {
    run(Kind::Ours, &[], async |server| {
        let (owner, workspace, token) = owner(&server.url).await?;
        let host = automatic(&server.url, &workspace, &token, "auto-host").await?;
        let _reports = self::host(&host).await?;
        let caller = automatic(&server.url, &workspace, &token, "auto-caller").await?;
        let begin = Instant::now();
        let direct: DirectProxy = caller.proxy("auto-host:direct").await?;
        let seen = direct.caller().await?;
        println!("the lookup and the first call took {:?}", begin.elapsed());
        let expected = (
            format!("{workspace}/auto-caller"),
            workspace.clone(),
            caller.user().id,
            "webrtc".to_owned(),
        );
        ensure!(seen == expected, "{seen:?}");

        // The calls do not pass through the server.
        let before = caller.stats();
        exercise(&direct).await?;
        let after = caller.stats();
        let sent = after.bytes_sent - before.bytes_sent;
        ensure!(sent < 10_000, "{sent} bytes");
        ensure!(after.calls_made > before.calls_made, "{after:?}");

        // Objects of other connections are forwarded over the channel, and the other way round.
        let listener = Callback::new(|text: String| async move { format!("heard {text}") });
        let relay =
            Service::new("relay").method(Method::new("listener", move |call: IncomingCall| {
                let listener = listener.clone();
                async move { call.reply(&listener) }
            }));
        owner.register_service(relay).await?;
        let relay = caller.get_service("owner:relay").await?;
        let listener: Callback<String, String> = relay.call("listener", args!()).await?;
        let told = direct.tell(listener).await;
        ensure!(told.map_err(Error::untyped::<std::convert::Infallible>)? == "heard news");

        // A client without the option calls the same service through the server.
        let plain: DirectProxy = owner.proxy("auto-host:direct").await?;
        ensure!(transport(&plain).await? == "websocket");

        // Direct connections close with the connection to the server.
        caller.disconnect().await;
        let outcome = direct.caller().await;
        ensure!(
            matches!(outcome, Err(Error::Disconnected(_))),
            "{outcome:?}"
        );
        Ok(())
    });
}

#[test]
fn without_a_direct_connection_calls_pass_through_the_server() {
    run(Kind::Ours, &[], async |server| {
        let (host, workspace, token) = owner(&server.url).await?;
        let _reports = self::host(&host).await?;
        host.register_rtc_service("real", local()).await?;
        let real = host.get_service("real").await?;
        let caller = async |id| automatic(&server.url, &workspace, &token, id).await;
        let check = async |caller: Client| {
            let begin = Instant::now();
            let direct: DirectProxy = caller.proxy("owner:direct").await?;
            ensure!(
                begin.elapsed() < Duration::from_secs(6),
                "{:?}",
                begin.elapsed()
            );
            ensure!(transport(&direct).await? == "websocket");
            exercise(&direct).await
        };
        // The host does not accept direct connections.
        check(caller("first").await?)
            .await
            .context("no signaling")?;
        let register = async |offer: Method| {
            let signaling = Service::new("owner-rtc").config("automatic", true);
            let signaling = signaling.method(offer);
            host.register_service(signaling).overwrite(true).await
        };
        register(Method::new("offer", |_: IncomingCall| {
            std::future::pending()
        }))
        .await?;
        check(caller("second").await?).await.context("no answer")?;
        register(Method::new("offer", |call: IncomingCall| async move {
            call.reply(&json!({"sdp": "v=0\r\nnonsense", "type": "answer"}))
        }))
        .await?;
        check(caller("third").await?)
            .await
            .context("a bad answer")?;
        // Neither side knows an address of the other side, so that ICE finds no path.
        register(Method::new("offer", move |call: IncomingCall| {
            let real = real.clone();
            async move {
                let offer = call.args(&["params"])?.required::<serde_json::Value>(0)?;
                let answer = real.call::<serde_json::Value>("offer", args!(unreachable(offer)));
                let answer = answer.await.map_err(|e| e.to_wire())?;
                call.reply(&unreachable(answer))
            }
        }))
        .await?;
        check(caller("fourth").await?).await.context("no path")
    });
}

/// Removes the candidates from a session description.
fn unreachable(mut description: serde_json::Value) -> serde_json::Value {
    let sdp = description["sdp"].as_str().unwrap_or_default();
    let kept = sdp.lines().filter(|line| !line.starts_with("a=candidate"));
    let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
    description["sdp"] = kept.into();
    description
}

#[test]
fn a_lost_direct_connection_is_replaced() {
    run_blocking(Kind::Ours, &[], |server| {
        let kept = Runtime::new()?;
        let (_owner, workspace, token) = kept.block_on(owner(&server.url))?;
        let start = async || {
            let host = automatic(&server.url, &workspace, &token, "lost-host").await?;
            let reports = self::host(&host).await?;
            anyhow::Ok((host, reports))
        };
        // The host has its own runtime. Without it, its tasks stop without any cleanup.
        let lost = Runtime::new()?;
        let (first, mut reports) = lost.block_on(start())?;
        let caller = kept.block_on(automatic(&server.url, &workspace, &token, "auto-caller"))?;
        let direct: DirectProxy = kept.block_on(caller.proxy("lost-host:direct").into_future())?;
        ensure!(kept.block_on(transport(&direct))? == "webrtc");
        let waiting = kept.spawn(direct.wait().into_future());
        ensure!(kept.block_on(reported(&mut reports))? == "begun");
        #[expect(clippy::mem_forget, reason = "a killed program runs no destructor")]
        std::mem::forget(first);
        lost.shutdown_background();
        let outcome = kept.block_on(waiting)?;
        ensure!(
            matches!(outcome, Err(Error::Disconnected(_))),
            "{outcome:?}"
        );
        kept.block_on(async {
            let (_host, _reports) = start().await?;
            ensure!(transport(&direct).await? == "websocket");
            exercise(&direct).await?;
            let begin = Instant::now();
            // A pause of at most 7.5 s, and the time to open a connection.
            while transport(&direct).await? != "webrtc" {
                ensure!(begin.elapsed() < NOTICED, "no connection is opened");
            }
            exercise(&direct).await
        })
    });
}

#[test]
fn python_opens_a_direct_connection_automatically() {
    run(Kind::Ours, &[Language::Python], async |server| {
        let (_owner, workspace, token) = owner(&server.url).await?;
        let host = automatic(&server.url, &workspace, &token, "auto-host").await?;
        let _reports = self::host(&host).await?;
        let options = ["--client-id", "py", "--automatic"];
        let process = python(&server.url, &workspace, &token, &options)?;
        let seen = said(&process, "DONE ").await?;
        let seen: serde_json::Value = serde_json::from_str(&seen)?;
        let user = &seen["caller"][2];
        let expected = json!({
            "caller": [format!("{workspace}/py"), workspace, user, "webrtc"],
            "direct": true,
            "sizes": SIZES,
        });
        ensure!(seen == expected, "{seen}");

        // The services of a Python client are called through the server, where they have their
        // permissions and accept values of any size.
        let id = said(&process, "READY ").await?;
        let caller = automatic(&server.url, &workspace, &token, "auto-caller").await?;
        let service = caller.get_service(&id).await?;
        let seen: (String, String) = service.call("caller", args!()).await?;
        ensure!(
            seen == (format!("{workspace}/auto-caller"), workspace),
            "{seen:?}"
        );
        let echoed: Bytes = service.call("echo", args!(data(LARGE))).await?;
        ensure!(echoed == data(LARGE), "other bytes");
        process.terminate()?;
        Ok(())
    });
}

/// Sizes of values that a peer in another language sends and gets back, in bytes.
const SIZES: [usize; 4] = [1, 60_000, 200_000, LARGE];

/// Waits for a line of a peer. The callbacks of the tests need the thread meanwhile.
async fn said(process: &Arc<Process>, prefix: &'static str) -> Result<String> {
    let process = Arc::clone(process);
    let waiting = move || {
        let line = process.wait_for_prefix(LIMIT, prefix);
        line.with_context(|| process.transcript(0))
    };
    tokio::task::spawn_blocking(waiting).await?
}

/// Sends values of several sizes to a service in another language. The other clients cannot return
/// the large ones, because their chunks do not fit into a message.
async fn check_sizes(service: &RemoteService) -> Result<()> {
    for len in SIZES {
        let length: usize = service.call("length", args!(data(len))).await?;
        ensure!(length == len, "{length} of {len} bytes");
        if len < LARGE {
            let echoed: Bytes = service.call("echo", args!(data(len))).await?;
            ensure!(
                echoed == data(len),
                "other bytes than the {len} that were sent"
            );
        }
    }
    Ok(())
}

/// Starts a Python peer.
fn python(url: &str, workspace: &str, token: &str, options: &[&str]) -> Result<Arc<Process>> {
    let mut command = python_program("webrtc_peer.py")?;
    command.args([
        "--server-url",
        url,
        "--workspace",
        workspace,
        "--token",
        token,
    ]);
    command.args(options);
    Ok(Arc::new(Process::start("the Python peer", &command)?))
}

#[test]
fn python_calls_rust() {
    run(Kind::Ours, &[Language::Python], async |server| {
        let (host, caller, _reports) = clients(&server.url, local()).await?;
        let token = caller.manager().await?.generate_token(None).await?;
        let workspace = host.workspace();
        let process = python(
            &server.url,
            &workspace,
            &token,
            &["--client-id", "py", "--call"],
        )?;
        let said = said(&process, "DONE ").await?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let expected = json!({
            "caller": [format!("{workspace}/py"), workspace, said["caller"][2], "webrtc"],
            "tell": "heard news",
            "numbers": [0, 1, 2, 3, 4],
            "add": [2.0, 4.0],
            "refuse": true,
            "sizes": SIZES,
        });
        ensure!(said == expected, "{said}");
        Ok(())
    });
}

#[test]
fn rust_calls_python() {
    run(Kind::Ours, &[Language::Python], async |server| {
        let (host, caller, _reports) = clients(&server.url, local()).await?;
        let token = caller.manager().await?.generate_token(None).await?;
        let process = python(&server.url, &host.workspace(), &token, &[])?;
        let rtc = said(&process, "READY ").await?;
        let peer = caller.get_rtc_service(&rtc, local()).await?;
        let service = peer.get_service("python")?.await?;
        let listener = Callback::new(|text: String| async move { format!("heard {text}") });
        let told: String = service.call("tell", args!(listener)).await?;
        ensure!(told == "heard news", "{told}");
        let array = NdArray::from_vec([2], vec![1.0, 2.0])?;
        let sum: NdArray = service.call("add", args!(array.clone(), array)).await?;
        ensure!(sum.to_vec::<f64>()? == [2.0, 4.0]);
        let error = service.call::<Value>("refuse", args!()).await;
        let error = error.err().context("no error")?;
        ensure!(error.to_string().contains("on purpose"), "{error}");
        check_sizes(&service).await?;
        peer.disconnect().await;
        process.terminate()?;
        Ok(())
    });
}

/// Starts a page in Chromium with the client id `page`.
fn page(
    browser: &Path,
    url: &str,
    workspace: &str,
    token: &str,
    options: &[&str],
) -> Result<Arc<Process>> {
    let mut command = javascript_program("webrtc_page.mjs")?;
    command.args(["--server-url", url, "--workspace", workspace]);
    command.args(["--token", token, "--client-id", "page"]);
    command.arg("--browser").arg(browser).args(options);
    Ok(Arc::new(Process::start("the page", &command)?))
}

/// Calls the service of a page.
async fn call_page(service: &RemoteService) -> Result<()> {
    let listener = Callback::new(|text: String| async move { format!("heard {text}") });
    let told: String = service.call("tell", args!(listener)).await?;
    ensure!(told == "heard news", "{told}");
    check_sizes(service).await
}

#[test]
fn rust_and_a_page_in_chromium_call_each_other() {
    let Some(browser) = program_or_skip(chromium()) else {
        return;
    };
    run(Kind::Ours, &[Language::JavaScript], async |server| {
        let (host, caller, _reports) = clients(&server.url, local()).await?;
        let workspace = host.workspace();
        let token = caller.manager().await?.generate_token(None).await?;
        let process = page(&browser, &server.url, &workspace, &token, &[])?;
        let said = said(&process, "DONE ").await?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let expected = json!({
            "caller": [format!("{workspace}/page"), workspace, said["caller"][2], "webrtc"],
            "tell": "heard news",
            "numbers": [0, 1, 2, 3, 4],
            "refuse": true,
            "sizes": SIZES,
        });
        ensure!(said == expected, "{said}");

        let rtc = self::said(&process, "READY ").await?;
        let peer = caller.get_rtc_service(&rtc, local()).await?;
        call_page(&peer.get_service("page")?.await?).await?;
        peer.disconnect().await;
        process.terminate()?;
        Ok(())
    });
}

#[test]
fn a_page_in_chromium_opens_a_direct_connection_automatically() {
    let Some(browser) = program_or_skip(chromium()) else {
        return;
    };
    run(Kind::Ours, &[Language::JavaScript], async |server| {
        let (_owner, workspace, token) = owner(&server.url).await?;
        let host = automatic(&server.url, &workspace, &token, "auto-host").await?;
        let _reports = self::host(&host).await?;
        let options = ["--automatic", "auto-host:direct"];
        let process = page(&browser, &server.url, &workspace, &token, &options)?;
        let seen = said(&process, "DONE ").await?;
        let seen: serde_json::Value = serde_json::from_str(&seen)?;
        let expected = json!({
            "direct": true,
            "caller": [format!("{workspace}/page"), workspace, seen["caller"][2], "webrtc"],
            "tell": "heard news",
            "numbers": [0, 1, 2, 3, 4],
            "refuse": true,
            "sizes": SIZES,
        });
        ensure!(seen == expected, "{seen}");

        // The services of a page are called through the server, like those of Python, and return
        // values of any size.
        let id = said(&process, "READY ").await?;
        let caller = automatic(&server.url, &workspace, &token, "auto-caller").await?;
        let service = caller.get_service(&id).await?;
        call_page(&service).await?;
        let echoed: Bytes = service.call("echo", args!(data(LARGE))).await?;
        ensure!(echoed == data(LARGE), "other bytes");
        process.terminate()?;
        Ok(())
    });
}

#[test]
fn bad_offers_are_refused() {
    run(Kind::Ours, &[], async |server| {
        let pair = pair(&server.url).await?;
        let signaling = pair.caller.get_service("rtc").await?;
        let many = "a=candidate:1 1 UDP 1 127.0.0.1 1 typ host\r\n".repeat(10_000);
        for (sdp, kind) in [
            (String::new(), "offer"),
            ("v=0\r\n".into(), "answer"),
            ("\0\u{1f600}=".repeat(1000), "offer"),
            (
                "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".into(),
                "offer",
            ),
            (many, "offer"),
        ] {
            let begin = Instant::now();
            let offer = json!({"sdp": sdp, "type": kind});
            let answer = signaling.call::<Value>("offer", args!(offer)).await;
            ensure!(answer.is_err(), "{kind} {sdp:.40}: {answer:?}");
            ensure!(
                begin.elapsed() < Duration::from_secs(10),
                "{:?}",
                begin.elapsed()
            );
        }
        let answer = signaling.call::<Value>("offer", args!(1)).await;
        ensure!(answer.is_err(), "{answer:?}");
        exercise(&pair.direct).await
    });
}

/// TURN server of the package `coturn`, with one user.
struct TurnServer {
    process: Process,
    port: u16,
}

impl TurnServer {
    fn start(program: &Path) -> Result<Self> {
        let port = free_port()?;
        let mut command = std::process::Command::new(program);
        command.arg(format!("--listening-port={port}"));
        command.args([
            "-n",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            "--allow-loopback-peers",
            "--lt-cred-mech",
            "--user=guest:secret",
            "--realm=test",
            "--no-tls",
            "--no-dtls",
            "--no-tcp",
            "--no-tcp-relay",
            "--no-cli",
            "--log-file=stdout",
            "--simple-log",
            "--verbose",
            "--pidfile=/dev/null",
        ]);
        let process = Process::start("the TURN server", &command)?;
        let opened = |line: &str| line.contains("UDP listener opened").then_some(());
        process.wait_for_line(LIMIT, opened)?;
        Ok(TurnServer { process, port })
    }

    fn url(&self) -> String {
        format!("turn:127.0.0.1:{}", self.port)
    }

    /// Returns options with which all packets pass through this server.
    fn options(&self, password: &str) -> RtcOptions {
        let server = IceServer::new(self.url()).credentials("guest", password);
        RtcOptions::new().ice_servers([server]).relay_only(true)
    }

    /// Waits until the server reports a session that received more than `bytes`.
    async fn relayed(self, bytes: usize) -> Result<()> {
        let waiting = move || {
            self.process.wait_for_line(LIMIT, |line| {
                let (_, counted) = line.split_once(" rb=")?;
                let counted = counted.split(|c: char| !c.is_ascii_digit()).next()?;
                (counted.parse::<usize>().ok()? > bytes).then_some(())
            })
        };
        tokio::task::spawn_blocking(waiting).await?
    }
}

#[test]
fn everything_passes_through_a_turn_server() {
    let Some(program) = program_or_skip(turn_server()) else {
        return;
    };
    run(Kind::Ours, &[], async |server| {
        let turn = TurnServer::start(&program)?;
        let (_host, caller, _reports) = clients(&server.url, turn.options("secret")).await?;
        let begin = Instant::now();
        let peer = caller
            .get_rtc_service("rtc", turn.options("secret"))
            .await?;
        // Without the runtime of the client, it takes 6 s.
        ensure!(
            begin.elapsed() < Duration::from_secs(5),
            "{:?}",
            begin.elapsed()
        );
        let direct: DirectProxy = peer.proxy("direct").await?;
        tokio::time::timeout(Duration::from_secs(40), exercise(&direct)).await??;
        peer.disconnect().await;
        turn.relayed(LARGE).await
    });
}

/// Registers a service that returns STUN and TURN servers, and counts its calls.
async fn register_ice_servers(client: &Client, servers: serde_json::Value) -> Result<Calls> {
    let calls = Calls::default();
    let counted = Arc::clone(&calls);
    let method = Method::new("get_rtc_ice_servers", move |call: IncomingCall| {
        counted.fetch_add(1, Ordering::Relaxed);
        let servers = servers.clone();
        async move { call.reply(&servers) }
    });
    let service = Service::new("coturn").method(method);
    client.register_service(service).await?;
    Ok(calls)
}

type Calls = Arc<AtomicUsize>;

#[test]
fn a_service_gives_turn_servers() {
    let Some(program) = program_or_skip(turn_server()) else {
        return;
    };
    run(Kind::Ours, &[], async |server| {
        let turn = TurnServer::start(&program)?;
        let relayed = || local().relay_only(true).ice_service("coturn");
        let (host, caller, _reports) = clients(&server.url, relayed()).await?;
        let servers = json!([
            {"urls": "turn:without.credentials"},
            {"urls": ["nonsense", "turn:127.0.0.1:1?transport=carrier-pigeon", turn.url()],
             "username": "guest", "credential": "secret"},
            {"urls": "stun:127.0.0.1:1", "username": null},
        ]);
        let calls = register_ice_servers(&host, servers).await?;
        // Both sides ask it.
        for least in [2, 3] {
            let peer = caller.get_rtc_service("rtc", relayed()).await?;
            let direct: DirectProxy = peer.proxy("direct").await?;
            exercise(&direct).await?;
            peer.disconnect().await;
            let calls = calls.load(Ordering::Relaxed);
            ensure!((least..=4).contains(&calls), "{calls} calls");
        }
        turn.relayed(LARGE).await
    });
}

#[test]
fn offers_do_not_set_the_rate_of_calls_for_ice_servers() {
    run(Kind::Ours, &[], async |server| {
        let asks = || local().ice_service("coturn");
        let (host, caller, _reports) = clients(&server.url, asks()).await?;
        let calls = register_ice_servers(&host, json!([])).await?;
        let signaling = caller.get_service("rtc").await?;
        for (sdp, kind) in [
            ("nonsense".to_owned(), "offer"),
            ("v=0\r\n".to_owned(), "answer"),
            ("a".repeat(100_000), "offer"),
        ] {
            let offer = json!({"sdp": sdp, "type": kind});
            let answer = signaling.call::<Value>("offer", args!(offer)).await;
            ensure!(answer.is_err(), "{kind} {sdp:.40}: {answer:?}");
        }
        let after_garbage = calls.load(Ordering::Relaxed);
        ensure!(after_garbage == 0, "{after_garbage} calls");
        // The answering side uses the servers of its first call again.
        let begin = Instant::now();
        let open = || caller.get_rtc_service("rtc", local());
        let opened = tokio::try_join!(open(), open(), open())?;
        let calls = calls.load(Ordering::Relaxed);
        // It may ask again after 10 s.
        let most = 1 + begin.elapsed().as_secs() as usize / 10;
        ensure!((1..=most).contains(&calls), "{calls} calls");
        drop(opened);
        Ok(())
    });
}

#[test]
fn a_failing_service_for_ice_servers_fails_no_connection() {
    run(Kind::Ours, &[], async |server| {
        let asks = || local().ice_service("coturn");
        let (host, caller, _reports) = clients(&server.url, asks()).await?;
        for servers in [None, Some(json!("none")), Some(json!([{"url": 1}]))] {
            let registered = servers.is_some();
            if let Some(servers) = servers {
                register_ice_servers(&host, servers).await?;
            }
            let peer = caller.get_rtc_service("rtc", asks()).await?;
            let direct: DirectProxy = peer.proxy("direct").await?;
            ensure!(direct.echo(Bytes::from_static(b"x")).await? == "x");
            if registered {
                host.unregister_service("coturn").await?;
            }
        }
        let silent = Method::new("get_rtc_ice_servers", |_| std::future::pending());
        host.register_service(Service::new("coturn").method(silent))
            .await?;
        let begin = Instant::now();
        caller.get_rtc_service("rtc", asks()).await?;
        // Each side waits 2 s.
        ensure!(
            begin.elapsed() < Duration::from_secs(10),
            "{:?}",
            begin.elapsed()
        );
        Ok(())
    });
}

#[test]
fn without_a_turn_server_nothing_is_relayed() {
    let Some(program) = program_or_skip(turn_server()) else {
        return;
    };
    run(Kind::Ours, &[], async |server| {
        let turn = TurnServer::start(&program)?;
        let (_host, caller, _reports) = clients(&server.url, local()).await?;
        for options in [turn.options("wrong"), local().relay_only(true)] {
            match caller.get_rtc_service("rtc", options).await {
                Err(Error::Connect(error)) => {
                    ensure!(error.kind() == ConnectErrorKind::PeerConnection, "{error}");
                    let said = error.to_string();
                    ensure!(said.contains("TURN") && !said.contains("wrong"), "{said}");
                    ensure!(!said.contains("turn:"), "{said}");
                }
                other => anyhow::bail!("{other:?}"),
            }
        }
        // The other side refuses, too, and does not tell its servers.
        let host = caller.register_rtc_service("hidden", turn.options("wrong"));
        let refused = caller.get_rtc_service(host.await?.id, local()).await;
        let said = refused.err().context("no error")?.to_string();
        ensure!(said.contains("TURN") && !said.contains("turn:"), "{said}");
        Ok(())
    });
}

#[test]
fn python_and_rust_call_each_other_through_a_turn_server() {
    let Some(program) = program_or_skip(turn_server()) else {
        return;
    };
    run(Kind::Ours, &[Language::Python], async |server| {
        let turn = TurnServer::start(&program)?;
        let (host, caller, _reports) = clients(&server.url, turn.options("secret")).await?;
        let token = caller.manager().await?.generate_token(None).await?;
        let (workspace, relay) = (host.workspace(), turn.url());
        let options = ["--client-id", "py", "--relay", &relay, "--call"];
        let process = python(&server.url, &workspace, &token, &options)?;
        let said: serde_json::Value = serde_json::from_str(&said(&process, "DONE ").await?)?;
        ensure!(said["sizes"] == json!(SIZES), "{said}");

        let process = python(&server.url, &workspace, &token, &options[2..4])?;
        let rtc = self::said(&process, "READY ").await?;
        let peer = caller.get_rtc_service(&rtc, turn.options("secret")).await?;
        let service = peer.get_service("python")?.await?;
        let listener = Callback::new(|text: String| async move { format!("heard {text}") });
        let told: String = service.call("tell", args!(listener)).await?;
        ensure!(told == "heard news", "{told}");
        check_sizes(&service).await?;
        peer.disconnect().await;
        process.terminate()?;
        turn.relayed(LARGE).await
    });
}

/// Maximum growth of the memory of this process during an attack, in bytes. The attacks send more
/// than that, or make the other side send it.
const MEMORY: usize = 128 << 20;

/// Returns the memory that this process uses, in bytes.
fn resident() -> Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(size.context("no VmRSS")?.parse::<usize>()? << 10)
}

/// Runs an attack of the Python peer on the host of `pair`, and returns the observations of the
/// peer. Meanwhile, each call of another client must end in time, and the memory must be bounded.
async fn attack(url: &str, pair: &Pair, name: &str) -> Result<serde_json::Value> {
    let token = pair.caller.manager().await?.generate_token(None).await?;
    let process = python(url, &pair.host.workspace(), &token, &[name])?;
    let attack = said(&process, "DONE ");
    tokio::pin!(attack);
    let (before, mut most) = (resident()?, 0);
    let seen = loop {
        let call = pair
            .direct
            .echo(Bytes::from_static(b"x"))
            .timeout(Duration::from_secs(10));
        tokio::select! {
            seen = &mut attack => break seen?,
            echoed = call.into_future() => ensure!(echoed? == "x"),
        }
        most = most.max(resident()?);
    };
    let growth = most.saturating_sub(before);
    println!("{name}: {growth} bytes");
    ensure!(growth < MEMORY, "the memory grew by {growth} bytes");
    exercise(&pair.direct).await?;
    Ok(serde_json::from_str(&seen)?)
}

#[test]
fn messages_larger_than_the_maximum_use_bounded_memory() {
    run(Kind::Ours, &[Language::Python], async |server| {
        let pair = pair(&server.url).await?;
        let seen = attack(&server.url, &pair, "--oversize").await?;
        // A message that fits into the receive window is dropped. A larger one fills the window, so
        // that nothing behind it arrives.
        ensure!(seen == json!(["works", "fails"]), "{seen}");
        Ok(())
    });
}

#[test]
fn a_peer_that_acknowledges_nothing_uses_bounded_memory() {
    run(Kind::Ours, &[Language::Python], async |server| {
        let pair = pair(&server.url).await?;
        let seen = attack(&server.url, &pair, "--stop-acknowledging").await?;
        // The host drops such a peer after 60 to 120 s, for which this test does not wait.
        ensure!(seen == 0, "{seen}");
        Ok(())
    });
}

#[test]
fn attacks_disturb_no_other_connection() {
    run(Kind::Ours, &[Language::Python], async |server| {
        let pair = pair(&server.url).await?;
        let seen = attack(&server.url, &pair, "--attack").await?;
        // One client may have 16 connections. The attacker has one, and 20 more are offered.
        let expected = json!({"channels": "closed", "garbage": "open", "refused": 5});
        ensure!(seen == expected, "{seen}");
        Ok(())
    });
}
