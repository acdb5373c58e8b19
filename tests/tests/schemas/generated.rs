//! Tests the descriptions that are generated for other languages. Compilers must accept the
//! descriptions, and calls that use them must work.
//!
//! The folder `generated/` contains contracts in generated Rust code. This program compiles and
//! uses these contracts, and compares them with the current output of the generator. If
//! `HYPHA_TEST_BLESS` is set, the program overwrites the files instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use futures_util::{TryStreamExt as _, stream};
use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::interop_folder;
use hypha_rpc_tests::servers::{Kind, Server};
use hypha_schema::{Description, Format};
use serde_json::{Value as Json, json};

use crate::contract::{self, Desk};
use crate::nasty;
use crate::peers::{finished, folder, host, mypy, typescript};
use hypha_rpc_tests::cases::run;

macro_rules! generated {
    ($($name:ident)*) => {$(
        #[allow(dead_code, unreachable_pub, missing_docs, clippy::all, clippy::option_option)]
        pub(crate) mod $name {
            include!(concat!("generated/", stringify!($name), ".rs"));
        }
    )*};
}

generated! {
    measure everything variants directions inner shapes written
    python_measure python_plain javascript_plain nasty_service
}

const BOTH: [Language; 2] = [Language::Python, Language::JavaScript];

/// Compares a generated contract with the file that was compiled. Ignores the first line, which
/// contains the id of the service.
pub(crate) fn assert_matches_compiled_file(name: &str, text: &str) -> Result<()> {
    let (_, text) = text.split_once('\n').context("one line")?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/generated");
    let path = path.join(format!("{name}.rs"));
    if std::env::var_os("HYPHA_TEST_BLESS").is_some() {
        return Ok(fs::write(
            path,
            format!("// Generated; see `generated.rs`.\n{text}"),
        )?);
    }
    let file = fs::read_to_string(&path)?;
    let (_, file) = file.split_once('\n').context("one line")?;
    ensure!(file == text, "{name} comes out otherwise now:\n{text}");
    Ok(())
}

fn desk() -> Description {
    Description::of(contract::MeasureService::new(Desk))
}

/// Implementation of the generated contract. Only its schema is used.
struct Empty;

impl measure::Measure for Empty {
    async fn sample(&self, _: u8, _: measure::Mode, _: Option<measure::Point>) -> Vec<f64> {
        Vec::new()
    }

    async fn total(&self, _: measure::Node) -> u64 {
        0
    }

    async fn rename(
        &self,
        _: std::collections::BTreeMap<String, String>,
        _: Vec<(i32, String)>,
        _: Option<std::collections::BTreeMap<String, Value>>,
        _: f64,
        _: Option<Binary>,
        _: bool,
    ) -> std::collections::BTreeMap<String, i64> {
        std::collections::BTreeMap::new()
    }

    async fn count(&self, _: u16) -> impl Stream<Item = u16> + Send {
        stream::empty()
    }

    async fn blur(&self, image: NdArray, _: f64) -> NdArray {
        image
    }

    async fn expose(
        &self,
        _: hypha_rpc::Array<u16, 2>,
        _: Vec<std::time::Duration>,
        _: std::time::Duration,
        _: Option<hypha_rpc::Timestamp>,
    ) -> Option<hypha_rpc::Array<f32, 1>> {
        None
    }

    async fn watch(&self, _: Function) -> Option<String> {
        None
    }

    async fn reshape(
        &self,
        shape: measure::Shape,
        _: measure::Number,
        _: Option<i8>,
    ) -> (measure::Shape, measure::Happening) {
        (shape, measure::Happening::Started)
    }

    async fn settings(&self, _: u8, _: Option<String>) {}

    async fn stage_move(&self, _: measure::Point) {}
}

#[test]
fn a_generated_contract_has_the_same_schema() {
    assert_matches_compiled_file("measure", &desk().rust()).expect("the same");
    let ours = contract::MeasureService::new(Desk)
        .into_service()
        .schema()
        .to_json();
    let again = measure::MeasureService::new(Empty)
        .into_service()
        .schema()
        .to_json();
    for (name, member) in ours.as_object().expect("members") {
        // A contract does not contain the visibility of the service.
        if name != "config" {
            assert_eq!(again[name], *member, "{name}");
        }
    }
    assert_eq!(
        Description::of(measure::MeasureService::new(Empty)).rust(),
        desk().rust()
    );
}

