//! Writes OpenAPI 3.1: the functions under the paths of a server's HTTP interface.
//!
//! The arguments are sent as one JSON object. The result has the format of the request, JSON or
//! msgpack; a stream is sent as server-sent events. With the header `Accept`, a file, an array or
//! bytes have other forms.

use serde_json::{Map, Value as Json, json};

use crate::functions::omitted_of;
use crate::model::{Header, Model};
use crate::names::{Names, pascal};
use crate::room::Room;
use crate::standard::{definition_names, object, sendable, standard};
use crate::types::{Method, Type};

/// Returns the methods that have no path, each with the reason.
pub(crate) fn omitted(model: &Model) -> Vec<(String, String)> {
    omitted_of(model, Type::is_live, "an HTTP request")
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
    let refer = |index: usize| format!("#/components/schemas/{}", names[index]);
    let mut schemas = Map::new();
    for (definition, name) in model.table.definitions.iter().zip(&names) {
        let schema = standard(&definition.schema, &refer);
        if !room.take(name.len()) || !room.take_json(&schema) {
            return None;
        }
        schemas.insert(name.clone(), schema);
    }
    let mut others = Names::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
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
    let unfit = model.types.finder(Type::is_live);
    let mut operations = Names::default();
    for method in model.methods() {
        let Ok(parameters) = sendable(method, &unfit) else {
            continue;
        };
        let mut operation = Map::new();
        let id: String = method.path.split('.').map(pascal).collect();
        operation.insert("operationId".to_owned(), operations.fresh(&id).into());
        if !method.description.is_empty() {
            operation.insert("description".to_owned(), method.description.as_str().into());
        }
        let is_required = parameters
            .iter()
            .flatten()
            .any(|parameter| !parameter.optional);
        let body = object(parameters, &|schema| standard(schema, &refer));
        operation.insert(
            "requestBody".to_owned(),
            json!({
                "required": is_required,
                "content": in_both(&body.into()),
            }),
        );
        operation.insert("responses".to_owned(), responses(method, &refer, &failure));
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

/// Returns the content for both formats. Unlike JSON, msgpack can also represent bytes and arrays.
fn in_both(schema: &Json) -> Json {
    json!({ "application/json": {"schema": schema}, "application/msgpack": {"schema": schema} })
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
        Type::NdArray(_) => &["application/x-npy", "image/png"],
        _ => &[],
    }
}

fn responses(method: &Method, refer: &dyn Fn(usize) -> String, failure: &str) -> Json {
    let result = standard(&method.returns_schema, refer);
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
            let mut content = in_both(&result);
            for form in forms(&method.returns) {
                content[*form] = json!({ "schema": {"type": "string", "format": "binary"} });
            }
            content
        }
    };
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({ "description": "The result of the function.", "content": content }),
    );
    let failed = json!({ "schema": {"$ref": format!("#/components/schemas/{failure}")} });
    for (status, text) in FAILURES {
        let response = json!({ "description": text, "content": {"application/json": failed} });
        responses.insert(status.to_owned(), response);
    }
    responses.into()
}
