//! Peer connections with the crate `webrtc`, each with one data channel for RPC
//! (`docs/protocol/06-webrtc.md`).
//!
//! The peers exchange an offer and an answer through the server. There is no trickle ICE: both
//! descriptions contain all candidates. The DTLS certificates are verified against the fingerprints
//! in the descriptions, so a connection is as authentic as the call that carried them.
//!
//! The side that offers is the DTLS client. The library begins SCTP only as the DTLS client, and
//! the Python client only as the side that offers. With the usual roles, both would wait for each
//! other.

mod runtime;
mod sdp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ::webrtc::data_channel::{DataChannel as RtcDataChannel, DataChannelEvent};
use ::webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceGatheringState, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnectionState, RTCSdpType,
    RTCSessionDescription, SettingEngineBuilder,
};
use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, join_all};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::url::{ProtoType, SchemeType};
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use rtc::peer_connection::transport::RTCDtlsRole;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, watch};

use super::data_channel::{DataChannel, DataChannelLink};
use super::{BoxLink, LinkError};
use crate::error::{ConnectError, ConnectErrorKind};
use crate::runtime::{Instant, timeout};
use runtime::ConnectionRuntime;
use sdp::{MAX_RECEIVED, RemoteDescription};

/// Maximum time to gather candidates. Then the description contains those that were found. A server
/// that does not respond delays each connection by this time, on both sides.
const GATHERING_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum time to resolve the name of a STUN or TURN server. The library resolves names in the
/// task that drives the connection, which would meanwhile do nothing else.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of bytes that a channel buffers before senders wait. More than the receive window
/// of the library (1 MiB), so that the network never waits for this program.
const SEND_BUFFER: usize = 2 << 20;

/// Time without an acknowledgment after which a channel is closed, if bytes were outstanding all
/// the time. The library gives up after about a minute, but keeps the channel.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum time to send the buffered messages of a channel before it is closed.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause between two checks whether the buffered messages were sent. The library does not report
/// it.
const FLUSH_CHECK: Duration = Duration::from_millis(5);

/// Time without a packet after which a peer counts as lost. The library sends a packet every 2 s.
const ICE_DISCONNECTED: Duration = Duration::from_secs(5);

/// Additional time until the connection has failed.
const ICE_FAILED: Duration = Duration::from_secs(10);

/// Time in which paths with an address behind a NAT are not used although they work, because a
/// shorter path may be found. The library checks all paths every 200 ms.
const NAT_WAIT: Duration = Duration::from_millis(250);

/// The same for paths through a TURN server.
const RELAY_WAIT: Duration = Duration::from_millis(500);

/// Maximum size of a chunk, in bytes. The Python client breaks at messages of about 262,000 bytes,
/// and smaller chunks let other messages pass in between.
const MAX_CHUNK: usize = 192 << 10;

/// Space for the fields around a chunk, and for a message that exceeds the chunk size.
const CHUNK_FIELDS: usize = 2 << 10;

const INVALID: &str = "the peer's session description is invalid";

/// STUN or TURN server, with its credentials.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct IceServer {
    pub(crate) urls: Vec<String>,
    pub(crate) username: String,
    pub(crate) credential: String,
}

impl IceServer {
    /// Returns whether the library accepts the URLs and the credentials.
    pub(crate) fn is_valid(&self) -> bool {
        let server = RTCIceServer {
            urls: self.urls.clone(),
            username: self.username.clone(),
            credential: self.credential.clone(),
        };
        server.urls().is_ok()
    }
}

/// Servers and rules for finding a network path.
#[derive(Clone, Default)]
pub(crate) struct IceConfig {
    pub(crate) servers: Vec<IceServer>,
    /// Whether all packets pass through a TURN server.
    pub(crate) relay_only: bool,
}

/// Session description: its text, and `offer` or `answer`.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) sdp: String,
    pub(crate) kind: String,
}

impl Description {
    /// Checks the offer of a peer.
    pub(crate) fn checked_offer(&self) -> Result<RemoteOffer, ConnectError> {
        self.checked(RTCSdpType::Offer).map(RemoteOffer)
    }

