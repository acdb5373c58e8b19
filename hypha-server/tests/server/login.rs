//! Tests the login with a key by programs and by browsers, and the former addresses of the manager.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hypha_rpc::service::{IncomingCall, Method};
use hypha_rpc::{Args, RemoteService, Value, args};
use hypha_server::{Limits, Server};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{self, Raw, server};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

async fn start(service: &RemoteService) -> Result<Value> {
    Ok(service.call("start", args!()).await?)
}

#[tokio::test]
async fn a_program_gets_the_token_that_its_user_reports() -> Result<()> {
    let server = server().await?;
    let program = hypha_rpc::connect(server.url()).await?;
    let login = program.get_service("public/hypha-login").await?;
    assert_eq!(login.get("type"), Some(&Value::from("functions")));
    let user = hypha_rpc::connect(server.url()).await?;
    let token = user.manager().await?.generate_token(None).await?;

    let begun = start(&login).await?;
    let key = text(&begun, "key");
    // The addresses of the Python server, which proxies and content security policies may name.
    let page = format!("{}/public/apps/hypha-login/?key={key}", server.url());
    assert_eq!(text(&begun, "login_url"), page);
    let report_url = format!("{}/public/services/hypha-login/report", server.url());
    assert_eq!(text(&begun, "report_url"), report_url);
    let found = support::http().get(page).send().await?;
    assert_eq!(found.status(), StatusCode::OK);
    let reader = support::http_reader(|client| client.redirect(reqwest::redirect::Policy::none()));
    let redirect = reader.get(format!("{}/login", server.url())).send().await?;
    assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(redirect.headers()["location"], "/public/apps/hypha-login/");
    let check = format!("{}?key={key}&timeout=0", text(&begun, "check_url"));
    assert_eq!(
        support::http().get(&check).send().await?.text().await?,
        "null"
    );
    let report = |token: &str| format!("{}?key={key}&token={token}", text(&begun, "report_url"));
    let forged = support::http().get(report("forged")).send().await?;
    assert_eq!(forged.status(), StatusCode::BAD_REQUEST);
    let waiting = {
        let (login, key) = (login.clone(), key.to_owned());
        tokio::spawn(async move {
            let checked = login.call::<Value>("check", args!(key, timeout = 20, profile = true));
            checked.await
        })
    };
    let reported = support::http().get(report(&token)).send().await?;
    assert_eq!(
        reported.status(),
        StatusCode::OK,
        "{}",
        reported.text().await?
    );
    let profile = waiting.await??;
    assert_eq!(text(&profile, "token"), token);
    assert_eq!(profile.get("email"), Some(&Value::Null));
    let again = login.call::<Value>("check", args!(key, timeout = 0)).await;
    let again = again
        .err()
        .context("the key was accepted twice")?
        .to_string();
    assert!(again.contains("Invalid key, key does not exist"), "{again}");

    // An invalid token is reported as invalid, not as missing.
    let begun = start(&login).await?;
    let (key, report) = (text(&begun, "key"), text(&begun, "report_url"));
    for token in ["", "a%20b"] {
        let blank = support::http().get(format!("{report}?key={key}&token={token}"));
        let blank = blank.send().await?;
        assert_eq!(
            blank.status(),
            StatusCode::BAD_REQUEST,
            "{}",
            blank.text().await?
        );
    }

    let begun = start(&login).await?;
    let late = login.call::<Value>("check", args!(text(&begun, "key"), timeout = 0.05));
    let late = late.await.err().context("nobody has logged in")?;
    assert!(
        late.to_string()
            .contains("Login timeout, waited for 0.05 seconds"),
        "{late}"
    );
    Ok(())
}

#[tokio::test]
async fn a_workspace_token_is_issued_from_the_reported_token() -> Result<()> {
    let server = server().await?;
    let user = hypha_rpc::connect(server.url()).await?;
    let config = hypha_rpc::workspace::TokenConfig {
        permission: Some(hypha_rpc::workspace::Permission::Admin.into()),
        ..Default::default()
    };
    let token = user.manager().await?.generate_token(Some(config)).await?;
    let login = user.get_service("public/hypha-login").await?;
    let workspace = user.workspace();
    let begun: Value = login
        .call("start", args!(workspace = workspace, expires_in = 60))
        .await?;
    let key = text(&begun, "key").to_owned();
    login.call::<Value>("report", args!(key, token)).await?;
    let got: String = login.call("check", args!(key, timeout = 0)).await?;
    assert_ne!(got, token);
    let member = hypha_rpc::connect(server.url()).token(got).await?;
    assert_eq!(member.workspace(), workspace);
    // A token for the workspace of another user is refused.
    let begun: Value = login
        .call("start", args!(workspace = "ws-user-root"))
        .await?;
    let key = text(&begun, "key").to_owned();
    let refused = login.call::<Value>("report", args!(key, token)).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("permission")));
    Ok(())
}

