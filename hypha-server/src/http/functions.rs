//! Functions of services as plain HTTP: `GET` or `POST /{workspace}/services/{id}/{function}`.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hypha_rpc::{Map, RemoteService, RemoteStream, Value};
use hypha_wire as wire;
use hypha_wire::Args;
use hypha_wire::keys::RTYPE;
use serde_json::json;

use super::problem::{Problem, problem};
use super::request_client;
use super::rpc::read;
use crate::state::State;

const MSGPACK: &str = "application/msgpack";
/// Parameters that belong to the request itself.
const RESERVED: [&str; 4] = ["workspace", "service_id", "function_key", "_mode"];

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Msgpack,
}

impl Format {
    /// Returns the format of the content type, JSON if there is none, `None` for another one.
    fn of(headers: &HeaderMap) -> Option<Format> {
        let Some(value) = headers.get(header::CONTENT_TYPE) else {
            return Some(Format::Json);
        };
        let essence = value.to_str().ok()?.split(';').next()?.trim();
        if essence.eq_ignore_ascii_case("application/json") || essence.is_empty() {
            Some(Format::Json)
        } else if essence.eq_ignore_ascii_case(MSGPACK) {
            Some(Format::Msgpack)
        } else {
            None
        }
    }
}

/// Positional arguments and keywords.
#[derive(Default)]
struct Arguments {
    positional: Vec<Value>,
    named: Map,
}

pub(super) async fn function(
    Shared(state): Shared<Arc<State>>,
    Path((workspace, id, function)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let user = request_client::identify(&state, &headers).await?;
    let mut mode = query
        .iter()
        .find(|(name, _)| name == "_mode")
        .map(|(_, mode)| mode.clone());
    let (format, mut arguments) = if method == Method::POST {
        let Some(format) = Format::of(&headers) else {
            return Err(problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/json or application/msgpack",
            ));
        };
        (format, posted(&read(&state, body).await?, format)?)
    } else {
        let format = Format::of(&headers).unwrap_or(Format::Json);
        (format, in_url(query)?)
    };
    if let Some(Value::String(given)) = arguments.named.get("_mode") {
        mode = Some(given.clone());
    }
    arguments
        .named
        .retain(|name, _| !RESERVED.contains(&name.as_str()));

    let client = request_client::enter(&state, user, &workspace).await?;
    let service = request_client::service(&client, &workspace, &id, mode).await?;
    let result = if service.has_method(&function) {
        call(&service, &function, &arguments).await?
    } else {
        member(&service, &function)
            .ok_or_else(|| problem(StatusCode::NOT_FOUND, format!("{function} not found.")))?
    };
    // The response holds the service, and with it the client of the request, until the last item.
    respond(result, format, service)
}

async fn call(
    service: &RemoteService,
    function: &str,
    arguments: &Arguments,
) -> Result<Value, Problem> {
    let mut args = Args::new(arguments.positional.len(), arguments.named.len());
    for value in &arguments.positional {
        args.push("argument", value);
    }
    for (name, value) in &arguments.named {
        args.push_named(name, value);
    }
    let called = service.call::<Value>(function, args).await;
    called.map_err(|error| request_client::refusal(&error))
}

/// Returns a member that is not a function.
fn member(service: &RemoteService, path: &str) -> Option<Value> {
    let mut parts = path.split('.');
    let first = service.get(parts.next()?)?;
    parts
        .try_fold(first, |value, part| value.get(part))
        .cloned()
}

/// Reads arguments from a URL. Texts that look like numbers or objects become such.
fn in_url(query: Vec<(String, String)>) -> Result<Arguments, Problem> {
    let named = query
        .into_iter()
        .map(|(name, text)| Ok((name, from_text(text)?)))
        .collect::<Result<Map, Problem>>()?;
    Ok(Arguments {
        named,
        ..Arguments::default()
    })
}

fn from_text(text: String) -> Result<Value, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && let Ok(number) = text.parse::<u64>() {
        return Ok(number.into());
    }
    if let Ok(number) = text.trim().parse::<f64>() {
        return Ok(number.into());
    }
    if text.starts_with('{') {
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
            let detail = format!("A parameter begins like JSON, but is not: {error}");
            problem(StatusCode::BAD_REQUEST, detail)
        })?;
        return Ok(json.into());
    }
    Ok(text.into())
}

fn posted(body: &[u8], format: Format) -> Result<Arguments, Problem> {
    if body.is_empty() {
        return Ok(Arguments::default());
    }
    let unreadable = |error: &dyn std::fmt::Display| {
        problem(
            StatusCode::BAD_REQUEST,
            format!("The body cannot be read: {error}"),
        )
    };
    let value = match format {
        Format::Json => serde_json::from_slice::<serde_json::Value>(body)
            .map(Value::from)
            .map_err(|error| unreadable(&error))?,
        Format::Msgpack => {
            wire::from_slice(&Bytes::copy_from_slice(body)).map_err(|error| unreadable(&error))?
        }
    };
    Ok(match value {
        Value::Null => Arguments::default(),
        Value::Map(named) => Arguments {
            named,
            ..Arguments::default()
        },
        Value::List(positional) => Arguments {
            positional,
            ..Arguments::default()
        },
        single => Arguments {
            positional: vec![single],
            ..Arguments::default()
        },
    })
}

