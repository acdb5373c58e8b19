//! Fuzz target `chunks`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hypha_wire_fuzz::run("chunks", input));
