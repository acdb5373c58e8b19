//! Tests both servers with plain HTTP requests instead of an RPC client. Covers services, the
//! login, and tokens of one server that the other server accepts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Language, passed_checks};
use hypha_rpc_tests::peers::{javascript_program, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, ROOT_TOKEN, Server, http_get, http_get_with};
use serde_json::{Value, json};

const READY_LIMIT: Duration = Duration::from_secs(60);

/// Starts the services in Python. Returns the process, the workspace, and a token for the
/// workspace.
fn host(url: &str) -> Result<(Process, String, String)> {
    let mut command = python_program("http_services.py")?;
    command.args(["--server-url", url]);
    let process = Process::start("the services over HTTP", &command)?;
    let ready = process.wait_for_prefix(READY_LIMIT, "READY ")?;
    let (workspace, token) = ready.split_once(' ').context("no token")?;
    let (workspace, token) = (workspace.to_owned(), token.to_owned());
    Ok((process, workspace, token))
}

fn check(kind: Kind, work: impl FnOnce(&str) -> Result<()>) {
    let peers = [Language::Python, Language::JavaScript];
    run_blocking(kind, &peers, |server| work(&server.url));
}

fn services(kind: Kind, url: &str) -> Result<()> {
    let (_host, workspace, token) = host(url)?;
    let get = |path: &str| http_get(url, &format!("/{workspace}/{path}"));
    let json = |path: &str| -> Result<(u16, Value)> {
        let (status, body) = get(path)?;
        let value = serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))?;
        Ok((status, value))
    };
    for (path, expected) in [
        ("add?a=2&b=3", json!(5)),
        ("add?a=-2&b=3", json!(1.0)),
        ("echo?value=[1]", json!("[1]")),
        ("echo?value={%22a%22:1}", json!({"a": 1})),
        ("nested.deep.double?x=4", json!(8)),
        ("motto", json!("ars longa")),
        ("who", json!(["anonymouz-http", "ws-anonymous"])),
        ("add?a=1&b=1&_mode=random", json!(2)),
    ] {
        let got = json(&format!("services/functions/{path}"))?;
        ensure!(
            got == (200, expected.clone()),
            "{path}: {got:?}, not {expected}"
        );
    }
    for (path, expected) in [
        ("functions/nothing", 404),
        ("nobody/add?a=1&b=1", 404),
        ("functions/add?a=1", 400),
        ("functions/fail?kind=value", 400),
        ("functions/fail?kind=permission", 403),
        ("functions/fail?kind=other", 500),
        ("hidden/add?a=1&b=1", 403),
    ] {
        let (status, problem) = json(&format!("services/{path}"))?;
        ensure!(
            status == expected,
            "{path}: {status} {problem}, not {expected}"
        );
        ensure!(problem["success"] == false, "{path}: {problem}");
    }
    let (status, listed) = json("services/")?;
    ensure!(status == 200, "{listed}");
    let ids: Vec<&str> = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|service| service["id"].as_str()?.split(':').nth(1))
        .collect();
    for (id, public) in [
        ("functions", true),
        ("application", true),
        ("hidden", false),
    ] {
        ensure!(ids.contains(&id) == public, "{id} in {ids:?}");
    }
    let (_, info) = json("services/functions")?;
    ensure!(
        info["type"] == "generic" && info["config"]["visibility"] == "public",
        "{info}"
    );

    let (status, text) = get("apps/application/a/b?c=d")?;
    ensure!(status == 202, "{status}: {text}");
    ensure!(unchunked(&text) == "GET /a/b c=d 0;end", "{text:?}");
    for (path, expected) in [
        ("apps/pages/", "index GET  anonymouz-http"),
        ("apps/pages/folder?x=1", "default GET x=1 anonymouz-http"),
        ("apps/pages/none/such", "default GET  anonymouz-http"),
    ] {
        let (status, text) = get(path)?;
        let got = (status, unchunked(&text));
        ensure!(
            got == (200, expected.to_owned()),
            "{path}: {status} {text:?}"
        );
    }
    ensure!(get("apps/nobody/")?.0 == 404);
    ensure!(get("info")?.0 == 403, "strangers do not see the workspace");
    ensure!(http_get(url, "/health/liveness")?.0 == 200);
    if kind == Kind::Ours {
        // The Python server sends an error event after the last item of each generator.
        let (_, text) = get("services/functions/count?to=2")?;
        let events = "data: 0\n\ndata: 1\n\ndata: [DONE]\n\n";
        let got: String = text
            .split("\r\n")
            .filter(|line| line.starts_with("data"))
            .collect();
        ensure!(got == events, "{text:?}");
    }
    ensure!(!token.is_empty());
    Ok(())
}

