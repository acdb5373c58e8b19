//! Stores task queues in Redis, as lists with the same names and the same order as in the Python
//! server.

use std::sync::LazyLock;

use ::redis::AsyncCommands;
use ::redis::aio::ConnectionManager;

use super::script::Script;
use super::{RegistryError, WORKSPACES};
use crate::registry::tasks::{full, task_bytes};

/// Key of the hash that counts the bytes of the tasks of each workspace, by the id of the
/// workspace.
const BYTES: &str = "hypha-server:queue-bytes";

/// A script that adds the task ARGV[2] to the list KEYS[1] of the workspace ARGV[1]. ARGV[3] is the
/// size that is counted for the task, and ARGV[4] is the limit of the workspace, both in bytes.
static PUSH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[r"
        if redis.call('HEXISTS', KEYS[4], ARGV[1]) == 0 then return 2 end
        local bytes = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0')
        if bytes + tonumber(ARGV[3]) > tonumber(ARGV[4]) then return 1 end
        redis.call('LPUSH', KEYS[1], ARGV[2])
        redis.call('SADD', KEYS[2], KEYS[1])
        redis.call('HINCRBY', KEYS[3], ARGV[1], ARGV[3])
        return 0
    "])
});

/// A script that removes and returns the first task of the list. ARGV[2] is the size that is
/// counted for a task in addition to its string.
static POP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[r"
        local task = redis.call('RPOP', KEYS[1])
        if not task then return false end
        if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SREM', KEYS[2], KEYS[1]) end
        local left = redis.call('HINCRBY', KEYS[3], ARGV[1], -(#task + tonumber(ARGV[2])))
        if left <= 0 then redis.call('HDEL', KEYS[3], ARGV[1]) end
        return task
    "])
});

/// A script that removes the lists of a workspace.
static REMOVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[r"
        for _, list in ipairs(redis.call('SMEMBERS', KEYS[2])) do redis.call('DEL', list) end
        redis.call('DEL', KEYS[2])
        return redis.call('HDEL', KEYS[3], ARGV[1])
    "])
});

fn list(workspace: &str, queue: &str) -> String {
    format!("{workspace}:q:{queue}")
}

fn keys(workspace: &str, queue: &str) -> [String; 4] {
    [
        list(workspace, queue),
        format!("hypha-server:queues:{workspace}"),
        BYTES.to_owned(),
        WORKSPACES.to_owned(),
    ]
}

pub(super) async fn push(
    mut connection: ConnectionManager,
    workspace: &str,
    queue: &str,
    text: String,
    max: usize,
) -> Result<(), RegistryError> {
    let bytes = task_bytes(&text);
    let arguments = [
        workspace.to_owned(),
        text,
        bytes.to_string(),
        max.to_string(),
    ];
    let code: u8 = PUSH
        .call(&mut connection, &keys(workspace, queue), &arguments)
        .await?;
    match code {
        0 => Ok(()),
        1 => Err(full(workspace, queue, bytes, max)),
        _ => Err(RegistryError::Invalid(format!(
            "there is no workspace {workspace}"
        ))),
    }
}

pub(super) async fn pop(
    mut connection: ConnectionManager,
    workspace: &str,
    queue: &str,
) -> Result<Option<String>, RegistryError> {
    let arguments = [workspace.to_owned(), task_bytes("").to_string()];
    let keys = keys(workspace, queue);
    Ok(POP.call(&mut connection, &keys, &arguments).await?)
}

pub(super) async fn len(
    mut connection: ConnectionManager,
    workspace: &str,
    queue: &str,
) -> Result<usize, RegistryError> {
    Ok(connection.llen(list(workspace, queue)).await?)
}

pub(super) async fn peek(
    mut connection: ConnectionManager,
    workspace: &str,
    queue: &str,
    count: usize,
) -> Result<Vec<String>, RegistryError> {
    let count = isize::try_from(count).unwrap_or(isize::MAX);
    let found = connection.lrange(list(workspace, queue), -count, -1).await;
    let mut tasks: Vec<String> = found?;
    tasks.reverse();
    Ok(tasks)
}

pub(super) async fn remove(
    mut connection: ConnectionManager,
    workspace: &str,
) -> Result<(), RegistryError> {
    let arguments = [workspace.to_owned()];
    let keys = keys(workspace, "");
    REMOVE
        .call::<u64>(&mut connection, &keys, &arguments)
        .await?;
    Ok(())
}
