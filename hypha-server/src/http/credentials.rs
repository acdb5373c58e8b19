//! Finds the token of a request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::problem::{Problem, failed};
use crate::state::State;

/// Name of the cookie with the token of a browser.
pub(super) const COOKIE_NAME: &str = "access_token";

/// Whether the cookie counts if the user follows a link on a page of another origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// The link opens a page, so the cookie counts.
    OpenPages,
    /// The link would call a function without the user's intent, so the cookie does not count.
    AreNoCalls,
}

/// Returns the token of a request: the token that the authenticator of the embedding program finds,
/// or else the token that [`usual_token`] finds. `None` means an anonymous request.
///
/// # Errors
///
/// Fails if the authenticator fails.
pub(super) fn token(
    state: &State,
    headers: &HeaderMap,
    links: Links,
) -> Result<Option<String>, Problem> {
    let found = state.issuer.find(headers);
    let found = found.map_err(failed)?;
    let usual = || usual_token(headers, links, |origin| is_trusted(state, headers, origin));
    Ok(found.or_else(usual))
}

/// Returns the token of a request from the header `Authorization` (as `Bearer`, as `Basic` with the
/// token as the password, or alone), or else from the cookie `access_token`.
///
/// The cookie is ignored in requests that pages of other origins make. The browser adds the cookie
/// to such requests automatically, but these pages must not act for the user.
fn usual_token(
    headers: &HeaderMap,
    links: Links,
    is_trusted: impl Fn(&str) -> bool,
) -> Option<String> {
    authorization(headers)
        .or_else(|| {
            let own = !is_of_foreign_page(headers, links, is_trusted);
            own.then(|| cookie(headers, COOKIE_NAME)).flatten()
        })
        .filter(|token| !token.is_empty())
}

/// Returns whether the request was made by a page of an untrusted origin.
///
/// Browsers send `Origin` with most requests, and `Sec-Fetch-*` with the rest. A request with
/// neither header comes from a program, or from a page of the server.
fn is_of_foreign_page(
    headers: &HeaderMap,
    links: Links,
    is_trusted: impl Fn(&str) -> bool,
) -> bool {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str());
    if let Some(origin) = text(header::ORIGIN) {
        return !origin.is_ok_and(is_trusted);
    }
    let says = |name: &'static str, word| {
        let said = text(HeaderName::from_static(name));
        said.is_some_and(|said| said.is_ok_and(|said| said == word))
    };
    let elsewhere = says("sec-fetch-site", "cross-site") || says("sec-fetch-site", "same-site");
    elsewhere && !(links == Links::OpenPages && says("sec-fetch-mode", "navigate"))
}

/// Returns whether an origin is the server's own origin, or is listed in `allow_origins`.
fn is_trusted(state: &State, headers: &HeaderMap, origin: &str) -> bool {
    is_own_origin(state, headers, origin)
        || state
            .settings
            .allow_origins
            .iter()
            .any(|allowed| allowed.trim() == origin)
}

/// Returns whether an origin is the server's own origin.
pub(super) fn is_own_origin(state: &State, headers: &HeaderMap, origin: &str) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let is_own = |base: &str| authority(base).is_some_and(|own| Some(own) == authority(origin));
    host.is_some() && authority(origin) == host
        || is_own(&state.info.public_base_url)
        || is_own(&state.info.local_base_url)
}

/// Returns the host and port of a URL, or `None` if the URL has no `://`. Drops the scheme, because
/// behind a proxy that terminates TLS the origin is https while the server sees http.
fn authority(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split('/').next()
}

/// Returns the token in the header `Authorization`.
fn authorization(headers: &HeaderMap) -> Option<String> {
    // An unreadable header becomes an invalid token, which is refused. Without this, the request
    // would be anonymous by mistake.
    let value = headers.get(header::AUTHORIZATION)?.to_str();
    let value = value.unwrap_or("unreadable").trim();
    let Some((scheme, rest)) = value.split_once(' ') else {
        return Some(value.to_owned());
    };
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = STANDARD.decode(rest.trim()).ok();
        let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
        let token = pair.as_ref().and_then(|pair| pair.split_once(':'));
        return Some(token.map_or(value, |(_, token)| token).to_owned());
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    Some(value.to_owned())
}

/// Returns the value of the first cookie whose name is `name`, without quotes.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    cookies(headers, name).next().map(str::to_owned)
}

/// Returns the values of all cookies with a name, without quotes. A browser sends several cookies
/// with one name if they were set for several paths.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: header::HeaderName, value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        usual_token(&headers, Links::OpenPages, |_| false)
    }

    #[test]
    fn tokens_are_found_in_all_supported_headers() {
        for value in ["Bearer t0k", "bearer  t0k", "t0k", "Basic dTp0MGs="] {
            let found = of(header::AUTHORIZATION, value);
            assert_eq!(found.as_deref(), Some("t0k"), "{value}");
        }
        let found = of(header::COOKIE, "a=b; access_token=t0k; c");
        assert_eq!(found.as_deref(), Some("t0k"));
        assert_eq!(of(header::COOKIE, "other=t0k"), None);
        // A header that cannot be read is not treated like a missing header.
        for value in ["Digest x", "Basic !!", "Basic dTp0", "\u{e4}"] {
            assert!(of(header::AUTHORIZATION, value).is_some(), "{value}");
        }
    }

    #[test]
    fn the_cookie_does_not_count_for_pages_of_other_origins() {
        let counts_with = |links, pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static("access_token=t"));
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            usual_token(&headers, links, |origin| origin == "https://hypha.example").is_some()
        };
        let counts = |pairs: &[(&'static str, &str)]| counts_with(Links::OpenPages, pairs);
        assert!(counts(&[]));
        assert!(counts(&[("origin", "https://hypha.example")]));
        assert!(counts(&[("sec-fetch-site", "same-origin")]));
        // Opening a page by a link is the user's intent; calling a function by a link is not.
        let link = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ];
        assert!(counts_with(Links::OpenPages, &link));
        assert!(!counts_with(Links::AreNoCalls, &link));
        let typed = [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")];
        assert!(counts_with(Links::AreNoCalls, &typed));
        assert!(!counts(&[("origin", "https://evil.example")]));
        assert!(!counts(&[("origin", "null")]));
        assert!(!counts(&[
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors")
        ]));
        // The server accepts a token that the page itself sends, whatever the origin of the page.
        assert!(counts(&[
            ("origin", "https://evil.example"),
            ("authorization", "Bearer t")
        ]));
    }
}
