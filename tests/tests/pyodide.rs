//! Tests the Python client in WebAssembly, in Node: it calls a service in Rust.

use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Host, Language};
use hypha_rpc_tests::servers::Kind;

use Language::{Pyodide, Rust};

/// A stream that the client drops is closed by the event loop of Python, but not always by that of
/// Pyodide.
const SKIP: [&str; 2] = ["--skip", "streams_that_are_left"];

#[test]
fn python_in_webassembly_calls_rust() {
    run_blocking(Kind::Ours, &[Pyodide], |server| {
        let host = Host::start(Rust, &server.url, &[])?;
        host.call_from(Pyodide, &server.url, &host.service, &SKIP)?;
        host.stop()
    });
}
