//! Code of the conformance examples: the contract, its implementation, and the checks of a caller.

pub mod checks;
pub mod conformance;
pub mod host;

/// Prints a line of a report.
pub fn say(line: &str) {
    println!("{line}");
}
