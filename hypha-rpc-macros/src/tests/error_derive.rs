//! Tests of `#[derive(RemoteError)]`: expansions and errors.

use proc_macro2::TokenStream;

use crate::diag::Errors;
use crate::error_derive::remote_error;

fn run(item: &str) -> (TokenStream, Errors) {
    remote_error(item.parse().expect("test input is made of tokens"))
}

fn mistakes(item: &str) -> Vec<String> {
    run(item).1.messages()
}

fn expand(item: &str) -> String {
    let (tokens, errors) = run(item);
    assert!(errors.is_empty(), "{:?}", errors.messages());
    prettyplease::unparse(&syn::parse2(tokens).expect("expansions are items"))
}

#[test]
fn an_enum() {
    insta::assert_snapshot!(expand(
        r#"
        pub enum CalcError {
            #[error("division by zero")]
            #[remote_error(class = "ZeroDivisionError")]
            DivisionByZero,
            TooLarge { value: f64, limit: f64 },
            #[remote_error(name = "Missing", class = ["KeyError", "a.b.LookupError"])]
            Missing { key: String },
            #[remote_error(other)]
            r#Other(Box<str>),
        }
        "#,
    ));
}

#[test]
fn a_struct() {
    insta::assert_snapshot!(expand(
        r#"
        #[remote_error(crate = crate::rpc, name = "lab.Broken")]
        #[remote_error(class = "BrokenError", other)]
        struct Broken(String);
        "#,
    ));
}

#[test]
fn types_that_cannot_be_errors() {
    assert_eq!(
        mistakes("union U { a: u8 }"),
        ["U => `RemoteError` goes on an enum or a struct"]
    );
    assert_eq!(
        mistakes("enum E {}"),
        ["E => an error without variants never happens; use `std::convert::Infallible`"]
    );
    let one_type = "the error of a contract is one owned type; remove type parameters and \
                    lifetimes";
    assert_eq!(
        mistakes("enum E<T> where T: Copy { A(T) }"),
        [
            format!("T => {one_type}"),
            "where T: Copy => the error of a contract has no `where` clause".into(),
        ]
    );
    assert_eq!(
        mistakes("struct E<'a, const N: usize>(&'a str);"),
        [format!("'a, const N: usize => {one_type}")]
    );
}

#[test]
fn an_error_that_schemas_leave_out() {
    let described = |value: &str| expand(&format!("#[remote_error({value})] struct Broken;"));
    assert_eq!(described("described = true"), expand("struct Broken;"));
    let left_out = described("described = false");
    assert!(left_out.contains("ServiceError for Broken"), "{left_out}");
    assert!(!left_out.contains("DescribedError"), "{left_out}");
    assert!(
        !left_out.contains("Some(__runtime::error_schema"),
        "{left_out}"
    );
    assert_eq!(
        mistakes("#[remote_error(described = 0)] struct Broken;"),
        ["0 => `described` takes `true`, `false` or no value"]
    );
}

#[test]
fn causes_are_part_of_the_schema() {
    for (item, facts) in [
        (
            "#[error(\"a\")] struct E(u8, #[serde(skip)] u8, #[source] F);",
            r#""message": "a", "source": "1""#,
        ),
        (
            "#[error(transparent)] struct E(#[from] F);",
            r#""message": "{0}", "source": "0", "from": true, "transparent": true"#,
        ),
        (
            "#[error(\"{a} {{b}} {b:>3}\",)] #[serde(transparent)] struct E { b: F }",
            r#""message": "{a} {{b}} {0:>3}""#,
        ),
        (
            "#[error(\"a\")] struct E { #[serde(rename = \"c\")] #[source] b: F, source: u8 }",
            r#""message": "a", "source": "c""#,
        ),
        (
            "#[error(\"a\")] struct E { source: F }",
            r#""message": "a", "source": "source""#,
        ),
        (
            "#[error(\"a\")] struct E { #[serde(skip)] source: F }",
            r#""message": "a""#,
        ),
        (
            "#[error(\"{0}\")] #[serde(into = \"u8\")] struct E(F);",
            r#""name": "E""#,
        ),
    ] {
        // The formatter splits long lines.
        let plain = |text: &str| text.split_whitespace().collect::<String>();
        let (found, wanted) = (plain(&expand(item)), plain(facts) + "}");
        assert!(found.contains(&wanted), "{wanted} is not in {found}");
    }
}

