//! Checks a conformance service in any language.
//!
//! `cargo run -p hypha-rpc-examples --example conformance_client -- --server-url URL --service ID`

use std::process::ExitCode;

use clap::Parser;
use hypha_rpc_examples::checks::{Checks, Options, report};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let checks = match Checks::open(Options::parse()).await {
        Ok(checks) => checks,
        Err(error) => {
            report("connect", &Err(error));
            return ExitCode::FAILURE;
        }
    };
    report("connect", &Ok(()));
    if checks.run().await {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
