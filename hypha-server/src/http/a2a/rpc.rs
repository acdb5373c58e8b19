//! Handles the methods of the protocol, which clients call with JSON-RPC.

use axum::body::Body;
use axum::response::Response;
use hypha_rpc::RemoteStream;
use hypha_wire::RawValue;
use serde_json::{Map, Value as Json};

use super::message::{self, Message};
use super::reply::{
    INTERNAL_ERROR, RpcError, TASK_NOT_FOUND, error, item_parts, parts, reply, respond, run,
    task_of, undecodable,
};
use super::{Agent, Failure, Refused, events};
use crate::http::{body, content};
use crate::memory::Charge;

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const UNSUPPORTED: i32 = -32004;

fn invalid(detail: impl Into<String>) -> RpcError {
    RpcError {
        detail: Some(detail.into()),
        ..error(INVALID_PARAMS, "Invalid parameters")
    }
}

/// A method that a client calls, with its parameters.
enum Call {
    Send(Message),
    Stream(Message),
    /// A method that reads or cancels a task. It always fails, because the server stores no tasks.
    Task,
    Resubscribe,
    SetPush,
    /// A method that reads or deletes the configuration of push notifications for a task.
    Push,
    ExtendedCard,
}

/// The id of an invalid request, and the error. The id is `None` if the request has no valid id.
type Invalid = (Option<Json>, RpcError);

/// Reads a request. If the request is invalid, returns the error and the id of the request.
fn read(bytes: &[u8]) -> Result<(Json, Call), Box<Invalid>> {
    let mut body: Json = serde_json::from_slice(bytes)
        .map_err(|why| Box::new((None, error(PARSE_ERROR, why.to_string()))))?;
    let found = body.get("id").filter(|id| id.is_string() || is_integer(id));
    let id = found.cloned();
    let refuse = |error| Box::new((id.clone(), error));
    let method = envelope(&body).map_err(|detail| {
        let error = error(INVALID_REQUEST, "Request payload validation error");
        refuse(RpcError {
            detail: Some(detail.into()),
            ..error
        })
    })?;
    let method = method.to_owned();
    let params = match body.get_mut("params").map(Json::take) {
        Some(Json::Object(params)) => params,
        _ => Map::new(),
    };
    let call = call(&method, params).map_err(refuse)?;
    match &id {
        Some(id) => Ok((id.clone(), call)),
        None => Err(Box::new((None, invalid("`id` is missing")))),
    }
}

fn is_integer(number: &Json) -> bool {
    number.is_i64() || number.is_u64()
}

/// Checks the members that are common to all requests. Returns the name of the method.
fn envelope(body: &Json) -> Result<&str, &'static str> {
    let body = body.as_object().ok_or("expected a map")?;
    if body.get("jsonrpc").is_some_and(|version| version != "2.0") {
        return Err("`jsonrpc`: expected \"2.0\"");
    }
    match body.get("id") {
        None | Some(Json::Null | Json::String(_)) => {}
        Some(id) if is_integer(id) => {}
        Some(_) => return Err("`id`: expected a string or an integer"),
    }
    match body.get("params") {
        None | Some(Json::Null | Json::Object(_)) => {}
        Some(_) => return Err("`params`: expected a map"),
    }
    let method = body.get("method").and_then(Json::as_str);
    method.ok_or("`method`: expected a string")
}

fn call(method: &str, params: Map<String, Json>) -> Result<Call, RpcError> {
    if ["message/send", "message/stream"].contains(&method) {
        let message = Message::of(params).map_err(invalid)?;
        return Ok(match method {
            "message/send" => Call::Send(message),
            _ => Call::Stream(message),
        });
    }
    let needs = |name: &str, other: &str| match message::text(&params, name, other) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(invalid(format!("`{name}` is missing"))),
        Err(detail) => Err(invalid(detail)),
    };
    Ok(match method {
        "tasks/get" | "tasks/cancel" => {
            needs("id", "id")?;
            Call::Task
        }
        "tasks/resubscribe" => {
            needs("id", "id")?;
            Call::Resubscribe
        }
        "tasks/pushNotificationConfig/set" => {
            needs("taskId", "task_id")?;
            let names = ["pushNotificationConfig", "push_notification_config"];
            let config = names.iter().find_map(|name| params.get(*name));
            if !config.is_some_and(|config| config["url"].is_string()) {
                let text = "`pushNotificationConfig`: expected a map with a string `url`";
                return Err(invalid(text));
            }
            Call::SetPush
        }
        "tasks/pushNotificationConfig/get" | "tasks/pushNotificationConfig/list" => {
            needs("id", "id")?;
            Call::Push
        }
        "tasks/pushNotificationConfig/delete" => {
            needs("id", "id")?;
            needs("pushNotificationConfigId", "push_notification_config_id")?;
            Call::Push
        }
        "agent/getAuthenticatedExtendedCard" => Call::ExtendedCard,
        _ => return Err(error(METHOD_NOT_FOUND, "Method not found")),
    })
}

