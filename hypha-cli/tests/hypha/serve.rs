//! Tests `hypha serve` and `hypha dev`.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{Folder, command, interrupt};

#[cfg(unix)]
#[tokio::test]
async fn the_server_has_its_own_options() -> anyhow::Result<()> {
    let mut command = command(&["serve", "--port", "0", "--in-memory"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await?.unwrap_or_default();
    let url = line.strip_prefix("READY ").unwrap_or_default();
    let client = hypha_rpc::connect(url).await?;
    client.disconnect().await;
    interrupt(&child).await?;
    assert!(child.wait().await?.success());
    Ok(())
}

#[tokio::test]
async fn the_help_is_that_of_the_server() -> anyhow::Result<()> {
    let output = command(&["serve", "--help"]).output().await?;
    let help = String::from_utf8(output.stdout)?;
    for part in [
        "Usage: hypha serve ",
        "--redis-uri",
        "--in-memory",
        "Example",
    ] {
        assert!(help.contains(part), "`{part}` is not in\n{help}");
    }
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn the_commands_that_dev_prints_work() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let mut dev = command(&["dev", "--port", "0"]);
    let mut child = dev.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut url = String::new();
    let mut commands = Vec::new();
    let mut shows_token = false;
    while let Some(line) = lines.next_line().await? {
        let token = line.trim();
        shows_token |= token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(value) = line.trim().strip_prefix("export HYPHA_SERVER_URL=") {
            url = value.to_owned();
        }
        if let Some(words) = line.trim().strip_prefix("hypha ") {
            commands.push(words.to_owned());
        }
        if line.contains("print(") {
            break;
        }
    }
    assert!(shows_token, "no root token");
    let mut results = Vec::new();
    for words in &commands {
        let words: Vec<&str> = words.split(' ').collect();
        let mut command = command(&words);
        command
            .env("HYPHA_SERVER_URL", &url)
            .current_dir(folder.path(""));
        let output = command.output().await?;
        assert!(output.status.success(), "{words:?}: {output:?}");
        results.push(String::from_utf8(output.stdout)?);
    }
    assert!(results[0].contains("public/dev:sample"), "{}", results[0]);
    assert!(
        results[1].contains("count(to: integer = 5)"),
        "{}",
        results[1]
    );
    assert_eq!(results[2..6], ["3.0\n", "1\n2\n3\n", "done\n", ""]);
    assert!(
        results[6].starts_with("array float64 [128, 128], min "),
        "{}",
        results[6]
    );
    assert!(
        results[1].contains(r#"hypha call public/sample.move_to 'target={"x":1.5,"y":1.5}'"#),
        "{}",
        results[1]
    );
    assert!(std::fs::read(folder.path("image.npy"))?.starts_with(b"\x93NUMPY"));
    interrupt(&child).await?;
    assert!(child.wait().await?.success());
    Ok(())
}
