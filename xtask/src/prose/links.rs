//! Checks links within the project: links between pages, anchors, paths in comments, and the names
//! of tests that pages mention.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::{File, comment};
use crate::command::{output, root};

/// Pages that docs.rs or the registry also shows. Relative links do not work there.
const READMES: [&str; 6] = [
    "README.md",
    "hypha-cli/README.md",
    "hypha-rpc-macros/README.md",
    "hypha-schema/README.md",
    "hypha-server/README.md",
    "hypha-wire/README.md",
];

/// Folder of the chapters of the guide, which rustdoc also shows.
const GUIDE: &str = "docs/guide/";

/// File that defines the link labels. rustdoc uses these labels for links between chapters.
const GUIDE_LINKS: &str = "hypha-rpc/src/guide_links.md";

/// Possible targets of links in the project.
pub(super) struct Tree {
    /// Paths of the tracked files, and of the folders that contain them.
    paths: BTreeSet<String>,
    /// For each Markdown file, its anchors.
    anchors: BTreeMap<String, BTreeSet<String>>,
    /// URL of the repository, as in the manifest of the workspace.
    repository: String,
    /// Labels that [`GUIDE_LINKS`] defines.
    guide: BTreeSet<String>,
    /// For each source file, all words in the file. The words include the names of tests.
    words: BTreeMap<String, BTreeSet<String>>,
}

/// Links that a page contains.
struct Links {
    links: Vec<Link>,
    /// Labels that the page uses, with the line of each use.
    used: Vec<(usize, String)>,
    /// Names in code that have a label, such as ``[`name`][label]``. Each entry contains the line,
    /// the name and the label.
    named: Vec<(usize, String, String)>,
}

/// A link, with its line, its path or URL, and its label if the link is a definition.
struct Link {
    line: usize,
    target: String,
    label: Option<String>,
}

impl Tree {
    pub(super) fn read(files: &[File]) -> Result<Tree> {
        let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
        let repository = manifest
            .lines()
            .find_map(|line| line.strip_prefix("repository = \"")?.strip_suffix('"'))
            .context("Cargo.toml has no `repository`")?;
        let mut git = Command::new("git");
        let listed = output(git.current_dir(root()).args(["ls-files"]))?;
        Ok(Tree::new(listed.lines(), files, repository))
    }

    fn new<'a>(listed: impl Iterator<Item = &'a str>, files: &[File], repository: &str) -> Tree {
        let mut paths = BTreeSet::new();
        for path in listed {
            let mut path = path;
            // If a folder is already in the set, its parents are in the set, too.
            while paths.insert(path.to_owned()) {
                let Some((parent, _)) = path.rsplit_once('/') else {
                    break;
                };
                path = parent;
            }
        }
        let markdown = files.iter().filter(|file| file.is_markdown());
        let anchors = markdown.map(|file| (file.path.clone(), anchors(&file.text)));
        let guide = files.iter().find(|file| file.path == GUIDE_LINKS);
        let guide = guide
            .map(|file| parse(&file.text).links)
            .unwrap_or_default();
        let sources = files.iter().filter(|file| !file.is_markdown());
        let words = sources.map(|file| (file.path.clone(), words(&file.text)));
        Tree {
            paths,
            anchors: anchors.collect(),
            repository: repository.to_owned(),
            guide: guide.into_iter().filter_map(|link| link.label).collect(),
            words: words.collect(),
        }
    }

    /// Returns a message for each link in a file that has no target.
    pub(super) fn violations(&self, file: &File) -> Vec<String> {
        let mut found = Vec::new();
        if !file.is_markdown() {
            for (line, target) in citations(&file.text) {
                if let Some(fault) = self.fault("", target) {
                    found.push(format!("{}:{line}: {fault}", file.path));
                }
            }
            return found;
        }
        let Links { links, used, named } = parse(&file.text);
        for link in &links {
            if let Some(fault) = self.link_fault(&file.path, link) {
                found.push(format!("{}:{}: {fault}", file.path, link.line));
            }
        }
        let defined: BTreeSet<&str> = links.iter().filter_map(|l| l.label.as_deref()).collect();
        for (line, label) in used {
            if !defined.contains(label.as_str()) {
                found.push(format!("{}:{line}: `[{label}]` is not defined", file.path));
            }
        }
        for (line, name, label) in named {
            let defined = links.iter().find(|l| l.label.as_deref() == Some(&label));
            let Some(link) = defined else { continue };
            let target = self.inside(&link.target);
            let path = target.map_or_else(|| joined(&file.path, &link.target), str::to_owned);
            if self
                .words
                .get(&path)
                .is_some_and(|words| !words.contains(&name))
            {
                found.push(format!("{}:{line}: {path} has no test `{name}`", file.path));
            }
        }
        found
    }

    fn link_fault(&self, path: &str, link: &Link) -> Option<String> {
        let target = link.target.as_str();
        if let Some(inside) = self.inside(target) {
            return self.fault("", inside);
        }
        if target.contains("://") || target.starts_with("mailto:") {
            return None;
        }
        // Do not check links in these pages, because rustdoc checks them.
        if path.contains("/src/") {
            return None;
        }
        let own = target.starts_with('#');
        if READMES.contains(&path) && !own {
            return Some(format!("{target}: a README needs absolute links"));
        }
        if path.starts_with(GUIDE) && !own {
            match &link.label {
                None => return Some(format!("{target}: the guide needs links with a label")),
                Some(label) if !self.guide.contains(label) => {
                    return Some(format!("`[{label}]` is not defined in {GUIDE_LINKS}"));
                }
                Some(_) => {}
            }
        }
        self.fault(path, target)
    }

    /// Returns the path in the project to which an absolute link leads. Returns `None` if the link
    /// leads outside of the project.
    fn inside<'a>(&self, target: &'a str) -> Option<&'a str> {
        let name = self.repository.strip_prefix("https://github.com/")?;
        let page = || {
            target
                .strip_prefix(&self.repository)?
                .strip_prefix("/blob/main/")
        };
        let raw = || {
            let rest = target.strip_prefix("https://raw.githubusercontent.com/")?;
            rest.strip_prefix(name)?.strip_prefix("/main/")
        };
        page().or_else(raw)
    }

    /// Returns the reason why a link has no target. Returns `None` if the link has a target.
    fn fault(&self, page: &str, target: &str) -> Option<String> {
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = if path.is_empty() {
            page.to_owned()
        } else {
            joined(page, path)
        };
        if !self.paths.contains(&path) {
            return Some(format!("{target}: there is no {path}"));
        }
        let anchors = self.anchors.get(&path)?;
        (!anchor.is_empty() && !anchors.contains(anchor))
            .then(|| format!("{target}: {path} has no anchor `{anchor}`"))
    }
}