/// Fetches a Rust service from a server and generates its contract. Compares this contract with the
/// compiled contract, and calls the service through the compiled contract.
async fn rust_service(server: &Server) -> Result<()> {
    let client = hypha_rpc::connect(&server.url).await?;
    let info = client
        .register_service(contract::MeasureService::new(Desk))
        .await?;
    let live = Description::fetch(&client, &info.id).await?;
    assert_matches_compiled_file("measure", &live.rust())?;
    let after_origin = |text: String| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    for format in [Format::TypeScript, Format::Python] {
        ensure!(
            after_origin(live.write(format)) == after_origin(desk().write(format)),
            "{format}"
        );
    }
    ensure!(live.functions() == desk().functions());
    let options = ["--server-url", &server.url, "--service", &info.id];
    for language in BOTH {
        finished(language, &options, "USED").await?;
    }
    let proxy: measure::MeasureProxy = client.proxy(info.id).await?;
    let samples = proxy.sample(2, measure::Mode::Slow, None).await?;
    ensure!(samples == [0.0, 0.5], "{samples:?}");
    let shape = measure::Shape::Box {
        width: 1.0,
        height: None,
    };
    let (again, happened) = proxy
        .reshape(shape.clone(), measure::Number::Text("x".into()), Some(1))
        .await?;
    ensure!((again, happened) == (shape, measure::Happening::Started));
    let counted: Vec<u16> = proxy.count(3).await?.try_collect().await?;
    ensure!(counted == [0, 1, 2]);
    client.disconnect().await;
    Ok(())
}

#[test]
fn generated_declarations_call_a_rust_service() {
    run(Kind::Python, &BOTH, rust_service);
}

#[test]
fn generated_declarations_call_a_rust_service_on_our_server() {
    run(Kind::Ours, &BOTH, rust_service);
}

/// Tests services in Python. Some have schemas and some have none.
async fn python_services(server: &Server) -> Result<()> {
    use python_measure::{MeasureProxy, Mode, Node, Point};

    let (_python, ids) = host(Language::Python, server).await?;
    let client = hypha_rpc::connect(&server.url).await?;
    assert_matches_compiled_file(
        "python_measure",
        &Description::fetch(&client, &ids[0]).await?.rust(),
    )?;
    assert_matches_compiled_file(
        "python_plain",
        &Description::fetch(&client, &ids[1]).await?.rust(),
    )?;

    let python: MeasureProxy = client.proxy(&*ids[0]).await?;
    let place = Point {
        x: 1.0,
        label: None,
        weight: 2,
        tags: vec![],
    };
    let samples = python.sample(2, Mode::Slow, Some(place)).await?;
    ensure!(samples.decode_as::<Vec<f64>>()? == [1.0, 1.5], "{samples}");
    let leaf = Node {
        value: 2,
        children: vec![],
        next: None,
    };
    let tree = Node {
        value: 1,
        children: vec![leaf.clone()],
        next: Some(Box::new(leaf)),
    };
    let total = python.total(tree).await?;
    ensure!(total.as_i64() == Some(5), "{total}");
    let names = [("a".to_owned(), "b".to_owned())].into();
    let renamed = python
        .rename(names, vec![(1, "a".into())], None, 0.5, None, true)
        .await?;
    ensure!(renamed.to_json() == json!({"b": 1}), "{renamed}");

    let plain: python_plain::PlainProxy = client.proxy(&*ids[1]).await?;
    let sum = plain.add(40.into(), None).await?;
    ensure!(sum.as_i64() == Some(42), "{sum}");
    let text = plain.nested_class("a".into(), Some("b".into())).await?;
    ensure!(text.as_str() == Some("ab"), "{text}");
    let typed = plain.typed(1, vec![], None).await?;
    ensure!(typed.to_json() == json!([1, [], "x"]), "{typed}");
    Ok(())
}

#[test]
fn a_service_in_python_is_called_with_its_generated_contract() {
    run(Kind::Python, &[Language::Python], python_services);
}

#[test]
fn a_service_in_python_is_called_with_its_generated_contract_on_our_server() {
    run(Kind::Ours, &[Language::Python], python_services);
}

/// Tests a service in JavaScript. The service has unusual names and no schemas.
async fn javascript_service(server: &Server) -> Result<()> {
    let (_javascript, ids) = host(Language::JavaScript, server).await?;
    let client = hypha_rpc::connect(&server.url).await?;
    let description = Description::fetch(&client, &ids[0]).await?;
    assert_matches_compiled_file("javascript_plain", &description.rust())?;
    let plain: javascript_plain::PlainProxy = client.proxy(&*ids[0]).await?;
    let sum = plain
        .add(Some(1.into()), Some(4.into()), None, None)
        .await?;
    ensure!(sum.as_i64() == Some(5), "{sum}");
    let sum = plain.nested_add(Some(1.into()), None, None, None).await?;
    ensure!(sum.as_i64() == Some(3), "{sum}");
    for (said, wanted) in [
        (plain.foo_bar(None, None, None, None).await?, "foo"),
        (plain.class(None, None, None, None).await?, "class"),
        (plain.with_dash(None, None, None, None).await?, "dash"),
    ] {
        ensure!(said.as_str() == Some(wanted), "{said}");
    }
    check(&description, "plain", &[])
}

