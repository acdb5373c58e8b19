//! Fuzz target `texts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hypha_wire_fuzz::run("texts", input));
