//! The runtime over links in memory, with the clock standing still: every frame is seen, no test
//! waits for real time.

mod backpressure;
mod calls;
mod chunks;
mod control;
mod ending;
mod events;
mod hostile;
mod permissions;
mod services;
mod support;
mod timeouts;
