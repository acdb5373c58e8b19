//! The registry of a single server, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::ready;
use hypha_rpc::workspace::{ServiceInfo, Visibility, WorkspaceInfo};
use hypha_wire as wire;
use parking_lot::RwLock;

use super::{Answer, Registry, RegistryError, ServiceKey, ServicePattern};
use crate::auth;
use crate::store::{Store, StoreError};

/// Services by workspace and full id.
type Services = HashMap<String, BTreeMap<String, StoredService>>;

/// A stored service: its record as msgpack, a fraction of the size of its values, and the fields
/// that patterns match.
struct StoredService {
    app_id: Option<String>,
    visibility: Visibility,
    kind: Option<String>,
    record: Bytes,
}

impl StoredService {
    fn new(service: &ServiceInfo) -> Result<StoredService, RegistryError> {
        let record = wire::to_vec(service).map_err(|error| RegistryError(error.to_string()))?;
        Ok(StoredService {
            app_id: service.app_id.clone(),
            visibility: service.config.visibility,
            kind: service.kind.clone(),
            record: record.into_boxed_slice().into(),
        })
    }

    fn service(&self) -> Result<Arc<ServiceInfo>, RegistryError> {
        service(&self.record)
    }
}

fn service(record: &Bytes) -> Result<Arc<ServiceInfo>, RegistryError> {
    match wire::from_slice(record) {
        Ok(service) => Ok(Arc::new(service)),
        Err(error) => Err(RegistryError(error.to_string())),
    }
}

#[derive(Default)]
pub(crate) struct MemoryRegistry {
    services: RwLock<Services>,
    workspaces: RwLock<BTreeMap<String, WorkspaceInfo>>,
    store: Store,
}

/// Returns the part of a workspace that is stored. Workspaces of anonymous users are not: no user
/// can come back to them.
fn lasting(workspace: &WorkspaceInfo) -> Option<WorkspaceInfo> {
    let anonymous = workspace.id.starts_with("ws-user-anonymouz-");
    (!anonymous).then(|| WorkspaceInfo {
        // The status describes this run only.
        status: None,
        ..workspace.clone()
    })
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        RegistryError(error.to_string())
    }
}

fn done<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    ready(Ok(value)).boxed()
}

