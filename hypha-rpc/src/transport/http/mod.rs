//! Implements a link over HTTP (`docs/protocol/05-http-transport.md`, part A). The client receives
//! frames in the body of one long response to a GET request. The client sends each frame in a POST
//! request.
//!
//! The engine uses this link like any other link. The handshake message becomes the GET request
//! that opens the stream, and control messages are strings, as on a WebSocket.
//!
//! The module `native` sends requests with reqwest. The module `browser` sends requests with the
//! function `fetch` of JavaScript.
//!
//! POST requests run concurrently, so one request could overtake another. Messages that must arrive
//! in order share an [order](Post::order). At most one POST request of each order is in flight.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{Sink, Stream, StreamExt};
use http::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;

#[cfg(target_family = "wasm")]
use browser::Requests;
#[cfg(not(target_family = "wasm"))]
use native::Requests;

use super::{Dial, Dialing, Frame, LinkError, MAX_FRAME, SocketOptions, answer};
use crate::backoff::Doubling;
use crate::error::{ConnectError, ConnectErrorKind, report};
use hypha_wire::{Args, Head, Message, ReplyMode, Value, WireError, to_vec};

/// Maximum number of concurrent POSTs.
const MAX_POSTS: usize = 16;

/// Maximum number of frames that wait for their POST request. If this number is reached, the sender
/// waits.
const MAX_WAITING: usize = 256;

/// Pauses before the retries of a POST request that the server has not accepted
/// (`docs/protocol/05-http-transport.md#sa3`).
const PAUSES: Doubling = Doubling {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(1),
};
const RETRIES: u32 = 2;

/// Maximum size of the body of an error response, in bytes. The rest is not read.
const MAX_DETAIL: usize = 64 << 10;

/// Types of the control messages in the stream (`docs/protocol/05-http-transport.md#sa5`).
const CONTROL: [&str; 5] = [
    "connection_info",
    "ping",
    "pong",
    "reconnection_token",
    "error",
];

/// Opens HTTP links to one server. Clones share the connections to the server.
#[derive(Clone)]
pub(crate) struct Dialer {
    requests: Requests,
    /// Workspace of this client, which every later request contains. `None` until the first
    /// response of the server, which contains the workspace.
    workspace: Arc<Mutex<Option<String>>>,
}

impl Dialer {
    /// Creates a dialer for the server at the URL `base`, such as `https://..`.
    ///
    /// # Errors
    ///
    /// Returns [`ConnectErrorKind::InvalidUrl`] if the URL or a header cannot be used, or if the
    /// URL needs TLS and TLS is not available.
    pub(crate) fn new(base: &str, options: &SocketOptions) -> Result<Self, ConnectError> {
        let invalid =
            |fault: String| ConnectError::new(ConnectErrorKind::InvalidUrl, fault).with_url(base);
        // Check the host before parsing the URL. If the host is missing, the parser would use the
        // first part of the path as the host.
        let host = base.split_once("://").map_or(base, |(_, rest)| rest);
        if host.is_empty() || host.starts_with('/') {
            return Err(invalid("it names no host".into()));
        }
        let requests = Requests::new(&format!("{base}/rpc"), options);
        Ok(Dialer {
            requests: requests.map_err(|e| e.with_url(base))?,
            workspace: Arc::default(),
        })
    }

    /// Returns a link that opens the stream when its first frame is sent. If the stream cannot be
    /// opened, the error includes `earlier`, the error of another transport.
    pub(super) fn link_after(&self, earlier: Option<ConnectError>) -> super::BoxLink {
        let mut link = HttpLink::new(self.clone());
        link.earlier = earlier;
        Box::new(link)
    }
}

impl Dial for Dialer {
    fn dial(&self) -> Dialing<'_> {
        // Return the link immediately. The request that contains the handshake message opens the
        // stream later.
        let link = self.link_after(None);
        Box::pin(async { Ok(link) })
    }

    fn url(&self) -> Option<&str> {
        Some(self.requests.url())
    }

    #[cfg(not(target_family = "wasm"))]
    fn proxy(&self) -> Option<String> {
        self.requests.proxy()
    }

    fn connection_type(&self) -> &'static str {
        "http_streaming"
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("url", &hypha_wire::redacted_url(self.requests.url()))
            .finish_non_exhaustive()
    }
}

