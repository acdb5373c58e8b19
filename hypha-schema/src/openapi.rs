//! Writes OpenAPI 3.1: the functions under the paths of a server's HTTP interface.
//!
//! The arguments are sent as one object, in JSON or msgpack. In JSON, an array is nested lists of
//! numbers, and bytes or a file are a list of numbers. The result has the format of the request; a
//! stream is sent as server-sent events. With the header `Accept`, a file, an array or bytes have
//! other forms. JSON results cannot contain arrays, bytes or files. Sets and ordered maps are
//! objects with tags, which callers may leave out.

use serde_json::{Map, Value as Json, json};

use crate::functions::omitted_of;
use crate::json_form::{converted, live_kind, unfit_kind};
use crate::keywords::map_inner;
use crate::model::{Header, Model};
use crate::names::{Names, pascal};
use crate::possible::Possible;
use crate::room::Room;
use crate::standard::{Sendable, definition_names, object, sendable, standard};
use crate::table::{map_schema, table_index};
use crate::types::{Body, Elements, Method, Type, Types, inner};
use hypha_wire::{DType, keys};

/// Returns the methods that have no path, each with the reason.
pub(crate) fn omitted(model: &Model) -> Vec<(String, String)> {
    omitted_of(
        model,
        |schema| live_kind(schema).is_some(),
        "an HTTP request",
    )
}

/// Error responses by status.
const FAILURES: [(&str, &str); 6] = [
    ("400", "The arguments are not valid."),
    ("401", "The token is not valid."),
    ("403", "The caller may not use the service."),
    ("404", "There is no such service or function."),
    ("500", "The function failed."),
    ("504", "The service did not respond in time."),
];

/// Returns the document, or `None` if its paths and schemas exceed `room`.
pub(crate) fn write(model: &Model, mut room: Room) -> Option<Json> {
    let names = definition_names(model);
    let mut others = Names::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let possible = [
        model.possible(|schema| unfit_kind(schema).is_some()),
        model.possible(|schema| live_kind(schema).is_some()),
    ];
    let in_msgpack = names.iter().zip(differing(model, &possible));
    let in_msgpack: Vec<String> = in_msgpack
        .map(|(name, differs)| match differs {
            true => others.fresh(&format!("{name}Msgpack")),
            false => name.clone(),
        })
        .collect();
    let forms = Forms {
        names: [names, in_msgpack],
        binary: binary(&model.types),
        possible,
    };
    let mut schemas = Map::new();
    for (index, definition) in model.table.definitions.iter().enumerate() {
        for format in [Format::Json, Format::Msgpack] {
            let name = forms.name(format, index);
            if schemas.contains_key(name) {
                continue;
            }
            // A definition without such values is only part of results.
            let schema = forms.possible[format as usize].definition(index);
            let schema = forms.schema(format, schema.unwrap_or(&definition.schema), false);
            if !room.take(name.len()) || !room.take_json(&schema) {
                return None;
            }
            schemas.insert(name.to_owned(), schema);
        }
    }
    // A definition of the service may already have this name.
    let failure = others.fresh("Failure");
    schemas.insert(
        failure.clone(),
        json!({
            "type": "object",
            "properties": {"success": {"const": false}, "detail": {"type": "string"}},
            "required": ["success", "detail"],
        }),
    );
    let mut paths = Map::new();
    let mut operations = Names::default();
    for method in model.methods() {
        let [in_json, in_msgpack] = &forms.possible;
        let Ok(parameters) = sendable(method, in_msgpack) else {
            continue;
        };
        let mut operation = Map::new();
        let id: String = method.path.split('.').map(pascal).collect();
        operation.insert("operationId".to_owned(), operations.fresh(&id).into());
        if !method.description.is_empty() {
            operation.insert("description".to_owned(), method.description.as_str().into());
        }
        let is_required = parameters.iter().flatten().any(|it| !it.parameter.optional);
        let body = |format, parameters: Option<Vec<Sendable<'_>>>| {
            let schema = object(parameters.as_deref(), &|schema| {
                forms.schema(format, schema, false)
            });
            json!({ "schema": schema })
        };
        let mut content = Map::new();
        if let Ok(parameters) = sendable(method, in_json) {
            content.insert(JSON.to_owned(), body(Format::Json, parameters));
        }
        content.insert(MSGPACK.to_owned(), body(Format::Msgpack, parameters));
        operation.insert(
            "requestBody".to_owned(),
            json!({ "required": is_required, "content": content }),
        );
        let responses = responses(method, &forms, &failure);
        operation.insert("responses".to_owned(), responses);
        let (path, operation) = (path(&method.path), json!({ "post": operation }));
        if !room.take(path.len()) || !room.take_json(&operation) {
            return None;
        }
        paths.insert(path, operation);
    }
    Some(json!({
        "openapi": "3.1.0",
        "info": {
            "title": model.header.short_id,
            "description": model.header.description,
            // OpenAPI requires a version, but services have none.
            "version": "0",
        },
        "servers": [server(&model.header)],
        // The empty alternative allows anonymous calls.
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }))
}

