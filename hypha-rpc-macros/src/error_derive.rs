//! Expands `#[derive(RemoteError)]`. The generated code contains a table of the variants.
//!
//! The runtime uses the table to encode and decode errors. This keeps the generated code small,
//! which matters because a program may have many error types. A Rust peer sends the name of the
//! variant and the encoded fields. A peer in another language sends only an exception. The class of
//! the exception selects the variant, and the message of the exception becomes the field.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, ExprLit, Fields, Lit, LitStr, Member};

use crate::attrs::{self, Options};
use crate::diag::{Errors, located};
use crate::error_schema::{self, Facts};
use crate::path;

const ATTRIBUTE: &str = "remote_error";
const ENUM_KEYS: [&str; 3] = ["name", "described", "crate"];
const VARIANT_KEYS: [&str; 3] = ["name", "class", "other"];
const STRUCT_KEYS: [&str; 5] = ["name", "class", "other", "described", "crate"];

/// A variant of an enum, or a whole struct.
struct Variant {
    /// `Self::Name` or `Self`.
    path: TokenStream,
    /// Identifier of the variant as the user wrote it. Used in messages.
    ident: Ident,
    /// Name of the error on the wire.
    name: String,
    /// Classes of exceptions in other languages. An exception of one of these classes is decoded as
    /// this variant.
    classes: Vec<LitStr>,
    /// The key `other`, if present. The runtime then decodes an error as this variant if the error
    /// matches no other variant.
    other: Option<Ident>,
    /// Expression that creates this variant from a message. Present if the variant has a class or
    /// the key `other`.
    make: Option<TokenStream>,
}

