//! Routes messages from addresses to connected clients.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hypha_wire as wire;
use hypha_wire::keys::MESSAGE_CACHE;
use hypha_wire::{Message, Stamp, Stamped};
use parking_lot::RwLock;
use serde::Serialize;

use crate::bus::{Bus, Notice};
use crate::memory::{Charge, OverBudget};
use crate::metrics::Counters;
use crate::peer::{Peer, Unsent};

/// The workspace part of addresses inside the server.
pub(crate) const SERVER_WORKSPACE: &str = "*";
/// The client part of a broadcast.
const EVERYONE: &str = "*";

/// The event about a client that is gone.
pub(crate) const CLIENT_DISCONNECTED: &str = "client_disconnected";
/// The subject of an event that is about no connection.
pub(crate) const NOBODY: u64 = 0;
/// Longest address of a message, in bytes. Names of workspaces and clients are shorter.
const ADDRESS_MAX: usize = 1024;
/// Parts of a large message are no messages if they have this size, in bytes.
const PART_MIN: usize = 16 * 1024;
/// Methods by which a call is answered, behind the session.
const ANSWERS: [&str; 3] = ["resolve", "reject", "heartbeat"];

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
    bus: Arc<dyn Bus>,
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
            bus: bus.into(),
        }
    }

    /// Returns the connection to the other servers.
    pub(crate) fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
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
            present => {
                if let Some(former) = present {
                    peer.partners.inherit(&former.partners);
                }
                Ok(inside.insert(peer.client_id.clone(), peer))
            }
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

    fn is_attached(&self, peer: &Peer) -> bool {
        let present = self.find(&peer.workspace, &peer.client_id);
        present.is_some_and(|present| present.generation == peer.generation)
    }

    /// Tells the partners of a client that has been detached that it is gone. If that was
    /// `announced` in its workspace, subscribers there know it already.
    pub(crate) async fn tell_partners(&self, gone: &Peer, announced: bool) {
        let (partners, incomplete) = gone.partners.take();
        for partner in partners {
            match self.find_address(&partner) {
                Some(partner) => {
                    if partner.partners.forget(&gone.address)
                        && !(announced && hears_of(&partner, &gone.workspace))
                    {
                        self.tell(&partner, gone.generation, &gone.workspace, &gone.client_id);
                    }
                }
                None => {
                    if let Some(event) = gone_event(&partner, &gone.workspace, &gone.client_id) {
                        self.bus.send_at_once(&partner, event).await;
                    }
                }
            }
        }
        if incomplete {
            self.tell_partners_of(&gone.address, announced);
            self.bus.announce(Notice::Left {
                address: gone.address.clone(),
            });
        }
    }

    /// Tells the clients of this server that have calls with the client `address` that it is gone,
    /// without those that know it if that was `announced` in its workspace.
    pub(crate) fn tell_partners_of(&self, address: &str, announced: bool) {
        let Some((workspace, client_id)) = address.split_once('/') else {
            return;
        };
        let all: Vec<Arc<Peer>> = {
            let peers = self.peers.read();
            peers.values().flat_map(HashMap::values).cloned().collect()
        };
        for peer in all {
            if peer.partners.forget(address) && !(announced && hears_of(&peer, workspace)) {
                self.tell(&peer, NOBODY, workspace, client_id);
            }
        }
    }

    /// Tells one peer that a client is gone, behind the messages of its connection `subject`.
    fn tell(&self, peer: &Peer, subject: u64, workspace: &str, client_id: &str) {
        if let Some(event) = gone_event(&peer.address, workspace, client_id) {
            self.counters.told_gone.add();
            let _ = peer.outbox.push_behind(subject, event);
        }
    }

    /// Delivers a message of `sender`. Waits for room at the receiver for as long as that makes
    /// progress. `charge` is for the memory of a large frame; it ends when the receiver has the
    /// message, or nobody has.
    pub(crate) async fn route(&self, sender: &Peer, frame: Bytes, charge: Option<Charge>) {
        self.deliver_to_target(sender, frame).await;
        drop(charge);
    }

    async fn deliver_to_target(&self, sender: &Peer, frame: Bytes) {
        let Ok(message) = Message::parse(frame) else {
            charge_message(sender, 0);
            return self.counters.dropped_garbage.add();
        };
        let is_address = |to: &&str| (1..=ADDRESS_MAX).contains(&to.len());
        let Some(to) = message.to().filter(is_address) else {
            charge_message(sender, message.len());
            return self.counters.dropped_garbage.add();
        };
        // An address without a workspace is in the sender's workspace.
        let (workspace, client_id) = to.split_once('/').unwrap_or((&sender.workspace, to));
        if let Some(key) = message.overriding_key() {
            charge_message(sender, message.len());
            return self.refuse_override(
                sender,
                &message,
                &format!("{workspace}/{client_id}"),
                key,
            );
        }
        if client_id == EVERYONE {
            charge_message(sender, message.len());
            return self.broadcast(sender, workspace, &message).await;
        }
        let mut target = self.find(workspace, client_id);
        charge_for(sender, target.as_deref(), &message);
        if target.is_none() {
            let address = format!("{workspace}/{client_id}");
            let frame = stamp(sender, &message, &address, workspace);
            let is_new = message.session().is_some() && sender.partners.note(&address);
            // The clients of the server itself serve all from one queue, and never wait.
            let sending = match sender.serves_all {
                true => self.bus.send_at_once(&address, frame.into_bytes()),
                false => self.bus.send(&address, frame.into_bytes()),
            };
            if sending.await {
                return self.counters.messages_routed.add();
            }
            // An address that nobody has costs nothing.
            if is_new {
                sender.partners.forget(&address);
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
                // Noted before the delivery: whoever leaves after it finds the other one.
                let is_new = message.session().is_some() && note_call(sender, &target);
                match self.deliver(sender, &target, frame).await {
                    Ok(()) => self.counters.messages_routed.add(),
                    Err(Unsent::OverBudget(error)) => {
                        return self.refuse_memory(sender, &message, &target.address, &error);
                    }
                    Err(Unsent::Gone) => {
                        return self.refuse_absent(sender, &message, &target.address);
                    }
                }
                // A target that was detached before the note has told its partners already.
                if is_new && !self.is_attached(&target) {
                    self.refuse_absent(sender, &message, &target.address);
                }
            }
            None => self.refuse_absent(sender, &message, &format!("{workspace}/{client_id}")),
        }
    }

    async fn deliver(&self, sender: &Peer, target: &Peer, frame: Stamped) -> Result<(), Unsent> {
        if sender.serves_all {
            return target.outbox.push(frame).map_err(|_| Unsent::Gone);
        }
        let mut sending = std::pin::pin!(target.outbox.send(sender.generation, frame));
        // There is nearly always room, and reading the clock costs more than the message.
        if let Some(sent) = sending.as_mut().now_or_never() {
            return sent;
        }
        // Nothing of the sender is read while it waits, its pings neither: a receiver that takes
        // nothing for longer is disconnected, or the sender would lose its connection too.
        loop {
            let before = target.outbox.progress();
            match tokio::time::timeout(self.deliver_timeout, sending.as_mut()).await {
                Ok(sent) => return sent,
                Err(_) if target.outbox.progress() != before => {}
                Err(_) => {
                    self.counters.closed_slow.add();
                    target.outbox.close_unread();
                    return Err(Unsent::Gone);
                }
            }
        }
    }

    /// Sends to every subscriber in the sender's workspace, the sender included.
    async fn broadcast(&self, sender: &Peer, workspace: &str, message: &Message) {
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
            return Self::reject(sender, message, &target, &problem);
        }
        let to = format!("{workspace}/{EVERYONE}");
        let frame = stamp(sender, message, &to, workspace).into_bytes();
        if !self.bus.broadcast(workspace, &frame).await {
            let origin = if from_server {
                Origin::Server
            } else {
                Origin::Client
            };
            self.publish(workspace, message.kind(), frame, origin, sender.generation);
        }
    }

    /// Sends a system event: one map without `from`, `ws` and `user`.
    pub(crate) fn event<T: Serialize + ?Sized>(&self, workspace: &str, kind: &str, data: &T) {
        self.event_about(workspace, kind, data, NOBODY);
    }

    /// Sends a system event about the connection `subject`. A subscriber gets it after the messages
    /// of that connection.
    pub(crate) fn event_about<T: Serialize + ?Sized>(
        &self,
        workspace: &str,
        kind: &str,
        data: &T,
        subject: u64,
    ) {
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
            Ok(frame) => self.publish(workspace, kind, frame.into(), Origin::Server, subject),
            Err(error) => tracing::error!(%error, kind, "cannot encode an event"),
        }
    }

    /// Sends a broadcast to the subscribers that are connected to this server. It never waits, and
    /// closes no connection because of what clients send. A copy keeps its place behind the
    /// messages of the connection `subject`.
    pub(crate) fn publish(
        &self,
        workspace: &str,
        kind: &str,
        frame: Bytes,
        origin: Origin,
        subject: u64,
    ) {
        self.counters.broadcasts.add();
        for member in self.members(workspace) {
            if !member.is_subscribed(kind) {
                continue;
            }
            let frame = frame.clone();
            let queued = match origin {
                Origin::Server => member.outbox.push_behind(subject, frame).is_ok(),
                Origin::Client => member.outbox.offer(subject, frame).is_ok(),
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
        Self::reject(
            sender,
            message,
            target,
            &format!("Target peer {target} is not connected"),
        );
    }

    /// Rejects a call whose target has no memory for it.
    fn refuse_memory(&self, sender: &Peer, message: &Message, target: &str, error: &OverBudget) {
        self.counters.refused_memory.add();
        let problem = format!("Target peer {target} cannot take the message: {error}");
        Self::reject(sender, message, target, &problem);
    }

    /// Rejects a message whose second segment would replace what the server writes into the first.
    fn refuse_override(&self, sender: &Peer, message: &Message, target: &str, key: &str) {
        self.counters.rejected_forbidden.add();
        let problem = match key {
            "" => "the second segment of a message cannot be a list".to_owned(),
            key => format!("the second segment of a message cannot have the key `{key}`"),
        };
        Self::reject(sender, message, target, &problem);
    }

    /// Rejects a call in the name of its target. `target` is the full address: the caller accepts
    /// replies only from the address that it called.
    fn reject(sender: &Peer, message: &Message, target: &str, problem: &str) {
        let Some(session) = message.session() else {
            return;
        };
        match rejection(&sender.address, session, target, problem) {
            Ok(frame) => drop(sender.outbox.push(frame)),
            Err(error) => tracing::error!(%error, "cannot encode a rejection"),
        }
    }
}

fn charge_message(sender: &Peer, bytes: usize) {
    if let Some(pace) = &sender.pace {
        pace.message(bytes);
    }
}

/// Charges a message to the rates of the connection that pays for it: an answer to the one that
/// asked, anything else to the sender. A connection that has never sent anything to the sender pays
/// for no answer.
fn charge_for(sender: &Peer, target: Option<&Peer>, message: &Message) {
    if sender.pace.is_none() && target.is_none_or(|target| target.pace.is_none()) {
        return;
    }
    let method = message.method().unwrap_or_default();
    let answer = is_answer(method);
    if !answer
        && let Some(target) = target
        && let Some(asked) = &target.pace
    {
        asked.asked_by(sender.generation);
    }
    let Some(pace) = &sender.pace else { return };
    let bytes = message.len();
    if answer {
        match target {
            None => return pace.remote_answer(bytes),
            Some(target) if pace.was_asked_by(target.generation) => {
                if target.pace.as_ref().is_none_or(|asker| asker.answer(bytes)) {
                    return;
                }
            }
            Some(_) => {}
        }
    }
    if bytes >= PART_MIN && method.starts_with(MESSAGE_CACHE) {
        pace.part(bytes);
    } else {
        pace.message(bytes);
    }
}

/// Returns whether the method answers a call: `session.resolve`, and so on.
fn is_answer(method: &str) -> bool {
    method
        .rsplit_once('.')
        .is_some_and(|(session, kind)| ANSWERS.contains(&kind) && !session.starts_with("services."))
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

/// Returns whether a peer hears of the clients that leave a workspace.
fn hears_of(peer: &Peer, workspace: &str) -> bool {
    peer.workspace == workspace && peer.is_subscribed(CLIENT_DISCONNECTED)
}

/// Notes a call at both ends. Returns false if the caller has called there before.
fn note_call(caller: &Peer, target: &Peer) -> bool {
    if caller.partners.is_latest(target.generation) {
        return false;
    }
    let is_new = caller.partners.note(&target.address);
    target.partners.note(&caller.address);
    caller
        .partners
        .set_latest(target.generation, &target.address);
    is_new
}

/// Returns the event that tells the client `to` that another one is gone. Like all events of the
/// server it has no sender.
fn gone_event(to: &str, workspace: &str, client_id: &str) -> Option<Bytes> {
    #[derive(Serialize)]
    struct Event<'a> {
        r#type: &'a str,
        to: &'a str,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        id: &'a str,
        workspace: &'a str,
    }
    let event = Event {
        r#type: CLIENT_DISCONNECTED,
        to,
        data: Data {
            id: client_id,
            workspace,
        },
    };
    match wire::to_vec(&event) {
        Ok(event) => Some(event.into()),
        Err(error) => {
            tracing::error!(%error, "cannot encode an event");
            None
        }
    }
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
    let error = wire::WireError::new(problem);
    let mut frame = wire::to_vec(&main)?;
    wire::encode(&mut frame, &Extra { args: [error] })?;
    Ok(frame.into())
}
