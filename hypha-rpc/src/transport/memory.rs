//! An in-process link with bounded queues, for clients inside a server and for tests.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::{Frame, LinkError};

/// One end of a [`pair`].
pub struct MemoryLink {
    outgoing: PollSender<Frame>,
    incoming: mpsc::Receiver<Frame>,
}

/// Creates the two ends of one link. Each direction holds at most `capacity` frames. While a
/// direction is full, its sender waits. Dropping one end ends the stream of the other end.
///
/// # Panics
///
/// Panics if `capacity` is 0.
#[must_use]
pub fn pair(capacity: usize) -> (MemoryLink, MemoryLink) {
    let (a, from_a) = mpsc::channel(capacity);
    let (b, from_b) = mpsc::channel(capacity);
    (
        MemoryLink {
            outgoing: PollSender::new(a),
            incoming: from_b,
        },
        MemoryLink {
            outgoing: PollSender::new(b),
            incoming: from_a,
        },
    )
}

impl std::fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLink").finish_non_exhaustive()
    }
}

impl Stream for MemoryLink {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

impl Sink<Frame> for MemoryLink {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.outgoing.poll_reserve(cx).map_err(|_| gone())
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), LinkError> {
        if matches!(frame, Frame::Ping | Frame::Pong) {
            // Ignore the ping, because there is no network to test. Return the reserved slot of the
            // queue.
            self.outgoing.abort_send();
            return Ok(());
        }
        self.outgoing.send_item(frame).map_err(|_| gone())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}

fn gone() -> LinkError {
    LinkError::new("the other end of the memory link was dropped")
}
