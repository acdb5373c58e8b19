//! Tests the output in all formats. The tests in the folder `tests` run the compilers of the
//! languages on it.

use proptest::prelude::*;
use schemars::JsonSchema;
use serde_json::{Map, Value as Json, json};

use crate::tree::{add_function, members};
use crate::{Description, Format};
use hypha_rpc::schema::FunctionSchema;
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::{Function, NdArray, OrderedMap, RemoteStream, Set, Timestamp};

mod hostile;
mod json_form;
mod shapes;

fn method(name: &str, schema: Json) -> Method {
    Method::new(name, async |call: IncomingCall| call.reply(&())).schema(schema)
}

fn describe(methods: impl IntoIterator<Item = Method>) -> Description {
    let service = Service::new("desk");
    Description::of(methods.into_iter().fold(service, Service::method))
}

fn argument<T: JsonSchema>() -> Description {
    describe([method(
        "f",
        FunctionSchema::new("f", "")
            .argument::<T>("it", "")
            .finish(),
    )])
}

/// Returns the description of a function with one argument of this schema.
fn schema(schema: Json) -> Description {
    let parameters = json!({"type": "object", "properties": {"it": schema}, "required": ["it"]});
    describe([method("f", json!({"name": "f", "parameters": parameters}))])
}

#[track_caller]
fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

#[test]
fn times_and_typed_arrays_come_back() {
    use hypha_rpc::Array;
    use std::time::{Duration, SystemTime};

    let time = argument::<Vec<Duration>>();
    contains(&time.rust(), "it: Vec<std::time::Duration>,");
    contains(&time.typescript(), "it: Array<number>");
    contains(&time.python(), "it: Sequence[float]");
    assert!(!time.rust().contains("///"), "{}", time.rust());
    contains(
        &argument::<SystemTime>().rust(),
        "it: hypha_rpc::Timestamp,",
    );
    let pause = FunctionSchema::new("f", "");
    let pause = pause.argument_with_default::<Duration>("pause", "Pause.", json!(1.5));
    let pause = describe([method("f", pause.finish())]);
    contains(
        &pause.rust(),
        "#[hypha(default = std::time::Duration::from_secs_f64(1.5))]",
    );
    contains(&pause.rust(), "/// Pause.");

    let image = argument::<Option<Array<u16, 2>>>();
    contains(&image.rust(), "it: Option<hypha_rpc::Array<u16, 2>>,");
    let shape = "(NdArray & { _rdtype: \"uint16\"; _rshape: [number, number] })";
    contains(&image.typescript(), shape);
    contains(&image.python(), "Optional[NDArray[uint16]]");
    contains(&image.python(), "from numpy import uint16\n");
    assert!(!image.rust().contains("///"), "{}", image.rust());
    contains(&argument::<Array<bool, 1>>().python(), "it: NDArray[bool_]");
    assert!(
        !argument::<Array<u8, 1>>()
            .openapi()
            .to_string()
            .contains("x-hypha")
    );
}

#[test]
fn values_outside_json_have_types() {
    let array = argument::<NdArray>();
    contains(&array.typescript(), "export interface NdArray {");
    contains(
        &array.typescript(),
        "f(it: NdArray | TypedArray | NestedNumbers)",
    );
    contains(&array.python(), "from numpy.typing import NDArray\n");
    contains(&array.rust(), "it: NdArray,");
    // The default description of arrays is omitted.
    assert!(!array.rust().contains("///"), "{}", array.rust());

    let stream = argument::<RemoteStream<u8>>();
    contains(
        &stream.typescript(),
        "it: AsyncGenerator<number> | Generator<number>",
    );
    contains(&stream.rust(), "it: RemoteStream<u8>,");
    contains(&argument::<Function>().python(), "it: Callable[..., Any]");
    let optional = FunctionSchema::new("f", "");
    let optional = optional.argument_with_default::<Option<Function>>("it", "", Json::Null);
    let optional = describe([method("f", optional.finish())]);
    contains(
        &optional.typescript(),
        "it?: ((...args: any[]) => any) | null",
    );
    contains(&optional.rust(), "it: Option<Function>,");
    // The list for language models omits the function argument.
    let without = &optional.functions()[0]["function"]["parameters"]["properties"];
    assert_eq!(*without, json!({}));
    contains(&argument::<Timestamp>().typescript(), "it: Date");
    contains(&argument::<Set<Vec<u8>>>().python(), "it: set[int]");
    contains(
        &argument::<OrderedMap<u8, bool>>().typescript(),
        "it: Map<number, boolean>",
    );
}

