//! The tools of operators: files, health, metrics, and the administration of clients and
//! workspaces.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
#[cfg(feature = "openapi")]
use hypha_rpc::hypha_service;
#[cfg(feature = "openapi")]
use hypha_rpc::service::{Method, Service};
#[cfg(feature = "openapi")]
use hypha_rpc::workspace::Visibility;
use hypha_rpc::workspace::{TokenConfig, WorkspaceConfig, WorkspaceProperties};
use hypha_rpc::{Client, RemoteService, Value, args, connect};
use hypha_server::{Limits, Server};
use serde_json::json;

use crate::support::{self, Raw, server};

const ROOT: &str = "0123456789abcdef0123456789abcdef";

/// Temporary folder, deleted when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let folder = std::env::temp_dir().join(format!("hypha-{}", hypha_wire::random_id()));
        std::fs::create_dir(&folder)?;
        Ok(Folder(folder))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        Ok(std::fs::write(path, text)?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn get(server: &Server, path: &str) -> Result<(u16, String, String)> {
    let response = support::http().get(format!("{}{path}", server.url()));
    let response = response.send().await?;
    let kind = response.headers().get("content-type");
    let kind = kind.map_or("", |kind| kind.to_str().unwrap_or_default());
    Ok((
        response.status().as_u16(),
        kind.to_owned(),
        response.text().await?,
    ))
}

#[tokio::test]
async fn the_javascript_client_is_served_from_a_folder() -> Result<()> {
    let none = server().await?;
    let (status, _, text) = get(&none, "/assets/hypha-rpc-websocket.mjs").await?;
    assert_eq!(status, 404);
    assert!(text.contains("--js-client"), "{text}");
    let (status, _, text) = get(&none, "/assets/other.js").await?;
    assert!(status == 404 && !text.contains("--js-client"), "{text}");

    let folder = Folder::new()?;
    let large = "export const x = 1; ".repeat(10_000);
    folder.write("hypha-rpc-websocket.mjs", &large)?;
    folder.write("secret.txt", "not served")?;
    let mut settings = hypha_server::Settings::default();
    settings.port = 0;
    settings.js_client = Some(folder.0.clone());
    let with = hypha_server::Builder::from(settings).start().await?;
    let (status, kind, text) = get(&with, "/assets/hypha-rpc-websocket.mjs").await?;
    assert_eq!((status, kind.as_str()), (200, "application/javascript"));
    assert_eq!(text, large);
    for path in ["/assets/secret.txt", "/assets/hypha-rpc-websocket.js"] {
        assert_eq!(get(&with, path).await?.0, 404, "{path}");
    }
    let url = format!("{}/assets/hypha-rpc-websocket.mjs", with.url());
    let http = support::http();
    let tag = http.get(&url).send().await?.headers()["etag"].clone();
    let again = http.get(&url).header("if-none-match", tag).send().await?;
    assert_eq!(again.status().as_u16(), 304);
    assert!(again.bytes().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn folders_are_served_with_their_index() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("index.html", "<h1>index</h1>")?;
    folder.write("deep/page.html", "<h1>page</h1>")?;
    folder.write("deep/index.html", "<h1>deep</h1>")?;
    folder.write(".hidden", "secret")?;
    let mut settings = hypha_server::Settings::default();
    settings.port = 0;
    settings.base_path = "/base".into();
    settings.static_mounts = vec![format!("/pages:{}", folder.0.display())];
    let server = hypha_server::Builder::from(settings).start().await?;
    for (path, status, body) in [
        ("/pages/", 200, "<h1>index</h1>"),
        ("/pages", 200, "<h1>index</h1>"),
        ("/pages/index.html", 200, "<h1>index</h1>"),
        ("/pages/deep", 200, "<h1>deep</h1>"),
        ("/pages/deep/page.html", 200, "<h1>page</h1>"),
        ("/pages/none.html", 404, "File not found"),
        ("/pages/.hidden", 404, "nothing at"),
        ("/pages/%2e%2e/x", 404, "nothing at"),
        ("/pages/..%2fx", 404, "nothing at"),
    ] {
        let (found, _, text) = get(&server, path).await?;
        assert_eq!(found, status, "{path}");
        assert!(text.contains(body), "{path}: {text}");
    }
    let (_, kind, _) = get(&server, "/pages/").await?;
    assert_eq!(kind, "text/html; charset=utf-8");
    Ok(())
}

#[tokio::test]
async fn metrics_keep_the_names_of_the_python_server() -> Result<()> {
    let server = server().await?;
    let _client = Raw::anonymous(&server, "c").await?;
    let (status, _, text) = get(&server, "/health").await?;
    let health: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!((status, health["status"].as_str()), (200, Some("HEALTHY")));
    assert_eq!(health["issues"], json!([]));
    let connections = json!({"active": 1, "accepted": 1, "total_created": 1, "total_closed": 0});
    assert_eq!(health["connections"], connections);
    if cfg!(target_os = "linux") {
        assert!(
            health["memory"]["rss_mb"]
                .as_f64()
                .is_some_and(|size| size > 1.0),
            "{text}"
        );
    }
    let (_, _, text) = get(&server, "/metrics").await?;
    for line in [
        "websocket_connections 1",
        "websocket_connections_established_total 1",
        "websocket_rate_limited_disconnects_total 0",
        "redis_eventbus_active_patterns 0",
        "redis_eventbus_reconnect_attempts_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    if cfg!(target_os = "linux") {
        for name in [
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_virtual_memory_bytes",
        ] {
            let line = text.lines().find(|line| line.starts_with(name));
            let (_, value) = line.and_then(|line| line.split_once(' ')).context(name)?;
            assert!(value.parse::<f64>()? >= 0.0, "{name} {value}");
        }
    }
    assert!(
        text.contains("\nhypha_server_connections_open 1\n"),
        "{text}"
    );
    let url = format!("{}/metrics", server.url());
    for (accept, kind) in [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ] {
        let request = support::http().get(&url).header("Accept", accept);
        let response = request.send().await?;
        assert_eq!(response.headers()["content-type"], kind);
        let is_open = kind.starts_with("application");
        assert_eq!(response.text().await?.ends_with("# EOF\n"), is_open);
    }
    Ok(())
}

#[tokio::test]
async fn health_is_reported_in_the_shape_of_the_python_server() -> Result<()> {
    let server = server().await?;
    let (_, _, text) = get(&server, "/health").await?;
    let health: serde_json::Value = serde_json::from_str(&text)?;
    let time = health["timestamp"].as_str().context("no time")?;
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    assert_eq!(health["health_score"], 100);
    let bus = json!({"circuit_breaker_open": false, "consecutive_failures": 0});
    assert_eq!(health["event_bus"], bus);
    assert!(health["tasks"]["active"].as_u64() > Some(0), "{text}");
    if cfg!(target_os = "linux") {
        let average = health["system"]["load_average"].as_array();
        assert_eq!(average.map(Vec::len), Some(3), "{text}");
        assert!(health["system"]["memory_percent"].is_f64(), "{text}");
    }
    let id = health["server_id"].clone();
    let (_, _, text) = get(&server, "/health/readiness").await?;
    let detail =
        json!({"server_id": id, "store": "ready", "event_bus": "ready", "pubsub": "healthy"});
    let readiness: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!(readiness, json!({"status": "OK", "detail": detail}));
    let (_, _, text) = get(&server, "/health/liveness").await?;
    let liveness: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!(liveness["detail"]["event_bus_failures"], 0, "{text}");
    assert_eq!(liveness["detail"]["circuit_breaker"], "closed", "{text}");
    Ok(())
}

#[tokio::test]
async fn errors_shorten_long_names() -> Result<()> {
    const ERROR_MAX: usize = 1000;
    let server = server().await?;
    let client = connect(server.url()).await?;
    let long = "a".repeat(10_000);
    for path in [
        format!("/{long}"),
        format!("/{long}/info"),
        format!("/{long}/services/x"),
        format!("/public/services/{long}"),
        format!("/public/services/{long}/f"),
        format!("/public/services/queue/{long}"),
        format!("/public/apps/{long}/"),
        format!("/public/apps/hypha-login/{long}"),
        format!("/public/mcp/{long}"),
        format!("/public/a2a/{long}"),
        format!("/public/agent-skills/{long}"),
    ] {
        let (status, _, text) = get(&server, &path).await?;
        let start: String = path.chars().take(30).collect();
        assert!((400..500).contains(&status), "{start}: {status}");
        assert!(text.len() < ERROR_MAX, "{start}: {} bytes", text.len());
    }
    let found = client.get_service(long.clone()).await.err();
    let found = found.context("found")?.to_string();
    assert!(found.contains("Service not found"), "{found}");
    let manager = client.manager().await?;
    let refused = [
        found,
        manager
            .get_workspace_info(Some(long.clone()))
            .await
            .err()
            .context("a workspace")?
            .to_string(),
        manager
            .unregister_service(long.clone())
            .await
            .err()
            .context("a service")?
            .to_string(),
    ];
    for text in refused {
        let bytes = text.len();
        assert!(bytes < ERROR_MAX, "{bytes} bytes: {}", &text[..300]);
    }
    Ok(())
}

#[tokio::test]
async fn a_token_with_blanks_is_refused_with_a_reason() -> Result<()> {
    let server = server().await?;
    let url = format!("{}/public/services/", server.url());
    let request = support::http()
        .get(url)
        .header("Authorization", "Bearer a b");
    let response = request.send().await?;
    assert_eq!(response.status(), 401);
    let text = response.text().await?;
    assert!(
        text.contains("the token is empty or contains blanks"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn missing_features_of_the_python_server_are_named_in_the_error() -> Result<()> {
    let server = server().await?;
    let client = connect(server.url()).await?;
    for (name, reason) in [
        ("artifact-manager", "this server has no artifacts"),
        ("server-apps", "this server launches no apps"),
        ("s3-storage", "this server has no S3 storage"),
    ] {
        let error = client.get_service(format!("public/{name}")).await.err();
        let error = error.context("found")?.to_string();
        assert!(
            error.contains("Service not found") && error.contains(reason),
            "{error}"
        );
        let (status, _, text) = get(&server, &format!("/public/services/{name}/list")).await?;
        assert!(status == 404 && text.contains(reason), "{text}");
    }
    for (path, reason) in [
        ("/ws-lab/artifacts/a", "this server has no artifacts"),
        ("/ws-lab/nothing/a", "nothing at"),
    ] {
        let (status, _, text) = get(&server, path).await?;
        assert!(status == 404 && text.contains(reason), "{text}");
    }
    Ok(())
}

#[cfg(feature = "openapi")]
#[tokio::test]
async fn the_http_interface_is_described() -> Result<()> {
    struct Stage;

    /// Moves a stage.
    #[hypha_service(id = "stage", visibility = "public")]
    impl Stage {
        /// Moves to a position.
        pub(crate) async fn goto(&self, x: f64) -> f64 {
            x
        }
    }

    #[hypha_service(id = "inside")]
    impl Hidden {
        pub(crate) async fn secret(&self) {}
    }
    struct Hidden;

    let server = server().await?;
    let host = connect(server.url()).client_id("host").await?;
    host.register_service(Stage).await?;
    host.register_service(Hidden).await?;
    let home = host.workspace();
    let read = async |path: &str| -> Result<serde_json::Value> {
        let (status, kind, text) = get(&server, path).await?;
        assert_eq!(
            (status, kind.as_str()),
            (200, "application/json"),
            "{path}: {text}"
        );
        Ok(serde_json::from_str(&text)?)
    };
    let whole = read("/openapi.json").await?;
    assert_eq!(whole["servers"][0]["url"], server.url());
    assert!(whole["paths"]["/{workspace}/services/{id}/{function}"].is_object());

    let stage = read(&format!("/{home}/services/stage/openapi.json")).await?;
    let url = format!("{}/{home}/services/stage", server.url());
    assert_eq!(stage["servers"][0]["url"], url);
    let body = &stage["paths"]["/goto"]["post"]["requestBody"]["content"]["application/json"];
    assert_eq!(body["schema"]["required"], json!(["x"]));

    let all = read(&format!("/{home}/openapi.json")).await?;
    let paths = all["paths"].as_object().context("no paths")?;
    let paths: Vec<_> = paths.keys().collect();
    assert_eq!(paths, ["/services/host:stage/goto"], "what strangers see");
    // The description contains the paths at which the functions can be called.
    let url = format!("{}/{home}{}", server.url(), paths[0]);
    let moved = support::http()
        .post(url)
        .json(&json!({"x": 2.5}))
        .send()
        .await?;
    assert_eq!(moved.text().await?, "2.5");

    // A method of a few bytes has a description of a few kilobytes.
    let mut service = Service::new("hostile").visibility(Visibility::Public);
    for number in 0..2500 {
        let method = Method::blocking(format!("f{number}"), |_| Ok(hypha_rpc::args!()));
        service = service.method(method.schema(json!({"name": "f"})));
    }
    host.register_service(service).await?;
    for path in [
        format!("/{home}/services/hostile/openapi.json"),
        format!("/{home}/openapi.json"),
    ] {
        let (status, _, text) = get(&server, &path).await?;
        assert_eq!(status, 422, "{path}: {} bytes", text.len());
        assert!(
            text.contains("hostile") && text.contains("has more than"),
            "{text}"
        );
    }
    host.unregister_service("hostile").await?;
    for path in [
        format!("/{home}/services/inside/openapi.json"),
        format!("/{home}/services/no-such/openapi.json"),
        "/ws-nowhere/openapi.json".to_owned(),
    ] {
        assert!(matches!(get(&server, &path).await?.0, 403 | 404), "{path}");
    }
    let (status, kind, page) = get(&server, "/api-docs").await?;
    assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"));
    assert!(
        page.contains("api-docs.js") && !page.contains("http"),
        "{page}"
    );
    assert_eq!(get(&server, "/api-docs.js").await?.0, 200);
    Ok(())
}

async fn admin(client: &Client) -> Result<RemoteService> {
    Ok(client.get_service("ws-user-root/admin-utils").await?)
}

#[tokio::test]
async fn administrators_manage_clients_and_workspaces() -> Result<()> {
    let server = Server::builder().bind("127.0.0.1:0").root_token(ROOT);
    let server = server.server_id("one").start().await?;
    let root = connect(server.url()).token(ROOT).await?;
    let admin_utils = admin(&root).await?;
    let servers: Vec<String> = admin_utils.call("list_servers", args!()).await?;
    assert_eq!(servers, ["one"]);

    let mut victim = Raw::anonymous(&server, "victim").await?;
    let home = victim.workspace().to_owned();
    let workspaces: Vec<Value> = admin_utils.call("list_workspaces", args!()).await?;
    let id = |info: &Value| info.get("id").and_then(Value::as_str) == Some(&home);
    assert!(workspaces.iter().any(id));
    let usage: Value = admin_utils.call("get_resource_usage", args!()).await?;
    let counts = usage
        .get("connections_per_workspace")
        .context("no counts")?;
    assert_eq!(counts.get(&home), Some(&Value::from(1)));
    let metrics: Value = admin_utils.call("get_metrics", args!()).await?;
    assert!(metrics.get("rpc").is_some());

    let kick = async |client: &str, code: u16| {
        let args = args!(home.as_str(), client, code, "be gone");
        let kicked = admin_utils.call::<Value>("kickout_client", args).await;
        kicked.map_err(|error| error.to_string())
    };
    let error = kick("nobody", 1000).await.err().context("kicked")?;
    assert!(error.contains("Client not connected"), "{error}");
    let error = kick("victim", 1005).await.err().context("kicked")?;
    assert!(error.contains("`code`"), "{error}");
    kick("victim", 1008).await.map_err(anyhow::Error::msg)?;
    let end = victim.end().await?;
    assert_eq!((end.code, end.reason.as_str()), (1008, "be gone"));

    let mut victim = Raw::anonymous(&server, "victim").await?;
    let home = victim.workspace().to_owned();
    let unload = args!(home.as_str(), true);
    let (unloaded, end) = tokio::join!(
        admin_utils.call::<Value>("unload_workspace", unload),
        victim.end()
    );
    unloaded?;
    assert_eq!(end?.code, 1001);
    let unknown = admin_utils.call::<Value>("unload_workspace", args!("no-such"));
    let error = unknown.await.err().context("unloaded")?.to_string();
    assert!(error.contains("Workspace not found"), "{error}");

    // Other clients have no access.
    let stranger = connect(server.url()).await?;
    let error = admin(&stranger).await.err().context("found")?.to_string();
    assert!(error.contains("ermission denied"), "{error}");
    let weak = TokenConfig {
        permission: Some("read_write".into()),
        ..TokenConfig::default()
    };
    let weak = root.manager().await?.generate_token(Some(weak)).await?;
    let weak = admin(&connect(server.url()).token(weak).await?).await?;
    let error = weak.call::<Value>("list_workspaces", args!()).await;
    let error = error.err().context("listed")?.to_string();
    assert!(error.contains("ermission denied"), "{error}");
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn an_unloaded_workspace_is_not_listed() -> Result<()> {
    let server = Server::builder().bind("127.0.0.1:0").root_token(ROOT);
    let server = server.start().await?;
    let root = connect(server.url()).token(ROOT).await?;
    let admin_utils = admin(&root).await?;
    let listed = async || -> Result<bool> {
        let workspaces: Vec<Value> = admin_utils.call("list_workspaces", args!()).await?;
        let id = |info: &Value| info.get("id").and_then(Value::as_str) == Some("root-lab");
        Ok(workspaces.iter().any(id))
    };
    let manager = root.manager().await?;
    let lab = WorkspaceConfig {
        id: Some("root-lab".into()),
        properties: WorkspaceProperties {
            persistent: true,
            ..WorkspaceProperties::default()
        },
        ..WorkspaceConfig::default()
    };
    manager.create_workspace(lab, false).await?;
    assert!(listed().await?);
    let args = args!("root-lab", wait = true, timeout = 5);
    admin_utils.call::<()>("unload_workspace", args).await?;
    assert!(!listed().await?);
    // The workspace is stored, and is loaded again when its next client connects.
    let config = TokenConfig {
        workspace: Some("root-lab".into()),
        ..TokenConfig::default()
    };
    let token = manager.generate_token(Some(config)).await?;
    let inside = connect(server.url()).token(token).workspace("root-lab");
    let _inside = inside.await?;
    assert!(listed().await?);
    Ok(())
}

#[tokio::test]
async fn an_empty_workspace_stays_for_the_grace_period() -> Result<()> {
    // Neither result depends on the speed of the machine: the first grace period does not end
    // during the test, and the second grace period ends almost immediately.
    for (grace, stays) in [(3600.0, true), (0.05, false)] {
        let mut limits = Limits::default();
        limits.unload_grace = Duration::from_secs_f64(grace);
        let server = Server::builder().bind("127.0.0.1:0").root_token(ROOT);
        let server = server.limits(limits).start().await?;
        let root = connect(server.url()).token(ROOT).await?;
        let admin_utils = admin(&root).await?;
        let guest = connect(server.url()).await?;
        let home = guest.workspace().to_owned();
        let listed = async || -> Result<bool> {
            let workspaces: Vec<Value> = admin_utils.call("list_workspaces", args!()).await?;
            let id = |info: &Value| info.get("id").and_then(Value::as_str) == Some(&home);
            Ok(workspaces.iter().any(id))
        };
        assert!(listed().await?);
        guest.disconnect().await;
        while server.stats().connections_open > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut is_listed = true;
        // The loop ends early if the workspace is removed, which happens only after its client has
        // disconnected.
        for _ in 0..if stays { 20 } else { 2000 } {
            is_listed = listed().await?;
            if !is_listed {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(is_listed, stays);
    }
    Ok(())
}
