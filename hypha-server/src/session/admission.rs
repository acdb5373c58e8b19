//! Admission of a client whose credentials are known. The rules are the same for every transport.

use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::workspace::{Permission, UserInfo, WorkspaceInfo};
use hypha_wire::keys::BUILT_IN;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::refusal::code;
use super::{Refusal, RefusalKind, Sessions};
use crate::auth::{self, Authenticated, TokenError};
use crate::bus::Notice;
use crate::memory::{Account, Charge, OverBudget};
use crate::peer::{CloseOrder, Outbox, Pace, Peer, Queue};
use crate::registry::ServicePattern;
use crate::seats::{Admit, Seat};
use crate::state::{HYPHA_VERSION, State};
use crate::workspace;

/// Longest wait of a handshake for others to finish.
pub(super) const ADMISSION_WAIT: Duration = Duration::from_secs(30);
/// Memory of a connection without any traffic, in bytes: its tasks, its buffers and a short queue.
/// Measured as 8.3 kB.
pub(super) const STANDING: usize = 8 * 1024;
/// Shortest life of a reconnection token that clients are told, in seconds.
const ANNOUNCED_LIFE_MIN: u64 = 60;
/// Longer client ids are not accepted.
const CLIENT_ID_MAX: usize = 128;

/// Bounds the number of handshakes in progress.
pub(crate) struct Admission(Semaphore);

impl Admission {
    pub(crate) fn new(places: usize) -> Admission {
        Admission(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)))
    }

    /// Waits for a permit to begin a handshake.
    pub(super) async fn enter(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        match tokio::time::timeout(ADMISSION_WAIT, self.0.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Refusal::new(RefusalKind::Busy, "Server busy, please retry")),
        }
    }
}

/// A client that asks to be admitted.
pub(super) struct Applicant<'a> {
    pub(super) user: Authenticated,
    pub(super) workspace: String,
    pub(super) client_id: &'a str,
    /// The IP address that it comes from.
    pub(super) address: &'a str,
    /// The client has a reconnection token: a connection with its address is its own former one.
    pub(super) reconnecting: bool,
}

/// A client that was admitted. Messages are routed to it, and may be queued already.
pub(super) struct Admitted {
    pub(super) peer: Arc<Peer>,
    pub(super) queue: Queue,
    /// The first message for the client.
    pub(super) connection_info: String,
    /// The memory held for it.
    pub(super) account: Account,
    pub(super) place: Place,
}

/// The place of a client among others, until it is gone.
pub(super) struct Place {
    /// The seats under its user and its workspace.
    _seats: (Seat, Seat),
    /// The charge for what each connection needs.
    _standing: Charge,
}

/// Returns the name under which the memory for an address is charged.
pub(crate) fn owner_of_address(address: &str) -> String {
    format!("ip:{address}")
}

/// Returns the name under which the memory for a user is charged. Anonymous users are as many as
/// they like to be, so their address counts.
pub(crate) fn owner(user: &UserInfo, address: &str) -> String {
    match user.is_anonymous {
        true => owner_of_address(address),
        false => auth::payer(user).to_owned(),
    }
}

impl From<OverBudget> for Refusal {
    fn from(error: OverBudget) -> Self {
        Refusal::new(RefusalKind::Busy, error)
    }
}

/// Returns the user of a token, if it is one for connecting.
pub(crate) async fn user_of(state: &State, token: &str) -> Result<Authenticated, Refusal> {
    let user = state.issuer.user(token).await;
    let user = user.map_err(|error| match error {
        TokenError::Invalid(detail) => Refusal::new(
            RefusalKind::Credentials,
            format!("Authentication error: {detail}"),
        ),
        TokenError::Revoked => Refusal {
            kind: RefusalKind::Revoked,
            ..unauthenticated(error)
        },
        TokenError::Failed(_) => Refusal::new(RefusalKind::Failed, error),
    })?;
    match user.scope.as_ref().and_then(auth::is_specialised) {
        None => Ok(Authenticated {
            lineage: state.issuer.lineage(token, &user),
            user,
        }),
        Some(words) => Err(unauthenticated(format_args!(
            "Specialized token with scopes [{}] cannot be used for general workspace access. This \
             token can only be used for its intended purpose.",
            words.join(", ")
        ))),
    }
}

