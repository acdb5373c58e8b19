//! Tests the selection among several services, the conversion of keys, and service types.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::workspace::{
    GetServiceConfig, ManagerError, Permission, SelectionMode, ServiceTypeInfo, TokenConfig,
};
use hypha_rpc::{Client, Error, Value, connect};
use hypha_server::Server;
use serde_json::json;

use crate::support::server;

async fn member(server: &Server, of: &Client, permission: Permission) -> Result<Client> {
    let config = TokenConfig {
        permission: Some(permission.into()),
        ..TokenConfig::default()
    };
    let token = of.manager().await?.generate_token(Some(config)).await?;
    Ok(connect(server.url()).token(token).await?)
}

/// Returns the error of the manager, for a call that must fail.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Error<ManagerError>>) -> Result<ManagerError> {
    match answer {
        Err(Error::Service(error)) => Ok(error),
        other => bail!("{other:?} is no refusal of the manager"),
    }
}

/// Connects a client with a service that has a method `get`. The method returns `answer`, or never
/// responds if `answer` is `None`.
async fn offer(server: &Server, owner: &Client, id: &str, answer: Option<Value>) -> Result<Client> {
    let client = member(server, owner, Permission::ReadWrite).await?;
    let method = Method::new("get", move |call: IncomingCall| {
        let answer = answer.clone();
        async move {
            match answer {
                Some(answer) => call.reply(&answer),
                None => std::future::pending().await,
            }
        }
    });
    client
        .register_service(Service::new(id).method(method))
        .await?;
    Ok(client)
}

