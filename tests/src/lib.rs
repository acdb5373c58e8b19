//! Support for the whole-system tests. Starts servers, each on a free port, and starts programs in
//! Rust, Python and JavaScript. Collects the output of each process. Kills the process when its
//! handle is dropped.
//!
//! This crate uses no internals of other crates. It starts servers and examples as separate
//! programs.

pub mod cases;
pub mod conformance;
pub mod executables;
pub mod figures;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod servers;
pub mod steps;

use std::path::{Path, PathBuf};

/// Returns the root folder of the project.
#[must_use]
pub fn project_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
