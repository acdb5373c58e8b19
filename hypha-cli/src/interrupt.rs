//! Handles Ctrl-C in commands that must close their connection.

use std::time::Duration;

/// Awaits `work`. Returns `None` if the user presses Ctrl-C first.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        result = work => Some(result),
        () = interrupted() => None,
    }
}

/// Waits until the user presses Ctrl-C or the system asks the program to end.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // The handler could not be installed, so wait forever. The signal then ends the program in
        // the default way.
        std::future::pending::<()>().await;
    }
}

/// Maximum time to wait for the connection to close after Ctrl-C. The user waits for the prompt
/// during this time.
pub(crate) const GRACE: Duration = Duration::from_millis(500);
