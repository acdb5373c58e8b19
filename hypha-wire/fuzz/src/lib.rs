//! The targets for libFuzzer. Their code is in `hypha-wire/tests/fuzz/`, where an ordinary
//! test runs it with the kept inputs.

#[path = "../../tests/fuzz/targets/mod.rs"]
mod targets;

/// Runs one input through the target of this name.
///
/// # Panics
///
/// If there is no such target; if the input breaks a promise of the crate.
pub fn run(target: &str, input: &[u8]) {
    targets::run(target, input);
}
