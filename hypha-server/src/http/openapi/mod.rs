//! Describes the HTTP interface as OpenAPI, and serves a page that shows the descriptions.
//!
//! The description of the server is a file. The descriptions of services are created on request
//! from their records, and are visible to the same requesters as the records.

use std::collections::BTreeSet;

use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hypha_rpc::{Map, Value};
use hypha_schema::{Description, TooLarge};
use serde_json::{Value as Document, json};

use super::credentials::Links;
use super::info::{self, Selection};
use super::problem::{Problem, failed, problem};
use super::request_client::Visitor;
use super::{Front, Remote, body, request_client};
use crate::state::HYPHA_VERSION;

/// The description of the server itself, without version and address.
const SERVER: &str = include_str!("server.json");
const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
/// Content security policy of the page. The page may only run its own script and send requests to
/// its own server, because it shows text from services of other users.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Estimated memory of a description, as a multiple of the size of the encoded records. Used for
/// the charge.
const EXPANSION: usize = 16;
/// Memory charged for a description in addition to that of the records, in bytes. Records of a few
/// bytes per method have much larger descriptions.
const STANDING: usize = 4 << 20;
/// Estimated memory of a description, as a multiple of its size as JSON text.
const TREE: usize = 2;
/// Prefix of a reference to a schema.
const REFERENCE: &str = "#/components/schemas/";

/// Returns the description of the server itself.
pub(super) async fn server(Shared(front): Shared<Front>) -> Result<Response, Problem> {
    let mut document: Document = serde_json::from_str(SERVER).map_err(failed)?;
    document["info"]["version"] = HYPHA_VERSION.into();
    document["servers"] = json!([{"url": front.state.info.public_base_url}]);
    Ok(Json(document).into_response())
}

/// Serves the page.
pub(super) async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, PAGE).into_response()
}

/// Serves the script of the page.
pub(super) async fn script() -> Response {
    let kind = "application/javascript";
    ([(header::CONTENT_TYPE, kind)], SCRIPT).into_response()
}

/// Returns the description of a service, limited to the parts that the requester may see.
pub(super) async fn service(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path((workspace, id)): Path<(String, String)>,
    Query(selection): Query<Selection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let visitor = request_client::identify(&front, remote, &headers, Links::OpenPages).await?;
    let record = info::record(&front, &visitor, &workspace, &id, selection).await?;
    let url = format!(
        "{}/{workspace}/services/{id}",
        front.state.info.public_base_url
    );
    let Value::Map(record) = record else {
        return Err(failed("the record of the service is no map"));
    };
    described(&front, visitor, vec![record], move |records, max| {
        let Some(record) = records.into_iter().next() else {
            return Ok(Document::Null);
        };
        let written = document(record, max);
        let mut document = written.map_err(|_| too_large(&format!("the service {id}"), max))?;
        document["servers"] = json!([{"url": url}]);
        Ok(document)
    })
    .await
}

/// Returns one description of all services of a workspace that the requester may see.
pub(super) async fn workspace(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let visitor = request_client::identify(&front, remote, &headers, Links::OpenPages).await?;
    let records = info::records(&front, &visitor, &workspace).await?;
    let url = format!("{}/{workspace}", front.state.info.public_base_url);
    described(&front, visitor, records, move |records, max| {
        merged(&workspace, &url, records, max)
    })
    .await
}

/// Responds with a description that `write` creates from records, within a maximum size in bytes.
/// Charges the memory to the requester until the description is encoded.
///
/// # Errors
///
/// Fails if the description exceeds the maximum, or the requester's memory budget is exhausted.
async fn described(
    front: &Front,
    visitor: Visitor,
    records: Vec<Map>,
    write: impl FnOnce(Vec<Map>, usize) -> Result<Document, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let size = hypha_wire::to_vec(&records).map_err(failed)?.len();
    let room = size.saturating_mul(EXPANSION).saturating_add(STANDING);
    let charge = visitor.account.charge(room).await;
    let charge = charge.map_err(|error| body::over_budget(&front.state, &error))?;
    let write = move || write(records, room / TREE);
    let document = front.visits.run(size * EXPANSION, write).await??;
    let bytes = serde_json::to_vec(&document).map_err(failed)?;
    // The JSON is much smaller than the document, and is not charged.
    drop((document, charge));
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// Returns the description of one service, which has at most `max` bytes.
fn document(record: Map, max: usize) -> Result<Document, TooLarge> {
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let schema = record.get("service_schema").map(Value::to_json);
    let id = text("id").unwrap_or_default();
    let described = Description::from_schema(id, schema.unwrap_or_default());
    let mut document = described.openapi_within(max)?;
    if let Some(name) = text("name") {
        document["info"]["title"] = name.into();
    }
    document["info"]["description"] = text("description").unwrap_or_default().into();
    Ok(document)
}

/// Returns the response for a description that exceeds `max` bytes.
fn too_large(described: &str, max: usize) -> Problem {
    problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        format!(
            "The OpenAPI description of {described} has more than {max} bytes. The record of a \
             service, at /{{workspace}}/services/{{id}}, has the schemas of its methods"
        ),
    )
}

