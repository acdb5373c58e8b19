//! The functions of a file at its owner, and the mapping of their errors to [`io::Error`].

use std::io::{self, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::super::Function;
use super::super::function::forward;
use super::progress::Monitor;
use crate::args;
use crate::error::{Error, RejectKind};
use hypha_wire::keys::{RNATIVE, RTYPE};
use hypha_wire::{Args, Handle, HandleKind, Map, Value, WireError};

/// Object that represents a file on the wire.
pub(super) struct Peer {
    members: Map,
    monitor: Arc<Monitor>,
    /// Whether the functions of the file count the transferred bytes themselves. True for files of
    /// this program.
    counts: bool,
}

/// Result of a read.
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    /// Whether the owner returned a string.
    pub(super) text: bool,
}

/// Returns whether an object is a file.
pub(super) fn is_file(members: &Map) -> bool {
    members.get(RTYPE).and_then(Value::as_str) == Some("iostream")
}

/// Returns the members through which receivers use the file. A function of a peer is relayed
/// through this program, because the peer accepts calls only from the client to which it sent the
/// file (`docs/protocol/02-messages.md#s7`).
pub(super) fn members(peer: &Arc<Peer>) -> impl Iterator<Item = (&str, Value)> {
    peer.members.iter().map(|(name, member)| {
        let value = match member {
            Value::Handle(Handle(HandleKind::Remote(_))) => relay(peer, name),
            other => other.clone(),
        };
        (name.as_str(), value)
    })
}

/// Returns a function of this program that calls the function `name` of the file.
fn relay(peer: &Arc<Peer>, name: &str) -> Value {
    let (peer, function) = (Arc::clone(peer), name.to_owned());
    let relay = Function::new(move |call| {
        let (peer, function) = (Arc::clone(&peer), function.clone());
        async move {
            let function = peer.function(&function);
            let function = function.map_err(|e| WireError::new(e.to_string()))?;
            forward(&function, call).await
        }
    });
    relay.named(name).into()
}

/// Returns the error for a function that the file lacks.
pub(super) fn unsupported(what: &str) -> io::Error {
    let text = format!("the file has no function `{what}`");
    io::Error::new(io::ErrorKind::Unsupported, text)
}

impl Peer {
    pub(super) fn new(members: Map) -> Self {
        Peer {
            members,
            monitor: Arc::default(),
            counts: false,
        }
    }

    /// Creates a file of this program. The file's functions report the transferred bytes to
    /// `monitor`.
    pub(super) fn local(members: Map, monitor: Arc<Monitor>) -> Self {
        Peer {
            members,
            monitor,
            counts: true,
        }
    }

    pub(super) fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    fn transferred(&self, bytes: usize) {
        if !self.counts {
            self.monitor.add(bytes);
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.members.get(key)
    }

    /// Sets a member that is not a function. New members are inserted before the functions.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        if self.members.contains_key(key) {
            self.members.insert(key.to_owned(), value);
        } else {
            self.members.shift_insert(0, key.to_owned(), value);
        }
    }

    pub(super) fn has(&self, function: &str) -> bool {
        matches!(self.get(function), Some(Value::Handle(_)))
    }

    /// Returns whether the members describe a Python text file. Other text files are recognized at
    /// the first read.
    pub(super) fn is_text(&self) -> bool {
        let native = self.get(RNATIVE).and_then(Value::as_str);
        native.is_some_and(|native| {
            native.starts_with("py:")
                && (native.contains("TextIOWrapper") || native.contains("StringIO"))
        })
    }

    pub(super) async fn call(&self, function: &str, args: Args) -> io::Result<Value> {
        let function = self.function(function)?;
        function.call(args).await.map_err(io_error)
    }

    fn function(&self, name: &str) -> io::Result<Function> {
        let member = self.get(name).filter(|_| self.has(name));
        let function = member.and_then(|member| member.decode_as().ok());
        function.ok_or_else(|| unsupported(name))
    }

    /// Reads at most `most` bytes or characters.
    pub(super) async fn read(&self, most: usize) -> io::Result<Chunk> {
        let (bytes, text) = match self.call("read", args!(most)).await? {
            Value::Bytes(bytes) => (bytes, false),
            Value::String(text) => (text.into(), true),
            // Other kinds of buffers, such as a JavaScript typed array.
            other => match other.decode_as::<hypha_wire::Binary>() {
                Ok(bytes) => (bytes.0, false),
                Err(_) => return Err(unexpected("read", "bytes or text", &other)),
            },
        };
        self.transferred(bytes.len());
        Ok(Chunk { bytes, text })
    }

    /// Returns the published size, if a file can have it: positions in files are signed.
    pub(super) fn size(&self) -> Option<u64> {
        let size = self.get("size")?.as_u64();
        size.filter(|size| i64::try_from(*size).is_ok())
    }

    /// Moves the position of the owner's file and returns the new position. Before the call, the
    /// owner's position is `unread` bytes ahead of the reader's position.
    pub(super) async fn seek(&self, to: SeekFrom, unread: usize, text: bool) -> io::Result<u64> {
        if !self.has("seek") {
            return Err(unsupported("seek"));
        }
        let (place, args) = match to {
            SeekFrom::Start(place) => (place, args!(place)),
            SeekFrom::Current(_) if text => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "a text file can seek only from its start or end",
                ));
            }
            SeekFrom::Current(by) => {
                let told = self.call("tell", args!()).await?;
                let here = told
                    .as_u64()
                    .ok_or_else(|| unexpected("tell", "a position", &told))?;
                let place = here.checked_add_signed(by);
                let place = place.and_then(|place| place.checked_sub(unread as u64));
                let place = place.ok_or_else(before_start)?;
                (place, args!(place))
            }
            // Only files with `tell` (from Python and Rust) are known to accept an origin.
            SeekFrom::End(by) if self.has("tell") => (0, args!(by, 2)),
            SeekFrom::End(by) => {
                let size = self.size().ok_or_else(|| {
                    let text = "the size of the file is not known";
                    io::Error::new(io::ErrorKind::Unsupported, text)
                })?;
                let place = size.checked_add_signed(by).ok_or_else(before_start)?;
                (place, args!(place))
            }
        };
        // Some implementations of `seek` return nothing.
        Ok(self.call("seek", args).await?.as_u64().unwrap_or(place))
    }

    /// Writes all data. If the owner accepts only a part, writes the rest with further calls.
    pub(super) async fn write(&self, mut data: Bytes, text: bool) -> io::Result<()> {
        while !data.is_empty() {
            if text {
                let text = std::str::from_utf8(&data)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                // The returned count is in characters, but text files always write all characters.
                self.call("write", args!(text)).await?;
                self.transferred(data.len());
                return Ok(());
            }
            let sent = hypha_wire::Binary(data.clone());
            let written = match self.call("write", args!(sent)).await?.as_u64() {
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(written) => data.len().min(written.try_into().unwrap_or(usize::MAX)),
                None => data.len(),
            };
            drop(data.split_to(written));
            self.transferred(written);
        }
        Ok(())
    }

    /// Closes the file at its owner. Marks it as closed, so that dropping the last handle does not
    /// close it again.
    pub(super) async fn close(&self) -> io::Result<()> {
        let closed = self.call("close", args!()).await.map(drop);
        if let Some(Value::Handle(Handle(HandleKind::Remote(remote)))) = self.get("close") {
            remote.mark_released();
        }
        closed
    }
}

