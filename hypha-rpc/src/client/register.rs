//! Registration: a service becomes known locally, then to the workspace manager (protocol 04 §2,
//! 01 §7).

use std::{future::IntoFuture, pin::Pin, sync::Arc};

use super::{Client, Core, refused};
use crate::{
    error::{Error, RejectKind},
    service::{Registered, Service, Visibility},
    workspace::ServiceInfo,
};

/// A service that is registered when this is awaited; resolves to its info, `id` being the full id.
/// Dropping the future takes the registration back here; the manager may have it already.
///
/// # Errors
///
/// [`Error::Invalid`] for an id that cannot be used or is taken by another service of this client;
/// otherwise the manager's refusal, and then the service is not offered.
#[must_use = "the service is registered when this is awaited"]
#[derive(Debug)]
pub struct Register {
    client: Client,
    service: Service,
    overwrite: bool,
    notify: bool,
}

impl Register {
    pub(crate) fn new(client: Client, service: Service) -> Self {
        Register {
            client,
            service,
            overwrite: false,
            notify: true,
        }
    }

    /// Replaces the id of the contract.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.service = self.service.with_id(id);
        self
    }

    /// Replaces the name shown to people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.service = self.service.name(name);
        self
    }

    /// Replaces the description, at most 1024 characters.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.service = self.service.description(text);
        self
    }

    /// Who may use it; its own workspace by default.
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.service = self.service.visibility(visibility);
        self
    }

    /// Other workspaces that may use a protected service.
    pub fn authorized_workspaces<I, S>(mut self, workspaces: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.service = self.service.authorized_workspaces(workspaces);
        self
    }

    /// Replaces a service of this client that has the same id; calls in progress end as they began.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Whether the manager is told. A service it does not know can be reached by
    /// [`Client::get_remote_service`] only.
    pub fn notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }
}

impl IntoFuture for Register {
    type Output = Result<ServiceInfo, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Register {
                client,
                service,
                overwrite,
                notify,
            } = self;
            let core = client.core();
            let id = service.id().to_owned();
            let info = service.info(&core.identity(), &core.options.app_id);
            let former = core.service(&id);
            core.add_service(Registered::new(service)?, overwrite)?;
            if notify && core.identity().manager_id.is_some() {
                let mut unconfirmed = Unconfirmed {
                    core,
                    id,
                    former,
                    confirmed: false,
                };
                client.tell_manager(info.clone()).await?;
                unconfirmed.confirmed = true;
            }
            Ok(info)
        })
    }
}

/// What the manager does not know must not be half there: takes a registration back that it refused,
/// or that nobody waits for any more.
struct Unconfirmed<'a> {
    core: &'a Core,
    id: String,
    former: Option<Arc<Registered>>,
    confirmed: bool,
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        if !self.confirmed {
            self.core.restore_service(&self.id, self.former.take());
        }
    }
}

impl Client {
    /// The first calls of a connection: the built-in service is registered, and the event that tells
    /// of clients that leave is subscribed.
    pub(super) async fn announce(&self) -> Result<(), Error> {
        let core = self.core();
        if let Some(built_in) = core.service("built-in") {
            let info = built_in
                .service
                .info(&core.identity(), &core.options.app_id);
            match self.tell_manager(info).await {
                // Who may only read can call, but not offer.
                Err(Error::Rejected(refusal)) if refusal.kind == RejectKind::PermissionDenied => {
                    tracing::info!("this client cannot offer services: {refusal}");
                }
                outcome => outcome?,
            }
        }
        if let Err(error) = self.subscribe(["client_disconnected"]).await {
            tracing::warn!("clients that leave will not be noticed: {error}");
        }
        Ok(())
    }

    async fn tell_manager(&self, info: ServiceInfo) -> Result<(), Error> {
        let manager = self.manager().await?;
        manager
            .register_service(info, None)
            .await
            .map_err(refused("register_service"))
    }
}
