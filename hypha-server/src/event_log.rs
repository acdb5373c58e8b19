//! Stores the event log in memory. The event log has a bounded list of recent entries for each
//! workspace.
//!
//! The manager appends and reads entries. When a workspace is removed, its log is dropped. When the
//! server restarts, all logs are lost. In a cluster, each server has its own logs.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypha_wire::RawValue;
use parking_lot::Mutex;
use serde::Serialize;

use crate::memory::Charge;

/// Maximum number of entries in the log of a workspace. Above this number, the oldest entries are
/// dropped.
const ENTRIES_MAX: usize = 1000;
/// Maximum size of the log of a workspace in bytes. The size of an entry is the size of its type
/// and its data.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The recent entries of each workspace, oldest first.
#[derive(Default)]
pub(crate) struct EventLog(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// Number of the latest entry. All workspaces share this sequence of numbers.
    last_id: u64,
    workspaces: HashMap<String, Log>,
}

#[derive(Default)]
struct Log {
    entries: VecDeque<SizedEntry>,
    /// Sum of the sizes of the entries.
    bytes: usize,
}

/// An entry in the form in which readers receive it. The fields are the same as in
/// [`hypha_rpc::workspace::EventRecord`].
#[derive(Clone, Serialize)]
pub(crate) struct StoredEvent {
    id: u64,
    pub(crate) event_type: String,
    workspace: String,
    user_id: String,
    timestamp: String,
    /// The data remains encoded, because the decoded value would take many times the memory.
    data: RawValue,
}

struct SizedEntry {
    record: StoredEvent,
    bytes: usize,
    _charge: Option<Charge>,
}

impl Log {
    /// Appends an entry. Then drops the oldest entries until the log is within its limits. If the
    /// entry is larger than [`BYTES_MAX`], all entries are dropped, including the new one.
    fn push(&mut self, entry: SizedEntry) {
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
        }
    }
}

/// A new entry. The log adds a number and the current time.
pub(crate) struct NewEvent {
    pub(crate) workspace: String,
    pub(crate) user_id: String,
    pub(crate) event_type: String,
    pub(crate) data: RawValue,
    /// Encoded size of the type and the data in bytes. This size counts towards [`BYTES_MAX`].
    pub(crate) bytes: usize,
    /// Charge for the memory of the entry. The charge is released when the log drops the entry.
    pub(crate) charge: Option<Charge>,
}

/// Selects entries by type and time. A field that is `None` does not restrict the selection.
#[derive(Default)]
pub(crate) struct EventFilter {
    pub(crate) event_type: Option<String>,
    /// Earliest selected time (inclusive), as an ISO 8601 string in UTC.
    pub(crate) start_time: Option<String>,
    /// Latest selected time (inclusive), as an ISO 8601 string in UTC.
    pub(crate) end_time: Option<String>,
}

impl EventFilter {
    /// Returns whether the filter selects an entry.
    fn matches(&self, entry: &StoredEvent) -> bool {
        // Compare the times as strings: the order of ISO 8601 strings in UTC with the same
        // precision is the order of the times.
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
    /// Appends an entry with the current time. If the log of the workspace exceeds a limit, drops
    /// its oldest entries.
    pub(crate) fn append(&self, event: NewEvent) {
        let mut entries = self.0.lock();
        entries.last_id += 1;
        let record = StoredEvent {
            id: entries.last_id,
            event_type: event.event_type,
            workspace: event.workspace.clone(),
            user_id: event.user_id,
            timestamp: iso(SystemTime::now()),
            data: event.data,
        };
        let log = entries.workspaces.entry(event.workspace).or_default();
        log.push(SizedEntry {
            record,
            bytes: event.bytes,
            _charge: event.charge,
        });
    }

    /// Returns the entries in the log of a workspace that belong to the user `user_id` and that
    /// `filter` selects. The oldest entry is first.
    pub(crate) fn read(
        &self,
        workspace: &str,
        user_id: &str,
        filter: &EventFilter,
    ) -> Vec<StoredEvent> {
        self.select(workspace, user_id, filter, |entry| entry.record.clone())
    }

    /// Returns the type of each entry that [`read`](Self::read) would return.
    pub(crate) fn types(
        &self,
        workspace: &str,
        user_id: &str,
        filter: &EventFilter,
    ) -> Vec<String> {
        let kind = |entry: &SizedEntry| entry.record.event_type.clone();
        self.select(workspace, user_id, filter, kind)
    }

    /// Selects entries like [`read`](Self::read). Calls `part` with each selected entry, and
    /// returns the results.
    fn select<T>(
        &self,
        workspace: &str,
        user_id: &str,
        filter: &EventFilter,
        part: impl Fn(&SizedEntry) -> T,
    ) -> Vec<T> {
        let entries = self.0.lock();
        let log = entries.workspaces.get(workspace);
        let all = log.into_iter().flat_map(|log| &log.entries);
        all.filter(|entry| entry.record.user_id == user_id && filter.matches(&entry.record))
            .map(part)
            .collect()
    }

    /// Keeps only the logs of the workspaces for which `keep` returns true. Another server may have
    /// removed the other workspaces.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.0
            .lock()
            .workspaces
            .retain(|workspace, _| keep(workspace));
    }

    /// Drops the log of a workspace that was removed.
    pub(crate) fn forget(&self, workspace: &str) {
        self.0.lock().workspaces.remove(workspace);
    }
}

/// Formats a time as an ISO 8601 string in UTC, with microseconds and without an offset. The Python
/// server uses the same format.
pub(crate) fn iso(time: SystemTime) -> String {
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

/// Returns the year, the month and the day of the date that is `days` days after 1970-01-01.
///
/// Counts in eras of 400 years. Each year of an era begins on March 1, so that a leap day is the
/// last day of a year.
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
        let null = RawValue::new(vec![0xc0].into()).unwrap();
        for id in 0..10 {
            log.push(SizedEntry {
                record: StoredEvent {
                    id,
                    event_type: String::new(),
                    workspace: String::new(),
                    user_id: String::new(),
                    timestamp: String::new(),
                    data: null.clone(),
                },
                bytes: BYTES_MAX / 4,
                _charge: None,
            });
        }
        let kept: Vec<_> = log.entries.iter().map(|entry| entry.record.id).collect();
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
}
