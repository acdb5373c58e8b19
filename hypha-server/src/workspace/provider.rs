//! Makes the manager's calls to clients: pings, and calls to the services of clients.

use std::time::Duration;

use hypha_rpc::error::{Lost, RejectKind, report};
use hypha_rpc::workspace::ManagerError;
use hypha_rpc::{Client, Error, RemoteService, Value, args};

use crate::state::State;

type Answer<T> = Result<T, ManagerError>;

/// Returns the client of the manager.
fn manager(state: &State) -> Answer<Client> {
    state
        .clients
        .manager()
        .ok_or_else(|| ManagerError::Runtime("the server is shutting down".into()))
}

/// Checks that a client responds to a ping within `limit`.
///
/// # Errors
///
/// Fails immediately if the client is not connected to any server. Fails after `limit` if the
/// client does not respond.
pub(crate) async fn ping(
    state: &State,
    workspace: &str,
    client_id: &str,
    limit: Duration,
) -> Answer<()> {
    let address = format!("{workspace}/{client_id}");
    manager(state)?
        .ping(&address, limit)
        .await
        .map_err(|error| failure(&error, &address))
}

/// The error of a failed fetch of a service.
pub(crate) struct FetchError {
    error: ManagerError,
    /// Whether the provider is disconnected, so that its record in the registry is stale.
    pub(crate) is_absent: bool,
}

impl From<ManagerError> for FetchError {
    fn from(error: ManagerError) -> Self {
        FetchError {
            error,
            is_absent: false,
        }
    }
}

impl From<FetchError> for ManagerError {
    fn from(failed: FetchError) -> Self {
        failed.error
    }
}

/// Fetches the service with the full id `id` from its provider, within `limit`.
///
/// # Errors
///
/// Fails if the provider is not connected, does not respond, or has no such service.
pub(crate) async fn fetch(
    state: &State,
    id: &str,
    limit: Duration,
) -> Result<RemoteService, FetchError> {
    let client = manager(state)?;
    let asked = async {
        match client.get_remote_service(id).await {
            // The client may have registered the service under its full id, so the full id is tried
            // as the name.
            Err(error) if is_unknown(&error) => {
                let address = id.split(':').next().unwrap_or_default();
                let named = client.get_remote_service(&format!("{address}:{id}")).await;
                named.map_err(|_| error)
            }
            found => found,
        }
    };
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(service)) => Ok(service),
        Ok(Err(error)) => Err(FetchError {
            is_absent: match &error {
                Error::Rejected(rejection) => rejection.kind == RejectKind::PeerNotConnected,
                Error::Disconnected(disconnected) => disconnected.lost == Lost::Peer,
                _ => false,
            },
            error: failure(&error, id),
        }),
        Err(_) => {
            let text = format!(
                "Failed to get service {id}: its provider did not respond in {} s",
                limit.as_secs_f64()
            );
            Err(ManagerError::Timeout(text).into())
        }
    }
}

/// Returns whether a provider has reported that it has no such service. A Python provider reports
/// this only in the error text.
fn is_unknown(error: &Error) -> bool {
    match error {
        Error::Rejected(rejection) => rejection.kind == RejectKind::UnknownService,
        Error::Remote(remote) => remote.message.contains("Service not found"),
        _ => false,
    }
}

/// Calls a method of a service. Passes no arguments.
pub(crate) async fn call(service: &RemoteService, function: &str) -> Answer<Value> {
    service
        .call::<Value>(function, args!())
        .await
        .map_err(|error| failure(&error, service.id()))
}

/// Converts the error of a call into the manager's error. `whom` is the client or service that was
/// called.
fn failure(error: &Error, whom: &str) -> ManagerError {
    match error {
        Error::Timeout(_) => ManagerError::Timeout(format!("{whom} did not respond: {error}")),
        Error::Disconnected(_) => ManagerError::Connection(format!("{whom}: {}", report(error))),
        other => ManagerError::Other(report(other)),
    }
}
