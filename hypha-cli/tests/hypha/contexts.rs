//! Tests `hypha login`, `logout`, `whoami` and `context`.

use std::process::Stdio;

use hypha_rpc::workspace::{Permission, TokenConfig};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::{Host, ROOT_TOKEN, error, output};

/// Returns the program with the contexts of the host, and without the variable of the server.
fn command(host: &Host, arguments: &[&str]) -> Command {
    let mut command = host.command(arguments);
    command.env_remove("HYPHA_SERVER_URL");
    command
}

async fn stdout(host: &Host, arguments: &[&str]) -> anyhow::Result<String> {
    let output = output(command(host, arguments), b"").await?;
    anyhow::ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn contexts_are_added_chosen_and_removed() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let url = host.server.url();
    let none = stdout(&host, &["context", "ls"]).await?;
    assert_eq!(none, "  NAME  SERVER  WORKSPACE  TOKEN\n");
    stdout(
        &host,
        &[
            "context",
            "add",
            "lab",
            "--server-url",
            url,
            "--token",
            ROOT_TOKEN,
        ],
    )
    .await?;
    stdout(
        &host,
        &[
            "context",
            "add",
            "away",
            "--server-url",
            "http://127.0.0.1:1",
        ],
    )
    .await?;
    let list = stdout(&host, &["context", "ls"]).await?;
    assert!(list.contains(&format!("*  lab   {url}")), "{list}");
    assert!(!list.contains(ROOT_TOKEN), "{list}");
    let json: Json = serde_json::from_str(&stdout(&host, &["context", "ls", "--json"]).await?)?;
    assert_eq!(
        (&json[1]["name"], &json[1]["current"]),
        (&"lab".into(), &true.into())
    );

    let who: Json = serde_json::from_str(&stdout(&host, &["whoami", "--json"]).await?)?;
    assert_eq!(
        (&who["user"]["id"], &who["context"]),
        (&"root".into(), &"lab".into())
    );
    let text = stdout(&host, &["whoami"]).await?;
    assert!(text.contains("User:") && text.contains(" root\n"), "{text}");
    // Another server does not get the token of the context.
    let other = [
        "whoami",
        "--json",
        "--server-url",
        &url.replace("127.0.0.1", "localhost"),
    ];
    let who: Json = serde_json::from_str(&stdout(&host, &other).await?)?;
    assert_eq!(who["user"]["is_anonymous"], true);

    let away = output(command(&host, &["whoami", "--context", "away"]), b"").await?;
    assert!(error(&away, 3)?.contains("127.0.0.1:1"));
    let none = output(command(&host, &["whoami", "--context", "none"]), b"").await?;
    let said = "hypha: there is no context `none` (contexts: away, lab)\n";
    assert_eq!(error(&none, 4)?, said);
    stdout(&host, &["context", "use", "away"]).await?;
    let list = stdout(&host, &["context", "ls"]).await?;
    assert!(list.contains("*  away"), "{list}");
    stdout(&host, &["context", "rm", "away"]).await?;
    let gone = output(command(&host, &["context", "rm", "away"]), b"").await?;
    assert!(error(&gone, 4)?.contains("(contexts: lab)"));
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_login_stores_the_token_for_the_user_only() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let url = host.server.url();
    let config = TokenConfig {
        permission: Some(Permission::Admin.into()),
        ..TokenConfig::default()
    };
    let token = host
        .client
        .manager()
        .await?
        .generate_token(Some(config))
        .await?;
    let arguments = ["login", "--server-url", url, "--context", "lab"];
    let mut program = command(&host, &arguments);
    program
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    let mut child = program.spawn()?;
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next_line().await?.unwrap_or_default();
    let page = line.strip_prefix("Log in at ").unwrap_or_default();
    let (_, key) = page.split_once("key=").unwrap_or_default();
    // Send the same report as the login page.
    let login = host.client.get_service("public/hypha-login").await?;
    let args = hypha_rpc::args!(key = key, token = &token);
    login.call::<hypha_rpc::Value>("report", args).await?;
    let output_ = child.wait_with_output().await?;
    assert!(output_.status.success(), "{output_:?}");
    let said = String::from_utf8(output_.stdout)?;
    assert!(
        said.starts_with("Logged in as ") && said.ends_with("(context lab)\n"),
        "{said}"
    );

    let config = host.folder.path("config.json");
    let written = std::fs::read_to_string(&config)?;
    assert!(written.contains(&token));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&config)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let who: Json = serde_json::from_str(&stdout(&host, &["whoami", "--json"]).await?)?;
    assert_eq!(who["workspace"], host.client.workspace().as_str());

    let said = stdout(&host, &["logout", "--revoke"]).await?;
    assert!(said.starts_with(&format!("Logged out of {url}")), "{said}");
    assert!(!std::fs::read_to_string(&config)?.contains(&token));
    let refused = output(command(&host, &["whoami", "--token", &token]), b"").await?;
    assert!(error(&refused, 5)?.contains("revoked"), "{refused:?}");
    assert_eq!(
        stdout(&host, &["logout"]).await?,
        "Context lab has no token\n"
    );
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_token_from_the_standard_input_is_checked() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let login = ["login", "--with-token"];
    let refused = output(host.command(&login), b"nonsense\n").await?;
    assert!(error(&refused, 5)?.contains("oken"), "{refused:?}");
    assert!(!host.folder.path("config.json").exists());
    let accepted = output(host.command(&login), format!("{ROOT_TOKEN}\n").as_bytes()).await?;
    let said = String::from_utf8(accepted.stdout)?;
    let name = host.server.url().trim_start_matches("http://");
    assert_eq!(
        said,
        format!("Logged in as root in ws-user-root (context {name})\n")
    );
    // A new context gets the server of the environment variable.
    let lab = host.command(&["login", "--with-token", "--context", "lab"]);
    let accepted = output(lab, ROOT_TOKEN.as_bytes()).await?;
    assert!(accepted.status.success(), "{accepted:?}");
    let who = output(command(&host, &["whoami", "--json"]), b"").await?;
    let who: Json = serde_json::from_slice(&who.stdout)?;
    assert_eq!(
        (&who["context"], &who["user"]["id"]),
        (&"lab".into(), &"root".into())
    );
    let said = output(host.command(&login), b"\n").await?;
    assert_eq!(error(&said, 2)?, "hypha: the token is empty\n");
    let logout = host.command(&["logout", "--context", "lab", "--revoke"]);
    let said = error(&output(logout, b"").await?, 5)?;
    assert!(said.contains("this token has no expiry"), "{said}");
    let config = std::fs::read_to_string(host.folder.path("config.json"))?;
    assert_eq!(config.matches(ROOT_TOKEN).count(), 2, "{config}");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_damaged_file_is_named_in_the_error() -> anyhow::Result<()> {
    let host = Host::start().await?;
    std::fs::write(host.folder.path("config.json"), "{")?;
    let said = error(&output(host.command(&["context", "ls"]), b"").await?, 1)?;
    let path = host.folder.name("config.json");
    assert!(
        said.starts_with(&format!("hypha: cannot read the contexts in {path}: ")),
        "{said}"
    );
    host.stop().await;
    Ok(())
}
