//! Checks a contract and builds its model.
//!
//! The modules `parse` and `inherent` call this module. The check continues after an error, so that
//! all errors are reported at once and the rest of the user's program still finds the generated
//! items. A method that cannot be called becomes a [`Stub`].

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident};
use syn::ext::IdentExt;
use syn::{
    Attribute, FnArg, Ident, ItemTrait, LitStr, Pat, PatType, Receiver, ReceiverKind, Safety,
    TraitItem, TraitItemFn, Type, parse_quote_spanned,
};

use crate::attrs::{self, ARGUMENT_KEYS, METHOD_KEYS, Options, SERVICE_KEYS};
use crate::diag::{Errors, located};
use crate::doc_text::{self, MethodText, Text};
use crate::model::{Arg, ArgKind, Method, Output, Service, Stub, Value};
use crate::names::{self, Rule};
use crate::{path, results, types};

/// Keys of every service record. They cannot be names of methods.
///
/// Copy of `hypha_wire::keys::RESERVED`; a test checks that the two lists are equal. A dependency
/// on `hypha-wire` would delay the build of every crate that uses the macros.
pub(crate) const RESERVED: [&str; 8] = [
    "id",
    "name",
    "description",
    "type",
    "docs",
    "config",
    "app_id",
    "service_schema",
];

/// Maximum length of a description that servers accept, in characters.
const DESCRIPTION_LIMIT: usize = 1024;

/// Builds the model of a contract from the attribute's keys and the trait.
///
/// The model is complete even after errors; the caller must then generate a service without
/// methods.
pub(crate) fn service(attr: TokenStream, item: &ItemTrait, errors: &mut Errors) -> Service {
    let mut options = Options::parse(attr, &SERVICE_KEYS, errors);
    trait_shape(item, errors);

    let id = options.text("id", errors);
    if let Some(id) = &id {
        names::check_id(id, errors);
    }
    let given_description = options.text("description", errors);
    if let Some(text) = given_description
        .as_ref()
        .filter(|text| too_long(&text.value()))
    {
        errors.push(
            text,
            format!("a description has at most {DESCRIPTION_LIMIT} characters"),
        );
    }
    // Shorten a doc comment that is too long for a description. A string in the attribute that is
    // too long is an error, because the user wrote it as the description.
    let description = given_description
        .map(|text| text.value())
        .unwrap_or_else(|| {
            let summary = doc_text::summary(&doc_text::text(&item.attrs));
            summary.chars().take(DESCRIPTION_LIMIT).collect()
        });
    let visibility = options
        .text("visibility", errors)
        .and_then(|text| visibility(&text, errors));
    let authorized = options.texts("authorized_workspaces", errors);
    // The default visibility is `protected`.
    let closed = visibility
        .as_ref()
        .is_none_or(|variant| variant == "Protected");
    if let Some((key, _)) = authorized.as_ref().filter(|_| !closed) {
        errors.push(
            key,
            "`authorized_workspaces` requires `visibility = \"protected\"`: all workspaces may use \
             other services anyway",
        );
    }
    let rule = Rule::parse(options.text("rename_all", errors).as_ref(), errors);
    let contract = item.ident.unraw();
    let mut service = Service {
        contract: item.ident.clone(),
        service: format_ident!("{contract}Service", span = item.ident.span()),
        proxy: format_ident!("{contract}Proxy", span = item.ident.span()),
        vis: item.vis.clone(),
        docs: item
            .attrs
            .iter()
            .filter(|attr| attrs::is_doc(attr))
            .cloned()
            .collect(),
        carried: attrs::carried(&item.attrs),
        runtime: path::private(options.path("crate", errors)),
        private: format_ident!("__{contract}Runtime", span = Span::mixed_site()),
        id: id.map_or_else(|| Rule::Snake.apply(&contract.to_string()), |id| id.value()),
        name: options.text("name", errors).map(|text| text.value()),
        description,
        docs_entry: options.text("docs", errors).map(|text| text.value()),
        service_type: options
            .text("service_type", errors)
            .map(|text| text.value()),
        visibility,
        authorized_workspaces: authorized.map(|(_, texts)| texts).unwrap_or_default(),
        singleton: options.flag("singleton", errors).unwrap_or(false),
        flags: options
            .texts("flags", errors)
            .map(|(_, texts)| texts)
            .unwrap_or_default(),
        methods: Vec::new(),
        stubs: Vec::new(),
        inherent: None,
    };
    (service.methods, service.stubs) = methods(item, rule, errors);
    service
}

