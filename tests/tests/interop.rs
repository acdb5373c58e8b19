//! Tests every pair of languages on both servers. One program runs the conformance service, and
//! another program runs the conformance client.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Host, Language};
use hypha_rpc_tests::peers::python_program;
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::Kind;

fn direction(client: Language, host: Language, url: &str) -> Result<()> {
    let service = Host::start(host, url, &[])?;
    service.call_from(client, url, &service.service, &[])?;
    service.stop()
}

/// Runs the service and the client in one workspace. Both programs connect with a token.
fn with_tokens(url: &str) -> Result<()> {
    let mut command = python_program("workspace_owner.py")?;
    command.args(["--server-url", url]);
    let owner = Process::start("the owner of the workspace", &command)?;
    let ready = owner.wait_for_prefix(Duration::from_secs(60), "READY ")?;
    let (workspace, token) = ready.split_once(' ').context("no token")?;
    for language in [Language::Rust, Language::Python, Language::JavaScript] {
        let id = format!("host-in-{language:?}");
        let place = ["--workspace", workspace, "--token", token];
        let host_place = [&place[..], &["--client-id", &id]].concat();
        let service = Host::start(language, url, &host_place)?;
        ensure!(
            service.service == format!("{workspace}/{id}:conformance"),
            "{} is not in {workspace} with the client id {id}",
            service.service
        );
        // The Rust client calls the service by its full id. The other clients use the id of the
        // service within the workspace.
        let short = format!("{id}:conformance");
        let name = if language == Language::Rust {
            &service.service
        } else {
            &short
        };
        service.call_from(Language::Rust, url, name, &place)?;
        service.stop()?;
    }
    Ok(())
}

macro_rules! directions {
    ($($name:ident: $client:ident calls $host:ident;)*) => {
        directions!(python_server Python $($name $client $host)*);
        directions!(our_server Ours $($name $client $host)*);
    };
    ($module:ident $kind:ident $($name:ident $client:ident $host:ident)*) => {
        mod $module {
            use super::*;

            $(#[test]
            fn $name() {
                let (client, host) = (Language::$client, Language::$host);
                run_blocking(Kind::$kind, &[client, host], |server| {
                    direction(client, host, &server.url)
                });
            })*

            #[test]
            fn in_one_workspace_with_tokens() {
                let all = [Language::Rust, Language::Python, Language::JavaScript];
                run_blocking(Kind::$kind, &all, |server| with_tokens(&server.url));
            }
        }
    };
}

directions! {
    rust_calls_rust: Rust calls Rust;
    rust_calls_python: Rust calls Python;
    python_calls_rust: Python calls Rust;
    rust_calls_javascript: Rust calls JavaScript;
    javascript_calls_rust: JavaScript calls Rust;
    // Pairs of languages without Rust. If these pairs fail, the Rust client is not the cause.
    python_calls_javascript: Python calls JavaScript;
    javascript_calls_python: JavaScript calls Python;
}
