//! Checks of the conformance client, and the report of their results.

mod live;
mod plain;
mod values;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use hypha_rpc::Args;
use hypha_rpc::crypto::{KeyPair, PublicKey};
use hypha_rpc::prelude::*;
use hypha_rpc::runtime::{sleep, timeout};
use serde_json::json;
use web_time::Instant;

use crate::conformance::ConformanceProxy;
use crate::connection::ConnectionOptions;

/// Calls every method of a `conformance` service. Prints one JSON line `{"name", "ok", "detail"}`
/// per check. The exit status is 1 if a check failed.
#[derive(Clone, Debug, Parser)]
pub struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Full id of the service to check.
    #[arg(long)]
    pub service: String,
    /// Public key of the service. If it is set, calls are encrypted.
    #[arg(long)]
    service_key: Option<PublicKey>,
    /// Names of checks to skip, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Number of concurrent calls in checks of concurrency. Over HTTP, the Python server loses
    /// messages when more than 100 messages arrive at once.
    #[arg(long, default_value_t = 300)]
    pub burst: u32,
    /// Language of the service: `rust`, `python` or `js`. Checks that do not apply to this language
    /// are skipped. Default: run only checks that apply to all languages.
    #[arg(long)]
    pub host_language: Option<String>,
}

/// Timeout of a check.
const LIMIT: Duration = Duration::from_secs(90);
/// Maximum duration of a call that must fail immediately. Long enough for slow machines.
const AT_ONCE: Duration = Duration::from_secs(5);
const MEGABYTE: usize = 1 << 20;

/// Checks of one service.
#[derive(Debug)]
pub struct Checks {
    options: Options,
    client: Client,
    service: ConformanceProxy,
    all_ok: bool,
}

/// Result of a check.
pub type Outcome = anyhow::Result<()>;

impl Options {
    async fn connect(&self) -> anyhow::Result<Client> {
        let keys = self.service_key.is_some().then(KeyPair::generate);
        Ok(self.connection.connect(keys.transpose()?).await?)
    }

    /// Connects another client, in the workspace of the options if one is set.
    async fn another(&self) -> anyhow::Result<Client> {
        let mut options = self.clone();
        options.connection.client_id = None;
        options.connect().await
    }

    /// Returns whether the service rejects unknown arguments. JavaScript functions accept them.
    fn knows_parameters(&self) -> bool {
        matches!(self.host_language.as_deref(), Some("rust" | "python"))
    }

    fn has_integers(&self) -> bool {
        self.knows_parameters()
    }
}

/// Prints the result of a check.
pub fn report(name: &str, outcome: &Outcome) {
    let detail = outcome
        .as_ref()
        .err()
        .map(|e| format!("{e:#}"))
        .unwrap_or_default();
    crate::say(&json!({ "name": name, "ok": outcome.is_ok(), "detail": detail }).to_string());
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

/// Returns bytes whose pattern shows whether parts were shifted or repeated.
fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| ((i * 7) ^ (i >> 8) ^ (i >> 16)) as u8)
        .collect()
}

/// Waits until the condition is true. Fails with the message `what` after some seconds.
async fn eventually<F: Future<Output = anyhow::Result<bool>>>(
    what: &str,
    is_so: impl Fn() -> F,
) -> Outcome {
    let begun = Instant::now();
    while !is_so().await? {
        ensure!(begun.elapsed() < 2 * AT_ONCE, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Returns the error of `call`, which must fail immediately. The message of the error must contain
/// one of `words`.
async fn fails_at_once<T: std::fmt::Debug, E: std::fmt::Display>(
    call: impl IntoFuture<Output = Result<T, E>>,
    words: &[&str],
) -> anyhow::Result<E> {
    match timeout(AT_ONCE, call.into_future()).await {
        Err(_) => bail!("the call has not failed within {AT_ONCE:?}"),
        Ok(Ok(result)) => bail!("the call has not failed but returned {}", short(&result)),
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
    /// Fails if the client cannot connect or the service cannot be fetched.
    pub async fn open(options: Options) -> anyhow::Result<Self> {
        let client = options.connect().await?;
        let mut lookup = client.proxy::<ConformanceProxy>(&options.service);
        if let Some(key) = options.service_key {
            lookup = lookup.encryption_public_key(key);
        }
        let service = lookup.await?;
        Ok(Checks {
            options,
            client,
            service,
            all_ok: true,
        })
    }

    /// Runs all checks, disconnects, and returns whether all checks passed.
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
        let outcome = match timeout(LIMIT, check(self)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("no end after {LIMIT:?}")),
        };
        self.all_ok &= outcome.is_ok();
        report(name, &outcome);
    }

    /// Returns whether the service has this optional method.
    fn has(&self, method: &str) -> bool {
        self.service.service().has_method(method)
    }

    /// Returns whether the service belongs to this project, so that its error messages and
    /// additional arguments are known.
    fn knows_texts(&self) -> bool {
        self.options.host_language.is_some()
    }

    fn untyped<T>(&self, method: &str, args: Args) -> Call<T> {
        self.service.service().call(method, args)
    }
}
