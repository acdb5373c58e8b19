//! Tests `hypha services` and `hypha describe`.

use std::process::Stdio;

use hypha_rpc::Service;
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::Host;

#[tokio::test]
async fn services_are_a_table_or_json() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let workspace = host.client.workspace();
    let table = host.stdout(&["services", &workspace]).await?;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID "), "{table}");
    let row = lines.iter().find(|line| line.starts_with(&host.id));
    assert!(row.is_some_and(|row| row.contains(" public ")), "{table}");
    assert!(
        row.is_some_and(|row| row.ends_with("Arithmetic for demonstrations.")),
        "{table}"
    );

    let json = host
        .stdout(&["services", "*", "--id", "de*", "--json"])
        .await?;
    let found: Vec<Json> = serde_json::from_str(&json)?;
    assert_eq!(found.len(), 1, "{json}");
    assert_eq!(found[0]["id"], host.id.as_str());
    let none = host
        .stdout(&["services", &workspace, "--type", "camera", "--json"])
        .await?;
    assert_eq!(none, "[]\n");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn colors_are_for_terminals() -> anyhow::Result<()> {
    let host = Host::start().await?;
    assert!(!host.stdout(&["services", "*"]).await?.contains('\x1b'));
    let colored = host.stdout(&["services", "*", "--color", "always"]).await?;
    assert!(colored.starts_with("\x1b[1mID "), "{colored}");
    let described = host
        .stdout(&["describe", &host.id, "--color", "never"])
        .await?;
    assert!(!described.contains('\x1b'));
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn watch_prints_added_and_removed_services() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let workspace = host.client.workspace();
    let mut command = host.command(&["services", &workspace, "--watch", "--id", "lamp"]);
    let token = host.client.manager().await?.generate_token(None).await?;
    command
        .env("HYPHA_TOKEN", token)
        .env("HYPHA_WORKSPACE", &workspace);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let lamp = host.client.register_service(Service::new("lamp")).await?;
    let line = lines.next_line().await?.unwrap_or_default();
    assert!(line.starts_with(&format!("added    {}", lamp.id)), "{line}");
    host.client.unregister_service("lamp").await?;
    let line = lines.next_line().await?.unwrap_or_default();
    assert!(line.starts_with(&format!("removed  {}", lamp.id)), "{line}");
    child.kill().await?;
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_description_has_types_defaults_and_an_example() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let text = host.stdout(&["describe", &host.target("divide")]).await?;
    let expected = format!(
        "Id:          {id}\n\n\
         divide(a: number, b: number = 1.0) -> number\n    \
             Divide one number by another.\n    \
             a  The number to divide.\n    \
             hypha call {id}.divide a=1.5\n",
        id = host.id
    );
    assert_eq!(text, expected);
    let text = host.stdout(&["describe", &host.id]).await?;
    for part in [
        "Visibility:  public",
        "Description: Arithmetic for demonstrations.",
        "count(on_number: function)",
        "brighten(image: array of numbers) -> array of numbers",
        "numbers(to: integer) -> stream of integer",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    // The output contains an example call of a method. A user can run this call without changes.
    let example = text
        .lines()
        .find(|line| line.contains(".greet "))
        .unwrap_or_default();
    let words: Vec<&str> = example.split_whitespace().skip(1).collect();
    assert_eq!(host.stdout(&words).await?, "Hello text\n");

    let json: Json = serde_json::from_str(&host.stdout(&["describe", &host.id, "--json"]).await?)?;
    assert_eq!(json["methods"][0]["name"], "divide");
    assert_eq!(
        json["methods"][0]["schema"]["parameters"]["required"][0],
        "a"
    );
    let said = host.failure(&["describe", &host.target("sum")], 4).await?;
    assert!(said.contains("has no method `sum`"), "{said}");
    host.stop().await;
    Ok(())
}
