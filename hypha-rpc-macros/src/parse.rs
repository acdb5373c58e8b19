//! Expands `#[hypha_service]`: reads the item, builds its model and generates code.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Item;

use crate::diag::Errors;
use crate::source::Source;
use crate::{emit, inherent, lower, source};

/// Returns the expansion of `#[hypha_service(attr)] item`, and its errors. The expansion always
/// contains the user's item; otherwise, after an error, every use of the item would cause another
/// error.
pub(crate) fn hypha_service(attr: TokenStream, item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let Some(source) = source::read(item.clone(), &mut errors) else {
        return (item, errors);
    };
    let tokens = match source {
        Source::Trait(contract) => {
            let service = lower::service(attr, &contract, &mut errors);
            // For the methods of a wrong contract, rustc would report errors that repeat the errors
            // of the macro.
            emit::service_items(&service, &contract, errors.is_empty())
        }
        Source::Block(block) => match inherent::service(attr, &block, &mut errors) {
            Some(service) => emit::inherent_items(&service, &block, errors.is_empty()),
            None => emit::only_the_block(&block),
        },
        Source::Other(other) => {
            errors.push(
                head(&other),
                "`#[hypha_service]` goes on a trait or an `impl` block",
            );
            item
        }
    };
    (tokens, errors)
}

/// Returns the tokens of an item that errors underline: its name if it has one.
fn head(item: &Item) -> TokenStream {
    match item {
        Item::Struct(item) => item.ident.to_token_stream(),
        Item::Enum(item) => item.ident.to_token_stream(),
        Item::Fn(item) => item.sig.ident.to_token_stream(),
        Item::Mod(item) => item.ident.to_token_stream(),
        Item::Type(item) => item.ident.to_token_stream(),
        other => other.to_token_stream(),
    }
}
