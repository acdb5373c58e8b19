//! Chooses the proxy for a connection, either from the option `proxy` or from the environment
//! variables that other programs also read.

use std::fmt;
use std::net::IpAddr;

use hypha_wire::redacted_url;

use crate::error::{ConnectError, ConnectErrorKind, ProxyFailure};

/// Setting that determines the proxy for a connection.
#[derive(Clone, Default)]
pub(crate) enum ProxyChoice {
    /// The environment variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    #[default]
    Environment,
    /// No proxy.
    Direct,
    /// Uses the proxy with this URL for every host.
    Url(String),
}

impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyChoice::Environment => f.write_str("Environment"),
            ProxyChoice::Direct => f.write_str("Direct"),
            ProxyChoice::Url(url) => f.debug_tuple("Url").field(&redacted_url(url)).finish(),
        }
    }
}

/// Protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `CONNECT` requests (RFC 9110, section 9.3.6).
    Http,
    /// `CONNECT` requests over TLS.
    Https,
    /// SOCKS 5 (RFC 1928).
    Socks5 {
        /// Whether the proxy resolves the host name of the server.
        looks_up: bool,
    },
}

/// A proxy, parsed from a URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) protocol: Protocol,
    pub(super) host: String,
    pub(super) port: u16,
    /// User name and password.
    pub(super) credentials: Option<(String, String)>,
    /// URL including the scheme, for the HTTP library.
    url: String,
    /// Environment variable that contains the URL, if no option sets the proxy.
    variable: Option<&'static str>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.shown()).finish()
    }
}

impl Proxy {
    /// Parses the URL of a proxy. A URL without a scheme means an HTTP proxy.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (protocol, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Protocol::Http, 80),
            "https" => (Protocol::Https, 443),
            "socks5" => (Protocol::Socks5 { looks_up: false }, 1080),
            "socks5h" => (Protocol::Socks5 { looks_up: true }, 1080),
            _ => return Err("its scheme is not `http`, `https`, `socks5` or `socks5h`"),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => {
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                let decoded = (decoded(user)?, decoded(password)?);
                (Some(decoded), address)
            }
            None => (None, authority),
        };
        let (host, port) = split_port(address);
        let port = match port {
            Some(port) => port.parse().map_err(|_| "its port is not a number")?,
            None => default_port,
        };
        if host.is_empty() {
            return Err("it names no host");
        }
        Ok(Proxy {
            protocol,
            host: host.to_owned(),
            port,
            credentials,
            url: format!("{scheme}://{rest}"),
            variable: None,
        })
    }

    /// Returns the URL with the credentials.
    #[cfg(all(feature = "http", not(target_family = "wasm")))]
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the URL without the credentials, and the environment variable that it is from.
    pub(super) fn shown(&self) -> String {
        let url = redacted_url(&self.url);
        match self.variable {
            Some(variable) => format!("{url} (from {variable})"),
            None => url,
        }
    }

    /// Returns the error for a failure of this proxy. `what` is the message that the proxy sent,
    /// and may be empty.
    pub(super) fn failed(&self, failure: ProxyFailure, what: &str) -> ConnectError {
        let mut detail = self.shown();
        if !what.is_empty() {
            detail.push_str(&format!(" ({what})"));
        }
        ConnectError::new(ConnectErrorKind::Proxy(failure), detail)
    }
}

/// Splits `host:port`, and removes the brackets around an IPv6 address.
pub(super) fn split_port(address: &str) -> (&str, Option<&str>) {
    match address.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => match address.rsplit_once(':') {
            // A string with more than one colon is an IPv6 address without brackets.
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (address, None),
        },
    }
}

/// Decodes percent-encoded bytes, such as `%41`.
fn decoded(text: &str) -> Result<String, &'static str> {
    let fault = "its user name or password has a `%` that is not followed by two digits";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else {
            return Err(fault);
        };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err(fault);
        };
        bytes.push((high * 16 + low) as u8);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| "its user name or password is not UTF-8")
}

/// Returns the proxy for connections to `host`. `host` is a name, or an address without brackets.
///
/// # Errors
///
/// Returns [`ConnectErrorKind::InvalidOption`] if the URL of the proxy cannot be used.
pub(super) fn choose(
    choice: &ProxyChoice,
    secure: bool,
    host: &str,
    port: u16,
) -> Result<Option<Proxy>, ConnectError> {
    let (source, url) = match choice {
        ProxyChoice::Direct => return Ok(None),
        ProxyChoice::Url(url) => ("proxy", url.clone()),
        ProxyChoice::Environment => {
            let variable = |name: &str| std::env::var(name).ok();
            match from_variables(variable, secure, host, port) {
                Some(found) => found,
                None => return Ok(None),
            }
        }
    };
    let invalid = |fault| {
        let detail = format!("`{source}` (`{}`): {fault}", redacted_url(&url));
        ConnectError::new(ConnectErrorKind::InvalidOption, detail)
    };
    let mut proxy = Proxy::parse(url.trim()).map_err(invalid)?;
    proxy.variable = (source != "proxy").then_some(source);
    Ok(Some(proxy))
}

