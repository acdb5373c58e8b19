//! Reads the messages of clients, and writes the messages of agents.

use hypha_wire::RawValue;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::http::content::{Block, json_text};

type Object = Map<String, Json>;

/// A part of a message that an agent sends.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Part(Json);

impl Block for Part {
    fn text(text: String) -> Self {
        Part(json!({"kind": "text", "text": text}))
    }

    fn binary(base64: String, kind: Option<&'static str>) -> Self {
        let kind = kind.unwrap_or("application/octet-stream");
        Part(json!({"kind": "file", "file": {"bytes": base64, "mimeType": kind}}))
    }

    fn ready(value: &RawValue) -> Option<Self> {
        // Check the member `kind` first, so that only a value that may be a part is converted.
        value.member("kind")?.as_str()?;
        let part: Json = serde_json::from_slice(&json_text(value).ok()?).ok()?;
        let is_part = part
            .as_object()
            .is_some_and(|part| part_of(part.clone()).is_ok());
        is_part.then_some(Part(part))
    }
}

/// A message that a client sends.
pub(super) struct Message {
    /// The message in the form that the service receives.
    pub(super) shown: Json,
    pub(super) context: Option<String>,
    /// Id of the task that the message continues.
    pub(super) task: Option<String>,
}

impl Message {
    /// Reads the message from the parameters of a request.
    ///
    /// # Errors
    ///
    /// Returns an error text that names the first member with a type that violates the protocol.
    pub(super) fn of(mut params: Object) -> Result<Message, String> {
        let Some(Json::Object(mut given)) = params.remove("message") else {
            return Err("`message`: expected a map".into());
        };
        optional_map(&params, "configuration")?;
        optional_map(&params, "metadata")?;
        if given.get("kind").is_some_and(|kind| kind != "message") {
            return Err("`message.kind`: expected \"message\"".into());
        }
        optional_map(&given, "metadata")?;
        let role = given.get("role").and_then(Json::as_str);
        let role = role.filter(|role| ["agent", "user"].contains(role));
        let role = role.ok_or("`message.role`: expected \"user\" or \"agent\"")?;
        let role = Json::from(role);
        let id = text(&given, "messageId", "message_id")?;
        let id = Json::from(id.ok_or("`message.messageId` is missing")?);
        let context = text(&given, "contextId", "context_id")?.map(str::to_owned);
        let task = text(&given, "taskId", "task_id")?.map(str::to_owned);
        let Some(Json::Array(parts)) = given.remove("parts") else {
            return Err("`message.parts`: expected a list".into());
        };
        let part = |(index, part): (usize, Json)| {
            let read = match part {
                Json::Object(part) => part_of(part),
                _ => Err("expected a map"),
            };
            read.map_err(|why| format!("`message.parts[{index}]`: {why}"))
        };
        let parts = parts.into_iter().enumerate().map(part);
        let parts = Json::Array(parts.collect::<Result<_, _>>()?);
        // `json!` would copy the parts.
        let members = [("parts", parts), ("role", role), ("messageId", id)];
        let members = members.map(|(name, value)| (name.to_owned(), value));
        Ok(Message {
            shown: Json::Object(members.into_iter().collect()),
            context,
            task,
        })
    }
}

/// Checks a part of a message. Returns the part in the form that the service receives.
fn part_of(mut part: Object) -> Result<Json, &'static str> {
    let kinds = ["text", "file", "data"];
    let kind = match part.get("kind") {
        None => kinds.into_iter().find(|kind| part.contains_key(*kind)),
        Some(given) => kinds.into_iter().find(|kind| given == kind),
    };
    let kind = kind.ok_or("expected the kind \"text\", \"file\" or \"data\"")?;
    let content = part.remove(kind).unwrap_or_default();
    let fits = match kind {
        "text" => content.is_string(),
        "data" => content.is_object(),
        _ => content["bytes"].is_string() || content["uri"].is_string(),
    };
    if !fits {
        return Err(match kind {
            "text" => "expected a string `text`",
            "data" => "expected a map `data`",
            _ => "expected a map `file` with a string `bytes` or `uri`",
        });
    }
    let members = [("kind", kind.into()), (kind, content)];
    let members = members.map(|(name, value)| (name.to_owned(), value));
    Ok(Json::Object(members.into_iter().collect()))
}

/// Returns the string in the member `name`. If this member is missing, uses the member `other`.
/// Returns `None` if there is neither member, or if the value is null.
pub(super) fn text<'a>(
    object: &'a Object,
    name: &str,
    other: &str,
) -> Result<Option<&'a str>, String> {
    match object.get(name).or_else(|| object.get(other)) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}`: expected a string")),
    }
}

fn optional_map(object: &Object, name: &str) -> Result<(), String> {
    match object.get(name) {
        None | Some(Json::Null | Json::Object(_)) => Ok(()),
        Some(_) => Err(format!("`{name}`: expected a map")),
    }
}

/// Returns a message of the agent that contains `parts`.
pub(super) fn answer(parts: &[Part]) -> Json {
    json!({
        "kind": "message",
        "messageId": hypha_wire::random_id(),
        "parts": parts,
        "role": "agent",
    })
}

/// Returns the message that reports that the agent failed.
pub(super) fn failure(text: &str) -> Json {
    answer(&[Part::text(format!("Error: {text}"))])
}
