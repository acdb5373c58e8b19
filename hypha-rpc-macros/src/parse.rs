//! Expands `#[hypha_service]`: reads the item, builds its model and generates code.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Item;

use crate::diag::Errors;
use crate::source::Source;
use crate::{emit, inherent, lower, source};

/// Returns the expansion of `#[hypha_service(attr)] item`, and the errors of the contract. The
/// expansion contains the item of the user even after an error. Without the item, rustc would
/// report an error for every use of the item.
pub(crate) fn hypha_service(attr: TokenStream, item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let Some(source) = source::read(item.clone(), &mut errors) else {
        return (item, errors);
    };
    let tokens = match source {
        Source::Trait(contract) => {
            let service = lower::service(attr, &contract, &mut errors);
            // Generate no methods for an invalid contract, because rustc would report the same
            // errors as the macro.
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

/// Returns the tokens of an item that an error message underlines. The tokens are the name of the
/// item, if it has one.
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
