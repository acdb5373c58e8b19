//! Limits that prevent one client from harming other clients.

use std::time::Duration;

use serde::Serialize;

use super::{ConfigError, at_least, in_seconds, invalid};
#[cfg(feature = "cli")]
use super::{interval, seconds};

/// Minimum for the limit on the size of a message, in bytes. Below this value, a client could not
/// even register a service.
const FRAME_BYTES_MIN: usize = 1024;
/// Minimum for the limit on the record of a service, in bytes. Below this value, the built-in
/// services would be refused.
const SERVICE_BYTES_MIN: usize = 1024;
/// Minimum memory budget, in bytes. Below this value, no large message would be delivered.
const MEMORY_MIN: usize = 16 * 1024 * 1024;
/// Maximum for the limit on calls that wait for a login: half of the concurrent calls of the login
/// service. The rest is reserved for calls that do not wait.
const LOGIN_CHECKS_MAX: usize = 2048;
/// Maximum for the limit on waiting calls to the manager: half of the manager's concurrent calls.
/// The rest is reserved for calls that do not wait.
const WAITING_CALLS_MAX: usize = 8192;
/// Maximum for the limit on calls that wait for a task: a quarter of the concurrent calls of the
/// services in `public`.
const TASK_WAITS_MAX: usize = 1024;
/// The resolution of tokio's timers. A shorter timeout would expire immediately.
const TIME_MIN: Duration = Duration::from_millis(1);

