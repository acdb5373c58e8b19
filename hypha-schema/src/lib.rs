//! Writes descriptions of Hypha services in other languages.
//!
//! A [`Description`] comes from a compiled-in contract ([`Description::of`]), from any service on a
//! server ([`Description::fetch`]), or from a recorded `service_schema`
//! ([`Description::from_schema`]). It can be written as a list of functions for language models, as
//! OpenAPI, as TypeScript or Python declarations, or as a Rust contract.
//!
//! ```
//! use hypha_rpc::prelude::*;
//! use hypha_schema::Description;
//!
//! struct Desk;
//!
//! #[hypha_service(id = "desk")]
//! impl Desk {
//!     /// Divide one number by another.
//!     pub async fn divide(&self, a: f64, #[hypha(default = 1.0)] b: f64) -> f64 {
//!         a / b
//!     }
//! }
//!
//! let desk = Description::of(Desk);
//! assert!(desk.typescript().contains("divide(a: number, b?: number): Promise<number>;"));
//! assert!(desk.python().contains("async def divide(self, a: float, b: float = ...) -> float:"));
//! assert_eq!(desk.functions()[0]["function"]["name"], "divide");
//! assert!(desk.openapi()["paths"]["/divide"]["post"].is_object());
//! ```
//!
//! Names and descriptions come from the author of the service, so they are not trusted. A name that
//! is not an identifier in a language is quoted where the language allows it; otherwise the method
//! is omitted and a comment says so. A description cannot end the comment or literal that contains
//! it.
//!
//! The command `hypha schema` of the package `hypha-cli` writes the same output:
//!
//! ```text
//! hypha schema --server-url https://hypha.example.org --service ws/client:desk --format rust
//! ```
//!
//! # Stability
//!
//! This crate has the same version as `hypha-rpc`, and is not stable by itself: use it with the
//! `hypha-rpc` of the same version. Any release may change its API and output.

// A description becomes output in three steps: `table` collects the definitions of all functions,
// `read` converts schemas to `types`, and `model` holds the result, which each format writes.
// `keywords`, `properties`, `names` and `text` sanitize untrusted schemas, names and descriptions.
// Chains of references are followed with queues and explicit stacks, because with recursion a
// malicious schema could overflow the call stack.
mod choices;
mod description;
mod fetch;
mod format;
mod functions;
mod json_form;
mod keywords;
mod limits;
mod model;
mod names;
mod openapi;
mod own_text;
mod possible;
mod properties;
mod python;
mod raised;
mod read;
mod room;
mod rust;
mod standard;
mod table;
mod text;
mod tree;
mod types;
mod typescript;
mod used;

pub use description::{Description, TooLarge};
pub use format::{Format, UnknownFormat};
pub use json_form::json_parameters;

#[cfg(test)]
mod tests;
