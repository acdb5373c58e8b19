//! Connects the manager to the router, as an internal client of the server.
//!
//! Most methods go through the service that is generated from the contract. The methods that return
//! records of services or events are replaced by handlers that send the stored bytes. Decoding a
//! long list and encoding it again would take many times the memory of the encoded list.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use hypha_rpc::service::{IncomingCall, IntoService, Service};
use hypha_rpc::workspace::{
    ServiceInfo, ServiceQuery, ServiceSelection, Visibility, WorkspaceManagerService,
};
use hypha_rpc::{Client, Error};
use hypha_wire as wire;
use hypha_wire::{Args, WireError};

use super::contract::{self, Manager};
use super::{Answer, events, listing, resolve};
use crate::event_log::EventFilter;
use crate::internal_client;
use crate::peer::Peer;
use crate::router::SERVER_WORKSPACE;
use crate::state::{HYPHA_VERSION, State};

/// Maximum size of the calls that wait for the manager, in bytes. A longer queue would not increase
/// the throughput, because the callers of the additional calls would have timed out before the
/// manager processes these calls.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of calls that the manager runs at the same time. The limit is high, because
/// nearly all running calls wait for other clients, and the number of such waiting calls is also
/// limited for each client and each owner.
const CONCURRENT_CALLS: usize = 16 * 1024;

/// Names of the parameters of `list_services`, in the order of the contract.
const LIST_SERVICES: [&str; 4] = [
    "query",
    "include_unlisted",
    "include_app_services",
    "prioritize_running_services",
];

/// Names of the parameters of `get_service_info`, in the order of the contract.
const GET_SERVICE_INFO: [&str; 2] = ["service_id", "config"];

/// Maximum number of former addresses at which the manager serves calls. The number is limited,
/// because any client can make the manager connect at such an address. When the limit is exceeded,
/// the manager disconnects from the oldest address.
const FORMER_MAX: usize = 32;

/// Connects the manager at its current address, and registers the function with which the router
/// connects the manager at its former addresses.
///
/// # Errors
///
/// Fails if the address is taken, or the service cannot be registered.
pub(crate) async fn start(state: &Arc<State>) -> Result<(), Error> {
    let (client, mut record) = serve_as(state, &state.info.manager_id).await?;
    // This is the record that `get_service_info("~")` returns. It has the short id, and the fields
    // that the registry fills in for other services.
    record.id = resolve::MANAGER.into();
    record.config.workspace = Some(SERVER_WORKSPACE.into());
    record.config.singleton = Some(false);
    record.app_id = Some("*".into());
    state.clients.set_manager(client, record);
    // A strong reference would create a cycle, because the state owns the router, and the router
    // owns this function.
    let state_of = Arc::downgrade(state);
    state.router.set_on_demand(Box::new(move |manager_id| {
        let (state, manager_id) = (state_of.upgrade(), manager_id.to_owned());
        async move { serve_former(&state?, &manager_id).await }.boxed()
    }));
    Ok(())
}

/// Serves the manager at a former address, and returns the manager's peer at that address.
///
/// After a restart of the server, its clients still call the manager at the old address. They
/// accept responses only from that address. Returns `None` if `manager_id` is not a valid manager
/// id, or if the server is stopping.
async fn serve_former(state: &Arc<State>, manager_id: &str) -> Option<Arc<Peer>> {
    // Any client can send a message to any name, so a name that is not a manager id must not create
    // a client in the workspace of the server.
    let plausible = manager_id.starts_with("manager-") && wire::valid_client_id(manager_id);
    if !plausible || state.shutdown.is_stopping() {
        return None;
    }
    // This lock is held until the address is attached. If two messages for the address arrive at
    // the same time, the second message then finds the peer that the first message has created.
    let mut former = state.clients.former_managers().await;
    let present = || state.router.find(SERVER_WORKSPACE, manager_id);
    if let Some(present) = present() {
        return Some(present);
    }
    if former.len() >= FORMER_MAX {
        former.pop_front();
    }
    match serve_as(state, manager_id).await {
        Ok((client, _)) => former.push_back(client),
        Err(error) => {
            tracing::warn!(%error, manager_id, "cannot serve the manager at a former address")
        }
    }
    present()
}

