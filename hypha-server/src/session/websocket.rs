//! Serves one WebSocket from its upgrade to its end. One task performs the handshake, then runs a
//! reader and a writer side by side, and finally performs the closing handshake.
//!
//! The reader and the writer share no lock. The reader routes each message before it reads the next
//! message. If a receiver has no room, the server therefore stops reading from the sockets of its
//! senders, which slows the senders down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::admission::{ADMISSION_WAIT, Admitted, STANDING, owner_of_address};
use super::frames::{Incoming, ReadError, Reader, WriteError, Writer};
use super::handshake::{self, Hello};
use super::refusal::code;
use super::{EVICTED, Sessions, control, keep_pace};
use crate::peer::{CloseOrder, Outgoing, Peer, Queue, Queued};
use crate::state::State;
use crate::workspace;

/// Time for which the task reads frames before it yields to other tasks.
const TURN: Duration = Duration::from_micros(100);
/// Number of frames that are read between two readings of the clock. Reading the clock for each
/// frame would cost too much.
const FRAMES_PER_CHECK: u32 = 16;
/// Maximum number of frames written between two flushes.
const BATCH: usize = 64;
/// Maximum size of the first frame, in bytes. Before a client is authenticated, it gets no more
/// memory than this.
const FIRST_FRAME: usize = 64 * 1024;
/// Timeout for sending the last frames of a connection. The wait for the peer's response has the
/// same timeout.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of bytes that are read and discarded so that the peer receives the close frame.
/// This number covers a few messages of the default size limit.
const DRAIN_BYTES: usize = 64 * 1024 * 1024;

/// The reason why a connection ends.
enum Ending {
    /// The connection is lost.
    Lost,
    /// The peer has sent a close frame, with this code.
    ClosedByPeer(Option<u16>),
    /// The peer accepts no bytes, so no close frame is sent.
    Stalled,
    /// The server closes the connection, and waits for the peer's close frame.
    ClosedByServer(CloseOrder),
    /// The server closes the connection, and discards the bytes that still arrive. The server has
    /// no memory for these bytes, or has lost the frame boundaries.
    Unreadable(CloseOrder),
}

/// The place where a client sends its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// In the first frame.
    FirstFrame,
    /// In the URL, as very old clients do. The server refuses such clients.
    Url,
}

/// Serves an upgraded connection, from its first frame to its end.
///
/// `io` contains the two halves of the socket, and `buffered` contains the bytes that were read
/// from the socket during the upgrade. `address` is the IP address of the client.
///
/// # Cancellation
///
/// Do not drop the future before it completes: the client would stay attached to the router.
pub(crate) async fn serve<R, W>(
    sessions: Arc<Sessions>,
    io: (R, W),
    buffered: Bytes,
    credentials: Credentials,
    address: &str,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let state = &sessions.state;
    let limits = &state.settings.limits;
    // The reader charges the account of the IP address, because the user is not known before the
    // first frame.
    let account = state.memory.open(&owner_of_address(address));
    let mut reader = Reader::new(io.0, buffered, FIRST_FRAME, account.clone());
    let mut writer = Writer::new(io.1, limits.stall_timeout);
    if credentials == Credentials::Url {
        let order = CloseOrder::new(
            code::POLICY,
            "Connection rejected, please upgrade to `hypha-rpc` which passes the authentication \
             information in the first message",
        );
        state.counters.handshakes_refused.add();
        return close(reader, writer, Ending::ClosedByServer(order)).await;
    }
    let stopped = state.shutdown.stopped();
    let introduced = async {
        // This task holds the place of its IP address until the client is admitted. The number of
        // places per address is limited, so one address cannot occupy all handshake permits.
        let place = sessions.handshakes.wait(address, ADMISSION_WAIT);
        let Some(_place) = place.await else {
            state.counters.refused_handshakes.add();
            let reason = format!("too many handshakes from {address}; try again later");
            return Err(CloseOrder::new(code::TRY_AGAIN, reason));
        };
        let _standing = account
            .charge(STANDING)
            .await
            .map_err(CloseOrder::over_budget)?;
        shake_hands(&sessions, &mut reader, &mut writer, address).await
    };
    let admitted = tokio::select! {
        admitted = introduced => admitted,
        () = account.gives_way() => Err(CloseOrder::over_budget(EVICTED)),
        // The server sends no close frame here, because clients would treat a close frame as a
        // permanent refusal and not reconnect.
        () = stopped => return,
    };
    match admitted {
        Ok(Some(admitted)) => {
            reader.admit(limits.frame_bytes, admitted.account.clone());
            exchange(state, reader, writer, admitted).await;
        }
        Ok(None) => {}
        Err(order) => {
            tracing::info!(
                code = order.code,
                reason = order.reason,
                "handshake refused"
            );
            state.counters.handshakes_refused.add();
            // With these close codes, the server must not parse any more input: the frame
            // boundaries are lost, or there is no memory for another frame.
            let end = match order.code {
                code::TOO_LARGE | code::PROTOCOL | code::TRY_AGAIN => Ending::Unreadable(order),
                _ => Ending::ClosedByServer(order),
            };
            close(reader, writer, end).await;
        }
    }
}

