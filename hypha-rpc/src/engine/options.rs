//! The limits and habits of a connection.

use std::time::Duration;

use super::Retry;

/// Limits and habits of a connection; the defaults are those of the other clients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long a call may go without a sign of life from its callee.
    pub method_timeout: Duration,
    /// Messages larger than this and 1 KiB more are sent in chunks of this size, in bytes.
    pub chunk_size: usize,
    /// Peers that say that they take larger frames get messages in one piece, and chunks, up to this
    /// size in bytes. Larger ones are not faster, and on a slow link one frame must not take as long as
    /// a caller is patient. Servers accept 16 MiB.
    pub large_frame: usize,
    /// Chunks of one message that are on their way at the same time.
    pub chunk_concurrency: usize,
    /// Incoming calls that may run at the same time; further ones are refused.
    pub max_concurrent_calls: usize,
    /// How long the method of an interface (`_rintf`) may go without a sign of life.
    pub interface_timeout: Duration,
    /// Functions and streams in results are taken back when nobody has called them for this long.
    pub idle_objects: Duration,
    /// Functions, streams and interfaces that peers may hold at the same time; a stream counts as three,
    /// an object as its functions. Handing out more fails.
    pub max_objects: usize,
    /// Calls that may wait at the same time for a lost connection to come back; further ones fail at
    /// once.
    pub max_waiting_calls: usize,
    /// Bytes of the requests whose handlers run; what would exceed it is refused. One larger request is
    /// taken if no other runs.
    pub max_call_bytes: usize,
    /// What calls do about passing failures, unless they say otherwise.
    pub retry: Retry,
    /// Sent in every service info.
    pub app_id: String,
    /// Pings and token refresh; none on links that need none.
    pub keep_alive: Option<KeepAlive>,
    /// The keys of this client, if calls are to be encrypted.
    #[cfg(feature = "encryption")]
    pub encryption: Option<crate::crypto::KeyPair>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            method_timeout: Duration::from_secs(30),
            chunk_size: 256 << 10,
            large_frame: 1 << 20,
            chunk_concurrency: 30,
            max_concurrent_calls: 4096,
            interface_timeout: Duration::from_secs(10),
            idle_objects: Duration::from_secs(600),
            max_objects: 65_536,
            max_waiting_calls: 4096,
            max_call_bytes: 512 << 20,
            retry: Retry::never(),
            app_id: "*".into(),
            keep_alive: None,
            #[cfg(feature = "encryption")]
            encryption: None,
        }
    }
}

/// The timers of protocol 01 §6.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// A text ping is sent that often; zero turns pings off.
    pub ping_interval: Duration,
    /// With pings on, a server from which nothing comes for this long after a ping is gone.
    pub ping_timeout: Duration,
    /// A new reconnection token is asked for that often; zero turns it off.
    pub token_refresh_interval: Duration,
}
