//! From the model to code: one file for each public item, and one for the schema.

use proc_macro2::TokenStream;
use syn::{ItemImpl, ItemTrait};

use crate::model::Service;
use crate::{attrs, path};

mod contract;
mod inherent;
mod proxy;
mod schema;
mod service;
mod values;

/// Trait, service and proxy.
pub(crate) fn service_items(
    service: &Service,
    contract: &ItemTrait,
    with_methods: bool,
) -> TokenStream {
    let mut tokens = contract::emit(contract);
    tokens.extend(runtime(service));
    tokens.extend(service::emit(service, with_methods));
    tokens.extend(proxy::emit(service));
    tokens
}

/// A block that cannot be a service.
pub(crate) fn only_the_block(block: &ItemImpl) -> TokenStream {
    inherent::stripped(block)
}

/// The block, its registration, and the proxy.
pub(crate) fn inherent_items(
    service: &Service,
    block: &ItemImpl,
    with_methods: bool,
) -> TokenStream {
    let mut tokens = inherent::emit(service, block, with_methods);
    tokens.extend(runtime(service));
    tokens.extend(proxy::emit(service));
    tokens
}

fn runtime(service: &Service) -> TokenStream {
    let cfgs: Vec<_> = attrs::cfgs(&service.carried).collect();
    path::import(&service.runtime, &service.private, &cfgs)
}
