//! Services that answer only the owners of certain keys (protocol 04 §3, 07 §6).

use std::sync::Arc;

use super::{Handler, IncomingCall, Service, incoming::refusal};
use crate::error::RejectKind;
use hypha_wire::WireError;

/// Hexadecimal digits of a public key.
const KEY_DIGITS: usize = 64;

/// Finds the first text that is no public key.
pub(super) fn check_keys(keys: &[String]) -> Result<(), String> {
    let is_key =
        |key: &String| key.len() == KEY_DIGITS && key.bytes().all(|b| b.is_ascii_hexdigit());
    match keys.iter().find(|key| !is_key(key)) {
        Some(key) => Err(format!(
            "Each trusted key must be a {KEY_DIGITS}-char hex string, got: '{key}'"
        )),
        None => Ok(()),
    }
}

/// The handler of a method, behind the check of the caller's key if the service asks for one.
pub(super) fn guard(service: &Service, handler: &Handler) -> Handler {
    if service.trusted_keys.is_empty() {
        return Arc::clone(handler);
    }
    let (keys, handler) = (service.trusted_keys.clone(), Arc::clone(handler));
    Arc::new(move |incoming: IncomingCall| {
        let key = incoming.context().caller_key();
        match check_caller(&keys, key.as_deref(), &incoming) {
            Ok(()) => handler(incoming),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    })
}

/// Whether who encrypted a call with `key` may make it; `None` if it came unencrypted.
fn check_caller(
    keys: &[String],
    key: Option<&str>,
    incoming: &IncomingCall,
) -> Result<(), WireError> {
    let context = incoming.context();
    let method = format!("{}:{}", context.from(), context.method());
    let text = match key {
        Some(key) if keys.iter().any(|trusted| trusted == key) => return Ok(()),
        Some(_) => format!("Caller's public key is not in the trusted keys list for {method}"),
        None => format!("Encryption required for method {method} (trusted_keys is set)"),
    };
    Err(refusal(
        RejectKind::PermissionDenied,
        "PermissionError",
        text,
    ))
}
