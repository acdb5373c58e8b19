//! Files as values: files of peers to read and write, and readers and writers of this program that
//! peers use (`docs/protocol/03-values.md#s9`).

mod peer;
mod progress;
mod source;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, SeekFrom};
#[cfg(not(target_family = "wasm"))]
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, stream};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

#[cfg(not(target_family = "wasm"))]
use crate::error::Error;
use crate::schema::KIND;
use hypha_wire::{Binary, Value, keep_until_decoded};
use peer::{Chunk, Peer, unsupported};
use source::{Abilities, Reader, Seekable, Source, Whole, Writer};

pub use progress::FileProgress;
use progress::Monitor;

/// Size of one read or write: 256 KiB, which fits into one frame for every peer.
const PIECE: usize = 256 << 10;

/// File as a value: an argument, a result, or a part of one. The content stays at the owner until a
/// peer reads it.
///
/// A Python file object or `BytesIO`, or a JavaScript `Blob` or `File`, arrives as a `RemoteFile`.
/// Bytes, such as Python `bytes` or a `Uint8Array`, also arrive as a `RemoteFile` with that
/// content. Use a file with the traits of tokio: [`AsyncReadExt`](tokio::io::AsyncReadExt),
/// [`AsyncSeekExt`](tokio::io::AsyncSeekExt), [`AsyncWriteExt`](tokio::io::AsyncWriteExt). Text
/// files are read and written as UTF-8. An operation that the owner does not support fails with
/// [`Unsupported`](io::ErrorKind::Unsupported). An error of the owner keeps its message, and
/// [`io::Error::get_ref`] returns the [`Error`](crate::Error) of the call.
///
/// Each read requests 256 KiB from the owner. Sequential reads also request the next 256 KiB ahead.
/// A write is sent immediately, but its error is reported by the next operation: call `flush` after
/// the last write. Reads, writes and seeks move the position of the owner's file, so only one peer
/// should use a file at a time.
///
/// A file in an argument can be used until the call ends; then the caller closes it. A file in a
/// result lives until its receiver drops it, disconnects, or does not use it for ten minutes
/// (`docs/protocol/02-messages.md#s10`). A received file can be passed to another peer before it is
/// read. That peer reads it through this program, because the owner accepts no calls from other
/// peers.
///
/// [`from_bytes`](Self::from_bytes), [`open`](Self::open), [`from_reader`](Self::from_reader) and
/// similar constructors create a file of this program. Other languages receive an object with the
/// functions `read`, `seek`, `tell`, `write`, `flush` and `close`, as far as the file supports
/// them. The underlying reader or file is dropped when this program and all peers have dropped
/// their handles.
///
/// # Examples
///
/// ```
/// use hypha_rpc::prelude::*;
/// use tokio::io::AsyncReadExt;
///
/// /// Knows files.
/// #[hypha_service]
/// trait Library {
///     /// Count the lines of a file.
///     async fn count_lines(&self, file: RemoteFile) -> anyhow::Result<usize>;
///     /// Open a book.
///     async fn book(&self, title: String) -> anyhow::Result<RemoteFile>;
/// }
///
/// struct Desk;
/// impl Library for Desk {
///     async fn count_lines(&self, mut file: RemoteFile) -> anyhow::Result<usize> {
///         let mut text = String::new();
///         file.read_to_string(&mut text).await?;
///         Ok(text.lines().count())
///     }
///
///     async fn book(&self, title: String) -> anyhow::Result<RemoteFile> {
///         anyhow::ensure!(!title.contains('/'), "not the title of a book");
///         Ok(RemoteFile::open(format!("books/{title}.txt")).await?)
///     }
/// }
///
/// # async fn example(library: LibraryProxy) -> anyhow::Result<()> {
/// let lines = library.count_lines(RemoteFile::from_bytes("a\nb\n")).await?;
/// let mut book = library.book("Emma".into()).await?;
/// let mut beginning = [0; 100];
/// book.read_exact(&mut beginning).await?;
/// # Ok(())
/// # }
/// ```
pub struct RemoteFile {
    peer: Arc<Peer>,
    /// Received data that was not read yet.
    unread: VecDeque<Bytes>,
    busy: Option<Busy>,
    /// Whether all earlier reads were sequential. If so, the next read is requested ahead.
    sequential: bool,
    /// Whether the owner reads and writes strings instead of bytes.
    text: bool,
    /// Position of the reader, or `None` if only the owner knows it.
    position: Option<u64>,
}

