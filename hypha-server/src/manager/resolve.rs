//! Selects one service by an id and a selection mode, and fetches the service from its provider.
//!
//! A caller sees only services that it may use. Hidden services affect neither the selection nor
//! the error, with one exception. As in the Python server, the error says whether the service is
//! missing or forbidden.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use hypha_rpc::service::is_open_to;
use hypha_rpc::workspace::{
    GetServiceConfig, Keyword, ManagerError, Permission, SelectionMode, ServiceInfo,
    ServiceSelection, Visibility,
};
use hypha_rpc::{Context, Map, Value};
use hypha_wire as wire;
use hypha_wire::keys::{RTARGET, RTYPE};
use hypha_wire::{Case, absolute_address, convert_keys};
use rand::seq::IndexedRandom;

use super::{Answer, in_own_workspace, timeout_in_bounds, unavailable};
use crate::platform;
use crate::registry::{Record, ServicePattern};
use crate::shown::shown;
use crate::state::State;
use crate::workspace;

/// Default timeout for fetching a service from its provider, in seconds.
const GET_TIMEOUT: f64 = 10.0;
/// Default timeout of the calls with which a mode such as `select:min:get_load` compares services,
/// in seconds. The manager calls all candidates at the same time.
const SELECT_TIMEOUT: f64 = 2.0;
/// Maximum number of services that `get_service` tries to fetch from a provider that is not
/// connected, before `get_service` fails.
const ABSENT_MAX: usize = 8;

/// Short name of the workspace manager. It is valid in every workspace.
pub(super) const MANAGER: &str = "~";

/// Returns whether an id is the short name of the workspace manager.
fn is_manager(id: &str) -> bool {
    id.rsplit('/').next() == Some(MANAGER)
}

/// Returns the encoded record of the service that `id` selects. The record contains only the fields
/// that the caller may see.
///
/// # Errors
///
/// Fails if the id is invalid, or if it selects no service, several services, or only services that
/// the caller may not use.
pub(super) async fn record(
    state: &State,
    ctx: &Context,
    id: &str,
    selection: &ServiceSelection,
) -> Answer<Bytes> {
    if is_manager(id) {
        let Some(record) = state.clients.manager_record() else {
            return Err(ManagerError::Runtime("the server is starting".into()));
        };
        let bytes = wire::to_vec(record);
        return bytes
            .map(Bytes::from)
            .map_err(|error| ManagerError::Runtime(error.to_string()));
    }
    let (record, is_member) = find_present(state, ctx, id, selection, &[]).await?;
    let mut bytes = Vec::with_capacity(record.len());
    record.write(is_member, &mut bytes);
    Ok(bytes.into())
}

/// Returns the decoded record of the service that `id` selects. The record contains only the fields
/// that the caller may see.
///
/// # Errors
///
/// Fails like [`record`].
pub(super) async fn find(
    state: &State,
    ctx: &Context,
    id: &str,
    selection: &ServiceSelection,
) -> Answer<ServiceInfo> {
    let (record, is_member) = find_present(state, ctx, id, selection, &[]).await?;
    record.service(is_member).map_err(unavailable)
}

