//! Fetches services, identifies visitors and creates error responses for the gateways to other
//! protocols.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hypha_rpc::{Error, Map, RemoteService, Value};
use serde_json::json;

use super::credentials::Links;
use super::problem::{Problem, problem};
use super::request_client::{self, CONCURRENT_CALLS, Visitor};
use super::{Front, Remote};
use crate::shown::shown;

/// Memory charged for one member of a service, in bytes, including the text that describes the
/// member.
const NODE: usize = 256;

/// An error response, sent as `{"error": …}`.
pub(super) struct Refused(pub(super) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Refused(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.0.respond(|detail| json!({"error": detail}))
    }
}

/// Identifies the sender of a request. Ignores the cookie if the request follows a link on a page
/// of another origin.
pub(super) async fn identify(
    front: &Front,
    remote: Remote,
    headers: &HeaderMap,
) -> Result<Visitor, Refused> {
    let visitor = request_client::identify(front, remote, headers, Links::AreNoCalls).await;
    Ok(visitor?)
}

/// Fetches a service in the name of the visitor. `id` is an id in the workspace, or a full id.
pub(super) async fn find(
    front: &Front,
    visitor: &Visitor,
    workspace: &str,
    id: &str,
    mode: Option<String>,
) -> Result<RemoteService, Refused> {
    let user = visitor.user.clone();
    let client =
        request_client::enter(front, user, &visitor.account, workspace, CONCURRENT_CALLS).await?;
    let found = if id.contains('/') {
        request_client::service_by_id(&client, id, mode).await
    } else {
        request_client::service(&client, workspace, id, mode).await
    };
    found.map_err(|error| unavailable(id, &error))
}

/// Returns the response for a service that cannot be used. The status is 404 if the service does
/// not exist, and also if the user may not use the service.
fn unavailable(id: &str, error: &Error) -> Refused {
    let refusal = request_client::refusal(error);
    match refusal.status() {
        // The text has no reason, because a reason would tell strangers which services exist.
        StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Refused(problem(
            StatusCode::NOT_FOUND,
            format!("Service {} not found or not accessible", shown(id)),
        )),
        _ => Refused(refusal),
    }
}

/// Returns an upper bound on the memory of the descriptions of these members, in bytes.
pub(super) fn room(members: &Map) -> usize {
    let entries = members.iter();
    entries
        .map(|(key, value)| 2 * key.len() + room_of(value))
        .sum()
}

fn room_of(value: &Value) -> usize {
    let content = match value {
        Value::String(text) => 2 * text.len(),
        Value::List(items) => items.iter().map(room_of).sum(),
        Value::Map(map) => room(map),
        Value::Handle(handle) => handle.raw().map_or(0, room),
        _ => 0,
    };
    NODE + content
}
