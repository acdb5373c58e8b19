//! Implements the command `cargo xtask lint`, which runs all checks that do not run the programs of
//! the project.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{Steps, cargo, metadata, output, perform, root};
use crate::{arrows, imports, oldest, package, prose};

/// Pattern of absolute paths that only exist on the machine of their author.
const MACHINE_PATHS: &str = "(^|[^A-Za-z0-9_.$}-])/(home|root|Users|tmp|work|farm|mnt)/";

/// The checks to run.
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask lint               every step, in some minutes
  cargo xtask lint prose links   width, words and links of comments and Markdown, in a second
  cargo xtask lint arrows        layers of the modules")]
pub(crate) struct Options {
    /// Words that select steps by name, such as `arrows`. Default: every step.
    steps: Vec<String>,
}

/// Runs all selected checks. After a failed check, the remaining checks still run.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::only(&options.steps);
    steps.step("formatting", || {
        component("rustfmt", "fmt")?;
        perform(&mut cargo(&["fmt", "--all", "--check"]))?;
        // The fuzz targets are not part of the workspace.
        for krate in crate::fuzz::CRATES {
            let manifest = format!("{krate}/fuzz/Cargo.toml");
            perform(cargo(&["fmt", "--check", "--manifest-path"]).arg(manifest))?;
        }
        Ok(())
    });
    steps.step("imports", imports::check);
    steps.step("module arrows", arrows::check);
    steps.step("width of prose", prose::width);
    steps.step("words of prose", prose::words);
    steps.step("spelling", prose::spelling);
    steps.step("links", prose::links);
    steps.step("contents of packages", package::content);
    steps.step("clippy", || {
        component("clippy", "clippy")?;
        perform(
            cargo(&["clippy", "--workspace", "--all-targets", "--all-features"])
                .args(["--", "-D", "warnings"]),
        )
    });
    steps.step("each feature alone", each_feature_alone);
    steps.step("oldest compiler", oldest::check);
    steps.step("documentation", || {
        perform(
            cargo(&["doc", "--workspace", "--no-deps", "--all-features"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    });
    steps.step("paths of a machine", machine_paths);
    steps.finish()
}

/// Checks that a component of the toolchain is installed. If the component is missing, the error
/// contains the command to install it.
fn component(name: &str, subcommand: &str) -> Result<()> {
    output(&mut cargo(&[subcommand, "--version"]))
        .with_context(|| format!("{name} is missing: `rustup component add {name}`"))
        .map(drop)
}

/// Checks that each crate and its tests compile without features, and with each feature alone. Test
/// runs do not check this, because they always enable all features.
fn each_feature_alone() -> Result<()> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    for package in packages {
        let name = package["name"].as_str().context("a package without name")?;
        let features = package["features"].as_object().context("no features")?;
        let alone = features.keys().filter(|feature| *feature != "default");
        let mut alone: Vec<&str> = alone.map(String::as_str).collect();
        if !alone.is_empty() {
            alone.push("");
        }
        let targets = package["targets"].as_array().context("no targets")?;
        let has_library = targets.iter().any(|target| target["kind"][0] == "lib");
        for feature in alone {
            println!("{name}: [{feature}]");
            let mut command = cargo(&["clippy", "--package", name, "--quiet"]);
            command.args(["--no-default-features", "--features", feature]);
            command.args(match feature {
                "" => &["--all-targets"][..],
                _ if has_library => &["--lib", "--bins"],
                _ => &["--bins"],
            });
            perform(command.args(["--", "-D", "warnings"]))?;
        }
    }
    Ok(())
}

/// Checks that no file contains an absolute path that only exists on the machine of its author.
fn machine_paths() -> Result<()> {
    let mut grep = Command::new("git");
    grep.current_dir(root());
    grep.args(["grep", "-nIE", MACHINE_PATHS, "--", ":!*.lock", ":!vectors"]);
    let found = grep.output().context("git cannot be run")?;
    // `git grep` exits with 1 if nothing matches. A status other than 0 or 1 means that the search
    // failed.
    let text = String::from_utf8_lossy(&found.stdout);
    ensure!(
        found.status.code() == Some(1),
        "git grep: {}\n{text}",
        found.status
    );
    Ok(())
}
