//! Serves a client over HTTP. The long response to a GET carries the messages to the client, and
//! POSTs carry the messages from the client.
//!
//! A [`Session`] is the server's state of such a client, and outlives the GETs of the client. When
//! a GET ends, messages wait in the queue, and the client keeps its address for `stream_grace`. The
//! channel `takeovers` passes a new GET of the same client to the session.
//!
//! The task that runs [`serve`] owns the queue. No other task writes to a GET. Each POST runs in
//! the task of its request.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hypha_rpc::workspace::UserInfo;
use hypha_wire as wire;
use hypha_wire::Message;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::admission::{
    Admitted, Applicant, connect, connection_info, reconnection, unauthenticated, user_of,
    workspace_of,
};
use super::refusal::code;
use super::{EVICTED, Refusal, RefusalKind, Sessions, control, keep_pace};
use crate::auth::{self, Authenticated};
use crate::memory::{Account, Charge};
use crate::peer::{CloseOrder, Outgoing, Pace, Peer, Progress, Queue, Queued};
use crate::settings::Limits;
use crate::state::State;
use crate::workspace;

/// Size of the pieces of a frame, in bytes. The write timeout applies to each piece, so small
/// pieces distinguish a slow reader from a reader that reads nothing.
const PIECE: usize = 64 * 1024;
/// Maximum number of pieces that wait for the socket. The number is small, because bytes that have
/// left the queue no longer slow down the senders.
const PIECES: usize = 8;
/// Maximum number of frames taken from the queue at once.
const BATCH: usize = 64;
/// Maximum number of GETs of one client that wait to take over the session. Further GETs wait until
/// one of these GETs has taken over.
const TAKEOVERS: usize = 4;
/// Timeout of a ping to a silent client.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of consecutive failed pings after which the client is removed.
const PING_FAILURES: u32 = 3;
/// Maximum time that a POST waits for the rate limit. A POST that would wait longer is refused,
/// because a waiting request occupies a connection and the memory of its body.
const RATE_DELAY_MAX: Duration = Duration::from_secs(5);
/// Timeout of the error message at the end of a stream. The timeout is short, because the stream
/// often ends because the client does not read.
const LAST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// The credentials and the address in a GET. The server has not checked them yet.
pub(crate) struct StreamHello {
    pub(crate) client_id: String,
    pub(crate) workspace: Option<String>,
    pub(crate) token: Option<String>,
    /// If both tokens are given, the server uses this token instead of `token`.
    pub(crate) reconnection_token: Option<String>,
    /// IP address of the client. Behind a proxy, this is the address that the proxy reports.
    pub(crate) address: String,
}

/// The clients over HTTP, by their address `workspace/client`.
#[derive(Default)]
pub(crate) struct Streams(Mutex<HashMap<String, Arc<Session>>>);

/// The session of a client over HTTP. It lasts from the admission of the client until
/// `stream_grace` after its last GET.
pub(crate) struct Session {
    peer: Arc<Peer>,
    /// Passes a new GET of the same client to the task that serves the client.
    takeovers: mpsc::Sender<Response>,
    /// The credential in the last GET. The server authenticates POSTs by it.
    credential: Mutex<Credential>,
    /// Time of the last GET or POST.
    heard: Mutex<Instant>,
    /// The account for all memory that the server holds for the client, including bodies of POSTs.
    pub(crate) account: Account,
}

/// The credential with which a POST proves that its sender has opened the stream.
#[derive(Clone)]
enum Credential {
    /// The hash of the token in the GET. The token may expire while the stream is open.
    Token(auth::TokenHash),
    /// The IP address, for a client without a token. The client's address `workspace/client` is not
    /// secret, so anyone could otherwise send messages in the client's name.
    Address(String),
}

impl Credential {
    /// Returns the credential in a GET.
    fn of(hello: &StreamHello) -> Credential {
        match &hello.token {
            Some(token) => Credential::Token(auth::token_hash(token)),
            None => Credential::Address(hello.address.clone()),
        }
    }
}

