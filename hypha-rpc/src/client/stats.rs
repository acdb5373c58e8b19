//! What a connection has done so far, counted.

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

        /// What a connection has done since it was made; all numbers only grow, except
        /// `sessions`, `objects` and `running`, which say what is going on now.
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
        }

        impl Counters {
            pub(crate) fn snapshot(&self, (sessions, objects): (usize, usize)) -> Stats {
                Stats {
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
    /// Calls that came in for one of our methods.
    calls_received,
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
    /// Answers that could not be delivered because the connection ended first.
    undelivered,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
