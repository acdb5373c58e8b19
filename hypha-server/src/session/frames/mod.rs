//! Reads and writes WebSocket frames (RFC 6455, section 5) for a server.
//!
//! The [`Reader`] reads a large message into separate memory. The [`Writer`] writes a new first
//! segment, and then the rest of the message from that memory. WebSocket libraries accept a message
//! only in one piece, so with a library the server would have to copy the message to replace its
//! first segment. The libraries also keep a buffer of the size of the largest message for each
//! connection.
//!
//! Only the module `websocket` uses this module. The server charges a fixed amount of memory for
//! each connection. All memory that this module needs beyond that amount is charged to the account
//! of the reader before it is allocated.
//!
//! This module and two libraries were measured on 2026-11-29 with a relay that changes and forwards
//! messages like the router, on two cores under other load. Each value is the median of 8 rounds,
//! with the best round in brackets. The CPU times are those of the relay.
//!
//! | | this module | fastwebsockets 0.10 | tokio-websockets 0.13 |
//! | --- | --- | --- | --- |
//! | memory per idle client | 8.3 kB | 9.8 kB | 9.6 kB |
//! | memory per idle client after a message of 256 KiB | 11 kB | 298 kB | 298 kB |
//! | 100-byte calls per second, 64 pairs | 15,700 (24,600) | 16,600 (22,700) | 19,500 (20,000) |
//! | CPU per call | 23.6 µs (19.1) | 24.6 µs (18.6) | 24.8 µs (22.8) |
//! | messages of 1 MiB, MB/s | 670 (961) | 485 (844) | 504 (729) |
//! | CPU per MB | 0.45 ms (0.37) | 0.54 ms (0.47) | 0.65 ms (0.54) |
//! | messages of 16 MiB, MB/s | 542 (615) | 467 (850) | 460 (616) |
//! | CPU per MB | 0.62 ms (0.54) | 0.81 ms (0.67) | 0.86 ms (0.79) |

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hypha_wire::Stamped;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::memory::{Account, Charge, OverBudget};
use crate::peer::Progress;

/// Minimum size of the read buffer of a connection, in bytes. The size adapts to the number of
/// bytes that arrive at once.
const BUFFER_MIN: usize = 2 * 1024;
/// Maximum size of the read buffer of a connection, in bytes.
const BUFFER_MAX: usize = 64 * 1024;
/// Size of a read buffer that needs no charge of its own, in bytes. The server charges a fixed
/// amount of memory for each connection, and this amount covers such a buffer.
const BUFFER_COVERED: usize = 8 * 1024;
/// Size above which a frame is read into separate memory, in bytes. This memory is freed with the
/// message. A slice of the read buffer would keep the whole buffer alive instead.
const SEPARATE: usize = 16 * 1024;
/// Maximum memory that is reserved when the head of a frame declares a length, in bytes, unless the
/// previous frame was larger. More memory is reserved as data arrives. Clients cut large messages
/// into chunks of 256 KiB, and such a chunk fits together with its head.
const RESERVE_FIRST: usize = 320 * 1024;
/// Factor by which the memory of a frame grows. The factor is large, because each growth copies the
/// frame: a message of 16 MiB grows only twice.
const GROWTH: usize = 8;
/// Payloads up to this size, in bytes, are combined with their neighbors into one write. Larger
/// payloads are written without a copy.
const COPY_MAX: usize = 8 * 1024;
/// Size of the combined frames above which they are written, in bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// Capacity of the write buffer that an idle connection keeps, in bytes.
const KEEP_MAX: usize = 4 * 1024;
/// Maximum payload of a control frame, in bytes (RFC 6455, section 5.5).
const CONTROL_MAX: usize = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// A message or control frame that has arrived. If a message consists of several frames, this is
/// the whole message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// A text message.
    Text(String),
    /// A binary message. A small message may share memory with the read buffer.
    Binary(Bytes),
    /// A ping, which requires a pong with the same content.
    Ping(Bytes),
    /// A pong.
    Pong,
    /// A close frame. Contains the close code if the server may send this code back.
    Close(Option<u16>),
}

