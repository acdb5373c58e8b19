//! The WebSocket of a browser, a worker or Node (`docs/protocol/01-transport-websocket.md`).
//!
//! The socket and its handlers are not `Send`, so they stay in a local task. The link communicates
//! with that task through channels. Dropping the link ends the task.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use js_sys::{ArrayBuffer, Uint8Array};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};

use super::{Dial, Dialing, Frame, LinkError, MAX_FRAME};
use crate::error::{ConnectError, ConnectErrorKind};
use crate::runtime::sleep;

/// Maximum number of frames between the connection and the local task.
const OUTGOING: usize = 16;
/// Number of bytes in the socket's buffer from which the task waits before it sends more frames.
const FULL: u32 = 1 << 20;
/// Time between two checks of a full buffer. The socket has no event for an emptied buffer.
const CHECK: Duration = Duration::from_millis(5);

/// Options for opening a link to the server. There are none: the browser controls them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SocketOptions {}

/// Opens WebSocket connections to one URL.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    url: String,
}

impl Dialer {
    /// Creates a dialer for a URL `ws://..` or `wss://..`.
    pub(crate) fn new(url: String, _: &SocketOptions) -> Self {
        Dialer { url }
    }
}

impl Dial for Dialer {
    fn dial(&self) -> Dialing<'_> {
        let (opened, outcome) = oneshot::channel();
        spawn_local(run(self.url.clone(), opened));
        Box::pin(async move {
            let lost = |_| ConnectError::new(ConnectErrorKind::Unreachable, "").with_url(&self.url);
            let link = outcome.await.map_err(lost)??;
            Ok(Box::new(link) as super::BoxLink)
        })
    }

    fn connection_type(&self) -> &'static str {
        "websocket"
    }

    fn url(&self) -> Option<&str> {
        Some(&self.url)
    }
}

/// The client's side of the channels to the local task.
pub(crate) struct WebSocketLink {
    outgoing: PollSender<Frame>,
    /// Not bounded, because a browser's socket cannot be paused.
    incoming: mpsc::UnboundedReceiver<Result<Frame, LinkError>>,
}

impl Stream for WebSocketLink {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(cx)
    }
}

impl Sink<Frame> for WebSocketLink {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.outgoing.poll_reserve(cx).map_err(|_| closed())
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), LinkError> {
        self.outgoing.send_item(frame).map_err(|_| closed())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}

fn closed() -> LinkError {
    LinkError::new("the WebSocket is closed")
}

/// A socket with its handlers. Dropping it removes the handlers and closes the socket.
struct Socket {
    socket: WebSocket,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
    _open: Closure<dyn FnMut(Event)>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        self.socket.set_onopen(None);
        // Fails only for an invalid code or reason.
        let _ = self.socket.close();
    }
}

/// Event of a socket.
enum Report {
    Open,
    Frame(Frame),
    Closed {
        code: u16,
        reason: String,
        clean: bool,
    },
    TooLarge,
}

impl Socket {
    /// Starts to open a socket.
    ///
    /// # Errors
    ///
    /// Fails if the URL is invalid, or if the page may not use the URL.
    fn new(url: &str, reports: &mpsc::UnboundedSender<Report>) -> Result<Self, ConnectError> {
        let invalid = |e: JsValue| {
            ConnectError::new(ConnectErrorKind::InvalidUrl, message_of(&e)).with_url(url)
        };
        let socket = WebSocket::new(url).map_err(invalid)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        // Sending a report fails only while the task ends, which removes the handlers.
        let to = reports.clone();
        let open = Closure::new(move |_: Event| drop(to.send(Report::Open)));
        let to = reports.clone();
        let message = Closure::new(move |event: MessageEvent| {
            if let Some(report) = received(&event) {
                drop(to.send(report));
            }
        });
        let to = reports.clone();
        let close = Closure::new(move |event: CloseEvent| {
            let (code, reason) = (event.code(), event.reason());
            let clean = event.was_clean();
            drop(to.send(Report::Closed {
                code,
                reason,
                clean,
            }));
        });
        socket.set_onopen(Some(open.as_ref().unchecked_ref()));
        // Errors need no reaction, because a close event follows. But without a handler, the
        // package `ws` ends the program. It reports an error even after the drop, so the handler
        // stays, and JavaScript frees it.
        let error = Closure::<dyn FnMut(Event)>::new(|_| {}).into_js_value();
        socket.set_onerror(Some(error.unchecked_ref()));
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(close.as_ref().unchecked_ref()));
        Ok(Socket {
            socket,
            _message: message,
            _close: close,
            _open: open,
        })
    }

    /// Sends a frame, and waits while the buffer of the socket is full.
    async fn send(&self, frame: Frame) {
        // An error means that the socket is not open. The socket reports its end separately.
        let _ = match frame {
            // A copy, because some sockets keep a reference: the package `ws` compresses messages
            // in another thread. A view of the memory of WebAssembly would change before that.
            Frame::Binary(data) => self
                .socket
                .send_with_js_u8_array(&Uint8Array::from(&data[..])),
            Frame::Text(text) => self.socket.send_with_str(&text),
            // A page cannot send pings and pongs. The server sends the pings.
            Frame::Ping | Frame::Pong => Ok(()),
            Frame::Close(reason) => match reason {
                // A page must not use other close codes.
                Some((code @ (1000 | 3000..=4999), reason)) => {
                    self.socket.close_with_code_and_reason(code, &reason)
                }
                _ => self.socket.close(),
            },
        };
        while self.socket.buffered_amount() >= FULL && self.socket.ready_state() == WebSocket::OPEN
        {
            sleep(CHECK).await;
        }
    }
}

