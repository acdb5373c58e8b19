//! Parser of the attributes `#[hypha_service(..)]`, `#[hypha(..)]` and `#[remote_error(..)]`, which
//! are lists of `key` and `key = value`.
//!
//! The modules `lower`, `inherent` and `error_derive` call this module, which reports syntax errors
//! and unknown keys. The callers check the values. All spans are spans of the user's tokens, so
//! that an error underlines the key or value and not the whole attribute.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token};

use crate::diag::Errors;

/// Unread keys and values of the attributes on one item.
///
/// Each method that reads a key also removes it, so a key can be read only once. If a value has the
/// wrong form, the method reports that and treats the key as absent.
pub(crate) struct Options(Vec<Entry>);

/// One `key` or `key = value`.
struct Entry {
    key: Ident,
    value: Option<Expr>,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Entry> {
        // Use `parse_any`, because `crate` is a keyword of Rust.
        let Ok(key) = input.call(Ident::parse_any) else {
            return Err(input.error("write `key = value`, as in `name = \"..\"`"));
        };
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(bare(input.parse()?)),
            None => None,
        };
        // Suggest `=` for `id: "desk"` and `id("desk")`. If another word follows the key, a comma
        // is missing, and the parser of the list reports a better error.
        let ends = input.is_empty() || input.peek(Token![,]);
        if value.is_none() && !ends && !input.peek(Ident::peek_any) {
            return Err(input.error(format!("write `{key} = value`")));
        }
        Ok(Entry { key, value })
    }
}

/// Strips the invisible groups that `macro_rules` puts around an expression.
pub(crate) fn bare(value: Expr) -> Expr {
    match value {
        Expr::Group(group) => bare(*group.expr),
        other => other,
    }
}

impl Options {
    /// Parses the tokens inside the parentheses of one attribute. Keys outside `known` and repeated
    /// keys are reported and dropped.
    pub(crate) fn parse(tokens: TokenStream, known: &[&str], errors: &mut Errors) -> Options {
        let mut options = Options(Vec::new());
        options.extend(tokens, known, errors);
        options
    }

    /// Parses all `#[hypha(..)]` among `attrs` into one set of options.
    pub(crate) fn from_attrs(attrs: &[Attribute], known: &[&str], errors: &mut Errors) -> Options {
        Options::from_named("hypha", attrs, known, errors)
    }

    /// Parses all `#[name(..)]` among `attrs` into one set of options.
    pub(crate) fn from_named(
        name: &str,
        attrs: &[Attribute],
        known: &[&str],
        errors: &mut Errors,
    ) -> Options {
        let mut options = Options(Vec::new());
        for attr in attrs.iter().filter(|attr| attr.path().is_ident(name)) {
            match &attr.meta {
                Meta::List(list) => options.extend(list.tokens.clone(), known, errors),
                other => errors.push(other, format!("write `#[{name}(key = value)]`")),
            }
        }
        options
    }

    fn extend(&mut self, tokens: TokenStream, known: &[&str], errors: &mut Errors) {
        let entries = match Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(entries) => entries,
            Err(error) => return errors.absorb(error),
        };
        for entry in entries {
            let key = entry.key.to_string();
            if !known.contains(&key.as_str()) {
                let list = known
                    .iter()
                    .map(|key| format!("`{key}`"))
                    .collect::<Vec<_>>()
                    .join(", ");
                let message = match elsewhere(&key, known) {
                    Some(place) => format!("`{key}` goes {place}; the keys here are {list}"),
                    None => format!("unknown key `{key}`; the keys here are {list}"),
                };
                errors.push(&entry.key, message);
            } else if self.0.iter().any(|earlier| earlier.key == entry.key) {
                errors.push(&entry.key, format!("the key `{key}` is given twice"));
            } else {
                self.0.push(entry);
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<Entry> {
        let index = self.0.iter().position(|entry| entry.key == key)?;
        Some(self.0.remove(index))
    }

    /// Reads `key = "text"`.
    pub(crate) fn text(&mut self, key: &str, errors: &mut Errors) -> Option<LitStr> {
        let entry = self.take(key)?;
        match entry.value {
            Some(Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            })) => Some(text),
            Some(other) => {
                errors.push(other, format!("`{key}` is a string literal"));
                None
            }
            None => {
                errors.push(&entry.key, format!("write `{key} = \"..\"`"));
                None
            }
        }
    }

