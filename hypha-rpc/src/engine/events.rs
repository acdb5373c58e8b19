//! Streams of events and of connection states. An event is a message of any type except `method`
//! (`docs/protocol/02-messages.md#s12`).

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::state::State;
use hypha_wire::{Map, Message, Value};

/// Maximum number of unread events per reader. Further events are dropped and counted. The limit
/// bounds the used memory. The driver does not wait for a slow reader, because all other messages
/// would also wait.
const QUEUE: usize = 1024;

/// Event from the server, from another client, or from this client itself. [`EventStream`] returns
/// events.
#[derive(Clone, Debug)]
pub struct Event {
    message: Map,
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// Type of an [`Event`].
        ///
        /// A client receives an event of the server only if the client has subscribed to the type
        /// of the event ([`Client::subscribe`](crate::Client::subscribe)). A client that is not
        /// [silent](crate::ConnectOptions::silent) automatically subscribes to
        /// `client_disconnected`.
        ///
        /// # Examples
        ///
        /// ```
        /// use hypha_rpc::client::EventKind;
        ///
        /// assert_eq!(EventKind::from("service_added"), EventKind::ServiceAdded);
        /// assert_eq!(EventKind::from("news"), EventKind::Other("news"));
        /// assert_eq!(EventKind::ServiceAdded.as_str(), "service_added");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventKind<'a> {
            $($(#[$doc])* $variant,)+
            /// Name of an event. Another client has chosen the name, or a newer server has sent the
            /// event.
            Other(&'a str),
        }

        impl<'a> EventKind<'a> {
            /// Returns the name on the wire.
            pub fn as_str(&self) -> &'a str {
                match self {
                    $(EventKind::$variant => $name,)+
                    EventKind::Other(name) => name,
                }
            }
        }

        impl<'a> From<&'a str> for EventKind<'a> {
            /// Parses the name on the wire.
            fn from(name: &'a str) -> Self {
                match name {
                    $($name => EventKind::$variant,)+
                    other => EventKind::Other(other),
                }
            }
        }
    };
}

event_kinds! {
    /// `connected`: this client has reconnected.
    Connected = "connected",
    /// `disconnected`: the link of this client was lost, or its connection was closed.
    Disconnected = "disconnected",
    /// `manager_refreshed`: this client fetched the workspace manager after a reconnect.
    ManagerRefreshed = "manager_refreshed",
    /// `services_registered`: the services of this client were registered again.
    ServicesRegistered = "services_registered",
    /// `services_registration_failed`: some of the services of this client were rejected.
    ServicesRegistrationFailed = "services_registration_failed",
    /// `client_connected`: a client of the workspace has connected.
    ClientConnected = "client_connected",
    /// `client_disconnected`: a client of the workspace has disconnected.
    ClientDisconnected = "client_disconnected",
    /// `client_updated`: a client of the workspace registered its built-in service again.
    ClientUpdated = "client_updated",
    /// `service_added`: a service was registered.
    ServiceAdded = "service_added",
    /// `service_removed`: a service was unregistered or replaced.
    ServiceRemoved = "service_removed",
    /// `service_updated`: clients can subscribe to this type, but servers send no such event.
    ServiceUpdated = "service_updated",
    /// `workspace_loaded`: a workspace of the user was created or loaded.
    WorkspaceLoaded = "workspace_loaded",
    /// `workspace_deleted`: a workspace of the user was deleted.
    WorkspaceDeleted = "workspace_deleted",
    /// `workspace_changed`: the record of the workspace was changed.
    WorkspaceChanged = "workspace_changed",
    /// `workspace_ready`: the workspace can be used.
    WorkspaceReady = "workspace_ready",
    /// `workspace_unloaded`: the workspace is no longer in use.
    WorkspaceUnloaded = "workspace_unloaded",
    /// `workspace_status_changed`: the state of the workspace has changed.
    WorkspaceStatusChanged = "workspace_status_changed",
}

/// Compares the name on the wire with a string.
impl PartialEq<str> for EventKind<'_> {
    fn eq(&self, name: &str) -> bool {
        self.as_str() == name
    }
}

/// Compares the name on the wire with a string.
impl PartialEq<&str> for EventKind<'_> {
    fn eq(&self, name: &&str) -> bool {
        self == *name
    }
}

impl std::fmt::Display for EventKind<'_> {
    /// Formats the type as its name on the wire, like [`EventKind::as_str`].
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Event {
    /// Returns the type, such as [`EventKind::ServiceAdded`]. If another client has chosen the name
    /// of the event, returns [`EventKind::Other`].
    pub fn kind(&self) -> EventKind<'_> {
        let name = self.message.get("type").and_then(Value::as_str);
        EventKind::from(name.unwrap_or_default())
    }

    /// Returns the address of the client that sent the event. Returns `None` for events from the
    /// server and from this client itself.
    ///
    /// Every client of the workspace can send events of any type. Only an event without a sender
    /// comes from the server or from this client itself.
    pub fn from(&self) -> Option<&str> {
        self.message.get("from").and_then(Value::as_str)
    }

    /// Returns the payload, or null if the event has none.
    #[must_use]
    pub fn data(&self) -> &Value {
        self.message.get("data").unwrap_or(&Value::Null)
    }

    /// Returns the whole message. The message may contain keys for which `Event` has no method.
    #[must_use]
    pub fn message(&self) -> &Map {
        &self.message
    }
}

