//! Tests the table of types in `docs/guide/data.md`. Sends a value for each row to Python and
//! JavaScript, which report its type and send it back.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use hypha_rpc::prelude::*;
use hypha_rpc::schema::FunctionSchema;
use hypha_rpc::{Array, OrderedMap, Set, Timestamp, args};
use hypha_rpc_tests::cases::run;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::{javascript_program, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::project_root;
use hypha_rpc_tests::servers::{Kind, Server};
use ndarray::{Array2, array};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// Timeout for a peer to connect and register.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Row of the table: Rust, Python, JavaScript, JSON Schema.
type Row = [String; 4];

/// Returns the rows of the table as plain text.
fn rows() -> Result<Vec<Row>> {
    let page = std::fs::read_to_string(project_root().join("docs/guide/data.md"))?;
    let (_, table) = page.split_once("| Rust | Python |").context("no table")?;
    let lines = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Result<Row> {
        let line = line.replace("\\|", "\u{1}");
        let cells = line.trim_matches('|').split('|');
        let cells: Vec<String> = cells
            .map(|cell| cell.trim().replace('`', "").replace('\u{1}', "|"))
            .collect();
        Row::try_from(cells).map_err(|cells| anyhow::anyhow!("not four cells: {cells:?}"))
    };
    lines.map(cells).collect()
}

/// The table, checked in one language with a value for each row.
struct Table<'a> {
    rows: Vec<Row>,
    language: Language,
    service: &'a RemoteService,
    checked: Vec<String>,
    /// Messages about differences from the table.
    wrong: Vec<String>,
}

