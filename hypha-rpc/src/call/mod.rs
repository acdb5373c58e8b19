//! Types for outgoing calls, and for values that peers can call or read: services, functions,
//! streams, objects and files.
//!
//! [`RemoteService`] calls the methods of any service by name. A generated
//! [proxy](crate::hypha_service) has the methods of a contract. The methods of both return a
//! [`Call`], which is a future with options. Arguments and results may contain a [`Callback`],
//! [`Function`], [`RemoteStream`], [`Object`] or [`RemoteFile`]. Such a value stays at its owner,
//! and the receiver gets a reference to the value.
//
//   exchange    sends one request, and waits for its response
//   remote      services of other clients
//   target      methods and functions of other clients, as targets of calls
//   live        encodes functions, streams and objects in a message
//   resident    functions, streams and interfaces of this program
//   function    functions as values
//   callback    typed functions as values
//   producer    streams of this program that peers read
//   stream      streams as values
//   streaming   runs methods that return a stream
//   object      objects as values
//   file        files as values
//   cancel      cancels a call whose future is dropped

mod args;
mod callback;
mod cancel;
mod exchange;
mod file;
mod function;
mod live;
mod object;
mod producer;
mod remote;
mod resident;
mod stream;
#[doc(hidden)]
pub mod streaming;
mod target;

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use tracing::Instrument as _;

pub use crate::engine::{CallResponse, NextCall, OutgoingCall, Retry};
pub use callback::Callback;
#[cfg(feature = "blocking")]
pub(crate) use callback::parameters;
pub(crate) use exchange::Exchange;
pub use file::{FileProgress, RemoteFile};
pub use function::Function;
pub(crate) use live::name as name_handle;
pub use object::Object;
use remote::ServiceLocator;
pub(crate) use remote::{Description, Direct, Find};
pub use remote::{Proxy, RemoteService, call};
pub use stream::RemoteStream;
pub(crate) use stream::pack;
pub(crate) use target::Target;

use crate::engine::{CallSpan, Failure, Loss, NO_CHUNKS, Side, Timeouts, count, rejection};
use crate::error::{
    CallSite, CodecError, Disconnected, Error, Lost, RejectKind, Rejection, ServiceError, Timeout,
    TimeoutKind, from_wire,
};
use crate::runtime::Instant;
use crate::service::{Connection, Engine, Handler};
use hypha_wire::{
    Args, Binary, ConnectionRef, DecodeError, Handle, IncomingArgs, Message, PromiseKind, RawValue,
    Value,
};

/// Call of a method or function. The request is sent when the call is awaited.
///
/// The future returns the result of the method, or an [`Error`] that names the method and the peer.
/// Every call completes. A call fails with [`Error::Timeout`] if neither a heartbeat nor a response
/// arrives within the [idle timeout](Self::idle_timeout). A call fails with [`Error::Invalid`] if
/// it is awaited outside of a tokio runtime.
///
/// # Cancellation
///
/// Dropping the call abandons the request and frees all resources of the call. If the method is
/// written in Rust, the [cancellation token](crate::Context::cancellation) of the method is
/// cancelled. A method in another language runs to completion, and its result is ignored. If the
/// call was never polled, dropping the call sends nothing.
///
/// # Errors
///
/// Awaiting the call can return any variant of [`Error`] except [`Error::Connect`]. The module
/// [`error`](crate::error) has a table of the variants.
///
/// # Panics
///
/// Awaiting the call panics in a tokio runtime without timers: build the runtime with `enable_all`.
///
/// # Examples
///
/// ```no_run
/// # use std::time::Duration;
/// # use hypha_rpc::{args, RemoteService};
/// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
/// let sum: f64 = service.call("add", args!(1, b = 2.5)).timeout(Duration::from_secs(2)).await?;
///
/// // A call is a future that borrows nothing, so it can run in a task of its own.
/// let task = tokio::spawn(service.call::<f64>("add", args!(1, 2)));
/// # Ok(())
/// # }
/// ```
#[must_use = "a call is made when it is awaited, or with `.send()`"]
pub struct Call<T, E = Infallible> {
    to: To,
    args: Args,
    total: Option<Duration>,
    idle_timeout: Option<Duration>,
    idempotent: bool,
    retry: Option<Retry>,
    /// The future of the running call. Set by the first poll.
    running: Option<Running<T, E>>,
    output: PhantomData<fn() -> (T, E)>,
}

