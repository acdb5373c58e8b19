//! Stores the records of workspaces and services.
//!
//! A single server holds the records in memory ([`MemoryRegistry`]) and stores workspaces on disk.
//! The servers of a cluster share the records through Redis (`RedisRegistry`).
//!
//! The workspace manager registers and finds services in the registry. The module `workspace`
//! removes the records of disconnected clients and failed servers. The module `session` reads the
//! records of workspaces.
//!
//! Invariants of both implementations:
//!
//! * A change checks the limits and the singletons atomically, so that two registrations cannot
//!   both take the last free slot. The exception is a cluster with a server that keeps no indexes
//!   in Redis: there the check is a search before the change.
//! * Searches return records in encoded form ([`Record`]). Callers decode only the records whose
//!   values they need.
//! * Callers check permissions; the registry does not.

#[cfg(feature = "accounts")]
mod accounts;
mod memory;
mod pattern;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod service_key;
mod tasks;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use hypha_rpc::workspace::WorkspaceInfo;

#[cfg(feature = "redis")]
pub(crate) use self::redis::RedisRegistry;
#[cfg(feature = "accounts")]
pub(crate) use accounts::AccountChange;
pub(crate) use memory::MemoryRegistry;
pub(crate) use pattern::ServicePattern;
pub(crate) use record::{Record, encode_list, encode_summaries};
pub(crate) use service_key::ServiceKey;
pub(crate) use tasks::task_bytes;

use crate::memory::Charge;
use crate::settings::Limits;

/// Errors of the registry. The texts reach clients.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// Redis does not respond. The in-memory registry never fails this way.
    #[error("the registry does not respond: {0}")]
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
    /// The client has registered its maximum number of services.
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
        /// Size of the service's record, in bytes.
        bytes: usize,
        /// The client or workspace whose limit is exceeded, as part of the error text.
        owner: String,
        /// The limit, in bytes.
        max: usize,
    },
    /// Another service has the name, and one of the two services is a singleton.
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
    /// The tasks of a workspace would exceed the limit on their size.
    #[error(
        "a task does not fit into the queue `{queue}`: its {bytes} bytes would exceed the limit of \
         {max} bytes for all tasks of {workspace}"
    )]
    QueueFull {
        queue: String,
        workspace: String,
        bytes: usize,
        max: usize,
    },
}

/// The future that a method of [`Registry`] returns. The future is boxed, because the server uses
/// the registry as a trait object.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;

/// A block of a user or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Block {
    pub(crate) reason: String,
    /// End of the block, in seconds since 1970.
    pub(crate) until: u64,
}

/// Limits on the records of services.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordLimits {
    /// Maximum number of services of one client, without its built-in service.
    pub(crate) per_client: usize,
    /// Maximum size of the records of one client, in bytes.
    pub(crate) client_bytes: usize,
    /// Maximum size of the records of one workspace, in bytes.
    pub(crate) workspace_bytes: usize,
    /// Maximum size of all records, in bytes.
    pub(crate) total_bytes: usize,
    /// Maximum size of the records that one search returns, in bytes. The in-memory registry does
    /// not apply this limit, because its results share the stored records.
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

/// The state of the cluster as one of its servers sees it after a beat.
#[derive(Debug, Default)]
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, reason = "only a cluster uses it")
)]
pub(crate) struct Pulse {
    /// Ids of the servers that have ended without removing their records.
    pub(crate) dead: Vec<String>,
    /// Whether another server has removed the records of this server because this server missed its
    /// beats. If so, the clients of this server must register their services again.
    pub(crate) was_removed: bool,
}

/// Stores the records of workspaces, services and revoked tokens, in memory or in a Redis that the
/// servers of a cluster share.
///
/// An implementation may act when a method is called, or when the returned future is polled.
/// Therefore callers must await every future immediately. If a future is dropped, the change may
/// still have been made.
pub(crate) trait Registry: Send + Sync {
    /// Stores a service under its full id. `owner` is the connection that has registered the
    /// service. Returns whether the service replaces a record with the same id.
    ///
    /// # Errors
    ///
    /// Fails if the record exceeds a limit, or if a singleton would share its name with another
    /// service.
    fn put_service<'a>(&'a self, record: Record, owner: &'a str) -> Answer<'a, bool>;

    /// Removes a service by its full id. Returns whether the service existed.
    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, bool>;

    /// Returns the matching services, in the order of their ids.
    fn find_services<'a>(&'a self, pattern: &'a ServicePattern) -> Answer<'a, Vec<Arc<Record>>>;

