//! Tests the forms of structs and enums. The tests in the folder `tests` send values through the
//! generated contracts.

use hypha_rpc::service::Service;
use serde_json::{Value as Json, json};

use super::{contains, describe, method, schema};
use crate::Description;

/// Returns the description of a function with one argument of this type, which the definitions
/// describe.
fn defined(name: &str, definitions: Json) -> Description {
    let reference = json!({"$ref": format!("#/$defs/{name}")});
    let parameters = json!({"type": "object", "properties": {"it": reference}, "required": ["it"],
        "$defs": definitions});
    describe([method("f", json!({"name": "f", "parameters": parameters}))])
}

#[test]
fn flattened_enums_keep_the_other_members() {
    let external = |others: Json| {
        let mut schema = json!({"type": "object", "properties": {"n": {"type": "integer"}},
        "required": ["n"], "oneOf": [
            {"type": "object", "properties": {"A": {"type": "integer"}}, "required": ["A"]},
            {"type": "object", "properties": {"B": {"type": "null"}}, "required": ["B"]},
        ]});
        schema["unevaluatedProperties"] = others;
        schema
    };
    let rest = defined("Rest", json!({"Rest": external(json!({"type": "number"}))}));
    for part in [
        "    #[serde(flatten)]\n    pub variant: RestVariant,\n",
        "    pub others: std::collections::BTreeMap<String, f64>,\n",
        "pub enum RestVariant {\n    A(i64),\n    B,\n}",
    ] {
        contains(&rest.rust(), part);
    }
    contains(
        &rest.typescript(),
        "  [key: string]: any;\n} & RestVariant;",
    );
    contains(&rest.python(), "Rest: TypeAlias = Union[Rest1, Rest2]");
    // Closed structs have no map.
    let closed = defined("Rest", json!({"Rest": external(false.into())}));
    assert!(!closed.rust().contains("others"), "{}", closed.rust());

    // serde would give the tag to the map too, so each variant has all members.
    let internal = json!({"type": "object", "properties": {"n": {"type": "integer"}},
    "required": ["n"], "additionalProperties": {"type": "number"}, "oneOf": [
        {"properties": {"mode": {"const": "A"}}, "required": ["mode"]},
        {"properties": {"mode": {"const": "B"}}, "required": ["mode"]},
    ]});
    let internal = defined("Rest", json!({ "Rest": internal }));
    contains(
        &internal.rust(),
        "#[serde(tag = \"mode\")]\npub enum Rest {",
    );
    assert_eq!(internal.rust().matches("BTreeMap<String, f64>").count(), 2);
}

