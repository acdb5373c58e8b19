//! Serves the information page of a service: `GET /{workspace}/mcp/{service}`.

use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Place, Refused, connect};
use crate::http::credentials::Links;
use crate::http::{Front, Remote, request_client};
use crate::shown::shown;

/// Responds with a description of the offer, if the user may use the service.
pub(super) async fn describe(
    front: &Front,
    remote: Remote,
    place: &Place,
    headers: &HeaderMap,
) -> Response {
    let found = async {
        let visitor = request_client::identify(front, remote, headers, Links::OpenPages).await?;
        connect(front, visitor, place).await
    };
    let gateway = match found.await {
        Ok(gateway) => gateway,
        Err(refused) => return unavailable(place, refused),
    };
    let offer = &gateway.offer;
    let (capabilities, summary) = offer.describe();
    let path = &place.path;
    let body = json!({
        "service": {
            "id": offer.id,
            "name": offer.name,
            "type": offer.kind,
            "description": offer.description,
        },
        "endpoints": {
            "streamable_http": format!("{path}/mcp"),
            "sse": format!("{path}/sse"),
        },
        "capabilities": capabilities,
        "summary": summary,
        "help": "Use the streamable HTTP endpoint for MCP communication or SSE for server-sent \
                 events.",
    });
    Json(body).into_response()
}

fn unavailable(place: &Place, refused: Refused) -> Response {
    let Refused(problem) = refused;
    if problem.status() != StatusCode::NOT_FOUND {
        return Refused(problem).into_response();
    }
    let Place { id, workspace, .. } = place;
    problem.respond(|detail| {
        json!({
            "error": detail,
            "message": format!(
                "The service '{}' was not found in workspace '{}' or you don't have permission to \
                 access it.",
                shown(&id),
                shown(&workspace)
            ),
            "help": "Ensure the service exists and you have permission to access it.",
        })
    })
}
