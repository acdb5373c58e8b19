//! Implements two commands. `cargo xtask package` checks the packages in the form in which they
//! will be published. `cargo xtask api` checks the public API of the packages.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::command::{Steps, cargo, metadata, output, perform};

/// Paths that a package may contain. The path of a folder ends with `/`. Users of a package do not
/// need other files.
const CONTENT: [&str; 9] = [
    ".cargo_vcs_info.json",
    "Cargo.lock",
    "Cargo.toml",
    "Cargo.toml.orig",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "guide/",
    "src/",
];

/// Files that every package must contain.
const NEEDED: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// Fields of a manifest that the registry shows to users.
const FIELDS: [&str; 7] = [
    "description",
    "license",
    "repository",
    "documentation",
    "readme",
    "keywords",
    "categories",
];

/// Options of `cargo xtask package`.
#[derive(Args)]
pub(crate) struct PackageOptions {
    /// Do not build the packages from their contents. The build takes some minutes.
    #[arg(long)]
    no_verify: bool,
    /// Accept uncommitted changes.
    #[arg(long)]
    allow_dirty: bool,
}

/// Checks metadata and contents of all published packages, and simulates their publication.
pub(crate) fn package(options: &PackageOptions) -> Result<()> {
    let mut steps = Steps::default();
    steps.step("metadata and content", content);
    steps.step("rehearsal", || {
        // With `--workspace`, cargo publishes the packages in the order of their dependencies. To
        // verify a package, cargo uses the other packages of this workspace instead of the packages
        // in the registry.
        let mut command = cargo(&["publish", "--workspace", "--dry-run", "--locked"]);
        if options.no_verify {
            command.arg("--no-verify");
        }
        if options.allow_dirty {
            command.arg("--allow-dirty");
        }
        perform(&mut command)
    });
    steps.finish()
}

/// Checks that each published package has all metadata, contains the required files, and contains
/// no other files.
pub(crate) fn content() -> Result<()> {
    let mut faults = Vec::new();
    for package in published()? {
        let name = package["name"].as_str().context("a package without name")?;
        faults.extend(missing_fields(&package).map(|field| format!("{name}: no `{field}`")));
        let listed = cargo(&["package", "--list", "--allow-dirty", "--package", name]);
        let listed = output(&mut { listed })?;
        let files: Vec<&str> = listed.lines().collect();
        faults.extend(
            misplaced(&files)
                .map(|file| format!("{name}: {file} does not belong into the package")),
        );
        faults.extend(absent(&files).map(|file| format!("{name}: no {file}")));
        println!("{name}: {} files", files.len());
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// Returns the metadata of the packages that are published.
fn published() -> Result<Vec<Value>> {
    let mut metadata = metadata()?;
    let Value::Array(packages) = metadata["packages"].take() else {
        bail!("cargo names no packages");
    };
    // cargo represents `publish = false` as an empty list of registries.
    let packages = packages.into_iter().filter(|p| p["publish"].is_null());
    Ok(packages.collect())
}

/// Returns the fields of a manifest that are missing or empty.
fn missing_fields(package: &Value) -> impl Iterator<Item = &'static str> + '_ {
    FIELDS.into_iter().filter(|field| match &package[*field] {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    })
}

/// Returns the files that a package should not contain.
fn misplaced<'a>(files: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let expected = |file: &str| {
        CONTENT
            .iter()
            .any(|content| match content.strip_suffix('/') {
                Some(_) => file.starts_with(content),
                None => file == *content,
            })
    };
    files.iter().copied().filter(move |file| !expected(file))
}

/// Returns the required files that a package does not contain.
fn absent<'a>(files: &'a [&'a str]) -> impl Iterator<Item = &'static str> + 'a {
    NEEDED.into_iter().filter(|needed| !files.contains(needed))
}

/// Options of `cargo xtask api`.
#[derive(Args)]
pub(crate) struct ApiOptions {
    /// Revision to compare with, such as a tag. Default: the newest published version.
    #[arg(long)]
    baseline: Option<String>,
    /// List the public items instead of comparing them.
    #[arg(long)]
    list: bool,
}

/// Crates with a stable API (docs/compatibility.md).
const STABLE: [&str; 2] = ["hypha-rpc", "hypha-server"];

/// Compares the public API with an earlier version, or lists it.
pub(crate) fn api(options: &ApiOptions) -> Result<()> {
    if options.list {
        installed("cargo-public-api", "public-api")?;
        for krate in STABLE {
            // `-ss` omits blanket and automatic trait implementations.
            let arguments = ["public-api", "--package", krate, "--all-features", "-ss"];
            perform(&mut cargo(&arguments))?;
        }
        return Ok(());
    }
    installed("cargo-semver-checks", "semver-checks")?;
    let mut command = cargo(&["semver-checks", "check-release", "--all-features"]);
    for krate in STABLE {
        command.args(["--package", krate]);
    }
    if let Some(baseline) = &options.baseline {
        command.args(["--baseline-rev", baseline]);
    }
    perform(&mut command)
}

/// Checks that a cargo subcommand is installed. If the subcommand is missing, the error contains
/// the command to install it.
fn installed(krate: &str, subcommand: &str) -> Result<()> {
    let found = Command::new(krate).args([subcommand, "--version"]).output();
    ensure!(
        found.is_ok_and(|found| found.status.success()),
        "{krate} is missing: `cargo install --locked {krate}`"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_described_and_holds_only_what_its_users_need() {
        let listed = [
            "Cargo.toml",
            "README.md",
            "src/lib.rs",
            "tests/a.rs",
            "srcs",
        ];
        assert_eq!(
            misplaced(&listed).collect::<Vec<_>>(),
            ["tests/a.rs", "srcs"]
        );
        assert_eq!(
            absent(&listed).collect::<Vec<_>>(),
            ["LICENSE-APACHE", "LICENSE-MIT"]
        );
        let package = serde_json::json!({
            "description": "d", "license": "MIT", "repository": "r", "documentation": null,
            "readme": "README.md", "keywords": [], "categories": ["science"],
        });
        let missing: Vec<_> = missing_fields(&package).collect();
        assert_eq!(missing, ["documentation", "keywords"]);
    }
}
