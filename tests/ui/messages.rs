//! Tests the messages of the compiler for invalid contracts. Each case also uses the items that the
//! macro generates, because a mistake must not cause further errors about missing items.
//!
//! After a deliberate change of a message, run `TRYBUILD=overwrite cargo test -p hypha-rpc-ui`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Command;

/// Version of the compiler with which the messages were recorded. Other versions skip the test,
/// because their messages differ.
const RUSTC: &str = "rustc 1.95.";

#[test]
fn messages() {
    let version = rustc_version();
    if !version.starts_with(RUSTC) {
        let line = format!("the recorded messages are those of {RUSTC}*, but this is {version}");
        assert!(std::env::var_os("CI").is_none(), "{line}");
        let line = format!("messages: {line}\n");
        // `cargo xtask test` prints the lines of this file at the end.
        let file = std::env::var_os("HYPHA_TEST_SKIPPED");
        let file = file.and_then(|file| OpenOptions::new().append(true).open(file).ok());
        if let Some(mut file) = file {
            let _ = file.write_all(line.as_bytes());
        }
        // Write to `stderr` directly, because the test runner captures `eprintln!`.
        let _ = std::io::stderr().write_all(format!("\nskipped: {line}").as_bytes());
        return;
    }
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}

/// Returns the version of the compiler that compiles the cases.
fn rustc_version() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    String::from_utf8(output.expect("rustc runs").stdout).expect("a text")
}

#[test]
fn every_case_has_a_description_and_a_recorded_message() {
    let files = std::fs::read_dir("cases").expect("there are cases");
    let paths = files.map(|file| file.expect("a file").path());
    for path in paths.filter(|path| path.extension().is_some_and(|kind| kind == "rs")) {
        let text = std::fs::read_to_string(&path).expect("a text");
        assert!(text.starts_with("//! "), "{}", path.display());
        assert!(path.with_extension("stderr").exists(), "{}", path.display());
    }
}
