//! Checks the dependencies between modules and crates, for `cargo xtask lint`.
//!
//! An arrow is a dependency. It leads from a module to another module that the first module names.
//! If the named module only re-exports an item, a second arrow leads to the module that defines the
//! item. The rules:
//!
//! - The child modules of a module form no cycle. Each child includes its descendants. The same
//!   applies to the top-level modules of a crate. Therefore two files form a cycle only if one of
//!   them is a `mod.rs` and the other is in its folder. The `mod.rs` uses the files in its folder,
//!   and these files may use the items of the `mod.rs`.
//! - A module only names modules of lower layers ([`LAYERS`]). Every module of a crate with layers
//!   must be in that table.
//! - [`FORBIDDEN_PATHS`] and [`FREE_CRATES`] restrict paths and dependencies across crates.
//! - No construct hides an arrow: aliases and globs of the crate root, `include!`, and macro
//!   variables in place of a module are forbidden.

mod graph;
mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{cargo, output, root};
use graph::Graph;
use source::{Reference, Source};

/// Layers of a crate. A module may only name modules in lower layers.
struct Layers {
    package: &'static str,
    layers: &'static [&'static [&'static str]],
}

/// Crates with layers. The layers of a crate start with the lowest layer. All of these crates use
/// `hypha-wire`, which has no layers.
const LAYERS: [Layers; 2] = [
    Layers {
        package: "hypha-rpc",
        layers: &[
            &["runtime"],
            &["backoff", "error"],
            &["crypto", "schema"],
            &["transport"],
            &["engine"],
            // `call` may use `service`, because calls of a callback are dispatched like calls of a
            // method.
            &["service"],
            &["call"],
            &["workspace"],
            &["client"],
            &["testing", "web"],
            &["blocking"],
            &["guide"],
        ],
    },
    Layers {
        package: "hypha-server",
        layers: &[
            &["platform", "process", "shown"],
            &[
                "memory",
                "metrics",
                "rate_limit",
                "seats",
                "settings",
                "shares",
                "store",
            ],
            &["auth", "bus", "event_log"],
            &["peer"],
            &["registry", "router"],
            &["state"],
            &["workspace"],
            &["internal_client"],
            &["accounts", "manager", "session"],
            &["blocking"],
            &["admin", "http", "login", "queue"],
            &["server"],
            &["program"],
        ],
    },
];

/// Path in another crate that a package must not name.
struct ForbiddenPath {
    package: &'static str,
    path: &'static [&'static str],
}

/// Paths that packages must not name. The server reuses services and the contract of the manager
/// from `hypha-rpc`, but must not depend on the engine, which is a lower layer.
const FORBIDDEN_PATHS: [ForbiddenPath; 1] = [ForbiddenPath {
    package: "hypha-server",
    path: &["hypha_rpc", "engine"],
}];

/// A package with restricted dependencies. The restriction also applies to indirect dependencies.
struct FreeCrate {
    package: &'static str,
    /// Forbidden packages. The packages of this workspace are forbidden as well.
    of: &'static [&'static str],
}

/// Packages with restricted dependencies. `hypha-wire` must be usable without an async runtime, and
/// must not depend on the crates that use it.
const FREE_CRATES: [FreeCrate; 1] = [FreeCrate {
    package: "hypha-wire",
    of: &["tokio", "tokio-util", "tokio-tungstenite", "futures-util"],
}];

