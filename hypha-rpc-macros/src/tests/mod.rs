//! Tests on tokens: what a contract expands to, and what is said of a wrong one.

use proc_macro2::TokenStream;

use crate::diag::Errors;

mod diagnostics;
mod error_derive;
mod expansion;

fn run(attr: &str, item: &str) -> (TokenStream, Errors) {
    let parse = |text: &str| text.parse().expect("test input is made of tokens");
    crate::parse::hypha_service(parse(attr), parse(item))
}
