//! Implements the command `cargo xtask test`. Builds and runs all tests or the selected tests, and
//! starts the peers and servers that the tests need.

mod needs;
mod select;
mod servers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{Steps, cargo, metadata, output, perform};
use crate::setup;
use needs::{Need, Needs};
use select::{Documentation, Selection};
use servers::SharedServers;

/// Options of the tests.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask test                    everything: sets up the peers, builds, runs all tests
  cargo xtask test hypha-server       the tests of one package, documentation tests included
  cargo xtask test interop            one test program, with the peers and servers that it needs
  cargo xtask test calls_in_order     every test with these words in its name
  cargo xtask test engine -- streams  the tests of one program with these words in their names

Only selected programs are built, and peers are installed only if a selected program needs them.
With cargo-nextest (`cargo install --locked cargo-nextest`), test programs run in parallel. Without
it, `cargo test` runs them one after the other.")]
pub(crate) struct Options {
    /// A package, a test program, or a part of the names of tests. Default: everything.
    name: Option<String>,
    /// Use `cargo test` even if cargo-nextest is installed.
    #[arg(long)]
    plain: bool,
    /// Number of tests to run at once. Default: two per processor.
    #[arg(long)]
    threads: Option<usize>,
    /// Arguments of the test programs, as after `cargo test --`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Installs the dependencies, builds the tests and runs them. After a failed step, the remaining
/// steps still run.
pub(crate) fn run(options: &Options) -> Result<()> {
    let metadata = metadata()?;
    let selection = match &options.name {
        None => Selection::everything(&metadata)?,
        Some(name) => Selection::of(&metadata, name)?,
    };
    let nextest = !options.plain && has_nextest();
    println!("{}", selection.description());
    let needs = selection.needs();

    let mut steps = Steps::default();
    steps.step("set up what the tests need", || set_up(&needs));
    let target = metadata["target_directory"].as_str();
    let target = PathBuf::from(target.context("no target directory")?);
    let run = Run {
        selection: &selection,
        nextest,
        threads: options.threads.unwrap_or_else(threads),
        arguments: &options.arguments,
        programs: target.join("debug"),
        folder: target.join("test-run"),
    };
    let mut servers = None;
    if !needs.programs().is_empty() {
        steps.step("build the programs of the tests", || build_programs(&needs));
    }
    if needs.contains(Need::Servers) {
        // Build the tests while the Python server starts, because the server takes ten seconds to
        // start.
        steps.step("start the shared servers", || {
            servers = Some(SharedServers::start(&run.programs, &run.folder)?);
            Ok(())
        });
    }
    if selection.has_programs() && steps.step("build the tests", || run.build()) {
        steps.step("run the tests", || {
            if let Some(servers) = &mut servers {
                servers.wait()?;
            }
            run.test(servers.as_ref())
        });
    }
    // Stop the servers. Documentation tests do not need them, and the compiler needs their memory.
    drop(servers);
    if let Some(documentation) = selection.documentation() {
        steps.step("run the documentation tests", || {
            run.documentation(documentation)
        });
    }
    if options.name.is_none() {
        steps.step("run the tests without features", || {
            let package = ["test", "--package", "hypha-wire"];
            perform(cargo(&package).args(["--test", "without_features"]))
        });
    }
    let skipped = run.skipped();
    if !skipped.is_empty() {
        println!("\n=== skipped\n{}", skipped.trim_end());
    }
    steps.finish()
}

fn has_nextest() -> bool {
    let installed = output(&mut cargo(&["nextest", "--version"])).is_ok();
    if !installed {
        println!(
            "cargo-nextest is not installed: test programs run one after the other with `cargo \
             test`"
        );
    }
    installed
}

/// Returns the number of tests to run at once. This is more than the number of processors, because
/// tests with peers spend more than half of their time waiting. When two processors ran three
/// tests, the processors were idle half of the time.
fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    2 * cores
}

