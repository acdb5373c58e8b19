//! Upgrades a request to a WebSocket, and passes the socket to `session`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::write_timeout::WriteTimeout;
use super::{Remote, rate};
use crate::session::{Credentials, Sessions, serve_websocket};

/// Query parameters in which very old clients send their credentials. The server tells such clients
/// to update.
const LEGACY_PARAMETERS: [&str; 4] = ["workspace", "client_id", "token", "reconnection_token"];

/// Upgrades a request, and serves the connection in a separate task.
///
/// Responds with 503 before the server is ready and while it stops, and with 400 or 426 to a
/// request that is not a WebSocket of version 13.
pub(super) async fn websocket(
    Shared(sessions): Shared<Arc<Sessions>>,
    mut request: Request<Body>,
) -> Response {
    let state = sessions.state.clone();
    // The request is refused before the upgrade, because clients retry after such a refusal. If the
    // connection is closed after the upgrade, some clients give up permanently.
    let Some(alive) = state.shutdown.alive().filter(|_| state.is_ready()) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "Server busy, please retry").into_response();
    };
    let headers = request.headers();
    let key = match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_upgrade(headers) => derive_accept_key(key.as_bytes()),
        _ => return bad_request("This is the address of a WebSocket"),
    };
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
        return (
            StatusCode::UPGRADE_REQUIRED,
            version,
            "WebSocket version 13",
        )
            .into_response();
    }
    let remote = request.extensions().get::<Remote>();
    let address = remote.map(|remote| rate::address(&state, remote, headers).to_string());
    let address = address.unwrap_or_default();
    let credentials = credentials_in(request.uri().query().unwrap_or_default());
    // The extension is missing if hyper cannot upgrade the connection of the request.
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return bad_request("This connection cannot be upgraded");
    };
    state.shutdown.spawn(async move {
        // This guard is held until the connection ends, because the shutdown of the server waits
        // for the connection.
        let _alive = alive;
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "an upgrade failed"),
        };
        match upgraded.downcast::<TokioIo<WriteTimeout<TcpStream>>>() {
            Ok(parts) => {
                // The write timeout is removed from the socket, because the session has its own
                // write timeout.
                let io = parts.io.into_inner().into_inner().into_split();
                serve_websocket(sessions, io, parts.read_buf, credentials, &address).await;
            }
            // This socket has another type, and no write timeout that could be removed.
            Err(other) => {
                let io = tokio::io::split(TokioIo::new(other));
                serve_websocket(sessions, io, Bytes::new(), credentials, &address).await;
            }
        }
    });
    let headers = [
        (header::CONNECTION, "upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, key),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn bad_request(why: &'static str) -> Response {
    (StatusCode::BAD_REQUEST, why).into_response()
}

/// Returns whether the headers request a WebSocket.
fn is_upgrade(headers: &HeaderMap) -> bool {
    has_word(headers, header::CONNECTION, "upgrade")
        && has_word(headers, header::UPGRADE, "websocket")
}

/// Returns whether the list in a header contains a word, ignoring case.
fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}

/// Returns where a client sends its credentials: in the URL, as very old clients do, or in the
/// first frame.
fn credentials_in(query: &str) -> Credentials {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    if pairs.any(|(name, value)| LEGACY_PARAMETERS.contains(&name) && !value.is_empty()) {
        Credentials::Url
    } else {
        Credentials::FirstFrame
    }
}
