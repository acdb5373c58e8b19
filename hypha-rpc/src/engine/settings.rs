//! Timeouts, limits and timers of a connection.

use std::sync::Arc;
use std::time::Duration;

use hypha_wire::{IncomingArgs, MAX_DECODED_BYTES, PeerMemory};

use super::{Interceptors, LinkPeer, Retry};

/// Timeouts, limits and timers of a connection. The defaults are those of the Python and JavaScript
/// clients, if these clients have the setting.
///
/// [`ConnectOptions`](crate::client::ConnectOptions) has a setter for each field that programs
/// usually change. [`ConnectOptions::settings`](crate::client::ConnectOptions::settings) gives
/// access to all fields. The values are read when the connection is created; later changes have no
/// effect.
///
/// # Examples
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example() -> Result<(), hypha_rpc::Error> {
/// let hypha = hypha_rpc::connect("http://localhost:9527")
///     .idle_timeout(Duration::from_secs(10))
///     .settings(|settings| settings.max_objects = 1000)
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Idle timeout of calls: the longest time without a heartbeat or a response from the callee.
    /// Default: 30 s.
    pub idle_timeout: Duration,
    /// Idle timeout of calls to a method of an interface (`_rintf`). Default: 10 s.
    pub interface_idle_timeout: Duration,
    /// Time after which a function or stream in a result is released if no peer has used it.
    /// Default: 600 s.
    pub object_idle_timeout: Duration,
    /// Chunk size, in bytes. A message that exceeds it by more than 1 KiB is sent in chunks.
    /// Default: 262,144.
    pub chunk_bytes: usize,
    /// Size of frames and chunks for peers that accept large frames (Rust programs), in bytes. Used
    /// if it is larger than [`chunk_bytes`](Self::chunk_bytes). Zero turns large frames off.
    /// Default: 1,048,576.
    ///
    /// Larger frames are not faster. On a slow link, a single frame must not take longer than the
    /// idle timeout of its receiver. Servers accept frames of up to 16 MiB.
    pub large_frame_bytes: usize,
    /// Maximum number of chunks of one message in flight at the same time. Default: 30. With
    /// [`connect`](crate::connect()), the environment variable `HYPHA_CONCURRENCY_LIMIT` changes
    /// the default.
    pub max_concurrent_chunks: usize,
    /// Maximum number of incoming calls that run at the same time, at least 1. Further calls are
    /// rejected with [`RejectKind::Busy`](crate::error::RejectKind::Busy). Default: 4096.
    pub max_concurrent_calls: usize,
    /// Maximum total size of the requests whose handlers are running, in bytes. A request that
    /// would exceed the maximum is rejected with
    /// [`RejectKind::Busy`](crate::error::RejectKind::Busy). A request larger than the maximum is
    /// accepted if no other large request is running. Default: 536,870,912.
    pub max_call_bytes: usize,
    /// Maximum total size of incomplete messages from peers, in bytes. A single peer may use half
    /// of the maximum. Further chunks are rejected. Default: 1,073,741,824.
    pub max_chunk_bytes: usize,
    /// Maximum memory, in bytes, of the decoded arguments of one call, of its decoded result, or of
    /// the decoded content of an event. If twice the length of the message is more than this value,
    /// then twice the length is the maximum. Larger values are rejected with an error that names
    /// the argument. Default: 201,326,592.
    ///
    /// Numbers, strings and arrays that are decoded to plain types need at most about twice their
    /// length. A [`Value`](crate::Value) needs 72 bytes for each item, even for a null of one byte.
    pub max_decoded_bytes: usize,
    /// Accounts to which the memory held for peers is charged: chunks, requests whose handlers are
    /// running, and decoded values. Default: none. Programs that embed a server set the accounts.
    #[doc(hidden)]
    pub memory: Option<Arc<dyn PeerMemory>>,
    /// Maximum number of calls that wait for a reconnect. Further calls fail immediately. Default:
    /// 4096.
    pub max_waiting_calls: usize,
    /// Maximum number of functions, streams and interfaces that peers hold at the same time. A
    /// stream counts as three, and an object counts once for each of its functions. A call that
    /// would exceed the maximum fails. Default: 65,536.
    pub max_objects: usize,
    /// Maximum number of unacknowledged releases and cancellations that are repeated. Further
    /// releases and cancellations are sent only once. Default: 16,384.
    ///
    /// A peer gets a release when the last handle of one of its streams or functions is dropped,
    /// and a cancellation when a call is dropped. Both are repeated until the peer acknowledges
    /// them, for at most [`object_idle_timeout`](Self::object_idle_timeout).
    pub max_unacknowledged: usize,
    /// Time between two pings to the server. Zero turns pings off. Default: 20 s.
    ///
    /// A server disconnects a client that sends nothing for 600 s.
    pub ping_interval: Duration,
    /// Time to wait for a pong before the connection counts as lost. Default: 20 s.
    pub ping_timeout: Duration,
    /// Time between two requests for a reconnection token. Zero turns the requests off. The time is
    /// never longer than two thirds of the token's lifetime. Default: 7200 s.
    pub token_refresh_interval: Duration,
    /// Time after which the watchdog takes over the task of the connection if the runtime does not
    /// poll the task, for example because all threads of the runtime are blocked. Zero turns the
    /// watchdog off. Default: 100 ms.
    ///
    /// The watchdog also sends the heartbeats of methods that block. It cannot take over HTTP
    /// connections (`Transport::Http`), which wait while all threads are blocked.
    pub stall_timeout: Duration,
    /// Time for which a method may block its thread, without reaching an `.await`, before a warning
    /// with the name of the method is logged. Zero turns the warning off. Default: 1 s.
    pub blocking_warning: Duration,
    /// Retry policy of calls without their own policy. Default: no retries.
    pub retry: Retry,
    /// Interceptors of outgoing calls.
    pub(crate) interceptors: Interceptors,
    /// Maximum size of a frame that the link carries, in bytes. Default: no limit, because servers
    /// and the other links accept every frame that this client makes.
    pub(crate) max_frame_bytes: usize,
    /// Caller of all incoming calls, on a link without a server. `None` if a server writes the
    /// caller into each message.
    pub(crate) link_peer: Option<Arc<LinkPeer>>,
    /// Id of the application that this client belongs to. The record of each service contains the
    /// id. Default: `*`, no application.
    pub app_id: String,
    /// Keys of this client, for end-to-end encryption of calls. Default: none.
    #[cfg(feature = "encryption")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
    pub encryption: Option<crate::crypto::KeyPair>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            idle_timeout: Duration::from_secs(30),
            interface_idle_timeout: Duration::from_secs(10),
            object_idle_timeout: Duration::from_secs(600),
            chunk_bytes: 256 << 10,
            large_frame_bytes: 1 << 20,
            max_concurrent_chunks: 30,
            max_concurrent_calls: 4096,
            max_call_bytes: 512 << 20,
            max_chunk_bytes: 1 << 30,
            max_decoded_bytes: MAX_DECODED_BYTES,
            memory: None,
            max_waiting_calls: 4096,
            max_objects: 65_536,
            max_unacknowledged: 16_384,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            token_refresh_interval: Duration::from_secs(7200),
            stall_timeout: Duration::from_millis(100),
            blocking_warning: Duration::from_secs(1),
            retry: Retry::never(),
            interceptors: Interceptors::default(),
            max_frame_bytes: usize::MAX,
            link_peer: None,
            app_id: "*".into(),
            #[cfg(feature = "encryption")]
            encryption: None,
        }
    }
}

impl Settings {
    /// Returns the defaults for a link within one process: no pings, no token requests and no
    /// watchdog. The loss of such a link is always noticed, so pings are not needed.
    #[must_use]
    pub fn in_process() -> Self {
        Settings {
            ping_interval: Duration::ZERO,
            token_refresh_interval: Duration::ZERO,
            stall_timeout: Duration::ZERO,
            ..Settings::default()
        }
    }

    /// Limits the memory of the values decoded from a message of `peer`. Charges the memory to the
    /// account of `peer`.
    pub(crate) fn bounded(&self, args: IncomingArgs, peer: &str) -> IncomingArgs {
        let args = args.within(self.max_decoded_bytes);
        match &self.memory {
            Some(memory) => args.charged_to(Arc::clone(memory), peer),
            None => args,
        }
    }

    pub(crate) fn keep_alive(&self) -> KeepAlive {
        KeepAlive {
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            token_refresh_interval: self.token_refresh_interval,
        }
    }
}

/// Timers of one link (`docs/protocol/01-transport-websocket.md#s6`). The values are those of the
/// [`Settings`], except that a token with a short lifetime is refreshed earlier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) token_refresh_interval: Duration,
}