    /// Removes the services of a client whose connection `owner` has ended. `None` matches any
    /// connection.
    ///
    /// A client may reconnect at another server before its earlier connection is cleaned up. If
    /// `owner` is given, the services that the client has registered at the other server are not
    /// removed.
    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        owner: Option<&'a str>,
    ) -> Answer<'a, ()>;

    /// Returns the record of a workspace, or `None` if the workspace does not exist.
    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>>;

    /// Returns the records of all workspaces, in the order of their ids.
    fn workspaces(&self) -> Answer<'_, Vec<WorkspaceInfo>>;

    /// Stores the record of a workspace, and replaces the previous record. Callers that change a
    /// record must hold `State::workspace_records`.
    fn put_workspace(&self, workspace: WorkspaceInfo) -> Answer<'_, ()>;

    /// Removes a workspace and the records of its services. Returns the removed record of the
    /// workspace.
    fn remove_workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>>;

    /// Stores a block of a user or an IP address for all servers, or removes the block. The
    /// in-memory registry stores no blocks, because the server itself keeps its blocks in memory.
    fn put_block<'a>(&'a self, _key: &'a str, _block: Option<Block>) -> Answer<'a, ()> {
        ready(Ok(())).boxed()
    }

    /// Returns the blocks that have not ended at the time `now`, in seconds since 1970.
    fn blocks(&self, _now: u64) -> Answer<'_, Vec<(String, Block)>> {
        ready(Ok(Vec::new())).boxed()
    }

    /// Adds a task at the end of a queue. `max` limits the size of all tasks of the workspace, in
    /// bytes. `charge` is held while the task is in the memory of this server.
    fn push_task<'a>(
        &'a self,
        workspace: &'a str,
        queue: &'a str,
        text: String,
        charge: Charge,
        max: usize,
    ) -> Answer<'a, ()>;

    /// Removes and returns the first task of a queue.
    fn pop_task<'a>(&'a self, workspace: &'a str, queue: &'a str) -> Answer<'a, Option<String>>;

    /// Returns the number of tasks in a queue.
    fn count_tasks<'a>(&'a self, workspace: &'a str, queue: &'a str) -> Answer<'a, usize>;

    /// Returns up to `count` tasks from the front of a queue, without removing them.
    fn peek_tasks<'a>(
        &'a self,
        workspace: &'a str,
        queue: &'a str,
        count: usize,
    ) -> Answer<'a, Vec<String>>;

    /// Returns the record of the account with an e-mail address.
    #[cfg(feature = "accounts")]
    fn account<'a>(&'a self, email: &'a str) -> Answer<'a, Option<String>>;

    /// Returns the records of all accounts.
    #[cfg(feature = "accounts")]
    fn accounts(&self) -> Answer<'_, Vec<String>>;

    /// If the stored record of an account equals `former`, replaces it with `record`. `None` in
    /// `former` or `record` stands for a missing record. The total number of accounts is limited to
    /// `max`.
    #[cfg(feature = "accounts")]
    fn change_account<'a>(
        &'a self,
        email: &'a str,
        former: Option<String>,
        record: Option<String>,
        max: usize,
    ) -> Answer<'a, AccountChange>;

    /// Stores the revocation of a token for `left` seconds, the remaining lifetime of the token.
    /// `token` is the bare token, without `Bearer`.
    fn revoke<'a>(&'a self, token: &'a str, left: u64) -> Answer<'a, ()>;

    /// Returns the revoked tokens that have not expired, each with its expiry. `now` and the expiry
    /// are in seconds since 1970.
    ///
    /// The in-memory registry returns an empty list, because the server reads its own revocations
    /// from the store when it starts.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    fn revoked_tokens(&self, _now: u64) -> Answer<'_, Vec<(String, u64)>> {
        ready(Ok(Vec::new())).boxed()
    }

    /// Sends a beat, which refreshes this server's key. Returns the state of the cluster. The
    /// server must call this method about once a second, because the other servers otherwise
    /// consider this server dead.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only a cluster uses it")
    )]
    fn beat(&self) -> Answer<'_, Pulse> {
        ready(Ok(Pulse::default())).boxed()
    }

    /// Removes the records of a server that has ended. Returns the addresses of its clients, or
    /// `None` if another server has already removed the records.
    fn remove_server<'a>(&'a self, _server_id: &'a str) -> Answer<'a, Option<Vec<String>>> {
        ready(Ok(None)).boxed()
    }

    /// Returns whether the registry has responded within the last seconds. Sends no request.
    fn is_up(&self) -> bool {
        true
    }
}