/// Installs the dependencies that the selected tests need.
fn set_up(needs: &Needs) -> Result<()> {
    if needs.contains(Need::Python) {
        setup::python()?;
    }
    if needs.contains(Need::McpClients) {
        setup::mcp_clients()?;
    }
    if needs.contains(Need::JavaScript) {
        setup::javascript()?;
    }
    if needs.contains(Need::Browser) {
        setup::browser_target()?;
    }
    let programs = [
        (Need::Chromium, setup::CHROMIUM),
        (Need::Redis, setup::REDIS),
        (Need::TurnServer, setup::TURN_SERVER),
    ];
    let programs = programs.iter().filter(|(need, _)| needs.contains(*need));
    setup::programs(&programs.map(|(_, program)| *program).collect::<Vec<_>>())
}

/// Builds the programs that whole-system tests start. Uses the same features as for the tests, so
/// that no crate is built twice.
fn build_programs(needs: &Needs) -> Result<()> {
    let mut build = cargo(&["build", "--workspace", "--all-features"]);
    for program in needs.programs() {
        build.args([program.kind.option(), program.name]);
    }
    perform(&mut build)
}

/// One run of the selected tests.
struct Run<'a> {
    selection: &'a Selection,
    nextest: bool,
    threads: usize,
    arguments: &'a [String],
    /// Folder that contains the built programs.
    programs: PathBuf,
    /// Folder that contains the addresses of the shared servers, and the list of skipped tests.
    folder: PathBuf,
}

impl Run<'_> {
    fn build(&self) -> Result<()> {
        let mut build = match self.nextest {
            true => cargo(&["nextest", "run", "--no-run"]),
            false => cargo(&["test", "--no-run"]),
        };
        perform(build.args(self.selection.cargo_arguments()))
    }

    fn test(&self, servers: Option<&SharedServers>) -> Result<()> {
        let mut tests = if self.nextest {
            let mut tests = cargo(&["nextest", "run", "--no-fail-fast"]);
            tests.arg(format!("--test-threads={}", self.threads));
            tests
        } else {
            let mut tests = cargo(&["test", "--no-fail-fast"]);
            tests.env("RUST_TEST_THREADS", self.threads.to_string());
            tests
        };
        tests.args(self.selection.cargo_arguments()).arg("--");
        tests.args(self.selection.filter()).args(self.arguments);
        // The peers have been installed. Therefore a test with a missing peer must fail instead of
        // being skipped.
        tests.env("HYPHA_TEST_REQUIRE_PEERS", "1");
        tests.env("HYPHA_TEST_PROGRAMS", &self.programs);
        let skipped = self.skipped_file();
        fs::create_dir_all(&self.folder)?;
        fs::write(&skipped, "").with_context(|| format!("cannot write {}", skipped.display()))?;
        tests.env("HYPHA_TEST_SKIPPED", &skipped);
        if let Some(servers) = servers {
            tests.env("HYPHA_TEST_SERVERS", servers.folder());
        }
        perform(&mut tests)
    }

    fn documentation(&self, of: &Documentation) -> Result<()> {
        let mut tests = cargo(&["test", "--doc", "--no-fail-fast", "--all-features"]);
        match of {
            Documentation::Everything => tests.arg("--workspace"),
            Documentation::Package(name) => tests.args(["--package", name]),
        };
        perform(tests.arg("--").args(self.arguments))
    }

    fn skipped_file(&self) -> PathBuf {
        self.folder.join("skipped")
    }

    /// Returns the skipped tests with their reasons, one test per line. Returns an empty string if
    /// no test was skipped.
    fn skipped(&self) -> String {
        fs::read_to_string(self.skipped_file()).unwrap_or_default()
    }
}

/// Returns a command that runs the program at `path`. Returns an error if the program was not
/// built.
fn built(path: &Path) -> Result<Command> {
    if !path.is_file() {
        bail!("{} is not built", path.display());
    }
    Ok(Command::new(path))
}
