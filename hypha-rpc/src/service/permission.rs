//! Checks whether a caller may use a service. The decision depends on the visibility of the service
//! and on the key of the caller. Only the peer to which an interface was sent may use that
//! interface (`docs/protocol/02-messages.md#s7-6`, `docs/protocol/04-services.md#s3`,
//! `docs/protocol/07-auth-login-encryption.md#s6`).
//!
//! The permission is checked when a peer fetches a service (`builtin.rs`), and again for each call
//! (`dispatch.rs`), because a peer may call a service without fetching it.

use std::sync::Arc;

use super::incoming::refusal;
use super::{Handler, IncomingCall, Service, Visibility};
use crate::error::RejectKind;
use hypha_wire::WireError;
use hypha_wire::keys::MANAGER_WORKSPACE;

/// Peer that fetches or calls a service. The server wrote these fields into the message of the
/// peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    /// Address, `workspace/client`.
    pub(super) address: &'a str,
    pub(super) workspace: &'a str,
}

/// Reason why a caller may not use a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied<'a> {
    /// The service is an interface that was sent only to the client with this address.
    HandedToAnother(&'a str),
    /// The service is protected, and the caller's workspace is not authorized.
    OtherWorkspace,
}

/// Returns whether a client of the workspace `caller` may use a service. Clients and servers use
/// this function.
///
/// The members of the service's workspace and the clients of the workspaces in `authorized` may use
/// a protected service. Every client may use any other service. The argument `is_member` states
/// whether the caller is a member. A server determines this from the permissions of the caller. A
/// client determines it from the address of the caller.
#[must_use]
pub fn is_open_to(
    visibility: Visibility,
    authorized: &[String],
    caller: &str,
    is_member: bool,
) -> bool {
    visibility != Visibility::Protected || is_member || authorized.iter().any(|w| w == caller)
}

/// Checks that a caller may use a service of this client. `own` is the workspace of this client,
/// and `manager` is the id of the workspace manager.
///
/// If `only_caller` is set, the service is an interface, and only the client `only_caller` may use
/// it. For all other services, [`is_open_to`] decides. The clients of the workspace `own` count as
/// members. The manager also counts as a member, because it fetches services for other clients.
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

/// Number of hexadecimal digits of a public key.
const KEY_DIGITS: usize = 64;

/// Fails unless all strings are public keys. The error names the first invalid string.
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

/// Returns the handler of a method. If the service has trusted keys, this handler first checks the
/// key of the caller.
///
/// The key of the caller is known only after the second segment of the message has been decrypted.
/// The method is looked up earlier, so the handler must perform this check.
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

/// Checks that the service trusts the key with which a call was encrypted. `key` is `None` if the
/// call was not encrypted.
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
    fn only_permitted_callers_may_use_a_service() {
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