type Running<T, E> = Pin<Box<dyn Future<Output = Result<T, Error<E>>> + Send>>;

/// Maximum number of times that an idempotent call is sent again after the link was lost. Without a
/// limit, a call that crashes the server would be sent again after each restart, and would crash
/// the server each time.
const MAX_RESENDS: u32 = 10;

/// Target of a call.
enum To {
    Peer {
        connection: Connection,
        target: Arc<Target>,
        /// The lookup through which this program found the target. If the target no longer exists,
        /// the call repeats the lookup.
        locator: Option<Arc<ServiceLocator>>,
        /// Handle of the called function, or `None` for a method. The call holds the handle,
        /// because the owner removes the function when the last handle is dropped.
        _held: Option<Handle>,
    },
    /// A function of this program.
    Local { handler: Handler, label: String },
    /// A call that the peer would reject. The call fails without sending a request.
    Refused(Rejection),
    /// An invalid call. The call fails without sending a request.
    Invalid(String),
    /// The call was polled, and its future is in `running`.
    Sent,
}

impl<T, E> Call<T, E> {
    pub(crate) fn new(connection: Connection, target: Arc<Target>, args: Args) -> Self {
        let _held = None;
        Self::to(
            To::Peer {
                connection,
                target,
                locator: None,
                _held,
            },
            args,
        )
    }

