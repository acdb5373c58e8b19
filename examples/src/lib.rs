//! Code that several examples share: the contract of the microscope, and of the conformance
//! examples the contract, its implementation, and the checks of a caller.

pub mod checks;
pub mod conformance;
pub mod host;
#[path = "../microscope/contract.rs"]
pub mod microscope;

/// Prints a line of a report.
pub fn say(line: &str) {
    println!("{line}");
}
