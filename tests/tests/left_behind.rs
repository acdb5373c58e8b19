//! Tests that a service keeps no state of its callers. Clients in all languages use the service and
//! then disconnect or are killed. Afterwards no calls and no exported functions may remain.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hypha_rpc::prelude::*;
use hypha_rpc_examples::conformance::ConformanceService;
use hypha_rpc_examples::host::Host;
use hypha_rpc_tests::conformance::{Language, passed_checks, start_client};
use hypha_rpc_tests::peers::or_skip;
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server};
use tokio::runtime::Runtime;

/// Maximum time until the service is idle. Clients disconnect while calls still run, and the
/// methods of these calls take 15 s.
const LIMIT: Duration = Duration::from_secs(60);

/// A service in the same workspace as its callers, because the server reports disconnected clients
/// only within a workspace.
struct Here<'a> {
    runtime: Runtime,
    url: &'a str,
    client: Client,
    service: String,
    place: Vec<String>,
}

impl<'a> Here<'a> {
    fn new(url: &'a str) -> Result<Self> {
        let runtime = Runtime::new()?;
        let (client, service, token) = runtime.block_on(async {
            let client = hypha_rpc::connect(url).await?;
            let service = ConformanceService::new(Host::default());
            let service = client.register_service(service).await?.id;
            let token = client.manager().await?.generate_token(None).await?;
            anyhow::Ok((client, service, token))
        })?;
        let workspace = client.workspace();
        let place = ["--workspace", &workspace, "--token", &token].map(str::to_owned);
        Ok(Here {
            runtime,
            url,
            client,
            service,
            place: place.to_vec(),
        })
    }

    fn start(&self, language: Language) -> Result<Process> {
        let place: Vec<&str> = self.place.iter().map(String::as_str).collect();
        start_client(language, Language::Rust, self.url, &self.service, &place)
    }

    fn counts(&self) -> (usize, usize, usize) {
        let stats = self.client.stats();
        (stats.sessions, stats.objects, stats.running)
    }

    /// Waits until the client has no waiting calls, no exported functions, and no running methods.
    fn nothing_is_left(&self, of: &str) -> Result<()> {
        let begun = Instant::now();
        while self.counts() != (0, 0, 0) {
            let stats = self.client.stats();
            ensure!(begun.elapsed() < LIMIT, "left of {of}: {stats:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Runs `work` against a server. Skips the test if `language` is not installed.
fn check(server: Kind, language: Language, work: impl FnOnce(&Here<'_>, Language) -> Result<()>) {
    if or_skip(language.installed()).is_none() {
        return;
    }
    let Some(server) = Server::shared(server) else {
        return;
    };
    let outcome = Here::new(&server.url).and_then(|here| {
        work(&here, language)?;
        here.runtime.block_on(here.client.disconnect());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("through {}: {error:#}", server.kind);
    }
}

/// Tests a client that passes all checks and then disconnects.
fn after_all_checks(here: &Here<'_>, language: Language) -> Result<()> {
    let client = here.start(language)?;
    passed_checks(&client)?;
    here.nothing_is_left("a client that has disconnected")
}

/// Tests a client that is killed while functions are exported to it.
fn after_a_kill(here: &Here<'_>, language: Language) -> Result<()> {
    let client = here.start(language)?;
    let counter = |line: &str| line.contains("\"make_counter\"").then_some(());
    client
        .wait_for_line(LIMIT, counter)
        .context("it does not reach the check `make_counter`")?;
    // The Rust client releases functions as soon as it no longer uses them, so it has already
    // released its functions. The other clients still hold some functions.
    ensure!(
        language == Language::Rust || here.client.stats().objects > 0,
        "no function is exported to it"
    );
    drop(client);
    here.nothing_is_left("a client that was killed")
}

macro_rules! checks {
    ($($module:ident $kind:ident;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn rust() {
                check(Kind::$kind, Language::Rust, after_all_checks);
            }

            #[test]
            fn python() {
                check(Kind::$kind, Language::Python, after_all_checks);
            }

            #[test]
            fn javascript() {
                check(Kind::$kind, Language::JavaScript, after_all_checks);
            }

            #[test]
            fn killed_rust() {
                check(Kind::$kind, Language::Rust, after_a_kill);
            }

            #[test]
            fn killed_python() {
                check(Kind::$kind, Language::Python, after_a_kill);
            }

            #[test]
            fn killed_javascript() {
                check(Kind::$kind, Language::JavaScript, after_a_kill);
            }
        }
    )*};
}

checks! {
    python_server Python;
    our_server Ours;
}