/// Converts a path that is relative to a page to a path that is relative to the project root.
fn joined(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Returns the anchors of a page. These are the explicit anchors, and the anchors that GitHub
/// derives from headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in unfenced(text) {
        for part in line.split("<a id=\"").skip(1) {
            found.extend(part.split('"').next().map(str::to_owned));
        }
        let heading = line.trim_start_matches('#');
        if heading.len() < line.len() && heading.starts_with(' ') {
            let slug = slug(heading);
            let again = (1..).map(|n| format!("{slug}-{n}"));
            let mut names = std::iter::once(slug.clone()).chain(again);
            found.extend(names.find(|name| !found.contains(name)));
        }
    }
    found
}

/// Returns the anchor that GitHub derives from a heading. The anchor omits punctuation and link
/// targets.
fn slug(heading: &str) -> String {
    let mut out = String::new();
    let mut rest = heading.trim();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == ']' && rest.starts_with('(') {
            rest = rest.split_once(')').map_or("", |(_, after)| after);
        } else if c == ' ' {
            out.push('-');
        } else if c.is_alphanumeric() || c == '-' || c == '_' {
            out.extend(c.to_lowercase());
        }
    }
    out
}

/// Returns the lines of a page. The lines of code blocks are empty.
fn unfenced(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().map(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence { "" } else { line }
    })
}

/// Returns all words of a source file instead of only the names of functions, because macros
/// generate some of the tests.
fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.map(str::to_owned).collect()
}

/// Returns the links of a page.
fn parse(text: &str) -> Links {
    let mut links = Vec::new();
    let mut body = String::new();
    for (index, line) in unfenced(text).enumerate() {
        match definition(line) {
            Some((label, target)) => links.push(Link {
                line: index + 1,
                target: target.to_owned(),
                label: Some(label.to_owned()),
            }),
            None => body.push_str(line),
        }
        body.push('\n');
    }
    let body = hide_code(&body);
    let line = |at: usize| body[..at].matches('\n').count() + 1;
    let (mut used, mut named) = (Vec::new(), Vec::new());
    for (at, _) in body.match_indices("](") {
        if let Some((target, _)) = body[at + 2..].split_once([')', ' ']) {
            links.push(Link {
                line: line(at),
                target: target.to_owned(),
                label: None,
            });
        }
    }
    for (at, _) in body.match_indices("][") {
        if let Some((label, _)) = body[at + 2..].split_once(']') {
            let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
            if label.is_empty() {
                continue;
            }
            if let Some((_, name)) = body[..at]
                .strip_suffix('`')
                .and_then(|b| b.rsplit_once('`'))
            {
                named.push((line(at), name.to_owned(), label.clone()));
            }
            used.push((line(at), label));
        }
    }
    Links { links, used, named }
}

/// Parses a line `[label]: target`.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (label, target) = line.strip_prefix('[')?.split_once("]: ")?;
    (!target.contains(' ')).then_some((label, target.trim_matches(['<', '>'])))
}

