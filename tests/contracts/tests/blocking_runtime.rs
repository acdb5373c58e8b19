//! Tests that the background runtime ends together with the last blocking client. This program
//! contains no other test, because clients of other tests would keep the runtime running.

// Only Linux lists the threads of a process, in `/proc`.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use hypha_rpc::prelude::*;
use hypha_rpc::testing;

/// Maximum time until the runtime must end. This is shorter than the 5 s for which a client waits
/// until the other side has closed the connection.
const LIMIT: Duration = Duration::from_secs(4);

struct Desk;

#[hypha_service]
impl Desk {
    /// Name the thread.
    pub fn thread(&self) -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }
}

/// Returns the number of threads of the background runtime.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("a list of threads");
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("hypha-blocking"))
        .count()
}

fn wait_until_ended() {
    let begin = Instant::now();
    while threads() > 0 {
        assert!(begin.elapsed() < LIMIT, "{} threads", threads());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_runtime_ends_with_the_last_client_and_starts_again() {
    for _ in 0..2 {
        assert_eq!(threads(), 0);
        let desk = testing::in_process(Desk).wait().expect("starts");
        let other = testing::in_process(Desk).wait().expect("starts");
        assert_eq!(desk.thread().wait().expect("runs"), "hypha-blocking");
        drop(desk);
        assert_eq!(other.thread().wait().expect("runs"), "hypha-blocking");
        assert!(threads() > 0);
        drop(other);
        wait_until_ended();
    }
}
