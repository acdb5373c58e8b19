//! One WebSocket from upgrade to end: the handshake, then a reader and a writer side by side, then
//! an orderly farewell.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::admission::Admitted;
use super::control;
use super::handshake::{self, Hello};
use super::limits::RateLimit;
use super::refusal::code;
use super::{CloseOrder, Outgoing, Peer, Queue, Queued};
use crate::state::State;
use crate::workspace;

/// Frames written between two flushes.
const BATCH: usize = 64;
/// An idle connection keeps a read buffer of this size; larger frames get their own.
const READ_BUFFER: usize = 16 * 1024;
/// The largest first frame, and as much as may come with it: whoever is not authenticated is not
/// given more memory.
const FIRST_FRAME: usize = 64 * 1024;
/// How long the farewell may take: the last frames, and the peer's answer.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much of what a peer is still sending is read and thrown away so that it sees the farewell.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;

type Socket<S> = WebSocketStream<Watched<S>>;

/// How a connection came to its end.
enum End {
    /// The peer has closed it, or is gone.
    Peer,
    /// The peer takes nothing any more; saying so would be in vain.
    Stalled,
    /// We close it.
    Ours(CloseOrder),
    /// We close it, and the peer is in the middle of a frame that will not be read.
    TooLarge,
}

/// Serve a connection that has just been upgraded. `legacy` if the client put its credentials
/// into the URL.
pub(crate) async fn run<S>(state: Arc<State>, io: S, buffered: Bytes, legacy: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let written = Arc::new(AtomicU64::new(0));
    let limit = state.limits.frame_bytes;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_frame_size(Some(limit))
        .max_message_size(Some(limit));
    let io = Watched {
        io,
        written: written.clone(),
        readable: FIRST_FRAME + READ_BUFFER,
    };
    let mut socket =
        WebSocketStream::from_partially_read(io, buffered.into(), Role::Server, Some(config)).await;
    if legacy {
        let order = CloseOrder::new(
            code::POLICY,
            "Connection rejected, please upgrade to `hypha-rpc` which passes the authentication \
             information in the first message",
        );
        state.counters.handshakes_refused.add();
        return farewell(socket, End::Ours(order)).await;
    }
    let stopped = state.stopped();
    let admitted = tokio::select! {
        admitted = shake_hands(&state, &mut socket) => admitted,
        // No close frame: clients would take it as a refusal for good.
        () = stopped => return,
    };
    socket.get_mut().readable = usize::MAX;
    match admitted {
        Ok(Some(admitted)) => serve(&state, socket, admitted, &written).await,
        Ok(None) => {}
        Err(order) => {
            tracing::info!(
                code = order.code,
                reason = order.reason,
                "handshake refused"
            );
            state.counters.handshakes_refused.add();
            let end = match order.code {
                code::TOO_LARGE => End::TooLarge,
                _ => End::Ours(order),
            };
            farewell(socket, end).await;
        }
    }
}

/// The first frame, and the decision. `None` if the client has gone.
async fn shake_hands<S>(
    state: &State,
    socket: &mut Socket<S>,
) -> Result<Option<Admitted>, CloseOrder>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let too_large = || CloseOrder::new(code::TOO_LARGE, "The first frame is too large");
    let first = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) if text.len() > FIRST_FRAME => break Err(too_large()),
                Some(Ok(Message::Text(text))) => {
                    break Hello::parse(text.as_str())
                        .map(Some)
                        .map_err(CloseOrder::from);
                }
                Some(Ok(Message::Binary(_))) => break Err(Hello::undecodable().into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(Error::Capacity(_))) => break Err(too_large()),
                Some(Err(Error::Io(error))) if error.kind() == ErrorKind::FileTooLarge => {
                    break Err(too_large());
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break Ok(None),
            }
        }
    };
    let Ok(hello) = timeout(state.limits.handshake_timeout, first).await else {
        let order = CloseOrder::new(code::POLICY, "Authentication payload timeout");
        return Err(order.with_error_frame());
    };
    match hello? {
        Some(hello) => Ok(Some(handshake::admit(state, hello).await?)),
        None => Ok(None),
    }
}

async fn serve<S>(state: &State, mut socket: Socket<S>, mut admitted: Admitted, written: &AtomicU64)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Admitted {
        peer,
        queue,
        connection_info,
        ..
    } = &mut admitted;
    state.counters.connections_accepted.add();
    state.counters.connections_open.add();
    tracing::info!(peer = peer.address, user = peer.user.id, "connected");

    // The first text frame must be this one; what waits in the queue comes after it.
    let greeting = socket.send(Message::text(std::mem::take(connection_info)));
    let greeted = matches!(
        timeout(state.limits.stall_timeout, greeting).await,
        Ok(Ok(()))
    );
    let (mut sink, mut stream) = socket.split();
    let end = if greeted {
        let ordered = queue.closed();
        tokio::select! {
            end = read(state, peer, &mut stream) => end,
            end = write(&mut sink, queue, written, state.limits.stall_timeout) => end,
            order = ordered => End::Ours(order),
            () = state.stopped() => {
                End::Ours(CloseOrder::new(code::GOING_AWAY, "Server is shutting down"))
            }
        }
    } else {
        End::Peer
    };

    // First nobody is routed here any more, then the rest of the world learns it, and only then
    // the client is told.
    workspace::client_left(state, peer).await;
    state.counters.connections_open.sub();
    match &end {
        End::Peer => tracing::info!(peer = peer.address, "disconnected"),
        End::Stalled => {
            state.counters.closed_stalled.add();
            tracing::warn!(peer = peer.address, "dropped: it takes nothing any more");
        }
        End::TooLarge => tracing::warn!(peer = peer.address, "dropped: frame too large"),
        End::Ours(order) => {
            tracing::info!(
                peer = peer.address,
                code = order.code,
                reason = order.reason,
                "closed"
            );
        }
    }
    if let Ok(socket) = sink.reunite(stream) {
        farewell(socket, end).await;
    }
}