    pub(crate) fn found_by(mut self, found_by: Option<&Arc<ServiceLocator>>) -> Self {
        if let To::Peer { locator, .. } = &mut self.to {
            *locator = found_by.cloned();
        }
        self
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
            idle_timeout: None,
            idempotent: false,
            retry: None,
            running: None,
            output: PhantomData,
        }
    }

    /// Returns the name of the method, for error messages.
    pub(crate) fn label(&self) -> &str {
        match &self.to {
            To::Peer { target, .. } => &target.label,
            To::Local { label, .. } => label,
            To::Refused(rejection) => &rejection.call.method,
            To::Invalid(what) => what,
            To::Sent => "sent",
        }
    }

    pub(crate) fn holding(mut self, handle: Handle) -> Self {
        if let To::Peer { _held, .. } = &mut self.to {
            *_held = Some(handle);
        }
        self
    }

    /// Sets the total timeout. The time starts at the first poll of the call, and includes retries
    /// and the time to wait for the connection. Default: none; only the [idle
    /// timeout](Self::idle_timeout) applies.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use hypha_rpc::{args, RemoteService, Retry};
    /// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
    /// let image: Vec<u8> =
    ///     service.call("snap", args!()).timeout(Duration::from_secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn timeout(mut self, total: Duration) -> Self {
        self.total = Some(total);
        self
    }

    /// Sets the idle timeout: the longest time without a heartbeat or a response from the callee.
    /// Default: the connection's [`idle_timeout`](crate::client::Settings::idle_timeout), 30 s.
    ///
    /// A running method sends heartbeats (`docs/protocol/02-messages.md#s6`), so the idle timeout
    /// does not limit the run time of a method. The idle timeout ends the call if the callee has
    /// crashed or lost its network. Use a total [`timeout`](Self::timeout) to end slow calls.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// Marks the call as safe to run twice. If the link to the server is lost during the call, the
    /// call is sent again on the next link. This happens at most 10 times, and only within the
    /// [`timeout`](Self::timeout). If a direct connection is lost, the call is sent again through
    /// the server. A [`retry`](Self::retry) policy then also applies to failures after which the
    /// method may have run.
    ///
    /// Each attempt exports the objects in the arguments again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use hypha_rpc::{args, RemoteService, Retry};
    /// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
    /// // Setting a value twice has the effect of setting it once.
    /// service.call::<()>("set_exposure", args!(0.1)).idempotent().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets the retry policy for transient failures. Default: the policy of the connection
    /// ([`ConnectOptions::retry`](crate::ConnectOptions::retry)).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use hypha_rpc::{args, RemoteService, Retry};
    /// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
    /// let plates: Vec<String> = service
    ///     .call("plates", args!())
    ///     .retry(Retry::times(3).first(Duration::from_millis(200)))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Sends the call without asking for a response.
    ///
    /// Waits for room in the send queue of the connection. Returns when the request is in the
    /// queue. If the request is sent in chunks, returns when the receiver has acknowledged all
    /// chunks. Does not report the result or the errors of the method.
    ///
    /// If the link is lost, a request in the queue is sent after a reconnect. A request may be lost
    /// if the link is lost while the request is being written. If the called function belongs to
    /// this program, `send` returns after the function has completed.
    ///
    /// # Errors
    ///
    /// * Fails with [`Error::Codec`] if the arguments cannot be encoded.
    /// * Fails with [`Error::Disconnected`] if the connection is closed, or if the connection is
    ///   not established in time.
    /// * Fails with [`Error::Timeout`] if the request waits for room longer than the
    ///   [`timeout`](Self::timeout) of the call.
    /// * Fails with [`Error::Invalid`] outside of a tokio runtime, or if the call was polled
    ///   before.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped before it completes, the request may be lost.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use hypha_rpc::{args, RemoteService, Retry};
    /// # async fn example(service: RemoteService) -> Result<(), hypha_rpc::Error> {
    /// service.call::<()>("log", args!("plate 3 is done")).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send(self) -> Result<(), Error> {
        match self.to {
            To::Peer {
                connection,
                target,
                locator,
                ..
            } => {
                Error::<Infallible>::unless_in_runtime(&target.label)?;
                count(&connection.engine().counters.calls_made);
                let run = async |engine: &Arc<Engine>, to: &str, args| {
                    let exchange = Exchange {
                        setup: connection.is_for_setup(),
                        total: self.total,
                        parent: target.parent.as_deref(),
                        key: target.function.enc_pub.as_ref(),
                        ..Exchange::new(to, &target.function.method, PromiseKind::None)
                    };
                    let sent = exchange.run(engine, args).await;
                    sent.map(drop).map_err(|f| failure(f, target.site()))
                };
                if let Some((direct, to)) = locator.and_then(|locator| locator.direct(&target)) {
                    match run(direct.engine(), &to, self.args.clone()).await {
                        Err(error) if may_take_the_server(&error) => {}
                        outcome => return outcome,
                    }
                }
                run(connection.engine(), &target.address, self.args).await
            }
            To::Local { handler, label } => {
                let run = function::run_local::<Value, Infallible>(handler, label, self.args);
                if let Err(e) = run.await {
                    tracing::warn!("{e}");
                }
                Ok(())
            }
            To::Refused(rejection) => Err(Error::Rejected(rejection)),
            To::Invalid(what) => Err(Error::Invalid(what)),
            To::Sent => Err(Error::Invalid("the call has been sent before".into())),
        }
    }
}

/// Sends the call on the first poll.
impl<T, E> Future for Call<T, E>
where
    T: DeserializeOwned + 'static,
    E: ServiceError + 'static,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let running = match this.running.take() {
            Some(running) => running,
            None => {
                let call = std::mem::replace(this, Call::to(To::Sent, Args::new(0, 0)));
                Box::pin(call.run())
            }
        };
        this.running.insert(running).as_mut().poll(cx)
    }
}

