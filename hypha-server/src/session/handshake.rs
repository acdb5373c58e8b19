//! Who may come in, and where to.

use std::sync::Arc;
use std::time::Duration;

use hypha_rpc::workspace::{Permission, UserInfo, WorkspaceInfo};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::limits::Seat;
use super::{CloseOrder, Outbox, Peer, Queue};
use crate::auth::{self, TokenError};
use crate::registry::{BUILT_IN, RegistryError, ServicePattern};
use crate::state::{HYPHA_VERSION, State};
use crate::workspace;

/// How long a handshake may wait for others to finish.
const ADMISSION_WAIT: Duration = Duration::from_secs(30);
/// Longer client ids are not accepted.
const CLIENT_ID_MAX: usize = 128;

/// Close codes of the protocol.
pub(super) mod code {
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const UNSUPPORTED: u16 = 1003;
    pub(crate) const POLICY: u16 = 1008;
    pub(crate) const TOO_LARGE: u16 = 1009;
    pub(crate) const TRY_AGAIN: u16 = 1013;
}

/// The places for handshakes in progress.
pub(crate) struct Admission(Semaphore);

impl Admission {
    pub(crate) fn new(places: usize) -> Admission {
        Admission(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)))
    }

    async fn enter(&self) -> Result<SemaphorePermit<'_>, CloseOrder> {
        match tokio::time::timeout(ADMISSION_WAIT, self.0.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(CloseOrder::new(
                code::TRY_AGAIN,
                "Server busy, please retry",
            )),
        }
    }
}

/// The first frame of a client.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    client_id: String,
    workspace: Option<String>,
    token: Option<String>,
    reconnection_token: Option<String>,
}

impl Hello {
    pub(super) fn parse(text: &str) -> Result<Hello, CloseOrder> {
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            return Err(Hello::undecodable());
        };
        // An empty text is as good as none.
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => Err(Hello::undecodable()),
        };
        Ok(Hello {
            client_id: text("client_id")?.unwrap_or_default(),
            workspace: text("workspace")?,
            token: text("token")?,
            reconnection_token: text("reconnection_token")?,
        })
    }

    pub(super) fn undecodable() -> CloseOrder {
        refusal(
            code::UNSUPPORTED,
            "Failed to decode authentication information",
        )
    }
}

fn refusal(code: u16, message: impl Into<String>) -> CloseOrder {
    CloseOrder::new(code, message).with_error_frame()
}

/// A refusal of the kind that most are.
fn failed(message: impl std::fmt::Display) -> CloseOrder {
    refusal(
        code::GOING_AWAY,
        format!("Failed to establish connection: {message}"),
    )
}

/// A refusal while looking at the credentials.
fn unauthenticated(message: impl std::fmt::Display) -> CloseOrder {
    failed(format_args!("Failed to authenticate user: {message}"))
}

impl From<RegistryError> for CloseOrder {
    fn from(error: RegistryError) -> Self {
        failed(error)
    }
}

/// A client that has come in: routed to, with frames perhaps already waiting.
pub(super) struct Admitted {
    pub(super) peer: Arc<Peer>,
    pub(super) queue: Queue,
    /// The frame that tells the client.
    pub(super) connection_info: String,
    /// Its places in the counts; given back when it leaves.
    _seats: (Seat, Seat),
}

