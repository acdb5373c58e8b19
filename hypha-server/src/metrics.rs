//! Counts events for the metrics of the server, and writes the metrics in the text formats of
//! Prometheus. All modules increment these counters.
//!
//! Each counter is defined once, in the list below. The doc comment of a counter is also its help
//! text for Prometheus. Counters are relaxed atomics, because no other data depends on their order.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::process;

macro_rules! counters {
    (
        $($(#[doc = $doc:literal])* $name:ident),+;
        $($(#[doc = $level_doc:literal])* $level:ident),+ $(,)?
    ) => {
        /// The metrics of a server, as [`Server::stats`](crate::Server::stats) returns them.
        ///
        /// These fields are current values: `client_load`, `redis_latency_microseconds`, and all
        /// fields whose names end in `_open` or begin with `memory_`, except `memory_refused` and
        /// `memory_gave_way`. All other fields count since the start of the server. `GET /metrics`
        /// shows the same values for Prometheus.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])* pub $name: u64,)+
            $($(#[doc = $level_doc])* pub $level: u64,)+
        }

        /// The counters of a server, shared by all of its parts.
        #[derive(Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter),+ }

        impl Counters {
            /// Returns the values of the counters. All other fields are 0, because other modules
            /// hold the values of these fields. `State::stats` adds them.
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)+ ..Stats::default() }
            }
        }

        impl Stats {
            /// Returns all metrics in the text format of OpenMetrics, or of Prometheus.
            pub(crate) fn exposition(&self, format: Format) -> String {
                let mut registry = Registry::default();
                self.original(&mut registry);
                let to = registry.sub_registry_with_prefix("hypha_server");
                $(register(to, stringify!($name), concat!($($doc),*), self.$name);)+
                $(gauge(to, stringify!($level), concat!($($level_doc),*), self.$level);)+
                let mut text = String::new();
                if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
                    tracing::error!(%error, "cannot encode the metrics");
                }
                match format {
                    Format::OpenMetrics => text,
                    Format::Prometheus => classic(&text),
                }
            }
        }
    };
}

counters! {
    /// Connections that were admitted, over WebSocket and over HTTP.
    connections_accepted,
    /// Connections that are open.
    connections_open,
    /// Handshakes that were refused.
    handshakes_refused,
    /// Messages received from clients, without control messages in text frames.
    messages_received,
    /// Messages queued for a receiver, copies of broadcasts included.
    messages_routed,
    /// Broadcasts of clients and system events.
    broadcasts,
    /// Calls rejected because the target is not connected.
    rejected_absent,
    /// Broadcasts rejected because the sender lacks the permission, and messages rejected because
    /// they try to override their routing.
    rejected_forbidden,
    /// Messages without a session that were dropped because the target is not connected.
    dropped_absent,
    /// Frames that were dropped because they are not messages.
    dropped_garbage,
    /// Copies of broadcasts dropped because a receiver had no room.
    dropped_slow,
    /// Number of times that a client was too slow for the messages from other servers.
    congested,
    /// Notices about disconnected clients, each sent to a client that had calls with the
    /// disconnected client.
    told_gone,
    /// Connections closed by the write timeout.
    closed_stalled,
    /// Connections closed because the client read nothing while a sender waited for room.
    closed_slow,
    /// Connections closed by the idle timeout.
    closed_idle,
    /// Number of times that a connection or HTTP request waited for a rate limit.
    slowed_rate,
    /// Total time that connections and HTTP requests waited for rate limits, in milliseconds.
    slowed_rate_milliseconds,
    /// HTTP requests refused by a rate limit.
    refused_rate,
    /// WebSockets refused because their IP address had too many unfinished handshakes.
    refused_handshakes,
    /// Connections closed because of exhausted memory.
    closed_memory,
    /// Messages refused because the receiver had no memory for them.
    refused_memory,
    /// Connections closed because of a frame that is too large.
    closed_too_large,
    /// HTTP requests that are being served.
    http_requests_open,
    /// Calls of functions over HTTP.
    http_calls,
    /// Calls of functions over HTTP that have failed or were refused.
    http_calls_failed,
    /// Total duration of the calls over HTTP until the first byte of the result, in milliseconds.
    http_call_milliseconds,
    /// HTTP requests refused because their user had too many requests at the same time.
    http_refused_busy,
    /// HTTP requests refused or aborted because of exhausted memory.
    http_refused_memory,
    /// Responses of applications refused because of their status or headers.
    http_refused_apps,
    /// Applications stopped because they did not return after their response.
    apps_ended,
    /// Messages of A2A clients to services.
    a2a_messages,
    /// Calls of MCP clients to tools of services.
    mcp_calls,
    /// Sessions of MCP over server-sent events that are open now.
    mcp_sessions_open,
    /// Sessions of MCP evicted by newer sessions.
    mcp_sessions_displaced,
    /// Sessions of MCP ended by the idle timeout.
    mcp_sessions_idle,
    /// Services refused because of a limit on services or their records.
    services_refused,
    /// Lists of services refused because they are too large.
    lists_refused,
    /// Stored records that were skipped because they cannot be read.
    records_skipped,
    /// Connections to Redis for the messages of other servers, opened since the start.
    redis_connections,
    /// Connections to Redis for the messages of other servers that are open.
    redis_connections_open,
    /// Number of times that the connection to Redis for the messages of other servers was lost or
    /// could not be opened. The server tries again after each failure.
    redis_reconnects,
    /// Subscriptions in Redis to the messages of other servers. A new connection subscribes again.
    redis_subscriptions,
    /// Subscriptions in Redis that are active.
    redis_subscriptions_open,
    /// Servers of the cluster that ended without removing their records.
    servers_lost,
    /// Logins in progress evicted by newer logins.
    displaced_logins,
    /// Calls that waited for a login and were evicted by newer calls.
    displaced_checks,
    /// Connections and HTTP requests refused because their user or IP address is blocked.
    refused_blocked,
    /// Tasks refused because of their size, or because of a memory limit.
    tasks_refused,
    /// Calls that waited for a task and were evicted by newer calls.
    displaced_task_waits,
    /// Sign-ups refused because there are too many accounts, or too many accounts that are not
    /// verified.
    sign_ups_refused,
    /// Unverified accounts evicted by newer accounts.
    displaced_sign_ups,
    /// Sign-ins with a wrong password, or for an account that does not exist.
    sign_ins_failed,
    /// Attempts to sign up, sign in or change an account that were refused by a rate limit.
    account_attempts_refused,
    /// Passwords that waited to be hashed and were evicted by newer passwords.
    displaced_passwords,
    /// Calls to the manager refused because their client or its user had too many waiting calls.
    refused_waiting,
    /// Calls to the manager that waited for other clients and were evicted by newer calls.
    displaced_calls,
    /// Connections replaced by a newer connection with the same address.
    replaced;
    /// Memory charged to all accounts, in bytes.
    memory_used,
    /// Memory in bytes by which the process has grown since the start, minus the memory charged to
    /// accounts. 0 if the server does not measure this memory.
    memory_overhead,
    /// Highest value of `memory_used` since the start, in bytes.
    memory_peak,
    /// Memory budget of all accounts together, in bytes.
    memory_limit,
    /// Users and IP addresses that memory is charged to.
    memory_owners,
    /// Highest amount of memory charged to one user or IP address, in bytes.
    memory_largest_owner,
    /// Requests for memory that were refused.
    memory_refused,
    /// Connections evicted because the memory was exhausted.
    memory_gave_way,
    /// Load of the busiest client that takes part in load measurement, in messages per minute.
    client_load,
    /// Duration of the last heartbeat in Redis in microseconds; 0 without Redis.
    redis_latency_microseconds,
}

impl Stats {
    /// Registers the metrics of the Python server under their original names, so that dashboards
    /// for the Python server work with this server.
    fn original(&self, to: &mut Registry) {
        let closed = self
            .connections_accepted
            .saturating_sub(self.connections_open);
        let unsubscribed = self
            .redis_subscriptions
            .saturating_sub(self.redis_subscriptions_open);
        let disconnected = self
            .redis_connections
            .saturating_sub(self.redis_connections_open);
        for (name, help, value) in [
            (
                "websocket_connections_established",
                "Connections that completed the handshake",
                self.connections_accepted,
            ),
            (
                "redis_rpc_connections_created",
                "Connections that completed the handshake",
                self.connections_accepted,
            ),
            (
                "redis_rpc_connections_closed",
                "Connections that have ended",
                closed,
            ),
            (
                "rpc_call",
                "Messages received from clients",
                self.messages_received,
            ),
            (
                "client_requests",
                "Messages received from clients",
                self.messages_received,
            ),
            (
                "event_bus",
                "Broadcasts of clients and system events",
                self.broadcasts,
            ),
            (
                "redis_eventbus_messages_processed",
                "Messages queued for a receiver",
                self.messages_routed,
            ),
            (
                "redis_eventbus_pubsub_connections_created",
                "Connections to Redis for the messages of other servers, opened since the start",
                self.redis_connections,
            ),
            (
                "redis_eventbus_pubsub_connections_closed",
                "Connections to Redis for the messages of other servers that have ended",
                disconnected,
            ),
            (
                "redis_eventbus_reconnect_attempts",
                "Attempts to replace a lost connection to Redis",
                self.redis_reconnects,
            ),
            (
                "redis_eventbus_patterns_subscribed",
                "Subscriptions in Redis",
                self.redis_subscriptions,
            ),
            (
                "redis_eventbus_patterns_unsubscribed",
                "Subscriptions in Redis that have ended",
                unsubscribed,
            ),
            (
                "websocket_rate_limited_disconnects",
                "Always 0, because a rate limit slows clients and disconnects none: see \
                 hypha_server_slowed_rate_total",
                0,
            ),
        ] {
            register(to, name, help, value);
        }
        let open = "Connections that are open now";
        for name in [
            "websocket_connections",
            "redis_rpc_active_connections",
            "redis_eventbus_local_clients",
        ] {
            gauge(to, name, open, self.connections_open);
        }
        for (name, help, value) in [
            (
                "redis_eventbus_active_pubsub_connections",
                "Connections to Redis for the messages of other servers that are open",
                self.redis_connections_open,
            ),
            (
                "redis_eventbus_active_patterns",
                "Subscriptions in Redis that are active",
                self.redis_subscriptions_open,
            ),
        ] {
            gauge(to, name, help, value);
        }
        let load = "Messages per minute of the busiest client whose load is measured";
        gauge(to, "client_load_current", load, self.client_load);
        let latency = Duration::from_micros(self.redis_latency_microseconds).as_secs_f64();
        let help = "Duration of the last heartbeat in Redis in seconds";
        to.register(
            "redis_pubsub_latency_seconds",
            help,
            ConstGauge::new(latency),
        );
        if let Some(memory) = process::memory() {
            let (resident, size) = ("Resident memory in bytes", "Virtual memory in bytes");
            gauge(
                to,
                "process_resident_memory_bytes",
                resident,
                memory.resident,
            );
            gauge(
                to,
                "process_virtual_memory_bytes",
                size,
                memory.virtual_size,
            );
        }
        if let Some(files) = process::open_files() {
            gauge(to, "process_open_fds", "Open file descriptors", files.open);
            let help = "Maximum number of open file descriptors";
            gauge(to, "process_max_fds", help, files.max);
        }
        if let Some(time) = process::time() {
            let (cpu, start) = (time.cpu.as_secs_f64(), time.start.as_secs_f64());
            let help = "Processor time of the process in seconds";
            to.register("process_cpu_seconds", help, ConstCounter::new(cpu));
            let help = "Time at which the process started, in seconds since 1970";
            to.register("process_start_time_seconds", help, ConstGauge::new(start));
        }
    }
}

/// Text formats of the metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
    /// `text/plain; version=0.0.4`, the format of the Python server.
    Prometheus,
}

