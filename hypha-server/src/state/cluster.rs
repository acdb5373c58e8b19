//! Messages of other servers, handed over by the bus.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hypha_rpc::Value;
use hypha_wire as wire;
use hypha_wire::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::State;
use crate::bus::{Notice, REPEAT, Recipient};
use crate::metrics::Counters;
use crate::peer::{CloseOrder, Peer};
use crate::router::{NOBODY, Origin};

/// Answers another server when the client has taken half of what waits for it here. A client that
/// takes nothing for `patience` is disconnected.
async fn answer_later(
    peer: Arc<Peer>,
    mut relieved: oneshot::Receiver<()>,
    answer: impl Fn(bool),
    patience: Duration,
    counters: Arc<Counters>,
) {
    let (mut before, mut since) = (peer.outbox.progress(), Instant::now());
    loop {
        answer(true);
        let pause = REPEAT.min(patience);
        if tokio::time::timeout(pause, &mut relieved).await.is_ok() {
            return answer(false);
        }
        let progress = peer.outbox.progress();
        if progress != before {
            (before, since) = (progress, Instant::now());
        } else if since.elapsed() >= patience {
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
            if let Ok(message) = Message::parse(frame.clone())
                && let (Some(from), Some(_)) = (message.from(), message.session())
            {
                peer.partners.note(from);
            }
            if let Some(pace) = &peer.pace {
                pace.asked_remotely();
            }
            // The bus cannot wait for room: the other servers wait for an answer. A peer for which
            // too much piles up all the same is closed.
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
                    // The client lives on elsewhere: its services belong to its new connection.
                    self.router.detach(&peer);
                    let reason = "Replaced by a newer connection with the same id";
                    peer.outbox.close(CloseOrder::new(1001, reason));
                }
            }
            Notice::Asked {
                address,
                number,
                server,
            } => {
                let Some(peer) = self.router.find_address(&address) else {
                    return;
                };
                let bus = self.router.bus().clone();
                let answer = move |held| {
                    bus.announce(Notice::Answered {
                        address: address.clone(),
                        number,
                        server: server.clone(),
                        held,
                    });
                };
                let Some(relieved) = peer.outbox.relieved() else {
                    return answer(false);
                };
                self.counters.congested.add();
                let patience = self.settings.limits.deliver_timeout;
                let counters = self.counters.clone();
                self.shutdown
                    .spawn(answer_later(peer, relieved, answer, patience, counters));
            }
            // The bus itself has asked.
            Notice::Answered { .. } => {}
            Notice::Left { address } => self.router.tell_partners_of(&address, true),
            Notice::Unloaded { workspace } => {
                let reason = format!("Workspace unloaded: {workspace}");
                for member in self.router.members(&workspace) {
                    let order = CloseOrder::new(1001, reason.clone());
                    member.outbox.close(order.with_error_frame());
                }
            }
            Notice::ServerLost { server } => {
                self.counters.servers_lost.add();
                tracing::warn!(server, "a server has ended without a word");
            }
            Notice::Revoked { token, end } => {
                self.issuer.remember_all_revoked(&token, end);
            }
        }
    }
}
