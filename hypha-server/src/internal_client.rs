//! Clients inside the server: ordinary `hypha-rpc` clients on a memory link whose other end the
//! router holds.
//!
//! The manager, the login service and each plain HTTP request are such clients. The first two serve
//! all clients of the server, so their messages wait for no receiver.

use std::fmt;
use std::sync::{Arc, Weak};

use futures_util::{SinkExt, StreamExt};
use hypha_rpc::Client;
use hypha_rpc::client::{Identity, MemoryCharge, PeerMemory, Settings};
use hypha_rpc::transport::{Frame, memory};

use crate::auth::{self, Authenticated};
use crate::memory::{Account, SERVER_OWNER};
use crate::peer::{Outbox, Outgoing, Peer, Queue, Queued};
use crate::state::State;
use crate::workspace;

/// Frames in the link itself. Backpressure comes from the queue in front of it.
const LINK_FRAMES: usize = 64;
const BATCH: usize = 64;
/// Size and number of the chunks of a large reply of a server's service that are sent at once: at
/// most 2 MiB wait for the caller. Its messages never wait for room, so it limits itself.
const REPLY_CHUNK_BYTES: usize = 256 * 1024;
const REPLY_CHUNKS_AT_ONCE: usize = 8;

/// Bytes that one sender may have in unfinished messages to a client inside the server.
const CHUNK_BYTES: usize = 64 << 20;
/// Memory that the decoded values of a message to a client inside the server may occupy, unless
/// twice the length of the message is more. They are charged to the sender as well.
const DECODED_BYTES: usize = 32 << 20;

/// The account that pays for what a client inside the server holds: unfinished messages, requests
/// that run, decoded values.
enum Payer {
    /// The sender of each message, in one account for all clients inside the server.
    Sender(Weak<State>),
    /// The HTTP request for which the client acts.
    Request(Account),
}

impl Payer {
    fn account(&self, peer: &str) -> Result<Account, String> {
        match self {
            Payer::Request(account) => Ok(account.clone()),
            Payer::Sender(state) => {
                let state = state.upgrade().ok_or("the server is shutting down")?;
                Ok(match state.router.find_address(peer) {
                    // Its own account has what others have sent to it, however much that is.
                    Some(peer) if peer.serves_all => state.memory.open(SERVER_OWNER),
                    Some(peer) => peer.outbox.account().clone(),
                    // A peer at another server has no account here but this one.
                    None => state.memory.open(peer),
                })
            }
        }
    }
}

impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payer")
    }
}

impl PeerMemory for Payer {
    fn charge(&self, peer: &str, bytes: usize) -> Result<MemoryCharge, String> {
        match self.account(peer)?.try_charge(bytes) {
            Ok(charge) => Ok(Box::new(charge)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Connects a client with services for all clients of the server, in the name of the server. What
/// it holds for a caller is charged to the caller. Returns `None` if the address is taken.
///
/// One slow caller does not hold up its replies to the others.
pub(crate) async fn connect_shared(
    state: &Arc<State>,
    workspace: &str,
    client_id: &str,
    queue_bytes: usize,
    concurrent_calls: usize,
) -> Option<Client> {
    let mut settings = Settings::in_process();
    settings.max_concurrent_calls = concurrent_calls;
    settings.chunk_bytes = REPLY_CHUNK_BYTES;
    settings.large_frame_bytes = REPLY_CHUNK_BYTES;
    settings.max_concurrent_chunks = REPLY_CHUNKS_AT_ONCE;
    settings.memory = Some(Arc::new(Payer::Sender(Arc::downgrade(state))));
    let user = auth::root_user();
    let account = state.memory.open(SERVER_OWNER);
    let (outbox, queue) = Outbox::new(queue_bytes, account.clone());
    let generation = state.router.next_generation();
    let peer = Peer::new(workspace, client_id, user, generation, outbox, None).serving_all();
    attach(state, peer, queue, settings, account).await
}

/// Connects a client to the router, whose memory is charged to `account`, the messages to it
/// included. It is closed if the account must give way. Returns `None` if the address is taken.
///
/// The client stays connected until its last handle is dropped, or the router closes it.
pub(crate) async fn connect_for(
    state: &Arc<State>,
    workspace: &str,
    client_id: &str,
    user: impl Into<Authenticated>,
    queue_bytes: usize,
    mut settings: Settings,
    account: Account,
) -> Option<Client> {
    settings.memory = Some(Arc::new(Payer::Request(account.clone())));
    let (outbox, queue) = Outbox::new(queue_bytes, account.clone());
    let generation = state.router.next_generation();
    let peer = Peer::new(workspace, client_id, user, generation, outbox, None);
    attach(state, peer, queue, settings, account).await
}

async fn attach(
    state: &Arc<State>,
    peer: Peer,
    mut queue: Queue,
    mut settings: Settings,
    account: Account,
) -> Option<Client> {
    // One peer may use half of it.
    settings.max_chunk_bytes = 2 * CHUNK_BYTES;
    settings.max_decoded_bytes = DECODED_BYTES;
    let peer = Arc::new(peer);
    state.router.attach(peer.clone(), |_| false).ok()?;
    state.router.bus().subscribe_address(&peer.address).await;

    let mut identity = Identity::new(&peer.workspace, &peer.client_id);
    identity.manager_id = Some(state.info.manager_id.clone());
    identity.public_base_url = Some(state.info.public_base_url.clone());
    identity.user = peer.user.user.clone();

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

    Some(Client::from_link(Box::new(theirs), identity, settings))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::memory::{Budget, MemoryLimits};

    #[test]
    fn the_client_of_a_request_charges_the_request() {
        let budget = Budget::new(MemoryLimits {
            process: 1000,
            owner: 600,
            account: 600,
            patience: Duration::ZERO,
        });
        let payer = Payer::Request(budget.open("ann"));
        let first = payer.charge("ws/a", 400).expect("fits");
        let error = payer.charge("ws/b", 400).expect_err("exceeds the account");
        assert!(error.contains("memory limit"), "{error}");
        drop(first);
        assert_eq!(budget.stats().used, 0);
    }
}
