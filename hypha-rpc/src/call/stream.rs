//! Types for streams in arguments and results (`docs/protocol/03-values.md#s7`). A stream is either
//! a generator of a peer or a stream of this program. `producer.rs` sends the streams of this
//! program.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context as TaskContext, Poll, ready};

use futures_util::{Stream, StreamExt};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::mpsc;

use super::exchange::Exchange;
use super::producer::{BATCH_ITEMS, Items, LocalStream};
use super::resident::{GENERATOR, Resident};
use crate::engine::{Failure, Loss};
use crate::error::{CallSite, CodecError, Error, ServiceError, from_wire, unfit_message};
use crate::service::{Connection, Engine};
use hypha_wire::keys::{RBATCH_METHOD, RENC_PUB, RMETHOD, RTARGET, RTYPE};
use hypha_wire::{
    Args, ConnectionRef, DecodeError, EncodeError, Handle, HandleKind, IncomingArgs, Message,
    Packed, PromiseKind, RemoteHandle, Value, WireError,
};

/// Number of items that are requested in advance from a peer that sends single items. Requesting in
/// advance hides the duration of the round trips.
const READ_AHEAD: usize = 16;
/// Number of batches that are requested in advance. The reader reads one batch while the next batch
/// is in flight.
const BATCHES_AHEAD: usize = 2;
/// Response that a generator sends after its last item: `{RTYPE: "stop_iteration"}`.
const STOP: &[u8] = b"\x81\xa6_rtype\xaestop_iteration";

/// Stream that can be an argument, a result, or a part of an argument or result.
///
/// A stream is sent as a generator. Python programs read the generator with `async for`, and can
/// send generators. JavaScript programs use async iterators. Items are `Result`s, and an error is
/// the last item. When the stream is dropped, its owner closes the generator.
///
/// A stream reads ahead after its first poll. From a peer that sends single items, the stream
/// requests up to 16 items. From a Rust peer, the stream requests two batches of up to 1024 items
/// or 256 KiB. When these items have been sent, the sender waits until the reader reads items.
///
/// [`RemoteStream::new`] creates a stream of this program. Such a stream can be sent only once, and
/// is polled only when its receiver requests items.
///
/// A stream in an argument can be read until the call ends. A stream in a result can be read until
/// its receiver disconnects, or until the receiver has not read it for ten minutes
/// (`docs/protocol/02-messages.md#s10`).
///
/// # Examples
///
/// ```
/// use hypha_rpc::{args, RemoteService, RemoteStream};
///
/// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
/// let mut numbers: RemoteStream<i64> = service.call("count", args!(3)).await?;
/// while let Some(n) = numbers.try_next().await? {
///     println!("{n}");
/// }
/// let numbers = RemoteStream::<f64>::from_iter([1.0, 2.0]);
/// let sum: f64 = service.call("sum", args!(numbers)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream does nothing unless it is read or sent"]
pub struct RemoteStream<T, E = Infallible> {
    state: State,
    types: PhantomData<fn() -> (T, E)>,
}

enum State {
    /// Not polled yet.
    Whole(Handle),
    Local(Items),
    Remote(Reader),
    Ended,
}

impl<T, E> RemoteStream<T, E> {
    /// Creates a stream from a stream of `Result`s. The first error ends the stream, and the
    /// receiver gets the error as the last item.
    pub fn try_new<S, E2>(stream: S) -> Self
    where
        S: Stream<Item = Result<T, E2>> + Send + 'static,
        T: Serialize,
        E2: ServiceError,
    {
        Self::of_packed(stream.map(|item| pack(item.map_err(ServiceError::to_wire)?)))
    }

    /// Creates a stream that can be sent to peers from a stream whose items cannot fail.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::stream;
    /// use hypha_rpc::RemoteStream;
    ///
    /// let squares = RemoteStream::<u64>::new(stream::iter((0..4).map(|n| n * n)));
    /// ```
    pub fn new<S>(stream: S) -> Self
    where
        S: Stream<Item = T> + Send + 'static,
        T: Serialize,
    {
        Self::of_packed(stream.map(|item| pack(item)))
    }

