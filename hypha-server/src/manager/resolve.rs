//! Resolution of a service id to one service, and access to it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hypha_rpc::workspace::{
    GetServiceConfig, ManagerError, Permission, SelectConfig, ServiceConfig, ServiceInfo,
    Visibility,
};
use hypha_rpc::{Context, Map, Value};
use hypha_wire::keys::{RTARGET, RTYPE};
use hypha_wire::{Case, absolute, convert_keys};
use rand::seq::IndexedRandom;

use super::{Answer, at_home, timeout_in_bounds, unavailable};
use crate::registry::{ServiceKey, ServicePattern};
use crate::state::State;
use crate::workspace;

const GET_TIMEOUT: f64 = 10.0;
const SELECT_TIMEOUT: f64 = 2.0;

/// Returns whether an id is the short name of the workspace manager.
pub(super) fn is_manager(id: &str) -> bool {
    id == "~" || id.ends_with("/~")
}

/// Returns the record of the service that `id` selects, reduced to the caller's view.
pub(super) async fn find(
    state: &State,
    ctx: &Context,
    id: &str,
    config: &SelectConfig,
) -> Answer<ServiceInfo> {
    let pattern = pattern(id, ctx.workspace())?;
    let candidates = state
        .registry
        .find_services(&pattern)
        .await
        .map_err(unavailable)?;
    if candidates.is_empty() {
        return Err(ManagerError::Key(format!(
            "Service not found: {}/{}:{}@{}",
            pattern.workspace, pattern.client, pattern.name, pattern.app_id
        )));
    }
    // Services that the caller may not use do not influence the choice either.
    let mut usable = candidates;
    usable.retain(|service| may_use(ctx, &service.config, &pattern.workspace));
    if usable.is_empty() {
        return Err(ManagerError::Permission(format!(
            "Permission denied for non-public service in workspace {}",
            pattern.workspace
        )));
    }
    let chosen = choose(state, ctx, &pattern, usable, config).await?;
    Ok(seen_by(ctx, &chosen, &pattern.workspace))
}

/// Reads `service`, `client:service`, `ws/service` or `ws/client:service`, optionally with `@app`.
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
        return Err(ManagerError::Assertion(format!("Invalid service id: {id}")));
    }
    Ok(ServicePattern {
        // The workspace is literal: the permission check applies to exactly one.
        workspace: workspace.replace('*', "?"),
        client: client.to_owned(),
        name: name.to_owned(),
        app_id: app_id.to_owned(),
        ..ServicePattern::default()
    })
}

type Candidates = Vec<Arc<ServiceInfo>>;

async fn choose(
    state: &State,
    ctx: &Context,
    pattern: &ServicePattern,
    candidates: Candidates,
    config: &SelectConfig,
) -> Answer<Arc<ServiceInfo>> {
    let default = if pattern.workspace == "public" {
        "random"
    } else {
        "exact"
    };
    let mode = config.mode.as_deref().unwrap_or(default);
    let several = candidates.len() > 1;
    let chosen = match mode {
        "exact" if several => {
            let ids: Vec<_> = candidates
                .iter()
                .take(5)
                .map(|service| service.id.as_str())
                .collect();
            return Err(ManagerError::Assertion(format!(
                "Multiple services found for {}/{}:{}, e.g. {ids:?}. You can either specify the \
                 mode as 'random', 'first', 'last', 'native:random', or use \
                 'select:criteria:function' format.",
                pattern.workspace, pattern.client, pattern.name
            )));
        }
        "exact" | "first" => candidates.first(),
        "last" => candidates.last(),
        "random" => candidates.choose(&mut rand::rng()),
        "native:random" => {
            let here = |service: &&Arc<ServiceInfo>| {
                let key = ServiceKey::parse(&service.id);
                key.is_some_and(|key| state.router.find(key.workspace, key.client).is_some())
            };
            let here: Vec<_> = candidates.iter().filter(here).collect();
            let chosen = here.choose(&mut rand::rng()).copied();
            chosen.or_else(|| candidates.choose(&mut rand::rng()))
        }
        "min_load" => candidates
            .iter()
            .min_by(|a, b| load(state, a).total_cmp(&load(state, b))),
        _ => match mode.strip_prefix("select:") {
            Some(rest) => {
                let may_ask = several && ctx.user().may(Permission::Read, &pattern.workspace);
                return select(state, rest, candidates, config, may_ask).await;
            }
            None => {
                return Err(ManagerError::Value(format!(
                    "Invalid mode: {mode}. Mode must be 'random', 'first', 'last', 'exact', \
                     'min_load', 'native:random', or 'select:criteria:function' format (e.g., \
                     'select:min:get_load')"
                )));
            }
        },
    };
    chosen
        .cloned()
        .ok_or_else(|| ManagerError::Key("Service not found".into()))
}

fn load(state: &State, service: &ServiceInfo) -> f64 {
    ServiceKey::parse(&service.id)
        .and_then(|key| state.router.find(key.workspace, key.client))
        .map_or(0.0, |peer| peer.load())
}

