//! Finds a service through the workspace manager (`docs/protocol/04-services.md#s7`), or requests
//! the service directly from the client that provides it (`#s8`).

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Client, refused};
use crate::call::{Description, Find, Proxy, RemoteService};
use crate::error::{CallSite, Error};
use crate::workspace::{GetServiceConfig, SelectionMode};
use hypha_wire::keys::GET_SERVICE;
use hypha_wire::{
    Args, Case, Map, PromiseKind, Value, absolute_address, convert_map_keys, set_encryption_key,
    split_address,
};

impl Client {
    /// Finds a service through the workspace manager.
    ///
    /// `id` has the form `service`, `client:service`, `workspace/service` or
    /// `workspace/client:service`. Each form may end with `@app`. The request is sent when the
    /// returned lookup is awaited.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{Client, workspace::SelectionMode};
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// let segmenter = client
    ///     .get_service("segmenter")
    ///     .mode(SelectionMode::MinLoad)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// * Fails with [`Error::Rejected`] if the request is rejected. The kind is
    ///   [`UnknownService`](crate::error::RejectKind::UnknownService) if there is no such service.
    ///   The kind is [`PermissionDenied`](crate::error::RejectKind::PermissionDenied) if this
    ///   client may not use the service. The kind is
    ///   [`Ambiguous`](crate::error::RejectKind::Ambiguous) if several clients provide the service
    ///   and no [mode](ServiceLookup::mode) is set. The kind is
    ///   [`PeerNotConnected`](crate::error::RejectKind::PeerNotConnected) if the provider does not
    ///   respond to the workspace manager.
    /// * Fails with the other errors of a [`Call`](crate::Call).
    pub fn get_service(&self, id: impl Into<String>) -> ServiceLookup<RemoteService> {
        ServiceLookup {
            client: self.clone(),
            id: id.into(),
            config: GetServiceConfig::default(),
            key: None,
            output: PhantomData,
        }
    }

    /// Finds a service like [`get_service`](Self::get_service), and returns the typed proxy of a
    /// contract.
    ///
    /// Does not check whether the service has all methods of the contract. If a method is missing,
    /// calls of that method fail.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`get_service`](Self::get_service).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::prelude::*;
    /// #[hypha_service(id = "calculator")]
    /// trait Calculator {
    ///     async fn add(&self, a: f64, b: f64) -> f64;
    /// }
    ///
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// let calculator: CalculatorProxy = client.proxy("calculator").await?;
    /// let sum = calculator.add(1.0, 2.0).await?;
    /// # Ok(())
    /// # }
    /// ```
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

    /// Fetches a service directly from its provider, without the workspace manager.
    ///
    /// `id` has the form `client:service` or `workspace/client:service`. An id without a client
    /// refers to a service of this client. `id` may end with `@app`. If this client has an
    /// [`app_id`](super::Settings::app_id), `app` must be the same id.
    ///
    /// # Errors
    ///
    /// * Fails with [`Error::Rejected`] if the provider rejects the request or is not connected.
    /// * Fails with [`Error::Invalid`] if `id` names another app than this client's app.
    /// * Fails with the other errors of a [`Call`](crate::Call).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::Client;
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// let segmenter = client.get_remote_service("worker-1:segmenter").await?;
    /// # Ok(())
    /// # }
    /// ```
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

/// Request for a service of one client. The request is sent when this value is awaited.
///
/// Returned by [`Client::get_remote_service`].
///
/// # Cancellation
///
/// Dropping the future abandons the request.
#[must_use = "the service is fetched when this is awaited"]
#[derive(Debug)]
pub struct DirectServiceLookup {
    client: Client,
    id: String,
    timeout: Option<Duration>,
    case: Option<Case>,
    /// Public key of the service's owner.
    key: Option<bytes::Bytes>,
}

impl DirectServiceLookup {
    /// Sets the total timeout. Default: none; only the
    /// [idle timeout](super::Settings::idle_timeout) (30 s) applies.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Converts the case of the keys of the service, like
    /// [`ServiceLookup::case_conversion`](super::ServiceLookup::case_conversion). Default: no
    /// conversion.
    pub fn case_conversion(mut self, case: Case) -> Self {
        self.case = Some(case);
        self
    }

    /// Encrypts all calls of the service with the public key of its owner. Default: no encryption.
    ///
    /// The server does not know the public key, so this program must get the key from the owner of
    /// the service in another way. Awaiting fails with [`Error::Invalid`] if this client has no
    /// [keys of its own](super::ConnectOptions::encryption).
    #[cfg(feature = "encryption")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
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
            let identity = client.engine().identity();
            let (provider, service) = match id.split_once(':') {
                Some((provider, service)) => (provider, service),
                None => (identity.client_id.as_str(), id.as_str()),
            };
            let (service, app) = service.split_once('@').unwrap_or((service, "*"));
            let own_app = client.engine().settings.app_id.as_str();
            if app != "*" && own_app != "*" && app != own_app {
                return Err(Error::Invalid(format!(
                    "App id mismatch: {app} != {own_app}"
                )));
            }
            let provider = absolute_address(provider, &identity.workspace);
            let mut args = Args::new(1, 0);
            args.push("service_id", service);
            let mut members: Map = client
                .request(&provider, GET_SERVICE, PromiseKind::Full, args, timeout)
                .await?;
            if let Some(case) = case {
                members = convert_map_keys(members, case);
            }
            set_encryption_key(&mut members, key.as_ref());
            let workspace = split_address(&provider).map_or("", |(workspace, _)| workspace);
            let id = format!("{provider}:{service}");
            let description = Description::new(id, members, workspace);
            Ok(RemoteService::new(
                client.connection.clone(),
                Arc::new(description),
            ))
        })
    }
}

