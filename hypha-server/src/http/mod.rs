//! Accepts HTTP connections, routes requests, limits the rate and the number of requests, and
//! upgrades requests to WebSockets.
//!
//! `server` calls [`serve`] or [`mounted`] once. WebSockets and streams of `/rpc` are handed to
//! `session`. For any other request that needs the workspace, the server connects a client of
//! `hypha-rpc` until the request ends (`request_client`). The manager and the provider then check
//! permissions as for any other client.
//!
//! Rules for the handlers:
//!
//! * The sender of a request is identified before its body is read, because the body's memory is
//!   charged to the user or the IP address.
//! * Memory is charged before it is allocated, and the charge lasts until the response is sent.
//! * A cookie counts as credentials only for pages that the server trusts (`credentials`).
//! * Connections are spawned by [`Shutdown::spawn`](crate::state::Shutdown::spawn), so that no
//!   connection outlives the server.

#[cfg(feature = "a2a")]
mod a2a;
mod accept;
mod app_response;
mod apps;
mod body;
mod callbacks;
#[cfg(feature = "compression")]
mod compression;
#[cfg(feature = "console")]
mod console;
#[cfg(any(feature = "a2a", feature = "mcp"))]
mod content;
mod credentials;
mod files;
mod forms;
mod functions;
#[cfg(any(feature = "a2a", feature = "mcp"))]
mod gateways;
mod image;
mod info;
#[cfg(feature = "mcp")]
mod mcp;
#[cfg(feature = "openapi")]
mod openapi;
mod problem;
mod rate;
mod request_client;
mod rpc;
#[cfg(feature = "skills")]
mod skills;
mod transcode;
mod unread;
mod upgrade;
mod visits;
mod write_timeout;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRef, State as Shared};
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Json, Router};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use self::rate::HttpRates;
use self::visits::Visits;
use self::write_timeout::WriteTimeout;
use crate::session::Sessions;
use crate::state::{HYPHA_VERSION, State};
use crate::{event_log, process};

/// Timeout for the head of a request. Without this timeout, a client that sends a head slowly would
/// occupy a connection that is charged to no account.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of hyper's read buffer per connection, in bytes. Also limits the request headers.
/// hyper's default is 400 KB, with which a thousand waiting requests would exceed the memory
/// budget.
const READ_AHEAD: usize = 64 * 1024;
/// Time for which a browser may cache a preflight response.
const PREFLIGHT_LIFE: Duration = Duration::from_secs(600);
/// Pause after a failure to accept a connection. Most failures mean that the process has no free
/// file descriptors, and an immediate retry would fail again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The parts of the server that the handlers of requests share.
#[derive(Clone)]
struct Front {
    state: Arc<State>,
    sessions: Arc<Sessions>,
    rates: Arc<HttpRates>,
    visits: Arc<Visits>,
    #[cfg(feature = "console")]
    history: Option<Arc<console::History>>,
    #[cfg(feature = "mcp")]
    mcp: Arc<mcp::McpSessions>,
}

impl FromRef<Front> for Arc<State> {
    fn from_ref(front: &Front) -> Self {
        front.state.clone()
    }
}

impl FromRef<Front> for Arc<Sessions> {
    fn from_ref(front: &Front) -> Self {
        front.sessions.clone()
    }
}

