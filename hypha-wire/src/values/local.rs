//! Defines [`Packed`], an encoded value that is not yet part of a message. A `Packed` contains the
//! handles themselves instead of their names on the wire.

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
    /// The encoded value without the contents of its splices.
    pub(crate) buf: Vec<u8>,
    /// Large binary data and handles, each with its position in `buf`.
    pub(crate) splices: Splices,
}

impl Packed {
    /// Encodes a value. The handles in the value stay the same handles. A handle gets a name on the
    /// wire only when the value becomes part of a message.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be sent, see [`encode`](crate::encode()).
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let (mut buf, mut splices) = (Vec::with_capacity(64), Splices::new());
        encode_spliced(&mut buf, &mut splices, value)?;
        Ok(Self { buf, splices })
    }

    /// Creates a `Packed` from bytes that are already msgpack. Does not copy the bytes if there are
    /// 16 KiB or more.
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

    /// Returns the number of bytes on the wire. Excludes the handles, because their names are not
    /// known yet.
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

    /// Decodes the value as if the value had been received. The result contains the same handles.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not a `T`. The error contains the path in the value.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        let (bytes, table) = join(self.buf, self.splices);
        from_local(&bytes, &table)
    }
}

/// Converts between values and Rust types, as if the values were sent and received.
impl Value {
    /// Converts the value into a `T`, as if the value had been received where a `T` is expected.
    ///
    /// The result contains the same functions and streams, so a `Value` can be converted to a
    /// `hypha_rpc::Function`. The value is encoded and decoded again, which costs time and memory
    /// in proportion to its size.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not a `T`. The error contains the path in the value.
    pub fn decode_as<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        // Encode and decode the value instead of converting the tree, so that the conversion
        // follows exactly the rules of the wire, also for typed values.
        let packed = Packed::new(self).map_err(|error| DecodeError::new(error.to_string()))?;
        packed.decode()
    }

    /// Converts `value` to the `Value` that a peer would receive.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be sent, for example a map whose keys are lists.
    pub fn encode_from<T: Serialize + ?Sized>(value: &T) -> Result<Value, EncodeError> {
        let decoded = Packed::new(value)?.decode();
        decoded.map_err(|error| EncodeError::new(error.to_string()))
    }
}

/// Joins a buffer and its splices into one value for this process. In the value, each handle is an
/// index into the returned table, so that the receiver gets the handle itself instead of a copy.
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
