//! Direct connections to other clients over WebRTC data channels (`docs/protocol/06-webrtc.md`).
//!
//! A connection over a channel is a [`Client`] without a manager, like that of an in-process link.
//! The answering side shares the services of its connection to the server.

mod accounts;
mod answerer;
mod options;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::answerer::Answerer;
pub use self::options::{IceServer, RtcOptions};
use super::{Client, CloseReason, DirectServiceLookup, Identity, Settings, Stats};
use crate::call::{Proxy, RemoteService};
use crate::engine::LinkPeer;
use crate::error::{ConnectError, ConnectErrorKind, Error};
use crate::runtime::timeout;
use crate::service::{Connection, Engine, IncomingCall, Method, Service};
use crate::transport::webrtc::{ChannelLimits, Description, Pending};
use crate::workspace::ServiceInfo;
use hypha_wire::{Args, PeerMemory, Value, random_id, split_address, valid_service_name};

/// Connection type in contexts of calls over a data channel.
const CONNECTION_TYPE: &str = "webrtc";

/// Key in the config of the signaling service. It says that services on its connections behave as
/// they do through the server, so that other clients may open connections automatically.
///
/// The other clients do not set it: on their connections, permissions and contexts differ, large
/// results are lost, and functions expire (`docs/protocol/06-webrtc.md#s8`).
const AUTOMATIC: &str = "automatic";

/// Method of the signaling service.
const OFFER: &str = "offer";

/// Direct connection to another client, opened by [`Client::get_rtc_service`].
///
/// Calls, callbacks, streams and files pass over it without the server. Clones share the
/// connection. It closes when [`disconnect`](Self::disconnect) is called, or when the last clone
/// and the last value received through it are dropped. It does not reconnect: calls then fail with
/// [`Error::Disconnected`]. A peer that no longer responds is noticed after 15 s.
///
/// It does not depend on the connection to the server, except for opening it.
#[derive(Clone)]
pub struct PeerConnection {
    client: Client,
    /// Address of the peer on the channel.
    peer: String,
}

impl PeerConnection {
    /// Fetches a service of the peer. `id` is the id without workspace and client.
    ///
    /// # Errors
    ///
    /// * [`Error::Invalid`] if `id` contains `:` or `/`.
    /// * [`Error::Rejected`] if the peer has no such service or this client may not use it.
    /// * The other errors of a [`Call`](crate::Call).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{args, client::PeerConnection};
    /// # async fn example(peer: PeerConnection) -> Result<(), hypha_rpc::Error> {
    /// let camera = peer.get_service("camera")?.await?;
    /// let frame: bytes::Bytes = camera.call("snap", args!()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_service(&self, id: &str) -> Result<DirectServiceLookup, Error> {
        if !valid_service_name(id.split('@').next().unwrap_or_default()) {
            return Err(Error::Invalid(format!(
                "service id `{id}`: over a peer connection it has no workspace and no client"
            )));
        }
        let id = format!("{}:{id}", self.peer);
        Ok(self.client.get_remote_service(&id))
    }

    /// Fetches a service like [`get_service`](Self::get_service), and returns the typed proxy of a
    /// contract.
    ///
    /// # Errors
    ///
    /// The errors of [`get_service`](Self::get_service).
    pub async fn proxy<P: Proxy>(&self, id: &str) -> Result<P, Error> {
        Ok(P::from_service(self.get_service(id)?.await?))
    }

    /// Returns whether the connection is not closed.
    pub(super) fn is_open(&self) -> bool {
        !self.client.engine().lifecycle.is_closed()
    }

    /// Returns the connection, and the address of the peer on it.
    pub(super) fn route(&self) -> (Connection, String) {
        (self.client.connection.clone(), self.peer.clone())
    }

    /// Returns a client that does not keep the connection open.
    pub(super) fn unowned_client(&self) -> Client {
        self.client.unowned()
    }

    /// Waits until the connection is closed, and returns the reason.
    ///
    /// # Cancellation
    ///
    /// This method is cancel safe.
    pub async fn closed(&self) -> Arc<CloseReason> {
        self.client.closed().await
    }

    /// Returns the counters of this connection.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.client.stats()
    }

    /// Closes the connection. Pending calls fail, and the peer is told.
    ///
    /// Like [`Client::disconnect`], waits up to 5 s for running handlers, such as those of
    /// callbacks.
    pub async fn disconnect(&self) {
        self.client.disconnect().await;
    }
}

impl fmt::Debug for PeerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerConnection")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Session description on the wire.
#[derive(Debug, Deserialize, Serialize)]
struct WireDescription {
    sdp: String,
    #[serde(rename = "type")]
    kind: String,
    /// Workspace of the answering client. Only in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
}

