//! Admits a client: acquires a handshake permit, checks the token, takes connection slots of the
//! client's user and workspace, and claims the client's address.
//!
//! `handshake` (WebSocket) and `http_stream` (HTTP) call the steps in this order:
//! [`Admission::enter`], [`user_of`] or [`reconnection`], [`workspace_of`], [`connect`]. Each step
//! may refuse the client with a [`Refusal`]. Only the last step stores anything, so a refusal by an
//! earlier step leaves nothing behind.

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
use crate::shown::shown;
use crate::state::{HYPHA_VERSION, State};
use crate::workspace;

/// Maximum time that a handshake waits for a permit of the server, and for a permit of its IP
/// address.
pub(super) const ADMISSION_WAIT: Duration = Duration::from_secs(30);
/// Memory of an idle connection, in bytes. It consists of the connection's tasks, buffers and a
/// short queue. Measurements show 8.3 kB.
pub(super) const STANDING: usize = 8 * 1024;
/// Minimum lifetime of a reconnection token that the server announces, in seconds. Clients derive
/// their refresh interval from the announced lifetime, so a shorter lifetime would make them
/// refresh their tokens all the time.
const ANNOUNCED_LIFE_MIN: u64 = 60;
/// Maximum length of a client id, in bytes.
const CLIENT_ID_MAX: usize = 128;

/// Limits the number of handshakes in progress. WebSocket and HTTP handshakes count together.
pub(crate) struct Admission(Semaphore);

impl Admission {
    /// Creates permits for `places` concurrent handshakes, at least one.
    pub(crate) fn new(places: usize) -> Admission {
        Admission(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)))
    }

    /// Waits for a permit to start a handshake. When the permit is dropped, the next waiting
    /// handshake gets it.
    ///
    /// # Errors
    ///
    /// Refuses the client as [`RefusalKind::Busy`] if there is no permit within [`ADMISSION_WAIT`].
    pub(super) async fn enter(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        match tokio::time::timeout(ADMISSION_WAIT, self.0.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Refusal::new(RefusalKind::Busy, "Server busy, please retry")),
        }
    }
}

/// A client that requests admission. The server has already checked the client's credentials.
pub(super) struct Applicant<'a> {
    pub(super) user: Authenticated,
    /// Id of the workspace that the client wants to enter.
    pub(super) workspace: String,
    pub(super) client_id: &'a str,
    /// IP address of the client. Behind a proxy, this is the address that the proxy reports.
    pub(super) address: &'a str,
    /// Whether the client has presented a reconnection token. If so, any connection that has the
    /// client's address is an earlier connection of the same client, and may be displaced without a
    /// ping.
    pub(super) reconnecting: bool,
}

/// A client that was admitted. The router already sends messages to the client, so `queue` may
/// already contain frames.
pub(super) struct Admitted {
    pub(super) peer: Arc<Peer>,
    /// The receiving half of the client's outbox.
    pub(super) queue: Queue,
    /// The first message for the client, as JSON. It must be written before the frames in `queue`.
    pub(super) connection_info: String,
    /// The account for all memory that the server holds for the client.
    pub(super) account: Account,
    pub(super) place: ClientSlots,
}

/// The slots and the base memory charge ([`STANDING`]) of a client. Dropping this value releases
/// the slots and the charge.
pub(super) struct ClientSlots {
    /// The slots of the client's user and workspace.
    _seats: (Seat, Seat),
    /// The charge of [`STANDING`] bytes.
    _standing: Charge,
}

/// Returns the name of the memory owner for an IP address.
pub(crate) fn owner_of_address(address: &str) -> String {
    format!("ip:{address}")
}

/// Returns the name of the memory owner for `user`. For an anonymous user, this is the IP address;
/// for any other user, it is the user id. One address can connect as any number of anonymous users,
/// so a limit per user id would be ineffective for them.
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

/// Returns the user of a token, together with the token's lineage. The token must permit
/// connecting.
///
/// # Errors
///
/// Refuses a token that is invalid, expired or revoked. Also refuses a token that is only valid for
/// a special purpose, such as `file:download`.
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
    // A token for a special purpose must not open a connection, because it was issued only for that
    // purpose.
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

/// Returns the user and the workspace of a reconnection token.
///
/// # Errors
///
/// Refuses a token that is invalid, or that was issued for a client other than `client_id`. Also
/// refuses a token that was issued for a workspace other than the workspace that the client has
/// requested.
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

/// Returns the refusal for credentials that are valid but do not permit the connection. The text
/// has the prefix of the Python server.
pub(super) fn unauthenticated(message: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        RefusalKind::Denied,
        format_args!("Failed to authenticate user: {message}"),
    )
}

