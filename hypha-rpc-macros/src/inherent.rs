//! Converts an `impl` block to a trait with the same methods. `lower` then checks the trait, so
//! that `lower` need not support `impl` blocks.
//!
//! All methods that are not private become methods of the service. Everything else in the block,
//! such as constants and private helpers, stays unchanged.

use proc_macro2::TokenStream;
use syn::{
    FnModifiers, ImplItem, ImplItemFn, ItemImpl, ItemTrait, TraitItem, TraitItemFn, Visibility,
    parse_quote,
};

use crate::diag::Errors;
use crate::model::Service;
use crate::{lower, types};

/// Returns the model of an `impl` block, with all methods that are not private. Returns `None` if
/// the block cannot be a service.
pub(crate) fn service(attr: TokenStream, block: &ItemImpl, errors: &mut Errors) -> Option<Service> {
    if let Some((path, _)) = &block.trait_ {
        errors.push(
            path,
            "put `#[hypha_service]` on the trait itself; its `impl` blocks need no attribute",
        );
        return None;
    }
    let Some(ident) = types::plain_name(&block.self_ty) else {
        errors.push(
            &block.self_ty,
            "the type of a service must be a plain name of this crate, without path or type \
             arguments",
        );
        return None;
    };
    if !block.generics.params.is_empty() {
        errors.push(
            &block.generics.params,
            "a service has fixed types, because its schema and callers in other languages know no \
             type parameters; use an enum or `Value`",
        );
        return None;
    }
    let served = block.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) if is_served(function) => Some(function),
        _ => None,
    });
    let (served, unreachable): (Vec<_>, Vec<_>) =
        served.partition(|function| function.sig.receiver().is_some());
    for function in &unreachable {
        errors.push(
            &function.sig.ident,
            "callers cannot reach a function without `&self`; move it to another `impl` block",
        );
    }
    let read_all = !block
        .items
        .iter()
        .any(|item| matches!(item, ImplItem::Verbatim(_)));
    // Report nothing if `syn` could not parse a member of the block, because that member may be a
    // public method.
    if served.is_empty() && unreachable.is_empty() && read_all {
        errors.push(
            &block.self_ty,
            "the service has no methods: make those that callers may use `pub`",
        );
    }
    // An `impl` block has no visibility. The proxy gets the visibility of a `pub` method. If no
    // method is `pub`, the proxy gets the visibility of the first method.
    let public = served
        .iter()
        .find(|function| matches!(function.vis, Visibility::Public(_)));
    let vis = public.or(served.first()).map(|function| &function.vis);
    // The trait with these methods is checked in place of the block.
    let mut contract: ItemTrait = parse_quote!(#vis trait #ident {});
    contract.attrs = block.attrs.clone();
    let methods = served.into_iter().map(|function| TraitItemFn {
        attrs: function.attrs.clone(),
        modifiers: FnModifiers::default(),
        sig: function.sig.clone(),
        default: None,
        semi_token: None,
    });
    contract.items = methods.map(TraitItem::Fn).collect();
    Some(Service {
        inherent: Some((*block.self_ty).clone()),
        ..lower::service(attr, &contract, errors)
    })
}

/// Returns whether a method of a block is part of the service.
pub(crate) fn is_served(function: &ImplItemFn) -> bool {
    !matches!(function.vis, Visibility::Inherited)
}
