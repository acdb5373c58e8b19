//! The store of mistakes, and the one place that makes spans for generated code.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};

/// Every mistake found in one use of a macro; all of them are reported together.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    all: Vec<syn::Error>,
    /// There is a mistake that rustc reports.
    silent: bool,
    /// Syntax errors. rustc has reported them already, unless it knows more syntax than `syn`.
    unread: Vec<syn::Error>,
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

    /// Takes over the mistake of a parser in what rustc has read before.
    pub(crate) fn unread(&mut self, error: syn::Error) {
        self.unread.push(error);
    }

    /// Number of mistakes so far.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.unread.is_empty() && !self.silent
    }

    /// The generated code with a `compile_error!` for every mistake.
    pub(crate) fn append_to(self, mut tokens: TokenStream) -> TokenStream {
        tokens.extend(self.all.iter().map(syn::Error::to_compile_error));
        tokens.extend(self.unread.iter().map(unless_reported));
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

/// A lint, which rustc looks at only if there is no other mistake in the program.
fn unless_reported(error: &syn::Error) -> TokenStream {
    let message = format!("`#[hypha_service]` cannot read this: {error}");
    let at = quote_spanned!(error.span()=> Unread);
    quote_spanned! {Span::mixed_site()=>
        const _: () = {
            #[must_use = #message]
            struct Unread;
            #[deny(unused_must_use)]
            #[allow(dead_code)]
            fn unread() {
                #at;
            }
        };
    }
}

/// Hygiene of generated code, shown at `user`: an error underlines what the user wrote, while
/// lints know that the user did not write it.
pub(crate) fn located(user: Span) -> Span {
    Span::mixed_site().located_at(user)
}

/// A generated name where it is shown at `span`, so that the path it begins underlines nothing
/// else.
pub(crate) fn shown(name: &Ident, span: Span) -> Ident {
    let mut name = name.clone();
    name.set_span(span);
    name
}