/// A piece of the body of a GET. The piece outlives the queue entry of its frame, so its memory is
/// charged until the socket has taken the piece.
struct Piece {
    bytes: Bytes,
    _charge: Arc<Charge>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A GET whose response is being written.
struct Response {
    /// Sends the pieces of the body to the response.
    pieces: mpsc::Sender<Bytes>,
    /// The message `connection_info`, which is the first message of the response.
    greeting: String,
    /// Reports written pieces to the senders that wait for the client. `None` until `feed` starts
    /// to write to this GET.
    progress: Option<Progress>,
}

/// The error of a GET whose reader accepts no bytes or has disconnected.
struct ReaderDisconnected;

impl Streams {
    /// Returns the session of a client over HTTP.
    pub(crate) fn find(&self, workspace: &str, client_id: &str) -> Option<Arc<Session>> {
        self.0
            .lock()
            .get(&format!("{workspace}/{client_id}"))
            .cloned()
    }

    fn insert(&self, session: Arc<Session>) {
        self.0.lock().insert(session.peer.address.clone(), session);
    }

    /// Removes a session, unless a newer session has taken its address.
    fn remove(&self, session: &Arc<Session>) {
        let mut sessions = self.0.lock();
        if sessions
            .get(&session.peer.address)
            .is_some_and(|present| Arc::ptr_eq(present, session))
        {
            sessions.remove(&session.peer.address);
        }
    }
}

impl Session {
    /// Checks that a POST with this token, from this IP address, comes from the client.
    ///
    /// Accepts the token of the last GET, even if this token has expired since then. Also accepts
    /// any other valid token of the same user.
    ///
    /// # Errors
    ///
    /// Refuses a revoked token, and the token of another user or client. Accepts a POST without a
    /// token only if the stream was also opened without a token, from the same IP address.
    pub(crate) async fn authorize(
        &self,
        state: &State,
        token: Option<&str>,
        address: &str,
    ) -> Result<(), Refusal> {
        let stranger = || {
            Refusal::new(
                RefusalKind::Denied,
                format_args!(
                    "Permission denied: the stream of {} belongs to another user",
                    self.peer.address
                ),
            )
        };
        // The credential is cloned, because the lock must not be held across the await below.
        let credential = self.credential.lock().clone();
        let Some(token) = token else {
            return match credential {
                Credential::Address(own) if self.peer.user.is_anonymous && own == address => Ok(()),
                _ => Err(stranger()),
            };
        };
        // The token of the GET is not checked again, because it may have expired while the stream
        // is open. Only its revocation is checked.
        if matches!(credential, Credential::Token(own) if own == auth::token_hash(token)) {
            return match state.issuer.is_revoked(token) {
                true => Err(Refusal::new(RefusalKind::Revoked, "Token has been revoked")),
                false => Ok(()),
            };
        }
        let user = user_of(state, token).await?;
        let bound = user.scope.as_ref().and_then(|s| s.client_id.as_deref());
        if user.id != self.peer.user.id || bound.is_some_and(|id| id != self.peer.client_id) {
            return Err(stranger());
        }
        Ok(())
    }

    /// Handles one message of the client. Waits for the rate limit of the client, then for room at
    /// the receiver. `charge` pays for the memory of the frame until the receiver has the frame.
    ///
    /// # Errors
    ///
    /// Refuses the message as [`RefusalKind::TooMany`] if the rate limit requires a wait of more
    /// than [`RATE_DELAY_MAX`].
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, the message may be lost.
    pub(crate) async fn receive(
        &self,
        state: &State,
        frame: Bytes,
        charge: Option<Charge>,
    ) -> Result<(), Refusal> {
        *self.heard.lock() = Instant::now();
        // The rate limit is checked before the frame is parsed, so that a flood of refused POSTs
        // costs little.
        let debt = self.peer.pace.as_ref().map(Pace::debt).unwrap_or_default();
        if debt > RATE_DELAY_MAX {
            state.counters.refused_rate.add();
            return Err(Refusal::new(
                RefusalKind::TooMany,
                format_args!(
                    "rate limit: {} sends too much; try again in {} s",
                    self.peer.address,
                    debt.as_secs() + 1
                ),
            ));
        }
        keep_pace(state, &self.peer).await;
        state.counters.messages_received.add();
        // Control messages have no target. If a frame cannot be parsed, this code passes it to the
        // router, which counts such frames.
        let request = Message::parse(frame.clone())
            .ok()
            .filter(|message| message.to().is_none())
            .and_then(|message| control::named(message.kind()));
        match request {
            Some(request) => {
                // The control message is charged here, because the router charges only the messages
                // that reach it.
                if let Some(pace) = &self.peer.pace {
                    pace.message(frame.len());
                }
                control::answer(state, &self.peer, request).await;
            }
            None => {
                self.peer.count_message();
                state.router.route(&self.peer, frame, charge).await;
            }
        }
        Ok(())
    }