    /// Checks the description of a peer, which must be of the type `kind`.
    fn checked(&self, kind: RTCSdpType) -> Result<Remote, ConnectError> {
        if self.kind != kind.to_string() {
            let shown: String = self.kind.chars().take(20).collect();
            let fault = format!("a session description of type `{shown}` instead of `{kind}`");
            return Err(unopened(fault));
        }
        let remote = RemoteDescription::parse(&self.sdp)?;
        let parsed = match kind {
            RTCSdpType::Offer => RTCSessionDescription::offer(remote.sdp),
            _ => RTCSessionDescription::answer(remote.sdp),
        };
        Ok(Remote {
            description: parsed.map_err(failed(INVALID))?,
            limits: ChannelLimits::new(remote.max_message),
        })
    }
}

/// Checked description of a peer.
struct Remote {
    description: RTCSessionDescription,
    limits: ChannelLimits,
}

/// Checked offer of a peer.
pub(crate) struct RemoteOffer(Remote);

/// Open data channel.
pub(crate) struct OpenChannel {
    pub(crate) link: BoxLink,
    /// Label of the channel, which the caller chose.
    pub(crate) label: String,
    pub(crate) limits: ChannelLimits,
}

/// Sizes of messages on a channel, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelLimits {
    /// Maximum size of a message.
    pub(crate) message: usize,
    /// Size of chunks of larger messages.
    pub(crate) chunk: usize,
}

impl ChannelLimits {
    fn new(max_message: usize) -> Self {
        let message = max_message.min(MAX_RECEIVED);
        ChannelLimits {
            message,
            chunk: (message - CHUNK_FIELDS).min(MAX_CHUNK),
        }
    }
}

/// Peer connection that is not open yet. Dropping it closes the connection.
pub(crate) struct Pending {
    peer: Arc<Peer>,
    channels: mpsc::Receiver<Arc<dyn RtcDataChannel>>,
}

impl Pending {
    /// Creates a connection with a data channel, and the offer for the peer.
    pub(crate) async fn offer(
        label: &str,
        ice: &IceConfig,
    ) -> Result<(Pending, Arc<dyn RtcDataChannel>, Description), ConnectError> {
        // The peer opens no channel on a connection that this client offers.
        let pending = Pending::new(ice, false).await?;
        let connection = &pending.peer.connection;
        let failed = failed("the offer cannot be made");
        let channel = connection.create_data_channel(label, None).await;
        let channel = channel.map_err(&failed)?;
        let offer = connection.create_offer(None).await.map_err(&failed)?;
        let mut offer = pending.described(offer, ice).await?;
        offer.sdp = offer.sdp.replace("a=setup:actpass", "a=setup:active");
        Ok((pending, channel, offer))
    }

    /// Accepts the peer's answer, and waits until the channel is open.
    pub(crate) async fn accepted(
        self,
        channel: Arc<dyn RtcDataChannel>,
        label: String,
        answer: &Description,
    ) -> Result<OpenChannel, ConnectError> {
        let limits = self.remote(answer.checked(RTCSdpType::Answer)?).await?;
        self.peer.opened(channel, label, limits).await
    }

    /// Creates a connection for the offer of a peer, and the answer.
    pub(crate) async fn answer(
        RemoteOffer(offer): RemoteOffer,
        ice: &IceConfig,
    ) -> Result<(Pending, ChannelLimits, Description), ConnectError> {
        let pending = Pending::new(ice, true).await?;
        let limits = pending.remote(offer).await?;
        let answer = pending.peer.connection.create_answer(None).await;
        let answer = answer.map_err(failed("the answer cannot be made"))?;
        let answer = pending.described(answer, ice).await?;
        Ok((pending, limits, answer))
    }

