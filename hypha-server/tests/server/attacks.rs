//! Tests attacks on the server, all of which must fail.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hypha_rpc::Value;
use hypha_server::{Server, TokenSettings};
use hypha_wire as wire;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Raw, http, refused, server, server_with};

const SECRET: &str = "the secret of the server under attack";

/// Calls a manager method that must fail. Returns the error text.
async fn refusal(client: &mut Raw, method: &str, args: serde_json::Value) -> Result<String> {
    match client.ask(method, args.clone()).await {
        Ok(answer) => anyhow::bail!("{method}{args} was answered: {answer}"),
        Err(error) => Ok(error.to_string()),
    }
}

fn sign(algorithm: Algorithm, secret: &str, claims: &serde_json::Value) -> Result<String> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(algorithm), claims, &key)?)
}

/// Returns the claims of a token for a user's own workspace.
fn user_claims(user: &str) -> serde_json::Value {
    let names = TokenSettings::default();
    json!({
        "iss": names.issuer, "aud": names.audience, "sub": user, "exp": seconds_from_now(600),
        "scope": format!("ws:ws-user-{user}#a wid:ws-user-{user}"),
    })
}

fn seconds_from_now(seconds: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_secs() as i64 + seconds
}

#[tokio::test]
async fn child_tokens_do_not_multiply_the_memory_of_a_user() -> Result<()> {
    let builder = Server::builder().bind("127.0.0.1:0").jwt_secret(SECRET);
    let server = builder.start().await?;
    let connect = async |user: &str| {
        let claims = user_claims(user);
        let token = sign(Algorithm::HS256, SECRET, &claims)?;
        Raw::connect(&server, json!({"client_id": "c", "token": token})).await
    };
    let mut ann = connect("ann").await?;
    let before = server.stats().memory_owners;
    let mut child = ann.colleague(&server, "child", "admin").await?;
    let _grandchild = child.colleague(&server, "grandchild", "read").await?;
    assert_eq!(server.stats().memory_owners, before);
    let _bob = connect("bob").await?;
    assert_eq!(server.stats().memory_owners, before + 1);
    Ok(())
}

#[tokio::test]
async fn forged_tokens_are_refused_by_all_transports() -> Result<()> {
    let builder = Server::builder().bind("127.0.0.1:0").jwt_secret(SECRET);
    let server = builder.start().await?;
    let names = TokenSettings::default();
    let claims = |change: serde_json::Value| {
        let mut claims = json!({
            "iss": names.issuer, "aud": names.audience, "sub": "mallory",
            "exp": seconds_from_now(600), "scope": "ws:ws-user-root#a wid:ws-user-root",
            "https://amun.ai/roles": ["admin"],
        });
        if let (Some(claims), Some(change)) = (claims.as_object_mut(), change.as_object()) {
            claims.extend(change.clone());
        }
        claims
    };
    let unsigned = {
        use base64::Engine;
        let part = |json: serde_json::Value| {
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string())
        };
        let header = json!({"alg": "none", "typ": "JWT"});
        format!("{}.{}.", part(header), part(claims(json!({}))))
    };
    let good = sign(Algorithm::HS256, SECRET, &claims(json!({})))?;
    let (body, signature) = good.rsplit_once('.').context("no JWT")?;
    let other_body = sign(Algorithm::HS256, "x", &claims(json!({"sub": "root"})))?;
    let other_body = other_body.rsplit_once('.').context("no JWT")?.0;
    let hs = |change| sign(Algorithm::HS256, SECRET, &claims(change));
    for (what, token) in [
        ("unsigned", unsigned),
        (
            "another key",
            sign(Algorithm::HS256, "guessed", &claims(json!({})))?,
        ),
        (
            "another algorithm",
            sign(Algorithm::HS512, SECRET, &claims(json!({})))?,
        ),
        ("another body", format!("{other_body}.{signature}")),
        ("no signature", format!("{body}.")),
        ("over", hs(json!({"exp": seconds_from_now(-1)}))?),
        ("of the future", hs(json!({"nbf": seconds_from_now(600)}))?),
        ("endless", hs(json!({"exp": null}))?),
        (
            "another issuer",
            hs(json!({"iss": "https://mallory.example.org/"}))?,
        ),
        ("another audience", hs(json!({"aud": "mallory"}))?),
        ("a path for a name", hs(json!({"sub": "../root"}))?),
        ("a star for a name", hs(json!({"sub": "*"}))?),
        (
            "a permission of its own",
            hs(json!({"scope": "ws:lab#root"}))?,
        ),
    ] {
        let end = refused(&server, json!({"client_id": "c", "token": token})).await?;
        assert_eq!(end.code, 1008, "{what}: {end:?}");
        let hello = json!({"client_id": "c", "reconnection_token": token});
        assert_eq!(refused(&server, hello).await?.code, 1008, "{what}");
        for path in [
            "/rpc?client_id=c",
            "/assets/config.json",
            "/public/services/",
        ] {
            let request = http().get(format!("{}{path}", server.url()));
            let status = request.bearer_auth(&token).send().await?.status();
            assert_eq!(status, 401, "{what} at {path}");
        }
    }
    // The same claims are accepted with the right signature.
    assert!(
        Raw::connect(&server, json!({"client_id": "c", "token": good}))
            .await
            .is_ok()
    );
    Ok(())
}

