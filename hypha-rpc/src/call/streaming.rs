//! Runs methods that return a stream.
//!
//! The stream may borrow from the service and from the arguments, so the future that runs the
//! method owns the service and the arguments. This future passes the items one at a time to the
//! stream that the peer reads. The future completes only after the last item. Generated code uses
//! [`stream`] and [`item`].

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;

use super::{RemoteStream, pack};
use crate::error::ServiceError;
use crate::service::macro_support::{Output, ServiceResult};
use hypha_wire::{Args, Packed, WireError};

/// Handle through which the running method puts items into the slot.
#[derive(Debug)]
pub struct Feed(Arc<Slot>);

/// Slot for one item. The slot needs no waker, because the task that takes an item polls the method
/// afterwards.
#[derive(Debug)]
struct Slot(Mutex<State>);

#[derive(Debug)]
enum State {
    /// The method has not yet returned its stream.
    Begun,
    Empty,
    Item(Packed),
}

impl Feed {
    /// Puts the items of `stream` into the slot, one after the other.
    pub async fn run<T>(
        self,
        stream: impl Stream<Item = T>,
        item: Sent<T>,
    ) -> Result<(), WireError> {
        *self.0.0.lock() = State::Empty;
        let mut stream = pin!(stream);
        // Wait until the receiver requests an item. The stream must not be polled before the
        // response of the call is sent.
        self.wanted().await;
        while let Some(next) = stream.next().await {
            *self.0.0.lock() = State::Item((item.0)(next)?);
            self.wanted().await;
        }
        Ok(())
    }

    /// Waits until the slot is empty and the receiver requests the next item. The first poll always
    /// returns `Pending`, even if the slot is empty. [`Items`] can then take the previous item.
    async fn wanted(&self) {
        let mut given_up = false;
        std::future::poll_fn(|_| {
            let room = matches!(*self.0.0.lock(), State::Empty);
            let ready = room && given_up;
            given_up = true;
            if ready {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// The function that encodes an item.
#[derive(Debug)]
pub struct Sent<T>(fn(T) -> Result<Packed, WireError>);

/// Returns the function that encodes an item. This function is separate from [`Feed::run`], because
/// otherwise the compiler would report a wrong type twice.
#[must_use]
pub fn item<T, const FALLIBLE: bool>() -> Sent<T>
where
    T: Output<FALLIBLE>,
    T::Ok: ServiceResult,
    T::Error: ServiceError,
{
    Sent(|item| pack(item.into_result().map_err(ServiceError::to_wire)?))
}

/// Runs a method until the method returns its stream. Returns the response, which contains that
/// stream.
pub async fn stream<F, Fut>(run: F) -> Result<Args, WireError>
where
    F: FnOnce(Feed) -> Fut,
    Fut: Future<Output = Result<(), WireError>> + Send + 'static,
{
    let slot = Arc::new(Slot(Mutex::new(State::Begun)));
    let mut method: BoxFuture<'static, _> = Box::pin(run(Feed(Arc::clone(&slot))));
    let ended = std::future::poll_fn(|cx| {
        let ended = method.as_mut().poll(cx);
        match &*slot.0.lock() {
            State::Begun => ended.map(Some),
            _ => Poll::Ready(None),
        }
    });
    if let Some(outcome) = ended.await {
        // The method failed before it returned a stream, so the state is still `Begun`.
        outcome?;
    }
    let items = Items {
        method: Some(method),
        slot,
    };
    let mut args = Args::new(1, 0);
    args.push("result", &RemoteStream::<()>::of_packed(items));
    Ok(args)
}

/// The stream that the peer reads. Each poll of this stream polls the method.
struct Items {
    method: Option<BoxFuture<'static, Result<(), WireError>>>,
    slot: Arc<Slot>,
}

impl Stream for Items {
    type Item = Result<Packed, WireError>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        let Some(method) = &mut self.method else {
            return Poll::Ready(None);
        };
        let ended = method.as_mut().poll(cx);
        if let Poll::Ready(outcome) = ended {
            self.method = None;
            return Poll::Ready(outcome.err().map(Err));
        }
        match std::mem::replace(&mut *self.slot.0.lock(), State::Empty) {
            State::Item(item) => Poll::Ready(Some(Ok(item))),
            State::Begun | State::Empty => Poll::Pending,
        }
    }
}
