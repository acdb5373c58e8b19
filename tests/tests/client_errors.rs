//! Tests the errors of the Rust client on both servers. Each mistake must cause a specific error
//! before a timeout. A mistake must not affect the connection or other calls.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hypha_rpc::args;
use hypha_rpc::error::{ConnectError, ConnectErrorKind, RejectKind};
use hypha_rpc::prelude::*;
use hypha_rpc::workspace::{Permission, SelectionMode, TokenConfig};
use hypha_rpc_tests::servers::{Kind, Server};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// A person to describe.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Person {
    name: String,
    tags: Vec<String>,
}

/// Service that the tests call.
#[hypha_service(id = "target")]
trait Target {
    /// Divide two numbers.
    async fn divide(&self, a: f64, #[hypha(default = 1.0)] b: f64) -> anyhow::Result<f64>;
    /// Describe a person.
    async fn describe(&self, person: Person) -> String;
    /// Never returns.
    async fn hang(&self);
}

struct Service;

impl Target for Service {
    async fn divide(&self, a: f64, b: f64) -> anyhow::Result<f64> {
        ensure!(b != 0.0, "division by zero");
        Ok(a / b)
    }

    async fn describe(&self, person: Person) -> String {
        format!("{} ({})", person.name, person.tags.join(", "))
    }

    async fn hang(&self) {
        std::future::pending().await
    }
}

/// Three parts: a host, a caller in another workspace, and the caller's proxy of the service of the
/// host.
struct Pair {
    host: Client,
    caller: Client,
    target: TargetProxy,
}

impl Pair {
    async fn new(server: &Server) -> Result<Pair> {
        let host = hypha_rpc::connect(&server.url).await?;
        let service = TargetService::new(Service);
        let id = host
            .register_service(service)
            .visibility(Visibility::Public)
            .await?
            .id;
        let caller = hypha_rpc::connect(&server.url).await?;
        let target = caller.proxy(&id).await?;
        Ok(Pair {
            host,
            caller,
            target,
        })
    }

    /// Checks that the connection works, and that a failed call has left no state.
    async fn still_works(&self) -> Result<()> {
        ensure!(self.target.divide(6.0, 3.0).await? == 2.0);
        ensure!(
            self.caller.stats().sessions == 0,
            "{:?}",
            self.caller.stats()
        );
        Ok(())
    }

