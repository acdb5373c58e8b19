//! Messages: the routing in the first segment, the arguments in the second, and chunks.

pub(crate) mod args;
pub(crate) mod chunks;
pub(crate) mod extra;
pub(crate) mod message;
pub(crate) mod rope;
