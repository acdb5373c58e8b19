//! The workspace manager: the contract between every client and the server it is connected to.
//!
//! [`WorkspaceManager`] is an ordinary service contract. A client calls it through
//! [`WorkspaceManagerProxy`]; a server implements the trait and offers
//! [`WorkspaceManagerService`]. The other types in this module are arguments and results. Reading
//! them accepts unknown keys and missing optional ones.

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