/// Connects a client at an address, and registers the manager's service there. Returns the client
/// and the record of the service.
async fn serve_as(state: &Arc<State>, manager_id: &str) -> Result<(Client, ServiceInfo), Error> {
    let client = internal_client::connect_shared(
        state,
        SERVER_WORKSPACE,
        manager_id,
        QUEUE_BYTES,
        CONCURRENT_CALLS,
    )
    .await;
    let client =
        client.ok_or_else(|| Error::Invalid(format!("the address {manager_id} is in use")))?;
    let info = &state.info;
    let service = WorkspaceManagerService::new(Manager::new(state.clone()));
    let service = service
        .into_service()
        .name("Default workspace management service")
        .description("Services for managing workspace.")
        .visibility(Visibility::Public)
        .require_context(true)
        // Clients of the Python server read these keys.
        .config("server_id", info.server_id.as_str())
        .config("hypha_version", HYPHA_VERSION)
        .config("public_base_url", info.public_base_url.as_str())
        .config("local_base_url", info.local_base_url.as_str())
        .config("auth0_client_id", state.settings.tokens.client_id.as_str())
        .config("auth0_domain", state.settings.tokens.domain.as_str())
        .config("auth0_audience", state.settings.tokens.audience.as_str())
        .config("auth0_issuer", state.settings.tokens.issuer.as_str())
        .config("login_service_url", info.login_service_url());
    let service = listed_raw(service, state);
    // The record is not stored in the registry, because clients learn the manager's address when
    // they connect.
    let record = client.register_service(service).notify(false).await?;
    Ok((client, record))
}

/// Replaces the handlers of the methods that return records or events with handlers that send the
/// encoded result. Parameters and results are the same as in the contract.
fn listed_raw(service: Service, state: &Arc<State>) -> Service {
    let listing = state.clone();
    let summary = state.clone();
    let info = state.clone();
    let service = service.with_handler("get_service_info", move |call: IncomingCall| {
        let state = info.clone();
        async move {
            let args = call.args(&GET_SERVICE_INFO)?;
            let id: String = args.required(0)?;
            // Only the selection is read, because the timeout and the case conversion apply only to
            // `get_service`.
            let selection = args.optional::<Option<ServiceSelection>>(1)?.flatten();
            encoded(
                &call,
                contract::info(&state, call.context(), &id, selection).await,
            )
        }
    });
    let services = service.with_handler("list_services", move |call: IncomingCall| {
        let state = listing.clone();
        async move {
            let args = call.args(&LIST_SERVICES)?;
            // Python clients send `None` for an omitted argument.
            let query = args.optional::<Option<ServiceQuery>>(0)?.flatten();
            let include_unlisted: Option<bool> = args.optional(1)?;
            // These arguments are decoded only to refuse wrong types. The values are ignored,
            // because this server installs no applications.
            let _: (Option<bool>, Option<bool>) = (args.optional(2)?, args.optional(3)?);
            let unlisted = include_unlisted.unwrap_or(false);
            let listed = listing::services(&state, call.context(), query, unlisted).await;
            encoded(&call, listed)
        }
    });
    let log = state.clone();
    let services = services.with_handler("get_events", move |call: IncomingCall| {
        let state = log.clone();
        async move {
            let args = call.args(&["event_type", "start_time", "end_time"])?;
            let filter = EventFilter {
                event_type: args.optional::<Option<String>>(0)?.flatten(),
                start_time: args.optional::<Option<String>>(1)?.flatten(),
                end_time: args.optional::<Option<String>>(2)?.flatten(),
            };
            encoded(&call, events::read(&state, call.context(), &filter))
        }
    });
    services.with_handler("get_summary", move |call: IncomingCall| {
        let state = summary.clone();
        async move {
            call.args(&[])?;
            encoded(&call, listing::summary(&state, call.context()).await)
        }
    })
}

/// Converts the result of a method to a response. The encoded value becomes the only argument of
/// the response message.
fn encoded(call: &IncomingCall, result: Answer<Bytes>) -> Result<Args, WireError> {
    match result {
        Ok(result) => {
            let mut args = Args::new(1, 0);
            args.push_encoded(result);
            Ok(args)
        }
        Err(error) => Err(call.fail(error)),
    }
}
