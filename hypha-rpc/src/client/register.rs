//! Registers services. Each service is first added to this client, and is then registered with the
//! workspace manager (`docs/protocol/04-services.md#s2`,
//! `docs/protocol/01-transport-websocket.md#s7`).

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{Client, refused};
use crate::backoff::Doubling;
use crate::error::{Error, RejectKind};
use crate::service::{Engine, GENERIC, IncomingCall, Next, Registered, Service, Visibility};
use crate::workspace::ServiceInfo;
use hypha_wire::keys::BUILT_IN;
use hypha_wire::{Args, Map, Value, WireError};

/// Maximum number of concurrent registrations after a reconnect. With one registration at a time, a
/// client with many services would wait for each round trip. Without a limit, the client would
/// flood the manager.
const MAX_CONCURRENT_REGISTRATIONS: usize = 8;

/// Pauses after which a rejected registration is repeated. After a reconnect, the server may reject
/// a registration because the server has not yet removed the service of the previous connection.
const RETRY_PAUSES: Doubling = Doubling {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(1),
};
const RETRIES: u32 = 3;

/// Registration of a service. When this value is awaited, the service is registered, and the future
/// returns the record of the service. The field `id` of the record is the full id.
///
/// Returned by [`Client::register_service`].
///
/// # Errors
///
/// * Fails with [`Error::Invalid`] if the id is not valid, if another service of this client has
///   the same id, or if the protocol does not allow a setting or the name of a member.
/// * Fails with [`Error::Rejected`] if the manager rejects the service, for example because this
///   client has no write permission.
/// * Fails with [`Error::Disconnected`] if the connection is closed.
/// * Fails with the other errors of a [`Call`](crate::Call).
///
/// After an error, the service is not registered. If the service would have replaced another
/// service, the other service is restored.
///
/// # Cancellation
///
/// Dropping the future removes the service from this client, and restores the service that it would
/// have replaced. The manager may already have registered the service.
#[must_use = "the service is registered when this is awaited"]
#[derive(Debug)]
pub struct RegisterService {
    client: Client,
    service: Service,
    overwrite: bool,
    notify: bool,
    check_type: bool,
}

impl RegisterService {
    pub(crate) fn new(client: Client, service: Service) -> Self {
        RegisterService {
            client,
            service,
            overwrite: false,
            notify: true,
            check_type: false,
        }
    }