/// Returns whether servers would reject the description.
fn too_long(text: &str) -> bool {
    text.chars().count() > DESCRIPTION_LIMIT
}

/// Returns the variant of the runtime's `Visibility` for a value of the key.
fn visibility(given: &LitStr, errors: &mut Errors) -> Option<Ident> {
    let variant = match given.value().as_str() {
        "public" => "Public",
        "protected" => "Protected",
        "unlisted" => "Unlisted",
        _ => {
            errors.push(
                given,
                "`visibility` is one of \"public\", \"protected\", \"unlisted\"",
            );
            return None;
        }
    };
    Some(Ident::new(variant, located(given.span())))
}

/// Reports type parameters, `where` clauses and `unsafe` on the trait.
fn trait_shape(item: &ItemTrait, errors: &mut Errors) {
    if !item.generics.params.is_empty() {
        errors.push(
            &item.generics.params,
            "a contract has fixed types, because its schema and callers in other languages know no \
             type parameters; use an enum or `Value`",
        );
    }
    if let Some(clause) = &item.generics.where_clause {
        errors.push(
            clause,
            "a contract has no `where` clause; write supertraits after the name",
        );
    }
    if let Some(unsafety) = &item.unsafety {
        errors.push(unsafety, "a contract is a safe trait");
    }
}

/// Reads all members of the trait. Methods that cannot be called become stubs.
fn methods(item: &ItemTrait, rule: Rule, errors: &mut Errors) -> (Vec<Method>, Vec<Stub>) {
    let mut methods: Vec<Method> = Vec::new();
    let mut stubs = Vec::new();
    let no_async = no_async(item);
    for item in &item.items {
        let function = match item {
            TraitItem::Fn(function) => function,
            TraitItem::Type(item) => {
                errors.push(
                    &item.ident,
                    "a contract has fixed types; name the type itself",
                );
                continue;
            }
            TraitItem::Const(item) => {
                errors.push(&item.ident, "a contract has only methods");
                continue;
            }
            // `source` or rustc has already reported this member.
            TraitItem::Verbatim(_) => continue,
            other => {
                errors.push(other, "a contract has only methods");
                continue;
            }
        };
        let (method, name_at) = match method(function, rule, no_async, errors) {
            Ok(method) => method,
            Err(stub) => {
                stubs.push(*stub);
                continue;
            }
        };
        let unconditional = |attrs: &[Attribute]| attrs::cfgs(attrs).next().is_none();
        let twice = |other: &Method| other.ident == method.ident;
        if unconditional(&method.carried) && methods.iter().any(twice) {
            // rustc reports the repeated name in the trait.
            errors.silent();
            continue;
        }
        // Two methods with different `cfg`s may share a name, because only one of them is compiled.
        let same = |other: &&Method| {
            other.wire_name == method.wire_name
                && unconditional(&other.carried)
                && unconditional(&method.carried)
        };
        if let Some(first) = methods.iter().find(same) {
            let (name, first) = (&method.wire_name, &first.ident);
            errors.push(
                name_at,
                format!("the name `{name}` already belongs to the method `{first}`"),
            );
        } else if let Some((outer, inner)) = methods
            .iter()
            .filter(|other| unconditional(&other.carried) && unconditional(&method.carried))
            .find_map(|other| nested(&other.wire_name, &method.wire_name))
        {
            errors.push(
                name_at,
                format!(
                    "`{inner}` would be a member of `{outer}`, which is a method; give one of them \
                     another name"
                ),
            );
        }
        methods.push(method);
    }
    (methods, stubs)
}

/// Returns whether all methods of the contract are plain `fn`s, which then run on blocking threads.
/// In a contract that also has an `async fn`, a plain `fn` is more likely a forgotten `async`.
fn no_async(item: &ItemTrait) -> bool {
    item.items.iter().all(|item| match item {
        TraitItem::Fn(TraitItemFn { sig, .. }) => {
            sig.asyncness.is_none() && !results::is_future(&sig.output)
        }
        _ => true,
    })
}

/// Returns the outer and the inner name if one name is a path into the other name, such as `a` and
/// `a.b`.
fn nested<'a>(one: &'a str, other: &'a str) -> Option<(&'a str, &'a str)> {
    let holds = |outer: &str, inner: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    if holds(one, other) {
        Some((one, other))
    } else {
        holds(other, one).then_some((other, one))
    }
}

