//! Starts the conformance programs, in any pair of languages: a host with a service, and a client
//! that calls all its methods.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

use crate::executables::executable;
use crate::peers::{self, Place};
use crate::process::Process;

/// Timeout for a host to connect and register.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Timeout for a client to run all checks. Each check also has its own timeout.
const CLIENT_LIMIT: Duration = Duration::from_secs(300);
/// Timeout for a host to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Language of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Our library.
    Rust,
    /// The Python client.
    Python,
    /// The JavaScript client.
    JavaScript,
    /// Our library in WebAssembly, in Node.
    WebAssembly,
    /// Our library in WebAssembly, in a page of a browser.
    Page,
    /// Our library in WebAssembly, in a worker of a page. Only calls.
    Worker,
    /// The Python client in WebAssembly, in Node. Only calls.
    Pyodide,
}

impl Language {
    /// Returns the program that hosts the service.
    pub fn host(self) -> Result<Command> {
        match self {
            Language::Rust => Ok(Command::new(executable("conformance")?)),
            Language::Python => peers::python_program("conformance_service.py"),
            Language::JavaScript => peers::javascript_program("conformance_service.mjs"),
            Language::WebAssembly => peers::browser_program("serve", Place::Node),
            Language::Page => peers::browser_program("serve", Place::Page),
            Language::Worker | Language::Pyodide => {
                bail!("there is no program in {self:?} that provides the service")
            }
        }
    }

    /// Returns the program that calls a service in the language `host`.
    pub fn client(self, host: Language) -> Result<Command> {
        let mut command = match self {
            Language::Rust => Command::new(executable("conformance_client")?),
            Language::Python => peers::python_program("conformance_client.py")?,
            Language::JavaScript => peers::javascript_program("conformance_client.mjs")?,
            Language::WebAssembly => peers::browser_program("check", Place::Node)?,
            Language::Page => peers::browser_program("check", Place::Page)?,
            Language::Worker => peers::browser_program("check", Place::Worker)?,
            Language::Pyodide => peers::pyodide_program()?,
        };
        let host = match host {
            Language::Rust | Language::WebAssembly | Language::Page | Language::Worker => "rust",
            Language::Python | Language::Pyodide => "python",
            Language::JavaScript => "js",
        };
        command.args(["--host-language", host]);
        Ok(command)
    }

    /// Checks that the peer is installed.
    pub fn installed(self) -> Result<()> {
        match self {
            Language::Rust => Ok(()),
            Language::Python => peers::python().map(drop),
            Language::JavaScript => peers::node().map(drop),
            Language::WebAssembly | Language::Page | Language::Worker => peers::browser_target(),
            Language::Pyodide => peers::pyodide_program().map(drop),
        }
    }
}

/// A running conformance service.
#[derive(Debug)]
pub struct Host {
    language: Language,
    /// Full id of the service.
    pub service: String,
    /// Process of the host.
    pub process: Process,
}

impl Host {
    /// Returns the language of the service.
    #[must_use]
    pub fn language(&self) -> Language {
        self.language
    }

    /// Starts a host with the server URL and `options` as arguments, and waits until its service is
    /// registered.
    pub fn start(language: Language, server_url: &str, options: &[&str]) -> Result<Host> {
        let mut command = language.host()?;
        command.args(["--server-url", server_url]).args(options);
        let process = Process::start(format!("the {language:?} service"), &command)?;
        let service = process.wait_for_prefix(READY_LIMIT, "READY ")?;
        let (address, name) = service
            .split_once(':')
            .context("the service id has no colon")?;
        ensure!(address.contains('/'), "{service}: not a full service id");
        ensure!(
            name == "conformance",
            "{service}: not the conformance service"
        );
        Ok(Host {
            language,
            service,
            process,
        })
    }

    /// Runs a client in `language` that checks the service with id `service`. Returns the number of
    /// passed checks.
    pub fn call_from(
        &self,
        language: Language,
        server_url: &str,
        service: &str,
        options: &[&str],
    ) -> Result<usize> {
        start_client(language, self.language, server_url, service, options)
            .and_then(|client| passed_checks(&client))
            .map_err(|error| anyhow!("{error:#}\n{}", self.process.transcript(0)))
    }

    /// Sends SIGTERM to the program, and checks its exit status.
    pub fn stop(self) -> Result<()> {
        ensure!(
            self.process.try_wait()?.is_none(),
            "the service has ended by itself"
        );
        self.process.terminate()?;
        let status = self.process.wait(STOP_LIMIT)?;
        ensure!(
            status.success(),
            "asked to terminate, it ended with {status}"
        );
        Ok(())
    }
}

/// Result of one check of a conformance client.
#[derive(Debug, Deserialize)]
struct Check {
    name: String,
    ok: bool,
    #[serde(default)]
    detail: serde_json::Value,
}

/// Starts a client in `language`. The client checks a service that is implemented in the language
/// `host`.
pub fn start_client(
    language: Language,
    host: Language,
    server_url: &str,
    service: &str,
    options: &[&str],
) -> Result<Process> {
    let mut command = language.client(host)?;
    command
        .args(["--server-url", server_url, "--service", service])
        .args(options);
    Process::start(format!("the {language:?} client"), &command)
}

/// Waits until the client has ended. Returns the number of passed checks. Fails if a check failed,
/// or if none passed.
pub fn passed_checks(process: &Process) -> Result<usize> {
    let status = process.wait(CLIENT_LIMIT)?;
    let mut passed = 0;
    let mut failed = Vec::new();
    for line in process.stdout() {
        // Ignore lines that libraries print.
        let Ok(check) = serde_json::from_str::<Check>(&line) else {
            continue;
        };
        if check.ok {
            passed += 1;
        } else {
            failed.push(format!("{}: {}", check.name, check.detail));
        }
    }
    if !failed.is_empty() || !status.success() || passed == 0 {
        bail!(
            "{passed} checks passed, {} failed, {status}\n{}\n{}",
            failed.len(),
            failed.join("\n"),
            process.transcript(0)
        );
    }
    Ok(passed)
}
