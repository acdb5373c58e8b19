//! Targets for libFuzzer. The code of the targets is in `hypha-wire/tests/fuzz/`. An ordinary test
//! also runs this code on the stored inputs.

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