#[tokio::test]
async fn a_client_cannot_forge_its_sender() -> Result<()> {
    let server = server().await?;
    let mut victim = Raw::anonymous(&server, "victim").await?;
    let mut mallory = Raw::anonymous(&server, "mallory").await?;
    let root = json!({"id": "root", "roles": ["admin"], "scope": {"workspaces": {"*": "a"}}});
    let lies = json!({
        "type": "hello", "to": victim.address(), "from": format!("{}/friend", victim.workspace()),
        "ws": victim.workspace(), "user": root, "ctx": {"user": root, "ws": victim.workspace()},
        "context": {"user": root},
    });
    mallory.send(lies.clone(), None).await?;
    let got = victim.message().await?;
    assert_eq!(got.from(), Some(mallory.address().as_str()));
    assert_eq!(got.ws(), Some(mallory.workspace()));
    let user = got.main()?.get("user").cloned().unwrap_or_default();
    assert_eq!(
        user.get("id"),
        mallory.info["user"]["id"]
            .as_str()
            .map(Value::from)
            .as_ref()
    );

    // The forged message is sent in chunks, which the manager reassembles.
    let mut hidden = wire::to_vec(&json!({
        "type": "method", "to": mallory.manager(), "from": victim.address(), "user": root,
        "ws": victim.workspace(), "session": "hidden", "method": "services.default.check_status",
    }))?;
    wire::encode(&mut hidden, &json!({"args": [], "promise": "*", "t": 10.0}))?;
    let mut cache = async |method: &str, args: Vec<Value>| -> Result<()> {
        let main = json!({
            "type": "method", "to": mallory.manager(), "session": "s",
            "method": format!("services.built-in.message_cache.{method}"),
        });
        let extra = hypha_rpc::Map::from_iter([
            ("args".to_owned(), Value::List(args)),
            ("promise".to_owned(), Value::from("*")),
            ("t".to_owned(), Value::from(10.0)),
        ]);
        let mut frame = wire::to_vec(&main)?;
        wire::encode(&mut frame, &extra)?;
        mallory.binary(frame).await
    };
    let key = || Value::from("k");
    cache("create", vec![key(), false.into()]).await?;
    cache("set", vec![key(), 0.into(), Value::Bytes(hidden.into())]).await?;
    cache("process", vec![key(), false.into()]).await?;
    // The response goes to the sender. Its content shows which client the server considered the
    // sender.
    loop {
        let message = mallory.message().await?;
        if message.method() == Some("hidden.resolve") {
            let status: Value = message.extra()?.args.get(0).context("no answer")??;
            assert_eq!(status.get("user_permission"), Some(&Value::from("a")));
            break;
        }
    }
    assert!(victim.is_quiet().await);
    Ok(())
}

