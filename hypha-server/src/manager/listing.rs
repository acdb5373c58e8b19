//! Lists services and clients, and summarizes a workspace.
//!
//! Lists of services stay encoded from the registry to the caller. Two limits apply to their size:
//! `list_bytes` of the server, and the memory limit of the caller's owner.

use std::sync::Arc;

use bytes::Bytes;
use hypha_rpc::Context;
use hypha_rpc::workspace::{
    ClientInfo, ManagerError, Permission, ServiceFilter, ServiceQuery, UserInfo, Visibility,
};
use hypha_wire as wire;
use hypha_wire::keys::BUILT_IN;

use super::{Answer, allowed, charged, resolve, unavailable};
use crate::registry::{Record, RegistryError, ServicePattern, encode_list, encode_summaries};
use crate::shown::shown;
use crate::state::State;

/// Records, each with a flag that says whether the caller is a member of the record's workspace.
/// Members see the whole record, other callers a reduced record.
type Listed = Vec<(Arc<Record>, bool)>;

/// Returns the encoded services that match a query and that the caller may see.
///
/// Without a query, returns the services of the caller's workspace. The result is encoded, because
/// a list of decoded values would take many times the memory.
///
/// # Errors
///
/// Fails if the query is invalid or too broad for the caller, or the list exceeds a limit.
pub(super) async fn services(
    state: &State,
    ctx: &Context,
    query: Option<ServiceQuery>,
    include_unlisted: bool,
) -> Answer<Bytes> {
    let listed = find(state, ctx, query, include_unlisted).await?;
    held(state, ctx, &listed, Vec::new(), encode_list)
}

/// A function that encodes records. The result has at most the given number of bytes. The flag of a
/// record says whether the caller is a member of the record's workspace.
type Encode = fn(&[(Arc<Record>, bool)], usize, &mut Vec<u8>) -> Result<(), RegistryError>;

/// Encodes a list, and appends it to `head`. Charges `head` and the list to the caller until the
/// returned bytes are dropped.
fn held(
    state: &State,
    ctx: &Context,
    listed: &[(Arc<Record>, bool)],
    head: Vec<u8>,
    encode: Encode,
) -> Answer<Bytes> {
    let refused = |error: ManagerError| {
        state.counters.lists_refused.add();
        error
    };
    let max = state.settings.limits.list_bytes;
    let bytes: usize = listed.iter().map(|(record, _)| record.len()).sum();
    let account = state.memory.open(&state.account_owner(ctx));
    let charge = account
        // The memory is charged before the list is encoded. A list above `max` is never fully
        // encoded.
        .try_charge(head.len() + bytes.min(max))
        .map_err(|error| refused(ManagerError::Runtime(format!("`list_services`: {error}"))))?;
    let mut out = head;
    encode(listed, max, &mut out).map_err(|error| refused(unavailable(error)))?;
    Ok(charged(out, charge))
}

