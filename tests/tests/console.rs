//! Tests of the console of `hypha-server` in a real browser, and of the code that it shows.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proc_macro2::{TokenStream, TokenTree};
use serde_json::{Map, Value as Json, json};

use hypha_rpc_tests::conformance::{Host, Language, passed_checks};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{
    chromium, javascript_program, or_skip, program_or_skip, python_program,
};
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

/// A temporary folder with the programs `curl` and `hypha`, which print their arguments.
struct Stubs(PathBuf);

impl Stubs {
    fn new() -> Result<Stubs> {
        let name = format!("hypha-console-code-{}", std::process::id());
        let stubs = Stubs(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&stubs.0)?;
        for name in ["curl", "hypha"] {
            let path = stubs.0.join(name);
            std::fs::write(&path, "#!/bin/sh\nprintf 'RUN\\0'\nprintf '%s\\0' \"$@\"\n")?;
            let status = Command::new("chmod").arg("+x").arg(&path).status()?;
            ensure!(status.success(), "chmod fails");
        }
        Ok(stubs)
    }

    /// A file that hostile names try to create.
    fn canary(&self) -> PathBuf {
        self.0.join("canary")
    }

    /// Runs code in a shell, and returns the arguments of the only program that it runs.
    fn run(&self, shell: &str, code: &str) -> Result<Option<Vec<String>>> {
        let path = format!("{}:{}", self.0.display(), std::env::var("PATH")?);
        let output = Command::new(shell)
            .args(["-c", code])
            .env("PATH", path)
            .current_dir(&self.0)
            .output()?;
        ensure!(output.status.success(), "{code}\n{output:?}");
        let text = String::from_utf8(output.stdout)?;
        let mut words = text.split_terminator('\0').map(str::to_owned);
        let first = words.next();
        let words: Vec<String> = words.collect();
        ensure!(
            first.as_deref().is_none_or(|first| first == "RUN")
                && !words.iter().any(|it| it == "RUN"),
            "{code}\n{text}"
        );
        Ok(first.map(|_| words))
    }
}

impl Drop for Stubs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Checks the arguments of `hypha`.
fn check_command(call: &Json, words: &[String]) -> Result<()> {
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|it| *it != "--")
        .collect();
    let [_, option, server, target, rest @ ..] = words.as_slice() else {
        anyhow::bail!("{words:?}");
    };
    let text = |key: &str| call[key].as_str().unwrap_or_default();
    let expected = format!(
        "{}/{}.{}",
        text("workspace"),
        text("service"),
        text("method")
    );
    ensure!(
        (*option, *server, *target) == ("--server-url", text("server"), expected.as_str()),
        "{words:?}"
    );
    let value = |word: &str| -> Result<Json> {
        match word.strip_prefix('@') {
            Some(file) => Ok(format!("file {}", file.trim_start_matches("./")).into()),
            None => Ok(serde_json::from_str(word)?),
        }
    };
    let mut args = call["args"].clone();
    if let Json::Object(args) = &mut args {
        // The command supplies functions itself.
        args.retain(|_, value| value != "function");
    }
    let found: Json = match &args {
        Json::Array(_) => rest.iter().map(|word| value(word)).collect::<Result<_>>()?,
        _ => {
            let pairs = rest.iter().map(|word| {
                let (name, word) = word.split_once('=').context("no name")?;
                Ok((name.to_owned(), value(word)?))
            });
            Json::Object(pairs.collect::<Result<Map<_, _>>>()?)
        }
    };
    ensure!(is_equal(&found, &args), "{found} is not {args}");
    Ok(())
}

/// Returns whether two values are equal, if `1` equals `1.0`.
fn is_equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| is_equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Checks the arguments of `curl`.
fn check_curl(call: &Json, words: &[String]) -> Result<()> {
    let url = words.iter().find(|word| word.starts_with("http://"));
    let url = url.context("no URL")?;
    let (_, path) = url.split_once("9527/").context("no path")?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let functions = query
        .split_terminator('&')
        .map(|it| it.strip_prefix("_callback="));
    let functions: Vec<_> = functions.map(|it| it.map(decoded)).collect();
    let parts: Vec<String> = path.split('/').map(decoded).collect();
    let text = |key: &str| call[key].as_str().unwrap_or_default();
    let expected = [
        text("workspace"),
        "services",
        text("service"),
        text("method"),
    ];
    ensure!(parts == expected, "{parts:?}");
    let has_dots = parts.iter().any(|part| part == "." || part == "..");
    ensure!(has_dots == words.iter().any(|word| word == "--path-as-is"));
    let body: Json = serde_json::from_str(words.last().context("no body")?)?;
    let mut args = call["args"].clone();
    if let Json::Object(args) = &mut args {
        let is_function =
            |(name, value): (&String, &Json)| (value == "function").then(|| Some(name.clone()));
        let wanted: Vec<_> = args.iter().filter_map(is_function).collect();
        ensure!(functions == wanted, "{functions:?} are not {wanted:?}");
        args.retain(|_, value| value != "function");
        for value in args.values_mut() {
            if let Some(name) = value.as_str().and_then(|text| text.strip_prefix("file ")) {
                *value = format!("<{name}>").into();
            }
        }
    }
    ensure!(is_equal(&body, &args), "{body} is not {args}");
    Ok(())
}

