//! Provides the methods of `admin-utils` with which administrators block users and IP addresses.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hypha_rpc::service::{IntoService, Service};
use hypha_rpc::workspace::ManagerError;
use hypha_rpc::{Context, Value, hypha_service};
use serde_json::json;

use crate::auth;
use crate::peer::CloseOrder;
use crate::registry::Block;
use crate::shown::shown;
use crate::state::{Blockable, State};

/// Interval at which a server of a cluster reads the blocks that other servers have added.
const READ_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum duration of a block in seconds. A duration of 0 means the maximum, as in the Python
/// server.
const LONGEST: u64 = 30 * 86_400;
/// WebSocket close code for a blocked client.
const POLICY_VIOLATION: u16 = 1008;
/// Maximum length of the name and of the reason of a block, in bytes.
const TEXT_MAX: usize = 256;

type Answer<T> = Result<T, ManagerError>;

/// Returns a service with the methods of this module. In a cluster, also starts a task that reads
/// the blocks of the other servers.
pub(crate) fn service(state: &Arc<State>) -> Service {
    if state.router.bus().has_others() {
        let reader = Arc::downgrade(state);
        state.shutdown.spawn(async move {
            while let Some(state) = reader.upgrade() {
                read(&state).await;
                let stopped = state.shutdown.stopped();
                if tokio::time::timeout(READ_INTERVAL, stopped).await.is_ok() {
                    return;
                }
            }
        });
    }
    let state = Arc::downgrade(state);
    Blocking { state }.into_service()
}

/// Reads the blocks that the servers share, and disconnects the blocked clients.
async fn read(state: &State) {
    let before = state.blocked.changes();
    match state.registry.blocks(auth::now()).await {
        Ok(blocks) => {
            let blocks = blocks.into_iter().collect();
            state.blocked.replace(blocks, before);
            disconnect(state);
        }
        Err(error) => tracing::debug!(%error, "cannot read the blocks"),
    }
}

/// Disconnects the blocked clients of this server. Returns the number of these clients. Checks the
/// IP address only of clients without credentials, because the server does not store the IP address
/// of a client with credentials.
fn disconnect(state: &State) -> usize {
    let mut count = 0;
    for peer in state.router.all(|peer| peer.serves_all) {
        let owner = peer.owner();
        let address = owner.strip_prefix("ip:");
        if let Some(sentence) = state.blocked.sentence(&peer.user, address) {
            let order = CloseOrder::new(POLICY_VIOLATION, sentence);
            peer.outbox.close(order.with_error_frame());
            count += 1;
        }
    }
    count
}

struct Blocking {
    // This reference is weak to avoid a reference cycle. The state owns the client, and the client
    // owns this service.
    state: Weak<State>,
}

impl Blocking {
    /// Returns the state of the server if the caller is an administrator.
    fn state(&self, ctx: &Context) -> Answer<Arc<State>> {
        State::for_administrator(&self.state, ctx)
    }

    /// Stores a block. The values in `block` are the duration in seconds and the reason. If `block`
    /// is `None`, removes the block instead. Returns the number of clients of this server that were
    /// disconnected.
    async fn set(
        state: &State,
        kind: Blockable,
        name: &str,
        block: Option<(u64, String)>,
    ) -> Answer<usize> {
        let reason_length = block.as_ref().map_or(0, |(_, reason)| reason.len());
        if name.is_empty() || name.len() > TEXT_MAX || reason_length > TEXT_MAX {
            return Err(ManagerError::Value(format!(
                "a block needs a name; name and reason have at most {TEXT_MAX} bytes each"
            )));
        }
        let block = block.map(|(duration, reason)| Block {
            reason: match reason.is_empty() {
                true => "blocked".into(),
                false => reason,
            },
            until: auth::now()
                + if duration == 0 {
                    LONGEST
                } else {
                    duration.min(LONGEST)
                },
        });
        let (key, max) = (kind.key(name), state.settings.limits.blocks);
        let storing = state.blocked.storing();
        if !state.blocked.set(key.clone(), block.clone(), max) {
            return Err(ManagerError::Runtime(format!(
                "there are {max} blocks already, which is the limit (blocks)"
            )));
        }
        let stored = state.registry.put_block(&key, block).await;
        drop(storing);
        stored.map_err(|error| ManagerError::Runtime(error.to_string()))?;
        tracing::info!(key, "a block has changed");
        Ok(disconnect(state))
    }
}

