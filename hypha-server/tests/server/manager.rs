//! Tests the permissions and the errors of the workspace manager.

use anyhow::{Context, Result, bail};
use hypha_rpc::service::{Method, Service, Visibility};
use hypha_rpc::workspace::{
    Bookmark, BookmarkType, EventTypes, GetServiceConfig, Keyword, ManagerError, Permission,
    ServiceFilter, ServiceQuery, ServiceSelection, TokenConfig, WorkspaceConfig,
};
use hypha_rpc::{Client, Error, RemoteService, Value, args, connect};
use hypha_server::Server;
use serde_json::json;

use crate::support::{Raw, server, server_with};

const ROOT: &str = "0123456789abcdef0123456789abcdef";

async fn member(server: &Server, of: &Client, config: TokenConfig) -> Result<Client> {
    let token = of.manager().await?.generate_token(Some(config)).await?;
    Ok(connect(server.url()).token(token).await?)
}

fn with(permission: impl Into<Keyword<Permission>>) -> TokenConfig {
    TokenConfig {
        permission: Some(permission.into()),
        ..TokenConfig::default()
    }
}

fn number(id: &str, visibility: Visibility, number: i64) -> Service {
    let method = Method::new("get", move |call| async move { call.reply(&number) });
    Service::new(id).visibility(visibility).method(method)
}

/// Returns the error of the manager, for a call that must fail.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Error<ManagerError>>) -> Result<ManagerError> {
    match answer {
        Err(Error::Service(error)) => Ok(error),
        other => bail!("{other:?} is no refusal of the manager"),
    }
}

#[tokio::test]
async fn services_require_permission() -> Result<()> {
    let server = server().await?;
    let owner = connect(server.url()).client_id("owner").await?;
    let friend = member(&server, &owner, with(Permission::ReadWrite)).await?;
    let stranger = connect(server.url()).await?;
    let home = owner.workspace();
    owner
        .register_service(number("open", Visibility::Public, 1))
        .await?;
    owner
        .register_service(number("inside", Visibility::Protected, 2))
        .await?;
    owner
        .register_service(number("hidden", Visibility::Unlisted, 3))
        .await?;
    let shared = number("shared", Visibility::Protected, 4);
    owner
        .register_service(shared.authorized_workspaces([stranger.workspace()]))
        .await?;

    let call = async |client: &Client, id: &str| -> Result<i64> {
        let service: RemoteService = client.get_service(format!("{home}/{id}")).await?;
        Ok(service.call::<i64>("get", args!()).await?)
    };
    for (id, number) in [("open", 1), ("inside", 2), ("hidden", 3), ("shared", 4)] {
        assert_eq!(call(&friend, id).await?, number);
        let answer = call(&stranger, id).await;
        match id {
            "inside" => assert!(answer.is_err_and(|e| e.to_string().contains("ermission denied"))),
            _ => assert_eq!(answer?, number),
        }
    }
    let names = async |client: &Client, unlisted: bool| -> Result<Vec<String>> {
        let filter = ServiceFilter {
            workspace: Some(home.clone()),
            kind: Some("generic".into()),
            ..ServiceFilter::default()
        };
        let query = Some(ServiceQuery::from(filter));
        let manager = client.manager().await?;
        let list = manager.list_services(query, unlisted, false, false).await?;
        let name = |id: String| id.rsplit(':').next().unwrap_or_default().to_owned();
        Ok(list.into_iter().map(|service| name(service.id)).collect())
    };
    assert_eq!(names(&friend, false).await?, ["inside", "open", "shared"]);
    assert_eq!(
        names(&friend, true).await?,
        ["hidden", "inside", "open", "shared"]
    );
    assert_eq!(names(&stranger, false).await?, ["open", "shared"]);
    assert!(names(&stranger, true).await.is_err());

    // The manager does not disclose a service to a stranger who may not use the service. Such a
    // service also makes no id ambiguous for the stranger.
    owner
        .register_service(number("twice", Visibility::Protected, 5))
        .await?;
    friend
        .register_service(number("twice", Visibility::Public, 6))
        .await?;
    assert_eq!(call(&stranger, "twice").await?, 6);
    let ambiguous = call(&friend, "twice").await;
    assert!(ambiguous.is_err_and(|error| error.to_string().contains("Multiple services")));

    // The creator of a service and the list of its authorized workspaces are not public.
    let manager = stranger.manager().await?;
    let seen = manager
        .get_service_info(format!("{home}/owner:built-in"), None)
        .await?;
    let creator = seen.config.created_by.context("nobody")?;
    let keys: Vec<_> = creator.as_map().context("no map")?.keys().collect();
    assert_eq!(keys, ["id"]);
    let seen = manager
        .get_service_info(format!("{home}/shared"), None)
        .await?;
    assert_eq!(seen.config.authorized_workspaces, None);
    let own = owner
        .manager()
        .await?
        .get_service_info("shared".into(), None)
        .await?;
    assert_eq!(
        own.config.authorized_workspaces,
        Some(vec![stranger.workspace()])
    );
    Ok(())
}

