//! Tests of the console of `hypha-server` in a real browser.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use hypha_rpc_tests::conformance::{Host, Language, passed_checks};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{chromium, javascript_program, or_skip, program_or_skip};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, ROOT_TOKEN, Server, Setup};

/// Timeout for the browser to reach the point at which the server restarts.
const LIMIT: Duration = Duration::from_secs(300);

/// Starts the browser with a server and the services in these languages.
fn start(script: &str, server: &Server, services: &[&str]) -> Result<Option<Process>> {
    let Some(browser) = program_or_skip(chromium()) else {
        return Ok(None);
    };
    let mut program = javascript_program(script)?;
    program.args(["--server-url", &server.url, "--token", ROOT_TOKEN]);
    program.args(["--services", &services.join(",")]);
    program.arg("--browser").arg(&browser);
    Process::start("the browser", &program).map(Some)
}

#[test]
fn people_use_services_of_every_language() -> Result<()> {
    let languages = [Language::Python, Language::JavaScript, Language::Rust];
    for language in languages {
        if or_skip(language.installed()).is_none() {
            return Ok(());
        }
    }
    // The console offers the login page only if there is an identity provider.
    let setup = Setup {
        arguments: ["--jwks-url", "http://127.0.0.1:9/keys"]
            .map(str::to_owned)
            .to_vec(),
        ..Setup::restartable()?
    };
    let server = Server::start_as(Kind::Ours, &setup)?;
    let hosts: Vec<Host> = languages
        .into_iter()
        .map(|language| Host::start(language, &server.url, &[]))
        .collect::<Result<_>>()?;
    let services: Vec<&str> = hosts.iter().map(|host| host.service.as_str()).collect();
    let Some(browser) = start("console_page.mjs", &server, &services)? else {
        return Ok(());
    };
    // The last check of the page is that it survives a restart of the server. The test starts the
    // server again only after the page has noticed the loss.
    browser.wait_for_prefix(LIMIT, "RESTART")?;
    drop(server);
    browser.wait_for_prefix(LIMIT, "NOTICED")?;
    let _server = Server::start_as(Kind::Ours, &setup)?;
    passed_checks(&browser).context("in the browser").map(drop)
}

#[test]
fn the_sample_service_is_worth_a_look() -> Result<()> {
    let Some(browser) = program_or_skip(chromium()) else {
        return Ok(());
    };
    if or_skip(Language::JavaScript.installed()).is_none() {
        return Ok(());
    }
    let mut dev = Command::new(executable("hypha")?);
    dev.args(["dev", "--port", "0"]);
    let dev = Process::start("hypha dev", &dev)?;
    let line = dev.wait_for_prefix(LIMIT, "The server runs at ")?;
    let (url, _) = line.split_once(". ").context("no URL")?;
    // This line is printed last, after the sample service is registered.
    let page = format!("  {url}/console/ws/public/service/dev:sample");
    dev.wait_for_prefix(LIMIT, &page)?;
    let mut program = javascript_program("console_sample.mjs")?;
    program.args(["--server-url", url]);
    program.arg("--browser").arg(&browser);
    // Set the variable to the folder `docs/console` to create the pictures of the docs.
    if let Some(folder) = std::env::var_os("HYPHA_CONSOLE_SCREENSHOTS") {
        program.arg("--screenshots").arg(folder);
    }
    let program = Process::start("the browser", &program)?;
    passed_checks(&program).context("in the browser").map(drop)
}

#[test]
fn hostile_services_run_nothing() -> Result<()> {
    if or_skip(Language::JavaScript.installed()).is_none() {
        return Ok(());
    }
    let server = Server::start(Kind::Ours)?;
    let Some(browser) = start("console_hostile.mjs", &server, &[])? else {
        return Ok(());
    };
    passed_checks(&browser).context("in the browser").map(drop)
}
