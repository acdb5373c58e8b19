//! Reads the item under the attribute, member by member.
//!
//! Bodies of methods are not parsed: rustc reports errors in them, and while the user is typing in
//! one body, the rest of the contract must still expand. For the same reason, a member that cannot
//! be parsed does not affect the other members. Editors rely on this: they expand the macro after
//! each keystroke, and complete names of the proxy from the result.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Block, Expr, FnArg, ImplItem, Item, ItemImpl, ItemTrait, Meta, ReturnType,
    Signature, Stmt, TraitItem, Type,
};

use crate::diag::Errors;
use crate::inherent::is_served;
use crate::{attrs, types};

/// The item with the attribute.
pub(crate) enum Source {
    Trait(ItemTrait),
    Block(ItemImpl),
    /// An item of another kind, kept to locate the error message.
    Other(Item),
}

const ON_MEMBERS: &str = "`#[hypha(..)]` goes on methods and their parameters";

/// Parses an item. Reports and removes attributes of the macro at positions where they have no
/// meaning. Returns `None` if even the head of the item cannot be parsed.
pub(crate) fn read(item: TokenStream, errors: &mut Errors) -> Option<Source> {
    let mut tokens: Vec<TokenTree> = item.into_iter().collect();
    // Empty the braces before the item is parsed; otherwise one wrong member would make the whole
    // item unreadable.
    let members = match tokens.last_mut() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let members = group.stream();
            *group = emptied(group);
            members
        }
        _ => TokenStream::new(),
    };
    let mut source = match syn::parse2::<Item>(tokens.into_iter().collect()) {
        Ok(Item::Trait(item)) => Source::Trait(item),
        Ok(Item::Impl(item)) => Source::Block(item),
        Ok(other) => return Some(Source::Other(other)),
        Err(error) => {
            errors.absorb(error);
            return None;
        }
    };
    let Members(inner, members) = match syn::parse2(members) {
        Ok(members) => members,
        Err(error) => {
            errors.absorb(error);
            return None;
        }
    };
    match &mut source {
        Source::Trait(item) => {
            item.attrs.extend(inner);
            on_the_whole(&mut item.attrs, errors);
            let members = members.into_iter();
            item.items = members.map(|member| member.of_trait(errors)).collect();
        }
        Source::Block(item) => {
            item.attrs.extend(inner);
            on_the_whole(&mut item.attrs, errors);
            let members = members.into_iter();
            item.items = members.map(|member| member.of_block(errors)).collect();
        }
        Source::Other(_) => {}
    }
    Some(source)
}

/// The inner attributes of a trait or block, and its members.
struct Members(Vec<Attribute>, Vec<Member>);

impl Parse for Members {
    fn parse(input: ParseStream<'_>) -> syn::Result<Members> {
        let inner = Attribute::parse_inner(input)?;
        Ok(Members(inner, split(input.parse()?)))
    }
}

/// A member of a trait or block that is not parsed yet.
#[derive(Default)]
struct Member {
    /// All tokens except the body.
    head: Vec<TokenTree>,
    /// The body with its braces, if the member is a function with a body.
    body: Option<Group>,
}

/// Splits the content of a trait or block into members, without parsing them.
///
/// A member ends at `;`, at the body of a function, or at the braces of a macro call. An unfinished
/// function ends at the `async` of the next function.
fn split(tokens: TokenStream) -> Vec<Member> {
    let mut members = Vec::new();
    let mut member = Member::default();
    let mut is_function = false;
    for token in tokens.into_iter().flat_map(ungrouped) {
        if is_function && matches!(&token, TokenTree::Ident(ident) if ident == "async") {
            // The previous function is unfinished. It ends where the attributes and the visibility
            // of the new function begin.
            let head = member.head.split_off(beginning(&member.head));
            let unfinished = std::mem::replace(&mut member, Member { head, body: None });
            members.push(unfinished);
            is_function = false;
        }
        let last = member.head.last();
        let after = |marks: &str| match last {
            Some(TokenTree::Punct(punct)) => marks.contains(punct.as_char()),
            _ => false,
        };
        let ends = match &token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Ident(ident) => {
                let is_mark = |token: &TokenTree| match token {
                    TokenTree::Punct(punct) => punct.as_char() != '#',
                    _ => false,
                };
                // After any punctuation except `#`, `fn` is part of a type, as in
                // `const F: fn() = f;`.
                is_function |= ident == "fn" && !member.head.iter().any(is_mark);
                false
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                // The braces in `-> Array<{ N }>` are not the body.
                if is_function && !after("<,=") {
                    member.body = Some(group.clone());
                }
                member.body.is_some() || after("!")
            }
            _ => false,
        };
        if member.body.is_none() {
            member.head.push(token);
        }
        if ends {
            members.push(std::mem::take(&mut member));
            is_function = false;
        }
    }
    if !member.head.is_empty() {
        members.push(member);
    }
    members
}

