//! The trait, with the user's exact parameters, its `async fn`s written as functions that return a
//! future which can be sent between threads.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Block, FnArg, ItemTrait, Pat, ReturnType, TraitItem, TraitItemFn, TypeParamBound,
    parse_quote_spanned,
};

use crate::attrs;
use crate::diag::located;
use crate::doc_text::{self, MethodText};
use crate::{lower, types};

pub(crate) fn emit(item: &ItemTrait) -> TokenStream {
    let mut item = item.clone();
    let span = Span::mixed_site();
    let bounds: [TypeParamBound; 3] = [
        parse_quote_spanned!(span=> ::core::marker::Send),
        parse_quote_spanned!(span=> ::core::marker::Sync),
        parse_quote_spanned!(span=> 'static),
    ];
    item.colon_token.get_or_insert_with(|| syn::Token![:](span));
    item.supertraits.extend(bounds);
    for item in &mut item.items {
        if let TraitItem::Fn(function) = item {
            method(function);
        }
    }
    item.into_token_stream()
}

fn method(function: &mut TraitItemFn) {
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
    if function.sig.asyncness.take().is_none() {
        return;
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
    if let Some(body) = &mut function.default {
        let inner = &*body;
        let wrapped: Block = parse_quote_spanned!(located(body.span())=> { async move #inner });
        *body = wrapped;
    }
}
