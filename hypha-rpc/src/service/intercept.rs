//! Runs interceptors around incoming calls.

use std::fmt;
use std::sync::Arc;

use super::{Handler, IncomingCall, Member, Service};
use hypha_wire::{Args, WireError};

/// The interceptors that a call still has to pass, followed by the called method.
pub struct Next(Handler);

impl Next {
    /// Passes the call to the next interceptor, or to the method. Waits for the encoded result.
    ///
    /// This method consumes `self`, so the method runs at most once. A retry belongs to the caller
    /// ([`Call::retry`](crate::Call::retry)).
    ///
    /// # Errors
    ///
    /// Returns the error of the method or of an inner interceptor, in the form that the caller
    /// would receive.
    pub async fn run(self, call: IncomingCall) -> Result<Args, WireError> {
        (self.0)(call).await
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

impl Service {
    /// Adds an interceptor around each method that the service already has. The interceptor does
    /// not run for methods that are added later. If there are several interceptors, the one that
    /// was added last is the outermost.
    ///
    /// The interceptor receives a call after the permission check and before the arguments are
    /// decoded. The interceptor passes the call on with [`Next::run`], or returns an error instead.
    /// While the interceptor waits, this client sends heartbeats to prevent a timeout at the
    /// caller.
    ///
    /// The interceptor does not run for the methods of an object that a method returns, nor for
    /// calls of callbacks. Such a method checks its caller itself, with the parameter
    /// `ctx: &Context`.
    ///
    /// ```
    /// use hypha_rpc::prelude::*;
    /// use hypha_rpc::ServiceError;
    /// use hypha_rpc::service::{IncomingCall, Next};
    ///
    /// let lab = Service::new("lab")
    ///     .method(method!("add", |a: f64, b: f64| async move { a + b }))
    ///     .intercept(|call: IncomingCall, next: Next| async move {
    ///         if call.context().user().is_anonymous {
    ///             return Err("log in first".to_owned().to_wire());
    ///         }
    ///         next.run(call).await
    ///     });
    /// ```
    #[must_use]
    pub fn intercept<F, Fut>(mut self, interceptor: F) -> Self
    where
        F: Fn(IncomingCall, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Args, WireError>> + Send + 'static,
    {
        let interceptor = Arc::new(interceptor);
        for member in self.members.values_mut() {
            let Member::Method(method) = member else {
                continue;
            };
            let (interceptor, inner) = (Arc::clone(&interceptor), method.handler());
            method.handler =
                Arc::new(move |call| Box::pin(interceptor(call, Next(Arc::clone(&inner)))));
        }
        self
    }
}
