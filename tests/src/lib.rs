//! The parts of the whole-system tests: the real Python server, our server, and programs in
//! Rust, Python and JavaScript, each started on a free port, watched, and killed when it is no
//! longer wanted.
//!
//! Nothing here looks inside our own crates: servers and examples are programs to be run.

pub mod cases;
pub mod conformance;
pub mod executables;
pub mod figures;
pub mod peers;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod servers;

use std::path::{Path, PathBuf};

/// The folder of the project.
#[must_use]
pub fn project_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
