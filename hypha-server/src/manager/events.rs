//! Implements the methods for the event log of a workspace, and for subscriptions to events.
//!
//! The log and the subscriptions are independent: subscribers do not receive the entries of the
//! log, and the log does not contain the events that subscribers receive.

use bytes::Bytes;
use hypha_rpc::workspace::{EventCount, EventTypes, ManagerError, Permission};
use hypha_rpc::{Context, Value};
use hypha_wire::RawValue;
use indexmap::IndexMap;

use super::{Answer, EVENT_MAX, caller, charged, check_size, in_own_workspace};
use crate::event_log::{EventFilter, NewEvent};
use crate::peer::Peer;
use crate::shown::shown;
use crate::state::State;

/// Maximum length of the name of an event that a client subscribes to, in bytes. The server stores
/// the name until the connection ends.
const NAME_MAX: usize = 256;

/// Events that the server sends in every workspace. Every client may subscribe to these events, and
/// receives those of its own workspace.
const SYSTEM_EVENTS: [&str; 12] = [
    "client_connected",
    "client_disconnected",
    "client_updated",
    "service_added",
    "service_removed",
    "service_updated",
    "workspace_loaded",
    "workspace_deleted",
    "workspace_changed",
    "workspace_ready",
    "workspace_unloaded",
    "workspace_status_changed",
];

/// Changes the subscriptions of the caller's connection. Returns true.
///
/// # Errors
///
/// Fails without any change if the caller may not subscribe to one of the events. Also fails if the
/// caller is not connected to this server, because subscriptions belong to a connection.
pub(super) fn subscription(
    state: &State,
    ctx: &Context,
    events: &EventTypes,
    change: impl FnOnce(&Peer, &[String]) -> Answer<()>,
) -> Answer<bool> {
    let address = caller(ctx);
    let peer = state.router.find_address(&address).ok_or_else(|| {
        ManagerError::Runtime(format!("Connection not found for client {address}"))
    })?;
    let events = events.as_slice();
    events
        .iter()
        .try_for_each(|event| subscribable(event, ctx.workspace()))?;
    change(&peer, events)?;
    Ok(true)
}

/// Checks that an event name does not look like an event of another workspace.
///
/// This check is not needed for protection, because the router sends an event only within its
/// workspace. The check exists because the Python server refuses these names, and clients of the
/// Python server expect the error.
fn subscribable(event: &str, workspace: &str) -> Answer<()> {
    let forbidden = |why: String| {
        Err(ManagerError::Value(format!(
            "Subscription to event '{}' is forbidden. {why}",
            shown(event)
        )))
    };
    if event.len() > NAME_MAX {
        return Err(ManagerError::Value(format!(
            "The name of the event has more than {NAME_MAX} characters"
        )));
    }
    if SYSTEM_EVENTS.contains(&event) {
        return Ok(());
    }
    if let Some((part, _)) = event.split_once('/') {
        return if part == workspace {
            Ok(())
        } else {
            forbidden(format!(
                "Event workspace '{part}' does not match your workspace '{workspace}'. Clients can \
                 only subscribe to events within their own workspace or system events."
            ))
        };
    }
    if event.starts_with("ws-") && event != workspace {
        return Err(ManagerError::Value(format!(
            "Subscription to event '{event}' is forbidden as it contains workspace identifiers. \
             Clients can only subscribe to events within their own workspace ({workspace}) or \
             system events."
        )));
    }
    Ok(())
}

/// Appends an entry to the log of the caller's workspace. The memory of the entry is charged to the
/// caller's owner until the log removes the entry.
///
/// # Errors
///
/// Fails if the caller may not write, if the type contains a space, or if the entry exceeds
/// [`EVENT_MAX`] or the memory limit of the owner.
pub(super) fn add(state: &State, ctx: &Context, event_type: String, data: Value) -> Answer<()> {
    let workspace = in_own_workspace(ctx, Permission::ReadWrite)?.to_owned();
    if event_type.contains(' ') {
        return Err(ManagerError::Assertion(
            "Event type must not contain spaces".into(),
        ));
    }
    let bytes = check_size("event", &(&event_type, &data), EVENT_MAX)?;
    let charge = state
        .memory
        .open(&state.account_owner(ctx))
        .try_charge(bytes);
    let charge = charge.map_err(|error| ManagerError::Runtime(format!("log_event: {error}")))?;
    let data = hypha_wire::to_vec(&data);
    let data = data.map_err(|error| ManagerError::Value(error.to_string()))?;
    let data = RawValue::new(data.into());
    let data = data.map_err(|error| ManagerError::Value(error.to_string()))?;
    state.event_log.append(NewEvent {
        workspace,
        user_id: ctx.user().id.clone(),
        event_type,
        data,
        bytes,
        charge: Some(charge),
    });
    Ok(())
}

/// Returns the encoded entries that the caller's user wrote in the caller's workspace. The result
/// is charged to the caller until it is sent.
pub(super) fn read(state: &State, ctx: &Context, filter: &EventFilter) -> Answer<Bytes> {
    let workspace = in_own_workspace(ctx, Permission::Read)?;
    let events = state.event_log.read(workspace, &ctx.user().id, filter);
    let failed =
        |error: &dyn std::fmt::Display| ManagerError::Runtime(format!("`get_events`: {error}"));
    let events = hypha_wire::to_vec(&events).map_err(|error| failed(&error))?;
    let account = state.memory.open(&state.account_owner(ctx));
    let charge = account.try_charge(events.len());
    Ok(charged(events, charge.map_err(|error| failed(&error))?))
}

/// Counts the entries of the caller's user by type, in the order in which the types first occur.
pub(super) fn count(state: &State, ctx: &Context, filter: &EventFilter) -> Answer<Vec<EventCount>> {
    let mut counts = IndexMap::<String, u64>::new();
    let workspace = in_own_workspace(ctx, Permission::Read)?;
    for event_type in state.event_log.types(workspace, &ctx.user().id, filter) {
        *counts.entry(event_type).or_default() += 1;
    }
    let count = |(event_type, count)| EventCount { event_type, count };
    Ok(counts.into_iter().map(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_other_workspaces_are_refused() {
        for event in ["service_added", "x", "w/x", "a:b", "", "w:x"] {
            assert!(subscribable(event, "w").is_ok(), "{event}");
        }
        for event in ["other/x", "ws-other", "ws-other:x", "ws-w"] {
            assert!(subscribable(event, "w").is_err(), "{event}");
        }
        assert!(subscribable("ws-lab", "ws-lab").is_ok());
        assert!(subscribable("ws-lab/x", "ws-lab").is_ok());
    }
}
