//! Tests of our library in WebAssembly: it calls every language and is called by every language, in
//! Node and in a page.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Host, Language};
use hypha_rpc_tests::peers::{chromium, or_skip, program_or_skip};
use hypha_rpc_tests::servers::{Kind, Server, Setup, http_get};

use Language::{JavaScript, Page, Python, Rust, WebAssembly};

/// Timeout for a service to return after a restart of the server.
const LIMIT: Duration = Duration::from_secs(60);

/// Options that skip the checks with a panic, because a panic ends a program in WebAssembly.
const NO_PANIC: [&str; 2] = ["--skip", "panic_is_an_error,answers_after_the_panic"];

fn call(client: Language, host: &Host, url: &str) -> Result<()> {
    let to_wasm = [WebAssembly, Page].contains(&host.language());
    let options = if to_wasm { &NO_PANIC[..] } else { &[] };
    host.call_from(client, url, &host.service, options)
        .map(drop)
        .with_context(|| format!("{client:?} calls {:?}", host.language()))
}

fn all_directions(url: &str) -> Result<()> {
    let served = Host::start(WebAssembly, url, &[])?;
    thread::scope(|scope| {
        let to_others = [Rust, Python, JavaScript].map(|language| {
            scope.spawn(move || {
                let host = Host::start(language, url, &[])?;
                call(WebAssembly, &host, url)?;
                host.stop()
            })
        });
        for client in [Rust, Python, JavaScript, WebAssembly] {
            call(client, &served, url)?;
        }
        for direction in to_others {
            direction
                .join()
                .map_err(|_| anyhow!("a direction panics"))??;
        }
        anyhow::Ok(())
    })?;
    served.stop()
}

#[test]
fn every_language_calls_and_is_called_through_our_server() {
    run_blocking(Kind::Ours, &[JavaScript, Python, WebAssembly], |server| {
        all_directions(&server.url)
    });
}

#[test]
fn a_page_calls_and_is_called_through_our_server() {
    if program_or_skip(chromium()).is_none() {
        return;
    }
    run_blocking(Kind::Ours, &[JavaScript, Python, Page], |server| {
        let url = &server.url;
        let rust = Host::start(Rust, url, &[])?;
        call(Page, &rust, url)?;
        rust.stop()?;
        let page = Host::start(Page, url, &[])?;
        call(Python, &page, url)?;
        page.stop()
    });
}

#[test]
fn a_service_returns_after_a_restart_of_the_server() -> Result<()> {
    if or_skip(WebAssembly.installed()).is_none() {
        return Ok(());
    }
    // Both servers have the same secret, so the client's token for reconnecting stays valid.
    let setup = Setup::restartable()?;
    let server = Server::start_as(Kind::Ours, &setup)?;
    let host = Host::start(WebAssembly, &server.url, &[])?;
    let (workspace, service) = host.service.split_once('/').context("no workspace")?;
    let path = format!("/{workspace}/services/{service}/add?a=20&b=22");
    let answers = |server: &Server| -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = http_get(&server.url, &path)?;
            if answer == (200, "42.0".into()) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{answer:?}");
            thread::sleep(Duration::from_millis(100));
        }
    };
    answers(&server)?;
    drop(server);
    let server = Server::start_as(Kind::Ours, &setup)?;
    answers(&server).with_context(|| host.process.transcript(0))?;
    host.stop()
}