#[test]
fn adjacent_tags_come_back() {
    #[derive(JsonSchema)]
    #[serde(tag = "type", content = "value")]
    #[allow(dead_code)]
    enum Step {
        Stop,
        Wait(u8, std::time::Duration),
        Label { text: String },
    }
    let step = argument::<Step>().rust();
    contains(&step, "#[serde(tag = \"type\", content = \"value\")]");
    contains(&step, "    Stop,\n    Wait(u8, std::time::Duration),\n");
    contains(&step, "    Label {\n        text: String,\n    },");
    let names = "type Step = StepStop | StepWait | StepLabel;";
    contains(&argument::<Step>().typescript(), names);

    // An internal tag with a single field in one variant has the same schema.
    #[derive(JsonSchema)]
    #[serde(tag = "kind", deny_unknown_fields)]
    #[allow(dead_code)]
    enum Well {
        Empty,
        Filled { volume: f64 },
    }
    let well = argument::<Well>().rust();
    contains(&well, "#[serde(tag = \"kind\", deny_unknown_fields)]");
    contains(&well, "    Filled {\n        volume: f64,\n    },");
}

#[test]
fn enums_with_one_variant_are_enums() {
    #[derive(JsonSchema)]
    #[serde(tag = "kind")]
    #[allow(dead_code)]
    enum Tagged {
        /// The only one.
        Only { a: u8 },
    }
    let tagged = argument::<Tagged>().rust();
    let only = "    /// The only one.\n    Only {\n        a: u8,\n    },";
    contains(
        &tagged,
        &format!("#[serde(tag = \"kind\")]\npub enum Tagged {{\n{only}"),
    );
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    enum External {
        Only(u8),
    }
    contains(
        &argument::<External>().rust(),
        "pub enum External {\n    Only(u8),",
    );
}

#[test]
fn decimals_are_texts() {
    let decimal = |kinds: &[&str]| {
        let pattern = r"^-?\d+(\.\d+)?([eE]\d+)?$";
        schema(json!({"type": kinds, "pattern": pattern}))
    };
    let one = decimal(&["string", "number"]);
    contains(&one.rust(), "\"pattern\" = ");
    contains(&one.rust(), "it: String,");
    contains(&one.typescript(), "it: string)");
    let maybe = decimal(&["string", "number", "null"]);
    contains(&maybe.rust(), "it: Option<String>,");
    contains(&maybe.python(), "it: Optional[str]");
    let either = schema(json!({"type": ["string", "number"]}));
    contains(&either.rust(), "pub enum FIt {");
}

#[test]
fn times_in_python_have_the_types_of_the_client() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Event {
        at: Timestamp,
    }
    let function = |name| {
        FunctionSchema::new(name, "")
            .argument::<Timestamp>("it", "")
            .argument::<Event>("event", "")
    };
    let sent = function("f").returns::<Timestamp>().finish();
    let python = describe([method("f", sent)]).python();
    contains(&python, "it: float, event: Event) -> Timestamp:");
    contains(&python, "    at: float\n");
    contains(&python, "class Timestamp(Protocol):");
    let both = function("f").returns::<Event>().finish();
    let python = describe([method("f", both)]).python();
    contains(&python, "    at: Union[float, Timestamp]\n");
}

#[test]
fn the_failure_of_a_call_is_an_error() {
    let failure = argument::<hypha_rpc::Error>();
    contains(&failure.rust(), "it: hypha_rpc::Error,");
    contains(&failure.typescript(), "it: Record<string, any>");
    assert!(!failure.rust().contains("///"), "{}", failure.rust());
}