/// Returns the user and the workspace of a reconnection token, which is for this client only.
pub(super) async fn reconnection(
    state: &State,
    token: &str,
    client_id: &str,
    workspace: Option<&str>,
) -> Result<(Authenticated, String), Refusal> {
    let user = user_of(state, token).await?;
    let scope = user.scope.clone().unwrap_or_default();
    let Some(bound) = scope.current_workspace else {
        return Err(unauthenticated(
            "Invalid scope, current_workspace is required",
        ));
    };
    if let Some(named) = workspace.filter(|named| *named != bound) {
        return Err(unauthenticated(format_args!(
            "Invalid scope, workspace mismatch: {named} != {bound}"
        )));
    }
    let Some(bound_client) = scope.client_id else {
        return Err(unauthenticated("Invalid scope, client_id is required"));
    };
    if !user.may(Permission::Read, &bound) {
        return Err(unauthenticated(format_args!(
            "Permission denied for workspace: {bound}"
        )));
    }
    if bound_client != client_id {
        return Err(unauthenticated("Client id mismatch, disconnecting"));
    }
    Ok((user, bound))
}

/// Returns a refusal because of the credentials.
pub(super) fn unauthenticated(message: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        RefusalKind::Denied,
        format_args!("Failed to authenticate user: {message}"),
    )
}

/// Returns the applicant's workspace, and freezes the permissions there into its user.
pub(super) async fn workspace_of(
    state: &State,
    applicant: &mut Applicant<'_>,
) -> Result<WorkspaceInfo, Refusal> {
    let Applicant {
        user,
        workspace,
        client_id,
        ..
    } = applicant;
    let found = workspace::find_or_plan(state, user, workspace).await?;
    // One answer for a workspace that does not exist and for one that is closed to the client, with
    // the texts of the original for both, on which clients match.
    let closed = || {
        Refusal::new(
            RefusalKind::Denied,
            format_args!(
                "'Workspace {workspace} does not exist or is not accessible', Permission denied \
                 for workspace: {workspace}"
            ),
        )
    };
    let info = found.ok_or_else(closed)?;
    auth::enter_workspace(user, &info, client_id);
    if !user.may(Permission::Read, &info.id) {
        return Err(closed());
    }
    if !usable_client_id(client_id) {
        return Err(Refusal::new(
            RefusalKind::Denied,
            format_args!("Invalid client id: {client_id}"),
        ));
    }
    Ok(info)
}

/// Connects the applicant under the address that it wants.
///
/// `permit` is given back before this waits for another client: other handshakes must not wait too.
pub(super) async fn connect(
    sessions: &Sessions,
    applicant: Applicant<'_>,
    info: WorkspaceInfo,
    permit: SemaphorePermit<'_>,
) -> Result<Admitted, Refusal> {
    let state = &sessions.state;
    let client_id = applicant.client_id;
    let seats = take_seats(sessions, &applicant.user, &info, client_id)?;
    drop(permit);
    let account = state
        .memory
        .open(&owner(&applicant.user, applicant.address));
    let place = Place {
        _seats: seats,
        _standing: account.charge(STANDING).await?,
    };
    let displaces = if applicant.reconnecting {
        Displaces::Anyone
    } else {
        Displaces::Only(remove_unresponsive(state, &info.id, client_id).await?)
    };
    let memory = (account, place);
    attach(state, applicant.user, info, client_id, displaces, memory).await
}

fn usable_client_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !id.is_empty() && id.len() <= CLIENT_ID_MAX && id.bytes().all(allowed)
}

fn take_seats(
    sessions: &Sessions,
    user: &UserInfo,
    workspace: &WorkspaceInfo,
    client_id: &str,
) -> Result<(Seat, Seat), Refusal> {
    let incumbent = sessions.state.router.find(&workspace.id, client_id);
    let admit = match incumbent {
        Some(incumbent) if incumbent.user.id == user.id => Admit::Replacement,
        _ => Admit::WithinLimit,
    };
    let of_user = sessions.users.take(&user.id, admit).ok_or_else(|| {
        Refusal::new(
            RefusalKind::TooMany,
            format_args!(
                "Too many connections of user {} ({})",
                user.id,
                sessions.users.limit()
            ),
        )
    })?;
    let of_workspace = sessions
        .workspaces
        .take(&workspace.id, admit)
        .ok_or_else(|| {
            Refusal::new(
                RefusalKind::TooMany,
                format_args!(
                    "Too many clients in workspace {} ({})",
                    workspace.id,
                    sessions.workspaces.limit()
                ),
            )
        })?;
    Ok((of_user, of_workspace))
}

/// The connection that a newcomer may displace.
enum Displaces {
    /// Any: the newcomer has proved to be the same client.
    Anyone,
    /// At most the one of this generation.
    Only(Option<u64>),
}

