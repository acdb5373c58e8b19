//! Tests service options, service types, and the selection among several services. The tests run on
//! both servers, with providers and callers in all languages.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use hypha_rpc::args;
use hypha_rpc::error::RejectKind;
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, IntoService, Method, Service};
use hypha_rpc::workspace::{ManagerError, Permission, SelectionMode, ServiceTypeInfo, TokenConfig};
use hypha_rpc_tests::conformance::{Language, passed_checks};
use hypha_rpc_tests::peers::{javascript_program, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, ROOT_TOKEN, Server};
use hypha_wire::Case;
use serde_json::json;
use std::time::Duration;

/// Maximum time until a peer has connected and registered.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Service that the peers call.
#[hypha_service(id = "desk", service_type = "desk", singleton, flags = ["tested"], docs = "More of it.")]
trait Desk {
    /// Read the number.
    async fn read_number(&self, add_one: bool) -> i64;
    /// Read a nested number.
    #[hypha(name = "deep_part.read_it")]
    async fn read_it(&self) -> i64;
    /// Block a thread for some seconds.
    #[hypha(blocking)]
    fn nap(&self, ctx: &Context, seconds: f64) -> Result<String, String>;
}

struct Here;

impl Desk for Here {
    async fn read_number(&self, add_one: bool) -> i64 {
        4 + i64::from(add_one)
    }

    async fn read_it(&self) -> i64 {
        7
    }

    fn nap(&self, _: &Context, seconds: f64) -> Result<String, String> {
        let time = Duration::try_from_secs_f64(seconds)
            .map_err(|_| format!("cannot sleep for {seconds} s"))?;
        std::thread::sleep(time);
        Ok(format!("{seconds} s"))
    }
}

/// Contract that matches the services of the providers in other languages.
#[hypha_service(id = "number")]
trait Number {
    async fn get_value(&self) -> i64;
    async fn read_number(&self, add_one: bool) -> i64;
    #[hypha(name = "deep_part.read_it")]
    async fn read_it(&self) -> i64;
}

struct Always(i64);

impl Number for Always {
    async fn get_value(&self) -> i64 {
        self.0
    }

    async fn read_number(&self, add_one: bool) -> i64 {
        self.0 + i64::from(add_one)
    }

    async fn read_it(&self) -> i64 {
        self.0
    }
}

/// A workspace, and the token with which clients connect to this workspace.
struct ConnectionRef {
    url: String,
    owner: Client,
    token: String,
}

impl ConnectionRef {
    async fn new(server: &Server) -> Result<ConnectionRef> {
        let owner = hypha_rpc::connect(&server.url).client_id("owner").await?;
        let token = owner.manager().await?.generate_token(None).await?;
        let url = server.url.clone();
        Ok(ConnectionRef { url, owner, token })
    }

    async fn member(&self, client_id: &str) -> Result<Client> {
        let connecting = hypha_rpc::connect(&self.url).token(&self.token);
        Ok(connecting.client_id(client_id).await?)
    }

    /// Starts the peer program in Python or JavaScript.
    fn peer(&self, language: Language, client_id: &str, options: &[&str]) -> Result<Process> {
        let mut command = match language {
            Language::Python => python_program("options_peer.py")?,
            Language::JavaScript => javascript_program("options_peer.mjs")?,
            _ => bail!("is here already"),
        };
        let workspace = self.owner.workspace();
        command
            .args(["--server-url", &self.url, "--workspace", &workspace])
            .args(["--token", &self.token, "--client-id", client_id])
            .args(options);
        Process::start(format!("the {language:?} peer {client_id}"), &command)
    }

    /// Starts a provider of `number` that returns `value`.
    async fn provider(&self, language: Language, id: &str, value: &str) -> Result<Process> {
        let process = self.peer(language, id, &["--value", value])?;
        waiting(move || {
            process.wait_for_prefix(READY_LIMIT, "READY ")?;
            Ok(process)
        })
        .await
    }

