//! Shows the page of a service, with the docs of the service and a form for each method.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, PreEscaped, html};
use serde_json::Value as Json;

use super::super::problem::{Problem, failed};
use super::super::{body, info};
use super::form::{self, Form};
use super::{Visit, layout};

/// Maximum depth of nested members of a service.
const DEPTH_MAX: usize = 8;
/// Maximum length of the name of a method, in bytes.
const NAME_MAX: usize = 300;
/// Maximum size of the forms of a page, in bytes. Further methods appear only in the schema.
const FORMS_MAX: usize = 4 << 20;
/// Estimated memory of the page, as a multiple of the encoded size of the service's record.
const EXPANSION: usize = 32;

/// A method of a service: its path, whose parts are separated by dots, and its description.
struct Method<'a> {
    name: String,
    function: &'a Json,
}

/// Shows a service.
pub(super) async fn page(visit: Visit, Path((workspace, id)): Path<(String, String)>) -> Response {
    let content = content(&visit, &workspace, &id).await;
    visit.show(&id, content)
}

async fn content(visit: &Visit, workspace: &str, id: &str) -> Result<Markup, Problem> {
    let selection = info::Selection::default();
    let record = info::record(&visit.front, &visit.visitor, workspace, id, selection).await?;
    let size = hypha_wire::to_vec(&record).map_err(failed)?.len();
    let charge = visit
        .visitor
        .account
        .charge(size * EXPANSION + FORMS_MAX)
        .await;
    let _charge = charge.map_err(|error| body::over_budget(visit.state(), &error))?;
    let record = record.to_json();
    let text = |key: &str| record.get(key).and_then(Json::as_str).unwrap_or_default();
    let config = |key: &str| {
        let value = record.get("config").and_then(|config| config.get(key));
        value.and_then(Json::as_str).unwrap_or_default()
    };
    let mut methods = Vec::new();
    if let Some(schema) = record.get("service_schema") {
        collect(schema, "", DEPTH_MAX, &mut methods);
    }
    let mut forms = String::new();
    for (index, method) in methods.iter().enumerate() {
        if forms.len() > FORMS_MAX {
            let text = "There are more methods than this page can show. See the schema below.";
            forms += &html! { p class="bad" { (text) } }.into_string();
            break;
        }
        forms += &method_section(visit, workspace, id, index, method).into_string();
    }
    let full_id = format!("{workspace}/{id}");
    Ok(html! {
        nav aria-label="Breadcrumb" class="crumbs" {
            a href=(visit.path(&["ws", workspace])) { (workspace) }
        }
        h1 { (if text("name").is_empty() { id } else { text("name") }) }
        p class="presence" {
            span id="presence" data-presence=(visit.path(&["ws", workspace, "service", id]))
                class="good" role="status" { "Online" }
        }
        p { (text("description")) }
        ul class="facts" {
            li { "Id " code { (full_id) } }
            @if !text("type").is_empty() { li { "Type " (text("type")) } }
            @if !config("visibility").is_empty() { li { "Visibility " (config("visibility")) } }
            @if !text("app_id").is_empty() && text("app_id") != "*" {
                li { "Application " (text("app_id")) }
            }
        }
        @if !text("docs").is_empty() {
            section aria-label="Documentation" { p class="docs" { (text("docs")) } }
        }
        h2 { "Methods" }
        noscript { p class="bad" { "Calls from this page need scripts." } }
        @if methods.is_empty() { p { "This service describes no methods." } }
        (PreEscaped(forms))
        details {
            summary { "Schema of the service" }
            @let schema = record.get("service_schema").unwrap_or(&Json::Null);
            pre tabindex="0" role="region" aria-label="Schema" {
                (serde_json::to_string_pretty(schema).unwrap_or_default())
            }
        }
        p class="quiet" { "Seen at " (layout::time(now())) " UTC" }
    })
}

/// Returns the current time in seconds since 1970.
fn now() -> f64 {
    crate::auth::now() as f64
}

