//! Builds and finds the programs of this workspace. When the first test needs a program, all
//! programs are built.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use crate::project_root;

/// Examples that tests start.
const EXAMPLES: [&str; 11] = [
    "blocking",
    "conformance",
    "conformance_client",
    "describe",
    "microscope",
    "microscope_caller",
    "quickstart",
    "segmenter",
    "mcp",
    "stage",
    "survivor",
];
const BINARIES: [&str; 3] = ["browser_module", "hypha", "hypha-server"];

/// Returns the path of a binary or example of this workspace. Builds the program if necessary.
///
/// If the variable `HYPHA_TEST_PROGRAMS` is set, nothing is built. The variable names a folder that
/// contains the binaries. The subfolder `examples` contains the examples.
pub fn executable(name: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("HYPHA_TEST_PROGRAMS") {
        let folder = PathBuf::from(folder);
        let places = [folder.join(name), folder.join("examples").join(name)];
        let found = places.into_iter().find(|place| place.is_file());
        return found.with_context(|| format!("{name} is not built in {}", folder.display()));
    }
    static BUILT: OnceLock<Result<HashMap<String, PathBuf>, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    let built = built.as_ref().map_err(|error| anyhow!("{error}"))?;
    built
        .get(name)
        .cloned()
        .with_context(|| format!("cargo builds no program called {name}"))
}

/// A line of cargo's JSON output.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds all programs with cargo. If the programs were already built together with the tests, for
/// example by `cargo test --workspace`, cargo only prints their paths.
fn build() -> Result<HashMap<String, PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(project_root());
    // Remove the variables that cargo sets for this package. Build scripts of other packages watch
    // some of these variables. With changed variables, cargo would rebuild those packages and all
    // packages that depend on them.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command.args([
        "build",
        "--workspace",
        "--message-format=json-render-diagnostics",
    ]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    for name in EXAMPLES {
        command.args(["--example", name]);
    }
    for name in BINARIES {
        command.args(["--bin", name]);
    }
    let output = command.output().context("cargo cannot be run")?;
    ensure!(
        output.status.success(),
        "our own programs cannot be built\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut built = HashMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<CargoMessage>(line) else {
            continue;
        };
        if let ("compiler-artifact", Some(target), Some(path)) =
            (message.reason.as_str(), message.target, message.executable)
        {
            built.insert(target.name, path);
        }
    }
    Ok(built)
}