#[tokio::test]
async fn invalid_services_are_refused_with_a_reason() -> Result<()> {
    let server = server_with(|limits| limits.services_per_client = 3).await?;
    let mut client = Raw::anonymous(&server, "c").await?;
    let mut other = client.colleague(&server, "d", "read_write").await?;
    client.register("ghost", json!({})).await?;
    let none = client.ask("list_services", json!([])).await?;
    assert_eq!(
        none,
        Value::List(vec![]),
        "before the built-in service nothing is registered"
    );
    client.register("built-in", json!({})).await?;
    other.register("built-in", json!({})).await?;

    let ws = client.workspace().to_owned();
    let mut refused = async |service: serde_json::Value| -> Result<String> {
        match other.ask("register_service", json!([service])).await {
            Err(error) => Ok(error.to_string()),
            Ok(_) => bail!("{service} was accepted"),
        }
    };
    for (service, text) in [
        (
            json!({"id": format!("{ws}/c:x"), "config": {}}),
            "PermissionError",
        ),
        (
            json!({"id": "ws-other/d:x", "config": {}}),
            "PermissionError: Service ID workspace",
        ),
        (
            json!({"id": "x", "config": {}}),
            "AssertionError: Service id info must contain ':'",
        ),
        (json!({"id": "d:x"}), "config"),
        (
            json!({"id": "d:x", "config": {"visibility": "secret"}}),
            "visibility",
        ),
        (
            json!({"id": "d:x", "config": {}, "description": "x".repeat(1025)}),
            "1024",
        ),
        (
            json!({"id": "d:x", "config": {"visibility": "public", "authorized_workspaces": []}}),
            "ValueError: authorized_workspaces can only be set",
        ),
        (json!({"id": "d:x:y", "config": {}}), "Invalid service id"),
    ] {
        let error = refused(service.clone()).await?;
        assert!(error.contains(text), "{service}: {error}");
    }
    client.register("one", json!({"singleton": true})).await?;
    client.register("one", json!({"singleton": true})).await?;
    let error = refused(json!({"id": "d:one", "config": {}})).await?;
    assert!(
        error.contains("A singleton service with the same name"),
        "{error}"
    );
    client.register("two", json!({})).await?;
    client.register("two", json!({})).await?;
    client.register("more", json!({})).await?;
    let error = client
        .register("three", json!({}))
        .await
        .err()
        .context("over quota")?;
    assert!(
        error.to_string().contains("Service quota exceeded"),
        "{error}"
    );
    client.register("_rintf_x", json!({})).await?;
    other.register("_rintf_x", json!({})).await?;
    other
        .register("local", json!({"_local_only": true}))
        .await?;
    let all = other.ask("list_services", json!([])).await?;
    assert_eq!(all.as_list().map(|list| list.len()), Some(5));
    Ok(())
}

