//! Calls functions of services over plain HTTP, by `GET` or `POST` of
//! `/{workspace}/services/{id}/{function}`.
//!
//! A `GET` has its arguments in the query. A `POST` has its arguments in the body, as JSON or
//! MessagePack. The response has the format of the request, unless the header `Accept` selects
//! another form (`forms`). A stream becomes server-sent events in JSON, or consecutive values in
//! MessagePack.
//!
//! Arguments and results are converted between JSON and MessagePack without decoding them into
//! values. Decoded values would take many times the memory.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use hypha_rpc::error::RejectKind;
use hypha_rpc::{Error, Map, RemoteService, RemoteStream, Value};
use hypha_wire::{self as wire, Args, JsonError, JsonWriter, RawValue};
use serde_json::json;

use super::accept::Accept;
use super::body::{self, Content, PIECE, SizedBody, over_budget};
use super::callbacks::{self, Functions, Part, Parts};
use super::credentials::Links;
use super::forms::{self, Form, JSON, MSGPACK};
use super::problem::{Problem, problem};
use super::request_client::{self, CONCURRENT_CALLS, FUNCTION_CALLS, FUNCTIONS_STANDING, Visitor};
use super::transcode::{self, Format, Posted, RESERVED};
use super::visits::Visit;
use super::{Front, Remote, info};
use crate::memory::{Account, Charge};
use crate::shown::shown;