/// Pending operation at the owner.
enum Busy {
    Read(BoxFuture<'static, io::Result<Chunk>>),
    /// A seek. Also returns the data of a read that completed before the seek.
    Seek(BoxFuture<'static, (io::Result<u64>, Bytes)>),
    Write(BoxFuture<'static, io::Result<()>>),
    Flush(BoxFuture<'static, io::Result<()>>),
    Close(BoxFuture<'static, io::Result<()>>),
}

impl RemoteFile {
    /// Creates a file with this content. Peers can read it and seek in it.
    pub fn from_bytes(content: impl Into<Bytes>) -> Self {
        let content: Bytes = content.into();
        let size = content.len() as u64;
        Self::from_seekable(io::Cursor::new(content)).sized(size)
    }

    /// Opens a local file for reading. Publishes its name and size.
    ///
    /// # Errors
    ///
    /// Fails outside of a tokio runtime, or if the file cannot be opened, or its metadata cannot be
    /// read.
    #[cfg(not(target_family = "wasm"))]
    pub async fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let found: Result<(), Error> = Error::unless_in_runtime(&path.display().to_string());
        found.map_err(io::Error::other)?;
        let file = tokio::fs::File::open(path).await?;
        let metadata = file.metadata().await?;
        if metadata.is_dir() {
            // Some systems open folders, and fail only when a peer reads.
            let message = format!("{} is a folder", path.display());
            return Err(io::Error::new(io::ErrorKind::IsADirectory, message));
        }
        let size = metadata.len();
        let file = Self::from_seekable(file).sized(size);
        Ok(match path.file_name() {
            Some(name) => file.named(name.to_string_lossy()),
            None => file,
        })
    }

    /// Creates a file that peers can read from beginning to end. Reads by peers poll `reader`.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::RemoteFile;
    ///
    /// let report = RemoteFile::from_reader(std::io::Cursor::new("a\nb\n"))
    ///     .named("report.txt")
    ///     .typed("text/plain");
    /// assert_eq!(report.name(), Some("report.txt"));
    /// ```
    pub fn from_reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::local(Reader(Box::pin(reader)))
    }

    /// Creates a file that peers can read, and in which they can seek.
    pub fn from_seekable(reader: impl AsyncRead + AsyncSeek + Send + 'static) -> Self {
        Self::local(Seekable(Box::pin(reader)))
    }

    /// Creates a file that peers can write to. The writer is flushed when a peer flushes or closes
    /// the file.
    pub fn from_writer(writer: impl AsyncWrite + Send + 'static) -> Self {
        Self::local(Writer(Box::pin(writer)))
    }

    /// Creates a file that peers can read and write, and in which they can seek, such as a
    /// [`tokio::fs::File`].
    pub fn from_file(file: impl AsyncRead + AsyncSeek + AsyncWrite + Send + 'static) -> Self {
        Self::local(Whole(Box::pin(file)))
    }

    fn local<S: Source + Abilities + 'static>(source: S) -> Self {
        let monitor = Arc::new(Monitor::default());
        let members = source::members(source, &monitor);
        Self::of(Peer::local(members, monitor))
    }

    fn of(peer: Peer) -> Self {
        RemoteFile {
            unread: VecDeque::new(),
            busy: None,
            sequential: false,
            text: peer.is_text(),
            position: (!peer.has("tell")).then_some(0),
            peer: Arc::new(peer),
        }
    }

    /// Sets the published name. Default: none.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.with("name", name.into())
    }

    /// Sets the published size, in bytes. Default: none.
    #[must_use]
    pub fn sized(self, size: u64) -> Self {
        self.peer.monitor().resize(size);
        self.with("size", size)
    }

    /// Sets the published media type, such as `image/png`. Default: none.
    #[must_use]
    pub fn typed(self, content_type: impl Into<String>) -> Self {
        self.with("type", content_type.into())
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        // There is one handle until the file is read or sent. Afterwards the members are published
        // and cannot change.
        if let Some(peer) = Arc::get_mut(&mut self.peer) {
            peer.set(key, value.into());
        }
        self
    }

    /// Returns the name, if the owner published one. The name may be a path.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.get("name")?.as_str()
    }

