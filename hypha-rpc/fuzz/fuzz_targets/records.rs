//! The target `records`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hypha_rpc_fuzz::run("records", input));
