//! The manager's connection: a client inside the server.

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

/// Bytes of calls that wait for the manager. More would not make it faster, and it would still work
/// on them when those who have sent them are long gone.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Calls to the manager that run at the same time.
const CONCURRENT_CALLS: usize = 16 * 1024;

/// The parameters of `list_services`.
const LIST_SERVICES: [&str; 4] = [
    "query",
    "include_unlisted",
    "include_app_services",
    "prioritize_running_services",
];

/// The parameters of `get_service_info`.
const GET_SERVICE_INFO: [&str; 2] = ["service_id", "config"];

/// Bound on the former addresses at which the manager answers. The oldest is dropped.
const FORMER_MAX: usize = 32;

/// Connects the manager to the router.
pub(crate) async fn start(state: &Arc<State>) -> Result<(), Error> {
    let (client, mut record) = serve_as(state, &state.info.manager_id).await?;
    record.id = resolve::MANAGER.into();
    record.config.workspace = Some(SERVER_WORKSPACE.into());
    record.config.singleton = Some(false);
    record.app_id = Some("*".into());
    state.clients.set_manager(client, record);
    let state_of = Arc::downgrade(state);
    state.router.set_on_demand(Box::new(move |manager_id| {
        let (state, manager_id) = (state_of.upgrade(), manager_id.to_owned());
        async move { serve_former(&state?, &manager_id).await }.boxed()
    }));
    Ok(())
}

/// Serves the manager at a former address. After a restart other clients go on calling it there,
/// and accept replies from no other address.
async fn serve_former(state: &Arc<State>, manager_id: &str) -> Option<Arc<Peer>> {
    let plausible = manager_id.starts_with("manager-") && wire::valid_client_id(manager_id);
    if !plausible || state.shutdown.is_stopping() {
        return None;
    }
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

/// Serves the manager at an address, its present or a former one.
async fn serve_as(state: &Arc<State>, manager_id: &str) -> Result<(Client, ServiceInfo), Error> {
    let client = internal_client::connect_shared(
        state,
        SERVER_WORKSPACE,
        manager_id,
        QUEUE_BYTES,
        CONCURRENT_CALLS,
    )
    .await;
    let client = client.ok_or_else(|| Error::Invalid(format!("{manager_id} is there already")))?;
    let info = &state.info;
    let service = WorkspaceManagerService::new(Manager::new(state.clone()));
    let service = service
        .into_service()
        .name("Default workspace management service")
        .description("Services for managing workspace.")
        .visibility(Visibility::Public)
        .require_context(true)
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
    // It is in no registry: clients know its address.
    let record = client.register_service(service).notify(false).await?;
    Ok((client, record))
}

/// Makes the methods that return records pass them on as they are stored: encoded.
fn listed_raw(service: Service, state: &Arc<State>) -> Service {
    let listing = state.clone();
    let summary = state.clone();
    let info = state.clone();
    let service = service.with_handler("get_service_info", move |call: IncomingCall| {
        let state = info.clone();
        async move {
            let args = call.args(&GET_SERVICE_INFO)?;
            let id: String = args.required(0)?;
            // The rest of the config is for services that are fetched.
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
            // Null is as good as nothing.
            let query = args.optional::<Option<ServiceQuery>>(0)?.flatten();
            let include_unlisted: Option<bool> = args.optional(1)?;
            // Of installed applications there are none.
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

/// Replies with an encoded result.
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