    /// Waits until the peer has opened its channel.
    pub(crate) async fn accept(
        mut self,
        limits: ChannelLimits,
    ) -> Result<OpenChannel, ConnectError> {
        let channel = tokio::select! {
            channel = self.channels.recv() => channel,
            ended = self.peer.ended() => return Err(unopened(ended.to_string())),
        };
        let closed = || unopened("the connection was closed".to_owned());
        let channel = channel.ok_or_else(closed)?;
        let label = channel.label().await;
        let label = label.map_err(failed("the channel has no label"))?;
        self.peer.opened(channel, label, limits).await
    }

    /// Creates a connection. The peer may open one channel if `expects_channel` is true.
    async fn new(ice: &IceConfig, expects_channel: bool) -> Result<Pending, ConnectError> {
        let (channel_sender, channels) = mpsc::channel(1);
        let (gathered, is_gathered) = watch::channel(false);
        let (state, states) = watch::channel(ConnectionState::Opening);
        let handler = Handler {
            channels: channel_sender,
            expects_channel: AtomicBool::new(expects_channel),
            gathered,
            state,
        };
        let (policy, relay_wait) = match ice.relay_only {
            true => (RTCIceTransportPolicy::Relay, Duration::ZERO),
            false => (RTCIceTransportPolicy::All, RELAY_WAIT),
        };
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_RECEIVED as u32))
            .with_include_loopback_candidate(true)
            .with_answering_dtls_role(RTCDtlsRole::Server)
            .with_ice_timeouts(Some(ICE_DISCONNECTED), Some(ICE_FAILED), None)
            .with_srflx_acceptance_min_wait(Some(NAT_WAIT))
            .with_prflx_acceptance_min_wait(Some(NAT_WAIT))
            .with_relay_acceptance_min_wait(Some(relay_wait))
            .build();
        let servers = resolved(&ice.servers).await;
        let relayed = servers.iter().any(is_relay);
        let skips_waits = Arc::new(AtomicBool::new(true));
        let runtime = ConnectionRuntime {
            skips_waits: Arc::clone(&skips_waits),
        };
        if ice.relay_only && !relayed {
            return Err(unrelayed(ice));
        }
        let configuration = RTCConfigurationBuilder::default()
            .with_ice_servers(servers)
            .with_ice_transport_policy(policy)
            .build();
        // The library binds one socket for each address of a network interface instead of the
        // unspecified address, except for loopback addresses.
        let addresses = ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"];
        let connection = PeerConnectionBuilder::new()
            .with_runtime(Arc::new(runtime))
            .with_configuration(configuration)
            .with_setting_engine(settings)
            .with_handler(Arc::new(handler))
            .with_udp_addrs(addresses.to_vec())
            .with_data_channel_send_buffer_limit(SEND_BUFFER)
            .build()
            .await
            .map_err(failed("the sockets cannot be opened"))?;
        let peer = Peer {
            connection: Arc::new(connection),
            states,
            gathered: is_gathered,
            relayed,
            skips_waits,
            runtime: Handle::current(),
        };
        Ok(Pending {
            peer: Arc::new(peer),
            channels,
        })
    }

    /// Sets the local description, and returns it with all candidates.
    async fn described(
        &self,
        description: RTCSessionDescription,
        ice: &IceConfig,
    ) -> Result<Description, ConnectError> {
        let Peer {
            connection,
            gathered,
            ..
        } = &*self.peer;
        let kind = description.sdp_type.to_string();
        let set = connection.set_local_description(description).await;
        set.map_err(failed("the local session description cannot be set"))?;
        let mut gathered = gathered.clone();
        // After the timeout, use the candidates that were found. An error means that the
        // connection has ended, which is noticed below.
        let _ = timeout(GATHERING_TIMEOUT, gathered.wait_for(|gathered| *gathered)).await;
        let description = connection.local_description().await;
        let missing = || unopened("it has no local session description".to_owned());
        let mut sdp = description.ok_or_else(missing)?.sdp;
        if ice.relay_only {
            sdp = sdp::without_own_addresses(&sdp).ok_or_else(|| unrelayed(ice))?;
        }
        Ok(Description { sdp, kind })
    }

    /// Sets the description of the peer. Returns the sizes of messages that the peer accepts.
    async fn remote(&self, remote: Remote) -> Result<ChannelLimits, ConnectError> {
        let set = self
            .peer
            .connection
            .set_remote_description(remote.description);
        set.await.map_err(failed(INVALID))?;
        Ok(remote.limits)
    }
}