/// Returns the message of an error of JavaScript and of its cause.
pub(super) fn message_of(error: &JsValue) -> String {
    let Some(error) = error.dyn_ref::<js_sys::Error>() else {
        return format!("{error:?}");
    };
    let message = String::from(error.message());
    // Only Node states the cause.
    match error.cause().dyn_ref::<js_sys::Error>() {
        Some(cause) => format!("{message}: {}", String::from(cause.message())),
        None => message,
    }
}

/// Returns the content of an event.
fn received(event: &MessageEvent) -> Option<Report> {
    let data = event.data();
    if let Some(text) = data.as_string() {
        return Some(Report::Frame(Frame::Text(text)));
    }
    let buffer = data.dyn_into::<ArrayBuffer>().ok()?;
    if buffer.byte_length() as usize > MAX_FRAME {
        return Some(Report::TooLarge);
    }
    let bytes = Uint8Array::new(&buffer).to_vec();
    Some(Report::Frame(Frame::Binary(Bytes::from(bytes))))
}

/// Opens a socket, and transfers frames until the socket is closed or the link is dropped.
async fn run(url: String, opened: oneshot::Sender<Result<WebSocketLink, ConnectError>>) {
    let (reports, mut reported) = mpsc::unbounded_channel();
    let socket = match Socket::new(&url, &reports) {
        Ok(socket) => socket,
        Err(error) => {
            // An error means that the attempt was cancelled. The same applies below.
            let _ = opened.send(Err(error));
            return;
        }
    };
    let mut opened = opened;
    let first = tokio::select! {
        report = reported.recv() => report,
        () = opened.closed() => return,
    };
    match first {
        Some(Report::Open) => {}
        Some(Report::Closed { code, reason, .. }) => {
            // A browser hides the reason of a failed connection, for the safety of other sites.
            let text = match reason.as_str() {
                "" => format!("code {code}"),
                reason => format!("code {code}: {reason}"),
            };
            let error = ConnectError::new(ConnectErrorKind::Unreachable, text).with_url(&url);
            let _ = opened.send(Err(error));
            return;
        }
        _ => return,
    }
    let (outgoing, mut to_send) = mpsc::channel(OUTGOING);
    let (received, incoming) = mpsc::unbounded_channel();
    let link = WebSocketLink {
        outgoing: PollSender::new(outgoing),
        incoming,
    };
    if opened.send(Ok(link)).is_err() {
        return;
    }
    let send = async {
        while let Some(frame) = to_send.recv().await {
            socket.send(frame).await;
        }
    };
    let receive = async {
        while let Some(report) = reported.recv().await {
            let frame = match report {
                Report::Open => continue,
                Report::Frame(frame) => Ok(frame),
                Report::Closed {
                    code,
                    reason,
                    clean: true,
                } => Ok(Frame::Close(Some((code, reason)))),
                Report::Closed { .. } => Err(LinkError::new("the connection ended")),
                Report::TooLarge => Err(LinkError::new("the server sent too large a frame")),
            };
            let ends = !matches!(frame, Ok(Frame::Binary(_) | Frame::Text(_)));
            if received.send(frame).is_err() || ends {
                return;
            }
        }
    };
    tokio::select! {
        () = send => {}
        () = receive => {}
    }
}
