//! The pages of workspaces: the list of workspaces, and the services, clients, events and tokens of
//! one workspace.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use hypha_rpc::client::EventKind;
use hypha_rpc::workspace::{
    Keyword, Permission, TokenConfig, WorkspaceConfig, WorkspaceProperties,
};
use hypha_rpc::{Map, Value, args};
use maud::{Markup, html};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::super::problem::{Problem, problem};
use super::super::{body, info, request_client};
use super::layout::proof_field;
use super::{ADMINISTRATION, Fields, Visit, layout, refusal, sign_in};

/// Maximum number of events that wait for a browser.
const EVENTS_MAX: usize = 64;
/// Maximum size of the line of an event, in bytes.
const EVENT_MAX: usize = 2048;
/// Maximum lifetime of a token, in hours: about 100 years.
const HOURS_MAX: f64 = 876_000.0;
/// Number of services on a page.
const PAGE_ROWS: usize = 200;
/// Estimated memory of a page, as a multiple of the encoded size of the records that it shows.
pub(super) const EXPANSION: usize = 4;
/// Events that a client of the workspace receives.
const EVENTS: [EventKind<'static>; 8] = [
    EventKind::ClientConnected,
    EventKind::ClientDisconnected,
    EventKind::ClientUpdated,
    EventKind::ServiceAdded,
    EventKind::ServiceRemoved,
    EventKind::WorkspaceChanged,
    EventKind::WorkspaceLoaded,
    EventKind::WorkspaceDeleted,
];

/// Shows the workspaces of the user, and the forms to sign in.
pub(super) async fn home(visit: Visit) -> Response {
    let content = workspaces(&visit).await;
    visit.show("Workspaces", content)
}

async fn workspaces(visit: &Visit) -> Result<Markup, Problem> {
    let client = visit.enter_any().await?;
    let manager = client.manager().await.map_err(refusal)?;
    let listed = manager.list_workspaces(None, 0, 256).await;
    let listed = listed.map_err(request_client::manager_refusal)?;
    // Everybody can open `public`. Each user can open the user's own workspace, even if it does
    // not exist yet.
    let mut rows: Vec<(String, String)> = listed
        .into_iter()
        .map(|it| (it.id, it.description.unwrap_or_default()))
        .collect();
    for (id, text) in [
        ("public".to_owned(), "Services for everybody"),
        (visit.visitor.user.own_workspace(), "Your own workspace"),
    ] {
        let is_listed = rows.iter().any(|(listed, _)| *listed == id);
        if !is_listed && (visit.session.has_token || id == "public") {
            rows.insert(0, (id, text.into()));
        }
    }
    Ok(html! {
        h1 { "Workspaces" }
        p {
            "Programs connect to " code { (visit.state().info.public_base_url) }
            " and offer services in workspaces."
        }
        (layout::scrolling("Workspaces", &html! {
            table {
                thead { tr { th scope="col" { "Workspace" } th scope="col" { "Description" } } }
                tbody {
                    @for (id, description) in &rows {
                        tr {
                            th scope="row" { a href=(visit.path(&["ws", id])) { (id) } }
                            td { (description) }
                        }
                    }
                }
            }
        }))
        @if visit.session.has_token {
            details class="card" {
                summary { "Create a workspace" }
                form method="post" action=(visit.path(&["workspaces"])) {
                    (proof_field(visit))
                    label for="id" { "Id, such as " code { "ws-lab" } }
                    input id="id" name="id" required;
                    label for="description" { "Description" }
                    input id="description" name="description";
                    label {
                        input type="checkbox" name="persistent" value="1";
                        " Keep the workspace when its last client leaves"
                    }
                    button type="submit" { "Create" }
                }
            }
        } @else {
            (sign_in::forms(visit))
        }
    })
}

/// Creates a workspace.
pub(super) async fn create(visit: Visit, body: Body) -> Response {
    let created = async {
        let fields = visit.form(body).await?;
        visit.signed_in("create a workspace")?;
        let id = fields.parsed("id", "the id of the new workspace", |id| {
            (!id.is_empty()).then(|| id.to_owned())
        })?;
        // Browsers send a box only if it is checked.
        let persistent = fields.parsed("persistent", "1 or nothing", |text| match text {
            "" => Some(false),
            "1" => Some(true),
            _ => None,
        })?;
        let client = visit.enter_any().await?;
        let manager = client.manager().await.map_err(refusal)?;
        let config = WorkspaceConfig {
            id: Some(id.clone()),
            name: Some(id),
            properties: WorkspaceProperties {
                description: fields.given("description"),
                persistent,
                ..WorkspaceProperties::default()
            },
        };
        let created = manager.create_workspace(config, false).await;
        Ok(created.map_err(request_client::manager_refusal)?.id)
    };
    match created.await {
        Ok(id) => visit.go_to(&["ws", &id]),
        Err(problem) => visit.show("Create a workspace", Err(problem)),
    }
}

