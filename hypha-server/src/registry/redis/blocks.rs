//! Stores the blocks of users and IP addresses in one Redis hash. The values are JSON strings.

use std::collections::HashMap;

use ::redis::AsyncCommands;
use ::redis::aio::ConnectionManager;

use super::{RegistryError, unreadable};
use crate::registry::Block;

const BLOCKS: &str = "hypha-server:blocks";

pub(super) async fn put(
    mut connection: ConnectionManager,
    key: &str,
    block: Option<Block>,
) -> Result<(), RegistryError> {
    match block {
        Some(block) => {
            let text = serde_json::to_string(&block).map_err(unreadable)?;
            connection.hset::<_, _, _, ()>(BLOCKS, key, text).await?;
        }
        None => connection.hdel::<_, _, ()>(BLOCKS, key).await?,
    }
    Ok(())
}

/// Returns the blocks that have not expired. Removes expired blocks from Redis.
pub(super) async fn all(
    mut connection: ConnectionManager,
    now: u64,
) -> Result<Vec<(String, Block)>, RegistryError> {
    let texts: HashMap<String, String> = connection.hgetall(BLOCKS).await?;
    let (mut blocks, mut ended) = (Vec::new(), Vec::new());
    for (key, text) in texts {
        match serde_json::from_str::<Block>(&text) {
            Ok(block) if block.until > now => blocks.push((key, block)),
            _ => ended.push(key),
        }
    }
    if !ended.is_empty() {
        connection.hdel::<_, _, ()>(BLOCKS, ended).await?;
    }
    Ok(blocks)
}
