//! Defines hostile and unusual names and descriptions. No generator may turn their content into
//! code.

use hypha_rpc::Map;
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_schema::Description;
use serde_json::{Value as Json, json};

/// Text with the ends of comments, literals and lines in each language. Code follows each end.
pub(crate) const TEXT: &str = "Ends */ here \"\"\" or ''' or \\ or \\\"\"\" ` ${process.exit(1)} \u{2028}import os\r\
    os.abort()\u{85}std::process::abort();\n\n    panic!(\"indented\");\n```\npanic!(\"fenced\");\n```\n\
    -     panic!(\"listed\");\n~~~\n<script>alert(1)</script> \u{202e}reversed\u{0} {@link x} #{x} *\u{0}/ evil() \"\u{0}\"\u{0}\" evil() \"";

/// Names of methods and fields.
const NAMES: [&str; 22] = [
    "class",
    "type_",
    "new",
    "constructor",
    "fn",
    "self",
    "Self",
    "__init__",
    "__x",
    "list",
    "str",
    "Any",
    "None",
    "with-dash",
    "with space",
    "3d",
    "kůň",
    "日本",
    "a\"b",
    "a*/b",
    "a\nb",
    "}; export const x = 1; interface Y {",
];

fn schema(parameters: Json, returns: Json) -> Json {
    json!({"name": "f", "description": TEXT, "parameters": parameters, "returns": returns})
}

fn method(name: &str, schema: Json) -> Method {
    Method::new(name, async |call: IncomingCall| call.reply(&()))
        .doc(TEXT)
        .schema(schema)
}

/// Returns the schema of errors whose messages and causes do not fit their fields.
fn errors() -> Json {
    let variant = |name: &str, content: Json, mut facts: Json| {
        facts["name"] = format!("Cause.{name}").into();
        json!({"type": "object", "properties": {name: content}, "required": [name],
            "additionalProperties": false, "x-hypha-variant": facts})
    };
    let error = || json!({"x-hypha-type": "error"});
    let own = || json!({"$ref": "#/$defs/Cause"});
    let pair = json!({"type": "array", "prefixItems": [error(), own()], "minItems": 2,
        "maxItems": 2});
    let maybe = json!({"anyOf": [own(), {"type": "null"}]});
    let named = json!({"type": "object", "properties": {"source": error(), "backtrace": own(),
        TEXT: {"type": "string"}}, "required": ["source", "backtrace", TEXT]});
    let text = json!({"type": "object", "properties": {"source": {"type": "string"}},
        "required": ["source"]});
    let cause = json!({"oneOf": [
        variant("A", error(), json!({"source": "0", "from": true, "message": "{0:é>5}"})),
        variant("B", error(), json!({"source": "0", "from": true, "message": "{0:}>5}"})),
        variant("C", own(), json!({"source": "0", "from": true, "transparent": true})),
        variant("D", maybe, json!({"source": "0", "from": true, "transparent": true})),
        variant("E", pair.clone(), json!({"source": "1", "from": true, "message": "{1} {0:x}"})),
        variant("F", pair, json!({"source": "7", "message": "{7}"})),
        variant("G", named, json!({"source": "backtrace", "message": "{source:09999.9999}"})),
        variant("H", text, json!({"source": "source", "from": true, "transparent": true})),
        variant("I", json!({}), json!({"source": "0", "transparent": true, "message": "{0:?}"})),
        variant("J", json!({"type": "integer"}), json!({"source": 7, "message": "{0:#010X}{0:99999}"})),
        variant("K", json!({"$ref": "#/$defs/Alone"}), json!({"source": "0", "from": true})),
    ]});
    json!({"$ref": "#/$defs/Cause", "$defs": {
        "Cause": cause,
        "Alone": {"$ref": "#/$defs/Alone", "x-hypha-variant":
            {"name": "Alone", "source": "0", "from": true, "transparent": true}},
    }})
}

