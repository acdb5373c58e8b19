//! Tests of the registry in Redis. Tests that need the program `redis-server` are skipped if this
//! program is not installed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ::redis::aio::MultiplexedConnection;
use hypha_rpc::workspace::Visibility;

use super::*;
use crate::settings::Limits;

/// A Redis server that belongs to one test.
struct Redis {
    process: Child,
    /// The server listens on a socket instead of a port, because two tests could choose the same
    /// port.
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
    /// Starts Redis. If Redis is not installed, prints a message and returns `None`.
    async fn start() -> Option<Redis> {
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
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            eprintln!("skipped: {test}: `redis-server` is not installed");
            if let Some(file) = std::env::var_os("HYPHA_TEST_SKIPPED") {
                let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
                writeln!(file, "{test}: `redis-server` is not installed").unwrap();
            }
            return None;
        };
        let redis = Redis { process, socket };
        for _ in 0..500 {
            if tokio::net::UnixStream::connect(&redis.socket).await.is_ok() {
                return Some(redis);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("Redis does not start")
    }

    fn client(&self) -> ::redis::Client {
        let uri = format!("redis+unix://{}", self.socket.display());
        ::redis::Client::open(uri).unwrap()
    }

    async fn connect(&self) -> MultiplexedConnection {
        let client = self.client();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Returns the registry of a server that has sent its first beat.
    async fn server(&self, id: &str) -> RedisRegistry {
        self.server_with(id, RecordLimits::from(&Limits::default()))
            .await
    }

    async fn server_with(&self, id: &str, limits: RecordLimits) -> RedisRegistry {
        let connection = self.client().get_connection_manager().await.unwrap();
        let registry = RedisRegistry::new(connection, id, limits, Arc::default());
        registry.beat().await.unwrap();
        // The servers of a test send only one beat, so their keys must not expire.
        let mut connection = self.connect().await;
        let alive = format!("{ALIVE}{id}");
        connection.persist::<_, ()>(alive).await.unwrap();
        registry
    }

    async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut connection = self.connect().await;
        let mut keys: Vec<String> = connection.keys(pattern).await.unwrap();
        keys.sort_unstable();
        keys
    }

    /// Returns the keys of the indexes of records.
    async fn indexes(&self) -> Vec<String> {
        let mut keys = self.keys("hypha-server/index:*").await;
        keys.retain(|key| !key.ends_with(":servers") && !key.ends_with(":mixed"));
        keys
    }

    /// Simulates a Python server in the cluster.
    async fn join_original(&self) {
        let mut connection = self.connect().await;
        connection
            .set::<_, _, ()>("hypha:leader", "python")
            .await
            .unwrap();
    }

    /// Writes a record in the way a Python server does.
    async fn put_original(&self, service: &ServiceInfo) {
        let mut connection = self.connect().await;
        let key = key_of(service);
        connection.del::<_, ()>(&key).await.unwrap();
        let fields = fields(service).unwrap();
        connection
            .hset_multiple::<_, _, _, ()>(&key, &fields)
            .await
            .unwrap();
    }
}

macro_rules! redis_or_skip {
    () => {
        match Redis::start().await {
            Some(redis) => redis,
            None => return,
        }
    };
}

fn info(id: &str) -> ServiceInfo {
    ServiceInfo {
        id: id.into(),
        kind: Some("generic".into()),
        app_id: Some("*".into()),
        ..ServiceInfo::default()
    }
}

fn single(id: &str) -> ServiceInfo {
    let mut service = info(id);
    service.config.singleton = Some(true);
    service
}

async fn put(registry: &RedisRegistry, service: &ServiceInfo) -> Result<bool, RegistryError> {
    let owner = format!("{}#1", registry.server_id);
    let record = Record::new(service)?;
    registry.put_service(record, &owner).await
}

async fn find(registry: &RedisRegistry, pattern: &ServicePattern) -> Vec<String> {
    let found = registry.find_services(pattern).await.unwrap();
    found.iter().map(|record| record.id.to_string()).collect()
}

fn in_workspace(workspace: &str) -> ServicePattern {
    ServicePattern {
        workspace: workspace.into(),
        ..ServicePattern::default()
    }
}

fn exact(workspace: &str, client: &str, name: &str) -> ServicePattern {
    ServicePattern {
        client: client.into(),
        name: name.into(),
        ..in_workspace(workspace)
    }
}

type Set = fn(&mut ServicePattern);
/// Changes to a pattern for the workspace `w`, with the services that the changed pattern must
/// find.
const SEARCHES: [(Set, &[&str]); 12] = [
    (|_| (), &["w/a:x", "w/a:y", "w/b:x"]),
    (|p| p.client = "a".into(), &["w/a:x", "w/a:y"]),
    (|p| p.client = "a*".into(), &["w/a:x", "w/a:y"]),
    (|p| p.name = "x".into(), &["w/a:x", "w/b:x"]),
    (|p| p.app_id = "app".into(), &["w/a:x"]),
    (|p| p.kind = "t:1/|@".into(), &["w/a:x", "w/b:x"]),
    (|p| p.visibility = "public".into(), &["w/a:x"]),
    (|p| p.visibility = "un*".into(), &["w/b:x"]),
    (|p| p.name = "none".into(), &[]),
    (
        |p| p.workspace = "*".into(),
        &["v/a:x", "w/a:x", "w/a:y", "w/b:x"],
    ),
    (
        |p| (p.client, p.name) = ("a".into(), "y".into()),
        &["w/a:y"],
    ),
    (
        |p| (p.client, p.name, p.kind) = ("a".into(), "y".into(), "t:1/|@".into()),
        &[],
    ),
];

#[tokio::test]
async fn services_are_found_by_every_property() {
    let redis = redis_or_skip!();
    let registry = redis.server("one").await;
    for (id, app, kind, visibility) in [
        ("w/a:x", "app", "t:1/|@", Visibility::Public),
        ("w/a:y", "*", "generic", Visibility::Protected),
        ("w/b:x", "*", "t:1/|@", Visibility::Unlisted),
        ("v/a:x", "app", "t:1/|@", Visibility::Public),
    ] {
        let mut service = info(id);
        service.app_id = Some(app.into());
        service.kind = Some(kind.into());
        service.config.visibility = visibility;
        assert!(!put(&registry, &service).await.unwrap());
    }
    for original in [false, true] {
        if original {
            redis.join_original().await;
        }
        for (set, expected) in SEARCHES {
            let mut pattern = in_workspace("w");
            set(&mut pattern);
            let found = find(&registry, &pattern).await;
            assert_eq!(found, expected, "{pattern:?}, {original}");
        }
    }
}

#[tokio::test]
async fn replaced_and_removed_services_leave_no_index() {
    let redis = redis_or_skip!();
    let registry = redis.server("one").await;
    for id in ["w/a:x", "w/a:y", "w/ab:x", "v/a:x"] {
        assert!(!put(&registry, &info(id)).await.unwrap());
    }
    let mut other = info("w/a:y");
    other.kind = Some("other".into());
    other.app_id = Some("app".into());
    other.config.visibility = Visibility::Public;
    assert!(put(&registry, &other).await.unwrap());
    assert_eq!(
        redis.keys("services:*w/a:y@*").await,
        ["services:public|other:w/a:y@app"]
    );
    let mut pattern = in_workspace("w");
    pattern.kind = "generic".into();
    assert_eq!(find(&registry, &pattern).await, ["w/a:x", "w/ab:x"]);
    pattern.kind = "other".into();
    assert_eq!(find(&registry, &pattern).await, ["w/a:y"]);

    registry.remove_client("w", "a", None).await.unwrap();
    assert_eq!(find(&registry, &in_workspace("w")).await, ["w/ab:x"]);
    assert!(registry.remove_service("w/ab:x").await.unwrap());
    assert!(!registry.remove_service("w/ab:x").await.unwrap());
    registry.remove_workspace("v").await.unwrap();
    assert_eq!(redis.keys("services:*").await, [""; 0]);
    assert_eq!(redis.indexes().await, [""; 0]);
}

#[tokio::test]
async fn a_singleton_excludes_services_with_its_name() {
    let redis = redis_or_skip!();
    let registry = redis.server("one").await;
    let refused = async |service: &ServiceInfo| {
        matches!(
            put(&registry, service).await,
            Err(RegistryError::Singleton { .. })
        )
    };
    put(&registry, &single("w/a:x")).await.unwrap();
    assert!(put(&registry, &single("w/a:x")).await.unwrap());
    put(&registry, &info("w/a:y")).await.unwrap();
    for original in [false, true] {
        if original {
            redis.join_original().await;
        }
        assert!(refused(&single("w/b:x")).await, "{original}");
        assert!(refused(&info("w/b:x")).await, "{original}");
        assert!(refused(&info("w/a:x")).await, "{original}");
        assert!(refused(&single("w/b:y")).await, "{original}");
    }
    // A record of a client of the Python server also causes a conflict.
    redis.put_original(&single("w/python:z")).await;
    assert!(refused(&info("w/a:z")).await);
}

#[tokio::test]
async fn records_beyond_a_limit_are_refused_by_name() {
    let redis = redis_or_skip!();
    let size = Record::new(&info("w/a:0")).unwrap().len();
    let limits = RecordLimits {
        per_client: 3,
        client_bytes: 2 * size,
        workspace_bytes: 3 * size,
        total_bytes: 4 * size,
        found_bytes: usize::MAX,
    };
    // The limits apply to all servers together.
    let registry = redis.server_with("one", limits).await;
    let other = redis.server_with("two", limits).await;
    put(&other, &info("w/a:0")).await.unwrap();
    put(&registry, &info("w/a:1")).await.unwrap();
    assert!(
        put(&registry, &info("w/a:1")).await.unwrap(),
        "a replaced record does not count"
    );
    put(&other, &info("w/b:0")).await.unwrap();
    put(&registry, &info("v/a:0")).await.unwrap();
    for original in [false, true] {
        if original {
            redis.join_original().await;
        }
        for (id, owner) in [
            ("w/a:2", "client `w/a`"),
            ("w/c:0", "workspace `w`"),
            ("u/a:0", "all workspaces"),
        ] {
            let error = put(&registry, &info(id)).await.unwrap_err().to_string();
            let id = format!("`{id}`");
            assert!(error.contains(&id) && error.contains(owner), "{error}");
        }
    }
    // After a record is removed, there is room for another record.
    assert!(registry.remove_service("v/a:0").await.unwrap());
    put(&registry, &info("u/a:0")).await.unwrap();

    let redis = redis_or_skip!();
    let limits = RecordLimits {
        client_bytes: 10 * size,
        workspace_bytes: 10 * size,
        total_bytes: 10 * size,
        ..limits
    };
    let registry = redis.server_with("one", limits).await;
    for name in ["built-in", "0", "1", "2"] {
        put(&registry, &info(&format!("w/a:{name}"))).await.unwrap();
    }
    let error = put(&registry, &info("w/a:3")).await.unwrap_err();
    assert!(
        error.to_string().contains("w/a already has 3 services"),
        "{error}"
    );
    put(&registry, &info("w/a:2")).await.unwrap();
}

#[tokio::test]
async fn concurrent_registrations_keep_the_limits() {
    let redis = redis_or_skip!();
    let mut limits = RecordLimits::from(&Limits::default());
    limits.per_client = 20;
    let (one, two) = (
        redis.server_with("one", limits).await,
        redis.server_with("two", limits).await,
    );
    let puts = (0..60).map(|number| {
        let registry = if number % 2 == 0 { &one } else { &two };
        async move { put(registry, &info(&format!("w/a:{number}"))).await }
    });
    let stored = futures_util::future::join_all(puts).await;
    assert_eq!(stored.iter().filter(|stored| stored.is_ok()).count(), 20);
    assert_eq!(find(&one, &in_workspace("w")).await.len(), 20);

    let puts = (0..20).map(|number| {
        let registry = if number % 2 == 0 { &one } else { &two };
        async move { put(registry, &single(&format!("w/c-{number}:only"))).await }
    });
    let stored = futures_util::future::join_all(puts).await;
    assert_eq!(stored.iter().filter(|stored| stored.is_ok()).count(), 1);

    let mut connection = redis.connect().await;
    let bytes: usize = connection
        .hget("hypha-server/index:bytes", "*")
        .await
        .unwrap();
    let records = one.find_services(&in_workspace("w")).await.unwrap();
    let sum: usize = records.iter().map(|record| record.len()).sum();
    assert_eq!(bytes, sum);
}

#[tokio::test]
async fn a_record_that_changes_its_key_is_always_found() {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await, redis.server("two").await);
    put(&one, &info("w/a:x")).await.unwrap();
    let changing = async {
        for round in 0..200 {
            let mut service = info("w/a:x");
            service.kind = Some(format!("t{round}"));
            assert!(put(&one, &service).await.unwrap());
        }
    };
    let looking = async {
        for round in 0..200 {
            let mut pattern = in_workspace("w");
            match round % 3 {
                0 => pattern = exact("w", "a", "x"),
                1 => pattern.name = "x".into(),
                _ => pattern.client = "a".into(),
            }
            assert_eq!(find(&two, &pattern).await, ["w/a:x"]);
        }
    };
    tokio::join!(changing, looking);
}

