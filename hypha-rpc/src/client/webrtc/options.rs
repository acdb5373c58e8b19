//! Options of peer connections, and their STUN and TURN servers.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::client::Client;
use crate::error::{Error, report};
use crate::runtime::timeout;
use crate::service::Visibility;
use crate::transport::webrtc::{IceConfig, IceServer as Server};
use hypha_wire::Args;

/// STUN server of the Python and JavaScript clients.
const DEFAULT_STUN: &str = "stun:stun.l.google.com:19302";

/// Default maximum time to open a connection. The same as in the JavaScript client.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Method of a service that returns STUN and TURN servers.
const ICE_SERVERS: &str = "get_rtc_ice_servers";

/// Maximum time to fetch such a service and to call it.
const ICE_SERVICE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of URLs that are used of its result.
const MAX_ICE_URLS: usize = 8;

/// Maximum number of URLs that are checked, so that a long result does not block a thread.
const MAX_CHECKED_URLS: usize = 64;

/// Maximum size of a URL, in bytes. Host names have at most 253.
const MAX_URL: usize = 512;

/// Maximum size of a user name, in bytes (RFC 8489, section 14.3).
const MAX_USERNAME: usize = 513;

/// Maximum size of a password, in bytes.
const MAX_CREDENTIAL: usize = 1 << 10;

/// Default maximum number of connections that other clients open to this client.
const MAX_CONNECTIONS: usize = 64;

/// STUN or TURN server, which helps clients in different networks to find a path to each other.
///
/// # Examples
///
/// ```
/// use hypha_rpc::client::{IceServer, RtcOptions};
///
/// let options = RtcOptions::new().ice_servers([
///     IceServer::new("stun:stun.example.org:3478"),
///     IceServer::new("turn:turn.example.org:3478").credentials("user", "password"),
/// ]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer(Server);

impl IceServer {
    /// Creates a server from its URL: `stun:host[:port]` or `turn:host[:port]`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        IceServer(Server {
            urls: vec![url.into()],
            ..Server::default()
        })
    }

    /// Sets the user name and the password of a TURN server. Default: none.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.0.username = user.into();
        self.0.credential = password.into();
        self
    }
}

impl fmt::Debug for IceServer {
    /// Omits the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IceServer").field(&self.0.urls).finish()
    }
}

/// Options of [`Client::register_rtc_service`], [`Client::get_rtc_service`] and
/// [`ConnectOptions::webrtc`](crate::client::ConnectOptions::webrtc).
#[derive(Clone, Debug)]
#[must_use]
pub struct RtcOptions {
    pub(super) ice_servers: Vec<IceServer>,
    pub(super) ice_service: Option<String>,
    pub(super) relay_only: bool,
    pub(super) timeout: Duration,
    pub(super) visibility: Visibility,
    pub(super) max_connections: usize,
}

impl RtcOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        RtcOptions {
            ice_servers: vec![IceServer::new(DEFAULT_STUN)],
            ice_service: None,
            relay_only: false,
            timeout: OPEN_TIMEOUT,
            visibility: Visibility::Protected,
            max_connections: MAX_CONNECTIONS,
        }
    }

    /// Sets the STUN and TURN servers. Default: `stun:stun.l.google.com:19302`, as in the Python
    /// and JavaScript clients.
    ///
    /// Clients on one machine or in one network need none. The servers are not published.
    pub fn ice_servers(mut self, servers: impl IntoIterator<Item = IceServer>) -> Self {
        self.ice_servers = servers.into_iter().collect();
        self
    }

    /// Sets a service that gives STUN and TURN servers in addition to those of
    /// [`ice_servers`](Self::ice_servers), such as a coturn service with credentials that expire.
    /// Default: none. `id` has the forms of [`Client::get_service`].
    ///
    /// Its method `get_rtc_ice_servers()` returns a list of `{urls, username, credential}`, where
    /// `urls` is a URL or a list of them, and only TURN servers need the other members. It is
    /// called each time a connection is opened. The answering side calls it at most once in 10 s.
    /// Of the first 64 URLs, at most 8 are used. Invalid ones are ignored, and so are those with
    /// more than 512 bytes, with a user name of more than 513 bytes, or with a credential of more
    /// than 1 KiB.
    ///
    /// The client that answers under `id` chooses the TURN server, and that server learns the
    /// address of this machine. Use a full id `workspace/client:service` of a client that you
    /// trust.
    ///
    /// If the service cannot be called within 2 s, the connection has only the servers of
    /// [`ice_servers`](Self::ice_servers), and a warning is logged.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::client::RtcOptions;
    ///
    /// let options = RtcOptions::new().ice_servers([]).ice_service("ws-operator/turn:coturn");
    /// ```
    pub fn ice_service(mut self, id: impl Into<String>) -> Self {
        self.ice_service = Some(id.into());
        self
    }

    /// Uses only paths through a TURN server, so that the peer does not learn the addresses of this
    /// machine. Default: `false`. Fails with the kind [`ConnectErrorKind::PeerConnection`][failed]
    /// if no TURN server gives an address.
    ///
    /// Each side hides its own addresses with this option.
    ///
    /// [failed]: crate::error::ConnectErrorKind::PeerConnection
    pub fn relay_only(mut self, relay_only: bool) -> Self {
        self.relay_only = relay_only;
        self
    }

    /// Sets the maximum time to open a connection, including signaling. Default: 30 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Sets the visibility of the signaling service. Default: [`Visibility::Protected`]. Has no
    /// effect in [`Client::get_rtc_service`].
    ///
    /// Each service that is called over a connection has its own visibility, too.
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Sets the maximum number of connections that other clients may open at the same time. One
    /// client may open a quarter of them. Further offers are rejected with
    /// [`RejectKind::Busy`](crate::error::RejectKind::Busy). Default: 64. Has no effect in
    /// [`Client::get_rtc_service`].
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// Asks for further servers if there is a service for it.
    pub(super) async fn further_servers(&self, client: &Client) -> Vec<Server> {
        let Some(id) = &self.ice_service else {
            return Vec::new();
        };
        match timeout(ICE_SERVICE_TIMEOUT, fetch_servers(client, id)).await {
            Ok(Ok(found)) => return found,
            Ok(Err(error)) => {
                tracing::warn!("the ICE servers of `{id}` are not used: {}", report(&error));
            }
            Err(_) => tracing::warn!(
                "the ICE servers of `{id}` are not used: there was no response within \
                 {ICE_SERVICE_TIMEOUT:?}"
            ),
        }
        Vec::new()
    }

    /// Returns the servers and the rules of a connection.
    pub(super) fn ice(&self, further_servers: Vec<Server>) -> IceConfig {
        let servers = self.ice_servers.iter().map(|server| server.0.clone());
        IceConfig {
            servers: servers.chain(further_servers).collect(),
            relay_only: self.relay_only,
        }
    }
}

