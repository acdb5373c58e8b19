//! Tests files, types with a codec, pydantic models, sets and dates. Peers send and receive these
//! values on both servers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, ErrorKind, SeekFrom};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hypha_rpc::error::report;
use hypha_rpc::prelude::*;
use hypha_rpc::{Codec, OrderedMap, Set, Timestamp, args};
use hypha_rpc_tests::conformance::{Language, passed_checks};
use hypha_rpc_tests::peers::{javascript_program, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// Maximum time until a peer has connected and registered.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Size of the files that the peers send, in bytes.
const SIZE: usize = 700_000;

/// A type for which every language has a codec.
#[derive(Clone, Debug, PartialEq)]
struct Point(f64, f64);

#[derive(Serialize, Deserialize, JsonSchema)]
struct PointOnWire {
    x: f64,
    y: f64,
}

impl Codec for Point {
    const NAME: &'static str = "point";
    type Wire = PointOnWire;
    type Error = String;

    fn encode(&self) -> PointOnWire {
        PointOnWire {
            x: self.0,
            y: self.1,
        }
    }

    fn decode(wire: PointOnWire) -> Result<Self, String> {
        if wire.x.is_infinite() {
            return Err("it lies at infinity".into());
        }
        Ok(Point(wire.x, wire.y))
    }
}

/// A type for which only the Rust program has a codec.
struct Shape;

#[derive(Serialize, Deserialize, JsonSchema)]
struct ShapeOnWire {
    edges: u8,
    hole: Option<Point>,
}

impl Codec for Shape {
    const NAME: &'static str = "rust-shape";
    type Wire = ShapeOnWire;
    type Error = std::convert::Infallible;

    fn encode(&self) -> ShapeOnWire {
        ShapeOnWire {
            edges: 3,
            hole: None,
        }
    }

    fn decode(_: ShapeOnWire) -> Result<Self, std::convert::Infallible> {
        Ok(Shape)
    }
}

hypha_rpc::codec!(Point, Shape);

/// Counterpart of a pydantic model.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Person {
    name: String,
    age: Option<u8>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Given {
    given: Option<u8>,
}

/// Reason why the stage does not move.
#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum StageError {
    #[error("{position} is outside of 0 to {limit}")]
    #[remote_error(class = "ValueError")]
    Outside {
        position: f64,
        limit: f64,
        #[source]
        #[serde(skip)]
        cause: Option<std::io::Error>,
    },
}

/// Service that the peers call.
#[hypha_service(id = "values", visibility = "public")]
trait Values {
    async fn mirrored(&self, points: Vec<Point>) -> Vec<Point>;
    async fn shape(&self) -> Shape;
    async fn greet(&self, person: Person) -> String;
    async fn doubled(&self, wells: BTreeMap<u32, f64>) -> BTreeMap<u32, f64>;
    async fn sample(&self, name: &str) -> anyhow::Result<Value>;
    async fn read_all(&self, file: RemoteFile) -> anyhow::Result<Binary>;
    async fn part(&self, file: RemoteFile, from: i64, len: usize) -> anyhow::Result<Binary>;
    async fn write_to(&self, file: RemoteFile, data: Binary) -> anyhow::Result<()>;
    async fn keep(&self, file: RemoteFile);
    async fn read_kept(&self) -> anyhow::Result<Binary>;
    async fn open(&self, size: usize) -> RemoteFile;
    async fn stage(&self, position: f64) -> Result<(), StageError>;
}

#[derive(Default)]
struct Here {
    kept: Mutex<Option<RemoteFile>>,
}

/// Returns the date that the peers send, 3 February 2001.
fn date() -> Result<Timestamp> {
    Timestamp::new(981_173_106, 500_000_000).context("no date")
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

async fn content(file: &mut RemoteFile) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.read_to_end(&mut content).await?;
    Ok(content)
}

impl Values for Here {
    async fn mirrored(&self, points: Vec<Point>) -> Vec<Point> {
        points.into_iter().map(|Point(x, y)| Point(-x, y)).collect()
    }

    async fn shape(&self) -> Shape {
        Shape
    }

    async fn greet(&self, person: Person) -> String {
        let age = person.age.map_or("None".into(), |age| age.to_string());
        format!("{}, {age}", person.name)
    }

