//! Tests that generated code compiles in unfavorable surroundings: without the prelude, beside
//! types with the same names, with a renamed crate, in a function body, and with the strictest
//! lints.

#![deny(
    missing_docs,
    unreachable_pub,
    unused,
    elided_lifetimes_in_paths,
    single_use_lifetimes
)]
#![deny(clippy::all, clippy::pedantic)]
#![allow(dead_code, missing_debug_implementations)]

/// Serializable types. They are not defined in the modules without a prelude, because the derives
/// of serde need the prelude.
pub mod plain {
    /// A type.
    #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    pub struct Vec;
    /// A type.
    #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    pub struct T;
    /// A type.
    #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    pub struct Context;
    /// A type.
    #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    pub struct Error;
    /// A result.
    pub type Outcome<T> = Result<T, String>;
    /// A field.
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Text(pub String);
    impl From<String> for Text {
        fn from(text: String) -> Self {
            Text(text)
        }
    }
}

/// Types that a user could define, with the same names as types of the standard library and of
/// `hypha-rpc`.
#[no_implicit_prelude]
pub mod shadows {
    pub use crate::plain::{Context, Error, T, Vec};

    /// A type.
    pub struct Result;
    /// A type.
    pub struct Option;
    /// A type.
    pub struct String;
    /// A type.
    pub struct Arc;
    /// A type.
    pub struct Args;
    /// A type.
    pub struct Service;
    /// A type.
    pub struct Box;
    /// A type.
    pub struct Value;
    /// A type.
    pub struct Call;
    /// A type.
    pub struct RemoteService;
    /// A type.
    pub struct RemoteStream;
    /// A type.
    pub struct Method;
    /// A type.
    pub struct IncomingCall;
    /// A type.
    pub struct Probe;
    /// A type.
    pub struct WireError;
    /// A type.
    pub struct Infallible;
    /// A type.
    pub struct Some;
    /// A type.
    pub struct None;
    /// A type.
    pub struct Ok;
    /// A type.
    pub struct Err;
    /// A trait.
    pub trait Stream {}
    /// A trait.
    pub trait Proxy {}
    /// A trait.
    pub trait IntoService {}
    /// A trait.
    pub trait NotAResult {}
    /// A trait.
    pub trait Output {}
    /// A trait.
    pub trait Clone {}
    /// A trait.
    pub trait Debug {}
    /// A trait.
    pub trait Drop {}
    /// A trait.
    pub trait FnOnce {}
    /// A trait.
    pub trait Send {}
    /// A trait.
    pub trait Sync {}
    /// A trait.
    pub trait Future {}
    /// A contract beside these types.
    #[::hypha_rpc::hypha_service(crate = crate::renamed)]
    pub trait Shadowed {
        /// Uses these types, and parameters with the names of locals in generated code.
        async fn all(
            &self,
            service: Vec,
            inner: T,
            #[hypha(context = false)] incoming: Context,
            #[hypha(default = 3)] output: u8,
        ) -> ::core::result::Result<Error, ::std::string::String>;
        /// A method that has the name of a method in the trait `Proxy`.
        async fn service(&self, value: ::core::option::Option<u8>, error: u8) -> T;
        /// A method that has the name of a generated method.
        #[allow(clippy::wrong_self_convention)]
        async fn from_service(&self);
        /// A method that has the name of a method in a common trait.
        async fn clone(&self) -> ::core::primitive::u8;
        /// A blocking method.
        #[hypha(blocking)]
        fn blocking(&self, args: &::core::primitive::str, #[hypha(default = 3)] call: u8) -> Error;
        /// A method whose name is a keyword.
        async fn r#match(&self, r#type: u8);
        /// A method that returns a stream, through an alias.
        async fn stream(
            &self,
            feed: u8,
        ) -> crate::plain::Outcome<impl ::futures_util::Stream<Item = crate::plain::Outcome<u8>>>;
    }
}

/// Constants and statics that have the same names as local variables in generated code. A pattern
/// with such a name would match the constant instead of binding a variable.
#[allow(non_upper_case_globals)]
pub mod constants {
    use hypha_rpc::prelude::*;