    /// Runs a peer that checks the service of the client `host`. Returns the number of passed
    /// checks.
    async fn checked_by(&self, language: Language, host: &str) -> Result<usize> {
        let process = self.peer(language, &format!("checks-{language:?}"), &["--host", host])?;
        waiting(move || passed_checks(&process)).await
    }

    /// Looks up a service several times. Returns the ids of the clients that `mode` has selected.
    async fn chosen(&self, id: &str, mode: &str) -> Result<BTreeSet<String>> {
        let mut chosen = BTreeSet::new();
        for _ in 0..8 {
            let service = self
                .owner
                .get_service(id)
                .mode(SelectionMode::from(mode))
                .await;
            let service = service.with_context(|| format!("mode {mode}"))?;
            let client = service.id().split_once('/').map_or("", |(_, rest)| rest);
            let client = client.split(':').next().unwrap_or_default();
            chosen.insert(client.to_owned());
        }
        Ok(chosen)
    }

    async fn not_chosen(&self, id: &str, mode: &str, text: &str) -> Result<()> {
        match self
            .owner
            .get_service(id)
            .mode(SelectionMode::from(mode))
            .await
        {
            Err(error) if error.to_string().contains(text) => Ok(()),
            other => bail!("mode {mode}: wanted `{text}`, got {other:?}"),
        }
    }
}

/// Runs `work` on a blocking thread, so that the connections on this thread continue to work.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn selection(server: &Server) -> Result<()> {
    let home = ConnectionRef::new(server).await?;
    let rust = home.member("rust").await?;
    rust.register_service(NumberService::new(Always(20)))
        .await?;
    // With one provider, every mode selects the same service, but the mode must still be valid.
    for mode in ["exact", "random", "min_load", "select:least:get_value"] {
        ensure!(
            home.chosen("number", mode).await? == set(&["rust"]),
            "{mode}"
        );
    }
    home.not_chosen("number", "best", "Invalid mode: best")
        .await?;
    home.not_chosen("number", "select:min", "Invalid select mode format")
        .await?;

    let _python = home.provider(Language::Python, "python", "10").await?;
    let _text = home.provider(Language::Python, "text", "\" 15 \"").await?;
    let _javascript = home
        .provider(Language::JavaScript, "javascript", "30")
        .await?;
    let mute = home.member("mute").await?;
    mute.register_service(Service::new("number")).await?;
    let everybody = set(&["rust", "python", "text", "javascript", "mute"]);

    for (mode, chosen) in [
        ("select:min:get_value", "python"),
        ("select:max:get_value", "javascript"),
    ] {
        ensure!(
            home.chosen("number", mode).await? == set(&[chosen]),
            "{mode}"
        );
    }
    let speaking = home
        .chosen("number", "select:first_success:get_value")
        .await?;
    ensure!(
        speaking.len() == 1 && !speaking.contains("mute"),
        "{speaking:?}"
    );
    for mode in ["first", "last"] {
        ensure!(home.chosen("number", mode).await?.len() == 1, "{mode}");
    }
    for mode in ["random", "native:random", "min_load", "select:min:nothing"] {
        let chosen = home.chosen("number", mode).await?;
        ensure!(chosen.is_subset(&everybody), "{mode}: {chosen:?}");
    }
    home.not_chosen("number", "exact", "Multiple services found for")
        .await?;
    home.not_chosen(
        "number",
        "select:least:get_value",
        "Unknown selection criteria",
    )
    .await?;
    match home.owner.get_service("number").await {
        Err(Error::Rejected(refusal)) => ensure!(refusal.kind == RejectKind::Ambiguous),
        other => bail!("{other:?}"),
    }
    // An id that contains a client matches only the service of that client.
    let only = home.owner.get_service("javascript:number").await?;
    ensure!(only.call::<i64>("get_value", args!()).await? == 30);
    let typed: NumberProxy = home
        .owner
        .proxy("number")
        .mode(SelectionMode::SelectMin("get_value".into()))
        .select_timeout(Duration::from_secs(5))
        .await?;
    ensure!(typed.get_value().await? == 10);
    Ok(())
}