    async fn doubled(&self, wells: BTreeMap<u32, f64>) -> BTreeMap<u32, f64> {
        wells.into_iter().map(|(well, x)| (well, 2.0 * x)).collect()
    }

    async fn sample(&self, name: &str) -> anyhow::Result<Value> {
        let pairs = [(1.into(), "a".into()), ("b".into(), Value::Null)];
        Ok(match name {
            "set" => Value::encode_from(&Set(vec![1, 2, 3]))?,
            "ordered map" => Value::encode_from(&OrderedMap::<Value, Value>::from_iter(pairs))?,
            "big" => vec![
                u64::MAX.into(),
                i64::MIN.into(),
                Value::from((1i64 << 53) + 1),
            ]
            .into(),
            "nan" => vec![f64::NAN, f64::INFINITY].into(),
            "none" => json!({"given": null}).into(),
            "absent" => json!({}).into(),
            "date" => Value::encode_from(&date()?)?,
            other => bail!("no sample {other}"),
        })
    }

    async fn read_all(&self, mut file: RemoteFile) -> anyhow::Result<Binary> {
        Ok(content(&mut file).await?.into())
    }

    async fn part(&self, mut file: RemoteFile, from: i64, len: usize) -> anyhow::Result<Binary> {
        let from = u64::try_from(from).map_or(SeekFrom::End(from), SeekFrom::Start);
        file.seek(from).await?;
        let mut content = vec![0; len];
        file.read_exact(&mut content).await?;
        Ok(content.into())
    }

    async fn write_to(&self, mut file: RemoteFile, data: Binary) -> anyhow::Result<()> {
        file.write_all(&data).await?;
        Ok(file.flush().await?)
    }

    async fn keep(&self, file: RemoteFile) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    async fn read_kept(&self) -> anyhow::Result<Binary> {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(content(&mut kept.context("nothing is kept")?).await?.into())
    }

    async fn open(&self, size: usize) -> RemoteFile {
        RemoteFile::from_bytes(payload(size)).named("opened")
    }

    async fn stage(&self, position: f64) -> Result<(), StageError> {
        Err(StageError::Outside {
            position,
            limit: 100.5,
            cause: Some(std::io::Error::other("the axis is blocked")),
        })
    }
}

fn program(language: Language, server: &Server, options: &[&str]) -> Result<Process> {
    let mut command = match language {
        Language::Python => python_program("values_peer.py")?,
        Language::JavaScript => javascript_program("values_peer.mjs")?,
        _ => bail!("is here already"),
    };
    command.args(["--server-url", &server.url]).args(options);
    Process::start(format!("the {language:?} peer"), &command)
}

/// Runs `work` on a blocking thread, so that the connections on this thread continue to work.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// Runs a peer that checks the service in Rust.
async fn checked_by(language: Language, server: &Server) -> Result<()> {
    let client = hypha_rpc::connect(&server.url).await?;
    let service = ValuesService::new(Here::default());
    let id = client.register_service(service).await?.id;
    let process = program(language, server, &["--host", &id])?;
    waiting(move || passed_checks(&process)).await?;
    let stats = client.stats();
    ensure!((stats.sessions, stats.running) == (0, 0), "{stats:?}");
    Ok(())
}

async fn python_checks(server: &Server) -> Result<()> {
    checked_by(Language::Python, server).await
}

async fn javascript_checks(server: &Server) -> Result<()> {
    checked_by(Language::JavaScript, server).await
}

/// A service in another language. The Rust program checks this service.
struct There {
    client: Client,
    service: RemoteService,
    _process: Process,
}

impl There {
    async fn new(language: Language, server: &Server) -> Result<There> {
        let process = program(language, server, &[])?;
        let (process, id) = waiting(move || {
            let id = process.wait_for_prefix(READY_LIMIT, "READY ")?;
            Ok((process, id))
        })
        .await?;
        let client = hypha_rpc::connect(&server.url).await?;
        let service = client.get_service(&id).await?;
        Ok(There {
            client,
            service,
            _process: process,
        })
    }

