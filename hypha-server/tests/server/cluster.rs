//! Tests servers that share a Redis. The tests are skipped if the program `redis-server` is not
//! installed.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hypha_rpc::prelude::*;
use hypha_rpc::{Value, args};
use hypha_server::{Limits, Server, StartError};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::gone::{self, Reports, WaitingService};
use crate::support::{self, Raw, refused};

const SECRET: &str = "a secret that all servers share";

/// Reports that this test is skipped, on standard error and in the file whose lines `cargo xtask
/// test` prints at the end.
fn skipped(why: &str) -> Result<()> {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped: {test}: {why}");
    if let Some(file) = std::env::var_os("HYPHA_TEST_SKIPPED") {
        let mut file = OpenOptions::new().append(true).open(file)?;
        writeln!(file, "{test}: {why}")?;
    }
    Ok(())
}

/// A Redis server for one test.
struct Redis {
    process: Child,
    /// Path of the Unix socket on which Redis listens. Redis does not listen on a port, because two
    /// tests could choose the same port.
    socket: PathBuf,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Redis {
    /// Starts Redis. If Redis is not installed, reports that the test is skipped and returns
    /// `None`.
    async fn start() -> Result<Option<Redis>> {
        let name = format!("redis-{}.sock", hypha_wire::random_id());
        let socket = std::env::temp_dir().join(name);
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--unixsocket"]).arg(&socket);
        command.args(["--save", "", "--appendonly", "no"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "`redis-server` is not installed"
            );
            skipped("`redis-server` is not installed")?;
            return Ok(None);
        };
        let redis = Redis { process, socket };
        for _ in 0..500 {
            if tokio::net::UnixStream::connect(&redis.socket).await.is_ok() {
                return Ok(Some(redis));
            }
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("Redis does not start")
    }

    async fn server(&self, id: &str) -> Result<Server> {
        self.server_with(id, |_| ()).await
    }

    async fn server_with(&self, id: &str, change: impl FnOnce(&mut Limits)) -> Result<Server> {
        let mut limits = Limits::default();
        limits.incumbent_timeout = Duration::from_millis(500);
        change(&mut limits);
        let builder = Server::builder()
            .bind("127.0.0.1:0")
            .public_base_url("http://hypha.example.org")
            .server_id(id)
            .limits(limits)
            .jwt_secret(SECRET);
        Ok(builder.redis_uri(self.uri()).start().await?)
    }

    fn uri(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }
}

macro_rules! redis_or_skip {
    () => {
        match Redis::start().await? {
            Some(redis) => redis,
            None => return Ok(()),
        }
    };
}

async fn token(owner: &mut Raw) -> Result<String> {
    let token = owner.ask("generate_token", json!([])).await?;
    Ok(token.as_str().context("no token")?.to_owned())
}

/// Connects a client to another server, in the workspace of `owner`.
async fn colleague(server: &Server, owner: &mut Raw, id: &str) -> Result<Raw> {
    let token = token(owner).await?;
    Raw::connect(server, json!({"client_id": id, "token": token})).await
}

struct Desk;

/// A service that clients of other servers call.
#[hypha_service(id = "desk")]
impl Desk {
    /// Adds.
    pub(crate) async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    /// Returns its argument.
    pub(crate) async fn echo(&self, value: Value) -> Value {
        value
    }

    /// Calls the callback with each number below `to`.
    pub(crate) async fn each(&self, to: u32, see: Callback<u32>) -> Result<(), String> {
        for number in 0..to {
            let seen = see.call(number).await;
            seen.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn services_of_one_server_are_used_at_the_other() -> Result<()> {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await?, redis.server("two").await?);
    let host = hypha_rpc::connect(one.url()).client_id("host").await?;
    host.register_service(Desk).await?;
    let token = host.manager().await?.generate_token(None).await?;
    let user = hypha_rpc::connect(two.url())
        .token(&token)
        .client_id("user");
    let user = user.await?;
    assert_eq!(user.workspace(), host.workspace());

    let listed = user
        .manager()
        .await?
        .list_services(None, false, false, false);
    let ids: Vec<_> = listed
        .await?
        .into_iter()
        .map(|service| service.id)
        .collect();
    let home = host.workspace();
    for id in ["host:desk", "host:built-in", "user:built-in"] {
        assert!(ids.contains(&format!("{home}/{id}")), "{id} in {ids:?}");
    }
    let desk = user.get_service("desk").await?;
    assert_eq!(desk.call::<i64>("add", args!(2, 3)).await?, 5);
    // The argument and the result are sent in chunks.
    let large = Value::Bytes(vec![7; 3_000_000].into());
    assert_eq!(desk.call::<Value>("echo", args!(large)).await?, large);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let see = Callback::new({
        let seen = seen.clone();
        move |number: u32| {
            seen.lock().unwrap().push(number);
            async {}
        }
    });
    desk.call::<Value>("each", args!(100, see)).await?;
    assert_eq!(*seen.lock().unwrap(), (0..100).collect::<Vec<_>>());
    let pong = user.manager().await?.ping("host".into(), 5.0).await?;
    assert_eq!(pong, "pong");

    // The function can also be called over HTTP.
    let url = format!("{}/{home}/services/desk/add?a=1&b=1", two.url());
    let answer = support::http().get(url).bearer_auth(&token).send().await?;
    assert_eq!(answer.text().await?, "2");
    // Each server has its own login service, and `get_service` may return any of them.
    let login = user.get_service("public/hypha-login").await?;
    let begun: Value = login.call("start", args!()).await?;
    assert!(begun.get("key").is_some());

    // After a client disconnects, calls to it fail immediately at all servers.
    host.disconnect().await;
    let begin = std::time::Instant::now();
    let late = desk.call::<i64>("add", args!(2, 3)).await;
    assert!(
        late.is_err() && begin.elapsed() < Duration::from_secs(5),
        "{late:?}"
    );
    Ok(())
}

#[tokio::test]
async fn messages_keep_their_order_and_events_reach_all_servers() -> Result<()> {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await?, redis.server("two").await?);
    let mut a = Raw::anonymous(&one, "a").await?;
    a.register("built-in", json!({})).await?;
    let mut b = colleague(&two, &mut a, "b").await?;
    let mut stranger = Raw::anonymous(&two, "stranger").await?;
    let events = json!([["service_added", "client_disconnected", "news"]]);
    for client in [&mut a, &mut b, &mut stranger] {
        client.ask("subscribe", events.clone()).await?;
    }
    for number in 0..300 {
        a.send(json!({"type": "n", "to": "b", "number": number}), None)
            .await?;
    }
    for number in 0..300 {
        let message = b.message().await?;
        let main = Value::Map(message.main()?).to_json();
        assert_eq!(main["number"], json!(number));
        assert_eq!(main["from"], json!(a.address()));
        assert_eq!(main["user"]["id"], a.info["user"]["id"]);
    }
    b.register("built-in", json!({})).await?;
    b.register("svc", json!({})).await?;
    assert_eq!(a.message().await?.kind(), "service_added");
    assert_eq!(b.message().await?.kind(), "service_added");
    a.send(json!({"type": "news", "to": "*", "n": 1}), None)
        .await?;
    for client in [&mut a, &mut b] {
        let news = client.message().await?;
        assert_eq!(news.kind(), "news");
        assert_eq!(
            news.from().map(str::to_owned),
            Some(format!("{}/a", client.workspace()))
        );
    }
    let workspace = b.workspace().to_owned();
    b.close().await?;
    let gone = a.message().await?;
    let data = Value::Map(gone.main()?).to_json();
    assert_eq!(data["data"], json!({"id": "b", "workspace": workspace}));
    assert!(stranger.is_quiet().await);
    let left = a.ask("list_services", json!([])).await?;
    assert_eq!(left.as_list().map(<[_]>::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_client_keeps_its_id_when_it_moves_to_another_server() -> Result<()> {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await?, redis.server("two").await?);
    let mut old = Raw::anonymous(&one, "c").await?;
    old.register("built-in", json!({})).await?;
    old.register("svc", json!({})).await?;
    let mut watcher = colleague(&one, &mut old, "watcher").await?;
    watcher
        .ask("subscribe", json!(["client_disconnected"]))
        .await?;
    let hello = json!({
        "client_id": "c", "reconnection_token": old.field("reconnection_token"),
    });
    let mut new = Raw::connect(&two, hello).await?;
    assert_eq!(old.end().await?.code, 1001);
    // The end of the displaced connection does not remove the client.
    sleep(Duration::from_millis(300)).await;
    let listed = new.ask("list_services", json!([])).await?;
    assert_eq!(listed.as_list().map(<[_]>::len), Some(2));
    watcher
        .send(json!({"type": "hello", "to": "c"}), None)
        .await?;
    assert_eq!(new.message().await?.kind(), "hello");
    assert!(watcher.is_quiet().await);

    // A responsive client keeps its id when another client claims the id at another server. An
    // unresponsive client loses its id.
    let token = token(&mut new).await?;
    let living = hypha_rpc::connect(two.url()).token(&token).client_id("d");
    let living = living.await?;
    let end = refused(&one, json!({"client_id": "d", "token": token})).await?;
    let said = end.error.context("no error")?;
    assert!(
        said.contains("Client already exists and is active"),
        "{said}"
    );
    assert!(living.manager().await?.echo(Value::from(1)).await.is_ok());
    Raw::connect(&one, json!({"client_id": "c", "token": token})).await?;
    assert_eq!(watcher.message().await?.kind(), "client_disconnected");
    Ok(())
}

#[tokio::test]
async fn a_slow_client_slows_down_senders_at_other_servers() -> Result<()> {
    const MESSAGES: u32 = 96;
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await?, redis.server("two").await?);
    let mut slow = Raw::anonymous(&one, "slow").await?;
    let mut sender = Raw::anonymous(&two, "sender").await?;
    let to = slow.address();
    // The messages exceed the memory limit of a connection.
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let main = json!({"type": "n", "to": to, "number": number});
            let mut frame = hypha_wire::to_vec(&main)?;
            hypha_wire::encode(&mut frame, &json!({"args": ["x".repeat(1024 * 1024)]}))?;
            sender.binary(frame).await?;
        }
        anyhow::Ok(sender)
    });
    let begun = Instant::now();
    while one.stats().congested == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no server detects the failure"
        );
        sleep(Duration::from_millis(10)).await;
    }
    for number in 0..MESSAGES {
        let message = slow.message().await;
        let message = message
            .with_context(|| format!("message {number}, {:?} {:?}", one.stats(), two.stats()))?;
        let main = Value::Map(message.main()?).to_json();
        assert_eq!(main["number"], json!(number));
    }
    sending.await??;
    let held = one.stats().memory_peak;
    assert!(held < 24 * 1024 * 1024, "{held} bytes were queued");
    Ok(())
}

