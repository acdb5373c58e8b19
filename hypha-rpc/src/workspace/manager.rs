//! The contract of the workspace manager, the service `default` of every server.
//!
//! The doc comments of methods and parameters are published as descriptions, which clients in other
//! languages show. Therefore these doc comments contain neither links nor examples.

use super::{
    Bookmark, ClientInfo, EventCount, EventRecord, EventTypes, GetServiceConfig, ManagerError,
    SelectConfig, ServiceInfo, ServiceQuery, ServiceTypeInfo, TokenConfig, UserInfo,
    WorkspaceConfig, WorkspaceInfo, WorkspaceListing, WorkspaceStatus, WorkspaceSummary,
};
use crate::hypha_service;
use crate::service::Context;
use hypha_wire::Value;

/// The functions that a server offers to its clients.
///
/// A function without a workspace argument works in the caller's own workspace and needs a
/// permission there.
// The parameters and their order are defined by the protocol, because callers in other languages
// pass them by position.
#[allow(clippy::too_many_arguments)]
#[hypha_service(id = "default", crate = crate)]
pub trait WorkspaceManager {
    /// Returns its argument.
    async fn echo(
        &self,
        ctx: &Context,
        /// Any value.
        data: Value,
    ) -> Result<Value, ManagerError>;

    /// Writes a message into the event log of the workspace.
    async fn log(
        &self,
        ctx: &Context,
        /// Message, any value.
        msg: Value,
    ) -> Result<(), ManagerError>;

    /// Writes an event into the event log of the workspace.
    async fn log_event(
        &self,
        ctx: &Context,
        /// Type of the event, one word.
        event_type: String,
        /// Data of the event, any value.
        data: Option<Value>,
    ) -> Result<(), ManagerError>;

    /// Counts the events of the caller by type.
    async fn get_event_stats(
        &self,
        ctx: &Context,
        /// Type of the events. Default: all types.
        event_type: Option<String>,
        /// Earliest time, as an ISO 8601 string. Default: no limit.
        start_time: Option<String>,
        /// Latest time, as an ISO 8601 string. Default: no limit.
        end_time: Option<String>,
    ) -> Result<Vec<EventCount>, ManagerError>;

    /// Returns the events of the caller.
    async fn get_events(
        &self,
        ctx: &Context,
        /// Type of the events. Default: all types.
        event_type: Option<String>,
        /// Earliest time, as an ISO 8601 string. Default: no limit.
        start_time: Option<String>,
        /// Latest time, as an ISO 8601 string. Default: no limit.
        end_time: Option<String>,
    ) -> Result<Vec<EventRecord>, ManagerError>;

    /// Registers a service of the calling client, or replaces it.
    async fn register_service(
        &self,
        ctx: &Context,
        /// Record of the service.
        service: ServiceInfo,
        /// Reserved.
        config: Option<Value>,
    ) -> Result<(), ManagerError>;

    /// Removes a service.
    async fn unregister_service(
        &self,
        ctx: &Context,
        /// Name or full id of the service.
        service_id: String,
    ) -> Result<(), ManagerError>;

    /// Lists the workspaces that the caller may enter.
    async fn list_workspaces(
        &self,
        ctx: &Context,
        /// Property values that a workspace must have. Default: none.
        r#match: Option<Value>,
        /// Number of entries to skip.
        #[hypha(default = 0)]
        offset: i64,
        /// Maximum number of entries to return, at most 256.
        #[hypha(default = 256)]
        limit: i64,
    ) -> Result<Vec<WorkspaceListing>, ManagerError>;

    /// Lists services by workspace, id or property.
    async fn list_services(
        &self,
        ctx: &Context,
        /// `workspace`, `workspace/service`, `workspace/client:service`, `client:service`, or a
        /// map of properties. Default: all services of the caller's workspace.
        query: Option<ServiceQuery>,
        /// Whether to include unlisted services of the caller's own workspace.
        #[hypha(default = false)]
        include_unlisted: bool,
        /// Whether to include services of installed applications.
        #[hypha(default = false)]
        include_app_services: bool,
        /// Whether running services come before those of installed applications.
        #[hypha(default = false)]
        prioritize_running_services: bool,
    ) -> Result<Vec<ServiceInfo>, ManagerError>;

    /// Searches services by meaning. The server needs a vector index.
    async fn search_services(
        &self,
        ctx: &Context,
        /// String or vector to search for.
        query: Option<Value>,
        /// Property values that a service must have. Default: none.
        filters: Option<Value>,
        /// Maximum number of services to return.
        #[hypha(default = 5)]
        limit: i64,
        /// Number of entries to skip.
        #[hypha(default = 0)]
        offset: i64,
        /// Properties to return.
        return_fields: Option<Vec<String>>,
        /// Property to sort by.
        order_by: Option<String>,
        /// Whether to also return the total.
        #[hypha(default = false)]
        pagination: bool,
        /// Whether to include unlisted services of the caller's own workspace.
        #[hypha(default = false)]
        include_unlisted: bool,
    ) -> Result<Value, ManagerError>;

    /// Lists the clients of a workspace.
    async fn list_clients(
        &self,
        ctx: &Context,
        /// Id of the workspace. Default: the caller's.
        workspace: Option<String>,
    ) -> Result<Vec<ClientInfo>, ManagerError>;

