//! The target `client`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hypha_rpc_fuzz::run("client", input));
