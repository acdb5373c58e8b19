//! A TCP socket that moves with its task to the watchdog's runtime and back (`engine/watchdog.rs`).
//!
//! Only the runtime with which a socket is registered wakes the socket's task. If all threads of
//! that runtime are blocked, nothing wakes the task. Therefore the socket must be registered with
//! the runtime that currently polls it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::runtime::RuntimeTracker;

/// TCP socket that may be polled alternately on two runtimes.
#[derive(Debug)]
pub(super) struct MovableSocket {
    /// `None` if the socket could not be registered with another runtime. All operations then fail,
    /// which ends the link.
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

    /// Returns the socket. Registers it with the current runtime if the task has moved.
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
