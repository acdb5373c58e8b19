//! Tests that connections survive faults: killed servers, links that are closed, stalled or slow,
//! and a thousand clients that reconnect at once. The servers are separate programs. The clients
//! run in this process, so that the test can count their tasks.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use hypha_rpc::args;
use hypha_rpc::client::{Backoff, CloseReason, State};
use hypha_rpc::error::{ConnectErrorKind, Lost};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{Method, Service};
use hypha_rpc::transport::Transport;
use hypha_rpc::workspace::WorkspaceConfig;
use hypha_rpc_tests::peers::{self, or_skip};
use hypha_rpc_tests::proxy::{NetworkState, Proxy};
use hypha_rpc_tests::servers::{Kind, ROOT_TOKEN, Server, Setup};
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

/// Maximum time until an event that is expected soon.
const SOON: Duration = Duration::from_secs(90);

/// Runs `work` in a new runtime, and checks that no task remains afterwards.
fn run<F>(kind: Kind, work: impl FnOnce() -> F)
where
    F: Future<Output = Result<()>>,
{
    if kind == Kind::Python && or_skip(peers::python()).is_none() {
        return;
    }
    let runtime = Runtime::new().expect("a runtime");
    let outcome = runtime.block_on(async {
        work().await?;
        eventually("tasks are left", async || {
            Ok(tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
                == 0)
        })
        .await
    });
    if let Err(error) = outcome {
        panic!("with {kind}: {error:?}");
    }
}