#[test]
fn keys() {
    assert_eq!(
        mistakes(
            r#"#[remote_error(class = "X")] enum E { #[remote_error(crate = a)] A, #[remote_error] B }"#
        ),
        [
            "class => unknown key `class`; the keys here are `name`, `described`, `crate`",
            "crate => unknown key `crate`; the keys here are `name`, `class`, `other`",
            "remote_error => write `#[remote_error(key = value)]`",
        ]
    );
    assert_eq!(
        mistakes("#[remote_error(clas = \"X\")] struct S;"),
        [
            "clas => unknown key `clas`; the keys here are `name`, `class`, `other`, `described`, `crate`"
        ]
    );
    assert_eq!(
        mistakes("struct S { #[remote_error(other)] a: u8 }"),
        ["#[remote_error(other)] => `#[remote_error(..)]` goes on the type or a variant"]
    );
}

#[test]
fn values_of_keys() {
    let class =
        "`class` is the name of an exception class, such as \"ValueError\", or a list of them";
    assert_eq!(
        mistakes(
            r#"enum E { #[remote_error(class = Value)] A, #[remote_error(class = ["", "a b", 1])] B,
               #[remote_error(class = [])] C, #[remote_error(other = true)] D,
               #[remote_error(name = "")] F, #[remote_error(name = "hypha.Busy")] G }"#
        ),
        [
            format!("Value => {class}"),
            format!("\"\" => {class}"),
            format!("\"a b\" => {class}"),
            format!("1 => {class}"),
            "[] => `class` is empty".into(),
            "true => `other` takes no value".into(),
            "\"\" => `name` is empty".into(),
            "\"hypha.Busy\" => names that begin with `hypha.` are reserved for errors of the \
             runtime"
                .into(),
        ]
    );
}

#[test]
fn variants_with_several_fields() {
    assert_eq!(
        mistakes(
            "enum E { #[remote_error(class = \"X\")] A(u8, u8), #[remote_error(other)] B { a: u8, \
             b: u8 } }"
        ),
        [
            "B => with `other`, `B` is built from the message of an exception; give it one field, \
             or none",
        ]
    );
}

#[test]
fn ambiguous_variants() {
    assert_eq!(
        mistakes(
            r#"enum E {
                #[remote_error(class = ["X", "Y", "X"], other)] A,
                #[remote_error(class = "Y", name = "E.A", other)] B,
            }"#
        ),
        [
            "\"X\" => the class `X` is given twice",
            "B => the name `E.A` already belongs to the variant `A`",
            "\"Y\" => the class `Y` already belongs to the variant `A`",
            "other => `other` is already on the variant `A`",
        ]
    );
}

/// An invalid type still implements `ServiceError`. Otherwise, rustc would report further errors in
/// each contract that uses the type.
#[test]
fn a_wrong_type_is_an_error_type() {
    let (tokens, errors) = run("enum E<T> { A(T) }");
    assert!(!errors.is_empty());
    let tokens = tokens.to_string();
    assert!(tokens.contains("ServiceError for E < T >"), "{tokens}");
}

#[test]
fn fields_keep_their_own_functions_for_schemas() {
    let expanded = |keys: &str| expand(&format!("struct Broken {{ #[schemars({keys})] a: u8 }}"));
    let own = expanded("schema_with = \"f\", range(max = 3), !default");
    assert!(
        own.contains("schemars(schema_with = \"f\", range(max = 3))"),
        "{own}"
    );
    assert!(!own.contains("__schema_0"), "{own}");
    let other_type = expanded("with = \"Vec<u8>\", range(max = 3)");
    assert!(other_type.contains("SchemaOf::<Vec<u8>>"), "{other_type}");
    assert!(
        other_type.contains("schemars(range(max = 3))"),
        "{other_type}"
    );
    // schemars reports these errors.
    for invalid in [
        "with = \"Vec<\"",
        "with = 3",
        "schema_with = \"f\", with = \"u8\"",
        "with = \"u8\", with = \"u8\"",
    ] {
        let kept = expanded(invalid);
        assert!(kept.contains(&format!("schemars({invalid})")), "{kept}");
        assert!(!kept.contains("__schema_0"), "{kept}");
    }
}
