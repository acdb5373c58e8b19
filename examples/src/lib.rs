//! Code of the conformance examples: the contract, its implementation, and the checks of a caller.

pub mod checks;
pub mod conformance;
pub mod host;
