//! Values, and the serde types that encode and decode them.
//!
//! `encode` and `decode` are a serde format for the msgpack of the protocol. The other modules
//! define types with a special form on the wire: each serializes as a map with the key `_rtype`,
//! which every format can represent. Each of these types can be read from every form that the other
//! clients send.
//!
//! serde passes no context to the types that it encodes and decodes, so two thread-locals contain
//! the context: `splice` while a message is encoded, `scope` while a message is decoded. A guard
//! sets each of them, and restores the previous value when dropped. Encoding and decoding never
//! await, so no other task sees them.

pub(crate) mod array;
mod array_lists;
#[cfg(feature = "ndarray")]
pub(crate) mod array_ndarray;
pub(crate) mod array_serde;
pub(crate) mod array_typed;
pub(crate) mod binary;
pub(crate) mod buffered;
#[doc(hidden)]
pub mod codec;
pub(crate) mod collections;
pub(crate) mod decode;
pub(crate) mod decode_error;
pub(crate) mod dtype;
pub(crate) mod element;
pub(crate) mod encode;
pub(crate) mod error;
pub(crate) mod handles;
pub(crate) mod local;
pub(crate) mod map_keys;
pub(crate) mod memory;
pub(crate) mod method;
pub(crate) mod raw;
pub(crate) mod scope;
pub(crate) mod search;
pub(crate) mod splice;
pub(crate) mod time_type;
pub(crate) mod times;
pub(crate) mod timestamp;
pub(crate) mod value;
pub(crate) mod value_serde;
pub(crate) mod wrapped;
