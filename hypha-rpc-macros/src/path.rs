//! How generated code names the runtime crate.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::Path;

/// The module with everything that generated code names, in `::hypha_rpc` or what `crate = ..` says.
pub(crate) fn private(given: Option<Path>) -> TokenStream {
    let span = Span::mixed_site();
    match given {
        Some(path) => quote_spanned!(span=> #path::__private),
        None => quote_spanned!(span=> ::hypha_rpc::__private),
    }
}