/// Returns the name and the value of the environment variable that sets the proxy for a host.
fn from_variables(
    variable: impl Fn(&str) -> Option<String>,
    secure: bool,
    host: &str,
    port: u16,
) -> Option<(&'static str, String)> {
    // Connections to this machine never use a proxy.
    if host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|ip| ip.is_loopback()) {
        return None;
    }
    let value = |name: &str| {
        let value = variable(name)?;
        (!value.trim().is_empty()).then_some(value)
    };
    let either = |lower, upper| {
        let lower = value(lower).map(|url| (lower, url));
        lower.or_else(|| Some((upper, value(upper)?)))
    };
    if let Some((_, exceptions)) = either("no_proxy", "NO_PROXY") {
        if is_exempt(&exceptions, host, port) {
            return None;
        }
    }
    let own = match secure {
        true => either("https_proxy", "HTTPS_PROXY"),
        // Ignore `HTTP_PROXY` in a CGI program. There, `HTTP_PROXY` contains the header `Proxy` of
        // the request, so an attacker could set it.
        false if variable("REQUEST_METHOD").is_some() => Some(("http_proxy", value("http_proxy")?)),
        false => either("http_proxy", "HTTP_PROXY"),
    };
    own.or_else(|| either("all_proxy", "ALL_PROXY"))
}

/// Returns whether `NO_PROXY` exempts the host. An entry of `NO_PROXY` is a host name, a parent
/// domain, an address, a network (`10.0.0.0/8`), or `*` for all hosts. A name or an address may be
/// followed by a port.
fn is_exempt(exceptions: &str, host: &str, port: u16) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let ip = address(&host);
    exceptions
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            if entry == "*" {
                return true;
            }
            if let (Some(ip), Some((network, bits))) = (ip, entry.split_once('/')) {
                return bits
                    .parse()
                    .is_ok_and(|bits| address(network).is_some_and(|n| is_within(ip, n, bits)));
            }
            let (name, only) = split_port(entry);
            if only.is_some_and(|only| only.parse() != Ok(port)) {
                return false;
            }
            if ip.is_some() {
                return ip == address(name);
            }
            let name = name.strip_prefix('*').unwrap_or(name);
            let name = name.trim_matches('.').to_ascii_lowercase();
            let before = host.strip_suffix(&name);
            !name.is_empty()
                && before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
}

fn address(host: &str) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().ok()
}

/// Returns whether the first `bits` of both addresses are the same.
fn is_within(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (ip ^ network).checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)], secure: bool, host: &str) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        from_variables(variable, secure, host, 9527).map(|(_, url)| url)
    }

    #[test]
    fn the_variable_of_the_scheme_comes_first() {
        let all = [
            ("HTTP_PROXY", "plain"),
            ("HTTPS_PROXY", "secure"),
            ("ALL_PROXY", "any"),
        ];
        assert_eq!(chosen(&all, false, "h.org").as_deref(), Some("plain"));
        assert_eq!(chosen(&all, true, "h.org").as_deref(), Some("secure"));
        assert_eq!(chosen(&all[2..], true, "h.org").as_deref(), Some("any"));
        assert_eq!(chosen(&[("HTTPS_PROXY", " ")], true, "h.org"), None);
        let both = [("https_proxy", "lower"), ("HTTPS_PROXY", "upper")];
        assert_eq!(chosen(&both, true, "h.org").as_deref(), Some("lower"));
        let cgi = [("HTTP_PROXY", "a header"), ("REQUEST_METHOD", "GET")];
        assert_eq!(chosen(&cgi, false, "h.org"), None);
    }

    #[test]
    fn this_machine_is_reached_without_a_proxy() {
        for host in ["localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]"] {
            assert_eq!(chosen(&[("ALL_PROXY", "any")], true, host), None, "{host}");
        }
    }

    #[test]
    fn exceptions_are_names_domains_addresses_and_networks() {
        for (list, host, exempt) in [
            ("*", "h.org", true),
            ("a.org, h.org", "h.org", true),
            ("h.org", "H.ORG.", true),
            ("h.org", "lab.h.org", true),
            (".h.org", "lab.h.org", true),
            ("*.h.org", "lab.h.org", true),
            ("h.org", "notH.org", false),
            ("h.org:9527", "h.org", true),
            ("h.org:80", "h.org", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("fd00::/8", "fd12::1", true),
            ("[fd12::1]:9527", "fd12::1", true),
            ("2.3", "10.1.2.3", false),
            ("", "h.org", false),
            ("h.org.", "lab.h.org", true),
            (".", "h.org", false),
        ] {
            assert_eq!(is_exempt(list, host, 9527), exempt, "{list} and {host}");
        }
    }

    #[test]
    fn urls_of_proxies_are_parsed() {
        let proxy = Proxy::parse("http://me:se%40cret@proxy:3128/").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 3128));
        assert_eq!(proxy.credentials, Some(("me".into(), "se@cret".into())));
        assert!(!format!("{proxy:?}").contains("cret"), "{proxy:?}");
        let plain = Proxy::parse("proxy").unwrap();
        assert_eq!((plain.protocol, plain.port), (Protocol::Http, 80));
        let socks = Proxy::parse("socks5h://[::1]").unwrap();
        assert_eq!((socks.host.as_str(), socks.port), ("::1", 1080));
        for bad in [
            "ftp://proxy",
            "http://",
            "http://proxy:x",
            "http://%4@proxy",
        ] {
            assert!(Proxy::parse(bad).is_err(), "{bad}");
        }
    }
}
