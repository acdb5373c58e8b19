//! Parses and formats service ids, client addresses and server URLs.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use rand::RngExt;

/// Error for a string that is not a valid service id or URL. The error message contains the string,
/// without credentials, and the expected form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

/// Id of a service: `workspace/client:service@app`. Only the service is required.
///
/// ```
/// # use hypha_wire::ServiceId;
/// let id: ServiceId = "lab/microscope-1:stage".parse()?;
/// assert_eq!(id.workspace.as_deref(), Some("lab"));
/// assert_eq!(id.service, "stage");
/// assert_eq!(id.to_string(), "lab/microscope-1:stage");
/// # Ok::<(), hypha_wire::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId {
    /// Workspace of the client that provides the service. `None` means the workspace of the program
    /// that uses the id.
    pub workspace: Option<String>,
    /// Id of the client that provides the service. In a lookup, `None` and `*` mean any client.
    pub client: Option<String>,
    /// Name of the service.
    pub service: String,
    /// App that the service belongs to.
    pub app: Option<String>,
}

impl FromStr for ServiceId {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let invalid = || {
            AddressError(format!(
                "`{text}` is not a service id; the form is `workspace/client:service@app`"
            ))
        };
        let (path, app) = match text.split_once('@') {
            Some((path, app)) => (path, Some(app)),
            None => (text, None),
        };
        let (workspace, rest) = match path.split_once('/') {
            Some((workspace, rest)) => (Some(workspace), rest),
            None => (None, path),
        };
        let (client, service) = match rest.split_once(':') {
            Some((client, service)) => (Some(client), service),
            None => (None, rest),
        };
        // No part may contain a separator, because the formatted id would otherwise be parsed into
        // different parts.
        let parts = [workspace, client, Some(service), app];
        let is_valid = |part: &str| !part.is_empty() && !part.contains(['/', ':', '@']);
        if !parts.into_iter().flatten().all(is_valid) {
            return Err(invalid());
        }
        Ok(Self {
            workspace: workspace.map(str::to_owned),
            client: client.map(str::to_owned),
            service: service.to_owned(),
            app: app.map(str::to_owned),
        })
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(workspace) = &self.workspace {
            write!(f, "{workspace}/")?;
        }
        if let Some(client) = &self.client {
            write!(f, "{client}:")?;
        }
        f.write_str(&self.service)?;
        if let Some(app) = &self.app {
            write!(f, "@{app}")?;
        }
        Ok(())
    }
}

/// Splits the absolute address `workspace/client` into workspace and client.
///
/// Returns `None` for a relative address, which has no slash.
#[must_use]
pub fn split_address(address: &str) -> Option<(&str, &str)> {
    address.split_once('/')
}

/// Returns `to` as an absolute address. A relative address, which has no slash, is prefixed with
/// `workspace`.
///
/// ```
/// # use hypha_wire::absolute_address;
/// assert_eq!(absolute_address("client", "lab"), "lab/client");
/// assert_eq!(absolute_address("*/manager", "lab"), "*/manager");
/// ```
#[must_use]
pub fn absolute_address<'a>(to: &'a str, workspace: &str) -> Cow<'a, str> {
    if to.contains('/') {
        to.into()
    } else {
        format!("{workspace}/{to}").into()
    }
}

/// Returns whether `id` is a valid client id: not empty, and without `/`, `:` and `@`.
///
/// The three characters separate the parts of addresses and service ids. An id that contains such a
/// character would be parsed as a different address.
#[must_use]
pub fn valid_client_id(id: &str) -> bool {
    !id.is_empty() && !id.contains(['/', ':', '@'])
}

/// Returns whether `name` is a valid service name: not empty, and without `.`, `:`, `@` and `/`.
///
/// Method paths are split at dots, so no call could reach a service with a dot in its name.
#[must_use]
pub fn valid_service_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['.', ':', '@', '/'])
}

/// Returns a new random id of 22 characters from the alphabet of Python's `shortuuid`.
///
/// The id has 128 bits of randomness, so that a peer cannot guess the id of a session. Client ids,
/// sessions and objects use such ids.
#[must_use]
pub fn random_id() -> String {
    const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut rng = rand::rng();
    (0..22)
        .map(|_| char::from(ALPHABET[rng.random_range(..ALPHABET.len())]))
        .collect()
}

