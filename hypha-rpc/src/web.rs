//! Serves an HTTP application through the Hypha server: an axum `Router`, or any `tower::Service`
//! for HTTP requests (feature `web`).
//!
//! The server passes requests below `/<workspace>/apps/<id>/` to the application, and streams the
//! application's responses to the HTTP client (`docs/protocol/05-http-transport.md#sb7`). The
//! program needs no open port.
//!
//! ```no_run
//! # use hypha_rpc::prelude::*;
//! # use hypha_rpc::web::Body;
//! # async fn example<A>(client: Client, router: A) -> Result<(), Error>
//! # where
//! #     A: tower_service::Service<http::Request<Body>, Response = http::Response<String>>
//! #         + Clone + Send + Sync + 'static,
//! #     A::Error: std::fmt::Display + Send,
//! #     A::Future: Send,
//! # {
//! client.register_service(hypha_rpc::web::app("dashboard", router)).await?;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tower_service::Service as TowerService;

use crate::args;
use crate::call::Function;
use crate::error::report;
use crate::service::{Context, IncomingCall, Method, Service};
use crate::workspace::Visibility;
use hypha_wire::{Args, Binary, WireError};

/// Delay between the start of a request and the extra call that waits for the HTTP client's
/// disconnect. A request that ends within this delay does not need the extra call.
const WATCH_DISCONNECT_AFTER: Duration = Duration::from_secs(1);
/// Maximum number of pieces of a body that wait for the application: the content of a short body,
/// and its end.
const READ_AHEAD: usize = 2;

/// Creates a service from an HTTP application. The service is public, so anyone who knows the
/// address can open the application.
/// [`RegisterService::visibility`](crate::client::RegisterService::visibility) changes the
/// visibility.
///
/// Paths in requests are relative to `/<workspace>/apps/<id>`, and decoded: `%2F` is a `/`. The
/// extensions of each request contain the [`Context`] of the call, which names the logged-in user.
/// WebSockets are not supported.
///
/// # Errors
///
/// If the application returns an error, the HTTP client receives a response with status 500 or 502.
/// An axum application cannot fail, because its error type is `Infallible`.
///
/// # Cancellation
///
/// When the HTTP client disconnects, [`Context::cancellation`] is triggered and the future of the
/// handler, or the body of the response, is dropped at its current await. A handler that itself
/// waits for the token runs until its next await. The disconnect is noticed one second after the
/// start of the request at the earliest, and only after the body of the request is read or dropped.
/// A body with more than one piece that a handler keeps but does not read delays it by the server's
/// `app_grace` (30 s).
pub fn app<A, B>(id: impl Into<String>, app: A) -> Service
where
    A: TowerService<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    A::Error: fmt::Display + Send,
    A::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: fmt::Display + Send,
{
    let serve = Method::new("serve", move |call: IncomingCall| serve(app.clone(), call));
    Service::new(id)
        .service_type("asgi")
        .visibility(Visibility::Public)
        .method(serve)
}

/// Argument of the method `serve`.
#[derive(Deserialize)]
struct Visit {
    scope: Scope,
    receive: Function,
    send: Function,
}

/// The fields of an ASGI scope that this module uses.
#[derive(Deserialize)]
struct Scope {
    #[serde(rename = "type")]
    kind: String,
    method: String,
    path: String,
    #[serde(default)]
    query_string: Content,
    #[serde(default)]
    headers: Vec<(Content, Content)>,
}

/// Bytes in a message. Some servers send a string instead of binary data.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Bytes(Binary),
    Text(String),
}

impl Default for Content {
    fn default() -> Self {
        Content::Text(String::new())
    }
}

impl Content {
    fn into_bytes(self) -> Bytes {
        match self {
            Content::Bytes(Binary(bytes)) => bytes,
            Content::Text(text) => text.into(),
        }
    }
}

/// Message from the server. Contains a piece of the request body, or reports that the HTTP client
/// has disconnected.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    body: Option<Content>,
    #[serde(default)]
    more_body: bool,
}

/// Message to the server, which contains a part of the response.
#[derive(Serialize)]
#[serde(tag = "type")]
enum Message {
    #[serde(rename = "http.response.start")]
    Start {
        status: u16,
        headers: Vec<(Binary, Binary)>,
    },
    #[serde(rename = "http.response.body")]
    Body { body: Binary, more_body: bool },
}

/// Body of a request to an [`app`]. The server sends the next piece when the application reads the
/// body.
pub struct Body {
    pieces: mpsc::Receiver<io::Result<Piece>>,
    /// Tells [`attend`] that the application waits for a piece.
    wanted: Arc<Notify>,
    has_ended: bool,
}

/// Part of the body of a request.
struct Piece {
    bytes: Bytes,
    is_last: bool,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Task<'_>,
    ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(received) = self.pieces.poll_recv(cx) else {
            self.wanted.notify_one();
            return Poll::Pending;
        };
        // The call of the application has ended.
        let received = received.unwrap_or_else(|| Err(gone()));
        self.has_ended = received.as_ref().map_or(true, |piece| piece.is_last);
        Poll::Ready(Some(
            received.map(|piece| http_body::Frame::data(piece.bytes)),
        ))
    }
}

fn gone() -> io::Error {
    let text = "the HTTP client disconnected";
    io::Error::new(io::ErrorKind::ConnectionAborted, text)
}

