//! Selects tests by package, test program, or name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::needs::Needs;

/// A cargo target that contains tests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    package: String,
    name: String,
    kind: Kind,
    /// Path of the root source file of the target.
    source: PathBuf,
}

/// Kinds of targets that contain tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Library,
    Binary,
    Test,
}

/// Documentation tests that the selection contains.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Documentation {
    Everything,
    Package(String),
}

/// Selected tests.
#[derive(Debug)]
pub(super) struct Selection {
    targets: Vec<Target>,
    cargo: Vec<String>,
    /// Part of a name. Only tests with a name that contains this string are selected.
    filter: Option<String>,
    documentation: Option<Documentation>,
    description: String,
}

impl Selection {
    /// Selects every test.
    pub(super) fn everything(metadata: &Value) -> Result<Selection> {
        let targets = targets(metadata)?;
        Ok(Selection {
            description: format!("all tests: {} test programs", targets.len()),
            targets,
            cargo: vec!["--workspace".into()],
            filter: None,
            documentation: Some(Documentation::Everything),
        })
    }

    /// Selects the package or test program `name`. If there is no such package or program, selects
    /// the tests with a name that contains `name`.
    pub(super) fn of(metadata: &Value, name: &str) -> Result<Selection> {
        let all = targets(metadata)?;
        let of_package = of(&all, |target| target.package == name);
        if !of_package.is_empty() || packages(metadata)?.any(|p| p["name"] == name) {
            let documented = documented(metadata, name)?;
            let tests = if documented {
                " and the documentation"
            } else {
                ""
            };
            return Ok(Selection {
                description: format!("the package {name}: {}{tests}", shown(&of_package)),
                targets: of_package,
                cargo: vec!["--package".into(), name.into()],
                filter: None,
                documentation: documented.then(|| Documentation::Package(name.into())),
            });
        }
        let program = of(&all, |t| t.kind == Kind::Test && t.name == name);
        if !program.is_empty() {
            return Ok(Selection {
                description: format!("the test program {}", shown(&program)),
                targets: program,
                // Build with the features of the whole workspace, so that later test runs can reuse
                // the result.
                cargo: vec!["--workspace".into(), "--test".into(), name.into()],
                filter: None,
                documentation: None,
            });
        }
        let mut named = Vec::new();
        for target in all {
            if target.may_have(name)? {
                named.push(target);
            }
        }
        if named.is_empty() {
            bail!(
                "no package or test program is called `{name}`, and no source of tests has that \
                 name"
            );
        }
        Ok(Selection {
            description: format!("tests with `{name}` in their names, from {}", shown(&named)),
            cargo: options(&named),
            targets: named,
            filter: Some(name.to_owned()),
            documentation: None,
        })
    }

    /// Returns a line that describes the selection.
    pub(super) fn description(&self) -> &str {
        &self.description
    }

    /// Returns the requirements of the selected test programs.
    pub(super) fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        for target in self.targets.iter().filter(|t| t.kind == Kind::Test) {
            needs.add(&target.package, &target.name);
        }
        needs
    }

    /// Returns whether the selection contains tests other than documentation tests.
    pub(super) fn has_programs(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Returns the arguments of `cargo test` and `cargo nextest run`.
    ///
    /// Enables all features, because code behind a feature has tests, and some recorded vectors
    /// need a feature. `cargo xtask lint` compiles each crate with each feature alone.
    pub(super) fn cargo_arguments(&self) -> Vec<String> {
        let mut arguments = self.cargo.clone();
        arguments.push("--all-features".into());
        // Without this option, `cargo test` would also run the documentation tests, which run in a
        // separate step. nextest does not run documentation tests.
        if !arguments
            .iter()
            .any(|a| ["--test", "--lib", "--bins"].contains(&a.as_str()))
        {
            // `--tests` includes the tests in libraries and binaries.
            arguments.push("--tests".into());
        }
        arguments
    }

    /// Returns the string that the names of the tests must contain.
    pub(super) fn filter(&self) -> Option<&str> {
        self.filter.as_deref()
    }

    pub(super) fn documentation(&self) -> Option<&Documentation> {
        self.documentation.as_ref()
    }
}

/// Returns the options that select these targets.
fn options(targets: &[Target]) -> Vec<String> {
    let mut options = Vec::new();
    if targets.iter().all(|target| target.kind == Kind::Test) {
        options.push("--workspace".to_owned());
    } else {
        let packages: BTreeSet<&str> = targets.iter().map(|t| t.package.as_str()).collect();
        options.extend(
            packages
                .iter()
                .flat_map(|p| ["--package", p])
                .map(String::from),
        );
    }
    for (kind, option) in [(Kind::Library, "--lib"), (Kind::Binary, "--bins")] {
        if targets.iter().any(|target| target.kind == kind) {
            options.push(option.to_owned());
        }
    }
    for target in targets.iter().filter(|target| target.kind == Kind::Test) {
        options.extend(["--test".to_owned(), target.name.clone()]);
    }
    options
}

