//! Lists of services and clients.

use hypha_rpc::Context;
use hypha_rpc::workspace::{
    ClientInfo, ManagerError, Permission, ServiceFilter, ServiceInfo, ServiceQuery, ServiceSummary,
    UserInfo, Visibility, WorkspaceSummary,
};
use hypha_wire::keys::BUILT_IN;

use super::{Answer, allowed, resolve, unavailable};
use crate::registry::ServicePattern;
use crate::state::State;

pub(super) async fn services(
    state: &State,
    ctx: &Context,
    query: Option<ServiceQuery>,
    include_unlisted: bool,
) -> Answer<Vec<ServiceInfo>> {
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
            pattern.workspace
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
        // The public services of all workspaces, and all of the own one.
        let asked = std::mem::replace(&mut pattern.visibility, "public".into());
        found = registry
            .find_services(&pattern)
            .await
            .map_err(unavailable)?;
        found.retain(|service| !service.id.starts_with(&format!("{own}/")));
        pattern.visibility = asked;
        pattern.workspace = own.to_owned();
    }
    found.extend(
        registry
            .find_services(&pattern)
            .await
            .map_err(unavailable)?,
    );
    let listed = found.iter().filter_map(|service| {
        let workspace = service.id.split('/').next().unwrap_or_default();
        let shown = match service.config.visibility {
            Visibility::Public => true,
            Visibility::Unlisted => include_unlisted && workspace == own,
            Visibility::Protected => resolve::may_use(ctx, &service.config, workspace),
        };
        shown.then(|| resolve::visible_to(ctx, service, workspace))
    });
    Ok(listed.collect())
}

/// Reads a query in one text.
fn by_text(text: &str) -> ServiceFilter {
    let mut filter = ServiceFilter::default();
    let (workspace, rest) = match text.split_once('/') {
        Some((workspace, rest)) => (Some(workspace), Some(rest)),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    match (workspace, rest) {
        // Only the public services of the own workspace, as in the original.
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

fn pattern(filter: ServiceFilter, own: &str) -> Answer<ServicePattern> {
    if !filter.unknown.is_empty() {
        let keys: Vec<_> = filter
            .unknown
            .keys()
            .map(|key| format!("'{key}'"))
            .collect();
        return Err(ManagerError::Value(format!(
            "Invalid query keys: {{{}}}",
            keys.join(", ")
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
                "App id mismatch: {given} != {app}"
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

fn check_characters(part: &str) -> Answer<()> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/|*.".contains(&byte);
    if part.bytes().all(fine) {
        Ok(())
    } else {
        Err(ManagerError::Value(format!(
            "Invalid characters in query part: {part}"
        )))
    }
}

/// Lists the clients that have registered their built-in service.
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
    let client = |service: &std::sync::Arc<ServiceInfo>| {
        let id = service.id.split(':').next().unwrap_or_default().to_owned();
        let user = service.config.created_by.as_ref();
        let user = user
            .and_then(|user| user.decode_as::<UserInfo>().ok())
            .unwrap_or_default();
        ClientInfo { id, user }
    };
    Ok(found.iter().map(client).collect())
}

pub(super) async fn summary(state: &State, ctx: &Context) -> Answer<WorkspaceSummary> {
    let workspace = super::workspaces::load(state, ctx.workspace()).await?;
    let clients = match clients(state, ctx, &workspace.id).await {
        Ok(clients) => clients,
        // A caller that may not list clients gets the rest of the summary.
        Err(ManagerError::Permission(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let services = services(state, ctx, None, false).await?;
    Ok(WorkspaceSummary {
        name: workspace.name,
        description: workspace.properties.description,
        client_count: clients.len() as u64,
        clients: clients.into_iter().map(|client| client.id).collect(),
        service_count: services.len() as u64,
        services: services.into_iter().map(ServiceSummary::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, String, String, String) {
        let p = pattern(by_text(text), "own").unwrap();
        (p.workspace, p.client, p.name, p.visibility)
    }

    #[test]
    fn texts_are_understood_as_the_original_does() {
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
