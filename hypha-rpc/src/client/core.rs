//! What all handles, the driver and the running handlers of one connection share.

mod lifecycle;

use std::{
    any::Any,
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};

use super::{
    events::Events,
    identity::Identity,
    settings::Settings,
    state::State,
    stats::{Counters, Stats},
};
use crate::{
    call::{Answer, Description, Exported, Failure, Found, Heard, Loss, Secrecy, Sessions},
    error::{CallSite, Error, LinkError},
    service::{Calls, Registered, Registry},
    transport::Frame,
};
use hypha_wire::{
    ChunkError, ChunkStore, ConnectionRef, EncodeError, Map, Message, RemoteHandle, Value,
    WireError,
};

/// Frames that wait for the socket. More than that make the senders wait.
pub(crate) const OUTBOUND_FRAMES: usize = 1024;
/// Bytes of large frames that wait for the socket, in units of [`LARGE`].
pub(crate) const OUTBOUND_LARGE: usize = 512;
/// From this size on a frame counts in the byte budget as well.
pub(crate) const LARGE: usize = 16 << 10;
/// Most calls that may run at the same time, whatever the options say.
const MOST_CALLS: usize = u32::MAX as usize >> 4;
/// Calls of the built-in service that may run at the same time. They are not counted with the
/// others: a client that is busy still answers pings and takes chunks.
pub(crate) const BUILT_IN_CALLS: usize = 4096;
/// Bytes of unfinished chunked messages that this client holds for its peers.
pub(crate) const CHUNK_BYTES: usize = 1 << 30;
/// Managers whose addresses are still understood after the server has got another one.
const FORMER_MANAGERS: usize = 64;

/// What a waiting caller gets.
#[derive(Debug)]
pub(crate) enum Response {
    Resolve(Message),
    Reject(Message),
    Lost(Loss),
}

/// A frame for the driver, with its share of the byte budget.
pub(crate) struct Outgoing {
    pub(crate) frame: Frame,
    pub(crate) _budget: Option<OwnedSemaphorePermit>,
}

pub(crate) struct Core {
    pub(crate) options: Settings,
    pub(crate) counters: Counters,
    pub(crate) events: Events,
    pub(crate) secrecy: Secrecy,
    identity: RwLock<Arc<Identity>>,
    sessions: Mutex<Sessions<oneshot::Sender<Response>, Exported>>,
    services: RwLock<Registry>,
    chunks: Mutex<ChunkStore>,
    peers: Mutex<HashMap<String, (u64, PeerInfo)>>,
    manager: Mutex<Option<(String, Arc<Description>)>>,
    /// Addresses of managers that the server had before.
    former_managers: Mutex<VecDeque<String>>,
    /// The types of events that the server was asked for.
    pub(super) subscriptions: Mutex<BTreeSet<String>>,
    handlers: Mutex<JoinSet<()>>,
    outbound: mpsc::Sender<Outgoing>,
    budget: Arc<Semaphore>,
    pub(crate) running: Arc<Semaphore>,
    pub(crate) running_built_in: Arc<Semaphore>,
    /// Bytes of large requests whose handlers run, in units of [`LARGE`].
    call_bytes: Arc<Semaphore>,
    /// The incoming calls whose handlers run.
    pub(crate) calls: Calls,
    /// Calls that may wait for the connection to come back.
    waiting: Semaphore,
    /// Set when the program has decided to stop: calls that run may end, no other begins.
    pub(crate) leaving: AtomicBool,
    pub(crate) state: watch::Sender<State>,
    /// Whether the connection ever stood.
    was_connected: AtomicBool,
    /// The link is of no use any more, though it stands.
    pub(super) broken: Notify,
    pub(crate) reconnection_token: Mutex<Option<String>>,
    /// True when the driver has ended.
    pub(crate) ended: watch::Sender<bool>,
    started: Instant,
}

/// What is known of another client's built-in service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerInfo {
    /// Chunks carry their index and may overtake each other.
    pub(crate) indexed_chunks: bool,
    /// The largest frame it says it takes; 0 if it does not say.
    pub(crate) max_frame: usize,
}

