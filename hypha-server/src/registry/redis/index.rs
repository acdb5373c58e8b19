//! Keeps indexes of the records in Redis, so that a search reads only the records that it returns.
//!
//! Each workspace has a hash and a sorted set. The hash contains the records of the workspace, by
//! `client:name`. The sorted set contains groups of records. Its members are `property NUL value
//! NUL client:name`, in the order of their bytes, so a range of the set contains all records of a
//! client, a name, a type or an app.
//!
//! One hash for all workspaces counts the bytes of the records of each client, of each workspace
//! and in total. For each server, one set contains the records that the connections of this server
//! own.
//!
//! Scripts change the records and the indexes atomically. Servers with indexes make all changes
//! with these scripts. The scripts read keys that are not among their `KEYS`, so they need a single
//! Redis, not Redis Cluster.
//!
//! The Python server does not maintain the indexes, and neither do earlier versions of this server.
//! While such a server is part of the cluster, a key with an expiry marks the cluster as mixed, and
//! searches scan all keys.

use std::time::Duration;

use ::redis::AsyncCommands as _;
use ::redis::aio::ConnectionManager;
use hypha_wire::keys::BUILT_IN;

use super::script::Script;
use super::{ALIVE, OWNER, RECORDS_AT_ONCE};
use crate::registry::{RecordLimits, RegistryError, ServicePattern};

/// Prefix of the keys of the indexes. No workspace id contains a slash, so the Python server does
/// not mistake these keys for data of a workspace. The Python server removes such data together
/// with the workspace.
const PREFIX: &str = "hypha-server/index:";
/// The key that the leader among the Python servers holds. One of these servers acquires the key
/// before it serves any client, and renews the key. The key therefore shows that a Python server is
/// part of the cluster.
pub(super) const LEASE: &str = "hypha:leader";
/// The set of the ids of the servers that keep the indexes.
pub(super) const INDEXED: &str = "hypha-server/index:servers";
/// Time for which searches scan all keys after a server without indexes was last seen. This time is
/// longer than the default interval at which records of absent clients are removed. Until this
/// removal, records of that server may be in no index.
const MIXED_FOR: Duration = Duration::from_secs(900);

/// Lua functions that all scripts share. In these functions, an entry is a field in the hash of a
/// workspace. The value of an entry contains the size of the record in bytes, whether the service
/// is a singleton, the server, and the key of the record.
const COMMON: &str = r#"
local function mixed()
    return redis.call('EXISTS', LEASE, PREFIX .. 'mixed') > 0
end
local function ids_of(workspace) return PREFIX .. 'ids:' .. workspace end
local function groups_of(workspace) return PREFIX .. 'groups:' .. workspace end
local function split(id) return string.match(id, '^([^/]*)/(([^:]*):(.*))$') end
local function id_of(key) return string.match(key, '^services:[^|]*|[^:]*:([^@]*)@') end
local function server_of(owner)
    return owner and string.match(owner, '^(.*)#') or ''
end
-- Returns the fields of a record. For a key without a hash, returns the key as the id, so that the
-- log contains the key. With an error, every search that reads the key would fail.
local function fields_of(key)
    local fields = redis.pcall('HGETALL', key)
    if fields.err then return {'id', key} end
    return fields
end
-- Returns the entry of a record, with the key as its last part because it may contain anything.
local function entry_of(workspace, member)
    local text = redis.call('HGET', ids_of(workspace), member)
    if not text then return nil end
    local bytes, single, server, key = string.match(text, '^(%d+)%z(%d)%z([^%z]*)%z(.*)$')
    return {bytes = tonumber(bytes), single = single, server = server, key = key}
