//! What the compiler says of wrong contracts. Every case uses the generated items afterwards: a
//! mistake must not be reported a second time by their absence.
//!
//! After a deliberate change of a message: `TRYBUILD=overwrite cargo test -p hypha-rpc-ui`.

#[test]
fn messages() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}

#[test]
fn every_case_says_what_it_is_about() {
    let files = std::fs::read_dir("cases").expect("there are cases");
    let paths = files.map(|file| file.expect("a file").path());
    for path in paths.filter(|path| path.extension().is_some_and(|kind| kind == "rs")) {
        let text = std::fs::read_to_string(&path).expect("a text");
        assert!(text.starts_with("//! "), "{}", path.display());
        assert!(path.with_extension("stderr").exists(), "{}", path.display());
    }
}
