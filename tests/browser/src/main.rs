//! Builds a WebAssembly module of this workspace and its JavaScript, and prints the folder that
//! contains both. Arguments: the package and the profile. Default: the package of this program.
#![cfg(not(target_family = "wasm"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, ensure};
use wasm_bindgen_cli_support::Bindgen;

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let package = arguments.next();
    let package = package.as_deref().unwrap_or(env!("CARGO_PKG_NAME"));
    let profile = arguments.next();
    let profile = profile.as_deref().unwrap_or("browser");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Command::new(&cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--lib", "--locked"])
        .args(["--package", package, "--profile", profile])
        .args(["--target", TARGET])
        .status()
        .context("cargo cannot be run")?;
    ensure!(build.success(), "{package} cannot be built: {build}");

    let metadata = Command::new(cargo)
        .current_dir(root)
        .args(["metadata", "--no-deps", "--locked", "--format-version", "1"])
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let target = metadata["target_directory"].as_str().context("no target")?;
    let target = Path::new(target);
    let name = package.replace('-', "_");
    let module = target.join(TARGET).join(profile).join(&name);
    let module = module.with_extension("wasm");
    let packages = metadata["packages"].as_array().context("no packages")?;
    let manifest = packages.iter().find(|found| found["name"] == package);
    let manifest = manifest.and_then(|package| package["manifest_path"].as_str());
    let page = PathBuf::from(manifest.context("no manifest")?).with_file_name("index.html");

    // Several tests may build this module at the same time. The folder that is renamed first stays.
    let written = fs::metadata(&module)?
        .modified()?
        .duration_since(UNIX_EPOCH)?;
    let folders = target.join("browser");
    let folder = folders.join(format!("{name}-{}", written.as_micros()));
    if !folder.exists() {
        let new = folders.join(format!("new-{name}-{}", std::process::id()));
        let mut bindgen = Bindgen::new();
        bindgen.input_path(&module).web(true)?;
        // Pages call `init` without the path of the module.
        bindgen.omit_default_module_path(false);
        // Only debuggers need the names of functions.
        bindgen.remove_name_section(profile != "browser");
        bindgen.generate(&new)?;
        // Without this file, Node would treat the JavaScript as CommonJS.
        fs::write(new.join("package.json"), r#"{"type": "module"}"#)?;
        let renamed = fs::rename(&new, &folder);
        ensure!(
            folder.exists(),
            "the JavaScript cannot be stored: {renamed:?}"
        );
    }
    if page.exists() {
        fs::copy(page, folder.join("index.html"))?;
    }
    println!("{}", folder.display());
    Ok(())
}
