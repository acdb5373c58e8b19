//! Services that answer HTTP: `/{workspace}/apps/{id}/{path}`.
//!
//! An `asgi` service receives the request as an ASGI scope, with functions to read the body and to
//! respond; a `functions` service has a function for each path.

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
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::problem::{PlainProblem, Problem, failed, problem};
use super::rpc::read;
use super::{Remote, request_client};
use crate::state::State;

/// Bound on the messages of an application that wait for the client.
const MESSAGES: usize = 4;
/// Headers that belong to one connection, not to the response.
const HOP_BY_HOP: [HeaderName; 3] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Redirects to the address with a slash, so that relative links in the page work.
pub(super) async fn slash(OriginalUri(uri): OriginalUri) -> Redirect {
    let query = uri.query().map(|query| format!("?{query}"));
    Redirect::temporary(&format!("{}/{}", uri.path(), query.unwrap_or_default()))
}

/// Serves the index page of an application.
pub(super) async fn index(
    state: Shared<Arc<State>>,
    Path((workspace, id)): Path<(String, String)>,
    remote: Extension<Remote>,
    request: Request<Body>,
) -> Result<Response, PlainProblem> {
    let path = Path((workspace, id, String::new()));
    page(state, path, remote, request).await
}

pub(super) async fn page(
    Shared(state): Shared<Arc<State>>,
    Path((workspace, id, path)): Path<(String, String, String)>,
    Extension(remote): Extension<Remote>,
    request: Request<Body>,
) -> Result<Response, PlainProblem> {
    let (parts, body) = request.into_parts();
    let user = request_client::identify(&state, &parts.headers).await?;
    let mode = parts.uri.query().and_then(|query| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(name, _)| *name == "_mode");
        found.map(|(_, mode)| mode.to_owned())
    });
    let client = request_client::enter(&state, user.clone(), &workspace).await?;
    let service = request_client::service(&client, &workspace, &id, mode).await?;
    let mut scope = scope(&parts, &path, remote);
    scope.insert("workspace".into(), workspace.into());
    scope.insert("service_id".into(), id.into());
    match service.get("type").and_then(Value::as_str) {
        Some("asgi" | "ASGI") => {
            let read_timeout = state.settings.limits.body_timeout;
            Ok(asgi(service, scope, body, read_timeout).await?)
        }
        Some("functions") => {
            let body = read(&state, body).await?;
            Ok(functions(&service, &path, scope, &parts.headers, body, &user).await?)
        }
        kind => {
            let kind = kind.unwrap_or_default();
            Err(failed(format_args!("Invalid service type: {kind}")).into())
        }
    }
}

/// Returns the part of the ASGI scope that can be encoded.
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
    serving: BoxFuture<'static, Result<Value, Error>>,
    outcome: Option<Result<Value, Error>>,
    messages: mpsc::Receiver<Map>,
    // Dropped with the response: the application's `receive` waits for that.
    _present: mpsc::Sender<()>,
}

impl Running {
    /// Returns the next message of the application; `None` when it has ended.
    async fn next(&mut self) -> Option<Map> {
        while self.outcome.is_none() {
            tokio::select! {
                biased;
                message = self.messages.recv() => return message,
                outcome = &mut self.serving => self.outcome = Some(outcome),
            }
        }
        self.messages.try_recv().ok()
    }
}

async fn asgi(
    service: RemoteService,
    scope: Map,
    body: Body,
    read_timeout: Duration,
) -> Result<Response, Problem> {
    let (sender, messages) = mpsc::channel(MESSAGES);
    let (present, gone) = mpsc::channel(1);
    let body = Arc::new(Mutex::new(Upload {
        body: Some(body.into_data_stream()),
        read_timeout,
        gone,
    }));
    let receive = Callback::<(), Value, String>::try_new(move |()| {
        let body = body.clone();
        async move { body.lock().await.next().await }
    });
    let send = Callback::<Map>::new({
        move |message: Map| {
            let sender = sender.clone();
            // If the client is gone, the application learns it from `receive`.
            async move { drop(sender.send(message).await) }
        }
    });
    #[derive(serde::Serialize)]
    struct Arguments {
        scope: Map,
        receive: Callback<(), Value, String>,
        send: Callback<Map>,
    }
    let arguments = Arguments {
        scope,
        receive,
        send,
    };
    let serving = service.call::<Value>("serve", args!(arguments));
    let mut running = Running {
        serving: async move { serving.await }.boxed(),
        outcome: None,
        messages,
        _present: present,
    };
    let Some(start) = running.next().await else {
        return Err(match running.outcome {
            Some(Err(error)) => request_client::refusal(&error),
            _ => failed("The application has not answered"),
        });
    };
    let kind = start.get("type").and_then(Value::as_str);
    let status = start.get("status").and_then(Value::as_u64);
    let status = status.and_then(|status| StatusCode::from_u16(u16::try_from(status).ok()?).ok());
    let (Some("http.response.start"), Some(status)) = (kind, status) else {
        return Err(problem(
            StatusCode::BAD_GATEWAY,
            "The application begins with something else than `http.response.start`",
        ));
    };
    let headers = start.get("headers").and_then(Value::as_list);
    let pairs = headers.unwrap_or_default().iter().filter_map(|pair| {
        let [name, value] = pair.as_list()? else {
            return None;
        };
        Some((as_bytes(name)?, as_bytes(value)?))
    });
    let headers = answer_headers(pairs);
    let pieces = stream::unfold(Some((running, service)), |going| async move {
        let (mut running, service) = going?;
        let message = running.next().await?;
        let more = message.get("more_body").and_then(Value::as_bool) == Some(true);
        let piece = message.get("body").and_then(as_bytes).unwrap_or_default();
        let going = more.then_some((running, service));
        Some((Ok::<Bytes, std::convert::Infallible>(piece), going))
    });
    Ok((status, headers, Body::from_stream(pieces)).into_response())
}