    /// Returns whether `user` has the same id and the same permissions as the user that opened the
    /// stream. Another token of the same user may have fewer permissions, and must not take over a
    /// session with more permissions.
    fn belongs_to(&self, user: &UserInfo) -> bool {
        let granted = |user: &UserInfo| user.scope.clone().unwrap_or_default().workspaces;
        let own = &self.peer.user;
        own.id == user.id && own.roles == user.roles && granted(own) == granted(user)
    }
}

/// Admits a client. If the client already has a session, passes the new GET to this session
/// instead. The returned channel yields the body of the response, and closes when the stream ends.
///
/// # Errors
///
/// Returns the refusal of the step that failed; see `admission`.
pub(crate) async fn open(
    sessions: &Arc<Sessions>,
    hello: StreamHello,
) -> Result<mpsc::Receiver<Bytes>, Refusal> {
    let state = &sessions.state;
    // This guard is taken before the admission, so that the shutdown of the server waits for a
    // client that is being admitted.
    let Some(alive) = state.shutdown.alive().filter(|_| state.is_ready()) else {
        return Err(Refusal::new(RefusalKind::Busy, "Server busy, please retry"));
    };
    let permit = sessions.admission.enter().await?;
    let (user, workspace) = authenticate(state, &hello).await?;
    let mut applicant = Applicant {
        user,
        workspace,
        client_id: &hello.client_id,
        address: &hello.address,
        reconnecting: hello.reconnection_token.is_some(),
    };
    let info = workspace_of(state, &mut applicant).await?;
    let credential = Credential::of(&hello);

    // An anonymous client without a reconnection token cannot prove that it is the client that
    // opened the session.
    let proven = applicant.reconnecting || !applicant.user.is_anonymous;
    let present = sessions.streams.find(&info.id, &hello.client_id);
    let present = present.filter(|present| proven && present.belongs_to(&applicant.user));
    if let Some(present) = present {
        let greeting = connection_info(state, &applicant.user, &info.id, &hello.client_id).await?;
        let (pieces, body) = mpsc::channel(PIECES);
        if present
            .takeovers
            .send(Response {
                pieces,
                greeting,
                progress: None,
            })
            .await
            .is_ok()
        {
            *present.credential.lock() = credential;
            *present.heard.lock() = Instant::now();
            return Ok(body);
        }
        // The session has ended since the lookup, so the client is admitted as a new client.
    }

    let mut admitted = connect(sessions, applicant, info, permit).await?;
    let (pieces, body) = mpsc::channel(PIECES);
    let first = Response {
        pieces,
        greeting: std::mem::take(&mut admitted.connection_info),
        progress: None,
    };
    let (takeovers, responses) = mpsc::channel(TAKEOVERS);
    let session = Arc::new(Session {
        peer: admitted.peer.clone(),
        takeovers,
        credential: Mutex::new(credential),
        heard: Mutex::new(Instant::now()),
        account: admitted.account.clone(),
    });
    // The session is inserted before the response starts, because the client may send its first
    // POST immediately.
    sessions.streams.insert(session.clone());
    state.shutdown.spawn({
        let sessions = sessions.clone();
        async move {
            // This guard is held until the client is removed, because the shutdown of the server
            // waits for the removal.
            let _alive = alive;
            serve(&sessions, admitted, &session, first, responses).await;
        }
    });
    Ok(body)
}

/// Returns the user of the credentials, and the workspace that the client enters. This is the
/// requested workspace, or else the workspace of the token, or else the user's own workspace.
async fn authenticate(
    state: &State,
    hello: &StreamHello,
) -> Result<(Authenticated, String), Refusal> {
    if let Some(token) = &hello.reconnection_token {
        let named = hello.workspace.as_deref();
        let found = reconnection(state, token, &hello.client_id, named).await;
        return found.map_err(|refusal| {
            let message = format!("Invalid reconnection token: {}", refusal.message);
            Refusal::new(RefusalKind::Credentials, message)
        });
    }
    let named = hello.workspace.clone().filter(|named| named != "public");
    let Some(token) = &hello.token else {
        let user = auth::anonymous_http_user();
        let workspace = named.unwrap_or_else(|| user.own_workspace());
        return Ok((user.into(), workspace));
    };
    let user = user_of(state, token).await?;
    let scope = user.scope.clone().unwrap_or_default();
    if let Some(bound) = scope.client_id.filter(|bound| *bound != hello.client_id) {
        return Err(unauthenticated(format_args!(
            "Client id mismatch: this token is restricted to client with client_id='{bound}'"
        )));
    }
    let bound = scope.current_workspace;
    // `named` cannot be `public` here. A request for `public` stands for the workspace of the
    // token, or for the user's own workspace, so `public` was removed above.
    let other = named
        .as_ref()
        .filter(|named| Some(*named) != bound.as_ref());
    if let (Some(bound), Some(named)) = (&bound, other) {
        return Err(unauthenticated(format_args!(
            "Current workspace encoded in the token ({bound}) does not match the specified \
             workspace ({named})"
        )));
    }
    let workspace = named.or(bound).unwrap_or_else(|| user.own_workspace());
    Ok((user, workspace))
}

/// Serves a client until it disconnects or its connection is closed. Then removes the client.
async fn serve(
    sessions: &Sessions,
    mut admitted: Admitted,
    session: &Arc<Session>,
    first: Response,
    mut responses: mpsc::Receiver<Response>,
) {
    let state = &sessions.state;
    let Admitted { peer, queue, .. } = &mut admitted;
    state.counters.connections_accepted.add();
    state.counters.connections_open.add();
    tracing::info!(
        peer = peer.address,
        user = peer.user.id,
        "connected over HTTP"
    );
    let mut response = Some(first);
    let ordered = queue.closed();
    let end = tokio::select! {
        // An order to close has priority, because the client could otherwise receive a wrong
        // reason.
        biased;
        order = ordered => Some(order),
        () = state.shutdown.stopped() => {
            Some(CloseOrder::new(code::GOING_AWAY, "Server is shutting down"))
        }
        () = session.account.gives_way() => Some(CloseOrder::over_budget(EVICTED)),
        () = feed(state, queue, &mut responses, &mut response) => None,
        () = until_unresponsive(state, session) => {
            let order = CloseOrder::new(code::GOING_AWAY, "The client does not respond");
            Some(order.with_error_frame())
        }
    };
    // The session is removed first, so that a new GET of the client is admitted as a new
    // connection. Otherwise the new GET would be passed to a session that ends.
    sessions.streams.remove(session);
    workspace::client_left(state, peer).await;
    state.counters.connections_open.sub();
    let reason = end
        .as_ref()
        .map_or("the client has disconnected", |order| &order.reason);
    if end
        .as_ref()
        .is_some_and(|order| order.code == code::TRY_AGAIN)
    {
        state.counters.closed_memory.add();
    }
    tracing::info!(peer = peer.address, reason, "disconnected");
    if let (Some(response), Some(order)) = (response, end.filter(|order| order.error_frame)) {
        let text = json!({"type": "error", "message": order.reason}).to_string();
        // The result is ignored, because the client is already removed.
        let _ = response
            .send(&Outgoing::Text(text), None, LAST_MESSAGE_TIMEOUT)
            .await;
    }
}

/// Writes the frames in the queue to the client's GETs, one GET after the other. Returns when no
/// new GET arrives within `stream_grace`.
async fn feed(
    state: &State,
    queue: &mut Queue,
    responses: &mut mpsc::Receiver<Response>,
    response: &mut Option<Response>,
) {
    let limits = &state.settings.limits;
    // These frames are kept when a GET ends, because a partly written frame must be sent again in
    // the next GET.
    let mut waiting = VecDeque::new();
    loop {
        let Some(current) = response else {
            match timeout(limits.stream_grace, responses.recv()).await {
                Ok(Some(next)) => *response = Some(next),
                _ => return,
            }
            continue;
        };
        current.progress.get_or_insert_with(|| queue.progress());
        let pieces = current.pieces.clone();
        *response = tokio::select! {
            // A new GET has priority, because the client no longer reads the current GET.
            biased;
            next = responses.recv() => next,
            // The end of the GET is detected even if there is nothing to send, so that the grace
            // period starts when the reader disconnects.
            () = pieces.closed() => None,
            ReaderDisconnected = write(current, queue, &mut waiting, limits) => None,
        };
    }
}

/// Writes to one GET until its reader disconnects: first the greeting, then the frames in
/// `waiting`, then the frames in the queue. Sends a ping whenever nothing was sent for
/// `stream_ping`.
///
/// # Cancellation
///
/// If the future is dropped, a partly written frame stays in `waiting`.
async fn write(
    response: &Response,
    queue: &mut Queue,
    waiting: &mut VecDeque<Queued>,
    limits: &Limits,
) -> ReaderDisconnected {
    let sending = async {
        let stall = limits.stall_timeout;
        let greeting = Outgoing::Text(response.greeting.clone());
        response.send(&greeting, None, stall).await?;
        let mut batch = Vec::new();
        loop {
            while let Some(next) = waiting.front() {
                response
                    .send(&next.frame, next.held.charge(), stall)
                    .await?;
                waiting.pop_front();
            }
            tokio::select! {
                more = queue.take(&mut batch, BATCH) => {
                    if !more {
                        return Err(ReaderDisconnected);
                    }
                    waiting.extend(batch.drain(..));
                }
                () = sleep(limits.stream_ping) => {
                    let ping = Outgoing::Text(json!({"type": "ping"}).to_string());
                    response.send(&ping, None, stall).await?;
                }
            }
        }
    };
    let result: Result<std::convert::Infallible, ReaderDisconnected> = sending.await;
    match result {
        Ok(never) => match never {},
        Err(lost) => lost,
    }
}

impl Response {
    /// Writes one frame: the length of its content in four bytes (big-endian), then the content.
    /// Control messages are MessagePack maps on this transport. `charge` pays for the memory of the
    /// frame, and `stall` is the timeout of each piece.
    async fn send(
        &self,
        frame: &Outgoing,
        charge: Option<Arc<Charge>>,
        stall: Duration,
    ) -> Result<(), ReaderDisconnected> {
        let payload = match frame {
            Outgoing::Binary(message) => message.clone().into_bytes(),
            Outgoing::Text(text) => {
                let map: Value = serde_json::from_str(text).map_err(|_| ReaderDisconnected)?;
                wire::to_vec(&map).map_err(|_| ReaderDisconnected)?.into()
            }
        };
        let length = u32::try_from(payload.len()).map_err(|_| ReaderDisconnected)?;
        // The length and the first piece share a buffer, so that a small frame is one piece.
        let first = payload.slice(..payload.len().min(PIECE));
        let mut head = BytesMut::with_capacity(4 + first.len());
        head.put_u32(length);
        head.put_slice(&first);
        self.piece(head.freeze(), &charge, stall).await?;
        let mut rest = payload.slice(first.len()..);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            self.piece(piece, &charge, stall).await?;
        }
        Ok(())
    }