    /// Creates a stream from an iterator. The iterator is advanced when the receiver requests
    /// items.
    #[expect(clippy::should_implement_trait, reason = "the iterator must be `Send`")]
    pub fn from_iter<I>(items: I) -> Self
    where
        I: IntoIterator<Item = T>,
        I::IntoIter: Send + 'static,
        T: Serialize,
    {
        Self::new(futures_util::stream::iter(items))
    }

    pub(crate) fn of_packed<S>(stream: S) -> Self
    where
        S: Stream<Item = Result<Packed, WireError>> + Send + 'static,
    {
        let local = LocalStream::new(stream.boxed());
        RemoteStream {
            state: State::Whole(Handle::local(Arc::new(Resident::Stream(local)))),
            types: PhantomData,
        }
    }
}

/// Encodes an item.
pub(crate) fn pack<T: Serialize>(item: T) -> Result<Packed, WireError> {
    Packed::new(&item).map_err(|e| WireError::new(format!("an item cannot be sent: {e}")))
}

/// Returns a stream of this program that reads `handle` and sends each item on. This is necessary
/// if the owner of `handle` is connected to another server, because the receiver cannot reach that
/// owner.
pub(crate) fn relayed_stream(handle: Handle) -> Result<Resident, EncodeError> {
    let stream = RemoteStream::<Value> {
        state: State::Whole(handle),
        types: PhantomData,
    };
    let items = stream.map(|item| pack(item.map_err(|e| e.to_wire())?));
    Ok(Resident::Stream(LocalStream::new(items.boxed())))
}

impl<T, E> RemoteStream<T, E>
where
    T: DeserializeOwned + 'static,
    E: ServiceError,
{
    /// Returns the next item, or `None` after the end of the stream.
    ///
    /// # Errors
    ///
    /// The item is an error in the following cases. The stream failed ([`Error::Service`],
    /// [`Error::Remote`]). The item does not have the type `T` ([`Error::Codec`]). The peer or the
    /// connection was lost ([`Error::Disconnected`]). An error is the last item.
    ///
    /// # Cancellation
    ///
    /// This method is cancel safe: dropping the future loses no item.
    pub async fn next(&mut self) -> Option<Result<T, Error<E>>> {
        StreamExt::next(self).await
    }

    /// Returns the next item, or the error that ended the stream.
    ///
    /// # Errors
    ///
    /// Fails if the stream failed, if the item does not have the type `T`, or if the peer or the
    /// connection was lost.
    ///
    /// # Cancellation
    ///
    /// This method is cancel safe: dropping the future loses no item.
    pub async fn try_next(&mut self) -> Result<Option<T>, Error<E>> {
        self.next().await.transpose()
    }
}

impl<T, E> Unpin for RemoteStream<T, E> {}

impl<T, E> Stream for RemoteStream<T, E>
where
    T: DeserializeOwned + 'static,
    E: ServiceError,
{
    type Item = Result<T, Error<E>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if let State::Whole(handle) = &self.state {
            self.state = match &handle.0 {
                HandleKind::Local(object) => match object.downcast_ref() {
                    Some(Resident::Stream(stream)) => stream
                        .take()
                        .map_or(State::Ended, |source| State::Local(source.stream)),
                    _ => State::Ended,
                },
                HandleKind::Remote(remote) => match Reader::start(Arc::clone(remote)) {
                    Ok(reader) => State::Remote(reader),
                    Err(e) => {
                        self.state = State::Ended;
                        return Poll::Ready(Some(Err(e)));
                    }
                },
            };
        }
        let item = match &mut self.state {
            State::Local(stream) => ready!(stream.poll_next_unpin(cx)).map(|item| {
                let call = CallSite::default();
                match item {
                    Ok(item) => item.decode().map_err(|e| unreadable(e, call)),
                    Err(e) => Err(from_wire(e, call)),
                }
            }),
            State::Remote(reader) => ready!(reader.poll_next(cx)),
            State::Whole(_) | State::Ended => None,
        };
        if !matches!(item, Some(Ok(_))) {
            self.state = State::Ended;
        }
        Poll::Ready(item)
    }
}

fn unreadable<E>(error: DecodeError, call: CallSite) -> Error<E> {
    Error::Codec(CodecError::receiving("an item", error, call))
}

/// A batch of received items that are still encoded. The task that reads the stream decodes each
/// item.
struct Batch {
    items: IncomingArgs,
    next: usize,
    len: usize,
    end: End,
}

