//! Opens a `tracing` span for each call. With the feature `metrics`, also records the duration of
//! each call. The caller (`call/exchange.rs`) and the callee (`service/dispatch.rs`) both use this
//! module.

use tracing::Span;

/// Whether this client is the caller or the callee of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Caller,
    Callee,
}

/// Span and start time of a call in progress.
pub(crate) struct CallSpan {
    span: Span,
    #[cfg(feature = "metrics")]
    side: Side,
    #[cfg(feature = "metrics")]
    method: String,
    #[cfg(feature = "metrics")]
    begin: web_time::Instant,
}

impl CallSpan {
    /// Opens the span for a call of `method`, which has the form `service.method`.
    ///
    /// `method` becomes a label of the metrics. `method` must not contain a session id, because
    /// each call would then create a new label value.
    pub(crate) fn new(side: Side, method: &str, peer: &str, session: Option<&str>) -> Self {
        let span = match side {
            Side::Caller => tracing::debug_span!(
                target: "hypha_rpc::call", "call", method, peer, session, outcome = tracing::field::Empty
            ),
            Side::Callee => tracing::debug_span!(
                target: "hypha_rpc::call", "serve", method, peer, session, outcome = tracing::field::Empty
            ),
        };
        CallSpan {
            span,
            #[cfg(feature = "metrics")]
            side,
            #[cfg(feature = "metrics")]
            method: method.to_owned(),
            #[cfg(feature = "metrics")]
            begin: web_time::Instant::now(),
        }
    }

    /// Returns the span in which the call runs.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the end of the call. `outcome` is `ok` or the kind of the error.
    pub(crate) fn ended(self, outcome: &'static str) {
        self.span.record("outcome", outcome);
        self.span
            .in_scope(|| tracing::debug!(target: "hypha_rpc::call", outcome, "ended"));
        #[cfg(feature = "metrics")]
        {
            let side = match self.side {
                Side::Caller => "caller",
                Side::Callee => "callee",
            };
            let labels = [
                ("side", side.into()),
                ("method", self.method.into()),
                ("outcome", metrics::SharedString::const_str(outcome)),
            ];
            metrics::histogram!("hypha_rpc_call_seconds", &labels).record(self.begin.elapsed());
        }
    }
}
