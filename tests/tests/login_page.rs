//! Tests the login page of `hypha-server` in a browser.

use anyhow::{Context, Result};
use hypha_rpc_tests::cases::run_blocking;
use hypha_rpc_tests::conformance::{Language, passed_checks};
use hypha_rpc_tests::peers::{chromium, javascript_program, program_or_skip};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::Kind;

#[test]
fn the_login_page_is_usable() {
    let Some(browser) = program_or_skip(chromium()) else {
        return;
    };
    run_blocking(
        Kind::Ours,
        &[Language::JavaScript],
        |server| -> Result<()> {
            let mut program = javascript_program("login_page.mjs")?;
            program.args(["--server-url", &server.url]);
            program.arg("--browser").arg(&browser);
            let program = Process::start("the login page", &program)?;
            passed_checks(&program).map(drop).context("in the browser")
        },
    );
}