#[tokio::test]
async fn several_services_of_one_name_are_chosen_by_mode() -> Result<()> {
    let server = server().await?;
    let owner = connect(server.url()).client_id("owner").await?;
    let (a, b) = (
        member(&server, &owner, with(Permission::Admin)).await?,
        member(&server, &owner, with(Permission::Admin)).await?,
    );
    a.register_service(number("n", Visibility::Protected, 10))
        .await?;
    b.register_service(number("n", Visibility::Protected, 20))
        .await?;
    let manager = owner.manager().await?;
    let choose = async |mode: &str| {
        let config = GetServiceConfig {
            selection: ServiceSelection {
                mode: Some(mode.into()),
                ..ServiceSelection::default()
            },
            ..GetServiceConfig::default()
        };
        manager.get_service("n".into(), Some(config)).await
    };
    let error = refusal(manager.get_service("n".into(), None).await)?;
    assert!(
        error.message().starts_with("Multiple services found for"),
        "{error}"
    );
    for mode in ["random", "first", "last", "native:random", "min_load"] {
        choose(mode).await?;
    }
    for (mode, client) in [("select:min:get", &a), ("select:max:get", &b)] {
        let service = choose(mode).await?;
        let id = service
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        assert!(id.contains(&client.client_id()), "{mode}: {id}");
    }
    choose("select:first_success:get").await?;
    choose("select:min:nothing").await?;
    for (mode, text) in [
        ("best", "Invalid mode: best"),
        ("select:min", "Invalid select mode format"),
        ("select:mean:get", "Unknown selection criteria"),
    ] {
        let error = refusal(choose(mode).await)?;
        assert!(
            matches!(&error, ManagerError::Value(m) if m.contains(text)),
            "{error}"
        );
    }
    let error = refusal(manager.get_service("nope".into(), None).await)?;
    let home = owner.workspace();
    assert_eq!(
        error,
        ManagerError::Key(format!("Service not found: {home}/*:nope@*"))
    );
    Ok(())
}

#[tokio::test]
async fn a_token_cannot_issue_a_stronger_token() -> Result<()> {
    let server = server().await?;
    let owner = connect(server.url()).await?;
    let home = owner.workspace();
    let mut hand = Raw::anonymous(&server, "hand").await?;
    let kinds = ["read", "read_write", "admin"];
    for (granted, own) in kinds.iter().enumerate() {
        let mut child = hand.colleague(&server, own, own).await?;
        for (asked, wanted) in kinds.iter().enumerate() {
            let config = json!({"permission": wanted, "workspace": ""});
            let answer = child.ask("generate_token", json!([config])).await;
            if asked <= granted {
                answer.with_context(|| format!("{own} makes {wanted}"))?;
                continue;
            }
            let error = answer.err().context("made")?;
            assert!(error.to_string().starts_with("PermissionError"), "{error}");
        }
    }
    let admin = member(&server, &owner, with(Permission::Admin)).await?;
    let grandchild = member(&server, &admin, with(Permission::ReadWrite)).await?;
    assert_eq!(
        grandchild.user().parent,
        Some(owner.user().id),
        "the parent of a grandchild is the first user"
    );
    assert_eq!(
        grandchild.user().permission(&home),
        Some(Permission::ReadWrite)
    );

    let manager = owner.manager().await?;
    for words in [
        "ws:public#a",
        "wid:public",
        "cid:x",
        "a b",
        "a ws:public#a",
        "",
    ] {
        let config = TokenConfig {
            extra_scopes: Some(vec![words.to_owned()]),
            ..TokenConfig::default()
        };
        let error = refusal(manager.generate_token(Some(config)).await)?;
        assert!(matches!(error, ManagerError::Value(_)), "{words}: {error}");
    }
    for workspace in ["public", "ws-user-root", "*", "ws-nowhere"] {
        let config = TokenConfig {
            workspace: Some(workspace.into()),
            ..TokenConfig::default()
        };
        let error = refusal(manager.generate_token(Some(config)).await)?;
        assert!(
            matches!(error, ManagerError::Permission(_)),
            "{workspace}: {error}"
        );
    }
    let email = TokenConfig {
        email: Some("x@y".into()),
        ..TokenConfig::default()
    };
    refusal(manager.generate_token(Some(email)).await)?;
    refusal(manager.generate_token(Some(with("everything"))).await)?;

    let token = manager.generate_token(None).await?;
    let user = manager.parse_token(token.clone()).await?;
    assert_eq!(user.permission(&home), Some(Permission::ReadWrite));
    let elsewhere = connect(server.url()).await?;
    refusal(elsewhere.manager().await?.parse_token(token.clone()).await)?;
    manager.revoke_token(token.clone()).await?;
    refusal(manager.parse_token(token).await)?;
    Ok(())
}

