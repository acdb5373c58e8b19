//! Finds the references between the modules of a crate in its source files.
//!
//! This module reads tokens instead of syntax trees, because it must also find paths in the tokens
//! that are passed to a macro.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A path that occurs in the source of a module, with its position.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// Module that contains the path. The module is relative to the crate root, such as `["client",
    /// "driver"]`.
    pub(crate) from: Vec<String>,
    /// Segments of the path as written, except that `$crate` is replaced by `crate`. A glob is `*`.
    pub(crate) path: Vec<String>,
    /// File that contains the path, relative to the `base` of [`Source::read`].
    pub(crate) file: String,
    /// Line in the file. The first line is 1.
    pub(crate) line: usize,
}

impl Reference {
    /// Returns whether the path starts with `crate`, `self` or `super`.
    pub(crate) fn is_rooted(&self) -> bool {
        let first = self.path.first().map(String::as_str);
        matches!(first, Some("crate" | "self" | "super"))
    }
}

/// Modules and references of a crate. `#[cfg(test)]` code and documentation are excluded.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Top-level modules of the crate. Facades, which are modules that only re-export items, are
    /// excluded.
    pub(crate) modules: Vec<String>,
    /// Every path of the crate, in the order in which the paths occur in the sources.
    pub(crate) references: Vec<Reference>,
    /// Aliases and globs of the crate root. The names that they import are not resolved.
    pub(crate) root_aliases: Vec<Reference>,
    /// Items of the crate root that are neither modules nor `use` declarations. Each item has its
    /// file and line.
    pub(crate) root_items: Vec<(String, usize)>,
    /// Invocations of `include!`. The included files are not read.
    pub(crate) includes: Vec<Reference>,
    /// Names that are defined or imported in each module. The crate root is the empty path.
    scopes: BTreeMap<Vec<String>, Scope>,
    /// For each `#[macro_export]` macro, the module that defines the macro. Such macros belong to
    /// the crate root.
    exported: BTreeMap<String, Vec<String>>,
}

/// Names that are defined or imported in a module.
#[derive(Debug, Default)]
struct Scope {
    /// Whether the module is inline and contains only `use` declarations, such as a prelude.
    facade: bool,
    /// Names of the items that the module defines.
    items: BTreeSet<String>,
    /// For each imported name, the paths of the `use` declarations that import the name.
    named: BTreeMap<String, Vec<Vec<String>>>,
    /// Paths of the globs that the module imports.
    globs: Vec<Vec<String>>,
}

/// Kind of the item to which a path leads.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum End {
    /// Another crate, or an unknown name.
    Nowhere,
    Item,
    Module,
}

/// Maximum number of re-exports to follow. Without a maximum, a cycle of re-exports would never
/// end.
const MAX_REEXPORTS: usize = 16;

impl Source {
    /// Reads the crate with the root file `root`. The paths of files in the result are relative to
    /// `base`.
    pub(crate) fn read(base: &Path, root: &Path) -> Result<Source> {
        let folder = root.parent().context("a crate root without a folder")?;
        let mut reader = Reader {
            base,
            load: &|path| Ok(fs::read_to_string(path)?),
            source: Source::default(),
        };
        reader.file(root, folder, &[])?;
        Ok(reader.source)
    }

    /// Returns the modules of this crate to which a reference leads. This includes the module that
    /// the reference names. If that module re-exports the name, this also includes all modules up
    /// to the definition of the name.
    ///
    /// Omits facades, because they only re-export items. Returns an empty set for a path into
    /// another crate.
    pub(crate) fn targets(&self, reference: &Reference) -> BTreeSet<Vec<String>> {
        let mut found = BTreeSet::new();
        self.follow_written(&reference.from, &reference.path, MAX_REEXPORTS, &mut found);
        found
    }

    /// Returns the modules that have child modules, including the crate root.
    pub(crate) fn parents(&self) -> BTreeSet<&[String]> {
        let modules = self.scopes.keys();
        modules
            .filter_map(|module| module.split_last().map(|(_, parent)| parent))
            .collect()
    }

    /// Returns the references that consist of the path of a module and a macro variable as the last
    /// segment.
    pub(crate) fn variables(&self) -> Vec<&Reference> {
        let names = |reference: &&Reference| match reference.path.split_last() {
            Some((last, path)) if last == VARIABLE => {
                let (from, mut found) = (&reference.from, BTreeSet::new());
                self.follow_written(from, path, MAX_REEXPORTS, &mut found) == End::Module
            }
            _ => false,
        };
        self.references.iter().filter(names).collect()
    }

