//! From the model to code: one file for each public item, and one for the schema.

use proc_macro2::TokenStream;
use syn::ItemTrait;

use crate::model::Service;

mod contract;
mod proxy;
mod schema;
mod service;

/// Trait, service and proxy.
pub(crate) fn service_items(
    service: &Service,
    contract: &ItemTrait,
    with_methods: bool,
) -> TokenStream {
    let mut tokens = contract::emit(contract);
    tokens.extend(service::emit(service, with_methods));
    tokens.extend(proxy::emit(service));
    tokens
}