/// Returns the method, and the tokens of its name for messages about the name. Returns a stub if
/// the method cannot be called.
fn method(
    function: &TraitItemFn,
    rule: Rule,
    no_async: bool,
    errors: &mut Errors,
) -> Result<(Method, TokenStream), Box<Stub>> {
    if function.sig.receiver().is_none() {
        // Further messages about this function would not help the user.
        errors.push(&function.sig.ident, "service methods take `&self`");
        return Err(Box::new(Stub::new(function, None)));
    }
    let before = errors.count();
    let mut options = Options::from_attrs(&function.attrs, &METHOD_KEYS, errors);
    let understood = errors.count() == before;
    let ident = &function.sig.ident;
    let (wire_name, name_at) = wire_name(&mut options, ident, rule, errors);
    let entry = wire_name.split('.').next().unwrap_or_default();
    if RESERVED.contains(&entry) {
        errors.push(
            &name_at,
            format!(
                "`{entry}` is a reserved key of every service; give the method another name with \
                 `#[hypha(name = \"..\")]`"
            ),
        );
    }
    let blocking = blocking(function, &mut options, no_async, understood, errors);
    // Run all checks below even if an earlier check failed, so that all errors are reported.
    let usable = signature_shape(function, errors);
    let text = MethodText::parse(&doc_text::text(&function.attrs));
    let args = arguments(function, &text, rule, errors);
    let output = results::read(&function.sig.output, errors);
    if let Some(stream) = output.as_ref().and_then(|output| output.stream.as_ref()) {
        if blocking {
            errors.push(
                &stream.whole,
                "a blocking method cannot return a stream; write `async fn`, or return a \
                 `RemoteStream`",
            );
        }
    }
    for attr in attrs::schema(&function.attrs) {
        if !attrs::only_extends(attr) {
            errors.push(
                attr,
                "before a method, `schemars` takes only `extend(..)`, which adds keywords to the \
                 schema of the result",
            );
        }
    }
    let (args, output) = match (args, output) {
        (Some(args), Some(output)) if usable => (args, output),
        (_, output) => {
            let stub = Stub::new(function, output.filter(|_| usable));
            return Err(Box::new(stub));
        }
    };
    let method = Method {
        ident: ident.clone(),
        wire_name,
        docs: documentation(function, &text),
        description: Text::new(&function.attrs, text.description),
        carried: attrs::carried(&function.attrs),
        blocking,
        args,
        output,
        schema: attrs::schema(&function.attrs).cloned().collect(),
    };
    Ok((method, name_at))
}

/// Stubs keep the number of arguments, so that calls of the proxy cause no further errors.
impl Stub {
    fn new(function: &TraitItemFn, output: Option<Output>) -> Stub {
        let sent = function.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(input) if !types::is_context(&input.ty) => Some((*input.ty).clone()),
            _ => None,
        });
        Stub {
            ident: function.sig.ident.clone(),
            generics: function.sig.generics.clone(),
            carried: attrs::carried(&function.attrs),
            args: sent.collect(),
            output,
        }
    }
}

/// Returns the name on the wire, and the tokens to underline in errors about the name.
fn wire_name(
    options: &mut Options,
    ident: &Ident,
    rule: Rule,
    errors: &mut Errors,
) -> (String, TokenStream) {
    match options.text("name", errors) {
        Some(name) => {
            names::check_name(&name, errors);
            (name.value(), name.into_token_stream())
        }
        None => (
            rule.apply(&ident.unraw().to_string()),
            ident.to_token_stream(),
        ),
    }
}

/// Returns whether the method runs on a blocking thread: the value of its key `blocking`, by
/// default `no_async`.
///
/// If `understood` is false, a key of the method was wrong. A plain `fn` is then not reported,
/// because the wrong key may be a misspelled `blocking`.
fn blocking(
    function: &TraitItemFn,
    options: &mut Options,
    no_async: bool,
    understood: bool,
    errors: &mut Errors,
) -> bool {
    let before = errors.count();
    let blocking = options.flag("blocking", errors).unwrap_or(no_async);
    let understood = understood && errors.count() == before;
    let sig = &function.sig;
    match &sig.asyncness {
        Some(asyncness) if blocking => errors.push(
            asyncness,
            "a blocking method is a plain `fn`, which runs on a thread of its own; leave out \
             `async` or `blocking`",
        ),
        // `signature_shape` reports `const`, and `results` reports `impl Future`.
        None if !blocking
            && understood
            && sig.constness.is_none()
            && !results::is_future(&sig.output) =>
        {
            errors.push(
                sig.fn_token,
                "service methods are asynchronous: write `async fn`, or `#[hypha(blocking)]` \
                 before a method that blocks its thread",
            )
        }
        _ => {}
    }
    blocking
}