/// Closes a file from a result at its owner when the last handle is dropped.
impl Drop for Peer {
    fn drop(&mut self) {
        let Some(Value::Handle(Handle(HandleKind::Remote(remote)))) = self.get("close") else {
            return;
        };
        // The caller closes a file from an argument. Do not close a file that other handles use, or
        // that is closed already.
        if remote.parent.is_some() || remote.is_released() || Arc::strong_count(remote) > 1 {
            return;
        }
        if let Ok(close) = self.function("close") {
            // A destructor cannot wait. If the send queue is full, the owner closes the file after
            // ten minutes without use.
            let _ = close.call::<Value>(args!()).send().now_or_never();
        }
    }
}

fn before_start() -> io::Error {
    let text = "a position before the start of the file";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn unexpected(function: &str, wanted: &str, got: &Value) -> io::Error {
    let text = format!(
        "`{function}` of the file returned {} instead of {wanted}",
        got.kind()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Exception classes of other languages, with the matching kinds of I/O errors.
const CLASSES: [(&str, io::ErrorKind); 6] = [
    ("UnsupportedOperation", io::ErrorKind::Unsupported),
    ("FileNotFoundError", io::ErrorKind::NotFound),
    ("PermissionError", io::ErrorKind::PermissionDenied),
    ("FileExistsError", io::ErrorKind::AlreadyExists),
    ("ValueError", io::ErrorKind::InvalidInput),
    ("UnicodeDecodeError", io::ErrorKind::InvalidData),
];

/// Returns the exception class for this kind of error.
pub(super) fn class(kind: io::ErrorKind) -> &'static str {
    let found = CLASSES.iter().find(|(_, known)| *known == kind);
    found.map_or("OSError", |(class, _)| class)
}

/// Wraps the error of a call in an I/O error.
fn io_error(error: Error) -> io::Error {
    let kind = match &error {
        Error::Remote(remote) => {
            let class = remote.class.as_deref().unwrap_or_default();
            let class = class.rsplit('.').next().unwrap_or_default();
            let found = CLASSES.iter().find(|(known, _)| *known == class);
            found.map_or(io::ErrorKind::Other, |(_, kind)| *kind)
        }
        Error::Rejected(rejection) if rejection.kind == RejectKind::Expired => {
            return io::Error::new(io::ErrorKind::NotConnected, Gone(error));
        }
        Error::Timeout(_) => io::ErrorKind::TimedOut,
        Error::Disconnected(_) => io::ErrorKind::ConnectionAborted,
        Error::Codec(_) => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Cause of an I/O error: the file no longer exists at its owner.
#[derive(Debug, thiserror::Error)]
#[error(
    "the file no longer exists at its owner: the call that sent it has ended, or \
     nobody used it for too long ({0})"
)]
struct Gone(#[source] Error);
