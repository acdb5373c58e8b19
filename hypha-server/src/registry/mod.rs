//! What the server knows: workspaces, and the services in them. One process keeps it in memory;
//! several would share it.

mod memory;
mod pattern;
#[cfg(feature = "redis")]
mod redis;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use hypha_rpc::workspace::{ServiceInfo, WorkspaceInfo};

#[cfg(feature = "redis")]
pub(crate) use self::redis::RedisRegistry;
pub(crate) use memory::MemoryRegistry;
pub(crate) use pattern::{ServiceKey, ServicePattern};

/// The registry could not be asked. The one in memory always can.
#[derive(Debug, thiserror::Error)]
#[error("the registry does not answer: {0}")]
pub(crate) struct RegistryError(pub(crate) String);

pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;

/// The records that the servers of a cluster have in common.
pub(crate) trait Registry: Send + Sync {
    /// Store a service under its full id, for the connection `owner`. Returns the record that it replaces.
    fn put_service<'a>(
        &'a self,
        service: ServiceInfo,
        owner: &'a str,
    ) -> Answer<'a, Option<Arc<ServiceInfo>>>;

    /// Remove a service by its full id.
    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Arc<ServiceInfo>>>;

    /// The services that fit, in the order of their ids.
    fn find_services<'a>(
        &'a self,
        pattern: &'a ServicePattern,
    ) -> Answer<'a, Vec<Arc<ServiceInfo>>>;

    /// Remove everything that a client registered, since its connection `owner`, if it is known, has ended.
    ///
    /// The client may be back, at another server, before its former connection is cleaned up; what it has
    /// registered there stays.
    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        owner: Option<&'a str>,
    ) -> Answer<'a, Vec<Arc<ServiceInfo>>>;

    /// A workspace's record.
    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>>;

    /// All workspaces.
    fn workspaces(&self) -> Answer<'_, Vec<WorkspaceInfo>>;

    /// Store a workspace, new or changed.
    fn put_workspace(&self, workspace: WorkspaceInfo) -> Answer<'_, ()>;

    /// Remove a workspace and the services in it.
    fn remove_workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>>;

    /// Remember that a token was revoked, for the seconds that it is valid still.
    fn revoke<'a>(&'a self, token: &'a str, left: u64) -> Answer<'a, ()>;
}
