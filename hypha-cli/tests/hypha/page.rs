//! Tests the commands of `docs/operate/command.md`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hypha_rpc::Client;
use hypha_rpc::workspace::{Permission, TokenConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, Command};

use crate::support::{Folder, ROOT_TOKEN, command, interrupt};

const PAGE: &str = include_str!("../../../docs/operate/command.md");

/// Returns the code blocks of the page that a shell can run.
fn blocks() -> Vec<&'static str> {
    let parts = PAGE.split("```sh\n").skip(1);
    parts
        .filter_map(|part| part.split_once("\n```").map(|(block, _)| block))
        .collect()
}

/// Sets the environment variables that the page mentions.
fn set_variables(command: &mut Command, folder: &Folder, url: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_hypha"));
    let mut path = program
        .parent()
        .map(|folder| folder.as_os_str().to_owned())
        .unwrap_or_default();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command
        .env("PATH", path)
        .env("HYPHA_SERVER_URL", url)
        .env("HYPHA_TOKEN", ROOT_TOKEN);
    command
        .env("HYPHA_CONFIG", folder.path("config.json"))
        .current_dir(folder.path(""));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
}

/// Starts one command that does not end by itself.
fn start(line: &str, folder: &Folder, url: &str) -> anyhow::Result<Child> {
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let mut command = command(&words);
    set_variables(&mut command, folder, url);
    Ok(command.spawn()?)
}

async fn next_line(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> anyhow::Result<String> {
    Ok(lines.next_line().await?.unwrap_or_default())
}

/// Stops a command with Ctrl-C.
async fn stop(mut child: Child) -> anyhow::Result<()> {
    interrupt(&child).await?;
    anyhow::ensure!(child.wait().await?.success(), "Ctrl-C is no failure");
    Ok(())
}

/// Logs in as a user, as the login page would do. The workspace of the user exists until the
/// returned client disconnects.
async fn log_in(line: &str, folder: &Folder, url: &str) -> anyhow::Result<Client> {
    let user = hypha_rpc::connect(url).await?;
    let config = TokenConfig {
        permission: Some(Permission::Admin.into()),
        ..TokenConfig::default()
    };
    let token = user.manager().await?.generate_token(Some(config)).await?;
    let mut child = start(line, folder, url)?;
    let stderr = child.stderr.take().map(BufReader::new);
    let mut notes = stderr.ok_or_else(|| anyhow::anyhow!("no output"))?.lines();
    let note = next_line(&mut notes).await?;
    let (_, key) = note.split_once("key=").unwrap_or_default();
    let login = user.get_service("public/hypha-login").await?;
    let args = hypha_rpc::args!(key = key, token = &token);
    login.call::<hypha_rpc::Value>("report", args).await?;
    let output = child.wait_with_output().await?;
    anyhow::ensure!(output.status.success(), "{output:?}");
    Ok(user)
}

/// Waits until the disconnected client has reconnected.
async fn is_back(url: &str) -> anyhow::Result<()> {
    let client = hypha_rpc::connect(url).await?;
    while client.get_service("public/sample").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.disconnect().await;
    Ok(())
}

#[tokio::test]
async fn every_command_of_the_page_works() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let blocks = blocks();
    assert_eq!(blocks[0], "hypha dev");
    let dev = format!("{} --port 0 --root-token {ROOT_TOKEN}", blocks[0]);
    let mut dev = start(&dev, &folder, "")?;
    let stdout = dev.stdout.take().map(BufReader::new);
    let mut lines = stdout.ok_or_else(|| anyhow::anyhow!("no output"))?.lines();
    let line = next_line(&mut lines).await?;
    let url = line
        .strip_prefix("The server runs at ")
        .and_then(|rest| rest.split(". ").next());
    let url = url
        .ok_or_else(|| anyhow::anyhow!("no URL in `{line}`"))?
        .to_owned();
    let mut user = None;
    for block in &blocks[1..] {
        match *block {
            line if line.starts_with("hypha login") => {
                user = Some(log_in(line, &folder, &url).await?);
            }
            line if line.starts_with("hypha serve") => {
                let mut child = start(&line.replace("8000", "0"), &folder, &url)?;
                let stdout = child.stdout.take().map(BufReader::new);
                let mut lines = stdout.ok_or_else(|| anyhow::anyhow!("no output"))?.lines();
                assert!(next_line(&mut lines).await?.starts_with("READY "));
                stop(child).await?;
                assert!(folder.path("data").is_dir());
            }
            "hypha watch" => {
                let mut child = start("hypha watch", &folder, &url)?;
                let stderr = child.stderr.take().map(BufReader::new);
                let mut notes = stderr.ok_or_else(|| anyhow::anyhow!("no output"))?.lines();
                assert_eq!(next_line(&mut notes).await?, "watching ws-user-root");
                stop(child).await?;
            }
            block => {
                // Run all commands of a block in one shell, except for commands that keep running.
                let (stays, ends): (Vec<&str>, Vec<&str>) =
                    block.lines().partition(|line| line.ends_with(" --watch"));
                let mut shell = Command::new("bash");
                shell.args(["-euo", "pipefail", "-c", &ends.join("\n")]);
                set_variables(&mut shell, &folder, &url);
                if block.contains("--context lab") {
                    // Remove the variable, so that the command uses the token of the context.
                    shell.env_remove("HYPHA_TOKEN");
                }
                let output = shell.output().await?;
                assert!(output.status.success(), "{block}: {output:?}");
                if block.contains("hypha kick") {
                    is_back(&url).await?;
                }
                for line in stays {
                    let mut child = start(line, &folder, &url)?;
                    let stdout = child.stdout.take().map(BufReader::new);
                    let mut lines = stdout.ok_or_else(|| anyhow::anyhow!("no output"))?.lines();
                    assert!(next_line(&mut lines).await?.starts_with("added "));
                    stop(child).await?;
                }
            }
        }
    }
    drop(user);
    stop(dev).await
}