/// Tests the mode `min_load`. The server counts messages only for clients with an id that ends with
/// `__rlb`.
async fn least_load(server: &Server) -> Result<()> {
    let home = ConnectionRef::new(server).await?;
    let (busy, idle) = (
        home.member("busy__rlb").await?,
        home.member("idle__rlb").await?,
    );
    for client in [&busy, &idle] {
        client
            .register_service(NumberService::new(Always(1)))
            .await?;
    }
    for number in 0..100i64 {
        busy.manager().await?.echo(number.into()).await?;
    }
    ensure!(home.chosen("number", "min_load").await? == set(&["idle__rlb"]));
    let unmeasured = home.member("unmeasured").await?;
    unmeasured
        .register_service(NumberService::new(Always(1)))
        .await?;
    for number in 0..100i64 {
        unmeasured.manager().await?.echo(number.into()).await?;
    }
    ensure!(home.chosen("number", "min_load").await? == set(&["unmeasured"]));
    Ok(())
}

/// Tests the workspace `public`, in which the default mode selects a random provider.
async fn public_services(server: &Server) -> Result<()> {
    let root = hypha_rpc::connect(&server.url).token(ROOT_TOKEN).await?;
    // This service is visible in all workspaces, so its id must be unique to this test.
    let id = format!("number-{}", root.client_id());
    let config = TokenConfig {
        workspace: Some("public".into()),
        ..TokenConfig::default()
    };
    let token = root.manager().await?.generate_token(Some(config)).await?;
    let mut providers = Vec::new();
    for value in [1, 2] {
        let provider = hypha_rpc::connect(&server.url).token(&token).await?;
        provider
            .register_service(NumberService::new(Always(value)))
            .id(&id)
            .visibility(Visibility::Public)
            .await?;
        providers.push(provider);
    }
    let caller = hypha_rpc::connect(&server.url).await?;
    let mut values = BTreeSet::new();
    for _ in 0..64 {
        let service = caller.get_service(format!("public/{id}")).await?;
        values.insert(service.call::<i64>("get_value", args!()).await?);
    }
    ensure!(values.len() == 2, "{values:?}");
    let exact = caller
        .get_service(format!("public/{id}"))
        .mode(SelectionMode::Exact)
        .await;
    ensure!(exact.is_err_and(|error| error.to_string().contains("Multiple services found")));
    Ok(())
}

/// Tests that the keys of services in other languages are converted to the keys that Rust services
/// use.
async fn converted_keys(server: &Server) -> Result<()> {
    let home = ConnectionRef::new(server).await?;
    let _python = home.provider(Language::Python, "python", "10").await?;
    let _javascript = home
        .provider(Language::JavaScript, "javascript", "10")
        .await?;
    let rust = home.member("rust").await?;
    rust.register_service(NumberService::new(Always(10)))
        .await?;
    let workspace = home.owner.workspace();
    for client in ["python", "javascript", "rust"] {
        let id = format!("{workspace}/{client}:number");
        let through_manager = home.owner.get_service(&id).case_conversion(Case::Camel);
        let direct = home
            .owner
            .get_remote_service(&id)
            .case_conversion(Case::Camel);
        let through_manager = through_manager.await?;
        let config = through_manager.get("config").context("no config")?;
        ensure!(config.get("workspace").is_some(), "{config}");
        for service in [through_manager, direct.await?] {
            let names: BTreeSet<String> = service.methods().map(str::to_owned).collect();
            ensure!(
                names == set(&["getValue", "readNumber", "deepPart.readIt"]),
                "{client}: {names:?}"
            );
            ensure!(service.call::<i64>("readNumber", args!(true)).await? == 11);
            // A proxy finds the methods by the names in its contract, which are in snake case.
            let number = NumberProxy::from_service(service);
            ensure!(number.read_number(false).await? == 10);
            ensure!(number.read_it().await? == 10);
        }
        let both = home
            .owner
            .get_service(&id)
            .case_conversion(Case::Both)
            .await?;
        ensure!(both.call::<i64>("readNumber", args!(false)).await? == 10);
        ensure!(both.call::<i64>("read_number", args!(false)).await? == 10);
    }
    Ok(())
}