/// Collects the methods of a schema tree, in the order of the tree.
fn collect<'a>(schema: &'a Json, prefix: &str, depth: usize, methods: &mut Vec<Method<'a>>) {
    let joined = |name: &str| match prefix {
        "" => name.to_owned(),
        prefix => format!("{prefix}.{name}"),
    };
    match schema {
        Json::Object(members) => {
            let function = members.get("function").filter(|it| it.is_object());
            if let Some(function) = function
                && members.get("type").and_then(Json::as_str) == Some("function")
                && !prefix.is_empty()
            {
                methods.push(Method {
                    name: prefix.to_owned(),
                    function,
                });
            } else if depth > 0 {
                for (name, member) in members {
                    // The length is limited, because the name of each method repeats the names of
                    // all groups around the method.
                    if prefix.len() + name.len() > NAME_MAX {
                        continue;
                    }
                    collect(member, &joined(name), depth - 1, methods);
                }
            }
        }
        Json::Array(members) if depth > 0 => {
            for (index, member) in members.iter().enumerate() {
                collect(member, &joined(&index.to_string()), depth - 1, methods);
            }
        }
        _ => {}
    }
}

/// Returns the form of a method. The section also contains a placeholder for the results, and
/// examples of the same call in other languages.
fn method_section(
    visit: &Visit,
    workspace: &str,
    id: &str,
    index: usize,
    method: &Method<'_>,
) -> Markup {
    let name = &method.name;
    let docs = method.function.get("description").and_then(Json::as_str);
    let docs = docs.map(form::shortened);
    let parameters = method.function.get("parameters");
    let described = parameters.filter(|it| it.get("properties").is_some_and(Json::is_object));
    let returns = method.function.get("returns");
    let prefix = format!("m{index}");
    let public = &visit.state().info.public_base_url;
    let form = described.map(|parameters| {
        let mut form = Form::new(parameters, prefix.clone());
        form.fields(parameters, 0)
    });
    html! {
        details class="method card" id=(prefix) open[index == 0] {
            summary {
                h3 { code { (name) } }
                @if let Some(docs) = docs {
                    span class="quiet" { (docs.lines().next().unwrap_or_default()) }
                }
            }
            @if let Some(docs) = docs.filter(|docs| docs.lines().count() > 1) {
                p class="docs" { (docs) }
            }
            form data-call=(visit.path(&["http", workspace, "services", id, name]))
                data-server=(public) data-workspace=(workspace) data-service=(id)
                data-method=(name) data-stream[returns.is_some_and(form::is_stream)]
                data-signed-in[visit.session.has_token] {
                @if let Some(fields) = form {
                    (fields)
                } @else {
                    div class="field" data-kind="arguments" data-name="" {
                        label for=(format!("{prefix}-args")) {
                            "Arguments "
                            span class="quiet" { "a JSON list by position, or an object by name" }
                        }
                        textarea id=(format!("{prefix}-args")) rows="2" spellcheck="false"
                            placeholder="[1, 2] or {\"a\": 1}" {}
                    }
                }
                @if let Some(returns) = returns {
                    p class="quiet" { "Returns: " (form::result_type(returns, form::DEPTH_MAX)) }
                }
                div class="buttons" {
                    button type="submit" class="primary" { "Call" }
                    button type="button" data-stop="" hidden { "Stop" }
                }
            }
            div class="result" role="region" aria-live="polite"
                aria-label=(format!("Result of {name}")) {}
            details class="code" data-code="" {
                summary { "The same call in a program" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_methods_are_found() {
        let function = |name: &str| json!({"type": "function", "function": {"name": name}});
        let schema = json!({
            "add": function("add"),
            "stage": {"move": function("move"), "unit": {"type": "string"}},
            "list": [function("first")],
            "type": "no function",
        });
        let mut methods = Vec::new();
        collect(&schema, "", DEPTH_MAX, &mut methods);
        let names: Vec<_> = methods.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["add", "stage.move", "list.0"]);
        let mut deep = function("end");
        for _ in 0..100 {
            deep = json!({"a": deep});
        }
        methods.clear();
        collect(&deep, "", DEPTH_MAX, &mut methods);
        assert!(methods.is_empty());
    }
}
