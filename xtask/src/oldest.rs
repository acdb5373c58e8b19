//! The step `oldest compiler` of `cargo xtask lint`: compiles the client crates with the oldest
//! compiler that they support. Features whose dependencies need a newer compiler are left out: the
//! package lists them in `package.metadata.newer-compiler`.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

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
    let promises =
        |package: &&Value| package["rust_version"] == VERSION && package["publish"].is_null();
    let packages: Vec<&Value> = packages.iter().filter(promises).collect();
    ensure!(!packages.is_empty(), "no crate promises Rust {VERSION}");
    let mut command = cargo(&["check", "--locked"]);
    for package in packages {
        let name = package["name"].as_str().context("no name")?;
        command.args(["--package", name]);
        for feature in features(package)? {
            command.arg("--features").arg(format!("{name}/{feature}"));
        }
    }
    command.env("RUSTC", compiler.trim());
    // Use a separate folder, because otherwise the outputs of the two compilers would replace each
    // other.
    command.env("CARGO_TARGET_DIR", root().join("target/oldest"));
    perform(&mut command)
}

/// Returns the features of a package that compile with the oldest compiler.
fn features(package: &Value) -> Result<Vec<&str>> {
    let newer: &[Value] = match &package["metadata"]["newer-compiler"]["features"] {
        Value::Null => &[],
        features => features
            .as_array()
            .context("`newer-compiler` has no list")?,
    };
    let features = package["features"].as_object().context("no features")?;
    for feature in newer {
        let is_known = feature.as_str().is_some_and(|f| features.contains_key(f));
        ensure!(is_known, "{} has no feature {feature}", package["name"]);
    }
    let names = features.keys().map(String::as_str);
    Ok(names
        .filter(|name| !newer.iter().any(|n| n == name))
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn features_that_need_a_newer_compiler_are_left_out() {
        let mut package = json!({"name": "p", "features": {"a": [], "b": []}, "metadata": null});
        assert_eq!(features(&package).unwrap(), ["a", "b"]);
        package["metadata"] = json!({"newer-compiler": {"features": ["b"]}});
        assert_eq!(features(&package).unwrap(), ["a"]);
        package["metadata"] = json!({"newer-compiler": {"features": ["c"]}});
        features(&package).unwrap_err();
    }
}
