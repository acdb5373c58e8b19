//! The targets for libFuzzer. The code of the targets is in `hypha-rpc/tests/fuzz/`. An ordinary
//! test in that folder runs each target with the stored inputs.

#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

/// Runs one input through the target of this name.
///
/// # Panics
///
/// Panics if there is no such target, or if the input violates an invariant of the crate.
pub fn run(target: &str, input: &[u8]) {
    targets::run(target, input);
}
