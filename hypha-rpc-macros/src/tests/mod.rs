//! Tests the expansions of contracts and the errors of invalid contracts. All tests compare tokens.

use proc_macro2::TokenStream;

use crate::diag::Errors;
use crate::names::Rule;

mod diagnostics;
mod error_derive;
mod expansion;

#[test]
fn reserved_names_are_those_of_the_protocol() {
    assert_eq!(crate::lower::RESERVED, hypha_wire::keys::RESERVED);
}

#[test]
fn names_follow_the_rule_of_the_contract() {
    for (rule, wanted) in [
        (Rule::Unchanged, "take_2nd_image"),
        (Rule::Camel, "take2ndImage"),
        (Rule::Pascal, "Take2ndImage"),
        (Rule::Snake, "take_2nd_image"),
        (Rule::ScreamingSnake, "TAKE_2ND_IMAGE"),
        (Rule::Kebab, "take-2nd-image"),
    ] {
        assert_eq!(rule.apply("take_2nd_image"), wanted);
    }
}

fn run(attr: &str, item: &str) -> (TokenStream, Errors) {
    let parse = |text: &str| text.parse().expect("test input is made of tokens");
    crate::parse::hypha_service(parse(attr), parse(item))
}
