//! Iterators over the items of streams, over events and over connection states.

use std::fmt;
use std::iter::FusedIterator;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::runtime::wait_for;
use crate::call::{RemoteStream, pack};
use crate::client::{Event, EventStream, State, StateWatcher};
use crate::error::{CallSite, Error, ServiceError, Timeout, TimeoutKind};
use crate::service::on_thread;

/// Waits at most `limit` for the next item of `source`. Drops `source` after the last item. `what`
/// is the name of the items, and `instead` is the name of the asynchronous method. Both names
/// appear in error messages.
fn advance<S, T, E>(
    source: &mut Option<S>,
    [what, instead]: [&str; 2],
    limit: Option<Duration>,
    next: impl AsyncFnOnce(&mut S) -> Option<Result<T, Error<E>>>,
) -> Option<Result<T, Error<E>>> {
    let reading = source.as_mut()?;
    let next = async {
        match limit {
            Some(limit) => tokio::time::timeout(limit, next(reading))
                .await
                .map_err(|_| limit),
            None => Ok(next(reading).await),
        }
    };
    let item = match wait_for(&format!("an iterator over {what}"), instead, next) {
        Ok(Ok(item)) => item,
        Ok(Err(limit)) => {
            let call = CallSite {
                method: what.to_owned(),
                peer: String::new(),
            };
            // Keep `source` after a timeout. The future can be dropped without losing an item, so
            // the next read continues here.
            return Some(Err(Error::Timeout(Timeout {
                kind: TimeoutKind::Total,
                limit,
                sent: true,
                call,
            })));
        }
        Err(refused) => Some(Err(refused)),
    };
    if !matches!(item, Some(Ok(_))) {
        *source = None;
    }
    item
}

/// Iterator over the items of a [`RemoteStream`]. Waits for each item on the calling thread.
///
/// Returned by `into_iter` of a stream, or of a mutable reference to a stream. So a `for` loop can
/// read a stream. Items are `Result`s. After an error, the iterator ends.
///
/// On a thread of a tokio runtime, the iterator returns [`Error::Invalid`] as its only item.
///
/// # Examples
///
/// ```no_run
/// # use hypha_rpc::{args, RemoteService, RemoteStream};
/// # fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
/// let numbers: RemoteStream<i64> = service.call("count", args!(3)).wait()?;
/// for number in numbers {
///     println!("{}", number?);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream does nothing unless it is read"]
pub struct Items<S> {
    /// The stream, or `None` after the end.
    stream: Option<S>,
}

impl<S, T, E> Iterator for Items<S>
where
    S: Stream<Item = Result<T, Error<E>>> + Unpin,
{
    type Item = Result<T, Error<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of(None)
    }
}

impl<S, T, E> Items<S>
where
    S: Stream<Item = Result<T, Error<E>>> + Unpin,
{
    /// Returns the next item, or [`Error::Timeout`] if no item arrives within `limit`. No item is
    /// lost after a timeout, because the next call continues to wait for the same item.
    pub fn next_within(&mut self, limit: Duration) -> Option<Result<T, Error<E>>> {
        self.next_of(Some(limit))
    }

    fn next_of(&mut self, limit: Option<Duration>) -> Option<Result<T, Error<E>>> {
        let names = ["a stream", "`RemoteStream::next`"];
        advance(&mut self.stream, names, limit, async |stream| {
            stream.next().await
        })
    }
}

impl<S, T, E> FusedIterator for Items<S> where S: Stream<Item = Result<T, Error<E>>> + Unpin {}

