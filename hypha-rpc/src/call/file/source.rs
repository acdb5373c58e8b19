//! Wraps the readers, writers and files of this program, and creates the functions through which
//! peers use them.

use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Mutex, MutexGuard};

use super::super::Function;
use super::super::resident::LocalFunction;
use super::PIECE;
use super::peer::{class, unsupported};
use super::progress::Monitor;
use crate::service::{IncomingCall, handler};
use hypha_wire::keys::{RNATIVE, RTYPE};
use hypha_wire::{Args, Map, WireError};

/// Maximum number of bytes that one `read` returns. Without this limit, a peer could make this
/// program read a whole disk into memory.
const LARGEST_READ: usize = 512 << 20;

/// Reader, writer or file that backs a [`RemoteFile`](super::RemoteFile) of this program.
pub(super) trait Source: Send {
    /// Appends at most `most` bytes to the buffer. Returns the number of appended bytes, or 0 at
    /// the end of the file.
    fn read<'a>(
        &'a mut self,
        _into: &'a mut BytesMut,
        _most: usize,
    ) -> BoxFuture<'a, io::Result<usize>> {
        refused("read")
    }

    fn seek(&mut self, _to: SeekFrom) -> BoxFuture<'_, io::Result<u64>> {
        refused("seek")
    }

    fn write<'a>(&'a mut self, _data: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        refused("write")
    }

    fn flush(&mut self) -> BoxFuture<'_, io::Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, io::Result<()>> {
        async { Ok(()) }.boxed()
    }
}

/// Returns the error of an operation that the source does not support.
fn refused<'a, T: Send + 'a>(what: &str) -> BoxFuture<'a, io::Result<T>> {
    let error = unsupported(what);
    async move { Err(error) }.boxed()
}

/// Lists the operations that a kind of source supports.
pub(super) trait Abilities {
    const READ: bool = false;
    const SEEK: bool = false;
    const WRITE: bool = false;
}

pub(super) struct Reader<T>(pub(super) Pin<Box<T>>);
pub(super) struct Seekable<T>(pub(super) Pin<Box<T>>);
pub(super) struct Writer<T>(pub(super) Pin<Box<T>>);
pub(super) struct Whole<T>(pub(super) Pin<Box<T>>);

macro_rules! reads {
    () => {
        fn read<'a>(
            &'a mut self,
            into: &'a mut BytesMut,
            most: usize,
        ) -> BoxFuture<'a, io::Result<usize>> {
            async move { self.0.read_buf(&mut into.limit(most)).await }.boxed()
        }
    };
}

macro_rules! seeks {
    () => {
        fn seek(&mut self, to: SeekFrom) -> BoxFuture<'_, io::Result<u64>> {
            self.0.seek(to).boxed()
        }
    };
}

macro_rules! writes {
    () => {
        fn write<'a>(&'a mut self, data: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
            self.0.write_all(data).boxed()
        }

        fn flush(&mut self) -> BoxFuture<'_, io::Result<()>> {
            self.0.flush().boxed()
        }

        fn close(&mut self) -> BoxFuture<'_, io::Result<()>> {
            self.0.shutdown().boxed()
        }
    };
}

impl<T: AsyncRead + Send> Source for Reader<T> {
    reads!();
}

impl<T> Abilities for Reader<T> {
    const READ: bool = true;
}

impl<T: AsyncRead + AsyncSeek + Send> Source for Seekable<T> {
    reads!();
    seeks!();
}

impl<T> Abilities for Seekable<T> {
    const READ: bool = true;
    const SEEK: bool = true;
}

impl<T: AsyncWrite + Send> Source for Writer<T> {
    writes!();
}

impl<T> Abilities for Writer<T> {
    const WRITE: bool = true;
}

impl<T: AsyncRead + AsyncSeek + AsyncWrite + Send> Source for Whole<T> {
    reads!();
    seeks!();
    writes!();
}

impl<T> Abilities for Whole<T> {
    const READ: bool = true;
    const SEEK: bool = true;
    const WRITE: bool = true;
}

/// A source, or `None` after the source was closed. Each operation holds the lock, so concurrent
/// operations of peers run one after the other.
struct Shared {
    source: Mutex<Option<Box<dyn Source>>>,
    monitor: Arc<Monitor>,
}

impl Shared {
    async fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Source>>> {
        self.source.lock().await
    }
}

