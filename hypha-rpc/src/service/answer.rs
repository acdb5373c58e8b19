//! Determines where the response to an incoming call is sent (`docs/protocol/02-messages.md#s5`).

use std::time::Duration;

use bytes::Bytes;

use hypha_wire::{Extra, FullPromise, Head, Message, Promise, absolute_address, split_address};

/// Minimum interval between heartbeats. Without this limit, a caller could request enough
/// heartbeats to fill the link.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Address and methods of the caller that receive the response and the heartbeats of one call.
pub(super) struct AnswerTo {
    /// Absolute address of the caller.
    pub(super) to: String,
    /// The caller's session.
    pub(super) parent: String,
    /// Path of the caller's method that receives the result.
    pub(super) resolve: String,
    /// Path of the caller's method that receives the error.
    pub(super) reject: String,
    /// Path of the caller's method that receives heartbeats, and the interval between two
    /// heartbeats. `None` if the caller requested no heartbeats.
    pub(super) heartbeat: Option<(String, Duration)>,
    /// Session of this client in which the called function was exported. `None` if the call names
    /// no session.
    pub(super) within: Option<String>,
    /// Public key of the caller if the call was encrypted. This client encrypts the response with
    /// this key.
    pub(super) key: Option<Bytes>,
    /// Path of the called method, for error messages.
    pub(super) label: String,
}

impl AnswerTo {
    /// Returns the head of a message that calls the method `method` of the caller.
    pub(super) fn head<'a>(&'a self, from: &'a str, method: &'a str) -> Head<'a> {
        Head {
            from,
            to: &self.to,
            method,
            parent: Some(&self.parent),
            session: None,
        }
    }

    /// Creates the destination for a call whose promise is `*`. The paths of the caller's methods
    /// are derived from `session`.
    pub(super) fn star(from: &str, session: &str, interval: Option<Duration>) -> Self {
        AnswerTo {
            to: from.to_owned(),
            parent: session.to_owned(),
            resolve: format!("{session}.resolve"),
            reject: format!("{session}.reject"),
            heartbeat: interval.map(|interval| (format!("{session}.heartbeat"), interval)),
            within: None,
            key: None,
            label: String::new(),
        }
    }

    /// Reads the destination of the response from a call. Returns `None` if the caller requests no
    /// response.
    ///
    /// # Errors
    ///
    /// Returns an error message if the promise is invalid.
    pub(super) fn new(
        message: &Message,
        extra: &Extra,
        key: Option<Bytes>,
    ) -> Result<Option<Self>, String> {
        let from = message.from().unwrap_or_default();
        let seconds = |t: Option<f64>| {
            t.filter(|t| *t > 0.0)
                .and_then(|t| Duration::try_from_secs_f64(t).ok())
                .map(|interval| interval.max(MIN_INTERVAL))
        };
        let mut answer_to = match &extra.promise {
            None => return Ok(None),
            Some(Promise::Star) => {
                let session = message.session().ok_or("a promise `*` without session")?;
                Self::star(from, session, seconds(extra.interval))
            }
            Some(Promise::Full(promise)) => {
                let FullPromise {
                    heartbeat,
                    interval,
                    resolve,
                    reject,
                } = &**promise;
                // A caller can write any address into the functions of a promise. Reject an address
                // other than the caller's own, so that a caller cannot make this client send
                // messages to a third client (docs/protocol/02-messages.md#s15).
                let workspace = workspace_of(from);
                for function in [Some(resolve), Some(reject), heartbeat.as_ref()] {
                    let Some(function) = function else { continue };
                    let target = absolute_address(&function.target, workspace);
                    if target != from {
                        return Err(format!("a promise of {from} that points to {target}"));
                    }
                }
                let interval = seconds(*interval);
                let heartbeat = heartbeat.as_ref().map(|h| h.method.clone()).zip(interval);
                AnswerTo {
                    to: from.to_owned(),
                    parent: message.session().unwrap_or_default().to_owned(),
                    resolve: resolve.method.clone(),
                    reject: reject.method.clone(),
                    heartbeat,
                    within: None,
                    key: None,
                    label: String::new(),
                }
            }
        };
        answer_to.key = key;
        answer_to.within = message.parent().map(str::to_owned);
        answer_to.label = message.method().unwrap_or_default().to_owned();
        Ok(Some(answer_to))
    }
}

/// Returns the workspace `ws` of the address `ws/client`. Returns an empty string if the address
/// contains no workspace.
pub(super) fn workspace_of(address: &str) -> &str {
    split_address(address).map_or("", |(workspace, _)| workspace)
}