/// Reads the first frame and admits the client. Returns `None` if the client has disconnected.
///
/// The handshake timeout covers only the first frame. The admission has its own timeouts.
async fn shake_hands<R, W>(
    sessions: &Sessions,
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    address: &str,
) -> Result<Option<Admitted>, CloseOrder>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let first = async {
        loop {
            match reader.next().await {
                Ok(Some(Incoming::Text(text))) => {
                    break Hello::parse(&text).map(Some).map_err(CloseOrder::from);
                }
                Ok(Some(Incoming::Binary(_))) => break Err(Hello::undecodable().into()),
                // The pong is sent here, because the writer of pongs starts only after the
                // handshake.
                Ok(Some(Incoming::Ping(content))) => {
                    if writer.pong(&content).await.is_err() || writer.flush().await.is_err() {
                        break Ok(None);
                    }
                }
                Ok(Some(Incoming::Pong)) => {}
                Err(ReadError::TooLarge) => {
                    let reason = "the first frame is too large";
                    break Err(CloseOrder::new(code::TOO_LARGE, reason));
                }
                Err(ReadError::Protocol(what)) => break Err(CloseOrder::new(code::PROTOCOL, what)),
                Err(ReadError::OverBudget(error)) => break Err(CloseOrder::over_budget(error)),
                Ok(Some(Incoming::Close(_)) | None) | Err(ReadError::Io) => break Ok(None),
            }
        }
    };
    let Ok(hello) = timeout(sessions.state.settings.limits.handshake_timeout, first).await else {
        let order = CloseOrder::new(code::POLICY, "Authentication payload timeout");
        return Err(order.with_error_frame());
    };
    match hello? {
        Some(hello) => Ok(Some(handshake::admit(sessions, hello, address).await?)),
        None => Ok(None),
    }
}

/// Carries messages in both directions until the connection ends, then removes the client and
/// closes the socket.
async fn exchange<R, W>(
    state: &State,
    mut reader: Reader<R>,
    mut writer: Writer<W>,
    admitted: Admitted,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Admitted {
        peer,
        mut queue,
        connection_info,
        account,
        place: _place,
    } = admitted;
    let peer = &*peer;
    writer.report(queue.progress());
    state.counters.connections_accepted.add();
    state.counters.connections_open.add();
    tracing::info!(peer = peer.address, user = peer.user.id, "connected");

    // This future is created before the `select!`, because the writer borrows `queue` there.
    let ordered = queue.closed();
    let (pings, to_answer) = watch::channel(Bytes::new());
    let end = tokio::select! {
        end = read(state, peer, &mut reader, &pings) => end,
        end = write(&mut writer, connection_info, &mut queue, to_answer) => end,
        order = ordered => Ending::ClosedByServer(order),
        () = account.gives_way() => Ending::Unreadable(CloseOrder::over_budget(EVICTED)),
        () = state.shutdown.stopped() => {
            Ending::ClosedByServer(CloseOrder::new(code::GOING_AWAY, "Server is shutting down"))
        }
    };

    // The client is removed before it receives the close frame. Otherwise the client could
    // reconnect while the old connection still occupies its address. Subscribers could also receive
    // the event about the new connection before the event about the end of the old connection.
    workspace::client_left(state, peer).await;
    state.counters.connections_open.sub();
    match &end {
        Ending::Lost | Ending::ClosedByPeer(_) => {
            tracing::info!(peer = peer.address, "disconnected")
        }
        Ending::Stalled => {
            state.counters.closed_stalled.add();
            tracing::warn!(peer = peer.address, "disconnected by the write timeout");
        }
        Ending::ClosedByServer(order) | Ending::Unreadable(order) => {
            if order.code == code::TRY_AGAIN {
                state.counters.closed_memory.add();
            }
            tracing::info!(
                peer = peer.address,
                code = order.code,
                reason = order.reason,
                "closed"
            );
        }
    }
    // The queue is dropped before the closing handshake. The closing handshake may take seconds,
    // and other connections may need the memory.
    drop(queue);
    close(reader, writer, end).await;
}