/// Returns the routes of the server. The CORS layer is outermost, so that web pages can also read
/// the responses with which the rate limit refuses requests.
///
/// `serves_all` is false if a program serves other routes beside the base path.
fn routes(front: Front, origins: &[HeaderValue], serves_all: bool) -> Router {
    let functions = any(functions::function);
    #[cfg(feature = "compression")]
    let functions = functions.layer(compression::requests());
    let base = front.state.info.base_path.clone();
    // The settings were validated when the server started, so this cannot fail.
    let mounts = front.state.settings.mounts().unwrap_or_default();
    let app = Router::new()
        .route("/ws", get(upgrade::websocket))
        .route("/rpc", get(rpc::stream).post(rpc::message))
        .route("/health/liveness", get(liveness))
        .route("/health/readiness", get(readiness))
        .route("/health", get(diagnostics))
        .route("/metrics", get(info::metrics))
        .route("/assets/config.json", get(info::config))
        .route("/assets/{file}", get(files::js_client))
        .route("/login", get(info::login))
        .route("/{workspace}/info", get(info::workspace))
        .route("/{workspace}/services", get(apps::slash))
        .route("/{workspace}/services/", get(info::services))
        .route("/{workspace}/services/{id}", get(info::service))
        .route("/{workspace}/services/{id}/{function}", functions.clone())
        .fallback(info::not_found);
    #[cfg(feature = "console")]
    let app = match &front.history {
        Some(_) => app
            .route("/", get(console::root))
            .merge(console::routes(&front, functions)),
        None => app.route("/", get(info::root)),
    };
    #[cfg(not(feature = "console"))]
    let app = app.route("/", get(info::root));
    #[cfg(feature = "openapi")]
    let app = app
        .route("/openapi.json", get(openapi::server))
        .route("/api-docs", get(openapi::page))
        .route("/api-docs.js", get(openapi::script))
        .route("/{workspace}/openapi.json", get(openapi::workspace))
        .route(
            "/{workspace}/services/{id}/openapi.json",
            get(openapi::service),
        );
    #[cfg(feature = "skills")]
    let app = match front.state.settings.disable_agent_skills {
        true => app,
        false => app
            .route("/{workspace}/agent-skills", get(apps::slash))
            .route("/{workspace}/agent-skills/", get(skills::index))
            .route("/{workspace}/agent-skills/{*path}", get(skills::page)),
    };
    let app = mounts.into_iter().fold(app, |app, mount| {
        let served = || get(files::mounted).layer(Extension(mount.clone()));
        app.route(&mount.path, served())
            .route(&format!("{}/", mount.path), served())
            .route(&format!("{}/{{*path}}", mount.path), served())
    });
    #[cfg(feature = "compression")]
    let app = app.layer(compression::layer());
    #[cfg(feature = "mcp")]
    let app = app
        .route("/{workspace}/mcp", any(mcp::slash))
        .route("/{workspace}/mcp/", any(mcp::index))
        .route("/{workspace}/mcp/{*path}", any(mcp::page));
    #[cfg(feature = "a2a")]
    let app = app
        .route("/{workspace}/a2a", any(a2a::index))
        .route("/{workspace}/a2a/", any(a2a::index))
        .route("/{workspace}/a2a/{id}", any(a2a::root))
        .route("/{workspace}/a2a/{id}/{*path}", any(a2a::page))
        .route("/{workspace}/a2a/{id}/", any(a2a::root))
        .route("/{workspace}/a2a-info/{id}", get(a2a::info));
    let app = app
        // These routes are added after the compression layer, so that responses of applications are
        // not compressed: applications set their own encodings, and their responses are streams of
        // unknown length.
        .route("/{workspace}/apps/{id}", any(apps::slash))
        .route("/{workspace}/apps/{id}/", any(apps::index))
        .route("/{workspace}/apps/{id}/{*path}", any(apps::page))
        .method_not_allowed_fallback(info::not_allowed)
        .layer(from_fn_with_state(front.clone(), rate::limit));
    let app = match base.as_str() {
        "" => app,
        base => match below(base, app, &front) {
            app if serves_all => app.fallback(info::not_found),
            app => app,
        },
    };
    app.layer(from_fn(restore_options))
        .layer(cors(origins))
        .layer(from_fn(mask_options))
        .layer(from_fn_with_state(front.clone(), unread::finish))
        .with_state(front)
}

/// Returns the routes of `app` below the path `base`. axum serves the root of `app` at `base`, but
/// not at `base` with a slash.
fn below(base: &str, app: Router<Front>, front: &Front) -> Router<Front> {
    let root = TowerToHyperService::new(app.clone().with_state::<()>(front.clone()));
    let at_slash = move |mut request: Request<Body>| {
        let query = request.uri().query();
        let uri = query.map_or_else(|| "/".to_owned(), |query| format!("/?{query}"));
        // The query was part of a valid URI, so this cannot fail.
        *request.uri_mut() = uri.parse().unwrap_or_default();
        root.call(request)
    };
    Router::new()
        .nest(base, app)
        .route(&format!("{base}/"), any(at_slash))
}

/// Marks a request with the method `OPTIONS` that is not a preflight request.
#[derive(Clone)]
struct PlainOptions;

/// Changes the method of a request with `OPTIONS` that is not a preflight request, so that the CORS
/// layer does not respond to the request. [`restore_options`] restores the method.
async fn mask_options(mut request: Request<Body>, next: Next) -> Response {
    let headers = request.headers();
    let is_preflight = headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !is_preflight {
        request.extensions_mut().insert(PlainOptions);
        *request.method_mut() = Method::GET;
    }
    next.run(request).await
}

