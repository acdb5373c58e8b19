//! Generates `FooProxy`. The methods of `FooProxy` call the methods of a remote service.
//!
//! The only inherent methods of the proxy are the methods of the contract, so no names can clash.
//! All other methods are in the trait `Proxy`. Each method returns a `Call`. A `Call` sends nothing
//! before it is awaited, and accepts options such as a timeout.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use super::schema;
use super::values::{call_types, codec, documented_types};
use crate::diag::{located, shown};
use crate::model::{Method, Service, Stub};
use crate::{attrs, types};

/// Generates the proxy. `with_methods` is false for an invalid contract. The generated proxy then
/// contains no descriptions of the methods.
pub(crate) fn emit(service: &Service, with_methods: bool) -> TokenStream {
    let Service {
        contract,
        proxy,
        vis,
        docs,
        carried,
        private,
        id,
        ..
    } = service;
    let cfgs: Vec<_> = attrs::cfgs(carried).collect();
    let doc = format!("Calls a remote [`{contract}`].\n");
    let methods = service
        .methods
        .iter()
        .map(|method| one_method(service, method));
    // Generate no description for a method with `_` in the types of its arguments. rustc reports
    // the `_` in the signature, and would report the `_` again in the description.
    let is_typed = |method: &&Method| {
        let mut arguments = method.values();
        !arguments.any(|(arg, _)| types::is_inferred(&arg.ty))
    };
    let described = service.methods.iter().filter(|_| with_methods);
    let described = described.filter(is_typed);
    let described = described.map(|method| schema::statement(private, method));
    let text = &service.description;
    let description = (with_methods && !text.is_empty())
        .then(|| quote_spanned!(Span::mixed_site()=> __methods.description(#text);));
    let contract_name = contract.unraw().to_string();
    let stubs = service.stubs.iter().map(|stub| one_stub(service, stub));
    quote_spanned! {Span::mixed_site()=>
        #(#carried)*
        #[doc = #doc]
        #(#docs)*
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #[allow(dead_code)]
        #vis struct #proxy {
            service: #private::RemoteService,
        }

        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]
        impl #private::Proxy for #proxy {
            const SERVICE_ID: &'static str = #id;
            const CONTRACT: &'static str = #contract_name;

            #[allow(unused_variables)]
            fn describe(__methods: &mut #private::MethodSchemas) {
                #description
                #(#described)*
            }

            fn from_service(__service: #private::RemoteService) -> Self {
                Self { service: __service }
            }

            fn service(&self) -> &#private::RemoteService {
                &self.service
            }
        }

        #(#cfgs)*
        #[allow(dead_code, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]
        impl #proxy {
            #(#methods)*
            #(#stubs)*
        }
    }
}

/// Generates a placeholder for an invalid method of the contract. The body of the placeholder never
/// runs, because the program does not compile. The body is `loop {}`, which is valid for every
/// return type.
fn one_stub(service: &Service, stub: &Stub) -> TokenStream {
    let Service { private, vis, .. } = service;
    let Stub {
        ident,
        generics,
        carried,
        args,
        output,
    } = stub;
    let span = located(ident.span());
    let (ok, error) = match output {
        Some(output) => call_types(private, output),
        None => (
            quote_spanned!(span=> #private::Infallible),
            quote_spanned!(span=> #private::Infallible),
        ),
    };
    let clause = &generics.where_clause;
    quote_spanned! {span=>
        #(#carried)*
        #[allow(missing_docs)]
        #vis fn #ident #generics(&self, #(_: #args),*) -> #private::Call<#ok, #error> #clause {
            loop {}
        }
    }
}

/// Generates one method. The generated method encodes the arguments before it returns, so the
/// returned call borrows nothing.
fn one_method(service: &Service, method: &Method) -> TokenStream {
    let vis = &service.vis;
    let Method {
        ident,
        wire_name,
        carried,
        docs,
        ..
    } = method;
    let span = located(ident.span());
    let private = &shown(&service.private, span);
    let parameters = method.values().map(|(arg, _)| {
        let (name, ty) = (&arg.ident, &arg.ty);
        quote_spanned!(located(ty.span())=> #name: #ty)
    });
    let pushes = method.values().map(|(arg, value)| {
        let codec = codec(private, arg);
        let (name, wire_name) = (&arg.ident, &value.wire_name);
        let span = located(arg.ty.span());
        // `push` would omit a `None`. The callee would then use the default of the argument instead
        // of `None`, or miss the argument.
        if value.default.is_some() || value.required {
            quote_spanned!(span=> #codec.push_always(&mut __args, #wire_name, &#name))
        } else {
            quote_spanned!(span=> #codec.push(&mut __args, #wire_name, &#name))
        }
    });
    let count = method.values().count();
    let binding = match count {
        0 => quote_spanned!(span=> let __args),
        _ => quote_spanned!(span=> let mut __args),
    };
    let (ok, error) = call_types(private, &method.output);
    let documented = documented_types(private, &method.output);
    let compiled = documented
        .as_ref()
        .map(|_| quote_spanned!(span=> #[cfg(not(doc))]));
    let documented = documented.map(|(ok, error)| {
        let parameters = method.values().map(|(arg, _)| {
            let (name, ty) = (&arg.ident, &arg.ty);
            quote_spanned!(located(ty.span())=> #name: #ty)
        });
        quote_spanned! {span=>
            #[cfg(doc)]
            #(#docs)*
            #(#carried)*
            #vis fn #ident(&self, #(#parameters),*) -> #private::Call<#ok, #error> {
                loop {}
            }
        }
    });
    quote_spanned! {span=>
        #documented
        #compiled
        #(#docs)*
        #(#carried)*
        #vis fn #ident(&self, #(#parameters),*) -> #private::Call<#ok, #error> {
            #binding = #private::Args::new(#count, 0);
            #(#pushes;)*
            #private::call(#private::Proxy::service(self), #wire_name, __args)
        }
    }
}