impl Target {
    /// Returns whether the sources of this target contain each part of `name`. This also finds
    /// tests that a macro generates, because the sources contain the names of their modules and
    /// functions.
    fn may_have(&self, name: &str) -> Result<bool> {
        let mut files = Vec::new();
        let alone = self.kind == Kind::Test && self.source.file_name() != Some("main.rs".as_ref());
        match self.source.parent() {
            Some(folder) if !alone => rust_files(folder, &mut files)?,
            _ => files.push(self.source.clone()),
        }
        let mut missing: Vec<&str> = name.split("::").filter(|part| !part.is_empty()).collect();
        let mut has_tests = false;
        for file in files {
            let text = fs::read_to_string(file)?;
            has_tests |=
                text.contains("#[test]") || text.contains("::test]") || text.contains("proptest!");
            // The name of a module may occur only as the name of a file or folder.
            missing.retain(|part| !text.contains(part));
        }
        missing.retain(|part| {
            let folder = self.source.parent().unwrap_or(&self.source);
            !folder.join(format!("{part}.rs")).exists() && !folder.join(part).is_dir()
        });
        Ok(has_tests && missing.is_empty())
    }
}

/// Adds the Rust files in a folder and in its subfolders.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension() == Some("rs".as_ref()) {
            files.push(path);
        }
    }
    Ok(())
}

/// Returns the targets for which the function `which` returns true.
fn of(targets: &[Target], which: impl Fn(&Target) -> bool) -> Vec<Target> {
    let found = targets.iter().filter(|target| which(target));
    found.cloned().collect()
}

/// Returns the names of targets as a list, for messages.
fn shown(targets: &[Target]) -> String {
    let names = targets.iter().map(|target| match target.kind {
        Kind::Library => format!("{} (library)", target.package),
        Kind::Binary => format!("{} (binary)", target.name),
        Kind::Test => format!("{}/{}", target.package, target.name),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn packages(metadata: &Value) -> Result<impl Iterator<Item = &Value>> {
    Ok(metadata["packages"]
        .as_array()
        .context("no packages")?
        .iter())
}

/// Returns whether the library of a package has documentation tests.
fn documented(metadata: &Value, name: &str) -> Result<bool> {
    let package = packages(metadata)?.find(|package| package["name"] == name);
    let targets = package.and_then(|package| package["targets"].as_array());
    Ok(targets.into_iter().flatten().any(|target| {
        target["doctest"].as_bool().unwrap_or_default() && kind(target) == Some(Kind::Library)
    }))
}

/// Returns all targets of the workspace that contain tests.
fn targets(metadata: &Value) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for package in packages(metadata)? {
        let name = package["name"].as_str().context("a package without name")?;
        for target in package["targets"].as_array().context("no targets")? {
            let tested = target["test"].as_bool().unwrap_or_default();
            if let (Some(kind), true) = (kind(target), tested) {
                targets.push(Target {
                    package: name.to_owned(),
                    name: target["name"]
                        .as_str()
                        .context("a target without name")?
                        .into(),
                    kind,
                    source: target["src_path"].as_str().context("no source")?.into(),
                });
            }
        }
    }
    Ok(targets)
}

/// Returns the kind of a target. Returns `None` if the tests of the target are not run.
fn kind(target: &Value) -> Option<Kind> {
    match target["kind"][0].as_str()? {
        "lib" | "proc-macro" => Some(Kind::Library),
        "bin" => Some(Kind::Binary),
        "test" => Some(Kind::Test),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{cargo, output};
    use crate::test::needs::Need;

    fn select(name: &str) -> Result<Selection> {
        let metadata = output(&mut cargo(&[
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
        ]))?;
        Selection::of(&serde_json::from_str(&metadata)?, name)
    }

    #[test]
    fn a_package_is_selected_with_its_documentation() -> Result<()> {
        let package = select("hypha-server")?;
        assert_eq!(package.cargo, ["--package", "hypha-server"]);
        assert_eq!(
            package.documentation,
            Some(Documentation::Package("hypha-server".into()))
        );
        assert!(package.needs().contains(Need::Redis));
        assert!(!package.needs().contains(Need::Servers));
        Ok(())
    }

    #[test]
    fn a_test_program_is_selected_alone() -> Result<()> {
        let program = select("engine")?;
        assert_eq!(program.cargo, ["--workspace", "--test", "engine"]);
        assert_eq!(program.documentation, None);
        assert_eq!(program.needs(), Needs::default());
        let program = select("interop")?;
        assert!(program.needs().contains(Need::Servers));
        assert!(program.needs().contains(Need::Python));
        Ok(())
    }

    #[test]
    fn names_of_tests_are_looked_for_in_the_sources() -> Result<()> {
        // Build the name from its parts, so that the search does not find the name in this file.
        let name = ["our_server::javascript", "calls_rust"].join("_");
        let found = select(&name)?;
        assert_eq!(found.filter(), Some(name.as_str()));
        let programs: Vec<_> = found.targets.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(programs, ["http_transport", "interop"]);
        assert_eq!(
            found.cargo[..3],
            ["--workspace", "--test", "http_transport"]
        );
        assert!(select(&["no", "such", "test"].join("_")).is_err());
        Ok(())
    }
}
