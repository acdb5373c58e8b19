//! One case against one server, where the peers that it needs are there.

use anyhow::Result;

use crate::conformance::Language;
use crate::peers::or_skip;
use crate::servers::{Kind, Server};

/// Runs `case` against a server of this kind, unless one of `languages`, or Python for its server,
/// is not installed: that is said then.
///
/// # Panics
///
/// If the case fails; the server's output is shown then.
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

/// The same for a case that connects by itself.
///
/// # Panics
///
/// As [`run_blocking`].
pub fn run(kind: Kind, languages: &[Language], case: impl AsyncFnOnce(&Server) -> Result<()>) {
    run_blocking(kind, languages, |server| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(case(server))
    });
}
