//! Every way in which a call, a connection or a registration can fail.
//!
//! One type, [`Error`], with a variant per *kind* of failure. A typed call adds the contract's own
//! error as [`Error::Service`]; everything else is the library's and names the service method and
//! the peer it happened with.

use std::{fmt, time::Duration};

use hypha_wire::{Value, WireError};

mod class;
pub(crate) mod typed;

/// The error type of a method that has no error of its own. It has no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

/// Why something failed. `E` is the error type of the called method, [`Never`] if it has none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E = Never> {
    /// The method itself answered with its own error.
    #[error("{0}")]
    Service(E),
    /// The method failed with an error that is not the contract's: an exception of another
    /// language, a panic, an untyped error.
    #[error(transparent)]
    Remote(Box<RemoteError>),
    /// The peer or the server refused the request; the method did not run.
    #[error(transparent)]
    Rejected(Rejection),
    /// Nobody answered in time.
    #[error(transparent)]
    Timeout(Timeout),
    /// The connection or the peer went away.
    #[error(transparent)]
    Disconnected(Disconnected),
    /// A value could not be encoded, or what arrived is not of the expected type.
    #[error(transparent)]
    Codec(CodecError),
    /// The connection could not be made.
    #[error(transparent)]
    Connect(ConnectError),
    /// This program asked for something that cannot be: a service id with a dot, for instance.
    #[error("{0}")]
    Invalid(String),
}

