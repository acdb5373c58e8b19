//! Stores the services of this client, and finds a service by the path of an incoming call.
//! `services.rs` protects the registry with a lock.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::permission::{self, Caller, Denied};
use super::{Handler, Member, Service};
use crate::error::Error;
use hypha_wire::keys::{BUILT_IN, RESERVED};
use hypha_wire::{self as wire};

/// One registered service. Replacing a service replaces this whole entry, so a running call
/// continues with the service that was registered when the call started.
pub(crate) struct Registered {
    pub(crate) service: Service,
    methods: HashMap<String, Handler>,
    /// Absolute address of the only client that may call the service. `None` unless the service is
    /// an interface.
    pub(crate) only_caller: Option<String>,
    /// Whether this client registers the service with the workspace manager, initially and after
    /// each reconnect.
    pub(crate) listed: bool,
}

impl Registered {
    /// Creates the entry of a service that the library itself defines. Does not check the id and
    /// the options of the service.
    pub(crate) fn trusted(service: Service) -> Self {
        let methods = methods(&service);
        Registered {
            service,
            methods,
            only_caller: None,
            listed: false,
        }
    }

    /// Creates the entry of an interface that was sent to the client `caller`. Only that client may
    /// call the interface.
    pub(crate) fn interface(service: Service, caller: &str) -> Self {
        Registered {
            only_caller: Some(caller.to_owned()),
            ..Self::trusted(service)
        }
    }

    /// Creates the entry of a service that the program defines. Fails if the service violates a
    /// rule of the protocol.
    pub(crate) fn new(service: Service) -> Result<Self, Error> {
        if !wire::valid_service_name(&service.id) {
            return Err(Error::Invalid(format!(
                "service id `{}`: it must not be empty nor contain `.`, `:`, `@` or `/`",
                service.id
            )));
        }
        if !service.authorized_workspaces.is_empty()
            && service.visibility != super::Visibility::Protected
        {
            return Err(Error::Invalid(format!(
                "service `{}`: authorized_workspaces can only be set when visibility is \
                 'protected', got visibility='{}'",
                service.id,
                service.visibility.as_str()
            )));
        }
        if service.id == BUILT_IN {
            return Err(Error::Invalid(
                "the service `built-in` is the client's own".into(),
            ));
        }
        permission::check_keys(&service.trusted_keys)
            .map_err(|why| Error::Invalid(format!("service `{}`: {why}", service.id)))?;
        let set_elsewhere = [
            "visibility",
            "require_context",
            "run_in_executor",
            "workspace",
            "authorized_workspaces",
            "trusted_keys",
            "singleton",
            "flags",
            "created_by",
            "service_embedding",
        ];
        if let Some(key) = set_elsewhere
            .iter()
            .find(|key| service.config.contains_key(**key))
        {
            return Err(Error::Invalid(format!(
                "service `{}`: the config key `{key}` has its own setter, or only servers write it",
                service.id
            )));
        }
        let paths = || service.members.keys().map(String::as_str);
        let inside =
            |outer: &str, path: &str| path.strip_prefix(outer).is_some_and(|r| r.starts_with('.'));
        let wrong = paths().find(|path| {
            RESERVED.contains(&path.split('.').next().unwrap_or_default())
                || path.split('.').any(str::is_empty)
                || paths().any(|other| inside(path, other))
        });
        if let Some(path) = wrong {
            return Err(Error::Invalid(format!(
                "service `{}`: `{path}` cannot be a member: it is a key of every service, has \
                 an empty part, or has other members below it",
                service.id
            )));
        }
        Ok(Self::trusted(service))
    }

    /// Sets whether this client registers the service with the workspace manager.
    pub(crate) fn listed(self, listed: bool) -> Self {
        Registered { listed, ..self }
    }

    /// Checks that a caller may fetch and call the service. See [`permission::may_use`].
    pub(super) fn check(
        &self,
        caller: Caller<'_>,
        own: &str,
        manager: Option<&str>,
    ) -> Result<(), Denied<'_>> {
        permission::may_use(
            &self.service,
            self.only_caller.as_deref(),
            caller,
            own,
            manager,
        )
    }

    /// Returns the handler of the method at `path`. The handler checks the key of the caller.
    pub(crate) fn method(&self, path: &str) -> Option<&Handler> {
        self.methods.get(path)
    }

    /// Returns whether the member at `path` is a value or a map of members, rather than a method.
    pub(crate) fn has_value(&self, path: &str) -> bool {
        // The empty path denotes the service itself, which is a map.
        path.is_empty()
            || self.service.members.iter().any(|(member, kind)| {
                (member == path && matches!(kind, Member::Value(_)))
                    || member
                        .strip_prefix(path)
                        .is_some_and(|rest| rest.starts_with('.'))
            })
    }
}

fn methods(service: &Service) -> HashMap<String, Handler> {
    let handlers = service
        .members
        .iter()
        .filter_map(|(path, member)| match member {
            Member::Method(method) => {
                Some((path.clone(), permission::guard(service, &method.handler)))
            }
            Member::Value(_) => None,
        });
    handlers.collect()
}

/// All services of one client. The services are in the order in which the program registered them.
/// After a reconnect, the client registers them again in the same order.
#[derive(Default)]
pub(crate) struct Registry {
    services: IndexMap<String, Arc<Registered>>,
}

impl Registry {
    pub(crate) fn add(&mut self, service: Registered, overwrite: bool) -> Result<(), Error> {
        let id = service.service.id.clone();
        if !overwrite && self.services.contains_key(&id) {
            return Err(Error::Invalid(format!(
                "Service already exists: {id}, please specify a different id (not {id}) or \
                 overwrite"
            )));
        }
        self.services.insert(id, Arc::new(service));
        Ok(())
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Registered>> {
        self.services.get(id).cloned()
    }

    /// Returns the services that are registered with the workspace manager, in the order of
    /// registration.
    pub(crate) fn listed(&self) -> Vec<Arc<Registered>> {
        let listed = self.services.values().filter(|s| s.listed);
        listed.cloned().collect()
    }

    /// Removes and returns the interfaces of a caller that has disconnected.
    pub(crate) fn remove_interfaces_of(&mut self, caller: &str) -> Vec<Arc<Registered>> {
        let theirs = |s: &Registered| s.only_caller.as_deref() == Some(caller);
        let (gone, kept) = std::mem::take(&mut self.services)
            .into_iter()
            .partition(|(_, service)| theirs(service));
        self.services = kept;
        let gone: IndexMap<String, Arc<Registered>> = gone;
        gone.into_values().collect()
    }

    /// Returns the number of interfaces that peers hold.
    pub(crate) fn interfaces(&self) -> usize {
        let services = self.services.values();
        services.filter(|s| s.only_caller.is_some()).count()
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Arc<Registered>> {
        self.services.shift_remove(id)
    }

    /// Puts `former` in place of the service `id`, or removes the service if `former` is `None`.
    /// Returns the service that was registered under `id`.
    pub(crate) fn restore(
        &mut self,
        id: &str,
        former: Option<Arc<Registered>>,
    ) -> Option<Arc<Registered>> {
        match former {
            Some(former) => self.services.insert(id.to_owned(), former),
            None => self.services.shift_remove(id),
        }
    }
}
