//! Collects the errors of a contract, and creates the spans of generated code.
//!
//! There are three kinds of errors. The macro reports its own errors with `compile_error!`. If the
//! macro expects rustc to report an error, the macro only marks the contract as wrong and reports
//! no message. A syntax error of `syn` becomes a lint, because rustc has usually reported the same
//! error.
//!
//! All generated code has mixed-site hygiene. So the names of local variables cannot clash with
//! names of the user, and lints treat the code as generated. [`located`] adds the position of the
//! user's tokens. Error messages then underline these tokens.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote_spanned};

/// All errors found in one use of a macro. The macro reports all errors together, so that the user
/// can fix them in one pass.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    all: Vec<syn::Error>,
    /// Whether rustc reports an error for which this macro has no message. The contract then counts
    /// as wrong.
    silent: bool,
    /// Syntax errors of `syn` in code that rustc has already parsed. rustc has reported these
    /// errors, unless rustc supports newer syntax than `syn`.
    unread: Vec<syn::Error>,
}

impl Errors {
    /// Adds an error that underlines all of `at`.
    pub(crate) fn push(&mut self, at: impl ToTokens, message: impl Into<String>) {
        self.all.push(syn::Error::new_spanned(at, message.into()));
    }

    /// Adds an error that a parser returned.
    pub(crate) fn absorb(&mut self, error: syn::Error) {
        self.all.push(error);
    }

    /// Marks the contract as wrong without adding a message, because rustc reports the error.
    pub(crate) fn silent(&mut self) {
        self.silent = true;
    }

    /// Adds a syntax error in code that rustc has already parsed.
    pub(crate) fn unread(&mut self, error: syn::Error) {
        self.unread.push(error);
    }

    /// Returns the number of errors with a message so far.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Returns whether the macro has found no error in the contract.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.unread.is_empty() && !self.silent
    }

    /// Returns the generated code, followed by a `compile_error!` for every error.
    pub(crate) fn append_to(self, mut tokens: TokenStream) -> TokenStream {
        tokens.extend(self.all.iter().map(syn::Error::to_compile_error));
        tokens.extend(self.unread.iter().map(unless_reported));
        tokens
    }

    /// Returns each error as `underlined source text => message`.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<String> {
        let place = |error: &syn::Error| error.span().source_text().unwrap_or_default();
        self.all
            .iter()
            .map(|error| format!("{} => {error}", place(error)))
            .collect()
    }
}

/// Reports a syntax error as a lint. rustc runs lints only if the program has no other error, so
/// the user does not see the same mistake twice.
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

/// Returns a span with the hygiene of generated code and the location of `user`. An error with this
/// span underlines the code of the user, but lints treat the code as generated.
pub(crate) fn located(user: Span) -> Span {
    Span::mixed_site().located_at(user)
}

/// Returns the generated `name` with the span `span`. Use it for the first segment of a generated
/// path. If the segments of a path had different spans, an error about the path could underline all
/// code between these spans.
pub(crate) fn shown(name: &Ident, span: Span) -> Ident {
    let mut name = name.clone();
    name.set_span(span);
    name
}
