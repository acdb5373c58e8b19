//! Tests the schemas of functions with arguments of all kinds.

mod defaults;
mod direction;

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{FunctionSchema, KIND, Keyed};

/// A tree of numbers.
#[derive(JsonSchema)]
#[allow(dead_code)]
struct Node {
    /// The number of this node.
    value: u32,
    children: Vec<Node>,
}

#[derive(serde::Serialize, JsonSchema)]
#[schemars(title = "Point of a plane")]
#[allow(dead_code)]
struct Point {
    title: String,
    format: String,
}

fn property<T: JsonSchema>(description: &str) -> Value {
    let schema = FunctionSchema::new("f", "")
        .argument::<T>("it", description)
        .finish();
    let parameters = &schema["parameters"];
    let property = &parameters["properties"]["it"];
    match property["$ref"].as_str() {
        // Beside a reference there is at most the description in the contract.
        Some(reference) => {
            let mut whole = parameters
                .pointer(&reference[1..])
                .expect("defined")
                .clone();
            if let Some(description) = property.get("description") {
                whole["description"] = description.clone();
            }
            whole
        }
        None => property.clone(),
    }
}

#[test]
fn a_function_without_arguments() {
    assert_eq!(
        FunctionSchema::new("bare", "").finish().to_string(),
        r#"{"name":"bare","description":"","parameters":{"type":"object","properties":{}}}"#
    );
}

