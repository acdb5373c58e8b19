//! The clients of the server itself: the workspace manager at its current and its former addresses,
//! and the clients with the server's other services.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use hypha_rpc::Client;
use hypha_rpc::workspace::ServiceInfo;
use parking_lot::Mutex;

/// The clients of the server itself. The clients hold the server's state, and the state holds the
/// clients, so [`shutdown`](Self::shutdown) must drop the clients at the end.
#[derive(Default)]
pub(crate) struct ServerClients {
    manager: Mutex<Option<Client>>,
    /// The record of the manager's service, which is not in the registry.
    manager_record: OnceLock<ServiceInfo>,
    /// Clients of the manager at the addresses that the manager had before a restart. Other clients
    /// may still use these addresses.
    former_managers: tokio::sync::Mutex<VecDeque<Client>>,
    services: Mutex<Vec<Client>>,
}

impl ServerClients {
    /// Returns the client of the manager. `None` before the manager has started, and after
    /// [`shutdown`](Self::shutdown).
    pub(crate) fn manager(&self) -> Option<Client> {
        self.manager.lock().clone()
    }

    /// Sets the client of the manager, and the record of the manager's service. The server calls
    /// this method once, at its start.
    pub(crate) fn set_manager(&self, client: Client, record: ServiceInfo) {
        // The result is ignored, because an error would mean that the record is already set.
        let _ = self.manager_record.set(record);
        *self.manager.lock() = Some(client);
    }

    /// Returns the record of the manager's service.
    pub(crate) fn manager_record(&self) -> Option<&ServiceInfo> {
        self.manager_record.get()
    }

    /// Locks the clients of the manager at former addresses, oldest first. Callers hold the lock
    /// while they connect another client, so that no address is connected twice.
    pub(crate) async fn former_managers(&self) -> tokio::sync::MutexGuard<'_, VecDeque<Client>> {
        self.former_managers.lock().await
    }

    /// Keeps a client that provides services of the server. Otherwise the client would be dropped
    /// and disconnect.
    pub(crate) fn keep_service(&self, client: Client) {
        self.services.lock().push(client);
    }

    /// Disconnects all clients of the server.
    pub(crate) async fn shutdown(&self) {
        self.services.lock().clear();
        self.former_managers.lock().await.clear();
        let manager = self.manager.lock().take();
        if let Some(manager) = manager {
            manager.shutdown(Duration::ZERO).await;
        }
    }
}
