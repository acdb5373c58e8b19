//! Routes messages between the connected peers. The router holds the peers by address.
//!
//! `session` and `internal_client` attach a peer when its client is admitted, and `workspace`
//! detaches the peer when the connection has ended. [`Router::route`] writes the sender into each
//! message. It then delivers the message to a peer of this server, to another server through the
//! bus, or to all subscribers of a workspace.
//!
//! Messages from one sender to one receiver keep their order until one of the two reconnects.
//! Delivery waits for room at the receiver, so a slow receiver slows its senders down. If the
//! receiver makes no progress until the timeout, the router closes the receiver's connection.
//!
//! Lock order: the peers, then the partners of a peer. No lock is held across an await, while a
//! frame is queued, or while the bus is called, because the bus looks up peers itself.

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

/// Workspace in the address of the manager. Older clients use the same workspace in other addresses
/// of the manager.
pub(crate) const SERVER_WORKSPACE: &str = "*";
/// Client part of the address of a broadcast.
const EVERYONE: &str = "*";

/// Type of the event that a client has disconnected.
pub(crate) const CLIENT_DISCONNECTED: &str = "client_disconnected";
/// Subject of an event that is not about a connection of this server. No connection has this number
/// as its generation.
pub(crate) const NOBODY: u64 = 0;
/// Maximum length of the address in a message, in bytes. All valid workspaces and client ids are
/// shorter. The limit keeps long invalid addresses out of rejections and out of the bus.
const ADDRESS_MAX: usize = 1024;
/// Minimum size of a chunk that counts only by its bytes. A smaller chunk also counts as a message,
/// because a sender could otherwise avoid the limit on the number of its messages with tiny chunks.
const PART_MIN: usize = 16 * 1024;
/// Names of the methods with which a callee responds to a call. In a message, the session id and a
/// dot precede the method name.
const RESPONSES: [&str; 3] = ["resolve", "reject", "heartbeat"];

/// The error of [`Router::attach`]: another connection has the address, and must not be replaced.
#[derive(Debug)]
pub(crate) struct Taken;

/// The kind of sender of a broadcast. It decides whether a copy is dropped if the receiver has no
/// room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client. A copy for a receiver without room is dropped: the client must neither wait for
    /// other subscribers nor disconnect them.
    Client,
    /// The server itself. A copy is queued even if the receiver has no room, because subscribers
    /// rely on the server's events.
    Server,
}

/// Peers by workspace and client id.
type Peers = HashMap<String, HashMap<String, Arc<Peer>>>;

/// Connects a client of the server itself when a message for its client id arrives. Returns `None`
/// if there is no such client.
type OnDemand = Box<dyn Fn(&str) -> BoxFuture<'static, Option<Arc<Peer>>> + Send + Sync>;

/// The connected peers, and the bus to the other servers.
pub(crate) struct Router {
    peers: RwLock<Peers>,
    on_demand: OnceLock<OnDemand>,
    /// Generation of the next connection.
    generations: AtomicU64,
    counters: Arc<Counters>,
    /// Time after which a receiver that makes no progress is disconnected.
    deliver_timeout: Duration,
    bus: Arc<dyn Bus>,
}

impl Router {
    /// Creates a router without peers. While a sender waits for a receiver, the receiver is
    /// disconnected after `deliver_timeout` without progress.
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

    /// Returns the bus to the other servers.
    pub(crate) fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    /// Sets the function that connects clients of the server itself on demand. Only the first call
    /// has an effect.
    pub(crate) fn set_on_demand(&self, on_demand: OnDemand) {
        let _ = self.on_demand.set(on_demand);
    }

