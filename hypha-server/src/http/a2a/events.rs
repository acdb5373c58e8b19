//! Responds to the method `message/stream` with a stream of events.
//!
//! If the agent returns a value, the response contains one message. If the agent returns a stream,
//! the response describes a task, and each item of the stream becomes a piece of the task's
//! artifact. The server does not store the task after the stream has ended.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use hypha_rpc::RemoteStream;
use hypha_wire::RawValue;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::message::{self, Message};
use super::{Agent, Failure, reply};
use crate::memory::Charge;

/// Maximum number of events that wait to be sent to the client. If this number is reached, the
/// server requests no further items from the agent.
const EVENTS: usize = 1;

/// An event for the client, with the charges for its memory.
struct Event {
    bytes: Bytes,
    charges: Vec<Charge>,
}

/// Error of an event that cannot be sent, because the client has disconnected.
struct Gone;

/// Sends the events of one request.
struct Sender {
    id: Json,
    events: mpsc::Sender<Event>,
}

impl Sender {
    async fn send(
        &self,
        result: Result<Json, reply::RpcError>,
        charges: Vec<Charge>,
    ) -> Result<(), Gone> {
        let bytes = event(&reply::reply(Some(&self.id), result));
        let sent = self.events.send(Event { bytes, charges });
        sent.await.map_err(|_| Gone)
    }
}

fn event(message: &Json) -> Bytes {
    format!("data: {message}\r\n\r\n").into()
}

/// Passes a message to the agent, and responds with a stream of events.
pub(super) fn message(agent: Agent, id: Json, message: Message, held: Vec<Charge>) -> Response {
    respond(agent, |agent, events| {
        let sender = Sender { id, events };
        Box::pin(async move {
            // Ignore the result. The stream ends in both cases: after all events have been sent,
            // and after the client has disconnected.
            let _ = answer(&agent, &sender, message, held).await;
        })
    })
}

/// Responds with a stream that contains only the event `body`.
pub(super) fn single(agent: Agent, body: &Json, charges: Vec<Charge>) -> Response {
    let bytes = event(body);
    respond(agent, |_, events| {
        Box::pin(async move {
            let _ = events.send(Event { bytes, charges }).await;
        })
    })
}

async fn answer(
    agent: &Agent,
    sender: &Sender,
    message: Message,
    mut held: Vec<Charge>,
) -> Result<(), Gone> {
    if let Some(error) = reply::task_of(&message) {
        return sender.send(Err(error), held).await;
    }
    let context = message.context.clone();
    let answered = async {
        let result = reply::run(agent, &message, &mut held).await?;
        if !result.is_stream() {
            return Ok((None, reply::parts(agent, result).await?));
        }
        let items = result.decode::<RemoteStream<RawValue>>();
        Ok((Some(items.map_err(reply::undecodable)?), Vec::new()))
    };
    let answered = answered.await;
    drop(message);
    match answered {
        Ok((Some(items), _)) => {
            drop(held);
            run_task(agent, sender, context, items).await
        }
        Ok((None, parts)) => sender.send(Ok(message::answer(&parts)), held).await,
        // If the service fails, send a message with the error text, as in the Python server.
        Err(Failure::Service(text)) => sender.send(Ok(message::failure(&text)), held).await,
        Err(failure) => sender.send(Err(failure.into()), held).await,
    }
}

/// Sends a task, with the items of a stream as the task's artifact.
async fn run_task(
    agent: &Agent,
    sender: &Sender,
    context: Option<String>,
    mut items: RemoteStream<RawValue>,
) -> Result<(), Gone> {
    let (task, artifact) = (hypha_wire::random_id(), hypha_wire::random_id());
    let context = context.unwrap_or_else(hypha_wire::random_id);
    let status = json!({"state": "working"});
    let begun = json!({"kind": "task", "id": task, "contextId": context, "status": status});
    sender.send(Ok(begun), Vec::new()).await?;
    let mut append = false;
    let status = loop {
        let mut held = Vec::new();
        let item = async {
            match agent.unless_evicted(items.next()).await? {
                Some(item) => reply::item_parts(agent, item, &mut held).await.map(Some),
                None => Ok(None),
            }
        };
        let parts = match item.await {
            Ok(Some(parts)) => parts,
            Ok(None) => break json!({"state": "completed"}),
            Err(failure) => {
                let text = failure.text();
                break json!({"state": "failed", "message": message::failure(&text)});
            }
        };
        let update = json!({
            "kind": "artifact-update",
            "taskId": task,
            "contextId": context,
            "artifact": {"artifactId": artifact, "parts": parts},
            "append": append,
        });
        sender.send(Ok(update), held).await?;
        append = true;
    };
    let ended = json!({
        "kind": "status-update",
        "taskId": task,
        "contextId": context,
        "status": status,
        "final": true,
    });
    sender.send(Ok(ended), Vec::new()).await
}

/// The body of a response. Dropping the body cancels the call to the agent.
struct Going {
    /// Future that produces the events. `None` after the last event.
    producer: Option<BoxFuture<'static, ()>>,
    events: mpsc::Receiver<Event>,
    /// Charges of the event that is being sent.
    held: Vec<Charge>,
    ping: Duration,
    stopped: BoxFuture<'static, ()>,
}

impl Going {
    /// Returns the next part of the body, or `None` after the last part.
    async fn next(&mut self) -> Option<Bytes> {
        self.held.clear();
        let ping = sleep(self.ping);
        tokio::pin!(ping);
        while let Some(producer) = &mut self.producer {
            tokio::select! {
                biased;
                () = &mut self.stopped => return None,
                event = self.events.recv() => return Some(self.take(event?)),
                () = producer => self.producer = None,
                // Send a ping, so that clients and proxies do not treat an idle stream as dead.
                () = &mut ping => return Some(Bytes::from_static(b": ping\r\n\r\n")),
            }
        }
        let event = self.events.try_recv().ok()?;
        Some(self.take(event))
    }

    fn take(&mut self, event: Event) -> Bytes {
        self.held = event.charges;
        event.bytes
    }
}

fn respond(
    agent: Agent,
    produce: impl FnOnce(Agent, mpsc::Sender<Event>) -> BoxFuture<'static, ()>,
) -> Response {
    let (sender, events) = mpsc::channel(EVENTS);
    let state = agent.front.state.clone();
    let going = Going {
        ping: state.settings.limits.stream_ping,
        producer: Some(produce(agent, sender)),
        events,
        held: Vec::new(),
        stopped: Box::pin(async move { state.shutdown.stopped().await }),
    };
    let pieces = stream::unfold(going, |mut going| async move {
        let piece = going.next().await?;
        Some((Ok::<_, Infallible>(piece), going))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}
