//! The Python server and ours share a Redis: services of the clients of one are used by those of
//! the other. Needs the program `redis-server`.

use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hypha_rpc_tests::conformance::{Host, Language};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{self, or_skip, program_or_skip};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{JWT_SECRET, http_get};

const LIMIT: Duration = Duration::from_secs(120);

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn is_ready(process: &Process, url: &str) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !matches!(http_get(url, "/health/readiness"), Ok((200, _))) {
        if process.try_wait()?.is_some() || Instant::now() > deadline {
            bail!("{url} does not get ready\n{}", process.transcript(0));
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// A Redis, and a server of each kind that uses it.
struct Cluster {
    python: String,
    ours: String,
    _processes: [Process; 3],
}

impl Cluster {
    fn start() -> Result<Cluster> {
        let port = free_port()?;
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        redis.args(["--save", "", "--appendonly", "no"]);
        let redis = Process::start("Redis", &redis)?;
        redis.wait_for_line(LIMIT, |line| {
            line.contains("Ready to accept connections").then_some(())
        })?;
        let uri = format!("redis://127.0.0.1:{port}/0");
        let shared = [
            "--redis-uri",
            &uri,
            "--public-base-url",
            "http://hypha.example.org",
        ];
        let environment = [
            ("JWT_SECRET", JWT_SECRET),
            // The tests send as fast as they can.
            ("HYPHA_WS_MSG_RATE_LIMIT", "1000000"),
            ("HYPHA_WS_MSG_BURST_LIMIT", "1000000"),
        ];

        let port = free_port()?.to_string();
        let mut command = Command::new(peers::python()?);
        command.args(["-u", "-B", "-P", "-m", "hypha.server", "--host=127.0.0.1"]);
        command.args(["--server-id", "python", "--port", &port]);
        command.args(shared).envs(environment);
        let python = Process::start("the Python server", &command)?;
        let python_url = format!("http://127.0.0.1:{port}");
        is_ready(&python, &python_url)?;

        let mut command = Command::new(executable("hypha-server")?);
        command.args(["--port", "0", "--server-id", "ours", "--in-memory"]);
        command.args(shared).envs(environment);
        let ours = Process::start("hypha-server", &command)?;
        let ours_url = ours.wait_for_prefix(LIMIT, "READY ")?;
        Ok(Cluster {
            python: python_url,
            ours: ours_url,
            _processes: [redis, python, ours],
        })
    }
}

fn across() -> Result<()> {
    let cluster = Cluster::start()?;
    // An answer within the time that the test allows is not owed to a client that has left.
    let skip = ["--skip", "an_interface_ends_with_its_owner"];
    for (host, host_at, client, client_at) in [
        (
            Language::Python,
            &cluster.ours,
            Language::Python,
            &cluster.python,
        ),
        (
            Language::Rust,
            &cluster.python,
            Language::Python,
            &cluster.ours,
        ),
    ] {
        let service = Host::start(host, host_at, &[])?;
        service
            .call_from(client, client_at, &service.service, &skip)
            .with_context(|| format!("{client:?} at {client_at} calls {host:?} at {host_at}"))?;
        service.stop()?;
    }
    Ok(())
}

#[test]
fn clients_of_both_servers_use_each_others_services() {
    if or_skip(peers::python()).is_none() {
        return;
    }
    let redis = Command::new("redis-server").arg("--version").output();
    if program_or_skip(redis.context("`redis-server` cannot be run")).is_none() {
        return;
    }
    if let Err(error) = across() {
        panic!("{error:#}");
    }
}