impl<T, E> Call<T, E>
where
    T: DeserializeOwned + 'static,
    E: ServiceError + 'static,
{
    async fn run(self) -> Result<T, Error<E>> {
        match self.to {
            To::Peer { ref target, .. } => {
                Error::unless_in_runtime(&target.label)?;
                let call_span = CallSpan::new(Side::Caller, &target.label, &target.address, None);
                let outcome = self.ask().instrument(call_span.span()).await;
                let failed = outcome.as_ref().err();
                call_span.ended(failed.map_or("ok", |error| error.kind().as_str()));
                outcome
            }
            To::Local { handler, label } => {
                function::run_local_within(handler, label, self.args, self.total).await
            }
            To::Refused(rejection) => Err(Error::Rejected(rejection)),
            To::Invalid(what) => Err(Error::Invalid(what)),
            To::Sent => Err(Error::Invalid("the call has been sent before".into())),
        }
    }

    /// Passes the request through the interceptors of the connection, sends the request, and
    /// decodes the result.
    async fn ask(self) -> Result<T, Error<E>> {
        let To::Peer {
            connection,
            target,
            locator,
            _held,
        } = self.to
        else {
            return Err(Error::Invalid("the call goes to no peer".into()));
        };
        let timeouts = (self.total, self.idle_timeout);
        let request = Request {
            connection: connection.clone(),
            target,
            locator,
            _held,
            idempotent: self.idempotent,
            retry: self.retry,
        };
        let engine = connection.engine();
        let interceptors = &engine.settings.interceptors;
        let response = if interceptors.is_empty() || connection.is_for_setup() {
            request.send(self.args, timeouts).await
        } else {
            let call = OutgoingCall {
                site: request.target.site(),
                args: self.args,
                total: timeouts.0,
                idle_timeout: timeouts.1,
                send: Box::new(move |args, timeouts| Box::pin(request.send(args, timeouts))),
            };
            interceptors.run(call).await.map_err(Error::untyped)?
        };
        let CallResponse {
            outcome,
            site,
            origin,
        } = response;
        let message = outcome.map_err(|failed| failure(failed, site.clone()))?;
        result(engine, message, origin).map_err(|e| {
            count(&engine.counters.call_errors);
            Error::Codec(CodecError::receiving("the result", e, site))
        })
    }
}

/// Request of a call. This type does not depend on the result type and the error type of the call.
struct Request {
    connection: Connection,
    target: Arc<Target>,
    locator: Option<Arc<ServiceLocator>>,
    _held: Option<Handle>,
    idempotent: bool,
    retry: Option<Retry>,
}