/// Handshake message of the client. The GET request contains these fields in its URL and its
/// headers.
#[derive(Deserialize)]
struct Hello {
    client_id: String,
    workspace: Option<String>,
    token: Option<String>,
    reconnection_token: Option<String>,
}

/// A connection over HTTP.
pub(crate) struct HttpLink {
    dialer: Dialer,
    /// Client id. Every request of this link contains this id.
    client_id: String,
    token: Option<String>,
    stream: ResponseStream,
    /// Error of the transport that the client tried before HTTP.
    earlier: Option<ConnectError>,
    /// Whether a valid frame has arrived. A valid frame proves that the peer is a Hypha server.
    is_hypha: bool,
    /// Received bytes of an incomplete frame.
    buffer: BytesMut,
    /// Frames that the link delivers before the next frame of the stream. The link itself created
    /// them, to reject calls that could not be sent.
    ready: VecDeque<Frame>,
    posts: FuturesUnordered<BoxFuture<'static, Posted>>,
    /// Orders of the POST requests that are in flight.
    busy: HashSet<String>,
    waiting: VecDeque<Post>,
    /// Waker of the task that waits for a free slot in `waiting`.
    blocked: Option<Waker>,
    /// Whether the client has closed the link. In that case, the link ends after all POST requests
    /// have completed.
    closing: bool,
}