    /// Returns whether a module contains only `use` declarations.
    pub(crate) fn is_facade(&self, module: &[String]) -> bool {
        self.scopes.get(module).is_some_and(|scope| scope.facade)
    }

    /// Follows a path as it is written in the module `from`. Adds the modules along the path to
    /// `found`.
    fn follow_written(
        &self,
        from: &[String],
        written: &[String],
        left: usize,
        found: &mut BTreeSet<Vec<String>>,
    ) -> End {
        if let Some(path) = absolute(from, written) {
            return self.follow(&[], &path, left, found);
        }
        // Ignore names that come from a glob, because a name without a prefix is usually a crate or
        // a type.
        let Some((first, scope)) = written.first().zip(self.scopes.get(from)) else {
            return End::Nowhere;
        };
        let ours = self.scopes.contains_key(&child(from, first))
            || scope.items.contains(first)
            || scope.named.contains_key(first);
        if ours {
            self.follow(from, written, left, found)
        } else {
            End::Nowhere
        }
    }

    /// Follows a path relative to `module`. Adds the modules along the path to `found`.
    fn follow(
        &self,
        module: &[String],
        path: &[String],
        left: usize,
        found: &mut BTreeSet<Vec<String>>,
    ) -> End {
        let (Some(scope), Some(left)) = (self.scopes.get(module), left.checked_sub(1)) else {
            return End::Nowhere;
        };
        let Some((name, rest)) = path.split_first() else {
            self.reach(module, found);
            return End::Module;
        };
        let inner = child(module, name);
        if self.scopes.contains_key(&inner) {
            return self.follow(&inner, rest, left, found);
        }
        self.reach(module, found);
        if scope.items.contains(name) {
            return End::Item;
        }
        if name == "*" {
            for target in scope.named.values().flatten().chain(&scope.globs) {
                self.follow_written(module, target, left, found);
            }
            return End::Module;
        }
        if let Some(targets) = scope.named.get(name) {
            let mut end = End::Nowhere;
            for target in targets {
                let target = [target, rest].concat();
                // `use name;` may import a crate with this name instead of a module.
                if target != path {
                    end = end.max(self.follow_written(module, &target, left, found));
                }
            }
            return end;
        }
        if module.is_empty()
            && let Some(module) = self.exported.get(name)
        {
            self.reach(module, found);
            return End::Item;
        }
        self.follow_globs(module, scope, path, left, found)
    }

    /// Follows a path that starts with a name that is not defined in `module`. Such a name can only
    /// come from a glob.
    fn follow_globs(
        &self,
        module: &[String],
        scope: &Scope,
        path: &[String],
        left: usize,
        found: &mut BTreeSet<Vec<String>>,
    ) -> End {
        let mut possible = BTreeSet::new();
        for glob in &scope.globs {
            let target = [glob, path].concat();
            let mut reached = BTreeSet::new();
            let end = self.follow_written(module, &target, left, &mut reached);
            if end != End::Nowhere {
                found.extend(reached);
                return end;
            }
            possible.extend(reached);
        }
        // The name is unknown, perhaps because a macro defines it. Any of the globs may lead to the
        // name.
        found.extend(possible);
        End::Nowhere
    }

    /// Adds `module` to `found`, unless it is the crate root or a facade.
    fn reach(&self, module: &[String], found: &mut BTreeSet<Vec<String>>) {
        if !module.is_empty() && !self.is_facade(module) {
            found.insert(module.to_vec());
        }
    }
}

fn child(module: &[String], name: &str) -> Vec<String> {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// Converts a path that starts with `crate`, `self` or `super` to a path relative to the crate
/// root.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, mut rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        _ => return None,
    };
    while let Some((next, after)) = rest.split_first()
        && next == "super"
    {
        base.pop()?;
        rest = after;
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// Function that returns the content of a file.
type Load<'a> = &'a dyn Fn(&Path) -> Result<String>;

struct Reader<'a> {
    base: &'a Path,
    load: Load<'a>,
    source: Source,
}

/// Position in the sources: the file and the module of the tokens that are being read.
struct Place<'a> {
    file: &'a Path,
    /// Folder that contains the files of the child modules.
    children: PathBuf,
    module: Vec<String>,
    /// Path of the file, as references show it.
    shown: String,
}

