//! Tests the chapters on Python and JavaScript. Extracts the programs of the chapters, and runs
//! these programs with the Rust examples that the chapters show.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{interop_folder, node, or_skip, python};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::project_root;
use hypha_rpc_tests::servers::{Kind, Server};

const LIMIT: Duration = Duration::from_secs(60);

fn chapter(name: &str) -> Result<String> {
    let path = project_root().join("docs/guide").join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Returns the content of all code blocks that have this info string. Joins the contents.
fn blocks(text: &str, info: &str) -> Result<String> {
    let mut found = String::new();
    // Info string of the code block that contains the current line. `None` outside of a code block.
    let mut around: Option<&str> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), around) {
            (Some(_), Some(_)) => around = None,
            (Some(begin), None) => around = Some(begin),
            (None, Some(block)) if block == info => {
                found.push_str(line);
                found.push('\n');
            }
            (None, _) => {}
        }
    }
    ensure!(!found.is_empty(), "there is no block ```{info}");
    Ok(found)
}

#[test]
fn the_chapters_contain_the_examples() -> Result<()> {
    let text = chapter("python.md")?;
    for (example, fence) in [
        ("microscope/contract.rs", "rust"),
        ("segmenter.rs", "rust,no_run"),
    ] {
        let source = std::fs::read_to_string(project_root().join("examples").join(example))?;
        let shown = format!("```{fence}\n{source}```");
        ensure!(
            text.contains(&shown),
            "docs/guide/python.md does not show examples/{example}"
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Language {
    Python,
    JavaScript,
}

impl Language {
    /// Returns the code blocks that are annotated with `mark` in the chapter on this language.
    /// Fills in the URL and the service id.
    fn program(self, mark: &str, url: &str, service: &str) -> Result<String> {
        let (file, fence) = match self {
            Language::Python => ("python.md", "python"),
            Language::JavaScript => ("javascript.md", "js"),
        };
        let program = blocks(&chapter(file)?, &format!("{fence}{mark}"))?;
        Ok(program
            .replace("http://localhost:9527", url)
            .replace("SERVICE_ID", service))
    }

    fn installed(self) -> Result<()> {
        match self {
            Language::Python => python().map(drop),
            Language::JavaScript => node().map(drop),
        }
    }

    /// Starts a program in this language.
    fn start(self, program: &str) -> Result<Process> {
        let command = match self {
            Language::Python => {
                let mut command = Command::new(python()?);
                command
                    .args(["-u", "-B"])
                    .arg(interop_folder().join("python/snippets.py"));
                command.arg(program);
                command
            }
            Language::JavaScript => {
                let mut command = Command::new(node()?);
                // Run Node.js in the folder that contains its packages. Older versions have no
                // built-in WebSocket.
                command.current_dir(interop_folder().join("js"));
                command.args([
                    "--import",
                    "./snippets.mjs",
                    "--input-type=module",
                    "--eval",
                ]);
                command.arg(program);
                command
            }
        };
        Process::start("the program of the chapter", &command)
    }
}

/// Runs the callers of the chapter against a service in Rust.
fn calls_rust(language: Language, server: Kind) -> Result<()> {
    if or_skip(language.installed()).is_none() {
        return Ok(());
    }
    let Some(server) = Server::shared(server) else {
        return Ok(());
    };
    let mut command = Command::new(executable("microscope")?);
    let microscope = Process::start("microscope", command.env("HYPHA_SERVER_URL", &server.url))?;
    let id = microscope.wait_for_line(LIMIT, |line| {
        line.ends_with(":microscope").then(|| line.to_owned())
    })?;
    let caller = language.start(&language.program("", &server.url, &id)?)?;
    let status = caller.wait(LIMIT)?;
    let transcript = caller.transcript(0);
    // If an assertion fails, `console.assert` prints a message, but the program does not fail.
    let failed = !status.success() || transcript.contains("Assertion failed");
    ensure!(!failed, "{status}\n{transcript}");
    let called_as = caller.stdout().join("\n");
    ensure!(
        called_as.contains("called as"),
        "not run to its end: {transcript}"
    );
    microscope.terminate()?;
    microscope.wait(LIMIT).map(drop)
}

/// Runs the service of the chapter. A caller in Rust calls the service.
fn serves_rust(language: Language, server: Kind) -> Result<()> {
    if or_skip(language.installed()).is_none() {
        return Ok(());
    }
    let Some(server) = Server::shared(server) else {
        return Ok(());
    };
    let service = language.start(&language.program(" service", &server.url, "")?)?;
    let id = service.wait_for_line(LIMIT, |line| {
        line.ends_with(":segmenter").then(|| line.to_owned())
    })?;
    let mut command = Command::new(executable("segmenter")?);
    command.arg(&id).env("HYPHA_SERVER_URL", &server.url);
    let caller = Process::start("segmenter", &command)?;
    let status = caller.wait(LIMIT)?;
    ensure!(status.success(), "{status}\n{}", caller.transcript(0));
    let expected = [
        "mask: [false, true, true]",
        "refused: ",
        "bright: 1",
        "bright: 2",
    ];
    let printed = caller.stdout();
    ensure!(printed.len() == expected.len(), "{printed:?}");
    for (line, expected) in printed.iter().zip(expected) {
        ensure!(
            line.starts_with(expected),
            "`{line}` instead of `{expected}`"
        );
    }
    ensure!(printed[1].contains("there is no image"), "{printed:?}");
    Ok(())
}

macro_rules! tests {
    ($($name:ident: $run:ident, $language:ident, $server:ident;)*) => {
        $(#[test]
        fn $name() -> Result<()> {
            $run(Language::$language, Kind::$server)
        })*
    };
}

tests! {
    python_calls_rust_through_the_python_server: calls_rust, Python, Python;
    python_calls_rust_through_ours: calls_rust, Python, Ours;
    javascript_calls_rust_through_the_python_server: calls_rust, JavaScript, Python;
    javascript_calls_rust_through_ours: calls_rust, JavaScript, Ours;
    rust_calls_python_through_the_python_server: serves_rust, Python, Python;
    rust_calls_python_through_ours: serves_rust, Python, Ours;
    rust_calls_javascript_through_the_python_server: serves_rust, JavaScript, Python;
    rust_calls_javascript_through_ours: serves_rust, JavaScript, Ours;
}