/// State of a peer connection.
#[derive(Clone, Debug, PartialEq)]
enum ConnectionState {
    Opening,
    Connected,
    /// The connection has ended for this reason.
    Ended(&'static str),
}

/// A connection of the library. Dropping it closes the connection, which the library does not do.
struct Peer {
    connection: Arc<dyn PeerConnection>,
    states: watch::Receiver<ConnectionState>,
    gathered: watch::Receiver<bool>,
    /// Whether packets may pass through a TURN server.
    relayed: bool,
    /// Option of the [`ConnectionRuntime`].
    skips_waits: Arc<AtomicBool>,
    runtime: Handle,
}

impl Peer {
    /// Waits until the channel is open.
    async fn opened(
        self: Arc<Self>,
        channel: Arc<dyn RtcDataChannel>,
        label: String,
        limits: ChannelLimits,
    ) -> Result<OpenChannel, ConnectError> {
        let channel = Arc::new(Channel {
            channel,
            peer: self,
            reader: Mutex::new(()),
            progress: Progress::new(),
        });
        loop {
            let event = tokio::select! {
                event = channel.channel.poll() => event,
                ended = channel.peer.ended() => return Err(unopened(ended.to_string())),
            };
            match event {
                Some(DataChannelEvent::OnOpen) => break,
                None | Some(DataChannelEvent::OnClose) => {
                    return Err(unopened("the data channel was closed".to_owned()));
                }
                Some(_) => {}
            }
        }
        // An open channel is faster with fewer rounds.
        let peer = &channel.peer;
        peer.skips_waits.store(peer.relayed, Ordering::Relaxed);
        Ok(OpenChannel {
            link: Box::new(DataChannelLink::new(channel)),
            label,
            limits,
        })
    }

    /// Waits until the connection has ended. Returns the reason.
    async fn ended(&self) -> LinkError {
        let mut states = self.states.clone();
        let ended = states
            .wait_for(|state| matches!(state, ConnectionState::Ended(_)))
            .await;
        match ended.as_deref() {
            Ok(ConnectionState::Ended(reason)) => (*reason).into(),
            // The library dropped its handler together with the connection.
            _ => "the peer connection was closed".into(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let connection = Arc::clone(&self.connection);
        self.runtime.spawn(async move {
            if let Err(error) = connection.close().await {
                tracing::debug!("a peer connection could not be closed: {error}");
            }
        });
    }
}

/// The data channel of a connection.
struct Channel {
    channel: Arc<dyn RtcDataChannel>,
    peer: Arc<Peer>,
    /// Held while a message is awaited. The library has one receiver of events for each channel.
    reader: Mutex<()>,
    progress: Progress,
}

impl Channel {
    /// Waits until the peer acknowledges nothing anymore.
    async fn stalled(&self) -> LinkError {
        loop {
            let due = self.progress.next_check();
            let left = due.saturating_duration_since(Instant::now());
            crate::runtime::sleep(left).await;
            // The other futures report an error.
            let outstanding = self.channel.outstanding_bytes().await.unwrap_or_default();
            if self.progress.is_stalled(due, outstanding) {
                break;
            }
        }
        LinkError::new(format!(
            "the peer acknowledged nothing for {STALL_TIMEOUT:?}"
        ))
    }
}

/// Acknowledgments of a peer.
struct Progress {
    /// Number of bytes that were passed to the library.
    sent: AtomicUsize,
    last: parking_lot::Mutex<Check>,
}

/// State of a channel when it was checked.
struct Check {
    at: Instant,
    /// Number of bytes that the peer had acknowledged.
    acknowledged: usize,
    /// Whether other bytes waited for an acknowledgment.
    waits: bool,
}

impl Progress {
    fn new() -> Self {
        Progress {
            sent: AtomicUsize::new(0),
            last: parking_lot::Mutex::new(Check {
                at: Instant::now(),
                acknowledged: 0,
                waits: false,
            }),
        }
    }

    /// Returns the time of the next check.
    fn next_check(&self) -> Instant {
        self.last.lock().at + STALL_TIMEOUT
    }

    /// Makes the check that is due at `due`. Returns whether the peer acknowledged nothing since
    /// the last check, although bytes were outstanding all the time.
    fn is_stalled(&self, due: Instant, outstanding: usize) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        let acknowledged = sent.saturating_sub(outstanding);
        let mut last = self.last.lock();
        if last.at + STALL_TIMEOUT != due {
            // Another task has made this check.
            return false;
        }
        let waits = outstanding > 0;
        if last.waits && waits && acknowledged <= last.acknowledged {
            return true;
        }
        *last = Check {
            at: Instant::now(),
            acknowledged,
            waits,
        };
        false
    }
}

impl DataChannel for Channel {
    fn send(self: Arc<Self>, message: Bytes) -> BoxFuture<'static, Result<(), LinkError>> {
        Box::pin(async move {
            let lost = |e| LinkError::new("the data channel is closed").with_source(e);
            tokio::select! {
                writable = self.channel.writable() => writable.map_err(lost)?,
                ended = self.peer.ended() => return Err(ended),
                stalled = self.stalled() => return Err(stalled),
            }
            // The library takes the buffer. A message from the queue is usually the only reference
            // to its bytes, and then needs no copy.
            let message = message
                .try_into_mut()
                .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            let size = message.len();
            self.channel.send(message).await.map_err(lost)?;
            self.progress.sent.fetch_add(size, Ordering::Relaxed);
            Ok(())
        })
    }