impl Table<'_> {
    /// Sends a value, and compares its type at the peer and its schema with the row `name`. Checks
    /// that the peer can send the value back.
    async fn check<T>(&mut self, name: &str, value: T) -> Result<()>
    where
        T: Serialize + DeserializeOwned + JsonSchema + PartialEq + Debug + 'static,
    {
        let schema = FunctionSchema::new("f", "")
            .argument::<T>("it", "")
            .finish();
        let schema = shown(&schema["parameters"]["properties"]["it"]);
        self.check_described(name, value, &schema).await
    }

    async fn check_described<T>(&mut self, name: &str, value: T, schema: &str) -> Result<()>
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
    {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row[0] == name);
        let [_, python, javascript, wanted] = row.with_context(|| format!("no row of {name}"))?;
        let mut wrong = Vec::new();
        if schema != wanted {
            wrong.push(format!("{name}: `{schema}`, the table has `{wanted}`"));
        }
        let seen: String = self.service.call("seen", args!(&value)).await?;
        let seen = seen.split(' ').next().unwrap_or_default();
        let (seen, wanted) = match self.language {
            // `ObjectProxy` is the Python client's subclass of `dict`.
            Language::Python => (seen.replace("ObjectProxy", "dict"), python),
            _ => (javascript_name(seen), javascript),
        };
        // After a comma, the cell names the type of the value that is sent back.
        let wanted = wanted.split(", ").next().unwrap_or_default();
        if seen != wanted {
            wrong.push(format!("{name}: {seen}, the table has {wanted}"));
        }
        let back: Result<T, Error> = self.service.call("returned", args!(&value)).await;
        if !back.as_ref().is_ok_and(|back| *back == value) {
            wrong.push(format!("{name}: {value:?} came back as {back:?}"));
        }
        self.wrong.extend(wrong);
        self.checked.push(name.to_owned());
        Ok(())
    }

    async fn check_all(&mut self) -> Result<()> {
        let half = Duration::from_millis(1500);
        self.check("bool", true).await?;
        self.check("i32", -5i32).await?;
        self.check("u64", 1u64 << 40).await?;
        self.check("u128", 5u128).await?;
        self.check("f32", 0.5f32).await?;
        self.check("f64", 0.5).await?;
        self.check("String", "text".to_owned()).await?;
        self.check("char", 'x').await?;
        self.check("()", ()).await?;
        self.check("Option<f64>", None::<f64>).await?;
        self.check("Vec<f64>", vec![0.5]).await?;
        self.check("(f64, String)", (0.5, "x".to_owned())).await?;
        self.check(
            "HashMap<String, f64>",
            BTreeMap::from([("a".to_owned(), 0.5)]),
        )
        .await?;
        self.check("BTreeMap<i64, f64>", BTreeMap::from([(12i64, 0.5)]))
            .await?;
        self.check("BTreeMap<bool, f64>", BTreeMap::from([(true, 0.5)]))
            .await?;
        self.check("Set<Vec<u8>>", Set(vec![1u8, 2])).await?;
        let pairs = OrderedMap::<u8, bool>::from_iter([(1, true)]);
        self.check("OrderedMap<u8, bool>", pairs).await?;
        self.check("Vec<u8>", vec![1u8, 2]).await?;
        self.check("Binary", Binary::from(b"abc")).await?;
        let bytes = bytes::Bytes::from_static(b"abc");
        self.check_described(
            "bytes::Bytes",
            bytes,
            "string, format: binary, x-hypha-type: bytes",
        )
        .await?;
        self.check("NdArray", NdArray::from(vec![1u16, 2])).await?;
        self.check("Array<u16, 2>", Array::from_vec([1, 2], vec![1u16, 2])?)
            .await?;
        let array = array![[1u16, 2]];
        let schema = "object, x-hypha-type: ndarray, x-hypha-dtype: uint16, x-hypha-dimensions: 2";
        self.check_described("ndarray::Array2<u16>", array, schema)
            .await?;
        self.check("std::time::Duration", half).await?;
        self.check("std::time::SystemTime", SystemTime::UNIX_EPOCH + half)
            .await?;
        self.check("Timestamp", Timestamp::from(SystemTime::UNIX_EPOCH + half))
            .await?;
        self.check("PathBuf", PathBuf::from("/data/x")).await?;
        self.check("IpAddr", IpAddr::from(Ipv4Addr::LOCALHOST))
            .await?;
        self.check_crates().await
    }

    /// Checks values that serde reads into a buffer before it knows their types.
    async fn check_buffered(&mut self) -> Result<()> {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Data(Binary),
            Bytes(Array<u8, 2>),
            Words(Array<u16, 2>),
            Image { px: Array2<f32>, wait: Duration },
        }
        #[derive(Serialize, Deserialize)]
        #[serde(tag = "kind")]
        enum Job {
            Run { done: Function, wait: Duration },
        }
        let sent = [
            Either::Text("abc".to_owned()),
            Either::Data(Binary::from(b"abc")),
            Either::Data(Binary::from(b"\xff")),
            Either::Bytes(Array::from_vec([1, 1], vec![1])?),
            Either::Words(Array::from_vec([1, 1], vec![1])?),
            Either::Words(Array::from_vec([0, 3], vec![])?),
            Either::Image {
                px: Array2::zeros((2, 0)),
                wait: Duration::from_secs(1),
            },
        ];
        let back: Vec<Either> = self.service.call("returned", args!(&sent)).await?;
        ensure!(back == sent, "{back:?}");
        let job = Job::Run {
            done: Function::new(|_| async { Ok(args!()) }),
            wait: Duration::from_millis(1500),
        };
        let Job::Run { wait, .. } = self.service.call("returned", args!(job)).await?;
        ensure!(wait == Duration::from_millis(1500), "{wait:?}");
        Ok(())
    }

    /// Checks types of other crates.
    async fn check_crates(&mut self) -> Result<()> {
        let time: chrono::DateTime<chrono::Utc> = "2001-02-03T04:05:06.5Z".parse()?;
        self.check("chrono::DateTime<Utc>", time).await?;
        let date: chrono::NaiveDate = "2001-02-03".parse()?;
        self.check("chrono::NaiveDate", date).await?;
        let time: jiff::Timestamp = "2001-02-03T04:05:06.5Z".parse()?;
        self.check("jiff::Timestamp", time).await?;
        self.check(
            "jiff::SignedDuration",
            jiff::SignedDuration::from_millis(1500),
        )
        .await?;
        let id: uuid::Uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse()?;
        self.check("uuid::Uuid", id).await?;
        self.check("url::Url", url::Url::parse("https://example.org/a")?)
            .await?;
        let number: rust_decimal::Decimal = "1.10".parse()?;
        self.check("rust_decimal::Decimal", number).await?;

        #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline)]
        struct At(
            #[serde(with = "time::serde::rfc3339")]
            #[schemars(with = "chrono::DateTime<chrono::Utc>")]
            time::OffsetDateTime,
        );
        let at = time::OffsetDateTime::from_unix_timestamp(981_173_106)?;
        self.check("time::OffsetDateTime", At(at)).await
    }
}

