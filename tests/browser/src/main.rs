//! Builds the WebAssembly module of this crate and its JavaScript, and prints the folder that
//! contains both.
#![cfg(not(target_family = "wasm"))]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, ensure};
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "browser";

fn main() -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Command::new(&cargo)
        .current_dir(manifest)
        .args(["build", "--quiet", "--lib", "--locked"])
        .args(["--profile", PROFILE, "--target", TARGET])
        .status()
        .context("cargo cannot be run")?;
    ensure!(build.success(), "the module cannot be built: {build}");

    let metadata = Command::new(cargo)
        .current_dir(manifest)
        .args(["metadata", "--no-deps", "--locked", "--format-version", "1"])
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let target = metadata["target_directory"].as_str().context("no target")?;
    let target = Path::new(target);
    let module = target
        .join(TARGET)
        .join(PROFILE)
        .join("hypha_rpc_browser.wasm");

    // Several tests may build this module at the same time. The folder that is renamed first stays.
    let written = fs::metadata(&module)?
        .modified()?
        .duration_since(UNIX_EPOCH)?;
    let folders = target.join("browser");
    let folder = folders.join(written.as_micros().to_string());
    if !folder.exists() {
        let new = folders.join(format!("new-{}", std::process::id()));
        let mut bindgen = Bindgen::new();
        bindgen.input_path(&module).web(true)?.generate(&new)?;
        // Without this file, Node would treat the JavaScript as CommonJS.
        fs::write(new.join("package.json"), r#"{"type": "module"}"#)?;
        let renamed = fs::rename(&new, &folder);
        ensure!(
            folder.exists(),
            "the JavaScript cannot be stored: {renamed:?}"
        );
    }
    println!("{}", folder.display());
    Ok(())
}