/// Converts metrics from the OpenMetrics format to the older Prometheus format. Unlike the
/// OpenMetrics format, the Prometheus format writes the suffix `_total` of a counter also in the
/// lines `HELP` and `TYPE`, and has no end mark.
fn classic(text: &str) -> String {
    let counters: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(text.len() + 16 * counters.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let total = if counters.contains(name) {
            "_total"
        } else {
            ""
        };
        let rest = words.next().unwrap_or_default();
        out.push_str(&format!("# {kind} {name}{total} {rest}\n"));
    }
    out
}

/// A counter. If its name ends in `_open`, the counter can also decrease, and is a gauge for
/// Prometheus.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    /// Adds `count`.
    pub(crate) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Subtracts one. Must follow an [`add`](Self::add).
    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the current value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Registers a counter, with its doc comment as the help text. The encoder adds the final full
/// stop.
fn register(registry: &mut Registry, name: &str, doc: &str, value: u64) {
    if name.ends_with("_open") {
        return gauge(registry, name, doc, value);
    }
    let help = doc.trim().trim_end_matches('.');
    registry.register(name, help, ConstCounter::new(value));
}

/// Registers a gauge, with its doc comment as the help text.
fn gauge(registry: &mut Registry, name: &str, doc: &str, value: u64) {
    let help = doc.trim().trim_end_matches('.');
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    registry.register(name, help, ConstGauge::new(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_can_read_the_counts() {
        let counters = Counters::default();
        counters.connections_accepted.add();
        counters.connections_open.add();
        let mut stats = counters.snapshot();
        stats.memory_used = 5;
        let text = stats.exposition(Format::OpenMetrics);
        assert!(
            text.contains("hypha_server_connections_accepted_total 1\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE hypha_server_connections_open gauge"),
            "{text}"
        );
        assert!(text.contains("\nhypha_server_memory_used 5\n"), "{text}");
        for line in [
            "websocket_connections 1\n",
            "websocket_connections_established_total 1\n",
            "rpc_call_total 0\n",
            "client_requests_total 0\n",
        ] {
            assert!(text.contains(&format!("\n{line}")), "{text}");
        }
        assert!(text.ends_with("# EOF\n"));

        let text = stats.exposition(Format::Prometheus);
        for line in [
            "# TYPE websocket_connections_established_total counter",
            "websocket_connections_established_total 1",
            "# TYPE websocket_connections gauge",
            "# HELP client_load_current Messages per minute of the busiest client whose load is \
             measured.",
            "redis_pubsub_latency_seconds 0.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(!text.contains("EOF"), "{text}");
    }
}
