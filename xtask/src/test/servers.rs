//! The Python server and `hypha-server` that all tests of a run share.
//!
//! cargo-nextest runs each test in a separate process. The Python server takes ten seconds to
//! start, so a server for each test, or even for each test program, would take longer than the
//! tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};

use super::built;

/// A running `shared_servers` of `hypha-rpc-tests`. It stops the servers when its standard input
/// ends, so they do not outlive this process.
pub(crate) struct SharedServers {
    process: Child,
    output: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl SharedServers {
    /// Starts both servers without waiting. They write their addresses and their output into
    /// `folder`.
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

    /// Returns the folder with the addresses and the output of the servers.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for SharedServers {
    fn drop(&mut self) {
        // The end of its input tells the process to stop the servers.
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            eprintln!("cannot wait for the end of the shared servers: {error}");
        }
    }
}
