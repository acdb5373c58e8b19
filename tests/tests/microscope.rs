//! Tests the example `microscope`. Clients in Rust, Python and JavaScript and a client over HTTP
//! use the example.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use hypha_rpc_tests::cases::run;
use hypha_rpc_tests::conformance::{Language, passed_checks};
use hypha_rpc_tests::executables::executable;
use hypha_rpc_tests::peers::{javascript_program, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server, http_get_with};

const LIMIT: Duration = Duration::from_secs(60);
/// Number of checks that a peer makes.
const CHECKS: usize = 7;

/// A running microscope.
struct Microscope {
    process: Process,
    /// Id of the service of the microscope.
    id: String,
    /// Token of the operator, and the workspace to which the token gives access.
    token: String,
    workspace: String,
    /// Client that keeps the workspace in existence.
    operator: hypha_rpc::Client,
}

async fn start(server: &Server) -> Result<Microscope> {
    let operator = hypha_rpc::connect(&server.url).await?;
    let manager = operator.manager().await?;
    let token = manager.generate_token(None).await?;
    let (user, workspace) = (operator.user().id.clone(), operator.workspace());
    let mut command = Command::new(executable("microscope")?);
    command.arg(user).env("HYPHA_SERVER_URL", &server.url);
    let process = Process::start("microscope", &command)?;
    let id = process.wait_for_line(LIMIT, |line| {
        line.ends_with(":microscope").then(|| line.to_owned())
    })?;
    Ok(Microscope {
        process,
        id,
        token,
        workspace,
        operator,
    })
}

impl Microscope {
    async fn stop(self) -> Result<()> {
        self.operator.disconnect().await;
        self.process.terminate()?;
        let status = self.process.wait(LIMIT)?;
        ensure!(status.success(), "{status}\n{}", self.process.transcript(0));
        Ok(())
    }
}

async fn called(server: &Server, mut command: Command) -> Result<()> {
    let microscope = start(server).await?;
    command
        .args(["--server-url", &server.url, "--service", &microscope.id])
        .args(["--token", &microscope.token])
        .args(["--workspace", &microscope.workspace]);
    let process = Process::start("the caller", &command)?;
    let passed = tokio::task::spawn_blocking(move || passed_checks(&process)).await??;
    ensure!(passed == CHECKS, "{passed} checks");
    microscope.stop().await
}

fn from_python(kind: Kind) {
    run(kind, &[Language::Python], async |server| {
        called(server, python_program("microscope_peer.py")?).await
    });
}

fn from_javascript(kind: Kind) {
    run(kind, &[Language::JavaScript], async |server| {
        called(server, javascript_program("microscope_peer.mjs")?).await
    });
}

fn from_rust(kind: Kind) {
    run(kind, &[], async |server| {
        let microscope = start(server).await?;
        let mut command = Command::new(executable("microscope_caller")?);
        command.arg(&microscope.id);
        command.env("HYPHA_SERVER_URL", &server.url);
        let operated = command.env("HYPHA_TOKEN", &microscope.token);
        let caller = Process::start("the caller", operated)?;
        let status = caller.wait(LIMIT)?;
        ensure!(status.success(), "{status}\n{}", caller.transcript(0));
        let expected = "\
image: [2, 3] [500, 500, 500, 500, 500, 500]
refused: exposure above 10
live: 1
live: 2
live: 3
progress: 1 of 3
progress: 2 of 3
progress: 3 of 3
received: 144 of 144 bytes
ended: the acquisition was cancelled after 2 images
sent: 48 of 48 bytes
background: 48 bytes, then 0
moved: Position { x: 1.0, y: 2.0 }";
        let printed = caller.stdout().join("\n");
        ensure!(printed == expected, "{printed}");
        // The log also shows that the microscope has reported the progress of the transfer.
        let log = microscope.process.transcript(0);
        ensure!(log.contains("the caller has 144 of 144 bytes"), "{log}");
        microscope.stop().await
    });
}

/// Uses the microscope over plain HTTP, like a browser or a program without a client library.
fn over_http(kind: Kind) {
    run(kind, &[], async |server| {
        let microscope = start(server).await?;
        let (workspace, service) = microscope.id.split_once('/').unwrap_or_default();
        let base = format!("/{workspace}/services/{service}");
        let get = |path: &str, accept: &str| {
            http_get_with(
                &server.url,
                &format!("{base}/{path}"),
                &[("Accept", accept)],
            )
        };
        for (accept, begin) in [
            ("image/png", &b"\x89PNG\r\n"[..]),
            ("application/x-npy", &b"\x93NUMPY"[..]),
        ] {
            let image = get("snap?exposure=0.5", accept)?;
            let body = String::from_utf8_lossy(&image.body);
            ensure!(image.status == 200, "{accept}: {body}");
            ensure!(image.header("content-type") == Some(accept), "{image:?}");
            ensure!(image.body.starts_with(begin), "{accept}: {body}");
        }
        let stack = get("acquire?images=2", "*/*")?;
        let body = String::from_utf8_lossy(&stack.body);
        ensure!(
            stack.status == 200 && stack.body == [100, 0].repeat(48),
            "{body}"
        );
        let name = stack.header("content-disposition");
        ensure!(
            name == Some("attachment; filename=\"stack.raw\""),
            "{name:?}"
        );
        let refused = get("snap?exposure=60", "image/png")?;
        let body = String::from_utf8_lossy(&refused.body);
        ensure!(
            refused.status == 400 && body.contains("from 0 to 10"),
            "{body}"
        );
        microscope.stop().await
    });
}

macro_rules! tests {
    ($($name:ident: $run:ident, $server:ident;)*) => {
        $(#[test]
        fn $name() {
            $run(Kind::$server);
        })*
    };
}

tests! {
    from_python_on_our_server: from_python, Ours;
    from_python_on_the_python_server: from_python, Python;
    from_javascript_on_our_server: from_javascript, Ours;
    from_javascript_on_the_python_server: from_javascript, Python;
    from_rust_on_our_server: from_rust, Ours;
    from_rust_on_the_python_server: from_rust, Python;
    over_http_on_our_server: over_http, Ours;
}
