//! The registry of servers that share a Redis, in the format of the original server: a hash for
//! each service, a hash of all workspaces, a key for each revoked token.

use std::collections::HashMap;
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

use super::{
    Answer, Pulse, Record, RecordLimits, Registry, RegistryError, ServiceKey, ServicePattern,
};
use crate::metrics::Counters;

const WORKSPACES: &str = "workspaces";
const REVOKED: &str = "revoked_token:";
/// The text of a field that is null.
const NULL: &str = "__null__";
/// Fields that are stored as they are; the others are JSON.
const PLAIN: [&str; 5] = ["id", "name", "type", "app_id", "docs"];
const JSON: [&str; 3] = ["description", "config", "service_schema"];
/// The field for the connection that has registered a service. The original ignores it, and drops
/// it when it replaces the record.
const OWNER: &str = "hypha-server:connection";
/// Removes the records of a client whose connection has ended. If its built-in service, which every
/// client registers first, belongs to another connection by now, only the records of the ended
/// connection are removed. The script is atomic.
const REMOVE_OWNED: &str = r#"
local field, owner, built_in = ARGV[1], ARGV[2], tonumber(ARGV[3])
-- A negative number: only the records of the owner.
local moved = built_in < 0
for i = 1, built_in do
    if redis.call('EXISTS', KEYS[i]) == 1 and redis.call('HGET', KEYS[i], field) ~= owner then
        moved = true
    end
end
for _, key in ipairs(KEYS) do
    if not moved or redis.call('HGET', key, field) == owner then
        redis.call('DEL', key)
    end
end
return redis.status_reply('OK')
"#;
/// Records that are fetched in one step.
const RECORDS_AT_ONCE: usize = 256;
/// Keys that Redis scans in one step.
const SCAN_COUNT: usize = 10_000;

/// Prefix of the key that a server keeps alive, followed by its id.
const ALIVE: &str = "hypha-server:alive:";
/// The set of the servers that have records.
const SERVERS: &str = "hypha-server:servers";
/// Life of that key without a refresh.
const ALIVE_FOR: Duration = Duration::from_secs(5);
/// Consecutive beats, a second apart, without a server's key after which it is dead: after a pause of
/// Redis itself the others get the time to refresh theirs.
const BEATS_MISSED: u32 = 3;
/// Time without a successful beat after which Redis counts as not answering.
const SILENCE: Duration = Duration::from_millis(2500);
/// Longest wait for the answer to a beat.
const BEAT_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct RedisRegistry {
    connection: ConnectionManager,
    server_id: String,
    limits: RecordLimits,
    counters: Arc<Counters>,
    pulse: Mutex<Monitor>,
    /// Services of the server itself, by id, each with its connection. They are stored again if other
    /// servers have taken this one for dead: they have no client that would come back.
    own: Mutex<HashMap<String, (ServiceInfo, String)>>,
}

/// Memory of the beats so far.
struct Monitor {
    last: Instant,
    is_first: bool,
    /// Servers without a key, with the number of beats since it was missed first.
    missing: HashMap<String, u32>,
}

impl From<RedisError> for RegistryError {
    fn from(error: RedisError) -> Self {
        RegistryError::Unavailable(error.to_string())
    }
}

fn unreadable(error: impl std::fmt::Display) -> RegistryError {
    RegistryError::Invalid(error.to_string())
}

/// Writes a type or an app id so that it cannot be taken for another part of a key: separators, and
/// characters that mean something in patterns, become `%` and two digits.
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

/// Escapes a part of a pattern: only stars are wildcards.
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

fn key_of(service: &ServiceInfo) -> String {
    let visibility = service.config.visibility.as_str();
    let kind = key_part(service.kind.as_deref().unwrap_or("generic"));
    let app = key_part(service.app_id.as_deref().unwrap_or("*"));
    format!("services:{visibility}|{kind}:{}@{app}", service.id)
}