/// State of the long response in which the server sends frames.
enum ResponseStream {
    /// The client has not sent its handshake message yet.
    Unopened,
    Opening(BoxFuture<'static, Result<Opened, ConnectError>>),
    /// The server refused the connection. The link is reading the body of the response.
    Refusing(BoxFuture<'static, ConnectError>),
    Open(Body),
    Ended,
}

/// Response to the request for the stream.
struct Opened {
    response: Response,
    /// Requests to the server that has responded. It differs from the first one after a redirect.
    requests: Requests,
}

/// Response of a server.
struct Response {
    status: StatusCode,
    /// Length of the body in bytes, if the server announced it.
    length: Option<u64>,
    /// Error of the library for the status of an error response.
    failure: Option<Cause>,
    body: Body,
}

/// Body of a response.
type Body = BoxStream<'static, Result<Bytes, Cause>>;

/// Error of the library that sends requests. Its message contains no URL, because the URL contains
/// the reconnection token.
type Cause = Box<dyn Error + Send + Sync>;

/// Failure of a POST without a response.
struct NotPosted {
    /// Whether the server may have accepted the message. A retry could deliver it twice.
    maybe_accepted: bool,
    cause: Cause,
}

/// Message that is being posted or waits to be posted.
struct Post {
    /// Key of the order. Messages with the same key arrive in the order in which the client sent
    /// them. `None` for messages that need no order, which are calls of services.
    order: Option<String>,
    body: Bytes,
}

/// Outcome of a POST request.
struct Posted {
    post: Post,
    failure: Option<String>,
}

impl HttpLink {
    fn new(dialer: Dialer) -> Self {
        HttpLink {
            dialer,
            client_id: String::new(),
            token: None,
            stream: ResponseStream::Unopened,
            earlier: None,
            is_hypha: false,
            buffer: BytesMut::new(),
            ready: VecDeque::new(),
            posts: FuturesUnordered::new(),
            busy: HashSet::new(),
            waiting: VecDeque::new(),
            blocked: None,
            closing: false,
        }
    }

    fn workspace(&self) -> Option<String> {
        self.dialer.workspace.lock().clone()
    }

    /// Starts the request whose response is the stream.
    fn open(&mut self, hello: Hello) {
        let workspace = hello.workspace.or_else(|| self.workspace());
        let query = query(&[
            ("client_id", Some(&hello.client_id)),
            ("workspace", workspace.as_deref()),
            ("reconnection_token", hello.reconnection_token.as_deref()),
        ]);
        self.client_id = hello.client_id;
        self.token = hello.token;
        let requests = self.dialer.requests.clone();
        let opening = requests.open(query, self.token.clone());
        self.stream = ResponseStream::Opening(Box::pin(opening));
    }

    /// Starts POST requests for waiting frames. At most [`MAX_POSTS`] requests run at the same
    /// time, and at most one request of each order.
    fn begin_posts(&mut self) {
        while self.posts.len() < MAX_POSTS {
            let free = |post: &Post| {
                let order = post.order.as_ref();
                order.is_none_or(|order| !self.busy.contains(order))
            };
            let Some(next) = self.waiting.iter().position(free) else {
                break;
            };
            let Some(post) = self.waiting.remove(next) else {
                break;
            };
            self.busy.extend(post.order.clone());
            let query = query(&[
                ("client_id", Some(&self.client_id)),
                ("workspace", self.workspace().as_deref()),
            ]);
            let requests = self.dialer.requests.clone();
            let token = self.token.clone();
            self.posts
                .push(Box::pin(send(requests, query, token, post)));
        }
    }

    /// Polls the running POST requests, and starts requests for waiting frames. If the POST request
    /// of a call fails, adds a rejection to `ready`, so that the call fails before its timeout.
    fn poll_posts(&mut self, cx: &mut Context<'_>) {
        self.begin_posts();
        while let Poll::Ready(Some(posted)) = self.posts.poll_next_unpin(cx) {
            if let Some(order) = &posted.post.order {
                self.busy.remove(order);
            }
            if let Some(failure) = posted.failure {
                match rejection(&posted.post.body, &failure) {
                    Some(frame) => self.ready.push_back(Frame::Binary(frame)),
                    None => tracing::warn!("a message could not be sent: {failure}"),
                }
            }
            self.begin_posts();
        }
        if self.waiting.len() < MAX_WAITING {
            if let Some(blocked) = self.blocked.take() {
                blocked.wake();
            }
        }
    }

    /// Removes and returns the next complete frame of the buffer.
    fn next_frame(&mut self) -> Option<Result<Frame, LinkError>> {
        let head: [u8; 4] = self.buffer.get(..4)?.try_into().ok()?;
        let len = u32::from_be_bytes(head) as usize;
        if len > MAX_FRAME && !self.is_hypha {
            // These four bytes are not a length, but the beginning of text, for example `<htm`.
            return Some(Err(self.not_hypha()));
        }
        if len > MAX_FRAME {
            return Some(Err(LinkError::from(format!(
                "the server announced a frame of {len} bytes, more than {MAX_FRAME}"
            ))));
        }
        if self.buffer.len() - 4 < len {
            return None;
        }
        self.buffer.advance(4);
        let frame = self.buffer.split_to(len).freeze();
        if !self.is_hypha {
            if Message::parse(frame.clone()).is_err() {
                return Some(Err(self.not_hypha()));
            }
            self.is_hypha = true;
        }
        Some(Ok(self.control(&frame).unwrap_or(Frame::Binary(frame))))
    }

    /// Converts a control message to the string that a server would send over a WebSocket. Returns
    /// `None` if the frame is not a control message.
    fn control(&self, frame: &Bytes) -> Option<Frame> {
        let message = Message::parse(frame.clone()).ok()?;
        // A control message has no sender. A message with a sender is an event of a client, and a
        // client may choose any event type.
        if !CONTROL.contains(&message.kind()) || message.from().is_some() {
            return None;
        }
        let main = message.main().ok()?;
        if let Some(workspace) = main.get("workspace").and_then(Value::as_str) {
            *self.dialer.workspace.lock() = Some(workspace.to_owned());
        }
        serde_json::to_string(&main).ok().map(Frame::Text)
    }

    /// Ends a link that could not be opened. Returns the error.
    fn not_opened(&mut self, error: ConnectError) -> LinkError {
        self.stream = ResponseStream::Ended;
        match self.earlier.take() {
            Some(earlier) => error.after(earlier).into(),
            None => error.into(),
        }
    }

    /// Ends a link whose response is not a stream of frames. Returns the error.
    fn not_hypha(&mut self) -> LinkError {
        let error = ConnectError::new(ConnectErrorKind::NotHypha, "");
        let error = error.with_url(self.dialer.requests.url());
        self.not_opened(error)
    }

    /// Ends a link whose response ended before the first frame. Returns the error.
    fn ended_early(&mut self, failure: Option<Cause>) -> LinkError {
        // If a Hypha server stops, the response is incomplete or empty. If the response is complete
        // and contains bytes that are not a frame, the peer is another program.
        if failure.is_none() && !self.buffer.is_empty() {
            return self.not_hypha();
        }
        let error = ConnectError::new(ConnectErrorKind::ConnectionLost, "");
        let error = error.with_url(self.dialer.requests.url());
        self.not_opened(match failure {
            Some(failure) => error.with_source(failure),
            None => error,
        })
    }

    /// Opens the stream if necessary, and reads the next frame. Returns `Ready(None)` at the end of
    /// the stream.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, LinkError>>> {
        loop {
            match &mut self.stream {
                ResponseStream::Unopened => return Poll::Pending,
                ResponseStream::Ended => return Poll::Ready(None),
                ResponseStream::Opening(opening) => {
                    let Poll::Ready(opened) = opening.as_mut().poll(cx) else {
                        return Poll::Pending;
                    };
                    let Opened { response, requests } = match opened {
                        Ok(opened) => opened,
                        Err(error) => return Poll::Ready(Some(Err(self.not_opened(error)))),
                    };
                    self.dialer.requests = requests;
                    if response.status != StatusCode::OK {
                        let url = self.dialer.requests.url().to_owned();
                        self.stream = ResponseStream::Refusing(Box::pin(refused(url, response)));
                        continue;
                    }
                    // A stream of frames has no content length. This response is an empty page of
                    // another program.
                    if response.length == Some(0) {
                        return Poll::Ready(Some(Err(self.not_hypha())));
                    }
                    self.stream = ResponseStream::Open(response.body);
                }
                ResponseStream::Refusing(refusing) => {
                    let Poll::Ready(refusal) = refusing.as_mut().poll(cx) else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(Some(Err(self.not_opened(refusal))));
                }
                ResponseStream::Open(_) => {}
            }
            if let Some(frame) = self.next_frame() {
                if frame.is_err() {
                    self.stream = ResponseStream::Ended;
                }
                return Poll::Ready(Some(frame));
            }
            let ResponseStream::Open(stream) = &mut self.stream else {
                continue;
            };
            match stream.poll_next_unpin(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => self.buffer.extend_from_slice(&bytes),
                Poll::Ready(end) => {
                    self.stream = ResponseStream::Ended;
                    let error = end.and_then(Result::err);
                    if !self.is_hypha {
                        return Poll::Ready(Some(Err(self.ended_early(error))));
                    }
                    let broken = |cause: Cause| {
                        LinkError::new("the stream from the server failed").with_source(cause)
                    };
                    return Poll::Ready(error.map(|e| Err(broken(e))));
                }
            }
        }
    }
}

/// Posts one message. Retries only if it is certain that the server has not accepted the message.
async fn send(requests: Requests, query: String, token: Option<String>, post: Post) -> Posted {
    let mut retries = 0..RETRIES;
    let failure = loop {
        let attempt = requests.post(&query, token.as_deref(), post.body.clone());
        let (failure, taken) = match attempt.await {
            Ok(response) if response.status.is_success() => break None,
            Ok(response) => {
                let status = response.status;
                // Status 400 means that this server does not have the stream of this client, and
                // that the server has not accepted the message. A load balancer can cause this by
                // sending requests to different servers.
                (detail(response).await, status != StatusCode::BAD_REQUEST)
            }
            Err(e) => (report(e.cause.as_ref()), e.maybe_accepted),
        };
        match retries.next() {
            Some(retry) if !taken => PAUSES.wait(retry).await,
            _ => break Some(failure),
        }
    };
    Posted { post, failure }
}

/// Returns a query with the values that are present. Encodes all bytes except unreserved ones.
fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        let Some(value) = value else {
            continue;
        };
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    query.push(byte.into());
                }
                _ => query.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    query
}

