//! Calls an agent, and writes the replies of JSON-RPC.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hypha_rpc::{Args, Value};
use hypha_wire::RawValue;
use serde_json::{Value as Json, json};

use super::message::{Message, Part};
use super::{Agent, Failure, RUN, failed};
use crate::http::body::{Content, SizedBody};
use crate::http::content;
use crate::http::request_client::Visitor;
use crate::memory::Charge;

pub(super) const INTERNAL_ERROR: i32 = -32603;
pub(super) const TASK_NOT_FOUND: i32 = -32001;

/// An error of JSON-RPC.
pub(super) struct RpcError {
    pub(super) code: i32,
    pub(super) message: String,
    /// The invalid part of the request.
    pub(super) detail: Option<String>,
}

pub(super) fn error(code: i32, message: impl Into<String>) -> RpcError {
    RpcError {
        code,
        message: message.into(),
        detail: None,
    }
}

impl From<Failure> for RpcError {
    fn from(failure: Failure) -> Self {
        error(INTERNAL_ERROR, failure.text())
    }
}

/// Returns the response to the request `id`. The response has no id if the id of the request is
/// invalid.
pub(super) fn reply(id: Option<&Json>, result: Result<Json, RpcError>) -> Json {
    let mut reply = json!({"jsonrpc": "2.0"});
    if let Some(id) = id {
        reply["id"] = id.clone();
    }
    match result {
        Ok(result) => reply["result"] = result,
        Err(error) => {
            reply["error"] = json!({"code": error.code, "message": error.message});
            if let Some(detail) = error.detail {
                reply["error"]["data"] = detail.into();
            }
        }
    }
    reply
}

/// Returns an error if the message continues a task, because the server stores no tasks.
pub(super) fn task_of(message: &Message) -> Option<RpcError> {
    let task = message.task.as_ref()?;
    let text = format!("Task {task} was specified but does not exist");
    Some(error(TASK_NOT_FOUND, text))
}

pub(super) fn undecodable(error: impl std::fmt::Display) -> Failure {
    Failure::Service(error.to_string())
}

/// Calls the agent with a message.
pub(super) async fn run(
    agent: &Agent,
    message: &Message,
    held: &mut Vec<Charge>,
) -> Result<RawValue, Failure> {
    agent.front.state.counters.a2a_messages.add();
    let mut args = Args::new(2, 0);
    args.push("message", &message.shown);
    if takes_context(agent) {
        args.push("context", &Value::Null);
    }
    let (result, charge) = agent.call(RUN, args).await?;
    held.push(charge);
    Ok(result)
}

/// Returns whether `run` has a second parameter, to which the Python server passes null. Returns
/// true if `run` has no schema.
fn takes_context(agent: &Agent) -> bool {
    let schema = agent.service.schema(RUN);
    let properties = schema.as_ref().and_then(|schema| schema.get("parameters"));
    match properties.and_then(|parameters| parameters.get("properties")) {
        Some(Value::Map(properties)) => properties.len() != 1,
        _ => true,
    }
}

/// Converts a result to the parts of a response message.
pub(super) async fn parts(agent: &Agent, result: RawValue) -> Result<Vec<Part>, Failure> {
    let convert = |result: &RawValue| content::blocks(result, false);
    agent.convert(result, convert).await
}

/// Converts an item of a stream to parts.
pub(super) async fn item_parts(
    agent: &Agent,
    item: Result<RawValue, hypha_rpc::Error>,
    held: &mut Vec<Charge>,
) -> Result<Vec<Part>, Failure> {
    let item = item.map_err(|error| failed(&error))?;
    let charge = agent.charge(content::room_of_result(item.as_bytes().len()))?;
    held.push(charge);
    parts(agent, item).await
}

/// Responds with JSON. The charges are held until the response is sent.
pub(super) fn respond(body: &Json, agent: Agent, held: Vec<Charge>) -> Response {
    let Visitor { account, visit, .. } = agent.visitor;
    let bytes = body.to_string();
    let len = bytes.len() as u64;
    let content = Content::Bytes(Bytes::new(), bytes.into());
    let body = SizedBody::new(content, len, &account, (held, visit));
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::new(body),
    )
        .into_response()
}