/// Limits that prevent one client from harming other clients.
///
/// If the Python server has the same limit, both servers read the same environment variable. In
/// environment variables and command-line options, times are in seconds and sizes in bytes, without
/// a unit.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use hypha_server::{Limits, Server};
///
/// let mut limits = Limits::default();
/// limits.clients_per_workspace = 50;
/// limits.idle_timeout = Duration::from_secs(120);
/// let server = Server::builder().limits(limits);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[non_exhaustive]
pub struct Limits {
    /// Idle timeout of a client on a WebSocket: the maximum time without a data frame from the
    /// client. WebSocket pings and pongs do not count. Default: 600 s.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_WS_IDLE_TIMEOUT", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub idle_timeout: Duration,
    /// Maximum average number of messages per second of a connection; 0 for no limit. Default: 0.
    ///
    /// Above the rate, the server reads more slowly from the connection, but does not close it.
    /// Control messages count too. A response counts for the peer that has sent the request. The
    /// chunks of a large message and their acknowledgements do not count.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_WS_MSG_RATE_LIMIT"))]
    pub messages_per_second: f64,
    /// Maximum number of messages that a connection may send in a burst, if the rate is limited.
    /// Default: 2000.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_WS_MSG_BURST_LIMIT"))]
    pub message_burst: f64,
    /// Maximum average number of bytes per second of a connection; 0 for no limit. Default: 0.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_WS_BYTE_RATE_LIMIT"))]
    pub bytes_per_second: f64,
    /// Maximum number of bytes that a connection may send in a burst, if the rate is limited.
    /// Default: 16 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_WS_BYTE_BURST_LIMIT"))]
    pub byte_burst: f64,
    /// Maximum average number of HTTP requests per second from an IP address, for clients without
    /// credentials; 0 for no limit. Users may make ten times as many requests. Default: 0.
    ///
    /// A request above the rate waits. A request that would have to wait for more than 5 s is
    /// refused immediately with status 429.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_HTTP_RATE_LIMIT"))]
    pub http_per_second: f64,
    /// Maximum number of HTTP requests that clients without credentials may make in a burst from an
    /// IP address, if the rate is limited. Users may make ten times as many requests. Default: 500.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_HTTP_BURST_LIMIT"))]
    pub http_burst: f64,
    /// Maximum number of handshakes in progress; further handshakes wait. Default: 10.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_CONCURRENT_CONNECTIONS"))]
    pub concurrent_handshakes: usize,
    /// Maximum number of unauthenticated WebSockets per IP address. Further WebSockets wait up to
    /// 30 s, and are then refused. Default: 256.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_HANDSHAKES_PER_ADDRESS"))]
    pub handshakes_per_address: usize,
    /// Maximum number of connections of one user. Each client without credentials counts as a
    /// separate user. Default: 200.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_CONNECTIONS_PER_USER"))]
    pub connections_per_user: usize,
    /// Maximum number of clients in one workspace. Default: 1000.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_CLIENTS_PER_WORKSPACE"))]
    pub clients_per_workspace: usize,
    /// Maximum number of services of one client, without its built-in service. Default: 1000.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_SERVICES_PER_CLIENT"))]
    pub services_per_client: usize,
    /// Maximum size of the record of one service, in bytes; at least 1024. Default: 256 KiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_SERVICE_BYTES"))]
    pub service_bytes: usize,
    /// Maximum size of the records of all services of one client, in bytes; at least the maximum
    /// for one record. Default: 8 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_CLIENT_SERVICES_BYTES"))]
    pub client_services_bytes: usize,
    /// Maximum size of the records of all services of one workspace, in bytes; at least the maximum
    /// for one client. Default: 64 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_WORKSPACE_SERVICES_BYTES"))]
    pub workspace_services_bytes: usize,
    /// Maximum size of the records of all services, in bytes; at least the maximum for one
    /// workspace. Default: 128 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_ALL_SERVICES_BYTES"))]
    pub all_services_bytes: usize,
    /// Maximum size of a list of services in one response, in bytes. Default: 32 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_LIST_BYTES"))]
    pub list_bytes: usize,
    /// Maximum number of workspaces owned by one user. Default: 100.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_WORKSPACES_PER_USER"))]
    pub workspaces_per_user: usize,
    /// Maximum memory held for all peers, in bytes; at least 16 MiB. Default: 256 MiB.
    ///
    /// All memory that the server holds for a peer counts: partial messages, request bodies,
    /// queues, records. When the budget is exhausted, the server closes the largest connection of
    /// the user with the most memory.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MEMORY_BYTES"))]
    pub memory_bytes: usize,
    /// Maximum memory held per user, or per IP address for clients without credentials, in bytes;
    /// at least the maximum for one connection. Default: 128 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_USER_MEMORY_BYTES"))]
    pub user_memory_bytes: usize,
    /// Maximum memory held for one connection or request, in bytes; at least twice the maximum size
    /// of a message. Default: 64 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_CONNECTION_MEMORY_BYTES"))]
    pub connection_memory_bytes: usize,
    /// Maximum time for which a message or request waits for memory. After this time, the server
    /// refuses the message or request. Default: 10 s.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MEMORY_TIMEOUT", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub memory_timeout: Duration,
    /// Maximum number of concurrent HTTP requests per user, or per IP address for clients without
    /// credentials; further requests wait. Default: 256.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_HTTP_CONCURRENT_REQUESTS"))]
    pub http_concurrent_requests: usize,
    /// Maximum time for which an HTTP request waits for its turn. After this time, the server
    /// refuses the request. Default: 10 s.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_HTTP_QUEUE_TIMEOUT", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub http_queue_timeout: Duration,
    /// Maximum number of headers in the response of an application. Default: 256.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_APP_HEADERS"))]
    pub app_headers: usize,
    /// Maximum size of the headers in the response of an application, names and values, in bytes;
    /// minimum 1024. Default: 64 KiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_APP_HEADER_BYTES"))]
    pub app_header_bytes: usize,
    /// Grace period for an ASGI application to return after its response is complete, or after the
    /// visitor has disconnected. Default: 30 s.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_APP_GRACE", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub app_grace: Duration,
    /// Timeout for a service of the type `a2a` to return its agent card. Default: 30 s.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_AGENT_CARD_TIMEOUT", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub agent_card_timeout: Duration,
    /// Maximum number of sessions of MCP over server-sent events, per user, or per IP address for
    /// clients without credentials. A new session evicts the oldest session. Default: 64.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MCP_SESSIONS_PER_USER"))]
    pub mcp_sessions_per_user: usize,
    /// Maximum number of sessions of MCP over server-sent events, over all users. A new session
    /// evicts the oldest session of the user or address with the most sessions. Default: 1024.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MCP_SESSIONS"))]
    pub mcp_sessions: usize,
    /// Idle timeout of a session of MCP: the maximum time without a message or a call in progress.
    /// Default: 600 s.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MCP_IDLE_TIMEOUT", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub mcp_idle_timeout: Duration,
    /// Maximum size of a message, in bytes; at least 1024. Default: 16 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_FRAME_BYTES"))]
    pub frame_bytes: usize,
    /// Maximum size of the queue of messages for one receiver, in bytes; senders wait for room.
    /// Default: 2 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_QUEUE_BYTES"))]
    pub queue_bytes: usize,
    /// Maximum time for which a receiver may accept no data while a sender waits for room in the
    /// queue of the receiver. After this time, the server disconnects the receiver. Default: 15 s.
    ///
    /// While the sender waits, the server reads nothing from the sender, not even pings. Clients
    /// disconnect from a server that does not respond to a ping within 20 s. So with a longer
    /// timeout, the sender loses its connection. While the receiver makes progress, the sender
    /// waits without a limit.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_DELIVER_TIMEOUT", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub deliver_timeout: Duration,
    /// Write timeout: the maximum time for which a client may accept no byte of a pending write.
    /// After this time, the server drops the connection. Default: 30 s.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_STALL_TIMEOUT", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub stall_timeout: Duration,
    /// Timeout for the first frame of a WebSocket client. Default: 5 s.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_HANDSHAKE_TIMEOUT", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub handshake_timeout: Duration,
    /// Timeout for the whole body of an HTTP request. Default: 60 s.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_BODY_TIMEOUT", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub body_timeout: Duration,
    /// Grace period for which a client over HTTP keeps its address after its stream has ended.
    /// After this period, the client counts as disconnected. Default: 5 s.
    ///
    /// Python clients open the stream again after 2 s. With a period of less than 2 s, these
    /// clients would count as disconnected whenever a stream ends.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_STREAM_GRACE", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub stream_grace: Duration,
    /// Interval of pings on an otherwise quiet stream of a client over HTTP. Default: 10 s.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_STREAM_PING_INTERVAL", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub stream_ping: Duration,
    /// Time without a message from a client over HTTP, after which the server pings the client.
    /// Default: 60 s.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_STREAM_IDLE_THRESHOLD", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub stream_idle: Duration,
    /// Interval of the pings to silent clients over HTTP. The server disconnects a client after
    /// three pings without a response. Default: 30 s.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_STREAM_SWEEP_INTERVAL", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub stream_sweep: Duration,
    /// Interval of the search for services of clients that are connected to no server. With 0 or
    /// less, the server searches only after its start. Used only by servers that share a Redis.
    /// Default: 300 s.
    #[cfg_attr(
        feature = "cli",
        arg(
            long,
            env = "HYPHA_ORPHAN_REAP_INTERVAL",
            value_parser = interval,
            allow_negative_numbers = true
        )
    )]
    #[serde(serialize_with = "in_seconds")]
    pub orphan_interval: Duration,
    /// Timeout of the pings in the search for services of clients that are connected to no server.
    /// The server removes the services of a client that does not respond. Default: 3 s.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_ORPHAN_REAP_PING_TIMEOUT", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub orphan_timeout: Duration,
    /// Grace period for which a workspace that is not persistent stays without clients. After this
    /// period, the server removes the workspace, unless a client has connected. Default: 0.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_WORKSPACE_UNLOAD_GRACE_PERIOD", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub unload_grace: Duration,
    /// Time that a user has for a login. After this time, the key of the login expires. Default:
    /// 180 s.
    #[cfg_attr(feature = "cli", arg(long, env = "MAXIMUM_LOGIN_TIME", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub login_time: Duration,
    /// Maximum number of logins in progress, per user, or per IP address for clients without
    /// credentials. A new login evicts the oldest login. Default: 256.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_LOGINS_PER_CLIENT"))]
    pub logins_per_client: usize,
    /// Maximum number of logins in progress, over all users. A new login evicts the oldest login of
    /// the user or address with the most logins. Default: 10,000.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_LOGINS"))]
    pub logins: usize,
    /// Maximum number of calls that wait for a login, per user, or per IP address for clients
    /// without credentials. A new call evicts the oldest call. Default: 256.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_LOGIN_CHECKS_PER_CLIENT"))]
    pub login_checks_per_client: usize,
    /// Maximum number of calls that wait for a login, over all users; 2048 at most. A new call
    /// evicts the oldest call of the user or address with the most calls. Default: 2048.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_LOGIN_CHECKS"))]
    pub login_checks: usize,
    /// Maximum number of users and IP addresses that administrators may block. Default: 10,000.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_BLOCKS"))]
    pub blocks: usize,
    /// Maximum size of a task in a queue, in bytes. Default: 256 KiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_TASK_BYTES"))]
    pub task_bytes: usize,
    /// Maximum size of all tasks in the queues of one workspace, in bytes; each task counts 128
    /// bytes more than its JSON. Default: 8 MiB.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_WORKSPACE_TASKS_BYTES"))]
    pub workspace_tasks_bytes: usize,
    /// Maximum number of calls that wait for a task, per user, or per IP address for clients
    /// without credentials. A new call evicts the oldest call. Default: 128.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_TASK_WAITS_PER_CLIENT"))]
    pub task_waits_per_client: usize,
    /// Maximum number of calls that wait for a task, over all users; 1024 at most. A new call
    /// evicts the oldest call of the user or address with the most calls. Default: 1024.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_TASK_WAITS"))]
    pub task_waits: usize,
    /// Maximum number of accounts of the server itself, if accounts are enabled. Default: 10,000.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_MAX_ACCOUNTS"))]
    pub accounts: usize,
    /// Maximum number of new accounts that are not verified yet. Above this number, a new account
    /// that needs a code evicts the oldest account that waits for its code. A new account that
    /// needs an administrator is refused. Default: 10,000.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_VERIFICATION_MAX_PENDING"))]
    pub pending_accounts: usize,
    /// Maximum number of new accounts that wait for their codes, per user, or per IP address for
    /// clients without credentials. A new account evicts the oldest account. Default: 64.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_VERIFICATION_MAX_PENDING_PER_CLIENT")
    )]
    pub pending_accounts_per_client: usize,
    /// Time for a user to verify a new account with its code. Default: 600 s.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_VERIFICATION_CODE_TTL", value_parser = seconds)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub verification_time: Duration,
    /// Number of wrong codes after which a new account is discarded. Default: 5.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_VERIFICATION_MAX_ATTEMPTS"))]
    pub verification_attempts: usize,
    /// Minimum interval between two codes for one e-mail address. Default: 30 s.
    #[cfg_attr(
        feature = "cli",
        arg(long, env = "HYPHA_VERIFICATION_RESEND_THROTTLE", value_parser = interval)
    )]
    #[serde(serialize_with = "in_seconds")]
    pub verification_interval: Duration,
    /// Maximum number of attempts per minute to sign up, sign in or change an account, per user, or
    /// per IP address for clients without credentials; 0 for no limit. All attempts may come in one
    /// burst. Default: 30.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_ACCOUNT_ATTEMPTS_PER_CLIENT"))]
    pub account_attempts_per_client: f64,
    /// Maximum number of wrong passwords per minute for one account; 0 for no limit. All wrong
    /// passwords may come in one burst. Default: 10.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_FAILED_SIGN_INS_PER_ACCOUNT"))]
    pub failed_sign_ins_per_account: f64,
    /// Maximum number of passwords that are hashed at the same time; each takes 19 MiB of memory.
    /// Default: 2.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_CONCURRENT_HASHES"))]
    pub concurrent_hashes: usize,
    /// Maximum number of passwords that wait to be hashed, per user, or per IP address for clients
    /// without credentials. A new password evicts the oldest password. Default: 16.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_HASHES_WAITING_PER_CLIENT"))]
    pub hashes_waiting_per_client: usize,
    /// Maximum number of passwords that wait to be hashed, over all users. A new password evicts
    /// the oldest password of the user or address with the most passwords. Default: 256.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_HASHES_WAITING"))]
    pub hashes_waiting: usize,
    /// Maximum number of calls to the manager that wait for other clients, per user, or per IP
    /// address for clients without credentials. Further calls are refused. Default: 2048.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_WAITING_CALLS_PER_CLIENT"))]
    pub waiting_calls_per_client: usize,
    /// Maximum number of calls to the manager that wait for other clients, over all users; 8192 at
    /// most. A new call evicts the oldest call of the user or address with the most calls. Default:
    /// 8192.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_WAITING_CALLS"))]
    pub waiting_calls: usize,
    /// Timeout for a client's response to a ping when another client connects with the same id. A
    /// client that does not respond loses the id. Default: 5 s.
    #[cfg_attr(feature = "cli", arg(long, env = "HYPHA_INCUMBENT_TIMEOUT", value_parser = seconds))]
    #[serde(serialize_with = "in_seconds")]
    pub incumbent_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            idle_timeout: Duration::from_secs(600),
            messages_per_second: 0.0,
            message_burst: 2000.0,
            bytes_per_second: 0.0,
            byte_burst: 16.0 * 1024.0 * 1024.0,
            http_per_second: 0.0,
            http_burst: 500.0,
            concurrent_handshakes: 10,
            handshakes_per_address: 256,
            connections_per_user: 200,
            clients_per_workspace: 1000,
            services_per_client: 1000,
            service_bytes: 256 * 1024,
            client_services_bytes: 8 * 1024 * 1024,
            workspace_services_bytes: 64 * 1024 * 1024,
            all_services_bytes: 128 * 1024 * 1024,
            list_bytes: 32 * 1024 * 1024,
            workspaces_per_user: 100,
            memory_bytes: 256 * 1024 * 1024,
            user_memory_bytes: 128 * 1024 * 1024,
            connection_memory_bytes: 64 * 1024 * 1024,
            memory_timeout: Duration::from_secs(10),
            http_concurrent_requests: 256,
            http_queue_timeout: Duration::from_secs(10),
            app_headers: 256,
            app_header_bytes: 64 * 1024,
            app_grace: Duration::from_secs(30),
            agent_card_timeout: Duration::from_secs(30),
            mcp_sessions_per_user: 64,
            mcp_sessions: 1024,
            mcp_idle_timeout: Duration::from_secs(600),
            frame_bytes: 16 * 1024 * 1024,
            queue_bytes: 2 * 1024 * 1024,
            deliver_timeout: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(60),
            stream_grace: Duration::from_secs(5),
            stream_ping: Duration::from_secs(10),
            stream_idle: Duration::from_secs(60),
            stream_sweep: Duration::from_secs(30),
            orphan_interval: Duration::from_secs(300),
            orphan_timeout: Duration::from_secs(3),
            unload_grace: Duration::ZERO,
            login_time: Duration::from_secs(180),
            logins_per_client: 256,
            logins: 10_000,
            login_checks_per_client: 256,
            login_checks: LOGIN_CHECKS_MAX,
            blocks: 10_000,
            task_bytes: 256 * 1024,
            workspace_tasks_bytes: 8 * 1024 * 1024,
            task_waits_per_client: 128,
            task_waits: TASK_WAITS_MAX,
            accounts: 10_000,
            pending_accounts: 10_000,
            pending_accounts_per_client: 64,
            verification_time: Duration::from_secs(600),
            verification_attempts: 5,
            verification_interval: Duration::from_secs(30),
            account_attempts_per_client: 30.0,
            failed_sign_ins_per_account: 10.0,
            concurrent_hashes: 2,
            hashes_waiting_per_client: 16,
            hashes_waiting: 256,
            waiting_calls_per_client: 2048,
            waiting_calls: WAITING_CALLS_MAX,
            incumbent_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Checks the limits. Refuses values with which no client could stay connected, and values with
    /// which a loop of the server would never pause.
    ///
    /// # Errors
    ///
    /// Returns the error of the first invalid limit, with the accepted values.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (name, rate, burst) in [
            ("message", self.messages_per_second, self.message_burst),
            ("byte", self.bytes_per_second, self.byte_burst),
            ("HTTP", self.http_per_second, self.http_burst),
        ] {
            // The condition is negated as a whole, because both comparisons are false for NaN,
            // which must be refused.
            if !(rate >= 0.0 && burst >= 1.0) {
                return invalid(format!(
                    "the {name} rate limit must not be negative, and its burst at least 1"
                ));
            }
        }
        for (name, rate) in [
            (
                "account_attempts_per_client",
                self.account_attempts_per_client,
            ),
            (
                "failed_sign_ins_per_account",
                self.failed_sign_ins_per_account,
            ),
        ] {
            if !(rate == 0.0 || rate >= 1.0) {
                return invalid(format!("`{name}` must be 0 or at least 1, got {rate}"));
            }
        }
        for (name, count, least) in [
            ("concurrent_handshakes", self.concurrent_handshakes, 1),
            ("handshakes_per_address", self.handshakes_per_address, 1),
            ("connections_per_user", self.connections_per_user, 1),
            ("clients_per_workspace", self.clients_per_workspace, 1),
            ("service_bytes", self.service_bytes, SERVICE_BYTES_MIN),
            (
                "client_services_bytes",
                self.client_services_bytes,
                self.service_bytes,
            ),
            (
                "workspace_services_bytes",
                self.workspace_services_bytes,
                self.client_services_bytes,
            ),
            (
                "all_services_bytes",
                self.all_services_bytes,
                self.workspace_services_bytes,
            ),
            ("list_bytes", self.list_bytes, self.service_bytes),
            ("logins_per_client", self.logins_per_client, 1),
            ("logins", self.logins, 1),
            ("login_checks_per_client", self.login_checks_per_client, 1),
            ("login_checks", self.login_checks, 1),
            ("task_bytes", self.task_bytes, 1),
            (
                "workspace_tasks_bytes",
                self.workspace_tasks_bytes,
                self.task_bytes,
            ),
            ("task_waits_per_client", self.task_waits_per_client, 1),
            ("task_waits", self.task_waits, 1),
            ("pending_accounts", self.pending_accounts, 1),
            (
                "pending_accounts_per_client",
                self.pending_accounts_per_client,
                1,
            ),
            ("verification_attempts", self.verification_attempts, 1),
            ("concurrent_hashes", self.concurrent_hashes, 1),
            (
                "hashes_waiting_per_client",
                self.hashes_waiting_per_client,
                1,
            ),
            ("hashes_waiting", self.hashes_waiting, 1),
            ("waiting_calls_per_client", self.waiting_calls_per_client, 1),
            ("waiting_calls", self.waiting_calls, 1),
            ("frame_bytes", self.frame_bytes, FRAME_BYTES_MIN),
            ("http_concurrent_requests", self.http_concurrent_requests, 1),
            ("app_headers", self.app_headers, 1),
            ("app_header_bytes", self.app_header_bytes, 1024),
            ("mcp_sessions_per_user", self.mcp_sessions_per_user, 1),
            ("mcp_sessions", self.mcp_sessions, 1),
            ("memory_bytes", self.memory_bytes, MEMORY_MIN),
            (
                "connection_memory_bytes",
                self.connection_memory_bytes,
                2 * self.frame_bytes,
            ),
            (
                "user_memory_bytes",
                self.user_memory_bytes,
                self.connection_memory_bytes,
            ),
        ] {
            if count < least {
                return invalid(format!("`{name}` must be at least {least}, got {count}"));
            }
        }
        for (name, count, most) in [
            ("login_checks", self.login_checks, LOGIN_CHECKS_MAX),
            ("waiting_calls", self.waiting_calls, WAITING_CALLS_MAX),
            ("task_waits", self.task_waits, TASK_WAITS_MAX),
        ] {
            if count > most {
                return invalid(format!("`{name}` must be at most {most}, got {count}"));
            }
        }
        for (name, time) in [
            ("idle_timeout", self.idle_timeout),
            ("deliver_timeout", self.deliver_timeout),
            ("stall_timeout", self.stall_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("memory_timeout", self.memory_timeout),
            ("body_timeout", self.body_timeout),
            ("http_queue_timeout", self.http_queue_timeout),
            ("app_grace", self.app_grace),
            ("agent_card_timeout", self.agent_card_timeout),
            ("mcp_idle_timeout", self.mcp_idle_timeout),
            ("stream_ping", self.stream_ping),
            ("stream_sweep", self.stream_sweep),
            ("orphan_timeout", self.orphan_timeout),
            ("login_time", self.login_time),
            ("verification_time", self.verification_time),
        ] {
            at_least(name, time, TIME_MIN)?;
        }
        Ok(())
    }
}
