//! From the attribute and its item to the items that replace it.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Item;

use crate::diag::Errors;
use crate::{emit, inherent, lower};

/// `#[hypha_service(attr)] item`.
pub(crate) fn hypha_service(attr: TokenStream, item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let parsed = match syn::parse2::<Item>(item.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.absorb(error);
            return (item, errors);
        }
    };
    match parsed {
        Item::Trait(contract) => {
            let service = lower::service(attr, &contract, &mut errors);
            // A dispatcher for a wrong contract would only repeat its mistakes in rustc's words.
            let with_methods = errors.is_empty();
            (
                emit::service_items(&service, &contract, with_methods),
                errors,
            )
        }
        Item::Impl(block) => {
            let Some(service) = inherent::service(attr, &block, &mut errors) else {
                return (item, errors);
            };
            let with_methods = errors.is_empty();
            (emit::inherent_items(&service, &block, with_methods), errors)
        }
        other => {
            errors.push(
                head(&other),
                "`#[hypha_service]` goes on a trait or an `impl` block",
            );
            (item, errors)
        }
    }
}

/// What to underline of an item: its name where it has one.
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
