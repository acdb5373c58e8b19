//! Procedural macros of `hypha-rpc`. The crate `hypha-rpc` re-exports and documents the macros.
//!
//! Four modules process a contract in turn: `source` reads the item, `lower` checks the item and
//! collects all errors, `model` holds the result, and `emit` generates code from the model.
//! `inherent` converts an `impl` block to a trait for `lower`. All code below the two entry points
//! consists of pure functions from tokens to tokens, so the tests need no compiler.
//!
//! Two rules keep the error messages short:
//!
//! * For an invalid contract, the macro still generates the trait and a proxy. Otherwise, rustc
//!   would report an error for every use of the trait or the proxy.
//! * Generated code names each type of the user in few places, always with the span of that type.
//!   rustc then merges equal error messages.

mod attrs;
mod diag;
mod doc_text;
mod emit;
mod error_derive;
mod error_schema;
mod inherent;
mod lower;
mod model;
mod names;
mod parse;
mod path;
mod results;
mod source;
#[cfg(test)]
mod tests;
mod types;

use proc_macro::TokenStream;

/// Makes a trait or an `impl` block a service contract: see `hypha_rpc::hypha_service`.
#[proc_macro_attribute]
pub fn hypha_service(attr: TokenStream, item: TokenStream) -> TokenStream {
    let (tokens, errors) = parse::hypha_service(attr.into(), item.into());
    errors.append_to(tokens).into()
}

/// Implements the error traits of service methods for a type: see `hypha_rpc::RemoteError`.
#[proc_macro_derive(RemoteError, attributes(remote_error, schemars))]
pub fn remote_error(item: TokenStream) -> TokenStream {
    let (tokens, errors) = error_derive::remote_error(item.into());
    errors.append_to(tokens).into()
}
