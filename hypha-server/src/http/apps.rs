//! Serves applications, which are services that respond to HTTP: `/{workspace}/apps/{id}/{path}`.
//!
//! A service of the type `asgi` receives the request as an ASGI scope, with one function that reads
//! the body and one function that sends the response. A service of the type `functions` has a
//! function for each path.
//!
//! The application runs as one call of an internal client that belongs to the request. This client
//! must stay connected until the call ends, even if the visitor disconnects earlier; see `Running`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::{OriginalUri, Path, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use hypha_rpc::workspace::UserInfo;
use hypha_rpc::{Callback, Error, Map, RemoteService, Value, args};
use hypha_wire::RawValue;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::app_response::AppResponse;
use super::body::{self, Content, Received, SizedBody, over_budget};
use super::credentials::Links;
use super::problem::{PlainProblem, Problem, failed, problem};
use super::request_client::{self, Visitor};
use super::{Front, Remote};
use crate::shown::shown;
use crate::state::State;

/// Maximum number of messages of an application that wait for the visitor. Above this number, the
/// application's `send` waits, which slows the application down to the visitor's pace.
const MESSAGES: usize = 4;

/// Redirects to the same URL with a slash at the end, so that relative links in the page work.
pub(super) async fn slash(OriginalUri(uri): OriginalUri) -> Redirect {
    let query = uri.query().map(|query| format!("?{query}"));
    Redirect::temporary(&format!("{}/{}", uri.path(), query.unwrap_or_default()))
}

/// Serves the index page of an application.
pub(super) async fn index(
    front: Shared<Front>,
    Path((workspace, id)): Path<(String, String)>,
    remote: Extension<Remote>,
    request: Request<Body>,
) -> Result<Response, PlainProblem> {
    let path = Path((workspace, id, String::new()));
    page(front, path, remote, request).await
}

/// Serves a page of an application.
pub(super) async fn page(
    Shared(front): Shared<Front>,
    Path((workspace, id, path)): Path<(String, String, String)>,
    Extension(remote): Extension<Remote>,
    request: Request<Body>,
) -> Result<Response, PlainProblem> {
    let (parts, body) = request.into_parts();
    let visitor =
        request_client::identify(&front, remote, &parts.headers, Links::OpenPages).await?;
    // The query is parsed here instead of by axum, because the query belongs to the application and
    // need not consist of pairs.
    let mode = parts.uri.query().and_then(|query| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(name, _)| *name == "_mode");
        found.map(|(_, mode)| mode.to_owned())
    });
    let service = request_client::app_service(&front, &visitor, &workspace, &id, mode).await?;
    let mut scope = scope(&parts, &path, remote);
    scope.insert("workspace".into(), workspace.as_str().into());
    scope.insert("service_id".into(), id.as_str().into());
    let state = &front.state;
    let app = AppResponse::new(state, &workspace, &id);
    match service.get("type").and_then(Value::as_str) {
        Some("asgi" | "ASGI") => Ok(asgi(state, &app, service, scope, body, visitor).await?),
        Some("functions") => {
            let function = function_of(&service, &path, &mut scope)?;
            let received = body::read(state, &visitor.account, body).await?;
            let mut call = FunctionCall {
                service: &service,
                function,
                scope,
            };
            call.add(&parts.headers, received.bytes.clone(), &visitor.user);
            Ok(functions(state, &app, call, received, visitor).await?)
        }
        kind => {
            let kind = kind.unwrap_or_default();
            Err(failed(format_args!("Invalid service type: {kind}")).into())
        }
    }
}

