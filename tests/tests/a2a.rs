//! Tests that agents with the package `a2a-sdk` can call a service in Rust through both servers.

use anyhow::Result;
use hypha_rpc::RemoteStream;
use hypha_rpc::prelude::*;
use hypha_rpc_tests::peers::{self, or_skip};
use hypha_rpc_tests::servers::{Kind, Server, Setup};
use hypha_rpc_tests::steps;
use serde_json::{Value as Json, json};

fn text_of(message: &Json) -> &str {
    message["parts"][0]["text"].as_str().unwrap_or_default()
}

/// Returns the card of an agent. The URL in the card is only a placeholder, because the client
/// already knows the URL of the agent.
fn card(name: &str) -> Json {
    let skill = json!({"id": "talk", "name": "Talk", "description": "talks", "tags": ["x"]});
    json!({
        "name": name,
        "description": "an agent",
        "url": "http://localhost/",
        "version": "1.0.0",
        "capabilities": {"streaming": true},
        "defaultInputModes": ["text"],
        "defaultOutputModes": ["text"],
        "skills": [skill],
    })
}

struct Guide;

/// Shows the way.
#[hypha_service(id = "guide")]
impl Guide {
    pub(crate) async fn run(&self, message: Json, context: Option<Json>) -> Result<String, String> {
        match (text_of(&message), context) {
            ("fail", _) => Err("lost".into()),
            (text, context) => Ok(format!("{text} {context:?}")),
        }
    }

    pub(crate) async fn agent_card(&self) -> Json {
        card("Guide")
    }
}

struct Counter;

/// Counts.
#[hypha_service(id = "counter")]
impl Counter {
    pub(crate) async fn run(&self, message: Json, _context: Option<Json>) -> RemoteStream<u32> {
        let end = (text_of(&message) == "fail").then(|| Err("no more".to_owned()));
        RemoteStream::try_new(futures_util::stream::iter((0..2).map(Ok).chain(end)))
    }

    pub(crate) async fn agent_card(&self) -> Json {
        card("Counter")
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
    let guide = host.register_service(Guide).service_type("a2a");
    guide.visibility(Visibility::Public).await?;
    let counter = host.register_service(Counter).service_type("a2a");
    counter.visibility(Visibility::Public).await?;
    let mut command = peers::python_program("a2a_peer.py")?;
    command.arg(format!("{}/{}/a2a", server.url, host.workspace()));
    steps::answers(format!("the A2A client at {kind}"), command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_talk_to_a_service() -> Result<()> {
    if or_skip(peers::python()).is_none() {
        return Ok(());
    }
    let ours = answers(Kind::Ours).await?;
    let original = answers(Kind::Python).await?;
    let answer = |name: &str| {
        let found = ours.iter().find(|(step, _)| step == name);
        found.map(|(_, answer)| answer.clone()).unwrap_or_default()
    };
    assert_eq!(answer("guide streaming: hello"), json!([["hello None"]]));
    assert_eq!(answer("guide at once: fail"), json!([["Error: lost"]]));
    assert_eq!(answer("counter at once: hello"), json!([["0", "1"]]));
    let counted = answer("counter streaming: hello");
    let (states, last) = (counted.as_array().map_or(0, Vec::len), &counted[3]);
    assert_eq!(
        (states, &last["state"]),
        (4, &json!("completed")),
        "{counted}"
    );
    assert_eq!(last["artifacts"], json!([["0", "1"]]), "{counted}");

    assert_eq!(original.len(), ours.len());
    for ((step, original), (_, ours)) in original.iter().zip(&ours) {
        // The original server sends the `str` of a stream, and sends an error with its traceback.
        let counts = step.starts_with("counter") && step.ends_with("hello");
        let differs = counts || step.ends_with("fail");
        assert_eq!(original == ours, !differs, "{step}: {original} and {ours}");
    }
    Ok(())
}