    fn receive(self: Arc<Self>) -> BoxFuture<'static, Option<Result<Bytes, LinkError>>> {
        Box::pin(async move {
            let _reader = self.reader.lock().await;
            loop {
                let event = tokio::select! {
                    biased;
                    event = self.channel.poll() => event,
                    ended = self.peer.ended() => return Some(Err(ended)),
                    stalled = self.stalled() => return Some(Err(stalled)),
                };
                match event {
                    // Other clients ignore text, too.
                    Some(DataChannelEvent::OnMessage(message)) if !message.is_string => {
                        return Some(Ok(message.data.freeze()));
                    }
                    None | Some(DataChannelEvent::OnClose) => return None,
                    Some(_) => {}
                }
            }
        })
    }

    fn close(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let flushed = async {
                while self.channel.outstanding_bytes().await.is_ok_and(|n| n > 0) {
                    crate::runtime::sleep(FLUSH_CHECK).await;
                }
            };
            let _ = timeout(FLUSH_TIMEOUT, flushed).await;
            // An error means that the channel is closed already.
            let _ = self.channel.close().await;
        })
    }
}

/// Receives the events of the library. Its methods run in the task that drives the connection, so
/// they must not wait.
struct Handler {
    channels: mpsc::Sender<Arc<dyn RtcDataChannel>>,
    /// Whether the peer may still open a channel.
    expects_channel: AtomicBool,
    gathered: watch::Sender<bool>,
    state: watch::Sender<ConnectionState>,
}

impl Handler {
    fn end(&self, reason: &'static str) {
        self.state.send_if_modified(|state| {
            let first = !matches!(state, ConnectionState::Ended(_));
            if first {
                *state = ConnectionState::Ended(reason);
            }
            first
        });
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.send_replace(true);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => {
                self.state.send_if_modified(|state| {
                    let opening = *state == ConnectionState::Opening;
                    if opening {
                        *state = ConnectionState::Connected;
                    }
                    opening
                });
            }
            RTCPeerConnectionState::Failed => {
                let was_open = *self.state.borrow() == ConnectionState::Connected;
                self.end(match was_open {
                    true => "the peer no longer responds",
                    false => "no network path to the peer was found",
                });
            }
            RTCPeerConnectionState::Closed => self.end("the peer connection was closed"),
            _ => {}
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn RtcDataChannel>) {
        // The library would store the messages of a channel that no task reads.
        if self.expects_channel.swap(false, Ordering::Relaxed) {
            // An error means that this program no longer wants the connection.
            let _ = self.channels.try_send(channel);
        } else {
            self.end("the peer opened more than one data channel");
        }
    }
}