/// Returns the keywords of a schema in one line, as the table shows them.
fn shown(schema: &Json) -> String {
    let mut words = Vec::new();
    if let Some(kinds) = schema["anyOf"].as_array() {
        let kinds: Vec<String> = kinds.iter().map(shown).collect();
        words.push(kinds.join(" or "));
    }
    let plain = |value: &Json| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    for (key, value) in schema.as_object().into_iter().flatten() {
        match key.as_str() {
            "type" => match value.as_array() {
                Some(kinds) => words.push(kinds.iter().map(plain).collect::<Vec<_>>().join(" or ")),
                None => words.insert(0, plain(value)),
            },
            "items" => words.push(format!("of {}", shown(value))),
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                let items: Vec<String> = items.map(shown).collect();
                words.push(format!("of ({})", items.join(", ")));
            }
            "additionalProperties" if value.is_object() => {
                words.push(format!("of {}", shown(value)));
            }
            "format" | "minimum" | "maximum" => words.push(format!("{key}: {}", plain(value))),
            "x-hypha-keys" => words.push(format!("{key}: {}", shown(value))),
            key if key.starts_with("x-") => words.push(format!("{key}: {}", plain(value))),
            _ => {}
        }
    }
    words.join(", ")
}

/// Converts the name of a JavaScript constructor to the name of the type.
fn javascript_name(constructor: &str) -> String {
    match constructor {
        "Number" | "String" | "Boolean" => constructor.to_lowercase(),
        // `null` and `undefined` have no constructor.
        "undefined" => "null".to_owned(),
        other => other.to_owned(),
    }
}

async fn every_row(server: &Server, language: Language) -> Result<()> {
    let mut command = match language {
        Language::Python => python_program("values_peer.py")?,
        Language::JavaScript => javascript_program("values_peer.mjs")?,
        _ => bail!("is here already"),
    };
    command.args(["--server-url", &server.url]);
    let process = Process::start(format!("the {language:?} peer"), &command)?;
    let (_process, id) = tokio::task::spawn_blocking(move || {
        let id = process.wait_for_prefix(READY_LIMIT, "READY ")?;
        anyhow::Ok((process, id))
    })
    .await??;
    let client = hypha_rpc::connect(&server.url).await?;
    let service = client.get_service(&id).await?;
    let rows = rows()?;
    let mut table = Table {
        rows: rows.clone(),
        language,
        service: &service,
        checked: Vec::new(),
        wrong: Vec::new(),
    };
    table.check_all().await?;
    table.check_buffered().await?;
    ensure!(table.wrong.is_empty(), "{}", table.wrong.join("\n"));
    let unchecked: Vec<&Row> = rows
        .iter()
        .filter(|row| !table.checked.contains(&row[0]))
        .collect();
    ensure!(unchecked.is_empty(), "no value is sent for {unchecked:?}");
    Ok(())
}

#[test]
fn python_has_the_types_of_the_table() {
    run(Kind::Ours, &[Language::Python], async |server: &Server| {
        every_row(server, Language::Python).await
    });
}

#[test]
fn javascript_has_the_types_of_the_table() {
    run(
        Kind::Ours,
        &[Language::JavaScript],
        async |server: &Server| every_row(server, Language::JavaScript).await,
    );
}
