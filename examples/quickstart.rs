//! Provides a typed service and calls it. The README shows parts of this program.
//!
//! Run `cargo run -p hypha-rpc-examples --example quickstart`, which needs no other program. With
//! `-- --server-url URL`, the example uses a running server. With `--serve`, it keeps the service
//! available until Ctrl-C.

use clap::Parser;
use hypha_rpc::prelude::*;

/// Arithmetic for demonstrations.
#[hypha_service(id = "calculator")]
pub trait Calculator {
    /// Add two numbers.
    async fn add(&self, a: f64, #[hypha(default = 1.0)] b: f64) -> f64;

    /// Divide one number by another.
    async fn divide(&self, a: f64, b: f64) -> anyhow::Result<f64>;

    /// Greet the caller.
    async fn greet(&self, ctx: &Context, name: &str) -> String;
}

struct Desk;

impl Calculator for Desk {
    async fn add(&self, a: f64, b: f64) -> f64 {
        a + b
    }

    async fn divide(&self, a: f64, b: f64) -> anyhow::Result<f64> {
        anyhow::ensure!(b != 0.0, "division by zero");
        Ok(a / b)
    }

    async fn greet(&self, ctx: &Context, name: &str) -> String {
        format!("Hello {name}, you call from {}", ctx.workspace())
    }
}

#[derive(Parser)]
struct Options {
    /// URL of a Hypha server. Default: a server in this process.
    #[arg(long)]
    server_url: Option<String>,
    /// Keep the service available until Ctrl-C.
    #[arg(long)]
    serve: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    let embedded = match &options.server_url {
        Some(_) => None,
        None => Some(
            hypha_server::Server::builder()
                .bind("127.0.0.1:0")
                .start()
                .await?,
        ),
    };
    let url = match (&options.server_url, &embedded) {
        (Some(url), _) => url.clone(),
        (None, Some(server)) => server.url().to_owned(),
        (None, None) => unreachable!("a server or a URL is set"),
    };

    // The caller is in another workspace, so the service must be public.
    let host = hypha_rpc::connect(&url).await?;
    let service = host
        .register_service(CalculatorService::new(Desk))
        .visibility(Visibility::Public)
        .await?;

    let caller = hypha_rpc::connect(&url).await?;
    let calculator: CalculatorProxy = caller.proxy(&service.id).await?;
    println!("divide(1, 4)    = {}", calculator.divide(1.0, 4.0).await?);

    println!("add(1, 2)       = {}", calculator.add(1.0, 2.0).await?);
    match calculator.divide(1.0, 0.0).await {
        Err(error) => println!("divide(1, 0)    : {error}"),
        Ok(result) => anyhow::bail!("divided by zero: {result}"),
    }
    println!("greet(\"Ada\")    = {}", calculator.greet("Ada").await?);

    // Callers in other languages, and language models, read this schema.
    let schema = calculator.service().schema("add").unwrap_or_default();
    println!(
        "\nthe schema of `add`:\n{}",
        serde_json::to_string_pretty(&schema.to_json())?
    );
    println!(
        "\nfrom Python:\n\
         from hypha_rpc.sync import connect_to_server\n\
         calculator = connect_to_server({{\"server_url\": \"{url}\"}}).get_service(\"{}\")\n\
         print(calculator.divide(1, 4))",
        service.id
    );

    if options.serve {
        println!("\nserving until Ctrl-C");
        host.run_until_ctrl_c().await?;
    }
    caller.disconnect().await;
    host.disconnect().await;
    if let Some(server) = embedded {
        server.shutdown().await;
    }
    Ok(())
}