/// Returns the index where the attributes and the visibility of the next member begin. They are at
/// the end of `tokens`.
fn beginning(tokens: &[TokenTree]) -> usize {
    let is_word = |at: usize, word| matches!(&tokens[at], TokenTree::Ident(ident) if ident == word);
    let is_hash =
        |at: usize| matches!(&tokens[at], TokenTree::Punct(mark) if mark.as_char() == '#');
    let mut start = tokens.len();
    while start > 0 {
        let group = match &tokens[start - 1] {
            TokenTree::Group(group) if start > 1 => Some(group.delimiter()),
            _ => None,
        };
        start -= match group {
            Some(Delimiter::Bracket) if is_hash(start - 2) => 2,
            Some(Delimiter::Parenthesis) if is_word(start - 2, "pub") => 2,
            _ if is_word(start - 1, "pub") => 1,
            _ => break,
        };
    }
    start
}

/// Strips the invisible groups that `macro_rules` puts around members and bodies.
fn ungrouped(token: TokenTree) -> Vec<TokenTree> {
    let TokenTree::Group(group) = &token else {
        return vec![token];
    };
    let is_piece = group.stream().into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == "fn",
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    });
    if group.delimiter() == Delimiter::None && is_piece {
        group.stream().into_iter().collect()
    } else {
        vec![token]
    }
}

/// Returns the same braces without their content.
fn emptied(group: &Group) -> Group {
    let mut empty = Group::new(group.delimiter(), TokenStream::new());
    empty.set_span(group.span());
    empty
}

impl Member {
    /// Returns the tokens of the member, with an empty body.
    fn tokens(&self) -> TokenStream {
        let body = self.body.as_ref().map(emptied).map(TokenTree::Group);
        self.head.iter().cloned().chain(body).collect()
    }

    /// Parses a member of a trait. A member that cannot be parsed becomes an empty `Verbatim`.
    fn of_trait(mut self, errors: &mut Errors) -> TraitItem {
        self.take_visibility(errors);
        let mut item = match syn::parse2(self.tokens()) {
            Ok(item) => item,
            Err(error) => {
                errors.unread(error);
                return TraitItem::Verbatim(TokenStream::new());
            }
        };
        match &mut item {
            TraitItem::Fn(function) => {
                in_signature(&mut function.attrs, &mut function.sig, true, errors);
                if let (Some(block), Some(body)) = (&mut function.default, self.body) {
                    fill(block, &body);
                }
            }
            TraitItem::Const(item) => misplaced(&mut item.attrs, ON_MEMBERS, errors),
            TraitItem::Type(item) => misplaced(&mut item.attrs, ON_MEMBERS, errors),
            TraitItem::Macro(item) => misplaced(&mut item.attrs, ON_MEMBERS, errors),
            _ => {}
        }
        item
    }

    /// Parses a member of a block. A member that cannot be parsed becomes an empty `Verbatim`.
    fn of_block(self, errors: &mut Errors) -> ImplItem {
        let mut item = match syn::parse2(self.tokens()) {
            Ok(item) => item,
            Err(error) => {
                errors.unread(error);
                return ImplItem::Verbatim(TokenStream::new());
            }
        };
        match &mut item {
            ImplItem::Fn(function) => {
                let served = is_served(function);
                in_signature(&mut function.attrs, &mut function.sig, served, errors);
                if let Some(body) = self.body {
                    fill(&mut function.block, &body);
                }
            }
            ImplItem::Const(item) => misplaced(&mut item.attrs, ON_MEMBERS, errors),
            ImplItem::Type(item) => misplaced(&mut item.attrs, ON_MEMBERS, errors),
            ImplItem::Macro(item) => misplaced(&mut item.attrs, ON_MEMBERS, errors),
            _ => {}
        }
        item
    }

    /// Reports and removes `pub` before a method of a trait. rustc would report `pub` only after
    /// the expansion, which may have other errors.
    fn take_visibility(&mut self, errors: &mut Errors) {
        let is =
            |token: &TokenTree, word| matches!(token, TokenTree::Ident(ident) if ident == word);
        let Some(at) = self.head.iter().position(|token| is(token, "pub")) else {
            return;
        };
        // Only attributes may stand before a visibility.
        let before = |token: &TokenTree| matches!(token, TokenTree::Punct(_) | TokenTree::Group(_));
        if !self.head[..at].iter().all(before) {
            return;
        }
        let word = self.head.remove(at);
        errors.push(
            word,
            "methods of a trait have the visibility of the trait; remove `pub`",
        );
        // The group is the scope of `pub(crate)` or `pub(in path)`.
        if let Some(TokenTree::Group(_)) = self.head.get(at) {
            self.head.remove(at);
        }
    }
}

/// Puts the unparsed body, with its own braces, into the block. rustc reports the span of these
/// braces, so [`body`] omits the braces of the block.
fn fill(block: &mut Block, body: &Group) {
    let group = TokenTree::Group(body.clone()).into();
    block.stmts = vec![Stmt::Expr(Expr::Verbatim(group), None)];
}

