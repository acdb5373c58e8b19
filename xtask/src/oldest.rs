//! The step `oldest compiler` of `cargo xtask lint`: compiles the client crates with the oldest
//! compiler that they support.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, metadata, output, perform, root};

/// Oldest supported compiler of the client crates. Equals their `rust-version`.
const VERSION: &str = "1.85";

/// Checks the client crates. If the compiler is not installed, installs it if `CI` is set, and
/// otherwise only prints a message.
pub(crate) fn check() -> Result<()> {
    let install = ["toolchain", "install", VERSION, "--profile", "minimal"];
    if std::env::var_os("CI").is_some() {
        // Without a network, this command fails, but the compiler may be installed already.
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
    // Use a separate folder, because otherwise the outputs of the two compilers would replace each
    // other.
    command.env("CARGO_TARGET_DIR", root().join("target/oldest"));
    perform(&mut command)
}
