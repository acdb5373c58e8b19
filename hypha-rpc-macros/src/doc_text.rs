//! Converts doc comments to the descriptions in a schema.
//!
//! rustc passes doc comments to macros as `#[doc = ".."]`. Each line of `///` becomes one
//! attribute, including the blank after the slashes. A block comment becomes a single attribute
//! with line breaks. A handwritten attribute may also contain an expression such as
//! `include_str!(..)`, which only rustc can evaluate.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// Joins the texts of doc comments with line breaks. Removes the common indent of the lines, and
/// white space at both ends. Omits attributes that contain an expression: see [`Text`].
pub(crate) fn text(attrs: &[Attribute]) -> String {
    let texts: Vec<String> = attrs.iter().filter_map(literal).collect();
    let mut lines: Vec<&str> = Vec::new();
    let mut common = usize::MAX;
    for text in &texts {
        // The first line of a block comment follows the characters `/**`, so the indent of this
        // line differs from the other lines.
        let (first, others) = match text.split_once('\n') {
            Some((first, others)) => (Some(first.trim_start()), others),
            None => (None, text.as_str()),
        };
        let filled = others.lines().filter(|line| !line.trim().is_empty());
        let indent = filled.map(|line| line.len() - line.trim_start().len());
        common = indent.fold(common, usize::min);
        lines.extend(first);
        lines.extend(others.split('\n'));
    }
    let unindented = lines.iter().map(|line| {
        let indent = common.min(line.len() - line.trim_start().len());
        // Use `get`, because `indent` counts bytes and may end inside a character: lines can start
        // with different kinds of white space.
        line.get(indent..).unwrap_or(line.trim()).trim_end()
    });
    unindented.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// Description of a method or an argument in its schema.
#[derive(Debug, Default)]
pub(crate) enum Text {
    /// No description.
    #[default]
    None,
    /// A string literal.
    Literal(String),
    /// An expression in `#[doc = ..]`, such as `include_str!(..)`. Only rustc can evaluate the
    /// expression.
    Computed(TokenStream),
}

impl Text {
    /// Returns the description for `attrs`. `literal` is the text that the macro read from `attrs`.
    /// If an attribute contains an expression that only rustc can evaluate, the description is an
    /// expression. Otherwise, the description is `literal`.
    pub(crate) fn new(attrs: &[Attribute], literal: String) -> Text {
        if let Some(computed) = computed(attrs) {
            return Text::Computed(computed);
        }
        if literal.is_empty() {
            return Text::None;
        }
        Text::Literal(literal)
    }

    /// Returns whether there is no description.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Text::None)
    }
}

impl ToTokens for Text {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Text::None => "".to_tokens(tokens),
            Text::Literal(text) => text.to_tokens(tokens),
            Text::Computed(text) => text.to_tokens(tokens),
        }
    }
}

