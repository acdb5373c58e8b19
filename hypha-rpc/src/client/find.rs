//! Services of others: found through the manager (protocol 04 §7), or asked for at their owner (§8).

use std::{future::IntoFuture, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use super::{Client, refused};
use crate::{
    call::{Description, Proxy, Query, RemoteService},
    error::{CallSite, Error},
    workspace::GetServiceConfig,
};
use hypha_wire::{
    Args, Case, Map, PromiseKind, Value, absolute, convert_map_keys, give_key, split_address,
};

impl Client {
    /// Finds a service through the workspace manager: `service`, `client:service`,
    /// `workspace/service`, `workspace/client:service`, any of them with `@app`.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with
    /// [`RejectKind::UnknownService`](crate::error::RejectKind::UnknownService),
    /// `PermissionDenied`, or `Ambiguous` if several clients offer it and no `mode` says which.
    pub fn get_service(&self, id: impl Into<String>) -> ServiceLookup<RemoteService> {
        ServiceLookup {
            client: self.clone(),
            id: id.into(),
            config: GetServiceConfig::default(),
            key: None,
            output: PhantomData,
        }
    }

    /// Finds a service as [`get_service`](Self::get_service) does, with the methods of a contract.
    /// The contract is trusted: a method that the service lacks fails when it is called.
    pub fn proxy<P: Proxy>(&self, id: impl Into<String>) -> ServiceLookup<P> {
        let ServiceLookup {
            client, id, config, ..
        } = self.get_service(id);
        ServiceLookup {
            client,
            id,
            config,
            key: None,
            output: PhantomData,
        }
    }

    /// Asks a client directly for one of its services, without the manager: `client:service` or
    /// `workspace/client:service`; a name alone is a service of this client. An `@app` at the end must
    /// be the [`app_id`](crate::client::Settings::app_id) of this client, if it has one.
    ///
    /// # Errors
    ///
    /// Those of the other client: unknown service, permission denied; or that it is not there.
    /// [`Error::Invalid`] for another app.
    pub fn get_remote_service(&self, id: &str) -> DirectServiceLookup {
        DirectServiceLookup {
            client: self.clone(),
            id: id.to_owned(),
            timeout: None,
            case: None,
            key: None,
        }
    }
}

/// A service that is fetched from its owner when this is awaited.
#[must_use = "the service is fetched when this is awaited"]
#[derive(Debug)]
pub struct DirectServiceLookup {
    client: Client,
    id: String,
    timeout: Option<Duration>,
    case: Option<Case>,
    /// The owner's public key.
    key: Option<bytes::Bytes>,
}

impl DirectServiceLookup {
    /// How long the owner may take, in all; by default it is only limited how long it is silent.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Converts the keys of the service, as in
    /// [`ServiceLookup::case_conversion`](super::ServiceLookup::case_conversion).
    pub fn case_conversion(mut self, case: Case) -> Self {
        self.case = Some(case);
        self
    }

    /// Encrypts all calls of the service to the owner of this key, which the owner tells by other
    /// means: the server does not know it. Needs [`ConnectOptions::encryption`](super::ConnectOptions::encryption);
    /// fetching fails without it, for nothing may go out in the clear that was meant to be hidden.
    #[cfg(feature = "encryption")]
    pub fn encryption_public_key(mut self, key: crate::crypto::PublicKey) -> Self {
        self.key = Some(bytes::Bytes::copy_from_slice(key.as_bytes()));
        self
    }
}

impl IntoFuture for DirectServiceLookup {
    type Output = Result<RemoteService, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let DirectServiceLookup {
                client,
                id,
                timeout,
                case,
                key,
            } = self;
            client.may_encrypt(key.as_ref())?;
            let identity = client.core.identity();
            let (provider, service) = match id.split_once(':') {
                Some((provider, service)) => (provider, service),
                None => (identity.client_id.as_str(), id.as_str()),
            };
            let (service, app) = service.split_once('@').unwrap_or((service, "*"));
            let own_app = client.core.options.app_id.as_str();
            if app != "*" && own_app != "*" && app != own_app {
                return Err(Error::Invalid(format!(
                    "App id mismatch: {app} != {own_app}"
                )));
            }
            let provider = absolute(provider, &identity.workspace);
            let mut args = Args::new(1, 0);
            args.push("service_id", service);
            let mut members: Map = client
                .request(
                    &provider,
                    "services.built-in.get_service",
                    PromiseKind::Full,
                    args,
                    timeout,
                )
                .await?;
            if let Some(case) = case {
                members = convert_map_keys(members, case);
            }
            give_key(&mut members, key.as_ref());
            let workspace = split_address(&provider).map_or("", |(workspace, _)| workspace);
            let id = format!("{provider}:{service}");
            let description = Description::new(id, members, workspace);
            Ok(RemoteService::new(client.clone(), Arc::new(description)))
        })
    }
}

