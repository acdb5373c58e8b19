//! Generates the path through which generated code refers to the runtime crate.
//!
//! Besides `core` and `std`, generated code refers only to the runtime crate. The crate of the user
//! may not depend on other crates, or may rename them.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::{Attribute, Ident, Path};

/// Returns the path of the module that contains all items for generated code. The module is in
/// `::hypha_rpc`, or in the crate that the user names with the key `crate`.
pub(crate) fn private(given: Option<Path>) -> TokenStream {
    let span = Span::mixed_site();
    match given {
        Some(path) => quote_spanned!(span=> #path::__private),
        None => quote_spanned!(span=> ::hypha_rpc::__private),
    }
}

/// Generates an import of the runtime module as `alias`. No other generated code contains the path
/// of the module, so rustc reports a wrong path only once.
pub(crate) fn import(private: &TokenStream, alias: &Ident, cfgs: &[&Attribute]) -> TokenStream {
    quote_spanned! {Span::mixed_site()=>
        #(#cfgs)*
        #[allow(non_camel_case_types, unused_imports)]
        // The traits are imported as `_`, because only method lookup needs them.
        use #private::{
            self as #alias, AnyArgument as _, AnyError as _, AnyResult as _, AnyReturn as _,
            BytesReturn as _, ErrorSchema as _, OtherSchema as _, OwnSchema as _,
            SchemaReturn as _,
        };
    }
}
