//! The clients of the server itself: the workspace manager, under its present and its former
//! addresses, and the services that the server offers.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use hypha_rpc::Client;
use hypha_rpc::workspace::ServiceInfo;
use parking_lot::Mutex;

/// Holds the clients of the server itself. They hold the server's state in turn, so
/// [`shutdown`](Self::shutdown) must take them out at the end.
#[derive(Default)]
pub(crate) struct ServerClients {
    manager: Mutex<Option<Client>>,
    /// The record of the manager's service, which is in no registry.
    manager_record: OnceLock<ServiceInfo>,
    former_managers: tokio::sync::Mutex<VecDeque<Client>>,
    services: Mutex<Vec<Client>>,
}

impl ServerClients {
    /// Returns the connection of the manager, from before the first client until the server ends.
    pub(crate) fn manager(&self) -> Option<Client> {
        self.manager.lock().clone()
    }

    /// Sets the connection of the manager, and the record of its service.
    pub(crate) fn set_manager(&self, client: Client, record: ServiceInfo) {
        let _ = self.manager_record.set(record);
        *self.manager.lock() = Some(client);
    }

    /// Returns the record of the manager's service.
    pub(crate) fn manager_record(&self) -> Option<&ServiceInfo> {
        self.manager_record.get()
    }

    /// Locks the connections of the manager under former addresses, oldest first. Held while one is
    /// added, so that an address is not added twice.
    pub(crate) async fn former_managers(&self) -> tokio::sync::MutexGuard<'_, VecDeque<Client>> {
        self.former_managers.lock().await
    }

    /// Keeps the connection of a service that the server offers.
    pub(crate) fn keep_service(&self, client: Client) {
        self.services.lock().push(client);
    }

    /// Disconnects all of them.
    pub(crate) async fn shutdown(&self) {
        self.services.lock().clear();
        self.former_managers.lock().await.clear();
        let manager = self.manager.lock().take();
        if let Some(manager) = manager {
            manager.shutdown(Duration::ZERO).await;
        }
    }
}
