//! Creates the backend of a server, which consists of the registry and the bus. A single server has
//! its own registry and no bus. The servers of a cluster share both through Redis.

use std::sync::Arc;
#[cfg(feature = "redis")]
use std::time::Duration;

use hypha_rpc::workspace::WorkspaceInfo;

use super::StartError;
#[cfg(feature = "redis")]
use crate::auth;
#[cfg(feature = "redis")]
use crate::bus;
use crate::bus::{Bus, NoBus};
use crate::metrics::Counters;
#[cfg(feature = "redis")]
use crate::registry::RedisRegistry;
use crate::registry::{MemoryRegistry, RecordLimits, Registry};
use crate::state::ServerInfo;
use crate::store::Store;

/// Timeout of the connection to Redis when the server starts.
#[cfg(feature = "redis")]
const REDIS_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time to wait until Redis has noticed that an earlier server with the same id has ended.
/// Without this wait, a server that restarts quickly would fail, because it would mistake its own
/// earlier connection for the connection of another server.
#[cfg(feature = "redis")]
const FORMER_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two checks for the earlier server.
#[cfg(feature = "redis")]
const FORMER_PAUSE: Duration = Duration::from_millis(50);

/// Returns the error for a backend that cannot be used.
fn failed(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StartError {
    StartError::Redis(reason.into())
}

/// The registry and the bus of a server.
pub(super) struct Backend {
    pub(super) registry: Box<dyn Registry>,
    pub(super) bus: Box<dyn Bus>,
    /// Revoked tokens in the backend, each with the time at which the revocation ends, in seconds
    /// since 1970. The list is empty for a single server, which keeps its revoked tokens in its
    /// store.
    pub(super) revoked: Vec<(String, u64)>,
    /// The receiving half of the bus. It starts to run after the state is created. `None` without
    /// Redis.
    #[cfg(feature = "redis")]
    pub(super) receiver: Option<bus::Receiver>,
}

impl Backend {
    /// Creates the backend of a single server. `workspaces` contains the workspaces from the
    /// server's store.
    pub(super) fn alone(
        store: Store,
        workspaces: Vec<WorkspaceInfo>,
        #[cfg(feature = "accounts")] accounts: Vec<(String, String)>,
        limits: RecordLimits,
    ) -> Backend {
        let registry = MemoryRegistry::new(store, workspaces, limits);
        #[cfg(feature = "accounts")]
        let registry = registry.with_accounts(accounts);
        Backend {
            registry: Box::new(registry),
            bus: Box::new(NoBus),
            revoked: Vec::new(),
            #[cfg(feature = "redis")]
            receiver: None,
        }
    }

    /// Connects to the Redis at `uri`, and creates the backend that the servers share through
    /// Redis.
    ///
    /// # Errors
    ///
    /// Fails if Redis cannot be reached, or if another server with the same id is running.
    #[cfg(feature = "redis")]
    pub(super) async fn through_redis(
        uri: &str,
        info: &ServerInfo,
        limits: RecordLimits,
        counters: Arc<Counters>,
    ) -> Result<Backend, StartError> {
        // These errors do not contain the URI of Redis, because the URI may contain a password.
        let client = redis::Client::open(uri).map_err(failed)?;
        let settings = redis::aio::ConnectionManagerConfig::new().set_number_of_retries(2);
        let connecting = client.get_connection_manager_with_config(settings);
        let connecting = tokio::time::timeout(REDIS_TIMEOUT, connecting).await;
        let connection = connecting.map_err(|_| failed("timeout"))?.map_err(failed)?;
        let registry = RedisRegistry::new(
            connection.clone(),
            &info.server_id,
            limits,
            counters.clone(),
        );
        let (bus, receiver) = bus::RedisBus::new(client, connection, &info.server_id, counters);
        let manager = format!("*/{}", info.manager_id);
        let begun = tokio::time::Instant::now();
        while bus.has_subscriber(&manager).await {
            if begun.elapsed() > FORMER_TIMEOUT {
                let id = &info.server_id;
                return Err(failed(format!("there is another server with the id {id}")));
            }
            tokio::time::sleep(FORMER_PAUSE).await;
        }
        // An earlier server with this id may have left records of its services behind, so these
        // records are removed.
        let former = registry
            .remove_client("public", &info.server_id, None)
            .await;
        former.map_err(failed)?;
        // The first beat, which creates the key of this server, is sent before the first record is
        // written. The other servers ignore records of a server without this key.
        registry.beat().await.map_err(failed)?;
        let revoked = registry.revoked(auth::now()).await;
        Ok(Backend {
            revoked: revoked.map_err(failed)?,
            registry: Box::new(registry),
            bus: Box::new(bus),
            receiver: Some(receiver),
        })
    }

    #[cfg(not(feature = "redis"))]
    pub(super) async fn through_redis(
        _: &str,
        _: &ServerInfo,
        _: RecordLimits,
        _: Arc<Counters>,
    ) -> Result<Backend, StartError> {
        Err(failed("this server was built without the feature `redis`"))
    }
}
