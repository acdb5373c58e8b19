//! Ctrl-C, where a command has to end in order.

use std::time::Duration;

/// Awaits `work`, and returns `None` if the user presses Ctrl-C first.
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
        // Nothing can be heard; the signal ends the program without an order.
        std::future::pending::<()>().await;
    }
}

/// Time for a connection to close when the user waits for the prompt.
pub(crate) const GRACE: Duration = Duration::from_millis(500);
