//! The manager's connection: a client on a memory link whose other end the router owns.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hypha_rpc::Client;
use hypha_rpc::client::{Identity, Options};
use hypha_rpc::service::IntoService;
use hypha_rpc::transport::{Frame, memory};
use hypha_rpc::workspace::{Visibility, WorkspaceManagerService};

use super::manager::Manager;
use crate::auth;
use crate::router::SERVER_WORKSPACE;
use crate::session::{Outbox, Outgoing, Peer, Queued};
use crate::state::{HYPHA_VERSION, State};

/// Frames in the link itself; the queues that matter are before it.
const LINK_FRAMES: usize = 64;
/// Room for calls that wait for the manager.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Calls to the manager that run at the same time.
const CONCURRENT_CALLS: usize = 16 * 1024;
const BATCH: usize = 64;
/// A large reply goes in chunks of this size, and so many at a time: 2 MiB of it wait for the caller
/// at most. What the manager sends finds room always, so it has to keep its own measure.
const CHUNK_BYTES: usize = 256 * 1024;
const CHUNKS_AT_ONCE: usize = 8;

/// Connect the manager to the router and let it serve.
pub(crate) async fn start(state: &Arc<State>) -> Result<(), hypha_rpc::Error> {
    let (outbox, mut queue) = Outbox::new(QUEUE_BYTES);
    let manager_id = &state.info.manager_id;
    let generation = state.router.next_generation();
    let user = auth::root_user();
    let peer = Peer::new(
        SERVER_WORKSPACE,
        manager_id,
        user.clone(),
        generation,
        outbox,
    );
    let peer = Arc::new(peer);
    // Nobody else can be there yet: no client gets into the workspace `*`.
    let _ = state.router.attach(peer.clone(), |_| true);

    let (ours, theirs) = memory::pair(LINK_FRAMES);
    let (mut to_manager, mut from_manager) = ours.split();
    tokio::spawn(async move {
        let mut batch = Vec::new();
        while queue.take(&mut batch, BATCH).await {
            for Queued { frame, held } in batch.drain(..) {
                let Outgoing::Binary(bytes) = frame else {
                    continue;
                };
                if to_manager.send(Frame::Binary(bytes)).await.is_err() {
                    return;
                }
                drop(held);
            }
        }
    });
    tokio::spawn({
        let state = state.clone();
        async move {
            while let Some(Ok(Frame::Binary(bytes))) = from_manager.next().await {
                state.router.route(&peer, bytes).await;
            }
            // Closed: nothing more is to be sent to it either, which ends the other task.
            state.router.detach(&peer);
        }
    });

    let mut identity = Identity::new(SERVER_WORKSPACE, manager_id);
    identity.manager_id = Some(manager_id.clone());
    identity.public_base_url = Some(state.info.public_base_url.clone());
    identity.user = user;
    let mut options = Options::default();
    options.max_concurrent_calls = CONCURRENT_CALLS;
    options.chunk_size = CHUNK_BYTES;
    options.large_frame = CHUNK_BYTES;
    options.chunk_concurrency = CHUNKS_AT_ONCE;
    let client = Client::over(Box::new(theirs), identity, options);
    let info = &state.info;
    let login = format!("{}/public/services/hypha-login", info.public_base_url);
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
        .config("auth0_client_id", "")
        .config("auth0_domain", "")
        .config("auth0_audience", crate::auth::AUDIENCE)
        .config("auth0_issuer", crate::auth::ISSUER)
        .config("login_service_url", login);
    // It is in no registry: clients know its address.
    client.register_service(service).notify(false).await?;
    state.set_manager(Some(client));
    Ok(())
}
