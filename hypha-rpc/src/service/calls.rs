//! The incoming calls whose handlers run, so that they can be told when nobody waits for them any
//! more.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use super::Context;

/// The contexts of the calls that run.
#[derive(Default)]
pub(crate) struct Calls {
    next: AtomicU64,
    running: Mutex<HashMap<u64, Context>>,
}

/// A call that runs; taken out of the table when it is dropped.
pub(crate) struct Running<'a> {
    calls: &'a Calls,
    id: u64,
}

impl Calls {
    pub(crate) fn begin(&self, context: Context) -> Running<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.lock().insert(id, context);
        Running { calls: self, id }
    }

    /// Tells the handlers of some calls to stop.
    pub(crate) fn cancel(&self, which: impl Fn(&Context) -> bool) {
        let running = self.running.lock();
        let told: Vec<Context> = running.values().filter(|c| which(c)).cloned().collect();
        drop(running);
        // Cancelling may wake any task, so it happens without the lock.
        for context in told {
            context.cancel();
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let context = self.calls.running.lock().remove(&self.id);
        drop(context);
    }
}
