//! Tests `hypha mcp`.

use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};

use crate::support::Host;

/// An assistant, which has started the program `hypha mcp`.
struct Assistant {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    requests: u32,
}

impl Assistant {
    async fn say(&mut self, message: Json) -> anyhow::Result<()> {
        Ok(self
            .input
            .write_all(format!("{message}\n").as_bytes())
            .await?)
    }

    async fn ask(&mut self, method: &str, params: Json) -> anyhow::Result<Json> {
        self.requests += 1;
        let id = self.requests;
        self.say(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await?;
        let line = self.output.next_line().await?.unwrap_or_default();
        let answer: Json = serde_json::from_str(&line)?;
        assert_eq!(answer["id"], id, "{answer}");
        Ok(answer["result"].clone())
    }

    async fn call(&mut self, name: &str, arguments: Json) -> anyhow::Result<Json> {
        self.ask("tools/call", json!({"name": name, "arguments": arguments}))
            .await
    }
}

#[tokio::test]
async fn an_assistant_uses_the_methods_as_tools() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let mut command = host.command(&["mcp", &host.id]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let output = BufReader::new(output).lines();
    let mut assistant = Assistant {
        input,
        output,
        requests: 0,
    };
    let hello = assistant
        .ask(
            "initialize",
            json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            }),
        )
        .await?;
    assert_eq!(hello["serverInfo"]["name"], "desk");
    assistant
        .say(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await?;

    let listed = assistant.ask("tools/list", json!({})).await?;
    let tools = listed["tools"].as_array().cloned().unwrap_or_default();
    let tool = |name: &str| tools.iter().find(|tool| tool["name"] == name).cloned();
    let divide = tool("divide").unwrap_or_default();
    assert_eq!(divide["description"], "Divide one number by another.");
    assert_eq!(divide["inputSchema"]["required"], json!(["a"]));
    // The program supplies the callback function, so the tool has no parameter for it.
    let count = tool("count").unwrap_or_default();
    assert_eq!(count["inputSchema"]["properties"], json!({}));

    let text = |text: &str| json!({"type": "text", "text": text});
    let quarter = assistant.call("divide", json!({"a": 1, "b": 4})).await?;
    assert_eq!(quarter["content"], json!([text("0.25")]));
    let wrong = assistant.call("divide", json!({"a": 1, "b": 0})).await?;
    assert_eq!(wrong["isError"], true);
    assert!(
        wrong["content"][0]["text"]
            .as_str()
            .is_some_and(|t| t.contains("division by zero"))
    );
    let numbers = assistant.call("numbers", json!({"to": 2})).await?;
    assert_eq!(numbers["content"], json!([text("0"), text("1")]));
    let counted = assistant.call("count", json!({})).await?;
    let lines = ["null", "on_number: 1", "on_number: 2", "on_number: 3"].map(text);
    assert_eq!(counted["content"], json!(lines));
    // The program exits at the end of its input.
    drop(assistant);
    assert!(child.wait().await?.success());
    host.stop().await;
    Ok(())
}
