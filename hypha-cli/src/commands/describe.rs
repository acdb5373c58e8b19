//! `hypha describe`: shows the methods of a service, with an example of a call.

use anyhow::{Context as _, Result};
use clap::Args;
use hypha_rpc::RemoteService;
use hypha_rpc::schema::KIND;
use serde_json::{Map, Value as Json, json};

use crate::commands::services::visibility;
use crate::connection::ConnectionOptions;
use crate::failure::Failure;
use crate::output::{self, Style, paint};
use crate::values;

/// Show the methods of a service, with an example of a call
///
/// With SERVICE.METHOD, only that method is shown.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha describe calculator
  hypha describe calculator.divide
  hypha describe lab/microscope-1:camera --json")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Service: `id`, `client:id` or `workspace/client:id`, optionally followed by a method
    #[arg(value_name = "SERVICE[.METHOD]")]
    service: String,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// A method, as its provider described it.
struct Method {
    name: String,
    text: String,
    parameters: Map<String, Json>,
    required: Vec<String>,
    returns: Option<Json>,
    schema: Option<Json>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let client = options.connection.connect().await?;
    let (id, method) = match super::call::split(&options.service) {
        Ok((service, method)) => (service, Some(method)),
        Err(_) => (options.service.as_str(), None),
    };
    let service = client.get_service(id).await;
    client.disconnect().await;
    let service = service.with_context(|| format!("cannot find `{id}`"))?;
    let mut methods = methods(&service);
    if let Some(name) = method {
        let prefix = format!("{name}.");
        methods.retain(|method| method.name == name || method.name.starts_with(&prefix));
        if methods.is_empty() {
            let text = format!("`{id}` has no method `{name}`");
            return Err(Failure::NotFound(text).into());
        }
    }
    if options.json {
        output::json(&as_json(&service, &methods))
    } else {
        output::write(&as_text(id, &service, &methods, method.is_some()), None)
    }
}

/// Returns the methods in the order in which the service lists them.
fn methods(service: &RemoteService) -> Vec<Method> {
    let place = |name: &str| {
        let first = name.split('.').next().unwrap_or(name);
        service.members().get_index_of(first)
    };
    let mut names: Vec<&str> = service.methods().collect();
    names.sort_by_key(|name| (place(name), *name));
    names
        .into_iter()
        .map(|name| Method::of(service, name))
        .collect()
}

impl Method {
    fn of(service: &RemoteService, name: &str) -> Method {
        let schema = service.schema(name).map(|schema| schema.to_json());
        let at = |pointer: &str| schema.as_ref().and_then(|schema| schema.pointer(pointer));
        let text = at("/description").and_then(Json::as_str).map(str::to_owned);
        let text = text
            .filter(|text| !text.trim().is_empty())
            .or_else(|| service.doc(name));
        let required = at("/parameters/required").and_then(Json::as_array);
        let required = required.into_iter().flatten().filter_map(Json::as_str);
        Method {
            name: name.to_owned(),
            text: text.unwrap_or_default(),
            parameters: at("/parameters/properties")
                .and_then(Json::as_object)
                .cloned()
                .unwrap_or_default(),
            required: required.map(str::to_owned).collect(),
            returns: at("/returns").cloned(),
            schema: schema.clone(),
        }
    }

    /// Returns `name(argument: type = default, ..) -> type`.
    fn signature(&self) -> String {
        let name = paint(Style::Bold, &output::line(&self.name)).into_owned();
        if self.schema.is_none() {
            return format!("{name}(..)");
        }
        let parameters = self.parameters.iter().map(|(name, schema)| {
            let kind = type_of(schema);
            let kind = paint(Style::Cyan, &output::line(&kind)).into_owned();
            let name = output::line(name);
            match schema.get("default") {
                Some(default) if !self.is_required(&name) => {
                    format!("{name}: {kind} = {}", output::line(&default.to_string()))
                }
                _ if self.is_required(&name) => format!("{name}: {kind}"),
                _ => format!("[{name}: {kind}]"),
            }
        });
        let parameters = parameters.collect::<Vec<_>>().join(", ");
        let returns = self.returns.as_ref().map(|schema| {
            let kind = type_of(schema);
            format!(" -> {}", paint(Style::Cyan, &output::line(&kind)))
        });
        format!("{name}({parameters}){}", returns.unwrap_or_default())
    }