/// Tests that clients in other languages see the options of a Rust service. Also tests that service
/// types work between clients in all languages.
async fn options_seen_by_other_clients(server: &Server) -> Result<()> {
    let home = ConnectionRef::new(server).await?;
    home.owner.register_service(DeskService::new(Here)).await?;
    let guarded = Service::new("guarded")
        .trusted_keys(["ab".repeat(32)])
        .method(Method::new("f", |call: IncomingCall| async move {
            call.reply(&())
        }));
    home.owner.register_service(guarded).await?;
    let manager = home.owner.manager().await?;
    let info = ServiceTypeInfo {
        id: "shutter".into(),
        name: "Shutter".into(),
        definition: shutter().description("A shutter.").schema(),
        ..ServiceTypeInfo::default()
    };
    manager.register_service_type(info.clone()).await?;
    let twice = manager.register_service_type(info.clone()).await;
    ensure!(
        matches!(&twice, Err(Error::Service(ManagerError::Key(text))) if text.contains("already exists")),
        "{twice:?}"
    );
    let found = manager.get_service_type("shutter".into()).await?;
    ensure!(found.id == format!("{}/shutter", home.owner.workspace()));
    ensure!(found.definition == info.definition, "{}", found.definition);
    let missing = manager.get_service_type("nothing".into()).await;
    ensure!(
        matches!(&missing, Err(Error::Service(ManagerError::Key(text))) if text == "Service type not found: nothing"),
        "{missing:?}"
    );

    home.checked_by(Language::Python, "owner").await?;
    home.checked_by(Language::JavaScript, "owner").await?;

    // The peer has defined a service type, and a Rust service implements this type.
    let types = manager.list_service_types(None).await?;
    let ids: BTreeSet<String> = types.into_iter().map(|info| info.id).collect();
    ensure!(
        ids == set(&["shutter", "python-shutter", "javascript-shutter"]),
        "{ids:?}"
    );
    let parts = Value::from(json!([3, 4]));
    for (kind, description) in [
        ("shutter", "See whether it is open."),
        ("python-shutter", "See whether it is open, in Python."),
        ("javascript-shutter", "Mine."),
    ] {
        let mut service = shutter().service_type(kind).with_id(kind);
        if kind != "shutter" {
            let lacking = home
                .owner
                .register_service(service.clone())
                .check_type(true);
            let lacking = lacking.await.err().context("accepted")?.to_string();
            let text = format!(
                "Failed to get service type {kind}, error: Missing key 'parts' in service at path \
                 'root'"
            );
            ensure!(lacking == text, "{lacking}");
            service = service.value("parts", parts.clone());
            let own = |call: IncomingCall| async move { call.reply(&true) };
            service = service.method(Method::new("is_open", own).doc("Mine."));
        }
        let info = home
            .owner
            .register_service(service)
            .check_type(true)
            .await?;
        let schema = info.service_schema.context("no schema")?.to_json();
        let function = &schema["is_open"]["function"];
        ensure!(function["description"] == description, "{kind}: {schema}");
        if kind != "javascript-shutter" {
            ensure!(
                function["parameters"]["required"] == json!(["at"]),
                "{kind}: {schema}"
            );
        }
    }
    match home
        .owner
        .register_service(shutter().service_type("nothing"))
        .check_type(true)
        .await
    {
        Err(Error::Rejected(refusal)) => ensure!(refusal.kind == RejectKind::UnknownService),
        other => bail!("{other:?}"),
    }
    Ok(())
}

