//! Generates a statement that builds the schema of a method. The statement runs at the registration
//! of a service with this contract, or of a service with an object of this contract.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{Attribute, LitStr};

use super::service::default_fn;
use super::values::{codec, default_name, named, output_types};
use crate::attrs;
use crate::diag::{located, shown};
use crate::model::{Arg, Method, OutputKind, Value};

/// Generates the statement that adds the schema of one method to `__methods`.
///
/// The three references before `ReturnOf` select the most specific trait that applies: method
/// lookup removes one reference after another, so the macro need not know which traits a type
/// implements. A result without a schema is allowed; an argument without a schema is an error.
pub(crate) fn statement(private: &Ident, method: &Method) -> TokenStream {
    let span = located(method.ident.span());
    let private = &shown(private, span);
    let cfgs = attrs::cfgs(&method.carried);
    let (name, description) = (&method.wire_name, &method.description);
    let defaults = method
        .values()
        .filter_map(|(arg, value)| default_fn(arg, value));
    let arguments = method.values().map(|(arg, value)| {
        let span = located(arg.ty.span());
        let codec = codec(private, arg);
        let (name, description) = (&value.wire_name, &value.description);
        let refined = (!value.schema.is_empty()).then(|| {
            let schema = refined_schema(private, arg, value);
            quote_spanned!(span=> .refined(#name, #description, #schema))
        });
        match &value.default {
            None if value.required => quote_spanned! {span=>
                #codec.describe_required(__schema, #name, #description)#refined
            },
            None => quote_spanned!(span=> #codec.describe(__schema, #name, #description)#refined),
            Some(_) => {
                let default = default_name(arg);
                quote_spanned! {span=>
                    #codec
                        .describe_with_default(__schema, #name, #description, #default(&()))
                        #refined
                }
            }
        }
    });
    let (function, returned) = match &method.output.stream {
        None => (quote_spanned!(span=> result), &method.output),
        Some(item) => (quote_spanned!(span=> items), &**item),
    };
    let (result, _) = output_types(private, returned);
    let extended = (!method.schema.is_empty()).then(|| {
        let keywords = keywords_of_result(private, method);
        quote_spanned!(span=> let __schema = __schema.extended_result(#keywords);)
    });
    let errors = [
        method
            .output
            .stream
            .as_deref()
            .map(|item| (quote_spanned!(span=> stream_error), item.clone())),
        Some((quote_spanned!(span=> error), named(private, &method.output))),
    ];
    let errors = errors.into_iter().flatten();
    let errors = errors.filter(|(_, output)| !matches!(output.kind, OutputKind::Plain));
    let errors = errors.map(|(function, output)| {
        let (_, error) = output_types(private, &output);
        quote_spanned! {span=>
            let __schema = (&&#private::ErrorOf::<#error>::new()).#function(__schema);
        }
    });
    quote_spanned! {span=>
        #(#cfgs)*
        {
            #(#defaults)*
            __methods.method(#name, #description, |__schema| {
                #(let __schema = #arguments;)*
                let __schema = (&&&#private::ReturnOf::<#result>::new()).#function(__schema);
                #(#errors)*
                #extended
                __schema
            });
        }
    }
}

/// Returns a function that builds the schema of an argument with `#[schemars(..)]`.
fn refined_schema(private: &Ident, arg: &Arg, value: &Value) -> TokenStream {
    let span = located(arg.ty.span());
    let private = &shown(private, span);
    let ty = &arg.ty;
    let base = quote_spanned! {Span::mixed_site()=>
        #[allow(unused_imports)]
        use #private::{Described as _, NotDescribed as _};
        (&&#private::SchemaOf::<#ty>::new()).schema(__generator)
    };
    changed_schema(private, &base, &value.schema)
}

/// Returns a function that builds a schema with only the keywords in `#[schemars(..)]` before the
/// method.
fn keywords_of_result(private: &Ident, method: &Method) -> TokenStream {
    let empty = quote_spanned! {Span::mixed_site()=> {
        let _ = __generator;
        <#private::schemars::Schema as ::core::default::Default>::default()
    }};
    changed_schema(private, &empty, &method.schema)
}

/// Returns a function that builds the schema `base`, changed by the attributes. The expression
/// `base` uses the variable `__generator`.
///
/// schemars reads its attributes only from types, so the attributes go on the field of a type whose
/// schema is `base`.
fn changed_schema(private: &Ident, base: &TokenStream, attributes: &[Attribute]) -> TokenStream {
    let path = LitStr::new(&format!("{private}::schemars"), Span::mixed_site());
    quote_spanned! {Span::mixed_site()=>
        |__generator| {
            #[allow(unused_imports)]
            use ::core::convert::Into as _;
            fn __base(
                __generator: &mut #private::schemars::SchemaGenerator,
            ) -> #private::schemars::Schema {
                #base
            }
            #[derive(#private::schemars::JsonSchema)]
            #[schemars(crate = #path)]
            #[allow(dead_code, clippy::all, clippy::pedantic, clippy::nursery)]
            struct __Changed(
                #[schemars(schema_with = "__base")]
                #(#attributes)*
                (),
            );
            <__Changed as #private::schemars::JsonSchema>::json_schema(__generator)
        }
    }
}
