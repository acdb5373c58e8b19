//! Routes messages from addresses to connected clients.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hypha_wire as wire;
use hypha_wire::{Message, Stamp, Stamped};
use parking_lot::RwLock;
use serde::Serialize;

use crate::bus::Bus;
use crate::metrics::Counters;
use crate::peer::{Gone, Peer};

/// The workspace part of addresses inside the server.
pub(crate) const SERVER_WORKSPACE: &str = "*";
/// The client part of a broadcast.
const EVERYONE: &str = "*";

/// The address belongs to a connection that keeps it.
#[derive(Debug)]
pub(crate) struct Taken;

/// The sender of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client: the copy for a receiver without room is dropped.
    Client,
    /// The server itself: the copy for a receiver without room goes on top.
    Server,
}

/// Peers by workspace and client id.
type Peers = HashMap<String, HashMap<String, Arc<Peer>>>;

/// Connects a peer inside the server on demand, when a message for it arrives.
type OnDemand = Box<dyn Fn(&str) -> BoxFuture<'static, Option<Arc<Peer>>> + Send + Sync>;

pub(crate) struct Router {
    peers: RwLock<Peers>,
    on_demand: OnceLock<OnDemand>,
    generations: AtomicU64,
    counters: Arc<Counters>,
    deliver_timeout: Duration,
    bus: Box<dyn Bus>,
}

impl Router {
    pub(crate) fn new(
        counters: Arc<Counters>,
        deliver_timeout: Duration,
        bus: Box<dyn Bus>,
    ) -> Router {
        Router {
            peers: RwLock::default(),
            on_demand: OnceLock::new(),
            generations: AtomicU64::new(1),
            counters,
            deliver_timeout,
            bus,
        }
    }

    /// Returns the connection to the other servers.
    pub(crate) fn bus(&self) -> &dyn Bus {
        &*self.bus
    }

    /// Sets the function that connects peers inside the server on demand. Only the first call
    /// counts.
    pub(crate) fn set_on_demand(&self, on_demand: OnDemand) {
        let _ = self.on_demand.set(on_demand);
    }

