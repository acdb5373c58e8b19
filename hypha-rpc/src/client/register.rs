//! Registers services: locally, then with the workspace manager (`docs/protocol/04-services.md#s2`,
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

/// Maximum number of services that are registered concurrently after a reconnect. More than one, so
/// that a client with many services does not wait for each round trip; few, so that it does not
/// flood the manager.
const OFFERED_AT_ONCE: usize = 8;

/// Pauses before a rejected registration is retried after a reconnect: the server may still be
/// removing the entry of the previous connection.
const REFUSED_PAUSES: Doubling = Doubling {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(1),
};
const REFUSED_RETRIES: u32 = 3;

/// Registration of a service. Awaiting it registers the service and returns its record, whose `id`
/// is the full id.
///
/// Returned by [`Client::register_service`].
///
/// # Errors
///
/// * [`Error::Invalid`] for an id that is not valid or is used by another service of this client,
///   and for settings or member names that the protocol does not allow.
/// * [`Error::Rejected`] if the manager refuses, for example because write permission is missing.
/// * [`Error::Disconnected`] if the connection is closed, and the other errors of a
///   [`Call`](crate::Call).
///
/// After an error the service is not registered. A service that it replaced is restored.
///
/// # Cancellation
///
/// Dropping the future removes the service from this client. The manager may already have
/// registered it.
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

    /// Sets the service id. Default: that of the contract.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.service = self.service.with_id(id);
        self
    }

    /// Runs `interceptor` around each method of the service, as [`Service::intercept`] does.
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

    /// Sets the display name. Default: that of the contract, or the id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.service = self.service.name(name);
        self
    }

    /// Sets the description, at most 1024 characters. Default: that of the contract.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.service = self.service.description(text);
        self
    }

    /// Sets the documentation, a string of any length. Default: that of the contract.
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

    /// Sets additional workspaces that can use a protected service. Default: none.
    pub fn authorized_workspaces<I, S>(mut self, workspaces: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.service = self.service.authorized_workspaces(workspaces);
        self
    }

    /// Sets the public keys of the accepted callers, like [`Service::trusted_keys`]. Default: all
    /// callers.
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

    /// Sets the flags of the service: arbitrary strings stored in its record. Default: none.
    pub fn flags<I, S>(mut self, flags: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.service = self.service.flags(flags);
        self
    }

    /// Replaces a service of this client that has the same id. Calls in progress still end in the
    /// replaced service. Default: `false`.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Registers the service with the workspace manager. Default: `true`.
    ///
    /// Without that, only [`Client::get_remote_service`] finds the service.
    pub fn notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }

    /// Compares the service with its [`service_type`](Self::service_type) before it is registered.
    /// Default: `false`.
    ///
    /// Its members must be those of the definition, and its methods get the descriptions and
    /// parameters of the definition. Awaiting fails with [`Error::Invalid`] if a member does not
    /// fit, and with the error of the manager if it does not know the type.
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
            // Add the service locally before the manager knows it, so that the first caller finds
            // it.
            let services = &engine.handlers;
            services.add(service, overwrite, &engine.lifecycle)?;
            if notify && engine.identity().manager_id.is_some() {
                let mut unconfirmed = Unconfirmed {
                    engine,
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

/// Undoes a registration that the manager refused or whose future was dropped.
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
    /// Makes the first calls on a link: registers the built-in service, and subscribes to the event
    /// that reports disconnected clients, so that calls to these fail immediately.
    pub(super) async fn announce(&self) -> Result<(), Error> {
        let engine = self.engine();
        if let Some(built_in) = engine.handlers.get(BUILT_IN) {
            let info = built_in
                .service
                .info(&engine.identity(), &engine.settings.app_id);
            match self.tell_manager(info).await {
                // A client with only read permission may call services, but cannot register any.
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

    /// Registers all services with the manager of a new link. Retries rejected registrations. After
    /// the last attempt, skips the service until the next reconnect and emits
    /// `services_registration_failed`.
    pub(super) async fn offer_again(&self) -> Result<(), Error> {
        let engine = self.engine();
        let services = engine.handlers.listed();
        let total = services.len();
        let offered = stream::iter(services).map(|service| async move {
            let info = service
                .service
                .info(&engine.identity(), &engine.settings.app_id);
            let mut retries = 0..REFUSED_RETRIES;
            loop {
                match self.tell_manager(info.clone()).await {
                    Ok(()) => return Ok(None),
                    Err(e @ (Error::Disconnected(_) | Error::Timeout(_))) => return Err(e),
                    Err(refusal) => match retries.next() {
                        Some(retry) => REFUSED_PAUSES.wait(retry).await,
                        None => return Ok(Some((info.id.clone(), refusal))),
                    },
                }
            }
        });
        let mut offered = offered.buffered(OFFERED_AT_ONCE);
        let mut failed = Vec::new();
        while let Some(outcome) = offered.next().await {
            if let Some((id, refusal)) = outcome? {
                tracing::error!("{id} is not offered any more: {refusal}");
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

    /// Subscribes again on a new link. A failure is only logged, because the services of this
    /// client work without subscriptions.
    pub(super) async fn subscribe_again(&self) {
        let kinds = self.shared.subscriptions.lock().clone();
        if let Err(error) = self.subscribe(kinds).await {
            tracing::warn!("some events will not be noticed any more: {error}");
        }
    }

    /// Compares the service with the definition of its type, and copies the descriptions of the
    /// methods.
    async fn check_type(&self, service: &mut Service) -> Result<(), Error> {
        let kind = service.service_type.clone();
        if kind == GENERIC {
            return Err(Error::Invalid(format!(
                "service `{}`: it has no service type that it could be checked against",
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
    async fn tell_manager(&self, info: ServiceInfo) -> Result<(), Error> {
        let manager = self.manager().await?;
        manager
            .register_service(info, None)
            .await
            .map_err(refused("register_service"))
    }
}