/// The schema is the same as in pydantic.
#[test]
fn any_value_is_an_empty_schema() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Loose {
        any: Value,
        list: Vec<Value>,
        pair: (Value, u8),
        maybe: Option<Value>,
        map: BTreeMap<String, Value>,
    }
    assert_eq!(property::<Value>(""), json!({}));
    assert_eq!(
        property::<Loose>("")["properties"],
        json!({
            "any": {},
            "list": {"type": "array", "items": {}},
            "pair": {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{}, {"type": "integer", "minimum": 0, "maximum": 255}]},
            "maybe": {},
            "map": {"type": "object", "additionalProperties": true},
        })
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
                "a": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "m": {"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX, "default": 3},
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
    assert_eq!(property::<f64>(""), json!({"type": "number"}));
    assert_eq!(
        property::<u64>(""),
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
fn numbers_have_their_type_if_their_range_does_not_tell() {
    fn with(other: Value) -> Value {
        let mut schema = json!({"type": "integer"});
        if let (Value::Object(schema), Value::Object(other)) = (&mut schema, other) {
            schema.extend(other);
        }
        schema
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Ranges {
        #[schemars(range(min = 1))]
        byte: u8,
        #[schemars(range(min = 0, max = 100))]
        signed: i64,
        #[schemars(range(max = 1.5))]
        single: Option<f32>,
        #[schemars(range(max = 1.5))]
        double: f64,
        #[schemars(range(min = 0, max = 255))]
        same: u8,
    }
    assert_eq!(
        property::<f32>(""),
        json!({"type": "number", "x-hypha-dtype": "float32"})
    );
    let pointer = json!({"minimum": 0, "x-hypha-dtype": "uintp"});
    assert_eq!(property::<usize>(""), with(pointer));
    assert_eq!(
        property::<isize>(""),
        with(json!({"x-hypha-dtype": "intp"}))
    );
    let widest = json!({"minimum": 0, "maximum": u64::MAX, "x-hypha-dtype": "uint128"});
    assert_eq!(property::<u128>(""), with(widest));
    let ranges = property::<Ranges>("");
    let fields = &ranges["properties"];
    assert_eq!(
        fields["byte"],
        with(json!({"minimum": 1, "maximum": 255, "x-hypha-dtype": "uint8"}))
    );
    assert_eq!(
        fields["signed"],
        with(json!({"minimum": 0, "maximum": 100, "x-hypha-dtype": "int64"}))
    );
    assert_eq!(
        fields["single"]["anyOf"][0],
        json!({"type": "number", "maximum": 1.5, "x-hypha-dtype": "float32"})
    );
    assert_eq!(fields["double"], json!({"type": "number", "maximum": 1.5}));
    assert_eq!(fields["same"], with(json!({"minimum": 0, "maximum": 255})));
}

/// The ids of schemars are not part of its API. This test fails if they change.
#[test]
fn keys_are_found_inside_of_all_containers() {
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    type Bytes = HashMap<u8, f64>;
    assert_eq!(property::<Bytes>("")["x-hypha-keys"], byte);
    for (found, pointer) in [
        (property::<Box<Bytes>>(""), ""),
        (property::<Option<Bytes>>(""), "/anyOf/0"),
        (property::<Vec<Option<Bytes>>>(""), "/items/anyOf/0"),
        (property::<[Bytes; 3]>(""), "/items"),
        (property::<(u8, Bytes)>(""), "/prefixItems/1"),
        (property::<(Bytes, Vec<(u8, u8)>)>(""), "/prefixItems/0"),
        (
            property::<BTreeMap<String, Bytes>>(""),
            "/additionalProperties",
        ),
        (
            property::<BTreeMap<i64, Bytes>>(""),
            r"/patternProperties/^-?\d+$",
        ),
        (property::<Keyed<Bytes>>(""), ""),
        (property::<Option<Keyed<Bytes>>>(""), "/anyOf/0"),
    ] {
        let at = found.pointer(pointer).expect("a schema");
        assert_eq!(at["x-hypha-keys"], byte, "{found}");
    }
}

#[test]
fn only_keys_that_the_map_does_not_imply_are_stated() {
    type By<K> = BTreeMap<K, f64>;
    for (found, keys) in [
        (property::<By<bool>>(""), json!({"type": "boolean"})),
        (
            property::<By<i8>>(""),
            json!({"type": "integer", "minimum": -128, "maximum": 127}),
        ),
        (
            property::<By<usize>>(""),
            json!({"type": "integer", "minimum": 0, "x-hypha-dtype": "uintp"}),
        ),
        (property::<By<u64>>(""), Value::Null),
        (property::<By<i64>>(""), Value::Null),
        (property::<By<String>>(""), Value::Null),
        (property::<By<char>>(""), Value::Null),
    ] {
        assert_eq!(found["x-hypha-keys"], keys, "{found}");
    }
}

#[test]
fn titles_are_removed_but_properties_of_that_name_are_kept() {
    assert_eq!(
        property::<Point>(""),
        json!({
            "type": "object",
            "properties": {"title": {"type": "string"}, "format": {"type": "string"}},
            "required": ["title", "format"],
        })
    );
}

#[test]
fn the_description_in_the_contract_takes_precedence() {
    assert_eq!(property::<Node>("")["description"], "A tree of numbers.");
    assert_eq!(property::<Node>("Its root.")["description"], "Its root.");
}

#[test]
fn any_value_can_have_a_description() {
    assert_eq!(
        property::<Value>("Anything."),
        json!({"description": "Anything."})
    );
}

#[test]
fn tuples_follow_draft_2020_12() {
    let schema = property::<(u8, String)>("");
    assert!(schema["prefixItems"].is_array(), "{schema}");
    assert_eq!(
        (&schema["minItems"], &schema["maxItems"]),
        (&json!(2), &json!(2))
    );
}

#[test]
fn references_of_recursive_types_resolve_inside_the_parameters() {
    let schema = FunctionSchema::new("f", "")
        .argument::<Node>("root", "")
        .argument::<Vec<Node>>("forest", "")
        .finish();
    let parameters = &schema["parameters"];
    assert_eq!(
        parameters["properties"],
        json!({
            "root": {"$ref": "#/$defs/Node"},
            "forest": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        })
    );
    let definition = &parameters["$defs"]["Node"];
    assert_eq!(
        definition["properties"]["value"],
        json!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "description": "The number of this node."})
    );
    assert_eq!(
        definition["properties"]["children"]["items"]["$ref"],
        "#/$defs/Node"
    );
}

#[test]
fn a_reference_can_have_a_description_and_a_default() {
    let schema = FunctionSchema::new("f", "")
        .argument_with_default::<Point>("it", "Text.", json!({"title": "a", "format": "b"}))
        .finish();
    assert_eq!(
        schema["parameters"]["properties"]["it"],
        json!({"$ref": "#/$defs/Point", "description": "Text.",
            "default": {"title": "a", "format": "b"}})
    );
}

#[test]
fn optional_types_are_written_as_in_pydantic() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Person {
        /// In years.
        age: Option<u8>,
        friend: Option<Box<Person>>,
        #[serde(default)]
        tags: Vec<String>,
    }
    assert_eq!(
        property::<Person>("")["properties"],
        json!({
            "age": {
                "anyOf": [{"type": "integer", "minimum": 0, "maximum": 255}, {"type": "null"}],
                "description": "In years.",
                "default": null,
            },
            "friend": {"anyOf": [{"$ref": "#/$defs/Person"}, {"type": "null"}], "default": null},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
        })
    );
}