impl Reader<'_> {
    /// Reads a file as the module `module`. The files of the child modules are in the folder
    /// `children`.
    fn file(&mut self, file: &Path, children: &Path, module: &[String]) -> Result<()> {
        let shown = || format!("cannot read {}", file.display());
        let text = (self.load)(file).with_context(shown)?;
        let tokens: TokenStream = text
            .parse()
            .map_err(|error| anyhow!("{error}"))
            .with_context(shown)?;
        let relative = file.strip_prefix(self.base).unwrap_or(file);
        let place = Place {
            file,
            children: children.to_path_buf(),
            module: module.to_vec(),
            shown: relative.to_string_lossy().into_owned(),
        };
        self.tokens(tokens, &place, true)
    }

    /// Reads the tokens of a module. `items` is true outside of functions, where modules can be
    /// declared.
    fn tokens(&mut self, tokens: TokenStream, place: &Place<'_>, items: bool) -> Result<()> {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        let mut path_attribute = None;
        let mut exported = false;
        if items {
            self.scope(&place.module);
        }
        while at < tokens.len() {
            if let Some((attribute, after)) = attribute(&tokens, at) {
                if is_test_only(&attribute) {
                    at = after_item(&tokens, after);
                    continue;
                }
                path_attribute = path_of_module(&attribute).or(path_attribute);
                exported |= is_macro_export(&attribute);
                self.attribute(attribute, place)?;
                at = after;
                continue;
            }
            // `pub(in crate::x)` names a module, but does not make this module depend on it.
            if is_ident(tokens.get(at), "pub") && group(tokens.get(at + 1), Delimiter::Parenthesis)
            {
                at += 2;
                continue;
            }
            if items && let Some(name) = module_name(&tokens, at) {
                let path = path_attribute.take();
                self.module(&name, tokens.get(at + 2), path, place)?;
                at += 3;
                continue;
            }
            if items && is_ident(tokens.get(at), "use") {
                at = self.declaration(&tokens, at + 1, place);
                path_attribute = None;
                continue;
            }
            // `impl Trait + use<'a>` is a bound, not a declaration.
            if is_ident(tokens.get(at), "use") && !is_punct(tokens.get(at + 1), '<') {
                // A name that is imported inside a function counts as a name of the module. The
                // paths of such a `use` are read like paths in expressions.
                let mut leaves = Vec::new();
                // Skip the `$` of `$crate` in a macro.
                let path = at + 1 + usize::from(is_punct(tokens.get(at + 1), '$'));
                leaves_of(&tokens[path..], &[], &mut leaves);
                self.check_aliases(&leaves, place);
                self.scope(&place.module).add(&leaves);
                at += 1;
                continue;
            }
            if self.is_extern_self(&tokens, at, place) {
                at += 3;
                continue;
            }
            // This also finds `std::include!`, because the comparison only uses the last segment.
            if is_ident(tokens.get(at), "include") && is_punct(tokens.get(at + 1), '!') {
                self.source.includes.push(Reference {
                    from: place.module.clone(),
                    path: vec!["include!".to_owned()],
                    file: place.shown.clone(),
                    line: tokens[at].span().start().line,
                });
            }
            if items && let Some(name) = item_name(&tokens, at) {
                if std::mem::take(&mut exported) && is_ident(tokens.get(at), "macro_rules") {
                    let exported = &mut self.source.exported;
                    exported.insert(name.clone(), place.module.clone());
                }
                self.scope(&place.module).items.insert(name);
            }
            if items && place.module.is_empty() && begins_item(&tokens, at) {
                let line = tokens[at].span().start().line;
                self.source.root_items.push((place.shown.clone(), line));
            }
            if let Some(after) = self.path(&tokens, at, place) {
                at = after;
                continue;
            }
            if let TokenTree::Group(inner) = &tokens[at] {
                self.tokens(inner.stream(), place, false)?;
            }
            if matches!(&tokens[at], TokenTree::Punct(end) if end.as_char() == ';') {
                path_attribute = None;
            }
            at += 1;
        }
        Ok(())
    }

    /// Reads the module `name`. `body` is the block of the module. If the module is in another
    /// file, `body` is the semicolon.
    fn module(
        &mut self,
        name: &str,
        body: Option<&TokenTree>,
        path: Option<String>,
        place: &Place<'_>,
    ) -> Result<()> {
        let mut module = place.module.clone();
        module.push(name.to_owned());
        let top_level = place.module.is_empty();
        if let Some(TokenTree::Group(block)) = body {
            if only_uses(block.stream()) {
                self.scope(&module).facade = true;
            } else if top_level {
                self.source.modules.push(name.to_owned());
            }
            let place = Place {
                file: place.file,
                children: place.children.join(name),
                module,
                shown: place.shown.clone(),
            };
            return self.tokens(block.stream(), &place, true);
        }
        if top_level {
            self.source.modules.push(name.to_owned());
        }
        if let Some(path) = path {
            let file = place.file.with_file_name(path);
            let children = file.parent().unwrap_or(&place.children).to_path_buf();
            return self.file(&file, &children, &module);
        }
        let folder = place.children.join(name);
        let flat = place.children.join(format!("{name}.rs"));
        match (self.load)(&flat) {
            Ok(_) => self.file(&flat, &folder, &module),
            Err(_) => self.file(&folder.join("mod.rs"), &folder, &module),
        }
    }

    /// Reads a `use` declaration. Starts after the keyword `use`, and returns the index after the
    /// declaration.
    fn declaration(&mut self, tokens: &[TokenTree], at: usize, place: &Place<'_>) -> usize {
        let end = end_of_statement(tokens, at);
        let mut leaves = Vec::new();
        leaves_of(&tokens[at..end], &[], &mut leaves);
        self.scope(&place.module).add(&leaves);
        self.check_aliases(&leaves, place);
        for leaf in leaves {
            self.refer(leaf.path, leaf.line, place);
        }
        end + 1
    }

    /// Reads a path that starts at `at`. Returns the index after the path. Returns `None` if no
    /// path starts at `at`.
    fn path(&mut self, tokens: &[TokenTree], at: usize, place: &Place<'_>) -> Option<usize> {
        let TokenTree::Ident(_) = tokens.get(at)? else {
            return None;
        };
        if !separator(tokens, at + 1) || (at >= 2 && separator(tokens, at - 2)) {
            return None;
        }
        let mut leaves = Vec::new();
        let after = at + leaves_of(&tokens[at..], &[], &mut leaves);
        for leaf in leaves {
            self.refer(leaf.path, leaf.line, place);
        }
        // Do not skip the `!`, because the caller uses it to recognize a macro.
        Some(after - usize::from(is_punct(tokens.get(after), '!')))
    }

    /// Reads an attribute. The attributes of serde and other crates contain paths in strings.
    fn attribute(&mut self, attribute: TokenStream, place: &Place<'_>) -> Result<()> {
        let first = attribute.clone().into_iter().next();
        if is_ident(first.as_ref(), "doc") {
            return Ok(());
        }
        for (text, line) in strings(attribute.clone()) {
            let begins = ["crate::", "self::", "super::"];
            if begins.iter().any(|begin| text.starts_with(begin)) {
                let path = text.split("::").map(|part| part.trim().to_owned());
                self.refer(path.collect(), line, place);
            }
        }
        self.tokens(attribute, place, false)
    }

    /// Records the paths of a `use` declaration that import the crate root itself or all items of
    /// the crate root.
    fn check_aliases(&mut self, leaves: &[Leaf], place: &Place<'_>) {
        for leaf in leaves {
            let path = absolute(&place.module, &leaf.path);
            if path.is_some_and(|path| path.is_empty() || path == ["*"]) {
                self.alias(leaf.path.clone(), leaf.line, place);
            }
        }
    }

    /// Records `extern crate self`, which defines a name of the crate as an alias of the crate
    /// root.
    fn is_extern_self(&mut self, tokens: &[TokenTree], at: usize, place: &Place<'_>) -> bool {
        let words = ["extern", "crate", "self"];
        let found = (0..)
            .zip(words)
            .all(|(i, word)| is_ident(tokens.get(at + i), word));
        if found {
            let line = tokens[at].span().start().line;
            self.alias(words.map(str::to_owned).to_vec(), line, place);
        }
        found
    }

    fn scope(&mut self, module: &[String]) -> &mut Scope {
        self.source.scopes.entry(module.to_vec()).or_default()
    }

    fn alias(&mut self, path: Vec<String>, line: usize, place: &Place<'_>) {
        self.source.root_aliases.push(Reference {
            from: place.module.clone(),
            path,
            file: place.shown.clone(),
            line,
        });
    }

    fn refer(&mut self, path: Vec<String>, line: usize, place: &Place<'_>) {
        self.source.references.push(Reference {
            from: place.module.clone(),
            path,
            file: place.shown.clone(),
            line,
        });
    }
}

