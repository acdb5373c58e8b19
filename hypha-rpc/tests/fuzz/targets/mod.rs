//! Fuzz targets. Each target takes an input and panics if an invariant is violated.

mod client;
#[cfg(feature = "encryption")]
mod crypto;
#[path = "../../../../hypha-wire/tests/fuzz/targets/input.rs"]
mod input;
mod records;

/// A fuzz target: a function that accepts arbitrary bytes.
type Target = fn(&[u8]);

/// All targets, with their names.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("client", client::run),
    #[cfg(feature = "encryption")]
    ("crypto", crypto::run),
    ("records", records::run),
];

/// Runs the target `name` on one input.
pub(crate) fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.expect("a target of this name");
    target(input);
}
