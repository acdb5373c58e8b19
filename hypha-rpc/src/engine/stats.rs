//! Counters of a connection. The counters are independent of each other, so `Ordering::Relaxed` is
//! sufficient.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters. All parts of the engine and the layers above the engine increment these
        /// counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
            /// Number of running handlers.
            pub(crate) running: AtomicUsize,
        }

        /// Counters of a connection. The counters start when the connection is created. Returned by
        /// [`Client::stats`](crate::Client::stats).
        ///
        /// `sessions`, `objects`, `running`, `waiting` and `queued` are current values. All other
        /// numbers only increase.
        ///
        /// With the feature `metrics`, the library also reports the numbers to the recorder of the
        /// crate `metrics`. The library does so every five seconds and when the connection closes.
        /// The name of a counter is `hypha_rpc_<name>_total`, and the name of a current value is
        /// `hypha_rpc_<name>`. All of them have the label `client`. The histogram
        /// `hypha_rpc_call_seconds` contains the durations of calls. The labels of the histogram
        /// are `side` (`caller`, `callee`), `method` and `outcome`.
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
            /// Reports the numbers to the recorder of the crate `metrics`. `client` is the value of
            /// the label.
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

            /// Calls `tell` with the name and value of each current value.
            fn each_gauge(&self, mut tell: impl FnMut(&'static str, usize)) {
                tell("hypha_rpc_sessions", self.sessions);
                tell("hypha_rpc_objects", self.objects);
                tell("hypha_rpc_running", self.running);
                tell("hypha_rpc_waiting", self.waiting);
                tell("hypha_rpc_queued", self.queued);
            }
        }

        impl Counters {
            /// Returns the counters together with the current values. The caller of this function
            /// reads the current values from other parts of the engine.
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
    /// Outgoing calls, including calls that request no response.
    calls_made,
    /// Outgoing calls that ended with an error. A call that succeeded after a retry is not counted.
    call_errors,
    /// Requests that were sent again. These are requests of idempotent calls after a lost link, and
    /// requests of calls with a retry policy.
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
    /// Bytes in the frames that were sent.
    bytes_sent,
    /// Bytes in the frames that were received.
    bytes_received,
    /// Messages that were dropped because they were malformed. A malformed message is not msgpack,
    /// has no address, or has an invalid `promise`.
    dropped_malformed,
    /// Responses and heartbeats that arrived after their session had ended.
    dropped_late,
    /// Responses that were sent by a client other than the callee.
    dropped_stranger,
    /// Events that were dropped. An event is dropped if it has no reader, if a reader already has
    /// 1024 unread events, or if the event cannot be decoded.
    dropped_events,
    /// Incoming calls that were rejected because too many calls were running.
    refused_busy,
    /// Outgoing calls that failed because too many calls were waiting for the connection.
    refused_waiting,
    /// Responses and other messages that were not sent because the link was lost or the connection
    /// was closed.
    undelivered,
    /// Releases and cancellations that were sent again because the peer had not acknowledged them.
    notices_repeated,
    /// Incoming calls that blocked their thread for longer than [`Settings::blocking_warning`].
    ///
    /// [`Settings::blocking_warning`]: crate::client::Settings::blocking_warning
    blocked_handlers,
    /// Number of times that the watchdog took over the task of the connection. The watchdog does so
    /// when the runtime is blocked.
    stalls,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