#[tokio::test]
async fn workspaces_are_created_kept_and_deleted_by_their_owners() -> Result<()> {
    let server = Server::builder()
        .bind("127.0.0.1:0")
        .root_token(ROOT)
        .start()
        .await?;
    let root = connect(server.url()).token(ROOT).await?;
    let manager = root.manager().await?;
    let lab = |id: &str| WorkspaceConfig {
        id: Some(id.into()),
        ..WorkspaceConfig::default()
    };
    let made = manager.create_workspace(lab("ws-lab"), false).await?;
    assert_eq!((made.id.as_str(), made.name.as_str()), ("ws-lab", "ws-lab"));
    assert_eq!(made.properties.owners, ["root"]);
    let twice = refusal(manager.create_workspace(lab("ws-lab"), false).await)?;
    assert_eq!(
        twice,
        ManagerError::Runtime("Workspace already exists: ws-lab".into())
    );
    manager.create_workspace(lab("ws-lab"), true).await?;
    refusal(manager.create_workspace(lab("Ws_Lab"), false).await)?;
    refusal(manager.create_workspace(lab("public"), true).await)?;

    let config = TokenConfig {
        workspace: Some("ws-lab".into()),
        ..with(Permission::ReadWrite)
    };
    let guest = member(&server, &root, config).await?;
    assert_eq!(guest.workspace(), "ws-lab");
    let guests = guest.manager().await?;
    assert_eq!(guests.check_status().await?.status, "ready");
    assert_eq!(guests.get_workspace_info(None).await?.id, "ws-lab");
    for other in ["ws-user-root", "ws-nowhere"] {
        let error = refusal(guests.get_workspace_info(Some(other.into())).await)?;
        assert!(matches!(error, ManagerError::Permission(_)), "{error}");
    }
    refusal(guests.delete_workspace("ws-lab".into()).await)?;
    let listed = guests.list_workspaces(None, 0, 256).await?;
    assert!(
        listed
            .iter()
            .all(|workspace| workspace.id != "ws-user-root")
    );
    assert!(listed.iter().any(|workspace| workspace.id == "ws-lab"));

    guests.set_env("KEY".into(), "value".into()).await?;
    assert_eq!(
        guests.get_env(Some("KEY".into())).await?,
        Value::from("value")
    );
    let large = "x".repeat(300 << 10);
    let error = refusal(guests.set_env("KEY".into(), large.into()).await)?;
    assert!(matches!(&error, ManagerError::Value(text) if text.contains("too large")));
    // A token for the workspace grants no permissions in the workspace of its issuer.
    refusal(guests.create_workspace(lab("ws-guest"), false).await)?;
    let lab_mark = Bookmark {
        bookmark_type: BookmarkType::Workspace.into(),
        id: "ws-lab".into(),
    };
    refusal(guests.bookmark(lab_mark).await)?;
    guests.set_env("KEY".into(), Value::Null).await?;
    let missing = refusal(guests.get_env(Some("KEY".into())).await)?;
    let text = "Environment variable 'KEY' not found in workspace ws-lab";
    assert_eq!(missing, ManagerError::Key(text.into()));

    manager
        .bookmark(Bookmark {
            bookmark_type: BookmarkType::Workspace.into(),
            id: "public".into(),
        })
        .await?;
    let own = manager.get_workspace_info(None).await?;
    let bookmarks = own
        .properties
        .config
        .get("bookmarks")
        .and_then(Value::as_list)
        .context("none")?;
    assert_eq!(
        bookmarks.len(),
        2,
        "the workspace that was made is there as well"
    );

    manager.delete_workspace("ws-lab".into()).await?;
    guest.closed().await;
    refusal(manager.get_workspace_info(Some("ws-lab".into())).await)?;
    refusal(manager.delete_workspace("public".into()).await)?;

    let anonymous = connect(server.url()).await?;
    let refused = anonymous
        .manager()
        .await?
        .create_workspace(lab("ws-mine"), false)
        .await;
    assert!(refusal(refused)?.message().contains("Only registered user"));
    Ok(())
}