/// A poisoned lock only says that some thread panicked; the tables are never left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(
        identity: Identity,
        mut options: Settings,
        state: State,
    ) -> (Arc<Self>, mpsc::Receiver<Outgoing>) {
        options.max_concurrent_calls = options.max_concurrent_calls.clamp(1, MOST_CALLS);
        let (outbound, queue) = mpsc::channel(OUTBOUND_FRAMES);
        let core = Core {
            running: Arc::new(Semaphore::new(options.max_concurrent_calls)),
            running_built_in: Arc::new(Semaphore::new(BUILT_IN_CALLS)),
            call_bytes: Arc::new(Semaphore::new(call_shares(&options))),
            calls: Calls::default(),
            waiting: Semaphore::new(options.max_waiting_calls.min(Semaphore::MAX_PERMITS)),
            leaving: AtomicBool::new(false),
            #[cfg(feature = "encryption")]
            secrecy: Secrecy::new(options.encryption.take()),
            #[cfg(not(feature = "encryption"))]
            secrecy: Secrecy::default(),
            options,
            counters: Counters::default(),
            events: Events::default(),
            identity: RwLock::new(Arc::new(identity)),
            sessions: Mutex::new(Sessions::new()),
            services: RwLock::default(),
            chunks: Mutex::new(ChunkStore::new(CHUNK_BYTES)),
            peers: Mutex::default(),
            manager: Mutex::default(),
            former_managers: Mutex::default(),
            subscriptions: Mutex::default(),
            handlers: Mutex::new(JoinSet::new()),
            outbound,
            budget: Arc::new(Semaphore::new(OUTBOUND_LARGE)),
            was_connected: AtomicBool::new(state == State::Connected),
            state: watch::Sender::new(state),
            broken: Notify::new(),
            reconnection_token: Mutex::new(None),
            ended: watch::Sender::new(false),
            started: Instant::now(),
        };
        (Arc::new(core), queue)
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over who this client is on a new link. The manager may be another one.
    pub(super) fn set_identity(&self, identity: Identity) {
        let identity = Arc::new(identity);
        let mut current = self
            .identity
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let former = std::mem::replace(&mut *current, Arc::clone(&identity));
        drop(current);
        if former.manager_id == identity.manager_id {
            return;
        }
        if let Some(former) = &former.manager_id {
            let mut known = lock(&self.former_managers);
            let former = format!("*/{former}");
            if !known.contains(&former) {
                if known.len() == FORMER_MANAGERS {
                    known.pop_front();
                }
                known.push_back(former);
            }
        }
    }

    /// The address of the manager, if `to` is one that it had before.
    pub(crate) fn present_manager(&self, to: &str) -> Option<String> {
        if !to.starts_with("*/") || !lock(&self.former_managers).iter().any(|f| f == to) {
            return None;
        }
        let identity = self.identity();
        identity.manager_id.as_ref().map(|id| format!("*/{id}"))
    }

    /// Milliseconds since the connection was made.
    pub(crate) fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    // Services

    pub(crate) fn service(&self, id: &str) -> Option<Arc<Registered>> {
        self.services
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
    }

    /// The services that the manager knows, in the order in which they were registered.
    pub(super) fn listed_services(&self) -> Vec<Arc<Registered>> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.listed()
    }

    pub(crate) fn add_service(&self, service: Registered, overwrite: bool) -> Result<(), Error> {
        let mut services = self
            .services
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // With the lock held: `close` marks the end first and clears the table then.
        if self.is_closed() {
            return Err(Error::Disconnected(self.over_at(CallSite {
                method: format!("register_service({})", service.service.id()),
                ..CallSite::default()
            })));
        }
        services.add(service, overwrite)
    }

    pub(crate) fn remove_service(&self, id: &str) -> Option<Arc<Registered>> {
        self.services
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id)
    }

    /// Puts back what was there before a registration that failed.
    pub(crate) fn restore_service(&self, id: &str, former: Option<Arc<Registered>>) {
        let mut services = self
            .services
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let replaced = if self.is_closed() {
            services.remove(id)
        } else {
            services.restore(id, former)
        };
        // What dropping a service does is not known, so it is done without the lock.
        drop(services);
        drop(replaced);
    }

    // Sessions

    pub(crate) fn open_session(
        &self,
        id: &str,
        target: &str,
        call: Option<(Heard, oneshot::Sender<Response>)>,
        objects: HashMap<String, Exported>,
    ) -> Result<(), Failure> {
        let now = self.now();
        if !objects.is_empty() {
            self.room_for(objects.len()).map_err(Failure::Encode)?;
        }
        let mut sessions = lock(&self.sessions);
        let opened = sessions.open(id, target, call, objects, now);
        // What dropping the objects does is not known, so it is done without the lock.
        drop(sessions);
        opened.map_err(|(reason, _)| Failure::Lost {
            loss: Loss::Connection(reason),
            sent: false,
        })
    }

    /// Whether peers may hold so much more of this client.
    pub(crate) fn room_for(&self, more: usize) -> Result<(), EncodeError> {
        let (most, (_, held)) = (self.options.max_objects, self.sessions());
        if held + more <= most {
            return Ok(());
        }
        Err(EncodeError::new(format!(
            "peers hold {held} functions and streams of this client, and may not hold more than {most}"
        )))
    }

    pub(crate) fn has_session(&self, id: &str) -> bool {
        lock(&self.sessions).exists(id)
    }

    pub(crate) fn end_session(&self, id: &str) {
        let ended = lock(&self.sessions).end(id);
        drop(ended);
    }

    pub(crate) fn answer(
        &self,
        id: &str,
        from: &str,
    ) -> Answer<oneshot::Sender<Response>, Exported> {
        lock(&self.sessions).answer(id, from)
    }

    pub(crate) fn heartbeat(&self, id: &str, from: &str) -> bool {
        let now = self.now();
        lock(&self.sessions).heartbeat(id, from, now)
    }

    /// Looks up what a message to a session is for.
    pub(crate) fn with_object<T>(
        &self,
        id: &str,
        object: &str,
        from: &str,
        parent: Option<&str>,
        then: impl FnOnce(Found<'_, Exported>) -> T,
    ) -> T {
        let now = self.now();
        then(lock(&self.sessions).find(id, object, from, parent, now))
    }

    /// Takes back an object of a session with `peer`.
    pub(crate) fn release(&self, peer: &str, id: &str, object: &str) {
        let found = self.with_object(id, object, peer, None, |found| {
            matches!(found, Found::Object(_))
        });
        if found {
            self.withdraw(id, &[object]);
        }
    }

    /// Takes objects out of a session.
    pub(crate) fn withdraw(&self, id: &str, objects: &[&str]) {
        let ended = lock(&self.sessions).withdraw(id, objects);
        drop(ended);
    }

    /// How many calls wait, and how many objects peers can call.
    pub(crate) fn sessions(&self) -> (usize, usize) {
        let sessions = lock(&self.sessions);
        let (calls, objects) = (sessions.calls(), sessions.objects());
        drop(sessions);
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        (calls, objects + services.interfaces())
    }

    pub(super) fn stats(&self) -> Stats {
        self.counters.snapshot(self.sessions(), self.queued())
    }

    /// Fails every call to `peer`, an absolute address, takes back what it was handed, and tells the
    /// handlers that it called.
    pub(crate) fn peer_gone(&self, peer: &str) {
        lock(&self.peers).remove(peer);
        lock(&self.chunks).forget(peer);
        self.calls.cancel(|call| call.from() == peer);
        let ended = lock(&self.sessions).peer_gone(peer);
        let interfaces = self
            .services
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .caller_gone(peer);
        drop(interfaces);
        let reason = LinkError::from(format!("Client disconnected: {peer}"));
        for reply in ended.replies {
            let _ = reply.send(Response::Lost(Loss::Peer(reason.clone())));
        }
    }

    /// Fails every call that waits for an answer: none will come over another link. What peers were handed
    /// otherwise stays.
    pub(super) fn fail_calls(&self, reason: &LinkError) {
        let ended = lock(&self.sessions).end_calls();
        for reply in ended.replies {
            let _ = reply.send(Response::Lost(Loss::Link(reason.clone())));
        }
    }

    /// What was known of peers may have changed meanwhile.
    pub(super) fn forget_peers(&self) {
        lock(&self.peers).clear();
    }

    /// Hands an event of this client's own to whoever reads it.
    pub(super) fn tell(&self, kind: &str, data: Map) {
        self.events.tell(kind, data);
    }

    // Chunks

    pub(crate) fn with_chunks(
        &self,
        f: impl FnOnce(&mut ChunkStore, std::time::Instant) -> Result<(), ChunkError>,
    ) -> Result<Value, WireError> {
        let now = Instant::now().into_std();
        match f(&mut lock(&self.chunks), now) {
            Ok(()) => Ok(Value::Null),
            Err(e) => Err(WireError {
                message: e.to_string(),
                trace: String::new(),
                name: None,
                data: None,
            }),
        }
    }

    pub(crate) fn peer_info(&self, peer: &str) -> Option<PeerInfo> {
        // A client of the same id may be another program by now.
        const TRUSTED: u64 = 60_000;
        let now = self.now();
        let peers = lock(&self.peers);
        let (asked, info) = peers.get(peer)?;
        (now.saturating_sub(*asked) < TRUSTED).then_some(*info)
    }

    pub(crate) fn remember_peer(&self, peer: &str, info: PeerInfo) {
        const MOST: usize = 1024;
        let mut peers = lock(&self.peers);
        if peers.len() >= MOST {
            peers.clear();
        }
        peers.insert(peer.to_owned(), (self.now(), info));
    }

    pub(crate) fn forget_peer(&self, peer: &str) {
        lock(&self.peers).remove(peer);
    }

    /// The manager at `address`, if it has been fetched.
    pub(crate) fn manager(&self, address: &str) -> Option<Arc<Description>> {
        let manager = lock(&self.manager);
        manager
            .as_ref()
            .filter(|(known, _)| known == address)
            .map(|(_, m)| Arc::clone(m))
    }

    pub(crate) fn remember_manager(
        &self,
        address: String,
        manager: Arc<Description>,
    ) -> Arc<Description> {
        // With the lock held: `close` marks the end first and forgets the manager then.
        let mut known = lock(&self.manager);
        if !self.is_closed() {
            *known = Some((address, Arc::clone(&manager)));
        }
        drop(known);
        manager
    }

    // Sending

    /// Puts one frame into the queue of the driver; waits while it is full.
    pub(crate) async fn enqueue(&self, frame: Bytes) -> Result<(), Closed> {
        let budget = match share(&frame) {
            0 => None,
            share => {
                let budget = Arc::clone(&self.budget).acquire_many_owned(share);
                Some(budget.await.map_err(|_| Closed)?)
            }
        };
        let outgoing = Outgoing {
            frame: Frame::Binary(frame),
            _budget: budget,
        };
        self.outbound.send(outgoing).await.map_err(|_| Closed)
    }

    /// As [`enqueue`](Self::enqueue), but drops the frame if there is no room; false then.
    pub(crate) fn try_enqueue(&self, frame: Bytes) -> bool {
        let budget = match share(&frame) {
            0 => None,
            share => match Arc::clone(&self.budget).try_acquire_many_owned(share) {
                Ok(budget) => Some(budget),
                Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return false,
            },
        };
        let outgoing = Outgoing {
            frame: Frame::Binary(frame),
            _budget: budget,
        };
        self.outbound.try_send(outgoing).is_ok()
    }

    // Tasks

    /// Runs a handler in a task that ends with the connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut handlers = lock(&self.handlers);
        reap(&mut handlers);
        if !self.is_closed() {
            handlers.spawn(task);
        }
    }

    /// A share of the memory for requests, which is held while the handler of this one runs; `None` if
    /// there is not enough.
    pub(crate) fn room_for_call(&self, bytes: usize) -> Option<Option<OwnedSemaphorePermit>> {
        if bytes < LARGE {
            return Some(None);
        }
        let share = bytes.div_ceil(LARGE).min(call_shares(&self.options));
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.call_bytes).try_acquire_many_owned(share);
        permit.ok().map(Some)
    }

    /// Frees what has ended and what nobody came back for. Called now and then.
    pub(crate) fn tidy(&self) {
        #[cfg(feature = "metrics")]
        super::telling::publish(self);
        reap(&mut lock(&self.handlers));
        lock(&self.chunks).expire(Instant::now().into_std());
        let idle = self.options.object_idle_timeout.as_millis() as u64;
        if let Some(since) = self.now().checked_sub(idle) {
            let ended = lock(&self.sessions).expire(since);
            drop(ended);
        }
    }

    /// From now on calls that come in are refused.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Waits until no handler runs, at most for `grace`; false if some still do.
    pub(crate) async fn drain(&self, grace: Duration) -> bool {
        let all = self.options.max_concurrent_calls as u32;
        let drained = tokio::time::timeout(grace, self.running.acquire_many(all)).await;
        drained.is_ok()
    }
}

impl ConnectionRef for Core {
    fn abandoned(&self, remote: &RemoteHandle) {
        crate::call::abandoned(self, remote);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The units of the byte budget that a frame takes.
fn share(frame: &Bytes) -> u32 {
    if frame.len() < LARGE {
        return 0;
    }
    frame.len().div_ceil(LARGE).min(OUTBOUND_LARGE) as u32
}

/// The bound on requests whose handlers run, in units of [`LARGE`].
fn call_shares(options: &Settings) -> usize {
    let shares = (options.max_call_bytes / LARGE).max(1);
    shares.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize)
}

fn reap(handlers: &mut JoinSet<()>) {
    while let Some(ended) = handlers.try_join_next() {
        if let Err(e) = ended {
            if e.is_panic() {
                tracing::error!("a task of the connection panicked: {e}");
            }
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("identity", &self.identity().address())
            .finish_non_exhaustive()
    }
}

/// The connection is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed;