#[tokio::test]
async fn a_killed_server_leaves_no_index() {
    let redis = redis_or_skip!();
    let (one, two) = (redis.server("one").await, redis.server("two").await);
    for name in ["built-in", "x"] {
        put(&one, &info(&format!("w/a:{name}"))).await.unwrap();
        put(&two, &info(&format!("w/b:{name}"))).await.unwrap();
    }
    for number in 0..600 {
        put(&two, &info(&format!("v/b:{number}"))).await.unwrap();
    }
    // The client has reconnected at the running server.
    put(&two, &info("w/c:built-in")).await.unwrap();
    put(&one, &info("w/c:built-in")).await.unwrap();
    let mut connection = redis.connect().await;
    let alive = format!("{ALIVE}two");
    connection.del::<_, ()>(alive).await.unwrap();
    let left = ["w/a:built-in", "w/a:x", "w/c:built-in"];
    assert_eq!(find(&one, &in_workspace("w")).await, left);
    assert_eq!(find(&one, &exact("w", "b", "x")).await, [""; 0]);

    let clients = one.remove_server("two").await.unwrap();
    assert_eq!(clients, Some(vec!["w/b".to_owned()]));
    assert_eq!(one.remove_server("two").await.unwrap(), None);
    assert_eq!(redis.keys("services:*").await.len(), 3);
    assert_eq!(find(&one, &in_workspace("w")).await, left);
    one.remove_workspace("w").await.unwrap();
    assert_eq!(redis.indexes().await, [""; 0]);
}

