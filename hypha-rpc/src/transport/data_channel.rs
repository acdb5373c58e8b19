//! A link over a WebRTC data channel. Each message of the channel is one RPC message
//! (`docs/protocol/06-webrtc.md#s4`).
//!
//! The library that provides the channel is behind the trait [`DataChannel`], so that the link can
//! be tested without a network.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Sink, Stream};

use super::{Frame, LinkError};

/// Channel that carries binary messages, reliably and in order. Dropping the last reference closes
/// it.
///
/// The futures own the channel, so that the link can store them.
pub(crate) trait DataChannel: Send + Sync + 'static {
    /// Sends a message. First waits until the channel buffers less than its limit.
    fn send(self: Arc<Self>, message: Bytes) -> BoxFuture<'static, Result<(), LinkError>>;

    /// Returns the next message, or `None` after the peer closed the channel.
    fn receive(self: Arc<Self>) -> BoxFuture<'static, Option<Result<Bytes, LinkError>>>;

    /// Sends the buffered messages and closes the channel.
    fn close(self: Arc<Self>) -> BoxFuture<'static, ()>;
}

/// Link over a [`DataChannel`].
///
/// It holds at most one message in each direction. All other messages wait in the queue of the
/// connection, in the channel, or at the peer.
pub(crate) struct DataChannelLink {
    channel: Arc<dyn DataChannel>,
    sending: Option<BoxFuture<'static, Result<(), LinkError>>>,
    receiving: Option<BoxFuture<'static, Option<Result<Bytes, LinkError>>>>,
    has_ended: bool,
}

impl DataChannelLink {
    pub(crate) fn new(channel: Arc<dyn DataChannel>) -> Self {
        DataChannelLink {
            channel,
            sending: None,
            receiving: None,
            has_ended: false,
        }
    }

    /// Waits until the channel has accepted the last message.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        if let Some(sending) = &mut self.sending {
            let sent = ready!(sending.poll_unpin(cx));
            self.sending = None;
            return Poll::Ready(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for DataChannelLink {
    type Item = Result<Frame, LinkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let mut receiving = match self.receiving.take() {
            Some(receiving) => receiving,
            None => Arc::clone(&self.channel).receive(),
        };
        let Poll::Ready(received) = receiving.poll_unpin(cx) else {
            self.receiving = Some(receiving);
            return Poll::Pending;
        };
        self.has_ended = !matches!(received, Some(Ok(_)));
        Poll::Ready(received.map(|message| message.map(Frame::Binary)))
    }
}

impl Sink<Frame> for DataChannelLink {
    type Error = LinkError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.poll_sent(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), LinkError> {
        let channel = Arc::clone(&self.channel);
        self.sending = match frame {
            Frame::Binary(message) => Some(channel.send(message)),
            Frame::Close(_) => Some(channel.close().map(Ok).boxed()),
            // The layers below detect a lost peer, and a channel has no control messages.
            Frame::Text(_) | Frame::Ping | Frame::Pong => None,
        };
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.poll_sent(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        self.poll_sent(cx)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use futures_util::{SinkExt, StreamExt};
    use tokio::sync::{Mutex, mpsc};

    use super::*;

    /// Channel within this process that buffers at most a given number of messages.
    pub(crate) struct MemoryChannel {
        outgoing: parking_lot::Mutex<Option<mpsc::Sender<Bytes>>>,
        incoming: Mutex<mpsc::Receiver<Bytes>>,
    }

    /// Creates the two ends of one channel.
    pub(crate) fn pair(capacity: usize) -> (Arc<MemoryChannel>, Arc<MemoryChannel>) {
        let (a, from_a) = mpsc::channel(capacity);
        let (b, from_b) = mpsc::channel(capacity);
        let end = |outgoing, incoming| {
            Arc::new(MemoryChannel {
                outgoing: parking_lot::Mutex::new(Some(outgoing)),
                incoming: Mutex::new(incoming),
            })
        };
        (end(a, from_b), end(b, from_a))
    }

    impl DataChannel for MemoryChannel {
        fn send(self: Arc<Self>, message: Bytes) -> BoxFuture<'static, Result<(), LinkError>> {
            Box::pin(async move {
                let outgoing = self.outgoing.lock().clone();
                let sent = match outgoing {
                    Some(outgoing) => outgoing.send(message).await.is_ok(),
                    None => false,
                };
                sent.then_some(())
                    .ok_or_else(|| "the channel is closed".into())
            })
        }

        fn receive(self: Arc<Self>) -> BoxFuture<'static, Option<Result<Bytes, LinkError>>> {
            Box::pin(async move { self.incoming.lock().await.recv().await.map(Ok) })
        }

        fn close(self: Arc<Self>) -> BoxFuture<'static, ()> {
            Box::pin(async move { drop(self.outgoing.lock().take()) })
        }
    }

    #[tokio::test]
    async fn a_frame_is_a_message() {
        let (a, b) = pair(4);
        let (mut a, mut b) = (DataChannelLink::new(a), DataChannelLink::new(b));
        let frame = Frame::Binary(Bytes::from_static(b"one message"));
        a.send(frame.clone()).await.unwrap();
        // A channel has no pings and no control messages.
        a.send(Frame::Ping).await.unwrap();
        a.send(Frame::Text("{}".into())).await.unwrap();
        b.send(frame.clone()).await.unwrap();
        assert_eq!(b.next().await.unwrap().unwrap(), frame);
        assert_eq!(a.next().await.unwrap().unwrap(), frame);
        a.send(Frame::Close(None)).await.unwrap();
        assert!(b.next().await.is_none());
        assert!(b.next().await.is_none());
        a.send(frame).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_channel_holds_the_sender_back() {
        let (a, b) = pair(2);
        let (mut a, mut b) = (DataChannelLink::new(a), DataChannelLink::new(b));
        let frame = Frame::Binary(Bytes::from_static(b"x"));
        for _ in 0..2 {
            a.send(frame.clone()).await.unwrap();
        }
        let third = tokio::time::timeout(Duration::from_secs(60), a.send(frame.clone()));
        third.await.expect_err("the channel is full");
        b.next().await.unwrap().unwrap();
        // The third message was not lost with its future.
        a.flush().await.unwrap();
        for _ in 0..2 {
            assert_eq!(b.next().await.unwrap().unwrap(), frame);
        }
    }
}