impl<E> Error<E> {
    /// Whether the same call may succeed if it is made again on this connection: time-outs, a link that
    /// was lost and comes back, a peer that has left, is not connected or too busy. A connection that is
    /// over stays so.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Timeout(_) => true,
            Error::Disconnected(d) => d.peer_only || d.recovering,
            Error::Rejected(r) => {
                matches!(r.kind, RejectKind::PeerNotConnected | RejectKind::Busy)
            }
            Error::Connect(c) => c.is_retryable(),
            _ => false,
        }
    }

    /// Whether the method may have run although no result arrived. False only where that is known:
    /// refused before user code, never sent, or not encodable.
    pub fn may_have_run(&self) -> bool {
        match self {
            Error::Service(_) | Error::Remote(_) => true,
            Error::Timeout(t) => t.sent,
            Error::Disconnected(d) => d.may_have_run,
            Error::Codec(c) => c.received,
            Error::Rejected(_) | Error::Connect(_) | Error::Invalid(_) => false,
        }
    }

    /// A word for the kind of failure, as metrics and spans have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Service(_) => "service",
            Error::Remote(_) => "remote",
            Error::Rejected(_) => "rejected",
            Error::Timeout(_) => "timeout",
            Error::Disconnected(_) => "disconnected",
            Error::Codec(_) => "codec",
            Error::Connect(_) => "connect",
            Error::Invalid(_) => "invalid",
        }
    }

    /// Whether the peer may have moved: it is not there, or does not know (any more) what was called.
    pub(crate) fn is_about_a_stale_address(&self) -> bool {
        match self {
            Error::Rejected(refusal) => matches!(
                refusal.kind,
                RejectKind::PeerNotConnected
                    | RejectKind::UnknownService
                    | RejectKind::UnknownMethod
            ),
            Error::Disconnected(lost) => lost.peer_only,
            _ => false,
        }
    }

    /// The same error for a caller that uses another contract error type.
    ///
    /// A [`Error::Service`] becomes [`Error::Remote`] with the text of the error.
    pub fn untyped<F>(self) -> Error<F>
    where
        E: fmt::Display,
    {
        match self {
            Error::Service(e) => Error::Remote(Box::new(RemoteError {
                message: e.to_string(),
                class: None,
                name: None,
                trace: String::new(),
                data: None,
                call: CallSite::default(),
            })),
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

impl Error<Never> {
    /// The same error for a call of a method with an error type.
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

/// Which method of which peer an error is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallSite {
    /// `service.method`, as the caller wrote it.
    pub method: String,
    /// The address `workspace/client` of the peer that hosts it.
    pub peer: String,
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

/// An error raised by the called method, in whatever language (protocol 02 §8).
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call}: {}{message}", class.as_ref().or(name.as_ref()).map(|c| format!("{c}: ")).unwrap_or_default())]
pub struct RemoteError {
    /// What went wrong, without class name and trace.
    pub message: String,
    /// The class of the exception, if the peer told: `ValueError`, `TypeError`, `Error`.
    pub class: Option<String>,
    /// The name of a typed error of a Rust peer, such as `CalcError.TooLarge`.
    pub name: Option<String>,
    /// The peer's trace, possibly empty.
    pub trace: String,
    /// A typed error of a Rust peer as a value: [`Value::decode_as`] makes a type of it.
    pub data: Option<Value>,
    /// The call that failed.
    pub call: CallSite,
}

/// A refusal before the method ran.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call}: {message}")]
pub struct Rejection {
    /// Why it was refused.
    pub kind: RejectKind,
    /// The text of the side that refused.
    pub message: String,
    /// The call that was refused.
    pub call: CallSite,
}

/// The reasons of a [`Rejection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectKind {
    /// No service of that id.
    UnknownService,
    /// The service has no such method (any more).
    UnknownMethod,
    /// Too few, too many, unknown or ill-typed arguments.
    InvalidArguments,
    /// The caller is not allowed to do this.
    PermissionDenied,
    /// The addressed client is not connected.
    PeerNotConnected,
    /// A function that lived as long as a call, and that call has ended.
    Expired,
    /// More than one service fits the query.
    Ambiguous,
    /// The peer has too many calls in progress.
    Busy,
}

impl RejectKind {
    /// The name under which a Rust peer sends this kind (`_rname`), which others ignore.
    pub(crate) fn wire_name(self) -> &'static str {
        match self {
            RejectKind::UnknownService => "hypha.UnknownService",
            RejectKind::UnknownMethod => "hypha.UnknownMethod",
            RejectKind::InvalidArguments => "hypha.InvalidArguments",
            RejectKind::PermissionDenied => "hypha.PermissionDenied",
            RejectKind::PeerNotConnected => "hypha.PeerNotConnected",
            RejectKind::Expired => "hypha.Expired",
            RejectKind::Ambiguous => "hypha.Ambiguous",
            RejectKind::Busy => "hypha.Busy",
        }
    }

    fn from_wire_name(name: &str) -> Option<Self> {
        [
            RejectKind::UnknownService,
            RejectKind::UnknownMethod,
            RejectKind::InvalidArguments,
            RejectKind::PermissionDenied,
            RejectKind::PeerNotConnected,
            RejectKind::Expired,
            RejectKind::Ambiguous,
            RejectKind::Busy,
        ]
        .into_iter()
        .find(|kind| kind.wire_name() == name)
    }

    /// What the fixed texts of the other clients and servers mean (protocol 02 §7, §8). They are the
    /// only sign those peers give. A method may raise an exception that begins alike, so the text has
    /// to name the very call that was made.
    fn from_text(message: &str, call: &CallSite) -> Option<Self> {
        let of_call = message.contains(&format!(":services.{}", call.method));
        let built_in = call.method.starts_with("built-in.");
        let forms: [(&str, bool, RejectKind); 10] = [
            ("Method not found: ", of_call, RejectKind::UnknownMethod),
            (
                "Method expired or not found: ",
                of_call,
                RejectKind::UnknownMethod,
            ),
            ("Invalid method: ", of_call, RejectKind::UnknownMethod),
            (
                "Permission denied for invoking protected method ",
                of_call,
                RejectKind::PermissionDenied,
            ),
            (
                "Permission denied for getting protected service: ",
                built_in,
                RejectKind::PermissionDenied,
            ),
            ("Service not found: ", built_in, RejectKind::UnknownService),
            (
                "Access denied for method call (",
                true,
                RejectKind::PermissionDenied,
            ),
            ("Session not found: ", true, RejectKind::Expired),
            ("Parent session was closed: ", true, RejectKind::Expired),
            (
                "Target peer ",
                message.ends_with("is not connected") && message.contains(&call.peer),
                RejectKind::PeerNotConnected,
            ),
        ];
        let text = message.trim_start_matches(['\'', '"']);
        let found = forms
            .into_iter()
            .find(|(begin, fits, _)| *fits && text.starts_with(begin));
        found.map(|(_, _, kind)| kind)
    }
}

