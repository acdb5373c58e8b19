//! Stores the causes of errors. Clones of an error share the cause, because a lost link fails many
//! calls with clones of the same error.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

/// The cause of an error.
pub(crate) type Cause = Arc<dyn Error + Send + Sync>;

/// Converts a cause to the result of [`Error::source`].
pub(super) fn source_of(cause: &Option<Cause>) -> Option<&(dyn Error + 'static)> {
    cause
        .as_deref()
        .map(|cause| cause as &(dyn Error + 'static))
}

/// Returns the messages of an error and of all its causes in one line: `a: b: c`.
///
/// The message of an error in this crate does not contain the message of its cause. So a program
/// that logs only `{error}` does not log the causes. `anyhow::Error` prints the same chain with
/// `{:#}`. A cause is omitted if the previous message already ends with the message of the cause.
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
        // Errors of other crates often end with the message of their cause. Do not print that
        // message twice.
        if !text.ends_with(&next) {
            let _ = write!(text, ": {next}");
        }
        cause = error.source();
    }
    text
}

/// Returns the messages of the causes of an error with the message `message`. `cause` is the first
/// cause. A cause is omitted if its message is the same as the previous message, because a
/// transparent error has the message of its cause.
pub(super) fn texts(message: &str, cause: Option<&(dyn Error + 'static)>) -> Vec<String> {
    let chain = std::iter::successors(cause, |&cause| cause.source());
    let mut texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.dedup();
    if texts.first().is_some_and(|first| first == message) {
        texts.remove(0);
    }
    texts
}

/// Returns the messages of causes as a part of a trace.
pub(super) fn caused_by(causes: &[String]) -> String {
    let mut text = String::new();
    if !causes.is_empty() {
        text.push_str("Caused by:\n");
    }
    for (index, cause) in causes.iter().enumerate() {
        match causes.len() {
            1 => text.push_str("    "),
            _ => text.push_str(&format!("    {index}: ")),
        }
        text.push_str(cause);
        text.push('\n');
    }
    text
}

/// Cause of a [`RemoteError`](super::RemoteError): a message, and optionally another cause.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct RemoteCause {
    message: String,
    #[source]
    cause: Option<Box<RemoteCause>>,
}

impl RemoteCause {
    /// Converts messages to a chain of causes. The first message is the direct cause of the error.
    pub(super) fn chain(causes: Vec<String>) -> Option<Box<RemoteCause>> {
        let causes = causes.into_iter().rev();
        causes.fold(None, |cause, message| {
            Some(Box::new(RemoteCause { message, cause }))
        })
    }

    /// Returns the messages of a chain of causes, the direct cause first.
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