/// Reads and routes messages until the connection ends.
///
/// Passes the content of each ping to the writer through `pings`. A newer ping replaces a ping that
/// has no pong yet, as RFC 6455 (section 5.5.3) permits, so pings cannot accumulate.
async fn read<R>(
    state: &State,
    peer: &Peer,
    reader: &mut Reader<R>,
    pings: &watch::Sender<Bytes>,
) -> Ending
where
    R: AsyncRead + Unpin,
{
    let limits = &state.settings.limits;
    let charge = |bytes| {
        if let Some(pace) = &peer.pace {
            pace.message(bytes);
        }
    };
    let mut read = 0_u32;
    // The system clock measures the turn, because a turn would never end with the paused clock of
    // tests.
    let mut turn = std::time::Instant::now();
    let mut heard = Instant::now();
    let mut idle = std::pin::pin!(sleep(limits.idle_timeout));
    loop {
        let incoming = tokio::select! {
            // A frame that has arrived takes precedence over the timeout, because the timeout may
            // have expired while this task waited for a receiver.
            biased;
            incoming = reader.next() => incoming,
            () = &mut idle => {
                // A frame only records its time. Resetting the timer with each frame would cost
                // more.
                let due = heard + limits.idle_timeout;
                if due <= Instant::now() {
                    state.counters.closed_idle.add();
                    let reason = format!("Idle timeout ({}s)", limits.idle_timeout.as_secs());
                    let order = CloseOrder::new(code::GOING_AWAY, reason);
                    return Ending::ClosedByServer(order.with_error_frame());
                }
                idle.as_mut().reset(due);
                continue;
            }
        };
        // The end of a connection does not wait for the rate limit, because it costs other clients
        // nothing.
        if !matches!(incoming, Ok(Some(Incoming::Close(_)) | None) | Err(_)) {
            keep_pace(state, peer).await;
        }
        match incoming {
            Ok(Some(Incoming::Binary(frame))) => {
                heard = Instant::now();
                state.counters.messages_received.add();
                peer.count_message();
                state.router.route(peer, frame, reader.take_charge()).await;
            }
            Ok(Some(Incoming::Text(text))) => {
                heard = Instant::now();
                charge(text.len());
                if let Some(request) = control::read(&text) {
                    control::answer(state, peer, request).await;
                }
            }
            Ok(Some(Incoming::Ping(content))) => {
                charge(content.len());
                // The content is copied, because a slice would keep the whole read buffer alive.
                // The send fails only if the writer has ended, and this future is then dropped.
                let _ = pings.send(Bytes::copy_from_slice(&content));
            }
            Ok(Some(Incoming::Pong)) => charge(0),
            Err(ReadError::OverBudget(error)) => {
                return Ending::Unreadable(CloseOrder::over_budget(error));
            }
            Err(ReadError::TooLarge) => {
                state.counters.closed_too_large.add();
                let order = CloseOrder::new(code::TOO_LARGE, "the frame is too large");
                return Ending::Unreadable(order);
            }
            Err(ReadError::Protocol(what)) => {
                return Ending::Unreadable(CloseOrder::new(code::PROTOCOL, what));
            }
            Ok(Some(Incoming::Close(code))) => return Ending::ClosedByPeer(code),
            Ok(None) | Err(ReadError::Io) => return Ending::Lost,
        }
        // Frames in the read buffer need no I/O, so tokio's own budget would not make this task
        // yield. A connection with a flood of small frames would then block the thread.
        read = read.wrapping_add(1);
        if read.is_multiple_of(FRAMES_PER_CHECK) && turn.elapsed() >= TURN {
            tokio::task::yield_now().await;
            turn = std::time::Instant::now();
        }
    }
}

