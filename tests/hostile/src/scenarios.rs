//! Defines the table of attacks, and the attempts of each attack.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use hypha_wire::random_id;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::attack::{Attack, Attempt};
use crate::peer::{Peer, Reply};
use crate::wire::{self, BINARY, PING, TEXT};

/// Size of an attack.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Number of concurrent connections.
    pub connections: usize,
    /// Number of bytes of one input.
    pub bytes: usize,
}

/// Memory limit of an attack. The limit applies to the difference from the idle state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Four times the size of one input plus [`Form::slack`](crate::runner::Form::slack). The limit
    /// does not depend on the number of connections.
    Input,
    /// Memory budget of the server process.
    Budget,
}

/// A kind of attack.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name, in kebab case.
    pub name: &'static str,
    /// Size in the small form. With zero connections, the small form skips this attack, because the
    /// small form contains a similar attack.
    pub small: Size,
    /// Size in the full form.
    pub full: Size,
    /// Number of IP addresses from which the connections come.
    pub addresses: usize,
    /// Memory limit for this attack.
    pub memory_limit: MemoryLimit,
    /// Maximum time until the memory of closed connections is released.
    pub released: Duration,
    /// Whether the attack calls the service of the victims. The calls of the victims are then
    /// slower, because this service handles one caller at a time.
    pub shares_receiver: bool,
    /// At least one outcome must contain one of these strings. Otherwise the attack did not take
    /// place.
    pub expect: &'static [&'static str],
    /// Makes one attempt and returns its outcome. Each connection repeats the attempt.
    pub attempt: Attempt,
}

/// Returns the scenario with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const SECOND: Duration = Duration::from_secs(1);
/// Number of connections of an attack in the full form.
const MANY: usize = 1000;
/// Number of services that one client registers.
const RECORDS: usize = 70;
/// Size of the record of each of these services, in bytes.
const RECORD: usize = 250_000;

/// Returns a scenario with the given numbers of connections and bytes, in the small and in the full
/// form.
const fn scenario(
    name: &'static str,
    small: (usize, usize),
    full: (usize, usize),
    expect: &'static [&'static str],
    attempt: Attempt,
) -> Scenario {
    const fn size((connections, bytes): (usize, usize)) -> Size {
        Size { connections, bytes }
    }
    Scenario {
        name,
        small: size(small),
        full: size(full),
        addresses: 100,
        memory_limit: MemoryLimit::Budget,
        released: Duration::from_secs(10),
        shares_receiver: false,
        expect,
        attempt,
    }
}

impl Scenario {
    /// Makes all connections come from one IP address.
    const fn one_address(mut self) -> Scenario {
        self.addresses = 1;
        self
    }

    /// Limits the memory by the size of one input.
    const fn by_input(mut self) -> Scenario {
        self.memory_limit = MemoryLimit::Input;
        self
    }

    /// Requires that the server releases the memory within one second.
    const fn at_once(mut self) -> Scenario {
        self.released = SECOND;
        self
    }

    /// Marks an attack that calls the service of the victims.
    const fn to_the_victims(mut self) -> Scenario {
        self.shares_receiver = true;
        self
    }
}

const REFUSED: &[&str] = &["404"];
const CALLED: &[&str] = &["200", "413", "503"];
const HELD: &[&str] = &["held"];
const OVER: &[&str] = &[
    "memory limit",
    "cache store",
    "out of memory",
    "closed 1013",
];