/// Returns the ASGI scope of a request, without the functions `receive` and `send`.
///
/// The scheme is always `http`, and the port is 80 if the header `Host` contains no port.
fn scope(parts: &Parts, path: &str, remote: Remote) -> Map {
    let bytes = |bytes: &[u8]| Value::Bytes(Bytes::copy_from_slice(bytes));
    let pair = |name: &HeaderName, value: &HeaderValue| {
        Value::List(vec![
            bytes(name.as_str().as_bytes()),
            bytes(value.as_bytes()),
        ])
    };
    let headers = parts.headers.iter().map(|(name, value)| pair(name, value));
    let path = format!("/{path}");
    let version = Map::from_iter([
        ("version".to_owned(), Value::from("3.0")),
        ("spec_version".to_owned(), Value::from("2.3")),
    ]);
    let host = parts.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let (host, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let address = |host: String, port: u16| Value::List(vec![host.into(), u64::from(port).into()]);
    Map::from_iter([
        ("type".to_owned(), Value::from("http")),
        ("asgi".to_owned(), Value::Map(version)),
        ("http_version".to_owned(), Value::from("1.1")),
        ("scheme".to_owned(), Value::from("http")),
        ("method".to_owned(), parts.method.as_str().into()),
        ("root_path".to_owned(), Value::from("")),
        ("raw_path".to_owned(), bytes(path.as_bytes())),
        ("path".to_owned(), path.into()),
        (
            "query_string".to_owned(),
            bytes(parts.uri.query().unwrap_or_default().as_bytes()),
        ),
        ("headers".to_owned(), Value::List(headers.collect())),
        (
            "server".to_owned(),
            address(host.to_owned(), port.parse().unwrap_or(80)),
        ),
        (
            "client".to_owned(),
            address(remote.0.ip().to_string(), remote.0.port()),
        ),
    ])
}

/// A running ASGI application and its messages.
struct Running {
    /// The call of the application. `None` after it has returned.
    serving: Option<BoxFuture<'static, Result<RawValue, Error>>>,
    /// The error with which the call ended.
    failure: Option<Error>,
    /// Messages from the application that the visitor has not received yet.
    messages: mpsc::Receiver<RawValue>,
    /// `None` only while the destructor runs.
    held: Option<Held>,
    state: Arc<State>,
}

/// Parts of a request that must live until the application has returned.
struct Held {
    // This handle keeps the request's client connected; the application responds through that
    // client.
    _service: RemoteService,
    _visitor: Visitor,
    // Dropped when the visitor has disconnected or has received the whole response. The
    // application's `receive` waits until then, and returns `http.disconnect`.
    _present: mpsc::Sender<()>,
}

impl Running {
    /// Returns the next message of the application. Returns `None` when the application has
    /// returned and all messages are read.
    async fn next(&mut self) -> Option<RawValue> {
        while let Some(serving) = &mut self.serving {
            tokio::select! {
                // Messages have priority, because messages that the application sent before it
                // returned belong to the response.
                biased;
                message = self.messages.recv() => return message,
                outcome = serving => {
                    self.serving = None;
                    self.failure = outcome.err();
                }
            }
        }
        self.messages.try_recv().ok()
    }

    /// Returns the error text for an application that has returned before the end of its response,
    /// and logs the text.
    fn unfinished(&self) -> String {
        let app = self.held.as_ref().map_or("", |held| held._service.id());
        let reason = match &self.failure {
            Some(error) => error.to_string(),
            None => "no message had `more_body` false".to_owned(),
        };
        let text =
            format!("the application `{app}` returned before the end of its response: {reason}");
        tracing::info!("{text}");
        text
    }
}

/// Lets a running application finish in the background, after its response is complete or the
/// visitor has disconnected.
///
/// The application receives `http.disconnect` and the responses to its last messages, and has
/// `app_grace` to return. The application responds through the request's client. If this client
/// disconnected immediately, the application would fail in the middle of its cleanup.
impl Drop for Running {
    fn drop(&mut self) {
        // The application has returned, so there is nothing to wait for.
        let (Some(serving), Some(held)) = (self.serving.take(), self.held.take()) else {
            return;
        };
        let (_, nothing) = mpsc::channel(1);
        let mut messages = std::mem::replace(&mut self.messages, nothing);
        let state = self.state.clone();
        self.state.shutdown.spawn(async move {
            let Held {
                _service,
                _visitor,
                _present,
            } = held;
            // Makes `receive` return `http.disconnect`.
            drop(_present);
            // The application may be waiting until `messages` has room, so the remaining messages
            // are received and dropped.
            let discarding = async { while messages.recv().await.is_some() {} };
            let returning = async {
                tokio::select! {
                    _ = serving => {}
                    () = async { discarding.await; std::future::pending().await } => {}
                }
            };
            let ended = tokio::select! {
                ended = timeout(state.settings.limits.app_grace, returning) => ended.is_ok(),
                () = _visitor.account.gives_way() => false,
            };
            if !ended {
                state.counters.apps_ended.add();
                tracing::info!(app = _service.id(), "an application did not return in time");
            }
        });
    }
}

/// Calls an ASGI application, and streams its messages as the response.
///
/// # Errors
///
/// Fails if the application fails or returns before it starts its response, or if its first message
/// is not `http.response.start`. A later failure aborts the connection, because a body that merely
/// ended would look complete.
async fn asgi(
    state: &Arc<State>,
    app: &AppResponse<'_>,
    service: RemoteService,
    scope: Map,
    body: Body,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (sender, messages) = mpsc::channel(MESSAGES);
    let (present, gone) = mpsc::channel(1);
    let body = Arc::new(Mutex::new(Upload {
        body: Some(body.into_data_stream()),
        read_timeout: state.settings.limits.body_timeout,
        gone,
    }));
    let receive = Callback::<(), Value, String>::try_new(move |()| {
        let body = body.clone();
        async move { body.lock().await.next().await }
    });
    let send = Callback::<RawValue>::new({
        move |message: RawValue| {
            let sender = sender.clone();
            // A failure means that the visitor has disconnected. The failure is ignored, because an
            // error would end most applications with a traceback. `receive` reports the disconnect
            // instead.
            async move { drop(sender.send(message).await) }
        }
    });
    #[derive(serde::Serialize)]
    struct Arguments {
        scope: Map,
        receive: Callback<(), Value, String>,
        send: Callback<RawValue>,
    }
    let arguments = Arguments {
        scope,
        receive,
        send,
    };
    let serving = service.call::<RawValue>("serve", args!(arguments));
    let mut running = Running {
        serving: Some(serving.boxed()),
        failure: None,
        messages,
        held: Some(Held {
            _service: service,
            _visitor: visitor,
            _present: present,
        }),
        state: state.clone(),
    };
    let Some(start) = running.next().await else {
        return Err(match &running.failure {
            Some(error) => request_client::refusal(error),
            None => failed("The application has not responded"),
        });
    };
    let kind = start.member("type");
    if kind.as_ref().and_then(RawValue::as_str) != Some("http.response.start") {
        return Err(app.refused("began with something other than `http.response.start`"));
    }
    let status = app.status(start.member("status").and_then(|status| status.as_u64()))?;
    let headers = start.member("headers");
    let pairs = headers.as_ref().and_then(RawValue::items);
    let pairs = pairs.into_iter().flatten().filter_map(|pair| {
        let mut pair = pair.items()?;
        Some((pair.next()?.as_content()?, pair.next()?.as_content()?))
    });
    let headers = app.headers(pairs)?;
    let pieces = stream::unfold(Some(running), |running| async move {
        let mut running = running?;
        let Some(message) = running.next().await else {
            let unfinished = io::Error::other(running.unfinished());
            return Some((Err(unfinished), None));
        };
        let more = message.member("more_body").and_then(|more| more.as_bool()) == Some(true);
        let piece = message.member("body").and_then(|body| body.as_content());
        let piece = piece.unwrap_or_default();
        Some((Ok(piece), more.then_some(running)))
    });
    Ok((status, headers, Body::from_stream(pieces)).into_response())
}

/// The body of a request, which an application reads piece by piece.
struct Upload {
    /// `None` after the last piece.
    body: Option<BodyDataStream>,
    /// Timeout for each piece.
    read_timeout: Duration,
    /// Closed when the visitor has disconnected or has received the whole response.
    gone: mpsc::Receiver<()>,
}

impl Upload {
    /// Returns the next ASGI event: a piece of the body, or `http.disconnect` after the visitor has
    /// disconnected.
    ///
    /// # Errors
    ///
    /// Fails if the body does not arrive in time, or if the connection is lost. The application
    /// receives the error text as an exception.
    async fn next(&mut self) -> Result<Value, String> {
        let Some(body) = &mut self.body else {
            // An application that reads beyond the end of the body waits for the disconnect, as
            // ASGI requires.
            self.gone.recv().await;
            return Ok(event("http.disconnect", []));
        };
        let piece = match timeout(self.read_timeout, body.next()).await {
            Ok(piece) => piece,
            Err(_) => return Err("the body of the request did not arrive in time".into()),
        };
        let (piece, more) = match piece {
            Some(Ok(piece)) => (piece, true),
            Some(Err(error)) => return Err(format!("the body of the request is lost: {error}")),
            None => (Bytes::new(), false),
        };
        if !more {
            self.body = None;
        }
        Ok(event(
            "http.request",
            [("body", Value::Bytes(piece)), ("more_body", more.into())],
        ))
    }
}

/// Returns an ASGI event.
fn event<const N: usize>(kind: &str, fields: [(&str, Value); N]) -> Value {
    let mut event = Map::from_iter([("type".to_owned(), Value::from(kind))]);
    event.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Map(event)
}

/// Returns the name of the function for a path: for `a/b`, the first of `a.b`, `a.b.index` and
/// `default` that the service has. `default` receives the path as `function_path` in the scope.
///
/// # Errors
///
/// Fails with 404 if the service has none of these functions.
fn function_of(service: &RemoteService, path: &str, scope: &mut Map) -> Result<String, Problem> {
    let path = path.trim_matches('/');
    let path = if path.is_empty() { "index" } else { path };
    let name = path.replace('/', ".");
    let directory = format!("{name}.index");
    if !path.contains('.') && service.has_method(&name) {
        Ok(name)
    } else if path.contains('/') && !path.contains('.') && service.has_method(&directory) {
        Ok(directory)
    } else if service.has_method("default") {
        let path = if path == "index" { "" } else { path };
        scope.insert("function_path".into(), format!("/{path}").into());
        Ok("default".to_owned())
    } else {
        Err(problem(
            StatusCode::NOT_FOUND,
            format!("Function not found: {}", shown(path)),
        ))
    }
}

/// A request for a service of the type `functions`.
struct FunctionCall<'a> {
    service: &'a RemoteService,
    function: String,
    scope: Map,
}

