//! What carries messages between this program and a server: one [`Link`], whatever is below it.

pub mod memory;
pub mod websocket;

use std::fmt;

use bytes::Bytes;
use futures_util::{Sink, Stream};

/// One unit of a link (protocol 01 §5, §6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One RPC message: the MAIN and perhaps the EXTRA segment.
    Binary(Bytes),
    /// A JSON control object.
    Text(String),
    /// The other side closes, with code and reason if it gave them.
    Close(Option<(u16, String)>),
}

/// A connection that carries frames in order in both directions.
///
/// The stream ends when the connection has ended; an error ends it too. Sending follows the rules
/// of [`Sink`]: a frame is on its way after a flush.
pub trait Link:
    Stream<Item = Result<Frame, LinkError>> + Sink<Frame, Error = LinkError> + Send + Unpin + 'static
{
}

impl<T> Link for T where
    T: Stream<Item = Result<Frame, LinkError>>
        + Sink<Frame, Error = LinkError>
        + Send
        + Unpin
        + 'static
{
}

/// A link of any kind.
pub type BoxLink = Box<dyn Link>;

/// The text of what broke a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError(pub String);

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LinkError {}
