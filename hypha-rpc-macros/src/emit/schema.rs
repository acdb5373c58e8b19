//! Generates the schema of a method, as an expression that builds it when the service is
//! registered.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;

use super::values::{codec, default_name, output_types};
use crate::diag::located;
use crate::model::Method;

/// Returns an expression that evaluates to the schema of a method.
///
/// The three references before `ReturnOf` select the most specific of its traits: method lookup
/// removes one reference after another, so the macro need not know which traits a type implements.
/// A result without a schema is allowed; an argument without one is an error.
pub(crate) fn expression(private: &Ident, method: &Method) -> TokenStream {
    let span = located(method.ident.span());
    let (name, description) = (&method.wire_name, &method.description);
    let arguments = method.values().map(|(arg, value)| {
        let span = located(arg.ty.span());
        let codec = codec(private, arg);
        let (name, description) = (&value.wire_name, &value.description);
        match &value.default {
            None => quote_spanned!(span=> #codec.describe(__schema, #name, #description)),
            Some(_) => {
                let default = default_name(arg);
                quote_spanned! {span=>
                    #codec.describe_with_default(__schema, #name, #description, #default(&()))
                }
            }
        }
    });
    let (function, returned) = match &method.output.stream {
        None => (quote_spanned!(span=> result), &method.output),
        Some(item) => (quote_spanned!(span=> items), &**item),
    };
    let (returned, _) = output_types(private, returned);
    quote_spanned! {span=>
        {
            let __schema = #private::FunctionSchema::new(#name, #description);
            #(let __schema = #arguments;)*
            (&&&#private::ReturnOf::<#returned>::new()).#function(__schema).finish()
        }
    }
}