/// Returns the service that `id` selects, and whether the caller is a member of the service's
/// workspace. Services whose full ids are in `absent` are selected only if no other service
/// matches.
async fn find_present(
    state: &State,
    ctx: &Context,
    id: &str,
    selection: &ServiceSelection,
    absent: &[String],
) -> Answer<(Arc<Record>, bool)> {
    let pattern = pattern(id, ctx.workspace())?;
    let candidates = state
        .registry
        .find_services(&pattern)
        .await
        .map_err(unavailable)?;
    if candidates.is_empty() {
        let lacks = platform::lacks_service(&pattern.name);
        let lacks = lacks.filter(|_| pattern.workspace == "public");
        let reason = lacks
            .map(|reason| format!(" ({reason})"))
            .unwrap_or_default();
        return Err(ManagerError::Key(format!(
            "Service not found: {}/{}:{}@{}{reason}",
            shown(&pattern.workspace),
            shown(&pattern.client),
            shown(&pattern.name),
            shown(&pattern.app_id)
        )));
    }
    // Hidden services are removed before the selection. Otherwise hidden services could make an id
    // ambiguous, and a `select` mode would call them.
    let mut usable = candidates;
    let is_member = ctx.user().may(Permission::Read, &pattern.workspace);
    usable.retain(|record| may_use(ctx, record, is_member));
    if usable.is_empty() {
        return Err(ManagerError::Permission(format!(
            "Permission denied for non-public service in workspace {}",
            shown(&pattern.workspace)
        )));
    }
    let is_present = |record: &Arc<Record>| absent.iter().all(|id| *id != *record.id);
    if usable.iter().any(is_present) {
        usable.retain(is_present);
    }
    let chosen = choose(state, ctx, &pattern, usable, selection).await?;
    Ok((chosen, is_member))
}

/// Converts an id to a pattern. The forms are `service`, `client:service`, `workspace/service` and
/// `workspace/client:service`, optionally with `@app`.
///
/// # Errors
///
/// Fails if the id has another form, or if its workspace or name is `*`.
fn pattern(id: &str, own: &str) -> Answer<ServicePattern> {
    for mark in ['/', ':', '@'] {
        if id.matches(mark).count() > 1 {
            return Err(ManagerError::Assertion(format!(
                "Service id must contain at most one '{mark}'"
            )));
        }
    }
    let (id, app_id) = id.split_once('@').unwrap_or((id, "*"));
    let (workspace, rest) = id.split_once('/').unwrap_or((own, id));
    let (client, name) = rest.split_once(':').unwrap_or(("*", rest));
    if workspace == "*" {
        return Err(ManagerError::Assertion(
            "You must specify a workspace for the service query, otherwise please call \
             list_services to find the service."
                .into(),
        ));
    }
    if workspace.is_empty() || client.is_empty() || name == "*" {
        return Err(ManagerError::Assertion(format!(
            "Invalid service id: {}",
            shown(id)
        )));
    }
    Ok(ServicePattern {
        // No workspace has a `?` in its id, so a partial wildcard such as `a*` becomes a pattern
        // that matches no workspace. If a partial wildcard matched several workspaces, it would
        // bypass the permission check, which covers only one workspace.
        workspace: workspace.replace('*', "?"),
        client: client.to_owned(),
        name: name.to_owned(),
        app_id: app_id.to_owned(),
        ..ServicePattern::default()
    })
}

/// The services from which a selection mode chooses, in the order of their ids.
type Candidates = Vec<Arc<Record>>;

/// Returns the error for an unknown mode, with the text of the Python server. The text says which
/// part of the mode is invalid.
fn invalid_mode(mode: &str) -> ManagerError {
    let Some(rule) = mode.strip_prefix("select:") else {
        return ManagerError::Value(format!(
            "Invalid mode: {}. Mode must be 'random', 'first', 'last', 'exact', 'min_load', \
             'native:random', or 'select:criteria:function' format (e.g., 'select:min:get_load')",
            shown(mode)
        ));
    };
    match unknown_criterion(mode) {
        Some(criterion) => {
            ManagerError::Value(format!("Unknown selection criteria: {}", shown(criterion)))
        }
        None => ManagerError::Value(format!(
            "Invalid select mode format: select:{}. Expected 'select:criteria:function'",
            shown(rule)
        )),
    }
}

/// If an unknown mode has the form `select:criterion:function`, returns the criterion.
fn unknown_criterion(mode: &str) -> Option<&str> {
    let (criterion, function) = mode.strip_prefix("select:")?.split_once(':')?;
    (!function.contains(':')).then_some(criterion)
}