/// Returns the error for a response that does not open the stream.
async fn refused(url: String, mut response: Response) -> ConnectError {
    let status = response.status;
    let failure = response.failure.take();
    let detail = detail(response).await;
    // Use the error messages of the WebSocket handshake, because `from_server` derives the error
    // kind from the message.
    let error = match status {
        StatusCode::UNAUTHORIZED => {
            ConnectError::from_server(format!("Authentication error: {detail}")).with_url(&url)
        }
        StatusCode::FORBIDDEN
            if !detail.contains("Permission denied for workspace")
                && !detail.contains("Invalid client id") =>
        {
            let detail = format!("Permission denied for workspace: {detail}");
            ConnectError::from_server(detail).with_url(&url)
        }
        StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            ConnectError::from_server(detail).with_url(&url)
        }
        status => {
            // The error message already contains the status.
            let detail = match detail == status.to_string() {
                true => "",
                false => detail.as_str(),
            };
            answer::unexpected(&url, status.as_u16(), detail)
        }
    };
    match failure {
        Some(failure) => error.with_source(failure),
        None => error,
    }
}

/// Returns the reason in the body of an error response. Returns the status if the body contains no
/// reason.
async fn detail(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Some(Ok(bytes)) = response.body.next().await {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_DETAIL {
            break;
        }
    }
    let body = String::from_utf8_lossy(&body);
    answer::detail(&body).unwrap_or_else(|| response.status.to_string())
}