/// Receives the messages of the server until the HTTP client has disconnected: the pieces of the
/// body when the application reads them, and then the report of the disconnect.
///
/// The report arrives after the body. An application may keep a body that it does not read, so
/// after [`WATCH_DISCONNECT_AFTER`] up to [`READ_AHEAD`] pieces are read in advance.
async fn attend(receive: &Function, body: mpsc::Sender<io::Result<Piece>>, wanted: &Notify) {
    let mut delay = std::pin::pin!(crate::runtime::sleep(WATCH_DISCONNECT_AFTER).fuse());
    let mut body = Some(body);
    let mut has_failed = false;
    loop {
        let room = match &body {
            Some(body) => body.reserve().await.ok(),
            None => None,
        };
        if !delay.is_terminated() {
            match &room {
                Some(_) => tokio::select! {
                    () = wanted.notified() => {}
                    () = delay.as_mut() => {}
                },
                None => delay.as_mut().await,
            }
        }
        let piece = match receive.call::<Event>(args!()).await {
            Ok(event) if event.kind != "http.request" => return,
            Ok(event) => Ok(Piece {
                is_last: !event.more_body,
                bytes: event.body.unwrap_or_default().into_bytes(),
            }),
            // The body is incomplete, but the HTTP client may wait for a response. Only the end of
            // the call stops an application after a second error.
            Err(_) if has_failed => std::future::pending().await,
            Err(error) => {
                has_failed = true;
                Err(io::Error::other(report(&error)))
            }
        };
        let is_last = piece.as_ref().map_or(true, |piece| piece.is_last);
        // Consumes `room` in both cases, because it borrows `body`.
        let _ = room.map(|room| room.send(piece));
        if is_last {
            body = None;
        }
    }
}

/// Runs the application for one request.
async fn serve<A, B>(mut app: A, call: IncomingCall) -> Result<Args, WireError>
where
    A: TowerService<Request<Body>, Response = Response<B>> + Send,
    A::Error: fmt::Display + Send,
    A::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: fmt::Display + Send,
{
    let visit: Visit = call.args(&["args", "context"])?.required(0)?;
    let (sender, pieces) = mpsc::channel(READ_AHEAD);
    let wanted = Arc::new(Notify::new());
    let body = Body {
        pieces,
        wanted: wanted.clone(),
        has_ended: false,
    };
    let request = request(visit.scope, call.context(), body).map_err(|fault| call.fail(fault))?;
    let answering = async {
        let failed = |error: A::Error| format!("the application failed: {error}");
        std::future::poll_fn(|cx| app.poll_ready(cx))
            .await
            .map_err(failed)?;
        let response = app.call(request).await.map_err(failed)?;
        respond(response, &visit.send).await
    };
    let mut answering = std::pin::pin!(answering);
    let cancelled = call.context().cancellation().cancelled();
    tokio::select! {
        outcome = answering.as_mut() => {
            outcome.map_err(|fault| call.fail(fault))?;
            return call.reply(&());
        }
        () = attend(&visit.receive, sender, &wanted) => {}
        () = cancelled => {}
    }
    // The application is dropped here. The token comes first, for tasks that the application has
    // started, and for a handler that waits for the token to clean up.
    call.context().cancel();
    let _ = answering.now_or_never();
    call.reply(&())
}

/// Builds the HTTP request from the ASGI scope.
fn request(scope: Scope, context: &Context, body: Body) -> Result<Request<Body>, String> {
    if scope.kind != "http" {
        return Err(format!("`{}` is not supported, only `http`", scope.kind));
    }
    let mut uri = String::new();
    for byte in scope.path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*'
            | b'+' | b',' | b';' | b'=' | b':' | b'@' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    if !uri.starts_with('/') {
        uri.insert(0, '/');
    }
    let query = scope.query_string.into_bytes();
    if !query.is_empty() {
        uri.push('?');
        uri.push_str(&String::from_utf8_lossy(&query));
    }
    let uri: Uri = uri.parse().map_err(|e| format!("the path: {e}"))?;
    let mut request = Request::new(body);
    *request.method_mut() = scope
        .method
        .parse()
        .map_err(|e| format!("the method `{}`: {e}", scope.method))?;
    *request.uri_mut() = uri;
    for (name, value) in scope.headers {
        let name = HeaderName::from_bytes(&name.into_bytes());
        let value = HeaderValue::from_maybe_shared(value.into_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    request.extensions_mut().insert(context.clone());
    Ok(request)
}

/// Sends the response. Sends each piece of the body as soon as the application produces the piece.
async fn respond<B>(response: Response<B>, send: &Function) -> Result<(), String>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: fmt::Display,
{
    let (head, body) = response.into_parts();
    let bytes = |bytes: &[u8]| Binary(Bytes::copy_from_slice(bytes));
    let headers = head.headers.iter();
    let headers =
        headers.map(|(name, value)| (bytes(name.as_str().as_bytes()), bytes(value.as_bytes())));
    let start = Message::Start {
        status: head.status.as_u16(),
        headers: headers.collect(),
    };
    let mut body = std::pin::pin!(body);
    let told = async |message: Message| {
        let sent = send.call::<()>(args!(message)).await;
        sent.map_err(|error| format!("the response was not sent: {}", report(&error)))
    };
    told(start).await?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the body of the response failed: {error}"))?;
        // Drop trailers, because ASGI has no message for them.
        if let Ok(mut data) = frame.into_data() {
            let body = Binary(data.copy_to_bytes(data.remaining()));
            told(Message::Body {
                body,
                more_body: true,
            })
            .await?;
        }
    }
    let body = Binary(Bytes::new());
    told(Message::Body {
        body,
        more_body: false,
    })
    .await
}
