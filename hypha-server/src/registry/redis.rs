//! Keeps the records of a cluster in Redis, in the format of the Python server. There is a hash for
//! each service, one hash for all workspaces, and a key for each revoked token.
//!
//! The Python server scans all keys to find a service. This server also keeps indexes of the
//! records (`index`), and reads only the records that it returns. While a server without indexes is
//! part of the cluster, this server scans all keys as well, because the records of the other server
//! are in no index.
//!
//! Each server has a key with an expiry. Once a second, the server sends a beat, which is a message
//! to Redis that refreshes this key. A server whose key is missing at several beats counts as dead,
//! and one of the other servers removes its records.
//!
//! The two locks guard data of this server only. No task holds both locks at the same time, or
//! holds a lock across an await.

#[cfg(feature = "accounts")]
mod accounts;
mod blocks;
mod index;
mod script;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::ConnectionManager;
use ::redis::{AsyncCommands, RedisError, cmd, pipe};
use futures_util::FutureExt;
use hypha_rpc::workspace::{ServiceInfo, WorkspaceInfo};
use hypha_wire::keys::BUILT_IN;
use serde_json::{Map, Value};

use parking_lot::Mutex;
use tokio::time::Instant;

use self::index::{Entry, Fields, INDEXED, Index, LEASE, NewRecord, Stored};
use super::pattern::glob;
use super::{
    Answer, Pulse, Record, RecordLimits, Registry, RegistryError, ServiceKey, ServicePattern,
};
use crate::memory::Charge;
use crate::metrics::Counters;

/// The hash of all workspaces: records as JSON, by id.
const WORKSPACES: &str = "workspaces";
/// Prefix of the key of a revoked token. The token follows the prefix. The key expires with the
/// token.
const REVOKED: &str = "revoked_token:";
/// The stored value of a field that is null. Redis has no null.
const NULL: &str = "__null__";
/// Fields of a record that are stored as plain strings.
const PLAIN: [&str; 5] = ["id", "name", "type", "app_id", "docs"];
/// Fields of a record that are stored as JSON.
const JSON: [&str; 3] = ["description", "config", "service_schema"];
/// The field that contains the connection that has registered a service, as `server#generation`.
/// The Python server ignores this field. If the Python server replaces a record, the new record
/// lacks the field.
const OWNER: &str = "hypha-server:connection";
/// Number of records that one step reads or removes. The number is small, because Redis serves no
/// other client during a step.
const RECORDS_AT_ONCE: usize = 256;
/// Number of keys that Redis scans per step. A larger number needs fewer round trips, but blocks
/// Redis for longer.
const SCAN_COUNT: usize = 10_000;

/// Prefix of the key that each server refreshes. The id of the server follows the prefix.
const ALIVE: &str = "hypha-server:alive:";
/// The set of the ids of the servers that may have records.
const SERVERS: &str = "hypha-server:servers";
/// Time after which the key of a server expires if the server does not refresh the key.
const ALIVE_FOR: Duration = Duration::from_secs(5);
/// Number of consecutive beats, one second apart, at which the key of a server must be missing
/// before the server counts as dead. One beat is not enough: after a pause of Redis all keys are
/// missing at first, and the other servers need time to refresh their keys.
const BEATS_MISSED: u32 = 3;
/// Time without a successful beat after which Redis counts as unreachable.
const UNREACHABLE_AFTER: Duration = Duration::from_millis(2500);
/// Timeout of a beat. The timeout is short, so that a beat without a response does not delay the
/// next beat.
const BEAT_TIMEOUT: Duration = Duration::from_secs(1);

/// The registry of a server in a cluster.
pub(crate) struct RedisRegistry {
    connection: ConnectionManager,
    index: Index,
    server_id: String,
    /// The limits of this server. Each server applies its own limits to the services that it
    /// registers.
    limits: RecordLimits,
    counters: Arc<Counters>,
    pulse: Mutex<Monitor>,
    /// Services that this server itself provides, by id, each with its connection. If other servers
    /// have considered this server dead and have removed these services, this server stores them
    /// again, because no client registers them again.
    own: Mutex<HashMap<String, (ServiceInfo, String)>>,
}

/// The results of the beats so far.
struct Monitor {
    /// Time of the last successful beat.
    last: Instant,
    /// Whether no beat was successful yet.
    is_first: bool,
    /// Whether a server without indexes was part of the cluster at the last beat.
    scans: bool,
    /// Servers whose keys are missing. Each server has the number of consecutive beats at which its
    /// key was missing.
    missing: HashMap<String, u32>,
}

impl From<RedisError> for RegistryError {
    fn from(error: RedisError) -> Self {
        RegistryError::Unavailable(error.to_string())
    }
}