impl Default for RtcOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls a service that returns STUN and TURN servers.
async fn fetch_servers(client: &Client, id: &str) -> Result<Vec<Server>, Error> {
    let service = client.fetch(id).await?;
    let found: Vec<WireIceServer> = service.call(ICE_SERVERS, Args::new(0, 0)).await?;
    Ok(usable_servers(&found))
}

/// STUN or TURN server on the wire.
#[derive(Debug, Deserialize)]
struct WireIceServer {
    urls: Urls,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Urls {
    One(String),
    Many(Vec<String>),
}

impl WireIceServer {
    fn urls(&self) -> &[String] {
        match &self.urls {
            Urls::One(url) => std::slice::from_ref(url),
            Urls::Many(urls) => urls,
        }
    }

    fn username(&self) -> &str {
        self.username.as_deref().unwrap_or_default()
    }

    fn credential(&self) -> &str {
        self.credential.as_deref().unwrap_or_default()
    }

    /// Returns whether the credentials are not too large.
    fn has_usable_credentials(&self) -> bool {
        self.username().len() <= MAX_USERNAME && self.credential().len() <= MAX_CREDENTIAL
    }
}

/// Returns the servers of a result that are used: one for each URL, because one invalid URL makes
/// the whole server invalid.
fn usable_servers(found: &[WireIceServer]) -> Vec<Server> {
    let urls = found
        .iter()
        .flat_map(|server| server.urls().iter().map(move |url| (server, url)));
    urls.take(MAX_CHECKED_URLS)
        .filter(|(server, url)| url.len() <= MAX_URL && server.has_usable_credentials())
        .map(|(server, url)| Server {
            urls: vec![url.clone()],
            username: server.username().to_owned(),
            credential: server.credential().to_owned(),
        })
        .filter(Server::is_valid)
        .take(MAX_ICE_URLS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_with_servers_is_limited() {
        let server = |urls: Vec<String>, username: usize, credential: usize| WireIceServer {
            urls: Urls::Many(urls),
            username: Some("u".repeat(username)),
            credential: Some("c".repeat(credential)),
        };
        let turn = |n: usize| format!("turn:192.0.2.1:{n}");
        let used = |found: &[WireIceServer]| -> Vec<String> {
            let servers = usable_servers(found);
            servers.into_iter().flat_map(|server| server.urls).collect()
        };
        let small = server((1..20).map(turn).collect(), MAX_USERNAME, MAX_CREDENTIAL);
        let first: Vec<_> = (1..=MAX_ICE_URLS).map(turn).collect();
        assert_eq!(used(&[small]), first);
        let long = format!("turn:{}", "h".repeat(MAX_URL));
        let mixed = [
            server(vec![turn(1)], MAX_USERNAME + 1, 1),
            server(vec![turn(2)], 1, MAX_CREDENTIAL + 1),
            server(vec![long, "nonsense".into(), turn(3)], 1, 1),
            WireIceServer {
                urls: Urls::One("stun:192.0.2.1".into()),
                username: None,
                credential: None,
            },
        ];
        assert_eq!(used(&mixed), [turn(3), "stun:192.0.2.1".into()]);
        // The URLs behind the first ones are not looked at, of one server or of several.
        let many = vec![String::from("x"); MAX_CHECKED_URLS - 1];
        let found = [server(many, 1, 1), server(vec![turn(1), turn(2)], 1, 1)];
        assert_eq!(used(&found), [turn(1)]);
    }
}
