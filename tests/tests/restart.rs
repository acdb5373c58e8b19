//! Tests a server that is restarted at the same address. All clients must reconnect, register their
//! services again, and call the manager. The test restarts the server once with its stored data,
//! and once without data but with the same secret.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{self, javascript_program, or_skip, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{JWT_SECRET, http_get};

const LIMIT: Duration = Duration::from_secs(60);

/// Temporary folder, deleted when dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(port: u16, options: &[&str]) -> Result<Process> {
    let mut command = Command::new(executable("hypha-server")?);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(options);
    if options.contains(&"--in-memory") {
        command.env("JWT_SECRET", JWT_SECRET);
    }
    let process = Process::start("hypha-server", &command)?;
    process.wait_for_prefix(LIMIT, "READY ")?;
    Ok(process)
}

fn now() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis()
}

/// A client process. Contains the name of the client for messages, and the workspace of the client.
struct Returning {
    name: String,
    process: Process,
    workspace: String,
}

impl Returning {
    fn start(language: &str, transport: &str, url: &str) -> Result<Returning> {
        let name = format!("{language} over {transport}");
        let mut command = match language {
            "Python" => python_program("returning_peer.py")?,
            _ => javascript_program("returning_peer.mjs")?,
        };
        command.args(["--server-url", url, "--transport", transport]);
        command.args(["--client-id", &format!("{language}-{transport}")]);
        let process = Process::start(&name, &command)?;
        let workspace = process.wait_for_prefix(LIMIT, "READY ")?;
        Ok(Returning {
            name,
            process,
            workspace,
        })
    }

    /// Waits until the manager responds to this client. Then waits until this client responds to
    /// another client.
    fn is_back(&self, url: &str, since: u128) -> Result<()> {
        let echo = self.process.wait_for_line(LIMIT, |line| {
            let at = line.strip_prefix("ECHO ")?.trim().parse::<u128>().ok()?;
            (at > since).then_some(())
        });
        echo.with_context(|| format!("{} calls the manager", self.name))?;
        let client = self.name.replace(" over ", "-");
        let path = format!("/{}/services/{client}:here/hello", self.workspace);
        let deadline = Instant::now() + LIMIT;
        loop {
            let (status, body) = http_get(url, &path)?;
            if (status, body.as_str()) == (200, "\"hello\"") {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{} does not answer: {status} {body}",
                self.name
            );
            thread::sleep(Duration::from_millis(200));
        }
    }
}

fn comes_back(first: &[&str], second: &[&str]) -> Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}");
    let server = start(port, first)?;
    let mut clients = Vec::new();
    for language in ["Python", "JavaScript"] {
        for transport in ["websocket", "http"] {
            clients.push(Returning::start(language, transport, &url)?);
        }
    }
    for client in &clients {
        client.is_back(&url, 0)?;
    }
    server.terminate()?;
    let status = server.wait(Duration::from_secs(20))?;
    ensure!(status.success(), "the server ended with {status}");
    drop(server);
    let restarted = now();
    let _server = start(port, second)?;
    for client in &clients {
        client.is_back(&url, restarted)?;
    }
    Ok(())
}

#[test]
fn clients_return_to_a_server_with_its_data() {
    if or_skip(peers::python()).is_none() || or_skip(peers::node()).is_none() {
        return;
    }
    let name = format!("hypha-restart-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    let data = folder.0.to_string_lossy().into_owned();
    let options = ["--data-dir", &data];
    if let Err(error) = comes_back(&options, &options) {
        panic!("{error:#}");
    }
}

#[test]
fn clients_return_to_another_server_with_the_same_secret() {
    if or_skip(peers::python()).is_none() || or_skip(peers::node()).is_none() {
        return;
    }
    let options = |id| ["--in-memory", "--server-id", id];
    if let Err(error) = comes_back(&options("one"), &options("two")) {
        panic!("{error:#}");
    }
}
