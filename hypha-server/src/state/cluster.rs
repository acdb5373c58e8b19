//! Messages of other servers, handed over by the bus.

use bytes::Bytes;
use hypha_rpc::Value;
use hypha_wire as wire;
use hypha_wire::Message;

use super::State;
use crate::auth;
use crate::bus::{Notice, Recipient};
use crate::peer::CloseOrder;
use crate::router::{NOBODY, Origin};

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
            // The bus cannot wait for room; a peer that lets too much pile up is closed.
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
                for hash in auth::hashes_to_revoke(&token) {
                    self.issuer.remember_revoked(hash, end);
                }
            }
        }
    }
}
