//! The conformance service and client of the examples, for a page, a worker or Node. JavaScript
//! calls `serve` and `check` with the arguments of the examples' command lines.
#![cfg(target_family = "wasm")]
#![allow(unreachable_pub, reason = "the modules belong to a library")]

#[path = "../../../examples/src/checks/mod.rs"]
mod checks;
#[path = "../../../examples/src/conformance.rs"]
mod conformance;
#[path = "../../../examples/src/host.rs"]
mod host;

use clap::Parser as _;
use hypha_rpc::Client;
use hypha_rpc::prelude::Visibility;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use checks::{Checks, Options, report};
use conformance::ConformanceService;
use host::Host;

/// Prints a line of a report.
fn say(line: &str) {
    web_sys::console::log_1(&line.into());
}

/// Connection of the conformance service. The connection ends when this object is freed.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Session {
    client: Client,
    id: String,
}

#[wasm_bindgen]
impl Session {
    /// Full id of the service.
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.client.disconnect().await;
    }
}

/// Hosts the service.
///
/// # Errors
///
/// Fails if the client cannot connect, or the service is refused.
#[wasm_bindgen]
pub async fn serve(server_url: String) -> Result<Session, JsValue> {
    let text = |e: hypha_rpc::Error| JsValue::from(hypha_rpc::error::report(&e).to_string());
    let client = hypha_rpc::connect(server_url).await.map_err(text)?;
    let info = client
        .register_service(ConformanceService::new(Host::default()))
        .visibility(Visibility::Public)
        .await
        .map_err(text)?;
    Ok(Session {
        client,
        id: info.id,
    })
}

/// Checks a service. Returns whether all checks passed.
///
/// # Errors
///
/// Fails if an argument is unknown.
#[wasm_bindgen]
pub async fn check(arguments: Vec<String>) -> Result<bool, JsValue> {
    let arguments = ["check".to_owned()].into_iter().chain(arguments);
    let options = Options::try_parse_from(arguments).map_err(|e| e.to_string())?;
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
