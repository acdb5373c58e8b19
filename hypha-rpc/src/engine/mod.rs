//! The engine of one connection, below any user API.
//!
//! ```text
//! driver      the task of one link: delivers received frames, writes queued frames
//! intercept   code of the program around each outgoing call
//! inbound     finds the waiting call, the handler or the event reader of a message
//! outbound    the queue of frames and the budget of their bytes
//! sending     a message in one frame or in chunks, and the requests that carry chunks
//! sessions    calls that wait for a response, objects that peers may call
//! admission   limits on incoming calls
//! chunks      incoming messages that are not complete
//! peers       properties of peers, from their built-in services
//! notices     requests of destructors, repeated until acknowledged
//! manager     the address of the manager and of this client
//! link_peer   the caller of all calls, on a link without a server
//! lifecycle   the state of the connection, and the calls that wait for it
//! redial      the task of the connection: one link after another
//! watchdog    runs the task of the connection while its runtime is blocked
//! ```
//!
//! [`Engine`] owns the parts, and does the work that involves several parts. The layers above,
//! calls and services, use the engine. The engine calls these layers through [`Handlers`].
//!
//! # Locks
//!
//! Each part has its own lock, and no part takes the lock of another part while holding its own. No
//! lock is held across an await. There are three exceptions, none of which can cause a deadlock:
//!
//! * Any part may read the state in [`Lifecycle`], which takes no other lock.
//! * [`Sessions::with_object`](sessions::Sessions::with_object) assigns a call its position in the
//!   order of calls (`Exported::turn`) while holding the lock of the sessions. The lock that `turn`
//!   takes is the innermost lock.
//! * The chunk store charges [`Settings::memory`] while holding its lock, so an account must not
//!   call back into a connection.
//!
//! Values of the program are dropped after the lock is released, because their destructors may run
//! any code, such as a call.
//!
//! # End
//!
//! [`Engine::close`] first marks the connection as closed in [`Lifecycle`], then empties the parts.
//! A part checks the mark, while holding its own lock, before it adds an item. So each item is
//! either rejected or removed, and a closed connection keeps no items.

mod admission;
mod call_span;
mod chunks;
mod clock;
mod connection;
mod driver;
mod events;
mod failure;
mod handshake;
mod identity;
mod inbound;
mod intercept;
mod lifecycle;
mod link_peer;
mod manager;
mod notices;
mod outbound;
mod peers;
mod progress;
mod redial;
mod release;
mod retry;
mod secrecy;
mod sending;
mod session_table;
mod sessions;
mod settings;
mod state;
mod stats;
mod tasks;
#[cfg(target_family = "wasm")]
mod unwatched;
mod user;
#[cfg(not(target_family = "wasm"))]
mod watchdog;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hypha_wire::{ConnectionRef, EncodeError, Map, RemoteHandle, Value};
use tokio::sync::mpsc;

pub(crate) use admission::Busy;
pub(crate) use call_span::{CallSpan, Side};
pub(crate) use clock::Clock;
pub(crate) use connection::Connection;
pub use events::{Event, EventKind, EventStream, StateWatcher};
pub(crate) use failure::{Failure, Loss, NO_CHUNKS, rejection};
pub use identity::Identity;
pub(crate) use inbound::Handlers;
pub use intercept::{CallResponse, NextCall, OutgoingCall};
pub(crate) use intercept::{Interceptors, Timeouts};
pub(crate) use lifecycle::Lifecycle;
pub(crate) use link_peer::LinkPeer;
pub(crate) use outbound::{Closed, QueuedFrame};
pub(crate) use progress::Progress;
pub(crate) use redial::{Endpoint, Reconnect, RedialLoop, Restore};
pub use retry::Retry;
pub(crate) use secrecy::{Secrecy, hex};
pub(crate) use sending::{MAX_FRAME_KEY, MAX_IDLE_TIMEOUT, answer_within};
pub(crate) use session_table::{LastSeen, ObjectLookup};
pub(crate) use sessions::Response;
pub(crate) use settings::KeepAlive;
pub use settings::Settings;
pub use state::{CloseReason, State};
pub use stats::Stats;
pub(crate) use stats::{Counters, count};
pub use user::{Permission, Scope, UserInfo};