/// Checks the dependencies between the modules and between the packages of the workspace.
///
/// # Errors
///
/// Returns an error if a rule is violated. The error names each arrow, and the file and line of
/// every reference that causes the arrow.
pub(crate) fn check() -> Result<()> {
    let metadata = output(&mut cargo(&[
        "metadata",
        "--locked",
        "--format-version",
        "1",
        // Ignore dependencies for other targets, such as browsers. Cargo unifies features across
        // packages, so features that other packages enable for these targets would add dependencies
        // to `hypha-wire`.
        "--filter-platform",
        "x86_64-unknown-linux-gnu",
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let mut problems = free_crates(&metadata, &FREE_CRATES)?;
    for (name, file) in crate_roots(&metadata)? {
        let source = Source::read(&root(), &file).with_context(|| name.clone())?;
        problems.extend(violations(&name, &source));
        problems.extend(unused_layers(&name, &source));
    }
    report(&problems)
}

/// Returns an error that lists all problems, if there are any.
fn report(problems: &[String]) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "{} violations of the dependency rules (xtask/src/arrows):\n{}",
        problems.len(),
        problems.join("\n")
    )
}

/// Returns the violations within one package.
fn violations(package: &str, source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for parent in source.parents() {
        for cycle in Graph::of(source, parent).cycles() {
            problems.push(format!("{package}: modules in a cycle: {cycle}"));
        }
    }
    for rule in LAYERS.iter().filter(|rule| rule.package == package) {
        problems.extend(layer_violations(rule, source));
    }
    for Reference { file, line, .. } in &source.includes {
        problems.push(format!(
            "{package}: an included file hides arrows: declare a module\n    {file}:{line}"
        ));
    }
    for Reference {
        file, line, path, ..
    } in source.variables()
    {
        problems.push(format!(
            "{package}: a variable of a macro hides an arrow: pass the whole path\n    \
             {file}:{line}  {}",
            path.join("::")
        ));
    }
    for Reference {
        file, line, path, ..
    } in &source.root_aliases
    {
        problems.push(format!(
            "{package}: an alias or glob of the crate root hides arrows: name the module\n    \
             {file}:{line}  {}",
            path.join("::")
        ));
    }
    for rule in FORBIDDEN_PATHS.iter().filter(|r| r.package == package) {
        for reference in &source.references {
            let named = reference.path.iter().take(rule.path.len());
            if named.eq(rule.path) {
                problems.push(format!(
                    "{package} must not name `{}`\n    {}:{}  {}",
                    rule.path.join("::"),
                    reference.file,
                    reference.line,
                    reference.path.join("::")
                ));
            }
        }
    }
    problems
}

/// Returns all violations of the layers: arrows that do not lead to a lower layer, modules without
/// a layer, and items of the crate root. Through an item of the crate root, a module could use a
/// higher layer.
fn layer_violations(rule: &Layers, source: &Source) -> Vec<String> {
    let package = rule.package;
    let layer = |module: &str| rule.layers.iter().position(|l| l.contains(&module));
    let mut problems = Vec::new();
    for module in &source.modules {
        if layer(module).is_none() {
            problems.push(format!("{package}: the module `{module}` is in no layer"));
        }
    }
    for (file, line) in &source.root_items {
        problems.push(format!(
            "{package}: an item of the root hides arrows: move it to a module\n    {file}:{line}"
        ));
    }
    for arrow in Graph::of(source, &[]).arrows() {
        if let (Some(from), Some(to)) = (layer(arrow.from), layer(arrow.to))
            && to >= from
        {
            problems.push(format!(
                "{package}: the layer of `{}` is not below that of `{}`: {arrow}",
                arrow.to, arrow.from
            ));
        }
    }
    problems
}

/// Returns entries of [`LAYERS`] that are not modules of the package.
fn unused_layers(package: &str, source: &Source) -> Vec<String> {
    let rules = LAYERS.iter().filter(|rule| rule.package == package);
    let names = rules.flat_map(|rule| rule.layers.iter().copied().flatten());
    names
        .filter(|name| !source.modules.iter().any(|module| module == *name))
        .map(|name| format!("{package}: a layer names `{name}`, which is not a module"))
        .collect()
}

/// Returns the root file of each package of the workspace. If a package has a library, this is the
/// root of the library. Otherwise it is the root of the binary.
fn crate_roots(metadata: &Value) -> Result<Vec<(String, PathBuf)>> {
    let mut roots = Vec::new();
    for package in members(metadata)? {
        let name = package["name"].as_str().context("a package without name")?;
        let targets = package["targets"].as_array().context("no targets")?;
        let is = |target: &&Value, wanted: &[&str]| {
            let kinds = target["kind"].as_array();
            let mut kinds = kinds.into_iter().flatten().filter_map(Value::as_str);
            kinds.any(|kind| wanted.contains(&kind))
        };
        let library = targets.iter().find(|t| is(t, &["lib", "proc-macro"]));
        let target = library.or_else(|| targets.iter().find(|t| is(t, &["bin"])));
        // A package that contains only tests has neither a library nor a binary.
        if let Some(file) = target.and_then(|target| target["src_path"].as_str()) {
            roots.push((name.to_owned(), Path::new(file).to_path_buf()));
        }
    }
    Ok(roots)
}

/// Returns the packages of the workspace.
fn members(metadata: &Value) -> Result<Vec<&Value>> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    // Only the packages of the workspace have no `source`.
    let ours = packages
        .iter()
        .filter(|package| package["source"].is_null());
    Ok(ours.collect())
}

/// Returns the forbidden dependencies of restricted packages. Each dependency is shown with the
/// chain of packages that leads to it.
fn free_crates(metadata: &Value, rules: &[FreeCrate]) -> Result<Vec<String>> {
    let ours = members(metadata)?;
    let ours: Vec<&str> = ours.iter().filter_map(|p| p["name"].as_str()).collect();
    let packages = metadata["packages"].as_array().context("no packages")?;
    let name = |id: &Value| {
        let package = packages.iter().find(|package| package["id"] == *id);
        package.and_then(|package| package["name"].as_str())
    };
    let nodes = metadata["resolve"]["nodes"].as_array();
    let nodes = nodes.context("no resolved dependencies")?;
    let mut problems = Vec::new();
    for rule in rules {
        let begin = nodes
            .iter()
            .find(|node| name(&node["id"]) == Some(rule.package));
        let Some(begin) = begin else {
            problems.push(format!("there is no package `{}`", rule.package));
            continue;
        };
        let mut seen = vec![&begin["id"]];
        let mut open = vec![(begin, rule.package.to_owned())];
        while let Some((node, chain)) = open.pop() {
            for dependency in node["deps"].as_array().into_iter().flatten() {
                let kinds = dependency["dep_kinds"].as_array();
                // Tests and build scripts may have any dependencies.
                let normal = kinds
                    .into_iter()
                    .flatten()
                    .any(|kind| kind["kind"].is_null());
                let id = &dependency["pkg"];
                if !normal || seen.contains(&id) {
                    continue;
                }
                seen.push(id);
                let name = name(id).context("a dependency that is no package")?;
                let chain = format!("{chain} -> {name}");
                if rule.of.contains(&name) || ours.contains(&name) {
                    problems.push(format!(
                        "{} must not depend on {name}: {chain}",
                        rule.package
                    ));
                }
                let next = nodes.iter().find(|node| node["id"] == *id);
                open.extend(next.map(|next| (next, chain)));
            }
        }
    }
    Ok(problems)
}