/// Returns the error for a record that cannot be read or written.
fn unreadable(error: impl std::fmt::Display) -> RegistryError {
    RegistryError::Invalid(error.to_string())
}

/// Escapes a type or an app id for use as a part of a key. Separators, Redis wildcards and control
/// characters become `%` and two hex digits. The star is not escaped: in a key it stands for "no
/// app", and in a pattern for any value.
fn key_part(part: &str) -> String {
    let mut out = String::new();
    for character in part.chars() {
        if matches!(
            character,
            ':' | '/' | '|' | '@' | '%' | '?' | '[' | ']' | '\\'
        ) || character.is_ascii_control()
        {
            out.push_str(&format!("%{:02x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

/// Escapes a part of a Redis pattern, so that only stars are wildcards.
fn escaped(part: &str) -> String {
    let mut out = String::new();
    for character in part.chars() {
        if matches!(character, '?' | '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// Returns a Redis pattern that matches the keys of all records that `pattern` matches, and
/// possibly other keys.
fn key_pattern(pattern: &ServicePattern) -> String {
    let ServicePattern {
        workspace,
        client,
        name,
        app_id,
        visibility,
        kind,
    } = pattern;
    let id = escaped(&format!("{workspace}/{client}:{name}@{}", key_part(app_id)));
    let (visibility, kind) = (escaped(visibility), escaped(&key_part(kind)));
    format!("services:{visibility}|{kind}:{id}")
}

/// Returns the key of a service, `services:visibility|type:workspace/client:name@app`. The key
/// changes with the visibility, the type and the app, so one service may have had several keys.
fn key_of(service: &ServiceInfo) -> String {
    let visibility = service.config.visibility.as_str();
    let kind = key_part(service.kind.as_deref().unwrap_or("generic"));
    let app = key_part(service.app_id.as_deref().unwrap_or("*"));
    format!("services:{visibility}|{kind}:{}@{app}", service.id)
}

/// Returns a Redis pattern for the keys of a service with any visibility, type and app.
fn all_keys_of(id: &str) -> String {
    // Stars in an id are literal, so they are escaped.
    let id = escaped(id).replace('*', "\\*");
    format!("services:*|*:{id}@*")
}

/// Returns the id of the service in the key of a record, or `None` if the key has another format.
fn id_of(key: &str) -> Option<ServiceKey<'_>> {
    let (_, rest) = key.split_once('|')?;
    let (_, rest) = rest.split_once(':')?;
    ServiceKey::parse(rest.rsplit_once('@')?.0)
}

/// Removes the keys of other clients from `keys`. A pattern may match such keys, because its stars
/// also match separators.
fn retain_client(keys: &mut Vec<String>, workspace: &str, client_id: &str) {
    let id = format!(":{workspace}/{client_id}:");
    keys.retain(|key| key.contains(&id));
}

/// Returns the error for a service whose name is already in use, if one of the two services is a
/// singleton.
fn singleton(key: ServiceKey<'_>) -> RegistryError {
    RegistryError::Singleton {
        name: key.name.to_owned(),
        workspace: key.workspace.to_owned(),
    }
}

/// Returns the error for a record that exceeds the limit of `owner`.
fn too_large(record: &Record, owner: String, max: usize) -> RegistryError {
    RegistryError::TooLarge {
        service: record.id.to_string(),
        bytes: record.len(),
        owner,
        max,
    }
}

/// Returns a pattern for [`glob`] that matches the keys of all records that `pattern` matches, and
/// possibly other keys. Unlike [`key_pattern`], the result contains no escapes.
fn key_glob(pattern: &ServicePattern) -> String {
    let ServicePattern {
        workspace,
        client,
        name,
        visibility,
        ..
    } = pattern;
    let (kind, app) = (key_part(&pattern.kind), key_part(&pattern.app_id));
    format!("services:{visibility}|{kind}:{workspace}/{client}:{name}@{app}")
}

/// Merges two lists of keys, without duplicates.
fn either(mut keys: Vec<String>, others: Vec<String>) -> Vec<String> {
    keys.extend(others);
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Returns the fields of a record in the format in which the Python server stores them.
fn fields(service: &ServiceInfo) -> Result<Vec<(&'static str, String)>, RegistryError> {
    let record = serde_json::to_value(service).map_err(unreadable)?;
    let field = |name: &'static str, plain: bool| {
        let text = match (record.get(name), plain) {
            (None | Some(Value::Null), _) => NULL.to_owned(),
            (Some(Value::String(text)), true) => text.clone(),
            (Some(value), _) => value.to_string(),
        };
        (name, text)
    };
    let plain = PLAIN.into_iter().map(|name| field(name, true));
    Ok(plain
        .chain(JSON.into_iter().map(|name| field(name, false)))
        .collect())
}

/// Decodes a record from its fields. Returns `None` if a field is missing or invalid, because other
/// programs also write to this Redis.
fn service(fields: &[(String, String)]) -> Option<ServiceInfo> {
    let mut record = Map::new();
    for (name, text) in fields.iter().filter(|(name, _)| name != OWNER) {
        let value = if text == NULL {
            Value::Null
        } else if JSON.contains(&name.as_str()) {
            serde_json::from_str(text).ok()?
        } else {
            Value::from(text.as_str())
        };
        record.insert(name.clone(), value);
    }
    serde_json::from_value(Value::Object(record)).ok()
}

/// Returns the id of the server whose connection owns a record. Returns `None` for records of the
/// Python server.
fn server_of(fields: &[(String, String)]) -> Option<&str> {
    let (_, owner) = fields.iter().find(|(name, _)| name == OWNER)?;
    owner.rsplit_once('#').map(|(server, _)| server)
}

impl RedisRegistry {
    /// Creates the registry of the server `server_id`. Sends no command.
    pub(crate) fn new(
        connection: ConnectionManager,
        server_id: &str,
        limits: RecordLimits,
        counters: Arc<Counters>,
    ) -> RedisRegistry {
        RedisRegistry {
            index: Index::new(connection.clone()),
            connection,
            server_id: server_id.to_owned(),
            limits,
            counters,
            pulse: Mutex::new(Monitor {
                last: Instant::now(),
                is_first: true,
                scans: false,
                missing: HashMap::new(),
            }),
            own: Mutex::default(),
        }
    }

    /// Returns whether each server is alive.
    async fn alive(&self, servers: &[String]) -> Result<Vec<bool>, RegistryError> {
        if servers.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = pipe();
        for server in servers {
            asked.exists(format!("{ALIVE}{server}"));
        }
        let mut connection = self.connection.clone();
        Ok(asked.query_async(&mut connection).await?)
    }

    /// Returns the ids of the dead servers among the owners of these records.
    async fn dead(&self, found: &[Fields]) -> Result<Vec<String>, RegistryError> {
        let servers = found.iter().filter_map(|fields| server_of(fields));
        let mut servers: Vec<_> = servers.filter(|server| *server != self.server_id).collect();
        servers.sort_unstable();
        servers.dedup();
        let servers: Vec<_> = servers.into_iter().map(str::to_owned).collect();
        let alive = self.alive(&servers).await?;
        let both = servers.into_iter().zip(alive);
        Ok(both
            .filter(|(_, alive)| !alive)
            .map(|(server, _)| server)
            .collect())
    }

    /// Decodes a record from its fields. Counts and skips an invalid record, because every search
    /// that finds the record would otherwise fail.
    fn record(&self, fields: &[(String, String)]) -> Option<Record> {
        if fields.is_empty() {
            return None;
        }
        let record = service(fields).and_then(|service| Record::new(&service).ok());
        if record.is_none() {
            // The invalid record is logged only once, because every search finds the same record
            // again.
            if self.counters.records_skipped.get() == 0 {
                let id = fields.iter().find(|(name, _)| name == "id");
                tracing::warn!(service = ?id, "skipped a broken record in Redis");
            }
            self.counters.records_skipped.add();
        }
        record
    }

    /// Scans all keys. Returns the keys that match a Redis pattern, without duplicates.
    async fn keys(&self, pattern: &str) -> Result<Vec<String>, RegistryError> {
        let mut connection = self.connection.clone();
        let mut keys = Vec::new();
        let mut cursor = 0_u64;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern);
            scan.arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<String>) = scan.query_async(&mut connection).await?;
            keys.extend(found);
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // Duplicates are removed, because a scan may return a key several times.
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Checks that the records of a search do not exceed `found_bytes`.
    ///
    /// # Errors
    ///
    /// Fails if `bytes` exceeds the limit. The error text contains `services`, the number of
    /// records, which may be an estimate.
    fn check_found(&self, services: usize, bytes: usize) -> Result<(), RegistryError> {
        let max = self.limits.found_bytes;
        if bytes > max {
            return Err(RegistryError::ListTooLarge {
                services,
                bytes,
                max,
            });
        }
        Ok(())
    }

    /// Returns the records at these keys, except the records of dead servers.
    async fn records(&self, keys: &[String]) -> Result<Vec<Record>, RegistryError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        for some in keys.chunks(RECORDS_AT_ONCE) {
            let found = self.index.read(some).await?;
            let dead = self.dead(&found).await?;
            for fields in &found {
                if server_of(fields).is_some_and(|server| dead.iter().any(|dead| dead == server)) {
                    continue;
                }
                let Some(record) = self.record(fields) else {
                    continue;
                };
                bytes += record.len();
                records.push(record);
            }
            // The limit is checked after each step, so that a search with too many results ends
            // early.
            self.check_found(keys.len(), bytes)?;
        }
        Ok(records)
    }

    /// Returns the index entries of one workspace that match the pattern. If the search must scan
    /// and `anyway` is false, returns `None`.
    async fn listed(
        &self,
        pattern: &ServicePattern,
        anyway: bool,
    ) -> Result<Option<Vec<Entry>>, RegistryError> {
        let (kind, app) = (key_part(&pattern.kind), key_part(&pattern.app_id));
        let Some(mut listed) = self.index.list(pattern, &kind, &app, anyway).await? else {
            return Ok(None);
        };
        let keys = key_glob(pattern);
        listed.retain(|entry| glob(&keys, &entry.key));
        Ok(Some(listed))
    }

    /// Reads the matching records of one workspace with the help of its indexes. Returns `None` if
    /// the search must scan.
    async fn find_indexed(
        &self,
        pattern: &ServicePattern,
    ) -> Result<Option<Vec<Record>>, RegistryError> {
        let members = if pattern.client.contains('*') || pattern.name.contains('*') {
            let Some(listed) = self.listed(pattern, false).await? else {
                return Ok(None);
            };
            // The index entries contain the sizes of the records, so a search above the limit fails
            // before it reads a record.
            self.check_found(listed.len(), listed.iter().map(|entry| entry.bytes).sum())?;
            listed.into_iter().map(|entry| entry.member).collect()
        } else {
            vec![format!("{}:{}", pattern.client, pattern.name)]
        };
        let keys = key_glob(pattern);
        let (mut records, mut bytes) = (Vec::new(), 0);
        for some in members.chunks(RECORDS_AT_ONCE) {
            // The records are read by index member instead of by key. If the type of a service
            // changes during the search, the record of the service gets another key, and would
            // otherwise be missing from the result.
            let found = self.index.fetch(&self.server_id, &pattern.workspace, some);
            let Some(found) = found.await? else {
                return Ok(None);
            };
            for (key, fields) in found {
                if glob(&keys, &key)
                    && let Some(record) = self.record(&fields)
                    && pattern.matches(&record)
                {
                    bytes += record.len();
                    records.push(record);
                }
            }
            self.check_found(members.len(), bytes)?;
        }
        Ok(Some(records))
    }

    /// Returns the keys of the matching records of one workspace, so that the caller can remove the
    /// records. The result may contain keys without a record, because their index entries must be
    /// removed too. `scanned` is the Redis pattern that matches the keys of the same records.
    async fn located(
        &self,
        pattern: &ServicePattern,
        scanned: &str,
    ) -> Result<Vec<String>, RegistryError> {
        if let Some(listed) = self.listed(pattern, false).await? {
            return Ok(listed.into_iter().map(|entry| entry.key).collect());
        }
        // The scan and the indexes are both needed. The scan finds records that are in no index.
        // The indexes contain entries whose records were removed by a server without indexes.
        let known = self.listed(pattern, true).await?.unwrap_or_default();
        let known = known.into_iter().map(|entry| entry.key).collect();
        Ok(either(self.keys(scanned).await?, known))
    }

    /// Returns the keys of the records of a client, so that the caller can remove the records, like
    /// [`located`](Self::located).
    async fn located_of_client(
        &self,
        workspace: &str,
        client_id: &str,
    ) -> Result<Vec<String>, RegistryError> {
        if workspace.contains('*') || client_id.contains('*') {
            // The indexes would treat the star as a wildcard. No client of this server has a star
            // in its address.
            return self.scanned_of_client(workspace, client_id).await;
        }
        let pattern = ServicePattern {
            workspace: workspace.to_owned(),
            client: client_id.to_owned(),
            ..ServicePattern::default()
        };
        let mut keys = self.located(&pattern, &key_pattern(&pattern)).await?;
        retain_client(&mut keys, workspace, client_id);
        Ok(keys)
    }

    /// Scans all keys. Returns the keys of the records of a client.
    async fn scanned_of_client(
        &self,
        workspace: &str,
        client_id: &str,
    ) -> Result<Vec<String>, RegistryError> {
        // Stars in an address are literal, so they are escaped.
        let address = escaped(&format!("{workspace}/{client_id}")).replace('*', "\\*");
        let mut keys = self.keys(&format!("services:*|*:{address}:*@*")).await?;
        retain_client(&mut keys, workspace, client_id);
        Ok(keys)
    }

    /// Removes the records at these keys in several steps, whichever connections own the records.
    /// Returns whether any record existed.
    async fn remove(&self, keys: &[String]) -> Result<bool, RegistryError> {
        let mut removed = false;
        for some in keys.chunks(RECORDS_AT_ONCE) {
            removed |= !self.index.remove(some, None).await?.is_empty();
        }
        Ok(removed)
    }

    /// Sends a beat: refreshes the key of this server, and counts the missed beats of the other
    /// servers.
    ///
    /// # Errors
    ///
    /// Fails if Redis does not respond within [`BEAT_TIMEOUT`].
    async fn pulse(&self) -> Result<Pulse, RegistryError> {
        let own = format!("{ALIVE}{}", self.server_id);
        let beat = async {
            let mut asked = pipe();
            let life = ALIVE_FOR.as_secs();
            // These commands are sent atomically. Otherwise the other servers could see that this
            // server is alive before it is in the set `INDEXED`. They would then treat this server
            // as a server without indexes, and scan for minutes.
            asked.atomic().set_ex(own, "", life).ignore();
            asked.sadd(INDEXED, &self.server_id).ignore();
            asked.sadd(SERVERS, &self.server_id).smembers(SERVERS);
            asked.smembers(INDEXED).exists(LEASE);
            let mut connection = self.connection.clone();
            let (added, servers, indexed, original): (u64, Vec<String>, HashSet<String>, bool) =
                asked.query_async(&mut connection).await?;
            let alive = self.alive(&servers).await?;
            let mut both = servers.iter().zip(&alive);
            let scans = original || both.any(|(server, up)| *up && !indexed.contains(server));
            if scans {
                self.index.note_mixed().await?;
            }
            let before = std::mem::replace(&mut self.pulse.lock().scans, scans);
            if scans && !before {
                tracing::info!("a server without indexes takes part: searches scan all keys");
            }
            Ok::<_, RegistryError>(((added, servers), alive))
        };
        let answer = tokio::time::timeout(BEAT_TIMEOUT, beat).await;
        let ((added, servers), alive) = match answer {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(RegistryError::Unavailable(
                    "no response to a beat within 1 s".to_owned(),
                ));
            }
        };
        let mut monitor = self.pulse.lock();
        // `added` is 1 if this server was not in the set. If this happens after the first beat,
        // another server has removed this server as dead, or Redis has lost its data.
        let was_removed = added > 0 && !std::mem::take(&mut monitor.is_first);
        monitor.last = Instant::now();
        let both = servers.into_iter().zip(alive);
        let missing: Vec<_> = both.filter(|(_, alive)| !alive).collect();
        let counted = missing.into_iter().map(|(server, _)| {
            let before = monitor.missing.get(&server).copied().unwrap_or(0);
            (server, before + 1)
        });
        let counted: HashMap<_, _> = counted.collect();
        let gone = counted.iter().filter(|(_, beats)| **beats >= BEATS_MISSED);
        let dead = gone.map(|(server, _)| server.clone()).collect();
        monitor.missing = counted;
        Ok(Pulse { dead, was_removed })
    }

    /// Scans all records. Checks that `record` exceeds no limit of its client, and conflicts with
    /// no singleton. The scan is for records that are in no index. The script that stores `record`
    /// checks the records that are in the indexes.
    ///
    /// The check and the change are not atomic. If a server without indexes is part of the cluster,
    /// two conflicting registrations at the same time may both succeed, as in the Python server.
    async fn check_scanned(
        &self,
        record: &Record,
        key: ServiceKey<'_>,
    ) -> Result<(), RegistryError> {
        let pattern = ServicePattern {
            workspace: key.workspace.to_owned(),
            client: key.client.to_owned(),
            ..ServicePattern::default()
        };
        let own = self.find_scanned(&pattern).await?;
        // The record with the same id is not counted, because the new record replaces it.
        let others = || own.iter().filter(|other| other.id != record.id);
        let is_built_in = |record: &Record| record.key().is_some_and(|key| key.name == BUILT_IN);
        let count = others().filter(|other| !is_built_in(other)).count();
        if count >= self.limits.per_client && key.name != BUILT_IN {
            return Err(self.too_many(record));
        }
        let bytes: usize = others().map(Record::len).sum();
        if bytes + record.len() > self.limits.client_bytes {
            return Err(self.client_full(record));
        }
        if key.name == BUILT_IN {
            return Ok(());
        }
        let pattern = ServicePattern {
            workspace: key.workspace.to_owned(),
            name: key.name.to_owned(),
            ..ServicePattern::default()
        };
        let namesakes = self.find_scanned(&pattern).await?;
        let conflict = namesakes.iter().any(|other| {
            let again = other.id == record.id
                && other.app_id == record.app_id
                && other.singleton
                && record.singleton;
            !again && (other.singleton || record.singleton)
        });
        if conflict {
            return Err(singleton(key));
        }
        Ok(())
    }

    /// Returns the error for a client with too many services.
    fn too_many(&self, record: &Record) -> RegistryError {
        RegistryError::TooMany {
            client: record.address().to_owned(),
            count: self.limits.per_client,
        }
    }

    /// Returns the error for a record that exceeds the limit on the bytes of a client.
    fn client_full(&self, record: &Record) -> RegistryError {
        let owner = format!("client `{}`", record.address());
        too_large(record, owner, self.limits.client_bytes)
    }

    /// Stores a record, unless a limit or a singleton forbids it. Returns whether the new record
    /// replaces a record with the same id.
    async fn store(
        &self,
        record: &Record,
        parts: ServiceKey<'_>,
        service: &ServiceInfo,
        owner: &str,
    ) -> Result<bool, RegistryError> {
        let mut fields = fields(service)?;
        fields.push((OWNER, owner.to_owned()));
        let new = NewRecord {
            id: &record.id,
            key: key_of(service),
            bytes: record.len(),
            singleton: record.singleton,
            server: owner.rsplit_once('#').map_or("", |(server, _)| server),
            fields,
        };
        let mut stored = self.index.put(&new, &self.limits, None).await?;
        // The first call stored nothing, because records that are in no index may conflict with the
        // new record. In the second call, the script gets the former keys of the service. It then
        // stores the record without checking for conflicts, and removes these keys.
        if matches!(stored, Stored::Mixed) {
            self.check_scanned(record, parts).await?;
            let former = self.keys(&all_keys_of(&record.id)).await?;
            stored = self.index.put(&new, &self.limits, Some(former)).await?;
        }
        match stored {
            Stored::New => Ok(false),
            Stored::Replaced => Ok(true),
            Stored::Mixed => Err(RegistryError::Unavailable(
                "unknown answer `mixed`".to_owned(),
            )),
            Stored::TooMany => Err(self.too_many(record)),
            Stored::Singleton => Err(singleton(parts)),
            Stored::ClientBytes => Err(self.client_full(record)),
            Stored::WorkspaceBytes => {
                let owner = format!("workspace `{}`", parts.workspace);
                Err(too_large(record, owner, self.limits.workspace_bytes))
            }
            Stored::TotalBytes => {
                let owner = "all workspaces".to_owned();
                Err(too_large(record, owner, self.limits.total_bytes))
            }
        }
    }

    /// Scans all keys. Returns the matching records in any order.
    async fn find_scanned(&self, pattern: &ServicePattern) -> Result<Vec<Record>, RegistryError> {
        let keys = self.keys(&key_pattern(pattern)).await?;
        let mut found = self.records(&keys).await?;
        // The records are filtered again, because the key pattern is only an approximation: in
        // records of the Python server, a type may contain the separators of a key.
        found.retain(|record| pattern.matches(record));
        Ok(found)
    }

    /// Returns the matching records, in the order of their ids.
    async fn find(&self, pattern: &ServicePattern) -> Result<Vec<Record>, RegistryError> {
        // Each workspace has its own indexes, so a search of all workspaces must scan all keys.
        let indexed = match pattern.workspace.contains('*') {
            true => None,
            false => self.find_indexed(pattern).await?,
        };
        let mut found = match indexed {
            Some(found) => found,
            None => self.find_scanned(pattern).await?,
        };
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    /// Scans all records, and removes the records of a server that are in no index. Returns the
    /// addresses of the server's clients.
    async fn remove_unindexed(&self, server_id: &str) -> Result<Vec<String>, RegistryError> {
        let mut connection = self.connection.clone();
        let mut clients = Vec::new();
        for keys in self.keys("services:*").await?.chunks(RECORDS_AT_ONCE) {
            let mut asked = pipe();
            for key in keys {
                asked.hget(key, OWNER);
            }
            let owners: Vec<Option<String>> = asked.query_async(&mut connection).await?;
            for (key, owner) in keys.iter().zip(owners) {
                let Some(owner) = owner else { continue };
                let server = owner.rsplit_once('#');
                if server.is_none_or(|(server, _)| server != server_id) {
                    continue;
                }
                // The record is removed only if its owner has not changed since the record was
                // read: the client may have registered the service again at another server.
                let removed = self.index.remove(std::slice::from_ref(key), Some(&owner));
                if removed.await?.is_empty() {
                    continue;
                }
                if let Some(key) = id_of(key).filter(|key| key.name == BUILT_IN) {
                    clients.push(format!("{}/{}", key.workspace, key.client));
                }
            }
        }
        Ok(clients)
    }

    /// Returns the revoked tokens, each with its expiry in seconds since 1970. The server calls
    /// this method at its start, before it accepts clients.
    pub(crate) async fn revoked(&self, now: u64) -> Result<Vec<(String, u64)>, RegistryError> {
        let mut connection = self.connection.clone();
        let mut revoked = Vec::new();
        for key in self.keys(&format!("{REVOKED}*")).await? {
            let left: i64 = connection.ttl(&key).await?;
            // The time is negative if the key has expired since the scan.
            if let (Some(token), Ok(left)) = (key.strip_prefix(REVOKED), u64::try_from(left)) {
                revoked.push((token.to_owned(), now.saturating_add(left)));
            }
        }
        Ok(revoked)
    }
}

impl Registry for RedisRegistry {
    fn put_service<'a>(&'a self, record: Record, owner: &'a str) -> Answer<'a, bool> {
        async move {
            let Some(parts) = record.key() else {
                return Err(unreadable(format!(
                    "`{}` is not the id of a service",
                    record.id
                )));
            };
            let service = record.service(true)?;
            let replaced = self.store(&record, parts, &service, owner).await?;
            // An internal client of this server has the server's id as its client id.
            if parts.client == self.server_id {
                let own = (service.clone(), owner.to_owned());
                self.own.lock().insert(service.id, own);
            }
            Ok(replaced)
        }
        .boxed()
    }

    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        async move {
            let scanned = all_keys_of(id);
            let keys = match ServiceKey::parse(id).filter(|_| !id.contains('*')) {
                Some(key) => {
                    let pattern = ServicePattern {
                        workspace: key.workspace.to_owned(),
                        client: key.client.to_owned(),
                        name: key.name.to_owned(),
                        ..ServicePattern::default()
                    };
                    self.located(&pattern, &scanned).await?
                }
                None => self.keys(&scanned).await?,
            };
            self.remove(&keys).await
        }
        .boxed()
    }

    fn find_services<'a>(&'a self, pattern: &'a ServicePattern) -> Answer<'a, Vec<Arc<Record>>> {
        async move {
            let found = self.find(pattern).await?;
            Ok(found.into_iter().map(Arc::new).collect())
        }
        .boxed()
    }

    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        owner: Option<&'a str>,
    ) -> Answer<'a, ()> {
        async move {
            let mut keys = self.located_of_client(workspace, client_id).await?;
            if owner.is_none() {
                // Nobody knows which server has left the records behind, and whether that server
                // kept the indexes. Therefore both the indexes and a scan are needed.
                keys = either(keys, self.scanned_of_client(workspace, client_id).await?);
            }
            // All records are removed in one atomic step, regardless of their number. The script
            // reads from the built-in service whether the client has reconnected, and this result
            // must stay valid until the last record is removed.
            self.index.remove(&keys, owner).await.map(drop)
        }
        .boxed()
    }

    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>> {
        async move {
            let mut connection = self.connection.clone();
            let text: Option<String> = connection.hget(WORKSPACES, id).await?;
            let read = |text: String| serde_json::from_str(&text).map_err(unreadable);
            text.map(read).transpose()
        }
        .boxed()
    }

    fn workspaces(&self) -> Answer<'_, Vec<WorkspaceInfo>> {
        async move {
            let mut connection = self.connection.clone();
            let texts: Vec<String> = connection.hvals(WORKSPACES).await?;
            let mut all: Vec<WorkspaceInfo> = texts
                .iter()
                .filter_map(|text| {
                    let record = serde_json::from_str(text);
                    if let Err(error) = &record {
                        if self.counters.records_skipped.get() == 0 {
                            tracing::warn!(%error, "skipped a broken workspace in Redis");
                        }
                        self.counters.records_skipped.add();
                    }
                    record.ok()
                })
                .collect();
            all.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(all)
        }
        .boxed()
    }

    fn put_workspace(&self, workspace: WorkspaceInfo) -> Answer<'_, ()> {
        async move {
            let mut connection = self.connection.clone();
            let text = serde_json::to_string(&workspace).map_err(unreadable)?;
            Ok(connection
                .hset::<_, _, _, ()>(WORKSPACES, &workspace.id, text)
                .await?)
        }
        .boxed()
    }

    fn remove_workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>> {
        async move {
            let removed = self.workspace(id).await?;
            let pattern = ServicePattern {
                workspace: id.to_owned(),
                ..ServicePattern::default()
            };
            let keys = match id.contains('*') {
                // Redis would treat a `*` in the id as a wildcard and match services of other
                // workspaces. No valid id contains `*`, so nothing is removed.
                true => Vec::new(),
                false => self.located(&pattern, &key_pattern(&pattern)).await?,
            };
            self.remove(&keys).await?;
            let mut connection = self.connection.clone();
            connection.hdel::<_, _, ()>(WORKSPACES, id).await?;
            tasks::remove(connection, id).await?;
            Ok(removed)
        }
        .boxed()
    }

    fn put_block<'a>(&'a self, key: &'a str, block: Option<super::Block>) -> Answer<'a, ()> {
        blocks::put(self.connection.clone(), key, block).boxed()
    }

    fn blocks(&self, now: u64) -> Answer<'_, Vec<(String, super::Block)>> {
        blocks::all(self.connection.clone(), now).boxed()
    }

    fn push_task<'a>(
        &'a self,
        workspace: &'a str,
        queue: &'a str,
        text: String,
        charge: Charge,
        max: usize,
    ) -> Answer<'a, ()> {
        async move {
            let pushed = tasks::push(self.connection.clone(), workspace, queue, text, max).await;
            // This server no longer holds the task in memory, so the charge is released.
            drop(charge);
            pushed
        }
        .boxed()
    }

    fn pop_task<'a>(&'a self, workspace: &'a str, queue: &'a str) -> Answer<'a, Option<String>> {
        tasks::pop(self.connection.clone(), workspace, queue).boxed()
    }

    fn count_tasks<'a>(&'a self, workspace: &'a str, queue: &'a str) -> Answer<'a, usize> {
        tasks::len(self.connection.clone(), workspace, queue).boxed()
    }

    fn peek_tasks<'a>(
        &'a self,
        workspace: &'a str,
        queue: &'a str,
        count: usize,
    ) -> Answer<'a, Vec<String>> {
        tasks::peek(self.connection.clone(), workspace, queue, count).boxed()
    }

    #[cfg(feature = "accounts")]
    fn account<'a>(&'a self, email: &'a str) -> Answer<'a, Option<String>> {
        accounts::get(self.connection.clone(), email).boxed()
    }

    #[cfg(feature = "accounts")]
    fn accounts(&self) -> Answer<'_, Vec<String>> {
        accounts::all(self.connection.clone()).boxed()
    }

    #[cfg(feature = "accounts")]
    fn change_account<'a>(
        &'a self,
        email: &'a str,
        former: Option<String>,
        record: Option<String>,
        max: usize,
    ) -> Answer<'a, super::AccountChange> {
        accounts::change(self.connection.clone(), email, former, record, max).boxed()
    }

    fn revoke<'a>(&'a self, token: &'a str, left: u64) -> Answer<'a, ()> {
        async move {
            let mut connection = self.connection.clone();
            let key = format!("{REVOKED}{token}");
            Ok(connection
                // Redis refuses an expiry of 0.
                .set_ex::<_, _, ()>(key, "revoked", left.max(1))
                .await?)
        }
        .boxed()
    }

    fn revoked_tokens(&self, now: u64) -> Answer<'_, Vec<(String, u64)>> {
        self.revoked(now).boxed()
    }

    fn beat(&self) -> Answer<'_, Pulse> {
        async move {
            let pulse = self.pulse().await?;
            if pulse.was_removed {
                // The services are cloned, because `put_service` takes the lock again.
                let own: Vec<_> = self.own.lock().values().cloned().collect();
                for (service, owner) in own {
                    self.put_service(Record::new(&service)?, &owner).await?;
                }
            }
            Ok(pulse)
        }
        .boxed()
    }

    fn remove_server<'a>(&'a self, server_id: &'a str) -> Answer<'a, Option<Vec<String>>> {
        async move {
            // Several servers detect a dead server at the same time. The server that removes the
            // dead server from the set also removes its records.
            let mut connection = self.connection.clone();
            let mut asked = pipe();
            asked.atomic().srem(SERVERS, server_id);
            asked.srem(INDEXED, server_id);
            let (removed, indexed): (bool, bool) = asked.query_async(&mut connection).await?;
            if !removed {
                return Ok(None);
            }
            let mut clients = self.index.remove_server(server_id).await?;
            if !indexed || self.index.is_mixed().await? {
                clients.extend(self.remove_unindexed(server_id).await?);
            }
            Ok(Some(clients))
        }
        .boxed()
    }

    fn is_up(&self) -> bool {
        self.pulse.lock().last.elapsed() < UNREACHABLE_AFTER
    }
}
