//! Contracts that use every feature, as traits and as `impl` blocks. They compile under the
//! strictest lints, because generated code must not cause warnings in the crate of a user. The
//! programs in `tests/` implement and call the contracts from other crates.

#![deny(
    deprecated_in_future,
    future_incompatible,
    keyword_idents,
    let_underscore,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    nonstandard_style,
    non_ascii_idents,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unreachable_pub,
    unsafe_code,
    unused,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences,
    warnings
)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
#![deny(
    clippy::absolute_paths,
    clippy::allow_attributes,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::infinite_loop,
    clippy::let_underscore_untyped,
    clippy::missing_docs_in_private_items,
    clippy::panic,
    clippy::pattern_type_mismatch,
    clippy::ref_patterns,
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::single_call_fn,
    clippy::unwrap_used
)]
// This lint also applies to handwritten methods, so it is not specific to generated code.
#![allow(clippy::missing_errors_doc)]

pub mod alone;
pub mod shared;
pub mod types;

/// A private contract that nothing uses. It must not cause warnings about dead code.
mod private {
    use hypha_rpc::hypha_service;

    /// Contract that nothing uses.
    #[hypha_service]
    trait Unused {
        /// Do nothing.
        async fn nothing(&self, number: u32) -> u32;
        /// Do nothing, with a body.
        async fn body(&self) -> u32 {
            1
        }
    }
}