#[test]
fn tuples_and_words_without_rust_names() {
    let map = json!({"type": "object", "additionalProperties": {"type": "integer"}});
    let one = json!({"type": "array", "prefixItems": [map], "minItems": 1, "maxItems": 1});
    contains(
        &schema(one).rust(),
        "it: (std::collections::BTreeMap<String, i64>,),",
    );
    let both = json!({"self": {"type": "string"}, "self_": {"type": "string"}, "type": {}});
    let object =
        json!({"type": "object", "properties": both, "required": ["self", "self_", "type"]});
    let rust = schema(object.clone()).rust();
    for part in [
        "pub self2: String",
        "pub self_: String",
        "pub r#type: Value",
    ] {
        contains(&rust, part);
    }
    contains(
        &describe([method("f", json!({"parameters": object}))]).rust(),
        "self2: String,",
    );
}

#[test]
fn type_names_of_python_are_accepted() {
    for (kind, rust) in [
        ("int", "i64"),
        ("float", "f64"),
        ("str", "String"),
        ("bool", "bool"),
        ("list", "Vec<Value>"),
        ("dict", "std::collections::BTreeMap<String, Value>"),
        ("Widget", "Value"),
    ] {
        contains(
            &schema(json!({"type": kind})).rust(),
            &format!("it: {rust},"),
        );
    }
}

#[test]
fn equal_definitions_are_merged_and_different_ones_are_not() {
    let of = |kind: &str| {
        json!({"parameters": {
            "type": "object",
            "properties": {"it": {"$ref": "#/$defs/Place"}},
            "$defs": {
                "Place": {"type": "object", "properties": {"x": {"$ref": "#/$defs/Unit"}}},
                "Unit": {"type": "object", "properties": {"unit": {"type": kind}}},
            },
        }})
    };
    let two = describe([method("f", of("string")), method("g", of("string"))]).typescript();
    assert_eq!(two.matches("interface Place").count(), 1, "{two}");
    let three = describe([method("f", of("string")), method("g", of("integer"))]).typescript();
    contains(&three, "f(it?: Place):");
    contains(&three, "g(it?: Place2):");
    contains(&three, "x?: Unit2;");
}

#[test]
fn members_named_title_are_restored_in_order() {
    let parameters = json!({
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"},
            "c": {"type": "integer"}},
        "required": ["title", "a", "lost", "b"],
    });
    let lost = describe([method("f", json!({"parameters": parameters}))]);
    contains(
        &lost.typescript(),
        "f(title: any, a: number, lost: any, b: number, c?: number)",
    );
    let member =
        schema(json!({"properties": {"a": {"type": "string"}}, "required": ["a", "title"]}));
    contains(&member.typescript(), "  a: string;\n  title: any;\n");
}

#[test]
fn python_imports_hidden_by_members_are_renamed() {
    let python = describe([
        method(
            "list",
            FunctionSchema::new("list", "")
                .returns::<Vec<String>>()
                .finish(),
        ),
        method("Any", json!({})),
    ])
    .python();
    contains(&python, "from builtins import list as _list\n");
    contains(&python, "async def list(self) -> _list[str]: ...");
    contains(&python, "*args: _Any");
}

#[test]
fn optional_arguments_before_required_ones_are_required() {
    let middle = FunctionSchema::new("f", "")
        .argument_with_default::<i64>("a", "", 1.into())
        .argument::<i64>("b", "")
        .argument_with_default::<Option<i64>>("c", "", Json::Null)
        .finish();
    let middle = describe([method("f", middle)]);
    contains(
        &middle.typescript(),
        "f(a: number, b: number, c?: number | null)",
    );
    contains(&middle.python(), "a: int, b: int, c: Optional[int] = ...");
}

