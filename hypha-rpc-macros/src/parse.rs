//! From the attribute and its item to the items that replace it.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Item;

use crate::diag::Errors;
use crate::{emit, lower};

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
            errors.push(
                &block.self_ty,
                "services as `impl` blocks are not supported yet; declare a trait, put \
                 `#[hypha_service]` on it, and implement it",
            );
            (item, errors)
        }
        other => {
            errors.push(head(&other), "`#[hypha_service]` goes on a trait");
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