/// Returns the record of the applicant's workspace. Stores the applicant's permissions in this
/// workspace in `user`, so a later change of the workspace's owners does not affect the connection.
///
/// The record of a user's own workspace may be new. This function does not store a new record.
///
/// # Errors
///
/// Refuses an applicant that may not read in the workspace, or that has an invalid client id.
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
    // The error is the same for a missing workspace and for a workspace that the client may not
    // enter, because clients could otherwise find out which workspaces exist. The error contains
    // the texts of the Python server for both cases, because clients match on them.
    let closed = || {
        Refusal::new(
            RefusalKind::Denied,
            format_args!(
                "'Workspace {0} does not exist or is not accessible', Permission denied for \
                 workspace: {0}",
                shown(workspace)
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

/// Connects the applicant under the address `info.id/client_id`.
///
/// Releases `permit` before waiting for memory or for a ping of another client. Otherwise a few
/// waiting handshakes would block the handshakes of all other clients.
///
/// # Errors
///
/// Refuses the applicant if the user or the workspace has too many connections, if there is no
/// memory, or if another client with this address responds to a ping.
pub(super) async fn connect(
    sessions: &Sessions,
    applicant: Applicant<'_>,
    info: WorkspaceInfo,
    permit: SemaphorePermit<'_>,
) -> Result<Admitted, Refusal> {
    let state = &sessions.state;
    let client_id = applicant.client_id;
    let blocked = state
        .blocked
        .sentence(&applicant.user, Some(applicant.address));
    if let Some(sentence) = blocked {
        state.counters.refused_blocked.add();
        return Err(Refusal::new(RefusalKind::Credentials, sentence));
    }
    let seats = take_seats(sessions, &applicant.user, &info, client_id)?;
    drop(permit);
    let account = state
        .memory
        .open(&owner(&applicant.user, applicant.address));
    let place = ClientSlots {
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

/// Returns whether a client id is short enough and contains only letters, digits, `_`, `-` and `.`.
/// The separators of addresses (`/`, `:`, `*`) are therefore not allowed.
fn usable_client_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !id.is_empty() && id.len() <= CLIENT_ID_MAX && id.bytes().all(allowed)
}

/// Takes a slot of the user and a slot of the workspace for a connection. Always succeeds if the
/// connection replaces a connection of the same user, so that a user at the limit can reconnect.
fn take_seats(
    sessions: &Sessions,
    user: &UserInfo,
    workspace: &WorkspaceInfo,
    client_id: &str,
) -> Result<(Seat, Seat), Refusal> {
    // If the connection that has the address belongs to another user, the new connection does not
    // count as a replacement: the existing client keeps the address if it responds to a ping.
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

/// Decides which connections a new connection may displace.
enum Displaces {
    /// Any connection with the same address, because the reconnection token proves that the client
    /// is the same.
    Anyone,
    /// Only the connection with this generation, or no connection if it is `None`. If another
    /// connection has taken the address since the check, that connection is kept.
    Only(Option<u64>),
}

/// Removes the client that has the address, unless that client responds to a ping.
///
/// If the connection that has the address has not registered its built-in service, returns the
/// generation of that connection. Such a connection cannot respond to pings yet, and may be
/// displaced.
///
/// # Errors
///
/// Refuses the new client as [`RefusalKind::Taken`] if the existing client responds. The existing
/// client keeps the address, and does not notice the attempt.
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
    // The client is pinged even if it is not connected to this server, because it may be connected
    // to another server. A ping to a disconnected client fails immediately.
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

/// Returns the message `connection_info` as JSON, with a new reconnection token.
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
    // Clients derive their refresh interval from the announced lifetime. The token itself expires
    // with the client's credentials, so the announced lifetime may be longer than the actual
    // lifetime.
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

/// Attaches a new peer to the router, and stores the workspace. If the peer displaces another
/// connection, closes that connection.
///
/// Lock order: [`State::workspace_records`], then the router. The records stay locked from the
/// attachment until the workspace is stored. `unload_if_empty` removes a workspace without members
/// under the same lock, and must not run in between.
async fn attach(
    state: &State,
    mut user: Authenticated,
    workspace: WorkspaceInfo,
    client_id: &str,
    displaces: Displaces,
    (account, place): (Account, ClientSlots),
) -> Result<Admitted, Refusal> {
    // All reconnection tokens of a connection belong to one session, so that they can be revoked
    // together.
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
        // The earlier connection of the client may have been at another server, and only that
        // server knows the client's partners. Without this mark, the partners would not be notified
        // when the client disconnects.
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
    // This server subscribes to the address before it announces that the address is taken. The
    // server of the earlier connection unsubscribes when it receives the announcement, and messages
    // in between would otherwise be lost.
    bus.subscribe_address(&peer.address).await;
    bus.announce(Notice::Taken {
        address: peer.address.clone(),
    });
    let opened = workspace::open(state, workspace).await;
    if opened.is_err() {
        // If the peer stayed attached, the router would send messages to a client that was refused.
        state.router.detach(&peer);
    }
    drop(guard);
    // The displaced connection is closed after the attachment. The task of the displaced connection
    // then finds the address taken, and does not remove the services of the new connection. The
    // displaced connection is also closed if the new client is refused, because no message would
    // reach it any more. The displaced client then reconnects.
    if let Some(displaced) = displaced {
        state.counters.replaced.add();
        displaced.outbox.close(CloseOrder::new(
            code::GOING_AWAY,
            "Replaced by a newer connection with the same id",
        ));
    }
    opened?;
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
    fn client_ids_contain_no_separators() {
        for id in ["c", "a-b_c.1", "k3jh2__rlb"] {
            assert!(usable_client_id(id), "{id}");
        }
        for id in ["", "a/b", "a:b", "a b", "*", "ü", &"x".repeat(129)] {
            assert!(!usable_client_id(id), "{id}");
        }
    }
}