use crate::error::{LinkError, report};
use admission::Admission;
use chunks::IncomingChunks;
use events::Events;
use manager::Membership;
use notices::Notices;
use outbound::Outbound;
use peers::Peers;
use sessions::Sessions;
use tasks::Tasks;
#[cfg(target_family = "wasm")]
use unwatched as watchdog;
use watchdog::Activity;

/// Maximum time between two reads of a stream or a file for which a closing connection waits.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// State of one connection, shared by its handles, its driver and the running handlers.
///
/// `H` finds and runs the methods that peers call. The handles ([`Connection`]) keep the connection
/// open; the engine does not.
pub(crate) struct Engine<H: Handlers> {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) counters: Counters,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) membership: Membership,
    pub(crate) sessions: Sessions<H::Object>,
    pub(crate) peers: Peers,
    pub(crate) chunks: IncomingChunks,
    pub(crate) outbound: Outbound,
    notices: Notices,
    pub(crate) admission: Admission,
    pub(crate) secrecy: Secrecy,
    pub(crate) events: Events,
    pub(crate) handlers: H,
    pub(crate) tasks: Tasks,
    activity: Arc<Activity>,
}

impl<H: Handlers> Engine<H> {
    /// Creates a connection without a link, and the receiver of its send queue. Pass the receiver
    /// to [`RedialLoop::new`].
    pub(crate) fn new(
        identity: Identity,
        settings: Settings,
        state: State,
        handlers: H,
    ) -> (Arc<Self>, mpsc::Receiver<QueuedFrame>) {
        #[cfg(feature = "encryption")]
        let mut settings = settings;
        #[cfg(feature = "encryption")]
        let secrecy = Secrecy::new(settings.encryption.take());
        #[cfg(not(feature = "encryption"))]
        let secrecy = Secrecy::default();
        let clock = Clock::new();
        let (outbound, queue) = Outbound::new();
        let engine = Engine {
            clock,
            counters: Counters::default(),
            lifecycle: Lifecycle::new(state, &settings),
            membership: Membership::new(identity),
            sessions: Sessions::new(clock),
            peers: Peers::new(clock),
            chunks: IncomingChunks::new(&settings),
            outbound,
            notices: Notices::new(),
            admission: Admission::new(&settings),
            secrecy,
            events: Events::default(),
            handlers,
            tasks: Tasks::default(),
            activity: Arc::default(),
            settings,
        };
        (Arc::new(engine), queue)
    }

    /// Returns the identity that the server assigned on the latest link.
    pub(crate) fn identity(&self) -> Arc<Identity> {
        self.membership.identity()
    }