#[test]
fn results_have_their_own_definitions() {
    let schema = FunctionSchema::new("f", "").returns::<Vec<Node>>().finish();
    assert_eq!(schema["parameters"].get("$defs"), None);
    let returns = &schema["returns"];
    assert_eq!(returns["items"], json!({"$ref": "#/$defs/Node"}));
    assert!(returns["$defs"]["Node"].is_object(), "{returns}");
    let schema = FunctionSchema::new("f", "").returns_stream::<u8>().finish();
    let returns = &schema["returns"];
    assert_eq!(returns[KIND], "stream");
    assert_eq!(returns["items"]["maximum"], 255);
}

#[test]
fn times_are_numbers_of_seconds() {
    use std::time::{Duration, SystemTime};

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Exposure {
        /// Duration of the exposure.
        time: Duration,
        #[serde(default = "second")]
        pause: Duration,
        until: Option<SystemTime>,
    }
    fn second() -> Duration {
        Duration::from_millis(1500)
    }
    let schema = FunctionSchema::new("f", "")
        .argument::<Vec<Duration>>("times", "")
        .argument::<Exposure>("exposure", "")
        .argument_with_default::<Duration>("limit", "Limit.", json!(1.5))
        .returns::<Duration>()
        .finish();
    let seconds = json!({
        "type": "number",
        "minimum": 0,
        "description": "A time span in seconds.",
        (KIND): "duration"
    });
    let with = |key: &str, value: serde_json::Value| {
        let mut schema = seconds.clone();
        schema[key] = value;
        schema
    };
    let parameters = &schema["parameters"];
    assert_eq!(parameters["properties"]["times"]["items"], seconds);
    let limit = &parameters["properties"]["limit"];
    assert_eq!(
        (&limit["description"], &limit["default"]),
        (&json!("Limit."), &json!(1.5))
    );
    let definitions = parameters["$defs"].as_object().expect("definitions");
    assert_eq!(definitions.keys().collect::<Vec<_>>(), ["Exposure"]);
    let exposure = &definitions["Exposure"]["properties"];
    assert_eq!(
        exposure["time"],
        with("description", "Duration of the exposure.".into())
    );
    assert_eq!(exposure["pause"], with("default", json!(1.5)));
    assert_eq!(exposure["until"]["anyOf"][0][KIND], "timestamp");
    assert_eq!(schema["returns"], seconds);

    let json = |value: &(Duration, Option<SystemTime>)| super::to_json(value).expect("has JSON");
    let time = SystemTime::UNIX_EPOCH + second();
    assert_eq!(json(&(second(), Some(time))), json!([1.5, 1.5]));
}

#[test]
fn optional_files_functions_streams_and_objects_can_be_null() {
    use crate::call::Function;
    use crate::workspace::WorkspaceManagerProxy;
    use crate::{Callback, Object, RemoteFile, RemoteStream};

    fn check<T: JsonSchema + serde::de::DeserializeOwned>() {
        #[derive(JsonSchema)]
        #[allow(dead_code)]
        struct Holder<T> {
            /// Text.
            it: Option<T>,
        }
        let null = json!({"type": "null"});
        let kinds = |schema: &Value| schema["anyOf"].as_array().cloned().expect("optional");
        let plain = property::<T>("");
        let places = [
            (property::<Option<T>>(""), ""),
            (property::<Vec<Option<T>>>(""), "/items"),
            (property::<(u8, Option<T>)>(""), "/prefixItems/1"),
            (
                property::<BTreeMap<String, Option<T>>>(""),
                "/additionalProperties",
            ),
            (property::<Holder<T>>(""), "/properties/it"),
            (
                property::<Callback<(Option<T>,), Option<T>>>(""),
                "/x-hypha-arguments/0",
            ),
            (
                property::<Callback<(Option<T>,), Option<T>>>(""),
                "/x-hypha-returns",
            ),
            (property::<RemoteStream<Option<T>>>(""), "/items"),
        ];
        for (whole, pointer) in places {
            let kinds = kinds(whole.pointer(pointer).expect("a schema"));
            assert_eq!((kinds.len(), &kinds[1]), (2, &null), "{pointer}: {whole}");
            let kind = kinds[0].get(KIND);
            assert!(kinds[0].get("$ref").is_some() || kind == plain.get(KIND));
            let is_object = plain[KIND] == "object";
            assert_eq!(kinds[0].get("type").is_some(), is_object && kind.is_some());
        }
        let returns = FunctionSchema::new("f", "").returns::<Option<T>>().finish();
        assert_eq!(kinds(&returns["returns"])[1], null);
    }
    check::<RemoteFile>();
    check::<Function>();
    check::<Callback<(u8,), String>>();
    check::<RemoteStream<u8>>();
    check::<Object>();
    check::<Object<WorkspaceManagerProxy>>();
    for plain in [property::<RemoteFile>(""), property::<Callback<()>>("")] {
        assert_eq!(plain.get("type"), None);
    }
}