/// Chooses one of the candidates by the selection mode. Default: `random` in the workspace
/// `public`, `exact` elsewhere.
///
/// # Errors
///
/// Fails if the mode is unknown, or if the mode is `exact` and there are several candidates.
async fn choose(
    state: &State,
    ctx: &Context,
    pattern: &ServicePattern,
    candidates: Candidates,
    selection: &ServiceSelection,
) -> Answer<Arc<Record>> {
    let default = match pattern.workspace.as_str() {
        "public" => SelectionMode::Random,
        _ => SelectionMode::Exact,
    };
    let mode = selection.mode.as_ref().unwrap_or(&default);
    let several = candidates.len() > 1;
    let random = || candidates.choose(&mut rand::rng());
    let chosen = match mode {
        SelectionMode::Exact if several => {
            let ids: Vec<_> = candidates
                .iter()
                .take(5)
                .map(|record| &*record.id)
                .collect();
            return Err(ManagerError::Assertion(format!(
                "Multiple services found for {}/{}:{}, e.g. {ids:?}. You can either specify the \
                 mode as 'random', 'first', 'last', 'native:random', or use \
                 'select:criteria:function' format.",
                pattern.workspace, pattern.client, pattern.name
            )));
        }
        SelectionMode::Exact | SelectionMode::First => candidates.first(),
        SelectionMode::Last => candidates.last(),
        SelectionMode::Random => random(),
        SelectionMode::NativeRandom => {
            // Providers at this server are preferred, because calls to them do not pass through
            // Redis.
            let here = |record: &&Arc<Record>| {
                let key = record.key();
                key.is_some_and(|key| state.router.find(key.workspace, key.client).is_some())
            };
            let here: Vec<_> = candidates.iter().filter(here).collect();
            here.choose(&mut rand::rng()).copied().or_else(random)
        }
        SelectionMode::MinLoad => candidates
            .iter()
            .min_by(|a, b| load(state, a).total_cmp(&load(state, b))),
        SelectionMode::SelectMin(function)
        | SelectionMode::SelectMax(function)
        | SelectionMode::SelectFirstSuccess(function) => {
            if !several {
                candidates.first()
            } else if !ctx.user().may(Permission::Read, &pattern.workspace) {
                // The manager makes these calls with the permissions of the server, so a caller
                // that may not read the workspace must not cause such calls.
                random()
            } else {
                let timeout = timeout_in_bounds(selection.select_timeout, SELECT_TIMEOUT);
                let chosen = select(state, mode, function, &candidates, timeout).await;
                chosen.or_else(random)
            }
        }
        unknown => {
            let mode = unknown.to_string();
            // The Python server accepts any criterion if there is only one candidate.
            if several || unknown_criterion(&mode).is_none() {
                return Err(invalid_mode(&mode));
            }
            candidates.first()
        }
    };
    chosen
        .cloned()
        .ok_or_else(|| ManagerError::Key("Service not found".into()))
}

/// Returns the load of the provider of a service. Returns 0 for a provider at another server,
/// because only that server measures the load.
fn load(state: &State, record: &Record) -> f64 {
    record
        .key()
        .and_then(|key| state.router.find(key.workspace, key.client))
        .map_or(0.0, |peer| peer.load())
}

/// Calls a function of all candidates concurrently, and selects one by the results. Ignores
/// candidates that fail or do not respond in time. Returns `None` if no candidate is left.
async fn select<'a>(
    state: &State,
    mode: &SelectionMode,
    function: &str,
    candidates: &'a [Arc<Record>],
    timeout: Duration,
) -> Option<&'a Arc<Record>> {
    let results = join_all(
        candidates
            .iter()
            .map(|service| ask(state, service, function, timeout)),
    );
    let results = results.await.into_iter().zip(candidates);
    let mut results = results.filter_map(|(result, service)| Some((result?, service)));
    if matches!(mode, SelectionMode::SelectFirstSuccess(_)) {
        return results.next().map(|(_, service)| service);
    }
    let numbers = results.filter_map(|(result, service)| Some((as_number(&result)?, service)));
    let best = match mode {
        SelectionMode::SelectMin(_) => numbers.min_by(|(a, _), (b, _)| a.total_cmp(b)),
        _ => numbers.max_by(|(a, _), (b, _)| a.total_cmp(b)),
    };
    best.map(|(_, service)| service)
}