    /// Returns the generation of the next connection.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn find(&self, workspace: &str, client_id: &str) -> Option<Arc<Peer>> {
        let peers = self.peers.read();
        peers.get(workspace)?.get(client_id).cloned()
    }

    /// Returns the peer with the address `workspace/client`.
    pub(crate) fn find_address(&self, address: &str) -> Option<Arc<Peer>> {
        let (workspace, client_id) = address.split_once('/')?;
        self.find(workspace, client_id)
    }

    /// Returns the peers that are connected to a workspace.
    pub(crate) fn members(&self, workspace: &str) -> Vec<Arc<Peer>> {
        let peers = self.peers.read();
        peers
            .get(workspace)
            .map(|inside| inside.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Returns the peers that are clients of users, in all workspaces.
    #[cfg(feature = "redis")]
    pub(crate) fn all(&self, is_internal: impl Fn(&Peer) -> bool) -> Vec<Arc<Peer>> {
        let peers = self.peers.read();
        let peers = peers.values().flat_map(|inside| inside.values());
        peers.filter(|peer| !is_internal(peer)).cloned().collect()
    }

    /// Routes to `peer` from now on. Replaces the peer with the same address if it
    /// `may_be_displaced`, and returns it.
    pub(crate) fn attach(
        &self,
        peer: Arc<Peer>,
        may_be_displaced: impl FnOnce(&Peer) -> bool,
    ) -> Result<Option<Arc<Peer>>, Taken> {
        let mut peers = self.peers.write();
        let inside = peers.entry(peer.workspace.clone()).or_default();
        match inside.get(&peer.client_id) {
            Some(present) if !may_be_displaced(present) => Err(Taken),
            _ => Ok(inside.insert(peer.client_id.clone(), peer)),
        }
    }

    /// Stops routing to `peer`. Returns false if a newer connection has its address.
    pub(crate) fn detach(&self, peer: &Peer) -> bool {
        let mut peers = self.peers.write();
        let Some(inside) = peers.get_mut(&peer.workspace) else {
            return false;
        };
        let current = inside
            .get(&peer.client_id)
            .is_some_and(|present| present.generation == peer.generation);
        if current {
            inside.remove(&peer.client_id);
            if inside.is_empty() {
                peers.remove(&peer.workspace);
            }
            drop(peers);
            self.bus.unsubscribe_address(&peer.address);
        }
        current
    }

    /// Delivers a message of `sender`. Waits up to the deliver timeout for room at the receiver.
    pub(crate) async fn route(&self, sender: &Peer, frame: Bytes) {
        let Ok(message) = Message::parse(frame) else {
            return self.counters.dropped_garbage.add();
        };
        let Some(to) = message.to().filter(|to| !to.is_empty()) else {
            return self.counters.dropped_garbage.add();
        };
        // An address without a workspace is in the sender's workspace.
        let (workspace, client_id) = to.split_once('/').unwrap_or((&sender.workspace, to));
        if client_id == EVERYONE {
            return self.broadcast(sender, workspace, &message);
        }
        let mut target = self.find(workspace, client_id);
        if target.is_none() {
            let address = format!("{workspace}/{client_id}");
            let frame = stamp(sender, &message, &address, workspace);
            if self.bus.send(&address, frame.into_bytes()).await {
                return self.counters.messages_routed.add();
            }
        }
        if let (None, SERVER_WORKSPACE, Some(on_demand)) =
            (&target, workspace, self.on_demand.get())
        {
            target = on_demand(client_id).await;
        }
        match target {
            Some(target) => {
                let frame = stamp(sender, &message, &target.address, workspace);
                if self.deliver(sender, &target, frame).await.is_err() {
                    self.refuse_absent(sender, &message, &target.address);
                }
            }
            None => self.refuse_absent(sender, &message, &format!("{workspace}/{client_id}")),
        }
    }

    async fn deliver(&self, sender: &Peer, target: &Peer, frame: Stamped) -> Result<(), Gone> {
        if sender.workspace == SERVER_WORKSPACE {
            target.outbox.push(frame)?;
        } else {
            let mut sending = std::pin::pin!(target.outbox.send(frame));
            // There is nearly always room, and reading the clock costs more than the message.
            let sent = match sending.as_mut().now_or_never() {
                Some(sent) => sent,
                // Nothing of the sender is read while it waits, its pings neither: a receiver that
                // is slow for longer is disconnected, or the sender would lose its connection too.
                None => match tokio::time::timeout(self.deliver_timeout, sending).await {
                    Ok(sent) => sent,
                    Err(_) => {
                        self.counters.closed_slow.add();
                        target.outbox.close_unread();
                        Err(Gone)
                    }
                },
            };
            sent?;
        }
        self.counters.messages_routed.add();
        Ok(())
    }

    /// Sends to every subscriber in the sender's workspace, the sender included.
    fn broadcast(&self, sender: &Peer, workspace: &str, message: &Message) {
        let from_server = sender.workspace == SERVER_WORKSPACE;
        let problem = if from_server {
            None
        } else if workspace != sender.workspace {
            Some(format!(
                "Client {} cannot broadcast to another workspace",
                sender.address
            ))
        } else if sender.is_read_only() {
            Some(format!(
                "Read-only client {} cannot broadcast messages. Only point-to-point messages are \
                 allowed for read-only clients.",
                sender.address
            ))
        } else {
            None
        };
        if let Some(problem) = problem {
            self.counters.rejected_forbidden.add();
            let target = format!("{workspace}/{EVERYONE}");
            return self.reject(sender, message, &target, &problem);
        }
        let to = format!("{workspace}/{EVERYONE}");
        let frame = stamp(sender, message, &to, workspace).into_bytes();
        if !self.bus.broadcast(workspace, &frame) {
            let origin = if from_server {
                Origin::Server
            } else {
                Origin::Client
            };
            self.publish(workspace, message.kind(), frame, origin);
        }
    }

    /// Sends a system event: one map without `from`, `ws` and `user`.
    pub(crate) fn event<T: Serialize + ?Sized>(&self, workspace: &str, kind: &str, data: &T) {
        #[derive(Serialize)]
        struct Event<'a, T: ?Sized> {
            r#type: &'a str,
            to: &'a str,
            data: &'a T,
        }
        let event = Event {
            r#type: kind,
            to: EVERYONE,
            data,
        };
        if self
            .bus
            .event(workspace, &|| serde_json::to_vec(&event).ok())
        {
            return;
        }
        match wire::to_vec(&event) {
            Ok(frame) => self.publish(workspace, kind, frame.into(), Origin::Server),
            Err(error) => tracing::error!(%error, kind, "cannot encode an event"),
        }
    }

    /// Sends a broadcast to the subscribers that are connected to this server. It never waits, and
    /// closes no connection because of what clients send.
    pub(crate) fn publish(&self, workspace: &str, kind: &str, frame: Bytes, origin: Origin) {
        self.counters.broadcasts.add();
        for member in self.members(workspace) {
            if !member.is_subscribed(kind) {
                continue;
            }
            let frame = frame.clone();
            let queued = match origin {
                Origin::Server => member.outbox.push(frame).is_ok(),
                Origin::Client => member.outbox.offer(frame).is_ok(),
            };
            if queued {
                self.counters.messages_routed.add();
            } else {
                self.counters.dropped_slow.add();
            }
        }
    }

    /// Rejects a call to a peer that is not connected. A message without a session has no waiting
    /// caller: a rejection would only multiply the messages after each disconnect.
    fn refuse_absent(&self, sender: &Peer, message: &Message, target: &str) {
        if message.session().is_some() {
            self.counters.rejected_absent.add();
        } else {
            self.counters.dropped_absent.add();
        }
        self.reject(
            sender,
            message,
            target,
            &format!("Target peer {target} is not connected"),
        );
    }

    /// Rejects a call in the name of its target. `target` is the full address: the caller accepts
    /// replies only from the address that it called.
    fn reject(&self, sender: &Peer, message: &Message, target: &str, problem: &str) {
        let Some(session) = message.session() else {
            return;
        };
        match rejection(&sender.address, session, target, problem) {
            Ok(frame) => drop(sender.outbox.push(frame)),
            Err(error) => tracing::error!(%error, "cannot encode a rejection"),
        }
    }
}

/// Writes sender and receiver into a message. A message of the server itself carries the receiver's
/// workspace, because clients refuse other ones.
fn stamp(sender: &Peer, message: &Message, to: &str, workspace: &str) -> Stamped {
    let from_server = sender.workspace == SERVER_WORKSPACE;
    message.stamped(&Stamp {
        to,
        from: &sender.address,
        ws: if from_server {
            workspace
        } else {
            &sender.workspace
        },
        user: &sender.user_raw,
    })
}

fn rejection(
    to: &str,
    session: &str,
    from: &str,
    problem: &str,
) -> Result<Bytes, wire::EncodeError> {
    #[derive(Serialize)]
    struct Main<'a> {
        r#type: &'a str,
        from: &'a str,
        to: &'a str,
        method: String,
    }
    #[derive(Serialize)]
    struct Extra {
        args: [wire::WireError; 1],
    }
    let main = Main {
        r#type: "method",
        from,
        to,
        method: format!("{session}.reject"),
    };
    let error = wire::WireError {
        message: problem.to_owned(),
        trace: String::new(),
        name: None,
        data: None,
    };
    let mut frame = wire::to_vec(&main)?;
    wire::encode(&mut frame, &Extra { args: [error] })?;
    Ok(frame.into())
}
