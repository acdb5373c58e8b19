//! Types for interceptors of outgoing calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hypha_wire::{Args, ConnectionRef, Message};
use serde::Serialize;

use super::Failure;
use crate::error::{CallSite, Error};

/// Outgoing call that an interceptor can read and change.
///
/// See [`ConnectOptions::intercept`](crate::ConnectOptions::intercept).
pub struct OutgoingCall {
    pub(crate) site: CallSite,
    pub(crate) args: Args,
    pub(crate) total: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) send: Sender,
}

/// Sends the request of a call. The last interceptor runs this function through [`NextCall::run`].
pub(crate) type Sender = Box<dyn FnOnce(Args, Timeouts) -> BoxFuture<'static, CallResponse> + Send>;

/// Total timeout and idle timeout of a call.
pub(crate) type Timeouts = (Option<Duration>, Option<Duration>);

impl OutgoingCall {
    /// Returns `service.method`.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.site.method
    }

    /// Returns the address of the callee, `workspace/client`.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.site.peer
    }

    /// Returns the total timeout, if one is set.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.total
    }

    /// Sets the total timeout. The time starts when the last interceptor calls [`NextCall::run`].
    pub fn set_timeout(&mut self, total: Duration) {
        self.total = Some(total);
    }

    /// Sets the idle timeout: the longest time without a heartbeat or a response from the callee.
    pub fn set_idle_timeout(&mut self, limit: Duration) {
        self.idle_timeout = Some(limit);
    }

    /// Adds a named argument. The method must accept an argument of this name.
    ///
    /// If the value cannot be encoded, the call fails with an error that names the argument.
    pub fn add_argument<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.args.push_named(name, value);
    }
}

impl fmt::Debug for OutgoingCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingCall")
            .field("method", &self.method())
            .field("peer", &self.peer())
            .field("timeout", &self.timeout())
            .finish_non_exhaustive()
    }
}

/// Outcome of a call, before the result is decoded.
///
/// If the call failed, [`error`](Self::error) returns the failure.
pub struct CallResponse {
    pub(crate) outcome: Result<Option<Message>, Failure>,
    /// The method that was called, and the peer that responded. After a retry, this peer may differ
    /// from the peer of the first attempt.
    pub(crate) site: CallSite,
    /// Connection on which the response arrived. The functions in the result use it.
    pub(crate) origin: Arc<dyn ConnectionRef>,
}

impl fmt::Debug for CallResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallResponse")
            .field("is_ok", &self.outcome.is_ok())
            .field("site", &self.site)
            .finish()
    }
}

type Interceptor = Arc<
    dyn Fn(OutgoingCall, NextCall) -> BoxFuture<'static, Result<CallResponse, Error>> + Send + Sync,
>;

/// The interceptors of a connection. The outermost interceptor is first.
#[derive(Clone, Default)]
pub(crate) struct Interceptors(Arc<Vec<Interceptor>>);

impl Interceptors {
    /// Adds an interceptor. The new interceptor runs inside the interceptors that were added
    /// earlier.
    pub(crate) fn add<F, Fut>(&mut self, interceptor: F)
    where
        F: Fn(OutgoingCall, NextCall) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<CallResponse, Error>> + Send + 'static,
    {
        Arc::make_mut(&mut self.0).push(Arc::new(move |call, next| {
            Box::pin(interceptor(call, next))
        }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs a call through all interceptors.
    pub(crate) async fn run(&self, call: OutgoingCall) -> Result<CallResponse, Error> {
        let all = self.clone();
        NextCall { all, index: 0 }.run(call).await
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interceptors").field(&self.0.len()).finish()
    }
}

/// The remaining interceptors, and the call itself.
pub struct NextCall {
    all: Interceptors,
    index: usize,
}

impl NextCall {
    /// Runs the remaining interceptors and then the call, and waits for the outcome. If the call
    /// fails, the returned [`CallResponse`] contains the failure.
    ///
    /// # Errors
    ///
    /// Fails if an interceptor returns an error instead of running the call.
    pub async fn run(self, call: OutgoingCall) -> Result<CallResponse, Error> {
        let NextCall { all, index } = self;
        match all.0.get(index) {
            Some(interceptor) => {
                let next = NextCall {
                    all: all.clone(),
                    index: index + 1,
                };
                interceptor(call, next).await
            }
            None => Ok((call.send)(call.args, (call.total, call.idle_timeout)).await),
        }
    }
}

impl fmt::Debug for NextCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextCall").finish_non_exhaustive()
    }
}