/// Handles a request of a client.
pub(super) async fn post(agent: Agent, body: Body) -> Result<Response, Refused> {
    let state = &agent.front.state;
    let mut received = body::read(state, &agent.visitor.account, body).await?;
    // Memory for the JSON tree of the request. The tree of the message is moved out of this tree.
    let room = content::room(&received.bytes);
    let grown = body::grow(&mut received.charge, room).await;
    grown.map_err(|error| body::over_budget(state, &error))?;
    let mut held = vec![received.charge];
    let bytes = received.bytes;
    let size = bytes.len();
    let read = agent.front.visits.run(size, move || read(&bytes)).await?;
    let (id, call) = match read {
        Ok(read) => read,
        Err(invalid) => {
            let (id, error) = *invalid;
            let body = reply(id.as_ref(), Err(error));
            return Ok(respond(&body, agent, held));
        }
    };
    let result = match call {
        Call::Send(message) => send(&agent, message, &mut held).await,
        Call::Stream(message) => match agent.card().await {
            Ok((card, _)) if card.streams() => {
                return Ok(events::message(agent, id, message, held));
            }
            Ok(_) => Err(error(
                INTERNAL_ERROR,
                "Streaming is not supported by the agent",
            )),
            Err(failure) => Err(failure.into()),
        },
        Call::Task => Err(error(TASK_NOT_FOUND, "Task not found")),
        Call::Resubscribe => {
            let body = reply(Some(&id), Err(error(TASK_NOT_FOUND, "Task not found")));
            return Ok(events::single(agent, &body, held));
        }
        Call::SetPush => Err(match agent.card().await {
            Ok((card, _)) if card.pushes() => unsupported(),
            Ok(_) => {
                let text = "Push notifications are not supported by the agent";
                error(INTERNAL_ERROR, text)
            }
            Err(failure) => failure.into(),
        }),
        Call::Push => Err(unsupported()),
        Call::ExtendedCard => extended_card(&agent, &mut held).await,
    };
    Ok(respond(&reply(Some(&id), result), agent, held))
}

fn unsupported() -> RpcError {
    error(UNSUPPORTED, "This operation is not supported")
}

async fn extended_card(agent: &Agent, held: &mut Vec<Charge>) -> Result<Json, RpcError> {
    let (card, charge) = agent.card().await?;
    held.push(charge);
    if !card.has_extended() {
        return Err(error(INTERNAL_ERROR, "Authenticated card not supported"));
    }
    Ok(card.served().clone())
}

/// Passes a message to the agent, and returns the response message. If the service fails, the
/// response message contains the error text, as in the Python server.
async fn send(agent: &Agent, message: Message, held: &mut Vec<Charge>) -> Result<Json, RpcError> {
    if let Some(error) = task_of(&message) {
        return Err(error);
    }
    let answered = async {
        let result = run(agent, &message, held).await?;
        drop(message);
        if !result.is_stream() {
            return parts(agent, result).await;
        }
        let mut items = result
            .decode::<RemoteStream<RawValue>>()
            .map_err(undecodable)?;
        let mut found = Vec::new();
        while let Some(item) = agent.unless_evicted(items.next()).await? {
            found.append(&mut item_parts(agent, item, held).await?);
        }
        Ok(found)
    };
    match answered.await {
        Ok(parts) => Ok(message::answer(&parts)),
        Err(Failure::Service(text)) => Ok(message::failure(&text)),
        Err(failure) => Err(failure.into()),
    }
}
