//! What this program asks of others: calls, and the services they go to.

mod exchange;
mod remote;
mod sessions;

use std::{future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

pub(crate) use exchange::{BUILT_IN, Exchange, Failure};
pub use remote::call;
pub(crate) use remote::{Description, Target};
pub use remote::{Proxy, RemoteService};
pub(crate) use sessions::{Answer, Heard, Sessions};

use crate::{
    client::{Client, count},
    error::{
        CallSite, CodecError, Disconnected, Error, Never, RejectKind, Rejection, ServiceError,
        Timeout, TimeoutKind, from_wire,
    },
    wire::{Args, Message, PromiseKind, Value, WireError},
};

/// A call that is made when it is awaited.
///
/// It resolves to the result of the method, or to an [`Error`] that names method and peer. Dropping
/// the future gives up waiting and frees everything the call held; the method runs on at the other
/// side.
///
/// ```no_run
/// # use std::time::Duration;
/// # use hypha_rpc::{args, RemoteService};
/// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
/// let sum: f64 = service.call("add", args!(1, b = 2.5)).timeout(Duration::from_secs(2)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a call is made when it is awaited, or with `.send()`"]
#[derive(Debug)]
pub struct Call<T, E = Never> {
    client: Client,
    target: Result<Arc<Target>, Rejection>,
    args: Args,
    total: Option<Duration>,
    silence: Option<Duration>,
    output: PhantomData<fn() -> (T, E)>,
}

impl<T, E> Call<T, E> {
    pub(crate) fn new(client: Client, target: Result<Arc<Target>, Rejection>, args: Args) -> Self {
        Call {
            client,
            target,
            args,
            total: None,
            silence: None,
            output: PhantomData,
        }
    }

    /// A limit for the whole call, from the moment it is awaited until the result is there. None by
    /// default.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.total = Some(total);
        self
    }

    /// How long the callee may give no sign of life (protocol 02 §6). A running method sends one
    /// regularly, so this does not limit how long it takes. The connection's `method_timeout` (30 s)
    /// by default.
    pub fn silence(mut self, limit: Duration) -> Self {
        self.silence = Some(limit);
        self
    }

    /// Makes the call without asking for an answer: returns when the request is on its way, and
    /// neither a result nor an error of the method is ever known.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be encoded, the connection is over, or the request has to wait for
    /// longer than its [`timeout`](Self::timeout) to be sent.
    pub async fn send(self) -> Result<(), Error> {
        let target = self.target.map_err(Error::Rejected)?;
        let core = self.client.core();
        count(&core.counters.calls_made);
        let site = || target.site();
        let exchange = Exchange {
            total: self.total,
            ..Exchange::new(&target.address, &target.function.method, PromiseKind::None)
        };
        core.exchange(exchange, self.args)
            .await
            .map(drop)
            .map_err(|f| failure(f, site()))
    }
}

impl<T, E> IntoFuture for Call<T, E>
where
    T: DeserializeOwned + 'static,
    E: ServiceError + 'static,
{
    type Output = Result<T, Error<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Call {
            client,
            target,
            args,
            total,
            silence,
            ..
        } = self;
        Box::pin(async move {
            let target = target.map_err(Error::Rejected)?;
            let core = client.core();
            count(&core.counters.calls_made);
            let mut exchange = Exchange::new(
                &target.address,
                &target.function.method,
                target.function.promise,
            );
            exchange.silence = silence;
            exchange.total = total;
            match core.exchange(exchange, args).await {
                Ok(message) => result(message.as_ref()).map_err(|e| {
                    Error::Codec(CodecError {
                        message: format!("the result is not what is expected: {e}"),
                        received: true,
                        call: target.site(),
                    })
                }),
                Err(error) => Err(failure(error, target.site())),
            }
        })
    }
}

/// The value in an answer; no value at all is null.
pub(crate) fn result<T: DeserializeOwned>(
    message: Option<&Message>,
) -> Result<T, crate::wire::DecodeError> {
    const NULL: bytes::Bytes = bytes::Bytes::from_static(&[0xc0]);
    let Some(message) = message else {
        return crate::wire::from_slice(&NULL);
    };
    let args = message.extra()?.args;
    match args.get(0) {
        Some(value) => value,
        None => crate::wire::from_slice(&NULL),
    }
}

/// What was given to `reject`.
fn rejection(message: &Message) -> WireError {
    let value = message
        .extra()
        .and_then(|extra| extra.args.get(0).unwrap_or(Ok(Value::Null)));
    match value {
        Ok(value) => WireError::from_value(value),
        Err(e) => WireError::new(format!("an error that cannot be read: {e}")),
    }
}

/// Turns the end of an exchange into the caller's error.
pub(crate) fn failure<E: ServiceError>(failure: Failure, call: CallSite) -> Error<E> {
    match failure {
        Failure::Rejected(message) => from_wire(rejection(&message), call),
        Failure::Silent { limit, sent } => Error::Timeout(Timeout {
            kind: TimeoutKind::Silence,
            limit,
            sent,
            call,
        }),
        Failure::Late { limit, sent } => Error::Timeout(Timeout {
            kind: TimeoutKind::Total,
            limit,
            sent,
            call,
        }),
        Failure::Lost { reason, sent } => Error::Disconnected(Disconnected {
            reason: reason.to_string(),
            may_have_run: sent,
            peer_only: reason.starts_with(crate::client::PEER_GONE),
            call,
        }),
        Failure::Encode(e) => Error::Codec(CodecError {
            message: e.to_string(),
            received: false,
            call,
        }),
        Failure::NoChunks => Error::Rejected(Rejection {
            kind: RejectKind::UnknownMethod,
            message: exchange::NO_CHUNKS.into(),
            call,
        }),
    }
}
