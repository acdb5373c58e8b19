//! The event log, and which events a client may subscribe to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypha_rpc::workspace::{EventCount, EventRecord, ManagerError, Names, Permission};
use hypha_rpc::{Context, Value};
use indexmap::IndexMap;

use super::{Answer, EVENT_MAX, at_home, caller, measured};
use crate::session::Peer;
use crate::state::State;

/// Entries that are kept for each workspace; older ones go.
const ENTRIES_MAX: usize = 1000;
/// And so many bytes of them.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longer names of events are refused.
const NAME_MAX: usize = 256;

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

/// Subscribe or unsubscribe the caller's connection.
pub(super) fn subscription(
    state: &State,
    ctx: &Context,
    events: &Names,
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

/// Names that look like another workspace's are refused.
fn subscribable(event: &str, workspace: &str) -> Answer<()> {
    let forbidden = |why: String| {
        Err(ManagerError::Value(format!(
            "Subscription to event '{event}' is forbidden. {why}"
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
                "Event workspace '{part}' does not match your workspace '{workspace}'. Clients can only \
                 subscribe to events within their own workspace or system events."
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

/// What happened in each workspace, most recent last.
#[derive(Default)]
pub(crate) struct EventLog(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    last: u64,
    workspaces: HashMap<String, Log>,
}

#[derive(Default)]
struct Log {
    /// With their sizes.
    entries: VecDeque<(EventRecord, usize)>,
    bytes: usize,
}

impl Log {
    fn push(&mut self, entry: EventRecord, size: usize) {
        self.entries.push_back((entry, size));
        self.bytes += size;
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some((_, size)) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= size;
        }
    }
}

/// Which entries somebody wants to see.
pub(super) struct Filter {
    pub(super) event_type: Option<String>,
    pub(super) start_time: Option<String>,
    pub(super) end_time: Option<String>,
}

impl Filter {
    fn fits(&self, entry: &EventRecord) -> bool {
        // ISO texts in UTC sort as the times do.
        self.event_type
            .as_ref()
            .is_none_or(|kind| *kind == entry.event_type)
            && self
                .start_time
                .as_deref()
                .is_none_or(|start| entry.timestamp.as_str() >= start)
            && self
                .end_time
                .as_deref()
                .is_none_or(|end| entry.timestamp.as_str() <= end)
    }
}

impl EventLog {
    pub(super) fn add(&self, ctx: &Context, event_type: String, data: Value) -> Answer<()> {
        let workspace = at_home(ctx, Permission::ReadWrite)?.to_owned();
        if event_type.contains(' ') {
            return Err(ManagerError::Assertion(
                "Event type must not contain spaces".into(),
            ));
        }
        let size = measured("event", &(&event_type, &data), EVENT_MAX)?;
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.last += 1;
        let entry = EventRecord {
            id: entries.last,
            event_type,
            workspace: workspace.clone(),
            user_id: ctx.user().id.clone(),
            timestamp: iso(SystemTime::now()),
            data,
        };
        let log = entries.workspaces.entry(workspace).or_default();
        log.push(entry, size);
        Ok(())
    }

    /// The caller's own entries.
    pub(super) fn read(&self, ctx: &Context, filter: &Filter) -> Answer<Vec<EventRecord>> {
        let workspace = at_home(ctx, Permission::Read)?;
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |entry: &&EventRecord| entry.user_id == ctx.user().id && filter.fits(entry);
        let log = entries.workspaces.get(workspace);
        let all = log.into_iter().flat_map(|log| &log.entries);
        Ok(all.map(|(entry, _)| entry).filter(own).cloned().collect())
    }

    /// How many entries of each type the caller has made.
    pub(super) fn count(&self, ctx: &Context, filter: &Filter) -> Answer<Vec<EventCount>> {
        let mut counts = IndexMap::<String, u64>::new();
        for entry in self.read(ctx, filter)? {
            *counts.entry(entry.event_type).or_default() += 1;
        }
        let count = |(event_type, count)| EventCount { event_type, count };
        Ok(counts.into_iter().map(count).collect())
    }

    /// A workspace is gone, and its log with it.
    pub(super) fn forget(&self, workspace: &str) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.workspaces.remove(workspace);
    }
}

/// A time as ISO text in UTC with microseconds.
fn iso(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_micros()
    )
}

/// The date that is so many days after 1970-01-01, counting in eras of 400 years from a March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_in_bytes_as_well() {
        let mut log = Log::default();
        for id in 0..10 {
            let entry = EventRecord {
                id,
                ..EventRecord::default()
            };
            log.push(entry, BYTES_MAX / 4);
        }
        let kept: Vec<_> = log.entries.iter().map(|(entry, _)| entry.id).collect();
        assert_eq!(kept, [6, 7, 8, 9]);
        assert_eq!(log.bytes, BYTES_MAX);
    }

    #[test]
    fn times_are_written_as_iso_text() {
        let at = |seconds| iso(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000000");
        assert_eq!(at(951_827_696), "2000-02-29T12:34:56.000000");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.000000");
    }

    #[test]
    fn other_workspaces_events_are_out_of_reach() {
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
