//! Tests the metadata of services, blocking methods, service types, and the conversion of keys.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use hypha_rpc::client::{Identity, Settings};
use hypha_rpc::error::RejectKind;
use hypha_rpc::service::{IncomingCall, Method, Service, Visibility};
use hypha_rpc::{Client, Error, Proxy, RemoteService, Value, args, hypha_service};
use hypha_wire::Case;
use serde_json::json;

use crate::support::{
    breathe, calling, client_as, client_with, list, map, seconds, settled, two_clients,
};

/// Returns a service, and a sender. The method `wait` of the service blocks until the test sends a
/// result through the sender. The method panics if the test drops the sender.
fn blocking_service() -> (Service, mpsc::Sender<i64>) {
    let (say, hear) = mpsc::channel();
    let hear = Mutex::new(hear);
    let home = thread::current().id();
    let method = Method::blocking("wait", move |call: IncomingCall| {
        assert_ne!(
            thread::current().id(),
            home,
            "on the thread of the connection"
        );
        let who: &str = call.args(&["who"])?.required(0)?;
        let hear = hear.lock().map_err(|error| call.fail(error.to_string()))?;
        let said = hear.recv().expect("somebody says something");
        call.reply(&format!("{who} {said}"))
    });
    let service = Service::new("slow").visibility(Visibility::Public);
    (service.method(method), say)
}

