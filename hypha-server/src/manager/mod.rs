//! Implements the contract `WorkspaceManager`: the workspace manager of the server.
//!
//! [`start`] connects the manager as an ordinary `hypha-rpc` client on a link inside the server, so
//! the router treats calls to the manager like calls to any other provider. The server calls
//! [`start`] once, before the first client connects. [`ServerClients`](crate::state::ServerClients)
//! keeps the client and disconnects it at shutdown. The login service calls [`generate_token`] to
//! create tokens.
//!
//! Rules for the methods:
//!
//! * Access to a workspace that the caller may not read fails with the same error whether the
//!   workspace exists or not. Only `create_workspace` reveals that an id is in use.
//! * A method that reads, changes and stores the record of a workspace holds
//!   [`State::workspace_records`](crate::state::State::workspace_records) throughout. The lock is
//!   not reentrant: a method releases it before it calls another method that takes it.
//! * A method that waits for another client takes a slot in
//!   [`State::waiting`](crate::state::State::waiting), so that slow clients cannot occupy the
//!   manager.
//! * An error that also exists in the Python server has the text of the Python server, because
//!   Python and JavaScript programs match error texts.

mod connection;
mod contract;
mod events;
mod listing;
mod registration;
mod resolve;
mod tokens;
mod workspaces;

use std::time::Duration;

use bytes::Bytes;
use hypha_rpc::Context;
use hypha_rpc::workspace::{ManagerError, Permission};
use hypha_wire as wire;
use serde::Serialize;

use crate::memory::Charge;
use crate::registry::RegistryError;
use crate::shown::shown;

pub(crate) use self::connection::start;
pub(crate) use self::tokens::generate as generate_token;

/// The result of a manager method.
type Answer<T> = Result<T, ManagerError>;

/// Maximum size of the encoded record of a workspace, in bytes. Every change stores and announces
/// the whole record, so the cost of a small change is proportional to the size of the record.
const RECORD_MAX: usize = 1024 * 1024;
/// Maximum size of an item that a caller adds to the record of a workspace, in bytes.
const ITEM_MAX: usize = 256 * 1024;
/// Maximum size of an entry of the event log, in bytes. The type and the data of the entry count
/// together.
const EVENT_MAX: usize = 64 * 1024;

/// Minimum timeout that a caller can choose. A smaller value is raised to this minimum.
const SHORTEST: Duration = Duration::from_millis(1);
/// Maximum timeout that a caller can choose. A longer call would occupy a slot for waiting calls,
/// although its provider is unlikely to respond.
const LONGEST: Duration = Duration::from_secs(60);

/// Converts a timeout that a caller gave in seconds. Limits the timeout to the range from
/// [`SHORTEST`] to [`LONGEST`].
///
/// If `given` is missing or not finite, the result is `default`. A negative number results in
/// [`SHORTEST`].
fn timeout_in_bounds(given: Option<f64>, default: f64) -> Duration {
    let seconds = given
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(default);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(SHORTEST)
        .clamp(SHORTEST, LONGEST)
}

/// Returns the encoded size of a value, in bytes. `what` is the name of the value in the error
/// text.
///
/// # Errors
///
/// Fails with a `ValueError` if the size exceeds `max`, or the value cannot be encoded.
fn check_size<T: Serialize + ?Sized>(what: &str, value: &T, max: usize) -> Answer<usize> {
    let bytes = wire::to_vec(value).map_err(|error| ManagerError::Value(error.to_string()))?;
    if bytes.len() > max {
        return Err(ManagerError::Value(format!(
            "The {what} is too large: {} bytes (max {max})",
            bytes.len()
        )));
    }
    Ok(bytes.len())
}

/// Attaches a charge to bytes. The charge is released when the last clone of the bytes is dropped.
fn charged(bytes: Vec<u8>, charge: Charge) -> Bytes {
    struct Held {
        bytes: Vec<u8>,
        _charge: Charge,
    }
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    Bytes::from_owner(Held {
        bytes,
        _charge: charge,
    })
}

/// Converts an error of the registry to a `ValueError` if the caller can correct its request, and
/// to a `RuntimeError` otherwise.
fn unavailable(error: RegistryError) -> ManagerError {
    match error {
        RegistryError::Invalid(_)
        | RegistryError::TooLarge { .. }
        | RegistryError::Singleton { .. }
        | RegistryError::ListTooLarge { .. } => ManagerError::Value(error.to_string()),
        _ => ManagerError::Runtime(error.to_string()),
    }
}

/// Checks the caller's permission in its own workspace, and returns the id of the workspace.
///
/// # Errors
///
/// Fails with a `PermissionError` if the caller's permission is lower than `needed`.
fn in_own_workspace(ctx: &Context, needed: Permission) -> Answer<&str> {
    allowed(ctx, needed, ctx.workspace())?;
    Ok(ctx.workspace())
}

/// Checks the caller's permission in `workspace`, which need not exist.
fn allowed(ctx: &Context, needed: Permission, workspace: &str) -> Answer<()> {
    if ctx.user().may(needed, workspace) {
        Ok(())
    } else {
        Err(denied(workspace))
    }
}

/// Returns the error for a missing permission. The error is the same if the workspace does not
/// exist, because callers could otherwise find out which workspaces exist.
fn denied(workspace: &str) -> ManagerError {
    ManagerError::Permission(format!(
        "Permission denied for workspace {}",
        shown(workspace)
    ))
}

/// Returns the caller's address as `workspace/client`.
fn caller(ctx: &Context) -> String {
    hypha_wire::absolute_address(ctx.from(), ctx.workspace()).into_owned()
}