    /// Returns the generation of a new connection. The generation is a number that no other
    /// connection of this server has.
    pub(crate) fn next_generation(&self) -> u64 {
        // The order is `Relaxed`, because only the uniqueness of the number matters.
        self.generations.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the peer with this workspace and client id, if it is connected to this server.
    pub(crate) fn find(&self, workspace: &str, client_id: &str) -> Option<Arc<Peer>> {
        let peers = self.peers.read();
        peers.get(workspace)?.get(client_id).cloned()
    }

    /// Returns the peer with the address `workspace/client`, if it is connected to this server.
    pub(crate) fn find_address(&self, address: &str) -> Option<Arc<Peer>> {
        let (workspace, client_id) = address.split_once('/')?;
        self.find(workspace, client_id)
    }

    /// Returns the peers of a workspace that are connected to this server.
    pub(crate) fn members(&self, workspace: &str) -> Vec<Arc<Peer>> {
        let peers = self.peers.read();
        peers
            .get(workspace)
            .map(|inside| inside.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Returns the peers of all workspaces, except those for which `is_internal` returns true.
    /// Calls `is_internal` under the lock of the peers.
    pub(crate) fn all(&self, is_internal: impl Fn(&Peer) -> bool) -> Vec<Arc<Peer>> {
        let peers = self.peers.read();
        let peers = peers.values().flat_map(|inside| inside.values());
        peers.filter(|peer| !is_internal(peer)).cloned().collect()
    }

    /// Returns the load of the busiest client whose load is measured, in messages per minute.
    pub(crate) fn highest_load(&self) -> f64 {
        let peers = self.peers.read();
        let peers = peers.values().flat_map(|inside| inside.values());
        peers.map(|peer| peer.load()).fold(0.0, f64::max)
    }

    /// From now on, routes messages for the address of `peer` to `peer`. Returns the peer that
    /// previously had the address.
    ///
    /// The new peer inherits the partners of the replaced peer, so that these partners are notified
    /// when the new connection ends. `may_be_displaced` is called under the lock of the peers.
    ///
    /// # Errors
    ///
    /// Fails with [`Taken`] if another peer has the address and `may_be_displaced` returns false
    /// for that peer.
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

    /// Stops routing messages to `peer`. If a newer connection already has the address, does
    /// nothing and returns false.
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
            // The lock is released first, because the bus locks the peers to check whether the
            // address is in use again.
            drop(peers);
            self.bus.unsubscribe_address(&peer.address);
        }
        current
    }

    /// Returns whether this connection still has its address. Returns false if a newer connection
    /// has taken the address.
    fn is_attached(&self, peer: &Peer) -> bool {
        let present = self.find(&peer.workspace, &peer.client_id);
        present.is_some_and(|present| present.generation == peer.generation)
    }

    /// Notifies the partners of a detached client that the client has disconnected. If a call to
    /// the client is recorded later, the router finds the client detached and rejects the call.
    ///
    /// Set `announced` if the subscribers of the client's workspace have already received the
    /// event. This method then skips these subscribers.
    pub(crate) async fn notify_partners(&self, gone: &Peer, announced: bool) {
        let (partners, incomplete) = gone.partners.take();
        for partner in partners {
            match self.find_address(&partner) {
                Some(partner) => {
                    if partner.partners.forget(&gone.address)
                        && !(announced && is_notified_of_departures(&partner, &gone.workspace))
                    {
                        self.notify(&partner, gone.generation, &gone.workspace, &gone.client_id);
                    }
                }
                None => {
                    if let Some(event) =
                        disconnect_event(&partner, &gone.workspace, &gone.client_id)
                    {
                        self.bus.send_at_once(&partner, event).await;
                    }
                }
            }
        }
        // Some partners were not recorded, so each server searches its clients for those that have
        // this address as a partner.
        if incomplete {
            self.notify_partners_of(&gone.address, announced);
            self.bus.announce(Notice::Left {
                address: gone.address.clone(),
            });
        }
    }

    /// Notifies the clients of this server that have the partner `address` that this partner has
    /// disconnected. If `announced` is set, skips the subscribers of the partner's workspace.
    pub(crate) fn notify_partners_of(&self, address: &str, announced: bool) {
        let Some((workspace, client_id)) = address.split_once('/') else {
            return;
        };
        // The peers are copied, because the lock must not be held while frames are queued.
        let all: Vec<Arc<Peer>> = {
            let peers = self.peers.read();
            peers.values().flat_map(HashMap::values).cloned().collect()
        };
        for peer in all {
            if peer.partners.forget(address)
                && !(announced && is_notified_of_departures(&peer, workspace))
            {
                self.notify(&peer, NOBODY, workspace, client_id);
            }
        }
    }

    /// Notifies one peer that a client has disconnected. The event is queued behind the messages of
    /// the client's connection `subject`, because the event must not overtake a last response.
    fn notify(&self, peer: &Peer, subject: u64, workspace: &str, client_id: &str) {
        if let Some(event) = disconnect_event(&peer.address, workspace, client_id) {
            self.counters.told_gone.add();
            // Fails only if the peer itself has disconnected, so the error is ignored.
            let _ = peer.outbox.push_behind(subject, event);
        }
    }

    /// Delivers a message of `sender`, or rejects the call in the message. Waits for room at the
    /// receiver while the receiver makes progress. During the wait, no further messages of the
    /// sender are read.
    ///
    /// `charge` pays for the memory of a large frame. The charge is released when the message is
    /// dropped, or when the message is queued for the receiver, because the receiver's account then
    /// pays.
    ///
    /// # Cancellation
    ///
    /// A message that waits for room is lost if the future is dropped.
    pub(crate) async fn route(&self, sender: &Peer, frame: Bytes, charge: Option<Charge>) {
        self.deliver_to_target(sender, frame).await;
        drop(charge);
    }

    /// Parses a message and delivers it to its target. Charges each message exactly once to the
    /// rates of one connection, even if the message is refused.
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
            // Receivers merge the two segments, so such a key in the second segment would forge the
            // sender or the user.
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
            // A client of the server itself sends to all other clients through one connection, so
            // one slow receiver must not block this connection.
            let sending = match sender.serves_all {
                true => self.bus.send_at_once(&address, frame.into_bytes()),
                false => self.bus.send(&address, frame.into_bytes()),
            };
            if sending.await {
                return self.counters.messages_routed.add();
            }
            // The record of the partner is removed immediately, so that calls to missing addresses
            // do not fill the list of partners.
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
                // The call is recorded before the delivery. If one of the two clients disconnects
                // later, the other client is then notified.
                let is_new = message.session().is_some() && note_call(sender, &target);
                match self.deliver(sender, &target, frame).await {
                    Ok(()) => self.counters.messages_routed.add(),
                    Err(Unsent::OverBudget(error)) => {
                        return self.refuse_memory(sender, &message, &target.address, &error);
                    }
                    Err(Unsent::Disconnected) => {
                        return self.refuse_absent(sender, &message, &target.address);
                    }
                }
                // If the target was detached before the call was recorded, the partners of the
                // target were notified without this caller. The caller would then wait forever for
                // a response.
                if is_new && !self.is_attached(&target) {
                    self.refuse_absent(sender, &message, &target.address);
                }
            }
            None => self.refuse_absent(sender, &message, &format!("{workspace}/{client_id}")),
        }
    }

    /// Queues a frame for a peer of this server, and waits for room.
    ///
    /// # Errors
    ///
    /// Fails if the receiver has disconnected, has no memory for the frame, or was disconnected
    /// because it made no progress within the timeout.
    async fn deliver(&self, sender: &Peer, target: &Peer, frame: Stamped) -> Result<(), Unsent> {
        // A service of the server never waits, because one slow receiver would delay the service's
        // responses to all other clients.
        if sender.serves_all {
            return target.outbox.push(frame).map_err(|_| Unsent::Disconnected);
        }
        let mut sending = std::pin::pin!(target.outbox.send(sender.generation, frame));
        // The first attempt needs no timer, because there is usually room, and reading the clock
        // costs more than the rest of the delivery.
        if let Some(sent) = sending.as_mut().now_or_never() {
            return sent;
        }
        // While the sender waits, the server does not read the sender's pings. Without pongs, the
        // sender would close its connection. Therefore the server disconnects a receiver that makes
        // no progress until the timeout.
        loop {
            let before = target.outbox.progress();
            match tokio::time::timeout(self.deliver_timeout, sending.as_mut()).await {
                Ok(sent) => return sent,
                Err(_) if target.outbox.progress() != before => {}
                Err(_) => {
                    self.counters.closed_slow.add();
                    target.outbox.close_unread();
                    return Err(Unsent::Disconnected);
                }
            }
        }
    }

    /// Sends a message to every subscriber of the sender's workspace at all servers, and also to
    /// the sender if it is a subscriber. Rejects messages to other workspaces, and messages of
    /// clients that have only the read permission.
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
        // In a cluster, the bus also delivers the broadcast to the subscribers at this server.
        if !self.bus.broadcast(workspace, &frame).await {
            let origin = if from_server {
                Origin::Server
            } else {
                Origin::Client
            };
            self.publish(workspace, message.kind(), frame, origin, sender.generation);
        }
    }

    /// Sends an event of the server to the subscribers of a workspace, at all servers. The message
    /// has no `from`, `ws` or `user`.
    pub(crate) fn event<T: Serialize + ?Sized>(&self, workspace: &str, kind: &str, data: &T) {
        self.event_about(workspace, kind, data, NOBODY);
    }

    /// Sends an event of the server about the connection `subject`. Subscribers receive the event
    /// after the messages of that connection that are already queued for them.
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
        // The event is encoded as JSON only in a cluster, because Python servers read JSON. The bus
        // then also delivers the event to the subscribers at this server.
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

    /// Sends a broadcast to the subscribers that are connected to this server. Never waits. A
    /// message of a client never closes a subscriber's connection. Each copy is queued behind the
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

    /// Rejects a call to a peer that is not connected. A message without a session is dropped
    /// instead: no caller waits for a response, and rejections would multiply the messages after
    /// each disconnect.
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

    /// Rejects a call that exceeds the memory limit of its target.
    fn refuse_memory(&self, sender: &Peer, message: &Message, target: &str, error: &OverBudget) {
        self.counters.refused_memory.add();
        let problem = format!("Target peer {target} cannot take the message: {error}");
        Self::reject(sender, message, target, &problem);
    }

    /// Rejects a message whose second segment would override `key`, which the server writes in the
    /// first segment. `key` is empty if the second segment is a list.
    fn refuse_override(&self, sender: &Peer, message: &Message, target: &str, key: &str) {
        self.counters.rejected_forbidden.add();
        let problem = match key {
            "" => "the second segment of a message cannot be a list".to_owned(),
            key => format!("the second segment of a message cannot have the key `{key}`"),
        };
        Self::reject(sender, message, target, &problem);
    }

    /// Sends the rejection of a call to its caller. `target` must be the full address of the
    /// callee, because the caller accepts responses only from the address that it called. Does
    /// nothing for a message without a session.
    fn reject(sender: &Peer, message: &Message, target: &str, problem: &str) {
        let Some(session) = message.session() else {
            return;
        };
        match rejection(&sender.address, session, target, problem) {
            // Fails only if the caller has disconnected, so the error is ignored.
            Ok(frame) => drop(sender.outbox.push(frame)),
            Err(error) => tracing::error!(%error, "cannot encode a rejection"),
        }
    }
}

