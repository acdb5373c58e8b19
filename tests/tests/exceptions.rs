//! Tests that exceptions of a Python service become the variants of a typed error, or errors with
//! their causes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hypha_rpc::prelude::*;
use hypha_rpc_tests::cases::run;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::python_program;
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server};

const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum Failure {
    #[error("no {0}")]
    #[remote_error(class = "KeyError")]
    Key(String),
    #[error("{0}")]
    #[remote_error(other)]
    Other(String),
}

#[hypha_service]
#[allow(dead_code)]
trait Exceptions {
    /// A synchronous method.
    async fn raised(&self, how: &str) -> Result<(), Failure>;
    /// An asynchronous method.
    async fn raised_later(&self, how: &str) -> Result<(), Failure>;
    /// A method that lets the exception of the asynchronous method pass.
    async fn passed_on(&self, how: &str) -> Result<(), Failure>;
}

fn key(text: &str) -> Failure {
    Failure::Key(text.into())
}

fn other(text: &str) -> Failure {
    Failure::Other(text.into())
}

async fn exceptions(server: &Server) -> Result<()> {
    let mut command = python_program("exceptions_peer.py")?;
    command.args(["--server-url", &server.url]);
    let process = Process::start("Python", &command)?;
    let (process, id) = tokio::task::spawn_blocking(move || {
        let id = process.wait_for_prefix(LIMIT, "READY ");
        id.map(|id| (process, id))
    })
    .await??;
    let client = hypha_rpc::connect(&server.url).await?;
    let service: ExceptionsProxy = client.proxy(&id).await?;
    let cases = [
        ("inner", other("OSError: KeyError: inner")),
        ("custom", other("Custom: (1, 'b')")),
        ("path", key(r"C:\data\new")),
        ("text", key("ü\"'µ\n\u{1b}")),
        ("lines", other("OSError: a\nKeyError: b\n\nc")),
        ("context", other("Custom: b")),
        ("direct", other("Custom: b")),
        (
            "group",
            other("ExceptionGroup: two failed (2 sub-exceptions)"),
        ),
        ("note", other("OSError: a")),
    ];
    for (how, expected) in cases {
        let outcomes = [
            service.raised(how).await,
            service.raised_later(how).await,
            service.passed_on(how).await,
        ];
        for (index, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Err(Error::Service(error)) if error == expected => {}
                // An asynchronous method sends only the traceback, which does not tell the message
                // from the note.
                Err(Error::Service(Failure::Other(text)))
                    if index > 0 && how == "note" && text == "OSError: a\nKeyError: b" => {}
                outcome => ensure!(
                    false,
                    "{how} {index}: {outcome:?}\n{}",
                    process.transcript(0)
                ),
            }
        }
    }
    // Without the type, a caller sees the causes.
    let service = client.get_service(&id).await?;
    let causes = [
        ("raised", "context", "KeyError: 'a'"),
        ("raised_later", "context", "KeyError: 'a'"),
        ("passed_on", "context", "KeyError: 'a'"),
        ("raised", "direct", "KeyError: 'a'"),
        ("raised_later", "direct", "KeyError: 'a'"),
        ("raised", "lines", ""),
        ("raised_later", "lines", ""),
    ];
    for (method, how, causes) in causes {
        let outcome = service.call::<()>(method, args!(how)).await;
        let error = outcome.err().context("an exception")?;
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        ensure!(
            cause.as_deref().unwrap_or_default() == causes,
            "{method} {how}: {error:?}\n{}",
            process.transcript(0)
        );
    }
    client.disconnect().await;
    process.terminate()
}

#[test]
fn exceptions_become_variants_on_our_server() {
    run(Kind::Ours, &[Language::Python], exceptions);
}

#[test]
fn exceptions_become_variants_on_the_python_server() {
    run(Kind::Python, &[Language::Python], exceptions);
}
