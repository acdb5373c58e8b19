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

    /// Returns a command that calls the method with sample values of the right types.
    fn example(&self, id: &str) -> String {
        let target = quoted(&output::line(&format!("{id}.{}", self.name)));
        let mut words = vec!["hypha".to_owned(), "call".to_owned(), target];
        let required = self
            .parameters
            .iter()
            .filter(|(name, _)| self.is_required(name));
        for (name, schema) in required {
            if let Some(value) = sample(schema) {
                words.push(quoted(&output::line(&format!("{name}={value}"))));
            }
        }
        words.join(" ")
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
        text += &indented(4, &method.example(id));
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

/// Returns a sample value in command-line syntax, or `None` if the program supplies the value
/// itself.
fn sample(schema: &Json) -> Option<String> {
    for key in ["default", "const"] {
        if let Some(value) = schema.get(key) {
            return Some(value.to_string());
        }
    }
    let first = |key: &str| schema.get(key).and_then(Json::as_array)?.first();
    if let Some(example) = first("examples").or_else(|| first("enum")) {
        return Some(example.to_string());
    }
    match schema.get(KIND).and_then(Json::as_str) {
        Some("function") => return None,
        Some("ndarray") => return Some("@array.npy".to_owned()),
        Some("file") => return Some("@file:data.bin".to_owned()),
        Some("set") => return Some("[]".to_owned()),
        _ => {}
    }
    if let Some(kind) = first("anyOf").or_else(|| first("oneOf")) {
        return sample(kind);
    }
    Some(match type_of(schema).as_str() {
        "number" => "1.5".to_owned(),
        "integer" => "1".to_owned(),
        "boolean" => "true".to_owned(),
        "string" => "text".to_owned(),
        "bytes" => "@data.bin".to_owned(),
        kind if kind.starts_with("list") => "[]".to_owned(),
        "object" => "{}".to_owned(),
        _ => "null".to_owned(),
    })
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
        ] {
            assert_eq!(type_of(&schema), name);
            assert_eq!(sample(&schema).as_deref(), example, "{name}");
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