#[tokio::test]
async fn other_workspaces_are_inaccessible() -> Result<()> {
    let server = server().await?;
    let mut victim = Raw::anonymous(&server, "victim").await?;
    victim
        .register("built-in", json!({"visibility": "public"}))
        .await?;
    victim
        .register("secret", json!({"visibility": "protected"}))
        .await?;
    victim.ask("set_env", json!(["PASSWORD", "x"])).await?;
    let home = victim.workspace().to_owned();
    let mut mallory = Raw::anonymous(&server, "mallory").await?;
    mallory
        .register("built-in", json!({"visibility": "public"}))
        .await?;

    for (method, args) in [
        ("get_service", json!([format!("{home}/secret")])),
        ("get_service", json!([format!("{home}/victim:secret")])),
        ("get_service_info", json!([format!("{home}/secret")])),
        ("get_service", json!(["*/secret"])),
        ("get_service", json!([format!("{home}*/secret")])),
        ("get_service", json!([format!("../{home}/secret")])),
        ("list_clients", json!([home])),
        ("list_service_types", json!([home])),
        ("get_workspace_info", json!([home])),
        ("delete_workspace", json!([home])),
        ("cleanup", json!([home])),
        ("list_services", json!([{"workspace": home}, true])),
        (
            "list_services",
            json!([{"workspace": "*", "visibility": "protected"}]),
        ),
        ("generate_token", json!([{"workspace": home}])),
        ("generate_token", json!([{"workspace": "*"}])),
        (
            "generate_token",
            json!([{"extra_scopes": [format!("ws:{home}#a")]}]),
        ),
        (
            "generate_token",
            json!([{"extra_scopes": [format!("x ws:{home}#a")]}]),
        ),
        (
            "generate_token",
            json!([{"client_id": format!("x ws:{home}#a")}]),
        ),
        ("generate_token", json!([{"email": "root@example.org"}])),
        (
            "unregister_service",
            json!([format!("{home}/victim:secret")]),
        ),
        (
            "register_service",
            json!([{"id": format!("{home}/victim:secret"), "config": {}}]),
        ),
        (
            "register_service",
            json!([{"id": format!("{home}/mallory:x"), "config": {}}]),
        ),
        ("register_service", json!([{"id": "other:x", "config": {}}])),
        // These calls use the names of the server's own services.
        (
            "register_service",
            json!([{"id": "public/mallory:hypha-login", "config": {}}]),
        ),
        (
            "register_service",
            json!([{"id": "*/mallory:default", "config": {}}]),
        ),
        ("subscribe", json!([format!("{home}/x")])),
        ("subscribe", json!([home])),
        ("create_workspace", json!([{"id": home}, true])),
        (
            "bookmark",
            json!([{"bookmark_type": "workspace", "id": home}]),
        ),
    ] {
        let said = refusal(&mut mallory, method, args.clone()).await?;
        assert!(!said.contains("PASSWORD"), "{method}{args}: {said}");
    }
    let listed = mallory
        .ask("list_services", json!([{"workspace": home}]))
        .await?;
    let names = listed.as_list().map(<[Value]>::len);
    assert_eq!(
        names,
        Some(1),
        "the built-in service is public, nothing else is"
    );
    // A ping never fails. Its result must reveal only that there was no response.
    let said = mallory
        .ask("ping", json!([format!("{home}/victim")]))
        .await?;
    assert!(
        said.as_str()
            .is_some_and(|said| said.starts_with("Failed to ping client"))
    );
    assert!(victim.is_quiet().await);
    Ok(())
}

#[tokio::test]
async fn too_large_or_too_deep_values_are_refused() -> Result<()> {
    let server = server().await?;
    let mut mallory = Raw::anonymous(&server, "mallory").await?;
    mallory.register("built-in", json!({})).await?;
    let service = |name: &str, more: serde_json::Value| {
        let mut service = json!({"id": format!("mallory:{name}"), "config": {}});
        if let (Some(service), Some(more)) = (service.as_object_mut(), more.as_object()) {
            service.extend(more.clone());
        }
        json!([service])
    };
    let deep = (0..100).fold(json!(1), |inner, _| json!({"properties": {"x": inner}}));
    let wide: Vec<_> = (0..60_000).map(|n| json!(format!("{n}"))).collect();
    for (what, args) in [
        ("a long name", service(&"n".repeat(300_000), json!({}))),
        (
            "a deep schema",
            service("deep", json!({"service_schema": deep})),
        ),
        (
            "a wide schema",
            service("wide", json!({"service_schema": wide})),
        ),
        (
            "a long text",
            service("text", json!({"docs": "x".repeat(300_000)})),
        ),
        ("an id with too many parts", service("a:b", json!({}))),
        ("an id with a path", service("a/../b", json!({}))),
    ] {
        let refused = mallory.ask("register_service", args).await;
        assert!(refused.is_err(), "{what}");
    }
    for (method, args) in [
        ("set_env", json!(["K", "x".repeat(400_000)])),
        ("log_event", json!(["e", "x".repeat(100_000)])),
        ("subscribe", json!(["x".repeat(1000)])),
        (
            "register_service_type",
            json!([{"id": "t", "name": "t", "definition": wide}]),
        ),
        (
            "echo",
            json!([(0..200).fold(json!(1), |inner, _| json!([inner]))]),
        ),
    ] {
        let refused = mallory.ask(method, args).await;
        assert!(refused.is_err(), "{method}");
    }
    // None of the attacks had an effect.
    assert_eq!(mallory.ask("echo", json!([1])).await?, Value::from(1));
    Ok(())
}

