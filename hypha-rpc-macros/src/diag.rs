//! The store of mistakes, and the one place that makes spans for generated code.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// Every mistake found in one use of a macro; all of them are reported together.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    all: Vec<syn::Error>,
    /// There is a mistake that rustc reports.
    silent: bool,
}

impl Errors {
    /// Notes a mistake that underlines all of `at`.
    pub(crate) fn push(&mut self, at: impl ToTokens, message: impl Into<String>) {
        self.all.push(syn::Error::new_spanned(at, message.into()));
    }

    /// Takes over the mistake of a parser.
    pub(crate) fn absorb(&mut self, error: syn::Error) {
        self.all.push(error);
    }

    /// Notes a mistake that rustc reports by itself.
    pub(crate) fn silent(&mut self) {
        self.silent = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty() && !self.silent
    }

    /// The generated code with a `compile_error!` for every mistake.
    pub(crate) fn append_to(self, mut tokens: TokenStream) -> TokenStream {
        tokens.extend(self.all.iter().map(syn::Error::to_compile_error));
        tokens
    }

    /// Each mistake as `underlined source text => message`.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<String> {
        let place = |error: &syn::Error| error.span().source_text().unwrap_or_default();
        self.all
            .iter()
            .map(|error| format!("{} => {error}", place(error)))
            .collect()
    }
}

/// Hygiene of generated code, shown at `user`: an error underlines what the user wrote, while
/// lints know that the user did not write it.
pub(crate) fn located(user: Span) -> Span {
    Span::mixed_site().located_at(user)
}
