//! What several examples share.

pub mod conformance;