    fn is_required(&self, name: &str) -> bool {
        self.required.iter().any(|required| required == name)
    }

    /// Returns a command that calls the method with sample values of the right types. Returns
    /// `None` if `hypha call` would take a name for something else, such as an option.
    fn example(&self, id: &str) -> Option<String> {
        let target = format!("{id}.{}", self.name);
        let is_target = super::call::split(&target).is_ok_and(|it| it == (id, &*self.name));
        let mut words = vec![target];
        let required = self
            .parameters
            .iter()
            .filter(|(name, _)| self.is_required(name));
        let definitions = self.schema.as_ref();
        let definitions = definitions.and_then(|schema| schema.pointer("/parameters/$defs"));
        for (name, schema) in required {
            if let Some(value) = sample(schema, definitions) {
                if !values::is_name(name) {
                    return None;
                }
                words.push(format!("{name}={value}"));
            }
        }
        let is_plain = |word: &String| !word.starts_with('-') && output::line(word) == *word;
        let is_plain = is_target && words.iter().all(is_plain);
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        is_plain.then(|| format!("hypha call {}", words.join(" ")))
    }
}

fn as_text(id: &str, service: &RemoteService, methods: &[Method], only_one: bool) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let name = format!("{name}:");
            text += &format!("{} {value}\n", paint(Style::Bold, &format!("{name:<12}")));
        }
    };
    let info = service.info().ok();
    field("Id", &output::line(service.id()));
    if let (Some(info), false) = (&info, only_one) {
        let line = |text: &Option<String>| output::line(text.as_deref().unwrap_or_default());
        field("Name", &line(&info.name));
        field("Type", &line(&info.kind));
        field("Visibility", visibility(info.config.visibility));
        field("Description", &line(&info.description));
        if let Some(docs) = info.docs.as_deref().filter(|docs| !docs.trim().is_empty()) {
            text += &format!("\n{}\n", output::clean(docs.trim()));
        }
    }
    for method in methods {
        text += &format!("\n{}\n", method.signature());
        for line in output::clean(method.text.trim()).lines() {
            text += &indented(4, line);
        }
        let names = method
            .parameters
            .keys()
            .map(|name| output::line(name).chars().count());
        let width = names.max().unwrap_or_default();
        for (name, schema) in &method.parameters {
            let words = schema
                .get("description")
                .and_then(Json::as_str)
                .unwrap_or_default();
            if !words.is_empty() {
                let name = format!("{:<width$}", output::line(name));
                text += &indented(
                    4,
                    &format!("{}  {}", paint(Style::Dim, &name), output::line(words)),
                );
            }
        }
        if let Some(example) = method.example(id) {
            text += &indented(4, &example);
        }
    }
    text
}

fn indented(by: usize, line: &str) -> String {
    format!("{:by$}{line}", "").trim_end().to_owned() + "\n"
}

fn as_json(service: &RemoteService, methods: &[Method]) -> Json {
    let member = |key: &str| service.get(key).map(|value| value.to_json());
    let methods = methods.iter().map(|method| {
        json!({
            "name": method.name,
            "description": method.text,
            "schema": method.schema,
        })
    });
    json!({
        "id": service.id(),
        "name": member("name"),
        "type": member("type"),
        "description": member("description"),
        "docs": member("docs"),
        "config": member("config"),
        "methods": methods.collect::<Vec<_>>(),
    })
}

