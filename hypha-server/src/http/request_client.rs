//! Identifies the sender of a plain HTTP request, and connects a client that acts for the request
//! until it ends.
//!
//! The client has the permissions of the user. Its memory is charged to an account of the request.
//! The client is closed if that account is evicted.

use axum::http::{HeaderMap, StatusCode};
use hypha_rpc::client::Settings;
use hypha_rpc::error::{RejectKind, report};
use hypha_rpc::workspace::{ManagerError, Permission, SelectionMode, UserInfo};
use hypha_rpc::{Client, Error, RemoteService};

use super::credentials::Links;
use super::problem::{Problem, failed, problem};
use super::visits::Visit;
use super::{Front, Remote, body, credentials, rate};
use crate::auth::Authenticated;
use crate::memory::Account;
use crate::session::RefusalKind;
use crate::shown::shown;
use crate::state::State;
use crate::{auth, internal_client, session};

/// Maximum size of the messages that wait for the client of a request, in bytes.
const QUEUE_BYTES: usize = 2 * 1024 * 1024;
/// Maximum number of calls that the client of most requests runs at the same time. The service
/// makes these calls to functions in its arguments, for example an ASGI application to `receive`
/// and `send`.
pub(super) const CONCURRENT_CALLS: usize = 64;
/// Maximum number of calls to functions that the request itself passes. A service may call them
/// often without waiting, for example to report its progress.
pub(super) const FUNCTION_CALLS: usize = 1024;
/// Memory of that many waiting calls, in bytes, without their arguments.
pub(super) const FUNCTIONS_STANDING: usize = 2 * 1024 * 1024;
/// Maximum number of chunks of a request in transit to the service. Each chunk is a copy that is
/// not charged, so the number of chunks must be small.
const CONCURRENT_CHUNKS: usize = 3;
/// Memory of a request without its body, in bytes: its client, its tasks, and the data that is read
/// ahead from its connection. A waiting call was measured at 73 kB.
const STANDING: usize = 96 * 1024;

/// The sender of a request, with the memory and the slot that the request occupies.
pub(super) struct Visitor {
    /// The user of the token, or an anonymous user.
    pub(super) user: Authenticated,
    /// The memory held for the request.
    pub(super) account: Account,
    /// The slot of the request. Slots are limited per user, or per IP address without credentials.
    pub(super) visit: Visit,
}

/// Returns the sender of a request. Waits for a slot among the requests of the same user or
/// address.
///
/// # Errors
///
/// Fails if the credentials are invalid (the request must not become anonymous by mistake), no slot
/// becomes free in time, or the server is out of memory.
pub(super) async fn identify(
    front: &Front,
    remote: Remote,
    headers: &HeaderMap,
    links: Links,
) -> Result<Visitor, Problem> {
    let state = &front.state;
    let address = rate::address(state, &remote, headers).to_string();
    let (user, owner) = match credentials::token(state, headers, links)? {
        None => (
            auth::anonymous_caller().into(),
            session::owner_of_address(&address),
        ),
        Some(token) => {
            let user = crate::session::user_of(state, &token).await;
            let user = user.map_err(|mut refusal| {
                if refusal.kind == RefusalKind::Credentials {
                    refusal.message = refusal.message.replace("Authentication error: ", "");
                }
                Problem::from(refusal)
            })?;
            let owner = session::owner(&user, &address);
            (user, owner)
        }
    };
    if let Some(sentence) = state.blocked.sentence(&user, Some(&address)) {
        state.counters.refused_blocked.add();
        return Err(problem(StatusCode::FORBIDDEN, sentence));
    }
    let account = state.memory.open(&owner);
    let mut visit = front.visits.enter(&owner, &state.counters).await?;
    let standing = account.charge(STANDING).await;
    visit.standing = Some(standing.map_err(|error| body::over_budget(state, &error))?);
    Ok(Visitor {
        user,
        account,
        visit,
    })
}