#[test]
fn limits_become_attributes() {
    for (given, written) in [
        (
            json!({"type": "integer", "minimum": 1, "maximum": 10}),
            "#[schemars(extend(\"minimum\" = 1, \"maximum\" = 10))]\n        it: u64,",
        ),
        (
            json!({"type": "integer", "minimum": -5_000_000_000_i64, "x-hypha-dtype": "int64"}),
            "#[schemars(extend(\"minimum\" = -5000000000i64))]\n        it: i64,",
        ),
        (
            json!({"type": "integer", "minimum": 1, "maximum": 255, "x-hypha-dtype": "uint8"}),
            "#[schemars(extend(\"minimum\" = 1))]\n        it: u8,",
        ),
        (
            json!({"anyOf": [{"type": "number", "exclusiveMinimum": 0.5}, {"type": "null"}]}),
            "#[schemars(extend(\"exclusiveMinimum\" = 0.5))]\n        it: Option<f64>,",
        ),
        (
            json!({"type": "string", "format": "date-time", "pattern": "\"\\d"}),
            "#[schemars(extend(\"format\" = \"date-time\", \"pattern\" = \"\\\"\\\\d\"))]\n        \
             it: String,",
        ),
        (
            json!({"type": "array", "items": {"type": "array"}, "uniqueItems": true}),
            "#[schemars(extend(\"uniqueItems\" = true))]\n        it: Vec<Vec<Value>>,",
        ),
        (
            json!({"type": "array", "items": {"type": "array", "maxItems": 3,
                "items": {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}]}}}),
            "#[schemars(extend(\"items/maxItems\" = 3, \"items/items/format\" = \"uuid\"))]\n\
             \x20       it: Vec<Vec<Option<String>>>,",
        ),
        (
            json!({"type": "array", "prefixItems": [{"type": "integer", "minimum": 0},
                {"type": "object", "additionalProperties": {"type": "number", "maximum": 9}}],
                "minItems": 2, "maxItems": 2}),
            "#[schemars(extend(\"prefixItems/1/additionalProperties/maximum\" = 9))]\n        \
             it: (u64, std::collections::BTreeMap<String, f64>),",
        ),
        // Ranges that follow from the type, and keywords for another type.
        (
            json!({"type": "integer", "minimum": 0, "maximum": 255, "pattern": "x"}),
            "&self,\n        it: u8,",
        ),
        (
            json!({"type": "integer", "minimum": 0}),
            "&self,\n        it: u64,",
        ),
        (
            json!({"type": "integer", "minimum": {"$float": "inf"}}),
            "&self,\n        it: i64,",
        ),
    ] {
        contains(&schema(given).rust(), written);
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Sample {
        #[schemars(range(min = 1, max = 9))]
        level: i8,
        #[schemars(with = "hypha_rpc::schema::Keyed<std::collections::BTreeMap<u8, f32>>")]
        by: std::collections::BTreeMap<u8, f32>,
        id: std::net::IpAddr,
    }
    let sample = argument::<Sample>().rust();
    contains(
        &sample,
        "#[schemars(extend(\"minimum\" = 1, \"maximum\" = 9))]\n    pub level: i8,",
    );
    contains(
        &sample,
        "#[schemars(with = \"hypha_rpc::schema::Keyed<std::collections::BTreeMap<u8, f32>>\")]\n    \
         pub by: std::collections::BTreeMap<u8, f32>,",
    );
    contains(
        &sample,
        "#[schemars(extend(\"format\" = \"ip\"))]\n    pub id: String,",
    );
}

#[test]
fn maps_have_the_keys_that_the_schema_states() {
    use std::collections::{BTreeMap, HashMap};

    #[derive(JsonSchema, PartialEq, Eq, Hash)]
    #[allow(dead_code)]
    enum Side {
        Left,
        Right,
    }
    for (described, rust) in [
        (argument::<HashMap<u16, bool>>(), "BTreeMap<u16, bool>"),
        (argument::<HashMap<bool, f32>>(), "BTreeMap<bool, f32>"),
        (argument::<HashMap<isize, i64>>(), "BTreeMap<isize, i64>"),
        (argument::<HashMap<u64, bool>>(), "BTreeMap<u64, bool>"),
        (
            argument::<HashMap<String, bool>>(),
            "BTreeMap<String, bool>",
        ),
        (argument::<HashMap<char, bool>>(), "BTreeMap<String, bool>"),
    ] {
        contains(&described.rust(), &format!("it: std::collections::{rust},"));
    }
    let default = FunctionSchema::new("f", "").argument_with_default::<BTreeMap<bool, u8>>(
        "it",
        "",
        json!({"true": 1}),
    );
    contains(
        &describe([method("f", default.finish())]).rust(),
        "#[hypha(default = std::collections::BTreeMap::from([(true, 1)]))]",
    );
    let outside = json!({"type": "object", "patternProperties": {r"^\d+$": {}},
        "additionalProperties": false, "default": {"300": 1},
        "x-hypha-keys": {"type": "integer", "minimum": 0, "maximum": 255}});
    let parameters = json!({"type": "object", "properties": {"it": outside}});
    let outside = describe([method("f", json!({"name": "f", "parameters": parameters}))]);
    contains(
        &outside.rust(),
        "it: Option<std::collections::BTreeMap<u8, Value>>,",
    );
    let sides = argument::<HashMap<Side, u8>>().rust();
    contains(&sides, "pub left: Option<u8>,");

    let ordered = argument::<OrderedMap<u8, f32>>();
    contains(&ordered.rust(), "it: hypha_rpc::OrderedMap<u8, f32>,");
    contains(&ordered.typescript(), "it: Map<number, number>");
    contains(&ordered.python(), "it: OrderedDict[int, float]");
}

