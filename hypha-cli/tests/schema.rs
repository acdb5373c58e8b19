//! Tests of the program `hypha schema`, with a server in this process.

use std::process::Output;

use hypha_rpc::prelude::*;
use hypha_schema::{Description, Format};
use hypha_server::Server;
use tokio::process::Command;

struct Desk;

/// Arithmetic for demonstrations.
#[hypha_service(id = "desk", visibility = "public")]
impl Desk {
    /// Divide one number by another.
    pub(crate) async fn divide(&self, a: f64, #[hypha(default = 1.0)] b: f64) -> f64 {
        a / b
    }

    /// Count, and report each number.
    pub(crate) async fn count(&self, _on_number: Callback<u32>) {}
}

/// A server, and a client that registers the service `id`.
struct Host {
    server: Server,
    client: Client,
    id: String,
}

impl Host {
    async fn start() -> anyhow::Result<Host> {
        let server = Server::builder().bind("127.0.0.1:0").start().await?;
        let client = hypha_rpc::connect(server.url()).await?;
        let id = client.register_service(Desk).await?.id;
        Ok(Host { server, client, id })
    }

    async fn schema(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let url = ["schema", "--server-url", self.server.url()];
        hypha(&[&url, arguments].concat()).await
    }

    async fn stop(self) {
        self.client.disconnect().await;
        self.server.shutdown().await;
    }
}

/// Runs the program without the environment variables that set its options.
async fn hypha(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypha"));
    for variable in ["HYPHA_SERVER_URL", "HYPHA_TOKEN", "HYPHA_WORKSPACE"] {
        command.env_remove(variable);
    }
    Ok(command.args(arguments).output().await?)
}

#[tokio::test]
async fn every_format_equals_the_output_of_the_library() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let live = Description::fetch(&host.client, &host.id).await?;
    for format in Format::ALL {
        let arguments = ["--service", &host.id, "--format", format.as_str()];
        let output = host.schema(&arguments).await?;
        assert!(output.status.success(), "{format}: {output:?}");
        assert_eq!(
            String::from_utf8(output.stdout)?,
            live.write(format),
            "{format}"
        );
    }
    let output = host.schema(&["--service", &host.id]).await?;
    let functions: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(functions[0]["function"]["name"], "divide");
    assert_eq!(functions[1], serde_json::Value::Null);
    let error = String::from_utf8(output.stderr)?;
    assert_eq!(
        error,
        "`count` is left out: argument `_on_number` needs a function, which JSON cannot hold\n"
    );
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_empty_variable_counts_as_not_set() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let empty = ["HYPHA_SERVER_URL", "HYPHA_TOKEN", "HYPHA_WORKSPACE"].map(|name| (name, ""));
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypha"));
    command.args(["schema", "--service", &host.id]).envs(empty);
    command.env("HYPHA_SERVER_URL", host.server.url());
    let output = command.output().await?;
    assert!(output.status.success(), "{output:?}");

    // The default URL may be that of a running server, so the test reads the help, which shows the
    // value of each variable.
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypha"));
    let output = command.args(["schema", "--help"]).envs(empty);
    let help = String::from_utf8(output.output().await?.stdout)?;
    assert!(help.contains("[default: http://localhost:9527]"), "{help}");
    assert!(!help.contains("[env: "), "{help}");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_description_goes_into_a_file() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let file = std::env::temp_dir().join(format!("hypha-schema-{}.rs", std::process::id()));
    let path = file.display().to_string();
    let arguments = ["--service", &host.id, "--format", "rust", "--output", &path];
    let output = host.schema(&arguments).await?;
    let written = std::fs::read_to_string(&file);
    std::fs::remove_file(&file)?;
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    assert!(written?.contains("pub trait Desk {"));

    let output = host
        .schema(&["--service", &host.id, "--output", "/nowhere/at/all"])
        .await?;
    let said = error(&output, 1)?;
    assert!(
        said.starts_with("hypha: cannot write /nowhere/at/all: "),
        "{said}"
    );
    host.stop().await;
    Ok(())
}

/// Checks the exit code and that the standard output is empty, and returns the standard error.
fn error(output: &Output, code: i32) -> anyhow::Result<String> {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    Ok(String::from_utf8(output.stderr.clone())?)
}

#[tokio::test]
async fn errors_are_one_line_with_their_causes() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let said = error(&host.schema(&["--service", "nobody"]).await?, 1)?;
    assert!(
        said.starts_with("hypha: cannot describe `nobody`: "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");

    let url = host.server.url().to_owned();
    let socket = url.replacen("http", "ws", 1);
    host.stop().await;
    // The port is free now, so nothing listens on it.
    let output = hypha(&["schema", "--server-url", &url, "--service", "desk"]).await?;
    let said = error(&output, 1)?;
    assert!(
        said.starts_with(&format!("hypha: cannot reach {socket}/ws: ")),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    Ok(())
}

#[tokio::test]
async fn wrong_arguments_have_another_exit_code() -> anyhow::Result<()> {
    let output = hypha(&["schema", "--service", "desk", "--format", "cobol"]).await?;
    let said = error(&output, 2)?;
    assert!(
        said.contains("json, openapi, typescript, python, rust"),
        "{said}"
    );
    let output = hypha(&["schema", "--help"]).await?;
    let help = String::from_utf8(output.stdout)?;
    assert!(output.status.success());
    for part in [
        "Example:",
        "--server-url",
        "--token",
        "--workspace",
        "--service",
        "--format",
        "--output",
    ] {
        assert!(help.contains(part), "`{part}` is not in\n{help}");
    }
    Ok(())
}
