//! Creates forms for the arguments of methods from the JSON schemas of the arguments.
//!
//! Schemas come from services of other users. References in a schema may form cycles, and members
//! may have any type. Therefore the depth is limited, and everything unexpected becomes a field for
//! JSON. A script reads the values back from the attributes `data-kind` and `data-name` of the
//! fields.

use hypha_rpc::schema::KIND;
use hypha_wire::keys::SCHEMA_ARGUMENTS;
use maud::{Markup, html};
use serde_json::{Map, Value as Json};

/// Maximum depth of nested fields. Deeper values are entered as JSON.
pub(super) const DEPTH_MAX: usize = 6;
/// Maximum number of fields of a form. Without a maximum, definitions that refer to each other
/// could produce exponentially many fields.
const FIELDS_MAX: usize = 200;
/// Maximum length of the name of a field, in bytes.
const NAME_MAX: usize = 200;
/// Maximum length of a description, of a default, or of all values of a choice, in bytes. Many
/// fields may refer to one description.
const TEXT_MAX: usize = 4096;

/// A form while it is rendered.
pub(super) struct Form<'a> {
    /// Definitions to which the references in the schema point.
    definitions: Option<&'a Map<String, Json>>,
    /// Prefix of the ids of the fields.
    prefix: String,
    count: usize,
    /// Whether a field was omitted.
    omits: bool,
}

/// The value that a field holds.
#[derive(Debug, PartialEq)]
enum Kind<'a> {
    Text,
    Integer,
    Number,
    Boolean,
    /// One of these values.
    Choice(&'a [Json]),
    /// An object with these members.
    Object(&'a Json),
    Bytes,
    Array,
    /// A function. The page can pass one that shows its calls, if it is an argument itself and not
    /// a part of an argument.
    Function,
    /// A list, or a value of any other type.
    Json,
}

impl<'a> Form<'a> {
    /// Creates a form for the parameters of a method, given their schema. `prefix` must be unique
    /// on the page.
    pub(super) fn new(parameters: &'a Json, prefix: String) -> Form<'a> {
        Form {
            definitions: parameters.get("$defs").and_then(Json::as_object),
            prefix,
            count: 0,
            omits: false,
        }
    }

    /// Returns the fields for the members of an object.
    pub(super) fn fields(&mut self, object: &'a Json, depth: usize) -> Markup {
        let required = object.get("required").and_then(Json::as_array);
        let is_required = |name: &str| {
            required
                .into_iter()
                .flatten()
                .any(|it| it.as_str() == Some(name))
        };
        let members = object.get("properties").and_then(Json::as_object);
        html! {
            @for (name, schema) in members.into_iter().flatten() {
                @if self.count < FIELDS_MAX && name.len() <= NAME_MAX {
                    (self.field(name, schema, is_required(name), depth))
                } @else {
                    (self.omitted())
                }
            }
        }
    }

    /// Returns a note about the first field that the form omits.
    fn omitted(&mut self) -> Markup {
        let is_first = !std::mem::replace(&mut self.omits, true);
        html! {
            @if is_first {
                p class="bad" { "This form omits some arguments. Use a program to pass them." }
            }
        }
    }

    /// Returns the field for a member.
    fn field(&mut self, name: &str, schema: &'a Json, required: bool, depth: usize) -> Markup {
        self.count += 1;
        let id = format!("{}-{}", self.prefix, self.count);
        // The description and the default may stand beside `$ref` or `anyOf`, instead of in the
        // schema that these keys contain or refer to.
        let outer = schema;
        let (schema, is_nullable) = self.resolved(schema);
        let own = |key: &str| outer.get(key).or_else(|| schema.get(key));
        let too_much = depth >= DEPTH_MAX || self.count >= FIELDS_MAX;
        let kind = match kind(schema) {
            Kind::Object(_) if too_much => Kind::Json,
            kind => kind,
        };
        let description = own("description").and_then(Json::as_str).map(shortened);
        let default = own("default").filter(|default| !default.is_null());
        let default = default.filter(|default| default.to_string().len() <= TEXT_MAX);
        let required = required && !is_nullable;
        let hint = format!("{id}-hint");
        let described = description.map(|_| hint.as_str());
        let label = html! {
            (name)
            span class="quiet" {
                " " (type_of(schema))
                @if !required { ", optional" }
            }
        };
        let hint = html! {
            @if let Some(text) = description { p class="hint" id=(hint) { (text) } }
        };
        if let Kind::Object(object) = kind {
            return html! {
                fieldset class="field" data-kind="object" data-name=(name)
                    data-required[required] aria-describedby=[described] {
                    legend { (label) }
                    (hint)
                    (self.fields(object, depth + 1))
                }
            };
        }
        let arguments = schema.get(SCHEMA_ARGUMENTS).and_then(Json::as_array);
        // The number is limited, because the example programs on the page list one name for each
        // argument.
        let count = arguments.map_or(1, |arguments| arguments.len().min(12));
        let count = (kind == Kind::Function).then_some(count);
        html! {
            div class="field" data-kind=(word(&kind)) data-name=(name) data-required[required]
                data-count=[count] {
                label for=(id) { (label) }
                (hint)
                @if kind == Kind::Function {
                    (function(&id, described, required, depth))
                } @else {
                    (control(&kind, &id, described, default, required))
                }
            }
        }
    }

    /// Follows references, and removes the alternative `null`. Also returns whether the value may
    /// be null.
    fn resolved(&self, schema: &'a Json) -> (&'a Json, bool) {
        let (mut schema, mut is_nullable) = (schema, false);
        for _ in 0..DEPTH_MAX {
            if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
                let name = reference.strip_prefix("#/$defs/");
                let found = name.and_then(|name| self.definitions?.get(name));
                match found {
                    Some(found) => schema = found,
                    None => break,
                }
                continue;
            }
            let alternatives = schema.get("anyOf").or_else(|| schema.get("oneOf"));
            let Some(alternatives) = alternatives.and_then(Json::as_array) else {
                break;
            };
            let is_null = |it: &&Json| it.get("type").and_then(Json::as_str) == Some("null");
            let mut others = alternatives.iter().filter(|it| !is_null(it));
            match (others.next(), others.next()) {
                (Some(other), None) => {
                    is_nullable |= alternatives.len() > 1;
                    schema = other;
                }
                _ => break,
            }
        }
        let types = schema.get("type").and_then(Json::as_array);
        is_nullable |= types.is_some_and(|types| types.iter().any(|it| it == "null"));
        (schema, is_nullable)
    }
}

/// Returns the beginning of a text.
pub(super) fn shortened(text: &str) -> &str {
    let mut ends = (0..=text.len().min(TEXT_MAX)).rev();
    let end = ends.find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// Returns the value of `type` in a schema, without `null`.
fn name_of(schema: &Json) -> Option<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => Some(name),
        Some(Json::Array(names)) => {
            let mut others = names
                .iter()
                .filter_map(Json::as_str)
                .filter(|it| *it != "null");
            match (others.next(), others.next()) {
                (Some(name), None) => Some(name),
                _ => None,
            }
        }
        _ => None,
    }
}