    /// Sets the service id. Default: the id of the contract.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.service = self.service.with_id(id);
        self
    }

    /// Runs `interceptor` around each call of a method of the service, like [`Service::intercept`].
    ///
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # use hypha_rpc::prelude::*;
    /// # use hypha_rpc::service::{IncomingCall, Next};
    /// # async fn example(client: Client, service: Service) -> Result<(), Error> {
    /// client
    ///     .register_service(service)
    ///     .intercept(|call: IncomingCall, next: Next| async move {
    ///         let (method, begin) = (call.label().to_owned(), Instant::now());
    ///         let outcome = next.run(call).await;
    ///         println!("{method}: {:?}, ok: {}", begin.elapsed(), outcome.is_ok());
    ///         outcome
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn intercept<F, Fut>(mut self, interceptor: F) -> Self
    where
        F: Fn(IncomingCall, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Args, WireError>> + Send + 'static,
    {
        self.service = self.service.intercept(interceptor);
        self
    }

    /// Sets the display name. Default: the name of the contract, or the id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.service = self.service.name(name);
        self
    }

    /// Sets the description, at most 1024 characters. Default: the description of the contract.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.service = self.service.description(text);
        self
    }

    /// Sets the documentation, a string of any length. Default: the documentation of the contract.
    pub fn docs(mut self, text: impl Into<String>) -> Self {
        self.service = self.service.docs(text);
        self
    }

    /// Sets the service type. Default: `generic`.
    pub fn service_type(mut self, name: impl Into<String>) -> Self {
        self.service = self.service.service_type(name);
        self
    }

    /// Sets the visibility. Default: [`Visibility::Protected`].
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.service = self.service.visibility(visibility);
        self
    }

    /// Sets further workspaces from which clients can use a protected service. Default: none.
    pub fn authorized_workspaces<I, S>(mut self, workspaces: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.service = self.service.authorized_workspaces(workspaces);
        self
    }

    /// Sets the public keys of the callers that the service accepts, like
    /// [`Service::trusted_keys`]. Default: the service accepts all callers.
    pub fn trusted_keys<I, S>(mut self, keys: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        self.service = self.service.trusted_keys(keys);
        self
    }

    /// Allows only one service with this id in the workspace, like [`Service::singleton`]. Default:
    /// `false`.
    pub fn singleton(mut self, singleton: bool) -> Self {
        self.service = self.service.singleton(singleton);
        self
    }

    /// Sends the stack frames of errors to callers, like [`Service::send_backtraces`]. Default:
    /// `false`.
    pub fn send_backtraces(mut self, send: bool) -> Self {
        self.service = self.service.send_backtraces(send);
        self
    }

    /// Sets the flags of the service. The flags are arbitrary strings in the record of the service.
    /// Default: none.
    pub fn flags<I, S>(mut self, flags: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.service = self.service.flags(flags);
        self
    }

    /// Replaces the service of this client that has the same id, if there is one. The running calls
    /// of the replaced service continue. Default: `false`.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Registers the service with the workspace manager. Default: `true`.
    ///
    /// With `false`, other clients can get the service only with [`Client::get_remote_service`].
    pub fn notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }

    /// Checks the service against the definition of its [`service_type`](Self::service_type) before
    /// the registration. Default: `false`.
    ///
    /// The service must have all members of the definition. The methods of the service get the
    /// descriptions and parameters from the definition. Awaiting fails with [`Error::Invalid`] if a
    /// member does not match. If the manager does not know the type, awaiting fails with the error
    /// of the manager.
    ///
    /// Create a definition with [`Service::schema`] and store it with
    /// [`register_service_type`](crate::workspace::WorkspaceManagerProxy::register_service_type).
    pub fn check_type(mut self, check: bool) -> Self {
        self.check_type = check;
        self
    }
}

impl IntoFuture for RegisterService {
    type Output = Result<ServiceInfo, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let RegisterService {
                client,
                mut service,
                overwrite,
                notify,
                check_type,
            } = self;
            let engine = client.engine();
            if check_type {
                client.check_type(&mut service).await?;
            }
            let id = service.id().to_owned();
            let info = service.info(&engine.identity(), &engine.settings.app_id);
            let former = engine.handlers.get(&id);
            let service = Registered::new(service)?.listed(notify);
            // Add the service to this client before registering it with the manager. Otherwise, the
            // first call may arrive before the service exists.
            let services = &engine.handlers;
            services.add(service, overwrite, &engine.lifecycle)?;
            if notify && engine.identity().manager_id.is_some() {
                let mut unconfirmed = Unconfirmed {
                    engine,
                    id,
                    former,
                    confirmed: false,
                };
                client.register_record(info.clone()).await?;
                unconfirmed.confirmed = true;
            }
            Ok(info)
        })
    }
}

/// Undoes a registration if the manager rejects the service, or if the future of the registration
/// is dropped. If the new service had replaced another service, restores the other service.
struct Unconfirmed<'a> {
    engine: &'a Engine,
    id: String,
    former: Option<Arc<Registered>>,
    confirmed: bool,
}

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        if !self.confirmed {
            let services = &self.engine.handlers;
            services.restore(&self.id, self.former.take(), &self.engine.lifecycle);
        }
    }
}