/// Returns whether the library uses a TURN server of `server`. It ignores those that are not over
/// UDP.
fn is_relay(server: &RTCIceServer) -> bool {
    let urls = server.urls().unwrap_or_default();
    urls.iter()
        .any(|url| url.scheme == SchemeType::Turn && url.proto == ProtoType::Udp)
}

/// Resolves the names of STUN and TURN servers. Leaves out servers whose names cannot be resolved.
async fn resolved(servers: &[IceServer]) -> Vec<RTCIceServer> {
    let servers = servers.iter().map(|server| async move {
        let urls = join_all(server.urls.iter().map(|url| resolved_url(url))).await;
        RTCIceServer {
            urls: urls.into_iter().flatten().collect(),
            username: server.username.clone(),
            credential: server.credential.clone(),
        }
    });
    let servers = join_all(servers).await;
    let usable = servers.into_iter().filter(|server| !server.urls.is_empty());
    usable.collect()
}

/// Replaces the host name in the URL of a STUN or TURN server by its address. Returns `None` if it
/// has none.
async fn resolved_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once(':')?;
    let (authority, query) = match rest.split_once('?') {
        Some((authority, query)) => (authority, format!("?{query}")),
        None => (rest, String::new()),
    };
    let has_port = match authority.rsplit_once(':') {
        Some((host, _)) => !host.contains(':') || host.ends_with(']'),
        None => false,
    };
    let port = if scheme.ends_with(['s', 'S']) {
        5349
    } else {
        3478
    };
    let host = match has_port {
        true => authority.to_owned(),
        false => format!("{authority}:{port}"),
    };
    let addresses = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(host)).await;
    let address: Option<SocketAddr> = match addresses {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            let v4 = addresses.iter().find(|address| address.is_ipv4());
            v4.or(addresses.first()).copied()
        }
        _ => None,
    };
    if address.is_none() {
        tracing::warn!("the ICE server {scheme}:{authority} is not used: its host is unknown");
    }
    Some(format!("{scheme}:{}{query}", address?))
}

/// Returns the error of a connection without a path through a TURN server. Logs the servers, which
/// the peer must not learn: the answering side sends its errors to the peer.
fn unrelayed(ice: &IceConfig) -> ConnectError {
    let urls = ice.servers.iter().flat_map(|server| &server.urls);
    let urls: Vec<_> = urls.map(String::as_str).collect();
    tracing::warn!(
        "none of the ICE servers [{}] gave a relay address",
        urls.join(", ")
    );
    unopened(
        "only paths through a TURN server are allowed, and no ICE server gave an address; the log \
         of this side lists the servers"
            .to_owned(),
    )
}

fn unopened(detail: String) -> ConnectError {
    ConnectError::new(ConnectErrorKind::PeerConnection, detail)
}

