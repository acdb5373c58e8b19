//! Tests of our library in WebAssembly: it calls every language and is called by every language, in
//! Node, in a page and in a worker.

use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Host, Language, passed_checks};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{
    browser_module, chromium, javascript_program, or_skip, program_or_skip,
};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::proxy::{NetworkState, Proxy};
use hypha_rpc_tests::servers::{Kind, Server, Setup, http_get};
use tokio::runtime::Runtime;

use Language::{JavaScript, Page, Python, Rust, WebAssembly, Worker};

/// Timeout for a service to be ready, or to return after a restart of the server.
const LIMIT: Duration = Duration::from_secs(60);

/// Checks with a panic, which are skipped because a panic ends a program in WebAssembly.
const NO_PANIC: &str = "panic_is_an_error,answers_after_the_panic";
/// Checks to skip over HTTP (`http_transport.rs`).
const NOT_OVER_HTTP: &str = "progress,an_interface_ends_with_its_owner,streams_that_are_left";

const WEBSOCKET: [&str; 0] = [];
const HTTP: [&str; 2] = ["--transport", "http"];

/// Package and profile of the page of the microscope.
const MICROSCOPE_PAGE: (&str, &str) = ("hypha-rpc-microscope-page", "page");
/// Maximum sizes of its module, in bytes: as it is, and compressed with gzip.
const MODULE_MAX: (usize, usize) = (950_000, 385_000);

fn call(client: Language, host: &Host, url: &str, options: &[&str]) -> Result<()> {
    let mut skipped = Vec::new();
    if [WebAssembly, Page].contains(&host.language()) {
        skipped.push(NO_PANIC);
    }
    if options == HTTP {
        skipped.push(NOT_OVER_HTTP);
    }
    let skipped = skipped.join(",");
    let options = [options, &["--skip", &skipped]].concat();
    host.call_from(client, url, &host.service, &options)
        .map(drop)
        .with_context(|| format!("{client:?} calls {:?}", host.language()))
}

fn all_directions(url: &str) -> Result<()> {
    let served = Host::start(WebAssembly, url, &[])?;
    thread::scope(|scope| {
        let to_others = [Rust, Python, JavaScript].map(|language| {
            scope.spawn(move || {
                let host = Host::start(language, url, &[])?;
                call(WebAssembly, &host, url, &WEBSOCKET)?;
                host.stop()
            })
        });
        for client in [Rust, Python, JavaScript, WebAssembly] {
            call(client, &served, url, &WEBSOCKET)?;
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
fn every_language_calls_and_is_called_through_the_python_server() {
    run_blocking(Kind::Python, &[JavaScript, Python, WebAssembly], |server| {
        all_directions(&server.url)
    });
}

#[test]
fn node_calls_and_is_called_over_http() {
    run_blocking(Kind::Ours, &[WebAssembly], |server| {
        let url = &server.url;
        let rust = Host::start(Rust, url, &[])?;
        call(WebAssembly, &rust, url, &HTTP)?;
        rust.stop()?;
        // `auto` falls back to HTTP.
        let runtime = Runtime::new()?;
        let proxy = runtime.block_on(Proxy::start(url))?;
        proxy.set_network(NetworkState::OnlyHttp);
        let served = Host::start(WebAssembly, &proxy.url, &["--transport", "auto"])?;
        call(Rust, &served, url, &HTTP)?;
        served.stop()
    });
}

#[test]
fn node_calls_and_is_called_with_encryption() {
    run_blocking(Kind::Ours, &[WebAssembly], |server| {
        let url = &server.url;
        for (client, host) in [(WebAssembly, Rust), (Rust, WebAssembly)] {
            let host = Host::start(host, url, &["--encrypted"])?;
            let key = host.process.wait_for_prefix(LIMIT, "KEY ")?;
            call(client, &host, url, &["--service-key", &key])?;
            host.stop()?;
        }
        Ok(())
    });
}

#[test]
fn pages_and_workers_call_and_are_called_through_our_server() {
    if program_or_skip(chromium()).is_none() {
        return;
    }
    run_blocking(Kind::Ours, &[JavaScript, Python, Page], |server| {
        let url = &server.url;
        let rust = Host::start(Rust, url, &[])?;
        call(Page, &rust, url, &WEBSOCKET)?;
        call(Worker, &rust, url, &HTTP)?;
        rust.stop()?;
        let page = Host::start(Page, url, &[])?;
        call(Python, &page, url, &WEBSOCKET)?;
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
    let mut server = Server::start_as(Kind::Ours, &setup)?;
    // `auto` opens a WebSocket, because the server accepts it.
    for transport in ["auto", "http"] {
        let host = Host::start(WebAssembly, &server.url, &["--transport", transport])?;
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
        server = Server::start_as(Kind::Ours, &setup)?;
        answers(&server).with_context(|| host.process.transcript(0))?;
        host.stop()?;
    }
    Ok(())
}

#[test]
fn the_page_of_the_microscope_shows_live_images() {
    let Some(browser) = program_or_skip(chromium()) else {
        return;
    };
    run_blocking(Kind::Ours, &[Page], |server| {
        let (package, profile) = MICROSCOPE_PAGE;
        let folder = browser_module(package, profile)?;
        let mut microscope = Command::new(executable("microscope")?);
        microscope.env("HYPHA_SERVER_URL", &server.url);
        let microscope = Process::start("the microscope", &microscope)?;
        let service = microscope.wait_for_line(LIMIT, |line| {
            line.ends_with(":microscope").then(|| line.to_owned())
        })?;
        let mut page = javascript_program("microscope_page.mjs")?;
        page.args(["--server-url", &server.url, "--service", &service]);
        page.arg("--browser").arg(&browser);
        page.arg("--folder").arg(&folder);
        passed_checks(&Process::start("the page", &page)?)?;
        Ok(())
    });
}

#[test]
fn the_module_of_the_microscope_is_small() -> Result<()> {
    if or_skip(WebAssembly.installed()).is_none() {
        return Ok(());
    }
    let (package, profile) = MICROSCOPE_PAGE;
    let name = format!("{}_bg.wasm", package.replace('-', "_"));
    let module = std::fs::read(browser_module(package, profile)?.join(name))?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&module)?;
    let sizes = (module.len(), gzip.finish()?.len());
    println!("{} bytes, {} compressed", sizes.0, sizes.1);
    ensure!(
        sizes.0 <= MODULE_MAX.0 && sizes.1 <= MODULE_MAX.1,
        "the module has {sizes:?} bytes, more than {MODULE_MAX:?}"
    );
    Ok(())
}