/// Returns an expression that joins the texts of all doc attributes. Returns `None` if all texts
/// are literals.
fn computed(attrs: &[Attribute]) -> Option<TokenStream> {
    let mut has_expression = false;
    let mut lines = Vec::new();
    for attr in attrs {
        match &attr.meta {
            Meta::NameValue(meta) if meta.path.is_ident("doc") => match literal(attr) {
                Some(text) => {
                    let text = text.strip_prefix(' ').unwrap_or(&text).trim_end();
                    lines.push(quote!(#text, "\n"));
                }
                None => {
                    has_expression = true;
                    let text = &meta.value;
                    lines.push(quote!(#text, "\n"));
                }
            },
            _ => {}
        }
    }
    // rustc evaluates `concat!` and the macros in its arguments. `trim` runs when the program
    // registers the service.
    has_expression.then(|| quote!(::core::concat!(#(#lines),*).trim()))
}

/// Returns the text of a doc comment or `#[doc = ".."]`.
fn literal(attr: &Attribute) -> Option<String> {
    match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the first paragraph as one line. Clients show the description of a service in lists,
/// where a longer text does not fit.
pub(crate) fn summary(text: &str) -> String {
    let paragraph = text.lines().take_while(|line| !line.trim().is_empty());
    paragraph.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Documentation of a method, split into its description and its list of arguments.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct MethodText {
    /// The documentation without the list of arguments.
    pub(crate) description: String,
    arguments: Vec<(String, String)>,
}

impl MethodText {
    /// Splits the documentation of a method.
    ///
    /// The list of arguments starts with the heading ``/// # Arguments``. The lines after the
    /// heading have the form ``/// * `name` - text``. A text may continue on the next lines. The
    /// list ends at the next heading.
    pub(crate) fn parse(text: &str) -> MethodText {
        let mut description = Vec::new();
        let mut arguments: Vec<(String, String)> = Vec::new();
        let mut in_list = false;
        for line in text.lines() {
            if let Some(heading) = heading(line) {
                in_list = ["arguments", "parameters", "args"].contains(&heading.as_str());
                if in_list {
                    continue;
                }
            }
            if !in_list {
                description.push(line);
            } else if let Some(entry) = list_entry(line) {
                arguments.push(entry);
            } else if let (Some((_, text)), false) = (arguments.last_mut(), line.trim().is_empty())
            {
                text.push(' ');
                text.push_str(line.trim());
            }
        }
        MethodText {
            description: description.join("\n").trim().to_owned(),
            arguments,
        }
    }

    /// Returns the text of the argument with this Rust name.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        let found = self.arguments.iter().find(|(argument, _)| argument == name);
        found.map(|(_, text)| text.as_str())
    }

    /// Returns whether the documentation has a list of arguments.
    pub(crate) fn has_arguments(&self) -> bool {
        !self.arguments.is_empty()
    }
}

/// Returns the title of a Markdown heading in lower case. Returns `None` if the line is not a
/// heading.
fn heading(line: &str) -> Option<String> {
    let line = line.trim();
    let title = line.trim_start_matches('#');
    let is_heading = title.len() < line.len() && title.starts_with(' ');
    is_heading.then(|| title.trim().trim_end_matches(':').to_lowercase())
}

/// Returns the name and the text of a list item such as ``* `name` - text`` or ``- `name`: text``.
fn list_entry(line: &str) -> Option<(String, String)> {
    let line = line.trim_start();
    let entry = line
        .strip_prefix("* ")
        .or_else(|| line.strip_prefix("- "))?
        .trim_start();
    let (name, text) = entry.strip_prefix('`')?.split_once('`')?;
    let text = text
        .trim_start()
        .trim_start_matches(['-', ':', '–', '—'])
        .trim();
    Some((name.to_owned(), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn comments_lose_their_indent_and_keep_their_paragraphs() {
        let item: syn::ItemStruct = parse_quote! {
            /// First line,
            /// second line.
            ///
            ///     code
            #[doc = " Last."]
            struct S;
        };
        assert_eq!(
            text(&item.attrs),
            "First line,\nsecond line.\n\n    code\nLast."
        );
        assert_eq!(summary(&text(&item.attrs)), "First line, second line.");
    }

    #[test]
    fn block_comments_lose_their_indent() {
        let item: syn::ItemStruct = parse_quote! {
            /** First line,
                second line.

                    code
            */
            struct S;
        };
        assert_eq!(text(&item.attrs), "First line,\nsecond line.\n\n    code");
    }

    #[test]
    fn lists_of_arguments_are_taken_out() {
        let text = MethodText::parse(
            "Does it.\n\n# Arguments\n\n* `a` - the first,\n  which is long\n- `b`: the second\n\n\
             # Errors\n\nSometimes.",
        );
        assert_eq!(text.description, "Does it.\n\n# Errors\n\nSometimes.");
        assert_eq!(text.argument("a"), Some("the first, which is long"));
        assert_eq!(text.argument("b"), Some("the second"));
        assert_eq!(text.argument("c"), None);
    }

    #[test]
    fn other_lists_stay() {
        let text = MethodText::parse("Does\n\n* `a` - this\n#hashtag");
        assert_eq!(text.description, "Does\n\n* `a` - this\n#hashtag");
        assert!(!text.has_arguments());
    }
}