#[test]
fn unused_definitions_are_removed() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Outer(Option<Vec<Point>>);

    let schema = FunctionSchema::new("f", "")
        .argument::<Outer>("it", "")
        .refined("it", "", |_| schemars::json_schema!({"type": "object"}))
        .finish();
    assert_eq!(schema["parameters"].get("$defs"), None);
    let schema = FunctionSchema::new("f", "").returns::<Outer>().finish();
    let definitions = schema["returns"]["$defs"].as_object().expect("definitions");
    let names: Vec<&String> = definitions.keys().collect();
    assert_eq!(names, ["Outer", "Point"]);
}

#[test]
fn units_and_examples_are_lines_of_descriptions() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Exposure {
        /// Time of the exposure.
        ///
        /// Unit: ms
        /// Example: 0.5
        /// Example: 12
        time: f64,
        /// Example: 7
        label: Option<String>,
        /// Unit of the rest, without an example: none.
        rest: u8,
    }
    let exposure = property::<Exposure>("");
    let time = &exposure["properties"]["time"];
    assert_eq!(time["x-hypha-unit"], "ms");
    assert_eq!(time["examples"], json!([0.5, 12]));
    assert_eq!(exposure["properties"]["label"]["examples"], json!(["7"]));
    let rest = &exposure["properties"]["rest"];
    assert_eq!(
        (rest.get("examples"), rest.get("x-hypha-unit")),
        (None, None)
    );
    let name = property::<String>("Name.\nExample: 7\nExample: \"b\"\nExample: a b");
    assert_eq!(name["examples"], json!(["7", "b", "a b"]));
    let name = property::<Option<String>>("Name.\nExample: 7");
    assert_eq!(name["examples"], json!(["7"]));
    assert_eq!(property::<f64>("Width.\nUnit: µm")["x-hypha-unit"], "µm");
}

#[test]
fn callbacks_streams_and_errors_have_the_schemas_of_their_parts() {
    use crate::{Callback, RemoteStream};

    #[derive(serde::Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Leaf {
        value: u32,
    }
    let one = property::<Callback<(u8, Leaf), String, String>>("");
    let reference = json!({"$ref": "#/$defs/Leaf"});
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    assert_eq!(one["x-hypha-arguments"], json!([byte, reference]));
    assert_eq!(one["x-hypha-returns"], json!({"type": "string"}));
    assert_eq!(one["x-hypha-error"], json!({"type": "string"}));
    let none = property::<Callback<()>>("");
    assert_eq!(none["x-hypha-arguments"], json!([]));
    assert_eq!(
        (&none["x-hypha-returns"], none.get("x-hypha-error")),
        (&json!({"type": "null"}), None)
    );
    let pair = property::<Callback<[u8; 2]>>("");
    assert_eq!(pair["x-hypha-arguments"], json!([byte, byte]));
    let wrapped = property::<Callback<((u8, u8),)>>("");
    assert_eq!(
        wrapped["x-hypha-arguments"][0]["prefixItems"],
        json!([byte, byte])
    );
    let stream = property::<RemoteStream<Option<u8>, String>>("");
    assert_eq!(stream["items"]["anyOf"], json!([byte, {"type": "null"}]));
    assert_eq!(stream["x-hypha-error"], json!({"type": "string"}));
    let never = FunctionSchema::new("f", "")
        .returns::<u8>()
        .error::<std::convert::Infallible>();
    assert_eq!(never.finish().get("x-hypha-error"), None);
}

#[test]
fn other_types_of_these_names_stay_as_they_are() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Duration {
        secs: u64,
        unit: String,
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Both {
        mine: Duration,
        other: std::time::Duration,
    }
    let schema = FunctionSchema::new("f", "").returns::<Both>().finish();
    let returns = &schema["returns"];
    assert_eq!(
        returns["$defs"]["Both"]["properties"]["other"][KIND],
        "duration"
    );
    let mine = &returns["$defs"]["Both"]["properties"]["mine"]["$ref"];
    assert_eq!(mine, "#/$defs/Duration");
    assert!(returns["$defs"]["Duration"]["properties"]["unit"].is_object());
}

