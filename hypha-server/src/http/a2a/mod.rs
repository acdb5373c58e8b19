//! Serves Hypha services as agents with the Agent2Agent protocol (A2A), version 0.3.0, with
//! JSON-RPC over HTTP. The URL of an agent is `/{workspace}/a2a/{service}`.
//!
//! A service of the type `a2a` has a method `run`. This method receives a message and returns the
//! response. The service also has a member or method `agent_card`. Each request is independent of
//! all other requests, because the server stores no tasks. The Python server stores no tasks
//! either.

mod card;
mod events;
mod info;
mod message;
mod reply;
mod rpc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hypha_rpc::{Args, Error, RemoteService, Value};
use hypha_wire::RawValue;
use serde_json::json;
use tokio::time::timeout;

use self::card::Card;
use super::gateways::{self, Refused, identify};
use super::problem::problem;
use super::request_client::{self, Visitor};
use super::{Front, Remote, content};
use crate::memory::Charge;

/// Paths of the agent card, relative to the URL of the agent. Older clients use the second path.
const CARDS: [&str; 2] = [".well-known/agent-card.json", ".well-known/agent.json"];
/// Path of the card for clients with a token, relative to the URL of the agent. Older clients use
/// this path.
const EXTENDED_CARD: &str = "agent/authenticatedExtendedCard";
/// Name of the service's method that receives a message and returns the response.
const RUN: &str = "run";

/// The workspace and the service in the URL of a request.
struct Place {
    workspace: String,
    id: String,
    /// Value of the query parameter `_mode`, which selects a service if several services match.
    mode: Option<String>,
}

impl Place {
    fn new(workspace: String, id: String, query: &[(String, String)]) -> Place {
        let mode = query.iter().find(|(name, _)| name == "_mode");
        Place {
            workspace,
            id,
            mode: mode.map(|(_, mode)| mode.clone()),
        }
    }
}

/// A service of the type `a2a`, fetched for one request.
struct Agent {
    front: Front,
    service: RemoteService,
    visitor: Visitor,
    /// URL in the agent card, unless the service sets another URL.
    url: String,
}

/// Reason why a request has no result. The string is the error text.
enum Failure {
    /// The service failed.
    Service(String),
    /// The service did not respond in time.
    Late(String),
    /// The server failed.
    Server(String),
}

impl Failure {
    fn text(self) -> String {
        match self {
            Failure::Service(text) | Failure::Late(text) | Failure::Server(text) => text,
        }
    }

