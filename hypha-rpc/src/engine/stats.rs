//! The counters of a connection.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters as they are kept.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
            /// Handlers that run now.
            pub(crate) running: AtomicUsize,
        }

        /// Counters of a connection since it was made. All numbers only grow, except `sessions`,
        /// `objects`, `running`, `waiting` and `queued`, which describe the present moment.
        ///
        /// With the feature `metrics` the same numbers go every five seconds to the recorder of the
        /// `metrics` facade, as `hypha_rpc_<name>_total` and `hypha_rpc_<name>` with the label
        /// `client`; and of each call `hypha_rpc_call_seconds`, with the labels `side` (`caller`,
        /// `callee`), `method` and `outcome`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Own calls that wait for an answer.
            pub sessions: usize,
            /// Functions, streams and interfaces that peers may call.
            pub objects: usize,
            /// Incoming calls whose handlers run.
            pub running: usize,
            /// Own calls that wait for the connection to come back.
            pub waiting: usize,
            /// Frames that wait for the link, of at most 1024.
            pub queued: usize,
        }

        #[cfg(feature = "metrics")]
        impl Stats {
            /// Writes the numbers of the connection of `client`: now and then, and when it is over.
            pub(super) fn publish(&self, client: String) {
                let labels = [("client", metrics::SharedString::from(client))];
                self.each_counter(|name, value| {
                    metrics::counter!(name, &labels).absolute(value);
                });
                self.each_gauge(|name, value| metrics::gauge!(name, &labels).set(value as f64));
            }

            /// The numbers that only grow, under the names of their metrics.
            fn each_counter(&self, mut tell: impl FnMut(&'static str, u64)) {
                $(tell(concat!("hypha_rpc_", stringify!($name), "_total"), self.$name);)*
            }

            /// The numbers of what goes on now.
            fn each_gauge(&self, mut tell: impl FnMut(&'static str, usize)) {
                tell("hypha_rpc_sessions", self.sessions);
                tell("hypha_rpc_objects", self.objects);
                tell("hypha_rpc_running", self.running);
                tell("hypha_rpc_waiting", self.waiting);
                tell("hypha_rpc_queued", self.queued);
            }
        }

        impl Counters {
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
    /// Calls made, those without an answer included.
    calls_made,
    /// Calls made that ended with an error, those that were tried again with success not counted.
    call_errors,
    /// Calls that were made again: idempotent ones after the link was lost, and those with a retry
    /// policy.
    retries,
    /// Calls that came in for one of our methods.
    calls_received,
    /// Of these, the ones that were answered with an error.
    calls_failed,
    /// Attempts to get a lost connection back.
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
    /// Messages that were not understood and dropped: not msgpack, no address, a promise that
    /// cannot be kept.
    dropped_malformed,
    /// Answers to sessions that have ended, and late heartbeats.
    dropped_late,
    /// Answers from somebody who was not asked.
    dropped_stranger,
    /// Events that nobody reads, or whose reader was too slow.
    dropped_events,
    /// Incoming calls refused because too many were running.
    refused_busy,
    /// Own calls refused because too many waited for the connection to come back.
    refused_waiting,
    /// Answers and other messages that could not be delivered because the link or the connection
    /// ended first.
    undelivered,
    /// Releases and cancellations that were sent again because their receiver had not acknowledged
    /// them.
    notices_repeated,
    /// Methods that blocked their thread for longer than [`Settings::blocking_warning`].
    ///
    /// [`Settings::blocking_warning`]: crate::client::Settings::blocking_warning
    blocked_handlers,
    /// Times that the watchdog ran the task of the connection because its runtime did not.
    stalls,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
