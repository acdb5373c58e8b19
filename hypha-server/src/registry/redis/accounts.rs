//! Stores the accounts of users in one Redis hash, and changes them atomically.

use std::sync::LazyLock;

use ::redis::AsyncCommands;
use ::redis::aio::ConnectionManager;

use super::script::Script;
use crate::registry::{AccountChange, RegistryError};

/// Key of the hash. The Python server does not use this hash, because the Python server stores its
/// accounts elsewhere.
const ACCOUNTS: &str = "hypha-server:accounts";

/// A script that sets the field ARGV[1] to ARGV[3] if the current value of the field is ARGV[2]. An
/// empty string means that the field does not exist. ARGV[4] is the maximum number of fields.
static CHANGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[r"
        local present = redis.call('HGET', KEYS[1], ARGV[1]) or ''
        if present ~= ARGV[2] then return 1 end
        if ARGV[3] == '' then
            redis.call('HDEL', KEYS[1], ARGV[1])
            return 0
        end
        if present == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return 2 end
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
        return 0
    "])
});

pub(super) async fn get(
    mut connection: ConnectionManager,
    email: &str,
) -> Result<Option<String>, RegistryError> {
    Ok(connection.hget(ACCOUNTS, email).await?)
}

pub(super) async fn all(mut connection: ConnectionManager) -> Result<Vec<String>, RegistryError> {
    Ok(connection.hvals(ACCOUNTS).await?)
}

pub(super) async fn change(
    mut connection: ConnectionManager,
    email: &str,
    former: Option<String>,
    record: Option<String>,
    max: usize,
) -> Result<AccountChange, RegistryError> {
    let keys = [ACCOUNTS.to_owned()];
    let arguments = [
        email.to_owned(),
        former.unwrap_or_default(),
        record.unwrap_or_default(),
        max.to_string(),
    ];
    let code: u8 = CHANGE.call(&mut connection, &keys, &arguments).await?;
    Ok(match code {
        0 => AccountChange::Done,
        1 => AccountChange::Conflict,
        _ => AccountChange::Full,
    })
}
