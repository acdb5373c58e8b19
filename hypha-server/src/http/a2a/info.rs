//! Serves the information page of an agent: `GET /{workspace}/a2a-info/{service}`.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hypha_rpc::Value;
use serde_json::json;

use super::{Agent, Place, Refused, card, reply};
use crate::http::credentials::Links;
use crate::http::{Front, Remote, request_client};
use crate::shown::shown;

/// Responds with a description of the agent, if the user may use the service.
pub(super) async fn describe(
    front: &Front,
    remote: Remote,
    place: &Place,
    headers: &HeaderMap,
) -> Response {
    let found = async {
        let visitor = request_client::identify(front, remote, headers, Links::OpenPages).await?;
        Agent::find(front, visitor, place).await
    };
    let agent = match found.await {
        Ok(agent) => agent,
        Err(refused) => return unavailable(place, refused),
    };
    let Place { workspace, id, .. } = place;
    if agent.kind() != Some("a2a") {
        let kind = agent.kind().unwrap_or("generic");
        let body = json!({
            "error": "Not an A2A service",
            "message": format!("Service '{id}' is not an A2A service (type: '{kind}')"),
            "help": "This endpoint is for A2A services only.",
        });
        return (StatusCode::BAD_REQUEST, axum::Json(body)).into_response();
    }
    let base = &front.state.info.base_path;
    let endpoints = json!({
        "a2a": format!("{base}/{workspace}/a2a/{id}"),
        "info": format!("{base}/{workspace}/a2a-info/{id}"),
    });
    let (card, charge) = match agent.card().await {
        Ok(card) => card,
        Err(failure) => {
            let error = "Failed to retrieve service information";
            let status = failure.status();
            let body = json!({"error": error, "message": failure.text(), "endpoints": endpoints});
            return (status, axum::Json(body)).into_response();
        }
    };
    let service = &agent.service;
    let text = |key: &str| service.get(key).and_then(Value::as_str);
    let mut functions = vec!["run", "agent_card", "extended_agent_card"];
    functions.retain(|name| card::has(service, name));
    let body = json!({
        "service": {
            "id": service.id(),
            "name": text("name").unwrap_or(service.id()),
            "type": "a2a",
            "description": text("description"),
        },
        "endpoints": endpoints,
        "agent_card": card.written(),
        "service_functions": functions,
        "help": "Use the A2A endpoint for agent communication following the A2A protocol.",
    });
    reply::respond(&body, agent, vec![charge])
}

fn unavailable(place: &Place, refused: Refused) -> Response {
    let Refused(problem) = refused;
    if problem.status() != StatusCode::NOT_FOUND {
        return Refused(problem).into_response();
    }
    let Place { id, workspace, .. } = place;
    problem.respond(|_| {
        json!({
            "error": "Service not found or not accessible",
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
