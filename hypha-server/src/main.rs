//! The program `hypha-server`.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::Parser;
use hypha_server::{Limits, Server};
use tracing_subscriber::EnvFilter;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A Hypha server: Python, JavaScript and Rust programs connect to it and use each other's
/// services.
///
/// Limits are set with the variables of the original server, such as HYPHA_WS_MSG_RATE_LIMIT.
// Not Debug: there is a secret in it.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 9527)]
    port: u16,
    /// The URL by which clients know this server; http://HOST:PORT if not given.
    #[arg(long)]
    public_base_url: Option<String>,
    /// The server's name; random if not given.
    #[arg(long)]
    server_id: Option<String>,
    /// A token of at least 32 characters that opens everything.
    #[arg(long, env = "HYPHA_ROOT_TOKEN", hide_env_values = true)]
    root_token: Option<String>,
}

/// Levels as Python spells them; anything else is a filter.
fn filter_of(level: &str) -> &str {
    match level.trim().to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "error" => "error",
        "warning" | "warn" => "warn",
        "info" => "info",
        "debug" => "debug",
        "notset" => "trace",
        _ => level,
    }
}

/// The secret for tokens: either variable of the original server.
fn jwt_secret() -> Option<String> {
    ["HYPHA_JWT_SECRET", "JWT_SECRET"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|secret| !secret.is_empty()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let level = std::env::var("HYPHA_LOGLEVEL").unwrap_or_else(|_| "info".into());
    let filter =
        EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(filter_of(&level)))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();

    let host = if options.host.contains(':') && !options.host.starts_with('[') {
        format!("[{}]", options.host)
    } else {
        options.host
    };
    let mut server = Server::builder()
        .bind(format!("{host}:{}", options.port))
        .limits(Limits::from_env()?);
    if let Some(url) = options.public_base_url {
        server = server.public_base_url(url);
    }
    if let Some(id) = options.server_id {
        server = server.server_id(id);
    }
    match jwt_secret() {
        Some(secret) => server = server.jwt_secret(secret),
        None => tracing::info!("JWT_SECRET is not set: tokens end with this process"),
    }
    if let Some(token) = options.root_token {
        server = server.root_token(token);
    }
    let mut stop = stop_signal().context("cannot listen for signals")?;
    let server = server.start().await?;

    // Whoever started this program waits for the line.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "READY {}", server.url())?;
    stdout.flush()?;
    stop.recv().await;
    server.shutdown().await;
    Ok(())
}

/// Ctrl-C, and SIGTERM where there is one. Installed before the server starts, so that a signal
/// that comes early is not lost.
struct Stop {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

#[cfg(unix)]
fn stop_signal() -> std::io::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Stop {
        signals: [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ],
    })
}

#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<Stop> {
    Ok(Stop {})
}

impl Stop {
    #[cfg(unix)]
    async fn recv(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn recv(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_understood_in_pythons_spelling() {
        for level in [
            "WARNING",
            "INFO",
            "DEBUG",
            "ERROR",
            "CRITICAL",
            "hyper=warn,info",
        ] {
            assert!(EnvFilter::try_new(filter_of(level)).is_ok(), "{level}");
        }
        assert_eq!(filter_of("WARNING"), "warn");
        assert_eq!(filter_of("hyper=warn,info"), "hyper=warn,info");
    }
}
