//! Tests the accounts of `hypha-server`. Runs the programs of `docs/operate/accounts.md` in order,
//! and logs in with the Python and JavaScript clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::conformance::{Language, passed_checks};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{
    chromium, interop_folder, javascript_program, or_skip, program_or_skip, python, python_program,
};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::project_root;
use hypha_rpc_tests::servers::{Kind, ROOT_TOKEN, Server, Setup, http_get};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse";
/// Address of the server in the chapter.
const ADDRESS: &str = "http://localhost:9527";

/// Temporary folder, deleted when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn chapter() -> Result<String> {
    let path = project_root().join("docs/operate/accounts.md");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Returns the code block of the chapter that has this info string. Replaces the address in the
/// code block with the URL of the server.
fn program(info: &str, url: &str) -> Result<String> {
    let text = chapter()?;
    let begin = format!("\n```{info}\n");
    let (_, rest) = text.split_once(&begin).with_context(|| begin.clone())?;
    let (program, _) = rest.split_once("\n```").context("no end")?;
    Ok(program.replace(ADDRESS, url))
}

fn variables(command: &mut Command) -> &mut Command {
    command
        .env("ROOT_TOKEN", ROOT_TOKEN)
        .env("PASSWORD", PASSWORD)
}

/// Runs shell commands. In these commands, `server` and `stage` stand for the programs of this
/// build.
fn shell(name: &str, lines: &str) -> Result<Process> {
    let mut command = Command::new("sh");
    command.args(["-e", "-c", lines]);
    Process::start(name, variables(&mut command))
}

fn python_lines(name: &str, lines: &str, more: &[(&str, &str)]) -> Result<Process> {
    let mut command = Command::new(python()?);
    command.args(["-u", "-B"]);
    command.arg(interop_folder().join("python/snippets.py"));
    command.arg(lines).envs(more.iter().copied());
    Process::start(name, variables(&mut command))
}

/// Waits until a program has ended, and returns the lines that the program has printed.
fn printed(process: &Process) -> Result<Vec<String>> {
    let status = process.wait(LIMIT)?;
    ensure!(status.success(), "{status}\n{}", process.transcript(0));
    Ok(process.stdout())
}

/// Starts the server with the command of the chapter, but on a free port.
fn serve(folder: &Folder) -> Result<(Process, String)> {
    let server = executable("hypha-server")?;
    let lines = program("sh server", ADDRESS)?
        .replace(
            "hypha-server ",
            &format!("exec {} --port 0 ", server.display()),
        )
        .replace("./data", &folder.0.display().to_string());
    let process = shell("the server", &lines)?;
    let url = process.wait_for_prefix(LIMIT, "READY ")?;
    Ok((process, url))
}

/// Calls a method of the login service in the same way as the login page.
fn post(url: &str, method: &str, arguments: &Value) -> Result<Value> {
    let address = url.strip_prefix("http://").context("not an http URL")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let body = arguments.to_string();
    write!(
        stream,
        "POST /public/services/hypha-login/{method} HTTP/1.1\r\nHost: {address}\r\nConnection: \
         close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{answer}");
    // The server may send the body in chunks, so search the body for the JSON object.
    let begin = body.find('{').context("no object")?;
    let end = body.rfind('}').context("no object")?;
    Ok(serde_json::from_str(&body[begin..=end])?)
}

/// Runs the last program of the chapter and logs in as the user `name`. Returns the output of the
/// program, and whether the program succeeded.
fn move_stage(url: &str, stage: &str, name: &str) -> Result<(String, bool)> {
    let moving = program("python move", url)?;
    let moving = python_lines(name, &moving, &[("STAGE", stage)])?;
    let key = moving.wait_for_line(LIMIT, |line| {
        let (_, key) = line.split_once("login at ")?.1.split_once("?key=")?;
        Some(key.to_owned())
    })?;
    let email = format!("{name}@lab.example");
    let credentials = json!({"email": email, "password": PASSWORD, "key": key});
    let answer = post(url, "login", &credentials)?;
    ensure!(answer["success"] == true, "{answer}");
    let status = moving.wait(LIMIT)?;
    Ok((moving.transcript(0), status.success()))
}

#[test]
fn the_chapter_contains_the_example() -> Result<()> {
    let source = std::fs::read_to_string(project_root().join("examples/stage.rs"))?;
    let shown = chapter()?.contains(&format!("```rust,no_run\n{source}```"));
    ensure!(
        shown,
        "docs/operate/accounts.md does not show examples/stage.rs"
    );
    Ok(())
}

