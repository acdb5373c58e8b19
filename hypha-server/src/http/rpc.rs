//! Serves the RPC transport over HTTP: `GET /rpc` opens the stream of a client, and `POST /rpc`
//! carries a message of the client.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tokio::time::timeout;

use super::credentials::Links;
use super::problem::{Problem, problem};
use super::{Remote, credentials, rate};
use crate::memory::{Account, Charge, OverBudget};
use crate::session::{Sessions, StreamHello, open_stream};
use crate::state::State;

/// Maximum size of a body that needs no charge of its own, in bytes. The server charges a fixed
/// amount of memory for each client, and this amount covers such a body. Most messages are smaller.
const UNCHARGED: usize = 8 * 1024;

/// The query of the URL: the address of the client.
#[derive(Deserialize)]
pub(super) struct ClientQuery {
    #[serde(default)]
    client_id: String,
    workspace: Option<String>,
    reconnection_token: Option<String>,
}

/// Opens the stream of a client, and responds with the client's frames until the connection ends.
pub(super) async fn stream(
    Shared(sessions): Shared<Arc<Sessions>>,
    Extension(remote): Extension<Remote>,
    Query(place): Query<ClientQuery>,
    headers: HeaderMap,
) -> Response {
    let state = &sessions.state;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let client_id = match given(Some(place.client_id)) {
        Some(id) => id,
        None => hypha_wire::random_id(),
    };
    let token = match credentials::token(state, &headers, Links::AreNoCalls) {
        Ok(token) => token,
        Err(problem) => return problem.into_response(),
    };
    let hello = StreamHello {
        client_id,
        workspace: given(place.workspace),
        token,
        reconnection_token: given(place.reconnection_token),
        address: rate::address(state, &remote, &headers).to_string(),
    };
    match open_stream(&sessions, hello).await {
        Err(refusal) => {
            state.counters.handshakes_refused.add();
            tracing::info!(kind = ?refusal.kind, reason = refusal.message, "stream refused");
            Problem::from(refusal).into_response()
        }
        Ok(pieces) => {
            let pieces = stream::unfold(pieces, |mut pieces| async {
                let piece = pieces.recv().await?;
                Some((Ok::<_, std::convert::Infallible>(piece), pieces))
            });
            let headers = [
                (header::CONTENT_TYPE, "application/x-msgpack-stream"),
                (header::CACHE_CONTROL, "no-cache"),
                // Without this header, nginx would buffer the frames.
                (header::HeaderName::from_static("x-accel-buffering"), "no"),
            ];
            (headers, Body::from_stream(pieces)).into_response()
        }
    }
}

/// Receives a message of a client with a stream. Responds after the message is delivered.
///
/// # Errors
///
/// Fails if the client has no stream at this server, if the credentials differ from those with
/// which the stream was opened, or if the body is invalid or too large.
pub(super) async fn message(
    Shared(sessions): Shared<Arc<Sessions>>,
    Extension(remote): Extension<Remote>,
    Query(place): Query<ClientQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<(), Problem> {
    let state = &sessions.state;
    let missing = |what: &str| problem(StatusCode::BAD_REQUEST, format!("{what} is required"));
    if place.client_id.is_empty() {
        return Err(missing("client_id"));
    }
    let workspace = place.workspace.filter(|named| !named.is_empty());
    let workspace = workspace.ok_or_else(|| missing("workspace"))?;
    let session = sessions.streams.find(&workspace, &place.client_id);
    // Clients retry after this status.
    let session = session.ok_or_else(|| {
        let detail = format!("There is no stream of {workspace}/{}", place.client_id);
        problem(StatusCode::BAD_REQUEST, detail)
    })?;
    // The credentials are checked before the body is read, because a body without valid credentials
    // must not cost memory.
    let token = credentials::token(state, &headers, Links::AreNoCalls)?;
    let address = rate::address(state, &remote, &headers).to_string();
    session.authorize(state, token.as_deref(), &address).await?;
    let (frame, charge) = read(state, &session.account, body).await?;
    if frame.is_empty() {
        return Err(problem(StatusCode::BAD_REQUEST, "The body is empty"));
    }
    Ok(session.receive(state, frame, charge).await?)
}

/// Reads the body of a message. Charges the memory of the body to an account while the body grows.
///
/// # Errors
///
/// Fails if the body has more than `frame_bytes`, takes longer than `body_timeout`, ends early, or
/// exceeds a memory limit.
async fn read(
    state: &State,
    account: &Account,
    body: Body,
) -> Result<(Bytes, Option<Charge>), Problem> {
    let limit = state.settings.limits.frame_bytes;
    let reading = async {
        let mut pieces = body.into_data_stream();
        let mut whole = BytesMut::new();
        let mut charge = None;
        while let Some(piece) = pieces.next().await {
            // The body has ended early, or its compressed data is invalid.
            let piece = piece.map_err(|error| {
                let detail = format!("The body cannot be read: {error}");
                problem(StatusCode::BAD_REQUEST, detail)
            })?;
            let needed = whole.len() + piece.len();
            if needed > limit {
                return Err(problem(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("The body has more than {limit} bytes"),
                ));
            }
            if needed > whole.capacity() {
                let larger = needed.max((2 * whole.capacity()).min(limit));
                let paid = charge_up_to(account, &mut charge, larger).await;
                paid.map_err(|error| {
                    state.counters.http_refused_memory.add();
                    problem(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                })?;
                // The capacity is allocated explicitly, because `reserve` could allocate more than
                // was charged.
                let mut memory = BytesMut::with_capacity(larger);
                memory.extend_from_slice(&whole);
                whole = memory;
            }
            whole.extend_from_slice(&piece);
        }
        Ok((whole.freeze(), charge))
    };
    let late = |_| {
        problem(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not arrive in time",
        )
    };
    timeout(state.settings.limits.body_timeout, reading)
        .await
        .map_err(late)?
}

/// Raises a charge to `bytes`. Charges nothing if `bytes` is at most [`UNCHARGED`].
async fn charge_up_to(
    account: &Account,
    charge: &mut Option<Charge>,
    bytes: usize,
) -> Result<(), OverBudget> {
    match charge {
        _ if bytes <= UNCHARGED => {}
        Some(charge) => charge.grow(bytes.saturating_sub(charge.bytes())).await?,
        None => *charge = Some(account.charge(bytes).await?),
    }
    Ok(())
}
