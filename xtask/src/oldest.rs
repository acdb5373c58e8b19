//! The step `oldest compiler` of `cargo xtask lint`: checks the crates that promise to build with an
//! old compiler with that compiler.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, metadata, output, perform, root};

/// The compiler that the client crates promise, as in their `rust-version`.
const VERSION: &str = "1.85";

/// Debian packages of that compiler: used where rustup does not have it.
const PACKAGES: [&str; 4] = [
    "rustc-web=1.85.0+dfsg3-1~deb12u3",
    "libstd-rust-web-1.85=1.85.0+dfsg3-1~deb12u3",
    "libstd-rust-web-dev=1.85.0+dfsg3-1~deb12u3",
    "libllvm19",
];

/// A compiler, and the folders of its shared libraries.
struct Compiler {
    program: PathBuf,
    libraries: Option<String>,
}

/// Checks the crates, or prints why the compiler is not here. The workflow of the project checks
/// them as well.
pub(crate) fn check() -> Result<()> {
    let Some(compiler) = compiler()? else {
        println!("not checked: `rustup toolchain install {VERSION}` installs the compiler");
        return Ok(());
    };
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let promised = packages
        .iter()
        .filter(|package| package["rust_version"] == VERSION && package["publish"].is_null());
    let names: Vec<&str> = promised
        .filter_map(|package| package["name"].as_str())
        .collect();
    ensure!(!names.is_empty(), "no crate promises Rust {VERSION}");
    let mut command = cargo(&["check", "--locked", "--all-features"]);
    for name in names {
        command.args(["--package", name]);
    }
    command.env("RUSTC", compiler.program);
    // In the common target folder, the outputs of both compilers would replace each other.
    command.env("CARGO_TARGET_DIR", folder().join("target"));
    if let Some(libraries) = compiler.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    perform(&mut command)
}

fn folder() -> PathBuf {
    root().join("target/oldest")
}

/// Returns the compiler of rustup, or that of Debian's packages. With `CI` set, the packages are
/// downloaded if necessary.
fn compiler() -> Result<Option<Compiler>> {
    let mut rustup = Command::new("rustup");
    rustup.args(["which", "rustc", "--toolchain", VERSION]);
    if let Ok(path) = output(&mut rustup) {
        return Ok(Some(Compiler {
            program: path.trim().into(),
            libraries: None,
        }));
    }
    let unpacked = folder().join("debian");
    let program = unpacked.join("usr/bin/rustc");
    if !program.exists() {
        if std::env::var_os("CI").is_none() {
            return Ok(None);
        }
        // Not a failure: Debian replaces packages, which is no fault of a change.
        if let Err(error) = download() {
            println!("Debian's packages of Rust {VERSION} are not available: {error:#}");
            return Ok(None);
        }
    }
    let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/llvm-19/lib"];
    let libraries = libraries.map(|path| unpacked.join(path).display().to_string());
    Ok(Some(Compiler {
        program,
        libraries: Some(libraries.join(":")),
    }))
}

/// Downloads and unpacks the packages, without installing them: they would replace the compiler of
/// the system.
fn download() -> Result<()> {
    let folder = folder();
    // What an interrupted download has left.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    output(Command::new("apt-get").args(["update", "--quiet"]))?;
    output(
        Command::new("apt-get")
            .args(["download", "--quiet"])
            .args(PACKAGES)
            .current_dir(&folder),
    )?;
    let unpacked = folder.join("unpacking");
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "deb") {
            output(Command::new("dpkg").arg("-x").arg(&path).arg(&unpacked))?;
            fs::remove_file(path)?;
        }
    }
    Ok(fs::rename(unpacked, folder.join("debian"))?)
}