#[tokio::test]
async fn the_remaining_methods_respond() -> Result<()> {
    let server = server().await?;
    let client = connect(server.url()).client_id("c").await?;
    let manager = client.manager().await?;
    assert_eq!(manager.ping("c".into(), 5.0).await?, "pong");
    assert!(
        manager
            .ping("nobody".into(), 5.0)
            .await?
            .starts_with("Failed to ping client")
    );
    manager.log(Value::from("hello")).await?;
    manager
        .log_event("measured".into(), Some(Value::from(3)))
        .await?;
    refusal(manager.log_event("two words".into(), None).await)?;
    let large = Value::from("x".repeat(70 << 10));
    let error = refusal(manager.log_event("large".into(), Some(large)).await)?;
    assert!(matches!(error, ManagerError::Value(_)), "{error}");
    let events = manager
        .get_events(Some("measured".into()), None, None)
        .await?;
    assert_eq!((events.len(), &events[0].data), (1, &Value::from(3)));
    assert_eq!(manager.get_event_stats(None, None, None).await?.len(), 2);
    let summary = manager.get_summary().await?;
    assert_eq!(summary.clients, [format!("{}/c", client.workspace())]);
    assert_eq!(summary.service_count, 1);
    assert_eq!(
        manager.cleanup(None, 1.0).await?,
        Value::Map(Default::default())
    );
    let search = manager
        .search_services(None, None, 5, 0, None, None, false, false)
        .await;
    assert_eq!(
        refusal(search)?,
        ManagerError::Runtime("Service search is not enabled.".into())
    );
    let unknown = ServiceQuery::from(ServiceFilter {
        unknown: [("colour".to_owned(), Value::Null)].into_iter().collect(),
        ..ServiceFilter::default()
    });
    let error = refusal(
        manager
            .list_services(Some(unknown), false, false, false)
            .await,
    )?;
    assert_eq!(
        error,
        ManagerError::Value("Invalid query keys: {'colour'}".into())
    );
    assert!(
        manager
            .subscribe(EventTypes::from("client_connected"))
            .await?
    );
    let many: Vec<String> = (0..1001).map(|number| format!("event{number}")).collect();
    refusal(manager.subscribe(EventTypes::from(many)).await)?;
    refusal(
        manager
            .subscribe(EventTypes::from(vec!["x".repeat(300)]))
            .await,
    )?;
    // The manager is an ordinary service, and each of its methods has a schema.
    let itself = manager.get_service("~".into(), None).await?;
    assert_eq!(itself.get("id").and_then(Value::as_str), Some("default"));
    let echo = itself.get("echo").context("no echo")?;
    let schema = echo.get("_rschema").context("no schema")?;
    assert_eq!(schema.get("name").and_then(Value::as_str), Some("echo"));
    Ok(())
}

