//! Tests a cluster of a Python server and a `hypha-server` that share a Redis. The clients of each
//! server use services on the other server. The test needs the program `redis-server`.

use anyhow::{Context, Result};
use hypha_rpc_tests::conformance::{Host, Language};
use hypha_rpc_tests::peers::{self, or_skip, program_or_skip};
use hypha_rpc_tests::servers::{Kind, Redis, Server, Setup};

fn run_in_cluster() -> Result<()> {
    let redis = Redis::start()?;
    let python = Server::start_as(Kind::Python, &Setup::in_cluster(&redis, "python"))?;
    let ours = Server::start_as(Kind::Ours, &Setup::in_cluster(&redis, "ours"))?;
    // Skip this check. In a cluster, the notice that a client has disconnected may arrive later
    // than the check expects.
    let skip = ["--skip", "an_interface_ends_with_its_owner"];
    for (host, host_at, client, client_at) in [
        (Language::Python, &ours.url, Language::Python, &python.url),
        (Language::Rust, &python.url, Language::Python, &ours.url),
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
    if program_or_skip(Redis::installed()).is_none() {
        return;
    }
    if let Err(error) = run_in_cluster() {
        panic!("{error:#}");
    }
}