/// Lookup of a service through the workspace manager. The request is sent when the lookup is
/// awaited.
///
/// Returned by [`Client::get_service`] and [`Client::proxy`].
///
/// # Cancellation
///
/// Dropping the future abandons the lookup.
#[must_use = "the service is fetched when this is awaited"]
#[derive(Debug)]
pub struct ServiceLookup<P> {
    client: Client,
    id: String,
    config: GetServiceConfig,
    /// Public key of the service's owner.
    key: Option<bytes::Bytes>,
    output: PhantomData<fn() -> P>,
}

impl<P> ServiceLookup<P> {
    /// Sets the selection mode: the rule by which the manager chooses among several providers of
    /// the service. Default: [`SelectionMode::Random`] in the workspace `public`,
    /// [`SelectionMode::Exact`] in all other workspaces.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{workspace::SelectionMode, Client};
    /// # async fn example(client: Client) -> Result<(), hypha_rpc::Error> {
    /// // Select the candidate that reports the shortest queue.
    /// let mode = SelectionMode::SelectMin("queue_length".into());
    /// let segmenter = client.get_service("segmenter").mode(mode).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn mode(mut self, mode: SelectionMode) -> Self {
        self.config.selection.mode = Some(mode);
        self
    }

    /// Sets the timeout of the call to each provider. Some modes, such as
    /// [`SelectionMode::SelectMin`], call a method of each provider to choose among them. Default:
    /// 2 s.
    ///
    /// The Python server ignores this value.
    pub fn select_timeout(mut self, limit: Duration) -> Self {
        self.config.selection.select_timeout = Some(limit.as_secs_f64());
        self
    }

    /// Sets the maximum time that the manager waits for the response of the provider. Default: 10
    /// s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.config.timeout = Some(limit.as_secs_f64());
        self
    }

    /// Converts the case of the keys of the service. The conversion includes the keys of the
    /// methods, of the configuration and of other data (`docs/protocol/04-services.md#s13`).
    /// Default: no conversion.
    ///
    /// Each method can be called by its converted name and by its original name. So a proxy works
    /// with every conversion.
    pub fn case_conversion(mut self, case: Case) -> Self {
        self.config.case_conversion = Some(case.into());
        self
    }

    /// Encrypts all calls of the service with the public key of its owner. Default: no encryption.
    ///
    /// The server does not know the public key, so this program must get the key from the owner of
    /// the service in another way. Awaiting fails with [`Error::Invalid`] if this client has no
    /// [keys of its own](super::ConnectOptions::encryption).
    #[cfg(feature = "encryption")]
    #[cfg_attr(docsrs, doc(cfg(feature = "encryption")))]
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
            let direct = match (&client.shared.upgrade, found.provider()) {
                (Some(upgrade), Some(provider)) => Some(upgrade(&client, provider).await),
                _ => None,
            };
            let Client { connection, shared } = client;
            let find: Find = Box::new(move |connection| {
                let (shared, query) = (Arc::clone(&shared), query.clone());
                let client = Client { connection, shared };
                Box::pin(async move { client.find(&query).await })
            });
            Ok(P::from_service(RemoteService::found(
                connection, find, direct, found,
            )))
        })
    }
}

/// Arguments of a `get_service` request.
#[derive(Clone, Debug)]
struct Query {
    id: String,
    config: GetServiceConfig,
    /// Public key of the service's owner.
    key: Option<bytes::Bytes>,
}

impl Client {
    /// Fetches a service through the workspace manager, without opening a direct connection.
    #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
    pub(super) async fn fetch(&self, id: &str) -> Result<RemoteService, Error> {
        let query = Query {
            id: id.to_owned(),
            config: GetServiceConfig::default(),
            key: None,
        };
        let found = Arc::new(self.find(&query).await?);
        Ok(RemoteService::new(self.connection.clone(), found))
    }

    /// Fetches a service through the workspace manager.
    async fn find(&self, query: &Query) -> Result<Description, Error> {
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
        set_encryption_key(&mut members, key.as_ref());
        let id = members.get("id").and_then(Value::as_str);
        let id = id.unwrap_or(&query.id).to_owned();
        let workspace = &self.engine().identity().workspace;
        Ok(Description::new(id, members, workspace))
    }

    /// Fails if `key` is given and this client has no keys. Without this check, calls would be sent
    /// unencrypted although the program requested encryption.
    fn may_encrypt(&self, key: Option<&bytes::Bytes>) -> Result<(), Error> {
        if key.is_some() && !self.engine().secrecy.is_on() {
            return Err(Error::Invalid(
                "a service with a public key needs a client with keys of its own: `.encryption(..)`".into(),
            ));
        }
        Ok(())
    }
}
