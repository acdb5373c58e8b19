//! Runs the Python server and the `hypha-server` that all tests of a run share.
//!
//! `cargo xtask test` starts this program as `shared_servers FOLDER`, and passes the folder to the
//! tests in `HYPHA_TEST_SERVERS`. Both servers end when the standard input of this program is
//! closed.

use std::io::Read;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result};
use hypha_rpc_tests::servers::{Kind, publish};

fn main() -> Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .context("the folder is missing")?;
    let folder = PathBuf::from(folder);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let python = {
        let folder = folder.clone();
        thread::spawn(move || publish(Kind::Python, &folder))
    };
    let ours = publish(Kind::Ours, &folder)?;
    let python = python.join().map_err(|_| anyhow::anyhow!("a panic"))??;
    println!("READY");
    // Wait until the parent closes the pipe. The parent never writes to it.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop((python, ours));
    Ok(())
}
