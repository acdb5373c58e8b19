//! The bytes of the Hypha RPC protocol: messages, values, arguments, addresses and chunks, without
//! I/O.
//!
//! This crate is a part of [`hypha-rpc`](https://docs.rs/hypha-rpc), which re-exports the types
//! that programs need. It has the version of `hypha-rpc` and makes no promise of its own: anything
//! here may change in a minor version.
//!
//! # Messages
//!
//! A *frame* holds one *message*, which is one or two msgpack maps in a row:
//!
//! - The *first segment* (MAIN) is the routing: sender, receiver, method and session. Servers read
//!   and rewrite only this segment.
//! - The *second segment* (EXTRA) holds the arguments of a call and the form of the response, or an
//!   encrypted second segment. Servers forward it unread.
//!
//! A message too large for one frame is sent in *chunks*, each of which is an argument of another
//! message. Functions and streams are sent as references, which are *handles* in Rust.
//!
//! [`Args`] encodes a message, [`Message`] parses a frame, and [`IncomingArgs`] decodes the
//! arguments straight into Rust types:
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
//! Modules are private, except for [`keys`]; their public items are at the root of the crate.
//!
//! | module | content |
//! | --- | --- |
//! | `message` | [`Message`]: parses the first segment; [`Stamp`]: entries that a server writes |
//! | `extra` | [`Extra`], [`IncomingArgs`]: parses the second segment |
//! | `args` | [`Args`]: encodes a message; [`Head`], [`ReplyMode`] |
//! | `rope` | [`Rope`]: a message in several buffers |
//! | `chunks` | [`ChunkStore`]: joins the chunks of large messages |
//! | `encode`, `pack` | [`encode()`], [`to_vec`]: serde to msgpack |
//! | `decode` | [`from_slice`], [`skip`]: msgpack to serde, for untrusted input |
//! | `value`, `value_serde` | [`Value`], [`Map`]: values of any type |
//! | `local` | [`Packed`]: encoded values that are not part of a message |
//! | `handle` | [`Handle`]: functions and streams as values |
//! | `scope` | [`Origin`]: frame and connection of the value that is being decoded |
//! | `method` | [`MethodRef`], [`PromiseKind`]: the map of a function on the wire |
//! | `array`, `array_serde`, `array_ndarray` | [`NdArray`], [`TypedArray`], [`MemoryView`] |
//! | `dtype`, `element` | [`DType`], [`Element`]: element types of arrays |
//! | `binary`, `collections`, `timestamp` | [`Binary`], [`Set`], [`OrderedMap`], [`Timestamp`] |
//! | `codec` | [`trait@Codec`], [`codec!`]: types with a name on the wire |
//! | `address` | [`ServiceId`], [`ServiceUrl`]: addresses, ids and URLs |
//! | `case` | [`Case`]: keys in camelCase and snake_case |
//! | [`keys`] | names fixed by the protocol |
//! | `error`, `decode_error` | [`WireError`], [`DecodeError`] |
//!
//! The protocol is specified in `docs/protocol/` of the repository.

mod address;
mod args;
mod array;
#[cfg(feature = "ndarray")]
mod array_ndarray;
mod array_serde;
mod binary;
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
pub use binary::Binary;
pub use case::{Case, convert_keys, convert_map_keys, to_camel_case, to_snake_case};
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
pub use handle::{ConnectionRef, Handle, HandleKind, RemoteHandle, give_key};
pub use local::Packed;
pub use message::{Message, Stamp, Stamped};
pub use method::{MethodRef, PromiseKind};
pub use rope::Rope;
pub use scope::Origin;
pub use timestamp::{Timestamp, TimestampError};
pub use value::{Map, Value};

/// Largest number of lists and maps inside each other in one value, encoded or decoded.
pub const MAX_DEPTH: usize = 128;

/// Paths for the code generated by [`codec!`]. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::codec;
    pub use {schemars, serde};
}