#[test]
fn keywords_with_a_path_go_into_inner_schemas() {
    use crate::{Callback, OrderedMap, RemoteStream};

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Parts {
        #[schemars(extend("items/minimum" = 1, "items/x-note" = "a"))]
        list: Option<Vec<Option<u8>>>,
        #[schemars(extend("prefixItems/1/items/format" = "uuid"))]
        pair: (u8, Vec<String>),
        #[schemars(extend("additionalProperties/maximum" = 9))]
        by_number: BTreeMap<u16, i64>,
        #[schemars(extend("additionalProperties/pattern" = "^a", "x-hypha-keys/maximum" = 9))]
        ordered: OrderedMap<u8, String>,
        #[schemars(extend("x-hypha-arguments/0/maximum" = 9, "x-hypha-returns/format" = "uuid"))]
        call: Callback<u32, String>,
        #[schemars(extend("items/minimum" = -9))]
        stream: RemoteStream<i8>,
        #[schemars(extend("items/nothing/format" = "uuid"))]
        wrong: Vec<String>,
    }
    let parts = property::<Parts>("");
    let at = |pointer: &str| {
        parts["properties"]
            .pointer(pointer)
            .cloned()
            .expect("there")
    };
    assert_eq!(
        at("/list/anyOf/0/items/anyOf/0"),
        json!({"type": "integer", "minimum": 1, "maximum": 255, "x-hypha-dtype": "uint8",
            "x-note": "a"})
    );
    let uuid = json!({"type": "string", "format": "uuid"});
    assert_eq!(at("/pair/prefixItems/1/items"), uuid);
    let values = at(r"/by_number/patternProperties/^\d+$");
    assert_eq!(
        (&values["maximum"], &values["x-hypha-dtype"]),
        (&json!(9), &json!("int64"))
    );
    let values = at("/ordered/additionalProperties");
    assert_eq!(values, json!({"type": "string", "pattern": "^a"}));
    assert_eq!(at("/ordered/x-hypha-keys/x-hypha-dtype"), "uint8");
    assert_eq!(
        at("/call/x-hypha-arguments/0"),
        json!({"type": "integer", "minimum": 0, "maximum": 9, "x-hypha-dtype": "uint32"})
    );
    assert_eq!(at("/call/x-hypha-returns"), uuid);
    let item = json!({"type": "integer", "minimum": -9, "maximum": 127, "x-hypha-dtype": "int8"});
    assert_eq!(at("/stream/items"), item);
    assert_eq!(at("/wrong")["items/nothing/format"], "uuid");
}

#[test]
fn keywords_are_added_to_results() {
    fn keywords(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"maximum": 9, "examples": [1], "x-note": "a"})
    }
    let schema = FunctionSchema::new("f", "").returns::<Option<u8>>();
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 9, "x-hypha-dtype": "uint8",
        "x-note": "a"});
    assert_eq!(
        schema.extended_result(keywords).finish()["returns"],
        json!({"anyOf": [byte, {"type": "null"}], "examples": [1]})
    );
    let without = FunctionSchema::new("f", "")
        .extended_result(keywords)
        .finish();
    assert_eq!(without.get("returns"), None);
}