/// Checks that a server compresses large responses with the best method that the caller accepts.
/// The server must not compress small responses and the responses of applications.
fn compression(url: &str) -> Result<()> {
    let (_host, workspace, _) = host(url)?;
    // The response is the string in two quotes.
    let echo = |size: usize| {
        let value = "x".repeat(size - 2);
        format!("/{workspace}/services/functions/echo?value={value}")
    };
    let page = format!("/{workspace}/apps/pages/?y={}", "y".repeat(2000));
    for (path, accepted, expected) in [
        (echo(1000), "gzip, deflate, br, zstd", Some("zstd")),
        (echo(1000), "gzip, br", Some("br")),
        (echo(1000), "gzip", Some("gzip")),
        (echo(1000), "GZIP;q=0.5", Some("gzip")),
        (echo(1000), "gzip;q=0", None),
        (echo(1000), "deflate", None),
        (echo(1000), "", None),
        (echo(999), "gzip", None),
        (page, "gzip", None),
        ("/health/liveness".into(), "gzip", None),
    ] {
        let answer = http_get_with(url, &path, &[("Accept-Encoding", accepted)])?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        let coding = answer.header("Content-Encoding");
        ensure!(coding == expected, "{accepted}: {answer:?}");
        let small = answer.body.len() < 200;
        ensure!(small || expected.is_none(), "{accepted}: {answer:?}");
    }
    Ok(())
}

/// Returns the body of a response. If the server sent the body in chunks, joins the chunks.
fn unchunked(body: &str) -> String {
    // The chunks contain no line breaks. Therefore the lines are alternately the size and the
    // content of a chunk.
    match body.split_once("\r\n") {
        Some((size, rest)) if usize::from_str_radix(size, 16).is_ok() => {
            let whole: Vec<&str> = rest.split("\r\n").step_by(2).collect();
            whole.concat()
        }
        _ => body.to_owned(),
    }
}

fn logging_in(url: &str) -> Result<()> {
    let (_host, _, token) = host(url)?;
    for (name, mut program) in [
        ("Python", python_program("login_peer.py")?),
        ("JavaScript", javascript_program("login_peer.mjs")?),
    ] {
        program.args(["--server-url", url, "--token", &token]);
        passed_checks(&Process::start(format!("login in {name}"), &program)?)
            .with_context(|| format!("login in {name}"))?;
    }
    Ok(())
}

#[test]
fn services_over_the_python_server() {
    check(Kind::Python, |url| services(Kind::Python, url));
}

#[test]
fn services_over_our_server() {
    check(Kind::Ours, |url| services(Kind::Ours, url));
}

#[test]
fn compression_by_the_python_server() {
    check(Kind::Python, compression);
}

#[test]
fn compression_by_our_server() {
    check(Kind::Ours, compression);
}

#[test]
fn logging_in_at_the_python_server() {
    check(Kind::Python, logging_in);
}

#[test]
fn logging_in_at_our_server() {
    check(Kind::Ours, logging_in);
}

/// Checks that each server accepts the tokens of the other server if both servers have the same
/// secret.
#[test]
fn tokens_are_valid_at_both_servers() {
    check(Kind::Python, |python| {
        let ours = Server::shared(Kind::Ours).context("no server")?;
        for (here, there) in [(python, ours.url.as_str()), (&ours.url, python)] {
            let mut owner = python_program("workspace_owner.py")?;
            owner.args(["--server-url", here, "--token", ROOT_TOKEN]);
            let owner = Process::start("who makes a token", &owner)?;
            let ready = owner.wait_for_prefix(READY_LIMIT, "READY ")?;
            let (workspace, token) = ready.split_once(' ').context("no token")?;
            let mut user = python_program("workspace_owner.py")?;
            user.args(["--server-url", there, "--token", token, "--client-id", "x"]);
            // With this token, the user may also create the workspace on the other server.
            let user = Process::start("the user at the other server", &user)?;
            let ready = user.wait_for_prefix(READY_LIMIT, "READY ");
            let ready = ready.with_context(|| format!("{here} to {there}"))?;
            ensure!(ready.starts_with(workspace), "{ready}, not in {workspace}");
        }
        Ok(())
    });
}
