//! Tests of the schemas for callers that send JSON.

use super::*;

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
    ]}, "description":
        "An array of numbers, as a list or as nested lists of equal lengths."});
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
fn openapi_has_the_tags_of_sets_and_ordered_maps() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Both {
        set: Option<Set<Vec<u8>>>,
    }
    let function = FunctionSchema::new("f", "")
        .argument::<OrderedMap<u8, bool>>("map", "Order.")
        .argument::<Both>("both", "")
        .returns::<Set<Vec<u8>>>();
    let ordered = FunctionSchema::new("g", "").returns::<Vec<OrderedMap<u8, bool>>>();
    let both = FunctionSchema::new("h", "").returns::<Both>();
    let methods = [
        method("f", function.finish()),
        method("g", ordered.finish()),
        method("h", both.finish()),
    ];
    let described = describe(methods);
    let document = described.openapi();
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    let items = json!({"type": "array", "items": byte, "uniqueItems": true});
    let set = json!({"type": "object", "properties": {"_rtype": {"const": "set"}, "_rvalue": items},
        "required": ["_rtype", "_rvalue"]});
    let pair = json!({"type": "array", "prefixItems": [byte, {"type": "boolean"}],
        "minItems": 2, "maxItems": 2});
    let pairs = json!({"type": "array", "items": pair});
    let map = json!({"type": "object",
        "properties": {"_rtype": {"const": "orderedmap"}, "_rvalue": pairs},
        "required": ["_rtype", "_rvalue"]});
    for format in ["application/json", "application/msgpack"] {
        let post = |path: &str| document["paths"][path]["post"].clone();
        let result =
            |path: &str| post(path)["responses"]["200"]["content"][format]["schema"].clone();
        // A result has the tags; callers may leave them out.
        assert_eq!(result("/f"), set);
        assert_eq!(result("/g"), json!({"type": "array", "items": map}));
        let arguments = post("/f")["requestBody"]["content"][format]["schema"].clone();
        let plain = json!({"type": "object", "additionalProperties": {"type": "boolean"}});
        let either = json!({"anyOf": [plain, map], "description": "Order."});
        assert_eq!(arguments["properties"]["map"], either);
    }
    // Callers receive and send this definition.
    let member = &document["components"]["schemas"]["Both"]["properties"]["set"];
    let either = json!({"anyOf": [items, set]});
    assert_eq!(
        *member,
        json!({"anyOf": [either, {"type": "null"}], "default": null})
    );
    // Language models need only the plain form.
    let parameters = &described.functions()[0]["function"]["parameters"];
    assert_eq!(parameters["properties"]["map"]["type"], "object");
}

#[test]
fn only_images_have_the_form_of_images_in_openapi() {
    use hypha_rpc::Array;

    let forms = |function: FunctionSchema| {
        let document = describe([method("f", function.finish())]).openapi();
        let content = &document["paths"]["/f"]["post"]["responses"]["200"]["content"];
        let types = content.as_object().unwrap().keys().cloned();
        types
            .filter(|it| it != "application/msgpack")
            .collect::<Vec<_>>()
    };
    let function = || FunctionSchema::new("f", "");
    let images = ["application/x-npy", "image/png"];
    assert_eq!(forms(function().returns::<Array<u8, 2>>()), images);
    assert_eq!(forms(function().returns::<Array<u16, 3>>()), images);
    assert_eq!(forms(function().returns::<NdArray>()), images);
    let others = ["application/x-npy"];
    assert_eq!(forms(function().returns::<Array<u8, 1>>()), others);
    assert_eq!(forms(function().returns::<Array<f32, 2>>()), others);
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
        ["f: argument `it` needs an array of complex numbers, which JSON cannot hold"]
    );
    let half = schema(json!({"x-hypha-type": "ndarray", "x-hypha-dtype": "float16"}));
    assert_eq!(text(&half, Format::Json), [""; 0]);
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
