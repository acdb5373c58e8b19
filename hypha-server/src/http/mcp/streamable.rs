//! Implements the streamable HTTP transport, which has one response for each request.
//!
//! `rmcp` parses the request and negotiates the protocol version. `rmcp` keeps no session, so no
//! state remains after the response.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use hyper::body::{Frame, SizeHint};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;

use super::message::{self, Unread};
use super::{Place, Refused, connect, identify, shared};
use crate::http::problem::problem;
use crate::http::{Front, Remote};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Handles one message of a client.
pub(super) async fn post(
    front: &Front,
    remote: Remote,
    place: &Place,
    mut parts: Parts,
    body: Body,
) -> Result<Response, Refused> {
    let visitor = identify(front, remote, &parts.headers).await?;
    let accepted = Accepted::of(&parts.headers);
    if !accepted.json {
        let text = "Not Acceptable: Client must accept application/json";
        return Err(problem(StatusCode::NOT_ACCEPTABLE, text).into());
    }
    if !is_json(&parts.headers) {
        let text = "Unsupported Media Type: Content-Type must be application/json";
        return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into());
    }
    let mut gateway = connect(front, visitor, place).await?;
    gateway.notifies = accepted.events;
    let account = gateway.visitor.account.clone();
    let state = &front.state;
    let message = match message::read(front, &account, body).await {
        Ok(message) => message,
        Err(Unread::Refused(problem)) => return Err(problem.into()),
        Err(Unread::Invalid(_)) => return Ok(unreadable()),
    };
    let handler = shared(gateway);

    let limits = &state.settings.limits;
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        // The check of the host name is disabled, because clients may reach the server under any
        // name. `credentials` and `allow_origins` restrict the requests that pages of other origins
        // make.
        .disable_allowed_hosts()
        .with_sse_retry(None)
        .with_sse_keep_alive(Some(limits.stream_ping))
        .with_max_request_body_bytes(limits.frame_bytes);
    let factory = {
        let handler = handler.clone();
        move || Ok(handler.clone())
    };
    let library =
        StreamableHttpService::new(factory, Arc::new(NeverSessionManager::default()), config);
    // `rmcp` requires both types, although this server sends JSON to clients that accept only JSON.
    let accept = HeaderValue::from_static("application/json, text/event-stream");
    parts.headers.insert(header::ACCEPT, accept);
    // `rmcp` does not need the credentials and might log them, so they are removed.
    parts.headers.remove(header::AUTHORIZATION);
    parts.headers.remove(header::COOKIE);
    // `rmcp` gives the parts of the HTTP request to the handler.
    if let Some(arguments) = message.arguments {
        parts.extensions.insert(arguments);
    }
    let request = Request::from_parts(parts, Body::from(message.rest));
    let response = library.handle(request).await;
    drop(library);
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // `rmcp` also responds with this status to a body that it cannot parse. The content type
        // was checked above, so the body is the reason.
        return Ok(unreadable());
    }
    Ok(response
        .map(|body| {
            Body::new(Held {
                body,
                gives_way: Box::pin(async move { account.gives_way().await }),
                ended: false,
                _held: (handler, message.charge),
            })
        })
        .into_response())
}

fn unreadable() -> Response {
    let text = "Parse error: the body is no message of JSON-RPC that MCP knows";
    let error = json!({"code": -32700, "message": text});
    let body = json!({"jsonrpc": "2.0", "id": null, "error": error});
    (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
}

/// Media types that the client accepts for a response.
struct Accepted {
    json: bool,
    events: bool,
}

impl Accepted {
    fn of(headers: &HeaderMap) -> Accepted {
        let values = headers.get_all(header::ACCEPT).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let kinds = values.flat_map(|value| value.split(','));
        let kinds = kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let mut accepted = Accepted {
            // In HTTP, a request without `Accept` accepts every type.
            json: !headers.contains_key(header::ACCEPT),
            events: false,
        };
        for kind in kinds {
            let is = |name: &str| kind.eq_ignore_ascii_case(name);
            accepted.json |= is(JSON) || is("application/*") || is("*/*");
            accepted.events |= is(EVENTS);
        }
        accepted
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(JSON))
}

/// A response body, and values that must be held until the body is sent.
struct Held<B, T> {
    body: B,
    gives_way: BoxFuture<'static, ()>,
    ended: bool,
    _held: T,
}

impl<B, T> hyper::body::Body for Held<B, T>
where
    B: hyper::body::Body<Data = Bytes, Error = Infallible> + Unpin,
    T: Unpin,
{
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if this.gives_way.as_mut().poll(cx).is_ready() {
            this.ended = true;
            let reason = "the server is out of memory";
            return Poll::Ready(Some(Err(std::io::Error::other(reason))));
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        frame.map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_accept_json_or_both() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            let Accepted { json, events } = Accepted::of(&headers);
            (json, events)
        };
        assert_eq!(of(&[]), (true, false));
        assert_eq!(of(&["*/*"]), (true, false));
        assert_eq!(
            of(&["application/json, text/event-stream;q=0.5"]),
            (true, true)
        );
        assert_eq!(of(&["Application/JSON", "text/event-stream"]), (true, true));
        assert_eq!(of(&["text/html"]), (false, false));
    }
}
