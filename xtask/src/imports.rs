//! Checks that each `use` imports from one module only. rustfmt supports this rule
//! (`imports_granularity = "Module"`) only on nightly.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::command::{output, root};

/// Folders to skip, because tests compare the exact text of the files in these folders.
const FOREIGN: [&str; 2] = ["tests/ui/cases/", "tests/tests/schemas/generated/"];

/// Checks all Rust files that git tracks.
pub(crate) fn check() -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "*.rs"]);
    let mut found = Vec::new();
    for path in output(&mut git)?.lines() {
        let absolute = root().join(path);
        if absolute.is_file() && !FOREIGN.iter().any(|foreign| path.starts_with(foreign)) {
            let lines = nested(&fs::read_to_string(absolute)?);
            found.extend(lines.into_iter().map(|line| format!("{path}:{line}")));
        }
    }
    ensure!(
        found.is_empty(),
        "several modules in one `use`; `cargo +nightly fmt -- --config imports_granularity=Module` \
         splits them:\n{}",
        found.join("\n")
    );
    Ok(())
}

/// Returns the lines of `use` declarations that import from several modules.
fn nested(source: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut lines = source.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let visible = line.trim_start();
        let import = match visible.strip_prefix("pub") {
            Some(rest) => rest.trim_start_matches(|c: char| "()acdehinprstu:".contains(c)),
            None => visible,
        };
        let Some(import) = import.trim_start().strip_prefix("use ") else {
            continue;
        };
        let mut import = import.to_owned();
        while !import.contains(';') {
            let Some((_, line)) = lines.next() else {
                break;
            };
            import.push_str(line);
        }
        let group = import.split_once('{');
        let several = |(before, group): (&str, &str)| {
            before.is_empty() || group.contains("::") || group.contains('{')
        };
        if group.is_some_and(several) {
            found.push(index + 1);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_of_several_modules_are_reported() {
        let source = "use std::fmt;\nuse std::{fmt, sync::Arc};\npub(crate) use crate::{\n    a,\n\
                      b::{c, d},\n};\nuse {serde, rmp};\npub use a::{self, B, c};\n";
        assert_eq!(nested(source), [2, 3, 7]);
    }
}
