//! Contract of the workspace manager, and the types of its arguments and results. Every server
//! offers the workspace manager to its clients.
//!
//! [`WorkspaceManager`] is an ordinary service contract. A client calls the manager through the
//! [`WorkspaceManagerProxy`] that [`Client::manager`](crate::Client::manager) returns. A server
//! implements the trait and registers [`WorkspaceManagerService`]. The other types in this module
//! are arguments and results of the manager. Decoding ignores unknown keys, and optional keys may
//! be missing.
//!
//! Most programs do not call the manager directly. They use the methods of
//! [`Client`](crate::Client) for registration, discovery, tokens and subscriptions.
//!
//! # Examples
//!
//! ```no_run
//! use hypha_rpc::workspace::{ManagerError, Permission, TokenConfig};
//! use hypha_rpc::{Client, Error};
//!
//! # async fn example(client: Client) -> Result<(), Error<ManagerError>> {
//! let manager = client.manager().await.map_err(Error::widen)?;
//! for client in manager.list_clients(None).await? {
//!     println!("{}", client.id);
//! }
//! // A token for a reader, valid for a day.
//! let token = manager
//!     .generate_token(Some(TokenConfig {
//!         permission: Some(Permission::Read.into()),
//!         expires_in: Some(24 * 3600),
//!         ..TokenConfig::default()
//!     }))
//!     .await?;
//! # let _ = token;
//! # Ok(())
//! # }
//! ```
//
// Do not rename a key of these types, because servers and clients in other languages read the keys.

mod error;
mod keyword;
mod manager;
mod records;
mod service;

pub use crate::engine::{Permission, Scope, UserInfo};
pub use crate::service::{ContextRule, ServiceConfig, ServiceInfo, Visibility};
pub use error::ManagerError;
pub use keyword::Keyword;
pub use manager::{WorkspaceManager, WorkspaceManagerProxy, WorkspaceManagerService};
pub use records::{
    Bookmark, BookmarkType, ClientInfo, EventCount, EventRecord, EventTypes, ServiceTypeInfo,
    TokenConfig, WorkspaceConfig, WorkspaceInfo, WorkspaceListing, WorkspaceProperties,
    WorkspaceStatus, WorkspaceSummary,
};
pub use service::{
    GetServiceConfig, SelectConfig, SelectionMode, ServiceFilter, ServiceQuery, ServiceSelection,
    ServiceSummary,
};