/// The reason why the reader can read no more messages. After an error, the reader can only discard
/// bytes.
#[derive(Debug)]
pub(super) enum ReadError {
    /// I/O error of the connection.
    Io,
    /// A frame, or a message of several frames, exceeds the limit. The rest of the frame is unread.
    TooLarge,
    /// The peer violates the protocol; the text describes the violation.
    Protocol(&'static str),
    /// The memory for the message exceeds a limit.
    OverBudget(OverBudget),
}

impl From<OverBudget> for ReadError {
    fn from(error: OverBudget) -> ReadError {
        ReadError::OverBudget(error)
    }
}

/// The head of a frame (RFC 6455, section 5.2).
#[derive(Clone, Copy)]
struct Head {
    /// Whether the frame is the last frame of its message (bit FIN).
    last: bool,
    /// The opcode.
    kind: u8,
    mask: [u8; 4],
    /// Length of the payload in bytes.
    length: usize,
}

/// Reads the frames of a client.
pub(super) struct Reader<R> {
    io: R,
    /// Bytes that were read but not parsed yet.
    buffer: BytesMut,
    /// Capacity to reserve in `buffer` before the next read.
    room: usize,
    /// The frame of which only a part of the payload has arrived. A large frame has separate
    /// memory.
    begun: Option<(Head, Option<Own>)>,
    /// The unfinished message that consists of several frames: its opcode, the payload that has
    /// arrived so far, and the charge for its memory.
    message: Option<(u8, BytesMut, Option<Charge>)>,
    /// The complete frame that continues `message`. The frame stays here until there is memory for
    /// the frame and the message together. It is stored in this field instead of in a local
    /// variable, so that it is not lost if the future of `next` is dropped.
    joining: Option<(Head, Bytes)>,
    /// Maximum size of a message, in bytes.
    limit: usize,
    account: Account,
    /// Charge for the part of the read buffer above [`BUFFER_COVERED`].
    buffer_charge: Option<Charge>,
    /// Length of the latest large frame, because the next large frame probably has the same length.
    expected: usize,
    /// If the last message that `next` has returned is large, the charge for this message. While
    /// `joining` is set, the charge for the frame in `joining`.
    charge: Option<Charge>,
}

/// Memory of one large frame, with the charge for all of this memory.
type Own = (BytesMut, Charge);

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Creates a reader. `buffered` contains bytes that were already read from `io`. A message may
    /// have up to `limit` bytes. The memory of messages is charged to `account`.
    pub(super) fn new(io: R, buffered: Bytes, limit: usize, account: Account) -> Reader<R> {
        Reader {
            io,
            buffer: buffered.into(),
            room: BUFFER_MIN,
            begun: None,
            message: None,
            joining: None,
            limit,
            account,
            buffer_charge: None,
            expected: 0,
            charge: None,
        }
    }

    /// Sets the maximum size of a message, and the account to which later messages are charged. The
    /// session calls this method after the client is admitted.
    pub(super) fn admit(&mut self, limit: usize, account: Account) {
        self.limit = limit;
        self.account = account;
    }

    /// Frees the memory of incomplete messages. After this call, only [`discard`](Self::discard)
    /// may be called, because the frame boundaries are lost.
    pub(super) fn forget(&mut self) {
        self.begun = None;
        self.message = None;
        self.joining = None;
        self.buffer = BytesMut::new();
        self.buffer_charge = None;
        self.charge = None;
    }

    /// Takes the charge for the last message that [`next`](Self::next) has returned, if that
    /// message is large. If the caller does not take the charge, it is released when the next
    /// message arrives.
    pub(super) fn take_charge(&mut self) -> Option<Charge> {
        self.charge.take()
    }

