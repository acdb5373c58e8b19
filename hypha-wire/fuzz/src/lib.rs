//! Targets for libFuzzer. Their code is in `hypha-wire/tests/fuzz/`, where an ordinary test also
//! runs it on the stored inputs.

#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

/// Runs the target with this name on one input.
///
/// # Panics
///
/// Panics if there is no such target, or if the input violates a guarantee of the crate.
pub fn run(target: &str, input: &[u8]) {
    targets::run(target, input);
}
