//! The console: pages on which people find, call and watch services, and administer the server.
//!
//! The pages are rendered here. Every page calls the manager and the other services of the server
//! with the token of the signed-in user, as any client could, so the console needs no permission
//! checks of its own. Scripts call methods of services through `/console/http/`, which is the HTTP
//! interface with the token of the session (`session`).
//!
//! Names, docs and results come from services of other users. The templates escape all texts, the
//! scripts create text nodes only, and the content security policy permits neither inline scripts
//! nor inline styles.

mod admin;
mod assets;
mod chart;
mod form;
mod history;
mod layout;
mod server;
mod service;
mod session;
mod sign_in;
mod workspace;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use hypha_rpc::workspace::Permission;
use hypha_rpc::{Client, Error, RemoteService};
use maud::{Markup, html};

pub(super) use self::history::History;
use self::session::Session;
use super::credentials::Links;
use super::problem::{Problem, problem};
use super::request_client::{self, CONCURRENT_CALLS, Visitor};
use super::{Front, Remote, body, info};
use crate::state::{ADMINISTRATION, State};

/// Path of the pages. Browsers send the session cookie only to paths below this path, so
/// applications of services, which have the same origin, do not receive the cookie.
const PREFIX: &str = "/console";
/// Content security policy of the pages. Results of services are shown as images, hence `blob:` and
/// `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
     data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Maximum size of a submitted form, in bytes. The largest field is a token.
const FORM_MAX: usize = 32 * 1024;
/// Maximum length of a wrong value in an error, in characters.
const SHOWN_MAX: usize = 80;

/// Returns the routes of the console. `functions` handles calls of the HTTP interface.
pub(super) fn routes(front: &Front, functions: MethodRouter<Front>) -> Router<Front> {
    Router::new()
        .route("/console/", get(workspace::home))
        .route("/console/workspaces", post(workspace::create))
        .route("/console/ws/{workspace}", get(workspace::services))
        .route("/console/ws/{workspace}/service/{id}", get(service::page))
        .route("/console/ws/{workspace}/clients", get(workspace::clients))
        .route("/console/ws/{workspace}/kick", post(workspace::kick))
        .route("/console/ws/{workspace}/events", get(workspace::events))
        .route(
            "/console/ws/{workspace}/tokens",
            get(workspace::tokens).post(workspace::change_token),
        )
        .route("/console/server", get(server::page))
        .route("/console/admin", get(admin::page))
        .route("/console/sign-in", post(sign_in::sign_in))
        .route("/console/sign-out", post(sign_in::sign_out))
        .route("/console/login", post(sign_in::start_login))
        .route("/console/login/check", post(sign_in::check_login))
        .route(
            "/console/http/{workspace}/services/{id}/{function}",
            functions,
        )
        .layer(from_fn_with_state(front.clone(), session::identify))
        .route("/console", get(slash))
        .route("/console/assets/{file}", get(assets::serve))
}

/// Responds to `/`: redirects a browser to the console, and describes the server to a program.
pub(super) async fn root(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Response {
    let vary = [(header::VARY, "Accept")];
    if accepts_html(&headers) {
        return (vary, slash(Shared(state)).await).into_response();
    }
    (vary, info::root(Shared(state)).await).into_response()
}

/// Redirects to the first page.
async fn slash(Shared(state): Shared<Arc<State>>) -> Redirect {
    Redirect::temporary(&format!("{}{PREFIX}/", state.info.base_path))
}

/// Returns whether the requester is a browser that opens a page. Programs send `*/*`, or name JSON.
fn accepts_html(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::ACCEPT).iter();
    kinds.any(|kinds| {
        kinds
            .to_str()
            .is_ok_and(|kinds| kinds.contains("text/html"))
    })
}

/// A request for a page: its sender, and the session of the browser.
struct Visit {
    front: Front,
    visitor: Visitor,
    session: Session,
}

impl FromRequestParts<Front> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Self, Response> {
        let remote = parts.extensions.get::<Remote>().copied();
        let session = parts.extensions.get::<Session>().cloned();
        let (Some(remote), Some(session)) = (remote, session) else {
            return Err(StatusCode::INTERNAL_SERVER_ERROR.into_response());
        };
        let found = request_client::identify(front, remote, &parts.headers, Links::OpenPages).await;
        match found {
            Ok(visitor) => Ok(Visit {
                front: front.clone(),
                visitor,
                session,
            }),
            Err(problem) => Err(sign_in::refused(&front.state, &session, problem)),
        }
    }
}

/// A submitted form.
struct Fields(Vec<(String, String)>);

impl Fields {
    /// Returns the fields in the query of a URI, or `None` if it is unreadable.
    fn of_query(uri: &Uri) -> Option<Fields> {
        let fields = Query::<Vec<(String, String)>>::try_from_uri(uri);
        fields.ok().map(|Query(fields)| Fields(fields))
    }

    /// Returns the value of a field without white space around it, or an empty string.
    fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// Returns the value of a field, or `None` if it is empty.
    fn given(&self, name: &str) -> Option<String> {
        Some(self.text(name))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// Parses the value of a field.
    ///
    /// # Errors
    ///
    /// Fails with a text that names the field if `parse` returns `None`. `expected` describes the
    /// values that it accepts.
    fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Problem> {
        let text = self.text(name);
        parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(SHOWN_MAX).collect();
            let text = format!("Field `{name}`: expected {expected}, got {shown:?}");
            problem(StatusCode::BAD_REQUEST, text)
        })
    }
}

