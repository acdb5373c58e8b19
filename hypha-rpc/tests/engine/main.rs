//! Tests the engine over in-memory links with a paused clock. The tests see every frame, and never
//! wait in real time.

mod backpressure;
mod call_spans;
mod calls;
mod causes;
mod chunks;
mod chunks_received;
mod control;
#[cfg(feature = "encryption")]
mod encryption;
mod ending;
mod events;
mod files;
mod foreign_files;
mod hostile;
mod live;
mod live_ends;
mod live_streams;
mod memory;
mod net;
mod options;
mod permissions;
mod reconnect;
mod reconnect_calls;
mod services;
mod support;
mod timeouts;
mod typed_errors;
