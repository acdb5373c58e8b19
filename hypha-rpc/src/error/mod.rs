//! Errors of calls, connections and registrations.
//!
//! The type [`Error`] has one variant per kind of failure. [`Error::Service`] contains an error of
//! the type that the contract specifies. The library itself creates all other variants. The
//! messages of these variants name the method and the peer.
//!
//! Each error keeps its cause. [`source`](std::error::Error::source) returns the cause, such as an
//! `io::Error`, `rustls::Error`, `tungstenite::Error`, `reqwest::Error` or [`DecodeError`]. The
//! message of an error does not repeat the message of its cause. Use [`report`] to print both
//! messages, or `{:#}` with `anyhow::Error`.
//!
//! | variant | occurs when | retryable | may have run |
//! | --- | --- | --- | --- |
//! | [`Service`](Error::Service) | the method returned its own error | no | yes |
//! | [`Remote`](Error::Remote) | any other exception or panic of the method | no | yes |
//! | [`Rejected`](Error::Rejected) | the peer or the server refused | by [`RejectKind`] | no |
//! | [`Timeout`](Error::Timeout) | no response arrived in time | yes | by [`Timeout::sent`] |
//! | [`Disconnected`](Error::Disconnected) | peer or link lost | by [`Lost`] | by `may_have_run` |
//! | [`Codec`](Error::Codec) | encoding or decoding failed | no | by [`CodecError::received`] |
//! | [`Connect`](Error::Connect) | connecting failed | by [`ConnectErrorKind`] | no |
//! | [`Invalid`](Error::Invalid) | this program passed an invalid argument | no | no |
//!
//! The column "retryable" shows the result of [`Error::is_retryable`], and the column "may have
//! run" shows the result of [`Error::may_have_run`]. A program that repeats calls must check both.
//! If a method may have run, repeating the call is safe only if the method is idempotent.
//! [`Retry`](crate::Retry) applies this rule automatically.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;

mod cause;
mod class;
mod codec;
mod connect;
mod disconnected;
mod link;
mod rejected;
mod remote;
mod service;
mod timeout;
mod travel;
pub(crate) mod typed;

pub(crate) use cause::Cause;
pub use cause::report;
pub use codec::CodecError;
pub(crate) use codec::unfit_message;
pub use connect::{ConnectError, ConnectErrorKind, ProxyFailure, TlsFailure};
pub use disconnected::{Disconnected, Lost};
pub use hypha_wire::{DecodeError, EncodeError};
pub use link::LinkError;
pub use rejected::{RejectKind, Rejection};
pub use remote::RemoteError;
pub(crate) use remote::from_wire;
pub use service::ServiceError;
pub use timeout::{Timeout, TimeoutKind};

/// Error of a call, a connection or a registration.
///
/// `E` is the error type of the called method. If the method has no error type, `E` is
/// [`Infallible`]. The [module](self) has a table of the variants.
///
/// # Examples
///
/// ```no_run
/// use hypha_rpc::error::{RejectKind, report};
/// use hypha_rpc::prelude::*;
///
/// # async fn example(service: &RemoteService) {
/// let sum: Result<f64, Error> = service.call("add", args!(1.0, 2.0)).await;
/// match sum {
///     Ok(sum) => println!("{sum}"),
///     Err(Error::Rejected(refusal)) if refusal.kind == RejectKind::UnknownMethod => {
///         println!("an old version of the service: {refusal}");
///     }
///     Err(error) if error.is_retryable() => println!("try later: {}", report(&error)),
///     Err(error) => println!("{}", report(&error)),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E = Infallible> {
    /// The method ran and returned an error of the type in the contract. The meaning of that error
    /// determines whether it is useful to repeat the call. The cause of that error is the
    /// [`source`](StdError::source) of this error.
    Service(E),
    /// The method failed with an error that is not in the contract. Such an error is an exception
    /// in another language, a panic, or an untyped error. The method has run, at least in part.
    Remote(Box<RemoteError>),
    /// The peer or the server rejected the request. The method did not run.
    Rejected(Rejection),
    /// The idle timeout or the total timeout elapsed.
    Timeout(Timeout),
    /// The connection or the peer was lost before a response arrived.
    Disconnected(Disconnected),
    /// A value could not be encoded, or a received value does not have the expected type.
    Codec(CodecError),
    /// The connection could not be established.
    Connect(ConnectError),
    /// This program made an invalid request, for example with a service id that contains a dot. No
    /// request was sent.
    Invalid(String),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Service(error) => error.fmt(f),
            Error::Remote(error) => error.fmt(f),
            Error::Rejected(error) => error.fmt(f),
            Error::Timeout(error) => error.fmt(f),
            Error::Disconnected(error) => error.fmt(f),
            Error::Codec(error) => error.fmt(f),
            Error::Connect(error) => error.fmt(f),
            Error::Invalid(text) => text.fmt(f),
        }
    }
}