/// Replaces brackets inside code spans with spaces, so that the brackets are not parsed as links.
fn hide_code(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts: Vec<String> = parts
        .map(|(index, part)| match index % 2 {
            0 => part.to_owned(),
            _ => part.replace(['[', ']', '(', ')'], " "),
        })
        .collect();
    parts.join("`")
}

/// Returns the paths in comments that lead into `docs/`, with the line of each path.
fn citations(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let Some((_, prose)) = comment(line) else {
            continue;
        };
        for (at, _) in prose.match_indices("docs/") {
            let outside = |c: char| !(c.is_alphanumeric() || "/-_.#".contains(c));
            let path = prose[at..].split(outside).next().unwrap_or_default();
            let before = prose[..at].chars().next_back();
            // If `docs/` is in the middle of a longer path, the path leads to another folder.
            let whole = before.is_none_or(|c| !(c.is_alphanumeric() || "/.".contains(c)));
            if whole && path.contains(".md") {
                found.push((index + 1, path.trim_end_matches(['.', '#'])));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    const PAGE: &str = "# First page\n<a id=\"s1\"></a>\n## A `b` [c](b.md)\n## A b c\n";

    fn violations(path: &str, text: &str) -> Vec<String> {
        let files = [
            file("docs/a.md", PAGE),
            file("docs/b.md", ""),
            file(GUIDE_LINKS, "[chapter a]: crate::guide::a\n"),
            file(path, text),
        ];
        let listed = [
            "docs/a.md",
            "docs/b.md",
            "docs/guide/a.md",
            "src/lib.rs",
            path,
        ];
        let tree = Tree::new(listed.into_iter(), &files, "https://github.com/o/r");
        tree.violations(&files[3])
    }

    #[test]
    fn valid_links() {
        let page = "[a](a.md) [b](a.md#s1) [c](../docs/a.md#first-page) [d](a.md#a-b-c) [e](#f)\n\
                    [g](a.md#a-b-c-1) [h](../src) [i][k] [l\nm](b.md) `[x](y.md)` [`n`][k]\n\
                    [o](https://github.com/o/r/blob/main/docs/a.md#s1) [p](https://o.org/q)\n\
                    # F\n[k]: b.md\n```text\n[x](y.md)\n```\n";
        assert_eq!(violations("docs/c.md", page), [""; 0]);
    }

    #[test]
    fn broken_links() {
        let page = "[a](c.md)\n[b](a.md#s2) [d][e]\n\n[f]: ../b.md\n\
                    [g](https://raw.githubusercontent.com/o/r/main/c.svg)\n";
        let expected = [
            "docs/d.md:4: ../b.md: there is no b.md",
            "docs/d.md:1: c.md: there is no docs/c.md",
            "docs/d.md:2: a.md#s2: docs/a.md has no anchor `s2`",
            "docs/d.md:5: c.svg: there is no c.svg",
            "docs/d.md:2: `[e]` is not defined",
        ];
        let mut found = violations("docs/d.md", page);
        let mut expected = expected.map(str::to_owned);
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn readmes_have_absolute_links() {
        let found = violations("README.md", "[a](docs/a.md)\n");
        assert_eq!(
            found,
            ["README.md:1: docs/a.md: a README needs absolute links"]
        );
    }

    #[test]
    fn chapters_link_each_other_by_labels_of_rustdoc() {
        let page = "[a][chapter a] [b](../a.md)\n\n[chapter a]: a.md\n[chapter b]: ../b.md\n";
        assert_eq!(
            violations("docs/guide/b.md", page),
            [
                "docs/guide/b.md:4: `[chapter b]` is not defined in hypha-rpc/src/guide_links.md",
                "docs/guide/b.md:1: ../a.md: the guide needs links with a label",
            ]
        );
    }

    #[test]
    fn cited_tests_exist() {
        let files = [
            file(
                "src/a.rs",
                "#[test]\nfn calls() {}\nasync fn streams<T>() {}\n",
            ),
            file(
                "docs/a.md",
                "[`calls`][a], [`streams`][a], [`call`][a], [`none`][page]\n\n[a]: ../src/a.rs\n\
                 [page]: a.md\n",
            ),
        ];
        let listed = ["src/a.rs", "docs/a.md"];
        let tree = Tree::new(listed.into_iter(), &files, "https://github.com/o/r");
        assert_eq!(
            tree.violations(&files[1]),
            ["docs/a.md:1: src/a.rs has no test `call`"]
        );
    }

    #[test]
    fn citations_in_comments() {
        let source = "// See docs/a.md#s1, and `docs/a.md#s3`.\nlet a = \"docs/none.md\";\n";
        assert_eq!(
            violations("src/a.rs", source),
            ["src/a.rs:1: docs/a.md#s3: docs/a.md has no anchor `s3`"]
        );
    }
}
