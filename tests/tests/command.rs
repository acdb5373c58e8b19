//! Tests the program `hypha` on both servers, with services in Rust and Python.

use std::process::{Command, Output};

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
    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(executable("hypha")?);
        for variable in ["HYPHA_WORKSPACE", "HYPHA_CONTEXT"] {
            command.env_remove(variable);
        }
        command.env("HYPHA_CONFIG", "/nowhere/hypha.json");
        command
            .env("HYPHA_SERVER_URL", self.url)
            .env("HYPHA_TOKEN", ROOT_TOKEN);
        Ok(command.args(arguments).output()?)
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
    let bench = ["bench", &target("echo"), "1", "--duration", "100ms"];
    let measured = hypha.json(&bench)?;
    ensure!(measured["calls"].as_u64() > Some(0), "{measured}");
    service.stop()
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
    hypha.stdout(&["token", "revoke", token.trim()])?;
    hypha.failure(&["whoami", "--token", token.trim()], 5)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
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
    hypha.stdout(&["kick", &address])?;
    hypha.failure(&["kick", "ws-user-root/nobody"], 4)?;
    hypha.stdout(&["logs"])?;
    runtime.block_on(client.disconnect());

    hypha.stdout(&["workspace", "delete", &id, "--yes"])?;
    hypha.failure(&["workspace", "delete", &id, "--yes"], 4)
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
