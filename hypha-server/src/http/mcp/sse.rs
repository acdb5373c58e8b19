//! Implements the SSE transport: the server sends an event stream, and the client posts messages to
//! a second URL. The library `rmcp` no longer contains this transport, but `rmcp` still handles the
//! messages.
//!
//! A session lasts as long as its stream. One task owns the client and the calls of a session.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use parking_lot::Mutex;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, GetExtensions as _, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::{RoleServer, serve_server_with_ct};
use rmcp::transport::Transport;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::gateway::{Gateway, Handler};
use super::message::{self, Unread};
use super::{Place, Refused, connect, identify, shared};
use crate::http::problem::problem;
use crate::http::{Front, Remote, body};
use crate::memory::Charge;
use crate::settings::Limits;
use crate::shares::Slots;
use crate::state::State;

/// Maximum number of received messages that wait for the session.
const MESSAGES: usize = 8;
/// Maximum number of events that wait to be sent to the client.
const EVENTS: usize = 8;
/// Memory charged for a message and its call in addition to the message's size, in bytes.
const CALL: usize = 16 * 1024;
const SESSION_NOT_FOUND: &str = "SSE session not found. Please reconnect.";

/// The open sessions.
pub(in crate::http) struct McpSessions {
    places: Arc<Slots>,
    open: Mutex<HashMap<String, Session>>,
}

/// Handle of a session, for requests that post messages.
#[derive(Clone)]
struct Session {
    messages: mpsc::Sender<Incoming>,
    /// Workspace and service id in the URL of the session.
    place: (String, String),
    gateway: Arc<Gateway>,
}

/// A message of the client, with its memory charge.
struct Incoming {
    message: ClientJsonRpcMessage,
    charge: Charge,
}

/// An event for the client, with its memory charges.
struct Event {
    bytes: Bytes,
    _charges: Vec<Charge>,
}

impl McpSessions {
    pub(in crate::http) fn new(limits: &Limits) -> Arc<McpSessions> {
        Arc::new(McpSessions {
            places: Slots::new(limits.mcp_sessions_per_user, limits.mcp_sessions),
            open: Mutex::default(),
        })
    }
}

/// Entry of an open session in the map of sessions. Dropping the entry removes the session.
struct Listed {
    state: Arc<State>,
    sessions: Arc<McpSessions>,
    id: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.sessions.open.lock().remove(&self.id);
        self.state.counters.mcp_sessions_open.sub();
    }
}