/// Checks the signature except its arguments, its output and `async`. Returns false if no proxy can
/// have such a method.
fn signature_shape(function: &TraitItemFn, errors: &mut Errors) -> bool {
    let sig = &function.sig;
    if let Some(constness) = &sig.constness {
        errors.push(
            constness,
            "a service method cannot be `const`: calls arrive at run time; remove `const`",
        );
    }
    if let Safety::Unsafe(unsafety) = &sig.safety {
        errors.push(
            unsafety,
            "a service method cannot be `unsafe`: callers in other programs cannot uphold its \
             conditions; remove `unsafe`",
        );
    }
    if let Some(abi) = &sig.abi {
        errors.push(abi, "a service method cannot be `extern`");
    }
    match sig.receiver() {
        None
        | Some(Receiver {
            kind: ReceiverKind::Reference(_, _, None),
            ..
        }) => {}
        Some(receiver) => errors.push(
            Receiver {
                attrs: Vec::new(),
                ..receiver.clone()
            },
            "service methods take `&self`, because calls run at the same time; use a lock for \
             state",
        ),
    }
    if let Some(clause) = &sig.generics.where_clause {
        errors.push(clause, "a service method has no `where` clause");
    }
    for param in &sig.generics.params {
        let message = match param {
            syn::GenericParam::Lifetime(_) => {
                "a service method has no named lifetimes; leave them out, as in `&str`"
            }
            _ => "a contract has fixed types; use an enum or `Value`",
        };
        errors.push(param, message);
    }
    sig.generics.params.is_empty()
}

/// Reads the arguments. Returns `None` if one of them cannot be an argument at all.
fn arguments(
    function: &TraitItemFn,
    text: &MethodText,
    rule: Rule,
    errors: &mut Errors,
) -> Option<Vec<Arg>> {
    let mut args: Vec<Arg> = Vec::new();
    let mut all = true;
    for input in &function.sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        let Some((arg, name_at)) = argument(input, text, rule, errors) else {
            all = false;
            continue;
        };
        let name = |arg: &Arg| match &arg.kind {
            ArgKind::Value(value) => Some(value.wire_name.clone()),
            ArgKind::Context => None,
        };
        let same = |other: &&Arg| name(&arg).is_some_and(|wire| name(other) == Some(wire));
        match args.iter().find(same) {
            // rustc reports repeated argument names of a function with a body.
            Some(first) if first.ident == arg.ident && function.semi_token.is_none() => {
                errors.silent();
                all = false;
            }
            Some(first) => {
                // A proxy's method cannot have two parameters with the same name.
                all &= first.ident != arg.ident;
                let (wire, first) = (name(&arg).unwrap_or_default(), &first.ident);
                errors.push(
                    name_at,
                    format!("the name `{wire}` already belongs to the argument `{first}`"),
                );
            }
            None => {}
        }
        args.push(arg);
    }
    all.then_some(args)
}

