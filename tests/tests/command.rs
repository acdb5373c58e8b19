//! Tests the program `hypha` on both servers, with services in Rust and Python.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Host, Language};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::servers::{Kind, ROOT_TOKEN};
use serde_json::Value as Json;

/// Runs the program `hypha` with the URL of a server.
struct Hypha<'a> {
    url: &'a str,
}

impl Hypha<'_> {
    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(executable("hypha")?);
        for variable in ["HYPHA_WORKSPACE", "HYPHA_CONTEXT"] {
            command.env_remove(variable);
        }
        command.env("HYPHA_CONFIG", "/nowhere/hypha.json");
        command
            .env("HYPHA_SERVER_URL", self.url)
            .env("HYPHA_TOKEN", ROOT_TOKEN);
        command.args(arguments);
        Ok(command)
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments)?.output()?)
    }

    fn stdout(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, arguments: &[&str]) -> Result<Json> {
        let text = self.stdout(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| text)
    }

    fn failure(&self, arguments: &[&str], code: i32) -> Result<()> {
        let output = self.output(arguments)?;
        ensure!(
            output.status.code() == Some(code),
            "{arguments:?}: {output:?}"
        );
        Ok(())
    }
}

fn services(url: &str, host: Language) -> Result<()> {
    let hypha = Hypha { url };
    let service = Host::start(host, url, &[])?;
    let id = &service.service;
    let target = |method: &str| format!("{id}.{method}");
    let workspace = id.split('/').next().context("no workspace")?;
    let listed = hypha.json(&["services", workspace, "--id", "conformance"])?;
    ensure!(listed[0]["id"] == id.as_str(), "{listed}");
    let described = hypha.json(&["describe", id])?;
    let methods = described["methods"].as_array().context("no methods")?;
    ensure!(methods.len() > 3, "{described}");
    ensure!(
        hypha.stdout(&["describe", id])?.contains("hypha call "),
        "no example"
    );
    let echoed = hypha.json(&["call", &target("echo"), r#"{"a": [1, 2.5, null, "x"]}"#])?;
    ensure!(
        echoed == serde_json::json!({"a": [1, 2.5, null, "x"]}),
        "{echoed}"
    );
    hypha.failure(&["call", &target("no_such_method")], 4)?;
    hypha.failure(&["call", &format!("{workspace}/nobody:desk.add")], 4)?;
    let schema = ["schema", "--service", id, "--format", "typescript"];
    ensure!(
        hypha.stdout(&schema)?.contains("export interface"),
        "no interface"
    );
    let bench = ["bench", &target("echo"), "1", "--duration", "100ms"];
    let measured = hypha.json(&bench)?;
    ensure!(measured["calls"].as_u64() > Some(0), "{measured}");
    // The functions in Python have no schemas, so they are no tools.
    tools(&hypha, id, host == Language::Rust)?;
    service.stop()
}

/// Uses a service as an assistant does that starts `hypha mcp`.
fn tools(hypha: &Hypha<'_>, id: &str, has_schemas: bool) -> Result<()> {
    let mut command = hypha.command(&["mcp", id])?;
    let mut program = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = program.stdin.take().context("no standard input")?;
    let output = program.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(output).lines();
    let hello = serde_json::json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    });
    let requests = [("initialize", hello), ("tools/list", serde_json::json!({}))];
    let mut answer = Json::Null;
    for (number, (method, params)) in requests.into_iter().enumerate() {
        let request = serde_json::json!({
            "jsonrpc": "2.0", "id": number, "method": method, "params": params
        });
        writeln!(input, "{request}")?;
        if number == 0 {
            let begun = r#"{"jsonrpc": "2.0", "method": "notifications/initialized"}"#;
            writeln!(input, "{begun}")?;
        }
        let line = lines.next().context("no response")??;
        answer = serde_json::from_str(&line)?;
    }
    drop(input);
    let tools = answer["result"]["tools"].as_array().context("no tools")?;
    let echoes = tools.iter().any(|tool| tool["name"] == "echo");
    ensure!(echoes == has_schemas, "{answer}");
    ensure!(program.wait()?.success(), "hypha mcp has failed");
    Ok(())
}