    /// Returns the size in bytes, if the owner published it. Python files publish no
    /// size. Treats a size above 2^63 - 1, which no file can have, as not published.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.peer.size()
    }

    /// Returns the media type, if the owner published one.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.get("type")?.as_str()
    }

    /// Returns a member of the object that represents the file in other languages. Members without
    /// a method here, such as the function `truncate`, can be called as a
    /// [`Function`](crate::Function).
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.peer.get(key)
    }

    /// Calls `report` after each transferred piece of the file. For a received file, `report` sees
    /// the reads and writes of this program. For a file of this program, it sees the reads and
    /// writes of all programs.
    ///
    /// `report` is called often and must not block, because the transfer waits for it. It replaces
    /// the function of an earlier call.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::RemoteFile;
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// let video = RemoteFile::open("video.mp4")
    ///     .await?
    ///     .on_progress(|progress| println!("sent {progress}"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_progress(self, report: impl FnMut(FileProgress) + Send + 'static) -> Self {
        self.peer.monitor().watch(self.size(), Box::new(report));
        self
    }

    /// Returns the rest of the content as a stream of pieces. The owner determines the size of a
    /// piece, usually 256 KiB. Pieces are not copied. The stream ends after an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    /// use hypha_rpc::RemoteFile;
    ///
    /// # async fn example(file: RemoteFile) -> std::io::Result<()> {
    /// let size: usize = file
    ///     .into_stream()
    ///     .try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
        let mut file = Some(self);
        stream::poll_fn(move |cx| {
            let Some(open) = &mut file else {
                return Poll::Ready(None);
            };
            let piece = ready!(open.poll_piece(cx)).transpose();
            if !matches!(piece, Some(Ok(_))) {
                // Closes the file at its owner.
                file = None;
            }
            Poll::Ready(piece)
        })
    }

    /// Returns the next piece of the content, or `None` at the end of the content.
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !ready!(self.poll_fill(cx))? {
            return Poll::Ready(Ok(None));
        }
        let piece = self.unread.pop_front();
        if let (Some(position), Some(piece)) = (&mut self.position, &piece) {
            *position += piece.len() as u64;
        }
        Poll::Ready(Ok(piece))
    }

    /// Waits until there is unread data. Returns `false` at the end of the file.
    fn poll_fill(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<bool>> {
        ready!(self.poll_settled(cx))?;
        if !self.unread.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let chunk = match self.take_read() {
            Some(mut read) => {
                let polled = read.poll_unpin(cx);
                if polled.is_pending() {
                    self.busy = Some(Busy::Read(read));
                }
                polled
            }
            None => self.start_read(cx),
        };
        if self.arrived(ready!(chunk))? {
            self.sequential = false;
            return Poll::Ready(Ok(false));
        }
        if std::mem::replace(&mut self.sequential, true) {
            if let Poll::Ready(chunk) = self.start_read(cx) {
                // A read that is ready immediately belongs to a file of this program. The error
                // can be ignored, because the next read fails again.
                let _ = self.arrived(chunk);
            }
        }
        Poll::Ready(Ok(true))
    }

    /// Closes the file at its owner after all earlier writes, even if the file came in an argument.
    ///
    /// Same as [`AsyncWriteExt::shutdown`](tokio::io::AsyncWriteExt::shutdown). Does nothing for
    /// files without `close`, such as a `Blob`.
    ///
    /// # Errors
    ///
    /// Fails with the error of an earlier write, or if the owner cannot be reached or fails to
    /// close the file.
    pub async fn close(mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self).poll_shutdown(cx)).await
    }

    fn unread_len(&self) -> usize {
        self.unread.iter().map(Bytes::len).sum()
    }

    fn keep(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.unread.push_back(bytes);
        }
    }

    /// Removes `len` bytes from the unread data and passes them to `take`.
    fn advance(&mut self, mut len: usize, mut take: impl FnMut(&[u8])) {
        if let Some(position) = &mut self.position {
            *position += len as u64;
        }
        while let Some(front) = self.unread.front_mut() {
            let taken = front.len().min(len);
            take(&front[..taken]);
            front.advance(taken);
            len -= taken;
            if !front.is_empty() {
                return;
            }
            self.unread.pop_front();
        }
    }

    /// Takes the pending operation out of `busy` if it is a read.
    fn take_read(&mut self) -> Option<BoxFuture<'static, io::Result<Chunk>>> {
        match self.busy.take() {
            Some(Busy::Read(read)) => Some(read),
            other => {
                self.busy = other;
                None
            }
        }
    }

    /// Requests the next piece. The request was sent when this function returns.
    fn start_read(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<Chunk>> {
        let peer = Arc::clone(&self.peer);
        let mut read = async move { peer.read(PIECE).await }.boxed();
        let polled = read.poll_unpin(cx);
        if polled.is_pending() {
            self.busy = Some(Busy::Read(read));
        }
        polled
    }

    /// Adds the data of a read to the unread data. Returns `true` at the end of the file.
    fn arrived(&mut self, chunk: io::Result<Chunk>) -> io::Result<bool> {
        let chunk = chunk?;
        if chunk.text {
            // Positions in a Python text file are not byte offsets.
            (self.text, self.position) = (true, None);
        }
        let end = chunk.bytes.is_empty();
        self.keep(chunk.bytes);
        Ok(end)
    }

    /// Waits until the pending operation is complete, unless it is a read.
    fn poll_settled(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let outcome = match &mut self.busy {
            None | Some(Busy::Read(_)) => return Poll::Ready(Ok(())),
            Some(Busy::Seek(seek)) => {
                let (outcome, came) = ready!(seek.poll_unpin(cx));
                self.sought(outcome, came).map(drop)
            }
            Some(Busy::Write(work) | Busy::Flush(work) | Busy::Close(work)) => {
                ready!(work.poll_unpin(cx))
            }
        };
        self.busy = None;
        Poll::Ready(outcome)
    }

    fn sought(&mut self, outcome: io::Result<u64>, came: Bytes) -> io::Result<u64> {
        match &outcome {
            Ok(position) => {
                self.unread.clear();
                self.sequential = false;
                self.position = (!self.text).then_some(*position);
            }
            // The seek failed, so the position has not changed.
            Err(_) => self.keep(came),
        }
        outcome
    }

    /// Returns the absolute position of `to`. Returns `None` if only the owner can compute it,
    /// because `to` is relative to the end or to an unknown position.
    fn target(&self, to: SeekFrom) -> Option<u64> {
        match to {
            SeekFrom::Start(target) => Some(target),
            SeekFrom::Current(by) => self.position?.checked_add_signed(by),
            SeekFrom::End(_) => None,
        }
    }
}