    /// Registers a service type, against which services can be checked.
    async fn register_service_type(
        &self,
        ctx: &Context,
        /// Id, name and definition of the type.
        type_info: ServiceTypeInfo,
    ) -> Result<ServiceTypeInfo, ManagerError>;

    /// Returns a service type.
    async fn get_service_type(
        &self,
        ctx: &Context,
        /// Id of the type, `type` or `workspace/type`.
        type_id: String,
    ) -> Result<ServiceTypeInfo, ManagerError>;

    /// Lists the service types of a workspace.
    async fn list_service_types(
        &self,
        ctx: &Context,
        /// Id of the workspace. Default: the caller's.
        workspace: Option<String>,
    ) -> Result<Vec<ServiceTypeInfo>, ManagerError>;

    /// Returns the record of a service, without a call to its provider.
    async fn get_service_info(
        &self,
        ctx: &Context,
        /// `service`, `client:service`, `workspace/service` or `workspace/client:service`,
        /// optionally with `@app`; `~` is the workspace manager.
        service_id: String,
        /// Choice among several services.
        config: Option<SelectConfig>,
    ) -> Result<ServiceInfo, ManagerError>;

    /// Fetches a service from its provider.
    async fn get_service(
        &self,
        ctx: &Context,
        /// `service`, `client:service`, `workspace/service` or `workspace/client:service`,
        /// optionally with `@app`; `~` is the workspace manager.
        service_id: String,
        /// Choice among several services, timeout, and conversion of the keys.
        config: Option<GetServiceConfig>,
    ) -> Result<Value, ManagerError>;

    /// Creates a token for a workspace in which the caller is admin.
    async fn generate_token(
        &self,
        ctx: &Context,
        /// Workspace, permission and lifetime. Default: the caller's workspace, `read_write`, one
        /// hour.
        config: Option<TokenConfig>,
    ) -> Result<String, ManagerError>;

    /// Revokes a token.
    async fn revoke_token(
        &self,
        ctx: &Context,
        /// Token.
        token: String,
    ) -> Result<(), ManagerError>;

    /// Returns the user of a token.
    async fn parse_token(
        &self,
        ctx: &Context,
        /// Token.
        token: String,
    ) -> Result<UserInfo, ManagerError>;

    /// Creates a workspace.
    async fn create_workspace(
        &self,
        ctx: &Context,
        /// Id, name, owners and other properties of the workspace.
        config: WorkspaceConfig,
        /// Whether to replace an existing workspace with this id.
        #[hypha(default = false)]
        overwrite: bool,
    ) -> Result<WorkspaceInfo, ManagerError>;

    /// Deletes a workspace and disconnects its clients.
    async fn delete_workspace(
        &self,
        ctx: &Context,
        /// Id of the workspace.
        workspace: String,
    ) -> Result<(), ManagerError>;

    /// Adds a bookmark of a workspace or service to the user's own workspace.
    async fn bookmark(
        &self,
        ctx: &Context,
        /// Bookmark to add.
        item: Bookmark,
    ) -> Result<(), ManagerError>;

    /// Removes a bookmark of a workspace or service.
    async fn unbookmark(
        &self,
        ctx: &Context,
        /// Bookmark to remove.
        item: Bookmark,
    ) -> Result<(), ManagerError>;

    /// Returns the record of a workspace.
    async fn get_workspace_info(
        &self,
        ctx: &Context,
        /// Id of the workspace. Default: the caller's.
        workspace: Option<String>,
    ) -> Result<WorkspaceInfo, ManagerError>;

    /// Returns a summary of the caller's workspace.
    async fn get_summary(&self, ctx: &Context) -> Result<WorkspaceSummary, ManagerError>;

    /// Pings a client. Returns `pong`, or a string with the error.
    async fn ping(
        &self,
        ctx: &Context,
        /// `client` or `workspace/client`.
        client_id: String,
        /// Timeout in seconds.
        #[hypha(default = 5.0)]
        timeout: f64,
    ) -> Result<String, ManagerError>;

    /// Removes clients that do not respond.
    async fn cleanup(
        &self,
        ctx: &Context,
        /// Id of the workspace. Default: the caller's.
        workspace: Option<String>,
        /// Timeout of each client in seconds.
        #[hypha(default = 5.0)]
        timeout: f64,
    ) -> Result<Value, ManagerError>;

    /// Returns whether the caller's workspace is ready, and the caller's permission there.
    async fn check_status(&self, ctx: &Context) -> Result<WorkspaceStatus, ManagerError>;

    /// Sets an environment variable of the workspace.
    async fn set_env(
        &self,
        ctx: &Context,
        /// Name of the variable.
        key: String,
        /// Value, usually a string; null removes the variable.
        value: Value,
    ) -> Result<(), ManagerError>;

    /// Returns an environment variable of the workspace, or all of them.
    async fn get_env(
        &self,
        ctx: &Context,
        /// Name of the variable. Default: all variables.
        key: Option<String>,
    ) -> Result<Value, ManagerError>;

    /// Subscribes to events of these types.
    async fn subscribe(
        &self,
        ctx: &Context,
        /// One event type, or several.
        event_type: EventTypes,
    ) -> Result<bool, ManagerError>;

    /// Ends the subscription to events of these types.
    async fn unsubscribe(
        &self,
        ctx: &Context,
        /// One event type, or several.
        event_type: EventTypes,
    ) -> Result<bool, ManagerError>;
}