/// Decide about a client, and let it in.
pub(super) async fn admit(state: &State, hello: Hello) -> Result<Admitted, CloseOrder> {
    let place = state.admission.enter().await?;
    let reconnecting = hello.reconnection_token.is_some();
    let (mut user, workspace) = authenticate(state, &hello)?;
    let workspace = choose_workspace(&user, workspace);
    let info = workspace::find_or_plan(state, &user, &workspace)
        .await?
        .ok_or_else(|| {
            failed(format_args!(
                "'Workspace {workspace} does not exist or is not accessible'"
            ))
        })?;
    auth::enter_workspace(&mut user, &info, &hello.client_id);
    if !user.may(Permission::Read, &info.id) {
        return Err(failed(format_args!(
            "Permission denied for workspace: {}",
            info.id
        )));
    }
    if !usable_client_id(&hello.client_id) {
        return Err(failed(format_args!(
            "Invalid client id: {}",
            hello.client_id
        )));
    }
    let seats = take_seats(state, &user, &info, &hello.client_id)?;
    // What follows waits for another client, perhaps: nobody else should.
    drop(place);
    let displaces = if reconnecting {
        Displaces::Anyone
    } else {
        Displaces::Only(displace_dead(state, &info.id, &hello.client_id).await?)
    };
    attach(state, user, info, &hello.client_id, displaces, seats).await
}

/// Whom the credentials stand for, and the workspace that was named or is implied.
fn authenticate(state: &State, hello: &Hello) -> Result<(UserInfo, Option<String>), CloseOrder> {
    let parse = |token: &str| {
        let user = state.issuer.parse(token).map_err(|error| match error {
            TokenError::Invalid(detail) => {
                refusal(code::POLICY, format!("Authentication error: {detail}"))
            }
            TokenError::Revoked => unauthenticated(error),
        })?;
        match user.scope.as_ref().and_then(auth::is_specialised) {
            None => Ok(user),
            Some(words) => Err(unauthenticated(format_args!(
                "Specialized token with scopes [{}] cannot be used for general workspace access. \
                 This token can only be used for its intended purpose.",
                words.join(", ")
            ))),
        }
    };
    if let Some(token) = &hello.reconnection_token {
        let user = parse(token)?;
        let scope = user.scope.clone().unwrap_or_default();
        let Some(workspace) = scope.current_workspace else {
            return Err(unauthenticated(
                "Invalid scope, current_workspace is required",
            ));
        };
        if let Some(named) = hello
            .workspace
            .as_ref()
            .filter(|named| **named != workspace)
        {
            return Err(unauthenticated(format_args!(
                "Invalid scope, workspace mismatch: {named} != {workspace}"
            )));
        }
        let Some(client_id) = scope.client_id else {
            return Err(unauthenticated("Invalid scope, client_id is required"));
        };
        if !user.may(Permission::Read, &workspace) {
            return Err(unauthenticated(format_args!(
                "Permission denied for workspace: {workspace}"
            )));
        }
        if client_id != hello.client_id {
            return Err(unauthenticated("Client id mismatch, disconnecting"));
        }
        return Ok((user, Some(workspace)));
    }
    let Some(token) = &hello.token else {
        return Ok((auth::anonymous_user(), hello.workspace.clone()));
    };
    let user = parse(token)?;
    let scope = user.scope.clone().unwrap_or_default();
    if let Some(bound) = scope.client_id.filter(|bound| *bound != hello.client_id) {
        return Err(unauthenticated(format_args!(
            "Client id mismatch: this token is restricted to client with client_id='{bound}'"
        )));
    }
    match (scope.current_workspace, &hello.workspace) {
        (Some(bound), Some(named)) if bound != *named => Err(unauthenticated(format_args!(
            "Current workspace encoded in the token ({bound}) does not match the specified \
             workspace ({named})"
        ))),
        (bound, named) => {
            let workspace = named.clone().or(bound);
            Ok((user, workspace))
        }
    }
}

/// Users work in their own workspace unless they name another; `public` is for services of the
/// server, and taken by nobody who is not bound to it.
fn choose_workspace(user: &UserInfo, named: Option<String>) -> String {
    let bound = user
        .scope
        .as_ref()
        .and_then(|scope| scope.current_workspace.as_deref());
    match named {
        Some(named) if named == "public" && !user.is_anonymous && bound != Some("public") => {
            bound.map_or_else(|| user.own_workspace(), str::to_owned)
        }
        Some(named) => named,
        None => user.own_workspace(),
    }
}

