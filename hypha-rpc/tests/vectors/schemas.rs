//! Checks the recorded schemas of Python functions and values. A service record must preserve each
//! schema, and a Rust contract with the same arguments must have the same schema.

use std::collections::BTreeMap;

use hypha_rpc::Map;
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, IntoService, Method, Service};
use hypha_rpc::workspace::ServiceInfo;
use hypha_wire::{from_slice, to_vec};
use serde_json::Value as Json;

use crate::rendering::from_rendering;

/// A point.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct P {
    /// the a
    #[schemars(range(min = 0))]
    a: i64,
    b: Option<String>,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum IntOrText {
    Int(i64),
    Text(String),
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Letter {
    A,
    B,
}

/// The recorded functions, with the argument types that the authors of these functions intended.
#[hypha_service(id = "recorded")]
trait Recorded {
    /// Docs of typed.
    #[allow(clippy::too_many_arguments)]
    async fn typed(
        &self,
        /// x arg
        x: i64,
        /// y arg
        #[hypha(default = "d")]
        y: &str,
        p: Option<P>,
        l: Option<Vec<i64>>,
        #[hypha(default = IntOrText::Int(1))] u: IntOrText,
        #[hypha(default = Letter::A)] lit: Letter,
        context: &Context,
    ) -> String;

    /// Native doc.
    async fn native(
        &self,
        x: i64,
        #[hypha(default = 2.0)] y: f64,
        z: Option<BTreeMap<String, Value>>,
    );

    /// Plain doc line one.
    /// line two
    #[allow(clippy::too_many_arguments)]
    async fn plain(
        &self,
        /// the a arg continued
        a: String,
        /// the b arg
        b: i64,
        #[hypha(default = 1.0)] c: f64,
        #[hypha(default = true)] d: bool,
        e: Option<Vec<Value>>,
        f: Option<BTreeMap<String, Value>>,
        #[hypha(default = "x")] g: &str,
        h: Option<Binary>,
        context: &Context,
    );

    async fn bare(&self);

    async fn v(&self, args: String, kw: String);
}

struct Desk;

impl Recorded for Desk {
    async fn typed(
        &self,
        _: i64,
        _: &str,
        _: Option<P>,
        _: Option<Vec<i64>>,
        _: IntOrText,
        _: Letter,
        _: &Context,
    ) -> String {
        String::new()
    }

    async fn native(&self, _: i64, _: f64, _: Option<BTreeMap<String, Value>>) {}

    async fn plain(
        &self,
        _: String,
        _: i64,
        _: f64,
        _: bool,
        _: Option<Vec<Value>>,
        _: Option<BTreeMap<String, Value>>,
        _: &str,
        _: Option<Binary>,
        _: &Context,
    ) {
    }

    async fn bare(&self) {}

    async fn v(&self, _: String, _: String) {}
}

pub(crate) fn check_schema(name: &str, entry: &Json) {
    let recorded = &entry["decoded"];
    check_kept(name, recorded);
    let method = match name {
        "values" => return check_values(recorded),
        "pydantic" | "pydantic_skip_context" | "pydantic_renamed" => "typed",
        "varargs" => "v",
        other => other,
    };
    let service = RecordedService::new(Desk).into_service();
    let mut ours = service.schema().to_json()[method].clone();
    if name == "pydantic_renamed" {
        // In Rust and in Python, the published name is the key in the service, not the name of the
        // function.
        let renamed = Method::new("renamed", async |call: IncomingCall| call.reply(&()));
        let renamed = renamed.schema(ours["function"].take());
        ours = Service::new("renamed").method(renamed).schema().to_json()["renamed"].take();
    }
    let mut recorded = recorded.clone();
    for schema in [&mut recorded, &mut ours] {
        inline(&mut schema["function"]["parameters"]);
    }
    // Only Rust publishes a schema of the result.
    assert!(ours["function"]["returns"]["type"].is_string(), "{ours}");
    ours["function"]
        .as_object_mut()
        .expect("a map")
        .shift_remove("returns");
    let mut found = Vec::new();
    differences("", &recorded, &ours, &mut found);
    // Only Python publishes empty descriptions.
    found.retain(|line| !line.ends_with(r#".description: "", ours none"#));
    let found: Vec<&str> = found
        .iter()
        .map(|line| line.trim_start_matches("function.parameters.properties."))
        .collect();
    assert_eq!(found, wanted_differences(name));
}

/// Returns the known differences between the recorded schema and the Rust schema.
fn wanted_differences(name: &str) -> Vec<&'static str> {
    // The authors of these functions wrote `p: P = None`, although `None` is not of type `P`.
    // The range of `a` alone would stand for `u64`.
    let typed = [
        "p: ours may be null",
        "p.properties.a.x-hypha-dtype: none, ours \"int64\"",
        "l: ours may be null",
    ];
    // The context is not an argument. Python nevertheless publishes the context, unless the whole
    // service requires a context.
    let context = "context: {\"default\":null}, ours none";
    match name {
        "pydantic" | "pydantic_renamed" => [&typed[..], &[context]].concat(),
        "pydantic_skip_context" => typed.to_vec(),
        // Only the schemas that Python itself infers contain an empty `required` list. The schemas
        // of Pydantic and Rust omit this list.
        "bare" => vec!["function.parameters.required: [], ours none"],
        "native" => vec![
            // Python publishes the name of the Python type. JSON Schema does not define this key.
            r#"x.type: "int", ours "integer""#,
            r#"y.type: "float", ours "number""#,
            "z: ours may be null",
            r#"z.type: "dict", ours "object""#,
            "z.additionalProperties: none, ours true",
        ],
        // For a function without a decorator, Python does not publish defaults, nullability or item
        // types. Python also describes bytes as a string.
        "plain" => vec![
            "c.default: none, ours 1.0",
            "d.default: none, ours true",
            "e: ours may be null",
            "e.default: none, ours null",
            "e.items: none, ours {}",
            "f: ours may be null",
            "f.default: none, ours null",
            "f.additionalProperties: none, ours true",
            "g.default: none, ours \"x\"",
            "h: ours may be null",
            "h.default: none, ours null",
            "h.format: none, ours \"binary\"",
            "h.x-hypha-type: none, ours \"bytes\"",
        ],
        _ => Vec::new(),
    }
}

/// Replaces each reference with the definition that it refers to, because Python and Rust use
/// different names for definitions.
fn inline(parameters: &mut Json) {
    let definitions = parameters
        .as_object_mut()
        .and_then(|parameters| parameters.shift_remove("$defs"));
    fn visit(schema: &mut Json, definitions: &Json) {
        match schema {
            Json::Object(map) => {
                if let Some(reference) = map.shift_remove("$ref") {
                    let name = reference.as_str().and_then(|text| text.rsplit('/').next());
                    let definition = &definitions[name.expect("a text")];
                    map.extend(definition.as_object().expect("defined").clone());
                }
                for value in map.values_mut() {
                    visit(value, definitions);
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| visit(item, definitions)),
            _ => {}
        }
    }
    visit(parameters, &definitions.unwrap_or_default());
}

/// Checks that the service record keeps the schema unchanged.
fn check_kept(name: &str, recorded: &Json) {
    let schema = from_rendering(recorded).expect("string keys");
    let tree = Map::from_iter([(name.to_owned(), schema)]);
    let info = ServiceInfo {
        id: "ws/client:svc".to_owned(),
        service_schema: Some(Value::Map(tree.clone())),
        ..ServiceInfo::default()
    };
    let packed = bytes::Bytes::from(to_vec(&info).expect("encodes"));
    let again: ServiceInfo = from_slice(&packed).expect("decodes");
    assert_eq!(again.service_schema, Some(Value::Map(tree)));
    assert_eq!(to_vec(&again).expect("encodes"), packed);
}

/// Checks the schemas of members that are values.
fn check_values(recorded: &Json) {
    let service = Service::new("values")
        .value("n", 1i64)
        .value("f", 1.5)
        .value("s", "x")
        .value("b", true)
        .value("none", Value::Null)
        .value("list", Value::List(vec![1i64.into(), "x".into()]))
        .value("bytes", Value::Bytes(b"x"[..].into()));
    let ours = service.schema().to_json();
    let mut found = Vec::new();
    for (name, schema) in recorded.as_object().expect("a map") {
        differences(name, schema, &ours[name], &mut found);
    }
    // Python describes a boolean as a number.
    assert_eq!(found, [r#"b.type: "number", ours "boolean""#]);
}

/// Appends a line for each path at which the two schemas differ.
fn differences(path: &str, recorded: &Json, ours: &Json, found: &mut Vec<String>) {
    let (Json::Object(left), Json::Object(right)) = (recorded, ours) else {
        if recorded != ours {
            found.push(format!("{path}: {recorded}, ours {ours}"));
        }
        return;
    };
    let unwrapped = (!left.contains_key("anyOf"))
        .then(|| not_null(right))
        .flatten();
    if unwrapped.is_some() {
        found.push(format!("{path}: ours may be null"));
    }
    let right = unwrapped.as_ref().unwrap_or(right);
    let inside = |key: &str| format!("{path}.{key}").trim_start_matches('.').to_owned();
    for (key, value) in left {
        match right.get(key) {
            Some(other) => differences(&inside(key), value, other, found),
            None => found.push(format!("{}: {value}, ours none", inside(key))),
        }
    }
    for (key, value) in right.iter().filter(|(key, _)| !left.contains_key(*key)) {
        found.push(format!("{}: none, ours {value}", inside(key)));
    }
}

/// Returns the schema of `T` if the given schema is the schema of `Option<T>`.
fn not_null(schema: &serde_json::Map<String, Json>) -> Option<serde_json::Map<String, Json>> {
    let kinds = schema.get("anyOf")?.as_array()?;
    let [Json::Object(inner), null] = &kinds[..] else {
        return None;
    };
    if null["type"] != "null" {
        return None;
    }
    let mut outer = schema.clone();
    outer.shift_remove("anyOf");
    outer.extend(inner.clone());
    Some(outer)
}
