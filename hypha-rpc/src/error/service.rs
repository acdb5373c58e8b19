//! Types that methods may fail with.

use std::{convert::Infallible, fmt};

use hypha_wire::WireError;

use super::Error;

/// A type that service methods may fail with.
///
/// Derive it with [`#[derive(RemoteError)]`](derive@crate::RemoteError): callers in Rust get the
/// value back as [`Error::Service`]. Types that only have a text (`String`, `anyhow::Error`,
/// `std::io::Error`) lose their type on the way and arrive as [`Error::Remote`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a service method",
    label = "callers could not be told of this error",
    note = "add `#[derive(hypha_rpc::RemoteError)]` to the type, or use `anyhow::Error` and lose the type"
)]
pub trait ServiceError: Sized {
    /// Returns the error as it is sent.
    fn to_wire(self) -> WireError;
    /// Returns a received error as this type, or `None` if it is another error.
    fn from_wire(error: &WireError) -> Option<Self>;
}

impl ServiceError for Infallible {
    fn to_wire(self) -> WireError {
        match self {}
    }
    fn from_wire(_: &WireError) -> Option<Self> {
        None
    }
}

/// Passes on the error of another service. The caller receives every kind as [`Error::Remote`]. The
/// text includes the causes, since only the text is sent.
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
            other => WireError::new(other.text_with_causes()),
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
