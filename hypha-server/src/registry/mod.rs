//! Owns the records of workspaces and services.
//!
//! A single server keeps them in memory ([`MemoryRegistry`]) and stores workspaces on disk; the
//! servers of a cluster share them through Redis (`RedisRegistry`). The workspace manager registers
//! and finds services here, `workspace` removes the records of clients and servers that are gone,
//! and `session` reads the records of workspaces.
//!
//! Invariants of both:
//!
//! * Limits and singletons are checked in the same step as a change, so that two registrations
//!   cannot both take the last place. Only beside servers that keep no indexes in Redis the check
//!   is a search before the change.
//! * Searches return records in encoded form ([`Record`]). Callers decode only those whose values
//!   they need.
//! * Nothing here checks permissions. The callers do.

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

/// Errors of the registry. The texts reach clients.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// Redis does not answer. The registry in memory never fails this way.
    #[error("the registry does not answer: {0}")]
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    Unavailable(String),
    /// A record cannot be read or written.
    #[error("a record cannot be read or written: {0}")]
    Invalid(String),
    /// The change cannot be stored on disk, so it was not made.
    #[error("the server cannot store the change: its disk is full or cannot be written")]
    NotStored,
    /// The client has as many services as it may register.
    #[error(
        "Service quota exceeded: client {client} already has {count} services (max {count}). Remove \
         unused services before registering new ones."
    )]
    TooMany {
        /// Address of the client.
        client: String,
        /// Limit `services_per_client`.
        count: usize,
    },
    /// The record would exceed the limit on the bytes of a client, of a workspace or of all
    /// records.
    #[error(
        "service `{service}` does not fit: its {bytes} bytes would exceed the limit of {max} bytes \
         for the records of {owner}"
    )]
    TooLarge {
        /// Full id of the service.
        service: String,
        /// Size of its record.
        bytes: usize,
        /// The client or workspace that is limited, as words of the text.
        owner: String,
        /// The limit, in bytes.
        max: usize,
    },
    /// Another service has the name, and one of the two is a singleton.
    #[error(
        "A singleton service with the same name ({name}) already exists in the workspace \
         ({workspace}), please remove it first or use a different name."
    )]
    Singleton { name: String, workspace: String },
    /// A list exceeds the limit `list_bytes` of one response.
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

/// The result of a method of [`Registry`]. Boxed, because the server uses the registry as a trait
/// object.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;

/// Upper bounds on the records of services.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordLimits {
    /// Number of services of one client, without its built-in service.
    pub(crate) per_client: usize,
    /// Bytes of the records of one client.
    pub(crate) client_bytes: usize,
    /// Bytes of the records of one workspace.
    pub(crate) workspace_bytes: usize,
    /// Bytes of all records.
    pub(crate) total_bytes: usize,
    /// Bytes of the records that one search returns. The registry in memory needs no such bound:
    /// its results share the stored records.
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

/// The state of the cluster, as one of its servers sees it after a beat.
#[derive(Debug, Default)]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "only a cluster uses it")
)]
pub(crate) struct Pulse {
    /// Ids of the servers that have ended without removing their records.
    pub(crate) dead: Vec<String>,
    /// Whether another server has removed the records of this one because it missed its beats. The
    /// clients of this server must then register their services again.
    pub(crate) was_removed: bool,
}

/// The records of workspaces, services and revoked tokens, in memory or shared by a cluster.
///
/// An implementation may act when a method is called or when its future is polled, so callers await
/// every future at once. A future that is dropped may have made its change.
pub(crate) trait Registry: Send + Sync {
    /// Stores a service under its full id, for the connection `owner`. Returns whether it replaces
    /// another record of that id.
    ///
    /// # Errors
    ///
    /// Refuses a record that exceeds a limit, and a name that belongs to a singleton.
    fn put_service<'a>(&'a self, record: Record, owner: &'a str) -> Answer<'a, bool>;

    /// Removes a service by its full id. Returns whether there was one.
    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, bool>;

    /// Returns the services that match, in the order of their ids.
    fn find_services<'a>(&'a self, pattern: &'a ServicePattern) -> Answer<'a, Vec<Arc<Record>>>;

    /// Removes the services of a client whose connection `owner` has ended. `None` stands for any
    /// connection.
    ///
    /// A client may reconnect at another server before its former connection is cleaned up. With an
    /// owner, the services that it has registered there stay.
    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        owner: Option<&'a str>,
    ) -> Answer<'a, ()>;

    /// Returns the record of a workspace, or `None` if it does not exist.
    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>>;

    /// Returns the records of all workspaces, in the order of their ids.
    fn workspaces(&self) -> Answer<'_, Vec<WorkspaceInfo>>;

    /// Stores the record of a workspace, and replaces the former one. Callers that change a record
    /// hold `State::workspace_records`.
    fn put_workspace(&self, workspace: WorkspaceInfo) -> Answer<'_, ()>;

    /// Removes a workspace and the records of its services. Returns the former record.
    fn remove_workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>>;

    /// Stores that a token is revoked, for its remaining lifetime of `left` seconds. `token` is the
    /// bare token, without `Bearer`.
    fn revoke<'a>(&'a self, token: &'a str, left: u64) -> Answer<'a, ()>;

    /// Returns the revoked tokens that have not expired, each with its expiry. `now` and the expiry
    /// are in seconds since 1970.
    ///
    /// The registry in memory returns none: the server reads its own revocations from the store
    /// when it starts.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    fn revoked_tokens(&self, _now: u64) -> Answer<'_, Vec<(String, u64)>> {
        ready(Ok(Vec::new())).boxed()
    }

    /// Refreshes the sign of life of this server, and returns the state of the cluster. Must be
    /// called about once a second, otherwise the others take this server for dead.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    fn beat(&self) -> Answer<'_, Pulse> {
        ready(Ok(Pulse::default())).boxed()
    }

    /// Removes the records of a server that has ended. Returns the addresses of its clients, or
    /// `None` if another server has done it.
    fn remove_server<'a>(&'a self, _server_id: &'a str) -> Answer<'a, Option<Vec<String>>> {
        ready(Ok(None)).boxed()
    }

    /// Returns whether the registry has answered within the last seconds. Does not ask it.
    fn is_up(&self) -> bool {
        true
    }
}
