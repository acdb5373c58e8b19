//! Generated code must compile wherever the user puts it: without the prelude, beside types with the
//! names it uses, under another crate path, in a function body, with the strictest lints.

#![deny(
    missing_docs,
    unreachable_pub,
    unused,
    elided_lifetimes_in_paths,
    single_use_lifetimes
)]
#![deny(clippy::all, clippy::pedantic)]
#![allow(dead_code)]

/// Types that travel; derives of others need the prelude.
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
}

/// Types of the user with famous names.
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
    /// A trait.
    pub trait Send {}
    /// A trait.
    pub trait Sync {}
    /// A trait.
    pub trait Future {}
    /// A contract among them.
    #[::hypha_rpc::hypha_service(crate = crate::renamed)]
    pub trait Shadowed {
        /// Uses them, and parameters named as locals of generated code.
        async fn all(
            &self,
            service: Vec,
            inner: T,
            #[hypha(context = false)] incoming: Context,
            #[hypha(default = 3)] output: u8,
        ) -> ::core::result::Result<Error, ::std::string::String>;
        /// Names of the proxy's own trait.
        async fn service(&self, value: ::core::option::Option<u8>, error: u8) -> T;
        /// Another.
        #[allow(clippy::wrong_self_convention)]
        async fn from_service(&self);
        /// Another.
        async fn clone(&self) -> ::core::primitive::u8;
        /// A name that is a word of the language.
        async fn r#match(&self, r#type: u8);
    }
}

use hypha_rpc as renamed;

/// Lints and attributes.
#[no_implicit_prelude]
pub mod strict {
    /// A private contract.
    #[::hypha_rpc::hypha_service]
    trait Private {
        async fn undocumented(&self, name: &str);
    }

    /// A contract of the crate.
    #[::hypha_rpc::hypha_service]
    pub(crate) trait Restricted: ::core::fmt::Debug {
        /// With a body.
        async fn with_body(&self, number: u32) -> u32 {
            let doubled = number * 2;
            doubled + 1
        }
        /// Nothing at all.
        async fn nothing(&self) {}
        /// A method of former times.
        #[deprecated = "use the other"]
        async fn former(&self, a: u8);
        /// Not here.
        #[cfg(any())]
        async fn gone(&self, a: Missing) -> Gone;
        /// Either here.
        #[cfg(not(any()))]
        async fn either(&self);
        /// Or there.
        #[cfg(any())]
        async fn either(&self, a: Missing);
    }

    /// A contract of former times.
    #[::hypha_rpc::hypha_service]
    #[deprecated]
    pub trait Former {
        /// Nothing.
        async fn nothing(&self);
    }

    /// Not here.
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
            /// Types from outside.
            async fn both(&self, number: $number, text: $text) -> $number;
        }
    };
}
contract!(Made, u8, &str);

#[test]
fn a_contract_in_a_function() {
    #[::hypha_rpc::hypha_service]
    trait Local {
        async fn add(&self, a: u8, b: u8) -> u8;
    }

    struct Adder;
    impl Local for Adder {
        async fn add(&self, a: u8, b: u8) -> u8 {
            a + b
        }
    }

    let service = hypha_rpc::service::IntoService::into_service(LocalService::new(Adder));
    assert_eq!(service.id(), "local");
}
