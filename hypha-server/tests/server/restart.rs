//! Tests the restart of a server at the same address with the same data.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;
use hypha_rpc::Value;
use hypha_server::Server;
use serde_json::json;

use crate::support::{self, End, Raw, refused};

/// Temporary folder, deleted when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let name = format!("hypha-server-test-{}", hypha_wire::random_id());
        Folder(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn start(folder: &Folder, address: &str) -> Result<Server> {
    let server = Server::builder().bind(address).data_dir(&folder.0);
    Ok(server.start().await?)
}

/// Shuts the server down while the clients read their close frames. The shutdown waits for clients
/// that do not read their close frames. Returns the end of each connection.
async fn shut_down(server: Server, clients: impl IntoIterator<Item = Raw>) -> Result<Vec<End>> {
    let leaving = clients
        .into_iter()
        .map(|mut client| async move { client.end().await });
    let (ends, ()) = tokio::join!(try_join_all(leaving), server.shutdown());
    ends
}

#[tokio::test]
async fn clients_reconnect_after_a_restart() -> Result<()> {
    let folder = Folder::new();
    let server = start(&folder, "127.0.0.1:0").await?;
    let address = server.local_addr().to_string();
    let mut client = Raw::anonymous(&server, "c").await?;
    let manager = client.manager();
    let token = client.ask("generate_token", json!([])).await?;
    let token = token.as_str().unwrap_or_default().to_owned();
    let revoked = client.ask("generate_token", json!([])).await?;
    client.ask("revoke_token", json!([revoked])).await?;
    let hello = json!({
        "client_id": "c", "reconnection_token": client.field("reconnection_token"),
    });
    let workspace = client.workspace().to_owned();
    assert_eq!(shut_down(server, [client]).await?[0].code, 1001);

    let begin = Instant::now();
    let server = start(&folder, &address).await?;
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(
        server.local_addr().to_string(),
        address,
        "the port is free immediately"
    );
    let mut client = Raw::connect(&server, hello).await?;
    assert_eq!(client.workspace(), workspace);
    assert_eq!(client.manager(), manager, "the manager's address stays");
    let colleague = Raw::connect(&server, json!({"client_id": "d", "token": token})).await?;
    assert_eq!(colleague.workspace(), workspace);
    let end = refused(&server, json!({"client_id": "e", "token": revoked})).await?;
    assert!(end.error.is_some_and(|error| error.contains("revoked")));
    assert_eq!(client.ask("echo", json!([1])).await?, Value::from(1));
    shut_down(server, [client, colleague]).await?;
    Ok(())
}

#[tokio::test]
async fn workspaces_survive_with_their_contents() -> Result<()> {
    let folder = Folder::new();
    let root = "c4b1f09a7d3e62858f1d0b6ac79e3542";
    let start = || {
        let server = Server::builder().bind("127.0.0.1:0").data_dir(&folder.0);
        server.root_token(root).start()
    };
    let hello = json!({"client_id": "root", "token": root});
    let server = start().await?;
    let mut client = Raw::connect(&server, hello.clone()).await?;
    let config = json!([{"id": "lab-1", "owners": ["ann"], "persistent": false}]);
    client.ask("create_workspace", config).await?;
    client
        .ask("create_workspace", json!([{"id": "lab-2"}]))
        .await?;
    client.ask("delete_workspace", json!(["lab-2"])).await?;
    client.ask("set_env", json!(["K", "v"])).await?;
    let kind = json!([{"id": "camera", "name": "Camera", "definition": {"snap": {}}}]);
    client.ask("register_service_type", kind).await?;
    shut_down(server, [client]).await?;

    let server = start().await?;
    let mut client = Raw::connect(&server, hello).await?;
    let lab = client.ask("get_workspace_info", json!(["lab-1"])).await?;
    let owners = lab.get("owners").map(Value::to_json);
    assert_eq!(owners, Some(json!(["ann", "root"])));
    assert!(
        client
            .ask("get_workspace_info", json!(["lab-2"]))
            .await
            .is_err()
    );
    assert_eq!(client.ask("get_env", json!(["K"])).await?, Value::from("v"));
    let kind = client.ask("get_service_type", json!(["camera"])).await?;
    assert_eq!(kind.get("name"), Some(&Value::from("Camera")));
    let own = client.ask("get_workspace_info", json!([])).await?;
    let bookmarks = own.get("config").and_then(|config| config.get("bookmarks"));
    assert_eq!(
        bookmarks.and_then(|list| list.as_list()).map(<[_]>::len),
        Some(1)
    );
    shut_down(server, [client]).await?;
    Ok(())
}

#[tokio::test]
async fn several_servers_in_one_process_are_independent() -> Result<()> {
    let (one, two) = (support::server().await?, support::server().await?);
    let client = Raw::anonymous(&one, "c").await?;
    let hello = json!({
        "client_id": "c", "reconnection_token": client.field("reconnection_token"),
    });
    // The two servers have different secrets.
    assert_eq!(refused(&two, hello).await?.code, 1008);
    shut_down(one, [client]).await?;
    assert!(Raw::anonymous(&two, "c").await.is_ok());
    Ok(())
}

#[tokio::test]
async fn everything_is_below_the_base_path() -> Result<()> {
    let builder = Server::builder().bind("127.0.0.1:0").base_path("/a/hypha/");
    let server = builder.start().await?;
    assert!(server.url().ends_with("/a/hypha"), "{}", server.url());
    let client = hypha_rpc::connect(server.url()).await?;
    assert_eq!(
        client.identity().public_base_url.as_deref(),
        Some(server.url())
    );
    let redirect = support::http()
        .get(format!("{}/public/services", server.url()))
        .send()
        .await?;
    assert_eq!(redirect.status(), 200);
    Ok(())
}
