//! Fuzz targets: each takes an input and panics if an invariant is broken.

mod chunks;
mod input;
mod message;
pub(crate) mod shapes;
mod texts;
mod value;

/// A target: it is given any bytes.
type Target = fn(&[u8]);

/// All of them, by name.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("chunks", chunks::run),
    ("message", message::run),
    ("texts", texts::run),
    ("value", value::run),
];

/// Runs one input through the target of this name.
pub(crate) fn run(name: &str, input: &[u8]) {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = found.expect("a target of this name");
    target(input);
}