impl Scope {
    fn add(&mut self, leaves: &[Leaf]) {
        for leaf in leaves {
            match leaf.name.as_str() {
                "*" => self.globs.push(leaf.path[..leaf.path.len() - 1].to_vec()),
                "_" => {}
                name => {
                    let paths = self.named.entry(name.to_owned()).or_default();
                    paths.push(leaf.path.clone());
                }
            }
        }
    }
}

/// One path of a `use` tree such as `crate::{a, b::c as d}`.
struct Leaf {
    path: Vec<String>,
    /// Name that the `use` declaration gives to the path.
    name: String,
    line: usize,
}

/// Segment of a path that represents a macro variable.
const VARIABLE: &str = "$";

/// Reads the `use` tree at the start of `tokens`. Returns the index after the tree.
fn leaves_of(tokens: &[TokenTree], prefix: &[String], leaves: &mut Vec<Leaf>) -> usize {
    let mut path = prefix.to_vec();
    let mut line = 0;
    let mut at = if separator(tokens, 0) { 2 } else { 0 };
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => {
                if line == 0 {
                    line = ident.span().start().line;
                }
                let name = ident.to_string();
                path.push(name.trim_start_matches("r#").to_owned());
                at += 1;
            }
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                if line == 0 {
                    line = star.span().start().line;
                }
                path.push("*".to_owned());
                at += 1;
                break;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in inner.split(|token| is_punct(Some(token), ',')) {
                    if !part.is_empty() {
                        leaves_of(part, &path, leaves);
                    }
                }
                return at + 1;
            }
            // In `crate::$module::X`, the second segment is unknown, because this module does not
            // expand macros.
            Some(TokenTree::Punct(dollar)) if dollar.as_char() == '$' => {
                if line == 0 {
                    line = dollar.span().start().line;
                }
                path.push(VARIABLE.to_owned());
                break;
            }
            // The path ends here. For example, `::<T>` follows.
            _ => break,
        }
        if !separator(tokens, at) {
            break;
        }
        at += 2;
    }
    // `a::{self}` imports `a`.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if is_ident(tokens.get(at), "as") {
        if let Some(TokenTree::Ident(alias)) = tokens.get(at + 1) {
            name = alias.to_string();
        }
        at += 2;
    }
    if !path.is_empty() {
        leaves.push(Leaf { path, name, line });
    }
    at
}

