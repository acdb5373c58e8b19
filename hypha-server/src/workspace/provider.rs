//! Calls that the manager makes to clients: pings, and the services that they offer.

use std::time::Duration;

use hypha_rpc::error::report;
use hypha_rpc::workspace::ManagerError;
use hypha_rpc::{Client, Error, RemoteService, Value, args};

use crate::state::State;

type Answer<T> = Result<T, ManagerError>;

fn manager(state: &State) -> Answer<Client> {
    state
        .clients
        .manager()
        .ok_or_else(|| ManagerError::Runtime("the server is shutting down".into()))
}

/// Checks that a client answers within `limit`.
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

/// Fetches a service from its provider.
pub(crate) async fn fetch(state: &State, id: &str, limit: Duration) -> Answer<RemoteService> {
    let client = manager(state)?;
    match tokio::time::timeout(limit, client.get_remote_service(id)).await {
        Ok(Ok(service)) => Ok(service),
        Ok(Err(error)) => Err(failure(&error, id)),
        Err(_) => Err(ManagerError::Timeout(format!(
            "Failed to get service {id}: its provider did not answer in {} s",
            limit.as_secs_f64()
        ))),
    }
}

/// Calls a function of a service without arguments.
pub(crate) async fn call(service: &RemoteService, function: &str) -> Answer<Value> {
    service
        .call::<Value>(function, args!())
        .await
        .map_err(|error| failure(&error, service.id()))
}

/// Returns the failure of a call to a provider as the manager reports it.
fn failure(error: &Error, whom: &str) -> ManagerError {
    match error {
        Error::Timeout(_) => ManagerError::Timeout(format!("{whom} did not answer: {error}")),
        Error::Disconnected(_) => ManagerError::Connection(format!("{whom}: {}", report(error))),
        other => ManagerError::Other(report(other)),
    }
}