impl AsyncRead for RemoteFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !ready!(self.poll_fill(cx))? {
            return Poll::Ready(Ok(()));
        }
        let len = buf.remaining().min(self.unread_len());
        self.advance(len, |bytes| buf.put_slice(bytes));
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for RemoteFile {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        if !matches!(self.busy, None | Some(Busy::Read(_))) {
            return Err(io::Error::other(
                "the file is busy; call poll_complete before start_seek",
            ));
        }
        let passed_over = match (self.position, self.target(to)) {
            (Some(here), Some(there)) => there.checked_sub(here),
            _ => None,
        };
        if let Some(by) = passed_over.filter(|by| *by <= self.unread_len() as u64) {
            self.advance(by as usize, |_| ());
            return Ok(());
        }
        let peer = Arc::clone(&self.peer);
        let read = self.take_read();
        let to = self.target(to).map_or(to, SeekFrom::Start);
        let (unread, text) = (self.unread_len(), self.text);
        self.busy = Some(Busy::Seek(Box::pin(async move {
            let came = drain(read).await;
            let outcome = peer.seek(to, unread + came.len(), text).await;
            (outcome, came)
        })));
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<u64>> {
        if let Some(Busy::Seek(seek)) = &mut self.busy {
            let (outcome, came) = ready!(seek.poll_unpin(cx));
            self.busy = None;
            return Poll::Ready(self.sought(outcome, came));
        }
        ready!(self.poll_settled(cx))?;
        Poll::Ready(Ok(self.position.unwrap_or_default()))
    }
}

/// Waits for a read-ahead and returns its data, because the read has moved the position of the
/// owner's file. A failed read has not moved the position.
async fn drain(read: Option<BoxFuture<'static, io::Result<Chunk>>>) -> Bytes {
    match read {
        Some(read) => read.await.map(|chunk| chunk.bytes).unwrap_or_default(),
        None => Bytes::new(),
    }
}

