//! Lets peers read the streams of this program (`docs/protocol/03-values.md#s7`).
//!
//! A peer requests each item or batch with a call. The stream ends when it is exhausted or fails,
//! when the peer closes it, or when the session of the stream ends. While a call polls the stream,
//! the call holds the async lock of the stream. [`Producer::closed`] interrupts the poll.

use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::service::{Engine, Exported, IncomingCall, handler};
use hypha_wire::keys::{RBATCH_METHOD, RCLOSE_METHOD, RMETHOD, RTYPE};
use hypha_wire::{Args, Map, Packed, Value, WireError};

/// Maximum number of items in a batch.
pub(super) const BATCH_ITEMS: u64 = 1024;
/// Size of a full batch, in bytes. When a batch has at least this size, no further item is added.
const BATCH_BYTES: usize = 256 << 10;

/// A stream of encoded items.
pub(crate) type Items = BoxStream<'static, Result<Packed, WireError>>;

/// A stream of this program. Becomes `None` when the stream is sent or read, because a stream can
/// have only one reader.
pub(crate) struct LocalStream(Mutex<Option<Items>>);

impl LocalStream {
    pub(crate) fn new(items: Items) -> Self {
        LocalStream(Mutex::new(Some(items)))
    }
}

/// A stream that was taken out of its [`LocalStream`], and that is being sent.
pub(crate) struct Source {
    pub(super) stream: Items,
}

/// Entry of a stream in the table of sessions.
#[derive(Clone)]
pub(crate) struct SessionEntry {
    pub(crate) engine: Weak<Engine>,
    pub(crate) session: String,
    pub(crate) id: String,
}

impl SessionEntry {
    /// Removes the functions of the stream from the session.
    fn withdraw(&self) {
        if let Some(engine) = self.engine.upgrade() {
            let (close, batch) = (format!("{}:close", self.id), format!("{}:batch", self.id));
            engine
                .sessions
                .withdraw(&self.session, &[&self.id, &close, &batch]);
        }
    }
}

impl LocalStream {
    pub(crate) fn take(&self) -> Option<Source> {
        let stream = self.0.lock().take()?;
        Some(Source { stream })
    }
}

/// State of an exported stream.
struct Producer {
    stream: tokio::sync::Mutex<Option<Items>>,
    closed: watch::Sender<bool>,
    entry: SessionEntry,
}

/// Guard that belongs to the session of a stream. When the session ends, the guard is dropped and
/// closes the stream. If a call waits for an item, the wait ends.
struct CloseOnDrop(Arc<Producer>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.closed.send_replace(true);
    }
}

impl Source {
    /// Returns the three functions through which a peer reads the stream. Each entry contains the
    /// key of the function in the map of the generator, the suffix of the function's id, and the
    /// function.
    pub(crate) fn objects(
        self,
        entry: SessionEntry,
    ) -> [(&'static str, &'static str, Exported); 3] {
        let producer = Arc::new(Producer {
            stream: tokio::sync::Mutex::new(Some(self.stream)),
            closed: watch::Sender::new(false),
            entry,
        });
        let guard = Arc::new(CloseOnDrop(Arc::clone(&producer)));
        let object = |run: fn(Arc<Producer>, IncomingCall) -> BoxFuture<'static, _>| {
            let producer = Arc::clone(&producer);
            let run = move |call| run(Arc::clone(&producer), call);
            Exported::guarded(handler(run), "stream", Some(guard.clone()))
        };
        [
            (RMETHOD, "", object(|p, call| Box::pin(next(p, call)))),
            (
                RCLOSE_METHOD,
                ":close",
                object(|p, call| Box::pin(closed(p, call))),
            ),
            (
                RBATCH_METHOD,
                ":batch",
                object(|p, call| Box::pin(batch(p, call))),
            ),
        ]
    }
}

impl Producer {
    /// Runs `advance`, and returns its output. Returns `None` if the stream is closed before
    /// `advance` completes.
    async fn until_closed<T>(&self, advance: impl Future<Output = Option<T>>) -> Option<T> {
        let mut closed = self.closed.subscribe();
        let closed = closed.wait_for(|closed| *closed);
        tokio::pin!(closed);
        tokio::select! {
            biased;
            _ = closed => None,
            taken = advance => taken,
        }
    }

    /// Closes the stream and drops it.
    async fn finish(&self) {
        self.closed.send_replace(true);
        self.entry.withdraw();
        // If another call polls the stream, the change of `closed` interrupts that call. The call
        // then releases the lock, so this wait is short.
        let stream = self.stream.lock().await.take();
        drop(stream);
    }
}

/// Returns the next item. Peers in all languages call this function.
async fn next(producer: Arc<Producer>, _: IncomingCall) -> Result<Args, WireError> {
    let item = async { producer.stream.lock().await.as_mut()?.next().await };
    match producer.until_closed(item).await {
        Some(Ok(item)) => {
            let mut args = Args::new(1, 0);
            args.push_packed(item);
            Ok(args)
        }
        Some(Err(error)) => {
            producer.finish().await;
            Err(error)
        }
        None => {
            producer.finish().await;
            let mut args = Args::new(1, 0);
            let stop = (RTYPE.to_owned(), Value::from("stop_iteration"));
            args.push("item", &Map::from_iter([stop]));
            Ok(args)
        }
    }
}

/// Returns several items in one response. Only Rust peers call this function.
///
/// The argument is the maximum number of items. The result is a list of items and the state of the
/// stream: `false` if there may be more items, `true` at the end, or the error that ended the
/// stream.
async fn batch(producer: Arc<Producer>, call: IncomingCall) -> Result<Args, WireError> {
    let most: u64 = call.args(&["count"])?.required(0)?;
    let taken = async {
        let mut stream = producer.stream.lock().await;
        let stream = stream.as_mut()?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut item = stream.next().await;
        loop {
            match item {
                Some(Ok(packed)) => {
                    bytes += packed.len();
                    items.push(packed);
                }
                Some(Err(error)) => return Some((items, Some(Err(error)))),
                None => return Some((items, Some(Ok(())))),
            }
            if items.len() as u64 >= most.min(BATCH_ITEMS) || bytes >= BATCH_BYTES {
                return Some((items, None));
            }
            // Only add items that are already available. Waiting for another item would delay the
            // items in this batch.
            match stream.next().now_or_never() {
                Some(more) => item = more,
                None => return Some((items, None)),
            }
        }
    };
    let taken = producer.until_closed(taken).await;
    let (items, end) = taken.unwrap_or_else(|| (Vec::new(), Some(Ok(()))));
    if end.is_some() {
        producer.finish().await;
    }
    let mut args = Args::new(2, 0);
    args.push_list(items);
    match end {
        None => args.push("end", &false),
        Some(Ok(())) => args.push("end", &true),
        Some(Err(error)) => args.push("end", &error),
    }
    Ok(args)
}

/// Closes the stream. A peer calls this function when the peer drops its reader of the stream.
async fn closed(producer: Arc<Producer>, call: IncomingCall) -> Result<Args, WireError> {
    producer.finish().await;
    call.reply(&true)
}