fn kind(schema: &Json) -> Kind<'_> {
    let special = schema.get(KIND).and_then(Json::as_str).unwrap_or_default();
    let format = schema.get("format").and_then(Json::as_str);
    if let Some(values) = schema.get("enum").and_then(Json::as_array) {
        let size: usize = values.iter().map(|value| value.to_string().len()).sum();
        return if size <= TEXT_MAX {
            Kind::Choice(values)
        } else {
            Kind::Json
        };
    }
    match (special, name_of(schema)) {
        ("ndarray", _) => Kind::Array,
        ("callback" | "function" | "method", _) => Kind::Function,
        (_, Some("function")) => Kind::Function,
        (_, Some("string")) if format == Some("binary") => Kind::Bytes,
        (_, Some("string")) => Kind::Text,
        (_, Some("integer")) => Kind::Integer,
        (_, Some("number")) => Kind::Number,
        (_, Some("boolean")) => Kind::Boolean,
        (_, Some("object")) if schema.get("properties").is_some() => Kind::Object(schema),
        _ => Kind::Json,
    }
}

/// Returns the attribute `data-kind`, by which the script reads a field.
fn word(kind: &Kind<'_>) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::Boolean | Kind::Choice(_) => "choice",
        Kind::Object(_) => "object",
        Kind::Bytes => "bytes",
        Kind::Array => "array",
        Kind::Function => "function",
        Kind::Json => "json",
    }
}

/// Returns whether a schema describes a stream.
pub(super) fn is_stream(schema: &Json) -> bool {
    schema.get(KIND).and_then(Json::as_str) == Some("stream")
}

