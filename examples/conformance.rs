//! How do I host a service that any Hypha client can be checked with?
//!
//! `cargo run --example conformance -- --server-url URL`

use std::{io::Write, time::Duration};

use anyhow::{Context as _, bail};
use clap::Parser;
use hypha_rpc::prelude::*;
use hypha_rpc_examples::conformance::{Caller, Conformance, ConformanceService, Person};

/// Hosts the service `conformance` and prints `READY <full service id>`; stays until Ctrl-C or
/// SIGTERM.
#[derive(Parser)]
struct Options {
    /// The Hypha server.
    #[arg(long)]
    server_url: String,
    /// The workspace to work in.
    #[arg(long)]
    workspace: Option<String>,
    /// A token for it.
    #[arg(long)]
    token: Option<String>,
    /// The id of this client.
    #[arg(long)]
    client_id: Option<String>,
}

struct Service;

impl Conformance for Service {
    async fn echo(&self, value: Value) -> Value {
        value
    }

    async fn add(&self, a: f64, b: f64) -> f64 {
        a + b
    }

    async fn divide(&self, a: f64, b: f64) -> anyhow::Result<f64> {
        if b == 0.0 {
            bail!("division by zero");
        }
        Ok(a / b)
    }

    async fn describe(&self, person: Person) -> String {
        let age = match person.age {
            Some(age) => format!("is {age} years old"),
            None => "is of unknown age".to_owned(),
        };
        let tags = person.tags.unwrap_or_default();
        let tags = if tags.is_empty() {
            String::new()
        } else {
            format!(" ({})", tags.join(", "))
        };
        format!("{} {age}{tags}.", person.name)
    }

    async fn whoami(&self, ctx: &Context) -> Caller {
        Caller {
            user_id: ctx.user().id.clone(),
            workspace: ctx.workspace().to_owned(),
            from: ctx.from().to_owned(),
            is_anonymous: ctx.user().is_anonymous,
        }
    }

    async fn sleep(&self, seconds: f64) -> anyhow::Result<f64> {
        let time = Duration::try_from_secs_f64(seconds).context("seconds")?;
        tokio::time::sleep(time).await;
        Ok(seconds)
    }

    async fn make_bytes(&self, n: u32) -> Bytes {
        (0..n).map(|i| i as u8).collect::<Vec<u8>>().into()
    }

    async fn length(&self, data: &[u8]) -> usize {
        data.len()
    }

    async fn panic_now(&self) {
        panic!("panic_now was called");
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    let mut connect = hypha_rpc::connect(options.server_url);
    if let Some(workspace) = options.workspace {
        connect = connect.workspace(workspace);
    }
    if let Some(token) = options.token {
        connect = connect.token(token);
    }
    if let Some(client_id) = options.client_id {
        connect = connect.client_id(client_id);
    }
    let hypha = connect.await?;
    // Public, so that a caller in another workspace needs only the full id.
    let info = hypha
        .register_service(ConformanceService::new(Service))
        .visibility(Visibility::Public)
        .await?;
    println!("READY {}", info.id);
    std::io::stdout().flush()?;
    hypha.run_until_ctrl_c().await?;
    Ok(())
}
