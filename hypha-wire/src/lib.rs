//! The bytes of the Hypha RPC protocol: messages, values, arguments, addresses and chunks, without
//! any I/O.
//!
//! This crate is a part of [`hypha-rpc`](https://docs.rs/hypha-rpc), which re-exports the types that
//! programs name. It has the version of `hypha-rpc` and makes no promise of its own: anything here
//! may change in a minor version.
//!
//! A message is one or two msgpack maps in a row. The first, MAIN, says where the message goes;
//! the second, EXTRA, holds the arguments and is forwarded by servers unread. [`Message`] reads
//! what arrives, [`Args`] writes what is sent.

mod address;
mod args;
mod array;
#[cfg(feature = "ndarray")]
mod array_ndarray;
mod array_serde;
mod bytes;
mod case;
mod chunks;
#[doc(hidden)]
pub mod codec;
mod collections;
mod decode;
mod decode_error;
mod dtype;
mod element;
mod encode;
mod error;
mod extra;
mod handle;
pub mod keys;
mod local;
mod message;
mod method;
mod pack;
mod rope;
mod scope;
mod timestamp;
mod value;
mod value_serde;

pub use address::{
    AddressError, ServiceId, ServiceUrl, absolute, http_url, parse_service_url, random_id,
    socket_url, split_address, valid_client_id, valid_service_name,
};
pub use args::{Args, Head, ReplyMode};
pub use array::{ArrayError, NdArray};
pub use array_serde::{MemoryView, TypedArray};
pub use bytes::Bytes;
pub use case::convert_map_keys;
pub use case::{Case, convert_keys, to_camel_case, to_snake_case};
pub use chunks::{ChunkError, ChunkStore};
pub use codec::Codec;
pub use collections::{OrderedMap, Set};
pub use decode::{from_slice, skip};
pub use decode_error::DecodeError;
pub use dtype::{ByteOrder, DType};
pub use element::Element;
pub use encode::{EncodeError, encode, to_vec};
pub use error::WireError;
pub use extra::{EncryptedExtra, Extra, FullPromise, IncomingArgs, Promise};
pub use handle::Handle;
pub use handle::{ConnectionRef, HandleKind, RemoteHandle, give_key};
pub use local::Packed;
pub use message::{Message, Stamp, Stamped};
pub use method::{MethodRef, PromiseKind};
pub use rope::Rope;
pub use scope::Origin;
pub use timestamp::{Timestamp, TimestampError};
pub use value::{Map, Value};

/// How many maps and lists may lie inside each other in one value, written or read.
pub const MAX_DEPTH: usize = 128;

/// Paths for the macros of this crate. Not part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::codec;
    pub use {schemars, serde};
}
