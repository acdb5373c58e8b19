//! The session of a browser: a token in a cookie, and the proof that a request comes from a page of
//! the session.
//!
//! The cookie holds the token of the user. Pages cannot read it, and the browser sends it only to
//! the console, and not with requests of other sites. Applications of services have the same origin
//! as the console, so the origin of a request does not suffice. A request also needs a proof that
//! only the pages of the console contain. The server sends these pages only to navigations of the
//! browser, not to scripts of other pages.

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::super::{Front, credentials};
use super::{PREFIX, layout, respond};
use crate::auth;
use crate::state::State;

/// Cookie with the token of the signed-in user.
pub(super) const TOKEN_COOKIE: &str = "hypha_console";
/// Cookie with a random text that ties the pages to the browser, for users without a token.
const BROWSER_COOKIE: &str = "hypha_console_browser";
/// Header of a script's request, with the proof.
const PROOF_HEADER: &str = "x-hypha-console";
/// Path of the calls of services, which scripts of the console make.
const CALLS: &str = "/console/http/";
/// Parameter in the query of a page that was opened by a link on another site.
const ARRIVED: &str = "arrived=1";
/// Maximum length of a token. Browsers drop cookies above 4096 bytes.
pub(super) const TOKEN_MAX: usize = 3800;

/// The session of a browser.
#[derive(Clone)]
pub(super) struct Session {
    /// Whether the browser sent a token.
    pub(super) has_token: bool,
    /// The proof that the pages of this session contain.
    pub(super) proof: String,
}

impl Session {
    fn new(token: Option<&str>, browser: &str) -> Session {
        let mut hash = Sha256::new();
        // The pages of other services do not know the token, so they cannot compute the proof.
        for part in ["hypha console", token.unwrap_or_default(), browser] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let proof = hash.finalize();
        Session {
            has_token: token.is_some(),
            proof: proof.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// Returns whether a text is the proof of this session.
    pub(super) fn matches(&self, proof: &str) -> bool {
        auth::is_secret(&self.proof, proof)
    }
}

/// Finds the session of a request. Passes the token on in the header `Authorization`, which the
/// handlers read as for any client, and refuses requests that scripts of other pages make.
pub(super) async fn identify(
    Shared(front): Shared<Front>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    let state = &front.state;
    let headers = request.headers();
    // A page of an application may add a cookie for a longer path, which would come first.
    for name in [TOKEN_COOKIE, BROWSER_COOKIE] {
        if credentials::cookies(headers, name).nth(1).is_some() {
            let text = "The browser sent several sessions of the console. Delete the cookies of \
                        this site, then sign in again";
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    }
    let cookie = |name| credentials::cookie(headers, name).filter(|text| !text.is_empty());
    let (token, browser) = (cookie(TOKEN_COOKIE), cookie(BROWSER_COOKIE));
    let is_foreign = ["cross-site", "same-site"]
        .iter()
        .any(|site| asks(headers, "sec-fetch-site", site));
    let query = request.uri().query().unwrap_or_default();
    let calls = request.uri().path().starts_with(CALLS);
    let has_arrived = query.split('&').any(|parameter| parameter == ARRIVED);
    if is_foreign && !calls && request.method() == Method::GET && !has_arrived {
        // If the user follows a link on another site, the browser sends no cookies, even if there
        // is a session. So respond with a page that opens the same URL, this time with cookies.
        // The parameter prevents a loop, should a browser take that page for another site.
        let (base, path) = (&state.info.base_path, request.uri().path());
        let page = layout::redirection(&format!("{base}{path}?{query}&{ARRIVED}"));
        return respond(state, StatusCode::OK, page);
    }
    let fresh = browser.is_none().then(hypha_wire::random_id);
    let browser = browser.or_else(|| fresh.clone()).unwrap_or_default();
    let session = Session::new(token.as_deref(), &browser);
    if !is_of_console(state, &request, &session) {
        let text = "This request does not come from a page of the console";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let headers = request.headers_mut();
    // Ignore the cookies of other pages, because an application of a service may have set them.
    headers.remove(header::COOKIE);
    if let Some(token) = &token
        && let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}"))
    {
        headers.insert(header::AUTHORIZATION, value);
    }
    // The request has been checked, so the HTTP interface need not apply its checks for browsers.
    for name in ["sec-fetch-site", "sec-fetch-mode", "origin"] {
        headers.remove(name);
    }
    request.extensions_mut().insert(session);
    let mut response = next.run(request).await;
    // The browser may have a cookie that it has not sent, because the request is of another site.
    if let Some(text) = fresh.filter(|_| !is_foreign) {
        set_cookie(state, &mut response, BROWSER_COOKIE, &text);
    }
    response
}

/// Returns whether a request comes from a page of the console, or opens such a page.
fn is_of_console(state: &State, request: &Request<Body>, session: &Session) -> bool {
    let (method, headers) = (request.method(), request.headers());
    let origin = headers.get(header::ORIGIN);
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        credentials::is_own_origin(state, headers, origin)
    };
    // A request from another origin is refused even if it has the proof.
    if origin.is_some_and(|origin| !is_own(origin)) {
        return false;
    }
    let proof = headers.get(PROOF_HEADER);
    if proof.is_some_and(|proof| session.matches(proof.to_str().unwrap_or_default())) {
        return true;
    }
    // The handler of a form checks the proof in a field of the form. Scripts cannot send
    // `navigate`. The header is missing if the URL is not secure, or the client is no browser.
    let opens = asks(headers, "sec-fetch-mode", "navigate")
        && asks(headers, "sec-fetch-dest", "document")
        || !headers.contains_key("sec-fetch-mode");
    let is_form = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .starts_with(b"application/x-www-form-urlencoded")
    });
    // A call is never a page to open: a script could read the result in the window that it opened.
    let is_page = !request.uri().path().starts_with(CALLS);
    proof.is_none()
        && is_page
        && opens
        && (method == Method::GET || method == Method::HEAD || is_form)
}

/// Returns whether a header has this value.
fn asks(headers: &HeaderMap, name: &'static str, value: &str) -> bool {
    let found = headers.get(HeaderName::from_static(name));
    found.is_some_and(|found| found.as_bytes() == value.as_bytes())
}

/// Adds a cookie to a response. An empty text deletes the cookie in the browser.
pub(super) fn set_cookie(state: &State, response: &mut Response, name: &str, text: &str) {
    let base = &state.info.base_path;
    let secure = if state.info.public_base_url.starts_with("https://") {
        "; Secure"
    } else {
        ""
    };
    let end = if text.is_empty() { "; Max-Age=0" } else { "" };
    let cookie =
        format!("{name}={text}; Path={base}{PREFIX}; HttpOnly; SameSite=Strict{secure}{end}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_belongs_to_one_session() {
        let session = Session::new(Some("token"), "browser");
        assert!(session.matches(&Session::new(Some("token"), "browser").proof));
        for other in [
            Session::new(Some("other"), "browser"),
            Session::new(Some("token"), "other"),
            Session::new(None, "browser"),
            Session::new(Some("tokenb"), "rowser"),
        ] {
            assert!(!session.matches(&other.proof));
        }
        assert!(!session.matches(""));
    }
}