    /// Starts a task that is aborted when the connection closes.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(&self.lifecycle, task);
    }

    /// Fails if peers would hold more than [`Settings::max_objects`] objects of this client after
    /// `more` are added.
    ///
    /// Reserves nothing, so concurrent calls may slightly exceed the limit.
    pub(crate) fn room_for(&self, more: usize) -> Result<(), EncodeError> {
        let (most, held) = (self.settings.max_objects, self.objects());
        if held + more <= most {
            return Ok(());
        }
        Err(EncodeError::new(format!(
            "peers hold {held} functions and streams of this client, and may not hold more than \
             {most}"
        )))
    }

    /// Returns the number of objects and interfaces that peers hold.
    fn objects(&self) -> usize {
        self.sessions.counts().objects + self.handlers.interfaces()
    }

    /// Returns the counters, with the current numbers of calls, objects and queued frames.
    pub(crate) fn stats(&self) -> Stats {
        let sessions = self.sessions.counts().calls;
        let queued = (self.lifecycle.waiting(), self.outbound.queued());
        self.counters.snapshot((sessions, self.objects()), queued)
    }

    /// Handles the disconnection of `peer` (an absolute address): fails all calls to the peer,
    /// removes the objects exported to the peer, and cancels the handlers of its calls.
    pub(crate) fn peer_gone(&self, peer: &str) {
        self.peers.forget(peer);
        self.chunks.forget(peer);
        let lost = self.sessions.peer_gone(peer);
        self.handlers.peer_gone(peer);
        // Other clients use the same message, and programs match on it.
        let reason = LinkError::from(format!("Client disconnected: {peer}"));
        lost.tell(Loss::Peer, &reason);
    }

    /// Fails the calls in flight after the link was lost. The client opens another link.
    fn link_lost(&self, reason: &LinkError) {
        // Set the state first, so that a call made after this point waits for the next link instead
        // of entering the queue.
        self.lifecycle.set_state(State::Connecting);
        self.sessions.link_lost().tell(Loss::Link, reason);
        // After the reconnect, other programs may have connected with the ids of the peers.
        self.peers.forget_all();
        let data = Map::from_iter([("reason".into(), report(reason).into())]);
        self.events.tell("disconnected", data);
    }

    /// Sets the state to connected. Call this only after the server knows all services: a peer that
    /// this client then calls may look up these services.
    pub(crate) fn set_connected(&self) {
        self.lifecycle.set_state(State::Connected);
        // Notices that were in flight when the link was lost may not have arrived.
        self.notices.repeat_all(self.clock.now());
        let info = self.identity().connection_info.clone();
        self.events.tell("connected", info);
    }

    /// Frees ended tasks, incomplete messages and unused objects, and publishes the metrics. The
    /// driver calls this function every 5 s, and the redial loop calls it before each attempt.
    fn tidy(&self) {
        #[cfg(feature = "metrics")]
        self.stats().publish(self.identity().address());
        self.tasks.tidy();
        self.chunks.tidy();
        let idle = self.settings.object_idle_timeout.as_millis() as u64;
        self.sessions.tidy(idle);
    }

    /// Waits until no handler runs, for at most `grace`. Returns `false` if handlers are still
    /// running.
    pub(crate) async fn drain(&self, grace: Duration) -> bool {
        self.admission.drain(grace).await
    }

    /// Waits until peers no longer read the streams and files of this client, for at most `grace`.
    /// Returns `false` if they are still reading. Call [`drain`](Self::drain) first.
    pub(crate) async fn idle(&self, grace: Duration) -> bool {
        if self.objects() == 0 {
            return true;
        }
        let idle = crate::runtime::timeout(grace, self.admission.idle(MAX_PAUSE)).await;
        idle.is_ok()
    }

    /// Closes the connection: fails pending calls, aborts running handlers, and rejects new calls.
    ///
    /// May be called several times and from any thread. The reason of the first call stays.
    pub(crate) fn close(&self, reason: CloseReason) {
        // Mark the connection as closed before the parts are emptied, so that code that adds an
        // item later sees the mark.
        let first = self.lifecycle.close(reason);
        let reason = self.lifecycle.closed_reason();
        if first {
            let data = Map::from_iter([("reason".into(), Value::from(report(&reason)))]);
            self.events.tell("disconnected", data);
        }
        let lost = self.sessions.close(&reason);
        lost.tell(Loss::Connection, &reason);
        self.handlers.cancel_all();
        self.tasks.abort_all();
        self.outbound.close();
        self.notices.clear();
        self.admission.close();
        self.events.close();
        // A service may hold a handle of this connection. If the service were not dropped here,
        // this reference cycle would never be freed.
        self.handlers.clear();
        #[cfg(feature = "metrics")]
        self.stats().publish(self.identity().address());
    }
}

impl<H: Handlers> ConnectionRef for Engine<H> {
    fn handle_dropped(&self, remote: &RemoteHandle) {
        release::handle_dropped(self, remote);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<H: Handlers> fmt::Debug for Engine<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("identity", &self.identity().address())
            .finish_non_exhaustive()
    }
}
