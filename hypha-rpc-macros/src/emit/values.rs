//! Generates the parts that depend on the types of arguments and results: the codec of each
//! argument, and the types of each result.
//!
//! A macro sees only the names of types. If the generated code depends on the type itself, the
//! generated code contains an expression that rustc resolves. For example, rustc prefers an
//! inherent method to a trait method of the same name.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, parse_quote_spanned};

use crate::diag::{located, shown};
use crate::model::{Arg, Output, OutputKind};
use crate::types;

/// Returns the name of the generated function that returns the default of an argument.
pub(super) fn default_name(arg: &Arg) -> Ident {
    format_ident!("__default_{}", arg.ident, span = located(arg.ident.span()))
}

/// Returns the expression that encodes, decodes and describes an argument.
///
/// All generated code for an argument uses this expression. So if a type cannot be an argument,
/// rustc reports the error only once, because rustc merges equal reports.
pub(super) fn codec(private: &Ident, arg: &Arg) -> TokenStream {
    let ty = &arg.ty;
    let span = located(ty.span());
    let private = &shown(private, span);
    if types::is_byte_slice(ty) {
        quote_spanned!(span=> #private::byte_argument())
    } else if types::is_optional_byte_slice(ty) {
        quote_spanned!(span=> #private::optional_byte_argument())
    } else if types::may_be_shared_bytes(ty) {
        // rustc determines whether the type is `bytes::Bytes`. This expression is not used for
        // other types: if such a type were wrong, rustc would underline only the beginning of the
        // type.
        quote_spanned!(span=> #private::ArgumentOf::<#ty>::codec())
    } else if let Some(described) =
        types::with_binary(ty, &parse_quote_spanned!(span=> #private::Binary))
    {
        // `bytes::Bytes` has no schema. If `ty` has a schema, rustc selects that schema. Otherwise,
        // rustc selects the schema of `described`.
        quote_spanned!(span=> (&&#private::DescribedAs::<#ty, #described>::new()).codec())
    } else {
        quote_spanned!(span=> #private::argument::<#ty>())
    }
}

/// Returns the output with every `impl Stream` replaced by `RemoteStream<..>`. A named type is
/// allowed in more positions than `impl`.
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
        // Assume that an alias of `Result` has the same error type for every value type. If the
        // type is not a `Result`, rustc reports the error at the `return` of the method. In that
        // case, any error type is correct here.
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

/// Returns the types `T` and `E` of the `Call<T, E>` that a method of the proxy returns.
pub(super) fn call_types(private: &Ident, output: &Output) -> (TokenStream, TokenStream) {
    output_types(private, &received(&named(private, output)))
}

/// Returns the types that the documentation shows in place of the types of [`call_types`]. Returns
/// `None` if the documentation shows the types of [`call_types`]. A type that may be an alias of
/// `Result` counts as a plain type here, unless its name ends with `Result`. Otherwise rustdoc
/// would print the expression through which rustc determines whether the type is a `Result`.
pub(super) fn documented_types(
    private: &Ident,
    output: &Output,
) -> Option<(TokenStream, TokenStream)> {
    let (plain, changed) = written(output);
    changed.then(|| call_types(private, &plain))
}

/// Replaces unknown kinds by plain kinds, and returns whether the output contained an unknown kind.
/// A type keeps its unknown kind if its name ends with `Result`.
fn written(output: &Output) -> (Output, bool) {
    let stream = output.stream.as_deref().map(written);
    let is_unknown = matches!(output.kind, OutputKind::Unknown)
        && output.stream.is_none()
        && !types::is_called_result(&output.whole);
    let kind = match is_unknown {
        true => OutputKind::Plain,
        false => output.kind.clone(),
    };
    let in_items = stream.as_ref().is_some_and(|(_, changed)| *changed);
    let plain = Output {
        whole: output.whole.clone(),
        kind,
        stream: stream.map(|(items, _)| Box::new(items)),
    };
    (plain, is_unknown || in_items)
}

/// Returns the output type for the caller. The lifetime of a borrowed type, such as `Cow<'_, str>`,
/// becomes `'static`.
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
            if let Some(ok) = types::alias_of_result(whole) {
                let error = quote_spanned!(span=> <#whole as #private::Output<true>>::Error);
                return (ok.to_token_stream(), error);
            }
            let fallible = fallible(private, output);
            let output = quote_spanned!(span=> <#whole as #private::Output<#fallible>>);
            (
                quote_spanned!(span=> #output::Ok),
                quote_spanned!(span=> #output::Error),
            )
        }
    }
}

/// Returns a constant expression that is true if the output is a `Result`.
///
/// If the tokens do not show whether the output is a `Result`, rustc determines the value of the
/// constant. The type `Probe<Result<..>>` has an inherent constant, which takes precedence over the
/// constant of the trait `NotAResult`. This also works for an alias of `Result`.
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