/// Returns the description of a service that uses all [`NAMES`], and uses [`TEXT`] for every
/// description.
pub(crate) fn description() -> Description {
    let properties: serde_json::Map<String, Json> = NAMES
        .into_iter()
        .chain(["a_b", "default", "async", "arguments", "r#type", "", "_"])
        .map(|name| {
            (
                name.to_owned(),
                json!({"type": "string", "description": TEXT}),
            )
        })
        .collect();
    let members = json!({
        "type": "object",
        "description": TEXT,
        "properties": properties,
        "required": NAMES[..4],
    });
    let words: Vec<&str> = NAMES
        .into_iter()
        .chain(["", TEXT, "x", "X", "x-"])
        .collect();
    let definitions = json!({
        "Vec": {"type": "object", "properties": {"Vec": {"$ref": "#/$defs/Vec"}}},
        "vec": {"type": "object", "properties": {"list": {"type": "integer"}, "x": {"type": "array"}}},
        "Promise": {"type": "string", "enum": words, "description": TEXT},
        "Itself": {"$ref": "#/$defs/Itself"},
        "First": {"anyOf": [{"$ref": "#/$defs/Second"}, {"type": "null"}]},
        "Second": {"$ref": "#/$defs/First"},
        "Lists": {"type": "array", "items": {"$ref": "#/$defs/Lists"}},
        "a/b~c\"": {"type": "object", "properties": {"x": {"const": TEXT}}, "required": ["x"]},
        "Tree": {
            "oneOf": [
                {"type": "object", "properties": {"Leaf": {"type": "integer"}}, "required": ["Leaf"],
                 "additionalProperties": false},
                {"type": "object", "properties": {"Both": {"type": "array", "minItems": 2, "maxItems": 2,
                 "prefixItems": [{"$ref": "#/$defs/Tree"}, {"$ref": "#/$defs/Tree"}]}}, "required": ["Both"],
                 "additionalProperties": false},
            ],
        },
        "Either": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/Either2"}, {"type": "boolean"}]},
        "Either2": {"type": ["string", "number"]},
        "Open": {
            "type": "object",
            "properties": {"others": {"type": "integer", "default": 7}},
            "additionalProperties": {"type": "string"},
        },
    });
    let kinds = [
        "Vec",
        "vec",
        "Promise",
        "Itself",
        "First",
        "Second",
        "Lists",
        "a~1b~0c%22",
        "Tree",
        "Either",
        "Open",
        "gone",
    ];
    let mut kinds: serde_json::Map<String, Json> = kinds
        .into_iter()
        .map(|name| {
            (
                format!("{name}_x"),
                json!({"$ref": format!("#/$defs/{name}")}),
            )
        })
        .collect();
    let more = json!({
        "anything": {"default": {"a": [1, {"b": null}]}},
        "wrong_default": {"type": "integer", "default": "text"},
        "text_default": {"type": "string", "default": TEXT},
        "word_default": {"$ref": "#/$defs/Promise", "default": TEXT},
        "point_default": {"$ref": "#/$defs/Open", "default": {"others": 3}},
        "either_default": {"$ref": "#/$defs/Either", "default": "text"},
        "map_default": {"type": "object", "additionalProperties": {"type": "number"}, "default": {TEXT: 1}},
        "large_default": {"type": "integer", "minimum": 0, "default": u64::MAX},
        "numbers": {"enum": [1, 2, -3]},
        "mixed": {"enum": [1, "two", null, true]},
        "fractions": {"enum": [0.5, 1]},
        "impossible": false,
        "odd": {"type": 7, "enum": "x", "properties": [], "anyOf": {}, "$ref": 1},
        "elsewhere": {"$ref": "https://example.org/schema"},
        "empty_choice": {"anyOf": []},
        "pair": {"type": "array", "prefixItems": [], "minItems": 0, "maxItems": 0},
        "one": {"type": "array", "prefixItems": [{"type": "integer"}], "minItems": 1, "maxItems": 1},
        "callback": {"x-hypha-type": "function"},
        "maybe": {"anyOf": [{"x-hypha-type": "function"}, {"type": "null"}], "default": null},
        "stream": {"x-hypha-type": "stream", "items": {"$ref": "#/$defs/Tree"}},
        "when": {"x-hypha-type": "timestamp"},
        "set": {"x-hypha-type": "set", "items": {"type": "string"}},
        "ordered": {"x-hypha-type": "ordered_map", "additionalProperties": {"type": "string"}},
        "image": {"x-hypha-type": "ndarray"},
        "file": {"x-hypha-type": "file"},
        "object": {"x-hypha-type": "object"},
        "unknown": {"x-hypha-type": TEXT},
    });
    kinds.extend(more.as_object().cloned().unwrap_or_default());
    let types =
        json!({"type": "object", "properties": kinds, "required": ["Vec_x"], "$defs": definitions});
    let members_only = json!({"type": "object", "properties": {"it": members}, "required": ["it"]});
    let mut service = Service::new("nasty */ evil() \n\"\"\"").description(TEXT);
    for name in NAMES {
        let schema = schema(
            json!({"type": "object", "properties": {}}),
            json!({"type": "null"}),
        );
        service = service.method(method(name, schema));
    }
    let failing = json!({"name": "f", "description": TEXT,
        "parameters": {"type": "object", "properties": {}}, "returns": {"type": "null"},
        "x-hypha-error": errors()});
    let service = service
        .method(method("fails", failing))
        .method(method("members", schema(members_only, members)))
        .method(method("types", schema(types, json!({"$ref": "#/nowhere"}))))
        .method(method("nested.class", json!({})))
        .method(method("nested.deep er.list", json!(7)))
        .value(
            "some value",
            Value::Map(Map::from_iter([("x".to_owned(), 1.into())])),
        )
        .value(TEXT, 1i64);
    Description::of(service)
}
