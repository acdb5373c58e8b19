//! Limits the number of incoming calls that run at the same time.
//!
//! The driver tries to get a permit before it starts a handler. The driver never waits for a
//! permit, because all messages behind the call would also wait. If no permit is available, the
//! call is rejected because the client is busy.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hypha_wire::{MemoryCharge, PeerMemory};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Settings;
use super::outbound::LARGE;

/// Upper bound on [`Settings::max_concurrent_calls`]. There are two reasons for the bound: a
/// semaphore supports only a limited number of permits, and `drain` acquires all permits with
/// `acquire_many`, which takes a `u32`.
const MAX_CALLS: usize = u32::MAX as usize >> 4;
/// Maximum number of concurrent calls of the built-in service. These calls have a separate limit.
/// So a client with too many other calls still answers pings and accepts the chunks of responses.
const BUILT_IN_CALLS: usize = 4096;

/// Limits on the number of running calls and on the bytes of their requests.
pub(crate) struct Admission {
    running: Arc<Semaphore>,
    most: u32,
    running_built_in: Arc<Semaphore>,
    /// Remaining part of the byte budget for large requests, in units of [`LARGE`] bytes.
    bytes: Arc<Semaphore>,
    shares: usize,
    most_bytes: usize,
    /// Memory accounts of the callers. An account limits the memory that the requests of one caller
    /// may occupy.
    memory: Option<Arc<dyn PeerMemory>>,
    /// Set when the client disconnects. Running calls may then complete, but no call of a service
    /// starts.
    leaving: AtomicBool,
    /// Number of running calls of objects that started after `leaving` was set, and number of such
    /// calls in total.
    late: watch::Sender<(usize, usize)>,
}

/// Callee of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Aim {
    BuiltIn,
    Service,
    /// A callback, a stream or a file. A running call or a transfer needs its objects, so they can
    /// be called until the connection is closed.
    Object,
}

/// Permit of a running call. When the permit is dropped, another call can start.
pub(crate) struct Permit {
    _call: OwnedSemaphorePermit,
    _late: Option<Late>,
    _bytes: Option<OwnedSemaphorePermit>,
    _charge: Option<MemoryCharge>,
}

/// Running call of an object that started while the client was disconnecting.
struct Late(watch::Sender<(usize, usize)>);

impl Late {
    fn begin(late: &watch::Sender<(usize, usize)>) -> Self {
        late.send_modify(|(running, total)| {
            *running += 1;
            *total += 1;
        });
        Late(late.clone())
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.0.send_modify(|(running, _)| *running -= 1);
    }
}

/// Reason why a call is rejected. The message that the caller receives contains the limit.
#[derive(Clone, Debug)]
pub(crate) enum Busy {
    /// The client is disconnecting.
    Leaving,
    /// Too many calls are running. Contains the maximum number of running calls.
    Calls(usize),
    /// The requests of all running calls occupy too many bytes. Contains the maximum number of
    /// bytes.
    Bytes(usize),
    /// The memory account of the caller has no room for the request. Contains the message of the
    /// account.
    Account(String),
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Busy::Leaving => f.write_str("the client is disconnecting"),
            Busy::Calls(most) => write!(f, "too many calls in progress (at most {most})"),
            Busy::Account(reason) => f.write_str(reason),
            Busy::Bytes(most) => {
                write!(
                    f,
                    "the calls in progress are too large (at most {most} bytes)"
                )
            }
        }
    }
}

impl Admission {
    pub(super) fn new(settings: &Settings) -> Self {
        let most = settings.max_concurrent_calls.clamp(1, MAX_CALLS);
        let shares = (settings.max_call_bytes / LARGE).max(1);
        let shares = shares.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Admission {
            running: Arc::new(Semaphore::new(most)),
            most: most as u32,
            running_built_in: Arc::new(Semaphore::new(BUILT_IN_CALLS)),
            bytes: Arc::new(Semaphore::new(shares)),
            shares,
            most_bytes: settings.max_call_bytes,
            memory: settings.memory.clone(),
            leaving: AtomicBool::new(false),
            late: watch::Sender::new((0, 0)),
        }
    }

    /// Admits a call of `bytes` from the caller `from`. If the call is rejected, returns the
    /// reason.
    pub(super) fn admit(&self, aim: Aim, from: &str, bytes: usize) -> Result<Permit, Busy> {
        // `Ordering::Relaxed` is sufficient. If a call is admitted at the same time as `leave` is
        // called, `drain` waits for that call.
        let leaving = self.leaving.load(Ordering::Relaxed);
        let (permits, most) = match aim {
            Aim::Service if leaving => return Err(Busy::Leaving),
            // `drain` may hold all other permits.
            Aim::Object if leaving => (&self.running_built_in, BUILT_IN_CALLS),
            Aim::BuiltIn => (&self.running_built_in, BUILT_IN_CALLS),
            Aim::Service | Aim::Object => (&self.running, self.most as usize),
        };
        let Ok(call) = Arc::clone(permits).try_acquire_owned() else {
            return Err(Busy::Calls(most));
        };
        let share = self.admit_bytes(bytes)?;
        let charge = self
            .memory
            .as_ref()
            .map(|memory| memory.charge(from, bytes));
        Ok(Permit {
            _call: call,
            _late: (leaving && aim == Aim::Object).then(|| Late::begin(&self.late)),
            _bytes: share,
            _charge: charge.transpose().map_err(Busy::Account)?,
        })
    }

