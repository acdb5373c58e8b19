//! Tests of our library in WebAssembly: it calls every language and is called by every language.

use std::thread;

use anyhow::{Context, Result, anyhow};
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Host, Language};
use hypha_rpc_tests::servers::Kind;

use Language::{JavaScript, Python, Rust, WebAssembly};

/// A panic ends a program in WebAssembly, so the method that panics is not called there.
const NO_PANIC: [&str; 2] = ["--skip", "panic_is_an_error,answers_after_the_panic"];

fn call(client: Language, host: &Host, url: &str) -> Result<()> {
    let to_wasm = host.language() == WebAssembly;
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
