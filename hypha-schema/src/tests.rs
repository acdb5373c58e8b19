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
    contains(&time.python(), "it: list[float]");
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
    contains(&array.typescript(), "f(it: NdArray)");
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
fn functions_with_callbacks_are_not_offered_as_json() {
    assert_eq!(argument::<Function>().functions(), json!([]));
    assert_eq!(argument::<Function>().openapi()["paths"], json!({}));
    // Services accept bytes in place of a file.
    assert!(argument::<hypha_rpc::RemoteFile>().openapi()["paths"]["/f"].is_object());
}

#[test]
fn schemas_for_models_have_the_forms_that_services_accept_as_json() {
    use hypha_rpc::{Array, Binary, RemoteFile};

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Frame {
        /// Pixels in rows.
        pixels: Array<u8, 2>,
        raw: Option<Binary>,
        any: Option<NdArray>,
        next: Option<Box<Frame>>,
    }
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    let bytes = |text: &str| json!({"type": "array", "items": byte, "description": text});
    let any = json!({"type": "array", "items": {"anyOf": [
        {"type": ["number", "boolean"]},
        {"type": "array", "items": {}},
    ]}, "description": "An array of numbers, as a list, or as nested lists of equal lengths."});
    let frame = json!({
        "type": "object",
        "properties": {
            "pixels": {"type": "array", "items": {"type": "array", "items": byte},
                "description": "Pixels in rows."},
            "raw": {"anyOf": [bytes("Bytes, as a list of numbers."), {"type": "null"}],
                "default": null},
            "any": {"anyOf": [any, {"type": "null"}], "default": null},
            "next": {"anyOf": [{"$ref": "#/$defs/Frame"}, {"type": "null"}], "default": null},
        },
        "required": ["pixels"],
    });
    for (described, wanted) in [
        (argument::<Frame>(), json!({"$ref": "#/$defs/Frame"})),
        (argument::<Binary>(), bytes("Bytes, as a list of numbers.")),
        (
            argument::<RemoteFile>(),
            bytes("A file, as the list of its bytes."),
        ),
        (argument::<NdArray>(), any.clone()),
        (
            argument::<Array<f32, 1>>(),
            json!({"type": "array", "items": {"type": "number"},
                "description": "An array of float32, as a list."}),
        ),
    ] {
        let functions = described.functions();
        let parameters = &functions[0]["function"]["parameters"];
        assert_eq!(parameters["properties"]["it"], wanted);
        let definition = parameters.pointer("/$defs/Frame");
        assert!(definition.is_none_or(|it| *it == frame), "{definition:?}");
        // The schema for a single function is the same, but keeps all keywords.
        let function = Json::Object(described.tree.clone())["f"]["function"].clone();
        let single = crate::json_parameters(&function).unwrap();
        assert_eq!(single["properties"], parameters["properties"]);
    }
}

#[test]
fn arrays_with_many_dimensions_have_the_form_of_unknown_dimensions() {
    let parameter = |dimensions: usize| {
        let array = json!({"type": "object", "x-hypha-type": "ndarray", "x-hypha-dtype": "uint8",
            "x-hypha-dimensions": dimensions});
        let parameters = json!({"properties": {"it": array}});
        let parameters = crate::json_parameters(&json!({ "parameters": parameters })).unwrap();
        parameters["properties"]["it"].clone()
    };
    let nested = parameter(8).to_string();
    assert_eq!(nested.matches("\"array\"").count(), 8, "{nested}");
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    for dimensions in [9, 64] {
        assert_eq!(
            parameter(dimensions)["items"],
            json!({"anyOf": [byte, {"type": "array", "items": {}}]})
        );
    }
}