/// Stream of the events of one type. Returned by [`Client::events`](crate::Client::events).
///
/// The stream continues after a lost link, and ends when the connection closes. At most 1024 unread
/// events are queued. Further events are dropped and counted in
/// [`Stats::dropped_events`](crate::client::Stats::dropped_events). Dropping the stream does not
/// end the subscription at the server. The type also implements [`Stream`].
#[derive(Debug)]
pub struct EventStream {
    receiver: mpsc::Receiver<Event>,
}

impl EventStream {
    /// Returns the next event, or `None` when the connection is closed.
    ///
    /// # Cancellation
    ///
    /// Cancel safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.receiver.poll_recv(cx)
    }
}

/// Sequence of the states of a connection. Returned by [`Client::states`](crate::Client::states).
///
/// A slow reader misses intermediate states, but never the latest state.
#[derive(Debug)]
pub struct StateWatcher {
    receiver: watch::Receiver<State>,
    first: bool,
    over: bool,
}

impl StateWatcher {
    pub(crate) fn new(receiver: watch::Receiver<State>) -> Self {
        StateWatcher {
            receiver,
            first: true,
            over: false,
        }
    }

    /// Waits for the next state. The first call returns the current state, and each later call
    /// waits for a change. Returns `None` after [`State::Closed`].
    ///
    /// # Cancellation
    ///
    /// Cancel safe: dropping the future loses no state.
    pub async fn next(&mut self) -> Option<State> {
        if self.over || (!self.first && self.receiver.changed().await.is_err()) {
            return None;
        }
        self.first = false;
        let state = self.receiver.borrow_and_update().clone();
        self.over = state.is_closed();
        Some(state)
    }
}

/// Readers of the events of a connection. `None` after the connection is closed.
pub(crate) struct Events {
    readers: Mutex<Option<Readers>>,
}

type Readers = HashMap<String, Vec<mpsc::Sender<Event>>>;

impl Default for Events {
    fn default() -> Self {
        Events {
            readers: Mutex::new(Some(Readers::new())),
        }
    }
}

impl Events {
    /// Adds a reader of the events of the type `kind`. If the connection is closed, the returned
    /// stream ends immediately.
    pub(crate) fn read(&self, kind: &str) -> EventStream {
        let (sender, receiver) = mpsc::channel(QUEUE);
        if let Some(readers) = self.readers.lock().as_mut() {
            let senders = readers.entry(kind.to_owned()).or_default();
            senders.retain(|sender| !sender.is_closed());
            senders.push(sender);
        }
        EventStream { receiver }
    }

    /// Passes an event to the readers of its type. Returns `false` in three cases: the event has no
    /// reader, the queue of a reader is full, or the event cannot be decoded. The decoded content
    /// may occupy at most `limit` bytes.
    ///
    /// A reader with a full queue stays registered. Only readers whose stream was dropped are
    /// removed.
    pub(crate) fn deliver(&self, message: &Message, limit: usize) -> bool {
        let mut readers = self.readers.lock();
        let Some(senders) = readers.as_mut().and_then(|r| r.get_mut(message.kind())) else {
            return false;
        };
        senders.retain(|sender| !sender.is_closed());
        let Some(event) = event(message, limit) else {
            return false;
        };
        let mut all = !senders.is_empty();
        for sender in senders {
            all &= sender.try_send(event.clone()).is_ok();
        }
        all
    }

    /// Passes an event that this client creates to the readers of its type. If the queue of a
    /// reader is full, the reader does not receive the event.
    pub(crate) fn tell(&self, kind: &str, data: Map) {
        let mut readers = self.readers.lock();
        let Some(senders) = readers.as_mut().and_then(|r| r.get_mut(kind)) else {
            return;
        };
        let message = Map::from_iter([
            ("type".to_owned(), Value::from(kind)),
            ("data".to_owned(), Value::Map(data)),
        ]);
        senders.retain(|sender| {
            let event = Event {
                message: message.clone(),
            };
            !matches!(
                sender.try_send(event),
                Err(mpsc::error::TrySendError::Closed(_))
            )
        });
    }

    /// Ends all event streams.
    pub(crate) fn close(&self) {
        *self.readers.lock() = None;
    }
}

/// Decodes an event. If a client has sent the event, the payload is in the second segment of the
/// message. If the server has sent the event, the payload is in the first segment.
fn event(message: &Message, limit: usize) -> Option<Event> {
    let mut map = message.main().ok()?;
    if !message.extra_raw().is_empty() {
        let data = message.extra().ok()?.data;
        if let Some(data) = data {
            map.insert(
                "data".into(),
                hypha_wire::from_slice_within(&data, limit).ok()?,
            );
        }
    }
    Some(Event { message: map })
}
