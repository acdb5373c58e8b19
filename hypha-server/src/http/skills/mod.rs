//! Serves documents for agents at `/{workspace}/agent-skills/…`, in the format of Agent Skills. The
//! documents describe the use of this server and of the services of a workspace.
//!
//! The documents are created on request from the records that the requester may see.
//! `/ws/agent-skills/…` has documents without a workspace, for everybody.

mod documents;
mod zip;

use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use hypha_rpc::service::{IncomingCall, Method, Service};
use hypha_rpc::workspace::Visibility;
use hypha_rpc::{Map, Value};
use serde_json::json;

use self::documents::{Document, Facts};
use super::credentials::{self, Links};
use super::info::{self, Selection};
use super::problem::{Problem, failed};
use super::request_client::{self, Visitor};
use super::{Front, Remote, body};

/// The word in the path for documents without a workspace.
const GLOBAL: &str = "ws";
/// Estimated memory of the documents, as a multiple of the size of the encoded records.
const EXPANSION: usize = 8;
/// Memory of the templates and of the documents made from them, in bytes.
const STANDING: usize = 128 * 1024;
const MARKDOWN: &str = "text/markdown; charset=utf-8";

/// Returns the service `public/agent-skills`, which programs use to find the documents. The service
/// redirects to the URL of the documents instead of returning them, because the service does not
/// know which records its callers may see.
pub(crate) fn service(base_url: &str) -> Service {
    let base = base_url.to_owned();
    let default = Method::new("default", move |call: IncomingCall| {
        let base = base.clone();
        async move {
            let scope = call
                .args(&["scope"])?
                .optional::<Value>(0)?
                .unwrap_or_default();
            let text = |key: &str| scope.get(key).and_then(Value::as_str);
            let workspace = text("workspace").unwrap_or("public");
            let path = text("function_path").or_else(|| text("path"));
            let path = path.unwrap_or_default().trim_start_matches('/');
            let place = format!("{base}/{workspace}/agent-skills/{path}");
            call.reply(&json!({"status": 307, "headers": {"Location": place}, "body": ""}))
        }
    });
    Service::new("agent-skills")
        .name("Agent Skills Provider")
        .description("Documents for agents, in the format of Agent Skills.")
        .service_type("functions")
        .visibility(Visibility::Public)
        .method(default.doc("Redirects to a document."))
}

/// Serves the index.
pub(super) async fn index(
    front: Shared<Front>,
    remote: Extension<Remote>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let path = Path((workspace, String::new()));
    page(front, remote, path, headers).await
}

/// Serves a document.
pub(super) async fn page(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path((workspace, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_open = [GLOBAL, "public"].contains(&workspace.as_str());
    let token = credentials::token(&front.state, &headers, Links::OpenPages)?;
    if token.is_none() && !is_open {
        return Ok(unauthorized(&front, &workspace));
    }
    let visitor = request_client::identify(&front, remote, &headers, Links::OpenPages).await?;
    let path = path.trim_matches('/').to_owned();
    let facts = facts(&front, &visitor, &workspace).await?;
    let size = hypha_wire::to_vec(&(&facts.manager, &facts.services, &facts.public));
    let room = size.map_err(failed)?.len() * EXPANSION + STANDING;
    let charge = visitor.account.charge(room).await;
    let charge = charge.map_err(|error| body::over_budget(&front.state, &error))?;
    let is_global = facts.workspace.is_none();
    let document = front
        .visits
        .run(room, move || facts.document(&path))
        .await?;
    drop(charge);
    Ok(match document {
        Document::Markdown(text) => ([(header::CONTENT_TYPE, MARKDOWN)], text).into_response(),
        Document::Json(json) => Json(json).into_response(),
        Document::Zip(bytes) => {
            let name = format!(
                "attachment; filename=hypha-skills-{}.zip",
                named(&workspace)
            );
            let headers = [
                (header::CONTENT_TYPE, "application/zip".to_owned()),
                (header::CONTENT_DISPOSITION, name),
            ];
            (headers, bytes).into_response()
        }
        Document::Missing(text) if is_global => {
            (StatusCode::NOT_FOUND, Json(json!({"error": text}))).into_response()
        }
        Document::Missing(text) => (StatusCode::NOT_FOUND, text).into_response(),
    })
}

/// Removes the characters of a workspace name that are not safe in a file name.
fn named(workspace: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    workspace.chars().filter(|c| fits(*c)).collect()
}

/// Returns the records that the requester may see.
async fn facts(front: &Front, visitor: &Visitor, workspace: &str) -> Result<Facts, Problem> {
    let is_global = workspace == GLOBAL;
    let place = if is_global { "public" } else { workspace };
    let selection = Selection::default();
    let manager = info::record(front, visitor, "public", "~", selection).await?;
    let services = visible(front, visitor, place).await?;
    let public = match place {
        "public" => Vec::new(),
        _ => visible(front, visitor, "public").await?,
    };
    Ok(Facts {
        url: front.state.info.public_base_url.clone(),
        workspace: (!is_global).then(|| workspace.to_owned()),
        manager: match manager {
            Value::Map(manager) => manager,
            _ => Map::new(),
        },
        services,
        public,
    })
}

/// Lists the services of a workspace. The list is empty if the requester may not see the workspace.
async fn visible(front: &Front, visitor: &Visitor, place: &str) -> Result<Vec<Map>, Problem> {
    match info::records(front, visitor, place).await {
        Err(problem)
            if [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&problem.status()) =>
        {
            Ok(Vec::new())
        }
        listed => listed,
    }
}

fn unauthorized(front: &Front, workspace: &str) -> Response {
    let url = &front.state.info.public_base_url;
    let body = json!({
        "error": "Authentication required",
        "message": format!(
            "The documents of workspace '{workspace}' need a valid token, as Authorization: Bearer \
             TOKEN. The global documents need none."
        ),
        "global_url": format!("{url}/ws/agent-skills/"),
        "public_url": format!("{url}/public/agent-skills/"),
    });
    (StatusCode::UNAUTHORIZED, Json(body)).into_response()
}
