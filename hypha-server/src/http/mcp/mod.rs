//! Serves services to language models with the Model Context Protocol (MCP), at
//! `/{workspace}/mcp/{service}`.
//!
//! The streamable HTTP transport (`…/mcp`) has no sessions: requests are independent, as in the
//! Python server. The older SSE transport (`…/sse`) has a session per open stream.

mod content;
mod gateway;
mod info;
mod message;
mod offer;
mod sse;
mod streamable;
mod validation;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{OriginalUri, Path, Query, State as Shared};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use self::gateway::{Gateway, Handler};
use self::offer::Offer;
pub(super) use self::sse::McpSessions;
use super::gateways::{self, Refused, identify};
use super::problem::problem;
use super::request_client::Visitor;
use super::{Front, Remote, body};

/// Endpoint of a service, selected by the end of the URL path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The streamable HTTP transport.
    Streamable,
    /// The event stream of the SSE transport.
    Stream,
    /// The endpoint to which clients of the SSE transport post messages.
    Messages,
    /// The information page.
    Info,
}

/// The service and the path in the URL of a request.
struct Place {
    workspace: String,
    /// Id or full id of the service, as in the URL.
    id: String,
    /// The query parameter `_mode`, which selects one of several matching services.
    mode: Option<String>,
    /// Path of the request, without a slash at its end.
    path: String,
}

/// Splits the path after `/{workspace}/mcp/` into service id and endpoint. The id may contain
/// slashes.
fn split(path: &str) -> (&str, Part) {
    let parts = [
        ("/sse/messages/", Part::Messages),
        ("/sse/messages", Part::Messages),
        ("/sse", Part::Stream),
        ("/sse/", Part::Stream),
        ("/mcp", Part::Streamable),
        // Some clients append a slash.
        ("/mcp/", Part::Streamable),
    ];
    let mut found = parts.into_iter().filter_map(|(end, part)| {
        let id = path.strip_suffix(end)?;
        (!id.is_empty()).then_some((id, part))
    });
    found.next().unwrap_or((path, Part::Info))
}

/// Redirects to the same path with a slash at its end.
pub(super) async fn slash(OriginalUri(uri): OriginalUri) -> Response {
    let place = format!("{}/", uri.path());
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, place)]).into_response()
}

/// Responds with 404 and the format of the URLs, because the path contains no service id.
pub(super) async fn index(Path(workspace): Path<String>) -> Response {
    let body = json!({
        "error": "MCP service ID required",
        "message": "No service ID was provided in the URL.",
        "help": "Please specify a service ID. URL format: /{workspace}/mcp/{service_id}/mcp",
        "example": format!("/{workspace}/mcp/your-service-id/mcp"),
    });
    (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
}

/// Serves all requests below the path of a service.
pub(super) async fn page(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    OriginalUri(uri): OriginalUri,
    Path((workspace, path)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request<Body>,
) -> Response {
    let (id, part) = split(&path);
    let parameter = |name: &str| {
        let found = query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    };
    let place = Place {
        workspace,
        id: id.to_owned(),
        mode: parameter("_mode"),
        path: uri.path().trim_end_matches('/').to_owned(),
    };
    let method = request.method().clone();
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let answered = match (part, &method) {
        (Part::Streamable, &Method::POST) => {
            streamable::post(&front, remote, &place, parts, body).await
        }
        (Part::Stream, &Method::GET) => sse::open(&front, remote, &place, &headers).await,
        (Part::Messages, &Method::POST) => {
            let session = parameter("session_id");
            sse::message(&front, remote, &place, session, &headers, body).await
        }
        (Part::Info, &Method::GET) => Ok(info::describe(&front, remote, &place, &headers).await),
        (part, _) => {
            let allowed = match part {
                Part::Streamable | Part::Messages => "POST",
                Part::Stream | Part::Info => "GET",
            };
            let refused = problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            let mut response = Refused(refused).into_response();
            let allowed = header::HeaderValue::from_static(allowed);
            response.headers_mut().insert(header::ALLOW, allowed);
            Ok(response)
        }
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// Fetches a service in the name of the visitor, and returns its gateway.
async fn connect(front: &Front, visitor: Visitor, place: &Place) -> Result<Gateway, Refused> {
    let Place { workspace, id, .. } = place;
    let service = gateways::find(front, &visitor, workspace, id, place.mode.clone()).await?;
    let room = gateways::room(service.members());
    let charge = visitor.account.charge(room).await;
    let charge = charge.map_err(|error| body::over_budget(&front.state, &error))?;
    let offer = Offer::of(&service);
    let offer = offer.map_err(|why| problem(StatusCode::INTERNAL_SERVER_ERROR, why))?;
    Ok(Gateway {
        front: front.clone(),
        service,
        offer,
        visitor,
        notifies: false,
        _offer: charge,
        charges: Default::default(),
    })
}

fn shared(gateway: Gateway) -> Handler {
    Handler(Arc::new(gateway))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_with_the_part_and_ids_may_have_slashes() {
        for (path, id, part) in [
            ("calc", "calc", Part::Info),
            ("calc/mcp", "calc", Part::Streamable),
            ("host:calc/sse", "host:calc", Part::Stream),
            ("calc/sse/messages/", "calc", Part::Messages),
            ("ws/host:calc/sse/messages", "ws/host:calc", Part::Messages),
            ("ws/host:calc@app/mcp", "ws/host:calc@app", Part::Streamable),
            ("calc/mcp/", "calc", Part::Streamable),
            ("mcp", "mcp", Part::Info),
            ("mcp/mcp", "mcp", Part::Streamable),
        ] {
            assert_eq!(split(path), (id, part), "{path}");
        }
    }
}