fn workspace_of(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

impl MemoryRegistry {
    /// Creates the registry of a server that had these `workspaces` when it ended, and stores its
    /// own in `store`.
    pub(crate) fn new(store: Store, workspaces: Vec<WorkspaceInfo>) -> MemoryRegistry {
        let workspaces = workspaces.into_iter();
        let by_id = workspaces.map(|workspace| (workspace.id.clone(), workspace));
        MemoryRegistry {
            services: RwLock::default(),
            workspaces: RwLock::new(by_id.collect()),
            store,
        }
    }

    /// Removes the services of a workspace that `chosen` selects by full id.
    fn take(
        &self,
        workspace: &str,
        chosen: impl Fn(&str) -> bool,
    ) -> Result<Vec<Arc<ServiceInfo>>, RegistryError> {
        let mut services = self.services.write();
        let Some(inside) = services.get_mut(workspace) else {
            return Ok(Vec::new());
        };
        let ids: Vec<String> = inside.keys().filter(|id| chosen(id)).cloned().collect();
        let taken: Vec<StoredService> = ids.iter().filter_map(|id| inside.remove(id)).collect();
        if inside.is_empty() {
            services.remove(workspace);
        }
        drop(services);
        taken.iter().map(StoredService::service).collect()
    }
}

impl Registry for MemoryRegistry {
    // The owner is ignored: the records of a client are removed in the same step that frees its
    // address, so no other connection can have registered any in between.
    fn put_service<'a>(
        &'a self,
        service: ServiceInfo,
        _owner: &'a str,
    ) -> Answer<'a, Option<Arc<ServiceInfo>>> {
        let stored = StoredService::new(&service).and_then(|stored| {
            let mut services = self.services.write();
            let workspace = workspace_of(&service.id).to_owned();
            let former = services
                .entry(workspace)
                .or_default()
                .insert(service.id, stored);
            drop(services);
            former.as_ref().map(StoredService::service).transpose()
        });
        ready(stored).boxed()
    }

    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Arc<ServiceInfo>>> {
        let taken = self.take(workspace_of(id), |other| other == id);
        ready(taken.map(|mut taken| taken.pop())).boxed()
    }

    fn find_services<'a>(
        &'a self,
        pattern: &'a ServicePattern,
    ) -> Answer<'a, Vec<Arc<ServiceInfo>>> {
        let services = self.services.read();
        let mut found = Vec::new();
        let mut search = |inside: &BTreeMap<String, StoredService>| {
            for (id, stored) in inside {
                let (app_id, kind) = (stored.app_id.as_deref(), stored.kind.as_deref());
                if pattern.matches(id, app_id, stored.visibility, kind) {
                    found.push(stored.record.clone());
                }
            }
        };
        if pattern.workspace.contains('*') {
            services.values().for_each(&mut search);
        } else if let Some(inside) = services.get(&pattern.workspace) {
            search(inside);
        }
        drop(services);
        ready(found.iter().map(service).collect()).boxed()
    }

    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        _owner: Option<&'a str>,
    ) -> Answer<'a, Vec<Arc<ServiceInfo>>> {
        let taken = self.take(workspace, |id| {
            ServiceKey::parse(id).is_some_and(|key| key.client == client_id)
        });
        ready(taken).boxed()
    }

    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>> {
        done(self.workspaces.read().get(id).cloned())
    }

    fn workspaces(&self) -> Answer<'_, Vec<WorkspaceInfo>> {
        done(self.workspaces.read().values().cloned().collect())
    }

    fn put_workspace(&self, workspace: WorkspaceInfo) -> Answer<'_, ()> {
        let lasts = lasting(&workspace);
        let former = self
            .workspaces
            .write()
            .insert(workspace.id.clone(), workspace);
        let changed = lasts.filter(|new| former.as_ref().and_then(lasting).as_ref() != Some(new));
        async move {
            match changed {
                Some(changed) => Ok(self.store.put_workspace(changed).await?),
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn remove_workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>> {
        self.services.write().remove(id);
        let removed = self.workspaces.write().remove(id);
        async move {
            if removed.as_ref().and_then(lasting).is_some() {
                self.store.remove_workspace(id).await?;
            }
            Ok(removed)
        }
        .boxed()
    }

    fn revoke<'a>(&'a self, token: &'a str, left: u64) -> Answer<'a, ()> {
        let (hash, now) = (auth::token_hash(token), auth::now());
        async move {
            Ok(self
                .store
                .revoke(hash, now.saturating_add(left), now)
                .await?)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(id: &str) -> ServiceInfo {
        ServiceInfo {
            id: id.into(),
            kind: Some("generic".into()),
            ..ServiceInfo::default()
        }
    }

    fn ids(found: Vec<Arc<ServiceInfo>>) -> Vec<String> {
        found.iter().map(|service| service.id.clone()).collect()
    }

    #[tokio::test]
    async fn a_record_is_as_it_was_and_takes_no_more_than_its_text() {
        let text = r#"{"id":"w/a:x","name":"X","type":"t","app_id":"app","description":null,
            "docs":"What it does","config":{"visibility":"unlisted","require_context":["a"],"extra":
            {"big":18446744073709551615,"small":-9223372036854775808,"half":0.5,"list":[1,"\u00fc",null,true,{}]}},
            "service_schema":{"add":{"type":"function","function":{"name":"add","parameters":{}}}},
            "service":{"add":{"_rtype":"method","_rmethod":"services.x.add","_rpromise":true}}}"#;
        let service: ServiceInfo = serde_json::from_str(text).unwrap();
        let registry = MemoryRegistry::default();
        registry.put_service(service.clone(), "a").await.unwrap();
        let stored: usize = registry.services.read()["w"]
            .values()
            .map(|stored| stored.record.len())
            .sum();
        assert!(stored < text.len(), "{stored} bytes");

        let unlisted = ServicePattern {
            visibility: "unlisted".into(),
            app_id: "app".into(),
            kind: "t".into(),
            ..ServicePattern::default()
        };
        let found = registry.find_services(&unlisted).await.unwrap();
        assert_eq!(*found[0], service);
        let replaced = registry.put_service(service.clone(), "a").await.unwrap();
        assert_eq!(*replaced.unwrap(), service);
        assert_eq!(
            *registry.remove_client("w", "a", None).await.unwrap()[0],
            service
        );
    }

    #[tokio::test]
    async fn services_are_found_replaced_and_leave_with_their_client() {
        let registry = MemoryRegistry::default();
        for id in ["w/a:x", "w/a:y", "w/ab:x", "v/a:x"] {
            assert!(
                registry
                    .put_service(service(id), "a")
                    .await
                    .unwrap()
                    .is_none()
            );
        }
        assert!(
            registry
                .put_service(service("w/a:x"), "a")
                .await
                .unwrap()
                .is_some()
        );

        let named = ServicePattern {
            workspace: "w".into(),
            name: "x".into(),
            ..ServicePattern::default()
        };
        assert_eq!(
            ids(registry.find_services(&named).await.unwrap()),
            ["w/a:x", "w/ab:x"]
        );
        let all = ServicePattern {
            name: "x".into(),
            ..ServicePattern::default()
        };
        assert_eq!(registry.find_services(&all).await.unwrap().len(), 3);

        assert_eq!(
            registry.remove_client("w", "a", None).await.unwrap().len(),
            2
        );
        assert_eq!(
            ids(registry.find_services(&named).await.unwrap()),
            ["w/ab:x"]
        );
        assert!(registry.remove_service("w/ab:x").await.unwrap().is_some());
        assert!(registry.remove_service("w/ab:x").await.unwrap().is_none());
        assert!(
            registry.services.read().get("w").is_none(),
            "empty workspaces take no room"
        );
    }
}