/// Charges the sender's rate limits for a message.
fn charge_message(sender: &Peer, bytes: usize) {
    if let Some(pace) = &sender.pace {
        pace.message(bytes);
    }
}

/// Charges the rate limits of the connection that has caused a message. A response is charged to
/// the caller, because callers could otherwise use up the rate limits of a callee. Any other
/// message is charged to its sender.
///
/// A response is charged to its sender if the target has never sent anything to this sender, or if
/// the target is already charged for its maximum number of responses. Without this rule, a client
/// could use up the rate limits of any other client with responses to calls that were never made.
fn charge_for(sender: &Peer, target: Option<&Peer>, message: &Message) {
    if sender.pace.is_none() && target.is_none_or(|target| target.pace.is_none()) {
        return;
    }
    let method = message.method().unwrap_or_default();
    let is_response = is_response(method);
    if !is_response
        && let Some(target) = target
        && let Some(callee) = &target.pace
    {
        callee.add_requester(sender.generation);
    }
    let Some(pace) = &sender.pace else { return };
    let bytes = message.len();
    if is_response {
        match target {
            None => return pace.remote_response(bytes),
            Some(target) if pace.is_requester(target.generation) => {
                if target
                    .pace
                    .as_ref()
                    .is_none_or(|requester| requester.response(bytes))
                {
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

/// Returns whether a method name has the form of a response or heartbeat of a session, such as
/// `session.resolve`. The method of a service may also have such a name.
fn is_response(method: &str) -> bool {
    method.rsplit_once('.').is_some_and(|(session, kind)| {
        RESPONSES.contains(&kind) && !session.starts_with("services.")
    })
}

/// Writes the sender, the receiver, the workspace and the user into a message. A message of the
/// server itself gets the workspace of the receiver, because clients refuse messages of other
/// workspaces.
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

/// Returns whether a peer subscribes to the event that a client has left a workspace.
fn is_notified_of_departures(peer: &Peer, workspace: &str) -> bool {
    peer.workspace == workspace && peer.is_subscribed(CLIENT_DISCONNECTED)
}

/// Records a call at both clients. When one of the two clients disconnects, the other client is
/// then notified. Returns whether the target is a new partner of the caller.
fn note_call(caller: &Peer, target: &Peer) -> bool {
    // Fast path: usually the locks of the partners are not taken.
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

/// Returns the event that tells the client `to` that another client has disconnected. Like all
/// events of the server, this event has no sender. Returns `None` if the event cannot be encoded.
fn disconnect_event(to: &str, workspace: &str, client_id: &str) -> Option<Bytes> {
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

/// Encodes the rejection of a call: the message `session.reject` from `from`, with an error.
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