/// All attacks.
pub const SCENARIOS: &[Scenario] = &[
    scenario(
        "post-json-1",
        (0, 4 * MIB),
        (1, 16 * MIB),
        REFUSED,
        |a, n| post(a, n, Body::Json, NOBODY).boxed(),
    )
    .by_input(),
    scenario(
        "post-json-8",
        (8, 4 * MIB),
        (8, 16 * MIB),
        REFUSED,
        |a, n| post(a, n, Body::Json, NOBODY).boxed(),
    )
    .by_input(),
    scenario(
        "post-gzip-1",
        (0, 4 * MIB),
        (1, 16 * MIB),
        REFUSED,
        |a, n| post(a, n, Body::Gzip, NOBODY).boxed(),
    )
    .by_input(),
    scenario(
        "post-gzip-8",
        (8, 4 * MIB),
        (8, 16 * MIB),
        REFUSED,
        |a, n| post(a, n, Body::Gzip, NOBODY).boxed(),
    )
    .by_input(),
    scenario(
        "post-msgpack-1",
        (0, 4 * MIB),
        (1, 16 * MIB),
        REFUSED,
        |a, n| post(a, n, Body::Msgpack, NOBODY).boxed(),
    )
    .by_input(),
    scenario(
        "post-msgpack-8",
        (8, 4 * MIB),
        (8, 16 * MIB),
        REFUSED,
        |a, n| post(a, n, Body::Msgpack, NOBODY).boxed(),
    )
    .by_input(),
    scenario(
        "call-json-1",
        (1, 2 * MIB),
        (1, 16 * MIB - KIB),
        CALLED,
        |a, n| post(a, n, Body::Json, "swallow").boxed(),
    )
    .by_input(),
    scenario(
        "call-gzip-1",
        (1, MIB),
        (1, 16 * MIB - KIB),
        CALLED,
        |a, n| post(a, n, Body::Gzip, "swallow").boxed(),
    )
    .by_input(),
    scenario(
        "call-msgpack-1",
        (1, 2 * MIB),
        (1, 16 * MIB - KIB),
        CALLED,
        |a, n| post(a, n, Body::Msgpack, "swallow").boxed(),
    )
    .by_input(),
    scenario(
        "call-json-many",
        (20, MIB),
        (MANY, 16 * MIB - KIB),
        CALLED,
        |a, n| post(a, n, Body::Json, "swallow").boxed(),
    ),
    scenario(
        "call-gzip-many",
        (0, MIB),
        (MANY, 16 * MIB - KIB),
        CALLED,
        |a, n| post(a, n, Body::Gzip, "swallow").boxed(),
    ),
    scenario(
        "login-json-many",
        (20, MIB),
        (MANY, 16 * MIB - KIB),
        &["200", "400", "500", "503"],
        |a, n| post(a, n, Body::Json, "/public/services/hypha-login/start").boxed(),
    ),
    scenario(
        "bodies-held",
        (40, 2 * MIB),
        (MANY, 16 * MIB - KIB),
        HELD,
        |a, n| post_and_wait(a, n).boxed(),
    ),
    scenario(
        "echo-nils-1",
        (1, 3 * MIB),
        (1, 15 * MIB),
        &["answered", "needs more ", "out of memory"],
        |a, n| echo(a, n).boxed(),
    )
    .by_input(),
    scenario(
        "echo-nils-many",
        (8, 3 * MIB),
        (MANY, 15 * MIB),
        &["answered", "needs more ", "out of memory"],
        |a, n| echo(a, n).boxed(),
    ),
    scenario(
        "chunked-nils",
        (1, 24 * MIB),
        (1, 200 * MIB),
        OVER,
        |a, n| chunked(a, n).boxed(),
    ),
    scenario("nils-read", (1, 4 * MIB), (1, 60 * MIB), HELD, |a, n| {
        nils_read(a, n).boxed()
    })
    .by_input(),
    scenario(
        "nils-unread",
        (8, 2 * MIB),
        (MANY, 60 * MIB),
        HELD,
        |a, n| nils_unread(a, n).boxed(),
    ),
    scenario(
        "chunks-manager",
        (20, 24 * MIB),
        (MANY, 600 * MIB),
        OVER,
        |a, n| unfinished(a, n, Target::Manager).boxed(),
    )
    .at_once(),
    scenario(
        "chunks-login",
        (0, 24 * MIB),
        (MANY, 600 * MIB),
        OVER,
        |a, n| unfinished(a, n, Target::Login).boxed(),
    )
    .at_once(),
    scenario(
        "chunks-invented",
        (20, 24 * MIB),
        (MANY, 600 * MIB),
        &["held", "not connected"],
        |a, n| unfinished(a, n, Target::Invented).boxed(),
    )
    .at_once(),
    scenario(
        "chunks-one-address",
        (20, 24 * MIB),
        (MANY, 600 * MIB),
        OVER,
        |a, n| unfinished(a, n, Target::Manager).boxed(),
    )
    .one_address()
    .at_once(),
    scenario(
        "records-listed",
        (4, RECORDS * RECORD),
        (4, RECORDS * RECORD),
        &["listed", "limit", "out of memory"],
        |a, n| list(a, n).boxed(),
    )
    .by_input(),
    scenario(
        "records-many",
        (20, RECORDS * RECORD),
        (MANY, RECORDS * RECORD),
        HELD,
        |a, n| records(a, n).boxed(),
    ),
    scenario(
        "slow-bodies",
        (40, 3 * MIB),
        (MANY, 16 * MIB - KIB),
        HELD,
        |a, n| slow_body(a, n).boxed(),
    ),
    scenario(
        "partial-frames",
        (40, 4 * MIB),
        (MANY, 16 * MIB),
        HELD,
        |a, n| partial_frame(a, n).boxed(),
    ),
    scenario(
        "unread-websocket",
        (20, 256 * KIB),
        (MANY, 256 * KIB),
        HELD,
        |a, n| unread(a, n, false).boxed(),
    ),
    scenario(
        "unread-stream",
        (20, 256 * KIB),
        (MANY, 256 * KIB),
        HELD,
        |a, n| unread(a, n, true).boxed(),
    ),
    scenario("never", (100, 0), (MANY, 0), HELD, |a, n| {
        never(a, n).boxed()
    }),
    scenario(
        "rejections",
        (10, 3 * MIB),
        (MANY, 15 * MIB),
        HELD,
        |a, n| rejections(a, n).boxed(),
    ),
    scenario("flood-pings", (4, 125), (MANY, 125), HELD, |a, n| {
        flood(a, n, PING, Content::Zeros, true).boxed()
    }),
    scenario("flood-pings-unread", (0, 125), (MANY, 125), HELD, |a, n| {
        flood(a, n, PING, Content::Zeros, false).boxed()
    }),
    scenario("flood-control", (4, 0), (MANY, 0), HELD, |a, n| {
        flood(a, n, TEXT, Content::Text(r#"{"type":"ping"}"#), true).boxed()
    }),
    scenario("flood-control-unread", (0, 0), (MANY, 0), HELD, |a, n| {
        flood(a, n, TEXT, Content::Text(r#"{"type":"ping"}"#), false).boxed()
    }),
    scenario("flood-refresh", (0, 0), (MANY, 0), HELD, |a, n| {
        flood(
            a,
            n,
            TEXT,
            Content::Text(r#"{"type":"refresh_token"}"#),
            true,
        )
        .boxed()
    }),
    scenario("flood-text", (4, 900), (MANY, 900), HELD, |a, n| {
        flood(a, n, TEXT, Content::Zeros, true).boxed()
    }),
    scenario(
        "flood-garbage",
        (4, 64 * KIB),
        (MANY, 64 * KIB),
        HELD,
        |a, n| flood(a, n, BINARY, Content::Zeros, true).boxed(),
    ),
    scenario("flood-nobody", (4, 0), (MANY, 0), HELD, |a, n| {
        flood(a, n, BINARY, Content::CallOfNobody, true).boxed()
    }),
    scenario("flood-manager", (4, 0), (MANY, 0), HELD, |a, n| {
        flood(a, n, BINARY, Content::CallOfManager, true).boxed()
    }),
    scenario("flood-victim", (4, 0), (MANY, 0), HELD, |a, n| {
        flood(a, n, BINARY, Content::CallOfVictim, true).boxed()
    })
    .to_the_victims(),
    scenario("upload-victim", (1, MIB), (1, MIB), HELD, |a, n| {
        flood(a, n, BINARY, Content::Upload, true).boxed()
    })
    .to_the_victims(),
    scenario("handshakes", (8, 0), (MANY, 0), &["entered"], |a, n| {
        handshake(a, n).boxed()
    }),
    scenario("handshakes-silent", (50, 0), (MANY, 0), HELD, |a, n| {
        silent(a, n).boxed()
    }),
    scenario("requests-unfinished", (50, 0), (MANY, 0), HELD, |a, n| {
        half_a_request(a, n).boxed()
    }),
    scenario("login-unread", (6, 0), (6, 0), HELD, |a, n| {
        login(a, n, "check", false).boxed()
    }),
    scenario("login-unread-many", (0, 0), (MANY, 0), HELD, |a, n| {
        login(a, n, "start", false).boxed()
    }),
    scenario("login-start", (8, 0), (8, 0), HELD, |a, n| {
        login(a, n, "start", true).boxed()
    })
    .one_address(),
    scenario("login-check", (8, 0), (8, 0), HELD, |a, n| {
        login(a, n, "check", true).boxed()
    })
    .one_address(),
    scenario(
        "login-start-http",
        (20, 0),
        (MANY, 0),
        &["200", "500"],
        |a, n| login_http(a, n).boxed(),
    ),
    scenario(
        "headers-many",
        (20, 40_000),
        (MANY, 40_000),
        &["431", "400", "no response"],
        |a, n| many_headers(a, n).boxed(),
    ),
    scenario(
        "headers-endless",
        (0, 4 * MIB),
        (MANY, 16 * MIB),
        &["431", "400", "no response"],
        |a, n| endless_header(a, n).boxed(),
    ),
    scenario(
        "headers-of-app",
        (8, 40_000),
        (MANY, 40_000),
        &["502", "503"],
        |a, n| app_headers(a, n).boxed(),
    ),
];

/// Path of a function that does not exist.
const NOBODY: &str = "/public/services/nobody/nothing";
/// Pause between two bytes of a body, frame or request that is sent slowly.
const DRIP: Duration = Duration::from_secs(1);

/// Encoding of the list of nils in the body of a request.
#[derive(Clone, Copy)]
enum Body {
    Json,
    Gzip,
    Msgpack,
}

impl Body {
    fn headers(self) -> &'static str {
        match self {
            Body::Json => "Content-Type: application/json\r\n",
            Body::Gzip => "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
            Body::Msgpack => "Content-Type: application/msgpack\r\n",
        }
    }

    fn encode(self, len: usize) -> Vec<u8> {
        match self {
            Body::Json => {
                let mut body = br#"{"workspace":["#.to_vec();
                while body.len() + 10 < len {
                    body.extend_from_slice(b"null,");
                }
                body.extend_from_slice(b"0]}");
                body
            }
            Body::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                let written = encoder.write_all(&Body::Json.encode(len));
                written.and_then(|()| encoder.finish()).unwrap_or_default()
            }
            Body::Msgpack => {
                let mut body = b"\x81\xa9workspace".to_vec();
                body.extend(wire::nils(len - 11));
                body
            }
        }
    }
}

/// Posts a list of nils to a function. `function` is a path, or the name of a function of the
/// attackers' service.
async fn post(attack: Arc<Attack>, n: usize, body: Body, function: &str) -> Result<String> {
    let path = match function.starts_with('/') {
        true => function.to_owned(),
        false => format!("{}/{function}", desk(&attack).await?),
    };
    let payload = attack.payload(|len| body.encode(len)).await;
    let head = wire::request("POST", &path, body.headers(), payload.len());
    let exchange = wire::exchange(attack.address(n), attack.options.server, &head, &payload);
    Ok(exchange.await?.0.to_string())
}

/// Registers the attackers' service. The function `wait` of this service never responds, and the
/// function `nils` returns many nils.
async fn desk(attack: &Attack) -> Result<String> {
    let replies = |bytes| {
        let nils = Reply::Value(Bytes::from(wire::nils(bytes)));
        vec![("wait", Reply::Never), ("nils", nils)]
    };
    attack.desk("generic", replies).await
}

/// Posts to a function that never responds.
async fn post_and_wait(attack: Arc<Attack>, n: usize) -> Result<String> {
    let path = format!("{}/wait", desk(&attack).await?);
    let payload = attack.payload(|len| Body::Msgpack.encode(len)).await;
    let head = wire::request("POST", &path, Body::Msgpack.headers(), payload.len());
    let mut stream = wire::connect(attack.address(n), attack.options.server).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&payload).await?;
    attack.held(n);
    ended(stream).await
}

/// Waits for the response to a request, and returns its status.
async fn ended(stream: TcpStream) -> Result<String> {
    let mut stream = BufReader::new(stream);
    Ok(wire::status(&mut stream).await?.to_string())
}

/// Sends a list of nils to the manager, which sends the list back.
async fn echo(attack: Arc<Attack>, n: usize) -> Result<String> {
    let payload = attack.payload(wire::nils).await;
    let mut peer = attack.enter(n).await?;
    peer.offer("generic").await?;
    peer.ask("echo", &[&payload]).await?;
    Ok("answered".into())
}

/// Sends the manager a large message in chunks.
async fn chunked(attack: Arc<Attack>, n: usize) -> Result<String> {
    let payload = attack.payload(wire::nils).await;
    let mut peer = attack.enter(n).await?;
    let manager = peer.manager.clone();
    let args: [&[u8]; 1] = [&payload];
    let session = random_id();
    let message = wire::message(&manager, "services.default.echo", Some(&session), &args);
    let key = wire::pack(&random_id().into());
    let path = |name: &str| format!("services.built-in.message_cache.{name}");
    peer.call(&manager, &path("create"), &[&key]).await?;
    for (index, part) in message.chunks(MIB).enumerate() {
        let mut data = vec![0xc6];
        data.extend((part.len() as u32).to_be_bytes());
        data.extend_from_slice(part);
        let index = wire::pack(&index.into());
        peer.call(&manager, &path("set"), &[&key, &index, &data])
            .await?;
    }
    peer.call(&manager, &path("process"), &[&key]).await?;
    peer.answer(&session).await?;
    Ok("answered".into())
}

/// Calls a function that returns many nils, and reads the whole response.
async fn nils_read(attack: Arc<Attack>, n: usize) -> Result<String> {
    let head = wire::request("GET", &format!("{}/nils", desk(&attack).await?), "", 0);
    // One response takes longer than the attack, so count this connection as waiting.
    attack.held(n);
    let exchange = wire::exchange(attack.address(n), attack.options.server, &head, b"");
    Ok(match exchange.await? {
        (200, _) => "200".into(),
        (status, body) => format!("{status} {}", String::from_utf8_lossy(&body)),
    })
}

/// Calls a function that returns many nils, and does not read the response.
async fn nils_unread(attack: Arc<Attack>, n: usize) -> Result<String> {
    let head = wire::request("GET", &format!("{}/nils", desk(&attack).await?), "", 0);
    let mut stream = wire::connect(attack.address(n), attack.options.server).await?;
    stream.write_all(head.as_bytes()).await?;
    attack.held(n);
    sleep(Duration::from_secs(20)).await;
    ended(stream).await
}

/// Receiver of incomplete messages, to which the attackers send chunks.
#[derive(Clone, Copy)]
enum Target {
    Manager,
    Login,
    Invented,
}

/// Sends chunks of a message that is never completed. Stops when a chunk is rejected.
async fn unfinished(attack: Arc<Attack>, n: usize, target: Target) -> Result<String> {
    let part = wire::zeros(MIB);
    let mut peer = attack.enter(n).await?;
    let to = match target {
        Target::Manager => peer.manager.clone(),
        Target::Login => attack.login(&mut peer).await?,
        Target::Invented => format!("*/{}", random_id()),
    };
    let key = wire::pack(&random_id().into());
    let path = |name: &str| format!("services.built-in.message_cache.{name}");
    let mut sent = peer.call(&to, &path("create"), &[&key]).await;
    for index in 0..attack.options.bytes / MIB {
        if sent.is_err() {
            break;
        }
        let index = wire::pack(&index.into());
        sent = peer.call(&to, &path("set"), &[&key, &index, &part]).await;
    }
    if let Err(error) = sent {
        attack.count(&format!("{error:#}"));
    }
    attack.held(n);
    peer.serve().await
}

/// Lists the services of a client that has registered the maximum number of large records.
async fn list(attack: Arc<Attack>, n: usize) -> Result<String> {
    // One client registers the records. All connections list the workspace of that client.
    let owner = desk_with_records(&attack).await?;
    let mut peer = attack.enter(n).await?;
    let query = wire::pack(&json!({ "workspace": owner, "visibility": "public" }));
    for _ in 0..10 {
        match peer.ask("list_services", &[&query]).await {
            Ok(_) => attack.count("listed"),
            Err(error) => attack.count(&format!("{error:#}")),
        }
        attack.reached(n);
    }
    Ok("done".into())
}

/// Registers the records with the first call. Returns the workspace that contains the records.
async fn desk_with_records(attack: &Attack) -> Result<String> {
    let path = desk(attack).await?;
    static ONCE: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
    let register = async || {
        drop(path);
        let mut owner = attack.enter(MANY).await?;
        register_all(attack, &mut owner).await?;
        let workspace = owner
            .address
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        tokio::spawn(owner.serve());
        anyhow::Ok(workspace)
    };
    ONCE.get_or_try_init(register).await.cloned()
}

/// Registers large records. Stops after [`RECORDS`] records, or when a record is rejected.
async fn register_all(attack: &Attack, peer: &mut Peer) -> Result<()> {
    peer.offer("generic").await?;
    let docs = "x".repeat(RECORD);
    for number in 0..attack.options.bytes / RECORD {
        let id = format!("{}:record-{number}", peer.address);
        let config = json!({ "visibility": "public" });
        let service = json!({ "id": id, "type": "generic", "docs": docs, "config": config });
        if let Err(error) = peer.ask("register_service", &[&wire::pack(&service)]).await {
            attack.count(&format!("{error:#}"));
            return Ok(());
        }
    }
    Ok(())
}

/// Registers as many large records as possible, and then stays connected.
async fn records(attack: Arc<Attack>, n: usize) -> Result<String> {
    let mut peer = attack.enter(n).await?;
    register_all(&attack, &mut peer).await?;
    attack.held(n);
    peer.serve().await
}

/// Sends three quarters of a body immediately, and the rest one byte at a time.
async fn slow_body(attack: Arc<Attack>, n: usize) -> Result<String> {
    let len = attack.options.bytes;
    let payload = attack.payload(|len| vec![b' '; len / 4 * 3]).await;
    let path = "/public/services/hypha-login/start";
    let head = wire::request("POST", path, Body::Json.headers(), len);
    let stream = wire::connect(attack.address(n), attack.options.server).await?;
    let (read, mut write) = stream.into_split();
    let dripping = async {
        write.write_all(head.as_bytes()).await?;
        if timeout(SECOND, write.write_all(&payload)).await.is_err() {
            attack.count("made to wait");
        }
        attack.held(n);
        loop {
            sleep(DRIP).await;
            write.write_all(b" ").await?;
        }
    };
    let mut read = BufReader::new(read);
    tokio::select! {
        status = wire::status(&mut read) => Ok(status?.to_string()),
        failed = dripping => failed,
    }
}

/// Sends three quarters of a frame, and never sends the rest.
async fn partial_frame(attack: Arc<Attack>, n: usize) -> Result<String> {
    let len = attack.options.bytes;
    let payload = attack.payload(|len| vec![0; len / 4 * 3]).await;
    let (mut reader, mut writer) = attack.enter(n).await?.into_halves();
    let sending = async {
        writer.announce(BINARY, len).await?;
        if timeout(SECOND, writer.bytes(&payload)).await.is_err() {
            attack.count("made to wait");
        }
        attack.held(n);
        loop {
            sleep(DRIP).await;
            writer.bytes(&[0]).await?;
        }
    };
    let ending = async {
        loop {
            if let wire::Frame::Closed(code, reason) = reader.next().await {
                return format!("closed {code} {reason}");
            }
        }
    };
    tokio::select! {
        end = ending => Ok(end),
        failed = sending => failed,
    }
}

/// Sends messages to another attacker over a WebSocket or an HTTP stream. The other attacker never
/// reads.
async fn unread(attack: Arc<Attack>, n: usize, over_http: bool) -> Result<String> {
    let payload = attack.payload(wire::zeros).await;
    let (deaf, to) = match over_http {
        true => stream(&attack, n).await?,
        false => {
            let peer = attack.enter(n).await?;
            let address = peer.address.clone();
            (Unread::Socket(Box::new(peer)), address)
        }
    };
    let mut peer = attack.enter(n).await?;
    let message = wire::message(&to, "services.x.y", None, &[&payload]);
    let sending = async {
        loop {
            let sent = timeout(SECOND, peer.send(&message)).await;
            match sent {
                Ok(sent) => sent?,
                // The timeout may have interrupted a frame. No frame can follow a partial frame, so
                // stop sending and keep the connection open.
                Err(_) => break,
            }
        }
        attack.held(n);
        peer.serve().await
    };
    let end = sending.await;
    drop(deaf);
    end
}

/// A connection that stays open and from which no data is read.
#[allow(dead_code, reason = "they are only held")]
enum Unread {
    Socket(Box<Peer>),
    Stream(TcpStream),
}

/// Opens an HTTP stream of a new client. Returns the stream and the address of the client.
async fn stream(attack: &Attack, n: usize) -> Result<(Unread, String)> {
    let path = format!("/rpc?client_id={}", random_id());
    let mut stream = wire::connect(attack.address(n), attack.options.server).await?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: hostile\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let status = wire::status(&mut stream).await?;
    anyhow::ensure!(status == 200, "the stream is refused: {status}");
    // The first chunk contains the first frame. The server sends later frames in further chunks.
    let mut buffer = vec![0; 16 * KIB];
    let mut all = Vec::new();
    loop {
        let len = timeout(wire::TIMEOUT, stream.read(&mut buffer)).await??;
        anyhow::ensure!(len > 0, "the stream has ended");
        all.extend_from_slice(&buffer[..len]);
        let text = |key: &str| text_field(&all, key);
        if let (Some(workspace), Some(client)) = (text("workspace"), text("client_id")) {
            return Ok((Unread::Stream(stream), format!("{workspace}/{client}")));
        }
    }
}

/// Returns the value of `key` in a msgpack map. Returns `None` if the value is not a short string.
fn text_field(bytes: &[u8], key: &str) -> Option<String> {
    let mut wanted = vec![0xa0 | key.len() as u8];
    wanted.extend_from_slice(key.as_bytes());
    let at = bytes
        .windows(wanted.len())
        .position(|window| window == wanted)?;
    let rest = bytes.get(at + wanted.len()..)?;
    let (start, len) = match rest.first()? {
        0xd9 => (2, usize::from(*rest.get(1)?)),
        short => (1, usize::from(short & 0x1f)),
    };
    let text = rest.get(start..start + len)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Calls a function that never responds.
async fn never(attack: Arc<Attack>, n: usize) -> Result<String> {
    let head = wire::request("GET", &format!("{}/wait", desk(&attack).await?), "", 0);
    let mut stream = wire::connect(attack.address(n), attack.options.server).await?;
    stream.write_all(head.as_bytes()).await?;
    attack.held(n);
    ended(stream).await
}

/// Calls clients that do not exist. The name of the called function is long, and each rejection
/// repeats the name. Reads no response.
async fn rejections(attack: Arc<Attack>, n: usize) -> Result<String> {
    let message = attack.payload(|len| {
        let method = format!("services.{}.x", "n".repeat(len));
        wire::message("nobody/nobody", &method, Some("s"), &[])
    });
    let message = message.await;
    let mut peer = attack.enter(n).await?;
    for _ in 0..10 {
        if timeout(SECOND, peer.send(&message)).await.is_err() {
            break;
        }
    }
    attack.held(n);
    sleep(Duration::from_secs(10)).await;
    peer.serve().await
}

/// Kind of the frames in a flood.
#[derive(Clone, Copy)]
enum Content {
    Zeros,
    Text(&'static str),
    CallOfNobody,
    CallOfManager,
    CallOfVictim,
    Upload,
}

/// Sends the same frame repeatedly, as fast as possible.
async fn flood(
    attack: Arc<Attack>,
    n: usize,
    opcode: u8,
    content: Content,
    reads: bool,
) -> Result<String> {
    let peer = attack.enter(n).await?;
    let victim = attack.options.victim.clone();
    let call = |to: &str, method: &str, args: &[&[u8]]| wire::message(to, method, Some("s"), args);
    let frame = match content {
        Content::Zeros => vec![0; attack.options.bytes],
        Content::Text(text) => text.as_bytes().to_vec(),
        Content::CallOfNobody => call("nobody/nobody", "services.x.y", &[]),
        Content::CallOfManager => call(&peer.manager, "services.default.echo", &[&[0xc0]]),
        Content::CallOfVictim => call(&victim, "services.desk.swallow", &[]),
        Content::Upload => {
            let data = wire::zeros(attack.options.bytes);
            wire::message(&victim, "services.desk.nothing", None, &[&data])
        }
    };
    let (reader, mut writer) = peer.into_halves();
    let reading = async move {
        match reads {
            true => reader.drain().await,
            false => {
                sleep(Duration::from_secs(60)).await;
                drop(reader);
            }
        }
    };
    let sending = async {
        for number in 0.. {
            if let Err(error) = writer.frame(opcode, &frame).await {
                return error.kind().to_string();
            }
            if number == 100 {
                attack.held(n);
            }
        }
        String::new()
    };
    tokio::select! {
        () = reading => Ok("closed".into()),
        end = sending => Ok(end),
    }
}

/// Connects and disconnects.
async fn handshake(attack: Arc<Attack>, n: usize) -> Result<String> {
    let peer = attack.enter(n).await?;
    drop(peer);
    Ok("entered".into())
}

/// Opens a WebSocket and sends nothing.
async fn silent(attack: Arc<Attack>, n: usize) -> Result<String> {
    let (mut reader, _writer) = wire::open(attack.address(n), attack.options.server).await?;
    attack.held(n);
    loop {
        if let wire::Frame::Closed(code, _) = reader.next().await {
            return Ok(format!("closed {code}"));
        }
    }
}

/// Sends the start of a request, and the rest one byte at a time.
async fn half_a_request(attack: Arc<Attack>, n: usize) -> Result<String> {
    let stream = wire::connect(attack.address(n), attack.options.server).await?;
    let (read, mut write) = stream.into_split();
    write
        .write_all(b"GET / HTTP/1.1\r\nHost: hostile\r\nX: ")
        .await?;
    attack.held(n);
    let dripping = async {
        loop {
            sleep(DRIP).await;
            if let Err(error) = write.write_all(b"x").await {
                return error.kind().to_string();
            }
        }
    };
    let mut read = BufReader::new(read);
    tokio::select! {
        status = wire::status(&mut read) => Ok(status?.to_string()),
        end = dripping => Ok(end),
    }
}

/// Calls a function of the login service as fast as possible.
async fn login(attack: Arc<Attack>, n: usize, function: &str, reads: bool) -> Result<String> {
    let mut peer = attack.enter(n).await?;
    let to = attack.login(&mut peer).await?;
    let key = match function {
        // With a valid key, each call waits until the user has logged in.
        "check" => {
            let start = peer.call(&to, "services.hypha-login.start", &[]).await;
            let start = start.context("start")?;
            vec![wire::pack(&start["key"])]
        }
        _ => Vec::new(),
    };
    let (reader, mut writer) = peer.into_halves();
    let sending = async {
        for number in 0.. {
            let session = random_id();
            let args: Vec<&[u8]> = key.iter().map(Vec::as_slice).collect();
            let method = format!("services.hypha-login.{function}");
            let call = wire::message(&to, &method, Some(&session), &args);
            match timeout(SECOND, writer.frame(BINARY, &call)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.kind().to_string(),
                Err(_) => {
                    attack.held(n);
                    sleep(Duration::from_secs(30)).await;
                }
            }
            if number == 100 {
                attack.held(n);
            }
        }
        String::new()
    };
    if reads {
        tokio::select! {
            () = reader.drain() => Ok("closed".into()),
            end = sending => Ok(end),
        }
    } else {
        let end = sending.await;
        drop(reader);
        Ok(end)
    }
}

/// Starts logins over HTTP.
async fn login_http(attack: Arc<Attack>, n: usize) -> Result<String> {
    let head = wire::request("GET", "/public/services/hypha-login/start", "", 0);
    let exchange = wire::exchange(attack.address(n), attack.options.server, &head, b"");
    Ok(exchange.await?.0.to_string())
}

/// Sends a request with many headers.
async fn many_headers(attack: Arc<Attack>, n: usize) -> Result<String> {
    let headers = |count: usize| {
        let lines = (0..count).map(|n| format!("x-{n}: y\r\n"));
        let head = lines.collect::<String>();
        wire::request("GET", "/health", &head, 0).into_bytes()
    };
    let head = String::from_utf8(attack.payload(headers).await.to_vec())?;
    let exchange = wire::exchange(attack.address(n), attack.options.server, &head, b"");
    Ok(exchange.await?.0.to_string())
}

/// Sends a header that never ends.
async fn endless_header(attack: Arc<Attack>, n: usize) -> Result<String> {
    let line = |len: usize| {
        let mut line = b"GET /health HTTP/1.1\r\nX: ".to_vec();
        line.resize(len, b'x');
        line
    };
    let payload = attack.payload(line).await;
    let exchange = wire::exchange(attack.address(n), attack.options.server, "", &payload);
    Ok(exchange.await?.0.to_string())
}

/// Requests a page of an application that responds with many headers.
async fn app_headers(attack: Arc<Attack>, n: usize) -> Result<String> {
    let replies = |count| {
        let headers = (0..count).map(|n| (format!("x-{n}"), json!("y")));
        let headers: serde_json::Map<_, _> = headers.collect();
        let page = json!({ "status": 200, "headers": headers, "body": "" });
        vec![("default", Reply::Value(wire::pack(&page).into()))]
    };
    let path = format!("{}/page", attack.desk("functions", replies).await?);
    let head = wire::request("GET", &path, "", 0);
    let exchange = wire::exchange(attack.address(n), attack.options.server, &head, b"");
    Ok(exchange.await?.0.to_string())
}