fn decoded(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Words in all Rust code of the console.
const RUST_WORDS: &str = "use hypha_rpc prelude Value args let mut server service connect await \
    get_service call push_named result items RemoteStream while Some item try_next println \
    std fs read serde_json json null true false Callback new value async move";

/// Checks that Rust code contains the texts of a call only as literals and names of arguments.
fn check_rust(call: &Json, code: &str) -> Result<()> {
    let mut names: BTreeSet<String> = RUST_WORDS.split(' ').map(str::to_owned).collect();
    if let Json::Object(args) = &call["args"] {
        names.extend(args.keys().cloned());
    }
    let mut found = Vec::new();
    let tokens: TokenStream = code.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut open = vec![tokens];
    while let Some(tokens) = open.pop() {
        for token in tokens {
            match token {
                TokenTree::Group(group) => open.push(group.stream()),
                TokenTree::Ident(ident) => {
                    ensure!(names.contains(&ident.to_string()), "{ident}");
                }
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        found.push(text.value());
                    }
                }
                TokenTree::Punct(_) => {}
            }
        }
    }
    let text = |key: &str| call[key].as_str().unwrap_or_default();
    let id = format!("{}/{}", text("workspace"), text("service"));
    for expected in [text("server"), &id, text("method")] {
        ensure!(
            found.iter().any(|it| it == expected),
            "{expected}: {found:?}"
        );
    }
    Ok(())
}

/// Runs the Python code of all calls.
fn run_python(codes: &[&Json]) -> Result<Vec<Json>> {
    let mut program = python_program("console_code.py")?;
    let program = program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = program.spawn()?;
    let mut input = program.stdin.take().context("no input")?;
    let codes = serde_json::to_vec(codes)?;
    let writer = std::thread::spawn(move || input.write_all(&codes));
    let output = program.wait_with_output()?;
    writer
        .join()
        .map_err(|_| anyhow::anyhow!("the writer panics"))??;
    ensure!(output.status.success(), "{output:?}");
    let lines = std::str::from_utf8(&output.stdout)?.lines();
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Checks the calls that a program has made: only this one.
fn check_ran(call: &Json, ran: &Json, args: &Json) -> Result<()> {
    let text = |key: &str| call[key].as_str().unwrap_or_default();
    let id = format!("{}/{}", text("workspace"), text("service"));
    let path: Vec<&str> = text("method").split('.').collect();
    ensure!(
        ran["ids"] == json!([id])
            && ran["calls"]
                .as_array()
                .is_some_and(|calls| calls.len() == 1)
            && ran["calls"][0]["path"] == json!(path)
            && is_equal(args, &ran["calls"][0]["args"]),
        "{ran}"
    );
    Ok(())
}

fn check_code(stubs: &Stubs, row: &Json, python: &Json) -> Result<()> {
    let (call, code) = (&row["call"], &row["code"]);
    let is_list = call["args"].is_array();
    let mut by_name = call["args"].clone();
    if !is_list {
        by_name["_rkwargs"] = true.into();
        by_name = json!([by_name]);
    }
    check_ran(call, &row["ran"], &by_name).context("JavaScript")?;
    let mut python = python.clone();
    if !is_list {
        let named = python["calls"][0]["kwargs"].take();
        python["calls"][0]["args"] = named;
    }
    check_ran(call, &python, &call["args"]).context("Python")?;
    check_rust(call, code["Rust"].as_str().unwrap_or_default()).context("Rust")?;
    for shell in ["sh", "bash"] {
        let run = |language: &str| stubs.run(shell, code[language].as_str().unwrap_or_default());
        if let Some(words) = run("hypha")? {
            check_command(call, &words).context("hypha")?;
        }
        check_curl(call, &run("curl")?.context("curl does not run")?).context("curl")?;
    }
    ensure!(!Path::exists(&stubs.canary()), "a name is run as code");
    Ok(())
}

#[test]
fn code_calls_what_it_shows() -> Result<()> {
    for language in [Language::Python, Language::JavaScript] {
        if or_skip(language.installed()).is_none() {
            return Ok(());
        }
    }
    let stubs = Stubs::new()?;
    let output = javascript_program("console_code.mjs")?
        .arg(stubs.canary())
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let rows = std::str::from_utf8(&output.stdout)?.lines();
    let rows: Vec<Json> = rows.map(serde_json::from_str).collect::<Result<_, _>>()?;
    let codes: Vec<&Json> = rows.iter().map(|row| &row["code"]["Python"]).collect();
    let python = run_python(&codes)?;
    ensure!(
        rows.len() == python.len() && rows.len() > 400,
        "{}",
        rows.len()
    );
    for (row, python) in rows.iter().zip(&python) {
        check_code(&stubs, row, python).with_context(|| format!("{row:#}"))?;
    }
    // The command carries ordinary names.
    let commands = rows.iter().filter(|row| {
        let code = row["code"]["hypha"].as_str().unwrap_or_default();
        code.starts_with("hypha call ")
    });
    let count = commands.count();
    ensure!(count > rows.len() / 4, "{count} of {}", rows.len());
    Ok(())
}