impl<E: ServiceError + fmt::Debug + fmt::Display> StdError for Error<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause()
    }
}

impl<E: ServiceError> Error<E> {
    /// Returns the source. Not every error of a method is a [`StdError`], so
    /// [`ServiceError::error_source`] returns the source of that error.
    fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Service(error) => error.error_source(),
            Error::Remote(error) => error.source(),
            Error::Rejected(error) => error.source(),
            Error::Timeout(error) => error.source(),
            Error::Disconnected(error) => error.source(),
            Error::Codec(error) => error.source(),
            Error::Connect(error) => error.source(),
            Error::Invalid(_) => None,
        }
    }
}

impl<E> Error<E> {
    /// Returns [`Error::Invalid`] outside of a tokio runtime. Without this check, the timers of a
    /// call would panic there. `what` is the start of the message.
    pub(crate) fn unless_in_runtime(what: &str) -> Result<(), Self> {
        match crate::runtime::Runtime::try_current() {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Invalid(format!(
                "{what}: there is no tokio runtime; await it inside of one, such as in an `async \
                 fn main` with `#[tokio::main]`"
            ))),
        }
    }
}

/// The variants of [`Error`] without their contents, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::Service`].
    Service,
    /// [`Error::Remote`].
    Remote,
    /// [`Error::Rejected`].
    Rejected,
    /// [`Error::Timeout`].
    Timeout,
    /// [`Error::Disconnected`].
    Disconnected,
    /// [`Error::Codec`].
    Codec,
    /// [`Error::Connect`].
    Connect,
    /// [`Error::Invalid`].
    Invalid,
}