#[test]
fn a_service_in_javascript_is_called_with_its_generated_contract() {
    run(Kind::Python, &BOTH, javascript_service);
}

/// Checks that the compilers of Python and TypeScript accept the declarations and correct programs,
/// and that they reject wrong programs.
pub(crate) fn check(description: &Description, name: &str, usages: &[(&str, &str)]) -> Result<()> {
    let place = folder(&format!("{name}-{}", usages.len()))?;
    let (types, stub) = (format!("{name}.d.ts"), format!("{name}.pyi"));
    fs::write(place.join(&types), description.typescript())?;
    fs::write(place.join(&stub), description.python())?;
    let said = typescript(&place, &[&types])?;
    ensure!(said.is_empty(), "{said}");
    let said = mypy(&place, &[&stub])?;
    ensure!(said.is_empty(), "{said}");
    for (folder, usage) in usages {
        let source: PathBuf = interop_folder().join(folder).join(usage);
        let source = fs::read_to_string(source)?;
        fs::write(place.join(usage), &source)?;
        let wrong = format!("wrong_{usage}");
        // A program that passes a string instead of a number.
        let changed = source.replace("sample(3,", "sample(\"3\",");
        let changed = changed.replace("(total + 1)", "(\"total\")");
        ensure!(changed != source, "{usage} has nothing to change");
        fs::write(place.join(&wrong), changed)?;
        let checker = if *folder == "js" { typescript } else { mypy };
        let said = checker(&place, &[usage])?;
        ensure!(said.is_empty(), "{said}");
        let said = checker(&place, &[&wrong])?;
        ensure!(
            said.matches("error TS").count() + said.matches(": error:").count() == 1,
            "{said}"
        );
        ensure!(said.contains("str"), "{said}");
    }
    Ok(())
}

#[test]
fn compilers_accept_generated_declarations() {
    run(Kind::Ours, &BOTH, async |_: &Server| {
        check(
            &desk(),
            "measure",
            &[("js", "schema_usage.mjs"), ("python", "schema_usage.py")],
        )
    });
}

#[test]
fn compilers_accept_declarations_of_everything() {
    run(Kind::Ours, &BOTH, async |_: &Server| {
        let service = crate::everything::EverythingService::new(crate::everything::Desk);
        let usages = [
            ("js", "everything_usage.mjs"),
            ("python", "everything_usage.py"),
        ];
        check(&Description::of(service), "everything", &usages)
    });
}

#[test]
fn compilers_accept_hostile_names_and_texts() {
    run(Kind::Ours, &BOTH, async |_: &Server| {
        let nasty = nasty::description();
        assert_matches_compiled_file("nasty_service", &nasty.rust())?;
        check(&nasty, "nasty", &[])
    });
}

/// Calls a service over HTTP according to its OpenAPI document.
async fn over_http(server: &Server) -> Result<()> {
    let client = hypha_rpc::connect(&server.url).await?;
    let info = client
        .register_service(contract::MeasureService::new(Desk))
        .await?;
    let document = Description::fetch(&client, &info.id).await?.openapi();
    let paths: Vec<&String> = document["paths"]
        .as_object()
        .context("no paths")?
        .keys()
        .collect();
    let wanted = [
        "/sample",
        "/total",
        "/rename",
        "/count",
        "/blur",
        "/expose",
        "/reshape",
        "/settings",
        "/stage.move",
    ];
    ensure!(paths == wanted, "{paths:?}");
    let place = json!({"x": 1.0, "tags": []});
    let calls = json!({
        "/sample": {"count": 2, "mode": "slow", "place": place},
        "/total": {"tree": {"value": 1, "children": [{"value": 2, "children": []}]}},
        "/reshape": {"shape": {"Circle": 1.0}, "number": 1},
        "/stage.move": {"toPoint": place},
    });
    let path = folder("openapi")?.join("document.json");
    fs::write(&path, json!([document, calls]).to_string())?;
    let path = path.to_str().context("a path that is no text")?;
    let options = ["--server-url", &server.url, "--openapi", path];
    let answers: Json = serde_json::from_str(&finished(Language::Python, &options, "{").await?)?;
    let wanted = json!({
        "/sample": [1.0, 1.5],
        "/total": 3,
        "/reshape": [{"Circle": 1.0}, {"kind": "started"}],
        "/stage.move": null,
    });
    ensure!(answers == wanted, "{answers}");
    Ok(())
}

