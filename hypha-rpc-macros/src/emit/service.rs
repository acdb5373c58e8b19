//! Generates `FooService<T>`. This type converts an implementation `T` of the contract `Foo` to a
//! service.
//!
//! The wrapper type is necessary, because the blanket implementations of `IntoService` for two
//! contracts would conflict. The struct itself has no bound on `T`. So if a type does not implement
//! the trait, rustc reports the error only once, where the service is registered.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use super::values::{codec, default_name, fallible, named, output_types};
use crate::diag::{located, shown};
use crate::model::{Arg, ArgKind, Method, Output, OutputKind, Service, Value};
use crate::{attrs, types};

/// Generates the type, its constructors and the implementation of `IntoService`. If `with_methods`
/// is false, the service has no methods.
pub(crate) fn emit(service: &Service, with_methods: bool) -> TokenStream {
    let Service {
        contract,
        service: name,
        proxy,
        vis,
        docs,
        carried,
        private,
        id,
        ..
    } = service;
    let cfgs: Vec<_> = attrs::cfgs(carried).collect();
    let doc =
        format!("An implementation of [`{contract}`] as a service, ready to be registered.\n");
    let details = details(service);
    // A contract with errors may have type parameters, so the name of the contract alone would not
    // be a valid bound. `with_methods` is false for such a contract.
    let bound = with_methods.then_some(contract).into_iter();
    let methods = service.methods.iter().filter(|_| with_methods);
    let methods = methods.map(|method| one_method(service, method));
    let schemas = with_methods.then(|| schemas(service));
    quote_spanned! {Span::mixed_site()=>
        #(#carried)*
        #[doc = #doc]
        #(#docs)*
        #[allow(dead_code)]
        #vis struct #name<T> {
            inner: #private::Arc<T>,
        }

        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]
        impl<T> #name<T> {
            /// Serves this implementation.
            #vis fn new(implementation: T) -> Self {
                Self::from_arc(#private::Arc::new(implementation))
            }

            /// Serves an implementation that the program keeps using.
            #vis fn from_arc(implementation: #private::Arc<T>) -> Self {
                Self { inner: implementation }
            }
        }

        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]
        impl<T> ::core::fmt::Debug for #name<T> {
            fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                __f.debug_struct(::core::stringify!(#name)).finish_non_exhaustive()
            }
        }

        // Type parameters have no hygiene. The name has underscores, because the user may have a
        // type `T`.
        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]
        impl<__T> #private::IntoService for #name<__T> #(where __T: #bound)* {
            type Proxy = #proxy;

            fn into_service(self) -> #private::Service {
                let __service = #private::Service::new(#id) #details;
                #schemas
                #(#methods)*
                __service
            }
        }
    }
}