    /// Reserves a part of the byte budget for a request. A request that is larger than the whole
    /// budget reserves the whole budget. Such a request is only admitted while no other large
    /// request is running.
    fn admit_bytes(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Busy> {
        if bytes < LARGE {
            return Ok(None);
        }
        let shares = bytes.div_ceil(LARGE).min(self.shares);
        let shares = u32::try_from(shares).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(shares);
        permit.map(Some).map_err(|_| Busy::Bytes(self.most_bytes))
    }

    /// Rejects all further calls except those of the built-in service and of objects.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Waits until no handler is running, for at most `grace`. Returns `false` if handlers are
    /// still running after that time. Call [`leave`](Self::leave) first, so that no new handler
    /// starts.
    pub(crate) async fn drain(&self, grace: Duration) -> bool {
        // All permits are free when no handler is running. Calls of the built-in service have
        // separate permits, so `drain` does not wait for these calls.
        let drained = crate::runtime::timeout(grace, self.running.acquire_many(self.most)).await;
        drained.is_ok()
    }

    /// Waits until no object is running a call and no further call of an object has arrived for
    /// `pause`. A peer that reads a stream or a file sends the next call when it has received the
    /// response to the last one. Call [`drain`](Self::drain) first, because this function does not
    /// wait for calls that started before [`leave`](Self::leave).
    pub(crate) async fn idle(&self, pause: Duration) {
        let mut late = self.late.subscribe();
        loop {
            // The sender is in `self`, so waiting does not fail.
            let Ok(total) = late
                .wait_for(|(running, _)| *running == 0)
                .await
                .map(|l| l.1)
            else {
                return;
            };
            crate::runtime::sleep(pause).await;
            if late.borrow().1 == total {
                return;
            }
        }
    }

    /// Rejects all further calls. If a task is waiting in [`drain`](Self::drain), the wait ends.
    pub(super) fn close(&self) {
        self.running.close();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn admission(calls: usize, bytes: usize) -> Admission {
        Admission::new(&Settings {
            max_concurrent_calls: calls,
            max_call_bytes: bytes,
            ..Settings::default()
        })
    }

    #[test]
    fn calls_and_built_in_calls_have_separate_limits() {
        let admission = admission(1, 1 << 20);
        let first = admission.admit(Aim::Service, "ws/a", 10).unwrap();
        assert!(matches!(
            admission.admit(Aim::Service, "ws/a", 10),
            Err(Busy::Calls(1))
        ));
        assert!(admission.admit(Aim::BuiltIn, "ws/a", 10).is_ok());
        drop(first);
        assert!(admission.admit(Aim::Service, "ws/a", 10).is_ok());
    }

    #[test]
    fn large_requests_share_a_budget_and_one_that_exceeds_it_runs_alone() {
        let admission = admission(10, 4 * LARGE);
        let alone = admission.admit(Aim::Service, "ws/a", 100 * LARGE).unwrap();
        let small = admission.admit(Aim::Service, "ws/a", LARGE - 1);
        assert!(small.is_ok());
        let refused = admission.admit(Aim::Service, "ws/a", LARGE);
        assert!(matches!(refused, Err(Busy::Bytes(most)) if most == 4 * LARGE));
        drop(alone);
        let three = admission.admit(Aim::Service, "ws/a", 3 * LARGE).unwrap();
        assert!(admission.admit(Aim::Service, "ws/a", 2 * LARGE).is_err());
        drop(three);
        assert!(admission.admit(Aim::Service, "ws/a", 2 * LARGE).is_ok());
    }

    #[test]
    fn a_disconnecting_client_accepts_no_calls_of_services() {
        let admission = admission(1, 1 << 20);
        admission.leave();
        assert!(matches!(
            admission.admit(Aim::Service, "ws/a", 10),
            Err(Busy::Leaving)
        ));
        assert!(admission.admit(Aim::BuiltIn, "ws/a", 10).is_ok());
        assert!(admission.admit(Aim::Object, "ws/a", 10).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_waits_for_calls_of_objects() {
        let pause = Duration::from_millis(100);
        let admission = admission(1, 1 << 20);
        admission.leave();
        let mut idle = std::pin::pin!(admission.idle(pause));
        let mut is_idle = || (&mut idle).now_or_never().is_some();
        let item = admission.admit(Aim::Object, "ws/a", 10).unwrap();
        assert!(!is_idle());
        tokio::time::advance(pause * 10).await;
        assert!(!is_idle(), "a call is running");
        drop(item);
        assert!(!is_idle());
        // The next item is requested within the pause.
        tokio::time::advance(pause / 2).await;
        drop(admission.admit(Aim::Object, "ws/a", 10).unwrap());
        tokio::time::advance(pause / 2).await;
        assert!(!is_idle(), "another call has arrived");
        tokio::time::advance(pause).await;
        assert!(is_idle());
    }
}