#[tokio::test]
async fn a_record_removed_by_hand_is_not_found_and_makes_room() {
    let redis = redis_or_skip!();
    let registry = redis.server("one").await;
    for id in ["w/a:x", "w/a:y", "w/a:z"] {
        put(&registry, &single(id)).await.unwrap();
    }
    let mut connection = redis.connect().await;
    let keys = redis.keys("services:*").await;
    connection.del::<_, ()>(&keys).await.unwrap();
    assert_eq!(find(&registry, &exact("w", "a", "x")).await, [""; 0]);
    let mut pattern = in_workspace("w");
    pattern.name = "y".into();
    assert_eq!(find(&registry, &pattern).await, [""; 0]);
    assert!(!put(&registry, &info("w/a:z")).await.unwrap());
    assert!(registry.remove_service("w/a:z").await.unwrap());
    assert_eq!(redis.indexes().await, [""; 0]);
}

#[tokio::test]
async fn invalid_records_do_not_break_lists() {
    let redis = redis_or_skip!();
    let registry = redis.server("one").await;
    let mut connection = redis.connect().await;
    for id in ["w/a:good", "w/a:no-text", "w/a:no-hash"] {
        put(&registry, &info(id)).await.unwrap();
    }
    let (no_text, no_hash) = (key_of(&info("w/a:no-text")), key_of(&info("w/a:no-hash")));
    let bad: &[u8] = b"\xff\xfe";
    connection
        .hset::<_, _, _, ()>(&no_text, "name", bad)
        .await
        .unwrap();
    connection.set::<_, _, ()>(&no_hash, "text").await.unwrap();
    // The search in one workspace uses the indexes; the search in `*` scans all keys.
    assert_eq!(find(&registry, &in_workspace("w")).await, ["w/a:good"]);
    assert_eq!(find(&registry, &in_workspace("*")).await, ["w/a:good"]);
    assert_eq!(find(&registry, &exact("w", "a", "no-text")).await, [""; 0]);
    assert_eq!(registry.counters.records_skipped.get(), 5);
}

