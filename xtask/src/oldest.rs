//! The step `oldest compiler` of `cargo xtask lint`: checks the crates that promise to build with
//! an old compiler with that compiler.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, metadata, output, perform, root};

/// The compiler that the client crates promise, as in their `rust-version`.
const VERSION: &str = "1.85";

/// Checks the crates. Only prints a message if the compiler is not installed; with `CI` set, it is
/// installed first.
pub(crate) fn check() -> Result<()> {
    let install = ["toolchain", "install", VERSION, "--profile", "minimal"];
    if std::env::var_os("CI").is_some() {
        // The network may be missing. Then the next command tells whether the compiler is there.
        let _ = output(Command::new("rustup").args(install));
    }
    let mut which = Command::new("rustup");
    which.args(["which", "rustc", "--toolchain", VERSION]);
    let Ok(compiler) = output(&mut which) else {
        println!(
            "not checked: install the compiler by `rustup {}`",
            install.join(" ")
        );
        return Ok(());
    };

    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let names: Vec<&str> = packages
        .iter()
        .filter(|package| package["rust_version"] == VERSION && package["publish"].is_null())
        .filter_map(|package| package["name"].as_str())
        .collect();
    ensure!(!names.is_empty(), "no crate promises Rust {VERSION}");
    let mut command = cargo(&["check", "--locked", "--all-features"]);
    for name in names {
        command.args(["--package", name]);
    }
    command.env("RUSTC", compiler.trim());
    // In the common target folder, the outputs of both compilers would replace each other.
    command.env("CARGO_TARGET_DIR", root().join("target/oldest"));
    perform(&mut command)
}