    /// Returns the next message or control frame, or `None` if the peer has closed the socket.
    /// Control frames between the frames of a message are returned as they arrive.
    ///
    /// While the account is exhausted, the reader waits for memory and reads nothing.
    ///
    /// # Errors
    ///
    /// Fails if the socket fails, if the peer violates the protocol, if a message exceeds the
    /// limit, or if there is no memory for a message. Do not call this method again after an error.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Option<Incoming>, ReadError> {
        loop {
            if self.joining.is_some() {
                if let Some(incoming) = self.join().await? {
                    return Ok(Some(incoming));
                }
            } else if let Some((head, payload, charge)) = self.frame()? {
                if let Some(incoming) = self.incoming(head, payload, charge)? {
                    return Ok(Some(incoming));
                }
            } else if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads and discards bytes until the peer closes its half of the socket, or until `most` bytes
    /// have arrived.
    pub(super) async fn discard(&mut self, most: usize) {
        let mut scratch = vec![0; BUFFER_MAX];
        let mut left = most;
        while let Ok(count @ 1..) = self.io.read(&mut scratch).await {
            left = left.saturating_sub(count);
            if left == 0 {
                break;
            }
        }
    }

    /// Returns the next frame, if all of it has arrived.
    fn frame(&mut self) -> Result<Option<(Head, Bytes, Option<Charge>)>, ReadError> {
        let (head, own) = match self.begun.take() {
            Some(begun) => begun,
            None => match self.head()? {
                Some(head) => (head, None),
                None => return Ok(None),
            },
        };
        let (mut payload, charge) = match own {
            Some((own, charge)) if own.len() == head.length => {
                self.expected = head.length;
                (own, Some(charge))
            }
            None if self.buffer.len() >= head.length => {
                let payload = self.buffer.split_to(head.length);
                // The payload is copied, because a slice would keep the whole buffer alive while
                // the message waits. For small messages, the copy is not worthwhile.
                let payload = match payload.len() > COPY_MAX {
                    true => BytesMut::from(&payload[..]),
                    false => payload,
                };
                (payload, None)
            }
            own => {
                self.begun = Some((head, own));
                return Ok(None);
            }
        };
        unmask(&mut payload, head.mask);
        Ok(Some((head, payload.freeze(), charge)))
    }

    /// Takes the head of a frame from the buffer and checks it. Returns `None` if the head is
    /// incomplete. This method also checks the size limit, so that a frame above the limit is
    /// refused before its payload is read.
    fn head(&mut self) -> Result<Option<Head>, ReadError> {
        let [first, second, ..] = self.buffer[..] else {
            return Ok(None);
        };
        let (last, kind) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return Err(ReadError::Protocol("a frame has a reserved bit set"));
        }
        if second & 0x80 == 0 {
            return Err(ReadError::Protocol("a frame is not masked"));
        }
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let size = 2 + extended + 4;
        if self.buffer.len() < size {
            return Ok(None);
        }
        self.buffer.advance(2);
        let length = match extended {
            0 => u64::from(second & 0x7f),
            extended => self.buffer.get_uint(extended),
        };
        let mask = self.buffer.get_u32().to_be_bytes();
        match kind {
            CONTINUATION if self.message.is_none() => {
                return Err(ReadError::Protocol("a continuation frame has no message"));
            }
            TEXT | BINARY if self.message.is_some() => {
                return Err(ReadError::Protocol("a message begins inside another"));
            }
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if !last || length > CONTROL_MAX as u64 => {
                return Err(ReadError::Protocol(
                    "a control frame is too long or fragmented",
                ));
            }
            CLOSE | PING | PONG => {}
            _ => return Err(ReadError::Protocol("a frame has an unknown opcode")),
        }
        let before = match &self.message {
            Some((_, message, _)) if kind == CONTINUATION => message.len(),
            _ => 0,
        };
        match usize::try_from(length) {
            Ok(length) if before.saturating_add(length) <= self.limit => Ok(Some(Head {
                last,
                kind,
                mask,
                length,
            })),
            _ => Err(ReadError::TooLarge),
        }
    }

