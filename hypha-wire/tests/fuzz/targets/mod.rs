//! Fuzz targets. A target takes an input, and panics if an invariant is violated.

mod chunks;
mod input;
mod message;
pub(crate) mod shapes;
mod texts;
mod value;

/// Fuzz target, which accepts arbitrary bytes.
type Target = fn(&[u8]);

/// All targets, with their names.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("chunks", chunks::run),
    ("message", message::run),
    ("texts", texts::run),
    ("value", value::run),
];

/// Runs the target with this name on one input.
pub(crate) fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.expect("a target of this name");
    target(input);
}