    async fn piece(
        &self,
        bytes: Bytes,
        charge: &Option<Arc<Charge>>,
        stall: Duration,
    ) -> Result<(), ReaderDisconnected> {
        // Each piece holds the charge, because the socket may take the last piece long after the
        // frame has left the queue.
        let piece = match charge.clone() {
            Some(_charge) => Bytes::from_owner(Piece { bytes, _charge }),
            None => bytes,
        };
        let sent = timeout(stall, self.pieces.send(piece)).await;
        if let Some(progress) = &self.progress {
            progress.made();
        }
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(ReaderDisconnected),
        }
    }
}

/// Returns when the client has sent nothing for `stream_idle` and has not responded to
/// [`PING_FAILURES`] consecutive pings. The idle timeout alone is not enough, because a client may
/// only read from its stream and never send.
async fn until_unresponsive(state: &State, session: &Session) {
    let limits = &state.settings.limits;
    let mut failures = 0;
    while failures < PING_FAILURES {
        sleep(limits.stream_sweep).await;
        let silent = session.heard.lock().elapsed();
        let Peer {
            workspace,
            client_id,
            ..
        } = &*session.peer;
        if silent < limits.stream_idle
            || workspace::ping(state, workspace, client_id, PING_TIMEOUT)
                .await
                .is_ok()
        {
            failures = 0;
        } else {
            failures += 1;
        }
    }
}