impl FunctionCall<'_> {
    /// Adds the headers, the body and the user to the scope, and converts bytes to strings.
    /// Functions get the request in a different format than ASGI applications.
    fn add(&mut self, headers: &HeaderMap, body: Bytes, user: &UserInfo) {
        let scope = &mut self.scope;
        for name in ["query_string", "raw_path"] {
            if let Some(value) = scope.get_mut(name)
                && let Some(bytes) = value.as_bytes()
            {
                *value = String::from_utf8_lossy(bytes).into_owned().into();
            }
        }
        let fields = headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), Value::from(value))
        });
        scope.insert("headers".into(), Value::Map(fields.collect()));
        let body = if body.is_empty() {
            Value::Null
        } else {
            Value::Bytes(body)
        };
        scope.insert("body".into(), body);
        scope.insert("user".into(), Value::encode_from(user).unwrap_or_default());
    }
}

/// Calls the function of a path, and responds with its result.
///
/// # Errors
///
/// Fails if the call fails, if the function does not return a response, or if the server evicts the
/// request to free memory.
async fn functions(
    state: &State,
    app: &AppResponse<'_>,
    call: FunctionCall<'_>,
    received: Received,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let Visitor { account, visit, .. } = visitor;
    let FunctionCall {
        service,
        function,
        scope,
    } = call;
    let called = service.call::<RawValue>(&function, args!(scope));
    let answer = tokio::select! {
        called = called => called.map_err(|error| {
            problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        })?,
        () = account.gives_way() => {
            state.counters.http_refused_memory.add();
            let text = "the server is out of memory; try again later";
            return Err(problem(StatusCode::SERVICE_UNAVAILABLE, text));
        }
    };
    // The body is freed before the result is charged, so that the memory budget need not cover the
    // body and the result at the same time.
    drop(received);
    let charge = account.try_charge(answer.as_bytes().len());
    let charge = charge.map_err(|error| over_budget(state, &error))?;
    let (status, headers, body) = answered(app, &answer)?;
    let len = body.len() as u64;
    let body = SizedBody::new(
        Content::Bytes(Bytes::new(), body),
        len,
        &account,
        (charge, visit),
    );
    Ok((status, headers, Body::new(body)).into_response())
}