/// The state of a generator after it has sent a batch.
enum End {
    More,
    Finished,
    Failed(Box<WireError>),
}

/// Reads a generator that a peer owns.
struct Reader {
    /// Handle of the generator. The reader holds the handle instead of the pump task, so that
    /// dropping the stream immediately closes the generator. For a stream in an argument, this
    /// program must send the close request before the response. After the response, the owner may
    /// discard the stream without closing it.
    _remote: Arc<RemoteHandle>,
    batches: mpsc::Receiver<Result<Batch, Failure>>,
    current: VecDeque<Batch>,
    site: CallSite,
}

impl Reader {
    fn start<E>(remote: Arc<RemoteHandle>) -> Result<Self, Error<E>> {
        let text = |key| remote.raw.get(key).and_then(Value::as_str);
        let (method, to) = (text(RMETHOD), text(RTARGET));
        let site = CallSite {
            method: "stream".into(),
            peer: to.unwrap_or_default().to_owned(),
        };
        let invalid = |what: &str| Error::Invalid(format!("a stream that cannot be read: {what}"));
        let method = method
            .ok_or_else(|| invalid("it has no method"))?
            .to_owned();
        let to = to.ok_or_else(|| invalid("it has no address"))?.to_owned();
        let batch = text(RBATCH_METHOD).map(str::to_owned);
        let connection =
            Connection::of(&remote.connection).ok_or_else(|| invalid("it has no connection"))?;
        let ahead = if batch.is_some() {
            BATCHES_AHEAD
        } else {
            READ_AHEAD
        };
        // Subtract 1, because the batch that the reader is reading also counts as requested in
        // advance.
        let (sender, batches) = mpsc::channel(ahead.max(2) - 1);
        let pump = Pump {
            engine: Arc::clone(connection.engine()),
            remote: Arc::downgrade(&remote),
            to,
            method,
            batch,
            parent: remote.parent.clone(),
            key: remote.raw.get(RENC_PUB).cloned(),
        };
        connection.engine().spawn(pump.run(sender));
        Ok(Reader {
            _remote: remote,
            batches,
            current: VecDeque::new(),
            site,
        })
    }

    fn poll_next<T: DeserializeOwned + 'static, E: ServiceError>(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<T, Error<E>>>> {
        loop {
            if let Some(batch) = self.current.front_mut() {
                if batch.next < batch.len {
                    let item = super::shared(&batch.items, batch.next);
                    batch.next += 1;
                    let missing = || Err(DecodeError::custom("nothing"));
                    let item = item.unwrap_or_else(missing);
                    let call = || self.site.clone();
                    return Poll::Ready(Some(item.map_err(|e| unreadable(e, call()))));
                }
                match std::mem::replace(&mut batch.end, End::Finished) {
                    End::More => {
                        self.current.pop_front();
                    }
                    End::Finished => return Poll::Ready(None),
                    End::Failed(e) => {
                        return Poll::Ready(Some(Err(from_wire(*e, self.site.clone()))));
                    }
                }
                continue;
            }
            match ready!(self.batches.poll_recv(cx)) {
                Some(Ok(batch)) => self.current.push_back(batch),
                Some(Err(failure)) => {
                    return Poll::Ready(Some(Err(super::failure(failure, self.site.clone()))));
                }
                // The connection was closed, so the pump task was aborted.
                None => {
                    let failure = Failure::Lost {
                        loss: Loss::Connection("RPC connection closed".into()),
                        sent: true,
                    };
                    return Poll::Ready(Some(Err(super::failure(failure, self.site.clone()))));
                }
            }
        }
    }
}

/// Task that requests the items of a generator before the reader needs them. The task ends when the
/// reader is dropped or the connection closes. If the generator has not ended, the peer closes the
/// generator when the last handle is dropped.
struct Pump {
    engine: Arc<Engine>,
    /// A weak reference, so that the handle is dropped when the reader is dropped.
    remote: Weak<RemoteHandle>,
    to: String,
    method: String,
    batch: Option<String>,
    parent: Option<String>,
    key: Option<Value>,
}