/// Returns a function that converts an error of the library.
fn failed(detail: &'static str) -> impl Fn(::webrtc::error::Error) -> ConnectError {
    move |error| unopened(detail.to_owned()).with_source(error)
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};

    use super::super::Frame;
    use super::*;

    /// Measures a channel without RPC, between two ends in this process.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "a measurement, not a test"]
    async fn throughput_of_a_channel() {
        const SIZE: usize = 256 << 10;
        const MESSAGES: usize = 2000;
        let (offering, channel, offer) = Pending::offer("label", &IceConfig::default())
            .await
            .unwrap();
        let (answering, limits, answer) =
            Pending::answer(offer.checked_offer().unwrap(), &IceConfig::default())
                .await
                .unwrap();
        let (sender, receiver) = tokio::join!(
            offering.accepted(channel, "label".into(), &answer),
            answering.accept(limits)
        );
        let (mut sender, mut receiver) = (sender.unwrap().link, receiver.unwrap().link);
        let begin = Instant::now();
        let sending = tokio::spawn(async move {
            for _ in 0..MESSAGES {
                let message = Bytes::from(vec![7; SIZE]);
                sender.send(Frame::Binary(message)).await.unwrap();
            }
            sender
        });
        for _ in 0..MESSAGES {
            let Some(Ok(Frame::Binary(message))) = receiver.next().await else {
                panic!("the channel has ended");
            };
            assert_eq!(message.len(), SIZE);
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!("{:.0} MB/s", ((MESSAGES * SIZE) >> 20) as f64 / seconds);
        drop(sending);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_opens_without_waits() {
        let ice = IceConfig::default();
        let limit = Duration::from_millis(400);
        let mut shortest = Duration::MAX;
        // Other programs may slow down an attempt.
        for _ in 0..20 {
            let begin = Instant::now();
            let (offering, channel, offer) = Pending::offer("label", &ice).await.unwrap();
            let (answering, limits, answer) = Pending::answer(offer.checked_offer().unwrap(), &ice)
                .await
                .unwrap();
            let (caller, host) = tokio::join!(
                offering.accepted(channel, "label".into(), &answer),
                answering.accept(limits)
            );
            shortest = shortest.min(begin.elapsed());
            drop((caller.unwrap(), host.unwrap()));
            if shortest < limit {
                break;
            }
        }
        // The library alone takes 600 ms, and 20 ms without its waits.
        assert!(shortest < limit, "{shortest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_acknowledges_nothing_is_lost() {
        let progress = Progress::new();
        let check = async |outstanding| {
            let due = progress.next_check();
            tokio::time::sleep_until(due).await;
            progress.is_stalled(due, outstanding)
        };
        // Nothing was sent.
        assert!(!check(0).await);
        assert!(!check(0).await);
        // Bytes were sent just before the check.
        progress.sent.store(1000, Ordering::Relaxed);
        assert!(!check(1000).await);
        // Some bytes were acknowledged since the last check, and more were sent.
        assert!(!check(999).await);
        progress.sent.store(5000, Ordering::Relaxed);
        assert!(!check(4998).await);
        // A check that another task has made has no effect.
        let due = progress.next_check();
        assert!(!progress.is_stalled(due - STALL_TIMEOUT, 4998));
        assert_eq!(progress.next_check(), due);
        progress.sent.store(6000, Ordering::Relaxed);
        assert!(check(5998).await);
    }

    #[test]
    fn only_turn_over_udp_is_a_relay() {
        for (url, expected) in [
            ("turn:192.0.2.1:3478", true),
            ("TURN:192.0.2.1:3478", true),
            ("turn:192.0.2.1:3478?transport=udp", true),
            ("turn:192.0.2.1:3478?transport=tcp", false),
            ("turns:192.0.2.1:5349", false),
            ("TURNS:192.0.2.1:5349", false),
            ("turns:192.0.2.1:5349?transport=udp", false),
            ("stun:192.0.2.1:3478", false),
            ("turnip:192.0.2.1:3478", false),
        ] {
            let server = RTCIceServer {
                urls: vec![url.to_owned()],
                username: "user".to_owned(),
                credential: "password".to_owned(),
            };
            assert_eq!(is_relay(&server), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn names_of_ice_servers_are_resolved() {
        for (url, expected) in [
            ("stun:127.0.0.1", Some("stun:127.0.0.1:3478")),
            ("stun:127.0.0.1:19302", Some("stun:127.0.0.1:19302")),
            (
                "turn:127.0.0.1:3478?transport=udp",
                Some("turn:127.0.0.1:3478?transport=udp"),
            ),
            ("stun:[::1]:3478", Some("stun:[::1]:3478")),
            ("stun:localhost:1", Some("stun:127.0.0.1:1")),
            ("TURNS:127.0.0.1", Some("TURNS:127.0.0.1:5349")),
            ("stun:", None),
            ("nonsense", None),
        ] {
            assert_eq!(resolved_url(url).await.as_deref(), expected, "{url}");
        }
    }
}