    macro_rules! constants {
        ($($name:ident)*) => {
            $(const $name: u8 = 1;)*
        };
    }
    constants!(arg0 arg1 error f feed incoming inner output schema service value);
    static args: u8 = inner;

    /// A contract beside these constants.
    #[hypha_service]
    pub trait Among {
        /// Arguments of all kinds.
        async fn all(&self, a: u8, #[hypha(default = args)] b: u8, ctx: &Context) -> u8;
        /// Nothing.
        async fn nothing(&self) -> Result<(), String>;
        /// A stream.
        async fn stream(&self) -> Result<impl Stream<Item = Result<u8, String>>, String>;
        /// A blocking method.
        #[hypha(blocking)]
        fn block(&self, a: u8) -> u8;
    }

    /// A service beside these constants.
    pub struct Block;

    #[hypha_service]
    impl Block {
        /// An argument with a default.
        pub async fn default(&self, #[hypha(default = args)] a: u8) -> u8 {
            a
        }

        /// A blocking method for which clippy must not suggest changes.
        #[hypha(blocking)]
        pub fn block(&self, a: u8) -> u8 {
            a
        }
    }

    /// Arguments by name.
    #[must_use]
    pub fn by_name() -> hypha_wire::Args {
        hypha_rpc::args!(1, b = 2)
    }
}

/// Error types beside user types that have the names of common types. The traits that other derives
/// would implement are implemented by hand.
pub mod errors {
    use crate::plain::Text;

    /// A type.
    pub struct Result;
    /// A type.
    pub struct Option;
    /// A type.
    pub struct Some;
    /// A type.
    pub struct String;
    /// A type.
    pub struct ErrorVariant;
    /// A trait.
    pub trait TypedError {}
    /// A constant.
    pub const VARIANTS: u8 = 0;
    /// A constant.
    #[allow(non_upper_case_globals)]
    pub const message: u8 = 0;
    /// A constant.
    #[allow(non_upper_case_globals)]
    pub const error: u8 = 0;

    /// Every kind of variant.
    #[derive(hypha_rpc::RemoteError)]
    #[remote_error(crate = crate::renamed)]
    #[allow(missing_docs)]
    pub enum Shadowed {
        #[remote_error(class = "A")]
        String,
        #[remote_error(class = ["B", "C"])]
        Some(Text),
        #[deprecated]
        Old {
            error: u8,
            variant: u8,
        },
        #[remote_error(name = "r", other)]
        r#Type {
            r#type: Text,
        },
        #[cfg(any())]
        Gone(Missing),
        Nothing {},
        Empty(),
    }

    impl ::core::fmt::Display for Shadowed {
        fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            f.write_str("an error")
        }
    }

    impl serde::Serialize for Shadowed {
        fn serialize<S: serde::Serializer>(
            &self,
            serializer: S,
        ) -> ::core::result::Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }

    impl<'de> serde::Deserialize<'de> for Shadowed {
        fn deserialize<D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> ::core::result::Result<Self, D::Error> {
            <() as serde::Deserialize>::deserialize(deserializer).map(|()| Shadowed::String)
        }
    }

    macro_rules! error {
        ($name:ident, $wire:literal, $class:literal) => {
            /// An error made by a macro.
            #[derive(
                Debug,
                thiserror::Error,
                serde::Serialize,
                serde::Deserialize,
                hypha_rpc::RemoteError,
            )]
            #[error("made")]
            #[remote_error(name = $wire, class = [$class, "Other"])]
            pub struct $name;
        };
    }
    error!(Made, "made", "MadeError");

    /// Derives without the prelude.
    #[no_implicit_prelude]
    pub mod bare {
        #[derive(::hypha_rpc::RemoteError)]
        #[remote_error(other)]
        struct Private(::std::string::String);

        impl ::core::fmt::Display for Private {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl ::serde::Serialize for Private {
            fn serialize<S: ::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for Private {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                let text =
                    <::std::string::String as ::serde::Deserialize>::deserialize(deserializer)?;
                ::core::result::Result::Ok(Private(text))
            }
        }
    }
}