/// Returns the URL of the WebSocket endpoint of the server at `server_url`.
///
/// `http://host/base/` becomes `ws://host/base/ws`. `ws://` and `wss://` URLs are returned
/// unchanged, because such a URL is already the URL of the endpoint.
///
/// # Errors
///
/// Returns an error if the URL is empty, or if its scheme is not `http`, `https`, `ws` or `wss`.
pub fn socket_url(server_url: &str) -> Result<String, AddressError> {
    if server_url.starts_with("ws://") || server_url.starts_with("wss://") {
        return Ok(server_url.to_owned());
    }
    match split_scheme(server_url)? {
        (false, rest) => Ok(format!("ws://{}/ws", rest.trim_end_matches('/'))),
        (true, rest) => Ok(format!("wss://{}/ws", rest.trim_end_matches('/'))),
    }
}

/// Returns the HTTP base URL of the server at `server_url`, which may also be the URL of its
/// WebSocket endpoint.
///
/// # Errors
///
/// Returns an error if the URL is empty, or if its scheme is not `http`, `https`, `ws` or `wss`.
pub fn http_url(server_url: &str) -> Result<String, AddressError> {
    let (secure, rest) = split_scheme(server_url)?;
    // Programs may pass the URL of the WebSocket endpoint: the base URL plus `/ws`.
    let rest = rest
        .strip_suffix("/ws")
        .unwrap_or(rest)
        .trim_end_matches('/');
    Ok(format!(
        "{}://{rest}",
        if secure { "https" } else { "http" }
    ))
}

/// Returns `url` without user, password, query and fragment, for messages and logs.
///
/// The URL may be invalid or relative. If it is unclear where the password ends, everything after
/// the scheme is replaced with `...`.
///
/// ```
/// # use hypha_wire::redacted_url;
/// assert_eq!(redacted_url("https://me:secret@host/ws?token=secret"), "https://host/ws");
/// assert_eq!(redacted_url("https://me:se/cret@host"), "https://...");
/// ```
#[must_use]
pub fn redacted_url(url: &str) -> String {
    let start = match url.find("://") {
        Some(at) if !url[..at].contains(['/', '?', '#']) => at + 3,
        _ if url.starts_with("//") => 2,
        _ => 0,
    };
    let (scheme, rest) = url.split_at(start);
    // Web URL parsers treat a backslash like a slash.
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    // Use the last `@`, because a password may contain an unescaped `@`.
    let host = match authority.rfind('@') {
        Some(at) => at + 1,
        None => {
            // If a password contains an unescaped `/`, `?` or `#`, the authority ends inside the
            // password.
            let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
            let is_port = port.is_empty() || port.ends_with(']') || port.parse::<u16>().is_ok();
            if !is_port && rest.contains('@') {
                return format!("{scheme}...");
            }
            0
        }
    };
    let shown = &rest[host..];
    let end = shown.find(['?', '#']).unwrap_or(shown.len());
    format!("{scheme}{}", &shown[..end])
}

/// Returns whether the URL is encrypted (`https`, `wss`), and the rest of the URL after the scheme.
fn split_scheme(server_url: &str) -> Result<(bool, &str), AddressError> {
    let (scheme, rest) = server_url.split_once("://").unwrap_or(("", server_url));
    let secure = match scheme {
        "http" | "ws" => false,
        "https" | "wss" => true,
        _ if server_url.is_empty() => {
            return Err(AddressError("server_url is required".to_owned()));
        }
        _ => {
            return Err(AddressError(format!(
                "server_url `{}` must begin with http://, https://, ws:// or wss://",
                redacted_url(server_url)
            )));
        }
    };
    Ok((secure, rest))
}

/// Parts of the URL of a service. A missing client or app is `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    /// Base URL of the server.
    pub server_url: String,
    /// Workspace of the client.
    pub workspace: String,
    /// Id of the client that provides the service.
    pub client_id: String,
    /// Name of the service.
    pub service_id: String,
    /// App that the service belongs to.
    pub app_id: String,
}

/// Parses `https://host/workspace/services/client:service@app`.
///
/// Anything after the service id is ignored, as in the Python client.
///
/// # Errors
///
/// Returns an error if the URL does not have this form.
pub fn parse_service_url(url: &str) -> Result<ServiceUrl, AddressError> {
    split_service_url(url).ok_or_else(|| {
        AddressError(format!(
            "`{}` is not the URL of a service; the form is \
             `https://host/workspace/services/client:service@app`",
            redacted_url(url)
        ))
    })
}