/// Python clients read the records in a format that differs from the types of this crate.
#[tokio::test]
async fn records_have_the_format_of_the_python_server() -> Result<()> {
    let server = server().await?;
    let owner = connect(server.url()).client_id("owner").await?;
    let stranger = connect(server.url()).await?;
    let home = owner.workspace();
    let shared = number("shared", Visibility::Protected, 4);
    owner
        .register_service(shared.authorized_workspaces([stranger.workspace()]))
        .await?;
    owner
        .register_service(number("open", Visibility::Public, 1))
        .await?;
    for (client, name, shown) in [
        (
            &owner,
            "shared",
            Some(Value::from(vec![stranger.workspace()])),
        ),
        (&owner, "open", Some(Value::Null)),
        (&stranger, "shared", None),
        (&stranger, "open", Some(Value::Null)),
    ] {
        let id = format!("{home}/owner:{name}");
        let manager = client.get_service("~").await?;
        let info: Value = manager.call("get_service_info", args!(id.as_str())).await?;
        let config = info.get("config").context("no config")?;
        assert_eq!(
            config.get("authorized_workspaces"),
            shown.as_ref(),
            "{name}"
        );
        let listed: Vec<Value> = manager.call("list_services", args!(home.as_str())).await?;
        let has_id = |info: &&Value| info.get("id").and_then(Value::as_str) == Some(&id);
        let info = listed.iter().find(has_id).context("not listed")?;
        let config = info.get("config").context("no config")?;
        assert_eq!(
            config.get("authorized_workspaces"),
            shown.as_ref(),
            "{name}"
        );
    }
    // Under each of its ids, the manager is an ordinary service with a schema.
    let manager = stranger.manager().await?;
    for id in ["~".to_owned(), format!("{home}/~"), "public/~".to_owned()] {
        let info = manager.get_service_info(id, None).await?;
        assert_eq!(
            (info.id.as_str(), info.config.workspace.as_deref()),
            ("~", Some("*"))
        );
        let schema = info.service_schema.context("no schema")?;
        let echo = schema.get("echo").and_then(|echo| echo.get("function"));
        let name = echo.and_then(|echo| echo.get("name")?.as_str());
        assert_eq!(name, Some("echo"));
    }
    Ok(())
}

#[tokio::test]
async fn omitted_arguments_have_the_defaults_of_the_python_server() -> Result<()> {
    let root = Server::builder().bind("127.0.0.1:0").root_token(ROOT);
    let server = root.start().await?;
    let root = connect(server.url()).token(ROOT).await?;
    let manager = root.get_service("~").await?;
    for (config, id) in [
        (json!({"name": "only-named"}), "only-named"),
        (json!({"name": "also-named", "id": null}), "also-named"),
        (json!({"name": "", "id": "with-id"}), "with-id"),
        (
            json!({"name": null, "id": "with-nulls", "owners": null, "config": null}),
            "with-nulls",
        ),
    ] {
        let made: Value = manager
            .call("create_workspace", args!(Value::from(config)))
            .await?;
        assert_eq!(made.get("id").and_then(Value::as_str), Some(id));
        assert_eq!(made.get("name").and_then(Value::as_str), Some(id));
    }
    for (config, text) in [
        (json!({}), "Workspace id must be provided"),
        (json!({"id": "", "name": "never-made"}), "must not be empty"),
    ] {
        let made = manager.call::<Value>("create_workspace", args!(Value::from(config)));
        let error = made.await.err().context("made")?.to_string();
        assert!(error.contains(text), "{error}");
    }
    for life in [json!(60), json!("60"), json!(60.0), json!(null), json!(0)] {
        let config = Value::from(json!({"expires_in": life, "workspace": ""}));
        manager
            .call::<String>("generate_token", args!(config))
            .await?;
    }
    for life in [json!(-1), json!(1.5), json!("soon"), json!([])] {
        let config = Value::from(json!({"expires_in": life}));
        let made = manager
            .call::<String>("generate_token", args!(config))
            .await;
        let error = made.err().context("made")?.to_string();
        assert!(error.contains("whole number of seconds"), "{error}");
    }
    let set = manager.call::<Value>("set_env", args!("KEY")).await;
    let error = set.err().context("set")?.to_string();
    assert!(error.contains("missing argument `value`"), "{error}");
    manager.call::<Value>("set_env", args!("KEY", 5)).await?;
    let value: Value = manager.call("get_env", args!("KEY")).await?;
    assert_eq!(value, Value::from(5));
    Ok(())
}

#[tokio::test]
async fn a_service_may_be_registered_under_its_full_id() -> Result<()> {
    let server = server().await?;
    let mut client = Raw::anonymous(&server, "c").await?;
    client.register("built-in", json!({})).await?;
    let home = client.workspace().to_owned();
    let address = format!("{home}/c");
    for (id, name) in [
        (format!("{address}:one"), "one"),
        (format!("{address}:{address}:two"), "two"),
    ] {
        let service = json!([{"id": id, "config": {}}]);
        client.ask("register_service", service).await?;
        let info = client.ask("get_service_info", json!([name])).await?;
        let id = format!("{address}:{name}");
        assert_eq!(info.get("id").and_then(Value::as_str), Some(id.as_str()));
    }
    let stolen = format!("{address}:{home}/d:three");
    let service = json!([{"id": stolen, "config": {}}]);
    assert!(client.ask("register_service", service).await.is_err());
    Ok(())
}

