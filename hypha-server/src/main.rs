//! The program `hypha-server`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use hypha_server::{Builder, Limits, Server, StartError, TokenSettings};
use tracing_subscriber::EnvFilter;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A Hypha server: Python, JavaScript and Rust programs connect to it and use each other's
/// services.
///
/// Every option can also be set with a variable, HYPHA_ and its name. Limits are set with the
/// variables of the original server, such as HYPHA_WS_MSG_RATE_LIMIT; the secret for tokens with
/// HYPHA_JWT_SECRET or JWT_SECRET.
// Not Debug: there is a secret in it.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Address to listen on.
    #[arg(long, env = "HYPHA_HOST", default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 takes a free one.
    #[arg(long, env = "HYPHA_PORT", default_value_t = 9527)]
    port: u16,
    /// The path below which everything is, if a proxy shares the address with others.
    #[arg(long, env = "HYPHA_BASE_PATH", default_value = "/")]
    base_path: String,
    /// The URL by which clients know this server; http://HOST:PORT and the base path if not given.
    #[arg(long, env = "HYPHA_PUBLIC_BASE_URL")]
    public_base_url: Option<String>,
    /// The origins of web pages that may use the server, with commas; * for any.
    #[arg(
        long,
        env = "HYPHA_ALLOW_ORIGINS",
        value_delimiter = ',',
        default_value = "*"
    )]
    allow_origins: Vec<String>,
    /// All requests come by way of a proxy, which says in X-Forwarded-For where from.
    #[arg(long, env = "HYPHA_BEHIND_PROXY")]
    behind_proxy: bool,
    /// The server's name; if not given, the one in the data folder.
    #[arg(long, env = "HYPHA_SERVER_ID")]
    server_id: Option<String>,
    /// A token of at least 32 characters that opens everything.
    #[arg(long, env = "HYPHA_ROOT_TOKEN", hide_env_values = true)]
    root_token: Option<String>,
    /// The folder for what survives a restart; hypha-server/PORT in the user's data folder if not
    /// given and the port is not 0.
    #[arg(long, env = "HYPHA_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Keep nothing: id, secret and workspaces end with this process.
    #[arg(long, env = "HYPHA_IN_MEMORY", conflicts_with = "data_dir")]
    in_memory: bool,
    /// The Redis by which several servers share their workspaces, such as redis://localhost:6379.
    #[arg(long, env = "HYPHA_REDIS_URI", hide_env_values = true)]
    redis_uri: Option<String>,
    /// How log lines are written.
    #[arg(long, env = "HYPHA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Print the settings, without secrets, and end.
    #[arg(long)]
    print_config: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Options {
    /// The settings of the server.
    fn builder(self) -> anyhow::Result<Builder> {
        let host = if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]", self.host)
        } else {
            self.host
        };
        let mut server = Server::builder()
            .bind(format!("{host}:{}", self.port))
            .base_path(self.base_path)
            .allow_origins(self.allow_origins)
            .behind_proxy(self.behind_proxy)
            .tokens(TokenSettings::from_env())
            .limits(Limits::from_env()?);
        if let Some(seconds) = variable("RECONNECTION_TOKEN_LIFE_TIME") {
            let life = seconds.parse().ok().map(Duration::from_secs);
            let life = life.with_context(|| {
                format!("RECONNECTION_TOKEN_LIFE_TIME: '{seconds}' is no number of seconds")
            })?;
            server = server.reconnection_token_life(life);
        }
        if let Some(url) = self.public_base_url {
            server = server.public_base_url(url);
        }
        if let Some(id) = self.server_id {
            server = server.server_id(id);
        }
        if let Some(secret) = variable("HYPHA_JWT_SECRET").or_else(|| variable("JWT_SECRET")) {
            server = server.jwt_secret(secret);
        }
        if let Some(token) = self.root_token {
            server = server.root_token(token);
        }
        if let Some(uri) = self.redis_uri {
            server = server.redis_uri(uri);
        }
        let folder = match self.data_dir {
            None if self.in_memory => None,
            None => usual_folder(self.port),
            given => given,
        };
        if let Some(folder) = folder {
            server = server.data_dir(folder);
        }
        Ok(server)
    }
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the data of a server is kept if nobody says so. One on any free port begins anew.
fn usual_folder(port: u16) -> Option<PathBuf> {
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).or_else(|| {
        let home = variable("HOME").map(PathBuf::from)?;
        Some(home.join(".local/share"))
    });
    let folder = data.filter(|_| port != 0)?;
    Some(folder.join("hypha-server").join(port.to_string()))
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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let level = variable("HYPHA_LOGLEVEL").unwrap_or_else(|| "info".into());
    let filter =
        EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(filter_of(&level)))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    let print_config = options.print_config;
    let builder = options.builder()?;
    let mut stdout = std::io::stdout();
    if print_config {
        writeln!(stdout, "{}", builder.describe()?)?;
        return Ok(());
    }
    let mut stop = stop_signal().context("cannot listen for signals")?;
    let server = builder.start().await.map_err(with_advice)?;

    // Whoever started this program waits for the line.
    writeln!(stdout, "READY {}", server.url())?;
    stdout.flush()?;
    stop.recv().await;
    server.shutdown().await;
    Ok(())
}

/// What can be done about a start that has failed, where that is known.
fn with_advice(error: StartError) -> anyhow::Error {
    let advice = match &error {
        StartError::Store(_) => "use --data-dir for another folder, or --in-memory to keep nothing",
        _ => "the server cannot start",
    };
    anyhow::Error::new(error).context(advice)
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
