//! The records of workspaces and services. A single server keeps them in memory, several share them
//! through Redis.

mod memory;
mod pattern;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod service_key;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use hypha_rpc::workspace::WorkspaceInfo;

#[cfg(feature = "redis")]
pub(crate) use self::redis::RedisRegistry;
pub(crate) use memory::MemoryRegistry;
pub(crate) use pattern::ServicePattern;
pub(crate) use record::{Record, encoded_list, encoded_summaries};
pub(crate) use service_key::ServiceKey;

use crate::settings::Limits;

/// The reason why the registry does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// It does not answer. The one in memory always does.
    #[error("the registry does not answer: {0}")]
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    Unavailable(String),
    /// A record cannot be read or written.
    #[error("a record cannot be read or written: {0}")]
    Invalid(String),
    /// The change cannot be stored, so it was not made.
    #[error("the server cannot store the change: its disk is full or cannot be written")]
    NotStored,
    /// The client has as many services as it may.
    #[error(
        "Service quota exceeded: client {client} already has {count} services (max {count}). Remove \
         unused services before registering new ones."
    )]
    TooMany {
        /// Address of the client.
        client: String,
        count: usize,
    },
    /// The records would take too much room.
    #[error(
        "service `{service}` does not fit: its {bytes} bytes would exceed the limit of {max} bytes \
         for the records of {owner}"
    )]
    TooLarge {
        service: String,
        bytes: usize,
        owner: String,
        max: usize,
    },
    /// A singleton has the name of another service.
    #[error(
        "A singleton service with the same name ({name}) already exists in the workspace \
         ({workspace}), please remove it first or use a different name."
    )]
    Singleton { name: String, workspace: String },
    /// A list has more bytes than one reply may have.
    #[error(
        "the list of {services} services has {bytes} bytes, more than {max}; narrow the query: give \
         `service_id`, `client_id`, `type`, `app_id` or `visibility`"
    )]
    ListTooLarge {
        services: usize,
        bytes: usize,
        max: usize,
    },
}

pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;

/// Bounds on the records of services.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordLimits {
    /// Services of one client, without its built-in one.
    pub(crate) per_client: usize,
    /// Bytes of the records of one client.
    pub(crate) client_bytes: usize,
    /// Bytes of the records of one workspace.
    pub(crate) workspace_bytes: usize,
    /// Bytes of all records.
    pub(crate) total_bytes: usize,
    /// Bytes of the records that one search returns.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    pub(crate) found_bytes: usize,
}

impl From<&Limits> for RecordLimits {
    fn from(limits: &Limits) -> Self {
        RecordLimits {
            per_client: limits.services_per_client,
            client_bytes: limits.client_services_bytes,
            workspace_bytes: limits.workspace_services_bytes,
            total_bytes: limits.all_services_bytes,
            found_bytes: limits.list_bytes,
        }
    }
}

/// The state of the servers that share the records, as one of them sees it.
#[derive(Debug, Default)]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "only a cluster uses it")
)]
pub(crate) struct Pulse {
    /// Servers that have ended without removing their records.
    pub(crate) dead: Vec<String>,
    /// Whether the others have taken this server for dead and removed its records.
    pub(crate) was_removed: bool,
}

/// The records that the servers of a cluster share.
pub(crate) trait Registry: Send + Sync {
    /// Stores a service under its full id, for the connection `owner`. Returns whether it replaces
    /// another record.
    ///
    /// # Errors
    ///
    /// Refuses a record that exceeds a limit, and a name that belongs to a singleton.
    fn put_service<'a>(&'a self, record: Record, owner: &'a str) -> Answer<'a, bool>;

    /// Removes a service by its full id. Returns whether there was one.
    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, bool>;

    /// Returns the services that match, in the order of their ids.
    fn find_services<'a>(&'a self, pattern: &'a ServicePattern) -> Answer<'a, Vec<Arc<Record>>>;

    /// Removes the services of a client whose connection `owner`, if it is known, has ended.
    ///
    /// A client may reconnect at another server before its former connection is cleaned up; the
    /// services that it has registered there stay.
    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        owner: Option<&'a str>,
    ) -> Answer<'a, ()>;

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

    /// Returns the revoked tokens that have not expired, each with its expiry in seconds since
    /// 1970.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    fn revoked_tokens(&self, _now: u64) -> Answer<'_, Vec<(String, u64)>> {
        ready(Ok(Vec::new())).boxed()
    }

    /// Tells the other servers that this one is alive, and returns those that are not.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    fn beat(&self) -> Answer<'_, Pulse> {
        ready(Ok(Pulse::default())).boxed()
    }

    /// Removes the records of a server that has ended. Returns the addresses of its clients, or
    /// `None` if that is done already.
    fn remove_server<'a>(&'a self, _server_id: &'a str) -> Answer<'a, Option<Vec<String>>> {
        ready(Ok(None)).boxed()
    }

    /// Returns whether the registry has answered lately.
    fn is_up(&self) -> bool {
        true
    }
}
