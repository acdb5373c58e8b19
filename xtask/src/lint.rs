//! `cargo xtask lint`: what can be said about the sources without running them.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{Steps, cargo, output, perform, root};

/// Paths that only exist on the machine of whoever wrote them down.
const MACHINE_PATHS: &str = "(^|[^A-Za-z0-9_.$}-])/(home|root|Users|tmp|work|farm|mnt)/";

/// Run every check; a failed one fails the whole.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    steps.step("formatting", || {
        component("rustfmt", "fmt")?;
        perform(&mut cargo(&["fmt", "--all", "--check"]))
    });
    steps.step("clippy", || {
        component("clippy", "clippy")?;
        perform(
            cargo(&["clippy", "--workspace", "--all-targets", "--all-features"])
                .args(["--", "-D", "warnings"]),
        )
    });
    steps.step("each feature alone", each_feature_alone);
    steps.step("documentation", || {
        perform(
            cargo(&["doc", "--workspace", "--no-deps", "--all-features"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    });
    steps.step("paths of a machine", machine_paths);
    steps.finish()
}

/// Say clearly that a part of the toolchain is missing.
fn component(name: &str, subcommand: &str) -> Result<()> {
    output(&mut cargo(&[subcommand, "--version"]))
        .with_context(|| format!("{name} is missing: `rustup component add {name}`"))
        .map(drop)
}

/// `hypha-rpc` compiles with none of its features, and with each one by itself.
fn each_feature_alone() -> Result<()> {
    let metadata = output(&mut cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let package = packages
        .iter()
        .find(|package| package["name"] == "hypha-rpc")
        .context("there is no package hypha-rpc")?;
    let features = package["features"].as_object().context("no features")?;
    let check = |features: &str| {
        println!("features: [{features}]");
        let mut command = cargo(&[
            "clippy",
            "--quiet",
            "-p",
            "hypha-rpc",
            "--no-default-features",
        ]);
        perform(command.args(["--features", features, "--", "-D", "warnings"]))
    };
    check("")?;
    for feature in features.keys().filter(|feature| *feature != "default") {
        check(feature)?;
    }
    Ok(())
}

/// No file names a folder of the machine that it was written on.
fn machine_paths() -> Result<()> {
    let mut grep = Command::new("git");
    grep.current_dir(root());
    grep.args(["grep", "-nIE", MACHINE_PATHS, "--", ":!*.lock", ":!vectors"]);
    let found = grep.output().context("git cannot be run")?;
    // 1 says that nothing was found; anything else, that nothing was looked for.
    let text = String::from_utf8_lossy(&found.stdout);
    ensure!(
        found.status.code() == Some(1),
        "git grep: {}\n{text}",
        found.status
    );
    Ok(())
}