#[test]
fn defaults_include_flattened_members() {
    let rest = json!({"type": "object", "properties": {"n": {"type": "integer"}},
        "required": ["n"], "additionalProperties": {"type": "integer"}});
    let mode = json!({"type": "object", "properties": {"n": {"type": "integer"}},
    "required": ["n"], "oneOf": [
        {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
    ]});
    let parameters = json!({
        "type": "object",
        "properties": {
            "rest": {"$ref": "#/$defs/Rest", "default": {"n": 1, "x": 2}},
            "mode": {"$ref": "#/$defs/Mode", "default": {"n": 1, "b": true}},
        },
        "$defs": {"Rest": rest, "Mode": mode},
    });
    let rust = describe([method("f", json!({ "parameters": parameters }))]).rust();
    let map = "std::collections::BTreeMap::from([(\"x\".to_owned(), 2)])";
    contains(
        &rust,
        &format!("default = Rest {{ n: 1, others: {map} }})]"),
    );
    contains(
        &rust,
        "default = Mode { n: 1, variant: ModeVariant::B(true) })]",
    );
}

#[test]
fn two_choices_are_two_flattened_enums() {
    let choice = |a: &str, b: &str| {
        json!({"oneOf": [
            {"type": "object", "properties": {"kind": {"const": a}}, "required": ["kind"]},
            {"type": "object", "properties": {(b): {"type": "integer"}}, "required": [b]},
        ]})
    };
    let both = |first: Json, second: Json| {
        let both = json!({"type": "object", "allOf": [first, second]});
        defined("Both", json!({"Both": both})).rust()
    };
    let rust = both(choice("x", "a"), json!({"anyOf": [choice("x", "b"), {}]}));
    // The member `kind` is in both, and a struct cannot have it twice.
    contains(&rust, "pub struct Both(pub Value);");
    let second = json!({"anyOf": [
        {"oneOf": [{"properties": {"b": {"type": "integer"}}, "required": ["b"]},
            {"properties": {"c": {"type": "integer"}}, "required": ["c"]}]},
        {},
    ]});
    let rust = both(choice("x", "a"), second);
    contains(&rust, "    pub variant: BothVariant,\n");
    contains(&rust, "    pub variant2: Option<BothVariant2>,\n");
}

#[test]
fn types_that_contain_each_other_in_results_are_boxed() {
    let next = json!({"type": "object", "properties": {"next": {"oneOf": [
        {"type": "object", "properties": {"Ok": {"$ref": "#/$defs/Next"}}, "required": ["Ok"]},
        {"type": "object", "properties": {"Err": {"type": "string"}}, "required": ["Err"]},
    ]}}, "required": ["next"]});
    let rust = defined("Next", json!({ "Next": next })).rust();
    contains(&rust, "pub next: Result<Box<Next>, String>,");
}

#[test]
fn lists_are_not_read_as_structs() {
    let point = json!({"type": "object", "properties": {"x": {"type": "number"}},
        "required": ["x"]});
    let list = json!({"type": "array", "items": {"type": "number"}});
    let roi = json!({"anyOf": [point, {"$ref": "#/$defs/Point"}, {"type": "string"}, list]});
    let rust = defined("Roi", json!({"Roi": roi, "Point": point})).rust();
    contains(
        &rust,
        "pub enum Roi {\n    X {\n        x: f64,\n    },\n    List(Vec<f64>),\n    \
         Point(Point),\n    Text(String),\n}",
    );
    // Binary data and arrays are read from lists too, and remain before the list.
    let bytes = json!({"type": "string", "format": "binary"});
    let roi = json!({"anyOf": [{"$ref": "#/$defs/Point"}, bytes, list]});
    let rust = defined("Roi", json!({"Roi": roi, "Point": point})).rust();
    contains(
        &rust,
        "    Point(Point),\n    Binary(Binary),\n    List(Vec<f64>),\n",
    );
}

#[test]
fn null_is_a_variant_of_a_named_enum() {
    let loose = json!({"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]});
    let described = defined("Loose", json!({ "Loose": loose }));
    contains(
        &described.rust(),
        "pub enum Loose {\n    Integer(i64),\n    Text(String),\n    Nothing,\n}",
    );
    contains(
        &described.typescript(),
        "type Loose = number | string | null;",
    );
    contains(&described.python(), "Union[int, str, None]");
    contains(&schema(loose).rust(), "it: Option<FIt>,");
}

#[test]
fn missing_members_differ_from_null_if_the_schema_says_so() {
    let nullable = json!({"anyOf": [{"type": "integer"}, {"type": "null"}]});
    let mut with_default = nullable.clone();
    with_default["default"] = Json::Null;
    let it = json!({"type": "object", "properties": {
        "usual": with_default,
        "three": nullable,
        "absent": {"type": "integer", "default": null},
        "any": {},
    }});
    let rust = schema(it).rust();
    let skipped = "default, skip_serializing_if = \"Option::is_none\"";
    contains(&rust, "    pub usual: Option<i64>,\n    #[serde(");
    contains(
        &rust,
        &format!(
            "    #[serde({skipped}, deserialize_with = \"present\")]\n    \
             #[schemars(extend(\"x-hypha-absent\" = true))]\n    \
             pub three: Option<Option<i64>>,\n"
        ),
    );
    contains(
        &rust,
        &format!("    #[serde({skipped})]\n    pub absent: Option<i64>,\n"),
    );
    contains(
        &rust,
        "deserialize_with = \"present\")]\n    \
         #[schemars(with = \"Value\")]\n    \
         pub any: Option<Value>,\n",
    );
    contains(&rust, "\nfn present<'de, T, D>(");
}

#[test]
fn empty_types_and_results_come_back() {
    let definitions = json!({
        "Unit": {"type": "null"},
        "Outcome": {"oneOf": [
            {"type": "object", "properties": {"Ok": {"$ref": "#/$defs/Unit"}}, "required": ["Ok"]},
            {"type": "object", "properties": {"Err": {"type": "array", "maxItems": 0}},
                "required": ["Err"]},
        ]},
    });
    let rust = defined("Outcome", definitions).rust();
    contains(&rust, "it: Result<Unit, [Value; 0]>,");
    contains(&rust, "pub struct Unit;");
}

#[test]
fn one_type_with_several_numbers_is_one_type() {
    let number = json!({"type": "object", "properties": {"x": {"type": "integer"}}});
    let text = json!({"type": "object", "properties": {"y": {"type": "string"}}});
    let root = |first: &Json, second: &Json| {
        json!({"type": "object", "properties": {"first": {"$ref": "#/$defs/Pos"},
            "second": {"$ref": "#/$defs/Pos2"}}, "required": ["first", "second"],
            "$defs": {"Pos": first, "Pos2": second}})
    };
    let function = |name: &str, parameters: Json| method(name, json!({ "parameters": parameters }));
    let rust = describe([
        function("f", root(&number, &text)),
        function("g", root(&text, &number)),
    ])
    .rust();
    assert_eq!(rust.matches("pub struct ").count(), 2, "{rust}");
    contains(&rust, "        first: Pos2,\n        second: Pos,\n");
    // Equal types of one root are different types.
    let rust = describe([
        function("f", root(&number, &number)),
        function("g", root(&number, &number)),
    ])
    .rust();
    assert_eq!(rust.matches("pub struct ").count(), 2, "{rust}");
}

#[test]
fn definitions_without_a_use_are_omitted() {
    let used = json!({"type": "object", "properties": {"x": {"type": "integer"}},
        "not": {"$ref": "#/$defs/Unused"}, "allOf": [{"$ref": "#/$defs/Unused"}]});
    let unused = json!({"type": "object", "properties": {"image": {"x-hypha-type": "ndarray"}}});
    let described = defined("Used", json!({"Used": used, "Unused": unused}));
    for text in [described.rust(), described.typescript(), described.python()] {
        assert!(!text.contains("Unused"), "{text}");
        assert!(
            !text.contains("NdArray") && !text.contains("NDArray"),
            "{text}"
        );
    }
}

#[test]
fn default_descriptions_of_variants_are_omitted() {
    let mut array = json!({"x-hypha-type": "ndarray"});
    let common = hypha_wire::array_schema(None, None);
    array["description"] = common.get("description").cloned().unwrap_or_default();
    let described = schema(json!({"anyOf": [{"type": "number"}, array]}));
    assert!(!described.rust().contains("_rtype"), "{}", described.rust());
}

#[test]
fn texts_of_generated_contracts_stay_the_same() {
    let doc = "Text.\n```\nx\n```\n<b>";
    let first = Description::of(Service::new("desk").description(doc)).rust();
    let lines = first.lines().filter_map(|line| line.strip_prefix("/// "));
    let doc = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(
        Description::of(Service::new("desk").description(&doc)).rust(),
        first
    );
}