/// Returns whether a block contains only `use` declarations.
fn only_uses(tokens: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if let Some((_, after)) = attribute(&tokens, at) {
            at = after;
            continue;
        }
        if is_ident(tokens.get(at), "pub") {
            at += 1;
            if group(tokens.get(at), Delimiter::Parenthesis) {
                at += 1;
            }
        }
        if !is_ident(tokens.get(at), "use") {
            return false;
        }
        at = end_of_statement(&tokens, at) + 1;
    }
    true
}

/// Returns whether an item starts at `at`, after words such as `pub` and `unsafe`. Modules and
/// `use` declarations do not count.
fn begins_item(tokens: &[TokenTree], at: usize) -> bool {
    let words = [
        "const",
        "enum",
        "fn",
        "impl",
        "macro_rules",
        "static",
        "struct",
        "trait",
        "type",
        "union",
    ];
    let ident = words.iter().any(|word| is_ident(tokens.get(at), word));
    // A macro invocation may define items.
    let macro_call = matches!(tokens.get(at), Some(TokenTree::Ident(_)))
        && is_punct(tokens.get(at + 1), '!')
        && matches!(tokens.get(at + 2), Some(TokenTree::Group(_)));
    ident || macro_call
}

/// Returns the name of the item at `at`. Returns `None` for a module.
fn item_name(tokens: &[TokenTree], at: usize) -> Option<String> {
    let words = [
        "const", "enum", "fn", "static", "struct", "trait", "type", "union",
    ];
    let mut at = at;
    if is_ident(tokens.get(at), "macro_rules") && is_punct(tokens.get(at + 1), '!') {
        at += 2;
    } else if words.iter().any(|word| is_ident(tokens.get(at), word)) {
        at += 1 + usize::from(is_ident(tokens.get(at + 1), "mut"));
    } else {
        return None;
    }
    match tokens.get(at)? {
        TokenTree::Ident(name) => Some(name.to_string().trim_start_matches("r#").to_owned()),
        _ => None,
    }
}