/// Reads the response `{status, headers, body}` that a function has returned. Default: status 200,
/// no headers, no body.
///
/// # Errors
///
/// Fails if the result is not a map, or a part has the wrong type.
fn answered(
    app: &AppResponse<'_>,
    answer: &RawValue,
) -> Result<(StatusCode, HeaderMap, Bytes), Problem> {
    let unusable = |what: &str| {
        problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("The function has returned an invalid response: {what}"),
        )
    };
    if answer.entries().is_none() {
        return Err(unusable("it is not a map"));
    }
    let given = |name| answer.member(name).filter(|value| !value.is_null());
    let status = match given("status") {
        None => StatusCode::OK,
        Some(status) => {
            let number = status.as_u64();
            app.status(Some(
                number.ok_or_else(|| unusable("its status is not a number"))?,
            ))?
        }
    };
    let fields = given("headers");
    let pairs = fields.as_ref().and_then(RawValue::entries);
    let pairs = pairs.into_iter().flatten();
    let pairs = pairs.filter_map(|(name, value)| Some((name.as_content()?, value.as_content()?)));
    let body = match given("body") {
        None => Bytes::new(),
        Some(body) => body
            .as_content()
            .ok_or_else(|| unusable("its body is neither text nor bytes"))?,
    };
    Ok((status, app.headers(pairs)?, body))
}
