//! Runs blocking code of the program on the runtime's threads for blocking work.

use super::calls;
use hypha_wire::WireError;

/// Runs `run` on a thread for blocking work. If the calling thread is polling a handler, `run`
/// counts as a part of the handler. A panic of `run` continues in the task that awaits this
/// function, where `dispatch` reports the panic. If the runtime shuts down before `run` has
/// started, the error contains `label`.
pub(crate) async fn on_thread<T, F>(label: &str, run: F) -> Result<T, WireError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let within = calls::within();
    let run = crate::runtime::spawn_blocking(move || within.run(run));
    run.await.map_err(|end| match end.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => WireError::new(format!("{label} did not run: its program is shutting down")),
    })
}
