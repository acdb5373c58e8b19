//! Generates the schema of the data of an error for `#[derive(RemoteError)]`.
//!
//! The attributes of serde determine the form of the data, and schemars reads these attributes. So
//! the generated code contains a copy of the type, for which schemars generates a schema. The
//! generated code then adds names, classes and messages, which schemars does not know. The types of
//! the fields need not have a schema.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Expr, ExprLit, Field, Fields, Lit, LitStr, Member, Meta,
    MetaNameValue, Token, Type, parse_quote,
};

use crate::attrs;
use crate::diag::located;

/// Keys of `#[serde(..)]` that change the form of the data. For all of these keys, schemars needs
/// no information about other types.
const SERDE_KEYS: [&str; 16] = [
    "rename",
    "rename_all",
    "rename_all_fields",
    "tag",
    "content",
    "untagged",
    "transparent",
    "deny_unknown_fields",
    "skip",
    "skip_serializing",
    "skip_serializing_if",
    "skip_deserializing",
    "default",
    "flatten",
    "alias",
    "other",
];

/// Properties of a variant that are part of the schema.
pub(crate) struct Facts<'a> {
    pub(crate) name: &'a str,
    pub(crate) classes: &'a [LitStr],
    pub(crate) takes_others: bool,
}

/// Returns an expression that creates the schema of the data. The expression uses the variable
/// `__generator`.
pub(crate) fn data_schema(
    input: &DeriveInput,
    facts: &[Facts<'_>],
    private: &TokenStream,
) -> TokenStream {
    if has_serde_key(&input.attrs, &["remote"]) {
        return quote_spanned! {Span::mixed_site()=> {
            let _ = __generator;
            <#private::schemars::Schema as ::core::default::Default>::default()
        }};
    }
    let mut copy = match serde_value(&input.attrs, "into").map(|value| type_in(&value)) {
        Some(ty) => converted(input, ty),
        None => input.clone(),
    };
    copy.ident = format_ident!("__Data", span = Span::mixed_site());
    copy.vis = syn::Visibility::Inherited;
    let mut functions = TokenStream::new();
    let mut count = 0usize;
    let mut describe = |fields: &mut Fields, around: &[Attribute]| {
        for field in fields {
            field.vis = syn::Visibility::Inherited;
            let name = format_ident!("__schema_{count}", span = Span::mixed_site());
            count += 1;
            let cfgs: Vec<&Attribute> = attrs::cfgs(around).collect();
            functions.extend(quote!(#(#cfgs)*));
            functions.extend(field_schema(field, &name, private));
        }
    };
    match &mut copy.data {
        Data::Struct(data) => {
            let is_struct = matches!(input.data, Data::Struct(_));
            let facts = facts.first().filter(|_| is_struct);
            let is_transparent = has_serde_key(&copy.attrs, &["transparent"]);
            let extension =
                facts.map(|facts| extension(facts, &copy.attrs, &data.fields, is_transparent));
            describe(&mut data.fields, &[]);
            copy.attrs = kept(&copy.attrs);
            copy.attrs.extend(extension);
            copy.attrs.extend(keywords(&input.attrs));
        }
        Data::Enum(data) => {
            for (variant, facts) in data.variants.iter_mut().zip(facts) {
                let extension = extension(facts, &variant.attrs, &variant.fields, false);
                if is_empty_for_serde(&variant.fields) {
                    variant.fields = Fields::Unit;
                }
                let keywords = keywords(&variant.attrs);
                variant.attrs = kept(&variant.attrs);
                variant.attrs.push(extension);
                variant.attrs.extend(keywords);
                variant.discriminant = None;
                describe(&mut variant.fields, &variant.attrs);
            }
            copy.attrs = kept(&copy.attrs);
            copy.attrs.extend(keywords(&input.attrs));
        }
        Data::Union(_) => {}
    }
    let path = LitStr::new(&format!("{private}::schemars"), Span::mixed_site());
    let ident = &copy.ident;
    quote_spanned! {Span::mixed_site()=>
        // The code that schemars generates calls `.into()`. The trait must be imported for crates
        // without a prelude.
        #[allow(unused_imports)]
        use ::core::convert::Into as _;
        #functions
        #[derive(#private::schemars::JsonSchema)]
        #[schemars(crate = #path)]
        #[allow(dead_code, clippy::all, clippy::pedantic, clippy::nursery)]
        #copy
        <#ident as #private::schemars::JsonSchema>::json_schema(__generator)
    }
}

/// Returns a copy of a type that serde writes as a value of the type `ty`. serde reports an error
/// if `ty` is `None`. The names of fields in a message have no meaning in this form.
fn converted(input: &DeriveInput, ty: Option<Type>) -> DeriveInput {
    let attrs = input.attrs.iter();
    let is_text = |attr: &Attribute| {
        let text = attr.parse_args::<LitStr>();
        text.is_ok_and(|text| !text.value().contains(['{', '}']))
    };
    let attrs =
        attrs.filter(|attr| attrs::is_doc(attr) || attr.path().is_ident("error") && is_text(attr));
    let ty = ty.unwrap_or_else(|| parse_quote!(()));
    parse_quote!(#(#attrs)* struct __Data(#ty);)
}

/// Returns the keys of the attributes `#[serde(..)]`.
fn serde_keys(attrs: &[Attribute]) -> impl Iterator<Item = Meta> {
    let serde = attrs.iter().filter(|attr| attr.path().is_ident("serde"));
    let keys = serde.filter_map(|attr| {
        let keys = Punctuated::<Meta, Token![,]>::parse_terminated;
        attr.parse_args_with(keys).ok()
    });
    keys.flatten()
}

/// Returns whether an attribute `#[serde(..)]` has one of these keys.
fn has_serde_key(attrs: &[Attribute], names: &[&str]) -> bool {
    serde_keys(attrs).any(|key| names.iter().any(|name| key.path().is_ident(name)))
}

/// Returns the value of a key of `#[serde(..)]`.
fn serde_value(attrs: &[Attribute], name: &str) -> Option<Expr> {
    serde_keys(attrs).find_map(|key| match key {
        Meta::NameValue(pair) if pair.path.is_ident(name) => Some(pair.value),
        _ => None,
    })
}

/// Generates a function that returns the schema of a field. Adds an attribute to the field, so that
/// schemars calls this function. Does neither if the user states the function.
fn field_schema(field: &mut Field, name: &Ident, private: &TokenStream) -> TokenStream {
    let own = OwnSchema::of(&field.attrs);
    let ty = own.with.as_ref().unwrap_or(&field.ty);
    let mut attrs = kept(&field.attrs);
    attrs.extend(own.keys);
    if own.is_whole {
        field.attrs = attrs;
        return TokenStream::new();
    }
    let cfgs = attrs::cfgs(&field.attrs);
    let path = LitStr::new(&name.to_string(), Span::mixed_site());
    attrs.push(parse_quote!(#[schemars(schema_with = #path)]));
    let function = quote_spanned! {located(ty.span())=>
        #(#cfgs)*
        fn #name(
            __generator: &mut #private::schemars::SchemaGenerator,
        ) -> #private::schemars::Schema {
            #[allow(unused_imports)]
            use #private::{Described as _, DescribedCause as _, NotDescribed as _};
            (&&&#private::SchemaOf::<#ty>::new()).schema(__generator)
        }
    };
    field.attrs = attrs;
    function
}

/// Returns the attribute that adds the keywords of `#[schemars(extend(..))]` to a type or variant.
/// Other keys would change the form of the schema.
fn keywords(attrs: &[Attribute]) -> Option<Attribute> {
    let keys = schema_keys(attrs).into_iter();
    let is_extend = |key: &TokenStream| {
        let first = key.clone().into_iter().next();
        matches!(first, Some(TokenTree::Ident(name)) if name == "extend")
    };
    let keys: Vec<TokenStream> = keys.filter(is_extend).collect();
    (!keys.is_empty()).then(|| parse_quote!(#[schemars(#(#keys),*)]))
}

/// Returns the keys in the attributes `#[schemars(..)]`.
fn schema_keys(attrs: &[Attribute]) -> Vec<TokenStream> {
    let mut keys = Vec::new();
    for attr in attrs::schema(attrs) {
        let Meta::List(list) = &attr.meta else {
            continue;
        };
        // `extend("format" = "uuid")` is no `Meta`, so the keys are separated as tokens.
        let tokens: Vec<TokenTree> = list.tokens.clone().into_iter().collect();
        let parts = tokens.split(|token| is_mark(token, ','));
        // `!key` hides an attribute of serde, but the data has the form of serde.
        let parts = parts.filter(|key| key.first().is_some_and(|token| !is_mark(token, '!')));
        keys.extend(parts.map(|key| key.iter().cloned().collect::<TokenStream>()));
    }
    keys
}

/// The attributes `#[schemars(..)]` of a field.
struct OwnSchema {
    /// `T` of `with = "T"`, unless `is_whole` is true.
    with: Option<Type>,
    /// The other keys.
    keys: Option<Attribute>,
    /// Whether the keys state the whole schema with `schema_with`, or have a wrong `with`, which
    /// schemars reports.
    is_whole: bool,
}

impl OwnSchema {
    fn of(attrs: &[Attribute]) -> OwnSchema {
        let mut keys = schema_keys(attrs);
        let value = |key: &TokenStream, name: &str| {
            let pair = syn::parse2::<MetaNameValue>(key.clone()).ok()?;
            pair.path.is_ident(name).then_some(pair.value)
        };
        let types = keys.iter().filter_map(|key| value(key, "with"));
        let types: Vec<Option<Type>> = types.map(|value| type_in(&value)).collect();
        let has_function = keys.iter().any(|key| value(key, "schema_with").is_some());
        let with = match &types[..] {
            [Some(ty)] if !has_function => Some(ty.clone()),
            _ => None,
        };
        if with.is_some() {
            keys.retain(|key| value(key, "with").is_none());
        }
        OwnSchema {
            is_whole: with.is_none() && (has_function || !types.is_empty()),
            with,
            keys: (!keys.is_empty()).then(|| parse_quote!(#[schemars(#(#keys),*)])),
        }
    }
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(other) if other.as_char() == mark)
}

/// Returns the type in the value of `with = "T"`, if it is valid.
fn type_in(value: &Expr) -> Option<Type> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(ty), ..
        }) => ty.parse().ok(),
        _ => None,
    }
}

/// Returns the attribute that adds the properties of a variant to its schema.
///
/// If `is_transparent`, the data consists of the only field that is sent.
fn extension(
    facts: &Facts<'_>,
    attrs: &[Attribute],
    fields: &Fields,
    is_transparent: bool,
) -> Attribute {
    let Facts {
        name,
        classes,
        takes_others,
    } = facts;
    let classes = (!classes.is_empty()).then(|| quote!(, "classes": [#(#classes),*]));
    let other = takes_others.then(|| quote!(, "other": true));
    let error = attrs.iter().find(|attr| attr.path().is_ident("error"));
    let key = error.and_then(|attr| attr.parse_args::<Ident>().ok());
    let passes_on = key.is_some_and(|key| key == "transparent");
    let mut message = match passes_on {
        true => fields
            .members()
            .next()
            .map(|member| format!("{{{}}}", text(&member))),
        false => error.and_then(message),
    };
    let mut source = source(fields);
    if is_transparent {
        let sent = fields.iter().zip(fields.members());
        let mut sent = sent.filter(|(field, _)| !is_skipped(field));
        if let Some((_, member @ Member::Named(_))) = sent.next() {
            let name = text(&member);
            message = message.map(|message| renamed(&message, &name));
            source = source.map(|(_, from)| ("0".to_owned(), from));
        }
    }
    let message = message.map(|message| quote!(, "message": #message));
    let from = matches!(source, Some((_, true))).then(|| quote!(, "from": true));
    let source = source.map(|(name, _)| quote!(, "source": #name));
    let passes_on = passes_on.then(|| quote!(, "transparent": true));
    parse_quote! {
        #[schemars(extend(
            "x-hypha-variant" =
                {"name": #name #classes #other #message #source #from #passes_on}
        ))]
    }
}

/// Returns the text of `#[error("..")]`, unless the attribute has more arguments.
fn message(error: &Attribute) -> Option<String> {
    // Parsing fails if other arguments follow the text.
    let texts = Punctuated::<LitStr, Token![,]>::parse_terminated;
    let texts = error.parse_args_with(texts).ok()?;
    (texts.len() == 1).then(|| texts[0].value())
}

/// Returns a message in which the field `name` is the field 0.
fn renamed(message: &str, name: &str) -> String {
    let mut renamed = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once('{') {
        renamed.push_str(before);
        renamed.push('{');
        rest = after;
        let inner = after.strip_prefix(name);
        if let Some(after) = after.strip_prefix('{') {
            renamed.push('{');
            rest = after;
        } else if let Some(after) = inner.filter(|after| after.starts_with(['}', ':'])) {
            renamed.push('0');
            rest = after;
        }
    }
    renamed + rest
}

/// Returns the field that contains the cause, as `thiserror` finds it, and whether the error is
/// made of the cause. A field that is not sent is left out. The name is the one in the data.
fn source(fields: &Fields) -> Option<(String, bool)> {
    let has = |field: &Field, name: &str| field.attrs.iter().any(|it| it.path().is_ident(name));
    let all = || fields.iter().zip(fields.members());
    let marked = all().find(|(field, _)| has(field, "source") || has(field, "from"));
    let named = || all().find(|(field, _)| field.ident.as_ref().is_some_and(|it| it == "source"));
    let (field, member) = marked.or_else(named)?;
    if is_skipped(field) {
        return None;
    }
    let name = match (serde_value(&field.attrs, "rename"), member) {
        (
            Some(Expr::Lit(ExprLit {
                lit: Lit::Str(name),
                ..
            })),
            Member::Named(_),
        ) => name.value(),
        (_, Member::Unnamed(index)) => {
            // serde does not count the fields that it skips.
            let before = fields.iter().take(index.index as usize);
            before
                .filter(|field| !is_skipped(field))
                .count()
                .to_string()
        }
        (_, member) => text(&member),
    };
    Some((name, has(field, "from")))
}

/// Returns the name or the index of a field.
fn text(member: &Member) -> String {
    match member {
        Member::Named(name) => name.unraw().to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    }
}

/// Returns whether serde does not write a field.
fn is_skipped(field: &Field) -> bool {
    has_serde_key(&field.attrs, &["skip", "skip_serializing"])
}

/// Returns whether serde writes a variant with these fields as a unit variant, because it skips the
/// only field. schemars does not follow this rule.
fn is_empty_for_serde(fields: &Fields) -> bool {
    let Fields::Unnamed(fields) = fields else {
        return false;
    };
    fields.unnamed.len() == 1 && fields.unnamed.iter().all(is_skipped)
}

/// Returns the attributes that the copy of the type needs: the docs, `cfg`, and the known keys of
/// `serde`.
fn kept(attrs: &[Attribute]) -> Vec<Attribute> {
    let kept = attrs.iter().filter_map(|attr| {
        if attrs::is_doc(attr) || attr.path().is_ident("cfg") {
            return Some(attr.clone());
        }
        if !attr.path().is_ident("serde") {
            return None;
        }
        let keys = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        let keys = keys.ok()?.into_iter();
        let keys: Vec<TokenStream> = keys
            .filter(|key| SERDE_KEYS.iter().any(|name| key.path().is_ident(name)))
            .map(ToTokens::into_token_stream)
            .collect();
        (!keys.is_empty()).then(|| parse_quote!(#[serde(#(#keys),*)]))
    });
    kept.collect()
}
