//! Schemas of functions with arguments of all kinds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::FunctionSchema;

/// A tree of numbers.
#[derive(JsonSchema)]
#[allow(dead_code)]
struct Node {
    /// The number here.
    value: u32,
    children: Vec<Node>,
}

#[derive(JsonSchema)]
#[schemars(title = "Point of a plane")]
#[allow(dead_code)]
struct Point {
    title: String,
    format: f32,
}

fn property<T: JsonSchema>(description: &str) -> Value {
    let schema = FunctionSchema::new("f", "")
        .argument::<T>("it", description)
        .finish();
    schema["parameters"]["properties"]["it"].clone()
}

#[test]
fn a_function_without_arguments() {
    assert_eq!(
        FunctionSchema::new("bare", "").finish().to_string(),
        r#"{"name":"bare","description":"","parameters":{"type":"object","properties":{},"required":[]}}"#
    );
}

#[test]
fn arguments_keep_their_order_and_only_needed_ones_are_required() {
    let schema = FunctionSchema::new("f", "Text.")
        .argument::<f64>("z", "Last letter.")
        .optional_argument::<Option<String>>("a", "")
        .argument_with_default::<i32>("m", "", 3.into())
        .finish();
    assert_eq!(
        schema["parameters"].to_string(),
        json!({
            "type": "object",
            "properties": {
                "z": {"type": "number", "description": "Last letter."},
                "a": {"type": ["string", "null"]},
                "m": {"type": "integer", "default": 3},
            },
            "required": ["z"],
        })
        .to_string()
    );
}

#[test]
fn formats_of_rust_are_left_out_and_others_kept() {
    #[derive(JsonSchema)]
    #[schemars(transparent)]
    #[allow(dead_code)]
    struct Day(#[schemars(extend("format" = "date"))] String);

    assert_eq!(
        property::<u8>(""),
        json!({"type": "integer", "minimum": 0, "maximum": 255})
    );
    assert_eq!(property::<f32>(""), json!({"type": "number"}));
    assert_eq!(
        property::<usize>(""),
        json!({"type": "integer", "minimum": 0})
    );
    assert_eq!(
        property::<BTreeMap<String, i64>>(""),
        json!({"type": "object", "additionalProperties": {"type": "integer"}})
    );
    assert_eq!(
        property::<Day>(""),
        json!({"type": "string", "format": "date"})
    );
}

#[test]
fn titles_go_but_properties_with_such_names_stay() {
    assert_eq!(
        property::<Point>(""),
        json!({
            "type": "object",
            "properties": {"title": {"type": "string"}, "format": {"type": "number"}},
            "required": ["title", "format"],
        })
    );
}

#[test]
fn the_text_of_the_contract_wins_over_the_text_of_the_type() {
    assert_eq!(property::<Node>("")["description"], "A tree of numbers.");
    assert_eq!(property::<Node>("Its root.")["description"], "Its root.");
}

#[test]
fn any_value_can_have_a_text() {
    assert_eq!(
        property::<Value>("Anything."),
        json!({"description": "Anything."})
    );
}

#[test]
fn tuples_are_written_as_draft_7_has_them() {
    let schema = property::<(u8, String)>("");
    assert!(schema["items"].is_array(), "{schema}");
    assert!(schema.get("prefixItems").is_none(), "{schema}");
}

#[test]
fn references_of_recursive_types_resolve_inside_the_parameters() {
    let schema = FunctionSchema::new("f", "")
        .argument::<Node>("root", "")
        .argument::<Vec<Node>>("forest", "")
        .finish();
    let parameters = &schema["parameters"];
    assert_eq!(
        parameters["properties"]["root"]["properties"]["children"],
        json!({"type": "array", "items": {"$ref": "#/$defs/Node"}})
    );
    let definition = &parameters["$defs"]["Node"];
    assert_eq!(
        definition["properties"]["value"],
        json!({"type": "integer", "minimum": 0, "description": "The number here."})
    );
    assert_eq!(
        definition["properties"]["children"]["items"]["$ref"],
        "#/$defs/Node"
    );
}

#[test]
fn nothing_stands_beside_a_reference() {
    struct Reference;
    impl JsonSchema for Reference {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Reference".into()
        }
        fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({"$ref": "#/$defs/Elsewhere"})
        }
    }
    let schema = FunctionSchema::new("f", "")
        .argument_with_default::<Reference>("it", "Text.", 1.into())
        .finish();
    assert_eq!(
        schema["parameters"]["properties"]["it"],
        json!({"allOf": [{"$ref": "#/$defs/Elsewhere"}], "description": "Text.", "default": 1})
    );
}
