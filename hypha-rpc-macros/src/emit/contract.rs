//! Generates the trait: the user's trait, except that each `async fn` becomes a function that
//! returns a `Send` future.
//!
//! The runtime spawns each call as a task, so futures must be `Send`; an `async fn` in a trait does
//! not guarantee this. Implementations may still be written as `async fn`.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    FnArg, ItemTrait, Pat, ReturnType, TraitItem, TraitItemFn, TypeParamBound, parse_quote_spanned,
};

use crate::diag::located;
use crate::doc_text::{self, MethodText};
use crate::{attrs, lower, source, types};

/// Generates the trait. The macro also calls this function for wrong contracts, so this function
/// must accept any trait.
pub(crate) fn emit(item: &ItemTrait) -> TokenStream {
    let mut item = item.clone();
    let span = Span::mixed_site();
    let bounds: [TypeParamBound; 3] = [
        parse_quote_spanned!(span=> ::core::marker::Send),
        parse_quote_spanned!(span=> ::core::marker::Sync),
        parse_quote_spanned!(span=> 'static),
    ];
    // The generated service calls the methods only through a type parameter. If the program has no
    // implementation of the trait, rustc would report its methods as unused.
    item.attrs
        .push(parse_quote_spanned!(span=> #[allow(dead_code)]));
    item.colon_token.get_or_insert_with(|| syn::Token![:](span));
    item.supertraits.extend(bounds);
    // `lower` has already reported macros; rustc would try to expand them and report more errors.
    item.items
        .retain(|item| !matches!(item, TraitItem::Macro(_)));
    for item in &mut item.items {
        if let TraitItem::Fn(function) = item {
            let body = method(function);
            let TraitItemFn { attrs, sig, .. } = function;
            *item = TraitItem::Verbatim(quote!(#(#attrs)* #sig #body));
        }
    }
    without_parameters(&item)
}

/// Returns the trait with `<>` after its name.
///
/// For an unknown type in a trait without `<>`, rustc suggests adding a type parameter. It suggests
/// nothing for the same type in the proxy. The two reports would differ, and rustc merges only
/// equal reports.
fn without_parameters(item: &ItemTrait) -> TokenStream {
    let mut tokens = TokenStream::new();
    for token in item.to_token_stream() {
        let is_name = matches!(&token, TokenTree::Ident(ident) if *ident == item.ident);
        tokens.extend([token]);
        if is_name && item.generics.params.is_empty() {
            tokens.extend(quote_spanned!(Span::mixed_site()=> <>));
        }
    }
    tokens
}

/// Rewrites the attributes and signature of a method. Returns its body, or its semicolon if it has
/// none.
fn method(function: &mut TraitItemFn) -> TokenStream {
    let text = MethodText::parse(&doc_text::text(&function.attrs));
    let docs = lower::documentation(function, &text);
    function
        .attrs
        .retain(|attr| !attrs::is_doc(attr) && !attrs::is_read(attr));
    // Doc comments come first, so that their order relative to each other is kept.
    function.attrs.splice(0..0, docs);
    for input in &mut function.sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        input
            .attrs
            .retain(|attr| !attrs::is_doc(attr) && !attrs::is_read(attr));
        // `lower` has already reported the pattern; rustc would report it a second time.
        if lower::argument_ident(&input.pat).is_none() && function.default.is_none() {
            *input.pat = Pat::Verbatim(quote_spanned!(input.pat.span()=> _));
        }
    }
    // `lower` has already reported `const`; rustc would report it a second time.
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
            // Streams must be `Send`, because the runtime polls them on any thread.
            types::bound_impls(&mut ty, "Send", &send);
            (span, ty.into_token_stream())
        }
    };
    function.sig.output = parse_quote_spanned! {span=>
        -> impl ::core::future::Future<Output = #output> + ::core::marker::Send
    };
    // The trait already has these bounds. Repeating them on the method makes rustc report a missing
    // bound once instead of once per future. `Sized` makes `dyn Contract` a valid type, so that the
    // user sees the message that `dyn` cannot be sent, instead of a message about dyn
    // compatibility.
    let clause = function.sig.generics.make_where_clause();
    clause.predicates.push(parse_quote_spanned! {span=>
        Self: ::core::marker::Sized + ::core::marker::Sync + 'static
    });
    match body {
        Some(body) => quote_spanned!(located(body.span())=> { async move #body }),
        None => end,
    }
}