/// Reads one argument. Also returns the tokens of its name, for messages about the name.
fn argument(
    input: &PatType,
    text: &MethodText,
    rule: Rule,
    errors: &mut Errors,
) -> Option<(Arg, TokenStream)> {
    let ident = argument_ident(&input.pat);
    if ident.is_none() {
        errors.push(
            &input.pat,
            "an argument must have a plain name, which is its name on the wire",
        );
    }
    if let Some(cfg) = attrs::cfgs(&input.attrs).next() {
        errors.push(
            cfg,
            "an argument cannot depend on `cfg`; put it on the method",
        );
    }
    let mut options = Options::from_attrs(&input.attrs, &ARGUMENT_KEYS, errors);
    let is_context = options.flag("context", errors);
    let type_fits = argument_type(&input.ty, errors);
    let ident = ident.filter(|_| type_fits)?;

    if is_context.unwrap_or_else(|| types::is_context(&input.ty)) {
        if let Some((key, _)) = options.expr("default", errors) {
            errors.push(
                key,
                "the context is never missing, so it has no default; remove `default`",
            );
        }
        if let Some(name) = options.text("name", errors) {
            errors.push(
                name,
                "the context is not sent, so it has no name on the wire",
            );
        }
        if options.flag("required", errors) == Some(true) {
            errors.push(&input.ty, "the context is never missing; remove `required`");
        }
        if let Some(attr) = attrs::schema(&input.attrs).next() {
            errors.push(
                attr,
                "the context is not sent, so it has no schema; remove `schemars`",
            );
        }
        let arg = Arg {
            ident: ident.clone(),
            ty: (*input.ty).clone(),
            kind: ArgKind::Context,
        };
        return Some((arg, ident.to_token_stream()));
    }
    let (wire_name, name_at) = wire_name(&mut options, ident, rule, errors);
    // A doc comment on the parameter takes precedence over the list in the documentation of the
    // method.
    let own_text = doc_text::text(&input.attrs);
    let listed = text
        .argument(&ident.unraw().to_string())
        .unwrap_or_default();
    let schema: Vec<_> = attrs::schema(&input.attrs).cloned().collect();
    let has_own_schema = types::is_byte_slice(&input.ty)
        || types::is_optional_byte_slice(&input.ty)
        || types::may_be_shared_bytes(&input.ty);
    if let Some(attr) = schema.first().filter(|_| has_own_schema) {
        errors.push(
            attr,
            "`schemars` does not describe bytes and arrays; remove it",
        );
    }
    let default = options.expr("default", errors);
    let required = options.flag("required", errors) == Some(true);
    if let Some((key, _)) = default.as_ref().filter(|_| required) {
        errors.push(
            key,
            "callers must send a required argument, so it has no default; remove `default` or \
             `required`",
        );
    }
    let value = Value {
        wire_name,
        description: match own_text.is_empty() {
            true => Text::new(&input.attrs, listed.to_owned()),
            false => Text::new(&input.attrs, own_text),
        },
        default: default.map(|(_, value)| value),
        required,
        schema,
    };
    let kind = ArgKind::Value(Box::new(value));
    Some((
        Arg {
            ident: ident.clone(),
            ty: (*input.ty).clone(),
            kind,
        },
        name_at,
    ))
}

/// Returns the name of the argument, if its pattern is a plain name.
pub(crate) fn argument_ident(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => Some(&pat.ident),
        _ => None,
    }
}

/// Reports types for which the message of rustc would not help. Returns `false` for such types, and
/// for types that were already reported.
fn argument_type(ty: &Type, errors: &mut Errors) -> bool {
    let found = types::inspect(ty);
    if let Some(found) = found.impl_trait {
        errors.push(
            found,
            "a contract has fixed types; use an enum or `Value`, `Callback<A, R>` for a function, \
             `RemoteStream<T>` for a stream",
        );
    } else if let Some((found, message)) = found.stays {
        errors.push(found, message);
    } else if let Some(found) = found.self_path {
        errors.push(found, "callers do not know `Self`; name the type");
    } else if let Some(found) = found.static_lifetime {
        errors.push(
            found,
            "arguments live as long as the call; leave the lifetime out, as in `&str`, or write \
             `Cow<'_, str>`",
        );
    } else if let Some(found) = found.mutable_reference {
        let message = if types::is_context(ty) {
            "the context of a call does not change; write `&Context`"
        } else {
            "arguments are copies, so changes would be lost; take an owned value"
        };
        errors.push(found, message);
    } else if let Some(found) = found.callback_reference {
        errors.push(
            found,
            "arguments and results of a callback are owned types; write `String` for `&str`",
        );
    } else if let Some(found) = found.byte_slice.filter(|_| !types::is_bytes(ty)) {
        errors.push(
            found,
            "`&[u8]` works by itself and in `Option<&[u8]>` only; write `Binary` inside other \
             types",
        );
    } else {
        return !found.refused;
    }
    false
}

/// Returns the documentation of a method for the trait and the proxy: the user's documentation,
/// followed by the descriptions of the arguments, because rustdoc shows no documentation of
/// parameters.
pub(crate) fn documentation(function: &TraitItemFn, text: &MethodText) -> Vec<Attribute> {
    let own = function.attrs.iter().filter(|attr| attrs::is_doc(attr));
    let mut docs: Vec<Attribute> = own.cloned().collect();
    if text.has_arguments() {
        return docs;
    }
    let mut lines = Vec::new();
    for input in &function.sig.inputs {
        let FnArg::Typed(input) = input else { continue };
        let (Some(ident), text) = (argument_ident(&input.pat), doc_text::text(&input.attrs)) else {
            continue;
        };
        if !text.is_empty() {
            let text = text.replace('\n', "\n  ");
            lines.push(format!("* `{}` - {text}", ident.unraw()));
        }
    }
    if !lines.is_empty() {
        let list = format!("\n# Arguments\n\n{}", lines.join("\n"));
        let span = located(function.sig.ident.span());
        docs.push(parse_quote_spanned!(span=> #[doc = #list]));
    }
    docs
}
