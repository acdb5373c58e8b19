//! The trait, with the user's exact parameters, its `async fn`s written as functions that return a
//! future which can be sent between threads.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    FnArg, ItemTrait, Pat, ReturnType, TraitItem, TraitItemFn, TypeParamBound, parse_quote_spanned,
};

use crate::attrs;
use crate::diag::located;
use crate::doc_text::{self, MethodText};
use crate::{lower, source, types};

pub(crate) fn emit(item: &ItemTrait) -> TokenStream {
    let mut item = item.clone();
    let span = Span::mixed_site();
    let bounds: [TypeParamBound; 3] = [
        parse_quote_spanned!(span=> ::core::marker::Send),
        parse_quote_spanned!(span=> ::core::marker::Sync),
        parse_quote_spanned!(span=> 'static),
    ];
    // Its callers are in other programs.
    item.attrs
        .push(parse_quote_spanned!(span=> #[allow(dead_code)]));
    item.colon_token.get_or_insert_with(|| syn::Token![:](span));
    item.supertraits.extend(bounds);
    // Reported; rustc would try to expand them.
    item.items
        .retain(|item| !matches!(item, TraitItem::Macro(_)));
    for item in &mut item.items {
        if let TraitItem::Fn(function) = item {
            let body = method(function);
            let TraitItemFn { attrs, sig, .. } = function;
            *item = TraitItem::Verbatim(quote!(#(#attrs)* #sig #body));
        }
    }
    item.into_token_stream()
}

/// Rewrites the signature; returns the body, or what stands for it.
fn method(function: &mut TraitItemFn) -> TokenStream {
    let text = MethodText::parse(&doc_text::text(&function.attrs));
    let docs = lower::documentation(function, &text);
    function
        .attrs
        .retain(|attr| !attrs::is_doc(attr) && !attrs::is_ours(attr));
    function.attrs.splice(0..0, docs);
    for input in &mut function.sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        input
            .attrs
            .retain(|attr| !attrs::is_doc(attr) && !attrs::is_ours(attr));
        // rustc would report the pattern a second time.
        if lower::argument_ident(&input.pat).is_none() && function.default.is_none() {
            *input.pat = Pat::Verbatim(quote_spanned!(input.pat.span()=> _));
        }
    }
    // Reported, as what a trait has no room for.
    function.sig.constness = None;
    let end = function.semi_token.to_token_stream();
    let body = function.default.as_ref().map(source::body);
    if function.sig.asyncness.take().is_none() {
        return body.unwrap_or(end);
    }
    let (span, output) = match &function.sig.output {
        ReturnType::Default => (Span::mixed_site(), quote_spanned!(Span::mixed_site()=> ())),
        ReturnType::Type(_, ty) => {
            let (span, mut ty) = (located(ty.span()), (**ty).clone());
            let send = parse_quote_spanned!(span=> ::core::marker::Send);
            // Streams go from thread to thread as futures do.
            types::bound_impls(&mut ty, "Send", &send);
            (span, ty.into_token_stream())
        }
    };
    function.sig.output = parse_quote_spanned! {span=>
        -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
    };
    match body {
        Some(body) => quote_spanned!(located(body.span())=> { async move #body }),
        None => end,
    }
}