/// Returns the type of a result, in the words of `hypha describe`.
pub(super) fn result_type(schema: &Json, depth: usize) -> String {
    let Some(depth) = depth.checked_sub(1) else {
        return "any".into();
    };
    let items = schema.get("items").map(|items| result_type(items, depth));
    let of = items.map(|items| format!(" of {items}"));
    let of = of.unwrap_or_default();
    if let Some(kind) = schema.get(KIND).and_then(Json::as_str) {
        return match kind {
            "ndarray" => "array of numbers".into(),
            kind => format!("{kind}{of}"),
        };
    }
    if let Some(name) = schema.get("$ref").and_then(Json::as_str) {
        return name.rsplit('/').next().unwrap_or(name).to_owned();
    }
    let list = |key: &str| schema.get(key).and_then(Json::as_array);
    if let Some(values) = list("enum") {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        return values.join(" | ");
    }
    if let Some(kinds) = list("anyOf").or_else(|| list("oneOf")) {
        let kinds: Vec<String> = kinds.iter().map(|kind| result_type(kind, depth)).collect();
        return kinds.join(" | ");
    }
    match schema.get("type") {
        Some(Json::String(kind)) if kind == "array" => format!("list{of}"),
        Some(Json::String(kind)) => match schema.get("format").and_then(Json::as_str) {
            Some("binary") => "bytes".into(),
            _ => kind.clone(),
        },
        Some(Json::Array(kinds)) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Json::as_str).collect();
            kinds.join(" | ")
        }
        _ => "any".into(),
    }
}

/// Returns the type of a value as a label that the page shows.
fn type_of(schema: &Json) -> String {
    if is_stream(schema) {
        return "stream".into();
    }
    match kind(schema) {
        Kind::Text => "text".into(),
        Kind::Integer => "integer".into(),
        Kind::Number => "number".into(),
        Kind::Boolean => "true or false".into(),
        Kind::Choice(_) => "choice".into(),
        Kind::Object(_) => "object".into(),
        Kind::Bytes => "bytes".into(),
        Kind::Array => "array".into(),
        Kind::Function => "function".into(),
        Kind::Json => match name_of(schema) {
            Some("array") => {
                let items = schema.get("items").filter(|items| items.is_object());
                // The label shows only one level of nesting.
                let of = items.and_then(name_of).map(|name| format!(" of {name}"));
                format!("list{}", of.unwrap_or_default())
            }
            Some(name) => name.to_owned(),
            None => "any".into(),
        },
    }
}

/// Returns the HTML control of an argument that is a function. An optional function is passed only
/// if the user selects it, because a method may do more work for a caller that listens.
fn function(id: &str, described: Option<&str>, required: bool, depth: usize) -> Markup {
    html! {
        @if depth == 0 {
            input id=(id) type="checkbox" checked[required] disabled[required]
                aria-describedby=[described];
            span class="quiet" { " Show the calls of this function" }
        } @else {
            p id=(id) class="quiet" { "The console can pass no function within an object." }
        }
    }
}

