//! The counters of a connection. They are independent of each other, so relaxed operations are
//! enough.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters, incremented by all parts of the engine and the layers above.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
            /// Number of running handlers.
            pub(crate) running: AtomicUsize,
        }

        /// Counters of a connection since its creation. Returned by
        /// [`Client::stats`](crate::Client::stats).
        ///
        /// All numbers only increase, except `sessions`, `objects`, `running`, `waiting` and
        /// `queued`, which are current values.
        ///
        /// With the feature `metrics`, the library also reports the numbers to the recorder of the
        /// crate `metrics`, every five seconds and when the connection closes. Counters are named
        /// `hypha_rpc_<name>_total`, and current values are named `hypha_rpc_<name>`. Both have the
        /// label `client`. The histogram `hypha_rpc_call_seconds` contains the durations of calls,
        /// with the labels `side` (`caller`, `callee`), `method` and `outcome`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Calls of this client that wait for a response.
            pub sessions: usize,
            /// Functions, streams and interfaces that peers may call.
            pub objects: usize,
            /// Incoming calls whose handlers are running.
            pub running: usize,
            /// Calls of this client that wait for the connection.
            pub waiting: usize,
            /// Frames in the send queue, at most 1024.
            pub queued: usize,
        }

        #[cfg(feature = "metrics")]
        impl Stats {
            /// Reports the numbers to the recorder. `client` is the label.
            pub(super) fn publish(&self, client: String) {
                let labels = [("client", metrics::SharedString::from(client))];
                self.each_counter(|name, value| {
                    metrics::counter!(name, &labels).absolute(value);
                });
                self.each_gauge(|name, value| metrics::gauge!(name, &labels).set(value as f64));
            }

            /// Calls `tell` with the name and value of each counter.
            fn each_counter(&self, mut tell: impl FnMut(&'static str, u64)) {
                $(tell(concat!("hypha_rpc_", stringify!($name), "_total"), self.$name);)*
            }

            /// Calls `tell` with the name and value of each current number.
            fn each_gauge(&self, mut tell: impl FnMut(&'static str, usize)) {
                tell("hypha_rpc_sessions", self.sessions);
                tell("hypha_rpc_objects", self.objects);
                tell("hypha_rpc_running", self.running);
                tell("hypha_rpc_waiting", self.waiting);
                tell("hypha_rpc_queued", self.queued);
            }
        }

        impl Counters {
            /// Returns the counters together with the current numbers, which the caller reads from
            /// other parts.
            pub(crate) fn snapshot(
                &self,
                (sessions, objects): (usize, usize),
                (waiting, queued): (usize, usize),
            ) -> Stats {
                Stats {
                    waiting,
                    queued,
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    sessions,
                    objects,
                    running: self.running.load(Ordering::Relaxed),
                }
            }
        }
    };
}

counters! {
    /// Calls made, including those without a response.
    calls_made,
    /// Calls made that ended with an error. Calls that succeeded after a retry are not counted.
    call_errors,
    /// Calls that were sent again: idempotent calls after a lost link, and calls with a retry
    /// policy.
    retries,
    /// Incoming calls.
    calls_received,
    /// Incoming calls that ended with an error.
    calls_failed,
    /// Attempts to reconnect.
    attempts,
    /// Number of reconnects.
    reconnects,
    /// Frames sent.
    frames_sent,
    /// Frames received.
    frames_received,
    /// Bytes of the frames sent.
    bytes_sent,
    /// Bytes of the frames received.
    bytes_received,
    /// Messages that were dropped because they were malformed: not msgpack, without an address, or
    /// with an invalid `promise`.
    dropped_malformed,
    /// Responses and heartbeats that arrived after their session had ended.
    dropped_late,
    /// Responses from a client that is not the callee.
    dropped_stranger,
    /// Events that were dropped because they had no reader, a reader had 1024 unread events, or
    /// they could not be decoded.
    dropped_events,
    /// Incoming calls that were rejected because too many were running.
    refused_busy,
    /// Calls of this client that failed because too many calls waited for the connection.
    refused_waiting,
    /// Responses and other messages that were not sent, because the link was lost or the connection
    /// closed before.
    undelivered,
    /// Releases and cancellations that were sent again because they were not acknowledged.
    notices_repeated,
    /// Methods that blocked their thread for longer than [`Settings::blocking_warning`].
    ///
    /// [`Settings::blocking_warning`]: crate::client::Settings::blocking_warning
    blocked_handlers,
    /// Number of times that the watchdog took over the task of the connection because the runtime
    /// was blocked.
    stalls,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