/// Expands the derive macro for one type.
pub(crate) fn remote_error(item: TokenStream) -> (TokenStream, Errors) {
    let mut errors = Errors::default();
    let input = match syn::parse2::<DeriveInput>(item) {
        Ok(input) => input,
        Err(error) => {
            errors.absorb(error);
            return (TokenStream::new(), errors);
        }
    };
    no_generics(&input, &mut errors);
    let keys: &[&str] = match input.data {
        Data::Struct(_) => &STRUCT_KEYS,
        _ => &ENUM_KEYS,
    };
    let mut options = Options::from_named(ATTRIBUTE, &input.attrs, keys, &mut errors);
    let runtime = path::private(options.path("crate", &mut errors));
    let described = options.flag("described", &mut errors).unwrap_or(true);
    let alias = Ident::new("__runtime", Span::mixed_site());
    let private = alias.to_token_stream();
    let variants = variants(&input, options, &private, &mut errors);
    unambiguous(&variants, &mut errors);
    let tokens = if errors.is_empty() {
        emit(&input, &variants, described, &private)
    } else {
        placeholder(&input, &private)
    };
    let import = path::import(&runtime, &alias, &[]);
    // The import is inside `const _`, so it cannot clash with names in the module of the user.
    let tokens = quote_spanned!(Span::mixed_site()=> const _: () = { #import #tokens };);
    (tokens, errors)
}

/// Reports an error if the type has type parameters, lifetimes or `where` clauses.
fn no_generics(input: &DeriveInput, errors: &mut Errors) {
    if !input.generics.params.is_empty() {
        errors.push(
            &input.generics.params,
            "the error of a contract is one owned type; remove type parameters and lifetimes",
        );
    }
    if let Some(clause) = &input.generics.where_clause {
        errors.push(clause, "the error of a contract has no `where` clause");
    }
}

/// Reads all variants of an enum. A struct counts as one variant.
fn variants(
    input: &DeriveInput,
    mut options: Options,
    private: &TokenStream,
    errors: &mut Errors,
) -> Vec<Variant> {
    let type_name = match wire_name(&mut options, errors) {
        Some(name) => name,
        None => input.ident.unraw().to_string(),
    };
    match &input.data {
        Data::Struct(data) => {
            let span = located(input.ident.span());
            let path = quote_spanned!(span=> Self);
            vec![variant(
                path,
                &input.ident,
                &data.fields,
                options,
                type_name,
                private,
                errors,
            )]
        }
        Data::Enum(data) => {
            if data.variants.is_empty() {
                errors.push(
                    &input.ident,
                    "an error without variants never happens; use `std::convert::Infallible`",
                );
            }
            let one = |item: &syn::Variant, errors: &mut Errors| {
                let keys = &VARIANT_KEYS;
                let mut options = Options::from_named(ATTRIBUTE, &item.attrs, keys, errors);
                let name = wire_name(&mut options, errors)
                    .unwrap_or_else(|| format!("{type_name}.{}", item.ident.unraw()));
                let (ident, span) = (&item.ident, located(item.ident.span()));
                let path = quote_spanned!(span=> Self::#ident);
                variant(path, ident, &item.fields, options, name, private, errors)
            };
            data.variants.iter().map(|item| one(item, errors)).collect()
        }
        Data::Union(_) => {
            errors.push(&input.ident, "`RemoteError` goes on an enum or a struct");
            Vec::new()
        }
    }
}

/// Reads one variant. `options` contains the attributes of the variant.
fn variant(
    path: TokenStream,
    ident: &Ident,
    fields: &Fields,
    mut options: Options,
    name: String,
    private: &TokenStream,
    errors: &mut Errors,
) -> Variant {
    for field in fields {
        let ours = |attr: &&Attribute| attr.path().is_ident(ATTRIBUTE);
        if let Some(attr) = field.attrs.iter().find(ours) {
            errors.push(attr, "`#[remote_error(..)]` goes on the type or a variant");
        }
    }
    let class = options.expr("class", errors);
    let has_class = class.is_some();
    let classes = class.map_or_else(Vec::new, |(_, value)| class_names(value, errors));
    let other = options.word("other", errors);
    let make = (has_class || other.is_some()).then(|| {
        let span = located(ident.span());
        let mut fields = fields.iter().zip(fields.members());
        match (fields.next(), fields.next(), &other) {
            // The syntax with braces also constructs unit variants and empty tuple variants.
            (None, ..) => quote_spanned!(span=> |_| ::core::option::Option::Some(#path {})),
            (Some((field, member)), None, Some(_)) => {
                from_message(&path, &field.ty, &member, private, ident)
            }
            (Some((field, member)), None, None) => {
                from_message_if_possible(&path, &field.ty, &member, private)
            }
            // A message alone cannot fill several fields.
            (Some(_), Some(_), None) => quote_spanned!(span=> |_| ::core::option::Option::None),
            (Some(_), Some(_), Some(key)) => {
                errors.push(
                    ident,
                    format!(
                        "with `{key}`, `{ident}` is built from the message of an exception; give \
                         it one field, or none"
                    ),
                );
                TokenStream::new()
            }
        }
    });
    Variant {
        path,
        ident: ident.clone(),
        name,
        classes,
        other,
        make,
    }
}

/// Returns an expression that creates a variant with one field from a message.
fn from_message(
    path: &TokenStream,
    ty: &syn::Type,
    member: &Member,
    private: &TokenStream,
    ident: &Ident,
) -> TokenStream {
    // Use the span of the type. If the type cannot hold a message, rustc then underlines the type.
    let field = quote_spanned!(located(ty.span())=> #private::message_field::<#ty>);
    let span = located(ident.span());
    // The name of the parameter starts with underscores. If the user had a constant with the same
    // name, the compiler would match against the constant.
    quote_spanned! {span=>
        |__message| ::core::option::Option::Some(#path { #member: #field(__message) })
    }
}

/// Returns an expression that creates a variant with one field from a message. The expression
/// evaluates to `None` if the type of the field cannot hold a message. rustc determines whether the
/// type can hold a message.
fn from_message_if_possible(
    path: &TokenStream,
    ty: &syn::Type,
    member: &Member,
    private: &TokenStream,
) -> TokenStream {
    quote_spanned! {located(ty.span())=>
        |__message| {
            #[allow(unused_imports)]
            use #private::{MadeOfMessage as _, NotMadeOfMessage as _};
            (&&#private::FieldOf::<#ty>::new())
                .made_of(__message)
                .map(|__field| #path { #member: __field })
        }
    }
}

/// Reads `name = ".."`, the name by which Rust peers recognize the error.
fn wire_name(options: &mut Options, errors: &mut Errors) -> Option<String> {
    let given = options.text("name", errors)?;
    let name = given.value();
    if name.is_empty() {
        errors.push(&given, "`name` is empty");
    } else if name.starts_with("hypha.") {
        errors.push(
            &given,
            "names that begin with `hypha.` are reserved for errors of the runtime",
        );
    }
    Some(name)
}

/// Reads the value of `class`: `".."` or `["..", ".."]`.
fn class_names(value: Expr, errors: &mut Errors) -> Vec<LitStr> {
    let items: Vec<Expr> = match value {
        Expr::Array(list) if list.elems.is_empty() => {
            errors.push(list, "`class` is empty");
            return Vec::new();
        }
        Expr::Array(list) => list.elems.into_iter().collect(),
        other => vec![other],
    };
    let mut classes = Vec::new();
    for item in items {
        match attrs::bare(item) {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) if is_class_name(&text.value()) => classes.push(text),
            other => errors.push(
                other,
                "`class` is the name of an exception class, such as \"ValueError\", or a list of \
                 them",
            ),
        }
    }
    classes
}

/// Returns whether a string is a class name of Python or JavaScript, with or without its module.
fn is_class_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || "_$".contains(c))
    };
    text.split('.').all(part)
}

/// Reports a name, a class or the key `other` if two variants have it.
fn unambiguous(variants: &[Variant], errors: &mut Errors) {
    let mut others: Option<&Variant> = None;
    for (index, variant) in variants.iter().enumerate() {
        let earlier = &variants[..index];
        if let Some(first) = earlier.iter().find(|first| first.name == variant.name) {
            errors.push(
                &variant.ident,
                format!(
                    "the name `{}` already belongs to the variant `{}`",
                    variant.name, first.ident
                ),
            );
        }
        for (at, class) in variant.classes.iter().enumerate() {
            let same = |other: &LitStr| other.value() == class.value();
            let has = |first: &&Variant| first.classes.iter().any(same);
            if let Some(first) = earlier.iter().find(has) {
                let (class_name, first) = (class.value(), &first.ident);
                let text =
                    format!("the class `{class_name}` already belongs to the variant `{first}`");
                errors.push(class, text);
            } else if variant.classes[..at].iter().any(same) {
                errors.push(
                    class,
                    format!("the class `{}` is given twice", class.value()),
                );
            }
        }
        if let Some(key) = &variant.other {
            match others {
                Some(first) => errors.push(
                    key,
                    format!("`other` is already on the variant `{}`", first.ident),
                ),
                None => others = Some(variant),
            }
        }
    }
}

/// Generates the implementations for a valid type. The error appears in schemas only if the type
/// has the key `described`.
fn emit(
    input: &DeriveInput,
    variants: &[Variant],
    described: bool,
    private: &TokenStream,
) -> TokenStream {
    let ident = &input.ident;
    let span = located(ident.span());
    let entries = variants.iter().map(|variant| {
        let Variant {
            name,
            classes,
            make,
            ..
        } = variant;
        let span = located(variant.ident.span());
        let classes =
            (!classes.is_empty()).then(|| quote_spanned!(span=> .classes(&[#(#classes),*], #make)));
        let others = (variant.other.is_some()).then(|| quote_spanned!(span=> .others(#make)));
        quote_spanned!(span=> #private::ErrorVariant::new(#name) #classes #others)
    });
    let arms = variants.iter().enumerate().map(|(index, variant)| {
        let path = &variant.path;
        // The pattern `{ .. }` matches struct variants, tuple variants and unit variants.
        quote_spanned!(located(variant.ident.span())=> #path { .. } => #index)
    });
    let described_error = described.then(|| described_error(input, variants, private));
    let schema = if described {
        quote_spanned! {span=>
            ::core::option::Option::Some(#private::error_schema::<Self>(__generator))
        }
    } else {
        quote_spanned!(span=> let _ = __generator; ::core::option::Option::None)
    };
    quote_spanned! {span=>
        #[automatically_derived]
        #[allow(deprecated)]
        impl #private::TypedError for #ident {
            const VARIANTS: &'static [#private::ErrorVariant<Self>] = &[#(#entries),*];

            fn variant(&self) -> ::core::primitive::usize {
                match self { #(#arms),* }
            }
        }

        #[automatically_derived]
        #[allow(deprecated)]
        impl #private::ServiceError for #ident {
            fn to_wire(self) -> #private::WireError {
                #private::error_to_wire(
                    &self,
                    #private::error_text::<Self>(&self),
                    #private::error_data::<Self>(),
                )
            }

            fn error_source(
                &self,
            ) -> ::core::option::Option<&(dyn ::std::error::Error + 'static)> {
                #[allow(unused_imports)]
                use #private::{Caused as _, NotCaused as _};
                (&&#private::CauseOf(self)).cause_of()
            }

            fn from_wire(__error: &#private::WireError) -> ::core::option::Option<Self> {
                #private::error_from_wire(__error, #private::error_data::<Self>())
            }

            fn describe(
                __generator: &mut #private::schemars::SchemaGenerator,
            ) -> ::core::option::Option<#private::schemars::Schema> {
                #schema
            }
        }

        #described_error
    }
}

/// Generates the implementation of `DescribedError`. The schema of the error is created from this
/// implementation.
fn described_error(
    input: &DeriveInput,
    variants: &[Variant],
    private: &TokenStream,
) -> TokenStream {
    let ident = &input.ident;
    let name = ident.unraw().to_string();
    let facts: Vec<Facts<'_>> = variants
        .iter()
        .map(|variant| Facts {
            name: &variant.name,
            classes: &variant.classes,
            takes_others: variant.other.is_some(),
        })
        .collect();
    let data_schema = error_schema::data_schema(input, &facts, private);
    quote_spanned! {located(ident.span())=>
        #[automatically_derived]
        #[allow(deprecated)]
        impl #private::DescribedError for #ident {
            const NAME: &'static str = #name;

            fn data_schema(
                __generator: &mut #private::schemars::SchemaGenerator,
            ) -> #private::schemars::Schema {
                #data_schema
            }
        }
    }
}

/// Generates an implementation for an invalid type. Without the implementation, rustc would report
/// further errors in every contract that uses the type.
fn placeholder(input: &DeriveInput, private: &TokenStream) -> TokenStream {
    let ident = &input.ident;
    let span = located(ident.span());
    let (generics, arguments, clause) = input.generics.split_for_impl();
    let (generics, clause) = (generics.to_token_stream(), quote!(#clause));
    quote_spanned! {span=>
        #[automatically_derived]
        #[allow(deprecated)]
        impl #generics #private::ServiceError for #ident #arguments #clause {
            fn to_wire(self) -> #private::WireError {
                loop {}
            }

            fn from_wire(_: &#private::WireError) -> ::core::option::Option<Self> {
                ::core::option::Option::None
            }
        }
    }
}