#[test]
fn flattened_maps_keep_the_type_of_their_keys() {
    use std::collections::BTreeMap;

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Table<K> {
        unit: String,
        #[serde(flatten)]
        rows: BTreeMap<K, f64>,
    }
    for (described, key) in [
        (argument::<Table<u64>>(), "u64"),
        (argument::<Table<i64>>(), "i64"),
        (argument::<Table<String>>(), "String"),
    ] {
        let map = format!("others: std::collections::BTreeMap<{key}, f64>,");
        contains(&described.rust(), &map);
    }
    contains(
        &argument::<Table<i64>>().typescript(),
        "  [key: number]: number;\n",
    );
    contains(
        &argument::<Table<String>>().typescript(),
        "  [key: string]: any;\n",
    );
    let numbered = schema(
        json!({"type": "object", "properties": {"1e3": {"type": "string"}},
        "patternProperties": {r"^\d+$": {"type": "number"}}, "additionalProperties": false}),
    );
    contains(&numbered.typescript(), "  [key: string]: any;\n");
    let many = schema(
        json!({"type": "object", "properties": {"unit": {"type": "string"}},
        "patternProperties": {"^a": {"type": "number"}, "^b": {}}, "additionalProperties": false}),
    );
    contains(
        &many.rust(),
        "others: std::collections::BTreeMap<String, Value>,",
    );
}

#[test]
fn functions_missing_in_the_record_are_added() {
    let mut tree = members(json!({"f": {"type": "string"}, "list": [{"type": "number"}]}));
    let schema = json!({"name": "f", "parameters": {"type": "object", "properties": {}}});
    add_function(&mut tree, "f", schema.clone(), Some("Text.".into()));
    add_function(&mut tree, "a.b", Json::Null, None);
    add_function(&mut tree, "list.0", Json::Null, None);
    let mut wanted = schema;
    wanted["description"] = "Text.".into();
    assert_eq!(tree["f"], json!({"type": "function", "function": wanted}));
    assert_eq!(
        tree["a"]["b"],
        json!({"type": "function", "function": {"name": "b"}})
    );
    assert_eq!(tree["list"], json!([{"type": "number"}]));
}

#[test]
fn names_with_dots_are_not_groups() {
    let function = json!({"type": "function", "function": {"name": "f",
        "parameters": {"properties": {"x": {}}}}});
    let mut tree = members(json!({"a.b": function, "c": {"d.e": function}}));
    for path in ["a.b", "c.d.e", "f.g"] {
        add_function(&mut tree, path, Json::Null, None);
    }
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["a.b", "c", "f"]);
    assert_eq!(tree["c"], json!({"d.e": function}));
    assert_eq!(tree["f"]["g"]["function"]["name"], "g");
}