/// Returns the server object: the URL of the service, or a template for a service that is not
/// registered.
fn server(header: &Header) -> Json {
    if let Some(url) = &header.url {
        return json!({ "url": url });
    }
    json!({
        "url": "{server}/{workspace}/services/{service}",
        "variables": {
            "server": {"default": "http://localhost:9527"},
            "workspace": {"default": "public"},
            "service": {"default": header.short_id},
        },
    })
}

const JSON: &str = "application/json";
const MSGPACK: &str = "application/msgpack";

/// Format of a request or a response.
#[derive(Clone, Copy)]
enum Format {
    Json,
    Msgpack,
}

/// Schemas in both formats.
struct Forms {
    /// Names of the definitions in each format. A definition without arrays, bytes and files has
    /// only one name.
    names: [Vec<String>; 2],
    /// Whether each value of a definition contains an array, bytes or a file.
    binary: Vec<bool>,
    /// The definitions, reduced to the values that each format can hold.
    possible: [Possible<'static>; 2],
}

impl Forms {
    fn name(&self, format: Format, index: usize) -> &str {
        &self.names[format as usize][index]
    }

    /// Returns the schema in a format. A definition may be part of a result, but is none.
    fn schema(&self, format: Format, schema: &Json, is_result: bool) -> Json {
        let refer = |index| format!("#/components/schemas/{}", self.name(format, index));
        let schema = tagged(schema, is_result);
        match format {
            Format::Json => standard(&converted(&schema), &refer),
            Format::Msgpack => standard(&schema, &refer),
        }
    }
}

/// Returns a copy of a schema in which sets and ordered maps have the tags with which they are
/// sent. Values that are no results may also have the plain form.
fn tagged(schema: &Json, is_result: bool) -> Json {
    let Json::Object(map) = schema else {
        return schema.clone();
    };
    let inner = map.iter().map(|(key, value)| {
        let inner = map_inner(key, value, &mut |schema| tagged(schema, is_result));
        (key.clone(), inner.unwrap_or_else(|| value.clone()))
    });
    let mut plain: Map<String, Json> = inner.collect();
    let (tag, content) = match plain.get(keys::SCHEMA_KIND).and_then(Json::as_str) {
        Some("set") => {
            let mut list = plain.clone();
            list.shift_remove("description");
            list.shift_remove("default");
            ("set", list.into())
        }
        Some("ordered_map") => {
            let part = |key: &str| plain.get(key).filter(|it| it.is_object());
            let part = |key: &str| part(key).cloned().unwrap_or_else(|| json!({}));
            let parts = [part(keys::SCHEMA_KEYS), part("additionalProperties")];
            let pair = json!({"type": "array", "prefixItems": parts, "minItems": 2, "maxItems": 2});
            ("orderedmap", json!({"type": "array", "items": pair}))
        }
        _ => return plain.into(),
    };
    let with_tag = json!({
        "type": "object",
        "properties": {(keys::RTYPE): {"const": tag}, (keys::RVALUE): content},
        "required": [keys::RTYPE, keys::RVALUE],
    });
    let outer = ["description", "default"].into_iter();
    let outer: Map<String, Json> = outer
        .filter_map(|key| plain.shift_remove_entry(key))
        .collect();
    let mut schema = match (is_result, with_tag) {
        (true, Json::Object(with_tag)) => with_tag,
        (_, with_tag) => Map::from_iter([("anyOf".to_owned(), json!([plain, with_tag]))]),
    };
    schema.extend(outer);
    schema.into()
}

/// Returns for each definition whether its schema differs between the formats.
fn differing(model: &Model, possible: &[Possible<'_>; 2]) -> Vec<bool> {
    let definitions = &model.table.definitions;
    let mut users = vec![Vec::new(); definitions.len()];
    for (index, definition) in definitions.iter().enumerate() {
        map_schema(&definition.schema, &mut |schema| {
            let target = table_index(schema).and_then(|target| users.get_mut(target));
            target.into_iter().for_each(|users| users.push(index));
        });
    }
    let differs = definitions.iter().enumerate().map(|(index, definition)| {
        let [json, msgpack] = possible.each_ref().map(|possible| {
            let schema = possible.definition(index);
            schema.unwrap_or(&definition.schema)
        });
        converted(json) != *msgpack
    });
    with_users(differs.collect(), &users)
}

/// Returns for each definition whether each of its values contains an array, bytes or a file, so
/// that no result in JSON contains it.
fn binary(types: &Types) -> Vec<bool> {
    let definitions = &types.definitions;
    let mut users = vec![Vec::new(); definitions.len()];
    let mut found = vec![false; definitions.len()];
    for (index, definition) in definitions.iter().enumerate() {
        let parts: Vec<&Type> = match &definition.body {
            Body::Struct(body) => {
                let fields = body.fields.iter().filter(|field| !field.optional);
                fields.map(|field| &field.ty).collect()
            }
            Body::Alias(ty) => vec![ty],
            Body::Words(_) | Body::Choice(_) | Body::Interface(_) => Vec::new(),
        };
        for part in parts.into_iter().flat_map(required) {
            match part {
                Type::Named(used) => users[*used].push(index),
                part => found[index] |= is_binary(part, &[]),
            }
        }
    }
    with_users(found, &users)
}

/// Returns whether each value of the type contains an array, bytes or a file. `definitions` is the
/// result of [`binary`].
fn is_binary(ty: &Type, definitions: &[bool]) -> bool {
    required(ty).into_iter().any(|part| match part {
        Type::Named(index) => definitions.get(*index) == Some(&true),
        part => matches!(part, Type::NdArray(_) | Type::Bytes | Type::File),
    })
}

/// Returns the types that each value of a type contains, as far as the type has no name.
fn required(ty: &Type) -> Vec<&Type> {
    match ty {
        Type::Tuple(_) | Type::Fixed(..) => inner(ty).iter().flat_map(required).collect(),
        ty => vec![ty],
    }
}

/// Adds the definitions that refer to a found definition, directly or through others. `users`
/// contains the definitions that refer to each definition.
fn with_users(mut found: Vec<bool>, users: &[Vec<usize>]) -> Vec<bool> {
    let indices = 0..found.len();
    let mut waiting: Vec<usize> = indices.filter(|index| found[*index]).collect();
    while let Some(index) = waiting.pop() {
        for user in &users[index] {
            if !std::mem::replace(&mut found[*user], true) {
                waiting.push(*user);
            }
        }
    }
    found
}

/// Returns the path of a function. Braces are escaped, because they would mark a variable of the
/// path.
fn path(name: &str) -> String {
    let mut path = String::from("/");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

/// Returns the media types of a result beside JSON and msgpack. Callers select them with the header
/// `Accept`. A file has its own type, which is not known in advance.
fn forms(result: &Type) -> &'static [&'static str] {
    match result {
        Type::Optional(inner) => forms(inner),
        Type::File | Type::Bytes => &["application/octet-stream"],
        Type::NdArray(elements) if may_be_image(elements) => &["application/x-npy", "image/png"],
        Type::NdArray(_) => &["application/x-npy"],
        _ => &[],
    }
}

/// Returns whether the server may send such an array as an image.
fn may_be_image(elements: &Elements) -> bool {
    let has_pixels = matches!(elements.dtype, None | Some(DType::UInt8 | DType::UInt16));
    has_pixels && matches!(elements.dimensions, None | Some(2 | 3))
}

fn responses(method: &Method, both: &Forms, failure: &str) -> Json {
    let content = match method.returns {
        Type::Stream(_) => json!({
            "text/event-stream": {
                "schema": {
                    "type": "string",
                    "description": "One `data:` block of JSON for each item, and `data: [DONE]` at the end.",
                },
            },
        }),
        _ => {
            let of =
                |format| json!({ "schema": both.schema(format, &method.returns_schema, true) });
            let mut content = Map::new();
            match &method.returns {
                ty if is_binary(ty, &both.binary) => {}
                Type::Optional(ty) if is_binary(ty, &both.binary) => {
                    content.insert(JSON.to_owned(), json!({ "schema": {"type": "null"} }));
                }
                _ => {
                    content.insert(JSON.to_owned(), of(Format::Json));
                }
            }
            content.insert(MSGPACK.to_owned(), of(Format::Msgpack));
            for form in forms(&method.returns) {
                let binary = json!({ "schema": {"type": "string", "format": "binary"} });
                content.insert((*form).to_owned(), binary);
            }
            content.into()
        }
    };
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({ "description": "The result of the function.", "content": content }),
    );
    let failed = json!({ "schema": {"$ref": format!("#/components/schemas/{failure}")} });
    for (status, text) in FAILURES {
        let response = json!({ "description": text, "content": {JSON: failed} });
        responses.insert(status.to_owned(), response);
    }
    responses.into()
}