impl Request {
    /// Sends the request, and repeats it according to the retry policy.
    async fn send(self, mut args: Args, (total, idle_timeout): Timeouts) -> CallResponse {
        let Request {
            connection,
            mut target,
            mut locator,
            _held,
            idempotent,
            retry,
        } = self;
        let engine = connection.engine();
        count(&engine.counters.calls_made);
        let begin = Instant::now();
        let left = |total: Duration| total.saturating_sub(begin.elapsed());
        let policy = retry.unwrap_or(engine.settings.retry);
        let (mut failures, mut resent) = (0, 0);
        let mut direct = locator.as_ref().and_then(|locator| locator.direct(&target));
        loop {
            // The last attempt takes the arguments, and earlier attempts copy them. A copy shares
            // large binary data instead of copying the data.
            let last = !idempotent && policy.is_never() && locator.is_none();
            let attempt = match last {
                true => std::mem::replace(&mut args, Args::new(0, 0)),
                false => args.clone(),
            };
            let (via, to) = match &direct {
                Some((direct, to)) => (direct, to.as_str()),
                None => (&connection, target.address.as_str()),
            };
            let exchange = Exchange {
                idle_timeout,
                total: total.map(left),
                parent: target.parent.as_deref(),
                key: target.function.enc_pub.as_ref(),
                setup: connection.is_for_setup(),
                cancel: target.function.cancel,
                ..Exchange::new(to, &target.function.method, target.function.promise)
            };
            let failed = match exchange.run(via.engine(), attempt).await {
                Ok(message) => {
                    return CallResponse {
                        outcome: Ok(message),
                        site: target.site(),
                        origin: via.reference(),
                    };
                }
                // The timeout of this attempt is only the remaining part of the total timeout.
                // Report the total timeout that the caller set.
                Err(Failure::Late { sent, limit }) => Failure::Late {
                    sent,
                    limit: total.unwrap_or(limit),
                },
                Err(failed) => failed,
            };
            // Decode the error without the error type of the contract. Only the variant of `Error`
            // matters here, and an error type with an `other` variant would match every failure.
            let error: Error = failure(failed.clone(), target.site());
            let may_repeat = idempotent || !error.may_have_run();
            // The path through the server is authoritative: it may work where the direct one fails,
            // and its errors are those of a client without direct connections.
            if direct.take().is_some() && (idempotent || may_take_the_server(&error)) {
                count(&engine.counters.retries);
                continue;
            }
            // Look up the service at most once per call. The new provider may lack the method as
            // well, so another lookup could repeat forever.
            if may_repeat && error.is_about_a_stale_address() {
                if let Some(locator) = locator.take() {
                    if let Some(moved) = locator.find_again(&connection, &target).await {
                        target = moved;
                        count(&engine.counters.retries);
                        continue;
                    }
                }
            }
            let lost = matches!(&error, Error::Disconnected(error) if error.lost == Lost::Link);
            if idempotent && lost && resent < MAX_RESENDS {
                resent += 1;
                count(&engine.counters.retries);
                continue;
            }
            failures += 1;
            let pause = policy.pause(failures, rand::random());
            let pause = pause.filter(|_| may_repeat && error.is_retryable());
            // Return this error instead of waiting if the pause would end after the deadline.
            // Otherwise the caller would get a timeout error, which does not contain the cause.
            let pause = pause.filter(|pause| total.is_none_or(|total| *pause < left(total)));
            let Some(pause) = pause else {
                count(&engine.counters.call_errors);
                return CallResponse {
                    outcome: Err(failed),
                    site: target.site(),
                    origin: connection.reference(),
                };
            };
            crate::runtime::sleep(pause).await;
            count(&engine.counters.retries);
        }
    }
}

/// Returns whether a call that failed on a direct connection is sent again through the server. It
/// is, if the method certainly did not run.
fn may_take_the_server(error: &Error) -> bool {
    // Arguments that cannot be encoded fail there, too.
    !error.may_have_run() && !matches!(error, Error::Codec(_))
}

impl CallResponse {
    /// Returns the failure of the call, or `None` if the call succeeded. Decodes the error without
    /// the error type of the contract.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        let failed = self.outcome.as_ref().err()?;
        Some(failure(failed.clone(), self.site.clone()))
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.label())
            .finish_non_exhaustive()
    }
}

/// Decodes the value in a response. If the response has no value, decodes null. The functions in
/// the decoded value send their calls through `connection`.
pub(crate) fn result<T: DeserializeOwned + 'static>(
    engine: &Engine,
    message: Option<Message>,
    connection: Arc<dyn ConnectionRef>,
) -> Result<T, DecodeError> {
    let args = match message {
        Some(message) => answer_args(engine, message, connection)?,
        None => IncomingArgs::default(),
    };
    shared(&args, 0).unwrap_or_else(null)
}

/// Decodes a value. A value of type `bytes::Bytes` shares the memory of the frame; serde alone
/// would copy the bytes. A `RawValue` also shares the memory, and stays encoded.
fn shared<T: DeserializeOwned + 'static>(
    args: &IncomingArgs,
    index: usize,
) -> Option<Result<T, DecodeError>> {
    let mut value: Option<T> = None;
    if let Some(bytes) = (&mut value as &mut dyn Any).downcast_mut::<Option<bytes::Bytes>>() {
        match args.get(index)? {
            Ok(Binary(binary)) => *bytes = Some(binary),
            Err(e) => return Some(Err(e)),
        }
        return value.map(Ok);
    }
    if let Some(raw) = (&mut value as &mut dyn Any).downcast_mut::<Option<RawValue>>() {
        *raw = Some(args.raw_value(index)?);
        return value.map(Ok);
    }
    args.get(index)
}