impl Pump {
    async fn run(self, sender: mpsc::Sender<Result<Batch, Failure>>) {
        loop {
            // Reserve a slot in the channel before sending the request. This limits the number of
            // requested items.
            let Ok(room) = sender.reserve().await else {
                return;
            };
            let batch = tokio::select! {
                biased;
                () = sender.closed() => return,
                batch = self.ask() => batch,
            };
            let last = !matches!(&batch, Ok(Batch { end: End::More, .. }));
            if matches!(
                &batch,
                Ok(Batch {
                    end: End::Finished | End::Failed(_),
                    ..
                })
            ) {
                // The generator has ended. So this program need not ask the peer to close the
                // generator when the handle is dropped.
                if let Some(remote) = self.remote.upgrade() {
                    remote.mark_released();
                }
            }
            room.send(batch);
            if last {
                return;
            }
        }
    }

    /// Requests one batch. If the peer does not support batches, requests a single item.
    async fn ask(&self) -> Result<Batch, Failure> {
        let mut args = Args::new(1, 0);
        let method = match &self.batch {
            Some(method) => {
                args.push("count", &BATCH_ITEMS);
                method
            }
            None => &self.method,
        };
        let exchange = Exchange {
            parent: self.parent.as_deref(),
            key: self.key.as_ref().and_then(Value::as_bytes),
            ..Exchange::new(&self.to, method, PromiseKind::Star)
        };
        let answer = exchange.run(&self.engine, args).await?;
        let message = answer.ok_or(Failure::NoChunks)?;
        let batch = match self.batch {
            Some(_) => several(&self.engine, message),
            None => one(&self.engine, message),
        };
        batch.map_err(|e| Failure::Unreadable {
            message: unfit_message("an item", &e),
            cause: Some(Arc::new(e)),
        })
    }
}

/// Decodes the response of a generator that sends one item at a time.
fn one(engine: &Arc<Engine>, message: Message) -> Result<Batch, DecodeError> {
    let items = super::answer_args(
        engine,
        message,
        Arc::clone(engine) as Arc<dyn ConnectionRef>,
    )?;
    let stop = items.raw(0).is_some_and(|raw| raw == STOP);
    Ok(Batch {
        items,
        next: 0,
        len: usize::from(!stop),
        end: if stop { End::Finished } else { End::More },
    })
}

/// Decodes a batch. See [`producer`](super::producer) for the format.
fn several(engine: &Arc<Engine>, message: Message) -> Result<Batch, DecodeError> {
    let answer = super::answer_args(
        engine,
        message,
        Arc::clone(engine) as Arc<dyn ConnectionRef>,
    )?;
    let end = match answer.get::<Value>(1).transpose()? {
        Some(Value::Bool(false)) => End::More,
        Some(Value::Bool(true)) | None => End::Finished,
        Some(error) => End::Failed(Box::new(WireError::from_value(error))),
    };
    let items = answer.items(0)?;
    Ok(Batch {
        next: 0,
        len: items.positional(),
        items,
        end,
    })
}

impl<T, E> Serialize for RemoteStream<T, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.state {
            State::Whole(handle) => handle.serialize(serializer),
            _ => Err(serde::ser::Error::custom(
                "a stream that has been read from cannot be sent",
            )),
        }
    }
}

impl<'de, T, E> Deserialize<'de> for RemoteStream<T, E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match value {
            Value::Handle(handle) if is_stream(&handle) => Ok(RemoteStream {
                state: State::Whole(handle),
                types: PhantomData,
            }),
            other => Err(D::Error::custom(format_args!(
                "expected a stream, got {}",
                other.kind()
            ))),
        }
    }
}

fn is_stream(handle: &Handle) -> bool {
    match &handle.0 {
        HandleKind::Local(object) => matches!(object.downcast_ref(), Some(Resident::Stream(_))),
        HandleKind::Remote(remote) => {
            remote.raw.get(RTYPE).and_then(Value::as_str) == Some(GENERATOR)
        }
    }
}

impl<T: JsonSchema, E: ServiceError> JsonSchema for RemoteStream<T, E> {
    fn schema_name() -> Cow<'static, str> {
        "Stream".into()
    }

    fn schema_id() -> Cow<'static, str> {
        std::any::type_name::<Self>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        crate::schema::stream_of::<T, E>(generator)
    }
}

impl<T, E> fmt::Debug for RemoteStream<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Whole(_) => "not read yet",
            State::Local(_) | State::Remote(_) => "being read",
            State::Ended => "ended",
        };
        f.debug_tuple("RemoteStream").field(&state).finish()
    }
}
