//! The credentials of a request.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::problem::{Problem, failed};
use crate::state::State;

/// Cookie that carries a token.
pub(super) const COOKIE_NAME: &str = "access_token";

/// Returns the token in a request, as the authenticator finds it or from the usual places.
pub(super) fn token(state: &State, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let found = state.issuer.find(headers);
    let found = found.map_err(failed)?;
    Ok(found.or_else(|| usual_token(headers)))
}

/// Returns the token in a request: `Authorization` as `Bearer`, as `Basic` with the token as
/// password, or alone; or the cookie `access_token`.
fn usual_token(headers: &HeaderMap) -> Option<String> {
    authorization(headers)
        .or_else(|| cookie(headers, COOKIE_NAME))
        .filter(|token| !token.is_empty())
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    // An unreadable header is refused as a token, not ignored: no request becomes anonymous by
    // mistake.
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

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: header::HeaderName, value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        usual_token(&headers)
    }

    #[test]
    fn every_way_to_carry_a_token_is_understood() {
        for value in ["Bearer t0k", "bearer  t0k", "t0k", "Basic dTp0MGs="] {
            let found = of(header::AUTHORIZATION, value);
            assert_eq!(found.as_deref(), Some("t0k"), "{value}");
        }
        let found = of(header::COOKIE, "a=b; access_token=t0k; c");
        assert_eq!(found.as_deref(), Some("t0k"));
        assert_eq!(of(header::COOKIE, "other=t0k"), None);
        // An unreadable header is not the same as none.
        for value in ["Digest x", "Basic !!", "Basic dTp0", "\u{e4}"] {
            assert!(of(header::AUTHORIZATION, value).is_some(), "{value}");
        }
    }
}
