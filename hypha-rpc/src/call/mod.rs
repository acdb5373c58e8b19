//! What this program asks of others: calls, and the services they go to.

mod callback;
mod exchange;
mod export;
mod file;
mod function;
mod object;
mod producer;
mod release;
mod remote;
mod secrecy;
mod sessions;
mod stream;

use std::{fmt, future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use serde::de::{DeserializeOwned, Error as _};

pub use callback::Callback;
pub(crate) use exchange::{BUILT_IN, Exchange, Failure};
pub(crate) use export::{Direction, Exported, Exports, HandedOut, Resident};
pub use file::RemoteFile;
pub use function::Function;
pub use object::Object;
pub(crate) use release::abandoned;
pub use remote::call;
pub(crate) use remote::{Description, Target};
pub use remote::{Proxy, RemoteService};
pub(crate) use secrecy::{Secrecy, hex};
pub(crate) use sessions::{Answer, Found, Heard, Sessions};
pub use stream::RemoteStream;
pub(crate) use stream::pack;

use crate::{
    client::{Client, count},
    error::{
        CallSite, CodecError, Disconnected, Error, Never, RejectKind, Rejection, ServiceError,
        Timeout, TimeoutKind, from_wire,
    },
    service::Handler,
    wire::{
        Args, DecodeError, Home, IncomingArgs, Live, Message, Origin, PromiseKind, Value, WireError,
    },
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
pub struct Call<T, E = Never> {
    to: To,
    args: Args,
    total: Option<Duration>,
    silence: Option<Duration>,
    output: PhantomData<fn() -> (T, E)>,
}

/// What is called.
enum To {
    Peer {
        client: Client,
        target: Arc<Target>,
        /// What must not be dropped before: a function tells its owner when it is.
        _held: Option<Live>,
    },
    /// A function of this program.
    Local {
        handler: Handler,
        label: String,
    },
    Refused(Rejection),
    Invalid(String),
}

impl<T, E> Call<T, E> {
    pub(crate) fn new(client: Client, target: Arc<Target>, args: Args) -> Self {
        let _held = None;
        Self::to(
            To::Peer {
                client,
                target,
                _held,
            },
            args,
        )
    }

    pub(crate) fn local(handler: Handler, label: String, args: Args) -> Self {
        Self::to(To::Local { handler, label }, args)
    }

    pub(crate) fn refused(rejection: Rejection) -> Self {
        Self::to(To::Refused(rejection), Args::new(0, 0))
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::to(To::Invalid(what.into()), Args::new(0, 0))
    }

    fn to(to: To, args: Args) -> Self {
        Call {
            to,
            args,
            total: None,
            silence: None,
            output: PhantomData,
        }
    }

    pub(crate) fn holding(mut self, live: Live) -> Self {
        if let To::Peer { _held, .. } = &mut self.to {
            *_held = Some(live);
        }
        self
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
    /// neither a result nor an error of the method is ever known. (A function of this program runs in
    /// place, to its end.)
    ///
    /// # Errors
    ///
    /// If the arguments cannot be encoded, the connection is over, or the request has to wait for
    /// longer than its [`timeout`](Self::timeout) to be sent.
    pub async fn send(self) -> Result<(), Error> {
        match self.to {
            To::Peer { client, target, .. } => {
                let core = client.core();
                count(&core.counters.calls_made);
                let exchange = Exchange {
                    total: self.total,
                    parent: target.parent.as_deref(),
                    key: target.function.enc_pub.as_ref(),
                    ..Exchange::new(&target.address, &target.function.method, PromiseKind::None)
                };
                core.exchange(exchange, self.args)
                    .await
                    .map(drop)
                    .map_err(|f| failure(f, target.site()))
            }
            To::Local { handler, label } => {
                let run = function::run_local::<Value, Never>(handler, label, self.args);
                if let Err(e) = run.await {
                    tracing::warn!("{e}");
                }
                Ok(())
            }
            To::Refused(rejection) => Err(Error::Rejected(rejection)),
            To::Invalid(what) => Err(Error::Invalid(what)),
        }
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
            to,
            args,
            total,
            silence,
            ..
        } = self;
        Box::pin(async move {
            let (client, target, _held) = match to {
                To::Peer {
                    client,
                    target,
                    _held,
                } => (client, target, _held),
                To::Local { handler, label } => {
                    return function::run_local_within(handler, label, args, total).await;
                }
                To::Refused(rejection) => return Err(Error::Rejected(rejection)),
                To::Invalid(what) => return Err(Error::Invalid(what)),
            };
            let core = client.core();
            count(&core.counters.calls_made);
            let exchange = Exchange {
                silence,
                total,
                parent: target.parent.as_deref(),
                key: target.function.enc_pub.as_ref(),
                ..Exchange::new(
                    &target.address,
                    &target.function.method,
                    target.function.promise,
                )
            };
            match core.exchange(exchange, args).await {
                Ok(message) => result(message, client.home()).map_err(|e| {
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

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match &self.to {
            To::Peer { target, .. } => &target.label,
            To::Local { label, .. } => label,
            To::Refused(rejection) => &rejection.call.method,
            To::Invalid(what) => what,
        };
        f.debug_struct("Call")
            .field("method", method)
            .finish_non_exhaustive()
    }
}

/// The value in an answer; no value at all is null. Functions in it can be used on `home`.
pub(crate) fn result<T: DeserializeOwned>(
    message: Option<Message>,
    home: Arc<dyn Home>,
) -> Result<T, DecodeError> {
    let args = match message {
        Some(message) => answer_args(message, home)?,
        None => IncomingArgs::default(),
    };
    match args.get(0) {
        Some(value) => value,
        None => null(),
    }
}

/// What an answer holds.
fn answer_args(message: Message, home: Arc<dyn Home>) -> Result<IncomingArgs, DecodeError> {
    let extra = message.extra()?;
    if extra.encrypted.is_some() {
        return Err(DecodeError::custom(
            "it is encrypted, and nobody asked for that",
        ));
    }
    Ok(extra.args.of(Origin { home, message }))
}

fn null<T: DeserializeOwned>() -> Result<T, DecodeError> {
    crate::wire::from_slice(&bytes::Bytes::from_static(&[0xc0]))
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
        Failure::Unreadable(message) => Error::Codec(CodecError {
            message,
            received: true,
            call,
        }),
        Failure::NoChunks => Error::Rejected(Rejection {
            kind: RejectKind::UnknownMethod,
            message: exchange::NO_CHUNKS.into(),
            call,
        }),
    }
}