/// A service that is fetched when this is awaited.
#[must_use = "the service is fetched when this is awaited"]
#[derive(Debug)]
pub struct ServiceLookup<P> {
    client: Client,
    id: String,
    config: GetServiceConfig,
    /// The owner's public key.
    key: Option<bytes::Bytes>,
    output: PhantomData<fn() -> P>,
}

impl<P> ServiceLookup<P> {
    /// How to choose if several clients offer it (protocol 10 §6.6):
    ///
    /// | mode | chosen is |
    /// | --- | --- |
    /// | `exact` | the only one; several are an error. The default outside of the workspace `public` |
    /// | `random` | any of them. The default in `public` |
    /// | `first`, `last` | the first or last of the server's list, whose order says nothing |
    /// | `native:random` | any that is connected to the caller's own server, else any |
    /// | `min_load` | who sends the fewest messages in a minute; only clients whose id ends with `__rlb` are measured, others count as idle |
    /// | `select:min:<method>`, `select:max:<method>` | who answers the smallest or largest number when this method is called without arguments |
    /// | `select:first_success:<method>` | the first that answers at all |
    ///
    /// Who does not answer is not chosen; if nobody does, any of them is.
    pub fn mode(mut self, mode: impl Into<String>) -> Self {
        self.config.mode = Some(mode.into());
        self
    }

    /// How long each candidate of a `select` mode may take; 2 s by default. The original server knows
    /// this limit and does not apply it here.
    pub fn select_timeout(mut self, limit: Duration) -> Self {
        self.config.select_timeout = Some(limit.as_secs_f64());
        self
    }

    /// How long the manager waits for the provider's description; 10 s by default.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.config.timeout = Some(limit.as_secs_f64());
        self
    }

    /// Converts the keys of the service (protocol 04 §13), those of its config and other data
    /// included. A method is found by its new name and by the one that its owner gave it, so the
    /// methods of a contract are found whatever they are converted to.
    pub fn case_conversion(mut self, case: Case) -> Self {
        self.config.case_conversion = Some(case.as_str().to_owned());
        self
    }

    /// Encrypts all calls of the service to the owner of this key, which the owner tells by other
    /// means: the server does not know it. Needs [`ConnectOptions::encryption`](super::ConnectOptions::encryption);
    /// fetching fails without it, for nothing may go out in the clear that was meant to be hidden.
    #[cfg(feature = "encryption")]
    pub fn encryption_public_key(mut self, key: crate::crypto::PublicKey) -> Self {
        self.key = Some(bytes::Bytes::copy_from_slice(key.as_bytes()));
        self
    }
}

impl<P: Proxy + 'static> IntoFuture for ServiceLookup<P> {
    type Output = Result<P, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let ServiceLookup {
                client,
                id,
                config,
                key,
                ..
            } = self;
            client.may_encrypt(key.as_ref())?;
            let query = Query { id, config, key };
            let found = Arc::new(client.find(&query).await?);
            Ok(P::from_service(RemoteService::found(client, query, found)))
        })
    }
}

impl Client {
    /// Asks the workspace manager for a service.
    pub(crate) async fn find(&self, query: &Query) -> Result<Description, Error> {
        let Query { id, config, key } = query;
        let manager = self.manager().await?;
        let found = manager.get_service(id.clone(), Some(config.clone())).await;
        let mut members = match found.map_err(refused("get_service"))? {
            Value::Map(members) => members,
            other => {
                return Err(Error::Codec(crate::error::CodecError::unfit(
                    format!("the service is a {}, not a map", other.kind()),
                    CallSite {
                        method: format!("get_service({id})"),
                        ..<_>::default()
                    },
                )));
            }
        };
        give_key(&mut members, key.as_ref());
        let id = members.get("id").and_then(Value::as_str);
        let id = id.unwrap_or(&query.id).to_owned();
        let workspace = &self.core().identity().workspace;
        Ok(Description::new(id, members, workspace))
    }

    fn may_encrypt(&self, key: Option<&bytes::Bytes>) -> Result<(), Error> {
        if key.is_some() && !self.core.secrecy.is_on() {
            return Err(Error::Invalid(
                "a service with a public key needs a client with keys of its own: `.encryption(..)`".into(),
            ));
        }
        Ok(())
    }
}
