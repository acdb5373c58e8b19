//! Tracks the workspaces whose last client has left, until the grace period of each workspace ends.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The workspaces that are unloaded later, with the time at which each became empty.
#[derive(Default)]
pub(crate) struct Emptied(Mutex<HashMap<String, Instant>>);

impl Emptied {
    /// Starts the grace period of a workspace. Restarts the period if it has already begun.
    pub(crate) fn add(&self, workspace: &str) {
        self.0.lock().insert(workspace.to_owned(), Instant::now());
    }

    /// Removes and returns the workspaces that became empty at least `grace` ago.
    pub(crate) fn due(&self, grace: Duration) -> Vec<String> {
        let is_due = |_: &String, since: &mut Instant| since.elapsed() >= grace;
        let mut emptied = self.0.lock();
        emptied
            .extract_if(is_due)
            .map(|(workspace, _)| workspace)
            .collect()
    }
}