/// A limit that passed without an answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call}: no {} within {:?}", match kind { TimeoutKind::Silence => "sign of life", TimeoutKind::Total => "answer" }, limit)]
pub struct Timeout {
    /// Which limit it was.
    pub kind: TimeoutKind,
    /// The limit.
    pub limit: Duration,
    /// Whether the request had left this program.
    pub sent: bool,
    /// The call that waited.
    pub call: CallSite,
}

/// The two limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeoutKind {
    /// Neither a result nor a heartbeat came for that long (protocol 02 §6).
    Silence,
    /// The caller's own limit for the whole call.
    Total,
}

/// The connection, or the peer behind it, is gone.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call}: {reason}{}", if *may_have_run { " (it may have run)" } else { "" })]
pub struct Disconnected {
    /// What happened.
    pub reason: String,
    /// Whether the request had been sent, so that the method may have run.
    pub may_have_run: bool,
    /// Whether it is only the peer that has left; the own connection stands.
    pub peer_only: bool,
    /// Whether the connection is being made again: a new call waits until it stands.
    pub recovering: bool,
    /// The call that was cut off.
    pub call: CallSite,
}

/// A value that cannot be put on the wire, or that is not what the caller's type says.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call}: {message}")]
pub struct CodecError {
    /// What does not fit, with the path inside the value.
    pub message: String,
    /// True if it is a received value that does not fit; the method has run then.
    pub received: bool,
    /// The call it happened in.
    pub call: CallSite,
}

/// Why no connection came about (protocol 01 §2 to §4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The server URL cannot be used.
    #[error("invalid server URL `{url}`: {reason}")]
    InvalidUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection to the server: refused, unknown host, TLS failure, not a Hypha server.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The socket URL that was tried.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The server did not accept the token.
    #[error("the server rejected the token: {0}")]
    TokenRejected(String),
    /// The workspace does not exist, is not accessible, or another one was granted.
    #[error("wrong workspace: {0}")]
    WrongWorkspace(String),
    /// A client of the same id is connected already.
    #[error("the client id is in use: {0}")]
    ClientIdInUse(String),
    /// The server or this program has too much to do to go on, or the server ended the connection during the
    /// handshake without a word.
    #[error("the server is not ready: {0}")]
    Busy(String),
    /// The server refused for another reason, in its words.
    #[error("the server refused the connection: {0}")]
    Refused(String),
    /// The server said something that is not the protocol.
    #[error("unexpected message during the handshake: {0}")]
    Protocol(String),
    /// No transport of this name, or it needs the feature `http`.
    #[error(
        "unknown transport `{0}`: it is `websocket`, or with the feature `http` also `http` or `auto`"
    )]
    UnknownTransport(String),
    /// The limit for connecting passed.
    #[error("not connected within {0:?}")]
    Timeout(Duration),
}

impl ConnectError {
    /// Whether the same attempt may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            ConnectError::Unreachable { .. } | ConnectError::Timeout(_) | ConnectError::Busy(_)
        )
    }

    /// Sorts the text of a handshake's `error` frame.
    pub(crate) fn from_server(message: String) -> Self {
        let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
        if says(&["Authentication error", "Token has been revoked"]) {
            ConnectError::TokenRejected(message)
        } else if says(&["Client already exists"]) {
            ConnectError::ClientIdInUse(message)
        } else if says(&["Server busy", "Authentication payload timeout"]) {
            ConnectError::Busy(message)
        } else if says(&[
            "Permission denied for workspace",
            "does not exist or is not accessible",
            "does not match the specified workspace",
            "workspace mismatch",
        ]) {
            ConnectError::WrongWorkspace(message)
        } else {
            ConnectError::Refused(message)
        }
    }
}

/// An error type of a contract: how it travels and how the caller gets it back.
///
/// [`#[derive(RemoteError)]`](derive@crate::RemoteError) writes it for enums and structs. Types that
/// only have a text (`String`, `anyhow::Error`, `std::io::Error`) lose their type on the way and
/// arrive as [`Error::Remote`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a service method",
    label = "callers could not be told of this error",
    note = "add `#[derive(hypha_rpc::RemoteError)]` to the type, or use `anyhow::Error` and lose the type"
)]
pub trait ServiceError: Sized {
    /// The error as it is sent.
    fn to_wire(self) -> WireError;
    /// The error as the caller's type, or `None` if it is not one of this type.
    fn from_wire(error: &WireError) -> Option<Self>;
}