#[test]
fn openapi_has_the_forms_of_both_formats() {
    use hypha_rpc::{Array, Binary, RemoteFile};

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Frame {
        pixels: Array<u8, 1>,
        place: Place,
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Place {
        x: f64,
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Holder {
        frame: Option<Frame>,
    }
    let complex =
        json!({"type": "object", "x-hypha-type": "ndarray", "x-hypha-dtype": "complex64"});
    let with_waves = |function: FunctionSchema| {
        let mut schema = function.finish();
        schema["parameters"]["properties"]["waves"] = complex.clone();
        schema
    };
    let optional = FunctionSchema::new("f", "")
        .argument::<Frame>("frame", "")
        .argument::<Binary>("raw", "")
        .returns::<Holder>();
    let mut required = with_waves(FunctionSchema::new("g", "").returns::<(u8, Frame)>());
    required["parameters"]["required"] = json!(["waves"]);
    let file = FunctionSchema::new("h", "").argument::<RemoteFile>("file", "");
    let methods = [
        method("f", with_waves(optional)),
        method("g", required),
        method("h", file.returns::<RemoteFile>().finish()),
    ];
    let document = describe(methods).openapi();
    let body = |path: &str, format: &str| {
        let content = &document["paths"][path]["post"]["requestBody"]["content"];
        content[format]["schema"]["properties"].clone()
    };
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    let json = body("/f", "application/json");
    assert_eq!(json["frame"]["$ref"], "#/components/schemas/Frame");
    assert_eq!(json["raw"]["items"], byte);
    assert_eq!(json.get("waves"), None);
    let msgpack = body("/f", "application/msgpack");
    assert_eq!(
        msgpack["frame"]["$ref"],
        "#/components/schemas/FrameMsgpack"
    );
    assert_eq!(msgpack["raw"]["format"], "binary");
    assert!(msgpack["waves"].is_object());
    assert_eq!(body("/g", "application/json"), Json::Null);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["Frame"]["properties"]["pixels"]["items"], byte);
    assert_eq!(
        schemas["FrameMsgpack"]["properties"]["pixels"]["type"],
        "object"
    );
    assert!(schemas["Place"].is_object());
    assert_eq!(schemas.get("PlaceMsgpack"), None);
    let result = |path: &str| {
        let content = &document["paths"][path]["post"]["responses"]["200"]["content"];
        let formats: Option<Vec<String>> = content
            .as_object()
            .map(|content| content.keys().cloned().collect());
        formats.unwrap_or_default()
    };
    assert_eq!(result("/f"), ["application/json", "application/msgpack"]);
    // Every result contains an array, which JSON cannot represent.
    assert_eq!(result("/g"), ["application/msgpack"]);
    // A file is a list of bytes only as an argument.
    assert_eq!(body("/h", "application/json")["file"]["items"], byte);
    assert_eq!(
        result("/h"),
        ["application/msgpack", "application/octet-stream"]
    );
}

#[test]
fn arguments_that_json_cannot_represent_are_found_behind_references() {
    let function = |schema: Json, required: bool| {
        let needed: &[&str] = if required { &["it"] } else { &[] };
        let it = json!({"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]});
        let or_b = json!({"anyOf": [{"$ref": "#/$defs/B"}, schema]});
        json!({"parameters": {"properties": {"it": it, "n": {}}, "required": needed,
            "$defs": {"A": {"properties": {"b": or_b}, "required": ["b"]},
                "B": {"type": "array", "items": schema, "minItems": 2,
                    "prefixItems": [{"$ref": "#/$defs/A"}]}}}})
    };
    let stream = json!({"x-hypha-type": "stream"});
    let reason = crate::json_parameters(&function(stream.clone(), true)).unwrap_err();
    let wanted = "argument `it` needs a stream, which JSON cannot hold";
    assert_eq!(reason, wanted);
    let without = crate::json_parameters(&function(stream, false)).unwrap();
    assert_eq!(without["properties"], json!({"n": {}}));
    // The schema of bytes in Python. Such services accept texts.
    let text = json!({"type": "string", "format": "binary"});
    let kept = crate::json_parameters(&function(text.clone(), true)).unwrap();
    assert_eq!(kept["$defs"]["B"]["items"], text);
    let file = crate::json_parameters(&function(json!({"x-hypha-type": "file"}), true)).unwrap();
    assert_eq!(file["$defs"]["B"]["items"]["type"], "array");
    assert_eq!(crate::json_parameters(&json!({})), Ok(Map::new()));
}

#[test]
fn callers_send_the_alternatives_that_json_can_represent() {
    use hypha_rpc::{Callback, RemoteStream};

    type Report = Callback<(u8,), u8>;
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    enum Target {
        None,
        Name(String),
        Report(Report),
        Fields {
            size: u8,
            report: Option<Report>,
            source: Option<Source>,
            next: Option<Box<Target>>,
        },
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Source {
        items: RemoteStream<u8>,
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    enum Live {
        Report(Report),
        Source([Source; 1]),
    }
    let function = |name: &str| FunctionSchema::new(name, "");
    let methods = [
        function("f").argument::<Vec<Target>>("it", ""),
        function("g").argument::<Live>("it", ""),
        function("h").argument::<Option<Report>>("it", ""),
        function("i").argument_with_default::<Option<Live>>("it", "", Json::Null),
    ];
    let methods: Vec<Json> = methods.into_iter().map(FunctionSchema::finish).collect();

    let check = |target: &Json| {
        let variants = target["oneOf"].as_array().expect("variants");
        assert_eq!(variants.len(), 3, "{target}");
        assert_eq!(variants[0]["enum"], json!(["None"]));
        assert_eq!(variants[1]["properties"]["Name"]["type"], "string");
        let fields = variants[2]["properties"]["Fields"]["properties"].as_object();
        let fields: Vec<&String> = fields.expect("fields").keys().collect();
        assert_eq!(fields, ["size", "report", "source", "next"]);
        let fields = &variants[2]["properties"]["Fields"]["properties"];
        for name in ["report", "source"] {
            assert_eq!(fields[name], json!({"type": "null"}));
        }
    };
    let only_null = |it: &Json| assert_eq!(it["anyOf"], json!([{"type": "null"}]));
    let reason = "argument `it` needs a function or a stream, which JSON cannot hold";

    let parameters: Vec<_> = methods.iter().map(crate::json_parameters).collect();
    let found = |index: usize| parameters[index].clone().expect("arguments");
    check(&found(0)["$defs"]["Target"]);
    assert_eq!(found(0)["$defs"].get("Source"), None);
    assert_eq!(parameters[1], Err(reason.to_owned()));
    only_null(&found(2)["properties"]["it"]);
    assert_eq!(found(3)["properties"], json!({}));

    let named = ["f", "g", "h", "i"].into_iter().zip(methods);
    let described = describe(named.map(|(name, schema)| method(name, schema)));
    let functions = described.functions();
    let names = functions.as_array().expect("a list").iter();
    let names = names.map(|it| it["function"]["name"].as_str().unwrap_or_default());
    assert_eq!(names.collect::<Vec<_>>(), ["f", "h", "i"]);
    check(&functions[0]["function"]["parameters"]["$defs"]["Target"]);
    only_null(&functions[1]["function"]["parameters"]["properties"]["it"]);
    assert_eq!(
        described.omitted(Format::Json),
        [("g".to_owned(), reason.to_owned())]
    );

    let document = described.openapi();
    check(&document["components"]["schemas"]["Target"]);
    let paths = document["paths"].as_object().expect("paths");
    assert_eq!(paths.keys().collect::<Vec<_>>(), ["/f", "/h", "/i"]);
    assert_eq!(
        described.omitted(Format::OpenApi)[0].1,
        reason.replace("JSON", "an HTTP request")
    );
}

#[test]
fn definitions_without_finite_values_are_impossible() {
    use hypha_rpc::Callback;

    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Live {
        Leaf(Callback<(u8,), u8>),
        Node { next: Box<Live> },
    }
    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Tree {
        Call(Callback<(u8,), u8>),
        Node { left: Box<Tree>, pair: Box<Pair> },
        Leaf(u8),
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Pair {
        tree: Tree,
        next: Option<Box<Pair>>,
    }
    let function = |name: &str| FunctionSchema::new(name, "");
    let live = function("live").argument::<Live>("it", "").finish();
    let reason = "argument `it` needs a function, which JSON cannot hold";
    assert_eq!(crate::json_parameters(&live), Err(reason.to_owned()));
    let tree = function("tree").argument::<Pair>("it", "").finish();
    let found = crate::json_parameters(&tree).expect("arguments");
    let variants = found["$defs"]["Tree"]["anyOf"]
        .as_array()
        .expect("variants");
    assert_eq!(variants.len(), 2);
    let described = describe([method("live", live), method("tree", tree)]);
    let paths = described.openapi()["paths"].clone();
    let paths: Vec<&String> = paths.as_object().expect("paths").keys().collect();
    assert_eq!(paths, ["/tree"]);

    let endless = json!({"properties": {"it": {"$ref": "#/$defs/A"}}, "required": ["it"],
        "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"]}}});
    let endless = json!({"name": "endless", "parameters": endless});
    let reason = "argument `it` has no values".to_owned();
    assert_eq!(crate::json_parameters(&endless), Err(reason.clone()));
    assert_eq!(
        describe([method("f", endless)]).omitted(Format::Json),
        [("f".to_owned(), reason)]
    );
}

#[test]
fn lists_and_maps_without_possible_items_are_empty() {
    use std::collections::BTreeMap;

    use hypha_rpc::Callback;

    type Call = Callback<(u8,), u8>;
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Node {
        children: Vec<Node>,
        by_name: BTreeMap<String, Node>,
    }
    let schema = FunctionSchema::new("f", "")
        .argument::<Vec<Call>>("list", "")
        .argument::<BTreeMap<String, Call>>("by_name", "")
        .argument::<BTreeMap<u8, Call>>("by_number", "")
        .argument::<Option<Vec<Call>>>("perhaps", "")
        .argument::<Node>("node", "");
    let schema = schema.finish();
    let single = crate::json_parameters(&schema).expect("arguments");
    let described = describe([method("f", schema.clone())]);
    let functions = described.functions();
    let parameters = &functions[0]["function"]["parameters"];
    let empty = json!({"type": "array", "maxItems": 0});
    for (name, wanted) in [
        ("list", empty.clone()),
        (
            "by_name",
            json!({"type": "object", "additionalProperties": false}),
        ),
        (
            "by_number",
            json!({"type": "object", "additionalProperties": false}),
        ),
        ("perhaps", json!({"anyOf": [empty, {"type": "null"}]})),
        ("node", json!({"$ref": "#/$defs/Node"})),
    ] {
        assert_eq!(parameters["properties"][name], wanted);
    }
    assert_eq!(parameters["$defs"], schema["parameters"]["$defs"]);
    assert_eq!(single["$defs"], schema["parameters"]["$defs"]);
    assert_eq!(
        single["properties"]["list"],
        json!({"type": "array", "maxItems": 0})
    );
    let document = described.openapi();
    let content = &document["paths"]["/f"]["post"]["requestBody"]["content"];
    for format in ["application/json", "application/msgpack"] {
        let properties = &content[format]["schema"]["properties"];
        assert_eq!(properties["list"], parameters["properties"]["list"]);
    }

    let stream = json!({"x-hypha-type": "stream"});
    let reduced = |schema: Json| {
        let parameters = json!({"properties": {"it": schema}, "required": ["it"]});
        let found = crate::json_parameters(&json!({ "parameters": parameters }));
        found.ok().map(|found| found["properties"]["it"].clone())
    };
    for (schema, wanted) in [
        (json!({"items": stream, "minItems": 1}), None),
        (json!({"prefixItems": [{}, stream], "minItems": 2}), None),
        (
            json!({"prefixItems": [{}, stream, {}], "maxItems": 3, "minItems": 1}),
            Some(json!({"minItems": 1, "prefixItems": [{}], "maxItems": 1})),
        ),
        (
            json!({"prefixItems": [{}], "items": stream}),
            Some(json!({"prefixItems": [{}], "maxItems": 1})),
        ),
        (json!({"items": [stream], "minItems": 1}), None),
        (
            json!({"patternProperties": {"a": stream, "b": {}}}),
            Some(json!({"patternProperties": {"a": {"not": {}}, "b": {}}})),
        ),
        (
            json!({"additionalProperties": stream, "minProperties": 1}),
            None,
        ),
        (
            json!({"additionalProperties": stream, "required": ["a"]}),
            None,
        ),
        (
            json!({"additionalProperties": stream, "anyOf": [{"properties": {"a": {}}}]}),
            Some(json!({"unevaluatedProperties": false, "anyOf": [{"properties": {"a": {}}}]})),
        ),
        (
            json!({"additionalProperties": stream, "minProperties": 1, "properties": {"a": {}}}),
            Some(json!({"additionalProperties": false, "minProperties": 1,
                "properties": {"a": {}}})),
        ),
    ] {
        assert_eq!(reduced(schema), wanted);
    }
}

#[test]
fn optional_members_without_values_do_not_accept_others() {
    use std::collections::BTreeMap;

    use hypha_rpc::Callback;

    type Call = Callback<(u8,), u8>;
    #[allow(dead_code)]
    fn call() -> Call {
        unreachable!("only the schema is needed")
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Rest {
        perhaps: Option<Call>,
        #[serde(skip_serializing, default = "call")]
        missing: Call,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Plain {
        perhaps: Option<Call>,
        #[serde(skip_serializing, default = "call")]
        missing: Call,
    }
    let schema = FunctionSchema::new("f", "")
        .argument::<Rest>("rest", "")
        .argument::<Plain>("plain", "")
        .finish();
    let single = crate::json_parameters(&schema).expect("arguments");
    let described = describe([method("f", schema)]);
    let functions = described.functions();
    let document = described.openapi();
    for definitions in [
        &single["$defs"],
        &functions[0]["function"]["parameters"]["$defs"],
        &document["components"]["schemas"],
    ] {
        let members = |name: &str| definitions[name]["properties"].clone();
        let only_null = json!({"type": "null"});
        let never = json!({"not": {}});
        assert_eq!(
            members("Rest"),
            json!({"perhaps": only_null, "missing": never})
        );
        assert_eq!(members("Plain"), json!({"perhaps": only_null}));
    }
}

/// Each schema is reduced once, not once for each level around it.
#[test]
fn nested_lists_and_maps_are_reduced_in_linear_time() {
    let stream = json!({"x-hypha-type": "stream"});
    let nested = (0..60).fold(stream, |inner, index| match index % 3 {
        0 => json!({"type": "array", "items": inner}),
        1 => json!({"type": "array", "prefixItems": [inner]}),
        _ => json!({"additionalProperties": inner, "patternProperties": {"a": {}}}),
    });
    let parameters = json!({"properties": {"it": nested}, "required": ["it"]});
    let found = crate::json_parameters(&json!({ "parameters": parameters })).expect("arguments");
    let text = found["properties"]["it"].to_string();
    assert!(text.contains(r#"{"type":"array","maxItems":0}"#), "{text}");
}

/// The number of definitions is larger than the number of passes.
#[test]
fn long_chains_of_possible_definitions_are_kept() {
    let link = |index: usize| {
        let next = match index {
            199 => json!({"anyOf": [{"$ref": "#/$defs/D0"}, {"type": "null"}]}),
            _ => json!({"$ref": format!("#/$defs/D{}", index + 1)}),
        };
        let link = json!({"properties": {"next": next}, "required": ["next"]});
        (format!("D{index}"), link)
    };
    let definitions: Map<String, Json> = (0..200).map(link).collect();
    let it = json!({"$ref": "#/$defs/D0"});
    let parameters = json!({"properties": {"it": it}, "required": ["it"], "$defs": definitions});
    let found = crate::json_parameters(&json!({ "parameters": parameters })).expect("arguments");
    assert_eq!(found["$defs"], parameters["$defs"]);
}

/// A chain of definitions that is longer than the number of passes.
#[test]
fn long_chains_of_impossible_definitions_end() {
    let link = |index: usize| {
        let next = json!({"$ref": format!("#/$defs/D{}", index + 1)});
        let next = match index {
            199 => json!({"x-hypha-type": "stream"}),
            _ => next,
        };
        let link = json!({"properties": {"next": next}, "required": ["next"]});
        (format!("D{index}"), link)
    };
    let definitions: Map<String, Json> = (0..200).map(link).collect();
    let it = json!({"anyOf": [{"$ref": "#/$defs/D0"}, {"type": "string"}]});
    let parameters = json!({"properties": {"it": it}, "required": ["it"], "$defs": definitions});
    let found = crate::json_parameters(&json!({ "parameters": parameters })).expect("arguments");
    assert_eq!(
        found["properties"]["it"],
        json!({"anyOf": [{"type": "string"}]})
    );
    assert_eq!(found["$defs"], json!({}));
}

#[test]
fn an_optional_file_is_null_in_json() {
    let function = FunctionSchema::new("f", "").returns::<Option<hypha_rpc::RemoteFile>>();
    let document = describe([method("f", function.finish())]).openapi();
    let content = &document["paths"]["/f"]["post"]["responses"]["200"]["content"];
    assert_eq!(
        content["application/json"]["schema"],
        json!({"type": "null"})
    );
    assert!(content["application/octet-stream"].is_object());
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
    let function = FunctionSchema::new("f", "")
        .argument::<Timestamp>("it", "")
        .argument::<Event>("event", "")
        .returns::<Timestamp>();
    let python = describe([method("f", function.finish())]).python();
    contains(
        &python,
        "it: Union[float, Timestamp], event: Event) -> Timestamp:",
    );
    contains(&python, "    at: Union[float, Timestamp]\n");
    contains(&python, "class Timestamp(Protocol):");
}

#[test]
fn the_failure_of_a_call_is_an_error() {
    let failure = argument::<hypha_rpc::Error>();
    contains(&failure.rust(), "it: hypha_rpc::Error,");
    contains(&failure.typescript(), "it: Record<string, any>");
    assert!(!failure.rust().contains("///"), "{}", failure.rust());
}

#[test]
fn methods_that_are_left_out_are_listed_with_the_reason() {
    let text = |description: &Description, format| {
        let omitted = description.omitted(format).into_iter();
        omitted
            .map(|(method, reason)| format!("{method}: {reason}"))
            .collect::<Vec<_>>()
    };
    let function = argument::<(Function,)>();
    assert_eq!(
        text(&function, Format::Json),
        ["f: argument `it` needs a function, which JSON cannot hold"]
    );
    assert_eq!(
        text(&function, Format::OpenApi),
        ["f: argument `it` needs a function, which an HTTP request cannot hold"]
    );
    assert_eq!(text(&function, Format::Rust), [""; 0]);
    let array = argument::<NdArray>();
    assert_eq!(text(&array, Format::Json), [""; 0]);
    assert_eq!(text(&array, Format::OpenApi), [""; 0]);
    let complex = schema(json!({"x-hypha-type": "ndarray", "x-hypha-dtype": "complex64"}));
    assert_eq!(
        text(&complex, Format::Json),
        [
            "f: argument `it` needs an array of complex or 16-bit floating-point numbers, which \
          JSON cannot hold"
        ]
    );
    assert_eq!(text(&argument::<u8>(), Format::Json), [""; 0]);
}

#[test]
fn function_names_fit_language_models() {
    let functions = describe([
        method("a.b", json!({})),
        method("a_b", json!({})),
        method("ů!", json!({})),
    ]);
    let functions = functions.functions();
    let names: Vec<&Json> = (0..3)
        .map(|index| &functions[index]["function"]["name"])
        .collect();
    assert_eq!(names, ["a_b", "a_b2", "__"]);
    let anything = json!({"type": "object", "additionalProperties": true});
    assert_eq!(functions[0]["function"]["parameters"], anything);
}

#[test]
fn schemas_for_models_are_standard() {
    let parameters = json!({
        "type": "object",
        "properties": {
            "a": {"type": "int"},
            "b": {"$ref": "#/$defs/Place", "x-hypha-type": "odd"},
            "c": {"type": "nonsense", "description": "Text."},
        },
        "required": ["a"],
        "$defs": {"Place": {"type": "dict"}, "Unused": {"type": "str"}},
    });
    let functions = describe([method("f", json!({"parameters": parameters}))]).functions();
    assert_eq!(
        functions[0]["function"]["parameters"],
        json!({
            "type": "object",
            "properties": {
                "a": {"type": "integer"},
                "b": {"$ref": "#/$defs/Place"},
                "c": {"description": "Text."},
            },
            "required": ["a"],
            "$defs": {"Place": {"type": "object"}},
        })
    );
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
fn invalid_schemas_become_any_value() {
    for nonsense in [
        json!(true),
        json!(false),
        json!(7),
        json!("text"),
        json!([]),
        json!({"$ref": "#/$defs/gone"}),
        json!({"$ref": "#"}),
        json!({"$ref": 7}),
        json!({"allOf": [{"type": "string"}, {"minLength": 1}]}),
        json!({"anyOf": []}),
        json!({"anyOf": [{}, {"type": "string"}]}),
        json!({"enum": [[], {}]}),
        json!({"type": {}, "properties": 7}),
    ] {
        let description = schema(nonsense.clone());
        for format in Format::ALL {
            assert!(!description.write(format).is_empty());
        }
        if nonsense["$ref"] != "#" {
            contains(&description.rust(), "it: Value,");
        }
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
fn a_long_chain_of_definitions_does_not_overflow_the_stack() {
    let mut definitions = serde_json::Map::new();
    for index in 0..3_000 {
        let next = json!({"$ref": format!("#/$defs/D{}", index + 1)});
        definitions.insert(
            format!("D{index}"),
            json!({"type": "object", "properties": {"next": next}}),
        );
    }
    let parameters = json!({
        "type": "object",
        "properties": {"it": {"$ref": "#/$defs/D0"}},
        "$defs": definitions,
    });
    let long = describe([method("f", json!({"parameters": parameters}))]);
    contains(&long.typescript(), "interface D2999 ");
    contains(&long.rust(), "struct D2999 ");
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
fn many_equal_names_take_linear_time() {
    let letters = (0x4e00..0x4e00 + 20_000).filter_map(char::from_u32);
    let many: serde_json::Map<String, Json> = letters
        .map(|letter| (letter.to_string(), json!({})))
        .collect();
    let large =
        schema(json!({"properties": many, "required": many.keys().rev().collect::<Vec<_>>()}));
    contains(&large.rust(), "pub struct FIt {");
    contains(&large.python(), "FIt = TypedDict(");
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

/// Each schema has about 100 KiB of text, but would have gigabytes of types.
#[test]
fn members_beside_many_alternatives_are_not_copied_without_limit() {
    let members = |prefix: &str, count: usize| {
        let members = (0..count).map(|number| (format!("{prefix}{number}"), json!({})));
        Json::Object(members.collect())
    };
    let any = json!({});
    let many = |count: usize| vec![any.clone(); count];
    let union = json!({"properties": members("a", 3000), "anyOf": many(20_000)});
    let large_rest = json!({"properties": {"a": {}}, "anyOf": many(20_000),
        "additionalProperties": {"properties": members("a", 3000)}});
    for hostile in [union, large_rest] {
        let described = schema(hostile);
        contains(&described.typescript(), "it: any");
        assert!(described.openapi_within(4 << 20).is_ok());
    }
    // Many small unions, and unions in unions.
    let small = json!({"properties": members("a", 100), "oneOf": many(100)});
    let nested =
        json!({"properties": members("a", 500), "anyOf": vec![json!({"anyOf": many(50)}); 500]});
    let parts: Vec<Json> = (0..40).map(|_| small.clone()).collect();
    let base = json!({"type": "object", "properties": members("a", 3000)});
    let references: Vec<Json> = (0..1000)
        .map(|_| json!({"$ref": "#/$defs/Base", "properties": {"b": {}}}))
        .collect();
    for (hostile, definitions) in [
        (
            json!({"type": "array", "prefixItems": parts, "minItems": 40, "maxItems": 40}),
            json!({}),
        ),
        (nested, json!({})),
        (
            json!({"type": "array", "prefixItems": references, "minItems": 1000, "maxItems": 1000}),
            json!({"Base": base}),
        ),
    ] {
        let parameters = json!({"type": "object", "properties": {"it": hostile},
            "required": ["it"], "$defs": definitions});
        let described = describe([method("f", json!({"name": "f", "parameters": parameters}))]);
        let size = described.typescript().len();
        assert!(size < 8 << 20, "{size} bytes");
    }
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
fn nesting_depth_of_types_is_limited() {
    let deep = (0..200).fold(
        json!({"type": "integer"}),
        |inner, _| json!({"type": "array", "items": inner}),
    );
    let rust = schema(deep).rust();
    contains(&rust, "Vec<Vec<Value>>");
    assert_eq!(rust.matches("Vec<").count(), 24, "{rust}");
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

/// Returns a file without its comments and string literals.
fn code(text: &str, line_comment: &str, quotes: &[(&str, &str)]) -> String {
    let mut code = String::new();
    let mut rest = text;
    'outer: while let Some(first) = rest.chars().next() {
        if rest.starts_with(line_comment) {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        for (open, close) in quotes {
            let Some(inside) = rest.strip_prefix(open) else {
                continue;
            };
            rest = inside;
            while !rest.starts_with(close) {
                let mut chars = rest.chars();
                let escaped = chars.next() == Some('\\') && *open != "/*";
                if escaped {
                    chars.next();
                }
                assert!(!rest.is_empty(), "{open} does not end in\n{text}");
                rest = chars.as_str();
            }
            rest = &rest[close.len()..];
            continue 'outer;
        }
        code.push(first);
        rest = &rest[first.len_utf8()..];
    }
    code
}

/// Strings made of parts that end comments or literals in some language, and of code.
fn hostile() -> impl Strategy<Value = String> {
    const PARTS: [&str; 28] = [
        "*/", "/*", "\"\"\"", "\"", "'", "'''", "\\", "\n", "\r", "\u{2028}", "\u{85}", "\0", "`",
        "#", "//", "*", "/", "${", "}", "{", "evil=1", " ", "]", "_", "x", "\u{202e}", "ů", "😀",
    ];
    proptest::collection::vec(proptest::sample::select(&PARTS[..]), 0..12)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn texts_cannot_end_comments_or_literals(texts in proptest::collection::vec(hostile(), 6)) {
        let [name, text, key, word, default, id] = &texts[..] else { unreachable!() };
        let it = json!({
            "type": "object",
            "description": text,
            "properties": {(key.as_str()): {"enum": [word, "x"], "description": text,
                "default": word}},
        });
        let parameters = json!({
            "type": "object",
            "properties": {
                "it": it,
                (key.as_str()): {"type": "string", "default": default, "description": text},
            },
        });
        let function = json!({"description": text, "parameters": parameters,
            "returns": {"const": word}});
        let service = Service::new(id.as_str()).description(text.as_str());
        let service = service.method(method(name, function.clone())).method(method("f", function));
        let description = Description::of(service.value(key.as_str(), 1i64));
        for (text, comment, quotes) in [
            (description.typescript(), "//", &[("/*", "*/"), ("\"", "\"")][..]),
            (description.python(), "#", &[("\"\"\"", "\"\"\""), ("\"", "\"")]),
            (description.rust(), "//", &[("\"", "\"")]),
        ] {
            let code = code(&text, comment, quotes);
            prop_assert!(!code.contains("evil="), "{}\n{}", code, text);
            let is_plain = |c: char| c.is_ascii() && (!c.is_control() || c == '\n');
            prop_assert!(code.chars().all(is_plain), "{}\n{}", code, text);
        }
            prop_assert!(!description.openapi().to_string().is_empty());
    }
}

/// Returns a schema whose parts contain each other, so that its document is many times as large.
fn inflated() -> Json {
    let mut part = json!({"type": "string"});
    for _ in 0..50 {
        part = json!({"type": "object", "properties": {"p": part}});
    }
    let place = |depth: usize| format!("#/$defs/D{}", "/properties/p".repeat(depth));
    let properties: Map<String, Json> = (0..50)
        .map(|depth| (format!("a{depth}"), json!({"$ref": place(depth)})))
        .collect();
    json!({"type": "object", "properties": properties, "$defs": {"D": part}})
}

#[test]
fn documents_have_a_maximum_size() {
    let schema = json!({"name": "f", "parameters": inflated()});
    let described = describe([method("f", schema)]);
    let whole = described.openapi();
    assert!(
        described
            .openapi_within(1 << 20)
            .is_ok_and(|it| it == whole)
    );
    let size = whole.to_string().len();
    let refused = described.openapi_within(size / 3).unwrap_err();
    assert_eq!(refused.max_bytes, size / 3);
    // Each method repeats the long name of its group.
    let names: Map<String, Json> = (0..1000)
        .map(|number| {
            (
                format!("f{number}"),
                json!({"type": "function", "function": {}}),
            )
        })
        .collect();
    let tree = json!({"g".repeat(100_000): names});
    let described = Description::from_schema("desk", tree);
    assert!(described.openapi_within(4 << 20).is_err());
    // Many methods with empty schemas.
    let described = Description::from_schema("desk", names.into());
    assert!(described.openapi_within(100_000).is_err());
    assert!(described.openapi_within(4 << 20).is_ok());
}
