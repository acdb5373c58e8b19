//! One connection, below any user API.
//!
//! ```text
//! driver      the task of one link: delivers received frames, writes queued ones
//! inbound     finds the waiting call, the handler or the event that a message is for
//! outbound    the queue of frames and the budget of their bytes
//! sending     a message in one frame or in chunks, and the requests that chunks are made of
//! sessions    calls that wait for an answer, objects that peers may call
//! admission   bounds on incoming calls
//! chunks      incoming messages that are not complete
//! peers       properties of peers, from their built-in services
//! notices     requests of destructors, repeated until acknowledged
//! manager     the address of the manager and of this client
//! lifecycle   the state, tasks that wait for it, and the end
//! redial      the task of the connection: one link after another
//! watchdog    runs that task while its runtime is blocked
//! ```
//!
//! Each part has its own lock, and no part takes another's while it holds its own; the one
//! exception is a look at the state in [`Lifecycle`], which holds no other. [`Engine`] only owns
//! the parts and does what concerns several of them. Calls and services are layers above,
//! behind [`Handlers`].

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
mod lifecycle;
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
mod user;
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
pub(crate) use lifecycle::Lifecycle;
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
use watchdog::Activity;

/// One connection: what its handles, its driver and the running handlers share. `H` finds and runs
/// what peers call.
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
    /// Creates a connection without a link, and the queue of its frames.
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

    pub(crate) fn identity(&self) -> Arc<Identity> {
        self.membership.identity()
    }

    /// Runs a task that ends with the connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(&self.lifecycle, task);
    }

    /// Checks that peers may hold so much more of this client.
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

    /// Returns how many objects and interfaces peers hold.
    fn objects(&self) -> usize {
        self.sessions.counts().objects + self.handlers.interfaces()
    }

    pub(crate) fn stats(&self) -> Stats {
        let sessions = self.sessions.counts().calls;
        let queued = (self.lifecycle.waiting(), self.outbound.queued());
        self.counters.snapshot((sessions, self.objects()), queued)
    }

    /// Fails every call to `peer`, an absolute address, withdraws the objects exported to it, and
    /// cancels the handlers that run for it.
    pub(crate) fn peer_gone(&self, peer: &str) {
        self.peers.forget(peer);
        self.chunks.forget(peer);
        let lost = self.sessions.peer_gone(peer);
        self.handlers.peer_gone(peer);
        let reason = LinkError::from(format!("Client disconnected: {peer}"));
        lost.tell(Loss::Peer, &reason);
    }

    /// The link is lost, but not the connection.
    fn link_lost(&self, reason: &LinkError) {
        // With the state first, new calls wait; those that were made before fail now.
        self.lifecycle.set_state(State::Connecting);
        self.sessions.link_lost().tell(Loss::Link, reason);
        // Peers may be other programs when the link is back.
        self.peers.forget_all();
        let data = Map::from_iter([("reason".into(), report(reason).into())]);
        self.events.tell("disconnected", data);
    }

    /// Sets the state to connected, after the server knows all services.
    pub(crate) fn set_connected(&self) {
        self.lifecycle.set_state(State::Connected);
        self.notices.repeat_all(self.clock.now());
        let info = self.identity().connection_info.clone();
        self.events.tell("connected", info);
    }

    /// Frees ended sessions and unused objects. Called periodically.
    fn tidy(&self) {
        #[cfg(feature = "metrics")]
        self.stats().publish(self.identity().address());
        self.tasks.tidy();
        self.chunks.tidy();
        let idle = self.settings.object_idle_timeout.as_millis() as u64;
        self.sessions.tidy(idle);
    }

    /// Waits until no handler runs, at most for `grace`; false if some still do.
    pub(crate) async fn drain(&self, grace: Duration) -> bool {
        self.admission.drain(grace).await
    }

    /// Fails everything that waits, ends everything that runs, and lets nothing else begin. The
    /// first reason stays.
    pub(crate) fn close(&self, reason: CloseReason) {
        // The end is marked before anything is emptied: whatever is added afterwards sees the mark.
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
        // A service may hold a handle of this connection, which then would hold itself for ever.
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
