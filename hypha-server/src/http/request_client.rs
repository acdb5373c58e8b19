//! A plain HTTP request acts as a client for as long as it lasts.

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
use crate::state::State;
use crate::{auth, internal_client, session};

/// Bytes queued for the client of a request.
const QUEUE_BYTES: usize = 2 * 1024 * 1024;
/// The client of a request answers pings, and services call it back.
const CONCURRENT_CALLS: usize = 64;
/// Chunks of a request that are on their way to the service at the same time, each a copy
/// that is not charged.
const CONCURRENT_CHUNKS: usize = 3;
/// Memory of a request without any body: its client, its tasks, and what is read of its connection
/// ahead. A call that waits was measured as 73 kB.
const STANDING: usize = 96 * 1024;

/// The sender of a request.
pub(super) struct Visitor {
    pub(super) user: Authenticated,
    /// The memory held for the request.
    pub(super) account: Account,
    /// Its place among the requests of its user, or of its address if it has no credentials.
    pub(super) visit: Visit,
}

/// Returns the sender of a request, when its turn has come. Invalid credentials are refused, so
/// that no request becomes anonymous by mistake.
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

/// Connects a client for a request to `workspace`: in the workspace of its token; else in
/// `workspace` if the user may enter it; else in the user's own. Messages for it are charged to
/// `account`. A workspace that does not exist is refused.
pub(super) async fn enter(
    front: &Front,
    user: Authenticated,
    account: &Account,
    workspace: &str,
) -> Result<Client, Problem> {
    check_exists(front, &user, workspace).await?;
    enter_any(front, user, account, workspace).await
}

/// Connects a client as [`enter`] does, also if `workspace` does not exist.
pub(super) async fn enter_any(
    front: &Front,
    user: Authenticated,
    account: &Account,
    workspace: &str,
) -> Result<Client, Problem> {
    let scope = user.scope.as_ref();
    let place = match scope.and_then(|scope| scope.current_workspace.clone()) {
        Some(bound) => bound,
        None if may_enter(&front.state, &user, workspace).await? => workspace.to_owned(),
        None => user.own_workspace(),
    };
    enter_at(front, user, account, &place).await
}

/// Returns the service `id` of `workspace` for a page of it. Its calls come from `workspace`,
/// whoever asks: applications keep apart by it what belongs to each workspace. The permissions are
/// those of the user all the same.
pub(super) async fn app_service(
    front: &Front,
    visitor: &Visitor,
    workspace: &str,
    id: &str,
    mode: Option<String>,
) -> Result<RemoteService, Problem> {
    let (user, account) = (&visitor.user, &visitor.account);
    check_exists(front, user, workspace).await?;
    let client = enter_at(front, user.clone(), account, workspace).await?;
    let found = service(&client, workspace, id, mode.clone()).await;
    match found {
        // The service may be open to the workspace of the user.
        Err(Error::Rejected(refused)) if refused.kind == RejectKind::PermissionDenied => {
            drop(client);
            let client = enter_any(front, user.clone(), account, workspace).await?;
            let found = service(&client, workspace, id, mode).await;
            found.map_err(|error| refusal(&error))
        }
        found => found.map_err(|error| refusal(&error)),
    }
}

/// Refuses a workspace that does not exist, unless it is the user's own, which is made when it is
/// needed.
async fn check_exists(front: &Front, user: &UserInfo, workspace: &str) -> Result<(), Problem> {
    let found = front.state.registry.workspace(workspace).await;
    if found.map_err(failed)?.is_some() || workspace == user.own_workspace() {
        return Ok(());
    }
    Err(problem(
        StatusCode::NOT_FOUND,
        format!("Workspace {workspace} does not exist or is not accessible"),
    ))
}

async fn enter_at(
    front: &Front,
    mut user: Authenticated,
    account: &Account,
    place: &str,
) -> Result<Client, Problem> {
    let state = &front.state;
    let client_id = format!("client-{}", hypha_wire::random_id());
    let found = state.registry.workspace(place).await;
    if let Some(info) = found.map_err(failed)? {
        auth::enter_workspace(&mut user, &info, &client_id);
    }
    let mut settings = Settings::in_process();
    settings.max_concurrent_calls = CONCURRENT_CALLS;
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

async fn may_enter(state: &State, user: &UserInfo, workspace: &str) -> Result<bool, Problem> {
    let found = state.registry.workspace(workspace).await;
    Ok(found.map_err(failed)?.is_some_and(|info| {
        info.id == "public" || user.may(Permission::Read, workspace) || info.owned_by(user)
    }))
}

/// Returns the service `id` of `workspace`, if the client may use it.
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
    let mut request = client.get_service(id);
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

/// Returns the response to a request that the manager has refused.
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

/// Returns status and text of a failure. Errors of other languages are classified by their text.
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
            // The callee could not send its result: the account of the request has no room for it.
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
                // The class names of the original, by which callers tell errors apart.
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
