//! Calls an agent, and writes JSON-RPC responses.

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

/// A JSON-RPC error.
pub(super) struct RpcError {
    pub(super) code: i32,
    pub(super) message: String,
    /// Description of the part of the request that is invalid.
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

/// Returns the response to the request with this id. If the id is `None`, because the request has
/// no valid id, the response has no id either.
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

/// Returns an error if the message continues a task, because the server stores no tasks that could
/// be continued.
pub(super) fn task_of(message: &Message) -> Option<RpcError> {
    let task = message.task.as_ref()?;
    let text = format!("Task {task} was specified but does not exist");
    Some(error(TASK_NOT_FOUND, text))
}

pub(super) fn undecodable(error: impl std::fmt::Display) -> Failure {
    Failure::Service(error.to_string())
}

/// Calls the method `run` of the agent with a message. Adds the charge for the result to `held`.
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

/// Returns whether `run` has a second parameter. The Python server passes null for this parameter.
/// Returns true if `run` has no schema.
fn takes_context(agent: &Agent) -> bool {
    let schema = agent.service.schema(RUN);
    let properties = schema.as_ref().and_then(|schema| schema.get("parameters"));
    match properties.and_then(|parameters| parameters.get("properties")) {
        Some(Value::Map(properties)) => properties.len() != 1,
        _ => true,
    }
}

/// Converts a result of the agent to the parts of a message.
pub(super) async fn parts(agent: &Agent, result: RawValue) -> Result<Vec<Part>, Failure> {
    let convert = |result: &RawValue| content::blocks(result, false);
    agent.convert(result, convert).await
}

/// Converts an item of a stream to the parts of a message. Adds the charge for the item to `held`.
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

/// Responds with JSON. Keeps the charges `held` until the response has been sent.
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
