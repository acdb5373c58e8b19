//! The conformance service and client of the examples, for a page, a worker or Node. JavaScript
//! calls `serve` and `check` with the arguments of the examples' command lines.
#![cfg(target_family = "wasm")]
#![allow(unreachable_pub, reason = "the modules belong to a library")]

#[path = "../../../examples/src/checks/mod.rs"]
mod checks;
#[path = "../../../examples/src/conformance.rs"]
mod conformance;
#[path = "../../../examples/src/connection.rs"]
mod connection;
#[path = "../../../examples/src/host.rs"]
mod host;

use clap::Parser;
use hypha_rpc::Client;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use checks::{Checks, Options, report};
use host::HostOptions;

/// Prints a line of a report.
fn say(line: &str) {
    web_sys::console::log_1(&line.into());
}

/// Parses arguments.
fn parsed<T: Parser>(arguments: Vec<String>) -> Result<T, JsValue> {
    // The first argument of a command line is the name of the program.
    let arguments = [String::new()].into_iter().chain(arguments);
    T::try_parse_from(arguments).map_err(|e| e.to_string().into())
}

/// Connection of the conformance service. The connection ends when this object is freed.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Session(Client);

#[wasm_bindgen]
impl Session {
    /// Closes the connection.
    pub async fn close(self) {
        self.0.disconnect().await;
    }
}

/// Hosts the service.
///
/// # Errors
///
/// Fails if an argument is unknown, the client cannot connect, or the service is refused.
#[wasm_bindgen]
pub async fn serve(arguments: Vec<String>) -> Result<Session, JsValue> {
    let options: HostOptions = parsed(arguments)?;
    let client = options.serve().await;
    Ok(Session(client.map_err(|e| format!("{e:#}"))?))
}

/// Checks a service. Returns whether all checks passed.
///
/// # Errors
///
/// Fails if an argument is unknown.
#[wasm_bindgen]
pub async fn check(arguments: Vec<String>) -> Result<bool, JsValue> {
    let options: Options = parsed(arguments)?;
    match Checks::open(options).await {
        Ok(checks) => {
            report("connect", &Ok(()));
            Ok(checks.run().await)
        }
        Err(error) => {
            report("connect", &Err(error));
            Ok(false)
        }
    }
}
