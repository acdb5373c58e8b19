//! The registry of servers that share a Redis, in the format of the original server: a hash for
//! each service, a hash of all workspaces, a key for each revoked token.

use std::sync::Arc;

use ::redis::aio::ConnectionManager;
use ::redis::{AsyncCommands, RedisError, cmd, pipe};
use futures_util::FutureExt;
use hypha_rpc::workspace::{ServiceInfo, WorkspaceInfo};
use hypha_wire::keys::BUILT_IN;
use serde_json::{Map, Value};

use super::{Answer, Registry, RegistryError, ServicePattern};

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
local moved = false
for i = 1, built_in do
    if redis.call('EXISTS', KEYS[i]) == 1 and redis.call('HGET', KEYS[i], field) ~= owner then
        moved = true
    end
end
local removed = {}
for _, key in ipairs(KEYS) do
    if not moved or redis.call('HGET', key, field) == owner then
        table.insert(removed, redis.call('HGETALL', key))
        redis.call('DEL', key)
    end
end
return removed
"#;
/// Keys that Redis scans in one step.
const SCAN_COUNT: usize = 10_000;

pub(crate) struct RedisRegistry {
    connection: ConnectionManager,
}

impl From<RedisError> for RegistryError {
    fn from(error: RedisError) -> Self {
        RegistryError(error.to_string())
    }
}

fn unreadable(error: impl std::fmt::Display) -> RegistryError {
    RegistryError(format!("a record cannot be read or written: {error}"))
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
    let id = escaped(&format!("{workspace}/{client}:{name}@{app_id}"));
    format!("services:{}|{}:{id}", escaped(visibility), escaped(kind))
}

fn key_of(service: &ServiceInfo) -> String {
    let visibility = service.config.visibility.as_str();
    let kind = service.kind.as_deref().unwrap_or("generic");
    let app = service.app_id.as_deref().unwrap_or("*");
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

impl RedisRegistry {
    pub(crate) fn new(connection: ConnectionManager) -> RedisRegistry {
        RedisRegistry { connection }
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

    /// Returns the records of keys, in the order of their ids.
    async fn records(&self, keys: &[String]) -> Result<Vec<Arc<ServiceInfo>>, RegistryError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.connection.clone();
        let mut asked = pipe();
        for key in keys {
            asked.hgetall(key);
        }
        let found: Vec<Vec<(String, String)>> = asked.query_async(&mut connection).await?;
        let mut services: Vec<_> = found.iter().filter_map(|f| service(f)).collect();
        services.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(services.into_iter().map(Arc::new).collect())
    }

    async fn remove(&self, keys: Vec<String>) -> Result<Vec<Arc<ServiceInfo>>, RegistryError> {
        let records = self.records(&keys).await?;
        if !keys.is_empty() {
            let mut connection = self.connection.clone();
            connection.del::<_, ()>(keys).await?;
        }
        Ok(records)
    }

    /// Removes the records that a client has left behind. The first `built_in` keys are those of
    /// its built-in service.
    async fn remove_owned(
        &self,
        keys: &[String],
        built_in: usize,
        owner: &str,
    ) -> Result<Vec<Arc<ServiceInfo>>, RegistryError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = cmd("EVAL");
        asked.arg(REMOVE_OWNED).arg(keys.len()).arg(keys);
        asked.arg(OWNER).arg(owner).arg(built_in);
        let mut connection = self.connection.clone();
        let removed: Vec<Vec<(String, String)>> = asked.query_async(&mut connection).await?;
        let removed = removed.iter().filter_map(|fields| service(fields));
        Ok(removed.map(Arc::new).collect())
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
    fn put_service<'a>(
        &'a self,
        service: ServiceInfo,
        owner: &'a str,
    ) -> Answer<'a, Option<Arc<ServiceInfo>>> {
        async move {
            let key = key_of(&service);
            let former = self.keys(&all_keys_of(&service.id)).await?;
            let replaced = self.records(&former).await?.pop();
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
            Ok(replaced)
        }
        .boxed()
    }

    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Arc<ServiceInfo>>> {
        async move {
            let keys = self.keys(&all_keys_of(id)).await?;
            Ok(self.remove(keys).await?.pop())
        }
        .boxed()
    }

    fn find_services<'a>(
        &'a self,
        pattern: &'a ServicePattern,
    ) -> Answer<'a, Vec<Arc<ServiceInfo>>> {
        async move {
            let keys = self.keys(&key_pattern(pattern)).await?;
            let mut found = self.records(&keys).await?;
            // A name may look like the separators of a key.
            found.retain(|service| {
                let (app_id, kind) = (service.app_id.as_deref(), service.kind.as_deref());
                pattern.matches(&service.id, app_id, service.config.visibility, kind)
            });
            Ok(found)
        }
        .boxed()
    }

    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        owner: Option<&'a str>,
    ) -> Answer<'a, Vec<Arc<ServiceInfo>>> {
        async move {
            let address = escaped(&format!("{workspace}/{client_id}")).replace('*', "\\*");
            let mut keys = self.keys(&format!("services:*|*:{address}:*@*")).await?;
            let id = format!(":{workspace}/{client_id}:");
            keys.retain(|key| key.contains(&id));
            let built_in = format!("{id}{BUILT_IN}@");
            keys.sort_by_key(|key| !key.contains(&built_in));
            let count = keys.iter().filter(|key| key.contains(&built_in)).count();
            match owner {
                Some(owner) => self.remove_owned(&keys, count, owner).await,
                None => self.remove(keys).await,
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
                .filter_map(|text| serde_json::from_str(text).ok())
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
    fn names_are_no_patterns() {
        assert_eq!(escaped("a[b]?*"), "a\\[b\\]\\?*");
        assert_eq!(all_keys_of("w/c:*"), "services:*|*:w/c:\\*@*");
    }
}
