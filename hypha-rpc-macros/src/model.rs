//! Model of a contract, independent of syntax.
//!
//! `lower` builds the model after finding all errors that the tokens show, and `emit` generates
//! code from the model.

use proc_macro2::TokenStream;
use syn::{Attribute, Expr, Generics, Ident, LitStr, Type, Visibility};

use crate::doc_text::Text;

/// A contract, from a trait or an `impl` block.
pub(crate) struct Service {
    /// Name of the trait, or of the type of the `impl` block.
    pub(crate) contract: Ident,
    /// Name of the generated service type, `FooService`. Not generated for an `impl` block.
    pub(crate) service: Ident,
    /// Name of the generated proxy, `FooProxy`.
    pub(crate) proxy: Ident,
    pub(crate) vis: Visibility,
    /// Documentation of the trait.
    pub(crate) docs: Vec<Attribute>,
    /// `cfg`, `deprecated` and `allow`, for every generated item.
    pub(crate) carried: Vec<Attribute>,
    /// Path of the runtime module, `hypha_rpc::__private`.
    pub(crate) runtime: TokenStream,
    /// Name under which generated code imports the runtime module.
    pub(crate) private: Ident,
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) description: String,
    /// Value of the key `docs`, an entry of the service's record.
    pub(crate) docs_entry: Option<String>,
    pub(crate) service_type: Option<String>,
    /// Variant of the runtime's `Visibility`.
    pub(crate) visibility: Option<Ident>,
    pub(crate) authorized_workspaces: Vec<LitStr>,
    /// Whether the workspace may contain only one service with this id.
    pub(crate) singleton: bool,
    pub(crate) flags: Vec<LitStr>,
    pub(crate) methods: Vec<Method>,
    /// Methods that cannot be called. Empty unless an error was reported.
    pub(crate) stubs: Vec<Stub>,
    /// Type of the `impl` block. `None` for a trait.
    pub(crate) inherent: Option<Type>,
}

/// A method that can be called.
pub(crate) struct Method {
    pub(crate) ident: Ident,
    pub(crate) wire_name: String,
    pub(crate) description: Text,
    /// As [`Service::carried`].
    pub(crate) carried: Vec<Attribute>,
    /// Documentation for the proxy's method.
    pub(crate) docs: Vec<Attribute>,
    /// Whether the method is a plain `fn`, which runs on a blocking thread.
    pub(crate) blocking: bool,
    pub(crate) args: Vec<Arg>,
    pub(crate) output: Output,
    /// `#[schemars(..)]`, which adds keywords to the schema of the result.
    pub(crate) schema: Vec<Attribute>,
}

/// Method that cannot be called because of an error. The proxy still has a method with its name;
/// otherwise every use would cause another error.
pub(crate) struct Stub {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) carried: Vec<Attribute>,
    pub(crate) args: Vec<Type>,
    /// Return type. `None` if the error is in the return type.
    pub(crate) output: Option<Output>,
}

impl Method {
    /// Returns the arguments that the caller sends, in order.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&Arg, &Value)> {
        self.args.iter().filter_map(|arg| match &arg.kind {
            ArgKind::Value(value) => Some((arg, &**value)),
            ArgKind::Context => None,
        })
    }

    /// Returns whether the method has a parameter for the context.
    pub(crate) fn needs_context(&self) -> bool {
        self.args
            .iter()
            .any(|arg| matches!(arg.kind, ArgKind::Context))
    }
}

/// A parameter of a method.
pub(crate) struct Arg {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) kind: ArgKind,
}

pub(crate) enum ArgKind {
    /// Argument that the caller sends.
    Value(Box<Value>),
    /// The context of the call, which the runtime adds. Proxies do not have this parameter.
    Context,
}

/// Properties of an argument that the caller sends.
pub(crate) struct Value {
    pub(crate) wire_name: String,
    pub(crate) description: Text,
    /// Expression for the value of a missing argument.
    pub(crate) default: Option<Expr>,
    /// Whether callers must send the argument even if its type is an `Option`.
    pub(crate) required: bool,
    /// `#[schemars(..)]`, which changes the schema of the argument.
    pub(crate) schema: Vec<Attribute>,
}

/// Return type of a method.
///
/// Tokens do not show whether a type is a `Result`, because it may be an alias. For
/// [`OutputKind::Unknown`] the generated code leaves the decision to rustc. The other two kinds
/// exist because they produce readable types in the documentation of proxies.
#[derive(Clone)]
pub(crate) struct Output {
    /// The type as the user wrote it.
    pub(crate) whole: Type,
    pub(crate) kind: OutputKind,
    /// Type of the items, if the type contains `impl Stream`.
    pub(crate) stream: Option<Box<Output>>,
}

/// Whether a type is a `Result`, as far as its tokens show.
#[derive(Clone)]
pub(crate) enum OutputKind {
    /// Certainly not a `Result`.
    Plain,
    /// Written as `Result<T, E>`, with these two types.
    Fallible(Box<(Type, Type)>),
    /// Anything else.
    Unknown,
}
