//! Code that several examples share: the contract of the microscope, and the contract, the service
//! and the checks of the conformance examples.

pub mod checks;
pub mod conformance;
pub mod connection;
pub mod host;
#[path = "../microscope/contract.rs"]
pub mod microscope;

/// Prints a line of a report.
pub fn say(line: &str) {
    println!("{line}");
}