#[tokio::test]
async fn a_false_length_takes_no_memory() -> Result<()> {
    let server = server().await?;
    let mut mallory = Raw::anonymous(&server, "mallory").await?;
    // A list, a map, a string and binary data, each with a declared length of four billion.
    for lie in [0xdd_u8, 0xdf, 0xdb, 0xc6] {
        let mut frame = wire::to_vec(&json!({
            "type": "method", "to": mallory.manager(), "method": "services.default.echo",
            "session": "s",
        }))?;
        frame.extend([lie, 0xff, 0xff, 0xff, 0xff]);
        mallory.binary(frame).await?;
        mallory.binary(vec![lie, 0xff, 0xff, 0xff, 0xff]).await?;
    }
    assert_eq!(mallory.ask("echo", json!([1])).await?, Value::from(1));
    Ok(())
}

#[tokio::test]
async fn a_slow_sender_is_disconnected_by_a_timeout() -> Result<()> {
    let server = server_with(|limits| {
        limits.body_timeout = Duration::from_millis(200);
        limits.handshake_timeout = Duration::from_millis(200);
    })
    .await?;
    // The body of this request never arrives completely.
    let mut slow = TcpStream::connect(server.local_addr()).await?;
    let head = "POST /public/services/hypha-login/start HTTP/1.1\r\nHost: x\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await?;
    let mut answer = vec![0; 12];
    tokio::time::timeout(Duration::from_secs(10), slow.read_exact(&mut answer)).await??;
    assert_eq!(answer, b"HTTP/1.1 408");
    // This WebSocket sends no first frame.
    let mut silent = Raw::open(&server, "").await?;
    assert_eq!(silent.end().await?.code, 1008);
    Ok(())
}

#[tokio::test]
async fn the_second_segment_cannot_override_the_stamps() -> Result<()> {
    let server = server().await?;
    let mut victim = Raw::anonymous(&server, "victim").await?;
    let mut forger = Raw::anonymous(&server, "forger").await?;
    for key in ["ctx", "from", "user", "ws"] {
        let main = json!({
            "type": "method", "to": victim.address(), "method": "services.x.y", "session": "S",
        });
        let extra = json!({"args": [1], key: {"user": {"id": "root"}}});
        forger.send(main, Some(extra)).await?;
        let answer = forger.message().await?;
        assert_eq!(answer.method(), Some("S.reject"));
        let error = answer.extra()?.args.get::<Value>(0).transpose()?;
        let text = error.unwrap_or_default().to_string();
        assert!(
            text.contains(&format!("cannot have the key `{key}`")),
            "{text}"
        );
    }
    assert!(victim.is_quiet().await, "no part of the message arrives");
    Ok(())
}

/// Names become parts of addresses and keys, in which these characters are separators.
#[tokio::test]
async fn names_with_separators_are_refused() -> Result<()> {
    let server = server().await?;
    for id in ["a/b", "a:b", "a@b", "*", "a b"] {
        let hello = json!({"client_id": id});
        let end = refused(&server, hello).await?;
        assert!(end.error.is_some(), "{id}: {end:?}");
        let request = http().get(format!("{}/rpc", server.url()));
        let answer = request.query(&[("client_id", id)]).send().await?;
        assert!(
            answer.status().is_client_error(),
            "{id}: {}",
            answer.status()
        );
    }
    let mut client = Raw::anonymous(&server, "c").await?;
    client.register("built-in", json!({})).await?;
    let address = client.address();
    for id in [
        "x/y:svc", "c:s/vc", "c:s:vc", "c:s@vc", ":svc", "c:", "c/d:svc", "svc",
    ] {
        let service = json!({"id": id, "name": "n", "type": "t", "config": {}});
        let error = refusal(&mut client, "register_service", json!([service])).await?;
        assert!(!error.is_empty(), "{id}");
    }
    for id in ["a/b", "a:b", "a@b", "*", "a b"] {
        let error = refusal(&mut client, "create_workspace", json!([{"id": id}])).await?;
        assert!(!error.is_empty(), "{id}");
    }
    // A type may be any string, and is returned unchanged.
    for kind in ["a:b", "a/b", "a|b", "a@b", "*", "services:public|x:w/c:n@*"] {
        let id = format!("{address}:svc");
        let service = json!({"id": id, "name": "n", "type": kind, "config": {}});
        client.ask("register_service", json!([service])).await?;
        let listed = client.ask("list_services", json!([{"type": kind}])).await?;
        let listed = match listed {
            Value::List(listed) => listed,
            other => anyhow::bail!("{other} is no list"),
        };
        let of_it: Vec<_> = listed
            .iter()
            .filter(|service| service.get("id").and_then(Value::as_str) == Some(&id))
            .collect();
        assert_eq!(of_it.len(), 1, "{kind}");
        assert_eq!(of_it[0].get("type").and_then(Value::as_str), Some(kind));
        client.ask("unregister_service", json!([id])).await?;
    }
    Ok(())
}
