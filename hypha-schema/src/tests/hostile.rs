//! Tests of invalid, large and hostile schemas.

use super::*;

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
fn nesting_depth_of_types_is_limited() {
    let deep = (0..200).fold(
        json!({"type": "integer"}),
        |inner, _| json!({"type": "array", "items": inner}),
    );
    let rust = schema(deep).rust();
    contains(&rust, "Vec<Vec<Value>>");
    assert_eq!(rust.matches("Vec<").count(), 24, "{rust}");
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
