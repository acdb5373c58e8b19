//! Arguments and results in generated code: the call through which everything is done with an
//! argument, and the types of a result.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, parse_quote_spanned};

use crate::diag::{located, shown};
use crate::model::{Arg, Output, OutputKind};
use crate::types;

pub(super) fn default_name(arg: &Arg) -> Ident {
    format_ident!("__default_{}", arg.ident, span = located(arg.ident.span()))
}

/// Everything generated code does with an argument's type goes through this one call, so a type
/// that cannot be an argument is reported once: rustc drops repeated reports.
pub(super) fn codec(private: &Ident, arg: &Arg) -> TokenStream {
    let ty = &arg.ty;
    let span = located(ty.span());
    let private = &shown(private, span);
    if types::is_byte_slice(ty) {
        quote_spanned!(span=> #private::byte_argument())
    } else if types::is_optional_byte_slice(ty) {
        quote_spanned!(span=> #private::optional_byte_argument())
    } else if types::may_be_shared_bytes(ty) {
        // rustc finds out whether it is `bytes::Bytes`. For other types this would make its reports
        // worse: it underlines the beginning of the type only.
        quote_spanned!(span=> #private::ArgumentOf::<#ty>::codec())
    } else {
        quote_spanned!(span=> #private::argument::<#ty>())
    }
}

/// The output with a type that has a name for its stream.
pub(super) fn named(private: &Ident, output: &Output) -> Output {
    let Some(item) = &output.stream else {
        return output.clone();
    };
    let span = located(item.whole.span());
    let private = &shown(private, span);
    let (ok, error) = output_types(private, item);
    let stream = parse_quote_spanned!(span=> #private::RemoteStream<#ok, #error>);
    let whole = types::with_named(&output.whole, &stream);
    let kind = match &output.kind {
        OutputKind::Plain => OutputKind::Plain,
        OutputKind::Fallible(parts) => OutputKind::Fallible(Box::new((stream, parts.1.clone()))),
        // An alias of `Result`: it has the same error whatever it holds. A type that is no
        // `Result` is reported where it is returned, so any error will do here.
        OutputKind::Unknown => {
            let unit = Output {
                whole: types::with_named(&output.whole, &parse_quote_spanned!(span=> ())),
                kind: OutputKind::Unknown,
                stream: None,
            };
            let (_, error) = output_types(private, &unit);
            let error = parse_quote_spanned!(span=> #error);
            OutputKind::Fallible(Box::new((stream, error)))
        }
    };
    Output {
        kind,
        whole,
        stream: None,
    }
}

/// `T` and `E` of the `Call<T, E>` that the caller gets.
pub(super) fn call_types(private: &Ident, output: &Output) -> (TokenStream, TokenStream) {
    output_types(private, &received(&named(private, output)))
}

/// Returns the output type as the caller receives it: a borrow from the service, such as
/// `Cow<'_, str>`, becomes `'static`.
fn received(output: &Output) -> Output {
    let kind = match &output.kind {
        OutputKind::Fallible(parts) => OutputKind::Fallible(Box::new((
            types::with_static(&parts.0),
            types::with_static(&parts.1),
        ))),
        other => other.clone(),
    };
    Output {
        whole: types::with_static(&output.whole),
        kind,
        stream: None,
    }
}

/// Returns the types of success and of failure.
pub(super) fn output_types(private: &Ident, output: &Output) -> (TokenStream, TokenStream) {
    let whole = &output.whole;
    let span = located(whole.span());
    let private = &shown(private, span);
    match &output.kind {
        OutputKind::Plain => (
            whole.to_token_stream(),
            quote_spanned!(span=> #private::Infallible),
        ),
        OutputKind::Fallible(parts) => (parts.0.to_token_stream(), parts.1.to_token_stream()),
        OutputKind::Unknown => {
            let fallible = fallible(private, output);
            let output = quote_spanned!(span=> <#whole as #private::Output<#fallible>>);
            (
                quote_spanned!(span=> #output::Ok),
                quote_spanned!(span=> #output::Error),
            )
        }
    }
}

/// Whether the output is a `Result`, as an expression. Where the tokens do not tell, rustc does:
/// the associated constant of `Probe<Result<..>>` hides that of the trait, also behind an alias.
pub(super) fn fallible(private: &Ident, output: &Output) -> TokenStream {
    let whole = &output.whole;
    let span = located(whole.span());
    let private = &shown(private, span);
    match output.kind {
        OutputKind::Plain => quote_spanned!(span=> false),
        OutputKind::Fallible(_) => quote_spanned!(span=> true),
        OutputKind::Unknown => quote_spanned! {span=>
            {
                #[allow(unused_imports)]
                use #private::NotAResult as _;
                #private::Probe::<#whole>::FALLIBLE
            }
        },
    }
}