impl Format {
    /// Returns the format for the content type of a request. Returns JSON if the request has no
    /// content type, and `None` if the type is neither JSON nor MessagePack.
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

/// Workspace, service id and function name from the URL of a request.
pub(super) struct Place {
    workspace: String,
    id: String,
    function: String,
}

/// Calls a function of a service, and responds with its result.
pub(super) async fn function(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path((workspace, id, function)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // A request with `HEAD` must not run the function, so `HEAD` is no alias of `GET` here.
    if !matches!(method, Method::GET | Method::POST) {
        let allowed = [(header::ALLOW, "GET, POST")];
        return (allowed, info::not_allowed().await).into_response();
    }
    let place = Place {
        workspace,
        id,
        function,
    };
    let begun = Instant::now();
    let answered = answer(&front, remote, &place, query, &method, &headers, body).await;
    let counters = &front.state.counters;
    counters.http_calls.add();
    let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    counters.http_call_milliseconds.add_many(milliseconds);
    if answered.is_err() {
        counters.http_calls_failed.add();
    }
    answered.into_response()
}

/// Handles a request. Reads the body of the request only after the requester and the function are
/// known, so that a refused request costs no memory.
///
/// # Errors
///
/// Fails if the requester, the service, the function or the arguments are invalid. Also fails if
/// the call fails, or if the server evicts the request to free memory.
async fn answer(
    front: &Front,
    remote: Remote,
    place: &Place,
    query: Vec<(String, String)>,
    method: &Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let visitor = request_client::identify(front, remote, headers, Links::AreNoCalls).await?;
    let mode = query
        .iter()
        .find(|(name, _)| name == "_mode")
        .map(|(_, mode)| mode.clone());
    let posts = method == Method::POST;
    let format = match Format::of(headers) {
        Some(format) => format,
        // A request without a body needs no content type: browsers and tools send arbitrary types.
        None if !posts => Format::Json,
        None => {
            return Err(problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/json or application/msgpack",
            ));
        }
    };
    let Place {
        workspace,
        id,
        function,
    } = place;
    let functions = Functions::of(&query)?;
    let (user, account) = (visitor.user.clone(), &visitor.account);
    let (calls, standing) = match functions {
        Some(_) => {
            let standing = account.try_charge(FUNCTIONS_STANDING);
            let standing = standing.map_err(|error| over_budget(&front.state, &error))?;
            (FUNCTION_CALLS, Some(standing))
        }
        None => (CONCURRENT_CALLS, None),
    };
    let client = request_client::enter(front, user, account, workspace, calls).await?;
    let find = |mode| request_client::service(&client, workspace, id, mode);
    let mut service = match find(mode.clone()).await {
        Ok(service) => Some(service),
        // The body may contain the selection mode, so the service is looked up after the body is
        // read.
        Err(Error::Rejected(refused))
            if posts && mode.is_none() && refused.kind == RejectKind::Ambiguous =>
        {
            None
        }
        Err(error) => return Err(request_client::refusal(&error)),
    };
    if let Some(service) = &service
        && !service.has_method(function)
        && member(service, function).is_none()
    {
        return Err(not_found(function));
    }
    let (mut args, held) = if posts {
        match post(front, &visitor, body, format).await? {
            None => (Args::new(0, 0), None),
            Some(posted) => {
                if posted.mode.is_some() && posted.mode != mode {
                    let found = find(posted.mode).await;
                    service = Some(found.map_err(|error| request_client::refusal(&error))?);
                }
                (posted.args, Some(posted.received))
            }
        }
    } else {
        (in_url(query)?, None)
    };
    let service = match service {
        Some(service) => service,
        None => find(None)
            .await
            .map_err(|error| request_client::refusal(&error))?,
    };
    if !service.has_method(function) {
        // A member that is data, not a function, cannot be called, so the response contains its
        // value.
        let member = member(&service, function).ok_or_else(|| not_found(function))?;
        let encoded = wire::to_vec(&member).map_err(|error| unencodable(&error))?;
        let member = RawValue::new(encoded.into()).map_err(|error| unencodable(&error))?;
        return respond(front, member, format, Accept::of(headers), service, visitor).await;
    }
    if let Some(functions) = functions {
        let calls = functions.add_to(&mut args);
        let call = service.call::<RawValue>(function, args);
        let parts = tokio::select! {
            parts = callbacks::run(call, calls, held, standing) => parts?,
            () = visitor.account.gives_way() => return Err(evicted(front)),
        };
        return Ok(respond_stream(StreamBody::new(
            front, parts, format, service, visitor,
        )));
    }
    let call = service.call::<RawValue>(function, args);
    let result = tokio::select! {
        result = call => result.map_err(|error| request_client::refusal(&error))?,
        () = visitor.account.gives_way() => return Err(evicted(front)),
    };
    // The body is freed before the result is charged, so that the memory budget need not cover the
    // body and the result at the same time.
    drop(held);
    let accept = Accept::of(headers);
    respond(front, result, format, accept, service, visitor).await
}

/// Returns the response for a function that the service does not have.
fn not_found(function: &str) -> Problem {
    problem(
        StatusCode::NOT_FOUND,
        format!("{} not found.", shown(function)),
    )
}

/// Returns the response for a member of a service that cannot be encoded.
fn unencodable(error: &dyn std::error::Error) -> Problem {
    problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// Returns the response for a request that was evicted from memory, and counts the eviction.
fn evicted(front: &Front) -> Problem {
    front.state.counters.http_refused_memory.add();
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "the server is out of memory; try again later",
    )
}

/// Reads the arguments in the body of a request. Returns `None` if the body is empty.
///
/// # Errors
///
/// Fails if the body cannot be read, is invalid, or exceeds a memory limit.
async fn post(
    front: &Front,
    visitor: &Visitor,
    body: Body,
    format: Format,
) -> Result<Option<Posted>, Problem> {
    let mut received = body::read(&front.state, &visitor.account, body).await?;
    let bytes = received.bytes.clone();
    if bytes.is_empty() {
        return Ok(None);
    }
    let room = match format {
        Format::Json => transcode::msgpack_bound(&bytes),
        Format::Msgpack => 0,
    };
    // This clone is dropped first, so that `posted` holds the only reference to the JSON and frees
    // the JSON after converting it.
    drop(bytes);
    // The memory is charged before the conversion allocates it.
    let charged = body::grow(&mut received.charge, room).await;
    charged.map_err(|error| over_budget(&front.state, &error))?;
    let size = received.bytes.len();
    let read = move || transcode::posted(received, format, room);
    let posted = front.visits.run(size, read).await?;
    posted.map(Some).map_err(|error| {
        problem(
            StatusCode::BAD_REQUEST,
            format!("The body cannot be read: {error}"),
        )
    })
}

/// Returns a member of a service by its path, whose parts are separated by dots.
fn member(service: &RemoteService, path: &str) -> Option<Value> {
    let mut parts = path.split('.');
    let first = service.get(parts.next()?)?;
    parts
        .try_fold(first, |value, part| value.get(part))
        .cloned()
}

/// Reads named arguments from the query of a URL. [`from_text`] converts each value.
///
/// # Errors
///
/// Fails if a value begins with `{` and is not JSON.
fn in_url(query: Vec<(String, String)>) -> Result<Args, Problem> {
    let named = query
        .into_iter()
        .filter(|(name, _)| name != callbacks::PARAMETER && !RESERVED.contains(&name.as_str()))
        .map(|(name, text)| Ok((name, from_text(text)?)))
        .collect::<Result<Map, Problem>>()?;
    let mut args = Args::new(0, named.len());
    for (name, value) in &named {
        args.push_named(name, value);
    }
    Ok(args)
}

/// Converts a query value like the Python server: digits to an integer, other numbers to a float,
/// JSON objects to a map. Anything else stays a string.
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
            let detail = format!("A parameter begins with `{{` but is not JSON: {error}");
            problem(StatusCode::BAD_REQUEST, detail)
        })?;
        return Ok(json.into());
    }
    Ok(text.into())
}

