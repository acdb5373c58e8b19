//! Adds a write timeout to a socket.
//!
//! tokio-io-timeout 1.2 is not used, because its writer is not `Unpin`. The writer would have to be
//! pinned in a box, and the socket could not be taken out of the box when a request is upgraded to
//! a WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A socket whose writes, flushes and shutdown fail with `TimedOut` if the peer accepts no bytes
/// within the limit. Reads have no timeout, because a client may be idle.
pub(super) struct WriteTimeout<S> {
    io: S,
    limit: Duration,
    /// Timer of a pending write. The timer is boxed, so that the socket stays `Unpin`. The timer is
    /// created at the first pending write, so that fast writes cost nothing.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    /// Wraps a socket.
    pub(super) fn new(io: S, limit: Duration) -> WriteTimeout<S> {
        WriteTimeout {
            io,
            limit,
            waiting: None,
        }
    }

    /// Returns the socket without the timeout.
    pub(super) fn into_inner(self) -> S {
        self.io
    }

    /// Converts the result of a write to the error `TimedOut` if writes have been pending for
    /// longer than the limit. Any progress restarts the timer.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => {
                // The timer is restarted, so that a caller that writes again after the error waits
                // again, instead of polling a completed timer.
                waiting.as_mut().reset(Instant::now() + limit);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(cx, shut)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stalled_reader_times_out_and_a_slow_one_does_not() {
        let limit = Duration::from_secs(30);
        let (near, mut far) = tokio::io::duplex(10);
        let mut near = WriteTimeout::new(near, limit);
        let reading = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(limit / 2).await;
                let _ = far.read(&mut [0; 10]).await;
            }
            far
        });
        near.write_all(&[0; 50]).await.unwrap();
        let _far = reading.await.unwrap();
        let refused = near.write_all(&[0; 50]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    }
}
