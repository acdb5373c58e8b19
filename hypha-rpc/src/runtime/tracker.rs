//! Detects that a task has moved between the program's runtime and the watchdog's runtime
//! (`engine/watchdog.rs`). After a move, the sockets and timers of the task must be registered with
//! the other runtime.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    /// Whether the current thread is the thread of the watchdog.
    static IS_WATCHDOG: Cell<bool> = const { Cell::new(false) };
}

/// Number of moves of tasks to the watchdog and back. A socket checks its thread only when this
/// number has changed. Most polls therefore cost only one atomic load.
///
/// Release and acquire ordering makes a move visible to the first poll of the moved task in the new
/// runtime. A socket also checks its thread when a task of another connection moves. Such a check
/// is unnecessary, but does no harm.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// Marks this thread as the thread of the watchdog.
pub(crate) fn enter_watchdog() {
    IS_WATCHDOG.set(true);
}

/// Records that a task has moved to the watchdog or back.
pub(crate) fn set_moved() {
    MOVES.fetch_add(1, Ordering::AcqRel);
}

/// Detects that a task has moved to another runtime.
#[derive(Debug)]
pub(crate) struct RuntimeTracker {
    moves: u64,
    on_watchdog: bool,
}

impl RuntimeTracker {
    /// Creates a tracker for the runtime of this thread.
    pub(crate) fn new() -> Self {
        RuntimeTracker {
            moves: MOVES.load(Ordering::Acquire),
            on_watchdog: IS_WATCHDOG.get(),
        }
    }

    /// Returns whether the task has moved since the last call of this method.
    pub(crate) fn has_changed(&mut self) -> bool {
        let moves = MOVES.load(Ordering::Acquire);
        if moves == self.moves {
            return false;
        }
        self.moves = moves;
        let on_watchdog = IS_WATCHDOG.get();
        std::mem::replace(&mut self.on_watchdog, on_watchdog) != on_watchdog
    }
}
