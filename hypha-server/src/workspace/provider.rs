//! What the manager asks of clients: whether they live, and what their services are.

use std::time::Duration;

use hypha_rpc::error::report;
use hypha_rpc::workspace::ManagerError;
use hypha_rpc::{Client, Error, RemoteService, Value, args};

use super::Answer;
use crate::state::State;

/// The shortest and longest time that a caller may grant a provider.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Seconds from a caller, as a time that makes sense.
pub(super) fn seconds(given: Option<f64>, default: f64) -> Duration {
    let seconds = given
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(default);
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(SHORTEST)
        .clamp(SHORTEST, LONGEST)
}

fn manager(state: &State) -> Answer<Client> {
    state
        .manager()
        .ok_or_else(|| ManagerError::Runtime("the server is shutting down".into()))
}

/// Whether a client answers.
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

/// Fetch a service from its provider.
pub(super) async fn fetch(state: &State, id: &str, limit: Duration) -> Answer<RemoteService> {
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

/// Call a function of a service without arguments.
pub(super) async fn call(service: &RemoteService, function: &str) -> Answer<Value> {
    service
        .call::<Value>(function, args!())
        .await
        .map_err(|error| failure(&error, service.id()))
}

/// A failure on the way to a provider, in the manager's words.
fn failure(error: &Error, whom: &str) -> ManagerError {
    match error {
        Error::Timeout(_) => ManagerError::Timeout(format!("{whom} did not answer: {error}")),
        Error::Disconnected(_) => ManagerError::Connection(format!("{whom}: {}", report(error))),
        other => ManagerError::Other(report(other)),
    }
}
