//! Tests permissions to call methods and fetch services (`docs/protocol/02-messages.md#s7-6`,
//! `docs/protocol/04-services.md#s10`).

use hypha_rpc::Value;
use hypha_rpc::client::Identity;
use hypha_rpc::service::{Method, Service, Visibility};

use crate::support::{Peer, client_as, list, map, method_main, settled, with};

async fn guarded() -> (hypha_rpc::Client, Peer) {
    let mut identity = Identity::new("ws", "me");
    identity.manager_id = Some("manager".into());
    let (client, peer) = client_as(identity, hypha_rpc::client::Settings::in_process(), 1024);
    let service = |id: &str| {
        Service::new(id).method(Method::new("f", |call| async move { call.reply(&"ran") }))
    };
    for service in [
        service("protected"),
        service("shared").authorized_workspaces(["friends", "family"]),
        service("public").visibility(Visibility::Public),
        service("unlisted").visibility(Visibility::Unlisted),
    ] {
        client
            .register_service(service)
            .notify(false)
            .await
            .expect("registers");
    }
    (client, peer)
}

#[tokio::test(start_paused = true)]
async fn permissions_are_checked_for_each_method() {
    let (client, mut peer) = guarded().await;
    let denied = |from: &str, service: &str| {
        let ws = from.split('/').next().unwrap_or_default();
        Err(format!(
            "Permission denied for invoking protected method {from}:services.{service}.f, \
             workspace mismatch: ws != {ws}"
        ))
    };
    let ran = || Ok(Value::from("ran"));
    for (from, protected, shared) in [
        ("ws/anybody", true, true),
        ("friends/x", false, true),
        ("family/x", false, true),
        ("strangers/x", false, false),
        ("*/manager", true, true),
        ("*/other", false, false),
        ("friends-and-more/x", false, false),
    ] {
        for (service, allowed) in [
            ("protected", protected),
            ("shared", shared),
            ("public", true),
            ("unlisted", true),
        ] {
            let expected = if allowed {
                ran()
            } else {
                denied(from, service)
            };
            let method = format!("services.{service}.f");
            assert_eq!(peer.ask_as(from, &method, list![]).await, expected);
        }
    }
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn permissions_are_checked_for_descriptions() {
    let (client, mut peer) = guarded().await;
    for (from, protected, shared) in [
        ("ws/anybody", true, true),
        ("friends/x", false, true),
        ("strangers/x", false, false),
    ] {
        for (service, allowed) in [
            ("protected", protected),
            ("shared", shared),
            ("public", true),
            ("unlisted", true),
            ("built-in", true),
        ] {
            let outcome = peer
                .ask_as(from, "services.built-in.get_service", list![service])
                .await;
            match outcome {
                Ok(description) => {
                    assert!(allowed, "{from} {service}");
                    let id = description.get("id").and_then(Value::as_str);
                    assert_eq!(id, Some(service));
                }
                Err(text) => {
                    assert!(!allowed, "{from} {service}: {text}");
                    let ws = from.split('/').next().unwrap_or_default();
                    assert_eq!(
                        text,
                        format!(
                            "Permission denied for getting protected service: {service}, \
                             workspace mismatch: ws != {ws}"
                        )
                    );
                }
            }
        }
    }
    let unknown = peer
        .ask("services.built-in.get_service", list!["nope"])
        .await;
    assert_eq!(unknown, Err("Service not found: nope".to_owned()));
    settled(&client).await;
}

/// The manager fetches services for the clients of a workspace. The server writes the name of that
/// workspace into `ws`.
#[tokio::test(start_paused = true)]
async fn the_manager_sees_everything() {
    let (client, mut peer) = guarded().await;
    let main = method_main("*/manager", "S", "services.built-in.get_service");
    let main = with(main, "ws", "ws");
    let extra = map! {"args": list!["protected"], "promise": "*", "t": 10.0};
    peer.send(main, extra).await;
    let description = peer.answer_of("S").await.expect("allowed");
    assert_eq!(
        description.get("id").and_then(Value::as_str),
        Some("protected")
    );
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_for_another_workspace_is_refused() {
    let (client, mut peer) = guarded().await;
    for (from, to, expected) in [
        ("ws/x", "other/me", "Workspace mismatch: other != ws"),
        ("other/x", "me", "Workspace mismatch: other != ws"),
    ] {
        let main = with(method_main(from, "S", "services.public.f"), "to", to);
        let extra = map! {"args": list![], "promise": "*", "t": 10.0};
        peer.send(main, extra).await;
        assert_eq!(peer.answer_of("S").await, Err(expected.to_owned()));
    }
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn ping_requires_its_argument() {
    let (client, mut peer) = guarded().await;
    let ping = "services.built-in.ping";
    assert_eq!(
        peer.ask_as("far/away", ping, list!["ping"]).await,
        Ok("pong".into())
    );
    assert_eq!(
        peer.ask(ping, list!["pong"]).await,
        Err("Expected 'ping'".to_owned())
    );
    settled(&client).await;
}
