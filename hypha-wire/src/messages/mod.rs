//! Types for messages: the routing in the first segment, the arguments in the second segment, and
//! chunks.
//!
//! `hypha-rpc` and `hypha-server` build a message with `args` and parse a frame with `message`.
//! Then `extra` reads the arguments. A parsed message is a view of its frame: it shares the frame's
//! memory, and decodes a value only when a caller asks for the value. So drivers and routers never
//! decode arguments.
//!
//! Invariant: nothing in the second segment replaces an entry of the first segment, because the
//! server verifies only the first segment.

pub(crate) mod args;
pub(crate) mod chunks;
pub(crate) mod extra;
pub(crate) mod message;
pub(crate) mod rope;
