//! Passes functions to methods that are called over plain HTTP.
//!
//! HTTP cannot carry a function. The query parameter `_callback` names an argument instead, and the
//! server passes a function of its own. The response is a stream that has each call of the
//! function, and then the result (`docs/protocol/09-extensions.md#s9`).

use std::sync::Arc;

use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use hypha_rpc::call::Call;
use hypha_rpc::error::report;
use hypha_rpc::service::IncomingCall;
use hypha_rpc::{Args, Error, Function, RemoteStream};
use hypha_wire::{EncodeError, RawValue, WireError, encode};
use tokio::sync::{Mutex, mpsc};

use super::problem::{Problem, problem};
use super::request_client::refusal;
use super::transcode::RESERVED;
use crate::memory::Charge;
use crate::shown::shown;

/// The query parameter.
pub(super) const PARAMETER: &str = "_callback";
/// Maximum number of functions that a request passes.
const FUNCTIONS_MAX: usize = 16;
/// Maximum number of calls of the functions that wait for the receiver of the response. Further
/// calls wait for room, so that a slow receiver slows down the service.
const CALLS: usize = 64;

/// A part of a response that is a stream.
#[derive(Debug)]
pub(super) enum Part {
    /// An item of a stream, as it is.
    Item(RawValue),
    /// An item of a stream, or the result, among the calls of functions.
    Named(&'static str, RawValue),
    /// A call of a function.
    Called {
        callback: Arc<str>,
        args: Vec<RawValue>,
        named: Vec<(String, RawValue)>,
    },
}

impl Part {
    /// Returns the size of the values in bytes.
    pub(super) fn size(&self) -> usize {
        let len = |value: &RawValue| value.as_bytes().len();
        match self {
            Part::Item(value) | Part::Named(_, value) => len(value),
            Part::Called { args, named, .. } => {
                let named = named.iter().map(|(name, value)| name.len() + len(value));
                args.iter().map(len).sum::<usize>() + named.sum::<usize>()
            }
        }
    }

    /// Encodes the part as one value.
    pub(super) fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(self.size() + 64);
        match self {
            Part::Item(value) => out.extend_from_slice(value.as_bytes()),
            Part::Named(key, value) => {
                begin(&mut out, MAP, 1);
                member(&mut out, key, value)?;
            }
            Part::Called {
                callback,
                args,
                named,
            } => {
                begin(&mut out, MAP, 2 + usize::from(!named.is_empty()));
                encode(&mut out, "callback")?;
                encode(&mut out, &**callback)?;
                encode(&mut out, "args")?;
                begin(&mut out, LIST, args.len());
                for value in args {
                    out.extend_from_slice(value.as_bytes());
                }
                if !named.is_empty() {
                    encode(&mut out, "kwargs")?;
                    begin(&mut out, MAP, named.len());
                }
                for (name, value) in named {
                    member(&mut out, name, value)?;
                }
            }
        }
        Ok(out)
    }
}

/// The markers of a list and a map with a length of 32 bits in MessagePack.
const LIST: u8 = 0xdd;
const MAP: u8 = 0xdf;