fn is_macro_export(attribute: &TokenStream) -> bool {
    let first = attribute.clone().into_iter().next();
    is_ident(first.as_ref(), "macro_export")
}

/// Returns the content of the attribute at `at`, and the index after that attribute.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(TokenStream, usize)> {
    if !is_punct(tokens.get(at), '#') {
        return None;
    }
    let at = at + 1 + usize::from(is_punct(tokens.get(at + 1), '!'));
    match tokens.get(at)? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            Some((group.stream(), at + 1))
        }
        _ => None,
    }
}

/// Returns whether an attribute is `cfg(test)` or `cfg(all(test, ..))`.
fn is_test_only(attribute: &TokenStream) -> bool {
    let text: String = attribute
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .concat();
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// Returns the value of the attribute `path = ".."`.
fn path_of_module(attribute: &TokenStream) -> Option<String> {
    let first = attribute.clone().into_iter().next();
    if !is_ident(first.as_ref(), "path") {
        return None;
    }
    strings(attribute.clone()).into_iter().next().map(|s| s.0)
}

/// Returns the plain string literals among the tokens, with their lines.
fn strings(tokens: TokenStream) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => found.extend(strings(group.stream())),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
                if let Some(inner) = inner {
                    found.push((inner.to_owned(), literal.span().start().line));
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns the index after the item, field or statement at `at`. Skips the attributes in front of
/// it first.
fn after_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some((_, after)) = attribute(tokens, at) {
        at = after;
    }
    // A comma inside angle brackets, as in `fn f<A, B>()`, does not end the item.
    let mut depth = 0;
    while at < tokens.len() {
        let arrow =
            at > 0 && (is_punct(tokens.get(at - 1), '-') || is_punct(tokens.get(at - 1), '='));
        if is_punct(tokens.get(at), '<') {
            depth += 1;
        } else if is_punct(tokens.get(at), '>') && !arrow {
            depth -= 1;
        }
        let ends = is_punct(tokens.get(at), ';')
            || (depth == 0 && is_punct(tokens.get(at), ','))
            || group(tokens.get(at), Delimiter::Brace);
        at += 1;
        if ends {
            // A `use` declaration such as `use a::{b};` ends after its braces.
            return at + usize::from(is_punct(tokens.get(at), ';'));
        }
    }
    at
}

fn end_of_statement(tokens: &[TokenTree], at: usize) -> usize {
    let rest = &tokens[at..];
    let end = rest.iter().position(|token| is_punct(Some(token), ';'));
    at + end.unwrap_or(rest.len())
}

/// Returns the name of the module that is declared at `at`.
fn module_name(tokens: &[TokenTree], at: usize) -> Option<String> {
    if !is_ident(tokens.get(at), "mod") {
        return None;
    }
    let TokenTree::Ident(name) = tokens.get(at + 1)? else {
        return None;
    };
    let body = tokens.get(at + 2);
    let declared = is_punct(body, ';') || group(body, Delimiter::Brace);
    declared.then(|| name.to_string().trim_start_matches("r#").to_owned())
}

fn separator(tokens: &[TokenTree], at: usize) -> bool {
    let joint = |token: &TokenTree| match token {
        TokenTree::Punct(punct) => punct.as_char() == ':' && punct.spacing() == Spacing::Joint,
        _ => false,
    };
    tokens.get(at).is_some_and(joint) && is_punct(tokens.get(at + 1), ':')
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_ident(token: Option<&TokenTree>, wanted: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if *ident == wanted)
}

fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == delimiter)
}

#[cfg(test)]
pub(crate) fn from_files(files: &[(&str, &str)]) -> Result<Source> {
    let base = Path::new("planted");
    let load = |path: &Path| {
        let name = path.strip_prefix(base)?.to_string_lossy().into_owned();
        let found = files.iter().find(|(file, _)| *file == name);
        let (_, text) = found.with_context(|| format!("there is no file {name}"))?;
        Ok((*text).to_owned())
    };
    let mut reader = Reader {
        base,
        load: &load,
        source: Source::default(),
    };
    let root = base.join("src/lib.rs");
    reader.file(&root, &base.join("src"), &[])?;
    Ok(reader.source)
}