#[tokio::test]
async fn callers_are_notified_of_a_callee_that_moved_to_another_server() -> Result<()> {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await?, redis.server("two").await?);
    let mut callee = Raw::anonymous(&one, "callee").await?;
    let mut caller = Raw::anonymous(&one, "caller").await?;
    gone::call(&mut caller, &mut callee).await?;
    let hello = json!({
        "client_id": "callee", "reconnection_token": callee.field("reconnection_token"),
    });
    let moved = Raw::connect(&two, hello).await?;
    assert_eq!(callee.end().await?.code, 1001);
    assert!(caller.is_quiet().await, "the callee is still connected");
    let workspace = moved.workspace().to_owned();
    moved.close().await?;
    gone::told(&mut caller, (&workspace, "callee")).await?;
    Ok(())
}

#[tokio::test]
async fn workspaces_and_revoked_tokens_are_shared_by_all_servers() -> Result<()> {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await?, redis.server("two").await?);
    let mut a = Raw::anonymous(&one, "a").await?;
    a.register("built-in", json!({})).await?;
    let mut b = colleague(&two, &mut a, "b").await?;
    a.ask("set_env", json!(["K", "v"])).await?;
    assert_eq!(b.ask("get_env", json!(["K"])).await?, Value::from("v"));
    // The workspace exists while it has a client at any server.
    b.register("built-in", json!({})).await?;
    let token = token(&mut a).await?;
    a.ask("revoke_token", json!([token])).await?;
    a.close().await?;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(b.ask("get_env", json!(["K"])).await?, Value::from("v"));

    let three = redis.server("three").await?;
    for server in [&one, &two, &three] {
        let end = refused(server, json!({"client_id": "x", "token": token})).await?;
        assert!(end.error.is_some_and(|error| error.contains("revoked")));
    }
    Ok(())
}

