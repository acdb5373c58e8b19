//! The RPC transport over HTTP: `GET /rpc` opens a client's stream, `POST /rpc` brings its messages.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::identity;
use crate::session::{Refusal, StreamHello, Why, open_stream};
use crate::state::State;

/// What the URL says.
#[derive(Deserialize)]
pub(super) struct Place {
    #[serde(default)]
    client_id: String,
    workspace: Option<String>,
    reconnection_token: Option<String>,
}

/// `{"success": false, "detail": …}`, the form in which everything here is refused.
pub(super) fn problem(status: StatusCode, detail: impl Into<String>) -> Response {
    let detail: String = detail.into();
    (status, Json(json!({"success": false, "detail": detail}))).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.why {
            Why::Undecodable => StatusCode::BAD_REQUEST,
            Why::Credentials | Why::Revoked => StatusCode::UNAUTHORIZED,
            Why::Denied => StatusCode::FORBIDDEN,
            Why::Missing => StatusCode::NOT_FOUND,
            Why::Taken => StatusCode::CONFLICT,
            Why::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Why::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Why::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut response = problem(status, self.message);
        if matches!(self.why, Why::TooMany | Why::Busy) {
            let soon = header::HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

pub(super) async fn stream(
    Shared(state): Shared<Arc<State>>,
    Query(place): Query<Place>,
    headers: HeaderMap,
) -> Response {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let client_id = match given(Some(place.client_id)) {
        Some(id) => id,
        None => hypha_rpc::wire::random_id(),
    };
    let hello = StreamHello {
        client_id,
        workspace: given(place.workspace),
        token: identity::token(&headers),
        reconnection_token: given(place.reconnection_token),
    };
    match open_stream(&state, hello).await {
        Err(refusal) => {
            state.counters.handshakes_refused.add();
            tracing::info!(why = ?refusal.why, reason = refusal.message, "stream refused");
            refusal.into_response()
        }
        Ok(pieces) => {
            let pieces = stream::unfold(pieces, |mut pieces| async {
                let piece = pieces.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(piece), pieces))
            });
            let headers = [
                (header::CONTENT_TYPE, "application/x-msgpack-stream"),
                (header::CACHE_CONTROL, "no-cache"),
                (
                    header::HeaderName::from_static("x-accel-buffering"),
                    "no",
                ),
            ];
            (headers, Body::from_stream(pieces)).into_response()
        }
    }
}

pub(super) async fn message(
    Shared(state): Shared<Arc<State>>,
    Query(place): Query<Place>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if place.client_id.is_empty() {
        return problem(StatusCode::BAD_REQUEST, "client_id is required");
    }
    let token = identity::token(&headers);
    let Some(workspace) = place.workspace.filter(|named| !named.is_empty()) else {
        return problem(StatusCode::BAD_REQUEST, "workspace is required");
    };
    let Some(session) = state.streams.find(&workspace, &place.client_id) else {
        // A status that clients try again after.
        let detail = format!("There is no stream of {workspace}/{}", place.client_id);
        return problem(StatusCode::BAD_REQUEST, detail);
    };
    // Before the body is read: strangers are not listened to.
    if let Err(refusal) = session.authorize(&state, token.as_deref()) {
        return refusal.into_response();
    }
    let frame = match read(&state, body).await {
        Ok(frame) => frame,
        Err(refused) => return refused,
    };
    match session.receive(&state, frame).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// A request's whole body, if it is not too large and comes in time.
pub(super) async fn read(state: &State, body: Body) -> Result<Bytes, Response> {
    let limit = state.limits.frame_bytes;
    let reading = axum::body::to_bytes(body, limit);
    match timeout(state.limits.body_timeout, reading).await {
        Err(_) => Err(problem(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not come in time",
        )),
        Ok(Err(_)) => Err(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body cannot be read, or has more than {limit} bytes"),
        )),
        Ok(Ok(body)) if body.is_empty() => {
            Err(problem(StatusCode::BAD_REQUEST, "The body is empty"))
        }
        Ok(Ok(body)) => Ok(body),
    }
}
