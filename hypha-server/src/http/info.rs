//! Describes the server and its workspaces: settings, workspaces, services and metrics.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use hypha_rpc::workspace::{
    ManagerError, SelectConfig, SelectionMode, ServiceFilter, ServiceSelection,
};
use hypha_rpc::{Map, Proxy, Value, hypha_service};
use serde::Deserialize;
use serde_json::json;

use super::credentials::Links;
use super::problem::{Problem, problem};
use super::request_client::{CONCURRENT_CALLS, Visitor};
use super::{Front, Remote, request_client};
use crate::metrics::Format;
use crate::platform;
use crate::shown::shown;
use crate::state::{HYPHA_VERSION, State};

/// Responds to a program that opens the root URL of the server.
pub(super) async fn root(Shared(state): Shared<Arc<State>>) -> String {
    format!(
        "This is a Hypha server (hypha-server {}).\nPrograms connect to {}.\n",
        env!("CARGO_PKG_VERSION"),
        state.info.public_base_url
    )
}

/// Returns the response with status 404 for a path. If the Python server has the path, adds the
/// reason why this server lacks the path.
pub(super) async fn not_found(uri: Uri) -> Problem {
    let reason = platform::lacks_page(uri.path());
    let reason = reason.map(|reason| format!(": {reason}"));
    problem(
        StatusCode::NOT_FOUND,
        format!(
            "There is nothing at {}{}",
            shown(uri.path()),
            reason.unwrap_or_default()
        ),
    )
}

/// Returns the response with status 405 for a path that does not support the method.
pub(super) async fn not_allowed() -> Problem {
    problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

/// Returns the user of the request, and the settings that web pages of the Python server read.
pub(super) async fn config(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let visitor = request_client::identify(&front, remote, &headers, Links::OpenPages).await?;
    let state = &front.state;
    let info = &state.info;
    let body = json!({
        "user": visitor.user,
        "server_id": info.server_id,
        "hypha_version": HYPHA_VERSION,
        "public_base_url": info.public_base_url,
        "local_base_url": info.local_base_url,
        "auth0_client_id": state.settings.tokens.client_id,
        "auth0_domain": state.settings.tokens.domain,
        "auth0_audience": state.settings.tokens.audience,
        "auth0_issuer": state.settings.tokens.issuer,
        "login_service_url": info.login_service_url(),
    });
    Ok(Json(body).into_response())
}

/// Redirects to the login page. The location is relative to the host, so that it is valid for any
/// address by which the client reaches the server.
pub(super) async fn login(Shared(state): Shared<Arc<State>>) -> Redirect {
    let base = &state.info.base_path;
    Redirect::temporary(&format!("{base}/public/apps/hypha-login/"))
}

/// Returns the record of a workspace.
pub(super) async fn workspace(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let visitor = request_client::identify(&front, remote, &headers, Links::OpenPages).await?;
    let client =
        request_client::enter_any(&front, visitor.user, &visitor.account, &workspace).await?;
    let manager = client.manager().await;
    let manager = manager.map_err(|error| request_client::refusal(&error))?;
    let info = manager.get_workspace_info(Some(workspace)).await;
    Ok(Json(info.map_err(request_client::manager_refusal)?).into_response())
}

/// Methods of the manager that return records. The server forwards their results unchanged, because
/// the keys of a record depend on the permission of the requester.
#[hypha_service(id = "default")]
trait Records {
    async fn list_services(&self, query: ServiceFilter) -> Result<Vec<Map>, ManagerError>;

    async fn get_service_info(
        &self,
        service_id: String,
        config: SelectConfig,
    ) -> Result<Value, ManagerError>;
}

/// Lists the services of a workspace that the requester may see. The ids of the services are
/// relative to the workspace.
pub(super) async fn services(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path(workspace): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let visitor = request_client::identify(&front, remote, &headers, Links::OpenPages).await?;
    let listed = records(&front, &visitor, &workspace).await?;
    let listed = listed.into_iter().map(|it| Value::Map(it).to_json());
    Ok(Json(listed.collect::<Vec<_>>()).into_response())
}

/// Returns the service records that the handler [`services`] sends.
///
/// # Errors
///
/// Fails if the workspace does not exist, or the manager refuses the list.
pub(super) async fn records(
    front: &Front,
    visitor: &Visitor,
    workspace: &str,
) -> Result<Vec<Map>, Problem> {
    let (user, account) = (visitor.user.clone(), &visitor.account);
    let client = request_client::enter(front, user, account, workspace, CONCURRENT_CALLS).await?;
    let manager = client.manager().await;
    let manager = manager.map_err(|error| request_client::refusal(&error))?;
    let filter = ServiceFilter {
        workspace: Some(workspace.to_owned()),
        ..ServiceFilter::default()
    };
    let listed = RecordsProxy::from_service(manager.service().clone())
        .list_services(filter)
        .await;
    let mut listed = listed.map_err(request_client::manager_refusal)?;
    for service in &mut listed {
        if let Some(Value::String(id)) = service.get_mut("id")
            && let Some((_, local)) = id.split_once('/')
        {
            *id = local.to_owned();
        }
    }
    Ok(listed)
}

/// The query of a request for one service.
#[derive(Default, Deserialize)]
pub(super) struct Selection {
    /// Selection mode, if the id selects several services.
    _mode: Option<String>,
}

/// Returns the record of a service.
pub(super) async fn service(
    Shared(front): Shared<Front>,
    Extension(remote): Extension<Remote>,
    Path((workspace, id)): Path<(String, String)>,
    Query(selection): Query<Selection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let visitor = request_client::identify(&front, remote, &headers, Links::OpenPages).await?;
    let record = record(&front, &visitor, &workspace, &id, selection).await?;
    Ok(Json(record.to_json()).into_response())
}

/// Returns the record of a service, as the requester may see it. The id `ws` stands for the
/// manager.
///
/// # Errors
///
/// Fails if the workspace or the service does not exist or is hidden from the requester.
pub(super) async fn record(
    front: &Front,
    visitor: &Visitor,
    workspace: &str,
    id: &str,
    selection: Selection,
) -> Result<Value, Problem> {
    let (user, account) = (visitor.user.clone(), &visitor.account);
    let client = request_client::enter(front, user, account, workspace, CONCURRENT_CALLS).await?;
    let manager = client.manager().await;
    let manager = manager.map_err(|error| request_client::refusal(&error))?;
    let config = SelectConfig {
        selection: ServiceSelection {
            mode: selection._mode.map(SelectionMode::from),
            ..ServiceSelection::default()
        },
        ..SelectConfig::default()
    };
    // In this URL, the Python server uses the id `ws` for the manager.
    let id = match id {
        "ws" => "~",
        id => id,
    };
    let info = RecordsProxy::from_service(manager.service().clone())
        .get_service_info(format!("{workspace}/{id}"), config)
        .await;
    info.map_err(request_client::manager_refusal)
}

/// Returns the metrics of the server. Uses the format of OpenMetrics if the request accepts it,
/// otherwise the format of Prometheus, like the Python server.
pub(super) async fn metrics(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Response {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    let (format, kind) = if accepted.any(|kinds| {
        let kinds = kinds.to_str().unwrap_or_default();
        kinds.contains("application/openmetrics-text")
    }) {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        (Format::OpenMetrics, kind)
    } else {
        (
            Format::Prometheus,
            "text/plain; version=0.0.4; charset=utf-8",
        )
    };
    (
        [(header::CONTENT_TYPE, kind)],
        state.stats().exposition(format),
    )
        .into_response()
}
