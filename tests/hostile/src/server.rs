//! Starts the server under attack, and reads the memory of its process from the kernel.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::http_get;

/// Maximum time until a server has started.
const START: Duration = Duration::from_secs(30);

/// A running `hypha-server`.
#[derive(Debug)]
pub struct Server {
    /// Address of the listener.
    pub address: SocketAddr,
    process: Process,
    id: u32,
}

impl Server {
    /// Starts a server that stores nothing. Except for `options`, the server uses the default
    /// settings.
    pub fn start(options: &[String]) -> Result<Server> {
        let mut command = Command::new(executable("hypha-server")?);
        command
            .args(["--host=127.0.0.1", "--port=0", "--in-memory"])
            .args(options);
        let process = Process::start("hypha-server", &command)?;
        let url = process.wait_for_prefix(START, "READY ")?;
        let address = url.strip_prefix("http://").context("not an http URL")?;
        Ok(Server {
            address: address.parse()?,
            id: process.program()?,
            process,
        })
    }

    /// Returns the current resident memory, in bytes.
    pub fn resident(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// Returns the peak of the resident memory since the last reset, in bytes.
    pub fn peak(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Resets the peak of the resident memory.
    pub fn reset_peak(&self) -> Result<()> {
        let file = format!("/proc/{}/clear_refs", self.id);
        fs::write(&file, "5").with_context(|| format!("cannot write {file}"))
    }

    /// Returns the value of a metric of the server.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let (_, text) = http_get(&format!("http://{}", self.address), "/metrics")?;
        let mut values = text.lines().filter_map(|line| line.split_once(' '));
        let value = values.find(|(key, _)| key.strip_prefix("hypha_server_") == Some(name));
        Ok(value.with_context(|| format!("no {name}"))?.1.parse()?)
    }

    /// Returns all output of the server so far.
    pub fn transcript(&self) -> String {
        self.process.transcript(0)
    }

    fn memory(&self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))
            .context("the server has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: u64 = kib.context("the server has ended")?.parse()?;
        Ok(kib * 1024)
    }
}
