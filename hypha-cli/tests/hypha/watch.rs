//! Tests `hypha watch` and `hypha logs`.

use std::process::Stdio;

use hypha_rpc::{Service, Value};
use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::Host;

#[tokio::test]
async fn events_are_printed_as_they_arrive() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let workspace = host.client.workspace();
    let token = host.client.manager().await?.generate_token(None).await?;
    let arguments = ["watch", "--token", &token, "--workspace", &workspace];
    let kinds = ["service_added", "plate_ready"];
    for (more, expected) in [
        (
            &kinds[..],
            format!(
                "service_added        {workspace}/{}:lamp",
                host.client.client_id()
            ),
        ),
        (
            &["plate_ready", "--json"],
            r#"{"type":"plate_ready""#.to_owned(),
        ),
    ] {
        let mut command = host.command(&[&arguments, more, &["--count", "1"]].concat());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut notes = BufReader::new(child.stderr.take().unwrap()).lines();
        let note = notes.next_line().await?.unwrap_or_default();
        assert_eq!(note, format!("watching {workspace}"));
        host.client
            .register_service(Service::new("lamp"))
            .overwrite(true)
            .await?;
        host.client.emit("plate_ready", "*", Value::from(2)).await?;
        let output = child.wait_with_output().await?;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout)?;
        assert!(text.starts_with(&expected), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn clients_without_services_are_left_out() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let workspace = host.client.workspace();
    let token = host.client.manager().await?.generate_token(None).await?;
    let in_workspace = ["--token", &token, "--workspace", &workspace];
    let watch = [&["watch", "--count", "3"], &in_workspace[..]].concat();
    let mut command = host.command(&watch);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut notes = BufReader::new(child.stderr.take().unwrap()).lines();
    notes.next_line().await?;
    // Another run of the program is a client that offers nothing.
    host.stdout(&[&["whoami"], &in_workspace[..]].concat())
        .await?;
    let options = hypha_rpc::connect(host.server.url());
    let other = options
        .token(&token)
        .workspace(&workspace)
        .client_id("other");
    let other = other.await?;
    other.disconnect().await;
    host.client.register_service(Service::new("lamp")).await?;
    let output = child.wait_with_output().await?;
    let text = String::from_utf8(output.stdout)?;
    let kinds: Vec<&str> = text.lines().filter_map(|it| it.split(' ').next()).collect();
    let expected = ["client_connected", "client_disconnected", "service_added"];
    assert_eq!(kinds, expected, "{text}");
    assert_eq!(text.matches("other").count(), 2, "{text}");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_load_of_the_server_is_printed() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let watch = ["watch", "--metrics", "100ms", "--count", "2", "--json"];
    let text = host.stdout(&watch).await?;
    let lines = text.lines().map(serde_json::from_str::<Json>);
    for line in lines.collect::<Result<Vec<_>, _>>()? {
        assert_eq!(line["type"], "metrics", "{text}");
        // The client of the test and the command.
        let connections = line["data"]["connections"].as_f64();
        assert!(connections >= Some(2.0), "{text}");
        assert_eq!(line["data"]["http"]["failed_per_second"], 0.0, "{text}");
    }
    host.failure(&["watch", "--metrics", "1ms"], 2).await?;
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_log_of_a_workspace_is_printed() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let manager = host.client.manager().await?;
    manager
        .log_event("calibrated".into(), Some(Value::from("stage")))
        .await?;
    let token = manager.generate_token(None).await?;
    let workspace = host.client.workspace();
    let place = ["--token", &token, "--workspace", &workspace];
    // `logs` shows only the entries of the token's user, and a created token has another user.
    let text = host.stdout(&[&["logs"], &place[..]].concat()).await?;
    assert!(!text.contains("stage"), "{text}");
    let json = host
        .stdout(&[&["logs", "--type", "calibrated", "--json"], &place[..]].concat())
        .await?;
    assert!(serde_json::from_str::<Json>(&json)?.is_array());
    host.stop().await;
    Ok(())
}
