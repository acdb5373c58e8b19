//! [`Packed`]: encoded values that are not yet part of a message. They contain the handles
//! themselves, not the names of handles on the wire.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decode::from_local;
use super::decode_error::DecodeError;
use super::encode::{EncodeError, Splices, encode_spliced};
use super::scope::{no_handles, put_table_handle};
use super::splice::{SPLICED_BYTES, Splice};
use super::value::{Handle, Value};

/// Encoded value that is not yet part of a message, such as the result of a method.
#[derive(Debug)]
pub struct Packed {
    /// The encoded value, without the content of its splices.
    pub(crate) buf: Vec<u8>,
    /// Large binary data and handles, each with its position in `buf`.
    pub(crate) splices: Splices,
}

impl Packed {
    /// Encodes a value. Its handles keep their identity: they get a name on the wire only when the
    /// value becomes part of a message.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be sent, see [`encode`](crate::encode()).
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let (mut buf, mut splices) = (Vec::with_capacity(64), Splices::new());
        encode_spliced(&mut buf, &mut splices, value)?;
        Ok(Self { buf, splices })
    }

    /// Creates a `Packed` from bytes that are already msgpack. Bytes of 16 KiB or more are not
    /// copied.
    pub(crate) fn encoded(bytes: bytes::Bytes) -> Self {
        if bytes.len() < SPLICED_BYTES {
            return Self {
                buf: bytes.into(),
                splices: Splices::new(),
            };
        }
        Self {
            buf: Vec::new(),
            splices: vec![(0, Splice::Bytes(bytes))],
        }
    }

    /// Returns the number of bytes on the wire, excluding handles, whose names are not known yet.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an encoded value has at least one byte"
    )]
    #[must_use]
    pub fn len(&self) -> usize {
        let spliced = self.splices.iter().map(|(_, splice)| match splice {
            Splice::Bytes(bytes) => bytes.len(),
            Splice::Handle(_) => 0,
        });
        self.buf.len() + spliced.sum::<usize>()
    }

    /// Decodes the value as if it had been received. Its handles stay the same.
    ///
    /// # Errors
    ///
    /// Returns an error with the path if the value is not a `T`.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        let (bytes, table) = join(self.buf, self.splices);
        from_local(&bytes, &table)
    }
}

/// Conversions between values and Rust types, as if they were sent and received.
impl Value {
    /// Converts the value into a `T`, as if the value had been received where a `T` is expected.
    ///
    /// Functions and streams keep their identity, so a `Value` can be converted to a
    /// `hypha_rpc::Function`. The value is encoded and decoded again, which costs time and memory
    /// in proportion to its size.
    ///
    /// # Errors
    ///
    /// Returns an error with the path if the value is not a `T`.
    pub fn decode_as<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        // Convert through bytes instead of the tree, so that the conversion follows exactly the
        // rules of the wire, including typed values.
        let packed = Packed::new(self).map_err(|error| DecodeError::new(error.to_string()))?;
        packed.decode()
    }

    /// Converts `value` to a `Value`, as a peer would receive it.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be sent, for example a map whose keys are lists.
    pub fn encode_from<T: Serialize + ?Sized>(value: &T) -> Result<Value, EncodeError> {
        let decoded = Packed::new(value)?.decode();
        decoded.map_err(|error| EncodeError::new(error.to_string()))
    }
}

/// Joins a buffer with its splices into one value for this process. Each handle becomes an index
/// into the returned table, so that the receiver gets the handle itself, not a copy.
pub(crate) fn join(out: Vec<u8>, splices: Splices) -> (bytes::Bytes, Arc<[Handle]>) {
    if splices.is_empty() {
        return (out.into(), Arc::clone(no_handles()));
    }
    let (mut joined, mut table, mut done) = (Vec::with_capacity(out.len()), Vec::new(), 0);
    for (position, splice) in splices {
        joined.extend_from_slice(&out[done..position]);
        done = position;
        match splice {
            Splice::Bytes(bytes) => joined.extend_from_slice(&bytes),
            Splice::Handle(handle) => {
                put_table_handle(&mut joined, table.len());
                table.push(handle);
            }
        }
    }
    joined.extend_from_slice(&out[done..]);
    (joined.into(), table.into())
}