#[tokio::test]
async fn large_values_pass_through_the_manager() -> Result<()> {
    let server = server_with(|limits| limits.message_burst = 1e6).await?;
    let client = connect(server.url()).await?;
    let large = Value::Bytes(vec![7; 20 << 20].into());
    assert_eq!(client.manager().await?.echo(large.clone()).await?, large);
    Ok(())
}

#[tokio::test]
async fn nothing_remains_after_all_clients_disconnect() -> Result<()> {
    let server = Server::builder()
        .bind("127.0.0.1:0")
        .root_token(ROOT)
        .start()
        .await?;
    for _ in 0..3 {
        let client = connect(server.url()).await?;
        client
            .register_service(number("n", Visibility::Public, 1))
            .await?;
        client.disconnect().await;
    }
    let root = connect(server.url()).token(ROOT).await?;
    let manager = root.manager().await?;
    // The server detects the end of the connection a moment later.
    for _ in 0..200 {
        let everywhere = ServiceFilter {
            workspace: Some("*".into()),
            ..ServiceFilter::default()
        };
        let query = Some(ServiceQuery::from(everywhere));
        let services = manager.list_services(query, false, false, false).await?;
        let workspaces = manager.list_workspaces(None, 0, 256).await?;
        // Only the services of this client, the services of the server, and the three workspaces of
        // the server remain.
        if services.len() == 5 && workspaces.len() == 3 {
            assert_eq!(server.stats().connections_open, 1);
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    bail!("records remain")
}

#[tokio::test]
async fn deleting_the_own_workspace_responds_and_then_disconnects() -> Result<()> {
    let root = Server::builder().bind("127.0.0.1:0").root_token(ROOT);
    let server = root.start().await?;
    let root = connect(server.url()).token(ROOT).await?;
    let mut client = Raw::anonymous(&server, "c").await?;
    let home = client.workspace().to_owned();
    client.ask("delete_workspace", json!([home])).await?;
    assert_eq!(client.end().await?.code, 1001);
    let found = root.manager().await?.get_workspace_info(Some(home)).await;
    assert!(matches!(refusal(found)?, ManagerError::Key(_)));
    Ok(())
}

#[tokio::test]
async fn a_wrong_type_in_a_record_is_reported_with_its_key() -> Result<()> {
    let server = server().await?;
    let client = connect(server.url()).await?;
    let manager = client.get_service("~").await?;
    let config: Value = json!({"mode": 5}).into();
    let lookup = manager.call::<Value>("get_service_info", args!("s", config));
    let error = lookup.await.err().context("accepted")?.to_string();
    assert!(error.contains("`config.mode`"), "{error}");
    let config: Value = json!({"id": "ws-lab", "owners": 5}).into();
    let creation = manager.call::<Value>("create_workspace", args!(config));
    let error = creation.await.err().context("accepted")?.to_string();
    assert!(error.contains("`config.owners`"), "{error}");
    Ok(())
}

#[tokio::test]
async fn names_of_services_have_no_separators() -> Result<()> {
    let server = server().await?;
    let client = connect(server.url()).await?;
    let manager = client.get_service("~").await?;
    let own = format!("{}/{}", client.workspace(), client.client_id());
    for name in ["a/b", "a:b", "a@b", "ws-other/client:name", ""] {
        let record = json!({"id": format!("{own}:{name}"), "name": "n", "config": {}});
        let refused = manager
            .call::<Value>("register_service", args!(record))
            .await;
        let text = refused.unwrap_err().to_string();
        assert!(
            text.contains("none of the characters / : @"),
            "{name}: {text}"
        );
    }
    Ok(())
}
