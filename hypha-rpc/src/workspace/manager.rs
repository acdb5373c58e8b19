//! The contract of the workspace manager, the service `default` of every server.

use super::{
    Bookmark, ClientInfo, EventCount, EventRecord, EventTypes, GetServiceConfig, ManagerError,
    SelectConfig, ServiceInfo, ServiceQuery, ServiceTypeInfo, TokenConfig, UserInfo,
    WorkspaceConfig, WorkspaceInfo, WorkspaceListing, WorkspaceStatus, WorkspaceSummary,
};
use crate::hypha_service;
use crate::service::Context;
use hypha_wire::Value;

/// Everything a client can ask of its server. Permissions are those of the caller in its own
/// workspace unless something else is said.
// The parameters are those of the protocol.
#[allow(clippy::too_many_arguments)]
#[hypha_service(id = "default", crate = crate)]
pub trait WorkspaceManager {
    /// Return what was sent.
    async fn echo(
        &self,
        ctx: &Context,
        /// Any value.
        data: Value,
    ) -> Result<Value, ManagerError>;

    /// Write a message into the workspace's event log.
    async fn log(
        &self,
        ctx: &Context,
        /// The message.
        msg: Value,
    ) -> Result<(), ManagerError>;

    /// Write an event into the workspace's event log.
    async fn log_event(
        &self,
        ctx: &Context,
        /// A word without blanks.
        event_type: String,
        /// Anything worth keeping with it.
        data: Option<Value>,
    ) -> Result<(), ManagerError>;

    /// Count the caller's own events by type.
    async fn get_event_stats(
        &self,
        ctx: &Context,
        /// Only this type.
        event_type: Option<String>,
        /// Only events from this time on, as ISO text.
        start_time: Option<String>,
        /// Only events up to this time, as ISO text.
        end_time: Option<String>,
    ) -> Result<Vec<EventCount>, ManagerError>;

    /// Read the caller's own events.
    async fn get_events(
        &self,
        ctx: &Context,
        /// Only this type.
        event_type: Option<String>,
        /// Only events from this time on, as ISO text.
        start_time: Option<String>,
        /// Only events up to this time, as ISO text.
        end_time: Option<String>,
    ) -> Result<Vec<EventRecord>, ManagerError>;

    /// Announce a service of the calling client, or replace it.
    async fn register_service(
        &self,
        ctx: &Context,
        /// The service: id, name, description, type, config and schema.
        service: ServiceInfo,
        /// Reserved.
        config: Option<Value>,
    ) -> Result<(), ManagerError>;

    /// Remove a service.
    async fn unregister_service(
        &self,
        ctx: &Context,
        /// The service's name or full id.
        service_id: String,
    ) -> Result<(), ManagerError>;

    /// List the workspaces that the caller may enter.
    async fn list_workspaces(
        &self,
        ctx: &Context,
        /// Properties that must be equal.
        r#match: Option<Value>,
        /// How many to skip.
        #[hypha(default = 0)]
        offset: i64,
        /// How many to return, at most 256.
        #[hypha(default = 256)]
        limit: i64,
    ) -> Result<Vec<WorkspaceListing>, ManagerError>;

    /// List services by workspace, id or property.
    async fn list_services(
        &self,
        ctx: &Context,
        /// `workspace`, `workspace/service`, `workspace/client:service`, `client:service`, or a
        /// map of properties; everything in the caller's workspace if absent.
        query: Option<ServiceQuery>,
        /// Also unlisted services of the caller's own workspace.
        #[hypha(default = false)]
        include_unlisted: bool,
        /// Also services of installed applications.
        #[hypha(default = false)]
        include_app_services: bool,
        /// Running services before those of installed applications.
        #[hypha(default = false)]
        prioritize_running_services: bool,
    ) -> Result<Vec<ServiceInfo>, ManagerError>;

    /// Search services by meaning; needs a server with a vector index.
    async fn search_services(
        &self,
        ctx: &Context,
        /// Text or vector.
        query: Option<Value>,
        /// Properties that must be equal.
        filters: Option<Value>,
        /// How many to return.
        #[hypha(default = 5)]
        limit: i64,
        /// How many to skip.
        #[hypha(default = 0)]
        offset: i64,
        /// Which properties to return.
        return_fields: Option<Vec<String>>,
        /// The property to sort by.
        order_by: Option<String>,
        /// Also return the total.
        #[hypha(default = false)]
        pagination: bool,
        /// Also unlisted services of the caller's own workspace.
        #[hypha(default = false)]
        include_unlisted: bool,
    ) -> Result<Value, ManagerError>;

    /// List the clients of a workspace.
    async fn list_clients(
        &self,
        ctx: &Context,
        /// The caller's workspace if absent.
        workspace: Option<String>,
    ) -> Result<Vec<ClientInfo>, ManagerError>;

    /// Define a kind of service that others can be checked against.
    async fn register_service_type(
        &self,
        ctx: &Context,
        /// Id, name and definition.
        type_info: ServiceTypeInfo,
    ) -> Result<ServiceTypeInfo, ManagerError>;