/// Returns the HTML control of a field.
fn control(
    kind: &Kind<'_>,
    id: &str,
    described: Option<&str>,
    default: Option<&Json>,
    required: bool,
) -> Markup {
    let text = match default {
        Some(Json::String(text)) if *kind == Kind::Text => text.clone(),
        Some(default) => default.to_string(),
        None => String::new(),
    };
    let truth = [Json::Bool(true), Json::Bool(false)];
    let choices = match kind {
        Kind::Boolean => Some(&truth[..]),
        Kind::Choice(values) => Some(*values),
        _ => None,
    };
    let files = matches!(kind, Kind::Bytes | Kind::Array | Kind::Json);
    html! {
        @if let Some(choices) = choices {
            select id=(id) aria-describedby=[described] {
                @if !required || choices.is_empty() { option value="" { "—" } }
                @for choice in choices {
                    @let value = choice.to_string();
                    option value=(value) selected[default == Some(choice)] {
                        @if let Some(text) = choice.as_str() { (text) } @else { (value) }
                    }
                }
            }
        } @else if matches!(kind, Kind::Integer | Kind::Number) {
            input id=(id) type="text" inputmode="decimal" autocomplete="off" value=(text)
                aria-describedby=[described];
        } @else if *kind == Kind::Text {
            textarea id=(id) rows="1" spellcheck="false" aria-describedby=[described] { (text) }
        } @else {
            @let placeholder = match kind {
                Kind::Bytes => "text, or choose a file",
                Kind::Array => "[[0, 1], [2, 3]], or choose a .npy file",
                _ => "JSON, or choose a file",
            };
            textarea id=(id) rows="2" spellcheck="false" placeholder=(placeholder)
                aria-describedby=[described] { (text) }
        }
        @if files {
            label class="file" for=(format!("{id}-file")) { "File" }
            input id=(format!("{id}-file")) type="file";
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(parameters: &Json) -> String {
        Form::new(parameters, "f".into())
            .fields(parameters, 0)
            .into_string()
    }

    #[test]
    fn kinds_follow_the_schema() {
        for (schema, expected) in [
            (json!({"type": "string"}), "text"),
            (json!({"type": ["integer", "null"]}), "integer"),
            (json!({"type": "number"}), "number"),
            (json!({"type": "boolean"}), "choice"),
            (json!({"enum": ["a", 1]}), "choice"),
            (json!({"type": "object", "properties": {}}), "object"),
            (json!({"type": "object"}), "json"),
            (json!({"type": "array"}), "json"),
            (json!({"type": "string", "format": "binary"}), "bytes"),
            (
                json!({"type": "object", "x-hypha-type": "ndarray"}),
                "array",
            ),
            (json!({"type": 3}), "json"),
            (json!(true), "json"),
            (json!({"enum": "no list"}), "json"),
        ] {
            assert_eq!(word(&kind(&schema)), expected, "{schema}");
        }
    }

    #[test]
    fn results_have_the_names_of_their_types() {
        for (schema, expected) in [
            (json!({"x-hypha-type": "file"}), "file"),
            (json!({"x-hypha-type": "ndarray"}), "array of numbers"),
            (
                json!({"x-hypha-type": "stream", "items": {"type": "integer"}}),
                "stream of integer",
            ),
            (json!({"$ref": "#/$defs/Position"}), "Position"),
            (
                json!({"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}),
                "A | null",
            ),
            (
                json!({"type": "array", "items": {"type": "string", "format": "binary"}}),
                "list of bytes",
            ),
            (json!({"type": ["integer", "null"]}), "integer | null"),
            (json!(7), "any"),
        ] {
            assert_eq!(result_type(&schema, DEPTH_MAX), expected, "{schema}");
        }
        let mut deep = json!({"type": "string"});
        for _ in 0..50 {
            deep = json!({"type": "array", "items": deep});
        }
        assert!(result_type(&deep, DEPTH_MAX).ends_with("of any"));
    }

    #[test]
    fn required_functions_are_passed() {
        for (required, expected) in [(json!(["f"]), true), (json!([]), false)] {
            let parameters = json!({
                "properties": {"f": {
                    "x-hypha-type": "function",
                    "x-hypha-arguments": [{"type": "integer"}, {"type": "integer"}],
                }},
                "required": required,
            });
            let mut form = Form::new(&parameters, "f".into());
            let fields = form.fields(&parameters, 0).into_string();
            assert!(fields.contains(r#"data-count="2""#), "{fields}");
            assert_eq!(fields.contains("checked disabled"), expected, "{fields}");
        }
        let nested = json!({"properties": {"o": {
            "type": "object",
            "properties": {"f": {"x-hypha-type": "function"}},
        }}});
        let fields = Form::new(&nested, "f".into()).fields(&nested, 0);
        let fields = fields.into_string();
        assert!(fields.contains("can pass no function"), "{fields}");
        assert!(!fields.contains("checkbox"), "{fields}");
    }

    #[test]
    fn fields_are_nested_and_have_defaults() {
        let form = render(&json!({
            "type": "object",
            "required": ["at", "mode"],
            "properties": {
                "at": {"$ref": "#/$defs/Point"},
                "mode": {"enum": ["fast", "slow"], "default": "slow"},
                "speed": {"anyOf": [{"type": "number"}, {"type": "null"}], "description": "In mm/s"},
                "steps": {"type": "integer", "default": 3},
            },
            "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "number"}}}},
        }));
        for part in [
            r#"<fieldset class="field" data-kind="object" data-name="at" data-required"#,
            r#"data-kind="number" data-name="x""#,
            r#"<option value="&quot;slow&quot;" selected>slow</option>"#,
            r#"aria-describedby="f-4-hint""#,
            r#"value="3""#,
        ] {
            assert!(form.contains(part), "{part}: {form}");
        }
    }

    #[test]
    fn hostile_schemas_end_and_are_escaped() {
        let form = render(&json!({
            "properties": {"<script>": {"$ref": "#/$defs/A"}},
            "$defs": {"A": {
                "type": "object",
                "description": "<img src=x onerror=alert(1)>",
                "properties": {
                    "a": {"$ref": "#/$defs/A"},
                    "b": {"$ref": "#/$defs/A"},
                    "c": {"$ref": "#/$defs/A"},
                    "d": {"$ref": "#/$defs/A"},
                },
            }},
        }));
        assert!(form.len() < 1_000_000, "{}", form.len());
        assert!(!form.contains("<script") && !form.contains("<img"));
        assert!(form.contains("&lt;script&gt;"));
        let circular = json!({
            "properties": {"a": {"$ref": "#/$defs/A"}, "b": 7, "c": {"anyOf": []}},
            "$defs": {"A": {"$ref": "#/$defs/A"}},
        });
        assert!(render(&circular).contains(r#"data-name="c""#));
    }
}
