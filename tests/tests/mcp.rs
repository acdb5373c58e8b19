//! Tests that MCP clients in Python can use a service in Rust through both servers. The clients use
//! the packages `mcp` and `fastmcp`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;
use hypha_rpc::{NdArray, RemoteStream, Value};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{self, or_skip};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::project_root;
use hypha_rpc_tests::servers::{Kind, Server, Setup};
use hypha_rpc_tests::steps;
use serde_json::{Value as Json, json};

const LIMIT: Duration = Duration::from_secs(120);
/// Steps with intended differences. The Python server returns a result in the form that Python's
/// `str` produces.
const DIFFERENT: [&str; 4] = ["http: count", "sse: count", "http: snap", "sse: snap"];

struct Desk;

/// Service for language models.
#[hypha_service(id = "desk")]
impl Desk {
    /// Divides one number by another.
    pub(crate) async fn divide(
        &self,
        a: f64,
        #[hypha(default = 1.0)] b: f64,
    ) -> Result<f64, String> {
        if b == 0.0 {
            return Err("division by zero".into());
        }
        Ok(a / b)
    }

    /// Returns its argument.
    pub(crate) async fn echo(&self, value: Value) -> Value {
        value
    }

    /// Counts up to a number.
    pub(crate) async fn count(&self, to: u32) -> RemoteStream<u32> {
        RemoteStream::new(futures_util::stream::iter(0..to))
    }

    /// Takes a picture.
    pub(crate) async fn snap(&self) -> Result<NdArray, String> {
        NdArray::from_vec([2, 2], vec![0_u8; 4]).map_err(|error| error.to_string())
    }
}

/// Runs all steps on a server, and returns the name and outcome of each.
async fn answers(kind: Kind) -> Result<Vec<(String, Json)>> {
    let setup = Setup {
        gateways: true,
        ..Setup::default()
    };
    let server = tokio::task::spawn_blocking(move || Server::start_as(kind, &setup)).await??;
    let host = hypha_rpc::connect(&server.url).await?;
    let desk = Desk.into_service().docs("how to use the desk");
    host.register_service(desk.visibility(Visibility::Public))
        .await?;
    let mut command = peers::mcp_program("mcp_peer.py")?;
    command.arg(format!("{}/{}/mcp/desk", server.url, host.workspace()));
    steps::answers(format!("the MCP clients at {kind}"), command).await
}

#[test]
fn the_programs_of_the_chapter_work() -> Result<()> {
    let folder = project_root();
    let chapter = std::fs::read_to_string(folder.join("docs/guide/mcp.md"))?;
    let example = std::fs::read_to_string(folder.join("examples/mcp.rs"))?;
    let shown = format!("```rust,no_run\n{example}```");
    ensure!(
        chapter.contains(&shown),
        "docs/guide/mcp.md does not show examples/mcp.rs"
    );
    if or_skip(peers::mcp_python()).is_none() {
        return Ok(());
    }
    let Some(server) = Server::shared(Kind::Ours) else {
        return Ok(());
    };
    let mut command = Command::new(executable("mcp")?);
    let stage = Process::start("stage", command.env("HYPHA_SERVER_URL", &server.url))?;
    let path = stage.wait_for_line(LIMIT, |line| {
        line.ends_with("/mcp/stage").then(|| line.to_owned())
    })?;
    let blocks = chapter.split("```python\n").skip(1);
    let program = blocks.filter_map(|block| block.split("```").next());
    let program = program.collect::<String>();
    let program = program.replace("SERVICE_URL", &format!("{}{path}", server.url));
    let mut command = peers::mcp_program("snippets.py")?;
    let client = Process::start("the program of the chapter", command.arg(program))?;
    let status = client.wait(LIMIT)?;
    let called = client.stdout().join("\n").contains("called as a tool");
    ensure!(
        status.success() && called,
        "{status}\n{}",
        client.transcript(0)
    );
    stage.terminate()?;
    stage.wait(LIMIT).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_models_use_a_service() -> Result<()> {
    if or_skip(peers::mcp_python()).is_none() {
        return Ok(());
    }
    let ours = answers(Kind::Ours).await?;
    let answer = |name: &str| {
        let found = ours.iter().find(|(step, _)| step == name);
        found.map(|(_, answer)| answer.clone()).unwrap_or_default()
    };
    for kind in ["http", "sse"] {
        let step = |name: &str| answer(&format!("{kind}: {name}"));
        assert_eq!(step("tools"), json!(["count", "divide", "echo", "snap"]));
        let text = |text: &str| json!({"text": text});
        let good = |content: Json| json!({"content": content, "error": false});
        assert_eq!(step("divide"), good(json!([text("0.25")])));
        let counted = good(json!([text("0"), text("1"), text("2")]));
        let progress = json!([[1.0, "0"], [2.0, "1"], [3.0, "2"]]);
        assert_eq!(step("count"), json!([counted, progress]));
        assert_eq!(step("snap"), good(json!([{"type": "image"}])));
        assert_eq!(step("docs"), "how to use the desk");
    }
    if or_skip(peers::python()).is_none() {
        return Ok(());
    }
    let original = answers(Kind::Python).await?;
    assert_eq!(original.len(), ours.len());
    for ((step, original), (_, ours)) in original.iter().zip(&ours) {
        let differs = DIFFERENT.contains(&step.as_str());
        assert_eq!(original == ours, !differs, "{step}: {original} and {ours}");
    }
    Ok(())
}