#[tokio::test(start_paused = true)]
async fn a_blocking_method_sends_heartbeats_while_it_runs() {
    let (client, mut peer) = client_with(Settings::in_process(), 1024);
    let (service, say) = blocking_service();
    client.register_service(service).await.expect("registers");
    peer.call("services.slow.wait", list!["x"]).await;
    // tokio does not advance the paused clock while a blocking task runs, so the test advances the
    // clock.
    for pause in [1, 10, 10] {
        breathe().await;
        tokio::time::advance(seconds(pause)).await;
        assert_eq!(peer.receive().await.text("method"), "S.heartbeat");
    }
    // The client handles other calls while the method blocks.
    peer.call_as("ws/peer", "P", "services.built-in.ping", list!["ping"])
        .await;
    assert_eq!(peer.answer_of("P").await, Ok("pong".into()));
    assert_eq!(client.stats().running, 1);
    say.send(5).expect("somebody listens");
    assert_eq!(peer.answer_of("S").await, Ok("x 5".into()));
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn blocking_methods_are_bounded_and_may_panic() {
    let mut settings = Settings::in_process();
    settings.max_concurrent_calls = 1;
    let (client, mut peer) = client_with(settings, 1024);
    let (service, say) = blocking_service();
    client.register_service(service).await.expect("registers");
    peer.call_as("ws/peer", "S1", "services.slow.wait", list!["x"])
        .await;
    let busy = peer.ask("services.slow.wait", list!["y"]).await;
    assert_eq!(busy, Err("too many calls in progress (at most 1)".into()));
    drop(say);
    let panicked = peer.answer_of("S1").await.expect_err("panics");
    assert!(
        panicked.starts_with("slow.wait panicked: somebody says"),
        "{panicked}"
    );
    settled(&client).await;
    // The client can run another blocking method after the panic.
    let error = peer.ask("services.slow.wait", list![1i64]).await;
    let text = "slow.wait: argument `who`: expected string, got integer";
    assert_eq!(error, Err(text.into()));
}

#[tokio::test(start_paused = true)]
async fn every_option_is_published() {
    let (client, mut peer) = client_with(Settings::in_process(), 1024);
    let key = "AB".repeat(32);
    let service = Service::new("s")
        .config("colour", "red")
        .method(Method::blocking("f", |call| call.reply(&())));
    let info = client
        .register_service(service)
        .name("S")
        .description("What it does.")
        .docs("More of it.")
        .service_type("thing")
        .authorized_workspaces(["other"])
        .singleton(true)
        .flags(["one", "two"])
        .trusted_keys([&key])
        .await
        .expect("registers");
    let info = Value::encode_from(&info).expect("plain data").to_json();
    let key = key.to_lowercase();
    assert_eq!(
        info["config"],
        json!({
            "visibility": "protected", "require_context": false, "workspace": "ws",
            "flags": ["one", "two"], "singleton": true, "created_by": null,
            "service_embedding": null, "authorized_workspaces": ["other"],
            "colour": "red", "run_in_executor": true, "trusted_keys": [key],
        })
    );
    let texts = ["name", "description", "docs", "type"].map(|name| info[name].clone());
    assert_eq!(
        json!(texts),
        json!(["S", "What it does.", "More of it.", "thing"])
    );

    let seen = peer.ask("services.built-in.get_service", list!["s"]).await;
    let seen = seen.expect("fetches");
    let config = seen.get("config").expect("a config").to_json();
    assert_eq!(
        config,
        json!({
            "colour": "red", "run_in_executor": true, "trusted_keys": [key],
            "visibility": "protected", "require_context": false,
            "authorized_workspaces": ["other"], "singleton": true, "flags": ["one", "two"],
            "workspace": "ws",
        })
    );
}

#[tokio::test(start_paused = true)]
async fn unset_options_are_not_published() {
    let (client, mut peer) = client_with(Settings::in_process(), 1024);
    client
        .register_service(Service::new("s"))
        .await
        .expect("registers");
    let seen = peer.ask("services.built-in.get_service", list!["s"]).await;
    let seen = seen.expect("fetches");
    let config = seen.get("config").expect("a config").to_json();
    assert_eq!(
        config,
        json!({"visibility": "protected", "require_context": false, "workspace": "ws"})
    );
}

#[tokio::test(start_paused = true)]
async fn invalid_options_are_rejected_with_the_messages_of_other_clients() {
    let (client, _peer) = client_with(Settings::in_process(), 1024);
    let refused = async |service: Service| {
        let error = client.register_service(service).await;
        error.expect_err("refused").to_string()
    };
    for key in [
        "",
        "ab",
        &"x".repeat(64),
        &"ab".repeat(33),
        &"\u{e9}".repeat(32),
    ] {
        let text = refused(Service::new("s").trusted_keys([key])).await;
        let expected =
            format!("service `s`: Each trusted key must be a 64-char hex string, got: '{key}'");
        assert_eq!(text, expected);
    }
    let open = Service::new("s").visibility(Visibility::Public);
    assert_eq!(
        refused(open.authorized_workspaces(["w"])).await,
        "service `s`: authorized_workspaces can only be set when visibility is 'protected', got \
         visibility='public'"
    );
    for key in [
        "singleton",
        "flags",
        "trusted_keys",
        "run_in_executor",
        "created_by",
    ] {
        assert_eq!(
            refused(Service::new("s").config(key, true)).await,
            format!(
                "service `s`: the config key `{key}` has its own setter, or only servers write it"
            )
        );
    }
    assert_eq!(
        client
            .register_service(Service::new("s"))
            .check_type(true)
            .await
            .expect_err("refused")
            .to_string(),
        "service `s`: `check_type` needs a `service_type`"
    );
}

#[tokio::test(start_paused = true)]
async fn callers_without_a_trusted_key_are_rejected() {
    let (a, b) = two_clients(Settings::in_process());
    let ran = Arc::new(Mutex::new(false));
    let probe = Arc::clone(&ran);
    let method = Method::new("f", move |call: IncomingCall| {
        if let Ok(mut ran) = probe.lock() {
            *ran = true;
        }
        async move { call.reply(&()) }
    });
    let service = Service::new("s")
        .visibility(Visibility::Public)
        .trusted_keys(["ab".repeat(32)])
        .method(method);
    a.register_service(service).await.expect("registers");
    let seen = b.get_remote_service("ws/a:s").await.expect("fetches");
    match seen.call::<Value>("f", args!()).await {
        Err(Error::Rejected(refusal)) => {
            assert_eq!(refusal.kind, RejectKind::PermissionDenied);
            let text = "Encryption required for method ws/b:services.s.f (trusted_keys is set)";
            assert_eq!(refusal.message, text);
        }
        other => panic!("{other:?}"),
    }
    assert!(!*ran.lock().expect("nobody panicked"));
}

/// Contract with names that clients in other languages write in camel case.
#[hypha_service(visibility = "public")]
trait Desk {
    /// Read the number.
    async fn read_number(&self, add_one: bool) -> i64;
    #[hypha(name = "deep_part.read_it")]
    async fn read_it(&self) -> i64;
}

struct Here;

impl Desk for Here {
    async fn read_number(&self, add_one: bool) -> i64 {
        4 + i64::from(add_one)
    }

    async fn read_it(&self) -> i64 {
        7
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_converted_and_methods_found_by_both_names() {
    let (a, b) = two_clients(Settings::in_process());
    a.register_service(DeskService::new(Here))
        .await
        .expect("registers");
    let fetch = async |case: Case| -> RemoteService {
        let fetching = b.get_remote_service("ws/a:desk").case_conversion(case);
        fetching.await.expect("fetches")
    };
    let names = |service: &RemoteService| {
        let mut names: Vec<String> = service.methods().map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    let camel = fetch(Case::Camel).await;
    assert_eq!(names(&camel), ["deepPart.readIt", "readNumber"]);
    assert!(
        camel
            .get("config")
            .is_some_and(|c| c.get("requireContext").is_some())
    );
    assert_eq!(
        camel
            .schema("readNumber")
            .and_then(|s| s.get("name").cloned()),
        Some("readNumber".into())
    );
    for name in ["readNumber", "read_number"] {
        assert!(camel.has_method(name));
        assert_eq!(camel.doc(name).as_deref(), Some("Read the number."));
        assert_eq!(
            camel.call::<i64>(name, args!(true)).await.expect("answers"),
            5
        );
    }
    for name in ["deepPart.readIt", "deep_part.read_it"] {
        assert_eq!(camel.call::<i64>(name, args!()).await.expect("answers"), 7);
    }
    for name in ["read_numbe", "number", "desk.read_number", "", "deepPart"] {
        assert!(!camel.has_method(name), "{name}");
    }
    // A proxy still finds the methods of its contract.
    let desk = DeskProxy::from_service(camel);
    assert_eq!(desk.read_number(false).await.expect("answers"), 4);
    assert_eq!(desk.read_it().await.expect("answers"), 7);

    let both = fetch(Case::Both).await;
    assert!(both.has_method("readNumber") && both.has_method("read_number"));
    assert_eq!(names(&both).len(), 4);
    let snake = fetch(Case::Snake).await;
    assert_eq!(names(&snake), ["deep_part.read_it", "read_number"]);
}

#[tokio::test(start_paused = true)]
async fn a_direct_fetch_has_a_timeout_and_an_app() {
    let (a, _b, _, _) = calling(Settings::in_process()).await;
    let mut settings = Settings::in_process();
    settings.app_id = "mine".into();
    let (client, mut peer) = client_with(settings, 8);
    let fetching = client
        .get_remote_service("peer:svc@mine")
        .timeout(seconds(3));
    let error = tokio::select! {
        fetched = fetching.into_future() => fetched.expect_err("nobody answers"),
        () = async {
            let asked = peer.receive().await;
            assert_eq!(asked.arg(0), "svc".into());
            std::future::pending().await
        } => unreachable!(),
    };
    assert!(matches!(error, Error::Timeout(_)), "{error}");
    let other = client.get_remote_service("peer:svc@theirs").await;
    assert_eq!(
        other.expect_err("refused").to_string(),
        "App id mismatch: theirs != mine"
    );
    // A service without an app id matches any app id.
    assert!(a.get_remote_service("ws/b:svc@theirs").await.is_ok());
}

/// Registers `service` with `check_type`. The test acts as the manager, and has one service type
/// with the given definition.
async fn check(service: Service, definition: Value) -> Result<Value, String> {
    let mut identity = Identity::new("ws", "me");
    identity.manager_id = Some("boss".into());
    let (client, mut peer) = client_as(identity, Settings::in_process(), 1024);
    let serving = async {
        let boss = "*/boss";
        let function = |name: &str| {
            map! {
                "_rtype": "method", "_rtarget": boss, "_rpromise": "*", "_rname": name,
                "_rmethod": format!("services.default.{name}"),
            }
        };
        let asked = peer.receive().await;
        assert_eq!(asked.text("method"), "services.built-in.get_service");
        let names = ["get_service_type", "register_service"];
        let manager = hypha_rpc::Map::from_iter(names.map(|n| (n.to_owned(), function(n))));
        peer.reply_as(boss, &asked, "resolve", list![Value::Map(manager)])
            .await;
        let asked = peer.receive().await;
        assert_eq!(asked.text("method"), "services.default.get_service_type");
        assert_eq!(asked.arg(0), "thing".into());
        let info = map! {"id": "ws/thing", "name": "Thing", "definition": definition};
        peer.reply_as(boss, &asked, "resolve", list![info]).await;
        let asked = peer.receive().await;
        assert_eq!(asked.text("method"), "services.default.register_service");
        peer.reply_as(boss, &asked, "resolve", list![Value::Null])
            .await;
        asked.arg(0)
    };
    let registering = register(&client, service);
    tokio::select! {
        refused = registering => Err(refused),
        told = serving => Ok(told),
    }
}

/// Registers a service, and returns the error. Waits forever if the registration succeeds.
async fn register(client: &Client, service: Service) -> String {
    match client.register_service(service).check_type(true).await {
        Err(error) => error.to_string(),
        Ok(_) => std::future::pending().await,
    }
}

fn thing() -> Service {
    let method =
        |name: &str| Method::new(name, |call: IncomingCall| async move { call.reply(&()) });
    Service::new("s")
        .service_type("thing")
        .method(
            method("f")
                .doc("Mine.")
                .schema(json!({"name": "f", "parameters": {"mine": 1}})),
        )
        .method(method("part.g"))
        .value("number", 1i64)
        .value("items", list![1i64, map! {"a": 1i64}])
        .value("bytes", Value::Bytes(vec![1].into()))
}

#[tokio::test(start_paused = true)]
async fn a_service_inherits_from_its_type() {
    let example = thing().schema().to_json();
    assert_eq!(
        example,
        json!({
            "id": {"type": "string"}, "type": {"type": "string"},
            "f": {"type": "function", "function": {"name": "f", "parameters": {"mine": 1}}},
            "part": {"g": {"type": "function", "function": {"name": "g", "description": null}}},
            "number": {"type": "number"},
            "items": [{"type": "number"}, {"a": {"type": "number"}}],
            "bytes": {},
        })
    );
    let described = thing()
        .name("n")
        .description("d")
        .visibility(Visibility::Public)
        .config("extra", "x");
    let described = described.schema().to_json();
    assert_eq!(
        described["config"],
        json!({"extra": {"type": "string"}, "visibility": {"type": "string"}})
    );
    assert!(described["name"] == json!({"type": "string"}) && described["docs"].is_null());

    let mut definition = example;
    definition["part"]["g"]["function"] =
        json!({"name": "g", "description": "Of the type.", "parameters": {"theirs": 2}});
    definition["number"] = json!({"type": "null"});
    let told = check(thing(), definition.into())
        .await
        .expect("it fits")
        .to_json();
    let schema = &told["service_schema"];
    assert_eq!(
        schema["part"]["g"]["function"],
        json!({"name": "g", "description": "Of the type.", "parameters": {"theirs": 2}})
    );
    let own = json!({"name": "f", "parameters": {"mine": 1}});
    assert_eq!(
        schema["f"]["function"], own,
        "a schema that the type omits stays"
    );

    let mut definition = thing().schema().to_json();
    definition["h"] = json!({"type": "function", "function": {"name": "h"}});
    let own = Method::new("h", |call: IncomingCall| async move { call.reply(&()) }).doc("Mine.");
    let told = check(thing().method(own), definition.into()).await;
    let told = told.expect("it fits").to_json();
    let own = json!({"name": "h", "description": "Mine."});
    assert_eq!(told["service_schema"]["h"]["function"], own);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_contradicts_its_type_is_rejected() {
    let wrong = async |service: Service, change: fn(&mut serde_json::Value)| {
        let mut definition = thing().schema().to_json();
        change(&mut definition);
        let text = check(service, definition.into())
            .await
            .expect_err("refused");
        text.strip_prefix("Failed to get service type thing, error: ")
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    };
    let more = thing().value("more", 1i64);
    assert_eq!(
        wrong(more, |_| ()).await,
        "Unexpected key 'more' in service at path 'root'"
    );
    for (change, expected) in [
        (
            (|d| d["extra"] = json!({"type": "number"})) as fn(&mut serde_json::Value),
            "Missing key 'extra' in service at path 'root'",
        ),
        (
            |d| d["part"]["h"] = json!({"type": "function"}),
            "Missing key 'h' in service at path 'root.part'",
        ),
        (
            |d| d["part"] = json!({}),
            "Expected a value at path 'root.part', found a map",
        ),
        (
            |d| d["part"] = json!({"h": {"type": "function"}, "g": {"type": "number"}}),
            "Missing key 'h' in service at path 'root.part'",
        ),
        (
            |d| d["f"] = json!({"type": "string"}),
            "Expected a value at path 'root.f', found a function",
        ),
        (
            |d| d["number"] = json!({"type": "function"}),
            "Expected a function at path 'root.number', found a value",
        ),
        (
            |d| d["items"] = json!([{"type": "number"}]),
            "Length mismatch at path 'root.items'",
        ),
        (
            |d| d["items"][1]["a"] = json!([1]),
            "Expected a list at path 'root.items[1].a', found a value",
        ),
        (
            |d| *d = json!(3),
            "the definition must be a map, and is: integer",
        ),
    ] {
        assert_eq!(wrong(thing(), change).await, expected);
    }
}
