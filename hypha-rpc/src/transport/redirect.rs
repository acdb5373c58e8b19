//! Decides whether the client follows a redirect during the handshake.
//!
//! A redirect to another host is an error that names the target. The client would have to omit its
//! credentials at another host, as browsers do. Without the client's token, the new server would
//! not recognize the user.

use hypha_wire::redacted_url;

use super::proxy::split_port;

/// Reason why the client does not follow a redirect.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum NotFollowed {
    #[error("it leads to another host, which must not get the token")]
    OtherHost,
    #[error("it leads from an encrypted connection to an unencrypted one")]
    Unencrypted,
    #[error("it leads to no HTTP or WebSocket URL")]
    NoUrl,
    #[error("the handshake may be redirected {0} times")]
    TooMany(usize),
    #[error("it names no target")]
    NoTarget,
}

/// Splits a URL into its scheme, its authority, and its path with the query.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Some((scheme, authority, path))
}

fn host(authority: &str) -> &str {
    let address = authority.rsplit('@').next().unwrap_or(authority);
    split_port(address).0
}

fn is_secure(scheme: &str) -> Option<bool> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => Some(false),
        "https" | "wss" => Some(true),
        _ => None,
    }
}

/// Returns the URL of a redirect to `location`, which is relative to the URL `from`.
pub(super) fn absolute(from: &str, location: &str) -> String {
    let location = location.trim();
    let location = location.split('#').next().unwrap_or_default();
    let Some((scheme, authority, path)) = split(from) else {
        return location.to_owned();
    };
    let is_absolute = split(location).is_some_and(|(scheme, ..)| !scheme.contains(['/', '?']));
    if location.is_empty() || is_absolute {
        return location.to_owned();
    }
    if let Some(rest) = location.strip_prefix("//") {
        return format!("{scheme}://{rest}");
    }
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    let path = path.split('?').next().unwrap_or_default();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    match location.starts_with('?') {
        true => format!("{scheme}://{authority}{path}{location}"),
        false => format!("{scheme}://{authority}{folder}/{location}"),
    }
}

/// Returns the URL of the server whose endpoint has the URL `url`: without the path of the
/// endpoint, and with an HTTP scheme.
pub(super) fn base_url(url: &str) -> String {
    let path = url.split('?').next().unwrap_or_default();
    let base = path.strip_suffix("/ws").or(path.strip_suffix("/rpc"));
    let base = base.unwrap_or(url);
    match base.strip_prefix("ws") {
        Some(rest) if is_secure(base.split(':').next().unwrap_or_default()).is_some() => {
            format!("http{rest}")
        }
        _ => base.to_owned(),
    }
}

/// Returns the target of a redirect. `location` is relative to the URL `from`. The target has a
/// WebSocket scheme if `from` has a WebSocket scheme, and an HTTP scheme otherwise.
///
/// # Errors
///
/// Returns [`NotFollowed`] if the client must not follow the redirect.
pub(super) fn target(from: &str, location: &str) -> Result<String, NotFollowed> {
    let (scheme, authority, _) = split(from).ok_or(NotFollowed::NoUrl)?;
    let was_secure = is_secure(scheme).ok_or(NotFollowed::NoUrl)?;
    let absolute = absolute(from, location);
    if absolute.is_empty() {
        return Err(NotFollowed::NoTarget);
    }
    let (scheme, to, rest) = split(&absolute).ok_or(NotFollowed::NoUrl)?;
    let secure = is_secure(scheme).ok_or(NotFollowed::NoUrl)?;
    if was_secure && !secure {
        return Err(NotFollowed::Unencrypted);
    }
    if !host(to).eq_ignore_ascii_case(host(authority)) || host(to).is_empty() {
        return Err(NotFollowed::OtherHost);
    }
    let scheme = match (from.starts_with("ws"), secure) {
        (true, true) => "wss",
        (true, false) => "ws",
        (false, true) => "https",
        (false, false) => "http",
    };
    Ok(format!("{scheme}://{to}{rest}"))
}

/// Counts the redirects of one handshake.
#[derive(Debug, Default)]
pub(super) struct Redirects(usize);

impl Redirects {
    /// Returns the [`target`] of the next redirect. Fails if the handshake has already followed
    /// `most` redirects.
    pub(super) fn follow(
        &mut self,
        from: &str,
        location: &str,
        most: usize,
    ) -> Result<String, NotFollowed> {
        let to = target(from, location)?;
        if self.0 >= most {
            return Err(NotFollowed::TooMany(most));
        }
        self.0 += 1;
        tracing::debug!("redirected to {}", redacted_url(&to));
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_on_the_same_host_are_followed() {
        for (from, location, to) in [
            ("ws://h/ws", "https://h/ws", "wss://h/ws"),
            (
                "ws://h:80/ws",
                "https://H:8443/ws?a=1#b",
                "wss://H:8443/ws?a=1",
            ),
            (
                "http://h/rpc?x=1",
                "/hypha/rpc?x=1",
                "http://h/hypha/rpc?x=1",
            ),
            ("wss://h/a/ws?t=1", "b/ws", "wss://h/a/b/ws"),
            ("wss://h/a/ws?t=1", "?t=2", "wss://h/a/ws?t=2"),
            ("wss://h/ws", "//h/other", "wss://h/other"),
            ("ws://[::1]:1/ws", "ws://[::1]:2/ws", "ws://[::1]:2/ws"),
            (
                "ws://h/ws",
                "/login?next=http://other/",
                "ws://h/login?next=http://other/",
            ),
        ] {
            assert_eq!(target(from, location).as_deref(), Ok(to), "{location}");
        }
    }

    #[test]
    fn the_base_url_has_no_endpoint() {
        for (from, location, base) in [
            (
                "ws://h:1/ws",
                "https://other/hypha/ws",
                "https://other/hypha",
            ),
            ("ws://h:1/ws", "/ws", "http://h:1"),
            ("wss://h/a/ws", "b/ws?t=1", "https://h/a/b"),
            ("http://h/rpc?x=1", "//other/rpc?x=1", "http://other"),
            (
                "https://h/rpc",
                "https://other/login?to=/rpc",
                "https://other/login?to=/rpc",
            ),
            ("ws://h/ws", "wsx://other/ws", "wsx://other"),
        ] {
            assert_eq!(base_url(&absolute(from, location)), base, "{location}");
        }
    }

    #[test]
    fn targets_elsewhere_and_without_encryption_are_not() {
        for (from, location, why) in [
            ("ws://h/ws", "https://other/ws", NotFollowed::OtherHost),
            ("wss://h/ws", "//other/ws", NotFollowed::OtherHost),
            ("wss://h/ws", "https://h@other/ws", NotFollowed::OtherHost),
            ("wss://h/ws", "http://h/ws", NotFollowed::Unencrypted),
            ("wss://h/ws", "ws://other/ws", NotFollowed::Unencrypted),
            ("wss://h/ws", "file:///etc/passwd", NotFollowed::NoUrl),
            ("wss://h/ws", " ", NotFollowed::NoTarget),
        ] {
            assert_eq!(target(from, location), Err(why), "{location}");
        }
    }
}
