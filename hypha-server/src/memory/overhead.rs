//! Measures the overhead: the memory of the process that is charged to no account, such as small
//! buffers, tasks, and freed memory that the allocator keeps.
//!
//! The operating system kills a process that uses too much memory, whether that memory is charged
//! or not. Therefore a thread compares the resident memory with the memory charged to accounts, and
//! the difference reduces the budget for peers. This module uses a thread instead of a task,
//! because the workers of the runtime are busy when memory grows fast.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::Budget;

/// Interval of the comparisons while less than a quarter of the budget is in use.
const INTERVAL: Duration = Duration::from_millis(100);
/// Interval of the comparisons while more than a quarter of the budget is in use. A server receives
/// about a megabyte per millisecond.
const SHORT_INTERVAL: Duration = Duration::from_millis(10);
/// The short interval applies while more than the budget divided by this number is in use.
const SHORT_INTERVAL_FROM: usize = 4;

/// Starts a thread that counts the memory growth of this process towards `budget`. The thread ends
/// after the budget is dropped. Returns false on systems that do not report the memory of a
/// process.
///
/// # Errors
///
/// Fails if the system's report cannot be read, or if the thread cannot be started.
pub(crate) fn watch(budget: &Arc<Budget>) -> io::Result<bool> {
    // The file stays open, because the process may have no free file descriptors while the server
    // is attacked.
    let Ok(mut status) = File::open("/proc/self/status") else {
        return Ok(false);
    };
    let idle = resident(&mut status)?;
    let budget = Arc::downgrade(budget);
    let thread = thread::Builder::new().name("hypha-memory".into());
    thread.spawn(move || compare(&budget, &mut status, idle))?;
    Ok(true)
}

/// Compares the resident memory with the memory charged to accounts at intervals. `idle` is the
/// resident memory at the start.
fn compare(budget: &Weak<Budget>, status: &mut File, idle: usize) {
    let mut pause = INTERVAL;
    loop {
        thread::sleep(pause);
        let Some(budget) = budget.upgrade() else {
            return;
        };
        // The previous overhead stays in effect, because an overhead of 0 would admit more charges
        // while memory may be short.
        let Ok(resident) = resident(status) else {
            continue;
        };
        let more = resident.saturating_sub(idle);
        budget.set_overhead(more.saturating_sub(budget.used.load(Ordering::Relaxed)));
        pause = match more > budget.limits().process / SHORT_INTERVAL_FROM {
            true => SHORT_INTERVAL,
            false => INTERVAL,
        };
    }
}

/// Returns the resident memory of the process in bytes, from the text of `/proc/self/status`.
fn resident(status: &mut File) -> io::Result<usize> {
    let mut text = String::new();
    status.rewind()?;
    status.read_to_string(&mut text)?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib = kib.and_then(|kib| kib.parse::<usize>().ok());
    let bytes = kib.and_then(|kib| kib.checked_mul(1024));
    bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no VmRSS"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_reports_the_resident_memory() {
        let mut status = File::open("/proc/self/status").unwrap();
        let before = resident(&mut status).unwrap();
        let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident(&mut status).unwrap() >= before + (48 << 20));
        drop(memory);
    }
}