/// Connects a client for a request to `workspace`.
///
/// The client enters the workspace to which its token is bound, if any; otherwise `workspace` if
/// the user may enter it; otherwise the user's own workspace. The client's memory is charged to
/// `account`. The client runs at most `calls` calls at the same time.
///
/// # Errors
///
/// Fails with 404 if `workspace` does not exist and is not the user's own.
pub(super) async fn enter(
    front: &Front,
    user: Authenticated,
    account: &Account,
    workspace: &str,
    calls: usize,
) -> Result<Client, Problem> {
    check_exists(front, &user, workspace).await?;
    let place = place_of(front, &user, workspace).await?;
    enter_at(front, user, account, &place, calls).await
}

/// Connects a client like [`enter`], even if `workspace` does not exist.
pub(super) async fn enter_any(
    front: &Front,
    user: Authenticated,
    account: &Account,
    workspace: &str,
) -> Result<Client, Problem> {
    let place = place_of(front, &user, workspace).await?;
    enter_at(front, user, account, &place, CONCURRENT_CALLS).await
}

/// Returns the workspace that the client of a request to `workspace` enters.
async fn place_of(front: &Front, user: &Authenticated, workspace: &str) -> Result<String, Problem> {
    let scope = user.scope.as_ref();
    Ok(
        match scope.and_then(|scope| scope.current_workspace.clone()) {
            Some(bound) => bound,
            None if may_enter(&front.state, user, workspace).await? => workspace.to_owned(),
            None => user.own_workspace(),
        },
    )
}

/// Connects a client that enters `workspace` if the user may read it, even if the token is bound to
/// another workspace, as that of an administrator is. Otherwise connects a client like [`enter`].
#[cfg(feature = "console")]
pub(super) async fn enter_readable(
    front: &Front,
    user: Authenticated,
    account: &Account,
    workspace: &str,
) -> Result<Client, Problem> {
    check_exists(front, &user, workspace).await?;
    match user.may(Permission::Read, workspace) {
        true => enter_at(front, user, account, workspace, CONCURRENT_CALLS).await,
        false => enter_any(front, user, account, workspace).await,
    }
}

/// Returns the service `id` of `workspace` for a page of the workspace.
///
/// The client enters `workspace`, even if the user has no permission there, because applications
/// separate the data of workspaces by the caller's workspace. The permissions are still those of
/// the user.
///
/// # Errors
///
/// Fails if the workspace or the service does not exist, or the user may not use the service.
pub(super) async fn app_service(
    front: &Front,
    visitor: &Visitor,
    workspace: &str,
    id: &str,
    mode: Option<String>,
) -> Result<RemoteService, Problem> {
    let (user, account) = (&visitor.user, &visitor.account);
    check_exists(front, user, workspace).await?;
    let client = enter_at(front, user.clone(), account, workspace, CONCURRENT_CALLS).await?;
    let found = service(&client, workspace, id, mode.clone()).await;
    match found {
        // A protected service may authorize the user's own workspace, so the lookup is repeated
        // from there.
        Err(Error::Rejected(refused)) if refused.kind == RejectKind::PermissionDenied => {
            // Freed first, because the charge of a request covers one client.
            drop(client);
            let client = enter_any(front, user.clone(), account, workspace).await?;
            let found = service(&client, workspace, id, mode).await;
            found.map_err(|error| refusal(&error))
        }
        found => found.map_err(|error| refusal(&error)),
    }
}

/// Checks that a workspace exists. The user's own workspace always passes, because it is created on
/// demand.
async fn check_exists(front: &Front, user: &UserInfo, workspace: &str) -> Result<(), Problem> {
    let found = front.state.registry.workspace(workspace).await;
    if found.map_err(failed)?.is_some() || workspace == user.own_workspace() {
        return Ok(());
    }
    Err(problem(
        StatusCode::NOT_FOUND,
        format!(
            "Workspace {} not found: it does not exist or is not accessible",
            shown(workspace)
        ),
    ))
}

