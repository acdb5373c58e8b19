//! Checks the status and the headers of the responses of applications.
//!
//! Applications have the same origin as the login page. With certain headers, a page could take
//! over the cookies, the storage, the service workers or the credentials of that origin. Therefore
//! only the server sets these headers and the framing of a response.

use std::collections::HashSet;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::credentials::COOKIE_NAME;
use super::problem::{Problem, problem};
use crate::state::State;

/// Headers of the connection or of the message framing. An application that could set these headers
/// could smuggle responses into the connection.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers that affect every page of the origin. Applications may not set these headers.
const OF_THE_ORIGIN: [&str; 14] = [
    "accept-ch",
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "alt-svc",
    "clear-site-data",
    "critical-ch",
    "cross-origin-opener-policy",
    "nel",
    "origin-agent-cluster",
    "public-key-pins",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "strict-transport-security",
];

/// Prefix of the names of the cookies of the console.
const CONSOLE_COOKIES: &str = "hypha_console";

/// The application that responds, with the limits on its response.
pub(super) struct AppResponse<'a> {
    state: &'a State,
    workspace: &'a str,
    id: &'a str,
}

impl<'a> AppResponse<'a> {
    /// Creates the value for the application `id` in the workspace `workspace`. Error texts contain
    /// both ids.
    pub(super) fn new(state: &'a State, workspace: &'a str, id: &'a str) -> AppResponse<'a> {
        AppResponse {
            state,
            workspace,
            id,
        }
    }

    /// Returns a response with status 502, which replaces an invalid response of the application.
    /// Counts the invalid response. `why` completes the sentence "The application … ".
    pub(super) fn refused(&self, why: impl std::fmt::Display) -> Problem {
        self.state.counters.http_refused_apps.add();
        problem(
            StatusCode::BAD_GATEWAY,
            format!("The application {}/{} {why}", self.workspace, self.id),
        )
    }

    /// Returns the status of a response.
    ///
    /// # Errors
    ///
    /// Fails unless the number is 200 to 599: lower numbers are interim responses, which only the
    /// server may send, and higher numbers are undefined.
    pub(super) fn status(&self, number: Option<u64>) -> Result<StatusCode, Problem> {
        let status = number.and_then(|number| u16::try_from(number).ok());
        let status = status.filter(|number| (200..600).contains(number));
        let status = status.and_then(|number| StatusCode::from_u16(number).ok());
        status.ok_or_else(|| match number {
            Some(number) => self.refused(format_args!("has responded with the status {number}")),
            None => self.refused("has responded without a status"),
        })
    }

    /// Returns the headers of a response. Omits headers that are invalid, and headers that an
    /// application may not set.
    ///
    /// # Errors
    ///
    /// Fails if the number or the total size of the headers exceeds the limits `app_headers` and
    /// `app_header_bytes`. Omitted headers count too.
    pub(super) fn headers(
        &self,
        pairs: impl Iterator<Item = (Bytes, Bytes)>,
    ) -> Result<HeaderMap, Problem> {
        let limits = &self.state.settings.limits;
        let (mut headers, mut count, mut bytes) = (HeaderMap::new(), 0, 0);
        // The header `Connection` names further headers that belong to the connection.
        let mut of_the_connection = HashSet::new();
        for (name, value) in pairs {
            count += 1;
            bytes += name.len() + value.len();
            if count > limits.app_headers {
                let limit = limits.app_headers;
                return Err(self.refused(format_args!(
                    "has responded with more than {limit} headers (app_headers)"
                )));
            }
            if bytes > limits.app_header_bytes {
                let limit = limits.app_header_bytes;
                return Err(self.refused(format_args!(
                    "has responded with more than {limit} bytes of headers (app_header_bytes)"
                )));
            }
            let name = HeaderName::from_bytes(&name);
            let value = HeaderValue::from_maybe_shared(value);
            let (Ok(name), Ok(value)) = (name, value) else {
                continue;
            };
            if name == header::CONNECTION {
                let named = value.to_str().unwrap_or_default().split(',');
                of_the_connection.extend(named.map(|name| name.trim().to_ascii_lowercase()));
            }
            if may_set(&name, &value) {
                headers.try_append(name, value).map_err(|error| {
                    self.refused(format_args!("has responded with too many headers: {error}"))
                })?;
            }
        }
        for name in &of_the_connection {
            headers.remove(name.as_str());
        }
        Ok(headers)
    }
}

/// Returns whether an application may set a header to a value.
fn may_set(name: &HeaderName, value: &HeaderValue) -> bool {
    let name_text = name.as_str();
    !FRAMING.contains(&name_text)
        && !OF_THE_ORIGIN.contains(&name_text)
        && (name != header::SET_COOKIE || is_own_cookie(value.as_bytes()))
}

/// Returns whether an application may set a cookie. An application may set any cookie except the
/// cookie with the token and the cookies of the console.
///
/// A cookie without a name is refused, because browsers send only its value, which may look like
/// the name and value of another cookie.
fn is_own_cookie(cookie: &[u8]) -> bool {
    let pair = cookie
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default();
    let Some(end) = pair.iter().position(|&byte| byte == b'=') else {
        return false;
    };
    let name = pair[..end].trim_ascii();
    let is_of_console = name
        .get(..CONSOLE_COOKIES.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(CONSOLE_COOKIES.as_bytes()));
    !name.is_empty() && !name.eq_ignore_ascii_case(COOKIE_NAME.as_bytes()) && !is_of_console
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_server_are_not_those_of_an_application() {
        let may = |name: &'static str, value: &'static str| {
            may_set(
                &HeaderName::from_static(name),
                &HeaderValue::from_static(value),
            )
        };
        for name in FRAMING.iter().chain(&OF_THE_ORIGIN) {
            assert!(!may(name, "x"), "{name}");
        }
        for cookie in [
            "access_token=x",
            " access_token =x; Path=/",
            "Access_Token=x",
            "=access_token=x",
            "hypha_console=x; Path=/console",
            "Hypha_console_browser=x",
            "access_token",
            "",
        ] {
            assert!(!may("set-cookie", cookie), "{cookie}");
        }
        assert!(may("set-cookie", "session=access_token; Path=/"));
        assert!(may("content-type", "text/html"));
        assert!(may("access-control-expose-headers", "x"));
    }
}
