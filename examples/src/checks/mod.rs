//! The checks of the conformance client, and their report.

mod live;
mod plain;
mod values;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use hypha_rpc::Args;
use hypha_rpc::prelude::*;
use hypha_rpc::transport::Transport;
use serde_json::json;

use crate::conformance::ConformanceProxy;

/// Calls every method of a `conformance` service. Prints one JSON line `{"name", "ok", "detail"}`
/// per check; the exit status is 1 if any is false.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    /// The Hypha server.
    #[arg(long)]
    pub server_url: String,
    /// The service to check, as its host prints it.
    #[arg(long)]
    pub service: String,
    /// The workspace to work in.
    #[arg(long)]
    pub workspace: Option<String>,
    /// A token for it.
    #[arg(long)]
    pub token: Option<String>,
    /// The id of this client.
    #[arg(long)]
    pub client_id: Option<String>,
    /// The transport: `websocket`, `http` or `auto`.
    #[arg(long, default_value = "websocket")]
    pub transport: Transport,
    /// Checks to leave out, with commas.
    #[arg(long, value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Calls at the same time, in checks of concurrency. An HTTP stream of the
    /// Python server loses messages when more than 100 come in at once.
    #[arg(long, default_value_t = 300)]
    pub burst: u32,
    /// The language of the service: `rust`, `python` or `js`. A check that does not concern it is
    /// left out; without this, only what holds for all of them is checked.
    #[arg(long)]
    pub host_language: Option<String>,
}

/// No check may take longer.
const LIMIT: Duration = Duration::from_secs(90);
/// Time within which a call fails that fails at once, on the slowest machine.
const AT_ONCE: Duration = Duration::from_secs(5);
const MEGABYTE: usize = 1 << 20;

/// The checks of one service.
#[derive(Debug)]
pub struct Checks {
    options: Options,
    client: Client,
    service: ConformanceProxy,
    all_ok: bool,
}

/// The result of one check.
pub type Outcome = anyhow::Result<()>;

impl Options {
    async fn connect(&self) -> Result<Client, Error> {
        let mut connect = hypha_rpc::connect(&self.server_url).transport(self.transport);
        if let Some(workspace) = &self.workspace {
            connect = connect.workspace(workspace);
        }
        if let Some(token) = &self.token {
            connect = connect.token(token);
        }
        if let Some(client_id) = &self.client_id {
            connect = connect.client_id(client_id);
        }
        connect.await
    }

    /// Another client, in the same workspace if it was named.
    async fn another(&self) -> Result<Client, Error> {
        let mut options = self.clone();
        options.client_id = None;
        options.connect().await
    }

    /// JavaScript functions take whatever they are given.
    fn knows_parameters(&self) -> bool {
        matches!(self.host_language.as_deref(), Some("rust" | "python"))
    }

    fn has_integers(&self) -> bool {
        self.knows_parameters()
    }
}

/// Prints the line of a check.
pub fn report(name: &str, outcome: &Outcome) {
    let detail = outcome
        .as_ref()
        .err()
        .map(|e| format!("{e:#}"))
        .unwrap_or_default();
    println!(
        "{}",
        json!({ "name": name, "ok": outcome.is_ok(), "detail": detail })
    );
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Outcome {
    ensure!(
        got == wanted,
        "wanted {}, got {}",
        short(&wanted),
        short(&got)
    );
    Ok(())
}

fn short(value: &impl std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    if text.chars().count() > 200 {
        text = text.chars().take(200).chain("...".chars()).collect();
    }
    text
}

/// Bytes in which a shifted or repeated part shows.
fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| ((i * 7) ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}

/// Asks until it is so; an error if it is not within some seconds.
async fn eventually<F: Future<Output = anyhow::Result<bool>>>(
    what: &str,
    is_so: impl Fn() -> F,
) -> Outcome {
    let begun = Instant::now();
    while !is_so().await? {
        ensure!(begun.elapsed() < 2 * AT_ONCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The error of `call`, which must come at once and say one of `words`.
async fn fails_at_once<T: std::fmt::Debug, E: std::fmt::Display>(
    call: impl IntoFuture<Output = Result<T, E>>,
    words: &[&str],
) -> anyhow::Result<E> {
    match tokio::time::timeout(AT_ONCE, call.into_future()).await {
        Err(_) => bail!("it has not failed within {AT_ONCE:?}"),
        Ok(Ok(result)) => bail!("it has not failed but answered {}", short(&result)),
        Ok(Err(error)) => {
            let text = format!("{error:#}");
            let said = words.iter().any(|word| text.contains(word));
            ensure!(said, "none of {words:?} is in: {text}");
            Ok(error)
        }
    }
}

impl Checks {
    /// Connects and fetches the service.
    ///
    /// # Errors
    ///
    /// Either fails.
    pub async fn open(options: Options) -> anyhow::Result<Self> {
        let client = options.connect().await?;
        let service = client.proxy::<ConformanceProxy>(&options.service).await?;
        Ok(Checks {
            options,
            client,
            service,
            all_ok: true,
        })
    }

    /// Runs all checks and disconnects; whether all were passed.
    pub async fn run(mut self) -> bool {
        self.run_plain().await;
        self.run_values().await;
        self.run_live().await;
        self.check("nothing_is_left", async |c| {
            let nothing = eventually("calls or objects are left", async || {
                let stats = c.client.stats();
                Ok((stats.sessions, stats.objects, stats.running) == (0, 0, 0))
            });
            nothing
                .await
                .with_context(|| format!("{:?}", c.client.stats()))
        })
        .await;
        self.client.disconnect().await;
        self.all_ok
    }

    async fn check(&mut self, name: &str, check: impl AsyncFnOnce(&Self) -> Outcome) {
        if self.options.skip.iter().any(|skipped| skipped == name) {
            return;
        }
        let outcome = match tokio::time::timeout(LIMIT, check(self)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("no end after {LIMIT:?}")),
        };
        self.all_ok &= outcome.is_ok();
        report(name, &outcome);
    }

    /// Whether the service has a method that not every conformance service needs.
    fn has(&self, method: &str) -> bool {
        self.service.service().has_method(method)
    }

    /// Whether the service is one of this project's, whose error texts and further arguments are
    /// known.
    fn knows_texts(&self) -> bool {
        self.options.host_language.is_some()
    }

    fn untyped<T>(&self, method: &str, args: Args) -> Call<T> {
        self.service.service().call(method, args)
    }
}