/// Parses an IP address. Returns the address in the canonical form that the server uses.
fn address(text: &str) -> Answer<String> {
    let address: Result<IpAddr, _> = text.trim().parse();
    let address = address.map_err(|_| {
        ManagerError::Value(format!("argument `ip`: '{}' is no IP address", shown(text)))
    })?;
    Ok(address.to_canonical().to_string())
}

#[hypha_service(id = "admin-utils")]
impl Blocking {
    /// Blocks a user, including the tokens that the user has issued, and disconnects the user's
    /// clients.
    pub(crate) async fn block_user(
        &self,
        ctx: &Context,
        /// Id of the user.
        user_id: String,
        /// Duration in seconds, at most 30 days. 0 means 30 days.
        #[hypha(default = 3600)]
        duration: u64,
        /// Reason, which is sent to the user.
        #[hypha(default = String::new())]
        reason: String,
    ) -> Answer<String> {
        let state = self.state(ctx)?;
        if user_id == "root" || user_id == auth::payer(ctx.user()) {
            return Err(ManagerError::Value(format!(
                "argument `user_id` of `admin-utils.block_user`: {user_id} is root or the caller"
            )));
        }
        let block = Some((duration, reason));
        let count = Blocking::set(&state, Blockable::User, &user_id, block).await?;
        Ok(format!(
            "Blocked user {user_id}, kicked {count} connections"
        ))
    }

    /// Ends the block of a user.
    pub(crate) async fn unblock_user(
        &self,
        ctx: &Context,
        /// Id of the user.
        user_id: String,
    ) -> Answer<String> {
        let state = self.state(ctx)?;
        Blocking::set(&state, Blockable::User, &user_id, None).await?;
        Ok(format!("Unblocked user {user_id}"))
    }

    /// Blocks an IP address, and disconnects the clients without credentials at this address.
    pub(crate) async fn block_ip(
        &self,
        ctx: &Context,
        /// The IP address.
        ip: String,
        /// Duration in seconds, at most 30 days. 0 means 30 days.
        #[hypha(default = 3600)]
        duration: u64,
        /// Reason, which is sent to the clients.
        #[hypha(default = String::new())]
        reason: String,
    ) -> Answer<String> {
        let state = self.state(ctx)?;
        let block = Some((duration, reason));
        Blocking::set(&state, Blockable::Address, &address(&ip)?, block).await?;
        Ok(format!("Blocked IP {ip}"))
    }

    /// Ends the block of an IP address.
    pub(crate) async fn unblock_ip(
        &self,
        ctx: &Context,
        /// The IP address.
        ip: String,
    ) -> Answer<String> {
        let state = self.state(ctx)?;
        Blocking::set(&state, Blockable::Address, &address(&ip)?, None).await?;
        Ok(format!("Unblocked IP {ip}"))
    }

    /// Lists the blocked users and IP addresses.
    pub(crate) async fn list_blocked(&self, ctx: &Context) -> Answer<Value> {
        let blocks = self.state(ctx)?.blocked.all();
        let of = |kind: Blockable| -> Vec<serde_json::Value> {
            let of_kind = blocks.iter().filter_map(|(key, block)| {
                let id = key.strip_prefix(kind.prefix())?;
                let left = block.until.saturating_sub(auth::now());
                Some(json!({"id": id, "reason": block.reason, "ttl_seconds": left}))
            });
            of_kind.collect()
        };
        Ok(json!({"users": of(Blockable::User), "ips": of(Blockable::Address)}).into())
    }
}