#[tokio::test]
async fn records_of_the_python_server_are_found_and_kept() {
    let redis = redis_or_skip!();
    let registry = redis.server("one").await;
    for name in ["built-in", "x", "y"] {
        put(&registry, &info(&format!("w/a:{name}"))).await.unwrap();
    }
    redis.join_original().await;
    redis.put_original(&info("w/python:x")).await;
    let mut pattern = in_workspace("w");
    pattern.name = "x".into();
    assert_eq!(find(&registry, &pattern).await, ["w/a:x", "w/python:x"]);
    let found = find(&registry, &exact("w", "python", "x")).await;
    assert_eq!(found, ["w/python:x"]);
    // The client connects to the Python server, and registers two of its services again, one of
    // them with another type.
    let mut connection = redis.connect().await;
    redis.put_original(&info("w/a:built-in")).await;
    let mut moved = info("w/a:x");
    connection.del::<_, ()>(key_of(&moved)).await.unwrap();
    moved.kind = Some("other".into());
    redis.put_original(&moved).await;
    registry
        .remove_client("w", "a", Some("one#1"))
        .await
        .unwrap();
    let left = ["w/a:built-in", "w/a:x", "w/python:x"];
    assert_eq!(find(&registry, &in_workspace("w")).await, left);
    assert_eq!(redis.indexes().await, [""; 0]);
    // The client returns, and the record has one key again.
    assert!(put(&registry, &info("w/a:x")).await.unwrap());
    assert_eq!(redis.keys("services:*w/a:x@*").await.len(), 1);
    // The lease may be free for a moment.
    registry.beat().await.unwrap();
    connection.del::<_, ()>("hypha:leader").await.unwrap();
    assert_eq!(find(&registry, &in_workspace("w")).await, left);
}

