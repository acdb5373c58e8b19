//! What the compiler says of wrong contracts. Every case uses the generated items afterwards: a
//! mistake must not be reported a second time by their absence.
//!
//! After a deliberate change of a message: `TRYBUILD=overwrite cargo test -p hypha-rpc --test ui`.

#[test]
fn messages() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
