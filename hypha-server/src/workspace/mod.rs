//! The workspace manager: an implementation of the shared contract, served by an ordinary client
//! on a link inside the server.

mod events;
mod lifecycle;
mod link;
mod listing;
mod manager;
mod places;
mod provider;
mod registration;
mod resolve;
mod tokens;

use hypha_rpc::Context;
use hypha_rpc::workspace::{ManagerError, Permission};
use hypha_wire as wire;

use serde::Serialize;

use crate::registry::RegistryError;

pub(crate) use events::EventLog;
#[cfg(feature = "redis")]
pub(crate) use lifecycle::reap;
pub(crate) use lifecycle::{
    client_left, create_system_workspaces, find_or_plan, open, visitor_left,
};
pub(crate) use link::start;
pub(crate) use provider::ping;
pub(crate) use tokens::generate as generate_token;

/// What every method answers.
type Answer<T> = Result<T, ManagerError>;

/// The largest record that is stored, and what a caller can put into one at a time.
const RECORD_MAX: usize = 1024 * 1024;
const ITEM_MAX: usize = 256 * 1024;
/// The largest entry of the event log.
const EVENT_MAX: usize = 64 * 1024;

/// How many bytes a value takes, if that is not more than `max`.
fn measured<T: Serialize + ?Sized>(what: &str, value: &T, max: usize) -> Answer<usize> {
    let bytes = wire::to_vec(value).map_err(|error| ManagerError::Value(error.to_string()))?;
    if bytes.len() > max {
        return Err(ManagerError::Value(format!(
            "The {what} is too large: {} bytes (max {max})",
            bytes.len()
        )));
    }
    Ok(bytes.len())
}

/// The registry's failure as the manager reports it.
fn unavailable(error: RegistryError) -> ManagerError {
    ManagerError::Runtime(error.to_string())
}

/// The caller must have this permission in its own workspace, whose name is returned.
fn at_home(ctx: &Context, needed: Permission) -> Answer<&str> {
    allowed(ctx, needed, ctx.workspace())?;
    Ok(ctx.workspace())
}

/// The caller must have this permission in `workspace`.
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

/// A caller's address with its workspace.
fn caller(ctx: &Context) -> String {
    hypha_wire::absolute(ctx.from(), ctx.workspace()).into_owned()
}