/// Removes the client that holds the address, if it does not answer.
///
/// A client that answers keeps the address, and must not notice the attempt. Returns the generation
/// of a connection that has the address but has not introduced itself: it may be displaced.
async fn remove_unresponsive(
    state: &State,
    workspace: &str,
    client_id: &str,
) -> Result<Option<u64>, Refusal> {
    let pattern = ServicePattern {
        workspace: workspace.to_owned(),
        client: client_id.to_owned(),
        name: BUILT_IN.to_owned(),
        ..ServicePattern::default()
    };
    let incumbent = state.router.find(workspace, client_id);
    if state.registry.find_services(&pattern).await?.is_empty() {
        return Ok(incumbent.map(|incumbent| incumbent.generation));
    }
    // It may be connected to another server. A ping of one that is connected nowhere fails at once.
    if workspace::ping(
        state,
        workspace,
        client_id,
        state.settings.limits.incumbent_timeout,
    )
    .await
    .is_ok()
    {
        return Err(active(workspace, client_id));
    }
    if let Some(incumbent) = incumbent {
        incumbent.outbox.close(CloseOrder::new(
            code::GOING_AWAY,
            "Replaced by another client with the same id",
        ));
        workspace::client_left(state, &incumbent).await;
    } else {
        state
            .registry
            .remove_client(workspace, client_id, None)
            .await?;
    }
    Ok(None)
}

fn active(workspace: &str, client_id: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Taken,
        format_args!("Client already exists and is active: {workspace}/{client_id}"),
    )
}

/// Returns the first message for an admitted client, with a new reconnection token.
pub(super) async fn connection_info(
    state: &State,
    user: &Authenticated,
    workspace: &str,
    client_id: &str,
) -> Result<String, Refusal> {
    let life = state.settings.reconnection_token_life.as_secs();
    let token = state
        .issuer
        .reconnection_token(user, workspace, client_id, life, &user.lineage)
        .await
        .map_err(|error| Refusal::new(RefusalKind::Failed, error))?;
    // Clients refresh the token at intervals that they derive from this.
    let announced = user.lineage.life_of_session(life).max(ANNOUNCED_LIFE_MIN);
    let info = json!({
        "type": "connection_info",
        "hypha_version": HYPHA_VERSION,
        "public_base_url": state.info.public_base_url,
        "local_base_url": state.info.local_base_url,
        "manager_id": state.info.manager_id,
        "workspace": workspace,
        "client_id": client_id,
        "user": user.user,
        "reconnection_token": token,
        "reconnection_token_life_time": announced as f64,
    });
    Ok(info.to_string())
}

async fn attach(
    state: &State,
    mut user: Authenticated,
    workspace: WorkspaceInfo,
    client_id: &str,
    displaces: Displaces,
    (account, place): (Account, Place),
) -> Result<Admitted, Refusal> {
    // One for the whole connection: all reconnection tokens that it gets are revoked together.
    user.lineage = user.lineage.in_session();
    let connection_info = connection_info(state, &user, &workspace.id, client_id).await?;
    let (outbox, queue) = Outbox::new(state.settings.limits.queue_bytes, account.clone());
    let generation = state.router.next_generation();
    let peer = Arc::new(Peer::new(
        &workspace.id,
        client_id,
        user,
        generation,
        outbox,
        Pace::limited(&state.settings.limits),
    ));

    if matches!(displaces, Displaces::Anyone) && state.router.bus().has_others() {
        // Its former connection may have been to another server, which knows its partners.
        peer.partners.set_incomplete();
    }
    let guard = state.workspace_records.lock().await;
    let displaced = state
        .router
        .attach(peer.clone(), |present| match displaces {
            Displaces::Anyone => true,
            Displaces::Only(generation) => Some(present.generation) == generation,
        })
        .map_err(|_| active(&workspace.id, client_id))?;
    let bus = state.router.bus();
    bus.subscribe_address(&peer.address).await;
    bus.announce(Notice::Taken {
        address: peer.address.clone(),
    });
    if let Err(error) = workspace::open(state, workspace).await {
        state.router.detach(&peer);
        return Err(error.into());
    }
    drop(guard);
    if let Some(displaced) = displaced {
        state.counters.replaced.add();
        displaced.outbox.close(CloseOrder::new(
            code::GOING_AWAY,
            "Replaced by a newer connection with the same id",
        ));
    }
    Ok(Admitted {
        peer,
        queue,
        connection_info,
        account,
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_keep_addresses_readable() {
        for id in ["c", "a-b_c.1", "k3jh2__rlb"] {
            assert!(usable_client_id(id), "{id}");
        }
        for id in ["", "a/b", "a:b", "a b", "*", "ü", &"x".repeat(129)] {
            assert!(!usable_client_id(id), "{id}");
        }
    }
}
