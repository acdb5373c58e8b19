//! Tests `hypha schema`.

use hypha_schema::{Description, Format};

use crate::support::{Host, command, error, output};

async fn schema(host: &Host, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
    host.run(&[&["schema"], arguments].concat()).await
}

async fn hypha(arguments: &[&str]) -> anyhow::Result<std::process::Output> {
    output(command(arguments), b"").await
}

#[tokio::test]
async fn formats_equal_the_output_of_the_library() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let live = Description::fetch(&host.client, &host.id).await?;
    for format in Format::ALL {
        let arguments = ["--service", &host.id, "--format", format.as_str()];
        let output = schema(&host, &arguments).await?;
        assert!(output.status.success(), "{format}: {output:?}");
        assert_eq!(
            String::from_utf8(output.stdout)?,
            live.write(format),
            "{format}"
        );
    }
    let output = schema(&host, &["--service", &host.id]).await?;
    let functions: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(functions[0]["function"]["name"], "divide");
    let error = String::from_utf8(output.stderr)?;
    assert!(
        error.starts_with(
            "`count` is omitted: argument `on_number` needs a function, which JSON cannot hold\n"
        ),
        "{error}"
    );
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn an_empty_variable_counts_as_not_set() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let empty = ["HYPHA_TOKEN", "HYPHA_WORKSPACE", "HYPHA_CONTEXT"].map(|name| (name, ""));
    let mut command = host.command(&["schema", "--service", &host.id]);
    command.envs(empty);
    let output = output(command, b"").await?;
    assert!(output.status.success(), "{output:?}");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_description_is_written_to_a_file() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let file = std::env::temp_dir().join(format!("hypha-schema-{}.rs", std::process::id()));
    let path = file.display().to_string();
    let arguments = ["--service", &host.id, "--format", "rust", "--output", &path];
    let output = schema(&host, &arguments).await?;
    let written = std::fs::read_to_string(&file);
    std::fs::remove_file(&file)?;
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    assert!(written?.contains("pub trait Desk {"));

    let output = schema(
        &host,
        &["--service", &host.id, "--output", "/nowhere/at/all"],
    )
    .await?;
    let said = error(&output, 1)?;
    assert!(
        said.starts_with("hypha: cannot write /nowhere/at/all: "),
        "{said}"
    );
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn errors_are_one_line_with_their_causes() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let said = error(&schema(&host, &["--service", "nobody"]).await?, 4)?;
    assert!(
        said.starts_with("hypha: cannot describe `nobody`: "),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");

    let url = host.server.url().to_owned();
    let socket = url.replacen("http", "ws", 1);
    host.stop().await;
    // The server has stopped, so nothing listens on the port.
    let output = hypha(&["schema", "--server-url", &url, "--service", "desk"]).await?;
    let said = error(&output, 3)?;
    assert!(
        said.starts_with(&format!("hypha: cannot reach {socket}/ws: ")),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    Ok(())
}

#[tokio::test]
async fn wrong_arguments_exit_with_2() -> anyhow::Result<()> {
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
