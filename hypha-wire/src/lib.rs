//! The bytes of the Hypha RPC protocol: messages, values, arguments, addresses and chunks. Performs
//! no I/O.
//!
//! This crate is a part of [`hypha-rpc`](https://docs.rs/hypha-rpc), which re-exports the types
//! that programs need. Both crates have the same version. The API of this crate is not stable:
//! anything here may change in a minor version.
//!
//! # Messages
//!
//! A *frame* holds one *message*, which consists of one or two consecutive msgpack maps:
//!
//! - The *first segment* (MAIN) contains the routing: sender, receiver, method and session. Servers
//!   read and rewrite only this segment.
//! - The *second segment* (EXTRA) contains the arguments of a call and the form of the response.
//!   This segment may be encrypted. Servers forward it unread.
//!
//! A message that is too large for one frame is sent in *chunks*, each as an argument of another
//! message. Functions and streams are sent as references, which are *handles* in Rust.
//!
//! [`Args`] encodes a message, [`Message`] parses a frame, and [`IncomingArgs`] decodes the
//! arguments directly into Rust types:
//!
//! ```
//! use hypha_wire::{Args, Head, Message, ReplyMode};
//!
//! let mut args = Args::new(2, 0);
//! args.push("a", &6.0);
//! args.push("b", &1.5);
//! let head = Head {
//!     from: "lab/notebook",
//!     to: "lab/server",
//!     method: "services.calculator.divide",
//!     parent: None,
//!     session: Some("s1"),
//! };
//! let frame = args.finish(&head, ReplyMode::Star { interval: 15.0 })?;
//!
//! let message = Message::parse(frame)?;
//! assert_eq!(message.method(), Some("services.calculator.divide"));
//! let extra = message.extra()?;
//! let divisor: Option<Result<f64, _>> = extra.args.get(1);
//! assert_eq!(divisor, Some(Ok(1.5)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules
//!
//! Modules are private, except for [`keys`]. Their public items are in the root of the crate.
//!
//! | module | content |
//! | --- | --- |
//! | `messages/message` | [`Message`]: parses the first segment; [`Stamp`]: a server's entries |
//! | `messages/extra` | [`Extra`], [`IncomingArgs`]: parses the second segment |
//! | `messages/args` | [`Args`]: encodes a message; [`Head`], [`ReplyMode`] |
//! | `messages/rope` | [`Rope`]: a message in several buffers |
//! | `messages/chunks` | [`ChunkStore`]: joins the chunks of large messages |
//! | `values/value`, `values/value_serde` | [`Value`], [`Map`]: values of any type |
//! | `values/encode` | [`encode()`], [`to_vec`]: serde to msgpack |
//! | `values/decode` | [`from_slice`], [`skip`]: msgpack to serde, for untrusted input |
//! | `values/local` | [`Packed`]: encoded values that are not part of a message; conversions |
//! | `values/raw` | [`RawValue`]: values that stay encoded; [`JsonWriter`]: msgpack to JSON |
//! | `values/memory` | [`PeerMemory`]: limits on the memory of decoded values |
//! | `values/value/handle` | [`Handle`]: functions and streams as values |
//! | `values/splice` | content stored outside the buffer of a message |
//! | `values/handles` | functions and streams that several attempts to decode a value share |
//! | `values/scope` | [`Origin`]: frame and connection of the value that is being decoded |
//! | `values/method` | [`MethodRef`], [`PromiseKind`]: the map of a function on the wire |
//! | `values/array`, `array_serde`, `array_ndarray` | [`NdArray`], [`TypedArray`], [`MemoryView`] |
//! | `values/array_typed`, `array_structs` | [`Array`]; `ndarray::Array` inside of types |
//! | `values/times`, `buffered`, `search` | `Duration`, `SystemTime`; content of tagged types |
//! | `values/dtype`, `element` | [`DType`], [`Element`]: element types of arrays |
//! | `values/binary`, `timestamp` | [`Binary`], [`Timestamp`] |
//! | `values/collections` | [`Set`], [`OrderedMap`] |
//! | `values/codec` | [`trait@Codec`], [`codec!`]: types with a name on the wire |
//! | `values/error`, `decode_error` | [`WireError`], [`DecodeError`] |
//! | `pack` | msgpack markers and headers |
//! | `address` | [`ServiceId`], [`ServiceUrl`]: addresses, ids and URLs |
//! | `case` | [`Case`]: keys in camelCase and snake_case |
//! | `text` | [`is_direction`]: characters that change how a text looks |
//! | [`keys`] | names fixed by the protocol |
//!
//! # Features
//!
//! | feature | content |
//! | --- | --- |
//! | `ndarray` | conversions between [`NdArray`] and `ndarray::Array`; implies `num-complex` |
//! | `half` | `half::f16` as an element type of arrays |
//! | `num-complex` | `num_complex::Complex` as an element type of arrays |
//!
//! The [protocol] is specified in the repository.
//!
//! [protocol]: https://github.com/amun-ai/hypha-rpc-rust/blob/main/docs/protocol/README.md

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod case;
pub mod keys;
mod messages;
mod pack;
mod text;
mod values;

pub use address::{
    AddressError, ServiceId, ServiceUrl, absolute_address, http_url, parse_service_url, random_id,
    redacted_url, socket_url, split_address, valid_client_id, valid_service_name,
};
pub use case::{Case, convert_keys, convert_map_keys, to_camel_case, to_snake_case};
pub use messages::args::{Args, Head, ReplyMode};
pub use messages::chunks::{ChunkError, ChunkStore};
pub use messages::extra::{EncryptedExtra, Extra, FullPromise, IncomingArgs, Promise};
pub use messages::message::{Message, Stamp, Stamped};
pub use messages::rope::Rope;
pub use text::is_direction;
pub use values::array::{ArrayError, NdArray};
#[cfg(feature = "ndarray")]
#[doc(hidden)]
pub use values::array_ndarray::ArrayOf;
#[doc(hidden)]
pub use values::array_serde::array_schema;
pub use values::array_serde::{MemoryView, TypedArray};
pub use values::array_typed::Array;
pub use values::binary::Binary;
pub use values::codec::Codec;
pub use values::collections::{OrderedMap, Set};
pub use values::decode::{from_slice, from_slice_within, skip};
pub use values::decode_error::DecodeError;
pub use values::dtype::{ByteOrder, DType};
pub use values::element::Element;
pub use values::encode::{EncodeError, encode, to_vec};
pub use values::error::WireError;
#[doc(hidden)]
pub use values::handles::keep_until_decoded;
pub use values::local::Packed;
pub use values::map_keys::{Keyed, keyed};
pub use values::memory::{MAX_DECODED_BYTES, MemoryCharge, PeerMemory};
pub use values::method::{MethodRef, PromiseKind};
pub use values::raw::{JsonError, JsonWriter, RawValue};
pub use values::scope::Origin;
pub use values::timestamp::{Timestamp, TimestampError};
pub use values::value::{
    ConnectionRef, Handle, HandleKind, Map, RemoteHandle, Value, set_encryption_key,
};

/// Maximum nesting depth of lists and maps in one value, encoded or decoded.
///
/// Decoding is recursive, so deeper values would exhaust the stack of the thread.
pub const MAX_DEPTH: usize = 128;

/// Paths for the code generated by [`codec!`]. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::values::codec;
    pub use schemars;
    pub use serde;
}
