//! Permission to use a service: by its visibility, by the peer that it was sent to, and by the
//! caller's key (`docs/protocol/02-messages.md#s7-6`, `docs/protocol/04-services.md#s3`,
//! `docs/protocol/07-auth-login-encryption.md#s6`).
//!
//! The rule is checked twice with the same code: when a peer fetches a service (`builtin.rs`), and
//! for each call (`dispatch.rs`), because a peer may call without having fetched.

use std::sync::Arc;

use super::incoming::refusal;
use super::{Handler, IncomingCall, Service, Visibility};
use crate::error::RejectKind;
use hypha_wire::WireError;
use hypha_wire::keys::MANAGER_WORKSPACE;

/// A peer that asks for a service or calls it, as the server stamped it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// `workspace/client`.
    pub(super) address: &'a str,
    pub(super) workspace: &'a str,
}

/// The reason why a caller may not use a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied<'a> {
    /// The service is an interface that was sent to this client only.
    HandedToAnother(&'a str),
    /// The service is protected, and the caller's workspace is not authorized.
    OtherWorkspace,
}

/// Returns whether a client of the workspace `caller` may use a service. Clients and servers share
/// this rule.
///
/// Members and clients of the workspaces in `authorized` may use a protected service. All clients
/// may use any other service. Each side determines the members itself: the server from the caller's
/// permissions, the client from the caller's address.
#[must_use]
pub fn is_open_to(
    visibility: Visibility,
    authorized: &[String],
    caller: &str,
    is_member: bool,
) -> bool {
    visibility != Visibility::Protected || is_member || authorized.iter().any(|w| w == caller)
}

/// Checks that a caller may get and call a service of a client in the workspace `own`, whose
/// manager has the id `manager`.
///
/// Only the client `only_caller` may use an interface. Any other service follows [`is_open_to`];
/// its members are the clients of its own workspace, and the manager, which fetches it for others.
pub(super) fn may_use<'a>(
    service: &Service,
    only_caller: Option<&'a str>,
    caller: Caller<'_>,
    own: &str,
    manager: Option<&str>,
) -> Result<(), Denied<'a>> {
    if let Some(only) = only_caller {
        return if only == caller.address {
            Ok(())
        } else {
            Err(Denied::HandedToAnother(only))
        };
    }
    let Service {
        visibility,
        authorized_workspaces,
        ..
    } = service;
    let is_member = caller.workspace == own
        || manager.is_some_and(|id| caller.address.strip_prefix(MANAGER_WORKSPACE) == Some(id));
    if is_open_to(
        *visibility,
        authorized_workspaces,
        caller.workspace,
        is_member,
    ) {
        Ok(())
    } else {
        Err(Denied::OtherWorkspace)
    }
}

/// Hexadecimal digits of a public key.
const KEY_DIGITS: usize = 64;

/// Checks that all texts are public keys. The error names the first that is not.
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

/// Returns the handler of a method. If the service has trusted keys, the handler first checks the
/// caller's key.
///
/// The check is around the handler instead of in the look-up, because the key is known only after
/// the second segment was decrypted.
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

/// Checks the key with which a call was encrypted; `None` if it was not encrypted.
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

#[cfg(test)]
mod tests {
    use super::super::Registered;
    use super::*;

    #[test]
    fn a_service_is_for_its_callers() {
        let service = |visibility| Service::new("s").visibility(visibility);
        let public = || Registered::trusted(service(Visibility::Public));
        let unlisted = || Registered::trusted(service(Visibility::Unlisted));
        let protected = || Registered::trusted(service(Visibility::Protected));
        let authorizing = || {
            let service = service(Visibility::Protected).authorized_workspaces(["friend"]);
            Registered::trusted(service)
        };
        let interface = || Registered::interface(service(Visibility::Protected), "other/a");
        let handed = Err(Denied::HandedToAnother("other/a"));
        let other = Err(Denied::OtherWorkspace);
        let cases = [
            ("public", public(), "other/a", Ok(())),
            ("unlisted", unlisted(), "other/a", Ok(())),
            ("protected", protected(), "own/a", Ok(())),
            ("protected", protected(), "other/a", other),
            ("protected", protected(), "*/manager", Ok(())),
            ("protected", protected(), "*/former", other),
            ("authorizing", authorizing(), "friend/a", Ok(())),
            ("authorizing", authorizing(), "friends/a", other),
            ("interface", interface(), "other/a", Ok(())),
            ("interface", interface(), "other/b", handed),
            ("interface", interface(), "own/a", handed),
            ("interface", interface(), "*/manager", handed),
        ];
        for (name, service, address, expected) in &cases {
            let workspace = address.split('/').next().unwrap_or_default();
            let caller = Caller { address, workspace };
            let found = service.check(caller, "own", Some("manager"));
            assert_eq!(&found, expected, "{name} service, {address}");
        }
        let caller = Caller {
            address: "*/manager",
            workspace: "*",
        };
        assert_eq!(protected().check(caller, "own", None), other);
    }
}
