//! Failures and their exit codes.

use std::io;
use std::process::ExitCode;

use anyhow::Error;
use hypha_rpc::error::{ConnectErrorKind, ErrorKind, RejectKind};
use hypha_rpc::workspace::ManagerError;

/// The table of exit codes in `hypha --help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    any other failure
  2    wrong arguments
  3    the server cannot be reached, or the connection was lost
  4    there is no such service, method, client or workspace
  5    permission denied, or the token was refused
  6    the called method failed
  7    timeout
  130  interrupted";

/// A failure of this program that has its own exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments do not match the method, or contradict each other.
    Usage(String),
    /// The named object does not exist.
    NotFound(String),
    /// The user may not do this, or the token does not permit it.
    Denied(String),
    /// A timeout of this program expired.
    Late(String),
    /// The user interrupted the command.
    Interrupted,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Usage(text)
            | Failure::NotFound(text)
            | Failure::Denied(text)
            | Failure::Late(text) => f.write_str(text),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Failure {}

/// Returns whether the reader of the output has closed the pipe, as in `hypha services | head`.
pub(crate) fn is_broken_pipe(error: &Error) -> bool {
    let is_pipe = |cause: &(dyn std::error::Error + 'static)| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.downcast_ref::<hypha_rpc::Error>().is_none() && error.chain().any(is_pipe)
}

/// Returns the exit code of an error.
pub(crate) fn exit_code(error: &Error) -> ExitCode {
    ExitCode::from(code(error))
}

fn code(error: &Error) -> u8 {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return match failure {
            Failure::Usage(_) => 2,
            Failure::NotFound(_) => 4,
            Failure::Denied(_) => 5,
            Failure::Late(_) => 7,
            Failure::Interrupted => 130,
        };
    }
    if let Some(error) = error.downcast_ref::<hypha_rpc::Error>() {
        return of_call(error);
    }
    match error.downcast_ref::<hypha_rpc::Error<ManagerError>>() {
        Some(hypha_rpc::Error::Service(error)) => of_manager(error),
        Some(error) => of_call(error),
        None => 1,
    }
}

fn of_manager(error: &ManagerError) -> u8 {
    match error {
        ManagerError::Key(_) => 4,
        ManagerError::Permission(_) => 5,
        ManagerError::Timeout(_) => 7,
        _ => 6,
    }
}

fn of_call<E>(error: &hypha_rpc::Error<E>) -> u8 {
    if let hypha_rpc::Error::Rejected(refusal) = error {
        return match refusal.kind {
            RejectKind::UnknownService
            | RejectKind::UnknownMethod
            | RejectKind::PeerNotConnected => 4,
            RejectKind::PermissionDenied => 5,
            _ => 6,
        };
    }
    if let hypha_rpc::Error::Connect(error) = error {
        return match error.kind() {
            ConnectErrorKind::TokenRejected | ConnectErrorKind::WrongWorkspace => 5,
            _ => 3,
        };
    }
    match error.kind() {
        ErrorKind::Disconnected => 3,
        ErrorKind::Service | ErrorKind::Remote => 6,
        ErrorKind::Timeout => 7,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        let usage = Error::new(Failure::Usage("a".into())).context("b");
        assert_eq!(code(&usage), 2);
        let manager = hypha_rpc::Error::Service(ManagerError::Permission("no".into()));
        assert_eq!(code(&Error::new(manager)), 5);
        let invalid: hypha_rpc::Error = hypha_rpc::Error::Invalid("no".into());
        assert_eq!(code(&Error::new(invalid).context("cannot")), 1);
        let pipe = Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("cannot write");
        assert!(is_broken_pipe(&pipe));
    }
}