/// Returns one description of several services, each below the path of its id. The description has
/// at most `max` bytes.
///
/// # Errors
///
/// Fails if the description is larger.
fn merged(workspace: &str, url: &str, records: Vec<Map>, max: usize) -> Result<Document, Problem> {
    let mut left = max;
    let (mut paths, mut schemas) = (serde_json::Map::new(), serde_json::Map::new());
    let (mut ids, mut security) = (BTreeSet::new(), json!({}));
    for record in records {
        let id = record.get("id").and_then(Value::as_str).unwrap_or_default();
        let id = id.to_owned();
        // Built-in services are not offered over HTTP. A second service with the same id differs
        // only in its app, and would have the same paths.
        if id.ends_with(":built-in") || !ids.insert(id.clone()) {
            continue;
        }
        let too_large = || too_large(&format!("the workspace {workspace}, with {id},"), max);
        let mut document = document(record, left).map_err(|_| too_large())?;
        // OpenAPI allows only letters, digits, dots, dashes and underscores in the names of
        // components.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let prefix: String = id.chars().map(|c| if plain(c) { c } else { '.' }).collect();
        let prefix = format!("{prefix}.");
        // Each reference, definition and path repeats the id.
        let repeated = count(&document).saturating_mul(id.len());
        let size = serde_json::to_vec(&document).map_err(failed)?.len();
        let used = size.saturating_add(repeated);
        left = left.checked_sub(used).ok_or_else(too_large)?;
        refer(&mut document, &prefix);
        security = document["components"]["securitySchemes"].take();
        if let Document::Object(found) = document["components"]["schemas"].take() {
            schemas.extend(
                found
                    .into_iter()
                    .map(|(name, it)| (format!("{prefix}{name}"), it)),
            );
        }
        if let Document::Object(found) = document["paths"].take() {
            for (path, mut operations) in found {
                if let Some(name) = operations["post"].get_mut("operationId") {
                    *name = format!("{prefix}{}", name.as_str().unwrap_or_default()).into();
                }
                operations["post"]["tags"] = json!([id]);
                paths.insert(format!("/services/{id}{path}"), operations);
            }
        }
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": workspace,
            "description": format!("The services of the workspace {workspace}."),
            "version": "0",
        },
        "servers": [{"url": url}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
    }))
}

/// Returns how often [`merged`] inserts the id of the service into its description: in each
/// reference and definition, and three times for each path.
fn count(document: &Document) -> usize {
    let len = |parent: &Document, key: &str| parent[key].as_object().map_or(0, |it| it.len());
    let definitions = len(&document["components"], "schemas");
    references(document) + definitions + 3 * len(document, "paths")
}

/// Returns the number of references in a document.
fn references(document: &Document) -> usize {
    match document {
        Document::Array(items) => items.iter().map(references).sum(),
        Document::Object(members) => {
            let own = usize::from(members.get("$ref").is_some_and(Document::is_string));
            own + members.values().map(references).sum::<usize>()
        }
        _ => 0,
    }
}

/// Adds a prefix to the names of all schemas that a document refers to.
fn refer(document: &mut Document, prefix: &str) {
    match document {
        Document::Array(items) => items.iter_mut().for_each(|item| refer(item, prefix)),
        Document::Object(members) => {
            for (key, value) in members {
                match value {
                    Document::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix(REFERENCE) {
                            *text = format!("{REFERENCE}{prefix}{name}");
                        }
                    }
                    other => refer(other, prefix),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Map {
        let parameters = json!({
            "type": "object",
            "properties": {"at": {"$ref": "#/$defs/Point"}},
            "required": ["at"],
            "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "number"}}}},
        });
        let function = json!({"name": "move", "parameters": parameters});
        let record = json!({
            "id": id,
            "name": "Stage",
            "description": "Moves",
            "service_schema": {"move": {"type": "function", "function": function}},
        });
        Value::from(record).decode_as().unwrap()
    }

    #[test]
    fn a_server_is_described() {
        let document: Document = serde_json::from_str(SERVER).unwrap();
        assert!(document["paths"]["/{workspace}/services/{id}/{function}"]["post"].is_object());
    }

    #[test]
    fn schemas_of_different_services_have_different_names() {
        let built_in = record("a:built-in");
        let records = vec![record("a:stage"), record("b:stage"), built_in];
        let url = "https://example.org/ws-lab";
        let within = |records: &[Map], max| merged("ws-lab", url, records.to_vec(), max);
        let document = within(&records, 1 << 20).unwrap();
        let refused = within(&records, 1000).unwrap_err().into_response();
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let paths = document["paths"].as_object().unwrap();
        let names: Vec<_> = paths.keys().collect();
        assert_eq!(names, ["/services/a:stage/move", "/services/b:stage/move"]);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let mut references = Vec::new();
        collect(&document["paths"], &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let name = reference.strip_prefix(REFERENCE).unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
    }

    fn collect(document: &Document, references: &mut Vec<String>) {
        match document {
            Document::Array(items) => items.iter().for_each(|item| collect(item, references)),
            Document::Object(members) => {
                for (key, value) in members {
                    match value {
                        Document::String(text) if key == "$ref" => references.push(text.clone()),
                        other => collect(other, references),
                    }
                }
            }
            _ => {}
        }
    }
}
