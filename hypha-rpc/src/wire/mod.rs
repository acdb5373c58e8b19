//! The bytes of the protocol: messages, values, addresses and chunks, without any I/O.
//!
//! A message is one or two msgpack maps in a row. The first, MAIN, says where the message goes;
//! the second, EXTRA, holds the arguments and is forwarded by servers unread. [`Message`] reads
//! what arrives, [`Args`] writes what is sent.

mod address;
mod args;
mod bytes;
mod case;
mod chunks;
mod decode;
mod decode_error;
mod encode;
mod error;
mod extra;
mod message;
mod method;
mod pack;
mod value;
mod value_serde;

pub use address::{
    AddressError, ServiceId, ServiceUrl, absolute, http_url, parse_service_url, random_id,
    socket_url, split_address, valid_client_id, valid_service_name,
};
pub use args::{Args, Head, Reply};
pub use bytes::Bytes;
pub use case::{Case, convert_keys, to_camel_case, to_snake_case};
pub use chunks::{ChunkError, ChunkStore};
pub use decode::{from_slice, skip};
pub use decode_error::DecodeError;
pub use encode::{EncodeError, encode, to_vec};
pub use error::WireError;
pub use extra::{Extra, FullPromise, IncomingArgs, Promise};
pub use message::{Message, Stamp};
pub use method::{MethodRef, PromiseKind};
pub use value::{Map, Value};

/// How many maps and lists may lie inside each other in one value, written or read.
pub const MAX_DEPTH: usize = 128;