async fn eventually(what: &str, check: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !check().await? {
        ensure!(begin.elapsed() < SOON, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn start(kind: Kind, setup: &Setup) -> Result<Server> {
    let setup = setup.clone();
    spawn_blocking(move || Server::start_as(kind, &setup)).await?
}

/// Kills a server with SIGKILL.
async fn kill(server: Server) -> Result<()> {
    Ok(spawn_blocking(move || drop(server)).await?)
}

/// Time after which a connection counts as stable and resets the backoff (`Backoff::stable`).
const STABLE: Duration = Duration::from_millis(100);

/// Waits until the existing connections count as stable.
async fn settle() {
    tokio::time::sleep(STABLE * 2).await;
}

/// Returns a backoff with short, randomized pauses.
fn quick(kind: Kind) -> Backoff {
    let mut backoff = Backoff::default().longest(Duration::from_secs(2));
    backoff.stable = STABLE;
    // The Python server drops a call to a client that has not reconnected yet, and reports no
    // error. Therefore a caller that reconnects much sooner than the host would have to wait for
    // the idle timeout of its call.
    if kind == Kind::Ours {
        backoff.spread = Duration::from_millis(300);
        backoff.first = Duration::from_millis(300);
        backoff.longest = Duration::from_secs(1);
    }
    backoff
}

fn echo() -> Service {
    let echo = Method::new("echo", |call| async move {
        let value: Value = call.args(&["value"])?.required(0)?;
        call.reply(&value)
    });
    Service::new("echo")
        .visibility(Visibility::Public)
        .method(echo)
}

/// Connects a client that provides the service `echo`. Returns the client and the full id of the
/// service.
async fn host(server: &Server) -> Result<(Client, String)> {
    let host = hypha_rpc::connect(&server.url)
        .reconnect(quick(server.kind))
        .await?;
    let id = host.register_service(echo()).await?.id;
    Ok((host, id))
}

/// Waits until the client has no calls, sessions or exported objects. A call from the server may
/// still be running.
async fn nothing_is_left(client: &Client) -> Result<()> {
    let left = async || {
        let stats = client.stats();
        let left = (stats.sessions, stats.running, stats.waiting, stats.objects);
        Ok(left == (0, 0, 0, 0))
    };
    let outcome = eventually("the client is not idle", left).await;
    outcome.with_context(|| format!("{:?}", client.stats()))
}

async fn leave(clients: impl IntoIterator<Item = Client>) -> Result<()> {
    for client in clients {
        client.disconnect().await;
        nothing_is_left(&client).await?;
    }
    Ok(())
}

/// Counters that the 64 callers share.
#[derive(Default)]
struct Seen {
    made: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    /// Number of successful calls of each caller.
    each: Vec<AtomicU64>,
    stop: AtomicBool,
}

async fn call_on(service: RemoteService, caller: usize, seen: Arc<Seen>) -> Result<()> {
    while !seen.stop.load(Ordering::SeqCst) {
        let n = seen.made.fetch_add(1, Ordering::SeqCst);
        let mut call = service.call::<u64>("echo", args!(n)).timeout(SOON);
        if caller.is_multiple_of(2) {
            call = call.idempotent();
        }
        match call.await {
            Ok(answer) => {
                ensure!(
                    answer == n,
                    "{answer} is the answer of another call than {n}"
                );
                seen.answered.fetch_add(1, Ordering::SeqCst);
                seen.each[caller].fetch_add(1, Ordering::SeqCst);
            }
            // The host or this client may not have reconnected yet.
            Err(error) if error.is_retryable() || matches!(error, Error::Rejected(_)) => {
                seen.failed.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => bail!("call {n}: {error:?}"),
        }
    }
    Ok(())
}

/// A test holds this lock while it keeps all processors busy, so that no two such tests run at the
/// same time. If each test runs in its own process, the group `busy` in `.config/nextest.toml` has
/// the same effect.
static BUSY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn killed_under_callers(kind: Kind) -> Result<()> {
    let _turn = BUSY.lock().await;
    const CALLERS: usize = 64;
    // The Python server takes ten seconds to start, so use fewer rounds.
    let rounds = if kind == Kind::Python { 4 } else { 20 };
    let setup = Setup::restartable()?;
    let mut server = start(kind, &setup).await?;
    let (host, id) = host(&server).await?;
    let caller = hypha_rpc::connect(&server.url)
        .reconnect(quick(kind))
        .await?;
    let service = caller.get_service(&id).await?;
    let seen = Arc::new(Seen {
        each: (0..CALLERS).map(|_| AtomicU64::new(0)).collect(),
        ..Seen::default()
    });
    let callers = (0..CALLERS).map(|n| call_on(service.clone(), n, Arc::clone(&seen)));
    let callers: Vec<_> = callers.map(tokio::spawn).collect();
    for round in 0..rounds {
        // The last pause is longer than the longest backoff of the clients (see `quick`).
        let pause = Duration::from_secs([0, 1, 0, 1, 0, 1, 0, 1, 0, 3][round % 10]);
        settle().await;
        kill(server).await?;
        tokio::time::sleep(pause).await;
        server = start(kind, &setup).await?;
        let before: Vec<u64> = seen.each.iter().map(|n| n.load(Ordering::SeqCst)).collect();
        let all = eventually("some caller gets no answer any more", async || {
            ensure!(
                !callers.iter().any(|c| c.is_finished()),
                "a caller has given up"
            );
            let now = seen.each.iter().map(|n| n.load(Ordering::SeqCst));
            Ok(now.zip(&before).all(|(now, before)| now > *before))
        });
        all.await
            .with_context(|| format!("round {round}: {:?}, {:?}", host.state(), caller.state()))?;
        // Calls can succeed before the client has counted the reconnect.
        eventually("a client has not counted its reconnect", async || {
            let returns = [&host, &caller].map(|client| client.stats().reconnects);
            Ok(returns.iter().all(|returns| *returns > round as u64))
        })
        .await?;
    }
    seen.stop.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await??;
    }
    let [made, answered, failed] =
        [&seen.made, &seen.answered, &seen.failed].map(|n| n.load(Ordering::SeqCst));
    ensure!(
        made == answered + failed,
        "{made} calls, {answered} answers, {failed} failures"
    );
    println!("{kind}: {made} calls, {answered} answered, {failed} failed in {rounds} restarts");
    let known = host.list_services(None).await?;
    ensure!(known.iter().any(|s| s.id.ends_with(":echo")), "{known:?}");
    drop(service);
    leave([host, caller]).await?;
    kill(server).await
}

/// Closes a link at several positions of a chunked message.
async fn cut_in_the_middle(kind: Kind) -> Result<()> {
    let server = start(kind, &Setup::default()).await?;
    let proxy = Proxy::start(&server.url).await?;
    let (host, id) = host(&server).await?;
    let caller = hypha_rpc::connect(&proxy.url)
        .reconnect(quick(kind))
        .await?;
    let service = caller.get_service(&id).await?;
    // The client sends the payload in chunks of 256 KiB. Together with all other messages, it sends
    // about 1.6 MB.
    let payload: Binary = (0..1_500_000u32)
        .map(|n| n as u8)
        .collect::<Vec<u8>>()
        .into();
    for cut in (0..1_600_000).step_by(200_000) {
        settle().await;
        proxy.cut_after(cut);
        let echoed = service.call::<Binary>("echo", args!(payload)).await;
        match echoed {
            Err(Error::Disconnected(error)) if error.lost == Lost::Link => {}
            other => bail!("cut after {cut} bytes: {:?}", other.map(|b| b.len())),
        }
        // The next call waits until the client has reconnected.
        proxy.cut_after(cut);
        let echoed = service
            .call::<Binary>("echo", args!(payload))
            .idempotent()
            .timeout(SOON);
        ensure!(echoed.await? == payload, "another payload came back");
    }
    eventually("sessions are left", async || {
        Ok(caller.stats().sessions == 0)
    })
    .await?;
    drop(service);
    leave([caller, host]).await?;
    drop(proxy);
    kill(server).await
}

/// Stalls a link without closing it. Later makes the link slow.
async fn stalled_and_slow(kind: Kind) -> Result<()> {
    let server = start(kind, &Setup::default()).await?;
    let proxy = Proxy::start(&server.url).await?;
    let (host, id) = host(&server).await?;
    let limit = Duration::from_secs(2);
    let caller = hypha_rpc::connect(&proxy.url)
        .reconnect(quick(kind))
        .connect_timeout(limit)
        .ping_interval(limit)
        .ping_timeout(limit)
        .await?;
    let service = caller.get_service(&id).await?;
    let call = |n: u64| service.call::<u64>("echo", args!(n)).timeout(SOON);

    proxy.set_network(NetworkState::Slow(Duration::from_millis(200)));
    for n in 0..10 {
        ensure!(call(n).await? == n);
    }
    tokio::time::sleep(limit * 3).await;
    ensure!(caller.stats().reconnects == 0, "slow is not gone");

    proxy.set_network(NetworkState::Stalled);
    let begin = Instant::now();
    match call(1).await {
        Err(Error::Disconnected(error)) => {
            ensure!(error.lost == Lost::Link && error.may_have_run, "{error}");
        }
        other => bail!("{other:?}"),
    }
    ensure!(
        begin.elapsed() < limit * 3,
        "noticed after {:?}",
        begin.elapsed()
    );
    eventually("no attempt stalls and is given up", async || {
        ensure!(caller.state() != State::Connected, "it is back");
        Ok(caller.stats().attempts >= 1)
    })
    .await?;
    proxy.set_network(NetworkState::Normal);
    ensure!(call(2).await? == 2);

    proxy.set_network(NetworkState::Refusing);
    let before = proxy.accepted().len();
    proxy.cut();
    eventually("no attempt is refused", async || {
        Ok(proxy.accepted().len() > before)
    })
    .await?;
    proxy.set_network(NetworkState::Normal);
    ensure!(call(3).await? == 3);
    drop(service);
    leave([caller, host]).await?;
    drop(proxy);
    kill(server).await
}

/// Closes a link over HTTP. The link leads through a proxy that rejects WebSockets.
async fn over_http(kind: Kind) -> Result<()> {
    let server = start(kind, &Setup::default()).await?;
    let proxy = Proxy::start(&server.url).await?;
    let (host, id) = host(&server).await?;
    proxy.set_network(NetworkState::OnlyHttp);
    let plain = hypha_rpc::connect(&proxy.url).await.err();
    ensure!(
        matches!(&plain, Some(Error::Connect(error)) if error.kind() == ConnectErrorKind::HttpStatus(403)),
        "{plain:?}"
    );
    let caller = hypha_rpc::connect(&proxy.url)
        .transport(Transport::Auto)
        .reconnect(quick(kind))
        .await?;
    ensure!(caller.identity().connection_type == "http_streaming");
    let own = caller.register_service(echo()).await?.id;
    let service = caller.get_service(&id).await?;
    let from_host = host.get_service(&own).await?;
    for n in 0..3u64 {
        let there = service
            .call::<u64>("echo", args!(n))
            .idempotent()
            .timeout(SOON);
        ensure!(there.await? == n);
        settle().await;
        let back = caller.stats().reconnects + 1;
        proxy.cut();
        eventually("it does not come back", async || {
            Ok(caller.stats().reconnects == back)
        })
        .await?;
        let here = from_host
            .call::<u64>("echo", args!(n))
            .idempotent()
            .timeout(SOON);
        ensure!(here.await? == n);
    }
    proxy.set_network(NetworkState::Normal);
    proxy.cut();
    eventually("it does not go back to the WebSocket", async || {
        Ok(caller.state() == State::Connected && caller.identity().connection_type == "websocket")
    })
    .await?;
    drop((service, from_host));
    leave([caller, host]).await?;
    drop(proxy);
    kill(server).await
}

/// Replaces the server with another server. The new server has another secret, so it rejects the
/// tokens of the client.
async fn rejected_on_return(kind: Kind) -> Result<()> {
    let setup = Setup::restartable()?;
    let server = start(kind, &setup).await?;
    let (client, id) = host(&server).await?;
    let service = client.get_service(&id).await?;
    kill(server).await?;
    let lost = async || Ok(client.state() != State::Connected);
    eventually("the link is still open", lost).await?;
    let waiting = service
        .call::<u64>("echo", args!(1))
        .timeout(SOON)
        .into_future();
    let waiting = tokio::spawn(waiting);
    let setup = Setup {
        secret: Some("another secret, just as long as the first one".into()),
        ..setup
    };
    let server = start(kind, &setup).await?;
    let reason = tokio::time::timeout(SOON, client.closed()).await?;
    match &*reason {
        CloseReason::Refused(error) if error.kind() == ConnectErrorKind::TokenRejected => {}
        other => bail!("{other:?}"),
    }
    match waiting.await? {
        Err(Error::Disconnected(error)) => ensure!(error.lost == Lost::Connection, "{error}"),
        other => bail!("{other:?}"),
    }
    drop(service);
    leave([client]).await?;
    kill(server).await
}

/// Replaces the server with another server, on which the workspace does not exist.
async fn workspace_missing(kind: Kind) -> Result<()> {
    let setup = Setup::restartable()?;
    let server = start(kind, &setup).await?;
    let root = hypha_rpc::connect(&server.url).token(ROOT_TOKEN).await?;
    let manager = root.manager().await?;
    let workspace: WorkspaceConfig = from_value(serde_json::json!({"id": "passing-ws"}))?;
    manager.create_workspace(workspace, true).await?;
    let token = from_value(serde_json::json!({"workspace": "passing-ws"}))?;
    let token = manager.generate_token(Some(token)).await?;
    let connect = hypha_rpc::connect(&server.url)
        .workspace("passing-ws")
        .token(token);
    let client = connect.reconnect(quick(kind)).await?;
    leave([root]).await?;
    drop(manager);
    kill(server).await?;
    let server = start(kind, &setup).await?;
    let reason = tokio::time::timeout(SOON, client.closed()).await?;
    match &*reason {
        CloseReason::Refused(error) if error.kind() == ConnectErrorKind::WrongWorkspace => {}
        other => bail!("{other:?}"),
    }
    leave([client]).await?;
    kill(server).await
}

fn from_value<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> Result<T> {
    Ok(serde_json::from_value(json)?)
}

/// Connects another program with the same client id and a token for reconnecting.
async fn taken_over(kind: Kind) -> Result<()> {
    let server = start(kind, &Setup::default()).await?;
    let first = hypha_rpc::connect(&server.url).client_id("same").await?;
    let token = first.reconnection_token().context("a token")?;
    let connect = hypha_rpc::connect(&server.url)
        .client_id("same")
        .reconnection_token(token);
    let second = connect.workspace(first.workspace()).await?;
    let reason = tokio::time::timeout(SOON, first.closed()).await?;
    ensure!(*reason == CloseReason::Replaced, "{reason}");
    second.manager().await?;
    ensure!(second.stats().reconnects == 0);
    leave([first, second]).await?;
    kill(server).await
}

/// Runs two programs with the same client id. The server does not notify a client that another
/// client has replaced it. The programs replace each other at growing intervals. When one program
/// disconnects, the other program stays connected.
async fn two_with_one_id(kind: Kind) -> Result<()> {
    let server = start(kind, &Setup::default()).await?;
    let connect = || hypha_rpc::connect(&server.url).client_id("same");
    let first = connect().await?;
    let token = first.reconnection_token().context("a token")?;
    let connect = connect().reconnection_token(token);
    let second = connect.workspace(first.workspace()).await?;
    let changes = || first.stats().reconnects + second.stats().reconnects;
    let quiet = async || {
        let before = changes();
        tokio::time::sleep(Duration::from_secs(4)).await;
        Ok(changes() == before)
    };
    eventually("they do not get slower", quiet).await?;
    // Each pause is twice as long as the previous pause: 1, 2 and 4 s. The pauses are randomized by
    // ±50 %.
    ensure!((1..=10).contains(&changes()), "{} times", changes());
    let before = first.stats().reconnects;
    leave([second]).await?;
    // The second program may have replaced the first program once more just before it disconnected.
    // The first program notices this replacement later.
    let stays = async || {
        let before = first.stats().reconnects;
        tokio::time::sleep(Duration::from_secs(4)).await;
        Ok(first.state() == State::Connected && first.stats().reconnects == before)
    };
    eventually("the other does not come back to stay", stays).await?;
    let more = first.stats().reconnects - before;
    ensure!(more <= 1, "{more} times after the other has left");
    first.manager().await?;
    leave([first]).await?;
    kill(server).await
}

/// Maximum number of connection attempts per client and second (see [`Backoff`]).
const ATTEMPTS_PER_CLIENT: f64 = 1.5;

/// Returns the number of clients in the restart test. The number is smaller on the Python server,
/// where a thousand clients need minutes to reconnect. The variable `HYPHA_TEST_CLIENTS` sets
/// another number.
fn clients(kind: Kind) -> Result<usize> {
    match std::env::var("HYPHA_TEST_CLIENTS") {
        Ok(number) => Ok(number.parse()?),
        Err(_) if kind == Kind::Python => Ok(100),
        Err(_) => Ok(1000),
    }
}

async fn many_clients_reconnect(kind: Kind) -> Result<()> {
    let _turn = BUSY.lock().await;
    let number = clients(kind)?;
    let setup = Setup::restartable()?;
    let server = start(kind, &setup).await?;
    let proxy = Proxy::start(&server.url).await?;
    let (host, id) = host(&server).await?;
    let mut clients = Vec::new();
    while clients.len() < number {
        let mut backoff = Backoff::default();
        backoff.stable = STABLE;
        let connect = || hypha_rpc::connect(&proxy.url).reconnect(backoff.clone());
        let some = (0..50).map(|_| connect().into_future());
        clients.extend(try_join_all(some).await?);
    }
    // Wait until the connections count as stable.
    settle().await;
    let before = proxy.accepted().len();
    let services = try_join_all(clients.iter().map(|c| c.get_service(&id).into_future())).await?;
    let begin = Instant::now();
    kill(server).await?;
    let calls = services.iter().map(|service| async {
        // The host may reconnect later than the caller, so retry the call.
        let retry = hypha_rpc::Retry::times(100).first(Duration::from_millis(500));
        let call = service
            .call::<u64>("echo", args!(7))
            .idempotent()
            .retry(retry);
        call.timeout(SOON * 10).await
    });
    let (server, answers) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            start(kind, &setup).await
        },
        futures_util::future::join_all(calls),
    );
    let took = begin.elapsed();
    for answer in answers {
        ensure!(answer? == 7);
    }
    let attempts = proxy.accepted().split_off(before);
    let most = (0..attempts.len()).map(|first| {
        let within = attempts[first..].iter();
        within
            .take_while(|at| **at - attempts[first] < Duration::from_secs(1))
            .count()
    });
    let most = most.max().unwrap_or(0);
    println!(
        "{kind}: {number} clients were back and had their answer {took:.1?} after the server was \
         killed, with {} attempts, at most {most} in a second",
        attempts.len()
    );
    ensure!(
        (most as f64) < ATTEMPTS_PER_CLIENT * number as f64,
        "{most} attempts in a second"
    );
    drop(services);
    futures_util::future::join_all(clients.iter().map(Client::disconnect)).await;
    for client in &clients {
        nothing_is_left(client).await?;
    }
    leave([host]).await?;
    drop((clients, proxy));
    kill(server?).await
}

macro_rules! faults {
    ($($module:ident $kind:ident: $($fault:ident)*;)*) => {$(
        mod $module {
            use super::*;

            $(#[test]
            fn $fault() {
                run(Kind::$kind, || super::$fault(Kind::$kind));
            })*
        }
    )*};
}

faults! {
    python_server Python: killed_under_callers cut_in_the_middle stalled_and_slow over_http rejected_on_return
        workspace_missing two_with_one_id many_clients_reconnect;
    our_server Ours: killed_under_callers cut_in_the_middle stalled_and_slow over_http rejected_on_return
        workspace_missing taken_over many_clients_reconnect;
}
