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
    static IS_WATCHDOG: Cell<bool> = const { Cell::new(false) };
}

/// Number of moves of tasks to the watchdog and back. Sockets check their thread only when this
/// number has changed, so that most polls cost one load.
///
/// Release and acquire order a move before the next poll in the new runtime. A move of another
/// connection's task only costs an unnecessary check.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// Marks this thread as the watchdog's.
pub(crate) fn enter_watchdog() {
    IS_WATCHDOG.set(true);
}

/// Records that a task has moved to the watchdog or back.
pub(crate) fn set_moved() {
    MOVES.fetch_add(1, Ordering::AcqRel);
}

/// Tracks the runtime that polls a task, to detect that the task has moved to another.
#[derive(Debug)]
pub(crate) struct RuntimeTracker {
    moves: u64,
    on_watchdog: bool,
}

impl RuntimeTracker {
    /// Creates a tracker for the runtime of this thread.
    pub(crate) fn new() -> Self {
        RuntimeTracker {
            moves: MOVES.load(Ordering::Acquire),
            on_watchdog: IS_WATCHDOG.get(),
        }
    }

    /// Returns whether the task has moved since the last call.
    pub(crate) fn has_changed(&mut self) -> bool {
        let moves = MOVES.load(Ordering::Acquire);
        if moves == self.moves {
            return false;
        }
        self.moves = moves;
        let on_watchdog = IS_WATCHDOG.get();
        std::mem::replace(&mut self.on_watchdog, on_watchdog) != on_watchdog
    }
}

/// TCP socket that may be polled alternately on two runtimes.
#[derive(Debug)]
pub(super) struct MovableSocket {
    /// `None` if it could not be registered with another runtime. All operations then fail, which
    /// ends the link.
    socket: Option<TcpStream>,
    runtime: RuntimeTracker,
}

impl MovableSocket {
    pub(super) fn new(socket: TcpStream) -> Self {
        MovableSocket {
            socket: Some(socket),
            runtime: RuntimeTracker::new(),
        }
    }

    /// Returns the socket, registered with the current runtime.
    fn socket(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if self.runtime.has_changed() {
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
