//! The workspace manager: an implementation of the shared contract, served by an ordinary client
//! on a link inside the server.

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

pub(crate) use self::connection::start;
pub(crate) use self::tokens::generate as generate_token;

/// The result of a manager method.
type Answer<T> = Result<T, ManagerError>;

/// Bounds on a workspace's record, and on an item that a caller puts into one at a time, in bytes.
const RECORD_MAX: usize = 1024 * 1024;
const ITEM_MAX: usize = 256 * 1024;
/// Bound on an entry of the event log, in bytes.
const EVENT_MAX: usize = 64 * 1024;

/// Shortest and longest time that a caller may grant a provider.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Returns a timeout that a caller gave in seconds, within the bounds.
fn timeout_in_bounds(given: Option<f64>, default: f64) -> Duration {
    let seconds = given
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(default);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(SHORTEST)
        .clamp(SHORTEST, LONGEST)
}

/// Returns the encoded size of a value. Fails if it exceeds `max`.
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

/// Returns bytes that keep a charge until nobody holds them.
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

/// Returns a failure of the registry as the manager reports it.
fn unavailable(error: RegistryError) -> ManagerError {
    match error {
        RegistryError::Invalid(_)
        | RegistryError::TooLarge { .. }
        | RegistryError::Singleton { .. }
        | RegistryError::ListTooLarge { .. } => ManagerError::Value(error.to_string()),
        _ => ManagerError::Runtime(error.to_string()),
    }
}

/// Checks the caller's permission in its own workspace, and returns the name of that.
fn in_own_workspace(ctx: &Context, needed: Permission) -> Answer<&str> {
    allowed(ctx, needed, ctx.workspace())?;
    Ok(ctx.workspace())
}

/// Checks the caller's permission in `workspace`.
fn allowed(ctx: &Context, needed: Permission, workspace: &str) -> Answer<()> {
    if ctx.user().may(needed, workspace) {
        Ok(())
    } else {
        Err(denied(workspace))
    }
}

fn denied(workspace: &str) -> ManagerError {
    ManagerError::Permission(format!("Permission denied for workspace {workspace}"))
}

/// Returns the caller's address with its workspace.
fn caller(ctx: &Context) -> String {
    hypha_wire::absolute_address(ctx.from(), ctx.workspace()).into_owned()
}