end
-- Returns the members of a record in the groups of its workspace.
local function groups(member, client, name, entry)
    local visibility, kind, app =
        string.match(entry.key, '^services:([^|]*)|([^:]*):[^@]*@(.*)$')
    local list = {}
    local function add(property, value)
        list[#list + 1] = property .. '\0' .. value .. '\0' .. member
    end
    add('client', client)
    add('name', name)
    add('type', kind)
    add('app', app)
    if visibility == 'public' then add('public', '') end
    if entry.single == '1' then add('singleton', name) end
    return list
end
local function count(workspace, property, value)
    local start = property .. '\0' .. value
    return redis.call('ZLEXCOUNT', groups_of(workspace), '[' .. start .. '\0',
        '(' .. start .. '\1')
end
local function bytes_of(owner)
    return tonumber(redis.call('HGET', PREFIX .. 'bytes', owner) or 0)
end
local function charge(workspace, client, bytes)
    for _, owner in ipairs({'*', workspace, workspace .. '/' .. client}) do
        if redis.call('HINCRBY', PREFIX .. 'bytes', owner, bytes) <= 0 then
            redis.call('HDEL', PREFIX .. 'bytes', owner)
        end
    end
end
local function enter(workspace, member, client, name, entry)
    local text = table.concat({entry.bytes, entry.single, entry.server, entry.key}, '\0')
    redis.call('HSET', ids_of(workspace), member, text)
    for _, group in ipairs(groups(member, client, name, entry)) do
        redis.call('ZADD', groups_of(workspace), 0, group)
    end
    charge(workspace, client, entry.bytes)
    redis.call('SADD', PREFIX .. 'server:' .. entry.server, workspace .. '/' .. member)
end
local function leave(workspace, member, client, name, entry)
    redis.call('HDEL', ids_of(workspace), member)
    for _, group in ipairs(groups(member, client, name, entry)) do
        redis.call('ZREM', groups_of(workspace), group)
    end
    charge(workspace, client, -entry.bytes)
    redis.call('SREM', PREFIX .. 'server:' .. entry.server, workspace .. '/' .. member)
end
-- Removes the index entries of a record that was removed, or that a server without indexes has
-- replaced.
local function forget(key)
    local id = id_of(key)
    local workspace, member, client, name = split(id or '')
    local entry = workspace and entry_of(workspace, member)
    if entry and entry.key == key then leave(workspace, member, client, name, entry) end
end
"#;

/// A script that returns whether searches must scan, and the members of the index that may match,
/// with their entries. Reads only the smallest group that contains all matches. Arguments: a flag
/// to list the members even if searches must scan; the workspace; the values of the client, the
/// name, the type, the app and `public`, where `*` stands for any value.
const LIST: &str = r#"
local is_mixed = mixed()
if is_mixed and ARGV[1] == '0' then return {1, {}} end
local flag = is_mixed and 1 or 0
local ids, sets = ids_of(ARGV[2]), groups_of(ARGV[2])
if ARGV[3] ~= '*' and ARGV[4] ~= '*' then
    local member = ARGV[3] .. ':' .. ARGV[4]
    local text = redis.call('HGET', ids, member)
    return {flag, text and {member, text} or {}}
end
local smallest, start = redis.call('HLEN', ids), nil
for i, property in ipairs({'client', 'name', 'type', 'app', 'public'}) do
    local value = ARGV[i + 2]
    if value ~= '*' then
        local found = count(ARGV[2], property, value)
        if found <= smallest then
            smallest, start = found, property .. '\0' .. value
        end
    end
end
if not start then return {flag, redis.call('HGETALL', ids)} end
local listed = {}
local found = redis.call('ZRANGEBYLEX', sets, '[' .. start .. '\0', '(' .. start .. '\1')
for _, group in ipairs(found) do
    local member = string.sub(group, #start + 2)
    local text = redis.call('HGET', ids, member)
    if text then
        listed[#listed + 1] = member
        listed[#listed + 1] = text
    end
end
return {flag, listed}
"#;

/// A script that returns the fields of the records at the keys, in the order of the keys.
const READ: &str = r#"
local records = {}
for i, key in ipairs(KEYS) do records[i] = fields_of(key) end
return records
"#;

/// A script that returns whether searches must scan, and the current key and fields of each
/// member's record, without the records of dead servers. The arguments are the id of this server,
/// the workspace and the members.
const FETCH: &str = r#"
if mixed() then return {1, {}, {}} end
local keys, records = {}, {}
local alive = {[ARGV[1]] = true, [''] = true}
for i = 3, #ARGV do
    local entry = entry_of(ARGV[2], ARGV[i])
    if entry then
        local fields = fields_of(entry.key)
        if #fields == 0 then
            -- An operator has removed the record by hand.
            forget(entry.key)
        else
            local server = entry.server
            if alive[server] == nil then
                alive[server] = redis.call('EXISTS', ALIVE .. server) == 1
            end
            if alive[server] then
                keys[#keys + 1] = entry.key
                records[#records + 1] = fields
            end
        end
    end
end
return {0, keys, records}
"#;

/// A script that stores a record, unless a limit or a singleton forbids it.
///
/// The first key is the key of the record, and the other keys are former keys of the service.
/// Arguments: a flag to store the record even if searches must scan; the id; the size in bytes; a
/// flag for a singleton; the server; the four limits; the fields.
const PUT: &str = r#"
if ARGV[1] == '0' and mixed() then return 'mixed' end
local id, key = ARGV[2], KEYS[1]
local workspace, member, client, name = split(id)
local entry = {bytes = tonumber(ARGV[3]), single = ARGV[4], server = ARGV[5], key = key}
local former = entry_of(workspace, member)
if former and redis.call('EXISTS', former.key) == 0 then
    leave(workspace, member, client, name, former)
    former = nil
end
if name ~= BUILT_IN and ARGV[1] == '0' then
    if not former then
        local present = count(workspace, 'client', client)
        if redis.call('HEXISTS', ids_of(workspace), client .. ':' .. BUILT_IN) == 1 then
            present = present - 1
        end
        if present >= tonumber(ARGV[6]) then return 'count' end
    end
    -- A singleton may be registered again by its own client: it does not conflict with itself.
    local function app_of(text) return string.match(text, '@(.*)$') end
    local again = former and former.single == '1' and entry.single == '1'
        and app_of(former.key) == app_of(key)
    local own = again and 1 or 0
    if count(workspace, 'singleton', name) > own then return 'singleton' end
    if entry.single == '1' and count(workspace, 'name', name) > own then return 'singleton' end
end
local more = entry.bytes - (former and former.bytes or 0)
local address = workspace .. '/' .. client
for i, owner in ipairs({address, workspace, '*'}) do
    if bytes_of(owner) + more > tonumber(ARGV[6 + i]) then return tostring(i) end
end
local replaced = former ~= nil
if former then
    leave(workspace, member, client, name, former)
    if former.key ~= key then redis.call('DEL', former.key) end
end
for i = 1, #KEYS do
    replaced = redis.call('EXISTS', KEYS[i]) == 1 or replaced
    if i > 1 and KEYS[i] ~= key then redis.call('DEL', KEYS[i]) end
end
for i = 10, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
enter(workspace, member, client, name, entry)
return replaced and 'replaced' or 'new'
"#;

/// A script that removes records. Returns the keys of the removed records.
///
/// The argument is the connection that has ended, or an empty string for any connection. Every
/// client registers its built-in service first. If the record of that service is among the records
/// but now belongs to another connection, the client has reconnected. The script then removes only
/// the records of the ended connection.
const REMOVE: &str = r#"
local owner, moved, removed = ARGV[1], false, {}
for _, key in ipairs(KEYS) do
    local id = id_of(key)
    if owner ~= '' and id and string.sub(id, -#BUILT_IN - 1) == ':' .. BUILT_IN
        and redis.call('EXISTS', key) == 1 and redis.call('HGET', key, OWNER) ~= owner then
        moved = true
    end
end
for _, key in ipairs(KEYS) do
    local present = redis.call('HGET', key, OWNER)
    if not moved or present == owner then
        if redis.call('DEL', key) == 1 then removed[#removed + 1] = key end
        forget(key)
    elseif not present then
        -- The record was removed, or a Python server has replaced it.
        forget(key)
    end
end
return removed
"#;

/// A script that removes some of the records of a server that has ended. Returns the number of
/// examined records, and the addresses of the clients that own these records. The number is 0 if no
/// record is left. The arguments are the server and the number of records per step.
const REMOVE_SERVER: &str = r#"
local set, clients = PREFIX .. 'server:' .. ARGV[1], {}
local found = redis.call('SRANDMEMBER', set, ARGV[2])
for _, id in ipairs(found) do
    local workspace, member, client, name = split(id)
    local entry = workspace and entry_of(workspace, member)
    if entry and entry.server == ARGV[1] then
        -- A Python server may have replaced the record.
        if server_of(redis.call('HGET', entry.key, OWNER)) == ARGV[1] then
            redis.call('DEL', entry.key)
            if name == BUILT_IN then clients[#clients + 1] = workspace .. '/' .. client end
        end
        leave(workspace, member, client, name, entry)
    end
    redis.call('SREM', set, id)
end
return {#found, clients}
"#;

/// The result of storing a record. All variants except the first two mean that nothing was changed.
pub(super) enum Stored {
    /// The service had no record.
    New,
    /// The record replaces another record with the same id.
    Replaced,
    /// Searches must scan: the record may conflict with records that are in no index.
    Mixed,
    /// The client has registered its maximum number of services.
    TooMany,
    /// Another service has the name, and one of the two services is a singleton.
    Singleton,
    /// The record exceeds the limit on the bytes of its client.
    ClientBytes,
    /// The record exceeds the limit on the bytes of its workspace.
    WorkspaceBytes,
    /// The record exceeds the limit on the bytes of all records.
    TotalBytes,
}

/// A record to store.
pub(super) struct NewRecord<'a> {
    /// Full id of the service.
    pub(super) id: &'a str,
    /// Key of the record in Redis.
    pub(super) key: String,
    /// Size of the encoded record, which the limits count.
    pub(super) bytes: usize,
    pub(super) singleton: bool,
    /// Id of the server to which the record's owner, a connection, belongs.
    pub(super) server: &'a str,
    /// Name and value of each field.
    pub(super) fields: Vec<(&'static str, String)>,
}

/// An entry of the indexes. Each entry stands for a record that may match a search.
pub(super) struct Entry {
    /// `client:name`.
    pub(super) member: String,
    /// Size of the encoded record.
    pub(super) bytes: usize,
    /// Key of the record in Redis.
    pub(super) key: String,
}

/// Names and values of the fields of a record.
pub(super) type Fields = Vec<(String, String)>;

/// The fields of a record in the form in which Redis returns them. Other programs also write to
/// this Redis, so a field may contain invalid UTF-8.
type Raw = Vec<(Vec<u8>, Vec<u8>)>;

/// Converts fields to strings. If a field is not UTF-8, returns only the id. The record then counts
/// as invalid, and is skipped and logged.
fn texts(raw: Raw) -> Fields {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    let fields: Option<Fields> = raw
        .iter()
        .map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect();
    fields.unwrap_or_else(|| {
        let id = raw.iter().find(|(name, _)| name == b"id");
        let id = id.map(|(_, id)| String::from_utf8_lossy(id).into_owned());
        vec![("id".to_owned(), id.unwrap_or_default())]
    })
}

/// Returns the value with which a part of a pattern selects a group. Returns `*` if the part
/// contains a wildcard, because such a part selects no group.
fn literal(part: &str) -> String {
    let any = part.contains('*');
    if any { "*".to_owned() } else { part.to_owned() }
}

/// Parses an entry. Returns `None` if `text` has another format.
fn entry(member: String, text: &str) -> Option<Entry> {
    let mut parts = text.splitn(4, '\0');
    let bytes = parts.next()?.parse().ok()?;
    Some(Entry {
        member,
        bytes,
        key: parts.nth(2)?.to_owned(),
    })
}

/// A connection to Redis, with the scripts that read and change the indexes.
pub(super) struct Index {
    connection: ConnectionManager,
    list: Script,
    read: Script,
    fetch: Script,
    put: Script,
    remove: Script,
    remove_server: Script,
}

impl Index {
    /// Creates the scripts. Sends no command.
    pub(super) fn new(connection: ConnectionManager) -> Index {
        let names = format!(
            "local PREFIX, LEASE, ALIVE = '{PREFIX}', '{LEASE}', '{ALIVE}'\n\
             local OWNER, BUILT_IN = '{OWNER}', '{BUILT_IN}'\n"
        );
        let script = |code| Script::new(&[&names, COMMON, code]);
        Index {
            connection,
            list: script(LIST),
            read: script(READ),
            fetch: script(FETCH),
            put: script(PUT),
            remove: script(REMOVE),
            remove_server: script(REMOVE_SERVER),
        }
    }

    /// Returns the entries of a workspace that may match the pattern. If searches must scan and
    /// `anyway` is false, returns `None`. `kind` and `app` are the type and the app of the pattern,
    /// escaped as in keys.
    pub(super) async fn list(
        &self,
        pattern: &ServicePattern,
        kind: &str,
        app: &str,
        anyway: bool,
    ) -> Result<Option<Vec<Entry>>, RegistryError> {
        let public = if pattern.visibility == "public" {
            ""
        } else {
            "*"
        };
        let arguments = [
            u8::from(anyway).to_string(),
            pattern.workspace.clone(),
            literal(&pattern.client),
            literal(&pattern.name),
            literal(kind),
            literal(app),
            public.to_owned(),
        ];
        let mut connection = self.connection.clone();
        let (mixed, found): (bool, Fields) =
            self.list.call(&mut connection, &[], &arguments).await?;
        if mixed && !anyway {
            return Ok(None);
        }
        let entries = found.into_iter();
        Ok(Some(
            entries
                .filter_map(|(member, text)| entry(member, &text))
                .collect(),
        ))
    }

    /// Returns the fields of the records at these keys, in the order of the keys. The fields are
    /// empty for a key without a record.
    pub(super) async fn read(&self, keys: &[String]) -> Result<Vec<Fields>, RegistryError> {
        let mut connection = self.connection.clone();
        let records: Vec<Raw> = self.read.call(&mut connection, keys, &[]).await?;
        Ok(records.into_iter().map(texts).collect())
    }

    /// Returns the keys and the fields of the records of these members, without the records of dead
    /// servers. Returns `None` if searches must scan.
    pub(super) async fn fetch(
        &self,
        server: &str,
        workspace: &str,
        members: &[String],
    ) -> Result<Option<Vec<(String, Fields)>>, RegistryError> {
        let mut arguments = vec![server.to_owned(), workspace.to_owned()];
        arguments.extend_from_slice(members);
        let mut connection = self.connection.clone();
        let (mixed, keys, records): (bool, Vec<String>, Vec<Raw>) =
            self.fetch.call(&mut connection, &[], &arguments).await?;
        let records = records.into_iter().map(texts);
        Ok((!mixed).then(|| keys.into_iter().zip(records).collect()))
    }

    /// Stores a record. `former` contains the previous keys of the service. If `former` is given,
    /// the script stores the record even if searches must scan, and removes these keys.
    ///
    /// # Errors
    ///
    /// Fails if Redis does not respond. If a limit or a singleton forbids the record, the method
    /// returns this as a result, not as an error.
    pub(super) async fn put(
        &self,
        record: &NewRecord<'_>,
        limits: &RecordLimits,
        former: Option<Vec<String>>,
    ) -> Result<Stored, RegistryError> {
        let mut arguments = vec![
            u8::from(former.is_some()).to_string(),
            record.id.to_owned(),
            record.bytes.to_string(),
            u8::from(record.singleton).to_string(),
            record.server.to_owned(),
            limits.per_client.to_string(),
            limits.client_bytes.to_string(),
            limits.workspace_bytes.to_string(),
            limits.total_bytes.to_string(),
        ];
        for (name, text) in &record.fields {
            arguments.extend([(*name).to_owned(), text.clone()]);
        }
        let mut keys = vec![record.key.clone()];
        keys.extend(former.unwrap_or_default());
        let mut connection = self.connection.clone();
        let answer: String = self.put.call(&mut connection, &keys, &arguments).await?;
        Ok(match answer.as_str() {
            "new" => Stored::New,
            "replaced" => Stored::Replaced,
            "mixed" => Stored::Mixed,
            "count" => Stored::TooMany,
            "singleton" => Stored::Singleton,
            "1" => Stored::ClientBytes,
            "2" => Stored::WorkspaceBytes,
            "3" => Stored::TotalBytes,
            other => {
                return Err(RegistryError::Unavailable(format!(
                    "unknown answer `{other}`"
                )));
            }
        })
    }

    /// Removes records atomically. `owner` is a connection that has ended. If `owner` is given,
    /// removes only records of this connection. Returns the keys of the removed records.
    pub(super) async fn remove(
        &self,
        keys: &[String],
        owner: Option<&str>,
    ) -> Result<Vec<String>, RegistryError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = [owner.unwrap_or_default().to_owned()];
        let mut connection = self.connection.clone();
        Ok(self.remove.call(&mut connection, keys, &arguments).await?)
    }

    /// Removes the indexed records of a server, in several steps. Returns the addresses of the
    /// server's clients.
    pub(super) async fn remove_server(&self, server: &str) -> Result<Vec<String>, RegistryError> {
        let arguments = [server.to_owned(), RECORDS_AT_ONCE.to_string()];
        let mut connection = self.connection.clone();
        let mut clients = Vec::new();
        loop {
            let (count, some): (u64, Vec<String>) = self
                .remove_server
                .call(&mut connection, &[], &arguments)
                .await?;
            clients.extend(some);
            if count == 0 {
                return Ok(clients);
            }
        }
    }

    /// Stores in Redis that a server without indexes is part of the cluster. The information
    /// expires after [`MIXED_FOR`].
    pub(super) async fn note_mixed(&self) -> Result<(), RegistryError> {
        let mut connection = self.connection.clone();
        let life = MIXED_FOR.as_secs();
        Ok(connection
            .set_ex::<_, _, ()>(format!("{PREFIX}mixed"), "", life)
            .await?)
    }

    /// Returns whether a server without indexes is, or recently was, in the cluster, so that
    /// searches must scan all keys.
    pub(super) async fn is_mixed(&self) -> Result<bool, RegistryError> {
        let mut connection = self.connection.clone();
        let keys = [LEASE.to_owned(), format!("{PREFIX}mixed")];
        let present: u64 = connection.exists(&keys).await?;
        Ok(present > 0)
    }
}
