//! The memory of the process that no account shows: small buffers, tasks, and freed memory that the
//! allocator keeps.
//!
//! The system ends a process that occupies too much, whoever it is for. So a thread compares the
//! resident memory with the accounts, and the difference leaves less for peers. It is a thread of
//! its own because the others may be busy just then.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::Budget;

/// Time between two looks while the budget is far away.
const CALM: Duration = Duration::from_millis(100);
/// Time between two looks otherwise. A server receives about a megabyte in a millisecond.
const CLOSE: Duration = Duration::from_millis(10);
/// The budget is close if one of so many parts of it is in use.
const PART: usize = 4;

/// Counts the memory of this process beyond the present one towards `budget`, until that is
/// dropped. Returns false where the system does not tell it.
pub(crate) fn watch(budget: &Arc<Budget>) -> io::Result<bool> {
    // It stays open: there may be no descriptor left when the server is attacked.
    let Ok(mut status) = File::open("/proc/self/status") else {
        return Ok(false);
    };
    let idle = resident(&mut status)?;
    let budget = Arc::downgrade(budget);
    let thread = thread::Builder::new().name("hypha-memory".into());
    thread.spawn(move || compare(&budget, &mut status, idle))?;
    Ok(true)
}

fn compare(budget: &Weak<Budget>, status: &mut File, idle: usize) {
    let mut pause = CALM;
    loop {
        thread::sleep(pause);
        let Some(budget) = budget.upgrade() else {
            return;
        };
        let Ok(resident) = resident(status) else {
            continue;
        };
        let more = resident.saturating_sub(idle);
        budget.set_overhead(more.saturating_sub(budget.used.load(Ordering::Relaxed)));
        pause = match more > budget.limits().process / PART {
            true => CLOSE,
            false => CALM,
        };
    }
}

/// Returns the resident memory of the process in bytes.
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
    fn the_system_tells_the_resident_memory() {
        let mut status = File::open("/proc/self/status").unwrap();
        let before = resident(&mut status).unwrap();
        let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident(&mut status).unwrap() >= before + (48 << 20));
        drop(memory);
    }
}