/// Returns a short description of the type of a schema.
fn type_of(schema: &Json) -> String {
    if let Some(kind) = schema.get(KIND).and_then(Json::as_str) {
        let items = schema
            .get("items")
            .map(|items| format!(" of {}", type_of(items)));
        return match kind {
            "ndarray" => "array of numbers".to_owned(),
            kind => format!("{kind}{}", items.unwrap_or_default()),
        };
    }
    if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        return values.join(" | ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(kinds) = schema.get(key).and_then(Json::as_array) {
            let kinds: Vec<String> = kinds.iter().map(type_of).collect();
            return kinds.join(" | ");
        }
    }
    match schema.get("type") {
        Some(Json::String(kind)) if kind == "array" => match schema.get("items") {
            Some(items) => format!("list of {}", type_of(items)),
            None => "list".to_owned(),
        },
        Some(Json::String(kind)) => match schema.get("format").and_then(Json::as_str) {
            Some("binary") => "bytes".to_owned(),
            _ => kind.clone(),
        },
        Some(Json::Array(kinds)) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Json::as_str).collect();
            kinds.join(" | ")
        }
        _ => "any".to_owned(),
    }
}

/// Maximum depth of a sample value. Schemas of services may refer to themselves.
const DEPTH_MAX: usize = 4;
/// Maximum number of members of an object in a sample value.
const MEMBERS_MAX: usize = 8;

/// Returns a sample value in command-line syntax, or `None` if the program supplies the value
/// itself. `definitions` are those to which references in the schema point.
fn sample(schema: &Json, definitions: Option<&Json>) -> Option<String> {
    let mut schema = resolved(schema, definitions);
    for _ in 0..DEPTH_MAX {
        match alternative(schema) {
            Some(first) if own_sample(schema).is_none() => schema = resolved(first, definitions),
            _ => break,
        }
    }
    match schema.get(KIND).and_then(Json::as_str) {
        Some("function") => return None,
        Some("ndarray") => return Some("@array.npy".to_owned()),
        Some("file") => return Some("@file:data.bin".to_owned()),
        _ => {}
    }
    if type_of(schema) == "bytes" {
        return Some("@data.bin".to_owned());
    }
    Some(match sample_json(schema, definitions, DEPTH_MAX) {
        // A word that is no JSON is a string.
        Json::String(text) if text == TEXT => text,
        value => value.to_string(),
    })
}

/// Sample of a string.
const TEXT: &str = "text";

/// Returns a sample value for a schema: an example by its author, or a value of its type.
fn sample_json(schema: &Json, definitions: Option<&Json>, depth: usize) -> Json {
    let schema = resolved(schema, definitions);
    if let Some(value) = own_sample(schema) {
        return value.clone();
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Json::Null;
    };
    if let Some(first) = alternative(schema) {
        return sample_json(first, definitions, depth);
    }
    if let Some(members) = schema.get("properties").and_then(Json::as_object) {
        let required = schema.get("required").and_then(Json::as_array);
        let required = required.into_iter().flatten().filter_map(Json::as_str);
        let members = required.filter_map(|name| Some((name, members.get(name)?)));
        let members = members.take(MEMBERS_MAX);
        return members
            .map(|(name, schema)| (name.to_owned(), sample_json(schema, definitions, depth)))
            .collect::<Map<_, _>>()
            .into();
    }
    match type_of(schema).as_str() {
        "number" => json!(1.5),
        "integer" => json!(1),
        "boolean" => json!(true),
        "string" => json!(TEXT),
        "object" => json!({}),
        "set" => json!([]),
        kind if kind.starts_with("list") || kind.starts_with("set of") => json!([]),
        _ => Json::Null,
    }
}

/// Returns the value that the author of a schema suggests.
fn own_sample(schema: &Json) -> Option<&Json> {
    let first = |key: &str| schema.get(key).and_then(Json::as_array)?.first();
    let own = schema.get("default").or_else(|| schema.get("const"));
    own.or_else(|| first("examples")).or_else(|| first("enum"))
}

/// Returns the first alternative of a schema.
fn alternative(schema: &Json) -> Option<&Json> {
    let first = |key: &str| schema.get(key).and_then(Json::as_array)?.first();
    first("anyOf").or_else(|| first("oneOf"))
}