/// Output schemas are valid even if the schemas of the author are unusual, because validators
/// reject invalid schemas.
#[test]
fn written_schemas_are_valid() {
    // The schemas that Python generates for a dictionary with enum keys, and for a union that a
    // member distinguishes.
    let described = describe([method(
        "f",
        json!({"parameters": {
            "properties": {
                "shares": {"type": "object", "propertyNames": {"$ref": "#/$defs/Colour"},
                    "default": {"$float": "NaN"}},
                "pet": {
                    "oneOf": [{"$ref": "#/$defs/Cat"}],
                    "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat"}},
                },
                "loop": {"$ref": "#/properties/loop"},
                "pair": {"type": "array",
                    "items": [{"type": "integer"}, {"type": ["bogus", "string"]}]},
                "wrong": {"allOf": [], "minLength": -1, "type": 7, "$id": "https://example.org"},
            },
            "$defs": {
                "Colour": {"enum": ["red"]},
                "Cat": {"type": "object", "properties": {"kind": {"const": "cat"}},
                    "required": ["kind"]},
            },
        }}),
    )]);
    let functions = described.functions();
    let parameters = &functions[0]["function"]["parameters"];
    assert_eq!(
        parameters["properties"],
        json!({
            "shares": {"type": "object", "propertyNames": {"$ref": "#/$defs/Colour"}},
            "pet": {"oneOf": [{"$ref": "#/$defs/Cat"}]},
            "loop": {"$ref": "#/$defs/Loop"},
            "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": ["string"]}]},
            "wrong": {},
        })
    );
    assert_eq!(parameters["$defs"]["Loop"], json!({}));
    assert_eq!(parameters["$defs"]["Colour"], json!({"enum": ["red"]}));
    let document = described.openapi();
    assert!(!document.to_string().contains("#/$defs/"), "{document}");
    // A function needs a name even if its author gave it none.
    let functions = describe([method("", json!({}))]).functions();
    assert_eq!(functions[0]["function"]["name"], "_");
}

#[test]
fn members_beside_a_choice_belong_to_each_variant() {
    let described = schema(json!({
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": "none"}}, "required": ["kind"]},
            {"$ref": "#/properties/point", "type": "object",
                "properties": {"kind": {"const": "point"}}, "required": ["kind"]},
        ],
    }));
    // The reference has no target, but the other members are known.
    let rust = described.rust();
    contains(
        &rust,
        "    pub id: i64,\n    #[serde(flatten)]\n    pub variant: FItVariant,\n}",
    );
    let variants = "#[serde(tag = \"kind\")]\npub enum FItVariant {";
    contains(&rust, variants);
    contains(&rust, "    None,\n");
    contains(
        &described.typescript(),
        "export type FIt = {\n  id: number;\n} & FItVariant;",
    );
    contains(&described.python(), "FIt: TypeAlias = Union[FIt1, FIt2]");
    contains(
        &described.python(),
        "class FIt1(TypedDict):\n    id: int\n    kind: Literal[\"none\"]",
    );
    // The alternatives only specify which members are required.
    let one_of_two = schema(json!({
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }));
    contains(&one_of_two.typescript(), "{\n  a: number;\n  b?: string;");
    contains(&one_of_two.typescript(), "{\n  a?: number;\n  b: string;");
}

#[test]
fn lists_of_types_have_each_type_once() {
    let repeated: Vec<&str> = (0..20_000)
        .map(|number| ["integer", "int", "str", "string"][number % 4])
        .collect();
    let described = schema(json!({"type": repeated, "minimum": 3}));
    contains(&described.typescript(), "FIt = number | string;");
    // An unknown type accepts any value.
    let unknown: Vec<String> = (0..10_000).map(|number| format!("a{number}")).collect();
    let described = schema(json!({"type": unknown, "properties": {"a": {}}}));
    contains(&described.typescript(), "it: any");
    let described = schema(json!({"type": ["array", "object", "null"],
        "items": {"type": "integer"}, "properties": {"a": {"type": "string"}}}));
    contains(&described.typescript(), "FIt = Array<number> | FItA;");
    contains(&described.typescript(), "a?: string;");
}

#[test]
fn maps_with_integers_as_keys_are_maps() {
    let numbered = argument::<std::collections::BTreeMap<u32, bool>>();
    contains(&numbered.typescript(), "it: Record<number, boolean>");
    contains(
        &numbered.rust(),
        "it: std::collections::BTreeMap<u32, bool>,",
    );
}

#[test]
fn required_arguments_that_may_be_null_are_sent() {
    let nullable = json!({"anyOf": [{"type": "integer"}, {"type": "null"}]});
    let described = |required: Json| {
        let properties = json!({"it": nullable});
        let parameters = json!({"type": "object", "properties": properties, "required": required});
        describe([method("f", json!({"name": "f", "parameters": parameters}))]).rust()
    };
    contains(
        &described(json!(["it"])),
        "#[hypha(required)]\n        it: Option<i64>,",
    );
    assert!(!described(json!([])).contains("required"));
}