/// Returns the arguments in a response message.
fn answer_args(
    engine: &Engine,
    message: Message,
    connection: Arc<dyn ConnectionRef>,
) -> Result<IncomingArgs, DecodeError> {
    let extra = message.extra()?;
    if extra.encrypted.is_some() {
        return Err(DecodeError::custom(
            "the response is encrypted, although the call was not",
        ));
    }
    let args = extra.args.with_origin(message.origin(connection));
    let from = message.from().unwrap_or_default();
    Ok(engine.settings.bounded(args, from))
}

/// Decodes null as `T`. Null is the result of a method that returns nothing.
fn null<T: DeserializeOwned>() -> Result<T, DecodeError> {
    hypha_wire::from_slice(&bytes::Bytes::from_static(&[0xc0]))
}

/// Converts the failure of an exchange to the error that the caller gets.
pub(crate) fn failure<E: ServiceError>(failure: Failure, call: CallSite) -> Error<E> {
    match failure {
        Failure::Rejected(message) => from_wire(rejection(&message), call),
        Failure::Silent { limit, sent } => Error::Timeout(Timeout {
            kind: TimeoutKind::Idle,
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
        Failure::Lost { loss, sent } => {
            let (lost, reason) = match loss {
                Loss::Peer(reason) => (Lost::Peer, reason),
                Loss::Link(reason) => (Lost::Link, reason),
                Loss::Connection(reason) => (Lost::Connection, reason),
            };
            let error = Disconnected::new(lost, reason.to_string(), sent, call);
            Error::Disconnected(error.with_cause(reason.cause()))
        }
        Failure::Encode(e) => Error::Codec(CodecError::sending(e, call)),
        Failure::Unreadable { message, cause } => {
            Error::Codec(CodecError::unfit(message, call).with_cause(cause))
        }
        Failure::NoChunks => Error::Rejected(Rejection {
            kind: RejectKind::UnknownMethod,
            message: NO_CHUNKS.into(),
            call,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::macro_support::ArgumentOf;
    use hypha_wire::{Head, ReplyMode};

    const HEAD: Head<'static> = Head {
        from: "ws/a",
        to: "ws/b",
        method: "services.s.f",
        parent: None,
        session: None,
    };

    #[test]
    fn sent_bytes_are_not_copied() {
        let data = bytes::Bytes::from(vec![7; 100_000]);
        let mut args = Args::new(1, 0);
        ArgumentOf::<bytes::Bytes>::codec().push(&mut args, "data", &data);
        let message = args.finish_with(&HEAD, ReplyMode::None, &mut |_| Ok(Value::Null));
        let message = message.expect("encodes");
        let whole = message.clone().into_bytes();
        let start = whole.iter().position(|byte| *byte == 7).expect("is there");
        let sent = message.slice(start..start + data.len());
        assert_eq!(sent.as_ptr(), data.as_ptr());
    }

    #[test]
    fn received_bytes_are_slices_of_the_frame() {
        let mut args = Args::new(1, 0);
        args.push("data", &Binary::from(vec![7; 100_000]));
        let frame = args.finish(&HEAD, ReplyMode::None).expect("encodes");
        let message = Message::parse(frame.clone()).expect("parses");
        let args = message.extra().expect("has arguments").args;
        let data: bytes::Bytes = shared(&args, 0).expect("is there").expect("decodes");
        assert_eq!(data.len(), 100_000);
        assert!(frame.as_ptr_range().contains(&data.as_ptr()));
        let text: Result<String, _> = shared(&args, 0).expect("is there");
        text.expect_err("is of another type");
    }
}