/// Each client decodes the manager's record when it connects, so the record must stay small.
#[tokio::test]
async fn schemas_of_the_manager_leave_its_errors_out() -> Result<()> {
    let server = server().await?;
    let client = connect(server.url()).await?;
    let manager = client.manager().await?;
    let info = manager.get_service_info("~".into(), None).await?;
    let schemas = serde_json::to_value(info.service_schema)?;
    let methods = schemas.as_object().context("no schemas")?;
    assert!(methods.len() > 30, "{:?}", methods.keys());
    for (name, schema) in methods {
        assert!(
            schema["function"]["parameters"].is_object(),
            "{name}: {schema}"
        );
        assert!(schema["function"].get("x-hypha-error").is_none(), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_longer_timeout_waits_for_slow_responses() -> Result<()> {
    let server = server().await?;
    let owner = connect(server.url()).client_id("owner").await?;
    // The method takes longer than the default timeout of two seconds.
    let method = Method::new("get", |call: IncomingCall| async move {
        tokio::time::sleep(Duration::from_millis(2100)).await;
        call.reply(&9.0)
    });
    let _quick = offer(&server, &owner, "slow", Some(Value::from(1))).await?;
    let slow = member(&server, &owner, Permission::ReadWrite).await?;
    slow.register_service(Service::new("slow").method(method))
        .await?;
    let patient = owner
        .get_service("slow")
        .mode(SelectionMode::SelectMax("get".into()));
    let patient = patient.select_timeout(Duration::from_secs(10)).await?;
    assert!(patient.id().contains(&slow.client_id()), "{}", patient.id());
    Ok(())
}

/// A service that returns no number cannot be the smallest or largest. The selection does not wait
/// for slow services.
#[tokio::test]
async fn candidates_without_a_timely_number_are_skipped() -> Result<()> {
    let server = server().await?;
    let owner = connect(server.url()).client_id("owner").await?;
    let home = owner.workspace();
    let offer = async |id, answer| offer(&server, &owner, id, answer).await;
    let chosen = async |id: &str, mode: &str| -> Result<String> {
        let fetching = owner.get_service(id).mode(SelectionMode::from(mode));
        let limit = Duration::from_millis(500);
        Ok(fetching.select_timeout(limit).await?.id().to_owned())
    };
    let mut clients = Vec::new();
    for answer in [
        Some(Value::Null),
        Some(Value::from("many")),
        Some(Value::Float(f64::NAN)),
        None,
    ] {
        clients.push(offer("n", answer).await?);
    }
    let one = offer("n", Some(Value::Bool(true))).await?;
    let two = offer("n", Some(Value::from(" 2.5 "))).await?;
    for (mode, client) in [("select:min:get", &one), ("select:max:get", &two)] {
        let expected = format!("{home}/{}:n", client.client_id());
        assert_eq!(chosen("n", mode).await?, expected, "{mode}");
    }
    // If no candidate returns a number, any candidate is selected.
    clients.push(offer("m", Some(Value::Null)).await?);
    clients.push(offer("m", None).await?);
    chosen("m", "select:max:get").await?;
    // A single candidate is selected without a call.
    let only = offer("only", None).await?;
    let expected = format!("{home}/{}:only", only.client_id());
    assert_eq!(chosen("only", "select:none:get").await?, expected);
    Ok(())
}

#[tokio::test]
async fn keys_are_converted_on_request() -> Result<()> {
    let server = server().await?;
    let owner = connect(server.url()).await?;
    let method = Method::new("get_it", |call| async move { call.reply(&1i64) });
    owner
        .register_service(Service::new("s").method(method))
        .await?;
    let manager = owner.manager().await?;
    let fetch = async |case: &str| {
        let config = GetServiceConfig {
            case_conversion: Some(case.into()),
            ..GetServiceConfig::default()
        };
        manager.get_service("s".into(), Some(config)).await
    };
    for (case, keys) in [
        ("", ["get_it", ""]),
        ("snake", ["get_it", ""]),
        ("camel", ["getIt", ""]),
        ("camel+snake", ["getIt", "get_it"]),
        ("snake+camel", ["getIt", "get_it"]),
    ] {
        let service = fetch(case).await?;
        for key in ["get_it", "getIt"] {
            assert_eq!(
                service.get(key).is_some(),
                keys.contains(&key),
                "{case}: {key}"
            );
        }
        let config = service.get("config").context("no config")?;
        assert_eq!(
            config.get("workspace"),
            Some(&Value::from(owner.workspace()))
        );
    }
    let error = refusal(fetch("kebab").await)?;
    assert!(
        matches!(&error, ManagerError::Value(text) if text.contains("kebab")),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn service_types_belong_to_their_workspace() -> Result<()> {
    let server = server().await?;
    let owner = connect(server.url()).await?;
    let reader = member(&server, &owner, Permission::Read).await?;
    let stranger = connect(server.url()).await?;
    let home = owner.workspace();
    let info = |id: &str, config: serde_json::Value| ServiceTypeInfo {
        id: id.into(),
        name: "N".into(),
        definition: json!({"f": {"type": "function"}}).into(),
        config: Value::from(config).as_map().cloned().unwrap_or_default(),
        ..ServiceTypeInfo::default()
    };
    let manager = owner.manager().await?;
    manager
        .register_service_type(info("closed", json!({})))
        .await?;
    let open = info(&format!("{home}/open"), json!({"visibility": "public"}));
    manager.register_service_type(open).await?;
    let twice = refusal(manager.register_service_type(info("open", json!({}))).await)?;
    assert_eq!(
        twice,
        ManagerError::Key("Service type already exists: open".into())
    );
    let elsewhere = refusal(
        manager
            .register_service_type(info("other/x", json!({})))
            .await,
    )?;
    assert!(
        matches!(elsewhere, ManagerError::Assertion(_)),
        "{elsewhere}"
    );
    let readers = reader.manager().await?;
    let refused = refusal(readers.register_service_type(info("mine", json!({}))).await)?;
    assert!(matches!(refused, ManagerError::Permission(_)), "{refused}");

    for (client, may) in [(&owner, true), (&reader, true), (&stranger, false)] {
        let manager = client.manager().await?;
        let open = manager.get_service_type(format!("{home}/open")).await?;
        assert_eq!(open.id, format!("{home}/open"));
        assert_eq!(open.definition, json!({"f": {"type": "function"}}).into());
        let closed = manager.get_service_type(format!("{home}/closed")).await;
        assert_eq!(closed.is_ok(), may, "{closed:?}");
        let list = manager.list_service_types(Some(home.clone())).await;
        assert_eq!(list.map(|list| list.len()).ok(), may.then_some(2));
    }
    let missing = refusal(manager.get_service_type("nothing".into()).await)?;
    assert_eq!(
        missing,
        ManagerError::Key("Service type not found: nothing".into())
    );
    Ok(())
}
