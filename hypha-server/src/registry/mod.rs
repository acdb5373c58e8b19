//! The records of workspaces and services. A single server keeps them in memory, several share them
//! through Redis.

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

/// The registry does not answer. The one in memory always does.
#[derive(Debug, thiserror::Error)]
#[error("the registry does not answer: {0}")]
pub(crate) struct RegistryError(pub(crate) String);

pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;

/// The records that the servers of a cluster share.
pub(crate) trait Registry: Send + Sync {
    /// Stores a service under its full id, for the connection `owner`. Returns the record that it
    /// replaces.
    fn put_service<'a>(
        &'a self,
        service: ServiceInfo,
        owner: &'a str,
    ) -> Answer<'a, Option<Arc<ServiceInfo>>>;

    /// Removes a service by its full id.
    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Arc<ServiceInfo>>>;

    /// Returns the services that match, in the order of their ids.
    fn find_services<'a>(
        &'a self,
        pattern: &'a ServicePattern,
    ) -> Answer<'a, Vec<Arc<ServiceInfo>>>;

    /// Removes the services of a client whose connection `owner`, if it is known, has ended.
    ///
    /// A client may reconnect at another server before its former connection is cleaned up; the
    /// services that it has registered there stay.
    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        owner: Option<&'a str>,
    ) -> Answer<'a, Vec<Arc<ServiceInfo>>>;

    /// Returns the record of a workspace.
    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>>;

    /// Returns the records of all workspaces.
    fn workspaces(&self) -> Answer<'_, Vec<WorkspaceInfo>>;

    /// Stores a new or changed workspace.
    fn put_workspace(&self, workspace: WorkspaceInfo) -> Answer<'_, ()>;

    /// Removes a workspace and its services.
    fn remove_workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>>;

    /// Stores that a token is revoked, for its remaining life of `left` seconds.
    fn revoke<'a>(&'a self, token: &'a str, left: u64) -> Answer<'a, ()>;
}
