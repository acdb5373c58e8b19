//! Generates code from the model: one file for each public item, `schema` for the schemas of
//! methods, and `values` for the parts that depend on the types of arguments and results.
//!
//! `parse` calls this module, which reports no errors: `lower` has found all errors, except those
//! that rustc finds in the generated code.

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

/// Generates the trait, its service type and its proxy. If `with_methods` is false, the service is
/// empty.
pub(crate) fn service_items(
    service: &Service,
    contract: &ItemTrait,
    with_methods: bool,
) -> TokenStream {
    let mut tokens = contract::emit(contract);
    tokens.extend(runtime(service));
    tokens.extend(service::emit(service, with_methods));
    tokens.extend(proxy::emit(service, with_methods));
    tokens
}

/// Returns a block that cannot be a service, without the attributes of the macro.
pub(crate) fn only_the_block(block: &ItemImpl) -> TokenStream {
    inherent::stripped(block)
}

/// Generates the block, its registration and its proxy. If `with_methods` is false, the service is
/// empty.
pub(crate) fn inherent_items(
    service: &Service,
    block: &ItemImpl,
    with_methods: bool,
) -> TokenStream {
    let mut tokens = inherent::emit(service, block, with_methods);
    tokens.extend(runtime(service));
    tokens.extend(proxy::emit(service, with_methods));
    tokens
}

/// Generates the import of the runtime module, on which all other generated code depends.
fn runtime(service: &Service) -> TokenStream {
    let cfgs: Vec<_> = attrs::cfgs(&service.carried).collect();
    path::import(&service.runtime, &service.private, &cfgs)
}
