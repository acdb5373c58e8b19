//! The work of each fuzz target with an input. A broken promise is a panic.

mod client;
#[cfg(feature = "encryption")]
mod crypto;
#[path = "../../../../hypha-wire/tests/fuzz/targets/input.rs"]
mod input;
mod records;

/// A target: it is given any bytes.
type Target = fn(&[u8]);

/// All of them, by name.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("client", client::run),
    #[cfg(feature = "encryption")]
    ("crypto", crypto::run),
    ("records", records::run),
];

/// Runs one input through the target of this name.
pub(crate) fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.expect("a target of this name");
    target(input);
}
