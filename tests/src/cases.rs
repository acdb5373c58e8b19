//! Runs a test case against a server. Skips the case if a required peer is not installed.

use anyhow::Result;

use crate::conformance::Language;
use crate::peers::or_skip;
use crate::servers::{Kind, Server};

/// Runs `case` against the shared server of this kind. Skips the case and prints a message if a
/// language in `languages` is not installed. Also skips the case if the server is the Python server
/// and Python is not installed.
///
/// # Panics
///
/// Panics if the case fails. The output of the server is printed before the panic.
pub fn run_blocking(kind: Kind, languages: &[Language], case: impl FnOnce(&Server) -> Result<()>) {
    for language in languages {
        if or_skip(language.installed()).is_none() {
            return;
        }
    }
    let Some(server) = Server::shared(kind) else {
        return;
    };
    if let Err(error) = case(&server) {
        panic!("through {kind}: {error:#}");
    }
}

/// Like [`run_blocking`], but for an asynchronous case.
///
/// # Panics
///
/// Same as [`run_blocking`].
pub fn run(kind: Kind, languages: &[Language], case: impl AsyncFnOnce(&Server) -> Result<()>) {
    run_blocking(kind, languages, |server| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(case(server))
    });
}
