//! A TCP socket that follows its task to the runtime of the watchdog and back
//! (`engine/watchdog.rs`).
//!
//! The runtime with which a socket is registered wakes it. If all threads of that runtime are
//! blocked, nothing wakes the socket, so it must be registered with the runtime that polls it now.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

thread_local! {
    /// Whether this is the thread of the watchdog.
    static AWAY: Cell<bool> = const { Cell::new(false) };
}

/// The number of moves of tasks to the watchdog and back. Sockets check their thread only when this
/// has changed, so that most polls cost one load.
///
/// Release and acquire, so that a poll in the new place sees the move. The lock of the task orders
/// them as well; a count of another connection costs only a check.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// Marks this thread as that of the watchdog.
pub(crate) fn enter_watchdog() {
    AWAY.set(true);
}

/// Marks that a task has moved to the watchdog or back.
pub(crate) fn set_moved() {
    MOVES.fetch_add(1, Ordering::AcqRel);
}

/// The place in which a part of a task was last polled. It tells whether the task has moved to
/// another runtime.
#[derive(Debug)]
pub(crate) struct Place {
    moves: u64,
    away: bool,
}

impl Place {
    /// Returns the present place.
    pub(crate) fn here() -> Self {
        Place {
            moves: MOVES.load(Ordering::Acquire),
            away: AWAY.get(),
        }
    }

    /// Returns whether the task has moved since the last call.
    pub(crate) fn has_changed(&mut self) -> bool {
        let moves = MOVES.load(Ordering::Acquire);
        if moves == self.moves {
            return false;
        }
        self.moves = moves;
        let away = AWAY.get();
        std::mem::replace(&mut self.away, away) != away
    }
}

/// A TCP socket that may be polled on two runtimes in turn.
#[derive(Debug)]
pub(super) struct MovableSocket {
    /// `None` if it could not be registered with another runtime. All operations then fail, which
    /// ends the link.
    socket: Option<TcpStream>,
    place: Place,
}

impl MovableSocket {
    pub(super) fn new(socket: TcpStream) -> Self {
        MovableSocket {
            socket: Some(socket),
            place: Place::here(),
        }
    }

    /// Returns the socket, registered with the present runtime.
    fn socket(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if self.place.has_changed() {
            if let Some(socket) = self.socket.take() {
                self.socket = Some(TcpStream::from_std(socket.into_std()?)?);
            }
        }
        let lost = || io::Error::from(io::ErrorKind::NotConnected);
        self.socket.as_mut().map(Pin::new).ok_or_else(lost)
    }
}

impl AsyncRead for MovableSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for MovableSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket
            .as_ref()
            .is_some_and(TcpStream::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}