/// Returns a message that rejects a call whose request could not be sent. The message has the same
/// form as a rejection by the callee.
fn rejection(request: &Bytes, failure: &str) -> Option<Bytes> {
    let message = Message::parse(request.clone()).ok()?;
    let (session, method) = (message.session()?, message.method()?);
    let (from, to) = (message.from()?, message.to()?);
    let text =
        format!("Failed to send the request when calling method ({to}:{method}), error: {failure}");
    let mut args = Args::new(1, 0);
    args.push("error", &WireError::new(text));
    let head = Head {
        from: to,
        to: from,
        method: &format!("{session}.reject"),
        parent: Some(session),
        session: None,
    };
    args.finish(&head, ReplyMode::None).ok()
}

/// Returns the key of the order that a message belongs to. The key is the path of the called method
/// without its last part, or the type of the event. Returns `None` for a call of a service.
fn order_of(body: &Bytes) -> Option<String> {
    let message = Message::parse(body.clone()).ok()?;
    match message.method() {
        Some(method) if method.starts_with("services.") => None,
        Some(method) => method
            .rsplit_once('.')
            .map(|(session, _)| session.to_owned()),
        None => Some(format!("event {}", message.kind())),
    }
}

impl Stream for HttpLink {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_posts(cx);
        if let Some(frame) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.closing && self.posts.is_empty() && self.waiting.is_empty() {
            self.stream = ResponseStream::Ended;
            return Poll::Ready(Some(Ok(Frame::Close(None))));
        }
        self.poll_stream(cx)
    }
}

impl Sink<Frame> for HttpLink {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if self.waiting.len() < MAX_WAITING {
            return Poll::Ready(Ok(()));
        }
        self.blocked = Some(cx.waker().clone());
        Poll::Pending
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), LinkError> {
        let post = match frame {
            Frame::Binary(body) => Post {
                order: order_of(&body),
                body,
            },
            Frame::Text(text) => {
                let unreadable = |e: serde_json::Error| {
                    LinkError::new("a control message is not JSON").with_source(e)
                };
                if matches!(self.stream, ResponseStream::Unopened) {
                    self.open(serde_json::from_str(&text).map_err(unreadable)?);
                    return Ok(());
                }
                let json: serde_json::Value = serde_json::from_str(&text).map_err(unreadable)?;
                let body = to_vec(&Value::from(json)).map_err(|e| {
                    LinkError::new("a control message cannot be sent").with_source(e)
                })?;
                Post {
                    order: Some("control".into()),
                    body: body.into(),
                }
            }
            Frame::Close(_) => {
                self.closing = true;
                return Ok(());
            }
            Frame::Ping | Frame::Pong => return Ok(()),
        };
        self.waiting.push_back(post);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.poll_posts(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.closing = true;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for HttpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpLink")
            .field("dialer", &self.dialer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(method: &str, session: Option<&str>) -> Bytes {
        let head = Head {
            from: "ws/me",
            to: "ws/you",
            method,
            parent: None,
            session,
        };
        let reply = match session {
            Some(_) => ReplyMode::Star { interval: 10.0 },
            None => ReplyMode::None,
        };
        Args::new(0, 0).finish(&head, reply).unwrap()
    }

    #[test]
    fn values_of_a_query_are_encoded() {
        let pairs = [("a", Some("x y/é")), ("b", None), ("c", Some("1&2"))];
        assert_eq!(query(&pairs), "a=x%20y%2F%C3%A9&c=1%262");
    }

    #[test]
    fn messages_of_one_session_share_an_order() {
        let order = |method| order_of(&message(method, None));
        assert_eq!(order("services.a.b"), None);
        assert_eq!(order("S.heartbeat"), order("S.resolve"));
        assert_ne!(order("S.heartbeat"), order("T.resolve"));
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_rejected() {
        let frame = rejection(&message("services.a.b", Some("S")), "503").unwrap();
        let answer = Message::parse(frame).unwrap();
        assert_eq!(answer.from(), Some("ws/you"));
        assert_eq!(answer.method(), Some("S.reject"));
        assert_eq!(rejection(&message("S.resolve", None), "503"), None);
    }
}