/// Generates the metadata of the service, except the id of the service.
pub(super) fn details(service: &Service) -> TokenStream {
    let private = &service.private;
    let texts = [
        ("name", service.name.as_ref()),
        (
            "description",
            Some(&service.description).filter(|text| !text.is_empty()),
        ),
        ("docs", service.docs_entry.as_ref()),
        ("service_type", service.service_type.as_ref()),
    ];
    let mut tokens = TokenStream::new();
    for (builder, text) in texts {
        let Some(text) = text else { continue };
        let builder = Ident::new(builder, Span::mixed_site());
        tokens.extend(quote_spanned!(Span::mixed_site()=> .#builder(#text)));
    }
    if let Some(variant) = &service.visibility {
        let span = Span::mixed_site();
        tokens.extend(quote_spanned!(span=> .visibility(#private::Visibility::#variant)));
    }
    let lists = [
        ("authorized_workspaces", &service.authorized_workspaces),
        ("flags", &service.flags),
    ];
    for (builder, texts) in lists.into_iter().filter(|(_, texts)| !texts.is_empty()) {
        let builder = Ident::new(builder, Span::mixed_site());
        tokens.extend(quote_spanned!(Span::mixed_site()=> .#builder([#(#texts),*])));
    }
    if service.singleton {
        tokens.extend(quote_spanned!(Span::mixed_site()=> .singleton(true)));
    }
    tokens
}

/// Generates the statement that collects the schemas of the methods.
pub(super) fn schemas(service: &Service) -> TokenStream {
    let Service { private, proxy, .. } = service;
    quote_spanned! {Span::mixed_site()=>
        #[allow(unused_mut, unused_variables)]
        let mut __schemas =
            #private::MethodSchemas::new(<#proxy as #private::Proxy>::describe);
    }
}

/// Generates the statement that adds one method to `__service`.
pub(super) fn one_method(service: &Service, method: &Method) -> TokenStream {
    let span = located(method.ident.span());
    let private = &shown(&service.private, span);
    let cfgs = attrs::cfgs(&method.carried);
    let wire_name = &method.wire_name;
    let doc = Some(&method.description).filter(|text| !text.is_empty());
    let doc = doc.map(|text| quote_spanned!(span=> .doc(#text)));
    let context = method
        .needs_context()
        .then(|| quote_spanned!(span=> .needs_context(true)));
    let defaults = method
        .values()
        .filter_map(|(arg, value)| default_fn(arg, value));
    let handler = handler(service, method);
    let constructor = if method.blocking {
        quote_spanned!(span=> blocking)
    } else {
        quote_spanned!(span=> new)
    };
    let shared = match service.inherent {
        None => quote_spanned!(span=> &self.inner),
        Some(_) => quote_spanned!(span=> &__inner),
    };
    // Each method is a separate statement, because the attribute `cfg` can stand before a statement
    // but not inside a chain of calls. The names of the variables start with underscores. If the
    // user had a constant with the same name as a variable, `let` would match against the constant.
    quote_spanned! {span=>
        #(#cfgs)*
        let __service = {
            #(#defaults)*
            let __inner = ::core::clone::Clone::clone(#shared);
            __service.method(
                #private::Method::#constructor(#wire_name, #handler) #doc
                    .schema(__schemas.take(#wire_name)) #context
            )
        };
    }
}

/// Generates the function that returns the default value of an argument.
///
/// The expression of the default value appears only once in the generated code. So rustc reports a
/// wrong type once, at the expression. The parameter `&()` provides the lifetime for types with a
/// hidden lifetime, such as `Cow<str>`.
pub(super) fn default_fn(arg: &Arg, value: &Value) -> Option<TokenStream> {
    let default = value.default.as_ref()?;
    let name = default_name(arg);
    let ty = types::with_static(&arg.ty);
    let span = located(default.span());
    Some(quote_spanned!(span=> fn #name(_: &()) -> #ty { #default }))
}

/// Generates the closure that handles one call. The closure decodes the arguments, calls the method
/// and encodes the result.
fn handler(service: &Service, method: &Method) -> TokenStream {
    let contract = &service.contract;
    let ident = &method.ident;
    let span = located(ident.span());
    let private = &shown(&service.private, span);
    let wire_names = method.values().map(|(_, value)| &value.wire_name);
    let mut index = 0usize;
    let (mut locals, mut decoders) = (Vec::new(), Vec::new());
    for (position, arg) in method.args.iter().enumerate() {
        // Use generated names. If the user had a constant with the name of an argument, the
        // compiler would match against the constant instead of declaring a variable.
        locals.push(format_ident!(
            "__arg{position}",
            span = located(arg.ident.span())
        ));
        decoders.push(decoder(private, arg, index));
        index += usize::from(matches!(arg.kind, ArgKind::Value(_)));
    }
    let answer = answer(private, &method.output);
    // Generate this statement even for a method without arguments, because `args` rejects a call
    // with too many arguments.
    let args = quote_spanned!(span=> __incoming.args(&[#(#wire_names),*])?;);
    let args = if index == 0 {
        args
    } else {
        quote_spanned!(span=> let __args = #args)
    };
    let function = match &service.inherent {
        None => quote_spanned!(span=> <__T as #contract>::#ident),
        Some(ty) => quote_spanned!(span=> <#ty>::#ident),
    };
    let call = quote_spanned!(span=> #function(&*__inner, #(#locals),*));
    let body = |call: TokenStream| {
        quote_spanned! {span=>
            #args
            #(let #locals = #decoders;)*
            let __output = #call;
            #answer
        }
    };
    if method.blocking {
        let body = body(call);
        return quote_spanned!(span=> move |__incoming: #private::IncomingCall| { #body });
    }
    let body = body(quote_spanned!(span=> #call.await));
    // The stream may borrow from the service and from the arguments. So the future that owns the
    // service and the arguments must also run the stream.
    let run = match method.output.stream {
        None => quote_spanned!(span=> async move { #body }),
        Some(_) => quote_spanned!(span=> #private::stream(move |__feed| async move { #body })),
    };
    quote_spanned! {span=>
        move |__incoming: #private::IncomingCall| {
            let __inner = ::core::clone::Clone::clone(&__inner);
            #run
        }
    }
}

/// Generates the expression that decodes one argument. `index` is the position of the argument
/// among the arguments that callers send.
fn decoder(private: &Ident, arg: &Arg, index: usize) -> TokenStream {
    let ty = &arg.ty;
    let span = located(ty.span());
    let private = &shown(private, span);
    match &arg.kind {
        ArgKind::Context => quote_spanned!(span=> #private::context::<#ty>(&__incoming)),
        ArgKind::Value(value) => {
            let codec = codec(private, arg);
            match &value.default {
                None if value.required => quote_spanned!(span=> #codec.sent(&__args, #index)?),
                None => quote_spanned!(span=> #codec.required(&__args, #index)?),
                Some(_) => {
                    let default = default_name(arg);
                    quote_spanned!(span=> #codec.or_else(&__args, #index, || #default(&()))?)
                }
            }
        }
    }
}

/// Generates the code that sends the content of `__output`: the value, the error or the stream.
fn answer(private: &Ident, output: &Output) -> TokenStream {
    let named = named(private, output);
    let whole = &named.whole;
    let span = located(whole.span());
    let private = &shown(private, span);
    let whole_fallible = fallible(private, &named);
    let (ok, error) = match output.kind {
        // rustc infers the value type and the error type from `into_result`.
        OutputKind::Unknown => (quote_spanned!(span=> _), quote_spanned!(span=> _)),
        _ => output_types(private, &named),
    };
    let fail = quote_spanned!(span=> #private::fail::<#error, _>(&__incoming, __error));
    let (whole, reply) = match &output.stream {
        None => {
            let reply = match shared_bytes(private, &named) {
                Some(ok) => quote_spanned!(span=> #private::ResultOf::<#ok>::reply),
                None => quote_spanned!(span=> #private::reply::<#ok>),
            };
            let reply = quote_spanned!(span=> #reply(&__incoming, &__value));
            (whole.to_token_stream(), reply)
        }
        Some(item) => {
            let fallible = fallible(private, item);
            let item = &item.whole;
            let span = located(item.span());
            let pack = quote_spanned!(span=> #private::item::<#item, #fallible>());
            let reply = quote_spanned!(span=> __feed.run(__value, #pack).await);
            (quote_spanned!(span=> _), reply)
        }
    };
    let result = match (&output.kind, &output.stream) {
        (OutputKind::Fallible(_), None) => {
            quote_spanned!(span=> #private::written_result::<#whole, #ok, #error>(__output))
        }
        // The return type seems to be an alias of `Result`.
        (OutputKind::Unknown, Some(_)) => {
            quote_spanned!(span=> #private::written_result(__output))
        }
        _ => quote_spanned!(span=> #private::into_result::<#whole, #whole_fallible>(__output)),
    };
    quote_spanned! {span=>
        match #result {
            ::core::result::Result::Ok(__value) => #reply,
            ::core::result::Result::Err(__error) => #fail,
        }
    }
}

/// Returns the type of the result if its name may be the name of `bytes::Bytes` or of an `ndarray`
/// array. The runtime sends the bytes of such a result without a copy.
fn shared_bytes(private: &Ident, output: &Output) -> Option<TokenStream> {
    let ok = match &output.kind {
        OutputKind::Fallible(parts) => &parts.0,
        OutputKind::Plain | OutputKind::Unknown => &output.whole,
    };
    types::may_be_shared_bytes(ok).then(|| output_types(private, output).0)
}