/// Returns a pattern for all keys of a service, with any visibility, type and app.
fn all_keys_of(id: &str) -> String {
    // Stars in an id are literal.
    let id = escaped(id).replace('*', "\\*");
    format!("services:*|*:{id}@*")
}

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

/// Returns the server of the connection that owns a record. Records of the original name none.
fn server_of(fields: &[(String, String)]) -> Option<&str> {
    let (_, owner) = fields.iter().find(|(name, _)| name == OWNER)?;
    owner.rsplit_once('#').map(|(server, _)| server)
}

impl RedisRegistry {
    pub(crate) fn new(
        connection: ConnectionManager,
        server_id: &str,
        limits: RecordLimits,
        counters: Arc<Counters>,
    ) -> RedisRegistry {
        RedisRegistry {
            connection,
            server_id: server_id.to_owned(),
            limits,
            counters,
            pulse: Mutex::new(Monitor {
                last: Instant::now(),
                is_first: true,
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

    /// Returns the servers of these records that are dead.
    async fn dead(&self, found: &[Vec<(String, String)>]) -> Result<Vec<String>, RegistryError> {
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

    /// Returns the record of these fields. One that cannot be read is skipped.
    fn record(&self, fields: &[(String, String)]) -> Option<Record> {
        if fields.is_empty() {
            return None;
        }
        let record = service(fields).and_then(|service| Record::new(&service).ok());
        if record.is_none() {
            if self.counters.records_skipped.get() == 0 {
                let id = fields.iter().find(|(name, _)| name == "id");
                tracing::warn!(service = ?id, "skipped a broken record in Redis");
            }
            self.counters.records_skipped.add();
        }
        record
    }

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
        // A scan may return a key twice.
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Returns the records of keys whose servers are alive, in the order of their ids.
    async fn records(&self, keys: &[String]) -> Result<Vec<Record>, RegistryError> {
        let mut connection = self.connection.clone();
        let (mut records, mut bytes) = (Vec::new(), 0);
        for keys in keys.chunks(RECORDS_AT_ONCE) {
            let mut asked = pipe();
            for key in keys {
                asked.hgetall(key);
            }
            let found: Vec<Vec<(String, String)>> = asked.query_async(&mut connection).await?;
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
            if bytes > self.limits.found_bytes {
                return Err(RegistryError::ListTooLarge {
                    services: keys.len(),
                    bytes,
                    max: self.limits.found_bytes,
                });
            }
        }
        records.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(records)
    }

    async fn remove(&self, keys: Vec<String>) -> Result<bool, RegistryError> {
        if keys.is_empty() {
            return Ok(false);
        }
        let mut connection = self.connection.clone();
        let removed: u64 = connection.del(keys).await?;
        Ok(removed > 0)
    }

    /// Removes the records that a client has left behind. The first `built_in` keys are those of
    /// its built-in service; with a negative number only the records of `owner` are removed.
    async fn remove_owned(
        &self,
        keys: &[String],
        built_in: i64,
        owner: &str,
    ) -> Result<(), RegistryError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut asked = cmd("EVAL");
        asked.arg(REMOVE_OWNED).arg(keys.len()).arg(keys);
        asked.arg(OWNER).arg(owner).arg(built_in);
        let mut connection = self.connection.clone();
        asked.query_async::<()>(&mut connection).await?;
        Ok(())
    }

    /// Refreshes the key of this server, and counts the beats of the others that are missing.
    async fn pulse(&self) -> Result<Pulse, RegistryError> {
        let own = format!("{ALIVE}{}", self.server_id);
        let beat = async {
            let mut asked = pipe();
            let life = ALIVE_FOR.as_secs();
            asked.set_ex(own, "", life).ignore();
            asked.sadd(SERVERS, &self.server_id).smembers(SERVERS);
            let mut connection = self.connection.clone();
            let answer: (u64, Vec<String>) = asked.query_async(&mut connection).await?;
            let alive = self.alive(&answer.1).await?;
            Ok::<_, RegistryError>((answer, alive))
        };
        let answer = tokio::time::timeout(BEAT_TIMEOUT, beat).await;
        let ((added, servers), alive) = match answer {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(RegistryError::Unavailable("Redis is silent".to_owned()));
            }
        };
        let mut monitor = self.pulse.lock();
        // Somebody has removed it since, or Redis has lost its data.
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

    /// Checks that a record may be stored beside the others.
    async fn check(&self, record: &Record, key: ServiceKey<'_>) -> Result<(), RegistryError> {
        let pattern = ServicePattern {
            workspace: key.workspace.to_owned(),
            client: key.client.to_owned(),
            ..ServicePattern::default()
        };
        let own = self.find(&pattern).await?;
        let others = || own.iter().filter(|other| other.id != record.id);
        let is_built_in = |record: &Record| record.key().is_some_and(|key| key.name == BUILT_IN);
        let count = others().filter(|other| !is_built_in(other)).count();
        if count >= self.limits.per_client && key.name != BUILT_IN {
            return Err(RegistryError::TooMany {
                client: record.address().to_owned(),
                count: self.limits.per_client,
            });
        }
        let bytes: usize = others().map(Record::len).sum();
        if bytes + record.len() > self.limits.client_bytes {
            return Err(RegistryError::TooLarge {
                service: record.id.to_string(),
                bytes: record.len(),
                owner: format!("client `{}`", record.address()),
                max: self.limits.client_bytes,
            });
        }
        if key.name == BUILT_IN {
            return Ok(());
        }
        let pattern = ServicePattern {
            workspace: key.workspace.to_owned(),
            name: key.name.to_owned(),
            ..ServicePattern::default()
        };
        let namesakes = self.find(&pattern).await?;
        let conflict = namesakes.iter().any(|other| {
            let again = other.id == record.id
                && other.app_id == record.app_id
                && other.singleton
                && record.singleton;
            !again && (other.singleton || record.singleton)
        });
        if conflict {
            return Err(RegistryError::Singleton {
                name: key.name.to_owned(),
                workspace: key.workspace.to_owned(),
            });
        }
        Ok(())
    }

    async fn find(&self, pattern: &ServicePattern) -> Result<Vec<Record>, RegistryError> {
        let keys = self.keys(&key_pattern(pattern)).await?;
        let mut found = self.records(&keys).await?;
        // A name may look like the separators of a key.
        found.retain(|record| pattern.matches(record));
        Ok(found)
    }

    /// Returns the revoked tokens, each with its expiry in seconds since 1970.
    pub(crate) async fn revoked(&self, now: u64) -> Result<Vec<(String, u64)>, RegistryError> {
        let mut connection = self.connection.clone();
        let mut revoked = Vec::new();
        for key in self.keys(&format!("{REVOKED}*")).await? {
            let left: i64 = connection.ttl(&key).await?;
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
                return Err(unreadable(format!("`{}` is no id of a service", record.id)));
            };
            self.check(&record, parts).await?;
            let service = record.service(true)?;
            let key = key_of(&service);
            let former = self.keys(&all_keys_of(&service.id)).await?;
            let mut write = pipe();
            write.atomic();
            for other in former.iter().filter(|other| **other != key) {
                write.del(other).ignore();
            }
            let mut fields = fields(&service)?;
            fields.push((OWNER, owner.to_owned()));
            write.hset_multiple(&key, &fields).ignore();
            let mut connection = self.connection.clone();
            write.query_async::<()>(&mut connection).await?;
            if parts.client == self.server_id {
                let own = (service.clone(), owner.to_owned());
                self.own.lock().insert(service.id, own);
            }
            Ok(!former.is_empty())
        }
        .boxed()
    }

    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        async move {
            let keys = self.keys(&all_keys_of(id)).await?;
            self.remove(keys).await
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
            let address = escaped(&format!("{workspace}/{client_id}")).replace('*', "\\*");
            let mut keys = self.keys(&format!("services:*|*:{address}:*@*")).await?;
            let id = format!(":{workspace}/{client_id}:");
            keys.retain(|key| key.contains(&id));
            let built_in = format!("{id}{BUILT_IN}@");
            keys.sort_by_key(|key| !key.contains(&built_in));
            let count = keys.iter().filter(|key| key.contains(&built_in)).count();
            match owner {
                Some(owner) => self.remove_owned(&keys, count as i64, owner).await,
                None => self.remove(keys).await.map(drop),
            }
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
            let keys = self.keys(&key_pattern(&pattern)).await?;
            self.remove(keys).await?;
            let mut connection = self.connection.clone();
            connection.hdel::<_, _, ()>(WORKSPACES, id).await?;
            Ok(removed)
        }
        .boxed()
    }

    fn revoke<'a>(&'a self, token: &'a str, left: u64) -> Answer<'a, ()> {
        async move {
            let mut connection = self.connection.clone();
            let key = format!("{REVOKED}{token}");
            Ok(connection
                .set_ex::<_, _, ()>(key, "revoked", left.max(1))
                .await?)
        }
        .boxed()
    }

    fn beat(&self) -> Answer<'_, Pulse> {
        async move {
            let pulse = self.pulse().await?;
            if pulse.was_removed {
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
            // The first one to remove its name does the rest.
            let mut connection = self.connection.clone();
            let removed: u64 = connection.srem(SERVERS, server_id).await?;
            if removed == 0 {
                return Ok(None);
            }
            let mut clients = Vec::new();
            for keys in self.keys("services:*").await?.chunks(RECORDS_AT_ONCE) {
                let mut asked = pipe();
                for key in keys {
                    asked.hmget(key, &[OWNER, "id"]);
                }
                let found: Vec<(Option<String>, Option<String>)> =
                    asked.query_async(&mut connection).await?;
                for (key, (owner, id)) in keys.iter().zip(found) {
                    let server = owner.as_deref().and_then(|owner| owner.rsplit_once('#'));
                    if server.is_none_or(|(server, _)| server != server_id) {
                        continue;
                    }
                    // It may belong to a connection at another server by now.
                    let owner = owner.unwrap_or_default();
                    self.remove_owned(std::slice::from_ref(key), -1, &owner)
                        .await?;
                    let id = id.unwrap_or_default();
                    if let Some(key) = ServiceKey::parse(&id).filter(|key| key.name == BUILT_IN) {
                        clients.push(format!("{}/{}", key.workspace, key.client));
                    }
                }
            }
            Ok(Some(clients))
        }
        .boxed()
    }

    fn is_up(&self) -> bool {
        self.pulse.lock().last.elapsed() < SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_fields() {
        let record = ServiceInfo {
            id: "w/c:n".into(),
            kind: Some("generic".into()),
            description: Some("it \"is\"".into()),
            app_id: Some("*".into()),
            ..ServiceInfo::default()
        };
        let written = fields(&record).unwrap();
        let description = written.iter().find(|(name, _)| *name == "description");
        assert_eq!(description.unwrap().1, r#""it \"is\"""#);
        let read: Vec<_> = written
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text))
            .collect();
        assert_eq!(service(&read), Some(record.clone()));
        assert_eq!(key_of(&record), "services:protected|generic:w/c:n@*");
    }

    #[test]
    fn types_are_no_separators() {
        let record = ServiceInfo {
            id: "w/c:n".into(),
            kind: Some("a:v/x:y@z|*".into()),
            app_id: Some("b/c@d".into()),
            ..ServiceInfo::default()
        };
        let key = key_of(&record);
        assert_eq!(
            key,
            "services:protected|a%3av%2fx%3ay%40z%7c*:w/c:n@b%2fc%40d"
        );
    }

    #[test]
    fn names_are_no_patterns() {
        assert_eq!(escaped("a[b]?*"), "a\\[b\\]\\?*");
        assert_eq!(all_keys_of("w/c:*"), "services:*|*:w/c:\\*@*");
    }
}