#[test]
fn a_server_can_be_called_as_its_openapi_document_says() {
    run(Kind::Python, &[Language::Python], over_http);
}

/// Calls functions with sets and ordered maps over HTTP, whose results have tags.
async fn tags_over_http(server: &Server) -> Result<()> {
    struct Tags;

    #[hypha_service(id = "tags", visibility = "public")]
    impl Tags {
        pub async fn set(&self, it: hypha_rpc::Set<Vec<u8>>) -> hypha_rpc::Set<Vec<u8>> {
            it
        }

        pub async fn map(
            &self,
            it: hypha_rpc::OrderedMap<u8, bool>,
        ) -> hypha_rpc::OrderedMap<u8, bool> {
            it
        }
    }

    let client = hypha_rpc::connect(&server.url).await?;
    let info = client.register_service(Tags).await?;
    let document = Description::fetch(&client, &info.id).await?.openapi();
    let tagged = json!({
        "/set": {"_rtype": "set", "_rvalue": [1, 2]},
        "/map": {"_rtype": "orderedmap", "_rvalue": [[1, true]]},
    });
    for arguments in [json!({"/set": [1, 2], "/map": {"1": true}}), tagged.clone()] {
        let calls = json!({
            "/set": {"it": arguments["/set"]},
            "/map": {"it": arguments["/map"]},
        });
        let path = folder("openapi-tags")?.join("document.json");
        fs::write(&path, json!([document, calls]).to_string())?;
        let path = path.to_str().context("a path that is no text")?;
        let options = ["--server-url", &server.url, "--openapi", path];
        let answers = finished(Language::Python, &options, "{").await?;
        let answers: Json = serde_json::from_str(&answers)?;
        ensure!(answers == tagged, "{answers}");
    }
    for (path, result) in tagged.as_object().into_iter().flatten() {
        let content = &document["paths"][path]["post"]["responses"]["200"]["content"];
        let tag = &content["application/json"]["schema"]["properties"]["_rtype"]["const"];
        ensure!(*tag == result["_rtype"], "{content}");
    }
    client.disconnect().await;
    Ok(())
}

#[test]
fn sets_over_http_have_the_tags_of_the_openapi_document() {
    run(Kind::Ours, &[Language::Python], tags_over_http);
}

/// Compares the output of the command with the output of the library. Also checks the error
/// messages of the command.
#[test]
fn the_command_writes_the_output_of_the_library() {
    run(Kind::Ours, &[], async |server: &Server| {
        let client = hypha_rpc::connect(&server.url).await?;
        let info = client
            .register_service(contract::MeasureService::new(Desk))
            .await?;
        let live = Description::fetch(&client, &info.id).await?;
        let command = executable("hypha")?;
        let url = server.url.clone();
        let run = async |service: &str, format: &str| {
            let mut command = Command::new(&command);
            command.args([
                "schema",
                "--server-url",
                &url,
                "--service",
                service,
                "--format",
                format,
            ]);
            anyhow::Ok(tokio::task::spawn_blocking(move || command.output()).await??)
        };
        for format in Format::ALL {
            let output = run(&info.id, format.as_str()).await?;
            let text = String::from_utf8(output.stdout)?;
            ensure!(text == live.write(format), "{format}: {text}");
        }
        let output = run("nobody", "rust").await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && said.contains("nobody"),
            "{said}"
        );
        ensure!(output.stdout.is_empty());
        let output = run(&info.id, "cobol").await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && said.contains("typescript"),
            "{said}"
        );
        Ok(())
    });
}

/// Checks the output of the example `describe` in every format.
#[test]
fn the_example_describes_its_service() -> Result<()> {
    for (format, part) in [
        ("json", "\"name\": \"stage_go\""),
        ("openapi", "\"/stage.go\": {"),
        ("typescript", "  snap(exposure?: number): Promise<NdArray>;"),
        ("python", "    async def go(self, to: Place) -> float:"),
        ("rust", "    #[hypha(name = \"stage.go\")]"),
    ] {
        let mut command = Command::new(executable("describe")?);
        let output = command.args(["--format", format]).output()?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            output.status.success() && text.contains(part),
            "{format}: {text}"
        );
    }
    Ok(())
}
