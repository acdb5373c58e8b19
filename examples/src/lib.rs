//! Code that several examples share.

pub mod checks;
pub mod conformance;
pub mod host;