fn administration(url: &str) -> Result<()> {
    let hypha = Hypha { url };
    let who = hypha.json(&["whoami"])?;
    ensure!(who["user"]["id"] == "root", "{who}");
    let id = format!("lab-{}", std::process::id());
    hypha.stdout(&["workspace", "create", &id, "--persistent"])?;
    let workspaces = hypha.json(&["workspace", "ls"])?;
    let workspaces = workspaces.as_array().context("no list")?;
    ensure!(
        workspaces.iter().any(|found| found["id"] == id.as_str()),
        "{workspaces:?}"
    );

    let token = hypha.stdout(&["token", "create", "--permission", "read"])?;
    let user = hypha.json(&["token", "inspect", token.trim()])?;
    ensure!(user["scope"]["workspaces"]["ws-user-root"] == "r", "{user}");
    hypha.failure(&["token", "create", "--for", "no-such-workspace"], 4)?;
    let mut anonymous = hypha.command(&["token", "create"])?;
    let anonymous = anonymous.env_remove("HYPHA_TOKEN").output()?;
    ensure!(anonymous.status.code() == Some(5), "{anonymous:?}");
    hypha.stdout(&["token", "revoke", token.trim()])?;
    hypha.failure(&["whoami", "--token", token.trim()], 5)?;

    // The client must respond to `ping` while this thread waits for the command.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let client = runtime.block_on(hypha_rpc::connect(url).token(ROOT_TOKEN).into_future())?;
    let clients = hypha.json(&["clients"])?;
    let address = format!("{}/{}", client.workspace(), client.client_id());
    let clients = clients.as_array().context("no list")?;
    ensure!(
        clients.iter().any(|found| found["id"] == address.as_str()),
        "{clients:?}"
    );
    hypha.stdout(&["ping", &address, "--count", "1"])?;
    let mut watch = hypha.command(&["watch", "plate_ready", "--count", "1"])?;
    let watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = watch.spawn()?;
    let mut note = String::new();
    let notes = watch.stderr.take().context("no standard error")?;
    BufReader::new(notes).read_line(&mut note)?;
    ensure!(note == "watching ws-user-root\n", "{note}");
    runtime.block_on(client.emit("plate_ready", "*", hypha_rpc::Value::from(2)))?;
    let watched = String::from_utf8(watch.wait_with_output()?.stdout)?;
    ensure!(watched.starts_with("plate_ready "), "{watched}");
    let load = hypha.stdout(&["watch", "connected", "--metrics", "100ms", "--count", "1"])?;
    ensure!(load.starts_with("metrics "), "{load}");
    ensure!(!load.contains(" 0 connections"), "{load}");
    hypha.stdout(&["kick", &address])?;
    hypha.failure(&["kick", "ws-user-root/nobody"], 4)?;
    hypha.stdout(&["logs"])?;
    runtime.block_on(client.disconnect());

    contexts(&hypha)?;
    hypha.stdout(&["workspace", "delete", &id, "--yes"])?;
    hypha.failure(&["workspace", "delete", &id, "--yes"], 4)
}

/// Logs in with a token, uses the context, and logs out.
fn contexts(hypha: &Hypha<'_>) -> Result<()> {
    let name = format!("hypha-command-{}", hypha_wire::random_id());
    let config = std::env::temp_dir().join(name);
    let run = |arguments: &[&str]| -> Result<Output> {
        let mut command = hypha.command(arguments)?;
        let command = command.env("HYPHA_CONFIG", &config).stdin(Stdio::piped());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut input = child.stdin.take().context("no input")?;
        // A command that reads no input may have ended already.
        let _ = input.write_all(ROOT_TOKEN.as_bytes());
        drop(input);
        Ok(child.wait_with_output()?)
    };
    for (arguments, code) in [
        (&["login", "--with-token", "--context", "lab"][..], 0),
        (&["whoami", "--context", "lab"][..], 0),
        // The root token has no expiry.
        (&["logout", "--context", "lab", "--revoke"][..], 5),
        (&["logout", "--context", "lab", "--local"][..], 0),
    ] {
        let output = run(arguments)?;
        ensure!(
            output.status.code() == Some(code),
            "{arguments:?}: {output:?}"
        );
    }
    Ok(std::fs::remove_file(&config)?)
}

macro_rules! at_both_servers {
    ($($module:ident $kind:ident;)*) => {
        $(mod $module {
            use super::*;

            #[test]
            fn services_in_rust() {
                run_blocking(Kind::$kind, &[], |s| services(&s.url, Language::Rust));
            }

            #[test]
            fn services_in_python() {
                let peers = [Language::Python];
                run_blocking(Kind::$kind, &peers, |s| services(&s.url, Language::Python));
            }

            #[test]
            fn administrators() {
                run_blocking(Kind::$kind, &[], |s| administration(&s.url));
            }
        })*
    };
}

at_both_servers! {
    python_server Python;
    our_server Ours;
}
