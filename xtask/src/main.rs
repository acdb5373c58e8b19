//! `cargo xtask`: the routines of the project.

fn main() {}