fn split_service_url(url: &str) -> Option<ServiceUrl> {
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let (host, path) = rest.split_once('/')?;
    let (workspace, rest) = path.split_once("/services/")?;
    // The character sets are the same as in the Python client, so that both clients accept the same
    // URLs.
    let is_workspace_char =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if host.is_empty() || workspace.is_empty() || !workspace.chars().all(is_workspace_char) {
        return None;
    }
    // Anything after a name is ignored, because the Python client matches only a prefix, and users
    // share such URLs between languages.
    let (first, rest) = leading_name(rest)?;
    let (client, service, rest) = match rest.strip_prefix(':').and_then(leading_name) {
        Some((service, rest)) => (Some(first), service, rest),
        None => (None, first, rest),
    };
    let app = rest
        .strip_prefix('@')
        .and_then(leading_name)
        .map(|(app, _)| app);
    Some(ServiceUrl {
        server_url: format!("{scheme}://{host}"),
        workspace: workspace.to_owned(),
        client_id: client.unwrap_or("*").to_owned(),
        service_id: service.to_owned(),
        app_id: app.unwrap_or("*").to_owned(),
    })
}

/// Splits the name at the beginning of `text` from the rest. Returns `None` if there is no name.
fn leading_name(text: &str) -> Option<(&str, &str)> {
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let end = text.find(|c| !is_name_char(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_ids_are_parsed_and_written() {
        let full: ServiceId = "ws/client:svc@app".parse().expect("a service id");
        assert_eq!(full.workspace.as_deref(), Some("ws"));
        assert_eq!(full.client.as_deref(), Some("client"));
        assert_eq!(full.service, "svc");
        assert_eq!(full.app.as_deref(), Some("app"));
        for text in [
            "svc",
            "client:svc",
            "ws/svc",
            "ws/client:svc",
            "svc@*",
            "~",
            "ws/*:svc",
        ] {
            let id: ServiceId = text.parse().expect("a service id");
            assert_eq!(id.to_string(), text);
        }
        for text in [
            "", "ws/", "/svc", "client:", "a/b/c", "a:b:c", "svc@", "svc@a@b", "a:b/c",
        ] {
            assert!(text.parse::<ServiceId>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_are_completed_with_the_workspace() {
        assert_eq!(absolute_address("client", "ws"), "ws/client");
        assert_eq!(absolute_address("*/manager", "ws"), "*/manager");
        assert_eq!(split_address("ws/client"), Some(("ws", "client")));
        assert_eq!(split_address("client"), None);
    }

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        for (url, shown) in [
            ("ws://h:1/ws?token=x", "ws://h:1/ws"),
            ("https://user:pw@h/a@b", "https://h/a@b"),
            ("https://h/a@b#x", "https://h/a@b"),
            ("https://u:p@w@h?x", "https://h"),
            ("http://u:p#w@h/ws", "http://..."),
            ("http://h:bad/ws?mail=a@b", "http://..."),
            ("http://h:bad/ws?token=x", "http://h:bad/ws"),
            ("http://[::1]/a@b", "http://[::1]/a@b"),
            ("//u:p@h/ws?x", "//h/ws"),
            ("/ws?to=http://u:p@h", "/ws"),
            ("u:p@h", "h"),
            ("memory", "memory"),
            ("", ""),
        ] {
            assert_eq!(redacted_url(url), shown, "{url}");
        }
        let error = socket_url("ftp://u:SECRET@h/?token=SECRET").expect_err("another scheme");
        assert!(!error.to_string().contains("SECRET"), "{error}");
        let error = parse_service_url("ftp://u:SECRET@h/?token=SECRET").expect_err("no service");
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }

    #[test]
    fn ids_that_would_be_ambiguous_are_invalid() {
        assert!(valid_client_id("client-1") && valid_service_name("my-service"));
        assert!(!valid_client_id("a/b") && !valid_client_id("a:b") && !valid_client_id(""));
        assert!(!valid_service_name("a.b") && !valid_service_name("a@b"));
    }

    #[test]
    fn random_ids_are_short_uuids() {
        let id = random_id();
        assert_eq!(id.len(), 22);
        assert!(
            id.chars()
                .all(|c| c.is_ascii_alphanumeric() && !"01IOl".contains(c))
        );
        assert_ne!(id, random_id());
    }
}
