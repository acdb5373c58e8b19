//! Connects clients inside the server. These clients are ordinary `hypha-rpc` clients on a memory
//! link, and the router holds the other end of the link.
//!
//! The manager, the login service and the admin service each have a client inside the server. The
//! server also connects a client for each plain HTTP request.
//!
//! A service of the server serves all clients from one queue, so the messages of a service never
//! wait for a receiver ([`connect_shared`]). The messages of an HTTP request's client wait for slow
//! receivers, like the messages of clients on sockets ([`connect_for`]).
//!
//! Two tasks serve a link, one for each direction. Both hold parts of the server's state and end
//! when the link closes, so the state is freed only when all clients inside the server are dropped.

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

/// Capacity of the link, in frames. The capacity is small, because frames in the link are not
/// charged. Frames in the queue before the link are charged, and that queue provides the
/// backpressure.
const LINK_FRAMES: usize = 64;
/// Maximum number of frames taken from the queue at once.
const BATCH: usize = 64;
/// Chunk size for large responses of the server's services, in bytes.
const REPLY_CHUNK_BYTES: usize = 256 * 1024;
/// Maximum number of chunks of [`REPLY_CHUNK_BYTES`] that wait for one caller: 2 MiB in total. The
/// frames of a service never wait for room, so without this limit a whole response of any size
/// would be queued.
const REPLY_CHUNKS_AT_ONCE: usize = 8;

/// Maximum size of the unfinished messages from one sender to a client inside the server, in bytes.
const CHUNK_BYTES: usize = 64 << 20;
/// Maximum memory of the decoded values of a message to a client inside the server, in bytes. For a
/// large message, the limit is twice its length. The sender is charged for the values as well.
const DECODED_BYTES: usize = 32 << 20;

/// The account to which a client inside the server charges memory that it holds for its peers:
/// unfinished messages, running requests, decoded values.
enum Payer {
    /// Charges the account of each message's sender. The reference is weak, because the state owns
    /// the clients of the services.
    Sender(Weak<State>),
    /// Charges the account of the HTTP request for which the client acts.
    Request(Account),
}

impl Payer {
    /// Returns the account to which memory for `peer` is charged.
    ///
    /// # Errors
    ///
    /// Fails if the server is shutting down.
    fn account(&self, peer: &str) -> Result<Account, String> {
        match self {
            Payer::Request(account) => Ok(account.clone()),
            Payer::Sender(state) => {
                let state = state.upgrade().ok_or("the server is shutting down")?;
                Ok(match state.router.find_address(peer) {
                    // The account of another service holds the messages of all clients to that
                    // service. If that account is exhausted, the service is not at fault.
                    Some(peer) if peer.serves_all => state.memory.open(SERVER_OWNER),
                    Some(peer) => peer.outbox.account().clone(),
                    // A peer at another server has no connection here. Such a peer gets an account
                    // under its own address, so that its memory is not charged to other clients.
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

/// Connects a client that offers services to all clients of the server, with the permissions of the
/// server. Memory that the client holds for a caller is charged to the caller. Returns `None` if
/// the address is taken.
///
/// The client's frames do not wait until a slow caller has room, so responses to other callers are
/// not delayed. `queue_bytes` limits the size of the calls that wait for the client, and
/// `concurrent_calls` limits the number of calls that run at the same time.
///
/// The client stays connected until its last handle is dropped, or until the router closes the
/// client.
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

/// Connects a client for `user`. The client's memory, including the messages that wait for the
/// client, is charged to `account`. The client is closed if the account is evicted. Returns `None`
/// if the address is taken.
///
/// The client stays connected until its last handle is dropped, or until the router closes the
/// client.
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

/// Attaches a peer to the router, and connects a new client to the peer over a memory link. Returns
/// `None` if the address is taken.
async fn attach(
    state: &Arc<State>,
    peer: Peer,
    mut queue: Queue,
    mut settings: Settings,
    account: Account,
) -> Option<Client> {
    // The value is doubled: the setting limits all peers together, and one peer may use only half
    // of this limit.
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
                // No frame will follow. The other task has found the link closed and has detached
                // the peer.
                more = queue.take(&mut batch, BATCH) => if !more { return },
                _ = &mut closed => {
                    // Fails only if the client has closed the link itself, so the error is ignored.
                    let _ = to_client.close().await;
                    return;
                }
                () = &mut gives_way => {
                    let _ = to_client.close().await;
                    return;
                }
            }
            for Queued { frame, held } in batch.drain(..) {
                // A frame that is not binary is a control message for a client on a socket, so it
                // is not sent.
                let Outgoing::Binary(message) = frame else {
                    continue;
                };
                if to_client
                    .send(Frame::Binary(message.into_bytes()))
                    .await
                    .is_err()
                {
                    // The client has closed the link. The other task also sees this, and detaches
                    // the peer.
                    return;
                }
                // The frame is dropped only now, because it occupied the queue until the link took
                // it.
                drop(held);
            }
        }
    });
    tokio::spawn({
        let state = state.clone();
        async move {
            while let Some(Ok(Frame::Binary(bytes))) = from_client.next().await {
                state.router.route(&peer, bytes, None).await;
                // This call yields now and then. Otherwise a link that always has a frame ready
                // would block other tasks on this thread.
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