impl Visit {
    fn state(&self) -> &Arc<State> {
        &self.front.state
    }

    /// Returns the URL path of a page, below the base path of the server.
    fn path(&self, parts: &[&str]) -> String {
        path(self.state(), parts)
    }

    /// Returns whether the user is an administrator of the server.
    fn is_administrator(&self) -> bool {
        self.visitor.user.may(Permission::Admin, ADMINISTRATION)
    }

    /// Reads a submitted form, and checks that a page of this session submitted it.
    ///
    /// # Errors
    ///
    /// Fails if the form is too large or unreadable, or if no page of this session submitted it.
    async fn form(&self, body: Body) -> Result<Fields, Problem> {
        let received = body::read(self.state(), &self.visitor.account, body).await?;
        let bytes = &received.bytes;
        let text = std::str::from_utf8(bytes).ok();
        let query = text.filter(|text| text.len() <= FORM_MAX);
        let uri = query.and_then(|text| format!("/?{text}").parse::<Uri>().ok());
        let fields = uri.and_then(|uri| Fields::of_query(&uri));
        let Some(fields) = fields else {
            return Err(problem(
                StatusCode::BAD_REQUEST,
                format!("The form is unreadable, or has more than {FORM_MAX} bytes"),
            ));
        };
        if !self.session.matches(fields.text("csrf")) {
            return Err(problem(
                StatusCode::FORBIDDEN,
                "This form does not belong to your session. Reload the page and try again",
            ));
        }
        Ok(fields)
    }

    /// Connects a client of the user that acts in a workspace.
    async fn enter(&self, workspace: &str) -> Result<Client, Problem> {
        let (user, account) = (self.visitor.user.clone(), &self.visitor.account);
        request_client::enter(&self.front, user, account, workspace, CONCURRENT_CALLS).await
    }

    /// Connects a client of the user that receives the events of a workspace, if the user may read
    /// the workspace.
    async fn enter_to_watch(&self, workspace: &str) -> Result<Client, Problem> {
        let (user, account) = (self.visitor.user.clone(), &self.visitor.account);
        request_client::enter_readable(&self.front, user, account, workspace).await
    }

    /// Connects a client of the user, in any workspace.
    async fn enter_any(&self) -> Result<Client, Problem> {
        let (user, account) = (self.visitor.user.clone(), &self.visitor.account);
        let own = user.own_workspace();
        request_client::enter_any(&self.front, user, account, &own).await
    }

    /// Returns a service of the server itself, such as `ws-user-root/admin-utils`.
    async fn own_service(&self, workspace: &str, name: &str) -> Result<RemoteService, Problem> {
        let client = self.enter_any().await?;
        let id = format!("{workspace}/{}:{name}", self.state().info.server_id);
        let found = request_client::service_by_id(&client, id, None).await;
        found.map_err(refusal)
    }

    /// Responds with a page, or with a page that shows the problem.
    fn show(&self, title: &str, result: Result<Markup, Problem>) -> Response {
        let (status, content) = match result {
            Ok(content) => (StatusCode::OK, content),
            Err(problem) => {
                let (status, text) = problem.into_parts();
                let content = html! {
                    (layout::failure(&text))
                    @if !self.session.has_token {
                        p { a href=(format!("{}#sign-in", self.path(&[]))) { "Sign in" } }
                    }
                };
                (status, content)
            }
        };
        let page = layout::page(self, title, &content);
        respond(self.state(), status, page)
    }

    /// Checks that the user is signed in. `action` completes "Sign in to".
    ///
    /// # Errors
    ///
    /// Fails with 401 for an anonymous user.
    fn signed_in(&self, action: &str) -> Result<(), Problem> {
        if self.session.has_token {
            return Ok(());
        }
        let text = format!("Sign in to {action}: anonymous users cannot do this");
        Err(problem(StatusCode::UNAUTHORIZED, text))
    }

    /// Redirects to another page, to be fetched with GET.
    fn go_to(&self, parts: &[&str]) -> Response {
        Redirect::to(&self.path(parts)).into_response()
    }
}

/// Converts the error of a call to a response.
fn refusal(error: Error) -> Problem {
    request_client::refusal(&error)
}

/// Returns the URL path of a page. Each part is encoded, so that a name with a `/` stays one part.
fn path(state: &State, parts: &[&str]) -> String {
    let mut path = format!("{}{PREFIX}", state.info.base_path);
    for part in parts {
        path.push('/');
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~:@".contains(&byte) {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    if parts.is_empty() {
        path.push('/');
    }
    path
}

/// Responds with a page, with the headers that protect it.
fn respond(state: &State, status: StatusCode, page: Markup) -> Response {
    let page = layout::visible(page.into_string());
    let mut response = (status, page).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // If a page of an application opens the console in a window, scripts of that page must not
    // access the window. Browsers ignore the header over plain HTTP, with a warning, except on
    // localhost.
    if is_secure(state) {
        let name = header::HeaderName::from_static("cross-origin-opener-policy");
        headers.insert(name, HeaderValue::from_static("same-origin"));
    }
    response
}

/// Returns whether browsers treat the server's URL as secure.
fn is_secure(state: &State) -> bool {
    let url = &state.info.public_base_url;
    ["https://", "http://localhost", "http://127.0.0.1"]
        .iter()
        .any(|start| url.starts_with(start))
}