impl ErrorKind {
    /// Returns the kind as a label. The label is one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Service => "service",
            ErrorKind::Remote => "remote",
            ErrorKind::Rejected => "rejected",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Disconnected => "disconnected",
            ErrorKind::Codec => "codec",
            ErrorKind::Connect => "connect",
            ErrorKind::Invalid => "invalid",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<E> Error<E> {
    /// Returns whether the same call may succeed if it is repeated on this connection.
    ///
    /// Returns true for a timeout, for a lost link that the client opens again, and for a peer that
    /// is not connected or too busy. For [`Error::Connect`], see [`ConnectError::is_retryable`].
    /// Before you repeat a call that changes data, also check [`may_have_run`](Self::may_have_run).
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Timeout(_) => true,
            Error::Disconnected(d) => d.lost.is_retryable(),
            Error::Rejected(r) => r.kind.is_retryable(),
            Error::Connect(c) => c.is_retryable(),
            _ => false,
        }
    }

    /// Returns whether the method may have run although the caller got no result.
    ///
    /// Returns false only if the method certainly did not run. This is the case if the request was
    /// rejected, was never sent, or could not be encoded.
    pub fn may_have_run(&self) -> bool {
        match self {
            Error::Service(_) | Error::Remote(_) => true,
            Error::Timeout(t) => t.sent,
            Error::Disconnected(d) => d.may_have_run,
            Error::Codec(c) => c.received,
            Error::Rejected(_) | Error::Connect(_) | Error::Invalid(_) => false,
        }
    }

    /// Returns the kind of the error: its variant without the content. Metrics and spans use the
    /// kind as the label `outcome`.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Service(_) => ErrorKind::Service,
            Error::Remote(_) => ErrorKind::Remote,
            Error::Rejected(_) => ErrorKind::Rejected,
            Error::Timeout(_) => ErrorKind::Timeout,
            Error::Disconnected(_) => ErrorKind::Disconnected,
            Error::Codec(_) => ErrorKind::Codec,
            Error::Connect(_) => ErrorKind::Connect,
            Error::Invalid(_) => ErrorKind::Invalid,
        }
    }

    /// Returns whether it is useful to look up the service again at another client. This is the
    /// case if the peer is not connected, or if the peer lacks the called service or method.
    pub(crate) fn is_about_a_stale_address(&self) -> bool {
        match self {
            Error::Rejected(refusal) => matches!(
                refusal.kind,
                RejectKind::PeerNotConnected
                    | RejectKind::UnknownService
                    | RejectKind::UnknownMethod
            ),
            Error::Disconnected(disconnected) => disconnected.lost == Lost::Peer,
            _ => false,
        }
    }

    /// Converts this error to an error with another error type.
    ///
    /// [`Error::Service`] becomes [`Error::Remote`] with the message, class, name, data and causes
    /// of the contained error, and an empty [`CallSite`]. The other variants keep their content. If
    /// a method calls a service with another error type, the method can use this function with `?`.
    pub fn untyped<F>(self) -> Error<F>
    where
        E: ServiceError,
    {
        match self {
            Error::Service(e) => {
                let error = RemoteError::of(e.to_wire(), CallSite::default());
                Error::Remote(Box::new(error))
            }
            Error::Remote(e) => Error::Remote(e),
            Error::Rejected(e) => Error::Rejected(e),
            Error::Timeout(e) => Error::Timeout(e),
            Error::Disconnected(e) => Error::Disconnected(e),
            Error::Codec(e) => Error::Codec(e),
            Error::Connect(e) => Error::Connect(e),
            Error::Invalid(e) => Error::Invalid(e),
        }
    }
}

impl<E: fmt::Display> Error<E> {
    /// Returns the message of this error, followed by the messages of all causes. Peers receive
    /// only this string, so the causes would otherwise be lost.
    pub(crate) fn text_with_causes(&self) -> String {
        match self {
            Error::Disconnected(error) => report(error),
            Error::Codec(error) => report(error),
            Error::Connect(error) => report(error),
            Error::Service(error) => error.to_string(),
            Error::Invalid(text) => text.clone(),
            Error::Remote(error) => error.to_string(),
            Error::Rejected(error) => error.to_string(),
            Error::Timeout(error) => error.to_string(),
        }
    }
}

impl Error {
    /// Converts the error of a method that has no error type to an error with the type `E`. The
    /// conversion loses no information, because [`Error::Service`] cannot exist for [`Infallible`].
    #[must_use]
    pub fn widen<E>(self) -> Error<E> {
        match self {
            Error::Service(never) => match never {},
            other => other.untyped(),
        }
    }
}

impl<E> From<ConnectError> for Error<E> {
    fn from(error: ConnectError) -> Self {
        Error::Connect(error)
    }
}

/// Method and peer of a failed call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallSite {
    /// `service.method`, as the caller wrote it. Empty if the error does not belong to a method.
    pub method: String,
    /// Address `workspace/client` of the peer that provides the service. Empty if the address is
    /// unknown.
    pub peer: String,
}

impl CallSite {
    /// Returns the message of a peer without the name of the method, with which a Rust service
    /// begins it. The error of a call already names the method.
    fn without_method<'m>(&self, message: &'m str) -> &'m str {
        let rest = message.strip_prefix(self.method.as_str());
        rest.and_then(|rest| rest.strip_prefix(": "))
            .unwrap_or(message)
    }

    /// Returns the start of a message about this call. Empty if the call is unknown.
    fn prefix(&self) -> String {
        match *self == CallSite::default() {
            true => String::new(),
            false => format!("{self}: "),
        }
    }
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.method.is_empty(), self.peer.is_empty()) {
            (true, true) => f.write_str("call"),
            (false, true) => f.write_str(&self.method),
            (true, false) => write!(f, "call to {}", self.peer),
            (false, false) => write!(f, "{} on {}", self.method, self.peer),
        }
    }
}
