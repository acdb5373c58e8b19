//! Runs the command line in [`hypha_server::program`], with mimalloc as the allocator.

#[cfg(feature = "mimalloc")]
use std::time::Duration;

use hypha_server::program;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Environment variable of mimalloc for the time during which mimalloc keeps unused memory, in
/// milliseconds.
#[cfg(all(feature = "mimalloc", unix))]
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// Value of [`PURGE_DELAY`]. With mimalloc's default of 1 s, a process under load may occupy three
/// times the memory that it uses.
#[cfg(all(feature = "mimalloc", unix))]
const PURGE_DELAY_MS: &str = "10";

/// Interval at which an idle process returns unused memory to the operating system.
#[cfg(feature = "mimalloc")]
const PURGE_INTERVAL: Duration = Duration::from_secs(1);
/// Block size for which mimalloc allocates a separate page, in bytes. When such a block is freed,
/// mimalloc returns its page to the operating system, together with other unused pages.
#[cfg(feature = "mimalloc")]
const OWN_PAGE: usize = 8 * 1024 * 1024;
/// Number of allocations that make mimalloc collect a thread's unused memory, and the minimum size
/// of these allocations in bytes.
#[cfg(feature = "mimalloc")]
const COLLECTS_AFTER: (usize, usize) = (10_000, 2 * 1024);

/// Executes the program again, in the same process, with the options of mimalloc in its
/// environment. Does nothing if the options are already set. mimalloc reads the options before
/// `main`, so setting them later has no effect.
#[cfg(all(feature = "mimalloc", unix))]
fn set_allocator_options() {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        let mut again = std::process::Command::new(program);
        again
            .arg0(name)
            .args(arguments)
            .env(PURGE_DELAY, PURGE_DELAY_MS);
        // The error is ignored: `exec` returns only on failure, and the program can also run with
        // the defaults of mimalloc.
        let _ = again.exec();
    }
}

/// Makes mimalloc return unused memory to the operating system at intervals. Never returns.
/// mimalloc returns memory only while a thread allocates or frees, and an idle server does neither.
#[cfg(feature = "mimalloc")]
async fn purge() {
    loop {
        tokio::time::sleep(PURGE_INTERVAL).await;
        // Each task wakes a worker thread. The worker runs `collect` before it parks again.
        for _ in 0..tokio::runtime::Handle::current().metrics().num_workers() {
            tokio::spawn(tokio::task::yield_now());
        }
        drop(std::hint::black_box(Vec::<u8>::with_capacity(OWN_PAGE)));
    }
}

/// Makes mimalloc collect the unused memory of this thread. Does nothing if the last collection was
/// less than half of [`PURGE_INTERVAL`] ago, because worker threads park far more often.
#[cfg(feature = "mimalloc")]
fn collect() {
    use std::cell::Cell;
    use std::time::Instant;
    thread_local! {
        static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    if LAST
        .get()
        .is_some_and(|last| now.duration_since(last) < PURGE_INTERVAL / 2)
    {
        return;
    }
    LAST.set(Some(now));
    let (blocks, bytes) = COLLECTS_AFTER;
    for _ in 0..blocks {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
    }
}

fn main() -> anyhow::Result<()> {
    #[cfg(all(feature = "mimalloc", unix))]
    set_allocator_options();
    let tune = |runtime: &mut tokio::runtime::Builder| {
        #[cfg(feature = "mimalloc")]
        runtime.on_thread_park(collect);
        #[cfg(not(feature = "mimalloc"))]
        let _ = runtime;
    };
    let started = || {
        #[cfg(feature = "mimalloc")]
        tokio::spawn(purge());
    };
    program::run(std::env::args_os().collect(), tune, started)
}