/// The body of a request, piece by piece.
struct Upload {
    /// `None` after the last piece.
    body: Option<BodyDataStream>,
    read_timeout: Duration,
    gone: mpsc::Receiver<()>,
}

impl Upload {
    async fn next(&mut self) -> Result<Value, String> {
        let Some(body) = &mut self.body else {
            // An application that reads on waits for the disconnect.
            self.gone.recv().await;
            return Ok(event("http.disconnect", []));
        };
        let piece = match timeout(self.read_timeout, body.next()).await {
            Ok(piece) => piece,
            Err(_) => return Err("the body of the request does not come".into()),
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

fn event<const N: usize>(kind: &str, fields: [(&str, Value); N]) -> Value {
    let mut event = Map::from_iter([("type".to_owned(), Value::from(kind))]);
    event.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    Value::Map(event)
}

fn as_bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::String(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
        _ => None,
    }
}

/// Returns the headers of a response, without those that are invalid.
fn answer_headers(pairs: impl Iterator<Item = (Bytes, Bytes)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(&name);
        let value = HeaderValue::from_maybe_shared(value);
        if let (Ok(name), Ok(value)) = (name, value)
            && !HOP_BY_HOP.contains(&name)
        {
            headers.append(name, value);
        }
    }
    headers
}

/// Calls the function of a path.
async fn functions(
    service: &RemoteService,
    path: &str,
    mut scope: Map,
    headers: &HeaderMap,
    body: Bytes,
    user: &UserInfo,
) -> Result<Response, Problem> {
    let path = path.trim_matches('/');
    let path = if path.is_empty() { "index" } else { path };
    let name = path.replace('/', ".");
    let directory = format!("{name}.index");
    let function = if !path.contains('.') && service.has_method(&name) {
        name
    } else if path.contains('/') && !path.contains('.') && service.has_method(&directory) {
        directory
    } else if service.has_method("default") {
        let path = if path == "index" { "" } else { path };
        scope.insert("function_path".into(), format!("/{path}").into());
        "default".to_owned()
    } else {
        return Err(problem(
            StatusCode::NOT_FOUND,
            format!("Function not found: {path}"),
        ));
    };
    for name in ["query_string", "raw_path"] {
        if let Some(value) = scope.get_mut(name)
            && let Some(bytes) = as_bytes(value)
        {
            *value = String::from_utf8_lossy(&bytes).into_owned().into();
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
    let called = service.call::<Value>(&function, args!(scope)).await;
    let answer =
        called.map_err(|error| problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    answered(&answer)
}

/// Makes a response of `{status, headers, body}`.
fn answered(answer: &Value) -> Result<Response, Problem> {
    let unusable = |what: &str| {
        problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("The function has returned no answer: {what}"),
        )
    };
    let Value::Map(answer) = answer else {
        return Err(unusable("it is no map"));
    };
    let status = match answer.get("status") {
        None | Some(Value::Null) => StatusCode::OK,
        Some(status) => {
            let status = status
                .as_u64()
                .and_then(|status| u16::try_from(status).ok());
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            status.ok_or_else(|| unusable("its status is none"))?
        }
    };
    let fields = answer.get("headers").and_then(Value::as_map);
    let pairs = fields.into_iter().flatten().filter_map(|(name, value)| {
        let name = Bytes::copy_from_slice(name.as_bytes());
        Some((name, as_bytes(value)?))
    });
    let body = match answer.get("body") {
        None | Some(Value::Null) => Bytes::new(),
        Some(body) => {
            as_bytes(body).ok_or_else(|| unusable("its body is neither text nor bytes"))?
        }
    };
    Ok((status, answer_headers(pairs), body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_functions_are_maps() {
        let answer = |json: serde_json::Value| answered(&json.into());
        let good = answer(serde_json::json!({
            "status": 201, "headers": {"X-A": "b", "bad name": "c", "Connection": "close"},
            "body": "t"
        }))
        .unwrap();
        assert_eq!(good.status(), StatusCode::CREATED);
        assert_eq!(good.headers()["x-a"], "b");
        assert!(good.headers().get(header::CONNECTION).is_none());
        assert_eq!(
            answer(serde_json::json!({})).unwrap().status(),
            StatusCode::OK
        );
        for bad in [
            serde_json::json!([]),
            serde_json::json!({"status": 7}),
            serde_json::json!({"body": 1}),
        ] {
            assert!(answer(bad).is_err());
        }
    }
}
