//! Values that do not leave this program: encoded as for the wire, but functions and streams in them
//! stay what they are.

use std::sync::{Arc, LazyLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decode::from_origin;
use super::decode_error::DecodeError;
use super::encode::{EncodeError, Splices, encode_spliced};
use super::handle::{Handle, Splice, put_resident};

/// No functions or streams.
pub(super) fn nothing() -> &'static Arc<[Handle]> {
    static NOTHING: LazyLock<Arc<[Handle]>> = LazyLock::new(Arc::default);
    &NOTHING
}

/// An encoded value that is not part of a message yet.
#[derive(Debug)]
pub struct Packed {
    pub(super) buf: Vec<u8>,
    pub(super) splices: Splices,
}

impl Packed {
    /// Encodes a value; functions and streams in it keep their identity.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let (mut buf, mut splices) = (Vec::with_capacity(64), Splices::new());
        encode_spliced(&mut buf, &mut splices, value)?;
        Ok(Self { buf, splices })
    }

    /// How many bytes it will be on the wire, without what is live in it.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an encoded value has at least one byte"
    )]
    pub fn len(&self) -> usize {
        let spliced = self.splices.iter().map(|(_, splice)| match splice {
            Splice::Bytes(bytes) => bytes.len(),
            Splice::Handle(_) => 0,
        });
        self.buf.len() + spliced.sum::<usize>()
    }

    /// Reads it without its leaving the program.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        let (bytes, table) = join(self.buf, self.splices);
        from_origin(&bytes, 0, bytes.len(), None, &table)
    }
}

/// Puts everything into one buffer; what is live becomes an index into the table.
pub(super) fn join(out: Vec<u8>, splices: Splices) -> (bytes::Bytes, Arc<[Handle]>) {
    if splices.is_empty() {
        return (out.into(), Arc::clone(nothing()));
    }
    let (mut joined, mut table, mut done) = (Vec::with_capacity(out.len()), Vec::new(), 0);
    for (position, splice) in splices {
        joined.extend_from_slice(&out[done..position]);
        done = position;
        match splice {
            Splice::Bytes(bytes) => joined.extend_from_slice(&bytes),
            Splice::Handle(handle) => {
                put_resident(&mut joined, table.len());
                table.push(handle);
            }
        }
    }
    joined.extend_from_slice(&out[done..]);
    (joined.into(), table.into())
}