/// Connects a client for a request to the workspace `place`, and gives the client the methods of
/// the manager. The client runs at most `calls` calls at the same time.
async fn enter_at(
    front: &Front,
    mut user: Authenticated,
    account: &Account,
    place: &str,
    calls: usize,
) -> Result<Client, Problem> {
    let state = &front.state;
    let client_id = format!("client-{}", hypha_wire::random_id());
    let found = state.registry.workspace(place).await;
    if let Some(info) = found.map_err(failed)? {
        auth::enter_workspace(&mut user, &info, &client_id);
    }
    let mut settings = Settings::in_process();
    settings.max_concurrent_calls = calls;
    settings.max_concurrent_chunks = CONCURRENT_CHUNKS;
    let account = account.clone();
    let connecting = internal_client::connect_for(
        state,
        place,
        &client_id,
        user,
        QUEUE_BYTES,
        settings,
        account,
    );
    let client = connecting
        .await
        .ok_or_else(|| failed("the address of this request is taken"))?;
    let introduced = front.visits.introduce(&client).await;
    introduced.map_err(|error| refusal(&error))?;
    Ok(client)
}

/// Returns whether a client of the user may enter a workspace: the workspace is `public`, or the
/// user may read it or owns it.
async fn may_enter(state: &State, user: &UserInfo, workspace: &str) -> Result<bool, Problem> {
    let found = state.registry.workspace(workspace).await;
    Ok(found.map_err(failed)?.is_some_and(|info| {
        info.id == "public" || user.may(Permission::Read, workspace) || info.owned_by(user)
    }))
}

/// Returns the service `id` of `workspace`. If several services match, `mode` selects one. The ids
/// `ws` and `~` stand for the manager.
///
/// # Errors
///
/// Fails if the service does not exist, is ambiguous, or may not be used by the client.
pub(super) async fn service(
    client: &Client,
    workspace: &str,
    id: &str,
    mode: Option<String>,
) -> Result<RemoteService, Error> {
    let id = match id {
        "ws" | "~" => "~".to_owned(),
        id => format!("{workspace}/{id}"),
    };
    service_by_id(client, id, mode).await
}

/// Returns the service with the full id `id`, if the client may use it.
pub(super) async fn service_by_id(
    client: &Client,
    id: impl Into<String>,
    mode: Option<String>,
) -> Result<RemoteService, Error> {
    let mut request = client.get_service(id.into());
    if let Some(mode) = mode {
        request = request.mode(SelectionMode::from(mode));
    }
    request.await
}

/// Returns the response to a request whose call has failed.
pub(super) fn refusal(error: &Error) -> Problem {
    let (status, detail) = classify(error);
    problem(status, format!("RemoteException: {detail}"))
}

/// Returns the class and the text of an error.
#[cfg(any(feature = "a2a", feature = "mcp"))]
pub(super) fn text_of(error: &Error) -> String {
    classify(error).1
}

/// Returns the response to a request that the manager has refused: 403 for a missing permission,
/// otherwise 404.
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

/// Returns the status and the text of a failed call. Errors of services in other languages are
/// classified by their text, as in the Python server.
fn classify(error: &Error) -> (StatusCode, String) {
    let by_text = |text: String| {
        let says = |part: &str| text.contains(part);
        let status = if says("KeyError") || text.to_lowercase().contains("not found") {
            StatusCode::NOT_FOUND
        } else if says("PermissionError") || says("Permission denied") {
            StatusCode::FORBIDDEN
        } else if says("TypeError") || says("ValueError") || says("AssertionError") {
            StatusCode::BAD_REQUEST
        } else if says("the cache store is limited to") || says("memory limit of this connection") {
            // The callee could not send its result, because the result exceeds the memory limit of
            // the request's account.
            StatusCode::PAYLOAD_TOO_LARGE
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
                // The class names of the Python server, by which callers distinguish errors.
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