/// Opens a session and responds with its stream.
pub(super) async fn open(
    front: &Front,
    remote: Remote,
    place: &Place,
    headers: &HeaderMap,
) -> Result<Response, Refused> {
    let visitor = identify(front, remote, headers).await?;
    let mut gateway = connect(front, visitor, place).await?;
    gateway.notifies = true;
    let handler = shared(gateway);
    let gateway = handler.0.clone();
    let (state, account) = (front.state.clone(), gateway.visitor.account.clone());
    let (place_of_session, displaced) = front.mcp.places.take(account.owner());
    if displaced {
        state.counters.mcp_sessions_displaced.add();
    }
    let id = hypha_wire::random_id();
    let (messages, incoming) = mpsc::channel(MESSAGES);
    let (events, outgoing) = mpsc::channel(EVENTS);
    let session = Session {
        messages,
        place: (place.workspace.clone(), place.id.clone()),
        gateway: gateway.clone(),
    };
    front.mcp.open.lock().insert(id.clone(), session);
    state.counters.mcp_sessions_open.add();
    let listed = Listed {
        state: state.clone(),
        sessions: front.mcp.clone(),
        id: id.clone(),
    };
    let end = CancellationToken::new();
    let (active, activity) = watch::channel(Instant::now());
    let transport = Channel {
        incoming,
        events,
        gateway: gateway.clone(),
        pending: HashMap::new(),
        active,
    };
    let idle = state.settings.limits.mcp_idle_timeout;
    let ping = state.settings.limits.stream_ping;
    state.clone().shutdown.spawn({
        let end = end.clone();
        async move {
            // The task owns the slot and the entry, so both are freed when the task ends.
            let (mut place, _listed) = (place_of_session, listed);
            let stopped = state.shutdown.stopped();
            tokio::select! {
                () = serve(handler, transport, end.clone()) => {}
                () = is_idle(activity, idle) => state.counters.mcp_sessions_idle.add(),
                () = place.evicted() => {}
                () = account.gives_way() => state.counters.http_refused_memory.add(),
                () = stopped => {}
                () = end.cancelled() => {}
            }
            // Cancels the calls in progress, and ends the stream.
            end.cancel();
        }
    });
    let endpoint = format!("{}/messages/?session_id={id}", place.path);
    let first = Bytes::from(format!("event: endpoint\r\ndata: {endpoint}\r\n\r\n"));
    let going = SessionBody {
        first: Some(first),
        outgoing,
        ping,
        end: end.clone(),
        _guard: end.drop_guard(),
    };
    let pieces = stream::unfold(going, |mut going| async move {
        let piece = going.next().await?;
        Some((Ok::<_, Infallible>(piece), going))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Runs a session until it ends.
async fn serve(handler: Handler, transport: Channel, end: CancellationToken) {
    match serve_server_with_ct(handler, transport, end).await {
        Ok(running) => {
            let _ = running.waiting().await;
        }
        Err(error) => tracing::debug!(%error, "an MCP session did not begin"),
    }
}

/// Waits until the session has been idle for `limit`. During a call, the time of the last activity
/// is set far in the future.
async fn is_idle(mut activity: watch::Receiver<Instant>, limit: Duration) {
    loop {
        let last = *activity.borrow_and_update();
        tokio::select! {
            () = sleep_until(last + limit) => return,
            changed = activity.changed() => if changed.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// The response body of a session. Dropping the body ends the session.
struct SessionBody {
    first: Option<Bytes>,
    outgoing: mpsc::Receiver<Event>,
    ping: Duration,
    end: CancellationToken,
    _guard: DropGuard,
}

impl SessionBody {
    /// Returns the next part of the body, or `None` if the session ended.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        tokio::select! {
            event = timeout(self.ping, self.outgoing.recv()) => match event {
                Ok(event) => Some(event?.bytes),
                // A ping keeps clients and proxies from treating the stream as dead.
                Err(_) => Some(Bytes::from_static(b": ping\r\n\r\n")),
            },
            () = self.end.cancelled() => None,
        }
    }
}

/// Connects `rmcp` to the posted messages and the event stream.
struct Channel {
    incoming: mpsc::Receiver<Incoming>,
    events: mpsc::Sender<Event>,
    gateway: Arc<Gateway>,
    /// Charges for the memory of the requests in progress.
    pending: HashMap<RequestId, Charge>,
    /// Time of the last activity in the session. The time is in the future while a request is in
    /// progress.
    active: watch::Sender<Instant>,
}

/// Time that is added to the time of the last activity while a request is in progress, so that the
/// session does not count as idle. Calls have timeouts of their own.
const BUSY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Channel {
    fn touch(&self) {
        let now = Instant::now();
        let busy = !self.pending.is_empty();
        self.active
            .send_replace(if busy { now + BUSY } else { now });
    }
}

/// Error of the transport after the stream of the session has ended.
#[derive(Debug, thiserror::Error)]
#[error("the stream of the session has ended")]
struct Ended;

impl Transport<RoleServer> for Channel {
    type Error = Ended;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Ended>> + Send + 'static {
        let answered = match &message {
            ServerJsonRpcMessage::Response(response) => Some(&response.id),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        let mut charges = Vec::new();
        if let Some(id) = answered {
            charges.extend(self.pending.remove(id));
            charges.extend(self.gateway.charges.lock().remove(id).unwrap_or_default());
            self.touch();
        }
        let events = self.events.clone();
        async move {
            let mut bytes = b"event: message\r\ndata: ".to_vec();
            serde_json::to_writer(&mut bytes, &message).map_err(|_| Ended)?;
            bytes.extend(b"\r\n\r\n");
            let event = Event {
                bytes: bytes.into(),
                _charges: charges,
            };
            events.send(event).await.map_err(|_| Ended)
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let Incoming { message, charge } = self.incoming.recv().await?;
        match &message {
            ClientJsonRpcMessage::Request(request) => {
                self.pending.insert(request.id.clone(), charge);
            }
            // Frees the charges here, because `rmcp` sends no response to a canceled request.
            ClientJsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) =
                    &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.pending.remove(id);
                    self.gateway.charges.lock().remove(id);
                }
            }
            _ => {}
        }
        self.touch();
        Some(message)
    }

    async fn close(&mut self) -> Result<(), Ended> {
        self.incoming.close();
        Ok(())
    }
}

/// Passes a posted message to the session of the client. The session sends the response to the
/// message as an event.
pub(super) async fn message(
    front: &Front,
    remote: Remote,
    place: &Place,
    id: Option<String>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let visitor = identify(front, remote, headers).await?;
    let Some(id) = id else {
        return Err(problem(StatusCode::BAD_REQUEST, "session_id is required").into());
    };
    let found = front.mcp.open.lock().get(&id).cloned();
    let found = found.filter(|found| {
        let (workspace, service) = &found.place;
        found.gateway.visitor.user.id == visitor.user.id
            && (workspace, service) == (&place.workspace, &place.id)
    });
    let Some(session) = found else {
        return Err(problem(StatusCode::NOT_FOUND, SESSION_NOT_FOUND).into());
    };
    let (state, account) = (&front.state, &session.gateway.visitor.account);
    let unparsable = |why: &dyn std::fmt::Display| {
        let text = format!("Could not parse message: {why}");
        problem(StatusCode::BAD_REQUEST, text)
    };
    let read = message::read(front, account, body).await;
    let mut read = read.map_err(|unread| match unread {
        Unread::Refused(problem) => problem,
        Unread::Invalid(why) => unparsable(&why),
    })?;
    let grown = body::grow(&mut read.charge, CALL).await;
    grown.map_err(|error| body::over_budget(state, &error))?;
    let message = serde_json::from_slice(&read.rest);
    let mut message: ClientJsonRpcMessage = message.map_err(|error| unparsable(&error))?;
    if let (ClientJsonRpcMessage::Request(request), Some(arguments)) =
        (&mut message, read.arguments)
    {
        request.request.extensions_mut().insert(arguments);
    }
    let incoming = Incoming {
        message,
        charge: read.charge,
    };
    let sent = session.messages.send(incoming).await;
    sent.map_err(|_| problem(StatusCode::NOT_FOUND, SESSION_NOT_FOUND))?;
    Ok((StatusCode::ACCEPTED, "Accepted").into_response())
}
