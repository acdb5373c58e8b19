//! Tests the accounts of the server: users sign up and sign in, and administrators manage the
//! accounts.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hypha_rpc::{Client, RemoteService, Value as RpcValue, args};
use hypha_server::{Builder, Server, Settings, Verification};
use serde_json::{Value, json};

use crate::support;

const ROOT: &str = "c4b1f09a7d3e62858f1d0b6ac79e3542";
const PASSWORD: &str = "correct horse";

fn builder(change: impl FnOnce(&mut Settings)) -> Builder {
    let mut settings = Settings::default();
    settings.port = 0;
    settings.root_token = Some(ROOT.into());
    settings.accounts.enabled = true;
    change(&mut settings);
    Builder::from(settings)
}

async fn server(change: impl FnOnce(&mut Settings)) -> Result<Server> {
    Ok(builder(change).start().await?)
}

/// Posts to a method of the login service, as the login page does.
async fn post(server: &Server, method: &str, arguments: Value) -> Result<Value> {
    let url = format!("{}/public/services/hypha-login/{method}", server.url());
    let answer = support::http().post(url).json(&arguments).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

async fn refusal(server: &Server, method: &str, arguments: Value) -> Result<String> {
    let answer = post(server, method, arguments).await?;
    assert_eq!(answer["success"], false, "{answer}");
    Ok(answer["error"].as_str().context("no text")?.to_owned())
}

async fn accepted(server: &Server, method: &str, arguments: Value) -> Result<Value> {
    let answer = post(server, method, arguments).await?;
    assert_eq!(answer["success"], true, "{answer}");
    Ok(answer)
}

/// Signs up and enters the code. Returns the user's id.
async fn sign_up(server: &Server, email: &str) -> Result<String> {
    let person = json!({"name": "Ann", "email": email, "password": PASSWORD});
    let begun = accepted(server, "signup", person).await?;
    let code = json!({"email": email, "code": begun["dev_code"]});
    let verified = accepted(server, "verify_email", code).await?;
    Ok(verified["user_id"].as_str().context("no id")?.to_owned())
}

async fn sign_in(server: &Server, email: &str, password: &str) -> Result<String> {
    let credentials = json!({"email": email, "password": password});
    let answer = accepted(server, "login", credentials).await?;
    Ok(answer["token"].as_str().context("no token")?.to_owned())
}

async fn administrator(server: &Server) -> Result<(Client, RemoteService)> {
    let root = hypha_rpc::connect(server.url()).token(ROOT).await?;
    let accounts = root.get_service("ws-user-root/accounts").await?;
    Ok((root, accounts))
}

#[tokio::test]
async fn a_user_signs_up_and_signs_in() -> Result<()> {
    let server = server(|_| ()).await?;
    let person = json!({"name": "Ann", "email": "Ann@Example.org", "password": PASSWORD});
    let begun = accepted(&server, "signup", person.clone()).await?;
    assert_eq!(begun["verification_required"], true);
    assert_eq!(begun["email"], "ann@example.org");
    let credentials = json!({"email": "ann@example.org", "password": PASSWORD});
    let early = refusal(&server, "login", credentials.clone()).await?;
    assert_eq!(early, "Invalid email or password");
    let wrong = json!({"email": "ann@example.org", "code": "x"});
    let wrong = refusal(&server, "verify_email", wrong).await?;
    assert_eq!(wrong, "Incorrect code. 4 attempt(s) remaining.");
    let soon = refusal(&server, "resend_code", json!({"email": "ann@example.org"})).await?;
    assert!(soon.starts_with("Please wait"), "{soon}");
    let code = json!({"email": "ann@example.org", "code": begun["dev_code"]});
    let verified = accepted(&server, "verify_email", code.clone()).await?;
    let again = refusal(&server, "verify_email", code).await?;
    assert!(again.starts_with("No pending verification"), "{again}");
    let taken = refusal(&server, "signup", person).await?;
    assert_eq!(taken, "Email already registered");

    let signed_in = accepted(&server, "login", credentials).await?;
    let id = verified["user_id"].as_str().context("no id")?;
    assert_eq!(signed_in["user_id"], id);
    assert_eq!(signed_in["workspace"], format!("ws-user-{id}"));
    let token = signed_in["token"].as_str().context("no token")?;
    let user = hypha_rpc::connect(server.url()).token(token).await?;
    assert_eq!(user.workspace(), format!("ws-user-{id}"));
    let me = user.user();
    assert_eq!(me.email.as_deref(), Some("ann@example.org"));
    assert_eq!((me.id.as_str(), &*me.roles), (id, &["user".to_owned()][..]));

    for (arguments, expected) in [
        (json!({"email": "ann@example.org"}), "are required"),
        (
            json!({"email": "ann@example.org", "password": "wrong horse"}),
            "Invalid email or password",
        ),
        (
            json!({"email": "bob@example.org", "password": PASSWORD}),
            "Invalid email or password",
        ),
    ] {
        let refused = refusal(&server, "login", arguments).await?;
        assert!(refused.contains(expected), "{refused}");
    }
    for (arguments, expected) in [
        (json!({"name": "Ann"}), "are required"),
        (
            json!({"name": "Ann", "email": "a@x", "password": "short"}),
            "at least 8",
        ),
        (
            json!({"name": "Ann", "email": "no address", "password": PASSWORD}),
            "not an email",
        ),
    ] {
        let refused = refusal(&server, "signup", arguments).await?;
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(server.stats().sign_ins_failed, 3);
    // The client calls the service over its connection, because over HTTP `workspace` is a
    // parameter of the request itself.
    let login = user.get_service("public/hypha-login").await?;
    let elsewhere = args!(
        email = "ann@example.org",
        password = PASSWORD,
        workspace = "ws-user-root"
    );
    let refused: RpcValue = login.call("login", elsewhere).await?;
    let error = refused.get("error").and_then(RpcValue::as_str);
    assert_eq!(
        error,
        Some("You have no permission for the workspace ws-user-root.")
    );
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_program_gets_the_token_of_the_user_who_signs_in() -> Result<()> {
    let server = server(|_| ()).await?;
    let id = sign_up(&server, "ann@x").await?;
    let program = hypha_rpc::connect(server.url()).await?;
    let login = program.get_service("public/hypha-login").await?;
    let begin = async |workspace: Option<&str>| -> Result<String> {
        let begun: RpcValue = login
            .call("start", args!(workspace = workspace, expires_in = 60))
            .await?;
        let key = begun.get("key").and_then(RpcValue::as_str);
        Ok(key.context("no key")?.to_owned())
    };
    let key = begin(None).await?;
    let credentials = |key: &str| json!({"email": "ann@x", "password": PASSWORD, "key": key});
    let signed_in = accepted(&server, "login", credentials(&key)).await?;
    let report: RpcValue = login
        .call(
            "check",
            args!(key = key.as_str(), timeout = 5, profile = true),
        )
        .await?;
    let text = |name: &str| report.get(name).and_then(RpcValue::as_str);
    assert_eq!(text("token"), signed_in["token"].as_str());
    assert_eq!(text("user_id"), Some(id.as_str()));
    assert_eq!((text("email"), text("name")), (Some("ann@x"), Some("Ann")));
    let token = text("token").context("no token")?;
    let user = hypha_rpc::connect(server.url()).token(token).await?;
    let expires = user.user().expires_at;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    assert!(expires.is_some_and(|end| end < now.as_secs_f64() + 61.0));
    let used = refusal(&server, "login", credentials(&key)).await?;
    assert!(used.contains("Invalid key"), "{used}");

    // This login requests a token for one workspace.
    let lab = json!({"id": "ws-lab-of-ann", "name": "lab"});
    let lab = serde_json::from_value(lab)?;
    user.manager().await?.create_workspace(lab, false).await?;
    let key = begin(Some("ws-lab-of-ann")).await?;
    let signed_in = accepted(&server, "login", credentials(&key)).await?;
    assert_eq!(signed_in["workspace"], "ws-lab-of-ann");
    let token = signed_in["token"].as_str().context("no token")?;
    let member = hypha_rpc::connect(server.url()).token(token).await?;
    assert_eq!(member.workspace(), "ws-lab-of-ann");
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_new_password_ends_all_tokens() -> Result<()> {
    let server = server(|_| ()).await?;
    let id = sign_up(&server, "ann@x").await?;
    let token = sign_in(&server, "ann@x", PASSWORD).await?;
    let user = hypha_rpc::connect(server.url())
        .token(token.as_str())
        .reconnect(None)
        .await?;
    let child = user.manager().await?.generate_token(None).await?;

    // Changing the name requires a token of the user, or the password.
    let name = json!({"user_email": "ann@x", "name": "Mallory"});
    let stranger = refusal(&server, "update_profile", name.clone()).await?;
    assert!(stranger.contains("Sign in"), "{stranger}");
    let login = user.get_service("public/hypha-login").await?;
    let renamed: RpcValue = login.call("update_profile", args!(name = "Annie")).await?;
    assert_eq!(renamed.get("success"), Some(&RpcValue::Bool(true)));
    let of_child = hypha_rpc::connect(server.url())
        .token(child.as_str())
        .await?;
    let of_child = of_child.get_service("public/hypha-login").await?;
    let refused: RpcValue = of_child
        .call("update_profile", args!(name = "Mallory"))
        .await?;
    assert_eq!(refused.get("success"), Some(&RpcValue::Bool(false)));

    let change = |present: &str, new: &str| {
        json!({
            "user_email": "ann@x",
            "current_password": present,
            "new_password": new,
        })
    };
    let without = json!({"user_email": "ann@x", "new_password": "battery staple"});
    for (arguments, expected) in [
        (without, "Current password required"),
        (change("wrong horse", "battery staple"), "is incorrect"),
        (change(PASSWORD, "short"), "at least 8"),
    ] {
        let refused = refusal(&server, "update_profile", arguments).await?;
        assert!(refused.contains(expected), "{refused}");
    }
    accepted(
        &server,
        "update_profile",
        change(PASSWORD, "battery staple"),
    )
    .await?;
    user.closed().await;
    for token in [token, child] {
        let refused = hypha_rpc::connect(server.url()).token(token).await;
        let refused = refused.err().context("still valid")?.to_string();
        assert!(refused.contains("revoked"), "{refused}");
    }
    let old = json!({"email": "ann@x", "password": PASSWORD});
    assert!(refusal(&server, "login", old).await?.contains("Invalid"));
    let token = sign_in(&server, "ann@x", "battery staple").await?;
    let user = hypha_rpc::connect(server.url()).token(token).await?;
    assert_eq!(user.workspace(), format!("ws-user-{id}"));
    let (_root, accounts) = administrator(&server).await?;
    let account: RpcValue = accounts.call("get", args!(user = "ann@x")).await?;
    assert_eq!(account.get("name"), Some(&RpcValue::from("Annie")));
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn administrators_verify_and_manage_accounts() -> Result<()> {
    let server = server(|settings| {
        settings.accounts.verification = Verification::Administrator;
        settings.limits.pending_accounts = 1;
    })
    .await?;
    let person = |email: &str| json!({"name": "Ann", "email": email, "password": PASSWORD});
    let begun = accepted(&server, "signup", person("ann@x")).await?;
    assert_eq!(begun["verification"], "administrator");
    assert_eq!(begun.get("dev_code"), None);
    let full = refusal(&server, "signup", person("bob@x")).await?;
    assert!(full.contains("Too many accounts wait"), "{full}");
    assert_eq!(server.stats().sign_ups_refused, 1);
    let credentials = json!({"email": "ann@x", "password": PASSWORD});
    let early = refusal(&server, "login", credentials.clone()).await?;
    assert!(early.contains("not verified"), "{early}");

    let (root, accounts) = administrator(&server).await?;
    let waiting: Vec<RpcValue> = accounts.call("list", args!(verified = false)).await?;
    let shown = serde_json::to_string(&waiting)?;
    assert!(waiting.len() == 1 && !shown.contains("argon2"), "{shown}");
    accounts
        .call::<RpcValue>("verify", args!(user = "ann@x"))
        .await?;
    let token = sign_in(&server, "ann@x", PASSWORD).await?;

    // A user without the role `admin` cannot use the service.
    let user = hypha_rpc::connect(server.url()).token(token).await?;
    assert!(user.get_service("ws-user-root/accounts").await.is_err());

    // This workspace belongs to another owner.
    let lab = serde_json::from_value(json!({"id": "ws-lab-x", "name": "lab"}))?;
    root.manager().await?.create_workspace(lab, false).await?;
    let grants = json!({"ws-lab-x": "read"});
    let account: RpcValue = accounts
        .call(
            "set_workspaces",
            args!(user = "ann@x", workspaces = RpcValue::from(grants)),
        )
        .await?;
    let id = account.get("id").and_then(RpcValue::as_str);
    let id = id.context("no id")?.to_owned();
    user.closed().await;
    let token = sign_in(&server, "ann@x", PASSWORD).await?;
    let connecting = hypha_rpc::connect(server.url())
        .token(token)
        .workspace("ws-lab-x");
    let member = connecting.reconnect(None).await?;
    assert_eq!(member.workspace(), "ws-lab-x");
    assert!(member.manager().await?.generate_token(None).await.is_err());

    accounts
        .call::<RpcValue>("disable", args!(user = id.as_str()))
        .await?;
    member.closed().await;
    let disabled = refusal(&server, "login", credentials.clone()).await?;
    assert!(disabled.contains("disabled"), "{disabled}");
    let refused = accounts.call::<String>("generate_token", args!(user = id.as_str()));
    assert!(refused.await.is_err());
    accounts
        .call::<RpcValue>("enable", args!(user = id.as_str()))
        .await?;
    accounts
        .call::<RpcValue>(
            "set_roles",
            args!(user = id.as_str(), roles = ["user", "admin"]),
        )
        .await?;
    let token: String = accounts
        .call("generate_token", args!(user = id.as_str(), expires_in = 60))
        .await?;
    let second = hypha_rpc::connect(server.url())
        .token(token)
        .reconnect(None)
        .await?;
    assert_eq!(second.workspace(), format!("ws-user-{id}"));
    assert!(second.get_service("ws-user-root/accounts").await.is_ok());

    let new = args!(user = id.as_str(), password = "battery staple");
    accounts.call::<RpcValue>("set_password", new).await?;
    second.closed().await;
    sign_in(&server, "ann@x", "battery staple").await?;
    accounts
        .call::<RpcValue>("remove", args!(user = id.as_str()))
        .await?;
    let gone = json!({"email": "ann@x", "password": "battery staple"});
    assert!(refusal(&server, "login", gone).await?.contains("Invalid"));
    let new = args!(name = "Bob", email = "bob@x", password = PASSWORD);
    accounts.call::<RpcValue>("create", new).await?;
    sign_in(&server, "bob@x", PASSWORD).await?;
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn guesses_of_passwords_are_slowed_down() -> Result<()> {
    let server = server(|settings| {
        settings.limits.failed_sign_ins_per_account = 3.0;
        settings.limits.account_attempts_per_client = 20.0;
    })
    .await?;
    sign_up(&server, "ann@x").await?;
    for _ in 0..5 {
        sign_in(&server, "ann@x", PASSWORD).await?;
    }
    let guess = json!({"email": "ann@x", "password": "wrong horse"});
    for _ in 0..3 {
        let wrong = refusal(&server, "login", guess.clone()).await?;
        assert!(wrong.contains("Invalid email or password"), "{wrong}");
    }
    let refused = refusal(&server, "login", guess).await?;
    assert!(refused.contains("Too many attempts"), "{refused}");
    // The client's own limit also applies to attempts on other accounts.
    let other = json!({"email": "bob@x", "password": "wrong horse"});
    let mut last = String::new();
    for _ in 0..12 {
        last = refusal(&server, "login", other.clone()).await?;
    }
    assert!(last.contains("Too many attempts"), "{last}");
    assert!(server.stats().account_attempts_refused >= 2);
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn the_number_of_accounts_is_limited() -> Result<()> {
    let server = server(|settings| settings.limits.accounts = 1).await?;
    sign_up(&server, "ann@x").await?;
    let person = json!({"name": "Bob", "email": "bob@x", "password": PASSWORD});
    let begun = accepted(&server, "signup", person).await?;
    let code = json!({"email": "bob@x", "code": begun["dev_code"]});
    let full = refusal(&server, "verify_email", code).await?;
    assert!(full.contains("maximum number of accounts"), "{full}");
    server.shutdown().await;
    Ok(())
}

/// Temporary folder, deleted when dropped.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn accounts_and_revocations_survive_a_restart() -> Result<()> {
    let name = format!("hypha-accounts-{}", hypha_wire::random_id());
    let folder = Folder(std::env::temp_dir().join(name));
    let start = async |folder: &Path| {
        server(|settings| {
            settings.data_dir = Some(folder.to_owned());
            // This limit is disabled, so that it does not affect the test.
            settings.limits.account_attempts_per_client = 0.0;
        })
        .await
    };
    let server = start(&folder.0).await?;
    let id = sign_up(&server, "ann@x").await?;
    let ended = sign_in(&server, "ann@x", PASSWORD).await?;
    let change = json!({
        "user_email": "ann@x", "current_password": PASSWORD, "new_password": "battery staple",
    });
    accepted(&server, "update_profile", change).await?;
    let valid = sign_in(&server, "ann@x", "battery staple").await?;
    server.shutdown().await;

    let server = start(&folder.0).await?;
    let user = hypha_rpc::connect(server.url()).token(valid).await?;
    assert_eq!(user.workspace(), format!("ws-user-{id}"));
    assert!(hypha_rpc::connect(server.url()).token(ended).await.is_err());
    sign_in(&server, "ann@x", "battery staple").await?;
    let stored = std::fs::read(folder.0.join("hypha-server.redb"))?;
    let contains = |word: &[u8]| stored.windows(word.len()).any(|part| part == word);
    assert!(contains(b"ann@x") && !contains(b"battery staple"));
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn codes_are_sent_by_email() -> Result<()> {
    type Sent = Arc<Mutex<Vec<(Option<String>, Value)>>>;
    let sent = Sent::default();
    let works = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (mailbox, flag) = (sent.clone(), works.clone());
    let receive = move |headers: axum::http::HeaderMap, body: String| {
        let key = headers.get("authorization");
        let key = key.and_then(|key| key.to_str().ok()).map(str::to_owned);
        let body = serde_json::from_str(&body).unwrap_or_default();
        mailbox.lock().expect("mailbox").push((key, body));
        let status = match flag.load(std::sync::atomic::Ordering::Relaxed) {
            true => 200,
            false => 500,
        };
        async move { axum::http::StatusCode::from_u16(status).expect("a status") }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/emails", listener.local_addr()?);
    let service = axum::Router::new().route("/emails", axum::routing::post(receive));
    let service = hyper_serve(listener, service);

    let server = server(|settings| {
        settings.accounts.email_api_key = Some("key".into());
        settings.accounts.email_api_url = url;
        settings.limits.verification_interval = Duration::ZERO;
    })
    .await?;
    let person = |email: &str| json!({"name": "Ann", "email": email, "password": PASSWORD});
    let begun = accepted(&server, "signup", person("ann@x")).await?;
    assert_eq!(begun.get("dev_code"), None);
    accepted(&server, "resend_code", json!({"email": "ann@x"})).await?;
    let (key, mail) = sent.lock().expect("mailbox").pop().context("no e-mail")?;
    assert_eq!(key.as_deref(), Some("Bearer key"));
    assert_eq!(mail["to"], json!(["ann@x"]));
    let text = mail["text"].as_str().context("no text")?;
    let code = text
        .split(['.', ' '])
        .find(|word| word.len() == 6 && word.parse::<u32>().is_ok());
    let code = json!({"email": "ann@x", "code": code.context("no code")?});
    accepted(&server, "verify_email", code).await?;
    sign_in(&server, "ann@x", PASSWORD).await?;

    works.store(false, std::sync::atomic::Ordering::Relaxed);
    let failed = refusal(&server, "signup", person("bob@x")).await?;
    assert!(failed.contains("could not be sent"), "{failed}");
    server.shutdown().await;
    service.abort();
    Ok(())
}

/// Serves HTTP/1.1 until the task is aborted.
fn hyper_serve(
    listener: tokio::net::TcpListener,
    service: axum::Router,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(io, service).await;
            });
        }
    })
}

#[tokio::test]
async fn the_page_has_forms_for_users() -> Result<()> {
    let server = server(|_| ()).await?;
    let get = async |path: &str| -> Result<String> {
        let url = format!("{}/public/apps/hypha-login/{path}", server.url());
        let answer = support::http().get(url).send().await?.error_for_status()?;
        let policy = answer.headers()["content-security-policy"].to_str()?;
        assert!(policy.contains("default-src 'none'"), "{policy}");
        Ok(answer.text().await?)
    };
    let page = get("").await?;
    for part in [
        "<title>Hypha Local Authentication</title>",
        ">Login<",
        ">Sign Up<",
        ">My Profile<",
        "id=\"loginEmail\"",
        "id=\"signupPassword\"",
        "id=\"verifyCode\"",
        "id=\"newPassword\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(get("profile").await?, page);
    assert!(get("script").await?.contains("update_profile"));
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn without_the_option_there_are_no_accounts() -> Result<()> {
    let server = support::server().await?;
    let url = format!("{}/public/services/hypha-login/signup", server.url());
    let answer = support::http().post(url).json(&json!({})).send().await?;
    assert!(!answer.status().is_success());
    server.shutdown().await;

    let closed = self::server(|s| s.accounts.verification = Verification::Closed).await?;
    let person = json!({"name": "Ann", "email": "ann@x", "password": PASSWORD});
    let refused = refusal(&closed, "signup", person).await?;
    assert!(refused.contains("Only an administrator"), "{refused}");
    closed.shutdown().await;
    Ok(())
}