/// The query of the list of services.
struct Search {
    /// Text that the name, id, type or description must contain.
    q: String,
    /// Number of matches to skip.
    from: usize,
}

impl Search {
    fn of(uri: &Uri) -> Result<Search, Problem> {
        let fields = Fields::of_query(uri);
        let fields = fields.ok_or_else(|| {
            problem(
                StatusCode::BAD_REQUEST,
                "The query of the URL is unreadable",
            )
        })?;
        let expected = "the number of services to skip";
        let from = fields.parsed("from", expected, |text| match text {
            "" => Some(0),
            text => text.parse().ok(),
        })?;
        let q = fields.given("q").unwrap_or_default();
        Ok(Search { q, from })
    }
}

/// Lists the services of a workspace that the user may see.
pub(super) async fn services(visit: Visit, Path(workspace): Path<String>, uri: Uri) -> Response {
    let content = service_list(&visit, &workspace, &uri).await;
    visit.show(&workspace, content)
}

async fn service_list(visit: &Visit, workspace: &str, uri: &Uri) -> Result<Markup, Problem> {
    let search = Search::of(uri)?;
    let records = info::records(&visit.front, &visit.visitor, workspace).await?;
    let size = hypha_wire::to_vec(&records).map_or(0, |bytes| bytes.len());
    let charge = visit.visitor.account.charge(size * EXPANSION).await;
    let _charge = charge.map_err(|error| body::over_budget(visit.state(), &error))?;
    let words = search.q.to_lowercase();
    let text = |record: &Map, key: &str| {
        let text = record.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let mut rows: Vec<[String; 4]> = records
        .iter()
        .map(|record| ["id", "name", "type", "description"].map(|key| text(record, key)))
        // Every client has a built-in service, which people do not need.
        .filter(|[id, ..]| !id.split('@').next().unwrap_or(id).ends_with(":built-in"))
        .filter(|row| row.iter().any(|text| text.to_lowercase().contains(&words)))
        .collect();
    rows.sort_unstable();
    let count = rows.len();
    let end = search.from.saturating_add(PAGE_ROWS).min(count);
    let shown = rows.get(search.from..end).unwrap_or_default();
    let action = visit.path(&["ws", workspace]);
    let more = |from: usize| {
        let query: String = search
            .q
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        format!("{action}?q={query}&from={from}")
    };
    Ok(html! {
        h1 { (workspace) }
        (layout::tabs(visit, workspace, ""))
        form role="search" method="get" action=(action) class="search" {
            label for="q" { "Search services" }
            input id="q" name="q" type="search" value=(search.q) data-filter="services";
            button type="submit" { "Search" }
        }
        div data-live="2000" id="live-services" {
            p role="status" { (count) @if count == 1 { " service" } @else { " services" } }
            @if !shown.is_empty() {
                (layout::scrolling("Services", &html! {
                    table id="services" {
                        thead {
                            tr {
                                @for title in ["Service", "Client", "Type", "Description"] {
                                    th scope="col" { (title) }
                                }
                            }
                        }
                        tbody {
                            @for [id, name, kind, description] in shown {
                                @let (client, service) = id.split_once(':').unwrap_or(("", id));
                                tr {
                                    th scope="row" {
                                        span class="dot" aria-hidden="true" {}
                                        a href=(visit.path(&["ws", workspace, "service", id])) {
                                            (service)
                                        }
                                        @if !name.is_empty() && name != service {
                                            " " span class="quiet" { (name) }
                                        }
                                    }
                                    td { code { (client) } }
                                    td { (kind) }
                                    td { (description) }
                                }
                            }
                        }
                    }
                }))
            } @else {
                p {
                    "There are no services here. They appear when a program registers them, and "
                    "disappear when the program disconnects."
                }
            }
            p class="pages" {
                @if search.from > 0 {
                    a href=(more(search.from.saturating_sub(PAGE_ROWS))) { "Previous" } " "
                }
                @if end < count { a href=(more(end)) { "Next" } }
            }
        }
    })
}

/// Lists the clients of a workspace.
pub(super) async fn clients(visit: Visit, Path(workspace): Path<String>) -> Response {
    let content = match client_list(&visit, &workspace).await {
        Err(problem) if problem.status() == StatusCode::FORBIDDEN => Ok(html! {
            h1 { (workspace) }
            (layout::tabs(&visit, &workspace, "clients"))
            p { "Only users that may enter the workspace see its clients." }
            @if !visit.session.has_token {
                p { a href=(format!("{}#sign-in", visit.path(&[]))) { "Sign in" } }
            }
        }),
        content => content,
    };
    visit.show("Clients", content)
}

async fn client_list(visit: &Visit, workspace: &str) -> Result<Markup, Problem> {
    let client = visit.enter(workspace).await?;
    let manager = client.manager().await.map_err(refusal)?;
    let listed = manager.list_clients(Some(workspace.to_owned())).await;
    let mut listed = listed.map_err(request_client::manager_refusal)?;
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    let kicks = visit.is_administrator();
    Ok(html! {
        h1 { (workspace) }
        (layout::tabs(visit, workspace, "clients"))
        div data-live="3000" id="live-clients" {
            p role="status" { (listed.len()) " connected" }
            (layout::scrolling("Clients", &html! {
                table {
                    thead {
                        tr {
                            th scope="col" { "Client" }
                            th scope="col" { "User" }
                            th scope="col" { "Credentials expire" }
                            @if kicks { th scope="col" { "Action" } }
                        }
                    }
                    tbody {
                        @for listed in &listed {
                            @let id = listed.id.split_once('/').map_or(&*listed.id, |(_, id)| id);
                            tr {
                                th scope="row" { code { (id) } }
                                td {
                                    (listed.user.email.as_deref().unwrap_or(&listed.user.id))
                                    @if listed.user.is_anonymous { " (anonymous)" }
                                }
                                td {
                                    @if let Some(end) = listed.user.expires_at {
                                        (layout::time(end))
                                    }
                                }
                                @if kicks {
                                    td {
                                        form method="post"
                                            action=(visit.path(&["ws", workspace, "kick"])) {
                                            (proof_field(visit))
                                            input type="hidden" name="client" value=(id);
                                            button type="submit"
                                                aria-label=(format!("Disconnect {id}")) {
                                                "Disconnect"
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }))
        }
    })
}

/// Disconnects a client.
pub(super) async fn kick(visit: Visit, Path(workspace): Path<String>, body: Body) -> Response {
    let kicked = async {
        let fields = visit.form(body).await?;
        let service = visit.own_service(ADMINISTRATION, "admin-utils").await?;
        let args = args!(
            workspace = workspace.as_str(),
            client_id = fields.text("client")
        );
        let call = service.call::<Value>("kickout_client", args);
        call.await.map_err(refusal)
    };
    match kicked.await {
        Ok(_) => visit.go_to(&["ws", &workspace, "clients"]),
        Err(problem) => visit.show("Disconnect a client", Err(problem)),
    }
}

/// Shows the events of a workspace. A script adds new events.
pub(super) async fn events(
    visit: Visit,
    Path(workspace): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    if query.iter().any(|(key, _)| key == "live") {
        return match live_events(visit, &workspace).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        };
    }
    let content = event_list(&visit, &workspace).await;
    visit.show("Events", content)
}

async fn event_list(visit: &Visit, workspace: &str) -> Result<Markup, Problem> {
    let client = visit.enter_to_watch(workspace).await?;
    let manager = client.manager().await.map_err(refusal)?;
    // `get_events` returns the log of the client's workspace. If the user may not enter
    // `workspace`, the client is in another workspace.
    let logged = if client.workspace() == workspace {
        let logged = manager.get_events(None, None, None).await;
        logged.map_err(request_client::manager_refusal)?
    } else {
        Vec::new()
    };
    Ok(html! {
        h1 { (workspace) }
        (layout::tabs(visit, workspace, "events"))
        h2 { "Live" }
        @if client.workspace() == workspace {
            p role="status" id="events-state" { "Needs scripts." }
            ol class="log" id="events" aria-live="polite" tabindex="0" aria-label="Live events"
                data-events=(format!("{}?live=1", visit.path(&["ws", workspace, "events"]))) {}
        } @else {
            p { (why_no_events(visit, workspace)) }
        }
        h2 { "Log of your programs" }
        p class="quiet" { "Programs add entries with " code { "log" } " and " code { "log_event" } "." }
        (layout::scrolling("Events", &html! {
            table {
                thead {
                    tr {
                        th scope="col" { "Time" }
                        th scope="col" { "Type" }
                        th scope="col" { "Data" }
                    }
                }
                tbody {
                    @for event in logged.iter().rev().take(PAGE_ROWS) {
                        tr {
                            td { (layout::short(&event.timestamp)) }
                            td { (event.event_type) }
                            td { code { (event.data.to_json().to_string()) } }
                        }
                    }
                }
            }
        }))
    })
}

/// Returns the reason why the user does not receive the events of a workspace.
fn why_no_events(visit: &Visit, workspace: &str) -> String {
    let scope = visit.visitor.user.scope.as_ref();
    match scope.and_then(|scope| scope.current_workspace.as_deref()) {
        Some(bound) => format!(
            "Your token is for the workspace {bound}. Sign in with a token for {workspace} to \
             receive its events."
        ),
        None => "Only users that may enter the workspace receive its events.".into(),
    }
}

/// Sends the events of a workspace as they happen, one JSON object per line, until the browser
/// disconnects or the request is evicted from memory.
async fn live_events(visit: Visit, workspace: &str) -> Result<Response, Problem> {
    let client = visit.enter_to_watch(workspace).await?;
    if client.workspace() != workspace {
        let why = why_no_events(&visit, workspace);
        return Err(problem(StatusCode::FORBIDDEN, why));
    }
    let events = stream::select_all(EVENTS.map(|kind| client.events(kind.as_str())));
    client
        .subscribe(EVENTS.iter().map(EventKind::as_str))
        .await
        .map_err(refusal)?;
    let charge = visit.visitor.account.charge(EVENTS_MAX * EVENT_MAX).await;
    let charge = charge.map_err(|error| body::over_budget(visit.state(), &error))?;
    let (to_browser, lines) = mpsc::channel(EVENTS_MAX);
    let state = Arc::clone(visit.state());
    // A task of its own, because a browser that does not read must not fill the queues of the
    // client: the events in these queues may be large.
    state.shutdown.spawn(async move {
        let mut events = events;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = client.closed() => None,
                () = to_browser.closed() => None,
                () = visit.visitor.account.gives_way() => None,
            };
            let Some(event) = event else {
                break;
            };
            // A browser that is too slow misses events.
            let _ = to_browser.try_send(line_of(event.kind().as_str(), &event.data().to_json()));
        }
    });
    let lines = stream::unfold((lines, charge), |(mut lines, charge)| async {
        let line = lines.recv().await?;
        Some((Ok::<_, Infallible>(line), (lines, charge)))
    });
    // The first line shows the page that the subscription works.
    let lines = stream::iter([Ok(Bytes::from_static(b"{}\n"))]).chain(lines);
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Returns the line of an event. The line of a large event, such as the registration of a service
/// with long docs, contains only the id.
fn line_of(kind: &str, data: &Json) -> Bytes {
    let line = json!({"event": kind, "data": data}).to_string();
    if line.len() < EVENT_MAX {
        return Bytes::from(line + "\n");
    }
    let id = data.get("id").and_then(Json::as_str).unwrap_or_default();
    let id: String = id.chars().take(200).collect();
    let data = json!({"id": id, "note": "too large to show"});
    Bytes::from(format!("{}\n", json!({"event": kind, "data": data})))
}

/// Shows the forms for tokens.
pub(super) async fn tokens(visit: Visit, Path(workspace): Path<String>) -> Response {
    let content = token_forms(&visit, &workspace, &html! {});
    visit.show("Tokens", Ok(content))
}

/// Returns the forms for tokens, below the result of the last submitted form.
fn token_forms(visit: &Visit, workspace: &str, result: &Markup) -> Markup {
    let action = visit.path(&["ws", workspace, "tokens"]);
    let token_field = |id: &str| {
        html! {
            label for=(id) { "Token" }
            textarea id=(id) name="token" rows="3" required spellcheck="false" {}
        }
    };
    html! {
        h1 { (workspace) }
        (layout::tabs(visit, workspace, "tokens"))
        div role="status" { (result) }
        div class="columns" {
            form class="card" method="post" action=(action) {
                h2 { "Create a token" }
                p { "For a program that connects to this workspace. Needs admin permission." }
                (proof_field(visit))
                label for="permission" { "Permission" }
                select id="permission" name="permission" {
                    option value="read" { "read: list and use services" }
                    option value="read_write" selected { "read and write: also register services" }
                    option value="admin" { "admin: also create tokens" }
                }
                label for="hours" { "Lifetime in hours" }
                input id="hours" name="hours" type="number" min="0.01" max=(HOURS_MAX) step="any"
                    value="24" required;
                label for="client" { "Only for the client (optional)" }
                input id="client" name="client";
                button type="submit" name="action" value="create" { "Create" }
            }
            form class="card" method="post" action=(action) {
                h2 { "Inspect a token" }
                (proof_field(visit))
                (token_field("inspected"))
                button type="submit" name="action" value="inspect" { "Inspect" }
            }
            form class="card" method="post" action=(action) {
                h2 { "Revoke a token" }
                p { "The token, and all tokens made with it, become invalid immediately." }
                (proof_field(visit))
                (token_field("revoked"))
                button type="submit" name="action" value="revoke" { "Revoke" }
            }
        }
    }
}

/// Creates, inspects or revokes a token.
pub(super) async fn change_token(
    visit: Visit,
    Path(workspace): Path<String>,
    body: Body,
) -> Response {
    let content = token_action(&visit, &workspace, body).await;
    let content = content.map(|result| token_forms(&visit, &workspace, &result));
    visit.show("Tokens", content)
}

async fn token_action(visit: &Visit, workspace: &str, body: Body) -> Result<Markup, Problem> {
    let fields = visit.form(body).await?;
    let client = visit.enter(workspace).await?;
    let manager = client.manager().await.map_err(refusal)?;
    let failed = request_client::manager_refusal;
    match fields.text("action") {
        "create" => {
            visit.signed_in("create a token")?;
            let expected = "read, read_write or admin";
            let permission = fields.parsed("permission", expected, |word| match word {
                "admin" => Some(Permission::Admin),
                "read" => Some(Permission::Read),
                "read_write" => Some(Permission::ReadWrite),
                _ => None,
            })?;
            let expected = format!("a number of hours, above 0 and at most {HOURS_MAX}");
            let hours = fields.parsed("hours", &expected, |text| {
                let hours = text.parse::<f64>().ok()?;
                (hours > 0.0 && hours <= HOURS_MAX).then_some(hours)
            })?;
            let config = TokenConfig {
                workspace: Some(workspace.to_owned()),
                // At least 1, because 0 stands for the default.
                expires_in: Some((hours * 3600.0).ceil() as u64),
                permission: Some(Keyword::from(permission)),
                client_id: fields.given("client"),
                ..TokenConfig::default()
            };
            let token = manager.generate_token(Some(config)).await.map_err(failed)?;
            Ok(html! {
                h2 { "New token" }
                p { "Copy it now: it is not shown again." }
                pre class="token" id="new-token" tabindex="0" role="region" aria-label="New token" { (token) }
                button type="button" data-copy="new-token" { "Copy" }
            })
        }
        "inspect" => {
            let token = fields.text("token").to_owned();
            let user = manager.parse_token(token).await.map_err(failed)?;
            let scope = user.scope.as_ref();
            let granted = scope.map(|scope| &scope.workspaces);
            Ok(html! {
                h2 { "This token is valid" }
                ul class="facts" {
                    li { "User " code { (user.id) } }
                    @if let Some(email) = &user.email { li { "E-mail " (email) } }
                    @if let Some(parent) = &user.parent { li { "Made by " code { (parent) } } }
                    @if !user.roles.is_empty() { li { "Roles " (user.roles.join(", ")) } }
                    @if let Some(end) = user.expires_at { li { "Expires " (layout::time(end)) } }
                    @for (workspace, permission) in granted.into_iter().flatten() {
                        li { (format!("{permission:?}")) " in " code { (workspace) } }
                    }
                }
            })
        }
        "revoke" => {
            let token = fields.text("token").to_owned();
            manager.revoke_token(token).await.map_err(failed)?;
            Ok(html! { p class="good" { "The token is revoked." } })
        }
        _ => fields.parsed("action", "create, inspect or revoke", |_| None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_large_events_are_small() {
        let event = json!({"id": "ws/c:lab", "docs": "short"});
        let line = line_of("service_added", &event);
        let expected = json!({"event": "service_added", "data": event});
        assert_eq!(serde_json::from_slice::<Json>(&line).ok(), Some(expected));

        let event = json!({"id": "i".repeat(1 << 20), "docs": "d".repeat(1 << 20)});
        let line = line_of("service_added", &event);
        assert!(line.len() < EVENT_MAX, "{} bytes", line.len());
        assert!(line.ends_with(b"\n"));
        let shown: Json = serde_json::from_slice(&line).unwrap_or_default();
        assert_eq!(shown["data"]["note"], "too large to show", "{shown}");
    }
}
