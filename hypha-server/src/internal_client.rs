//! Clients inside the server: ordinary `hypha-rpc` clients on a memory link whose other end the
//! router holds.
//!
//! The manager, the login service and each plain HTTP request are such clients.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use hypha_rpc::Client;
use hypha_rpc::client::{Identity, Settings};
use hypha_rpc::transport::{Frame, memory};
use hypha_rpc::workspace::UserInfo;

use crate::memory::Account;
use crate::peer::{Outbox, Outgoing, Peer, Queued};
use crate::state::State;
use crate::workspace;

/// Frames in the link itself. Backpressure comes from the queue in front of it.
const LINK_FRAMES: usize = 64;
const BATCH: usize = 64;

/// Connects a client to the router, whose memory is charged to its user. Returns `None` if the
/// address is taken.
///
/// The client stays connected until its last handle is dropped, or the router closes it.
pub(crate) async fn connect(
    state: &Arc<State>,
    workspace: &str,
    client_id: &str,
    user: UserInfo,
    queue_bytes: usize,
    settings: Settings,
) -> Option<Client> {
    let account = state.memory.open(&user.id);
    connect_for(
        state,
        workspace,
        client_id,
        user,
        queue_bytes,
        settings,
        account,
    )
    .await
}

/// Connects a client like [`connect`], whose memory is charged to `account`. It is closed if the
/// account must give way.
pub(crate) async fn connect_for(
    state: &Arc<State>,
    workspace: &str,
    client_id: &str,
    user: UserInfo,
    queue_bytes: usize,
    settings: Settings,
    account: Account,
) -> Option<Client> {
    let (outbox, mut queue) = Outbox::new(queue_bytes, account.clone());
    let generation = state.router.next_generation();
    let peer = Peer::new(workspace, client_id, user.clone(), generation, outbox, None);
    let peer = Arc::new(peer);
    state.router.attach(peer.clone(), |_| false).ok()?;
    state.router.bus().subscribe_address(&peer.address).await;

    let (ours, theirs) = memory::pair(LINK_FRAMES);
    let (mut to_client, mut from_client) = ours.split();
    tokio::spawn(async move {
        let mut batch = Vec::new();
        let mut closed = std::pin::pin!(queue.closed());
        let mut gives_way = std::pin::pin!(account.gives_way());
        loop {
            tokio::select! {
                more = queue.take(&mut batch, BATCH) => if !more { return },
                _ = &mut closed => {
                    let _ = to_client.close().await;
                    return;
                }
                () = &mut gives_way => {
                    let _ = to_client.close().await;
                    return;
                }
            }
            for Queued { frame, held } in batch.drain(..) {
                let Outgoing::Binary(message) = frame else {
                    continue;
                };
                if to_client
                    .send(Frame::Binary(message.into_bytes()))
                    .await
                    .is_err()
                {
                    return;
                }
                drop(held);
            }
        }
    });
    tokio::spawn({
        let state = state.clone();
        async move {
            while let Some(Ok(Frame::Binary(bytes))) = from_client.next().await {
                state.router.route(&peer, bytes, None).await;
                tokio::task::coop::consume_budget().await;
            }
            // The link is closed. Detaching the peer drops its outbox, which ends the other task.
            workspace::internal_client_left(&state, &peer).await;
        }
    });

    let mut identity = Identity::new(workspace, client_id);
    identity.manager_id = Some(state.info.manager_id.clone());
    identity.public_base_url = Some(state.info.public_base_url.clone());
    identity.user = user;
    Some(Client::from_link(Box::new(theirs), identity, settings))
}