#[test]
fn defaults_are_kept_where_they_can_be_written() {
    for (kind, default, wanted) in [
        (
            json!({"enum": [1, 10]}),
            json!(10),
            "default = 10)]\n        it: i64,",
        ),
        (
            json!({"enum": [1, "b"]}),
            json!("b"),
            "default = Value::from(\"b\"))]",
        ),
        (
            json!({"type": "number"}),
            json!({"$float": "inf"}),
            "default = f64::INFINITY)]",
        ),
        (
            json!({}),
            json!({"a": u64::MAX}),
            "hypha_rpc::Map::from_iter([(\"a\".to_owned(), Value::from(18446744073709551615u64))])",
        ),
    ] {
        let mut schema = kind;
        schema["default"] = default;
        let parameters = json!({"type": "object", "properties": {"it": schema}});
        let described = describe([method("f", json!({"name": "f", "parameters": parameters}))]);
        contains(&described.rust(), wanted);
    }
    // mypy rejects larger integers.
    contains(&schema(json!({"enum": [u64::MAX, 1]})).python(), "it: Any)");
}

/// Returns the description of a function with errors of these alternatives.
fn failing(alternatives: Json) -> Description {
    let error = json!({"$ref": "#/$defs/E", "$defs": {"E": {"oneOf": alternatives}}});
    describe([method(
        "f",
        json!({"name": "f", "parameters": {"type": "object", "properties": {}},
        "returns": {"type": "null"}, "x-hypha-error": error}),
    )])
}

#[test]
fn errors_have_names_classes_and_messages() {
    let field = |name: &str, content: Json, facts: Json| {
        json!({"type": "object", "properties": {name: content}, "required": [name],
            "additionalProperties": false, "x-hypha-variant": facts})
    };
    let source = json!({"type": "object", "properties": {"source": {"type": "string"}},
        "required": ["source"]});
    let described = failing(json!([
        {"const": "Dark", "x-hypha-variant": {"name": "E.Dark", "message": "no {{light}}",
            "classes": ["OSError", "a b", "OSError"]}},
        field("Far", json!({"type": "number"}),
            json!({"name": "Far", "message": "{0:.1}", "classes": ["OSError", "x.Y"],
                "other": true})),
        field("Odd", source, json!({"name": "E.Odd", "message": "{source}"})),
        field("Wide", json!({"type": "string"}),
            json!({"name": "E.Wide", "message": "{0:>1$}", "other": true})),
    ]));
    let rust = described.rust();
    contains(&rust, "async fn f(&self) -> Result<(), E>;");
    contains(
        &rust,
        "#[error(\"no {{light}}\")]\n    #[remote_error(class = \"OSError\")]",
    );
    contains(
        &rust,
        "#[error(\"{0:.1}\")]\n    #[remote_error(name = \"Far\", class = \"x.Y\")]",
    );
    // `thiserror` treats a field with this name as the source of the error.
    contains(&rust, "#[error(\"{}\", \"E.Odd\")]\n    Odd {");
    contains(
        &rust,
        "#[serde(rename = \"source\")]\n        source2: String,",
    );
    contains(&rust, "#[error(\"{}\", \"E.Wide\")]\n    Wide(String),");
    contains(
        &described.typescript(),
        "@throws {OSError} E.Dark: no {{light}}",
    );
    contains(&described.python(), "x.Y: Far: {0:.1}");
}

