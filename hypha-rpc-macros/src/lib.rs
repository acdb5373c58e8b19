//! Macros of `hypha-rpc`; their documentation is where that crate re-exports them.
//!
//! `source` → `lower` (errors collected) → `model` → `emit`. Everything below the entry points is a
//! pure function of tokens, so the tests need no compiler.

mod attrs;
mod diag;
mod doc_text;
mod emit;
mod error_derive;
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

/// Makes a trait a service contract: see `hypha_rpc::hypha_service`.
#[proc_macro_attribute]
pub fn hypha_service(attr: TokenStream, item: TokenStream) -> TokenStream {
    let (tokens, errors) = parse::hypha_service(attr.into(), item.into());
    errors.append_to(tokens).into()
}

/// Makes a type the error of service methods: see `hypha_rpc::RemoteError`.
#[proc_macro_derive(RemoteError, attributes(remote_error))]
pub fn remote_error(item: TokenStream) -> TokenStream {
    let (tokens, errors) = error_derive::remote_error(item.into());
    errors.append_to(tokens).into()
}
