//! The workspace manager: the contract between every client and the server it is connected to.
//!
//! [`WorkspaceManager`] is an ordinary service contract. A client calls it through
//! [`WorkspaceManagerProxy`]; a server implements the trait and offers
//! [`WorkspaceManagerService`]. The types in this module are what travels in both directions;
//! they read leniently (unknown keys and missing optional ones are fine) and write every key.

mod error;
mod manager;
mod records;
mod service;

pub use crate::{
    engine::{Permission, Scope, UserInfo},
    service::{ContextRule, ServiceConfig, ServiceInfo, Visibility},
};
pub use error::ManagerError;
pub use manager::{WorkspaceManager, WorkspaceManagerProxy, WorkspaceManagerService};
pub use records::{
    Bookmark, ClientInfo, EventCount, EventRecord, EventTypes, ServiceTypeInfo, TokenConfig,
    WorkspaceConfig, WorkspaceInfo, WorkspaceListing, WorkspaceStatus, WorkspaceSummary,
};
pub use service::{
    GetServiceConfig, SelectConfig, SelectionMode, ServiceFilter, ServiceQuery, ServiceSummary,
};