/// Converts a value to a number like Python's `float()`. Returns `None` for NaN, because NaN has no
/// order.
fn as_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    (!number.is_nan()).then_some(number)
}

/// Calls a function of a service without arguments. Returns `None` if the service has no such
/// function, the call fails, or the fetch and the call together take longer than `limit`.
async fn ask(state: &State, service: &Record, function: &str, limit: Duration) -> Option<Value> {
    let answer = async {
        let remote = workspace::fetch(state, &service.id, limit).await.ok()?;
        if !remote.has_method(function) {
            return None;
        }
        workspace::call(&remote, function).await.ok()
    };
    tokio::time::timeout(limit, answer).await.ok()?
}

/// Returns the workspace in the full id of a service.
fn service_workspace(service: &ServiceInfo) -> &str {
    service.id.split('/').next().unwrap_or_default()
}

/// Returns whether the caller may use a service. `is_member` says whether the caller may read the
/// workspace of the service.
pub(super) fn may_use(ctx: &Context, record: &Record, is_member: bool) -> bool {
    // Fast path: this case does not need the list of authorized workspaces.
    if record.visibility == Visibility::Public || is_member {
        return true;
    }
    is_open_to(
        record.visibility,
        &record.authorized,
        ctx.workspace(),
        is_member,
    )
}

/// Selects a service by `id`, and fetches the service from its provider. The addresses of its
/// methods are absolute in the result.
///
/// # Errors
///
/// Fails like [`record`]. Also fails if the provider is not connected or does not respond in time.
pub(super) async fn get(
    state: &State,
    ctx: &Context,
    id: &str,
    config: GetServiceConfig,
) -> Answer<Value> {
    // `pattern` would refuse this id as well, but the Python server has a separate error text for
    // this id.
    if id == "*" {
        return Err(ManagerError::Assertion(
            "Invalid service id: *, it cannot be a wildcard.".into(),
        ));
    }
    let timeout = timeout_in_bounds(config.timeout, GET_TIMEOUT);
    let case = case(config.case_conversion)?;
    if is_manager(id) {
        in_own_workspace(ctx, Permission::Read)?;
        let own = format!("*/{}:default", state.info.manager_id);
        let service = workspace::fetch(state, &own, timeout).await?;
        return Ok(converted(Value::Map(service.members().clone()), case));
    }
    // When a server is killed, its records stay for some seconds, until another server removes
    // them. If the id also selects another service, `get` fetches that other service, so that the
    // call succeeds.
    let mut absent = Vec::new();
    let mut failure = None;
    let (info, service) = loop {
        let selection = &config.selection;
        let info = match find_present(state, ctx, id, selection, &absent).await {
            // The Python server would now start the installed application of that name.
            Err(ManagerError::Key(_)) if id.contains('@') => {
                return Err(ManagerError::Other(
                    "Failed to get application info: artifact-manager service not found.".into(),
                ));
            }
            found => {
                let (record, is_member) = found?;
                // The candidates stay encoded: a decoded record takes many times the memory.
                record.service(is_member).map_err(unavailable)?
            }
        };
        // `find_present` returns an absent service again only if no other service is left. The
        // error of the last fetch is then the reason for the failure.
        if let Some(failure) = failure.take_if(|_| absent.contains(&info.id)) {
            return Err(failure);
        }
        match workspace::fetch(state, &info.id, timeout).await {
            Ok(service) => break (info, service),
            Err(failed) if failed.is_absent && absent.len() < ABSENT_MAX => {
                absent.push(info.id);
                failure = Some(ManagerError::from(failed));
            }
            Err(failed) => return Err(failed.into()),
        }
    };
    let workspace = service_workspace(&info).to_owned();
    let mut members = service.members().clone();
    members
        .values_mut()
        .for_each(|member| make_absolute(member, &workspace));
    // The provider registered the service under a shorter id, and does not know the server's
    // address.
    members.insert("id".into(), info.id.as_str().into());
    let local = info.id.split_once('/').map_or("", |(_, local)| local);
    let url = format!(
        "{}/{workspace}/services/{local}",
        state.info.public_base_url
    );
    if !matches!(members.get("config"), Some(Value::Map(_))) {
        members.insert("config".into(), Value::Map(Map::new()));
    }
    if let Some(Value::Map(config)) = members.get_mut("config") {
        config.insert("workspace".into(), workspace.into());
        config.insert("url".into(), url.into());
    }
    Ok(converted(Value::Map(members), case))
}

