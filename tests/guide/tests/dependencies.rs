//! Checks that the snippets of the guide are compiled with the dependencies that the guide lists.

use std::collections::BTreeMap;
use std::path::Path;

/// Returns the dependencies of a manifest by section and name. Omits comments and paths.
fn dependencies(manifest: &str) -> BTreeMap<(String, String), String> {
    let (mut section, mut found) = (String::new(), BTreeMap::new());
    for line in manifest.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            section = line.to_owned();
        } else if let Some((name, value)) = line.split_once(" = ") {
            if !section.ends_with("dependencies]") {
                continue;
            }
            let value = match value.split_once("path = \"") {
                Some((before, rest)) => {
                    let (_, after) = rest.split_once("\", ").expect("more than a path");
                    format!("{before}{after}")
                }
                None => value.to_owned(),
            };
            // The short form of a dependency without features.
            let short = value.strip_prefix("{ version = ");
            let short = short.and_then(|value| value.strip_suffix(" }"));
            let value = short.filter(|value| !value.contains(',')).unwrap_or(&value);
            found.insert((section.clone(), name.to_owned()), value.to_owned());
        }
    }
    found
}

#[test]
fn the_guide_lists_the_dependencies_of_its_snippets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path| std::fs::read_to_string(folder.join(path)).expect("is there");
    let guide = read("../../docs/guide/README.md");
    let (_, list) = guide.split_once("```toml\n").expect("a list");
    let (list, _) = list.split_once("```").expect("an end");
    let listed = dependencies(list);
    assert!(listed.len() > 10, "{listed:?}");
    assert_eq!(dependencies(&read("Cargo.toml")), listed);
}