impl ServiceError for Never {
    fn to_wire(self) -> WireError {
        match self {}
    }
    fn from_wire(_: &WireError) -> Option<Self> {
        None
    }
}

/// Passes on what another service said. To the caller it is an error of the method, whatever it was
/// here.
impl<E: fmt::Display> ServiceError for Error<E> {
    fn to_wire(self) -> WireError {
        match self {
            Error::Remote(error) => WireError {
                message: match &error.class {
                    Some(class) => format!("{class}: {}", error.message),
                    None => error.message,
                },
                trace: error.trace,
                name: None,
                data: error.data.map(Box::new),
            },
            other => WireError::new(other.to_string()),
        }
    }

    fn from_wire(_: &WireError) -> Option<Self> {
        None
    }
}

macro_rules! text_only {
    ($($ty:ty => |$e:ident| $text:expr, $trace:expr;)*) => {$(
        impl ServiceError for $ty {
            fn to_wire(self) -> WireError {
                let $e = self;
                WireError { message: $text, trace: $trace, name: None, data: None }
            }
            fn from_wire(_: &WireError) -> Option<Self> {
                None
            }
        }
    )*};
}

text_only! {
    String => |e| e, String::new();
    // The chain of causes is the trace.
    anyhow::Error => |e| e.to_string(), format!("{e:?}\n");
    Box<dyn std::error::Error + Send + Sync> => |e| e.to_string(), String::new();
    std::io::Error => |e| e.to_string(), String::new();
}

/// Turns what a peer gave to `reject` into the caller's error.
pub(crate) fn from_wire<E: ServiceError>(error: WireError, call: CallSite) -> Error<E> {
    let (class, message) = class::split(&error, &[]);
    let kind = match &error.name {
        Some(name) => RejectKind::from_wire_name(name),
        None => RejectKind::from_text(&message, &call),
    };
    // First, because a contract's error may take whatever fails, and the method did not run.
    if let Some(kind) = kind {
        return Error::Rejected(Rejection {
            kind,
            message,
            call,
        });
    }
    if let Some(own) = E::from_wire(&error) {
        return Error::Service(own);
    }
    Error::Remote(Box::new(RemoteError {
        message,
        class,
        name: error.name,
        trace: error.trace,
        data: error.data.map(|data| *data),
        call,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(message: &str, trace: &str) -> WireError {
        WireError {
            message: message.into(),
            trace: trace.into(),
            name: None,
            data: None,
        }
    }

    #[test]
    fn refusals_are_recognised_in_every_form() {
        let call = |method: &str| CallSite {
            method: method.into(),
            peer: "ws/c".into(),
        };
        let traceback = "Traceback (most recent call last):\n  File\nPermissionError: Permission denied \
                         for invoking protected method a/b:services.x.y, workspace mismatch: a != b\n";
        let cases = [
            (
                "Method expired or not found: a/b:services.x.y",
                "x.y",
                RejectKind::UnknownMethod,
            ),
            (
                "KeyError: 'Service not found: x'",
                "built-in.get_service",
                RejectKind::UnknownService,
            ),
            (
                "Target peer ws/c is not connected",
                "x.y",
                RejectKind::PeerNotConnected,
            ),
            (traceback, "x.y", RejectKind::PermissionDenied),
        ];
        for (text, method, kind) in cases {
            match from_wire::<Never>(wire(text, ""), call(method)) {
                Error::Rejected(r) => assert_eq!(r.kind, kind),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn exceptions_of_a_method_are_not_refusals() {
        for text in [
            "PermissionError: Permission denied for dataset",
            "KeyError: 'Service not found: x'",
            "Method expired or not found: a/b:services.other.method",
            "Target peer of the telescope is not connected",
        ] {
            let call = CallSite {
                method: "x.y".into(),
                peer: "ws/c".into(),
            };
            let error = from_wire::<Never>(wire(text, ""), call);
            assert!(
                matches!(error, Error::Remote(_)) && error.may_have_run(),
                "{error:?}"
            );
        }
    }
}