    /// Returns the status of a response that is not JSON-RPC.
    fn status(&self) -> StatusCode {
        match self {
            Failure::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            Failure::Service(_) | Failure::Server(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Agent {
    /// Fetches an agent with the permissions of the user who sent the request.
    async fn find(front: &Front, visitor: Visitor, place: &Place) -> Result<Agent, Refused> {
        let Place { workspace, id, .. } = place;
        let service = gateways::find(front, &visitor, workspace, id, place.mode.clone()).await?;
        let base = &front.state.info.public_base_url;
        Ok(Agent {
            front: front.clone(),
            service,
            visitor,
            url: format!("{base}/{workspace}/a2a/{id}"),
        })
    }

    fn kind(&self) -> Option<&str> {
        self.service.get("type").and_then(Value::as_str)
    }

    /// Charges memory to the account of the request. Keep the returned charge as long as the memory
    /// is in use.
    fn charge(&self, bytes: usize) -> Result<Charge, Failure> {
        let charge = self.visitor.account.try_charge(bytes);
        charge.map_err(|error| {
            self.front.state.counters.http_refused_memory.add();
            Failure::Server(error.to_string())
        })
    }

    /// Waits for `work`. Fails if the server is out of memory and evicts this request.
    async fn unless_evicted<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            () = self.visitor.account.gives_way() => {
                self.front.state.counters.http_refused_memory.add();
                let text = "the server is out of memory; try again later";
                Err(Failure::Server(text.into()))
            }
        }
    }

    /// Calls a method of the service. Returns the result and a charge. The charge covers the memory
    /// of the result and of the content that is made from the result.
    async fn call(&self, method: &str, args: Args) -> Result<(RawValue, Charge), Failure> {
        let call = self.service.call::<RawValue>(method, args);
        let result = self.unless_evicted(call).await?;
        let result = result.map_err(|error| failed(&error))?;
        let charge = self.charge(content::room_of_result(result.as_bytes().len()))?;
        Ok((result, charge))
    }

    /// Converts a result with `convert`. Converts a large result on a blocking thread. Releases the
    /// functions in the result, because clients of this protocol cannot call them.
    async fn convert<T: Send + 'static>(
        &self,
        result: RawValue,
        convert: impl FnOnce(&RawValue) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Failure> {
        let work = {
            let size = result.as_bytes().len();
            let work = move || {
                let converted = convert(&result);
                drop(result.handles());
                converted
            };
            self.front.visits.run(size, work).await
        };
        let stopped = |_| Failure::Server("the server is shutting down".into());
        work.map_err(stopped)?.map_err(Failure::Service)
    }

    /// Returns the card of the agent, and a charge for the memory of the card.
    async fn card(&self) -> Result<(Card, Charge), Failure> {
        let service = &self.service;
        let Some(name) = card::member(service) else {
            let charge = self.charge(card::ROOM)?;
            let card = Card::of(None, service, &self.url).map_err(Failure::Service)?;
            return Ok((card, charge));
        };
        let (given, mut charge) = if service.has_method(name) {
            let limit = self.front.state.settings.limits.agent_card_timeout;
            let called = timeout(limit, self.call(name, Args::new(0, 0))).await;
            let late = |_| {
                let id = service.id();
                Failure::Late(format!("`{name}` of {id} did not return within {limit:?}"))
            };
            let (result, charge) = called.map_err(late)??;
            let text = self.convert(result, content::json_text).await?;
            let parsed = serde_json::from_slice(&text).map(content::plain);
            let parsed = parsed.map_err(|error| Failure::Service(error.to_string()))?;
            (parsed, charge)
        } else {
            let charge = self.charge(card::ROOM + 3 * gateways::room(service.members()))?;
            let value = service
                .get(name)
                .map(|value| content::plain(value.to_json()));
            (value.unwrap_or_default(), charge)
        };
        let more = charge.try_grow(card::ROOM);
        more.map_err(|error| Failure::Server(error.to_string()))?;
        let serde_json::Value::Object(given) = given else {
            let id = service.id();
            return Err(Failure::Service(format!("`{name}` of {id} is not a map")));
        };
        let card = Card::of(Some(given), service, &self.url).map_err(Failure::Service)?;
        Ok((card, charge))
    }
}

/// Returns the failure that contains the error class and the error text of a failed call.
fn failed(error: &Error) -> Failure {
    Failure::Service(request_client::text_of(error))
}

/// Responds with 404 to a URL without a service id. The response explains the format of the URL.
pub(super) async fn index(Path(workspace): Path<String>) -> Response {
    let body = json!({
        "error": "A2A service ID required",
        "message": "No service ID was provided in the URL.",
        "help": "Please specify a service ID. URL format: /{workspace}/a2a/{service_id}",
        "example": format!("/{workspace}/a2a/your-service-id"),
    });
    (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
}

/// Responds with a description of the service and its card, if the user may use the service.
pub(super) async fn info(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path((workspace, id)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let place = Place::new(workspace, id, &query);
    info::describe(&front, remote, &place, &headers).await
}

/// Handles a request to the URL of an agent.
pub(super) async fn root(
    front: Shared<Front>,
    remote: Extension<Remote>,
    Path((workspace, id)): Path<(String, String)>,
    query: Query<Vec<(String, String)>>,
    request: Request<Body>,
) -> Response {
    let path = Path((workspace, id, String::new()));
    page(front, remote, path, query, request).await
}

/// Handles a request to a URL below the URL of an agent.
pub(super) async fn page(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path((workspace, id, path)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    request: Request<Body>,
) -> Response {
    let place = Place::new(workspace, id, &query);
    let (parts, body) = request.into_parts();
    let answered = answer(&front, remote, &place, &path, &parts, body).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    front: &Front,
    remote: Remote,
    place: &Place,
    path: &str,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refused> {
    let method = &parts.method;
    let visitor = identify(front, remote, &parts.headers).await?;
    let agent = Agent::find(front, visitor, place).await?;
    let id = &place.id;
    if agent.kind() != Some("a2a") {
        let text = format!("Service {id} is not an A2A service");
        return Err(problem(StatusCode::BAD_REQUEST, text).into());
    }
    if !agent.service.has_method(RUN) {
        let why = "Service does not have a 'run' function";
        return Err(broken(Failure::Service(why.into())));
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if path.is_empty() {
        if *method != Method::POST {
            return Ok(not_allowed("POST"));
        }
        return rpc::post(agent, body).await;
    }
    let is_card = CARDS.contains(&path);
    if is_card && !reads {
        return Ok(not_allowed("GET, HEAD"));
    }
    if !is_card && path != EXTENDED_CARD {
        return Ok((StatusCode::NOT_FOUND, "Not Found").into_response());
    }
    let (card, charge) = agent.card().await.map_err(broken)?;
    if is_card {
        return Ok(reply::respond(card.served(), agent, vec![charge]));
    }
    if !card.has_extended() {
        return Ok((StatusCode::NOT_FOUND, "Not Found").into_response());
    }
    let text = "Authenticated extended agent card is supported but not configured on the server.";
    Err(problem(StatusCode::NOT_FOUND, text).into())
}

/// Returns the error response for a service that is not a valid agent.
fn broken(failure: Failure) -> Refused {
    let status = failure.status();
    let prefix = match failure {
        Failure::Late(_) => "",
        Failure::Service(_) | Failure::Server(_) => "Internal server error: ",
    };
    Refused(problem(status, format!("{prefix}{}", failure.text())))
}

fn not_allowed(allowed: &'static str) -> Response {
    let text = "Method Not Allowed";
    let headers = [(header::ALLOW, allowed)];
    (StatusCode::METHOD_NOT_ALLOWED, headers, text).into_response()
}
