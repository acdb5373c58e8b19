//! Handles the messages and notices of other servers, which the bus passes to the state.
//!
//! The functions here never wait, because one task delivers the messages for all clients. Slow work
//! runs in separate tasks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypha_rpc::Value;
use hypha_wire as wire;
use hypha_wire::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::State;
use crate::auth;
use crate::bus::{Notice, REPEAT, Recipient};
use crate::metrics::Counters;
use crate::peer::{CloseOrder, Peer};
use crate::router::{NOBODY, Origin};

/// Replies to a probe of another server after the client has read most of its queue. Until then,
/// reports at intervals that the client does not keep up, so that the other server keeps waiting.
/// Disconnects a client that reads nothing for `read_timeout`.
async fn reply_later(
    peer: Arc<Peer>,
    mut relieved: oneshot::Receiver<()>,
    reply: impl Fn(bool),
    read_timeout: Duration,
    counters: Arc<Counters>,
) {
    let (mut before, mut since) = (peer.outbox.progress(), Instant::now());
    loop {
        reply(true);
        let pause = REPEAT.min(read_timeout);
        if tokio::time::timeout(pause, &mut relieved).await.is_ok() {
            return reply(false);
        }
        let progress = peer.outbox.progress();
        if progress != before {
            (before, since) = (progress, Instant::now());
        } else if since.elapsed() >= read_timeout {
            // Closing the queue completes `relieved`, so the loop ends with a reply.
            counters.closed_slow.add();
            peer.outbox.close_unread();
        }
    }
}

impl Recipient for State {
    fn is_connected(&self, address: &str) -> bool {
        self.router.find_address(address).is_some()
    }

    fn message(&self, address: &str, frame: Bytes) {
        if let Some(peer) = self.router.find_address(address) {
            // This server records the call only for the receiver. The sender's server has recorded
            // the call for the sender.
            if let Ok(message) = Message::parse(frame.clone())
                && let (Some(from), Some(_)) = (message.from(), message.session())
            {
                peer.partners.note(from);
            }
            if let Some(pace) = &peer.pace {
                pace.add_remote_requester();
            }
            // `push` does not wait for room. Instead the other servers send probes, and the senders
            // at those servers wait until the client keeps up. If the client's memory account is
            // exhausted despite the probes, `push` disconnects the client.
            if peer.outbox.push(frame).is_ok() {
                self.counters.messages_routed.add();
            }
        }
    }

    fn broadcast(&self, workspace: &str, frame: Bytes) {
        if let Ok(message) = Message::parse(frame.clone()) {
            self.router
                .publish(workspace, message.kind(), frame, Origin::Client, NOBODY);
        }
    }

    fn event(&self, workspace: &str, event: serde_json::Value) {
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        match wire::to_vec(&Value::from(event)) {
            Ok(frame) => {
                self.router
                    .publish(workspace, &kind, frame.into(), Origin::Server, NOBODY)
            }
            Err(error) => tracing::warn!(%error, kind, "cannot encode an event of another server"),
        }
    }

    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Taken { address } => {
                if let Some(peer) = self.router.find_address(&address) {
                    // The peer is only detached, and the rest of `client_left` is skipped. The
                    // client is now connected to another server, and its services belong to the new
                    // connection.
                    self.router.detach(&peer);
                    let reason = "Replaced by a newer connection with the same id";
                    peer.outbox.close(CloseOrder::new(1001, reason));
                }
            }
            Notice::Probe {
                address,
                number,
                server,
            } => {
                let Some(peer) = self.router.find_address(&address) else {
                    return;
                };
                let bus = self.router.bus().clone();
                let reply = move |held| {
                    bus.announce(Notice::ProbeReply {
                        address: address.clone(),
                        number,
                        server: server.clone(),
                        held,
                    });
                };
                let Some(relieved) = peer.outbox.relieved() else {
                    return reply(false);
                };
                self.counters.congested.add();
                let read_timeout = self.settings.limits.deliver_timeout;
                let counters = self.counters.clone();
                self.shutdown
                    .spawn(reply_later(peer, relieved, reply, read_timeout, counters));
            }
            // The bus handles the replies to its own probes.
            Notice::ProbeReply { .. } => {}
            Notice::Left { address } => self.router.notify_partners_of(&address, true),
            Notice::Unloaded { workspace } => {
                let reason = format!("Workspace unloaded: {workspace}");
                for member in self.router.members(&workspace) {
                    let order = CloseOrder::new(1001, reason.clone());
                    member.outbox.close(order.with_error_frame());
                }
            }
            Notice::ServerLost { server } => {
                self.counters.servers_lost.add();
                tracing::warn!(
                    server,
                    "another server has ended without removing its records"
                );
            }
            Notice::Revoked { token, end } => {
                self.issuer.remember_all_revoked(&token, end);
                if let Some(user_id) = auth::account_of(&token) {
                    self.disconnect_user(user_id);
                }
            }
        }
    }
}
