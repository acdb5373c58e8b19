//! Tests `hypha workspace`, `token`, `clients`, `kick` and `ping`.

use serde_json::Value as Json;

use crate::support::{Host, ROOT_TOKEN, error, output};

#[tokio::test]
async fn workspaces_are_created_chosen_and_deleted() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let url = host.server.url();
    let add = [
        "context",
        "add",
        "lab",
        "--server-url",
        url,
        "--token",
        ROOT_TOKEN,
    ];
    host.stdout(&add).await?;
    let said = host
        .stdout(&["workspace", "create", "scopes", "--persistent"])
        .await?;
    assert_eq!(said, "Created scopes\n");
    let said = host.failure(&["workspace", "create", "scopes"], 6).await?;
    assert!(said.contains("scopes"), "{said}");
    let list = host.stdout(&["workspace", "ls"]).await?;
    let columns = |line: &str| {
        line.split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(
        list.lines()
            .any(|line| columns(line) == "scopes scopes yes"),
        "{list}"
    );
    assert!(
        list.lines()
            .any(|line| line.starts_with("*  ws-user-root ")),
        "{list}"
    );
    // The root token is valid for one workspace only.
    let said = host.failure(&["workspace", "use", "scopes"], 5).await?;
    assert!(
        said.contains("does not match the specified workspace"),
        "{said}"
    );
    let create = [
        "token",
        "create",
        "--for",
        "scopes",
        "--permission",
        "admin",
    ];
    let token = host.stdout(&create).await?;
    let add = [
        "context",
        "add",
        "ops",
        "--server-url",
        url,
        "--token",
        token.trim(),
    ];
    host.stdout(&add).await?;
    let said = host
        .stdout(&["workspace", "use", "scopes", "--context", "ops"])
        .await?;
    assert_eq!(said, "Context ops uses the workspace scopes\n");
    let who = host
        .stdout(&["whoami", "--json", "--context", "ops"])
        .await?;
    assert_eq!(serde_json::from_str::<Json>(&who)?["workspace"], "scopes");

    let said = host.failure(&["workspace", "delete", "scopes"], 2).await?;
    assert!(said.contains("--yes"), "{said}");
    let delete = [
        "workspace",
        "delete",
        "scopes",
        "--yes",
        "--workspace",
        "ws-user-root",
    ];
    assert_eq!(host.stdout(&delete).await?, "Deleted scopes\n");
    let delete = [
        "workspace",
        "delete",
        "scopes",
        "--yes",
        "--workspace",
        "ws-user-root",
    ];
    let said = host.failure(&delete, 4).await?;
    assert!(said.contains("scopes"), "{said}");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn tokens_are_created_inspected_and_revoked() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let guest = host.client.manager().await?.generate_token(None).await?;
    let root = ["--token", ROOT_TOKEN];
    let create = [
        "token",
        "create",
        "--permission",
        "read",
        "--expires-in",
        "2h",
    ];
    let token = host.stdout(&[&create[..], &root].concat()).await?;
    let inspect = host.command(&[&["token", "inspect", "--json"], &root[..]].concat());
    let found = output(inspect, token.as_bytes()).await?;
    let user: Json = serde_json::from_slice(&found.stdout)?;
    assert_eq!(user["scope"]["workspaces"]["ws-user-root"], "r");
    let text = host
        .stdout(&[&["token", "inspect", token.trim()], &root[..]].concat())
        .await?;
    assert!(text.contains("Permissions: ws-user-root (r)"), "{text}");
    assert!(
        text.contains("in 2 h") || text.contains("in 120 min"),
        "{text}"
    );

    let revoke = host.command(&[&["token", "revoke"], &root[..]].concat());
    assert_eq!(output(revoke, token.as_bytes()).await?.stdout, b"Revoked\n");
    let said = host
        .failure(&["whoami", "--token", token.trim()], 5)
        .await?;
    assert!(said.contains("revoked"), "{said}");
    let said = host
        .failure(&["token", "create", "--permission", "all"], 2)
        .await?;
    assert!(said.contains("read_write"), "{said}");
    let said = host.failure(&["token", "create"], 5).await?;
    assert!(said.contains("log in with `hypha login`"), "{said}");
    let unknown = [&["token", "create", "--for", "nowhere"], &root[..]].concat();
    let said = host.failure(&unknown, 4).await?;
    assert!(said.contains("for the workspace `nowhere`"), "{said}");
    let other = [
        "token",
        "create",
        "--for",
        "nowhere",
        "--token",
        guest.as_str(),
    ];
    let said = host.failure(&other, 5).await?;
    assert!(said.contains("for the workspace `nowhere`"), "{said}");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn clients_are_listed_pinged_and_disconnected() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let (workspace, id) = (host.client.workspace(), host.client.client_id());
    let address = format!("{workspace}/{id}");
    let root = ["--token", ROOT_TOKEN];
    let list = host
        .stdout(&[&["clients", &workspace], &root[..]].concat())
        .await?;
    assert!(
        list.lines().any(|line| line.starts_with(&address)),
        "{list}"
    );
    let list = host
        .stdout(&[&["clients", &workspace, "--json"], &root[..]].concat())
        .await?;
    assert_eq!(
        serde_json::from_str::<Json>(&list)?[0]["id"],
        address.as_str()
    );
    let ping = ["ping", &address, "--count", "2", "--interval", "1ms"];
    let said = host.stdout(&[&ping[..], &root].concat()).await?;
    assert_eq!(said.lines().count(), 2);
    assert!(
        said.starts_with(&format!("pong from {address}: ")),
        "{said}"
    );
    host.failure(&[&["ping", "ws-user-root/nobody"], &root[..]].concat(), 4)
        .await?;

    let mut states = host.client.states();
    let said = host
        .stdout(&[&["kick", &address], &root[..]].concat())
        .await?;
    assert_eq!(said, format!("Disconnected {address}\n"));
    while !matches!(
        states.next().await,
        Some(hypha_rpc::client::State::Backoff { .. }) | None
    ) {}
    let kick = [&["kick", "ws-user-root/nobody"], &root[..]].concat();
    let said = host.failure(&kick, 4).await?;
    assert_eq!(said, "hypha: ws-user-root/nobody is not connected\n");
    let refused = output(host.command(&["kick", &address]), b"").await?;
    assert!(
        error(&refused, 5)?.contains("ermission denied"),
        "{refused:?}"
    );
    host.stop().await;
    Ok(())
}