#[tokio::test]
async fn the_login_page_allows_only_its_own_script() -> Result<()> {
    let server = server().await?;
    // The HTTP client follows the redirect of `/login`.
    let page = support::http()
        .get(format!("{}/login", server.url()))
        .send()
        .await?;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"]
        .to_str()?
        .to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let html = page.text().await?;
    assert!(html.contains(r#"<script src="script">"#));
    let script = format!("{}/public/apps/hypha-login/script", server.url());
    let script = support::http().get(script).send().await?;
    assert!(
        script.headers()["content-type"]
            .to_str()?
            .starts_with("text/javascript")
    );
    Ok(())
}

#[tokio::test]
async fn the_manager_answers_under_its_former_address() -> Result<()> {
    let server = server().await?;
    let mut client = Raw::anonymous(&server, "c").await?;
    let former = "*/manager-of-yesterday";
    for session in ["one", "two"] {
        let main = json!({
            "type": "method", "to": former, "method": "services.default.echo", "session": session,
        });
        let extra = json!({"args": [7], "promise": "*", "t": 10.0});
        client.send(main, Some(extra)).await?;
        let answer = client.message().await?;
        assert_eq!(answer.from(), Some(former));
        assert_eq!(answer.method(), Some(format!("{session}.resolve").as_str()));
    }
    // The number of former addresses is limited, and other addresses are rejected.
    for number in 0..40 {
        let main = json!({
            "type": "method", "to": format!("*/manager-{number}"),
            "method": "services.built-in.ping", "session": "s",
        });
        let extra = json!({"args": ["ping"], "promise": "*", "t": 10.0});
        client.send(main, Some(extra)).await?;
        assert_eq!(client.answer().await?.method(), Some("s.resolve"));
    }
    for other in ["*/somebody", "*/manager-a:b"] {
        let main = json!({"type": "method", "to": other, "method": "x", "session": "s"});
        client.send(main, None).await?;
        assert_eq!(client.answer().await?.method(), Some("s.reject"));
    }
    let limit = Duration::from_secs(20);
    // The client reads its close frame during the shutdown, because the shutdown waits for clients
    // that do not read their close frames.
    let leaving = async move { client.end().await };
    let shutdown = tokio::time::timeout(limit, server.shutdown());
    let (left, shut_down) = tokio::join!(leaving, shutdown);
    shut_down?;
    assert_eq!(left?.code, 1001);
    Ok(())
}

/// Sends a call to the login service and does not wait for its response.
async fn call_blindly(client: &mut Raw, login: &str, method: &str, args: Value) -> Result<()> {
    let main = json!({
        "type": "method", "to": login, "method": format!("services.hypha-login.{method}"),
        "session": hypha_wire::random_id(),
    });
    let args = serde_json::to_value(args)?;
    client
        .send(main, Some(json!({"args": args, "promise": "*", "t": 10.0})))
        .await
}

#[tokio::test]
async fn clients_that_do_not_read_block_no_login() -> Result<()> {
    let large = Method::new("large", |_: IncomingCall| async {
        let mut result = Args::new(1, 0);
        result.push("result", &"x".repeat(200_000));
        Ok(result)
    });
    let mut limits = Limits::default();
    limits.queue_bytes = 64 * 1024;
    let server = Server::builder()
        .bind("127.0.0.1:0")
        .limits(limits)
        .login_method(large)
        .start()
        .await?;
    let honest = hypha_rpc::connect(server.url()).await?;
    let login = honest.get_service("public/hypha-login").await?;
    let address = login.id().split(':').next().unwrap_or_default();
    let mut deaf = Vec::new();
    for number in 0..6 {
        let mut client = Raw::anonymous(&server, &format!("deaf-{number}")).await?;
        // The responses exceed the capacity of the socket and the queue.
        for _ in 0..60 {
            call_blindly(&mut client, address, "large", Value::List(Vec::new())).await?;
        }
        call_blindly(&mut client, address, "start", Value::List(Vec::new())).await?;
        deaf.push(client);
    }
    let limit = Duration::from_secs(5);
    for _ in 0..20 {
        let begun = tokio::time::timeout(limit, start(&login)).await??;
        let key = text(&begun, "key");
        let check = login.call::<Value>("check", args!(key, timeout = 0));
        assert!(tokio::time::timeout(limit, check).await??.is_null());
    }
    drop(deaf);
    Ok(())
}

#[tokio::test]
async fn waiting_calls_end_when_their_client_disconnects() -> Result<()> {
    let server = support::server().await?;
    let honest = hypha_rpc::connect(server.url()).await?;
    let login = honest.get_service("public/hypha-login").await?;
    let key = text(&start(&login).await?, "key").to_owned();
    let address = login.id().split(':').next().unwrap_or_default();
    let before = server.stats().memory_used;
    let mut client = Raw::anonymous(&server, "client").await?;
    let entered = server.stats().memory_used;
    for _ in 0..50 {
        let args = Value::List(vec![key.as_str().into()]);
        call_blindly(&mut client, address, "check", args).await?;
    }
    let used = async |reached: &dyn Fn(u64) -> bool| {
        for _ in 0..3000 {
            if reached(server.stats().memory_used) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!(
            "{} bytes are charged, {before} before",
            server.stats().memory_used
        )
    };
    used(&|bytes| bytes > entered + 50 * 256).await?;
    client.close().await?;
    used(&|bytes| bytes <= before).await
}

/// A call may wait in the queue of the service until after its client has disconnected. The server
/// must then end the call as soon as it begins.
#[tokio::test]
async fn calls_that_begin_after_their_client_disconnected_end() -> Result<()> {
    let server = support::server().await?;
    let honest = hypha_rpc::connect(server.url()).await?;
    let login = honest.get_service("public/hypha-login").await?;
    let key = text(&start(&login).await?, "key").to_owned();
    let address = login.id().split(':').next().unwrap_or_default();
    let before = server.stats().memory_used;
    for _ in 0..5 {
        let mut client = Raw::anonymous(&server, "client").await?;
        for _ in 0..200 {
            let args = Value::List(vec![key.as_str().into()]);
            call_blindly(&mut client, address, "check", args).await?;
        }
        client.close().await?;
    }
    for _ in 0..3000 {
        let stats = server.stats();
        if stats.connections_open == 1 && stats.memory_used <= before {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!(
        "{} bytes are charged, {before} before",
        server.stats().memory_used
    )
}

/// Regression test: with these numbers of calls, one client blocked the logins of all other
/// clients.
#[tokio::test]
async fn floods_of_logins_do_not_block_other_clients() -> Result<()> {
    const STARTS: u64 = 10_200;
    const CHECKS: u64 = 4_500;
    let root = "0123456789abcdef0123456789abcdef";
    let builder = Server::builder().bind("127.0.0.1:0").root_token(root);
    let server = builder.start().await?;
    let honest = hypha_rpc::connect(server.url()).token(root).await?;
    let login = honest.get_service("public/hypha-login").await?;
    let address = login.id().split(':').next().unwrap_or_default();
    let begun = start(&login).await?;
    let mut greedy = Raw::anonymous(&server, "greedy").await?;
    for _ in 0..STARTS {
        call_blindly(&mut greedy, address, "start", Value::List(Vec::new())).await?;
    }
    // The key is still valid, so these calls wait for the login with the key.
    let args = Value::List(vec![text(&begun, "key").into(), 180.into()]);
    for _ in 0..CHECKS {
        call_blindly(&mut greedy, address, "check", args.clone()).await?;
    }
    let limit = Duration::from_secs(5);
    let share = u64::try_from(Limits::default().logins_per_client)?;
    loop {
        let begun = tokio::time::timeout(limit, start(&login)).await??;
        let key = text(&begun, "key").to_owned();
        let token = honest.manager().await?.generate_token(None).await?;
        let reported = login.call::<Value>("report", args!(key.as_str(), token.as_str()));
        tokio::time::timeout(limit, reported).await??;
        let check = login.call::<String>("check", args!(key, timeout = 5));
        assert_eq!(tokio::time::timeout(limit, check).await??, token);
        let stats = server.stats();
        if (stats.displaced_logins, stats.displaced_checks) == (STARTS - share, CHECKS - share) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_client_cannot_use_up_the_logins_of_others() -> Result<()> {
    let root = "0123456789abcdef0123456789abcdef";
    let mut limits = Limits::default();
    limits.logins_per_client = 5;
    limits.logins = 20;
    limits.login_checks_per_client = 3;
    limits.login_checks = 10;
    let builder = Server::builder().bind("127.0.0.1:0").limits(limits);
    let server = builder.root_token(root).start().await?;
    let greedy = hypha_rpc::connect(server.url()).await?;
    let greedy = greedy.get_service("public/hypha-login").await?;
    // This client has a token, because all anonymous clients of an address share their slots.
    let honest = hypha_rpc::connect(server.url()).token(root).await?;
    let login = honest.get_service("public/hypha-login").await?;
    let begun = start(&login).await?;
    let key = text(&begun, "key").to_owned();
    let mut last = Value::Null;
    for _ in 0..30 {
        last = start(&greedy).await?;
    }
    let greedy_key = text(&last, "key").to_owned();
    let mut waiting = Vec::new();
    for _ in 0..12 {
        let (greedy, key) = (greedy.clone(), greedy_key.clone());
        waiting.push(tokio::spawn(async move {
            greedy
                .call::<Value>("check", args!(key, timeout = 60))
                .await
        }));
    }
    let mut displaced = 0;
    while displaced < 9 {
        // Nine of the twelve calls are evicted. The other calls continue to wait.
        let at = waiting
            .iter()
            .position(tokio::task::JoinHandle::is_finished);
        let Some(at) = at else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let error = waiting.swap_remove(at).await?.err().context("no login")?;
        assert!(error.to_string().contains("was evicted"), "{error}");
        displaced += 1;
    }
    assert_eq!(server.stats().displaced_logins, 25);
    assert_eq!(server.stats().displaced_checks, 9);
    let check = login.call::<Value>("check", args!(key, timeout = 0));
    assert!(check.await?.is_null(), "the key is still there");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    let long = login.call::<Value>("start", args!(workspace = "x".repeat(1000)));
    let error = long.await.err().context("a name that long")?.to_string();
    assert!(
        error.contains("`workspace` of `hypha-login.start`"),
        "{error}"
    );
    Ok(())
}