/// Returns the records that match a query and that the caller may see.
///
/// A query for all workspaces returns the public services of the other workspaces first, then the
/// visible services of the caller's own workspace.
async fn find(
    state: &State,
    ctx: &Context,
    query: Option<ServiceQuery>,
    include_unlisted: bool,
) -> Answer<Listed> {
    let own = ctx.workspace();
    let filter = match query {
        None => ServiceFilter::default(),
        Some(ServiceQuery::Text(text)) => by_text(&text),
        Some(ServiceQuery::Filter(filter)) => *filter,
    };
    let mut pattern = pattern(filter, own)?;
    let everywhere = pattern.workspace == "*";
    if everywhere {
        if matches!(pattern.visibility.as_str(), "protected" | "unlisted") {
            return Err(ManagerError::Assertion(
                "Cannot list protected or unlisted services in all workspaces.".into(),
            ));
        }
        if include_unlisted {
            return Err(ManagerError::Permission(
                "Cannot include unlisted services when searching all workspaces.".into(),
            ));
        }
    } else if include_unlisted && pattern.workspace != own && pattern.workspace != "public" {
        return Err(ManagerError::Permission(format!(
            "Cannot include unlisted services from workspace {}. Only services from your current \
             workspace ({own}) can include unlisted services.",
            shown(&pattern.workspace)
        )));
    }
    if include_unlisted && !ctx.user().may(Permission::Read, own) {
        return Err(ManagerError::Permission(format!(
            "Cannot include unlisted services without read permission for workspace {own}."
        )));
    }
    let registry = &state.registry;
    let mut found = Vec::new();
    if everywhere {
        // Two searches are needed, because one pattern cannot select "public, or in this
        // workspace".
        let asked = std::mem::replace(&mut pattern.visibility, "public".into());
        found = registry
            .find_services(&pattern)
            .await
            .map_err(unavailable)?;
        // The second search finds the records of the caller's workspace again, including the hidden
        // records.
        found.retain(|record| record.workspace() != own);
        pattern.visibility = asked;
        pattern.workspace = own.to_owned();
    }
    found.extend(
        registry
            .find_services(&pattern)
            .await
            .map_err(unavailable)?,
    );
    let mut listed = Listed::with_capacity(found.len());
    // Records of one workspace are adjacent, so the permission is checked once per workspace
    // instead of once per record.
    let mut last = None;
    for record in found {
        let is_member = match &last {
            Some((workspace, is_member)) if *workspace == record.workspace() => *is_member,
            _ => {
                let workspace = record.workspace().to_owned();
                let is_member = ctx.user().may(Permission::Read, &workspace);
                last = Some((workspace, is_member));
                is_member
            }
        };
        // Any caller that knows the id of an unlisted service may use the service. A list contains
        // the service only if the caller is a client of the service's workspace and requests
        // unlisted services.
        let shown = match record.visibility {
            Visibility::Public => true,
            Visibility::Unlisted => include_unlisted && record.workspace() == own,
            Visibility::Protected => resolve::may_use(ctx, &record, is_member),
        };
        if shown {
            listed.push((record, is_member));
        }
    }
    Ok(listed)
}

/// Converts a query string: `workspace`, `workspace/service`, `workspace/client:service` or
/// `client:service`.
fn by_text(text: &str) -> ServiceFilter {
    let mut filter = ServiceFilter::default();
    let (workspace, rest) = match text.split_once('/') {
        Some((workspace, rest)) => (Some(workspace), Some(rest)),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    match (workspace, rest) {
        // As in the Python server, `*/service` selects only public services, even in the caller's
        // own workspace.
        (Some("*"), Some(_)) => filter.visibility = Some("public".into()),
        (Some(workspace), _) => filter.workspace = Some(workspace.to_owned()),
        (None, _) => {}
    }
    if let Some(rest) = rest {
        let (client, name) = match rest.split_once(':') {
            Some((client, name)) => (Some(client), name),
            None => (None, rest),
        };
        filter.client_id = client.map(str::to_owned);
        filter.service_id = Some(name.to_owned());
    }
    filter
}

/// Converts a filter to a pattern. Missing parts match anything, except that the workspace defaults
/// to the caller's own workspace.
///
/// # Errors
///
/// Fails if the filter has unknown keys, contradicts itself, or contains characters that ids must
/// not contain.
fn pattern(filter: ServiceFilter, own: &str) -> Answer<ServicePattern> {
    if !filter.unknown.is_empty() {
        let keys: Vec<_> = filter
            .unknown
            .keys()
            .map(|key| format!("'{key}'"))
            .collect();
        return Err(ManagerError::Value(format!(
            "Invalid query keys: {{{}}}",
            shown(&keys.join(", "))
        )));
    }
    if filter.id.is_some() && filter.service_id.is_some() {
        return Err(ManagerError::Assertion(
            "Cannot specify both 'id' and 'service_id' in the query.".into(),
        ));
    }
    let any = || "*".to_owned();
    let service = filter.service_id.or(filter.id).unwrap_or_else(any);
    let (name, app) = match service.split_once('@') {
        Some((name, app)) => (name.to_owned(), Some(app.to_owned())),
        None => (service, None),
    };
    let app_id = match (filter.app_id, app) {
        (Some(given), Some(app)) if given != app => {
            return Err(ManagerError::Value(format!(
                "App id mismatch: {} != {}",
                shown(&given),
                shown(&app)
            )));
        }
        (given, app) => given.or(app).unwrap_or_else(any),
    };
    let pattern = ServicePattern {
        workspace: filter.workspace.unwrap_or_else(|| own.to_owned()),
        client: filter.client_id.unwrap_or_else(any),
        name,
        app_id,
        visibility: filter.visibility.unwrap_or_else(any),
        kind: filter.kind.unwrap_or_else(any),
    };
    // The type is not checked, because it may contain any characters, as in the Python server.
    for part in [
        &pattern.visibility,
        &pattern.workspace,
        &pattern.client,
        &pattern.name,
        &pattern.app_id,
    ] {
        check_characters(part)?;
    }
    Ok(pattern)
}

/// Checks that a part of a pattern contains only letters, digits and `-_/|*.`, as in the Python
/// server.
fn check_characters(part: &str) -> Answer<()> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/|*.".contains(&byte);
    if part.bytes().all(fine) {
        Ok(())
    } else {
        Err(ManagerError::Value(format!(
            "Invalid characters in query part: {}",
            shown(part)
        )))
    }
}