/// Contract that serves as a service type.
#[hypha_service(id = "shutter", service_type = "shutter")]
trait Shutter {
    /// See whether it is open.
    async fn is_open(&self, at: String) -> bool;
}

impl Shutter for Here {
    async fn is_open(&self, _: String) -> bool {
        true
    }
}

fn shutter() -> Service {
    ShutterService::new(Here).into_service()
}

/// Tests the options of a registration: the access to the service, and the stored record.
async fn registration(server: &Server) -> Result<()> {
    let home = ConnectionRef::new(server).await?;
    let other = home.member("other").await?;
    let desk = || DeskService::new(Here);
    home.owner.register_service(desk()).await?;
    let second = other
        .register_service(desk())
        .await
        .err()
        .context("accepted")?;
    ensure!(
        second
            .to_string()
            .contains("A singleton service with the same name"),
        "{second}"
    );
    let again = home
        .owner
        .register_service(desk())
        .await
        .err()
        .context("accepted")?;
    ensure!(
        again.to_string()
            == "Service already exists: desk, please specify a different id (not desk) or overwrite",
        "{again}"
    );
    home.owner.register_service(desk()).overwrite(true).await?;
    home.owner.unregister_service("desk").await?;
    other.register_service(desk()).await?;

    // With `notify(false)`, the manager does not know the service. Clients can still call it at its
    // address.
    let number = || NumberService::new(Always(1));
    home.owner.register_service(number()).notify(false).await?;
    match other.get_service("number").await {
        Err(Error::Rejected(refusal)) => ensure!(refusal.kind == RejectKind::UnknownService),
        found => bail!("{found:?}"),
    }
    let address = format!("{}/owner:number", home.owner.workspace());
    let direct = other.get_remote_service(&address).await?;
    ensure!(direct.call::<i64>("get_value", args!()).await? == 1);
    home.owner.unregister_service("number").await?;
    ensure!(other.get_remote_service(&address).await.is_err());

    // Clients of an authorized workspace may use a protected service.
    let friend = hypha_rpc::connect(&server.url).await?;
    let stranger = hypha_rpc::connect(&server.url).await?;
    let shared = home
        .owner
        .register_service(number())
        .authorized_workspaces([friend.workspace()])
        .await?;
    let number: NumberProxy = friend.proxy(&shared.id).await?;
    ensure!(number.get_value().await? == 1);
    match stranger.get_service(&shared.id).await {
        Err(Error::Rejected(refusal)) => ensure!(refusal.kind == RejectKind::PermissionDenied),
        found => bail!("{found:?}"),
    }
    // A client with a read-only token can look up and call services. It cannot register services.
    let config = TokenConfig {
        permission: Some(Permission::Read.into()),
        ..TokenConfig::default()
    };
    let token = home
        .owner
        .manager()
        .await?
        .generate_token(Some(config))
        .await?;
    let reader = hypha_rpc::connect(&server.url).token(token).await?;
    let refused = reader
        .register_service(desk().into_service().with_id("mine"))
        .await;
    ensure!(refused.is_err(), "{refused:?}");
    Ok(())
}

macro_rules! both_servers {
    ($($case:ident with $languages:expr;)*) => {
        both_servers!(python_server Python $($case $languages,)*);
        both_servers!(our_server Ours $($case $languages,)*);
    };
    ($module:ident $kind:ident $($case:ident $languages:expr,)*) => {
        mod $module {
            use super::Language::{JavaScript, Python};

            $(#[test]
            fn $case() {
                let case = async |server: &super::Server| super::$case(server).await;
                hypha_rpc_tests::cases::run(super::Kind::$kind, &$languages, case);
            })*
        }
    };
}

both_servers! {
    selection with [Python, JavaScript];
    least_load with [];
    public_services with [];
    converted_keys with [Python, JavaScript];
    options_seen_by_other_clients with [Python, JavaScript];
    registration with [];
}