#[tokio::test]
async fn records_of_a_server_without_indexes_are_found_and_removed() {
    let redis = redis_or_skip!();
    let registry = redis.server("new").await;
    let mut connection = redis.connect().await;
    connection.sadd::<_, _, ()>(SERVERS, "old").await.unwrap();
    let alive = format!("{ALIVE}old");
    connection.set::<_, _, ()>(&alive, "").await.unwrap();
    registry.beat().await.unwrap();
    redis.put_original(&info("w/a:built-in")).await;
    let key = key_of(&info("w/a:built-in"));
    let owned = connection.hset::<_, _, _, ()>(&key, OWNER, "old#1");
    owned.await.unwrap();
    let pattern = exact("w", "a", "built-in");
    assert_eq!(find(&registry, &pattern).await, ["w/a:built-in"]);
    connection.del::<_, ()>(&alive).await.unwrap();
    let clients = registry.remove_server("old").await.unwrap();
    assert_eq!(clients, Some(vec!["w/a".to_owned()]));
    assert_eq!(redis.keys("services:*").await, [""; 0]);
}

/// Returns how often a command was called so far.
async fn calls(connection: &mut MultiplexedConnection, command: &str) -> u64 {
    let mut asked = cmd("INFO");
    let stats: String = asked
        .arg("commandstats")
        .query_async(connection)
        .await
        .unwrap();
    let line = format!("cmdstat_{command}:calls=");
    let number = stats.lines().find_map(|stat| stat.strip_prefix(&line));
    let number = number.and_then(|stat| stat.split(',').next());
    number.map_or(0, |number| number.parse().unwrap())
}

#[tokio::test]
async fn a_search_reads_only_the_records_that_it_returns() {
    let redis = redis_or_skip!();
    let registry = redis.server("one").await;
    let mut connection = redis.connect().await;
    let before = calls(&mut connection, "scan").await;
    for number in 0..300 {
        let mut service = info(&format!("w/c-{}:s-{number}", number / 100));
        service.kind = Some(format!("t-{}", number % 10));
        put(&registry, &service).await.unwrap();
        put(&registry, &info(&format!("v-{number}/a:s-7")))
            .await
            .unwrap();
    }
    for (set, expected) in [
        (
            (|p| (p.client, p.name) = ("c-0".into(), "s-7".into())) as Set,
            1,
        ),
        (|p| p.name = "s-7".into(), 1),
        (|p| p.name = "s-1*".into(), 111),
        (|p| p.client = "c-1".into(), 100),
        (|p| p.kind = "t-3".into(), 30),
        (|p| (p.client, p.kind) = ("c-1".into(), "t-3".into()), 10),
        (|p| p.visibility = "public".into(), 0),
    ] {
        let mut pattern = in_workspace("w");
        set(&mut pattern);
        let read = calls(&mut connection, "hgetall").await;
        assert_eq!(find(&registry, &pattern).await.len(), expected);
        // The list of the whole workspace needs one more call.
        let read = calls(&mut connection, "hgetall").await - read;
        assert!(read <= expected as u64 + 1, "{pattern:?}: {read}");
    }
    registry
        .remove_client("w", "c-2", Some("one#1"))
        .await
        .unwrap();
    assert!(registry.remove_service("w/c-0:s-7").await.unwrap());
    registry.remove_server("one").await.unwrap();
    assert_eq!(calls(&mut connection, "scan").await, before);
}