    fn call(&self, method: &str, args: hypha_wire::Args) -> Call<Value> {
        self.target.service().call(method, args)
    }
}

fn rejected<T: std::fmt::Debug, E: std::fmt::Debug>(
    outcome: Result<T, Error<E>>,
    kind: RejectKind,
) -> Result<String> {
    match outcome {
        Err(Error::Rejected(r)) if r.kind == kind => Ok(r.to_string()),
        other => bail!("wanted {kind:?}, got {other:?}"),
    }
}

fn not_connected(outcome: Result<Client, Error>) -> Result<ConnectError> {
    match outcome {
        Err(Error::Connect(error)) => Ok(error),
        other => bail!("wanted a connect error, got {other:?}"),
    }
}

async fn rejected_token(server: &Server) -> Result<()> {
    let error = not_connected(hypha_rpc::connect(&server.url).token("nonsense").await)?;
    ensure!(error.kind() == ConnectErrorKind::TokenRejected, "{error:?}");
    ensure!(
        !error.to_string().contains("nonsense"),
        "the token is shown: {error}"
    );
    ensure!(!error.is_retryable());
    Ok(())
}

async fn wrong_workspace(server: &Server) -> Result<()> {
    let connect = hypha_rpc::connect(&server.url).workspace("ws-of-somebody-else");
    let error = not_connected(connect.await)?;
    ensure!(
        error.kind() == ConnectErrorKind::WrongWorkspace,
        "{error:?}"
    );
    Ok(())
}

async fn client_id_in_use(server: &Server) -> Result<()> {
    let first = hypha_rpc::connect(&server.url).client_id("the-one").await?;
    let manager = first.manager().await?;
    let token = manager.generate_token(None).await?;
    let second = hypha_rpc::connect(&server.url)
        .token(token)
        .client_id("the-one");
    let error = not_connected(second.await)?;
    ensure!(error.kind() == ConnectErrorKind::ClientIdInUse, "{error:?}");
    Ok(())
}

async fn unusable_client_id(server: &Server) -> Result<()> {
    match hypha_rpc::connect(&server.url).client_id("a/b").await {
        Err(Error::Invalid(text)) => ensure!(text.contains("a/b"), "{text}"),
        other => bail!("{other:?}"),
    }
    Ok(())
}

async fn unknown_service(server: &Server) -> Result<()> {
    let pair = Pair::new(server).await?;
    for id in [
        "no-such-service",
        "ws-nowhere/no-such-service",
        "no-client:no-such-service",
    ] {
        let found = timeout(Duration::from_secs(15), pair.caller.get_service(id)).await?;
        let text = rejected(found, RejectKind::UnknownService)?;
        ensure!(text.contains("no-such-service"), "{text}");
    }
    pair.still_works().await
}

async fn ambiguous_service(server: &Server) -> Result<()> {
    let first = hypha_rpc::connect(&server.url).await?;
    let token = first.manager().await?.generate_token(None).await?;
    let second = hypha_rpc::connect(&server.url).token(token).await?;
    for client in [&first, &second] {
        client.register_service(TargetService::new(Service)).await?;
    }
    rejected(first.get_service("target").await, RejectKind::Ambiguous)?;
    first
        .get_service("target")
        .mode(SelectionMode::Random)
        .await?;
    Ok(())
}

async fn unknown_method(server: &Server) -> Result<()> {
    let pair = Pair::new(server).await?;
    // The description of the service lists no such method, so the client does not send the call.
    let text = rejected(
        pair.call("multiply", args!(1, 2)).await,
        RejectKind::UnknownMethod,
    )?;
    ensure!(
        text.contains("target.multiply") && text.contains("divide"),
        "{text}"
    );
    // The host removes the service after the caller has fetched its description. The host therefore
    // rejects the call.
    let temporary = pair
        .host
        .register_service(TargetService::new(Service))
        .id("temporary");
    let id = temporary.visibility(Visibility::Public).await?.id;
    let proxy: TargetProxy = pair.caller.proxy(&id).await?;
    pair.host.unregister_service(&id).await?;
    let text = rejected(proxy.divide(1.0, 2.0).await, RejectKind::UnknownMethod)?;
    ensure!(
        text.contains("temporary.divide") && text.contains(&pair.host.client_id()),
        "{text}"
    );
    pair.still_works().await
}

async fn wrong_arguments(server: &Server) -> Result<()> {
    let pair = Pair::new(server).await?;
    let described = serde_json::json!({"name": "Ada", "tags": ["a", "b", 3]});
    let cases = [
        ("divide", args!(), "missing argument `a`"),
        ("divide", args!(b = 1), "missing argument `a`"),
        ("divide", args!(1, 2, 3), "takes 2 arguments (a, b), got 3"),
        ("divide", args!(1, c = 2), "unknown argument `c`"),
        ("divide", args!(1, a = 2), "argument `a` is given twice"),
        ("divide", args!("one"), "argument `a`: expected"),
        (
            "describe",
            args!(described),
            "argument `person.tags[2]`: expected",
        ),
        ("hang", args!(1), "takes no arguments, got 1"),
    ];
    for (method, args, wanted) in cases {
        let outcome = pair.call(method, args).await;
        let text = rejected(outcome, RejectKind::InvalidArguments)?;
        for part in [wanted, &format!("target.{method}"), &pair.host.client_id()] {
            ensure!(text.contains(part), "`{text}` does not say `{part}`");
        }
    }
    pair.still_works().await
}

async fn wrong_result_type(server: &Server) -> Result<()> {
    let pair = Pair::new(server).await?;
    match pair
        .target
        .service()
        .call::<Person>("divide", args!(1, 2))
        .await
    {
        Err(Error::Codec(e)) => {
            let text = e.to_string();
            ensure!(e.received && text.contains("target.divide"), "{text}");
        }
        other => bail!("{other:?}"),
    }
    pair.still_works().await
}

async fn unencodable_argument(server: &Server) -> Result<()> {
    let pair = Pair::new(server).await?;
    let map = std::collections::HashMap::from([([1, 2], "keys must be strings")]);
    match pair.call("divide", args!(map)).await {
        Err(Error::Codec(e)) => {
            let text = hypha_rpc::error::report(&e);
            ensure!(!e.received && text.contains("key"), "{text}");
        }
        other => bail!("{other:?}"),
    }
    pair.still_works().await
}

async fn oversized_event(server: &Server) -> Result<()> {
    let pair = Pair::new(server).await?;
    let data = Value::Bytes(vec![0u8; 17 << 20].into());
    match pair.caller.emit("big", &pair.host.client_id(), data).await {
        Err(Error::Codec(e)) => ensure!(e.to_string().contains("16777216"), "{e}"),
        other => bail!("{other:?}"),
    }
    pair.still_works().await
}

async fn not_permitted(server: &Server) -> Result<()> {
    let pair = Pair::new(server).await?;
    let private = pair
        .host
        .register_service(TargetService::new(Service))
        .id("private")
        .await?;
    rejected(
        pair.caller.get_service(&private.id).await,
        RejectKind::PermissionDenied,
    )?;
    // The host also rejects a client that fetches the service directly instead of from the manager.
    let direct = pair.caller.get_remote_service(&private.id).await;
    rejected(direct, RejectKind::PermissionDenied)?;
    pair.still_works().await
}

/// A client with a read-only token can connect and call services. It cannot register services.
async fn read_only_token(server: &Server) -> Result<()> {
    let owner = hypha_rpc::connect(&server.url).await?;
    owner.register_service(TargetService::new(Service)).await?;
    let config = TokenConfig {
        permission: Some(Permission::Read.into()),
        ..TokenConfig::default()
    };
    let token = owner.manager().await?.generate_token(Some(config)).await?;
    let reader = hypha_rpc::connect(&server.url).token(token).await?;
    ensure!(reader.workspace() == owner.workspace());
    let target: TargetProxy = reader.proxy("target").await?;
    ensure!(target.divide(6.0, 3.0).await? == 2.0);
    let offered = reader.register_service(TargetService::new(Service)).await;
    rejected(offered, RejectKind::PermissionDenied)?;
    ensure!(reader.stats().sessions == 0, "{:?}", reader.stats());
    Ok(())
}

/// The peer disconnects while a call runs. That call and the next call must fail.
async fn peer_disconnects(server: &Server) -> Result<()> {
    let first = hypha_rpc::connect(&server.url).await?;
    let token = first.manager().await?.generate_token(None).await?;
    let host = hypha_rpc::connect(&server.url).token(token).await?;
    host.register_service(TargetService::new(Service)).await?;
    let target: TargetProxy = first.proxy("target").await?;
    let pending = tokio::spawn(target.hang().into_future());
    // The response to this call shows that the host has received the previous call.
    target.divide(1.0, 1.0).await?;
    host.shutdown(Duration::ZERO).await;
    match timeout(Duration::from_secs(10), pending).await?? {
        Err(Error::Disconnected(e)) => {
            ensure!(
                e.may_have_run && e.to_string().contains("target.hang"),
                "{e}"
            );
        }
        other => bail!("{other:?}"),
    }
    let gone = timeout(Duration::from_secs(10), target.divide(1.0, 1.0)).await?;
    let text = rejected(gone, RejectKind::PeerNotConnected)?;
    ensure!(text.contains(&host.client_id()), "{text}");
    first.list_services(None).await?;
    ensure!(first.stats().sessions == 0, "{:?}", first.stats());
    Ok(())
}

/// No client has ever had this address. `hypha-server` rejects the call. The Python server does not
/// respond.
async fn unknown_peer(server: &Server) -> Result<()> {
    let caller = hypha_rpc::connect(&server.url)
        .idle_timeout(Duration::from_secs(3))
        .await?;
    let outcome = caller.get_remote_service("nobody:target").await;
    match server.kind {
        Kind::Ours => drop(rejected(outcome, RejectKind::PeerNotConnected)?),
        Kind::Python => match outcome {
            Err(Error::Timeout(t)) => ensure!(t.sent, "{t}"),
            other => bail!("{other:?}"),
        },
    }
    caller.list_services(None).await?;
    ensure!(caller.stats().sessions == 0, "{:?}", caller.stats());
    Ok(())
}

async fn call_after_disconnect(server: &Server) -> Result<()> {
    let pair = Pair::new(server).await?;
    pair.caller.disconnect().await;
    match pair.target.divide(1.0, 2.0).await {
        Err(Error::Disconnected(e)) => ensure!(!e.may_have_run, "{e}"),
        other => bail!("{other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn unusable_urls() -> Result<()> {
    for url in [
        "",
        "ftp://host",
        "http://",
        "ws://",
        "ws://host:port/ws",
        "nonsense",
    ] {
        let error = not_connected(hypha_rpc::connect(url).await)?;
        ensure!(
            error.kind() == ConnectErrorKind::InvalidUrl,
            "{url}: {error:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn refused_connection() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    drop(listener);
    let error = not_connected(hypha_rpc::connect(&url).await)?;
    ensure!(
        error.kind() == ConnectErrorKind::ConnectionRefused,
        "{error:?}"
    );
    ensure!(error.is_retryable());
    Ok(())
}

#[tokio::test]
async fn a_silent_server() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let limit = Duration::from_millis(200);
    let error = not_connected(hypha_rpc::connect(&url).connect_timeout(limit).await)?;
    ensure!(error.kind() == ConnectErrorKind::Timeout, "{error:?}");
    ensure!(error.to_string().contains("200ms"), "{error}");
    Ok(())
}

macro_rules! both_servers {
    ($($case:ident)*) => {
        mod python_server {
            $(#[test]
            fn $case() {
                hypha_rpc_tests::cases::run(super::Kind::Python, &[], async |server| super::$case(server).await);
            })*
        }
        mod our_server {
            $(#[test]
            fn $case() {
                hypha_rpc_tests::cases::run(super::Kind::Ours, &[], async |server| super::$case(server).await);
            })*
        }
    };
}

both_servers! {
    rejected_token
    wrong_workspace
    client_id_in_use
    unusable_client_id
    unknown_service
    ambiguous_service
    unknown_method
    wrong_arguments
    wrong_result_type
    unencodable_argument
    oversized_event
    not_permitted
    read_only_token
    peer_disconnects
    unknown_peer
    call_after_disconnect
}
