//! Limits the number of calls to the manager that wait for other clients. Other calls need no
//! limit, because they run only briefly.

use std::sync::Arc;

use hypha_rpc::workspace::ManagerError;
use tokio_util::sync::CancellationToken;

use crate::metrics::Counters;
use crate::seats::{Admit, Seat, Seats};
use crate::settings::Limits;
use crate::shares::{Slot, Slots};

/// Maximum number of waiting calls of one client.
const PER_CLIENT: usize = 256;

type Answer<T> = Result<T, ManagerError>;

/// The waiting calls of all clients, at all addresses of the manager.
///
/// Above the limit of a client, or of its user or IP address, a call is refused. Above the limit of
/// all calls, a new call evicts the oldest call of the owner with the most calls. So an owner with
/// few waiting calls can always add another call.
pub(crate) struct WaitingCalls {
    /// Slots by the caller's address.
    of_client: Arc<Seats>,
    /// Slots by the caller's user or IP address.
    of_owner: Arc<Seats>,
    /// Slots for the calls of all clients together.
    slots: Arc<Slots>,
    counters: Arc<Counters>,
}

/// A call that may wait for other clients. Dropping this value frees the slots of the call.
pub(crate) struct WaitingCall {
    _seats: (Seat, Seat),
    slot: Slot,
    /// Token that is canceled when the caller has disconnected.
    caller_gone: CancellationToken,
}

impl WaitingCalls {
    /// Creates the limits from the settings.
    pub(super) fn new(limits: &Limits, counters: Arc<Counters>) -> WaitingCalls {
        WaitingCalls {
            of_client: Seats::new(PER_CLIENT),
            of_owner: Seats::new(limits.waiting_calls_per_client),
            slots: Slots::new(limits.waiting_calls, limits.waiting_calls),
            counters,
        }
    }

    /// Takes the slots for a call of the client `caller`. `owner` is the user or IP address of the
    /// client. `caller_gone` is canceled when no client waits for the result any more.
    ///
    /// # Errors
    ///
    /// Fails if `caller` or `owner` has too many waiting calls.
    pub(crate) fn begin(
        &self,
        caller: &str,
        owner: &str,
        caller_gone: CancellationToken,
    ) -> Answer<WaitingCall> {
        let seat = |seats: &Arc<Seats>, name: &str| {
            seats.take(name, Admit::WithinLimit).ok_or_else(|| {
                self.counters.refused_waiting.add();
                ManagerError::Runtime(format!(
                    "Too many calls in progress: {name} waits for {} already",
                    seats.limit()
                ))
            })
        };
        // If the second slot is refused, the first slot is dropped and thus freed. The slot in
        // `slots` is taken last, so that a refused call evicts no other call.
        let seats = (seat(&self.of_client, caller)?, seat(&self.of_owner, owner)?);
        let (slot, displaced) = self.slots.take(owner);
        if displaced {
            self.counters.displaced_calls.add();
        }
        Ok(WaitingCall {
            _seats: seats,
            slot,
            caller_gone,
        })
    }
}

impl WaitingCall {
    /// Waits for `work` until the call is evicted or its caller disconnects. In both cases, drops
    /// `work` before it has finished.
    ///
    /// # Errors
    ///
    /// Fails if a newer call has evicted this call, or the caller has disconnected.
    pub(crate) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Answer<T> {
        tokio::select! {
            // `work` is polled first, so that a finished result is returned even if the call was
            // evicted.
            biased;
            done = work => Ok(done),
            () = self.slot.evicted() => Err(ManagerError::Runtime(
                "the call was evicted by newer calls: too many calls wait at the manager".into(),
            )),
            () = self.caller_gone.cancelled() => {
                Err(ManagerError::Runtime("the caller has disconnected".into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_clients_of_one_owner_leave_slots_for_others() {
        let limits = Limits {
            waiting_calls_per_client: 300,
            waiting_calls: 400,
            ..Limits::default()
        };
        let waiting = WaitingCalls::new(&limits, Arc::default());
        let here = CancellationToken::new();
        let begin = |caller: &str, owner: &str| waiting.begin(caller, owner, here.clone());
        let mut calls = Vec::new();
        for number in 0..300 {
            calls.push(begin(&format!("ws/{}", number / 250), "ip:1").unwrap());
        }
        let error = begin("ws/2", "ip:1").err().unwrap().to_string();
        assert!(error.contains("ip:1 waits for 300 already"), "{error}");
        for _ in 0..150 {
            calls.push(begin("ws/3", "ip:2").unwrap());
        }
        assert_eq!(waiting.counters.refused_waiting.get(), 1);
        assert_eq!(waiting.counters.displaced_calls.get(), 50);
        let long = || tokio::time::sleep(Duration::from_secs(1));
        assert!(calls[0].wait(long()).await.is_err());
        assert!(calls[0].wait(long()).await.is_err(), "still");
        assert!(calls[50].wait(long()).await.is_ok());
        assert!(calls[449].wait(long()).await.is_ok());
        here.cancel();
        assert!(
            calls[449].wait(long()).await.is_err(),
            "the caller has disconnected"
        );
        // A refused call keeps no slot.
        calls.clear();
        assert!(begin("ws/2", "ip:1").is_ok());
    }
}
