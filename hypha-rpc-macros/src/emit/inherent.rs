//! Generates the code for an `impl` block: the block itself, and `IntoService` for its type.
//!
//! The methods stay as they are, because there is no trait whose signatures must match; the
//! generated closure checks that their futures are `Send`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{FnArg, ImplItem, ImplItemFn, ItemImpl, parse_quote_spanned};

use super::service;
use crate::diag::located;
use crate::model::Service;
use crate::{attrs, inherent, source};

/// Generates the block and its registration. If `with_methods` is false, the service has no
/// methods, because the methods of a wrong block would only cause more errors.
pub(crate) fn emit(service: &Service, block: &ItemImpl, with_methods: bool) -> TokenStream {
    let mut tokens = stripped(block);
    tokens.extend(registration(service, block, with_methods));
    tokens
}

/// Returns the user's block without the attributes that the macro reads, and without doc comments
/// on parameters, which rustc rejects.
pub(super) fn stripped(block: &ItemImpl) -> TokenStream {
    let mut block = block.clone();
    // With the user's own span, rustc would suggest adding type parameters after `impl`: see
    // `contract`.
    block.impl_token.span = located(block.impl_token.span);
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else {
            continue;
        };
        if inherent::is_served(function) {
            function.attrs.retain(|attr| !attrs::is_read(attr));
            // These lints would blame the user for rules of the macro: a served method must be
            // `pub`, must be `async` even if it awaits nothing, and has its callers in other
            // programs.
            let span = located(function.sig.ident.span());
            let allow = parse_quote_spanned! {span=>
                #[allow(unreachable_pub, clippy::unused_async, clippy::must_use_candidate)]
            };
            function.attrs.push(allow);
            for input in &mut function.sig.inputs {
                let FnArg::Typed(input) = input else { continue };
                input
                    .attrs
                    .retain(|attr| !attrs::is_doc(attr) && !attrs::is_read(attr));
            }
        }
        let ImplItemFn {
            attrs, vis, sig, ..
        } = function;
        let (defaultness, body) = (
            &function.modifiers.defaultness,
            source::body(&function.block),
        );
        *item = ImplItem::Verbatim(quote!(#(#attrs)* #vis #defaultness #sig #body));
    }
    block.into_token_stream()
}

/// Generates `IntoService` for the type of the block.
fn registration(service: &Service, block: &ItemImpl, with_methods: bool) -> TokenStream {
    let Service {
        proxy,
        carried,
        private,
        id,
        ..
    } = service;
    let ty = &block.self_ty;
    let cfgs: Vec<_> = attrs::cfgs(carried).collect();
    let details = service::details(service);
    let methods = service.methods.iter().filter(|_| with_methods);
    let methods = methods.map(|method| service::one_method(service, method));
    let schemas = with_methods.then(|| service::schemas(service));
    // Use the location of the type, so that rustc underlines the type if it is not `Send` and
    // `Sync`.
    let shared = quote_spanned!(located(ty.span())=> #private::shared::<#ty>(self));
    quote_spanned! {Span::mixed_site()=>
        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]
        impl #private::IntoService for #ty {
            type Proxy = #proxy;

            fn into_service(self) -> #private::Service {
                #[allow(unused_variables)]
                let __inner = #shared;
                let __service = #private::Service::new(#id) #details;
                #schemas
                #(#methods)*
                __service
            }
        }
    }
}
