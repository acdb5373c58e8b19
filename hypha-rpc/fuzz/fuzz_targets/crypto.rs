//! The target `crypto`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hypha_rpc_fuzz::run("crypto", input));