impl From<Description> for WireDescription {
    fn from(Description { sdp, kind }: Description) -> Self {
        WireDescription {
            sdp,
            kind,
            workspace: None,
        }
    }
}

impl From<WireDescription> for Description {
    fn from(WireDescription { sdp, kind, .. }: WireDescription) -> Self {
        Description { sdp, kind }
    }
}

impl Client {
    /// Registers a signaling service, through which other clients open direct connections to this
    /// client. Returns its record.
    ///
    /// A connection gives access to all services of this client. Visibility, authorized workspaces
    /// and trusted keys apply as they do through the server, and each handler receives a
    /// [`Context`](crate::Context): its address, workspace and user are those of the client that
    /// opened the connection, as authenticated by the server at that time. They stay valid until
    /// the connection is closed.
    ///
    /// Connections stay open if the service is unregistered or the link to the server is lost. They
    /// close with [`disconnect`](Self::disconnect).
    ///
    /// # Errors
    ///
    /// The errors of [`RegisterService`](super::RegisterService).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::client::RtcOptions;
    /// # use hypha_rpc::{Client, service::Service};
    /// # async fn example(client: Client, camera: Service) -> Result<(), hypha_rpc::Error> {
    /// client.register_service(camera).await?;
    /// client.register_rtc_service("camera-rtc", RtcOptions::new()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn register_rtc_service(
        &self,
        id: impl Into<String>,
        options: RtcOptions,
    ) -> Result<ServiceInfo, Error> {
        let answerer = Arc::new(Answerer::new(self, options.clone()));
        let offer = Method::new(OFFER, move |call: IncomingCall| {
            let answerer = Arc::clone(&answerer);
            async move { answerer.offer(&call).await }
        });
        let service = Service::new(id)
            .description("Opens direct connections over WebRTC.")
            .visibility(options.visibility)
            .require_context(true)
            .config(AUTOMATIC, true)
            .method(offer.doc("Answer the offer of a peer connection."));
        self.register_service(service).await
    }

    /// Opens a direct connection to the client with the signaling service `id`, which that client
    /// registered with [`register_rtc_service`](Self::register_rtc_service) or, in other
    /// languages, the function of that name. `id` has the forms of
    /// [`get_service`](Self::get_service).
    ///
    /// The two clients exchange their addresses through the server, and then find a network path to
    /// each other. The connection is encrypted. Its certificates are verified with fingerprints
    /// that are exchanged through the server, too.
    ///
    /// # Errors
    ///
    /// * The errors of [`get_service`](Self::get_service) for the signaling service, and the errors
    ///   of a [`Call`](crate::Call) to it.
    /// * [`Error::Connect`] with the kind [`ConnectErrorKind::PeerConnection`] if no network path
    ///   was found, or the connection is not open within [`RtcOptions::timeout`].
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::client::RtcOptions;
    /// # use hypha_rpc::{Client, args};
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// let peer = client.get_rtc_service("camera-rtc", RtcOptions::new()).await?;
    /// let camera = peer.get_service("camera")?.await?;
    /// let frame: bytes::Bytes = camera.call("snap", args!()).await?;
    /// peer.disconnect().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_rtc_service(
        &self,
        id: impl Into<String>,
        options: RtcOptions,
    ) -> Result<PeerConnection, Error> {
        let id = id.into();
        let limit = options.timeout;
        let opening = async {
            let signaling = self.fetch(&id).await?;
            self.open_peer_connection(&signaling, &options).await
        };
        named(timeout(limit, opening).await, &id, limit)
    }

    /// Registers the signaling service of a client that opens and accepts direct connections
    /// automatically. A rejection is not an error: a client that may not register services still
    /// opens connections.
    pub(super) async fn answer_automatically(&self, options: RtcOptions) -> Result<(), Error> {
        let id = signaling_id(&self.client_id());
        match self.register_rtc_service(id, options).await {
            Err(Error::Rejected(refusal)) => {
                tracing::warn!("this client cannot accept direct connections: {refusal}");
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }

    /// Opens a connection to the client at `provider`. Returns `None` if that client does not
    /// accept automatic connections.
    pub(super) async fn open_automatically(
        &self,
        provider: &str,
        options: RtcOptions,
    ) -> Result<Option<PeerConnection>, Error> {
        let Some((_, client_id)) = split_address(provider) else {
            return Ok(None);
        };
        let id = format!("{provider}:{}", signaling_id(client_id));
        let limit = options.timeout;
        let opening = async {
            let signaling = match self.fetch(&id).await {
                Err(Error::Rejected(refusal)) => {
                    tracing::debug!("{provider} accepts no direct connections: {refusal}");
                    return Ok(None);
                }
                fetched => fetched?,
            };
            let config = signaling.get("config");
            if config.and_then(|config| config.get(AUTOMATIC)) != Some(&Value::from(true)) {
                return Ok(None);
            }
            let opened = self.open_peer_connection(&signaling, &options).await;
            opened.map(Some)
        };
        named(timeout(limit, opening).await, &id, limit)
    }

    async fn open_peer_connection(
        &self,
        signaling: &RemoteService,
        options: &RtcOptions,
    ) -> Result<PeerConnection, Error> {
        let label = random_id();
        let ice = options.ice(options.further_servers(self).await);
        let (pending, channel, offer) = Pending::offer(&label, &ice).await?;
        let mut args = Args::new(1, 0);
        args.push("params", &WireDescription::from(offer));
        let answer: WireDescription = signaling.call(OFFER, args).await?;
        let (provider, _) = signaling.id().split_once(':').unwrap_or_default();
        let provider_workspace = split_address(provider).map_or("", |(workspace, _)| workspace);
        // Servers never forward a workspace with a slash, so addresses would not be readable.
        let workspace = answer.workspace.clone();
        let workspace = workspace
            .filter(|workspace| !workspace.contains('/'))
            .unwrap_or_else(|| provider_workspace.to_owned());
        let opened = pending.accepted(channel, label, &answer.into()).await?;
        let peer = format!("{workspace}/{}", opened.label);
        let caller = LinkPeer {
            address: provider.to_owned(),
            workspace: provider_workspace.to_owned(),
            // The server tells only the user of a caller.
            user: Default::default(),
        };
        let engine = self.engine();
        let memory = engine.settings.memory.clone();
        let settings = channel_settings(engine, opened.limits, caller, memory);
        let mut identity = identity(&workspace, &random_id());
        identity.user = engine.identity().user.clone();
        Ok(PeerConnection {
            client: Client::from_link(opened.link, identity, settings),
            peer,
        })
    }
}

/// Returns the id of the signaling service of a client that accepts connections automatically.
fn signaling_id(client_id: &str) -> String {
    format!("{client_id}-rtc")
}

/// Converts the outcome of an attempt to open a connection through the signaling service `id`.
fn named<T>(
    outcome: Result<Result<T, Error>, impl Sized>,
    id: &str,
    limit: Duration,
) -> Result<T, Error> {
    let late = |_| Err(unopened(format!("it was not open within {limit:?}")).into());
    outcome.unwrap_or_else(late).map_err(|error| match error {
        Error::Connect(error) => error.with_peer(id).into(),
        other => other,
    })
}

fn unopened(detail: String) -> ConnectError {
    ConnectError::new(ConnectErrorKind::PeerConnection, detail)
}

/// Returns the identity of a client on a data channel. There is no manager on it.
fn identity(workspace: &str, client_id: &str) -> Identity {
    let mut identity = Identity::new(workspace, client_id);
    identity.connection_type = CONNECTION_TYPE;
    identity
}

/// Returns the settings of a connection over a data channel. Timeouts and limits are those of the
/// connection to the server.
fn channel_settings(
    engine: &Engine,
    limits: ChannelLimits,
    caller: LinkPeer,
    memory: Option<Arc<dyn PeerMemory>>,
) -> Settings {
    Settings {
        chunk_bytes: limits.chunk,
        large_frame_bytes: 0,
        max_frame_bytes: limits.message,
        link_peer: Some(Arc::new(caller)),
        memory,
        // The layers below detect a lost peer. The watchdog cannot help either, because their task
        // belongs to the runtime of the program.
        ping_interval: Duration::ZERO,
        token_refresh_interval: Duration::ZERO,
        stall_timeout: Duration::ZERO,
        #[cfg(feature = "encryption")]
        encryption: engine.secrecy.keys(),
        ..engine.settings.clone()
    }
}

#[cfg(test)]
impl PeerConnection {
    /// Creates a connection over the link of a client.
    pub(super) fn over(client: Client, peer: &str) -> Self {
        PeerConnection {
            client,
            peer: peer.to_owned(),
        }
    }

    /// Serves the other end of such a link, with the services of `host`. The caller is `ws/caller`.
    pub(super) fn served(link: crate::transport::memory::MemoryLink, host: &Client) -> Client {
        let caller = LinkPeer {
            address: "ws/caller".into(),
            workspace: "ws".into(),
            user: Default::default(),
        };
        let limits = ChannelLimits {
            message: 64 << 10,
            chunk: 60 << 10,
        };
        let settings = channel_settings(host.engine(), limits, caller, None);
        let shared = Some(host.engine());
        Client::sharing(Box::new(link), identity("ws", "channel"), settings, shared)
    }
}