/// Calls a function of every candidate and chooses by the results; candidates that fail do not
/// count. Without `may_ask` the choice is random: the calls are made with the server's permissions,
/// and strangers must not cause them.
async fn select(
    state: &State,
    rule: &str,
    candidates: Candidates,
    config: &SelectConfig,
    may_ask: bool,
) -> Answer<Arc<ServiceInfo>> {
    let Some((criterion, function)) = rule.split_once(':').filter(|(_, f)| !f.contains(':')) else {
        return Err(ManagerError::Value(format!(
            "Invalid select mode format: select:{rule}. Expected 'select:criteria:function'"
        )));
    };
    if let [only] = candidates.as_slice() {
        return Ok(Arc::clone(only));
    }
    if !matches!(criterion, "min" | "max" | "first_success") {
        return Err(ManagerError::Value(format!(
            "Unknown selection criteria: {criterion}"
        )));
    }
    let limit = timeout_in_bounds(config.select_timeout, SELECT_TIMEOUT);
    let asked = join_all(
        candidates
            .iter()
            .filter(|_| may_ask)
            .map(|service| ask(state, service, function, limit)),
    );
    let answers = asked.await.into_iter().zip(&candidates);
    let answers = answers.filter_map(|(answer, service)| Some((answer?, service)));
    let mut answers = answers.peekable();
    let chosen = if criterion == "first_success" {
        answers.peek().map(|(_, service)| *service)
    } else {
        let numbers = answers.filter_map(|(answer, service)| Some((as_number(&answer)?, service)));
        let best = if criterion == "min" {
            numbers.min_by(|(a, _), (b, _)| a.total_cmp(b))
        } else {
            numbers.max_by(|(a, _), (b, _)| a.total_cmp(b))
        };
        best.map(|(_, service)| service)
    };
    let chosen = chosen.or_else(|| candidates.choose(&mut rand::rng()));
    chosen
        .cloned()
        .ok_or_else(|| ManagerError::Key("Service not found".into()))
}

/// Converts a value to a number like Python does.
fn as_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    (!number.is_nan()).then_some(number)
}

async fn ask(
    state: &State,
    service: &ServiceInfo,
    function: &str,
    limit: Duration,
) -> Option<Value> {
    let answer = async {
        let remote = workspace::fetch(state, &service.id, limit).await.ok()?;
        if !remote.has_method(function) {
            return None;
        }
        workspace::call(&remote, function).await.ok()
    };
    tokio::time::timeout(limit, answer).await.ok()?
}

fn service_workspace(service: &ServiceInfo) -> &str {
    service.id.split('/').next().unwrap_or_default()
}

/// Returns whether the caller may use a service of `workspace`: the one rule of the server about
/// access to services.
pub(super) fn may_use(ctx: &Context, config: &ServiceConfig, workspace: &str) -> bool {
    config.visibility != Visibility::Protected
        || ctx.user().may(Permission::Read, workspace)
        || is_authorized(ctx, config)
}

fn is_authorized(ctx: &Context, config: &ServiceConfig) -> bool {
    let authorized = config.authorized_workspaces.iter().flatten();
    authorized
        .into_iter()
        .any(|workspace| workspace == ctx.workspace())
}

/// Returns the record as the caller may see it. The authorized workspaces, and the creator beyond
/// its id, are only visible in the service's own workspace.
pub(super) fn seen_by(ctx: &Context, service: &ServiceInfo, workspace: &str) -> ServiceInfo {
    let mut service = service.clone();
    if !ctx.user().may(Permission::Read, workspace) {
        service.config.authorized_workspaces = None;
        if let Some(Value::Map(creator)) = &mut service.config.created_by {
            creator.retain(|key, _| key == "id");
        }
    }
    service
}

/// Fetches a service for the caller from its provider.
pub(super) async fn get(
    state: &State,
    ctx: &Context,
    id: &str,
    config: GetServiceConfig,
) -> Answer<Value> {
    if id == "*" {
        return Err(ManagerError::Assertion(
            "Invalid service id: *, it cannot be a wildcard.".into(),
        ));
    }
    let timeout = timeout_in_bounds(config.timeout, GET_TIMEOUT);
    let case = case(config.case_conversion.as_deref())?;
    if is_manager(id) {
        at_home(ctx, Permission::Read)?;
        let own = format!("*/{}:default", state.info.manager_id);
        let service = workspace::fetch(state, &own, timeout).await?;
        return Ok(converted(Value::Map(service.members().clone()), case));
    }
    let select = SelectConfig {
        mode: config.mode,
        select_timeout: config.select_timeout,
        read_app_manifest: None,
    };
    let info = match find(state, ctx, id, &select).await {
        Err(ManagerError::Key(_)) if id.contains('@') => {
            return Err(ManagerError::Other(
                "Failed to get application info: artifact-manager service not found.".into(),
            ));
        }
        found => found?,
    };
    let workspace = service_workspace(&info).to_owned();
    let service = workspace::fetch(state, &info.id, timeout).await?;
    let mut members = service.members().clone();
    members
        .values_mut()
        .for_each(|member| make_absolute(member, &workspace));
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

/// Reads the option `case_conversion`; an empty text is none.
fn case(given: Option<&str>) -> Answer<Option<Case>> {
    let Some(text) = given.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match Case::parse(text) {
        Some(case) => Ok(Some(case)),
        None => Err(ManagerError::Value(format!(
            "Invalid case_conversion: {text}. It must be 'camel', 'snake' or 'camel+snake'"
        ))),
    }
}

fn converted(service: Value, case: Option<Case>) -> Value {
    match case {
        Some(case) => convert_keys(service, case),
        None => service,
    }
}

/// Makes the addresses of functions absolute; relative ones are valid only at their owner.
pub(super) fn make_absolute(value: &mut Value, workspace: &str) {
    match value {
        Value::Map(map) => {
            let is_method = map.get(RTYPE).and_then(Value::as_str) == Some("method");
            if let Some(Value::String(target)) = map.get_mut(RTARGET).filter(|_| is_method) {
                *target = absolute(target, workspace).into_owned();
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