    /// Handles a complete frame. Returns the frame if it is a control frame, and the message if the
    /// frame completes a message. Returns `None` if the message continues.
    fn incoming(
        &mut self,
        head: Head,
        payload: Bytes,
        charge: Option<Charge>,
    ) -> Result<Option<Incoming>, ReadError> {
        match head.kind {
            CLOSE => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                // Invalid codes are removed: the server sends the code back, and reserved codes
                // must never be sent (RFC 6455, section 7.4).
                let code = code.filter(|code| matches!(code, 1000..1004 | 1007..1015 | 3000..5000));
                Ok(Some(Incoming::Close(code)))
            }
            PING => Ok(Some(Incoming::Ping(payload))),
            PONG => Ok(Some(Incoming::Pong)),
            CONTINUATION => {
                self.joining = Some((head, payload));
                // The charge is kept until `join` has copied the payload into the message.
                self.charge = charge;
                Ok(None)
            }
            kind if !head.last => {
                self.message = Some((kind, payload.into(), charge));
                Ok(None)
            }
            kind => self.complete(kind, payload, charge).map(Some),
        }
    }

    /// Waits for memory, and appends the frame in `joining` to the message that the frame
    /// continues. If the message is now complete, returns the message.
    ///
    /// # Cancellation
    ///
    /// The method changes nothing before the memory is charged, so the next call starts again. If
    /// the charge of the message has already grown, the message keeps the larger charge.
    async fn join(&mut self) -> Result<Option<Incoming>, ReadError> {
        let (Some((_, message, charge)), Some((_, more))) = (&mut self.message, &self.joining)
        else {
            return Err(ReadError::Protocol("a continuation frame has no message"));
        };
        let needed = message.len() + more.len();
        if needed > message.capacity() {
            let capacity = needed.max((2 * message.capacity()).min(self.limit));
            // Small messages are not charged; see `SEPARATE`. The capacity at least doubles,
            // because otherwise each frame of a message of many frames would cause another copy.
            if capacity > SEPARATE {
                let charged = charge.as_ref().map_or(0, Charge::bytes);
                let missing = capacity.saturating_sub(charged);
                match charge {
                    Some(charge) => charge.grow(missing).await?,
                    None => *charge = Some(self.account.charge(missing).await?),
                }
            }
            let mut larger = BytesMut::with_capacity(capacity);
            larger.extend_from_slice(message);
            *message = larger;
        }
        message.extend_from_slice(more);
        let last = self.joining.take().is_some_and(|(head, _)| head.last);
        self.charge = None;
        if !last {
            return Ok(None);
        }
        match self.message.take() {
            Some((kind, message, charge)) => {
                self.complete(kind, message.freeze(), charge).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Stores the charge of a complete message, and returns the message.
    fn complete(
        &mut self,
        kind: u8,
        payload: Bytes,
        charge: Option<Charge>,
    ) -> Result<Incoming, ReadError> {
        self.charge = charge;
        if kind == BINARY {
            return Ok(Incoming::Binary(payload));
        }
        match String::from_utf8(payload.into()) {
            Ok(text) => Ok(Incoming::Text(text)),
            Err(_) => Err(ReadError::Protocol("a text frame is not UTF-8")),
        }
    }

    /// Reads more bytes. If a large frame is incomplete, reads into the memory of this frame, and
    /// otherwise into the buffer. Returns false at the end of the stream.
    ///
    /// # Cancellation
    ///
    /// The bytes that were read are stored in `begun` or `buffer`, so no bytes are lost if the
    /// future is dropped.
    async fn fill(&mut self) -> Result<bool, ReadError> {
        if let Some((head, own)) = &mut self.begun
            && head.length > SEPARATE
        {
            let length = head.length;
            let own = match own {
                Some(own) => own,
                None => {
                    // The client declares the length, and the declaration may be false. Therefore
                    // more than `first` is reserved only if no other account then has to wait or is
                    // evicted.
                    let first = length.min(RESERVE_FIRST);
                    let hoped = length.min(self.expected).max(first);
                    let charge = match self.account.charge_spare(hoped) {
                        Some(charge) => charge,
                        None => self.account.charge(first).await?,
                    };
                    let mut memory = BytesMut::with_capacity(charge.bytes());
                    memory.extend_from_slice(&self.buffer);
                    self.buffer.clear();
                    own.insert((memory, charge))
                }
            };
            if own.0.len() == own.0.capacity() {
                grow(own, length).await?;
            }
            // The read is limited, so that bytes of the next frame stay in the socket instead of
            // being read into this memory.
            let missing = length - own.0.len();
            let read = self.io.read_buf(&mut (&mut own.0).limit(missing)).await;
            return Ok(read.map_err(|_| ReadError::Io)? > 0);
        }
        let wanted = match &self.begun {
            Some((head, _)) => self.room.max(head.length - self.buffer.len()),
            None => self.room,
        };
        if self.buffer.is_empty() {
            // The buffer is allocated anew, because the old memory may be as large as the largest
            // frame was.
            self.buffer = BytesMut::with_capacity(wanted);
        } else {
            self.buffer.reserve(wanted);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let read = self.io.read_buf(&mut self.buffer).await;
        let count = read.map_err(|_| ReadError::Io)?;
        // The buffer shrinks only after a read that uses less than a quarter of it, so that the
        // size does not alternate between two values.
        if count == room {
            self.set_room((self.room * 2).min(BUFFER_MAX));
        } else if count < self.room / 4 {
            self.set_room((self.room / 2).max(BUFFER_MIN));
        }
        Ok(count > 0)
    }

    /// Sets the size of the read buffer. If there is no memory for a larger buffer, the size stays
    /// the same, because a larger buffer only saves system calls.
    fn set_room(&mut self, room: usize) {
        let beyond = room.saturating_sub(BUFFER_COVERED);
        let paid = match &mut self.buffer_charge {
            _ if beyond == 0 => {
                self.buffer_charge = None;
                true
            }
            Some(charge) if charge.bytes() >= beyond => {
                charge.shrink_to(beyond);
                true
            }
            Some(charge) => charge.grow_spare(beyond - charge.bytes()),
            charge @ None => {
                *charge = self.account.charge_spare(beyond);
                charge.is_some()
            }
        };
        if paid {
            self.room = room;
        }
    }
}

/// Grows the memory of a frame of `length` bytes. Waits until the larger memory is charged.
async fn grow((own, charge): &mut Own, length: usize) -> Result<(), ReadError> {
    let larger = length.min(own.capacity().saturating_mul(GROWTH));
    let missing = larger.saturating_sub(charge.bytes());
    charge.grow(missing).await?;
    let mut memory = BytesMut::with_capacity(larger);
    memory.extend_from_slice(own);
    *own = memory;
    Ok(())
}

/// Unmasks a payload, eight bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    // The conversions use the native byte order, so that the result is the same on machines with
    // either byte order.
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The reason why the writer can write no more frames.
#[derive(Debug)]
pub(super) enum WriteError {
    /// I/O error of the connection.
    Io,
    /// The peer accepts no bytes.
    Stalled,
}

impl From<io::Error> for WriteError {
    fn from(_: io::Error) -> WriteError {
        WriteError::Io
    }
}

/// Writes frames to a client.
///
/// # Cancellation
///
/// If the future of a method is dropped, the next call continues at the same byte, so no frame is
/// cut.
pub(super) struct Writer<W> {
    io: W,
    /// Bytes to write next. They consist of heads of frames and small payloads.
    joined: BytesMut,
    /// A large payload to write after `joined`.
    large: Bytes,
    /// Write timeout. The timeout restarts with each partial write, so that a slow peer is not
    /// disconnected.
    write_timeout: Duration,
    /// Reports partial writes to the senders that wait for this peer.
    progress: Option<Progress>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Creates a writer. `write_timeout` is the maximum time without a partial write.
    pub(super) fn new(io: W, write_timeout: Duration) -> Writer<W> {
        Writer {
            io,
            joined: BytesMut::new(),
            large: Bytes::new(),
            write_timeout,
            progress: None,
        }
    }

    /// Makes the writer report partial writes to the senders that wait for this peer.
    pub(super) fn report(&mut self, progress: Progress) {
        self.progress = Some(progress);
    }

    /// Queues a text frame. If many bytes are already queued, writes the earlier frames first, like
    /// all methods that queue a frame.
    pub(super) async fn text(&mut self, text: &str) -> Result<(), WriteError> {
        self.put(TEXT, text.as_bytes(), Bytes::new()).await
    }

    /// Queues a message as a binary frame. A payload larger than [`COPY_MAX`] is written without a
    /// copy.
    pub(super) async fn binary(&mut self, message: Stamped) -> Result<(), WriteError> {
        let Stamped { head, rest } = message;
        if rest.is_empty() && head.len() > COPY_MAX {
            return self.put(BINARY, &[], head).await;
        }
        self.put(BINARY, &head, rest).await
    }

    /// Queues a pong with the content of a ping.
    pub(super) async fn pong(&mut self, content: &[u8]) -> Result<(), WriteError> {
        self.put(PONG, content, Bytes::new()).await
    }

    /// Queues a close frame with this code and reason. The reason has at most 123 bytes.
    pub(super) async fn close(&mut self, reason: Option<(u16, &str)>) -> Result<(), WriteError> {
        let mut content = Vec::new();
        if let Some((code, reason)) = reason {
            content.put_u16(code);
            content.extend_from_slice(reason.as_bytes());
        }
        self.put(CLOSE, &content, Bytes::new()).await
    }

    /// Writes everything that is queued, and flushes the socket.
    ///
    /// # Errors
    ///
    /// Fails if the socket fails, or if the peer accepts no byte within the write timeout.
    pub(super) async fn flush(&mut self) -> Result<(), WriteError> {
        while !self.joined.is_empty() || !self.large.is_empty() {
            // This is a vectored write, so that one system call writes a head and its payload.
            let mut both = (&mut self.joined).chain(&mut self.large);
            let writing = self.io.write_buf(&mut both);
            match timeout(self.write_timeout, writing).await {
                Ok(Ok(1..)) => {
                    if let Some(progress) = &self.progress {
                        progress.made();
                    }
                }
                Ok(Ok(0) | Err(_)) => return Err(WriteError::Io),
                Err(_) => return Err(WriteError::Stalled),
            }
        }
        // The buffer is freed now, because the next frame of this connection may come much later.
        if self.joined.capacity() > KEEP_MAX {
            self.joined = BytesMut::new();
        }
        self.large = Bytes::new();
        Ok(self.io.flush().await?)
    }

    /// Shuts down the write half of the socket.
    pub(super) async fn shutdown(&mut self) {
        // The result is ignored, because an error means that the socket is already closed.
        let _ = self.io.shutdown().await;
    }

    /// Queues a frame. Its payload is `small` followed by `rest`. This method waits for the peer
    /// only before it queues any part of the frame, so that no frame is cut if the future is
    /// dropped.
    async fn put(&mut self, kind: u8, small: &[u8], rest: Bytes) -> Result<(), WriteError> {
        if self.joined.len() > BATCH_BYTES || !self.large.is_empty() {
            self.flush().await?;
        }
        // Every frame is the last frame of its message (0x80). No frame is masked, because servers
        // must not mask (RFC 6455, section 5.1).
        self.joined.put_u8(0x80 | kind);
        match small.len() + rest.len() {
            length @ 0..126 => self.joined.put_u8(length as u8),
            length @ 126..0x1_0000 => {
                self.joined.put_u8(126);
                self.joined.put_u16(length as u16);
            }
            length => {
                self.joined.put_u8(127);
                self.joined.put_u64(length as u64);
            }
        }
        self.joined.put_slice(small);
        if rest.len() > COPY_MAX {
            self.large = rest;
        } else {
            self.joined.put_slice(&rest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