/// Begins a list or a map. The values are copied after it as they are, because decoding them would
/// take many times the memory.
fn begin(out: &mut Vec<u8>, marker: u8, len: usize) {
    out.push(marker);
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

fn member(out: &mut Vec<u8>, key: &str, value: &RawValue) -> Result<(), EncodeError> {
    encode(out, key)?;
    out.extend_from_slice(value.as_bytes());
    Ok(())
}

/// The functions that a request passes.
pub(super) struct Functions {
    names: Vec<String>,
}

impl Functions {
    /// Reads the names of the arguments from the query. Returns `None` if the request passes no
    /// functions.
    ///
    /// # Errors
    ///
    /// Fails if a name occurs twice, is empty or reserved, or if there are too many names.
    pub(super) fn of(query: &[(String, String)]) -> Result<Option<Functions>, Problem> {
        let names = query.iter().filter(|(key, _)| key == PARAMETER);
        let names: Vec<String> = names.map(|(_, name)| name.clone()).collect();
        let refused = |detail: String| Err(problem(StatusCode::BAD_REQUEST, detail));
        if names.len() > FUNCTIONS_MAX {
            return refused(format!(
                "At most {FUNCTIONS_MAX} parameters `{PARAMETER}` are allowed"
            ));
        }
        // Names that begin with `_r` mark encoded values, and the others belong to the request.
        let is_reserved = |name: &&String| {
            name.is_empty() || name.starts_with('_') || RESERVED.contains(&name.as_str())
        };
        if let Some(name) = names.iter().find(is_reserved) {
            let name = shown(name);
            return refused(format!(
                "The parameter `{PARAMETER}` has the reserved name `{name}`"
            ));
        }
        let twice = (1..names.len()).find(|&at| names[..at].contains(&names[at]));
        if let Some(at) = twice {
            let name = shown(&names[at]);
            return refused(format!(
                "The parameter `{PARAMETER}` has the name {name} twice"
            ));
        }
        Ok((!names.is_empty()).then_some(Functions { names }))
    }

    /// Adds the functions to the arguments of a call, and returns their calls.
    pub(super) fn add_to(self, args: &mut Args) -> mpsc::Receiver<Part> {
        let (sender, calls) = mpsc::channel(CALLS);
        // The lock is a queue of the calls that wait for room, which keeps their order.
        let sender = Arc::new(Mutex::new(sender));
        for name in self.names {
            args.push_named(&name, &function(name.as_str().into(), Arc::clone(&sender)));
        }
        calls
    }
}

/// Returns a function that passes its calls on to `sender`.
fn function(name: Arc<str>, sender: Arc<Mutex<mpsc::Sender<Part>>>) -> Function {
    Function::new(move |call: IncomingCall| {
        let (callback, sender) = (Arc::clone(&name), Arc::clone(&sender));
        async move {
            let given = call.raw_args();
            let args = (0..given.positional()).filter_map(|index| given.raw_value(index));
            let args = args.collect();
            let named = given.names().filter_map(|name| {
                let value = RawValue::new(given.raw_named(name)?).ok()?;
                Some((name.to_owned(), value))
            });
            let named = named.collect();
            let part = Part::Called {
                callback,
                args,
                named,
            };
            let sent = sender.lock().await.send(part).await;
            sent.map_err(|_| WireError::new("the caller over HTTP has left"))?;
            call.reply(&())
        }
    })
}

/// The parts of a response.
pub(super) type Parts = BoxStream<'static, Result<Part, String>>;

/// Runs a call whose functions send their calls to `calls`. Returns the parts of the response after
/// the first part is known. `held` is freed when the call ends, and `standing` with the parts.
///
/// # Errors
///
/// Fails if the call fails before it has called a function.
pub(super) async fn run(
    call: Call<RawValue>,
    calls: mpsc::Receiver<Part>,
    held: impl Send + 'static,
    standing: Option<Charge>,
) -> Result<Parts, Problem> {
    let running = Running {
        calls,
        call: Some((call.boxed(), Box::new(held))),
        items: None,
        last: None,
        _standing: standing,
    };
    let mut parts = stream::unfold(running, |mut running| async move {
        let part = running.next().await?;
        Some((part, running))
    })
    .boxed();
    let first = match parts.next().await {
        Some(Err(error)) => return Err(refusal(&error)),
        first => first,
    };
    let parts = stream::iter(first).chain(parts);
    Ok(parts
        .map(|part| part.map_err(|error| report(&error)))
        .boxed())
}

/// A call, and the memory of its request.
type RunningCall = (BoxFuture<'static, Result<RawValue, Error>>, Box<dyn Send>);

/// A call that may call functions.
struct Running {
    calls: mpsc::Receiver<Part>,
    call: Option<RunningCall>,
    /// The items of the result, if it is a stream.
    items: Option<RemoteStream<RawValue>>,
    /// The last part. It follows the calls that have arrived before it.
    last: Option<Result<Part, Error>>,
    _standing: Option<Charge>,
}

impl Running {
    async fn next(&mut self) -> Option<Result<Part, Error>> {
        loop {
            if let Some((call, _)) = &mut self.call {
                let result = tokio::select! {
                    biased;
                    Some(part) = self.calls.recv() => return Some(Ok(part)),
                    result = call => result,
                };
                self.call = None;
                match result {
                    Ok(result) if result.is_stream() => match result.decode() {
                        Ok(items) => self.items = Some(items),
                        Err(_) => self.last = Some(Ok(Part::Named("result", result))),
                    },
                    result => {
                        self.last = Some(result.map(|result| Part::Named("result", result)));
                    }
                }
                continue;
            }
            if let Some(items) = &mut self.items {
                let item = tokio::select! {
                    biased;
                    Some(part) = self.calls.recv() => return Some(Ok(part)),
                    item = items.next() => item,
                };
                match item {
                    Some(Ok(item)) => return Some(Ok(Part::Named("item", item))),
                    Some(Err(error)) => self.last = Some(Err(error)),
                    None => {}
                }
                self.items = None;
                continue;
            }
            // The functions expire with the call, so the channel ends after the calls that have
            // arrived before the result.
            if let Some(part) = self.calls.recv().await {
                return Some(Ok(part));
            }
            return self.last.take();
        }
    }
}
