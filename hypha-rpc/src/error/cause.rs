//! Causes of errors. One lost link fails many calls, and each gets a clone of the error, so the
//! clones share the cause.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

/// The cause of an error.
pub(crate) type Cause = Arc<dyn Error + Send + Sync>;

/// A cause as [`Error::source`] returns it.
pub(super) fn source_of(cause: &Option<Cause>) -> Option<&(dyn Error + 'static)> {
    cause
        .as_deref()
        .map(|cause| cause as &(dyn Error + 'static))
}

/// Returns the text of an error and of all its causes in one line: `a: b: c`.
///
/// The errors of this crate do not repeat the text of their cause in their own, so a program that
/// logs `{error}` alone loses detail. `anyhow::Error` prints the same chain with `{:#}`. A cause
/// with which the text already ends is not repeated.
///
/// ```
/// use std::io;
///
/// let error = hypha_rpc::transport::LinkError::new("the link broke")
///     .with_source(io::Error::from(io::ErrorKind::ConnectionReset));
/// assert_eq!(error.to_string(), "the link broke");
/// assert_eq!(
///     hypha_rpc::error::report(&error),
///     "the link broke: connection reset"
/// );
/// ```
pub fn report(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Errors of other crates often end with the text of their cause, which would stand twice.
        if !text.ends_with(&next) {
            let _ = write!(text, ": {next}");
        }
        cause = error.source();
    }
    text
}

/// The cause of a [`RemoteError`](super::RemoteError): a text, and its own cause.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct RemoteCause {
    message: String,
    #[source]
    cause: Option<Box<RemoteCause>>,
}

impl RemoteCause {
    /// Links these texts to a chain. The first text is the direct cause of the error.
    pub(super) fn chain(causes: Vec<String>) -> Option<Box<RemoteCause>> {
        let causes = causes.into_iter().rev();
        causes.fold(None, |cause, message| {
            Some(Box::new(RemoteCause { message, cause }))
        })
    }

    /// Returns the texts of a chain, the direct cause first.
    pub(super) fn texts(cause: Option<Box<RemoteCause>>) -> Vec<String> {
        let mut texts = Vec::new();
        let mut next = cause;
        while let Some(cause) = next {
            texts.push(cause.message);
            next = cause.cause;
        }
        texts
    }
}