fn usable_client_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !id.is_empty() && id.len() <= CLIENT_ID_MAX && id.bytes().all(allowed)
}

fn take_seats(
    state: &State,
    user: &UserInfo,
    workspace: &WorkspaceInfo,
    client_id: &str,
) -> Result<(Seat, Seat), CloseOrder> {
    let replacing = state
        .router
        .find(&workspace.id, client_id)
        .is_some_and(|incumbent| incumbent.user.id == user.id);
    let of_user = state.users.take(&user.id, replacing).ok_or_else(|| {
        refusal(
            code::POLICY,
            format!(
                "Too many connections of user {} ({})",
                user.id,
                state.users.limit()
            ),
        )
    })?;
    let of_workspace = state
        .workspaces
        .take(&workspace.id, replacing)
        .ok_or_else(|| {
            refusal(
                code::POLICY,
                format!(
                    "Too many clients in workspace {} ({})",
                    workspace.id,
                    state.workspaces.limit()
                ),
            )
        })?;
    Ok((of_user, of_workspace))
}

/// Whose connection a newcomer takes over.
enum Displaces {
    /// It has proved to be the same client.
    Anyone,
    /// At most this one, by its generation.
    Only(Option<u64>),
}

/// If the address is in use, its holder keeps it as long as it answers. Whoever does not is
/// removed. The holder must not notice the attempt. Returns the connection that has the address
/// but has not introduced itself, if there is one: it may be displaced.
async fn displace_dead(
    state: &State,
    workspace: &str,
    client_id: &str,
) -> Result<Option<u64>, CloseOrder> {
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
    if incumbent.is_some()
        && workspace::ping(state, workspace, client_id, state.limits.incumbent_timeout)
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
        state.registry.remove_client(workspace, client_id).await?;
    }
    Ok(None)
}

fn active(workspace: &str, client_id: &str) -> CloseOrder {
    failed(format_args!(
        "Client already exists and is active: {workspace}/{client_id}"
    ))
}

async fn attach(
    state: &State,
    user: UserInfo,
    workspace: WorkspaceInfo,
    client_id: &str,
    displaces: Displaces,
    seats: (Seat, Seat),
) -> Result<Admitted, CloseOrder> {
    let life = state.reconnection_life;
    let token = state
        .issuer
        .reconnection_token(&user, &workspace.id, client_id, life)
        .map_err(failed)?;
    let connection_info = json!({
        "type": "connection_info",
        "hypha_version": HYPHA_VERSION,
        "public_base_url": state.info.public_base_url,
        "local_base_url": state.info.local_base_url,
        "manager_id": state.info.manager_id,
        "workspace": workspace.id,
        "client_id": client_id,
        "user": user,
        "reconnection_token": token,
        "reconnection_token_life_time": life as f64,
    });
    let (outbox, queue) = Outbox::new(state.limits.queue_bytes);
    let generation = state.router.next_generation();
    let peer = Arc::new(Peer::new(
        &workspace.id,
        client_id,
        user,
        generation,
        outbox,
    ));

    let guard = state.workspace_records.lock().await;
    let displaced = state
        .router
        .attach(peer.clone(), |present| match displaces {
            Displaces::Anyone => true,
            Displaces::Only(generation) => Some(present.generation) == generation,
        })
        .map_err(|_| active(&workspace.id, client_id))?;
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
        connection_info: connection_info.to_string(),
        _seats: seats,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_an_object_of_texts() {
        let hello = Hello::parse(r#"{"client_id":"c","workspace":null,"token":"","x":1}"#).unwrap();
        assert_eq!(
            hello,
            Hello {
                client_id: "c".into(),
                ..Hello::default()
            }
        );
        for text in ["", "[]", "null", "\"c\"", r#"{"client_id":1}"#] {
            assert_eq!(
                Hello::parse(text).unwrap_err().code,
                code::UNSUPPORTED,
                "{text}"
            );
        }
    }

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