use hypha_rpc as renamed;

/// Contracts with strict lints and with attributes.
#[no_implicit_prelude]
pub mod strict {
    /// A private contract.
    #[::hypha_rpc::hypha_service]
    trait Private {
        async fn undocumented(&self, name: &str);
    }

    /// A contract that is visible in the crate.
    #[::hypha_rpc::hypha_service]
    pub(crate) trait Restricted: ::core::fmt::Debug {
        /// A method with a body.
        async fn with_body(&self, number: u32) -> u32 {
            let doubled = number * 2;
            doubled + 1
        }
        /// A method without arguments.
        async fn nothing(&self) {}
        /// A blocking method.
        #[hypha(blocking)]
        fn blocking(&self, number: u32) -> u32 {
            number * 2
        }
        /// A deprecated method.
        #[deprecated = "use the other"]
        async fn former(&self, a: u8);
        /// A method that is not compiled.
        #[cfg(any())]
        async fn gone(&self, a: Missing) -> Gone;
        /// A method with two alternatives.
        #[cfg(not(any()))]
        async fn either(&self);
        /// The other alternative.
        #[cfg(any())]
        async fn either(&self, a: Missing);
    }

    /// A deprecated contract.
    #[::hypha_rpc::hypha_service]
    #[deprecated]
    pub trait Former {
        /// Nothing.
        async fn nothing(&self);
    }

    /// A contract that is not compiled.
    #[::hypha_rpc::hypha_service]
    #[cfg(any())]
    pub trait Gone {
        /// Nothing.
        async fn nothing(&self, a: Missing);
    }
}

macro_rules! contract {
    ($name:ident, $number:ty, $text:ty) => {
        /// A contract made by a macro.
        #[::hypha_rpc::hypha_service]
        pub trait $name {
            /// Types passed to the macro.
            async fn both(&self, number: $number, text: $text) -> $number;
        }
    };
}
contract!(Made, u8, &str);

macro_rules! block {
    ($name:ident, $vis:vis, $body:block, $method:item) => {
        /// A service made by a macro.
        pub struct $name;

        #[::hypha_rpc::hypha_service]
        impl $name {
            /// A body passed to the macro.
            $vis async fn number(&self) -> u8 $body
            $method
        }
    };
}
block!(
    MadeBlock,
    pub,
    { 3 },
    /// A method passed to the macro.
    pub async fn other(&self) -> u8 {
        4
    }
);

#[test]
fn a_contract_in_a_function() {
    #[::hypha_rpc::hypha_service]
    trait Local {
        async fn add(&self, a: u8, b: u8) -> u8;
        async fn checked_add(&self, a: u8, b: u8) -> Checked;
    }

    type Checked = plain::Outcome<u8>;
    struct Adder;
    impl Local for Adder {
        async fn add(&self, a: u8, b: u8) -> u8 {
            a + b
        }
        async fn checked_add(&self, a: u8, b: u8) -> Checked {
            a.checked_add(b).ok_or_else(|| "too much".to_owned())
        }
    }

    struct Alone;
    #[::hypha_rpc::hypha_service]
    impl Alone {
        pub async fn checked_add(&self, a: u8, b: u8) -> Checked {
            a.checked_add(b).ok_or_else(|| "too much".to_owned())
        }
    }

    let service = hypha_rpc::service::IntoService::into_service(LocalService::new(Adder));
    assert_eq!(service.id(), "local");
    let service = hypha_rpc::service::IntoService::into_service(Alone);
    assert_eq!(service.id(), "alone");
}