/// Responds with the result of a function, or with a member that is data. Decodes the result only
/// if `accept` selects a form that needs decoded values.
///
/// # Errors
///
/// Fails if `accept` permits no form of the result, if JSON is selected and the result cannot be
/// converted to JSON, or if the result exceeds a memory limit.
async fn respond(
    front: &Front,
    result: RawValue,
    format: Format,
    accept: Option<Accept>,
    service: RemoteService,
    visitor: Visitor,
) -> Result<Response, Problem> {
    let (form, refuses_msgpack) = match accept {
        Some(accept) => {
            let form = forms::choose(&result, &accept, format)?;
            (form, accept.quality(MSGPACK) == 0)
        }
        None => (Form::Value(format), false),
    };
    if matches!(form, Form::File) {
        return forms::file(front, &result, service, visitor).await;
    }
    if let Form::Value(format) = form
        && result.is_stream()
        && let Ok(items) = result.decode::<RemoteStream<RawValue>>()
    {
        let items = items.map(|item| item.map(Part::Item).map_err(|error| error.to_string()));
        let parts = items.boxed();
        return Ok(respond_stream(StreamBody::new(
            front, parts, format, service, visitor,
        )));
    }
    let Visitor { account, visit, .. } = visitor;
    let size = result.as_bytes().len();
    let charge = account.try_charge(size);
    let charge = charge.map_err(|error| over_budget(&front.state, &error))?;
    let format = match form {
        Form::Value(format) => format,
        form => {
            drop((result, service));
            return forms::binary(front, form, charge, &account, visit).await;
        }
    };
    let (content, len, kind, handles) = match format {
        Format::Json => {
            // The whole result is checked before the head of the response is sent, because an error
            // cannot be reported after that.
            let measured = result.clone();
            let form = front.visits.run(size, move || measured.json_form()).await?;
            let (len, handles) = form.map_err(|error| {
                let status = match error {
                    JsonError::Unfit(_) if refuses_msgpack => StatusCode::NOT_ACCEPTABLE,
                    // The status of the Python server, which ignores `Accept`.
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                problem(status, unfit("result", error, BY_ACCEPT))
            })?;
            let writer = Content::Json(JsonWriter::new(result));
            (writer, len, JSON, handles)
        }
        Format::Msgpack => {
            let searched = result.clone();
            let handles = front.visits.run(size, move || searched.handles()).await?;
            let bytes = result.as_bytes().clone();
            (
                Content::Bytes(Bytes::new(), bytes),
                size as u64,
                MSGPACK,
                handles,
            )
        }
    };
    // When the handles are dropped, the owner of the functions in the result is told to release
    // them. The client must be connected to send these messages, and `service` keeps the client
    // connected.
    drop(handles);
    drop(service);
    let body = Body::new(SizedBody::new(content, len, &account, (charge, visit)));
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// Hint for a response whose form the header `Accept` selects.
const BY_ACCEPT: &str = "send the header `Accept: application/msgpack`";
/// Hint for a response with calls of functions, which always has the format of the request.
const BY_REQUEST: &str = "send the request as application/msgpack";

/// Returns the error text for a result, or another value, that cannot be converted to JSON. `hint`
/// tells the client which request gets a form that can represent the value.
fn unfit(subject: &str, error: JsonError, hint: &str) -> String {
    match error {
        JsonError::Unfit(what) => {
            format!("The {subject} contains {what}, which JSON cannot represent; {hint}")
        }
        JsonError::Invalid(error) => {
            format!("RemoteException: the {subject} is unreadable: {error}")
        }
    }
}

/// The body of a response with the parts of a stream.
struct StreamBody {
    front: Front,
    parts: Parts,
    /// The part that is being sent in JSON.
    item: Option<JsonWriter>,
    /// Charge for the memory of the current part.
    charge: Option<Charge>,
    format: Format,
    account: Account,
    // Keeps the client that receives the stream connected.
    _service: RemoteService,
    _visit: Visit,
}

impl StreamBody {
    fn new(
        front: &Front,
        parts: Parts,
        format: Format,
        service: RemoteService,
        visitor: Visitor,
    ) -> StreamBody {
        StreamBody {
            front: front.clone(),
            parts,
            item: None,
            charge: None,
            format,
            account: visitor.account,
            _service: service,
            _visit: visitor.visit,
        }
    }

    /// Returns the next piece of the response, and whether more may follow. `None` ends the
    /// response.
    async fn next(&mut self) -> Option<(Vec<u8>, bool)> {
        let mut piece = Vec::new();
        if self.item.is_some() {
            return Some(self.write_item(piece));
        }
        self.charge = None;
        let part = match self.parts.next().await {
            None if self.format == Format::Msgpack => return None,
            None => return Some((b"data: [DONE]\n\n".to_vec(), false)),
            Some(Ok(part)) => part,
            Some(Err(error)) => return Some((self.failed(&error), false)),
        };
        let size = part.size();
        match self.account.try_charge(size) {
            Ok(charge) => self.charge = Some(charge),
            Err(error) => {
                self.front.state.counters.http_refused_memory.add();
                return Some((self.failed(&error.to_string()), false));
            }
        }
        if let Part::Named(_, value) = &part {
            // The receiver could not call the functions in the value, so they are dropped.
            let value = value.clone();
            let searched = self.front.visits.run(size, move || drop(value.handles()));
            if searched.await.is_err() {
                return Some((self.failed("the server is shutting down"), false));
            }
        }
        let (callback, hint) = match &part {
            Part::Called { callback, .. } => (Some(Arc::clone(callback)), BY_REQUEST),
            Part::Named(..) => (None, BY_REQUEST),
            Part::Item(_) => (None, BY_ACCEPT),
        };
        let item = match (part, self.format) {
            (Part::Item(item), Format::Json) => item,
            (part, format) => match (part.encode(), format) {
                (Ok(bytes), Format::Msgpack) => return Some((bytes, true)),
                (Ok(bytes), Format::Json) => match RawValue::new(bytes.into()) {
                    Ok(item) => item,
                    Err(error) => return Some((self.failed(&error.to_string()), false)),
                },
                (Err(error), _) => return Some((self.failed(&error.to_string()), false)),
            },
        };
        let measured = item.clone();
        let form = self.front.visits.run(size, move || measured.json_form());
        match form.await {
            // The handles in the item are dropped, because the receiver of an event could not call
            // the functions.
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let Some(callback) = callback else {
                    return Some((self.failed(&unfit("result", error, hint)), false));
                };
                // Arguments that JSON cannot represent do not end the call.
                let part = json!({"callback": &*callback, "error": unfit("call", error, hint)});
                return Some((format!("data: {part}\n\n").into(), true));
            }
            Err(_) => return Some((self.failed("the server is shutting down"), false)),
        }
        piece.extend_from_slice(b"data: ");
        self.item = Some(JsonWriter::new(item));
        Some(self.write_item(piece))
    }

    /// Writes more of the current item.
    fn write_item(&mut self, mut piece: Vec<u8>) -> (Vec<u8>, bool) {
        let more = match &mut self.item {
            // Writing cannot fail, because the item was checked before its first piece was written.
            Some(item) => item.write(&mut piece, PIECE).unwrap_or(false),
            None => false,
        };
        if !more {
            self.item = None;
            piece.extend_from_slice(b"\n\n");
        }
        (piece, true)
    }

    /// Returns the last piece of a failed stream: the error, in the format of the Python server.
    fn failed(&self, text: &str) -> Vec<u8> {
        self.front.state.counters.http_calls_failed.add();
        let error = json!({"error": text, "traceback": ""});
        match self.format {
            Format::Json => format!("data: {error}\n\ndata: [DONE]\n\n").into(),
            Format::Msgpack => wire::to_vec(&error).unwrap_or_default(),
        }
    }
}

/// Responds with the items of a stream: server-sent events for JSON, consecutive values for
/// MessagePack. Ends with an error if the request is evicted from memory.
fn respond_stream(going: StreamBody) -> Response {
    let kind = match going.format {
        Format::Json => "text/event-stream",
        Format::Msgpack => MSGPACK,
    };
    let pieces = stream::unfold(Some(going), |going| async move {
        let mut going = going?;
        let account = going.account.clone();
        let next = tokio::select! {
            next = going.next() => next,
            () = account.gives_way() => {
                going.front.state.counters.http_refused_memory.add();
                return Some((Err(io::Error::other("the server is out of memory")), None));
            }
        };
        let (piece, more) = next?;
        Some((Ok(Bytes::from(piece)), more.then_some(going)))
    });
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

#[cfg(test)]
mod tests {
    use super::body::Received;
    use super::*;
    use crate::memory::{Budget, MemoryLimits};

    #[test]
    fn query_values_become_numbers_and_objects() {
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
    fn bodies_are_named_or_positional_arguments_or_empty() {
        let budget = Budget::new(MemoryLimits {
            process: 1000,
            owner: 1000,
            account: 1000,
            patience: std::time::Duration::ZERO,
        });
        let of = |body: &'static str| {
            let received = Received {
                bytes: Bytes::from_static(body.as_bytes()),
                charge: budget.open("ann").try_charge(body.len()).unwrap(),
            };
            let room = transcode::msgpack_bound(body.as_bytes());
            let posted = transcode::posted(received, Format::Json, room).ok()?;
            let args = posted.args.into_local().unwrap();
            let names: Vec<_> = args.names().map(str::to_owned).collect();
            Some((args.positional(), names.join(","), posted.mode))
        };
        let is = |count, names: &str| Some((count, names.to_owned(), None));
        assert_eq!(of(r#"{"a": 1, "workspace": 2, "b": {}}"#), is(0, "a,b"));
        assert_eq!(of("[1, 2]"), is(2, ""));
        assert_eq!(of("7"), is(1, ""));
        assert_eq!(of("null"), is(0, ""));
        assert_eq!(of("{"), None);
        let mode = of(r#"{"_mode": "first"}"#).unwrap();
        assert_eq!(mode, (0, String::new(), Some("first".to_owned())));
        assert_eq!(budget.stats().used, 0);
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
