//! Whoever makes a plain HTTP request is a client for as long as the request lasts.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use hypha_rpc::client::Options;
use hypha_rpc::error::{RejectKind, report};
use hypha_rpc::workspace::{ManagerError, Permission, UserInfo};
use hypha_rpc::{Client, Error, RemoteService};

use super::credentials;
use super::problem::{Problem, failed, problem};
use crate::session::RefusalKind;
use crate::state::State;
use crate::{auth, internal_client};

/// Room for what a visitor is sent.
const QUEUE_BYTES: usize = 2 * 1024 * 1024;
/// A visitor answers pings and is called back by the services that it uses.
const CONCURRENT_CALLS: usize = 64;

/// Whom a request comes from. Credentials that are there must be good: nobody becomes anonymous by
/// mistake.
pub(super) async fn identify(state: &State, headers: &HeaderMap) -> Result<UserInfo, Problem> {
    match credentials::token(state, headers)? {
        None => Ok(auth::anonymous_caller()),
        Some(token) => crate::session::user_of(state, &token)
            .await
            .map_err(|mut refusal| {
                if refusal.kind == RefusalKind::Credentials {
                    refusal.message = refusal.message.replace("Authentication error: ", "");
                }
                refusal.into()
            }),
    }
}

/// A client for a request that is about `workspace`: in the workspace of its token; else in this one if
/// the user may be there; else in the user's own.
pub(super) async fn enter(
    state: &Arc<State>,
    mut user: UserInfo,
    workspace: &str,
) -> Result<Client, Problem> {
    let client_id = format!("client-{}", hypha_wire::random_id());
    let bound = user
        .scope
        .as_ref()
        .and_then(|s| s.current_workspace.clone());
    let place = match bound {
        Some(bound) => bound,
        None if may_enter(state, &user, workspace).await? => workspace.to_owned(),
        None => user.own_workspace(),
    };
    let found = state.registry.workspace(&place).await;
    if let Some(info) = found.map_err(failed)? {
        auth::enter_workspace(&mut user, &info, &client_id);
    }
    let mut options = Options::default();
    options.max_concurrent_calls = CONCURRENT_CALLS;
    internal_client::connect(state, &place, &client_id, user, QUEUE_BYTES, options)
        .await
        .ok_or_else(|| failed("the address of this request is taken"))
}

async fn may_enter(state: &State, user: &UserInfo, workspace: &str) -> Result<bool, Problem> {
    let found = state.registry.workspace(workspace).await;
    Ok(found.map_err(failed)?.is_some_and(|info| {
        info.id == "public" || user.may(Permission::Read, workspace) || info.owned_by(user)
    }))
}

/// The service `id` of `workspace`, as far as the visitor may use it.
pub(super) async fn service(
    client: &Client,
    workspace: &str,
    id: &str,
    mode: Option<String>,
) -> Result<RemoteService, Problem> {
    let id = match id {
        "ws" | "~" => "~".to_owned(),
        id => format!("{workspace}/{id}"),
    };
    let mut request = client.get_service(id);
    if let Some(mode) = mode {
        request = request.mode(mode);
    }
    request.await.map_err(|error| refusal(&error))
}

/// The answer to a request whose call has failed.
pub(super) fn refusal(error: &Error) -> Problem {
    let (status, detail) = classify(error);
    problem(status, format!("RemoteException: {detail}"))
}

/// The answer to a request that the manager has refused.
pub(super) fn manager_refusal(error: Error<ManagerError>) -> Problem {
    match error {
        Error::Service(error) => {
            let status = match &error {
                ManagerError::Permission(_) => StatusCode::FORBIDDEN,
                _ => StatusCode::NOT_FOUND,
            };
            problem(status, error.to_string())
        }
        other => refusal(&other.untyped()),
    }
}

/// Status and text of a failure. Texts of other languages are all that there is to go by.
fn classify(error: &Error) -> (StatusCode, String) {
    let by_text = |text: String| {
        let says = |part: &str| text.contains(part);
        let status = if says("KeyError") || text.to_lowercase().contains("not found") {
            StatusCode::NOT_FOUND
        } else if says("PermissionError") || says("Permission denied") {
            StatusCode::FORBIDDEN
        } else if says("TypeError") || says("ValueError") || says("AssertionError") {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        (status, text)
    };
    match error {
        Error::Timeout(_) => (StatusCode::GATEWAY_TIMEOUT, error.to_string()),
        Error::Invalid(_) => (StatusCode::BAD_REQUEST, error.to_string()),
        Error::Codec(codec) if !codec.received => (StatusCode::BAD_REQUEST, report(error)),
        Error::Rejected(rejection) => {
            let text = &rejection.message;
            match rejection.kind {
                // With the classes of the original, by which callers tell errors from each other.
                RejectKind::UnknownService | RejectKind::UnknownMethod | RejectKind::Expired => {
                    (StatusCode::NOT_FOUND, format!("KeyError: '{text}'"))
                }
                RejectKind::PermissionDenied => {
                    (StatusCode::FORBIDDEN, format!("PermissionError: {text}"))
                }
                RejectKind::InvalidArguments => {
                    (StatusCode::BAD_REQUEST, format!("TypeError: {text}"))
                }
                RejectKind::Ambiguous => {
                    (StatusCode::BAD_REQUEST, format!("AssertionError: {text}"))
                }
                RejectKind::Busy => (StatusCode::SERVICE_UNAVAILABLE, text.clone()),
                _ => (StatusCode::INTERNAL_SERVER_ERROR, text.clone()),
            }
        }
        Error::Remote(remote) => by_text(match &remote.class {
            Some(class) => format!("{class}: {}", remote.message),
            None => remote.message.clone(),
        }),
        other => by_text(report(other)),
    }
}