impl Client {
    /// Makes the first calls on a new link. Registers the built-in service. Subscribes to the event
    /// that reports disconnected clients. After this event, calls to the disconnected client fail
    /// immediately.
    pub(super) async fn announce(&self) -> Result<(), Error> {
        let engine = self.engine();
        if let Some(built_in) = engine.handlers.get(BUILT_IN) {
            let info = built_in
                .service
                .info(&engine.identity(), &engine.settings.app_id);
            match self.register_record(info).await {
                // A client with only read permission may call services, but cannot register
                // services.
                Err(Error::Rejected(refusal)) if refusal.kind == RejectKind::PermissionDenied => {
                    tracing::info!("this client cannot offer services: {refusal}");
                }
                outcome => outcome?,
            }
        }
        if let Err(error) = self.subscribe(["client_disconnected"]).await {
            tracing::warn!("disconnected clients will not be noticed: {error}");
        }
        Ok(())
    }

    /// Registers all services with the manager on a new link, and repeats rejected registrations.
    /// If the manager rejects a service each time, the service stays unregistered until the next
    /// reconnect, and this client emits the event `services_registration_failed`.
    pub(super) async fn register_again(&self) -> Result<(), Error> {
        let engine = self.engine();
        let services = engine.handlers.listed();
        let total = services.len();
        let offered = stream::iter(services).map(|service| async move {
            let info = service
                .service
                .info(&engine.identity(), &engine.settings.app_id);
            let mut retries = 0..RETRIES;
            loop {
                match self.register_record(info.clone()).await {
                    Ok(()) => return Ok(None),
                    Err(e @ (Error::Disconnected(_) | Error::Timeout(_))) => return Err(e),
                    Err(refusal) => match retries.next() {
                        Some(retry) => RETRY_PAUSES.wait(retry).await,
                        None => return Ok(Some((info.id.clone(), refusal))),
                    },
                }
            }
        });
        let mut offered = offered.buffered(MAX_CONCURRENT_REGISTRATIONS);
        let mut failed = Vec::new();
        while let Some(outcome) = offered.next().await {
            if let Some((id, refusal)) = outcome? {
                tracing::error!("{id} could not be registered again: {refusal}");
                failed.push((id, refusal.to_string()));
            }
        }
        let count = |n: usize| Value::from(n as u64);
        let ids = failed.iter().map(|(id, _)| Value::from(id.as_str()));
        engine.events.tell(
            "services_registered",
            Map::from_iter([
                ("total".into(), count(total)),
                ("registered".into(), count(total - failed.len())),
                ("failed".into(), Value::List(ids.collect())),
            ]),
        );
        if let Some((id, refusal)) = failed.first() {
            let text = format!("{id}: {refusal}");
            engine.events.tell(
                "services_registration_failed",
                Map::from_iter([
                    ("error".into(), text.into()),
                    ("total_services".into(), count(total)),
                ]),
            );
        }
        Ok(())
    }

    /// Subscribes to the events again on a new link. A failure is only logged, because the services
    /// of this client do not need the subscriptions.
    pub(super) async fn subscribe_again(&self) {
        let kinds = self.shared.subscriptions.lock().clone();
        if let Err(error) = self.subscribe(kinds).await {
            tracing::warn!("could not subscribe to events again: {error}");
        }
    }

    /// Checks a service against the definition of its type, and copies the descriptions of the
    /// methods from the definition.
    async fn check_type(&self, service: &mut Service) -> Result<(), Error> {
        let kind = service.service_type.clone();
        if kind == GENERIC {
            return Err(Error::Invalid(format!(
                "service `{}`: `check_type` needs a `service_type`",
                service.id()
            )));
        }
        let manager = self.manager().await?;
        let info = manager.get_service_type(kind.clone()).await;
        let info = info.map_err(refused("get_service_type"))?;
        service.conform(&info.definition).map_err(|why| {
            Error::Invalid(format!("Failed to get service type {kind}, error: {why}"))
        })
    }

    /// Registers the record of a service with the manager.
    async fn register_record(&self, info: ServiceInfo) -> Result<(), Error> {
        let manager = self.manager().await?;
        manager
            .register_service(info, None)
            .await
            .map_err(refused("register_service"))
    }
}
