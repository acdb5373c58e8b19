//! Tests the HTTP transport on both servers. Clients in all languages provide and call services
//! with `transport: "http"`. Their peers use HTTP or a WebSocket.

use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Host, Language};
use hypha_rpc_tests::servers::Kind;

const HTTP: [&str; 2] = ["--transport", "http"];
const WEBSOCKET: [&str; 0] = [];
/// Names of checks to skip over HTTP. POST requests arrive in any order. A client does not tell the
/// server that it disconnects, so the server waits until the client reconnects.
const SKIP: &str = "progress,an_interface_ends_with_its_owner,streams_that_are_left";
/// Names of checks to skip over HTTP on the Python server. The Python server does not report the
/// user. It also loses messages if more than a hundred messages arrive at once.
const SKIP_PYTHON: &str = "whoami,many_calls_at_once,calls_do_not_wait_for_each_other,\
    large_payloads_at_once,make_counter,count,sum,use_stored,nothing_is_left,\
    nobody_else_uses_what_was_handed_out,fail_after,blocks,streams_of_ours_that_fail,dispose_stored";

/// Names of checks that the Rust client skips. Other clients send callbacks in any order. No client
/// tells the server that it disconnects.
const SKIP_RUST: &str = "progress,an_interface_ends_with_its_owner";
/// Names of checks that the Rust client skips on the Python server. Like [`SKIP_RUST`], and
/// additionally the check of the user, which the Python server does not report.
const SKIP_RUST_PYTHON: &str = "progress,an_interface_ends_with_its_owner,whoami";

/// Returns the names of the checks that a client in this language must skip.
fn skipped_checks(client: Language, kind: Kind) -> Vec<String> {
    let skip = match (client, kind) {
        (Language::Rust, Kind::Ours) => SKIP_RUST.into(),
        (Language::Rust, Kind::Python) => SKIP_RUST_PYTHON.into(),
        (_, Kind::Ours) => SKIP.into(),
        (_, Kind::Python) => format!("{SKIP},{SKIP_PYTHON}"),
    };
    let mut options = vec!["--skip".to_owned(), skip];
    if (client, kind) == (Language::Rust, Kind::Python) {
        options.extend(["--burst".to_owned(), "30".to_owned()]);
    }
    options
}

fn check(kind: Kind, client: (Language, &[&str]), host: (Language, &[&str])) {
    run_blocking(kind, &[client.0, host.0], |server| {
        let service = Host::start(host.0, &server.url, host.1)?;
        let skipped_checks = skipped_checks(client.0, kind);
        let skipped_checks: Vec<&str> = skipped_checks.iter().map(String::as_str).collect();
        let options = [client.1, &skipped_checks].concat();
        service.call_from(client.0, &server.url, &service.service, &options)?;
        service.stop()
    });
}

macro_rules! directions {
    ($($name:ident: $client:ident $from:ident calls $host:ident $to:ident;)*) => {
        directions!(python_server Python $($name $client $from $host $to)*);
        directions!(our_server Ours $($name $client $from $host $to)*);
    };
    ($module:ident $kind:ident $($name:ident $client:ident $from:ident $host:ident $to:ident)*) => {
        mod $module {
            use super::*;

            $(#[test]
            fn $name() {
                check(Kind::$kind, (Language::$client, &$from), (Language::$host, &$to));
            })*
        }
    };
}

directions! {
    rust_calls_rust: Rust HTTP calls Rust HTTP;
    rust_calls_rust_on_a_socket: Rust HTTP calls Rust WEBSOCKET;
    rust_calls_python: Rust HTTP calls Python HTTP;
    rust_calls_javascript: Rust HTTP calls JavaScript WEBSOCKET;
    javascript_calls_rust: JavaScript WEBSOCKET calls Rust HTTP;
    python_on_a_socket_calls_rust: Python WEBSOCKET calls Rust HTTP;
    python_calls_rust: Python HTTP calls Rust WEBSOCKET;
    javascript_calls_python: JavaScript HTTP calls Python HTTP;
    python_calls_javascript: Python WEBSOCKET calls JavaScript HTTP;
}