/// Follows the references of a schema.
fn resolved<'a>(mut schema: &'a Json, definitions: Option<&'a Json>) -> &'a Json {
    for _ in 0..DEPTH_MAX {
        let name = schema.get("$ref").and_then(Json::as_str);
        let name = name.and_then(|name| name.strip_prefix("#/$defs/"));
        match name.and_then(|name| definitions?.get(name)) {
            Some(found) => schema = found,
            None => break,
        }
    }
    schema
}

/// Quotes a word if the shell would otherwise change it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@,+~".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) && !word.starts_with('~') {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_samples() {
        for (schema, name, example) in [
            (json!({"type": "number"}), "number", Some("1.5")),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                "list of string",
                Some("[]"),
            ),
            (
                json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
                "integer | null",
                Some("1"),
            ),
            (json!({"enum": ["a", "b"]}), "\"a\" | \"b\"", Some("\"a\"")),
            (json!({"$ref": "#/$defs/Point"}), "Point", Some("null")),
            (json!({"x-hypha-type": "function"}), "function", None),
            (
                json!({"x-hypha-type": "ndarray"}),
                "array of numbers",
                Some("@array.npy"),
            ),
            (
                json!({"x-hypha-type": "stream", "items": {"type": "integer"}}),
                "stream of integer",
                Some("null"),
            ),
            (
                json!({"type": "string", "format": "binary"}),
                "bytes",
                Some("@data.bin"),
            ),
            (json!(true), "any", Some("null")),
            (
                json!({"anyOf": [{"x-hypha-type": "ndarray"}, {"type": "null"}]}),
                "array of numbers | null",
                Some("@array.npy"),
            ),
        ] {
            assert_eq!(type_of(&schema), name);
            assert_eq!(sample(&schema, None).as_deref(), example, "{name}");
        }
    }

    #[test]
    fn samples_follow_references() {
        let definitions = json!({
            "Point": {
                "type": "object",
                "properties": {
                    "x": {"type": "number"},
                    "y": {"type": "number", "default": 2.0},
                    "name": {"type": "string"},
                    "mode": {"$ref": "#/$defs/Mode"},
                },
                "required": ["x", "y", "mode"],
            },
            "Mode": {"enum": ["fast", "slow"]},
            "Loop": {"$ref": "#/$defs/Loop"},
            "Tree": {
                "type": "object",
                "properties": {"left": {"$ref": "#/$defs/Tree"}},
                "required": ["left"],
            },
        });
        let of = |name: &str| {
            let schema = json!({"$ref": format!("#/$defs/{name}")});
            sample(&schema, Some(&definitions)).unwrap()
        };
        assert_eq!(of("Point"), r#"{"x":1.5,"y":2.0,"mode":"fast"}"#);
        assert_eq!(of("Mode"), "\"fast\"");
        assert_eq!(of("Loop"), "null");
        assert!(of("Tree").contains("null") && of("Tree").len() < 100);
    }

    #[test]
    fn examples_call_what_they_show() {
        let example = |method: &str, parameter: &str| {
            let parameters = [(parameter.to_owned(), json!({"type": "string"}))];
            let method = Method {
                name: method.to_owned(),
                text: String::new(),
                parameters: parameters.into_iter().collect(),
                required: vec![parameter.to_owned()],
                returns: None,
                schema: None,
            };
            method.example("ws/client:desk")
        };
        let plain = example("say", "text").unwrap();
        assert_eq!(plain, "hypha call ws/client:desk.say text=text");
        let odd = example("$(id)'", "text").unwrap();
        assert_eq!(odd, r"hypha call 'ws/client:desk.$(id)'\''' text=text");
        for (method, parameter) in [
            ("say", "--output"),
            ("say", "a=b"),
            ("say", "@file"),
            ("say\u{202e}", "text"),
            ("x/other:victim.delete", "text"),
            ("a\nb", "text"),
        ] {
            assert_eq!(example(method, parameter), None, "{method} {parameter}");
        }
    }

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("a=1.5"), "a=1.5");
        assert_eq!(quoted("a=it's"), r"'a=it'\''s'");
        assert_eq!(quoted("~.list"), "'~.list'");
        assert_eq!(quoted(""), "''");
    }
}
