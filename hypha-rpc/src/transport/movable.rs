//! A TCP socket that moves with its task to the watchdog's runtime and back (`engine/watchdog.rs`).
//!
//! A socket is woken by the runtime with which it is registered. If all threads of that runtime are
//! blocked, nothing wakes the socket, so it must be registered with the runtime that currently
//! polls it.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

thread_local! {
    /// Whether this is the watchdog's thread.
    static AWAY: Cell<bool> = const { Cell::new(false) };
}

/// Number of moves of tasks to the watchdog and back. Sockets check their thread only when this has
/// changed, so that most polls cost one load.
///
/// Release and acquire, so that a poll in the new place sees the move. The lock of the task orders
/// them as well. A move of another connection's task only costs an unnecessary check.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// Marks this thread as the watchdog's.
pub(crate) fn enter_watchdog() {
    AWAY.set(true);
}

/// Records that a task has moved to the watchdog or back.
pub(crate) fn set_moved() {
    MOVES.fetch_add(1, Ordering::AcqRel);
}

/// Place where a part of a task was last polled. Used to detect that the task has moved to another
/// runtime.
#[derive(Debug)]
pub(crate) struct Place {
    moves: u64,
    away: bool,
}

impl Place {
    /// Returns the current place.
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

/// TCP socket that may be polled alternately on two runtimes.
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

    /// Returns the socket, registered with the current runtime.
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
