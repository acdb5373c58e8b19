//! Tests that Python can call a blocking service.

use std::time::Duration;

use anyhow::{Result, ensure};
use hypha_rpc::blocking;
use hypha_rpc::prelude::*;
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::python_program;
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::Kind;

const LIMIT: Duration = Duration::from_secs(60);

/// Measures.
#[hypha_service(id = "instrument", visibility = "public")]
trait Instrument {
    /// Divide one number by another.
    fn divide(&self, a: f64, b: f64) -> Result<f64, String>;

    /// Sleep, then name the caller's workspace.
    fn sleep(&self, seconds: f64, ctx: &Context) -> String;

    /// Call a function for each number, and add the results.
    fn each(&self, to: u32, run: Callback<u32, u32>) -> Result<u32, Error>;

    /// Count.
    fn count(&self, to: u32) -> RemoteStream<u32>;

    /// Return a file.
    fn log(&self) -> RemoteFile;
}

struct Blocking;

impl Instrument for Blocking {
    fn divide(&self, a: f64, b: f64) -> Result<f64, String> {
        if b == 0.0 {
            return Err("division by zero".into());
        }
        Ok(a / b)
    }

    fn sleep(&self, seconds: f64, ctx: &Context) -> String {
        std::thread::sleep(Duration::from_secs_f64(seconds));
        ctx.workspace().to_owned()
    }

    fn each(&self, to: u32, run: Callback<u32, u32>) -> Result<u32, Error> {
        (0..to).map(|number| run.call(number).wait()).sum()
    }

    fn count(&self, to: u32) -> RemoteStream<u32> {
        RemoteStream::from_blocking_iter(0..to)
    }

    fn log(&self) -> RemoteFile {
        RemoteFile::from_blocking_reader(std::io::Cursor::new(vec![b'x'; 600_000]))
    }
}

fn python_calls(kind: Kind) {
    run_blocking(kind, &[Language::Python], |server| {
        let client = blocking::connect(&server.url)?;
        let service = InstrumentService::new(Blocking);
        let info = client.register_service(service).wait()?;
        let mut command = python_program("blocking_peer.py")?;
        command.args(["--server-url", &server.url, "--service", &info.id]);
        let peer = Process::start("Python", &command)?;
        let status = peer.wait(LIMIT)?;
        ensure!(status.success(), "{status}\n{}", peer.transcript(0));
        let printed = peer.stdout();
        ensure!(printed.iter().any(|line| line == "DONE"), "{printed:?}");
        client.disconnect()?;
        Ok(())
    });
}

#[test]
fn python_calls_a_service_without_async() {
    python_calls(Kind::Ours);
}

#[test]
fn python_calls_a_service_without_async_through_the_python_server() {
    python_calls(Kind::Python);
}
