//! Implements the command `cargo xtask fuzz`, which fuzzes all parsers of received bytes.
//!
//! The file `tests/fuzz/corpus/<target>.hex` in the crate of a target contains the stored inputs of
//! the target, one per line. An ordinary test runs these inputs. libFuzzer needs one file per
//! input, so this command writes the inputs to separate files beside the targets.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{Steps, cargo, output, perform, root};

/// Options of the fuzzing.
#[derive(Args)]
pub(crate) struct Options {
    /// Time to run each target, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Afterwards, store the smallest set of inputs with the same coverage.
    #[arg(long)]
    keep: bool,
    /// Targets to run. Default: all.
    targets: Vec<String>,
}

/// Maximum length of an input, in bytes. Longer inputs rarely find more bugs.
const MAX_LEN: &str = "-max_len=4096";
/// Maximum length of a stored input, in bytes. Stored inputs are short, because people read them
/// and every test run executes them.
const MAX_KEPT_LEN: &str = "-max_len=256";
/// Limits in MiB and seconds. If an input of a few kilobytes exceeds a limit, the input has found a
/// bug.
const LIMITS: [&str; 3] = ["-malloc_limit_mb=64", "-rss_limit_mb=1024", "-timeout=20"];

/// Fuzzes each selected target. After a failed target, the remaining targets still run.
pub(crate) fn run(options: &Options) -> Result<()> {
    output(&mut cargo(&["fuzz", "--version"]))
        .context("cargo-fuzz is missing: `cargo install cargo-fuzz` (it needs a C++ compiler)")?;
    let known = Target::all()?;
    for asked in &options.targets {
        let names: Vec<&str> = known.iter().map(|target| target.name.as_str()).collect();
        ensure!(
            names.contains(&asked.as_str()),
            "there is no target `{asked}`, only {}",
            names.join(", ")
        );
    }
    let mut steps = Steps::default();
    for target in &known {
        if !options.targets.is_empty() && !options.targets.contains(&target.name) {
            continue;
        }
        steps.step(target.name.as_str(), || {
            let corpus = unpack(target)?;
            let time = format!("-max_total_time={}", options.seconds);
            perform(
                libfuzzer(target)
                    .arg(&corpus)
                    .args(["--", MAX_LEN, &time])
                    .args(LIMITS),
            )?;
            if options.keep {
                keep(target, &corpus)
            } else {
                Ok(())
            }
        });
    }
    steps.finish()
}

/// Crates with a folder `fuzz` that contains fuzz targets.
pub(crate) const CRATES: [&str; 2] = ["hypha-wire", "hypha-rpc"];

/// A fuzz target, which is a file in the folder `fuzz/fuzz_targets` of its crate.
struct Target {
    krate: &'static str,
    name: String,
}

impl Target {
    /// Returns all targets, sorted by crate and name.
    fn all() -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        for krate in CRATES {
            let files = root().join(krate).join("fuzz/fuzz_targets");
            for file in fs::read_dir(files)? {
                if let Some(name) = file?.path().file_stem() {
                    let name = name.to_string_lossy().into_owned();
                    targets.push(Target { krate, name });
                }
            }
        }
        targets.sort_by(|a, b| (a.krate, &a.name).cmp(&(b.krate, &b.name)));
        Ok(targets)
    }

    fn folder(&self) -> PathBuf {
        root().join(self.krate).join("fuzz")
    }

    fn kept(&self) -> PathBuf {
        let path = format!("{}/tests/fuzz/corpus/{}.hex", self.krate, self.name);
        root().join(path)
    }
}

fn libfuzzer(target: &Target) -> Command {
    let mut command = cargo(&["fuzz", "run", "--fuzz-dir"]);
    command.arg(target.folder()).arg(&target.name);
    // The stable compiler supports sanitizers only if this variable is set.
    command.env("RUSTC_BOOTSTRAP", "1");
    // libFuzzer does not need the place of each allocation. Recording these places would take half
    // of the time.
    command.env(
        "ASAN_OPTIONS",
        "malloc_context_size=0:quarantine_size_mb=16",
    );
    command
}

/// Writes the stored inputs of a target as files. Returns the folder of these files, which also
/// contains the inputs that earlier runs have found.
fn unpack(target: &Target) -> Result<PathBuf> {
    let corpus = target.folder().join("corpus").join(&target.name);
    fs::create_dir_all(&corpus)?;
    let path = target.kept();
    let lines = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (index, line) in lines.lines().enumerate() {
        let input =
            unhex(line).with_context(|| format!("{}: line {}", path.display(), index + 1))?;
        fs::write(corpus.join(format!("kept-{index}")), input)?;
    }
    Ok(corpus)
}

/// Replaces the stored inputs of a target. The new set is the smallest set that covers the same
/// code as the stored inputs and the new inputs together.
fn keep(target: &Target, corpus: &Path) -> Result<()> {
    let smallest = target
        .folder()
        .join("corpus")
        .join(format!("{}.smallest", target.name));
    fs::create_dir_all(&smallest)?;
    // Compare only which lines an input reaches, and not the number of times that it reaches them.
    let merge = [
        "--",
        "-merge=1",
        "-set_cover_merge=1",
        "-use_counters=0",
        MAX_KEPT_LEN,
    ];
    perform(
        libfuzzer(target)
            .arg(&smallest)
            .arg(corpus)
            .args(merge)
            .args(LIMITS),
    )?;
    let mut inputs = BTreeSet::new();
    for file in fs::read_dir(&smallest)? {
        let input = fs::read(file?.path())?;
        inputs.insert((input.len(), input));
    }
    fs::remove_dir_all(&smallest)?;
    let mut lines = String::new();
    for (_, input) in inputs {
        for byte in input {
            write!(lines, "{byte:02x}")?;
        }
        lines.push('\n');
    }
    Ok(fs::write(target.kept(), lines)?)
}

fn unhex(line: &str) -> Result<Vec<u8>> {
    let pairs = line.as_bytes().chunks(2);
    pairs
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}