    async fn sample<T: serde::de::DeserializeOwned + 'static>(&self, name: &str) -> Result<T> {
        let sample = self.service.call("sample", args!(name)).await;
        sample.with_context(|| name.to_owned())
    }

    async fn open(&self, kind: &str) -> Result<RemoteFile> {
        Ok(self.service.call("open_file", args!(kind)).await?)
    }

    async fn codecs(&self) -> Result<()> {
        let points = args!([Point(1.5, 2.0), Point(0.5, -1.0)]);
        let points: Vec<Point> = self.service.call("mirrored", points).await?;
        ensure!(
            points == [Point(-1.5, 2.0), Point(-0.5, -1.0)],
            "{points:?}"
        );
        let seen: String = self.service.call("seen", args!(Shape)).await?;
        let (kind, members) = seen.split_once(' ').context("no kind")?;
        ensure!(["ObjectProxy", "dict", "Object"].contains(&kind), "{kind}");
        let members: serde_json::Value = serde_json::from_str(members)?;
        ensure!(
            members == json!({"_rtype": "rust-shape", "edges": 3, "hole": null}),
            "{members}"
        );
        // The Rust program has no codec for these types.
        let shape: Value = self.service.call("shape", args!()).await?;
        ensure!(
            shape.to_json() == json!({"edges": 3, "hole": null, "_rtype": "shape"}),
            "{shape}"
        );
        let shape: Result<Point, Error> = self.service.call("shape", args!()).await;
        let error = report(&shape.err().context("a shape is a point")?);
        ensure!(
            error.contains("expected a `point`, got a `shape`"),
            "{error}"
        );
        Ok(())
    }

    async fn values(&self) -> Result<()> {
        let set: BTreeSet<u8> = self.sample("set").await?;
        ensure!(set == BTreeSet::from([1, 2, 3]), "{set:?}");
        let Set(set) = self.sample::<Set<Vec<u8>>>("set").await?;
        ensure!(set.len() == 3, "{set:?}");
        let [nan, inf, zero]: [f64; 3] = self.sample("nan").await?;
        ensure!(nan.is_nan() && inf.is_infinite() && zero == 0.0);
        ensure!(self.sample::<Given>("none").await? == Given { given: None });
        ensure!(self.sample::<Given>("absent").await? == Given { given: None });
        ensure!(self.sample::<Value>("none").await?.get("given") == Some(&Value::Null));
        ensure!(self.sample::<Value>("absent").await?.get("given").is_none());
        let numbered = BTreeMap::from([(12u32, 0.5)]);
        ensure!(self.sample::<BTreeMap<u32, f64>>("numbered").await? == numbered);
        let seen: String = self.service.call("seen", args!(numbered)).await?;
        let seen = seen.replace(' ', "");
        ensure!(seen.ends_with(r#"{"12":0.5}"#), "{seen}");
        Ok(())
    }

    async fn reads(&self, kind: &str) -> Result<RemoteFile> {
        let whole = payload(SIZE);
        let mut file = self.open(kind).await?;
        let mut some = vec![0; 300_000];
        file.read_exact(&mut some).await?;
        ensure!(some == whole[..300_000], "{kind}");
        ensure!(file.stream_position().await? == 300_000, "{kind}");
        ensure!(content(&mut file).await? == whole[300_000..], "{kind}");
        for (to, place) in [
            (SeekFrom::Start(5), 5),
            (SeekFrom::Current(600_000), 600_010),
            (SeekFrom::End(-10), 699_990),
            (SeekFrom::Current(-600_000), 99_995),
        ] {
            ensure!(file.seek(to).await? == place, "{kind}: {to:?}");
            file.read_exact(&mut some[..5]).await?;
            let place = place as usize;
            ensure!(some[..5] == whole[place..place + 5], "{kind}: {to:?}");
        }
        Ok(file)
    }

    /// Passes files of this program to the peer. The peer reads and writes these files.
    async fn passes_files(&self) -> Result<()> {
        let file = RemoteFile::from_bytes(payload(SIZE)).named("some file");
        let read: Binary = self.service.call("read", args!(file)).await?;
        ensure!(*read == payload(SIZE));
        let written = RemoteFile::from_file(Cursor::new(Vec::new()));
        let refusal: String = self.service.call("write", args!(written)).await?;
        ensure!(
            refusal.contains("I/O operation on closed file"),
            "{refusal}"
        );
        let path = std::env::temp_dir().join(format!(
            "hypha-rpc-values-{}-{}",
            std::process::id(),
            self.client.workspace()
        ));
        let file = tokio::fs::File::create(&path).await?;
        let write = self
            .service
            .call("write", args!(RemoteFile::from_file(file)));
        let outcome: Result<String, Error> = write.await;
        let content = std::fs::read(&path)?;
        std::fs::remove_file(&path)?;
        outcome?;
        ensure!(content[..7] == [0, 1, 2, b'x', b'y', b'z', 6] && content.len() == SIZE);
        Ok(())
    }

    fn settled(&self) -> Result<()> {
        let stats = self.client.stats();
        ensure!(
            (stats.sessions, stats.running, stats.objects) == (0, 0, 0),
            "{stats:?}"
        );
        Ok(())
    }
}

async fn python_values(server: &Server) -> Result<()> {
    let there = There::new(Language::Python, server).await?;
    there.codecs().await?;
    there.values().await?;
    let person: Person = there.sample("person").await?;
    ensure!(person.name == "Ada" && person.age == Some(36), "{person:?}");
    let nobody: Person = there.sample("nobody").await?;
    ensure!(nobody.age.is_none(), "{nobody:?}");
    let (most, least, odd): (u64, i64, u64) = there.sample("big").await?;
    ensure!((most, least, odd) == (u64::MAX, i64::MIN, (1 << 53) + 1));
    ensure!(there.sample::<String>("complex").await? == "(1+2j)");
    for kind in ["bytes", "file", "raw"] {
        let mut file = there.reads(kind).await?;
        file.seek(SeekFrom::Start(10)).await?;
        file.read_exact(&mut [0; 3]).await?;
        file.write_all(&[0; 300_000]).await?;
        file.flush().await?;
        let changed: Binary = there.service.call("content", args!()).await?;
        let mut wanted = payload(SIZE);
        wanted[13..300_013].fill(0);
        ensure!(*changed == wanted, "{kind}");
        ensure!(
            !there.service.call::<bool>("closed", args!()).await?,
            "{kind}"
        );
        drop(file);
        ensure!(
            there.service.call::<bool>("closed", args!()).await?,
            "{kind}"
        );
    }
    let mut file = there.open("text").await?;
    let text = content(&mut file).await?;
    ensure!(text == "kůň\n".repeat(100_000).as_bytes());
    file.rewind().await?;
    file.write_all("žluťoučký".as_bytes()).await?;
    file.flush().await?;
    let changed: String = there.service.call("content", args!()).await?;
    ensure!(changed.starts_with("žluťoučký"));
    file.close().await?;
    ensure!(there.service.call::<bool>("closed", args!()).await?);
    there.passes_files().await?;
    there.settled()
}

async fn javascript_values(server: &Server) -> Result<()> {
    let there = There::new(Language::JavaScript, server).await?;
    there.codecs().await?;
    there.values().await?;
    ensure!(there.sample::<Given>("undefined").await? == Given { given: None });
    let map: OrderedMap<Value, Value> = there.sample("ordered map").await?;
    ensure!(
        map.0 == [(1.into(), "a".into()), ("b".into(), Value::Null)],
        "{map:?}"
    );
    let points: OrderedMap<String, Point> = there.sample("points").await?;
    ensure!(
        points.get(&"p".into()) == Some(&Point(1.0, 2.0)),
        "{points:?}"
    );
    let sent: Timestamp = there.sample("date").await?;
    ensure!(sent == date()?, "{sent:?}");
    let blob = there.reads("blob").await?;
    ensure!(blob.content_type() == Some("image/png") && blob.size() == Some(SIZE as u64));
    let mut file = there.reads("file").await?;
    ensure!(file.name() == Some("some file"), "{file:?}");
    let error = file.write(b"x").await.err().context("writes")?;
    ensure!(error.kind() == ErrorKind::Unsupported, "{error}");
    file.close().await?;
    there.passes_files().await?;
    there.settled()
}

macro_rules! both_servers {
    ($($case:ident with $language:ident;)*) => {
        both_servers!(python_server Python $($case $language,)*);
        both_servers!(our_server Ours $($case $language,)*);
    };
    ($module:ident $kind:ident $($case:ident $language:ident,)*) => {
        mod $module {
            $(#[test]
            fn $case() {
                let case = async |server: &super::Server| super::$case(server).await;
                hypha_rpc_tests::cases::run(super::Kind::$kind, &[super::Language::$language], case);
            })*
        }
    };
}

both_servers! {
    python_values with Python;
    python_checks with Python;
    javascript_values with JavaScript;
    javascript_checks with JavaScript;
}
