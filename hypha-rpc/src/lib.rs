// The code blocks in the README come from `examples/quickstart.rs`. A test compares the README with
// the example.
#![cfg_attr(not(doctest), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
#[cfg(feature = "blocking")]
#[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
pub mod blocking;
pub mod call;
pub mod client;
#[cfg(feature = "encryption")]
#[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
pub mod crypto;
mod engine;
pub mod error;
// The guide is only compiled by rustdoc. The examples in the guide use the contracts of the tests,
// and the tests run these examples.
#[cfg(all(doc, not(doctest)))]
pub mod guide;
pub mod runtime;
pub mod schema;
pub mod service;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod transport;
#[cfg(feature = "web")]
#[cfg_attr(docsrs, doc(cfg(feature = "web")))]
pub mod web;
pub mod workspace;

pub use call::{
    Call, Callback, Function, Object, Proxy, RemoteFile, RemoteService, RemoteStream, Retry,
};
pub use client::{Client, ConnectOptions, connect, login, logout};
pub use error::{Error, ServiceError};
#[doc = include_str!("error/remote_error.md")]
pub use hypha_rpc_macros::RemoteError;
#[doc = include_str!("service/hypha_service.md")]
pub use hypha_rpc_macros::hypha_service;
// Types of arguments and results, and types that appear in the signatures of this crate.
#[doc(inline)]
pub use hypha_wire::{
    Args, Array, ArrayError, Binary, ByteOrder, Case, Codec, DType, DecodeError, Element,
    EncodeError, Map, MemoryView, NdArray, OrderedMap, Set, Timestamp, TypedArray, Value,
    WireError, codec,
};
pub use service::{Context, Service};

/// Common imports for services and callers: `use hypha_rpc::prelude::*;`.
///
/// Includes [`Serialize`](serde::Serialize), [`Deserialize`](serde::Deserialize) and
/// [`JsonSchema`](schemars::JsonSchema). Types of arguments need the derive macros of these traits.
/// The generated code refers to the crates `serde` and `schemars`, so add both crates to the
/// dependencies of the program.
pub mod prelude {
    pub use crate::workspace::Visibility;
    pub use crate::{
        Binary, Call, Callback, Client, Context, Error, Function, NdArray, Object, Proxy,
        RemoteError, RemoteFile, RemoteService, RemoteStream, Service, Value, args, hypha_service,
        method,
    };
    pub use futures_util::Stream;
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}

/// Items that generated code uses. Programs must not use these items directly.
#[doc(hidden)]
pub mod __private {
    pub use crate::call::streaming::{item, stream};
    pub use crate::call::{Call, Proxy, RemoteService, RemoteStream, call};
    pub use crate::error::ServiceError;
    pub use crate::error::typed::{
        CauseOf, Caused, Described, DescribedCause, DescribedError, ErrorVariant, FieldOf,
        MadeOfMessage, NotCaused, NotDescribed, NotMadeOfMessage, SchemaOf, TypedError, error_data,
        error_from_wire, error_schema, error_text, error_to_wire, message_field,
    };
    pub use crate::schema::{FunctionSchema, MethodSchemas};
    pub use crate::service::closure::*;
    pub use crate::service::macro_support::*;
    pub use crate::service::{IncomingCall, IntoService, Method, Service};
    pub use crate::workspace::Visibility;
    pub use hypha_wire::{Args, Binary, WireError};
    pub use schemars;
    pub use serde;
    pub use std::convert::Infallible;
    pub use std::sync::Arc;
}