/// Writes the greeting, and then the messages of the queue and the pongs. Flushes once per batch.
///
/// Returns when the socket fails or stalls, or when the client's outbox is dropped.
async fn write<W>(
    writer: &mut Writer<W>,
    greeting: String,
    queue: &mut Queue,
    mut pings: watch::Receiver<Bytes>,
) -> Ending
where
    W: AsyncWrite + Unpin,
{
    let (mut batch, mut written) = (Vec::new(), Vec::new());
    let writing = async {
        writer.text(&greeting).await?;
        // The greeting is dropped, because this future would otherwise hold it for the whole
        // connection.
        drop(greeting);
        writer.flush().await?;
        loop {
            tokio::select! {
                more = queue.take(&mut batch, BATCH) => if !more {
                    // The outbox was dropped.
                    return Ok(());
                },
                Ok(()) = pings.changed() => {
                    let content = pings.borrow_and_update().clone();
                    writer.pong(&content).await?;
                }
            }
            for Queued { frame, held } in batch.drain(..) {
                match frame {
                    Outgoing::Binary(message) => writer.binary(message).await?,
                    Outgoing::Text(text) => writer.text(&text).await?,
                }
                written.push(held);
            }
            writer.flush().await?;
            // The queue gets the room back after the flush, and not when a frame leaves the queue.
            // Otherwise senders would be admitted faster than the peer reads.
            queue.free(&mut written);
        }
    };
    match writing.await {
        Ok(()) | Err(WriteError::Io) => Ending::Lost,
        Err(WriteError::Stalled) => Ending::Stalled,
    }
}

/// Sends the error frame and the close frame that `end` specifies, waits for the peer's response,
/// and shuts the socket down. Takes at most twice [`CLOSE_TIMEOUT`].
async fn close<R, W>(mut reader: Reader<R>, mut writer: Writer<W>, end: Ending)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if !matches!(end, Ending::ClosedByServer(_)) {
        // The server will parse no more frames, so incomplete frames need no memory.
        reader.forget();
    }
    let reason = match &end {
        Ending::Lost | Ending::Stalled => return,
        Ending::ClosedByPeer(code) => code.map(|code| (code, "")),
        Ending::ClosedByServer(order) | Ending::Unreadable(order) => {
            Some((order.code, control::reason(&order.reason)))
        }
    };
    // The error frame contains the whole reason, because a close frame has room for only 123 bytes
    // of the reason.
    let said = async {
        if let Ending::ClosedByServer(order) | Ending::Unreadable(order) = &end
            && order.error_frame
        {
            let reason = &order.reason;
            let frame = json!({"type": "error", "message": reason});
            writer.text(&frame.to_string()).await?;
        }
        writer.close(reason).await?;
        writer.flush().await
    };
    if !matches!(timeout(CLOSE_TIMEOUT, said).await, Ok(Ok(()))) {
        return;
    }
    // If the server closed the socket with unread bytes, the operating system would reset the
    // connection, and the peer would not receive the close frame. So the server first reads the
    // remaining input. If the peer does not respond in time, the close frame may still be lost.
    let _ = timeout(CLOSE_TIMEOUT, async {
        match end {
            Ending::Unreadable(_) => reader.discard(DRAIN_BYTES).await,
            Ending::ClosedByServer(_) => {
                while let Ok(Some(incoming)) = reader.next().await {
                    if let Incoming::Close(_) = incoming {
                        break;
                    }
                }
            }
            _ => {}
        }
    })
    .await;
    writer.shutdown().await;
}