impl AsyncWrite for RemoteFile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_settled(cx))?;
        if !self.peer.has("write") {
            return Poll::Ready(Err(unsupported("write")));
        }
        let data = &data[..data.len().min(PIECE)];
        let data = match self.text {
            true => whole_characters(data)?,
            false => data,
        };
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let (len, sent) = (data.len(), Bytes::copy_from_slice(data));
        let peer = Arc::clone(&self.peer);
        let read = self.take_read();
        let (unread, text, position) = (self.unread_len(), self.text, self.position);
        self.unread.clear();
        self.sequential = false;
        // If the owner has `tell`, ask the owner for the position when it is needed: a write to a
        // file opened for appending moves the position to the end. Without `tell`, compute the
        // position here.
        self.position = match self.peer.has("tell") {
            true => None,
            false => position.map(|position| position + len as u64),
        };
        let mut write = async move {
            // The owner's position is ahead of the reader's position by the length of the unread
            // data. Move the owner's position back before the write.
            let unread = unread + drain(read).await.len();
            if unread > 0 {
                let here = position.map_or(SeekFrom::Current(0), SeekFrom::Start);
                peer.seek(here, unread, text).await?;
            }
            peer.write(sent, text).await
        }
        .boxed();
        match write.poll_unpin(cx) {
            Poll::Ready(outcome) => outcome?,
            Poll::Pending => self.busy = Some(Busy::Write(write)),
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.busy, Some(Busy::Flush(_))) {
            ready!(self.poll_settled(cx))?;
            if self.busy.is_some() || !self.peer.has("flush") {
                // Nothing was written since the last read, or the owner has no `flush`.
                return Poll::Ready(Ok(()));
            }
            let peer = Arc::clone(&self.peer);
            self.busy = Some(Busy::Flush(Box::pin(async move {
                peer.call("flush", crate::args!()).await.map(drop)
            })));
        }
        self.poll_settled(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.busy, Some(Busy::Close(_))) {
            ready!(self.poll_settled(cx))?;
            self.unread.clear();
            let read = self.take_read();
            if !self.peer.has("close") {
                return Poll::Ready(Ok(()));
            }
            let peer = Arc::clone(&self.peer);
            self.busy = Some(Busy::Close(Box::pin(async move {
                // Without this wait, `close` could overtake the read in flight.
                drain(read).await;
                peer.close().await
            })));
        }
        self.poll_settled(cx)
    }
}

/// Returns the longest prefix of `data` that is valid UTF-8: `data` may end inside a character.
fn whole_characters(data: &[u8]) -> io::Result<&[u8]> {
    match std::str::from_utf8(data) {
        Ok(_) => Ok(data),
        Err(e) if e.valid_up_to() > 0 => Ok(&data[..e.valid_up_to()]),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file accepts only text, and the data is not valid UTF-8",
        )),
    }
}

impl Serialize for RemoteFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.busy.is_some() || !self.unread.is_empty() {
            return Err(S::Error::custom(
                "a file that is being read or written cannot be sent",
            ));
        }
        serializer.collect_map(peer::members(&self.peer))
    }
}

impl<'de> Deserialize<'de> for RemoteFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Map(members) if peer::is_file(&members) => {
                let file = Self::of(Peer::new(members));
                keep_until_decoded(Arc::clone(&file.peer));
                Ok(file)
            }
            // `Binary` accepts any buffer, and a list of numbers, because JSON has no bytes.
            other => match other.decode_as::<Binary>() {
                Ok(content) => Ok(content.0.into()),
                Err(_) => Err(D::Error::custom(format_args!(
                    "expected a file, got {}",
                    other.kind()
                ))),
            },
        }
    }
}

impl From<Bytes> for RemoteFile {
    fn from(content: Bytes) -> Self {
        Self::from_bytes(content)
    }
}

impl From<Vec<u8>> for RemoteFile {
    fn from(content: Vec<u8>) -> Self {
        Self::from_bytes(content)
    }
}

impl From<Binary> for RemoteFile {
    fn from(content: Binary) -> Self {
        Self::from_bytes(content.0)
    }
}

impl JsonSchema for RemoteFile {
    fn schema_name() -> Cow<'static, str> {
        "File".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A file: a file object, a blob, or bytes.",
            (KIND): "file"
        })
    }
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFile")
            .field("name", &self.name())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