/// Undoes [`mask_options`].
async fn restore_options(mut request: Request<Body>, next: Next) -> Response {
    if request.extensions_mut().remove::<PlainOptions>().is_some() {
        *request.method_mut() = Method::OPTIONS;
    }
    next.run(request).await
}

/// Returns the CORS layer that allows the given origins, or any origin if `origins` is empty.
///
/// The layer allows credentials. Browsers refuse `*` together with credentials, so the layer that
/// allows any origin responds with the origin of the request instead. In requests from origins that
/// are not listed, the cookie does not count as credentials.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let origins = match origins {
        [] => AllowOrigin::mirror_request(),
        some => AllowOrigin::list(some.iter().cloned()),
    };
    let inference = HeaderName::from_static("inference-header-content-length");
    CorsLayer::new()
        .allow_origin(origins)
        .allow_credentials(true)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            inference,
            header::ACCEPT_ENCODING,
            header::RANGE,
            header::ORIGIN,
            header::CONTENT_TYPE,
        ])
        .max_age(PREFLIGHT_LIFE)
}

/// The socket address of the other end of the connection on which a request arrived. The other end
/// is the client or a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote(SocketAddr);

fn front(state: &Arc<State>) -> Front {
    Front {
        state: state.clone(),
        sessions: Arc::new(Sessions::new(state.clone())),
        rates: Arc::new(HttpRates::new(&state.settings.limits)),
        visits: Visits::new(&state.settings.limits),
        #[cfg(feature = "console")]
        history: state
            .settings
            .console
            .unwrap_or_default()
            .then(|| console::History::start(state)),
        #[cfg(feature = "mcp")]
        mcp: mcp::McpSessions::new(&state.settings.limits),
    }
}

#[cfg(feature = "skills")]
pub(crate) use self::skills::service as skills_service;

/// Returns the routes for a program that accepts the connections itself.
pub(crate) fn mounted(state: &Arc<State>, origins: &[HeaderValue]) -> Router {
    routes(front(state), origins, false).layer(from_fn(identified))
}

/// Stores the socket address from which a request came in the request, as [`serve`] does.
async fn identified(mut request: Request<Body>, next: Next) -> Response {
    let Some(ConnectInfo(remote)) = request.extensions().get().copied() else {
        let fault = "serve the router with `into_make_service_with_connect_info::<SocketAddr>()`: \
                     the Hypha server needs the addresses of its clients";
        tracing::error!("{fault}");
        return (StatusCode::INTERNAL_SERVER_ERROR, fault).into_response();
    };
    request.extensions_mut().insert(Remote(remote));
    without_length(next.run(request).await)
}

/// Accepts connections until the server shuts down. Open connections then finish their requests.
///
/// Web pages of `origins` may use the server. If `origins` is empty, pages of any origin may use
/// it.
pub(crate) async fn serve(listener: TcpListener, state: Arc<State>, origins: Vec<HeaderValue>) {
    let app = routes(front(&state), &origins, true);
    let mut stopped = std::pin::pin!(state.shutdown.stopped());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        let (stream, remote) = match accepted {
            Ok((stream, remote)) => (stream, Remote(remote)),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without this option, the kernel would delay small messages to combine them with later
        // messages.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let stream = WriteTimeout::new(stream, state.settings.limits.stall_timeout);
        let app = TowerToHyperService::new(app.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(remote);
            let responding = app.call(request);
            async move { responding.await.map(without_length) }
        });
        let stopped = state.shutdown.stopped();
        state.shutdown.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(READ_AHEAD)
                .serve_connection(TokioIo::new(stream), service)
                // Without this call, hyper would close the socket of a WebSocket after the
                // response.
                .with_upgrades();
            let mut connection = std::pin::pin!(connection);
            let result = tokio::select! {
                result = &mut connection => result,
                () = stopped => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "an HTTP connection ended");
            }
        });
    }
}