/// Converts the option `case_conversion`. An empty string means no conversion.
fn case(given: Option<Keyword<Case>>) -> Answer<Option<Case>> {
    match given {
        None => Ok(None),
        Some(Keyword::Known(case)) => Ok(Some(case)),
        Some(Keyword::Other(text)) if text.is_empty() => Ok(None),
        Some(Keyword::Other(text)) => Err(ManagerError::Value(format!(
            "Invalid case_conversion: {}. It must be 'camel', 'snake' or 'camel+snake'",
            shown(&text)
        ))),
    }
}

/// Converts the keys of a service to `case`. Returns the service unchanged if `case` is `None`.
fn converted(service: Value, case: Option<Case>) -> Value {
    match case {
        Some(case) => convert_keys(service, case),
        None => service,
    }
}

/// Makes the addresses of functions in a value absolute. Relative addresses are valid only in the
/// workspace of their owner.
pub(super) fn make_absolute(value: &mut Value, workspace: &str) {
    match value {
        Value::Map(map) => {
            let is_method = map.get(RTYPE).and_then(Value::as_str) == Some("method");
            if let Some(Value::String(target)) = map.get_mut(RTARGET).filter(|_| is_method) {
                *target = absolute_address(target, workspace).into_owned();
            }
            map.values_mut()
                .for_each(|value| make_absolute(value, workspace));
        }
        Value::List(items) => items
            .iter_mut()
            .for_each(|item| make_absolute(item, workspace)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_wrong_part_of_a_mode() {
        for (mode, expected) in [
            ("", "Invalid mode: . Mode must be"),
            ("fastest", "Invalid mode: fastest."),
            ("select:min", "Invalid select mode format: select:min."),
            (
                "select:min:a:b",
                "Invalid select mode format: select:min:a:b.",
            ),
            ("select:best:f", "Unknown selection criteria: best"),
        ] {
            let error = invalid_mode(mode);
            assert!(error.message().starts_with(expected), "{mode}: {error}");
        }
    }

    #[test]
    fn every_spelling_of_an_id_is_understood() {
        let parts = |id: &str| {
            let p = pattern(id, "own").unwrap();
            (p.workspace, p.client, p.name, p.app_id)
        };
        let expect = |a: &str, b: &str, c: &str, d: &str| {
            (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned())
        };
        assert_eq!(parts("s"), expect("own", "*", "s", "*"));
        assert_eq!(parts("c:s"), expect("own", "c", "s", "*"));
        assert_eq!(parts("w/s"), expect("w", "*", "s", "*"));
        assert_eq!(parts("w/*:s"), expect("w", "*", "s", "*"));
        assert_eq!(parts("w/c:s@app"), expect("w", "c", "s", "app"));
        for bad in ["*/s", "a/b/c:s", "a:b:c", "a@b@c", "w/*"] {
            assert!(pattern(bad, "own").is_err(), "{bad}");
        }
    }
}