/// Prints the time of one lookup and one registration: with records of other workspaces, with
/// records of the same workspace, and with a Python server in the cluster, when all keys are
/// scanned. Run this test in release mode: `cargo test --release -p hypha-server --lib times --
/// --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn times_beside_other_records() {
    let redis = redis_or_skip!();
    let mut limits = RecordLimits::from(&Limits::default());
    limits.total_bytes = usize::MAX;
    limits.workspace_bytes = usize::MAX;
    let registry = redis.server_with("one", limits).await;
    let mut connection = redis.connect().await;
    let mut own = info("w/a:x");
    own.kind = Some("t".into());
    put(&registry, &info("w/a:built-in")).await.unwrap();
    put(&registry, &own).await.unwrap();
    let (mut elsewhere, mut here) = (0, 0);
    for (others, same) in [(10, 0), (1_000, 0), (30_000, 0), (30_000, 30_000)] {
        while elsewhere < others {
            let id = format!("v-{}/c:s-{elsewhere}", elsewhere / 100);
            put(&registry, &info(&id)).await.unwrap();
            elsewhere += 1;
        }
        while here < same {
            let id = format!("w/c-{}:s-{here}", here / 100);
            put(&registry, &info(&id)).await.unwrap();
            here += 1;
        }
        for (what, rounds) in [("indexed", 500), ("scanned", 20)] {
            if what == "scanned" {
                redis.join_original().await;
            }
            let mut line = format!("{others} elsewhere, {same} here, {what}:");
            for (how, set) in [
                (
                    "id",
                    (|p| (p.client, p.name) = ("a".into(), "x".into())) as Set,
                ),
                ("name", |p| p.name = "x".into()),
                ("client", |p| p.client = "a".into()),
                ("type", |p| p.kind = "t".into()),
            ] {
                let mut pattern = in_workspace("w");
                set(&mut pattern);
                let begun = std::time::Instant::now();
                for _ in 0..rounds {
                    assert!(!find(&registry, &pattern).await.is_empty());
                }
                line.push_str(&format!(" {how} {:?},", begun.elapsed() / rounds));
            }
            let begun = std::time::Instant::now();
            for _ in 0..rounds {
                put(&registry, &own).await.unwrap();
            }
            println!("{line} put {:?}", begun.elapsed() / rounds);
        }
        connection.del::<_, ()>("hypha:leader").await.unwrap();
    }
}

#[test]
fn fields_decode_to_the_same_record() {
    let record = ServiceInfo {
        id: "w/c:n".into(),
        kind: Some("generic".into()),
        description: Some("it \"is\"".into()),
        app_id: Some("*".into()),
        ..ServiceInfo::default()
    };
    let written = fields(&record).unwrap();
    let description = written.iter().find(|(name, _)| *name == "description");
    assert_eq!(description.unwrap().1, r#""it \"is\"""#);
    let read: Vec<_> = written
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text))
        .collect();
    assert_eq!(service(&read), Some(record.clone()));
    assert_eq!(key_of(&record), "services:protected|generic:w/c:n@*");
}

#[test]
fn separators_in_types_are_escaped() {
    let record = ServiceInfo {
        id: "w/c:n".into(),
        kind: Some("a:v/x:y@z|*".into()),
        app_id: Some("b/c@d".into()),
        ..ServiceInfo::default()
    };
    let key = key_of(&record);
    assert_eq!(
        key,
        "services:protected|a%3av%2fx%3ay%40z%7c*:w/c:n@b%2fc%40d"
    );
}

#[test]
fn stars_in_names_are_escaped() {
    assert_eq!(escaped("a[b]?*"), "a\\[b\\]\\?*");
    assert_eq!(all_keys_of("w/c:*"), "services:*|*:w/c:\\*@*");
}
