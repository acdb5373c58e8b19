//! Counters of the server.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::process;

macro_rules! counters {
    (
        $($(#[doc = $doc:literal])* $name:ident),+;
        $($(#[doc = $level_doc:literal])* $level:ident),+ $(,)?
    ) => {
        /// Counts since the server started, as [`Server::stats`](crate::Server::stats) returns
        /// them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[doc = $doc])* pub $name: u64,)+
            $($(#[doc = $level_doc])* pub $level: u64,)+
        }

        #[derive(Default)]
        pub(crate) struct Counters { $(pub(crate) $name: Counter),+ }

        impl Counters {
            /// Returns the counts. The levels are 0; whoever holds them fills them in.
            pub(crate) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.get(),)+ ..Stats::default() }
            }
        }

        impl Stats {
            /// All counts in the text format of Prometheus.
            pub(crate) fn exposition(&self) -> String {
                let mut registry = Registry::default();
                self.original(&mut registry);
                let to = registry.sub_registry_with_prefix("hypha_server");
                $(register(to, stringify!($name), concat!($($doc),*), self.$name);)+
                $(gauge(to, stringify!($level), concat!($($level_doc),*), self.$level);)+
                let mut text = String::new();
                if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &registry) {
                    tracing::error!(%error, "cannot encode the metrics");
                }
                text
            }
        }
    };
}

counters! {
    /// WebSockets that completed the handshake.
    connections_accepted,
    /// Connections that are open now.
    connections_open,
    /// Handshakes that were refused.
    handshakes_refused,
    /// Binary messages received from clients.
    messages_received,
    /// Messages queued for a receiver, copies of broadcasts included.
    messages_routed,
    /// Broadcasts and system events.
    broadcasts,
    /// Calls rejected because the target is not connected.
    rejected_absent,
    /// Broadcasts refused for want of permission, and messages that try to override their routing.
    rejected_forbidden,
    /// Messages without a session whose target is not connected.
    dropped_absent,
    /// Frames that are not messages.
    dropped_garbage,
    /// Copies of broadcasts dropped because a receiver had no room.
    dropped_slow,
    /// Times that a client did not keep up with what other servers sent to it.
    congested,
    /// Clients told that a client with which they had calls is gone.
    told_gone,
    /// Connections closed by the write timeout.
    closed_stalled,
    /// Connections closed because a sender waited too long for room.
    closed_slow,
    /// Connections closed by the idle timeout.
    closed_idle,
    /// Waits of connections and requests that were beyond a rate limit.
    slowed_rate,
    /// Milliseconds of those waits.
    slowed_rate_milliseconds,
    /// HTTP requests refused by a rate limit.
    refused_rate,
    /// Connections refused because their address had too many that were not authenticated.
    refused_handshakes,
    /// Connections closed because there was no memory for them.
    closed_memory,
    /// Messages refused because there was no memory for them at the receiver.
    refused_memory,
    /// Connections closed for a frame that is too large.
    closed_too_large,
    /// HTTP requests that are being served now.
    http_requests_open,
    /// HTTP requests refused because their user has too many at the same time.
    http_refused_busy,
    /// HTTP requests refused or ended because there is no memory for them.
    http_refused_memory,
    /// Responses of applications refused because of their status or their headers.
    http_refused_apps,
    /// Applications ended because they did not return after their response.
    apps_ended,
    /// Services refused because of a limit on services or their records.
    services_refused,
    /// Lists of services refused because they are too large.
    lists_refused,
    /// Stored records that were skipped because they cannot be read.
    records_skipped,
    /// Servers of the cluster that ended without removing their records.
    servers_lost,
    /// Logins in progress that gave way to newer ones.
    displaced_logins,
    /// Calls that waited for a login and gave way to newer ones.
    displaced_checks,
    /// Calls to the manager refused because their client or its user waits for too many.
    refused_waiting,
    /// Calls to the manager that waited for other clients and gave way to newer ones.
    displaced_calls,
    /// Connections replaced by a newer one with the same address.
    replaced;
    /// Bytes of memory held for peers.
    memory_used,
    /// Bytes of the process that no account shows, without those that it has when idle. 0 if the
    /// server does not count them.
    memory_overhead,
    /// Largest number of bytes held for peers since the server started.
    memory_peak,
    /// Bytes that may be held for peers.
    memory_limit,
    /// Users and addresses for which memory is held.
    memory_owners,
    /// Bytes held for the user or address with the most.
    memory_largest_owner,
    /// Requests for memory that were refused.
    memory_refused,
    /// Connections told to give way because the memory was exhausted.
    memory_gave_way,
}

impl Stats {
    /// Registers the counts that the original server has as well, under its names: dashboards that
    /// were made for it go on.
    fn original(&self, to: &mut Registry) {
        let closed = self
            .connections_accepted
            .saturating_sub(self.connections_open);
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
                "redis_eventbus_messages_processed",
                "Messages queued for a receiver",
                self.messages_routed,
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
    }
}

/// A counter. Prometheus sees those whose name ends in `_open` as gauges.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    pub(crate) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn register(registry: &mut Registry, name: &str, doc: &str, value: u64) {
    if name.ends_with("_open") {
        return gauge(registry, name, doc, value);
    }
    let help = doc.trim().trim_end_matches('.');
    registry.register(name, help, ConstCounter::new(value));
}

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
        let text = stats.exposition();
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
    }
}
