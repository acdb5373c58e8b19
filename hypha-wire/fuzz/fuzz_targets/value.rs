//! Fuzz target `value`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hypha_wire_fuzz::run("value", input));