impl<S> fmt::Debug for Items<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.stream.is_none();
        f.debug_struct("Items").field("ended", &ended).finish()
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
impl<T, E> IntoIterator for RemoteStream<T, E>
where
    T: DeserializeOwned + 'static,
    E: ServiceError,
{
    type Item = Result<T, Error<E>>;
    type IntoIter = Items<RemoteStream<T, E>>;

    fn into_iter(self) -> Self::IntoIter {
        Items { stream: Some(self) }
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
impl<'a, T, E> IntoIterator for &'a mut RemoteStream<T, E>
where
    T: DeserializeOwned + 'static,
    E: ServiceError,
{
    type Item = Result<T, Error<E>>;
    type IntoIter = Items<&'a mut RemoteStream<T, E>>;

    fn into_iter(self) -> Self::IntoIter {
        Items { stream: Some(self) }
    }
}

impl<T, E> RemoteStream<T, E> {
    /// Creates a stream from an iterator that may block. When the receiver requests an item, the
    /// iterator computes the item on a thread for blocking work.
    ///
    /// Use [`from_iter`](Self::from_iter) for an iterator that does not block, because it is
    /// faster.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{BufRead, BufReader};
    ///
    /// use hypha_rpc::RemoteStream;
    ///
    /// # fn example(port: std::fs::File) {
    /// let lines = BufReader::new(port).lines().map_while(Result::ok);
    /// let lines = RemoteStream::<String>::from_blocking_iter(lines);
    /// # let _ = lines;
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn from_blocking_iter<I>(items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
        T: Serialize,
    {
        let items = futures_util::stream::unfold(Some(items.into_iter()), |items| async {
            let mut items = items?;
            // Encode the item on the thread of the iterator as well, because the item may not be
            // `Send`.
            let next = on_thread("a stream", move || (items.next().map(pack), items)).await;
            match next {
                Ok((item, items)) => Some((item?, Some(items))),
                Err(e) => Some((Err(e), None)),
            }
        });
        Self::of_packed(items)
    }
}

/// Iterator over the events of one type. Waits for each event on the calling thread.
///
/// Returned by [`Client::events`](super::Client::events). The iterator ends when the connection
/// closes. On a thread of a tokio runtime, the iterator returns [`Error::Invalid`] as its only
/// item.
#[must_use = "events are lost unless they are read"]
#[derive(Debug)]
pub struct Events(
    /// The events, or `None` after the end.
    Option<EventStream>,
);

impl Events {
    pub(super) fn new(events: EventStream) -> Self {
        Events(Some(events))
    }
}

impl Events {
    /// Returns the next event, or [`Error::Timeout`] if no event arrives within `limit`. No event
    /// is lost after a timeout, because the next call continues to wait for the same event.
    pub fn next_within(&mut self, limit: Duration) -> Option<Result<Event, Error>> {
        self.next_of(Some(limit))
    }

    fn next_of(&mut self, limit: Option<Duration>) -> Option<Result<Event, Error>> {
        let names = ["events", "`EventStream::next`"];
        advance(&mut self.0, names, limit, async |events| {
            events.next().await.map(Ok)
        })
    }
}

impl Iterator for Events {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of(None)
    }
}

impl FusedIterator for Events {}

/// Iterator over the states of a connection. Waits for each state on the calling thread.
///
/// Returned by [`Client::states`](super::Client::states). The iterator ends after
/// [`State::Closed`]. On a thread of a tokio runtime, the iterator returns [`Error::Invalid`] as
/// its only item.
#[must_use = "states are lost unless they are read"]
#[derive(Debug)]
pub struct States(
    /// The states, or `None` after the end.
    Option<StateWatcher>,
);

impl States {
    pub(super) fn new(states: StateWatcher) -> Self {
        States(Some(states))
    }
}

impl States {
    /// Returns the next state, or [`Error::Timeout`] if the state does not change within `limit`.
    /// No state is lost after a timeout, because the next call continues to wait for the same
    /// change.
    pub fn next_within(&mut self, limit: Duration) -> Option<Result<State, Error>> {
        self.next_of(Some(limit))
    }

    fn next_of(&mut self, limit: Option<Duration>) -> Option<Result<State, Error>> {
        let names = ["states", "`StateWatcher::next`"];
        advance(&mut self.0, names, limit, async |states| {
            states.next().await.map(Ok)
        })
    }
}

impl Iterator for States {
    type Item = Result<State, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_of(None)
    }
}

impl FusedIterator for States {}