/// Lists the clients that have registered their built-in service in a workspace, at any server.
///
/// # Errors
///
/// Fails if the caller may not read the workspace, or the registry does not respond.
pub(super) async fn clients(
    state: &State,
    ctx: &Context,
    workspace: &str,
) -> Answer<Vec<ClientInfo>> {
    allowed(ctx, Permission::Read, workspace)?;
    let pattern = ServicePattern {
        workspace: workspace.to_owned(),
        name: BUILT_IN.to_owned(),
        ..ServicePattern::default()
    };
    let found = state
        .registry
        .find_services(&pattern)
        .await
        .map_err(unavailable)?;
    let mut clients = Vec::with_capacity(found.len());
    for record in found {
        // Records are decoded one at a time, because all decoded records together would take many
        // times the memory of the list.
        let user = match record.service(true) {
            Ok(service) => service.config.created_by,
            Err(error) => {
                tracing::warn!(%error, service = &*record.id, "skipped a broken record");
                state.counters.records_skipped.add();
                continue;
            }
        };
        let user = user
            .and_then(|user| user.decode_as::<UserInfo>().ok())
            .unwrap_or_default();
        let id = record.address().to_owned();
        clients.push(ClientInfo { id, user });
    }
    Ok(clients)
}

/// Returns the encoded summary of the caller's workspace: the names, the number of clients and
/// services, and the services without docs and schemas.
pub(super) async fn summary(state: &State, ctx: &Context) -> Answer<Bytes> {
    let workspace = super::workspaces::load(state, ctx.workspace()).await?;
    let clients = match clients(state, ctx, &workspace.id).await {
        Ok(clients) => clients,
        // A caller that may not list clients still gets the rest of the summary.
        Err(ManagerError::Permission(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let listed = find(state, ctx, None, false).await?;
    let ids: Vec<_> = clients.into_iter().map(|client| client.id).collect();
    let head = || -> Result<Vec<u8>, wire::EncodeError> {
        // This byte is the header of a map with six entries. The last value of the map, the list of
        // services, is appended below in encoded form, because the encoder accepts only values.
        let mut out = vec![0x86];
        wire::encode(&mut out, "name")?;
        wire::encode(&mut out, &workspace.name)?;
        wire::encode(&mut out, "description")?;
        wire::encode(&mut out, &workspace.properties.description)?;
        wire::encode(&mut out, "client_count")?;
        wire::encode(&mut out, &ids.len())?;
        wire::encode(&mut out, "clients")?;
        wire::encode(&mut out, &ids)?;
        wire::encode(&mut out, "service_count")?;
        wire::encode(&mut out, &listed.len())?;
        wire::encode(&mut out, "services")?;
        Ok(out)
    };
    let head = head().map_err(|error| ManagerError::Value(error.to_string()))?;
    held(state, ctx, &listed, head, encode_summaries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, String, String, String) {
        let p = pattern(by_text(text), "own").unwrap();
        (p.workspace, p.client, p.name, p.visibility)
    }

    #[test]
    fn query_strings_are_parsed_as_by_the_python_server() {
        let expect = |a: &str, b: &str, c: &str, d: &str| {
            (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned())
        };
        assert_eq!(of("w"), expect("w", "*", "*", "*"));
        assert_eq!(of("w/s"), expect("w", "*", "s", "*"));
        assert_eq!(of("w/c:s"), expect("w", "c", "s", "*"));
        assert_eq!(of("c:s"), expect("own", "c", "s", "*"));
        assert_eq!(of("*/s"), expect("own", "*", "s", "public"));
        assert_eq!(of("*"), expect("*", "*", "*", "*"));
        assert!(pattern(by_text("w/{s}"), "own").is_err());
    }
}
