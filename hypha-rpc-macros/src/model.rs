//! Model of a contract, independent of syntax: errors are found before it is built, code is
//! generated from it.

use proc_macro2::TokenStream;
use syn::{Attribute, Expr, Generics, Ident, LitStr, Type, Visibility};

use crate::doc_text::Text;

pub(crate) struct Service {
    pub(crate) contract: Ident,
    pub(crate) service: Ident,
    pub(crate) proxy: Ident,
    pub(crate) vis: Visibility,
    /// Documentation of the trait.
    pub(crate) docs: Vec<Attribute>,
    /// `cfg`, `deprecated` and `allow`, for every generated item.
    pub(crate) carried: Vec<Attribute>,
    /// The path of the runtime module.
    pub(crate) runtime: TokenStream,
    /// The name by which generated code knows it.
    pub(crate) private: Ident,
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) description: String,
    pub(crate) docs_entry: Option<String>,
    pub(crate) service_type: Option<String>,
    /// Variant of the runtime's `Visibility`.
    pub(crate) visibility: Option<Ident>,
    pub(crate) authorized_workspaces: Vec<LitStr>,
    pub(crate) singleton: bool,
    pub(crate) flags: Vec<LitStr>,
    pub(crate) methods: Vec<Method>,
    pub(crate) stubs: Vec<Stub>,
    /// The type of an `impl` block; `None` for a trait.
    pub(crate) inherent: Option<Type>,
}

pub(crate) struct Method {
    pub(crate) ident: Ident,
    pub(crate) wire_name: String,
    pub(crate) description: Text,
    /// As [`Service::carried`].
    pub(crate) carried: Vec<Attribute>,
    /// Documentation for the proxy's method.
    pub(crate) docs: Vec<Attribute>,
    /// A plain `fn`, run on a thread of its own.
    pub(crate) blocking: bool,
    pub(crate) args: Vec<Arg>,
    pub(crate) output: Output,
}

/// A method with a mistake that keeps it from being called. Its proxy has something of that name,
/// or every use of it would be one more error.
pub(crate) struct Stub {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) carried: Vec<Attribute>,
    pub(crate) args: Vec<Type>,
    pub(crate) output: Option<Output>,
}

impl Method {
    /// The arguments that travel, in order.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&Arg, &Value)> {
        self.args.iter().filter_map(|arg| match &arg.kind {
            ArgKind::Value(value) => Some((arg, &**value)),
            ArgKind::Context => None,
        })
    }

    pub(crate) fn needs_context(&self) -> bool {
        self.args
            .iter()
            .any(|arg| matches!(arg.kind, ArgKind::Context))
    }
}

pub(crate) struct Arg {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) kind: ArgKind,
}

pub(crate) enum ArgKind {
    /// Comes from the caller.
    Value(Box<Value>),
    /// Made by the runtime; callers do not know of it.
    Context,
}

pub(crate) struct Value {
    pub(crate) wire_name: String,
    pub(crate) description: Text,
    pub(crate) default: Option<Expr>,
}

/// Return type of a method. Tokens do not show whether a type is a `Result`, because it may be an
/// alias; rustc decides where it must. The other two kinds appear in the documentation of proxies.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) whole: Type,
    pub(crate) kind: OutputKind,
    /// The items, if there is an `impl Stream` in the type.
    pub(crate) stream: Option<Box<Output>>,
}

#[derive(Clone)]
pub(crate) enum OutputKind {
    /// Certainly not a `Result`.
    Plain,
    /// Written as `Result<T, E>`, with these two.
    Fallible(Box<(Type, Type)>),
    /// Anything else.
    Unknown,
}