#[test]
fn messages_keep_the_formats_of_fields() {
    let rust = |content: Json, message: &str| {
        let facts = json!({"name": "E.A", "message": message});
        let only = json!({"type": "object", "properties": {"A": content}, "required": ["A"],
            "additionalProperties": false, "x-hypha-variant": facts});
        failing(json!([only, {"const": "B", "x-hypha-variant": {"name": "E.B"}}])).rust()
    };
    let integer = || json!({"type": "integer"});
    let single = || json!({"type": "number", "x-hypha-dtype": "float32"});
    let text = || json!({"type": "string"});
    let list = || json!({"type": "array", "items": {"type": "string"}});
    let optional = || json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let error = || json!({"x-hypha-type": "error"});
    for (content, message) in [
        (integer(), "{0:>5}"),
        (integer(), "{0:é^+#010x}"),
        (single(), "{0:08.3} {0:e} {0:E}"),
        (text(), "{0:<<5} {0:.2} {0:-^9}"),
        (list(), "{0:#?} {0:02x?}"),
        (error(), "it: {0}"),
        (optional(), "{a:?}"),
    ] {
        contains(&rust(content, message), &format!("#[error({message:?})]"));
    }
    for (content, message) in [
        (single(), "{0:x}"),
        (text(), "{0:e}"),
        (list(), "{0}"),
        (text(), "{0:>width$}"),
        (text(), "{0:.*}"),
        (text(), "{0:p}"),
        (text(), "{0:{<5}"),
        (text(), "{0:.}"),
        (text(), "{0:99999}"),
        (optional(), "{a}"),
        (text(), "{0"),
        (text(), "{1}"),
    ] {
        contains(&rust(content, message), "#[error(\"{}\", \"E.A\")]");
    }
}

#[test]
fn errors_that_no_contract_can_have_are_texts() {
    let named = |name: &str, word: &str| json!({"const": word, "x-hypha-variant": {"name": name}});
    for alternatives in [
        json!([named("A", "a"), named("A", "b")]),
        json!([named("hypha.Busy", "a"), named("A", "b")]),
        json!([named("A", "a"), {"const": "b"}]),
        json!([{"enum": ["a", "b"], "x-hypha-variant": {"name": "A"}}]),
        json!([{"x-hypha-variant": {"name": "A"}}]),
        json!([{"type": "string", "x-hypha-variant": 7}]),
    ] {
        let rust = failing(alternatives).rust();
        contains(&rust, "async fn f(&self) -> Result<(), String>;");
        assert!(!rust.contains("RemoteError"), "{rust}");
    }
}

#[test]
fn callbacks_and_objects_have_their_types() {
    let methods = json!({"go": {"name": "go", "parameters": {"type": "object",
        "properties": {"x": {"type": "number"}}, "required": ["x"]},
        "returns": {"$ref": "#/$defs/Stage"}}});
    let parameters = json!({
        "type": "object",
        "properties": {
            "it": {"x-hypha-type": "function",
                "x-hypha-arguments": [{"type": "integer"}, {"$ref": "#/$defs/Stage"}],
                "x-hypha-returns": {"type": "string"}},
            "none": {"x-hypha-type": "function", "x-hypha-arguments": [],
                "x-hypha-returns": {"type": "null"}},
            "odd": {"x-hypha-type": "function", "x-hypha-arguments": 7},
            "stage": {"$ref": "#/$defs/Stage"},
        },
        "required": ["it", "none", "odd", "stage"],
        "$defs": {"Stage": {"type": "object", "x-hypha-type": "object",
            "x-hypha-methods": methods}},
    });
    let described = describe([method("f", json!({"name": "f", "parameters": parameters}))]);
    for part in [
        "it: Callback<(i64, Object<StageProxy>), String>,",
        "none: Callback<()>,",
        "odd: Function,",
        "pub trait Stage {",
        "-> Object<StageProxy>;",
    ] {
        contains(&described.rust(), part);
    }
    let typescript = described.typescript();
    contains(
        &typescript,
        "it: ((arg0: number, arg1: Stage) => string | Promise<string>)",
    );
    contains(
        &typescript,
        "export interface Stage {\n  go(x: number): Promise<Stage>;",
    );
    let python = described.python();
    contains(
        &python,
        "Callable[[int, Stage], Union[str, Awaitable[str]]]",
    );
    contains(
        &python,
        "class Stage(Protocol):\n    async def go(self, x: float) -> Stage: ...",
    );
    let omitted = described.omitted(Format::Json);
    assert!(
        omitted[0].1.contains("`it` needs a function"),
        "{omitted:?}"
    );
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "java".parse::<Format>().expect_err("no such format");
    contains(
        &error.to_string(),
        "json, openapi, typescript, python, rust",
    );
}