#[test]
fn one_named_user_moves_the_stage() -> Result<()> {
    let curl = Command::new("curl").arg("--version").output();
    if or_skip(python()).is_none() || program_or_skip(curl.context("no curl")).is_none() {
        return Ok(());
    }
    let name = format!("accounts-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    let (server, url) = serve(&folder)?;
    let url = url.as_str();
    printed(&shell("the sign-ups", &program("sh signup", url)?)?)?;
    let verified = printed(&python_lines(
        "verify",
        &program("python verify", url)?,
        &[],
    )?)?;
    let id_of = |name: &str| -> Result<&str> {
        let mut lines = verified.iter().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(first, _)| *first == name);
        Ok(found.with_context(|| format!("{verified:?}"))?.1)
    };
    let account = program("python stage account", url)?;
    let token = printed(&python_lines("the account of the stage", &account, &[])?)?;
    let token = token.last().context("no token")?;

    let lines = program("sh stage", url)?
        .replace(
            "cargo run -p hypha-rpc-examples --example stage --",
            "exec stage",
        )
        .replace(
            "exec stage",
            &format!("exec {}", executable("stage")?.display()),
        );
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &lines]).env("STAGE_TOKEN", token);
    command.env("ANN", id_of("ann")?).env("BOB", id_of("bob")?);
    let stage = Process::start("the stage", &command)?;
    let service = stage.wait_for_line(LIMIT, |line| {
        line.ends_with(":stage").then(|| line.to_owned())
    })?;

    let (ann, moved) = move_stage(url, &service, "ann")?;
    ensure!(moved && ann.contains("moved to: 1.5"), "{ann}");
    let (bob, moved) = move_stage(url, &service, "bob")?;
    ensure!(!moved && bob.contains("position: 1.5"), "{bob}");
    ensure!(bob.contains("PermissionError"), "{bob}");
    let (carol, moved) = move_stage(url, &service, "carol")?;
    ensure!(!moved && !carol.contains("position:"), "{carol}");
    stage.terminate()?;
    stage.wait(LIMIT)?;
    server.terminate()?;
    server.wait(LIMIT).map(drop)
}

/// Starts a server with local accounts, and signs up a user.
fn with_account() -> Result<(Process, String)> {
    let mut command = Command::new(executable("hypha-server")?);
    command.args(["--port=0", "--in-memory", "--enable-local-auth"]);
    let server = Process::start("the server", &command)?;
    let url = server.wait_for_prefix(LIMIT, "READY ")?;
    let person = json!({"name": "Ann", "email": "ann@lab.example", "password": PASSWORD});
    let begun = post(&url, "signup", &person)?;
    let code = json!({"email": "ann@lab.example", "code": begun["dev_code"]});
    let verified = post(&url, "verify_email", &code)?;
    ensure!(verified["success"] == true, "{verified}");
    Ok((server, url))
}

#[test]
fn the_other_clients_log_in() -> Result<()> {
    for language in [Language::Python, Language::JavaScript] {
        if or_skip(language.installed()).is_none() {
            return Ok(());
        }
    }
    let (_server, url) = with_account()?;
    for (name, mut program) in [
        ("Python", python_program("account_peer.py")?),
        ("JavaScript", javascript_program("account_peer.mjs")?),
    ] {
        program.args(["--server-url", &url, "--email", "ann@lab.example"]);
        program.args(["--password", PASSWORD]);
        let program = Process::start(format!("login in {name}"), &program)?;
        passed_checks(&program).with_context(|| format!("login in {name}"))?;
    }
    Ok(())
}

/// The Python server stores accounts in S3, which is not available in the tests. Therefore this
/// test compares only steps that fail before the server needs an account.
#[test]
fn both_servers_reject_invalid_account_requests_alike() -> Result<()> {
    if or_skip(python()).is_none() {
        return Ok(());
    }
    let steps = [
        ("signup", json!({})),
        (
            "signup",
            json!({"name": "Ann", "email": "a@x", "password": "short"}),
        ),
        ("verify_email", json!({"email": "a@x"})),
        ("verify_email", json!({"email": "a@x", "code": "123456"})),
        ("resend_code", json!({})),
        ("resend_code", json!({"email": "A@X"})),
        ("login", json!({"email": "a@x"})),
        ("login", json!({"password": "correct horse"})),
        ("update_profile", json!({"name": "Ann"})),
    ];
    let setup = Setup {
        arguments: vec!["--enable-local-auth".into()],
        ..Setup::default()
    };
    let answers = |kind| -> Result<Vec<Value>> {
        let server = Server::start_as(kind, &setup)?;
        let answers = steps
            .iter()
            .map(|(method, arguments)| post(&server.url, method, arguments));
        let answers = answers.collect::<Result<Vec<_>>>()?;
        let (status, page) = http_get(&server.url, "/public/apps/hypha-login/")?;
        ensure!(status == 200, "{kind}: {page}");
        for part in [
            "<title>Hypha Local Authentication</title>",
            "Sign Up",
            "loginEmail",
        ] {
            ensure!(page.contains(part), "{kind}: {part}");
        }
        Ok(answers)
    };
    let (original, ours) = (answers(Kind::Python)?, answers(Kind::Ours)?);
    for ((step, theirs), ours) in steps.iter().zip(original).zip(ours) {
        ensure!(theirs == ours, "{step:?}: {theirs} and {ours}");
    }
    Ok(())
}

#[test]
fn the_forms_are_usable_in_a_browser() -> Result<()> {
    let Some(browser) = program_or_skip(chromium()) else {
        return Ok(());
    };
    if or_skip(Language::JavaScript.installed()).is_none() {
        return Ok(());
    }
    let (_server, url) = with_account()?;
    let mut program = javascript_program("account_page.mjs")?;
    program
        .args(["--server-url", &url])
        .arg("--browser")
        .arg(&browser);
    let program = Process::start("the forms", &program)?;
    passed_checks(&program).map(drop).context("in the browser")
}