/// Returns the body of a method, with its braces.
pub(crate) fn body(block: &Block) -> TokenStream {
    block.stmts.iter().map(ToTokens::to_token_stream).collect()
}

/// Reports and removes attributes and types in a signature that the macro does not support.
/// `served` is false for private functions, where attributes of the macro have no meaning.
fn in_signature(
    attrs: &mut Vec<Attribute>,
    sig: &mut Signature,
    served: bool,
    errors: &mut Errors,
) {
    const PRIVATE: &str = "this method is private, so it is not served: make it `pub`, or leave \
                           the attribute out";
    conditional(attrs, served, errors);
    if !served {
        misplaced(attrs, PRIVATE, errors);
    }
    for input in &mut sig.inputs {
        match input {
            FnArg::Receiver(receiver) => misplaced(
                &mut receiver.attrs,
                "`self` is the service, not an argument",
                errors,
            ),
            FnArg::Typed(input) => {
                conditional(&mut input.attrs, served, errors);
                if served {
                    with_size(&mut input.ty, errors);
                } else {
                    misplaced(&mut input.attrs, PRIVATE, errors);
                }
            }
        }
    }
    if let ReturnType::Type(_, ty) = &mut sig.output {
        if served {
            with_size(ty, errors);
        }
    }
}

/// Reports unsized types, such as `str`, `[u8]` and `dyn Trait`, and replaces them.
fn with_size(ty: &mut Type, errors: &mut Errors) {
    for found in types::give_sizes(ty) {
        let message = match found {
            Type::Slice(_) => {
                "a slice has no known size; write `Vec<..>`, or `&[u8]` for bytes as an \
                 argument"
            }
            Type::TraitObject(_) => {
                "a contract has fixed types, not `dyn`; use an enum or `Value`, `Callback<A, R>` \
                 for a function, `RemoteStream<T>` for a stream, `Object<FooProxy>` for \
                 an object of the contract `Foo`"
            }
            _ => "`str` has no known size; write `String`, or `&str` for an argument",
        };
        errors.push(found, message);
    }
}

/// Reports and removes `#[hypha(..)]`, a second `#[hypha_service]` and `#[async_trait]` on the
/// whole item.
fn on_the_whole(attrs: &mut Vec<Attribute>, errors: &mut Errors) {
    conditional(attrs, false, errors);
    attrs.retain(|attr| {
        let last = attr.path().segments.last();
        let name = last.map_or_else(String::new, |segment| segment.ident.to_string());
        let message = match name.as_str() {
            "hypha" => {
                "`#[hypha(..)]` goes on methods and parameters; write keys of the service \
             into `#[hypha_service(..)]`"
            }
            "hypha_service" => "`#[hypha_service]` is given twice; put all keys into one",
            "async_trait" => {
                "remove `#[async_trait]`: a contract supports `async fn` by itself, with futures \
                 that are `Send`"
            }
            _ => return true,
        };
        errors.push(attr, message);
        false
    });
}

/// Reports and removes `#[hypha(..)]`.
fn misplaced(attrs: &mut Vec<Attribute>, message: &str, errors: &mut Errors) {
    attrs.retain(|attr| {
        let ours = attrs::is_ours(attr);
        if ours {
            errors.push(attr, message);
        }
        !ours
    });
}

/// Reports and removes `#[cfg_attr(.., hypha(..))]` and, for `described` items, also
/// `#[cfg_attr(.., doc = ..)]`.
///
/// rustc expands this macro before it evaluates the condition, so the macro cannot know whether the
/// attribute applies. This matters for the documentation of described items, which is part of the
/// schema.
fn conditional(attrs: &mut Vec<Attribute>, described: bool, errors: &mut Errors) {
    attrs.retain(|attr| {
        let Meta::List(list) = &attr.meta else {
            return true;
        };
        if !list.path.is_ident("cfg_attr") {
            return true;
        }
        let tokens: Vec<TokenTree> = list.tokens.clone().into_iter().collect();
        let is = |token: &TokenTree, name: &str| match token {
            TokenTree::Ident(ident) => ident == name,
            TokenTree::Punct(punct) => punct.as_char() == '=' && name == "=",
            _ => false,
        };
        // `doc(cfg(..))` is an instruction to rustdoc, not a text.
        let has_text = |pair: &[TokenTree]| is(&pair[0], "doc") && is(&pair[1], "=");
        if described && tokens.windows(2).any(has_text) {
            errors.push(
                attr,
                "`cfg_attr` cannot hold `doc`, which is part of the schema; write the text without \
                 a condition, or the method twice, each with its own `cfg`",
            );
            return false;
        }
        let mut ours = ["hypha", "schemars"].into_iter();
        let found = ours.find(|name| tokens.iter().any(|token| is(token, name)));
        if let Some(name) = found {
            errors.push(
                attr,
                format!(
                    "`cfg_attr` cannot hold `{name}`; write the method twice, each with its own \
                     `cfg`"
                ),
            );
        }
        found.is_none()
    });
}