    /// Get a kind of service.
    async fn get_service_type(
        &self,
        ctx: &Context,
        /// `type` or `workspace/type`.
        type_id: String,
    ) -> Result<ServiceTypeInfo, ManagerError>;

    /// List the kinds of services that a workspace defines.
    async fn list_service_types(
        &self,
        ctx: &Context,
        /// The caller's workspace if absent.
        workspace: Option<String>,
    ) -> Result<Vec<ServiceTypeInfo>, ManagerError>;

    /// Get the record of a service without asking its provider.
    async fn get_service_info(
        &self,
        ctx: &Context,
        /// `service`, `client:service`, `workspace/service` or `workspace/client:service`, maybe
        /// with `@app`; `~` is the workspace manager.
        service_id: String,
        /// How to choose among several.
        config: Option<SelectConfig>,
    ) -> Result<ServiceInfo, ManagerError>;

    /// Get a service from its provider, ready to be called.
    async fn get_service(
        &self,
        ctx: &Context,
        /// `service`, `client:service`, `workspace/service` or `workspace/client:service`, maybe
        /// with `@app`; `~` is the workspace manager.
        service_id: String,
        /// How to choose among several, how long to wait, how to spell the keys.
        config: Option<GetServiceConfig>,
    ) -> Result<Value, ManagerError>;

    /// Make a token for a workspace in which the caller is admin.
    async fn generate_token(
        &self,
        ctx: &Context,
        /// Workspace, permission, life time; the caller's workspace, `read_write`, one hour.
        config: Option<TokenConfig>,
    ) -> Result<String, ManagerError>;

    /// Make a token useless.
    async fn revoke_token(
        &self,
        ctx: &Context,
        /// The token.
        token: String,
    ) -> Result<(), ManagerError>;

    /// See whom a token stands for.
    async fn parse_token(
        &self,
        ctx: &Context,
        /// The token.
        token: String,
    ) -> Result<UserInfo, ManagerError>;

    /// Make a workspace.
    async fn create_workspace(
        &self,
        ctx: &Context,
        /// Id, name, owners and the like.
        config: WorkspaceConfig,
        /// Replace a workspace of this id.
        #[hypha(default = false)]
        overwrite: bool,
    ) -> Result<WorkspaceInfo, ManagerError>;

    /// Delete a workspace with everything in it.
    async fn delete_workspace(
        &self,
        ctx: &Context,
        /// Its id.
        workspace: String,
    ) -> Result<(), ManagerError>;

    /// Remember a workspace or service in the caller's own workspace.
    async fn bookmark(
        &self,
        ctx: &Context,
        /// What to remember.
        item: Bookmark,
    ) -> Result<(), ManagerError>;

    /// Forget a workspace or service.
    async fn unbookmark(
        &self,
        ctx: &Context,
        /// What to forget.
        item: Bookmark,
    ) -> Result<(), ManagerError>;

    /// Get the record of a workspace.
    async fn get_workspace_info(
        &self,
        ctx: &Context,
        /// The caller's workspace if absent.
        workspace: Option<String>,
    ) -> Result<WorkspaceInfo, ManagerError>;

    /// Get a summary of the caller's workspace.
    async fn get_summary(&self, ctx: &Context) -> Result<WorkspaceSummary, ManagerError>;

    /// See whether a client answers: `pong`, or a text that says why not.
    async fn ping(
        &self,
        ctx: &Context,
        /// `client` or `workspace/client`.
        client_id: String,
        /// Seconds to wait.
        #[hypha(default = 5.0)]
        timeout: f64,
    ) -> Result<String, ManagerError>;

    /// Remove clients that no longer answer.
    async fn cleanup(
        &self,
        ctx: &Context,
        /// The caller's workspace if absent.
        workspace: Option<String>,
        /// Seconds to wait for each client.
        #[hypha(default = 5.0)]
        timeout: f64,
    ) -> Result<Value, ManagerError>;

    /// See whether the caller's workspace is ready, and what the caller may do there.
    async fn check_status(&self, ctx: &Context) -> Result<WorkspaceStatus, ManagerError>;

    /// Set a variable of the workspace.
    async fn set_env(
        &self,
        ctx: &Context,
        /// Its name.
        key: String,
        /// Its value; null removes it.
        value: Option<String>,
    ) -> Result<(), ManagerError>;

    /// Get a variable of the workspace, or all of them.
    async fn get_env(
        &self,
        ctx: &Context,
        /// Its name; all if absent.
        key: Option<String>,
    ) -> Result<Value, ManagerError>;

    /// Receive events of these types from now on.
    async fn subscribe(
        &self,
        ctx: &Context,
        /// One type or several.
        event_type: EventTypes,
    ) -> Result<bool, ManagerError>;

    /// Receive events of these types no longer.
    async fn unsubscribe(
        &self,
        ctx: &Context,
        /// One type or several.
        event_type: EventTypes,
    ) -> Result<bool, ManagerError>;
}