    /// Reads `key = ["text", "text"]`. Also returns the key, for messages about the whole entry.
    pub(crate) fn texts(&mut self, key: &str, errors: &mut Errors) -> Option<(Ident, Vec<LitStr>)> {
        let entry = self.take(key)?;
        let Some(Expr::Array(list)) = entry.value else {
            errors.push(&entry.key, format!("write `{key} = [\"..\", \"..\"]`"));
            return None;
        };
        let mut texts = Vec::new();
        for item in list.elems {
            match item {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(text),
                    ..
                }) => texts.push(text),
                other => errors.push(other, format!("`{key}` is a list of string literals")),
            }
        }
        Some((entry.key, texts))
    }

    /// Reads `key = some::path`.
    pub(crate) fn path(&mut self, key: &str, errors: &mut Errors) -> Option<Path> {
        let entry = self.take(key)?;
        match entry.value {
            // `<T as Trait>::module` is not a path that `use` accepts.
            Some(Expr::Path(path)) if path.qself.is_none() => Some(path.path),
            Some(other) => {
                errors.push(other, format!("`{key}` is the path of a crate or module"));
                None
            }
            None => {
                errors.push(&entry.key, format!("write `{key} = path`"));
                None
            }
        }
    }

    /// Reads `key = expression`. Also returns the key, for messages about the whole entry.
    pub(crate) fn expr(&mut self, key: &str, errors: &mut Errors) -> Option<(Ident, Expr)> {
        let entry = self.take(key)?;
        if entry.value.is_none() {
            errors.push(&entry.key, format!("write `{key} = expression`"));
        }
        Some((entry.key, entry.value?))
    }

    /// Reads `key`, which has no value.
    pub(crate) fn word(&mut self, key: &str, errors: &mut Errors) -> Option<Ident> {
        let entry = self.take(key)?;
        if let Some(value) = &entry.value {
            // Treat the key as present despite the error, so that no further error reports it as
            // missing.
            errors.push(value, format!("`{key}` takes no value"));
        }
        Some(entry.key)
    }

    /// Reads `key` (which means true), `key = true` or `key = false`.
    pub(crate) fn flag(&mut self, key: &str, errors: &mut Errors) -> Option<bool> {
        match self.take(key)?.value {
            None => Some(true),
            Some(Expr::Lit(ExprLit {
                lit: Lit::Bool(value),
                ..
            })) => Some(value.value),
            Some(other) => {
                errors.push(other, format!("`{key}` takes `true`, `false` or no value"));
                None
            }
        }
    }
}

/// Keys of `#[hypha_service(..)]`.
pub(crate) const SERVICE_KEYS: [&str; 11] = [
    "id",
    "name",
    "description",
    "service_type",
    "visibility",
    "authorized_workspaces",
    "singleton",
    "flags",
    "docs",
    "rename_all",
    "crate",
];
/// Keys of `#[hypha(..)]` on a method.
pub(crate) const METHOD_KEYS: [&str; 2] = ["name", "blocking"];
/// Keys of `#[hypha(..)]` on a parameter.
pub(crate) const ARGUMENT_KEYS: [&str; 4] = ["name", "default", "required", "context"];

/// Returns the place where a contract accepts `key`, to name this place in the error. Returns
/// `None` if there is no such place, or if the `known` keys do not belong to a contract.
fn elsewhere(key: &str, known: &[&str]) -> Option<&'static str> {
    let places = [
        (&SERVICE_KEYS[..], "into `#[hypha_service(..)]`"),
        (&METHOD_KEYS, "before a method"),
        (&ARGUMENT_KEYS, "before a parameter"),
    ];
    // In `#[remote_error(..)]` the hint would be wrong, because the keys of that attribute do not
    // belong to a contract.
    let ours = places.iter().any(|(keys, _)| *keys == known);
    let found = places.iter().find(|(keys, _)| keys.contains(&key));
    found.filter(|_| ours).map(|(_, place)| *place)
}

/// Returns whether this is `#[hypha(..)]`.
pub(crate) fn is_ours(attr: &Attribute) -> bool {
    attr.path().is_ident("hypha")
}

/// Returns the `#[schemars(..)]` among `attrs`.
pub(crate) fn schema(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("schemars"))
}

/// Returns whether this is an attribute that the macro reads and removes: `#[hypha(..)]` or
/// `#[schemars(..)]`.
pub(crate) fn is_read(attr: &Attribute) -> bool {
    is_ours(attr) || attr.path().is_ident("schemars")
}

/// Returns whether all keys of `#[schemars(..)]` are `extend(..)`.
pub(crate) fn only_extends(attr: &Attribute) -> bool {
    let keys = Punctuated::<Meta, Token![,]>::parse_terminated;
    let keys = attr.parse_args_with(keys);
    let is_extend = |key: &Meta| matches!(key, Meta::List(list) if list.path.is_ident("extend"));
    keys.is_ok_and(|keys| keys.iter().all(is_extend))
}

/// Returns whether this is a doc comment or `#[doc ..]`.
pub(crate) fn is_doc(attr: &Attribute) -> bool {
    attr.path().is_ident("doc")
}

/// Returns the attributes of an item that every generated item must repeat: conditions, lint levels
/// and deprecation.
pub(crate) fn carried(attrs: &[Attribute]) -> Vec<Attribute> {
    // `cfg_attr` is included because it may contain any of the other attributes. `must_use`, `doc`
    // and attributes of other macros would be wrong on generated items.
    const CARRIED: [&str; 4] = ["cfg", "cfg_attr", "deprecated", "allow"];
    let is_carried = |attr: &&Attribute| CARRIED.iter().any(|name| attr.path().is_ident(name));
    attrs.iter().filter(is_carried).cloned().collect()
}

/// Returns the `#[cfg(..)]` among `attrs`, for generated `impl` blocks, which do not accept
/// `deprecated`.
pub(crate) fn cfgs(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg"))
}