/// Everything that the client sends.
async fn read<S>(state: &State, peer: &Peer, stream: &mut SplitStream<Socket<S>>) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &state.limits;
    let mut rate = RateLimit::new(limits.messages_per_second, limits.message_burst);
    let mut heard = Instant::now();
    let mut idle = std::pin::pin!(sleep(limits.idle_timeout));
    loop {
        let message = tokio::select! {
            biased;
            message = stream.next() => message,
            () = &mut idle => {
                let due = heard + limits.idle_timeout;
                if due <= Instant::now() {
                    state.counters.closed_idle.add();
                    let reason = format!("Idle timeout ({}s)", limits.idle_timeout.as_secs());
                    let order = CloseOrder::new(code::GOING_AWAY, reason);
                    return End::Ours(order.with_error_frame());
                }
                idle.as_mut().reset(due);
                continue;
            }
        };
        match message {
            Some(Ok(Message::Binary(frame))) => {
                heard = Instant::now();
                if !rate.admit() {
                    state.counters.closed_rate.add();
                    let reason = "Rate limit exceeded: too many messages per second";
                    return End::Ours(CloseOrder::new(code::POLICY, reason).with_error_frame());
                }
                state.counters.messages_received.add();
                peer.count_message();
                state.router.route(peer, frame).await;
            }
            Some(Ok(Message::Text(text))) => {
                heard = Instant::now();
                if let Some(request) = control::read(text.as_str()) {
                    control::answer(state, peer, request).await;
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(Error::Capacity(_))) => {
                state.counters.closed_too_large.add();
                return End::TooLarge;
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Peer,
        }
    }
}

/// Everything that the client is sent: as much as there is, then one flush.
async fn write<S>(
    sink: &mut SplitSink<Socket<S>, Message>,
    queue: &mut Queue,
    written: &AtomicU64,
    stall: Duration,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut batch = Vec::new();
    while queue.take(&mut batch, BATCH).await {
        if let Err(end) = patiently(flush(sink, &mut batch), written, stall).await {
            return end;
        }
    }
    // Nobody can send to this peer any more.
    End::Peer
}

/// A slow peer is served as long as it takes anything at all.
async fn patiently(
    sending: impl Future<Output = Result<(), Error>>,
    written: &AtomicU64,
    stall: Duration,
) -> Result<(), End> {
    let mut sending = std::pin::pin!(sending);
    let mut before = written.load(Ordering::Relaxed);
    loop {
        match timeout(stall, &mut sending).await {
            Ok(sent) => return sent.map_err(|_| End::Peer),
            Err(_) if written.load(Ordering::Relaxed) != before => {
                before = written.load(Ordering::Relaxed);
            }
            Err(_) => return Err(End::Stalled),
        }
    }
}

async fn flush<S>(
    sink: &mut SplitSink<Socket<S>, Message>,
    batch: &mut Vec<Queued>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Each frame gives back its room as it goes: those who wait see how fast the peer takes.
    for Queued { frame, held } in batch.drain(..) {
        sink.feed(match frame {
            Outgoing::Binary(bytes) => Message::Binary(bytes),
            Outgoing::Text(text) => Message::text(text),
        })
        .await?;
        drop(held);
    }
    sink.flush().await
}

/// Say goodbye, wait a moment for the answer.
async fn farewell<S>(mut socket: Socket<S>, end: End)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let order = match end {
        End::Stalled => return,
        End::Peer => None,
        End::TooLarge => Some(CloseOrder::new(code::TOO_LARGE, "The frame is too large")),
        End::Ours(ref order) => Some(order.clone()),
    };
    let said = async {
        if let Some(order) = order.as_ref().filter(|order| order.error_frame) {
            let frame = json!({"type": "error", "message": order.reason});
            socket.send(Message::text(frame.to_string())).await?;
        }
        let frame = order.as_ref().map(|order| CloseFrame {
            code: order.code.into(),
            reason: control::reason(&order.reason).into(),
        });
        socket.close(frame).await?;
        Ok::<_, Error>(())
    };
    if !matches!(timeout(FAREWELL, said).await, Ok(Ok(()))) {
        return;
    }
    // A socket that is closed with unread bytes is reset, and the peer may lose the close frame.
    let _ = timeout(FAREWELL, async {
        if matches!(end, End::TooLarge) {
            let mut scratch = vec![0; 64 * 1024];
            let mut left = DRAIN_BYTES;
            while let Ok(read @ 1..) = socket.get_mut().read(&mut scratch).await {
                left = left.saturating_sub(read);
                if left == 0 {
                    break;
                }
            }
        } else {
            while let Some(Ok(_)) = socket.next().await {}
        }
    })
    .await;
}

/// A stream that counts what it has written, so that a slow peer can be told from a dead one.
struct Watched<S> {
    io: S,
    written: Arc<AtomicU64>,
    /// Nothing is read when so many bytes have been, give or take one read.
    readable: usize,
}

mod watched {
    //! Passing everything through.

    use std::io;
    use std::pin::Pin;
    use std::sync::atomic::Ordering;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Watched;

    impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.readable == 0 {
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
            let before = buf.filled().len();
            let result = Pin::new(&mut self.io).poll_read(cx, buf);
            let count = buf.filled().len() - before;
            self.readable = self.readable.saturating_sub(count);
            result
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let result = Pin::new(&mut self.io).poll_write(cx, buf);
            if let Poll::Ready(Ok(count)) = result {
                self.written.fetch_add(count as u64, Ordering::Relaxed);
            }
            result
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_shutdown(cx)
        }
    }
}
