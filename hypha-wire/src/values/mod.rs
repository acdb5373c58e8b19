//! Values, and the serde types that encode and decode them.

pub(crate) mod array;
mod array_lists;
#[cfg(feature = "ndarray")]
pub(crate) mod array_ndarray;
pub(crate) mod array_serde;
pub(crate) mod binary;
#[doc(hidden)]
pub mod codec;
pub(crate) mod collections;
pub(crate) mod decode;
pub(crate) mod decode_error;
pub(crate) mod dtype;
pub(crate) mod element;
pub(crate) mod encode;
pub(crate) mod error;
pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod method;
pub(crate) mod raw;
pub(crate) mod scope;
pub(crate) mod splice;
pub(crate) mod timestamp;
pub(crate) mod value;
pub(crate) mod value_serde;