/// Returns an object whose functions read, write and close the source. The receiver of the file
/// calls these functions. The functions report the number of transferred bytes to `monitor`.
pub(super) fn members<S: Source + Abilities + 'static>(source: S, monitor: &Arc<Monitor>) -> Map {
    let source = Arc::new(Shared {
        source: Mutex::new(Some(Box::new(source))),
        monitor: Arc::clone(monitor),
    });
    let mut members = Map::new();
    let mut offer = |name: &str, doc: &str, run: Run| {
        let source = Arc::clone(&source);
        let function = Function::local(LocalFunction {
            handler: handler(move |call| {
                let source = Arc::clone(&source);
                async move { run(&source, &call).await }
            }),
            name: Some(name.to_owned()),
            doc: Some(doc.to_owned()),
            schema: None,
        });
        members.insert(name.to_owned(), function.into());
    };
    if S::READ {
        offer(
            "read",
            "read(size=-1): return at most `size` bytes, or all if `size` is negative; empty at \
             the end.",
            |source, call| Box::pin(read(source, call)),
        );
    }
    if S::SEEK {
        offer(
            "seek",
            "seek(offset, whence=0): move the position, relative to the start (0), the position \
             (1) or the end (2).",
            |source, call| Box::pin(seek(source, call)),
        );
        offer(
            "tell",
            "tell(): return the position, in bytes.",
            |source, call| Box::pin(tell(source, call)),
        );
    }
    if S::WRITE {
        offer(
            "write",
            "write(data): write bytes and return their number.",
            |source, call| Box::pin(write(source, call)),
        );
        offer(
            "flush",
            "flush(): write all buffered data.",
            |source, call| Box::pin(flush(source, call)),
        );
    }
    offer("close", "close(): close the file.", |source, call| {
        Box::pin(close(source, call))
    });
    offer(
        "readable",
        "readable(): return whether the file can be read.",
        |_, call| Box::pin(can(call, S::READ)),
    );
    offer(
        "seekable",
        "seekable(): return whether the file can seek.",
        |_, call| Box::pin(can(call, S::SEEK)),
    );
    offer(
        "writable",
        "writable(): return whether the file can be written.",
        |_, call| Box::pin(can(call, S::WRITE)),
    );
    members.insert(RNATIVE.into(), "rust:file".into());
    members.insert(RTYPE.into(), "iostream".into());
    members
}

type Run = for<'a> fn(&'a Shared, &'a IncomingCall) -> BoxFuture<'a, Result<Args, WireError>>;

/// Converts an I/O error to an error for peers. The trace names the Python class of the error.
fn failed(error: io::Error) -> WireError {
    let message = error.to_string();
    let trace = format!("{}: {message}\n", class(error.kind()));
    let mut wire = WireError::new(message);
    wire.trace = trace;
    wire
}

fn invalid(text: impl Into<String>) -> WireError {
    failed(io::Error::new(io::ErrorKind::InvalidInput, text.into()))
}

fn closed() -> WireError {
    invalid("I/O operation on closed file")
}

async fn read(shared: &Shared, call: &IncomingCall) -> Result<Args, WireError> {
    let size: Option<i64> = call.args(&["size"])?.optional(0)?.flatten();
    let size = size.and_then(|size| u64::try_from(size).ok());
    let most = size.map_or(LARGEST_READ, |size| size.min(LARGEST_READ as u64) as usize);
    let mut source = shared.lock().await;
    let source = source.as_mut().ok_or_else(closed)?;
    let mut data = BytesMut::new();
    while data.len() < most {
        let next = (most - data.len()).min(PIECE);
        // Reserve memory piece by piece, because a peer may request much more data than the file
        // contains.
        data.reserve(next);
        if source.read(&mut data, next).await.map_err(failed)? == 0 {
            break;
        }
    }
    if size.is_none() && data.len() == LARGEST_READ {
        return Err(invalid(format!(
            "the file is too large to be read at once; call read(size) with at most {LARGEST_READ} \
             bytes"
        )));
    }
    shared.monitor.add(data.len());
    call.reply(&hypha_wire::Binary(data.freeze()))
}

async fn seek(source: &Shared, call: &IncomingCall) -> Result<Args, WireError> {
    let args = call.args(&["offset", "whence"])?;
    let (offset, whence): (i64, Option<u8>) = (args.required(0)?, args.optional(1)?.flatten());
    let to = match whence.unwrap_or(0) {
        0 => match u64::try_from(offset) {
            Ok(offset) => SeekFrom::Start(offset),
            Err(_) => return Err(invalid(format!("negative seek position {offset}"))),
        },
        1 => SeekFrom::Current(offset),
        2 => SeekFrom::End(offset),
        other => {
            return Err(invalid(format!(
                "invalid whence ({other}, should be 0, 1 or 2)"
            )));
        }
    };
    let mut source = source.lock().await;
    let source = source.as_mut().ok_or_else(closed)?;
    call.reply(&source.seek(to).await.map_err(failed)?)
}

async fn tell(source: &Shared, call: &IncomingCall) -> Result<Args, WireError> {
    call.args(&[])?;
    let mut source = source.lock().await;
    let source = source.as_mut().ok_or_else(closed)?;
    call.reply(&source.seek(SeekFrom::Current(0)).await.map_err(failed)?)
}

async fn write(shared: &Shared, call: &IncomingCall) -> Result<Args, WireError> {
    let data: hypha_wire::Binary = call.args(&["data"])?.required(0)?;
    let mut source = shared.lock().await;
    let source = source.as_mut().ok_or_else(closed)?;
    source.write(&data).await.map_err(failed)?;
    shared.monitor.add(data.len());
    call.reply(&data.len())
}

async fn flush(source: &Shared, call: &IncomingCall) -> Result<Args, WireError> {
    call.args(&[])?;
    let mut source = source.lock().await;
    let source = source.as_mut().ok_or_else(closed)?;
    source.flush().await.map_err(failed)?;
    call.reply(&())
}

/// Closes and drops the source. Drops the source even if closing fails. Does nothing if the source
/// is already closed.
async fn close(source: &Shared, call: &IncomingCall) -> Result<Args, WireError> {
    call.args(&[])?;
    if let Some(mut source) = source.lock().await.take() {
        source.close().await.map_err(failed)?;
    }
    call.reply(&())
}

async fn can(call: &IncomingCall, ability: bool) -> Result<Args, WireError> {
    call.args(&[])?;
    call.reply(&ability)
}