/// Removes `Content-Length` from a response that cannot have a body because of its status. axum
/// sets this header on all responses, but RFC 9110 forbids the header on responses with such a
/// status.
fn without_length<B>(mut response: Response<B>) -> Response<B> {
    if response.status() == StatusCode::NO_CONTENT {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// Returns whether the server accepts clients.
async fn liveness(Shared(state): Shared<Arc<State>>) -> Response {
    let bus = state.router.bus();
    let mut detail = parts(&state, true);
    detail["event_bus_failures"] = bus.failures().into();
    detail["circuit_breaker"] = if bus.is_up() { "closed" } else { "open" }.into();
    health(state.is_ready(), detail)
}

/// Returns the state of the parts of the server, in the words of the Python server. Without a
/// cluster there is no Redis.
fn parts(state: &State, is_stored: bool) -> serde_json::Value {
    let bus = state.router.bus();
    let word = |up: bool, word: &'static str| if up { word } else { "down" };
    let mut parts = json!({
        "server_id": state.info.server_id,
        "store": word(state.has_manager() && is_stored, "ready"),
        "event_bus": word(bus.is_up(), "ready"),
        "pubsub": word(bus.is_up(), "healthy"),
    });
    if bus.has_others() {
        parts["redis"] = word(state.registry.is_up(), "connected").into();
    }
    parts
}

/// Returns whether the server accepts clients and can store changes. Without a working disk the
/// server still accepts clients, because calls between clients need no disk.
async fn readiness(Shared(state): Shared<Arc<State>>) -> Response {
    let stored = state.store.is_writable().await;
    let mut detail = parts(&state, stored);
    if !stored {
        detail["problem"] = "changes cannot be stored".into();
    }
    health(state.is_ready() && stored, detail)
}

/// Returns a health report in the format of the Python server.
fn health(ready: bool, detail: serde_json::Value) -> Response {
    let (code, status) = condition(ready);
    (code, Json(json!({"status": status, "detail": detail}))).into_response()
}

/// Returns the status code and the status word for a health report.
fn condition(ready: bool) -> (StatusCode, &'static str) {
    if ready {
        (StatusCode::OK, "OK")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "DOWN")
    }
}

/// Returns the state of the server in the format of the Python server: health, memory, connections
/// and messages.
async fn diagnostics(Shared(state): Shared<Arc<State>>) -> Response {
    let (ready, stored) = (state.is_ready(), state.store.is_writable().await);
    let (code, _) = condition(ready && stored);
    let stats = state.stats();
    let is_full = stats.memory_used > stats.memory_limit / 5 * 4;
    let mut issues = Vec::new();
    let mut score: u64 = 100;
    for (holds, points, issue) in [
        (!ready, 50, "the server accepts no clients"),
        (!stored, 50, "changes cannot be stored"),
        (is_full, 20, "more than 80 % of the memory budget is in use"),
    ] {
        if holds {
            score = score.saturating_sub(points);
            issues.push(issue);
        }
    }
    let bus = state.router.bus();
    let megabytes = |bytes: u64| (bytes as f64 / 1024.0 / 1024.0 * 100.0).round() / 100.0;
    let percent = |share: f64| (share * 10.0).round() / 10.0;
    let memory = process::memory();
    let system = json!({
        "memory_percent": memory.map(|memory| percent(memory.machine_percent)),
        "load_average": process::load_average(),
    });
    let memory = memory.map(|memory| {
        json!({
            "rss_mb": megabytes(memory.resident),
            "vms_mb": megabytes(memory.virtual_size),
            "percent": percent(memory.machine_percent),
        })
    });
    let closed =
        stats.connections_accepted - stats.connections_open.min(stats.connections_accepted);
    let body = json!({
        // Without the `Z`, programs would read the time as local time.
        "timestamp": format!("{}Z", event_log::iso(SystemTime::now())),
        "status": if code == StatusCode::OK { "HEALTHY" } else { "CRITICAL" },
        "health_score": score,
        "issues": issues,
        "memory": memory,
        "server_id": state.info.server_id,
        "hypha_version": HYPHA_VERSION,
        "server_version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": state.started.elapsed().as_secs_f64(),
        "connections": {
            "active": stats.connections_open,
            "accepted": stats.connections_accepted,
            "total_created": stats.connections_accepted,
            "total_closed": closed,
        },
        "event_bus": {
            "circuit_breaker_open": !bus.is_up(),
            "consecutive_failures": bus.failures(),
        },
        "system": system,
        "tasks": {"active": tokio::runtime::Handle::current().metrics().num_alive_tasks()},
        "messages": {"received": stats.messages_received, "routed": stats.messages_routed},
    });
    (code, Json(body)).into_response()
}