fn respond(result: Value, format: Format, service: RemoteService) -> Result<Response, Problem> {
    let is_stream = matches!(&result, Value::Handle(live)
        if live.raw().and_then(|raw| raw.get(RTYPE)).and_then(Value::as_str)
            == Some("generator"));
    if is_stream && let Ok(items) = result.decode_as::<RemoteStream<Value>>() {
        return Ok(respond_stream(items, format, service));
    }
    match format {
        Format::Json => match to_json(&result) {
            Ok(json) => Ok(Json(json).into_response()),
            Err(what) => Err(problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                cannot_be_json(what),
            )),
        },
        Format::Msgpack => match wire::to_vec(&result) {
            Ok(body) => Ok(([(header::CONTENT_TYPE, MSGPACK)], body).into_response()),
            Err(error) => Err(problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                error.to_string(),
            )),
        },
    }
}

fn cannot_be_json(what: &str) -> String {
    format!(
        "The result contains {what}, which JSON has no form for; ask with Content-Type {MSGPACK}"
    )
}

/// Converts a value to JSON, or returns the kind of value in it that has no JSON form.
fn to_json(value: &Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value {
        Value::Float(number) => serde_json::Number::from_f64(*number)
            .ok_or("a number that is not finite")?
            .into(),
        Value::Bytes(_) => return Err("binary data"),
        Value::Ext(..) => return Err("an extension value"),
        Value::List(items) => items.iter().map(to_json).collect::<Result<_, _>>()?,
        Value::Map(map) => object(map)?,
        Value::Handle(live) => match live.raw() {
            Some(raw) => object(raw)?,
            None => return Err("a function"),
        },
        plain => plain.to_json(),
    })
}

fn object(map: &Map) -> Result<serde_json::Value, &'static str> {
    let entries = map
        .iter()
        .map(|(key, value)| Ok((key.clone(), to_json(value)?)));
    Ok(serde_json::Value::Object(
        entries.collect::<Result<_, &'static str>>()?,
    ))
}

/// Responds with the items of a stream: server-sent events for JSON, consecutive values for
/// msgpack.
fn respond_stream(items: RemoteStream<Value>, format: Format, service: RemoteService) -> Response {
    struct Going {
        items: RemoteStream<Value>,
        // Holds the connection of the stream.
        _service: RemoteService,
    }
    let going = Going {
        items,
        _service: service,
    };
    let pieces = stream::unfold(Some(going), move |going| async move {
        let mut going = going?;
        let (piece, more) = match (going.items.next().await, format) {
            (None, Format::Json) => (Bytes::from_static(b"data: [DONE]\n\n"), false),
            (None, Format::Msgpack) => return None,
            (Some(item), format) => {
                let error = |text: String| json!({"error": text, "traceback": ""});
                let (item, more) = match item {
                    Ok(item) => (item, true),
                    Err(problem) => (error(problem.to_string()).into(), false),
                };
                match format {
                    Format::Msgpack => (wire::to_vec(&item).unwrap_or_default().into(), more),
                    Format::Json => {
                        let (json, more) = match to_json(&item) {
                            Ok(json) => (json, more),
                            Err(what) => (error(cannot_be_json(what)), false),
                        };
                        let end = if more { "" } else { "data: [DONE]\n\n" };
                        (format!("data: {json}\n\n{end}").into(), more)
                    }
                }
            }
        };
        Some((
            Ok::<Bytes, std::convert::Infallible>(piece),
            more.then_some(going),
        ))
    });
    let kind = match format {
        Format::Json => "text/event-stream",
        Format::Msgpack => MSGPACK,
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_a_url_become_numbers_and_objects() {
        let of = |text: &str| from_text(text.into()).ok();
        assert_eq!(of("3"), Some(Value::Int(3)));
        assert_eq!(of("-3"), Some(Value::Float(-3.0)));
        assert_eq!(of("2.5"), Some(Value::Float(2.5)));
        assert_eq!(of("[1]"), Some(Value::from("[1]")));
        assert_eq!(of("true"), Some(Value::from("true")));
        assert_eq!(of(""), Some(Value::from("")));
        let map = of(r#"{"a": 1}"#).unwrap();
        assert_eq!(map.get("a"), Some(&Value::Int(1)));
        assert_eq!(of("{a"), None);
    }

    #[test]
    fn bodies_are_keywords_positions_or_nothing() {
        let of = |body: &str| posted(body.as_bytes(), Format::Json).ok();
        assert_eq!(of(r#"{"a": 1}"#).unwrap().named.len(), 1);
        assert_eq!(of("[1, 2]").unwrap().positional.len(), 2);
        assert_eq!(of("7").unwrap().positional, [Value::Int(7)]);
        assert!(of("").unwrap().named.is_empty());
        assert!(of("{").is_none());
    }

    #[test]
    fn content_types_may_have_parameters() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            Format::of(&headers)
        };
        assert_eq!(of("application/json; charset=utf-8"), Some(Format::Json));
        assert_eq!(of("application/msgpack"), Some(Format::Msgpack));
        assert_eq!(of("text/plain"), None);
        assert_eq!(Format::of(&HeaderMap::new()), Some(Format::Json));
    }
}