#[tokio::test]
async fn deleting_a_workspace_disconnects_its_clients() -> Result<()> {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await?, redis.server("two").await?);
    let mut a = Raw::anonymous(&one, "a").await?;
    let mut b = colleague(&two, &mut a, "b").await?;
    let home = a.workspace().to_owned();
    a.ask("delete_workspace", json!([home])).await?;
    for client in [&mut b, &mut a] {
        let end = client.end().await?;
        assert_eq!(end.code, 1001);
        assert!(end.reason.starts_with("Workspace unloaded"), "{end:?}");
    }
    Ok(())
}

#[tokio::test]
async fn services_of_a_dead_server_are_removed() -> Result<()> {
    let redis = redis_or_skip!();
    // Creates the records that a killed server leaves behind.
    let mut connection = redis::Client::open(redis.uri())?
        .get_multiplexed_async_connection()
        .await?;
    for name in ["built-in", "svc"] {
        let id = format!("ws-lab/ghost:{name}");
        redis::pipe()
            .hset_multiple(
                format!("services:public|generic:{id}@*"),
                &[
                    ("id", id.as_str()),
                    ("name", name),
                    ("type", "generic"),
                    ("app_id", "*"),
                    ("docs", "__null__"),
                    ("description", "__null__"),
                    ("config", r#"{"visibility": "public"}"#),
                    ("service_schema", "__null__"),
                ],
            )
            .query_async::<()>(&mut connection)
            .await?;
    }
    let left_behind = json!({"id": "ws-user-ghost", "name": "ws-user-ghost", "persistent": false,
        "owners": ["ghost"], "status": {"ready": true, "errors": null}});
    let record = left_behind.to_string();
    redis::AsyncCommands::hset::<_, _, _, ()>(
        &mut connection,
        "workspaces",
        "ws-user-ghost",
        record,
    )
    .await?;
    let server = redis
        .server_with("one", |limits| {
            limits.orphan_interval = Duration::from_millis(300);
        })
        .await?;
    let living = hypha_rpc::connect(server.url()).await?;
    living
        .register_service(Desk)
        .visibility(Visibility::Public)
        .await?;
    for _ in 0..200 {
        let everywhere = hypha_rpc::workspace::ServiceFilter {
            workspace: Some("*".into()),
            ..Default::default()
        };
        let manager = living.manager().await?;
        let listed = manager.list_services(Some(everywhere.into()), false, false, false);
        let listed = listed.await?;
        if listed.iter().all(|service| !service.id.contains("ghost")) {
            // The remaining services are the two services of the client, the login service, the
            // queue and the documents for agents.
            assert_eq!(listed.len(), 5);
            let workspaces: Vec<String> =
                redis::AsyncCommands::hkeys(&mut connection, "workspaces").await?;
            assert!(workspaces.contains(&living.workspace().to_owned()));
            if !workspaces.iter().any(|id| id == "ws-user-ghost") {
                return Ok(());
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the records of the killed server still exist")
}

/// A server in a separate process, which can be killed.
struct Killable {
    process: Child,
    url: String,
}

impl Killable {
    async fn start(redis: &Redis, id: &str) -> Result<Killable> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hypha-server"));
        command.args(["--host", "127.0.0.1", "--port", "0", "--server-id", id]);
        command.args(["--in-memory", "--redis-uri", &redis.uri()]);
        command.args(["--public-base-url", "http://hypha.example.org"]);
        command.env("JWT_SECRET", SECRET);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let output = process.stdout.take().context("no output")?;
        let read = move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.find_map(|line| line.strip_prefix("READY ").map(|url| url.trim().to_owned()))
        };
        let url = tokio::task::spawn_blocking(read).await?;
        let url = url.context("the server does not start")?;
        Ok(Killable { process, url })
    }

    /// Kills the process, so that the server cannot announce its end.
    fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        Ok(self.process.wait().map(drop)?)
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Both ends of a running call from a client of one server to a client of another server.
struct Waiting {
    calling: JoinHandle<Result<u32, hypha_rpc::Error>>,
    reports: mpsc::UnboundedReceiver<&'static str>,
    _clients: [Client; 2],
}

impl Waiting {
    async fn begin(caller: &str, callee: &str) -> Result<Waiting> {
        let (report, mut reports) = mpsc::unbounded_channel();
        let callee = hypha_rpc::connect(callee).await?;
        let service = WaitingService::new(Reports(report));
        let info = callee.register_service(service).await?;
        let caller = hypha_rpc::connect(caller).await?;
        let service = caller.get_service(&info.id).await?;
        let calling = tokio::spawn(service.call("wait", args!()).into_future());
        assert_eq!(reports.recv().await, Some("begun"));
        Ok(Waiting {
            calling,
            reports,
            _clients: [callee, caller],
        })
    }
}

/// Returns the registered login services.
async fn logins(database: &mut redis::aio::MultiplexedConnection) -> Result<Vec<String>> {
    let mut asked = redis::cmd("KEYS");
    asked.arg("services:*:hypha-login@*");
    Ok(asked.query_async(database).await?)
}

#[tokio::test]
async fn records_and_calls_of_a_killed_server_end() -> Result<()> {
    const AT_ONCE: Duration = Duration::from_secs(10);
    let redis = redis_or_skip!();
    let mut database = redis::Client::open(redis.uri())?
        .get_multiplexed_async_connection()
        .await?;
    let mut killed = Killable::start(&redis, "killed").await?;
    let living = redis.server("living").await?;
    let mut callee_gone = Waiting::begin(living.url(), &killed.url).await?;
    let mut caller_gone = Waiting::begin(&killed.url, living.url()).await?;
    let visitor = hypha_rpc::connect(living.url()).await?;
    assert_eq!(logins(&mut database).await?.len(), 2);

    killed.kill()?;
    let begin = Instant::now();
    let watching = async {
        while logins(&mut database).await?.len() > 1 {
            // No client is directed to the login service of the killed server.
            let login = visitor.get_service("public/hypha-login").await?;
            let started: Value = login.call("start", args!()).await?;
            assert!(started.get("login_url").is_some(), "{started}");
            sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(begin.elapsed())
    };
    let failing = async {
        let error = (&mut callee_gone.calling).await?.err();
        let error = error.context("the call has ended well")?;
        assert!(
            matches!(error, hypha_rpc::Error::Disconnected(_)),
            "{error}"
        );
        assert_eq!(caller_gone.reports.recv().await, Some("cancelled"));
        anyhow::Ok(begin.elapsed())
    };
    let (records, calls) = tokio::try_join!(watching, failing)?;
    assert!(
        records < AT_ONCE && calls < AT_ONCE,
        "{records:?}, {calls:?}"
    );
    caller_gone.calling.abort();
    living.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn conflicting_servers_do_not_start() -> Result<()> {
    let redis = redis_or_skip!();
    let one = redis.server("one").await?;
    let again = redis.server("one").await.err().context("started")?;
    let cause = again.chain().map(ToString::to_string);
    let cause = cause.collect::<Vec<_>>().join(": ");
    assert!(cause.contains("another server with the id one"), "{cause}");
    let builder = || Server::builder().bind("127.0.0.1:0");
    let nowhere = builder()
        .jwt_secret(SECRET)
        .redis_uri("redis://127.0.0.1:1");
    let Err(error @ StartError::Redis(_)) = nowhere.start().await else {
        panic!("the server has started");
    };
    let cause = std::error::Error::source(&error).expect("a cause");
    assert!(cause.to_string().contains("refused"), "{cause}");
    one.shutdown().await;
    // The id of the stopped server can be used again, and its records are removed.
    let one = redis.server("one").await?;
    let client = hypha_rpc::connect(one.url()).await?;
    let public = client
        .manager()
        .await?
        .list_services(Some("public".into()), false, false, false);
    // The three services are the login service, the queue and the documents for agents.
    assert_eq!(public.await?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn clients_may_retry_while_redis_is_unreachable() -> Result<()> {
    let redis = redis_or_skip!();
    let server = redis.server("one").await?;
    let health = || support::http().get(format!("{}/health/readiness", server.url()));
    let ready: serde_json::Value = health().send().await?.error_for_status()?.json().await?;
    assert_eq!(ready["detail"]["redis"], "connected", "{ready}");
    assert_eq!(ready["detail"]["pubsub"], "healthy", "{ready}");
    let stats = server.stats();
    assert_eq!(stats.redis_connections_open, 1);
    assert_eq!(stats.redis_reconnects, 0);
    assert!(stats.redis_subscriptions_open > 1, "{stats:?}");
    assert_eq!(stats.redis_subscriptions, stats.redis_subscriptions_open);
    // A client has one subscription while it is connected.
    let client = Raw::anonymous(&server, "c").await?;
    let with_client = server.stats().redis_subscriptions_open;
    assert_eq!(with_client, stats.redis_subscriptions_open + 1);
    drop(client);
    while server.stats().redis_subscriptions_open >= with_client {
        sleep(Duration::from_millis(5)).await;
    }
    drop(redis);
    for _ in 0..500 {
        let answer = health().send().await?;
        if answer.status() == 503 {
            let down: serde_json::Value = answer.json().await?;
            assert_eq!(down["detail"]["store"], "ready", "{down}");
            assert!(
                [&down["detail"]["redis"], &down["detail"]["pubsub"]].contains(&&json!("down")),
                "{down}"
            );
            // The server refuses the client before the upgrade, because clients retry after such a
            // refusal.
            assert!(Raw::open(&server, "").await.is_err());
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("the server does not detect the failure")
}

/// Returns the keys of the records of the client `c`.
async fn records(database: &mut redis::aio::MultiplexedConnection) -> Result<Vec<String>> {
    let mut asked = redis::cmd("KEYS");
    asked.arg("services:*/c:*");
    let mut keys: Vec<String> = asked.query_async(database).await?;
    keys.sort_unstable();
    Ok(keys)
}

#[tokio::test]
async fn services_registered_at_another_server_survive_the_end_of_a_former_connection() -> Result<()>
{
    let redis = redis_or_skip!();
    let server = redis.server("one").await?;
    let database = redis::Client::open(redis.uri())?;
    let mut database = database.get_multiplexed_async_connection().await?;
    // The second client keeps the workspace from being removed.
    let mut keeper = Raw::anonymous(&server, "keeper").await?;
    // The client has reconnected to another server, which has replaced two records. The other
    // server is either a `hypha-server`, which marks its records, or a Python server, which does
    // not mark records.
    for mark in [Some("two#1"), None] {
        let mut client = colleague(&server, &mut keeper, "c").await?;
        for name in ["built-in", "desk", "forgotten"] {
            let kind = if name == "built-in" { name } else { "generic" };
            let service = json!({"id": format!("c:{name}"), "type": kind, "config": {}});
            client.ask("register_service", json!([service])).await?;
        }
        let mut keys = records(&mut database).await?;
        assert_eq!(keys.len(), 3, "{keys:?}");
        keys.retain(|key| !key.contains(":forgotten@"));
        for key in &keys {
            let mut replaced = redis::pipe();
            replaced.hdel(key, "hypha-server:connection");
            if let Some(mark) = mark {
                replaced.hset(key, "hypha-server:connection", mark);
            }
            let changed: Vec<u32> = replaced.query_async(&mut database).await?;
            assert_eq!(changed[0], 1, "{key} is not marked");
        }
        drop(client);
        let mut left = Vec::new();
        for _ in 0..500 {
            left = records(&mut database).await?;
            if left.len() < 3 {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(left, keys);
    }
    Ok(())
}

#[cfg(feature = "accounts")]
#[tokio::test]
async fn servers_share_accounts_and_revocations() -> Result<()> {
    let redis = redis_or_skip!();
    let start = async |id: &str| -> Result<Server> {
        let mut settings = hypha_server::Settings::default();
        settings.port = 0;
        settings.accounts.enabled = true;
        settings.server_id = Some(id.into());
        settings.jwt_secret = Some(SECRET.into());
        settings.redis_uri = Some(redis.uri());
        settings.public_base_url = Some("http://hypha.example.org".into());
        settings.limits.accounts = 1;
        Ok(hypha_server::Builder::from(settings).start().await?)
    };
    let (one, two) = (start("one").await?, start("two").await?);
    let post = async |server: &Server, id: &str, method: &str, arguments: serde_json::Value| {
        let base = server.url();
        let url = format!("{base}/public/services/{id}:hypha-login/{method}");
        let answer = support::http().post(url).json(&arguments).send().await?;
        anyhow::Ok(answer.json::<serde_json::Value>().await?)
    };
    let sign_up = async |email: &str| {
        let person = json!({"name": "Ann", "email": email, "password": "correct horse"});
        let begun = post(&one, "one", "signup", person).await?;
        let code = json!({"email": email, "code": begun["dev_code"]});
        post(&one, "one", "verify_email", code).await
    };
    let created = sign_up("ann@x").await?;
    assert_eq!(created["success"], true, "{created}");
    assert_eq!(
        sign_up("bob@x").await?["success"],
        false,
        "the limit is one account"
    );

    let credentials = json!({"email": "ann@x", "password": "correct horse"});
    let signed_in = post(&two, "two", "login", credentials.clone()).await?;
    let token = signed_in["token"].as_str().context("no token")?;
    let hello = json!({"client_id": "c", "token": token});
    let mut user = Raw::connect(&one, hello.clone()).await?;
    let change = json!({
        "user_email": "ann@x",
        "current_password": "correct horse",
        "new_password": "battery staple",
    });
    let changed = post(&two, "two", "update_profile", change).await?;
    assert_eq!(changed["success"], true, "{changed}");
    let end = user.end().await?;
    assert!(end.reason.contains("credentials"), "{end:?}");
    assert!(Raw::connect(&one, hello).await.is_err());
    let refused = post(&one, "one", "login", credentials).await?;
    assert_eq!(refused["error"], "Invalid email or password");
    one.shutdown().await;
    two.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn servers_share_queues_of_tasks() -> Result<()> {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await?, redis.server("two").await?);
    let worker = hypha_rpc::connect(one.url()).await?;
    let token = worker.manager().await?.generate_token(None).await?;
    let boss = hypha_rpc::connect(two.url()).token(token);
    let boss = boss.workspace(worker.workspace()).await?;
    let (take, give) = (
        worker.get_service("public/one:queue").await?,
        boss.get_service("public/two:queue").await?,
    );
    let waiting = tokio::spawn(async move {
        let task = take
            .call::<Value>("pop", args!(queue_name = "q", timeout = 20))
            .await;
        (take, task)
    });
    for number in 1..=3 {
        let task = Value::from(json!({"number": number}));
        give.call::<Value>("push", args!("q", task)).await?;
    }
    let (take, task) = waiting.await?;
    assert_eq!(task?, Value::from(json!({"number": 1})));
    let length: usize = give.call("get_length", args!("q")).await?;
    assert_eq!(length, 2);
    let peeked: Vec<Value> = take.call("peek", args!("q", 5)).await?;
    let expected = [json!({"number": 2}), json!({"number": 3})].map(Value::from);
    assert_eq!(peeked, expected);
    let first: Vec<Value> = take.call("peek", args!("q")).await?;
    assert_eq!(first, expected[..1]);
    one.shutdown().await;
    two.shutdown().await;
    Ok(())
}
