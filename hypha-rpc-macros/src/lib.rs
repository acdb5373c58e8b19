//! Procedural macros of `hypha-rpc`, which re-exports and documents them.
//!
//! Four modules process a contract in turn: `source` reads the item, `lower` checks it and collects
//! all errors, `model` holds the result, and `emit` generates code from it. `inherent` converts an
//! `impl` block to a trait for `lower`. Everything below the two entry points is a pure function
//! from tokens to tokens, so the tests need no compiler.
//!
//! Two rules keep diagnostics short:
//!
//! * A wrong contract still expands to its trait and a proxy; otherwise every use of the trait or
//!   the proxy would cause another error.
//! * Generated code names each type of the user in few places, all with the span of that type,
//!   because rustc merges equal reports.

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
#[proc_macro_derive(RemoteError, attributes(remote_error))]
pub fn remote_error(item: TokenStream) -> TokenStream {
    let (tokens, errors) = error_derive::remote_error(item.into());
    errors.append_to(tokens).into()
}
