//! Starts the Python server and the `hypha-server` that all tests of a run share.
//!
//! cargo-nextest runs each test in its own process, and the Python server takes ten seconds to
//! start. If each test started a server, or even if each test program started a server, starting
//! the servers would take longer than running the tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};

use super::built;

/// A running `shared_servers` program. When its standard input is closed, the program stops the
/// servers, so the servers do not outlive this process.
pub(crate) struct SharedServers {
    process: Child,
    output: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl SharedServers {
    /// Starts both servers, and returns before they are ready. The servers write their addresses
    /// and output to files in `folder`.
    pub(crate) fn start(programs: &Path, folder: &Path) -> Result<SharedServers> {
        let folder = folder.join("servers");
        let mut command = built(&programs.join("shared_servers"))?;
        command.arg(&folder).env("HYPHA_TEST_PROGRAMS", programs);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("the servers cannot be started")?;
        let output = process.stdout.take().context("no output")?;
        Ok(SharedServers {
            process,
            output: BufReader::new(output),
            folder,
        })
    }

    /// Waits until both servers accept connections.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(line.trim() == "READY", "the shared servers did not start");
        Ok(())
    }

    /// Returns the folder that contains the addresses and the output of the servers.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for SharedServers {
    fn drop(&mut self) {
        // Close the standard input of the process, so that the process stops the servers.
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            eprintln!("cannot wait for the end of the shared servers: {error}");
        }
    }
}
