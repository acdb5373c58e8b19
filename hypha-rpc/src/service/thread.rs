//! Code of the program that blocks: it runs on the threads for blocking work of the runtime.

use super::calls;
use hypha_wire::WireError;

/// Runs `run` on a thread for blocking work, as a part of the handler that is being polled, if one
/// is. A panic goes on in the caller, where `dispatch` reports it like any other. `label` names the
/// work in the error of a runtime that shuts down.
pub(crate) async fn on_thread<T, F>(label: &str, run: F) -> Result<T, WireError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let within = calls::within();
    let run = tokio::task::spawn_blocking(move || within.run(run));
    run.await.map_err(|end| match end.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => WireError::new(format!("{label} did not run: its program is shutting down")),
    })
}
