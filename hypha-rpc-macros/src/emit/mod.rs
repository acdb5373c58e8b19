//! Generates code from the model. Each public item has its own file. `schema` generates the schemas
//! of methods. `values` generates the parts that depend on the types of arguments and results.
//!
//! `parse` calls this module. The module reports no errors, because `lower` has already checked the
//! contract. Only rustc may find further errors in the generated code.

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

/// Generates the trait, the service type of the trait, and the proxy. If `with_methods` is false,
/// the service type has no methods.
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

/// Returns an `impl` block that cannot be a service. Removes the attributes of the macro from the
/// block.
pub(crate) fn only_the_block(block: &ItemImpl) -> TokenStream {
    inherent::stripped(block)
}

/// Generates the `impl` block, the code that registers the block as a service, and the proxy. If
/// `with_methods` is false, the service has no methods.
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

/// Generates the import of the runtime module. All other generated code depends on this import.
fn runtime(service: &Service) -> TokenStream {
    let cfgs: Vec<_> = attrs::cfgs(&service.carried).collect();
    path::import(&service.runtime, &service.private, &cfgs)
}