/// Compares the schemas of variants with the values that serde sends.
#[test]
fn variants_with_skipped_fields_have_the_schema_of_their_values() {
    use serde::Serialize;

    macro_rules! skipping {
        ($name:ident, $($attribute:meta)?) => {
            #[derive(Serialize, JsonSchema)]
            $(#[$attribute])?
            #[allow(dead_code)]
            enum $name {
                Unit,
                File(#[serde(skip)] Option<String>),
                /// Text.
                Point(#[serde(skip)] Option<Point>),
                Fields { #[serde(skip)] hidden: u8, a: u8 },
            }
        };
    }
    skipping!(External,);
    skipping!(Adjacent, serde(tag = "t", content = "c"));
    skipping!(Internal, serde(tag = "t"));
    skipping!(Untagged, serde(untagged));
    let sent = |value: &dyn Fn() -> serde_json::Result<Value>| value().expect("JSON");
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    let fields = json!({"type": "object", "properties": {"a": byte}, "required": ["a"]});

    assert_eq!(sent(&|| serde_json::to_value(External::File(None))), "File");
    assert_eq!(
        property::<External>("")["oneOf"],
        json!([
            {"type": "string", "enum": ["Unit", "File"]},
            {"description": "Text.", "type": "string", "const": "Point"},
            {"type": "object", "properties": {"Fields": fields}, "required": ["Fields"],
                "additionalProperties": false},
        ])
    );
    let tag = |word: &str| json!({"type": "string", "const": word});
    let only =
        |word: &str| json!({"type": "object", "properties": {"t": tag(word)}, "required": ["t"]});
    assert_eq!(
        sent(&|| serde_json::to_value(Adjacent::File(None))),
        json!({"t": "File"})
    );
    let adjacent = property::<Adjacent>("");
    assert_eq!(adjacent["oneOf"][1], only("File"));
    assert_eq!(
        adjacent["oneOf"][2]["properties"],
        json!({"t": tag("Point")})
    );
    assert_eq!(adjacent["oneOf"][3]["properties"]["c"], fields);
    assert_eq!(
        sent(&|| serde_json::to_value(Internal::File(None))),
        json!({"t": "File"})
    );
    let internal = property::<Internal>("");
    assert_eq!(internal["oneOf"][1], only("File"));
    let mut point = only("Point");
    point["description"] = "Text.".into();
    assert_eq!(internal["oneOf"][2], point);
    assert_eq!(internal["oneOf"][3]["required"], json!(["t", "a"]));
    assert_eq!(
        sent(&|| serde_json::to_value(Untagged::File(None))),
        Value::Null
    );
    let untagged = property::<Untagged>("");
    assert_eq!(untagged["anyOf"][1], json!({"type": "null"}));
    assert_eq!(
        untagged["anyOf"][2],
        json!({"type": "null", "description": "Text."})
    );
}

#[test]
fn keywords_of_error_types_are_kept() {
    use crate::RemoteError;

    #[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize, RemoteError)]
    #[remote_error(crate = crate)]
    #[error("too fast")]
    #[schemars(extend("additionalProperties/maximum" = 9), rename = "Other")]
    struct Rates {
        name: String,
        #[serde(flatten)]
        by_name: BTreeMap<String, i64>,
    }
    #[derive(Debug, thiserror::Error, serde::Serialize, serde::Deserialize, RemoteError)]
    #[remote_error(crate = crate)]
    #[schemars(extend("x-note" = "a"))]
    enum Failure {
        #[error("too fast")]
        #[schemars(extend("x-note" = "b"))]
        Fast(Rates),
    }
    let error = FunctionSchema::new("f", "").error::<Rates>().finish();
    let rates = &error["x-hypha-error"]["$defs"]["Rates"];
    let rate = json!({"type": "integer", "maximum": 9, "x-hypha-dtype": "int64"});
    assert_eq!(rates["additionalProperties"], rate);
    assert_eq!(rates["x-hypha-variant"]["name"], "Rates");
    let error = FunctionSchema::new("f", "").error::<Failure>().finish();
    let failure = &error["x-hypha-error"]["$defs"]["Failure"];
    let notes = (&failure["x-note"], &failure["oneOf"][0]["x-note"]);
    assert_eq!(notes, (&json!("a"), &json!("b")));
}

#[test]
fn variants_with_skipped_fields_do_not_have_the_type_of_the_field() {
    use crate::{Callback, NdArray, OrderedMap, RemoteFile};

    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Untagged {
        #[schemars(extend("x-note" = "a"))]
        Frame(#[serde(skip)] NdArray),
        Report(#[serde(skip)] Callback<(u8,), u8>),
        File(#[serde(skip)] RemoteFile),
        Map(#[serde(skip)] OrderedMap<u8, u8>),
        Keyed(#[serde(skip)] std::collections::BTreeMap<u8, u8>),
    }
    let nothing = json!({"type": "null"});
    assert_eq!(
        property::<Untagged>("")["anyOf"],
        json!([{"x-note": "a", "type": "null"}, nothing, nothing, nothing, nothing])
    );
    #[derive(JsonSchema)]
    #[serde(tag = "t")]
    #[allow(dead_code)]
    enum Internal {
        Frame(#[serde(skip)] NdArray),
        Other { a: u8 },
    }
    let tag = json!({"type": "string", "const": "Frame"});
    assert_eq!(
        property::<Internal>("")["oneOf"][0],
        json!({"type": "object", "properties": {"t": tag}, "required": ["t"]})
    );
}
