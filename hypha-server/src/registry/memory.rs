//! Keeps the records of a single server in memory, and stores workspaces and revoked tokens on
//! disk.
//!
//! There are two locks, for services and for workspaces. No function holds both locks at the same
//! time, or holds a lock across an await.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::ready;
use hypha_rpc::workspace::{Visibility, WorkspaceInfo};
use hypha_wire::keys::BUILT_IN;
use parking_lot::RwLock;

#[cfg(feature = "accounts")]
use super::accounts::{AccountChange, Accounts};
use super::tasks::Tasks;
use super::{Answer, Record, RecordLimits, Registry, RegistryError, ServiceKey, ServicePattern};
use crate::auth;
use crate::memory::Charge;
use crate::store::{Store, StoreError};

/// Records by full id.
type Records = HashMap<Arc<str>, Arc<Record>>;

/// A group of records with the same value of one property, and the sums over the group for the
/// limits.
#[derive(Default)]
struct Group {
    records: Records,
    /// Sum of the sizes of the encoded records.
    bytes: usize,
    /// Number of records in the group that are singletons.
    singletons: usize,
}

impl Group {
    fn insert(&mut self, record: &Arc<Record>) {
        self.bytes += record.len();
        self.singletons += usize::from(record.singleton);
        self.records.insert(record.id.clone(), record.clone());
    }

    fn remove(&mut self, record: &Record) {
        if self.records.remove(&record.id).is_some() {
            self.bytes -= record.len();
            self.singletons -= usize::from(record.singleton);
        }
    }
}

/// Groups of records by the value of one property. Empty groups are removed, so that clients cannot
/// fill the index with names.
type Index = HashMap<Box<str>, Group>;

/// Adds a record to the group of a value. A record without a value is in no group.
fn insert(index: &mut Index, value: Option<&str>, record: &Arc<Record>) {
    if let Some(value) = value {
        match index.get_mut(value) {
            // `entry` is not used, because it would copy the value even if the group exists.
            Some(group) => group.insert(record),
            None => index.entry(value.into()).or_default().insert(record),
        }
    }
}

/// Removes a record from the group of a value. Removes the group if it becomes empty.
fn remove(index: &mut Index, value: Option<&str>, record: &Record) {
    if let Some(value) = value
        && let Some(group) = index.get_mut(value)
    {
        group.remove(record);
        if group.records.is_empty() {
            index.remove(value);
        }
    }
}

/// The records of one workspace. Each record is in several groups, so that a search scans only the
/// smallest group that contains all of its results.
#[derive(Default)]
struct Workspace {
    all: Group,
    /// Records with the visibility `public`, for searches of all workspaces.
    public: Group,
    clients: Index,
    names: Index,
    apps: Index,
    kinds: Index,
}

impl Workspace {
    fn insert(&mut self, record: &Arc<Record>, key: ServiceKey<'_>) {
        self.all.insert(record);
        if record.visibility == Visibility::Public {
            self.public.insert(record);
        }
        insert(&mut self.clients, Some(key.client), record);
        insert(&mut self.names, Some(key.name), record);
        insert(&mut self.apps, record.app_id.as_deref(), record);
        insert(&mut self.kinds, record.kind.as_deref(), record);
    }

    fn remove(&mut self, record: &Record) {
        self.all.remove(record);
        self.public.remove(record);
        if let Some(key) = record.key() {
            remove(&mut self.clients, Some(key.client), record);
            remove(&mut self.names, Some(key.name), record);
        }
        remove(&mut self.apps, record.app_id.as_deref(), record);
        remove(&mut self.kinds, record.kind.as_deref(), record);
    }

    /// Appends the matching records to `found`. Searches only the smallest group that contains all
    /// of them. `workspace` is the id of this workspace.
    fn search(&self, workspace: &str, pattern: &ServicePattern, found: &mut Vec<Arc<Record>>) {
        let is_literal = |part: &str| !part.contains('*');
        if is_literal(&pattern.client) && is_literal(&pattern.name) {
            let id = format!("{workspace}/{}:{}", pattern.client, pattern.name);
            let record = self.all.records.get(id.as_str());
            found.extend(record.filter(|record| pattern.matches(record)).cloned());
            return;
        }
        let mut smallest = &self.all;
        if pattern.visibility == Visibility::Public.as_str() {
            smallest = &self.public;
        }
        for (index, value) in [
            (&self.clients, &pattern.client),
            (&self.names, &pattern.name),
            (&self.apps, &pattern.app_id),
            (&self.kinds, &pattern.kind),
        ] {
            if is_literal(value) {
                match index.get(value.as_str()) {
                    Some(group) if group.records.len() < smallest.records.len() => smallest = group,
                    Some(_) => {}
                    // No record has the value, so no record matches.
                    None => return,
                }
            }
        }
        let records = smallest.records.values();
        found.extend(records.filter(|record| pattern.matches(record)).cloned());
    }
}

/// The records of all services.
#[derive(Default)]
struct Services {
    /// Workspaces by id. A workspace without records has no entry.
    workspaces: HashMap<Box<str>, Workspace>,
    /// Sum of the sizes of all encoded records.
    bytes: usize,
}

impl Services {
    /// Checks that a record may be stored. If the record would replace another record, the replaced
    /// record is not counted.
    ///
    /// # Errors
    ///
    /// Fails if the client has too many services, if a limit on bytes would be exceeded, or if a
    /// singleton would share its name with another service.
    fn check(
        &self,
        record: &Record,
        key: ServiceKey<'_>,
        limits: &RecordLimits,
    ) -> Result<(), RegistryError> {
        let inside = self.workspaces.get(key.workspace);
        let former = inside.and_then(|inside| inside.all.records.get(&record.id));
        let client = inside.and_then(|inside| inside.clients.get(key.client));
        // The built-in service does not count, because nobody can reach a client without this
        // service.
        if let Some(client) = client.filter(|_| key.name != BUILT_IN && former.is_none()) {
            let built_in = format!("{}/{}:{BUILT_IN}", key.workspace, key.client);
            let introduced = client.records.contains_key(built_in.as_str());
            if client.records.len() - usize::from(introduced) >= limits.per_client {
                return Err(RegistryError::TooMany {
                    client: record.address().to_owned(),
                    count: limits.per_client,
                });
            }
        }
        if let Some(namesakes) = inside.and_then(|inside| inside.names.get(key.name)) {
            // A singleton does not conflict with itself, so its own client may register it again.
            let again = former.is_some_and(|former| {
                former.app_id == record.app_id && former.singleton && record.singleton
            });
            let others = namesakes.records.len() - usize::from(again);
            let singletons = namesakes.singletons - usize::from(again);
            if singletons > 0 || (record.singleton && others > 0) {
                return Err(RegistryError::Singleton {
                    name: key.name.to_owned(),
                    workspace: key.workspace.to_owned(),
                });
            }
        }
        let freed = former.map_or(0, |former| former.len());
        let client_bytes = client.map_or(0, |client| client.bytes);
        let workspace_bytes = inside.map_or(0, |inside| inside.all.bytes);
        let (client, workspace) = (record.address(), key.workspace);
        for (present, max, owner) in [
            (
                client_bytes,
                limits.client_bytes,
                format_args!("client `{client}`"),
            ),
            (
                workspace_bytes,
                limits.workspace_bytes,
                format_args!("workspace `{workspace}`"),
            ),
            (
                self.bytes,
                limits.total_bytes,
                format_args!("all workspaces"),
            ),
        ] {
            if present - freed + record.len() > max {
                return Err(RegistryError::TooLarge {
                    service: record.id.to_string(),
                    bytes: record.len(),
                    owner: owner.to_string(),
                    max,
                });
            }
        }
        Ok(())
    }

    fn insert(&mut self, record: &Arc<Record>, key: ServiceKey<'_>) {
        self.bytes += record.len();
        let inside = match self.workspaces.get_mut(key.workspace) {
            Some(inside) => inside,
            None => self.workspaces.entry(key.workspace.into()).or_default(),
        };
        inside.insert(record, key);
    }

    /// Returns the record whose full id is `id`.
    fn get(&self, id: &str) -> Option<&Arc<Record>> {
        self.workspaces.get(workspace_of(id))?.all.records.get(id)
    }

    fn remove(&mut self, record: &Record) {
        let workspace = record.workspace();
        if let Some(inside) = self.workspaces.get_mut(workspace) {
            self.bytes -= record.len();
            inside.remove(record);
            if inside.all.records.is_empty() {
                self.workspaces.remove(workspace);
            }
        }
    }
}

/// The registry of a server without a cluster.
pub(crate) struct MemoryRegistry {
    services: RwLock<Services>,
    /// Records of workspaces by id. The map is sorted, because lists are returned in pages.
    workspaces: RwLock<BTreeMap<String, WorkspaceInfo>>,
    /// Workspaces and revoked tokens on disk. Services are not stored, because a service ends with
    /// the connection of its client.
    store: Store,
    limits: RecordLimits,
    tasks: Tasks,
    #[cfg(feature = "accounts")]
    accounts: Accounts,
}

/// Returns the part of a workspace's record that is stored, or `None` if the workspace is not
/// stored. Workspaces of anonymous users are not stored, because such a user cannot return.
fn lasting(workspace: &WorkspaceInfo) -> Option<WorkspaceInfo> {
    let anonymous = workspace.id.starts_with("ws-user-anonymouz-");
    (!anonymous).then(|| WorkspaceInfo {
        // The status describes only the current run.
        status: None,
        ..workspace.clone()
    })
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        // The error is logged here, because the client gets an error without the path of the
        // database.
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "a change was refused because it cannot be stored");
        RegistryError::NotStored
    }
}

/// Returns a completed future.
fn done<'a, T: Send + 'a>(value: T) -> Answer<'a, T> {
    ready(Ok(value)).boxed()
}

/// Returns the workspace in the full id of a service.
fn workspace_of(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

impl MemoryRegistry {
    /// Creates a registry with the `workspaces` that were stored before the start. Changes are
    /// stored in `store`.
    pub(crate) fn new(
        store: Store,
        workspaces: Vec<WorkspaceInfo>,
        limits: RecordLimits,
    ) -> MemoryRegistry {
        let workspaces = workspaces.into_iter();
        let by_id = workspaces.map(|workspace| (workspace.id.clone(), workspace));
        MemoryRegistry {
            services: RwLock::default(),
            workspaces: RwLock::new(by_id.collect()),
            store,
            limits,
            tasks: Tasks::default(),
            #[cfg(feature = "accounts")]
            accounts: Accounts::default(),
        }
    }

    /// Adds the accounts that were stored before, by e-mail address.
    #[cfg(feature = "accounts")]
    pub(crate) fn with_accounts(mut self, accounts: Vec<(String, String)>) -> MemoryRegistry {
        self.accounts = Accounts::new(accounts);
        self
    }
}

impl Registry for MemoryRegistry {
    // These methods can ignore the owner. `workspace::client_left` detaches a client and calls
    // `remove_client` without an await in between, and `remove_client` acts before it returns its
    // future. A new connection with the same address needs a round trip before it can register
    // services, so its services are never removed by mistake.
    fn put_service<'a>(&'a self, record: Record, _owner: &'a str) -> Answer<'a, bool> {
        let record = Arc::new(record);
        let Some(key) = record.key() else {
            let problem = format!("`{}` is not the id of a service", record.id);
            return ready(Err(RegistryError::Invalid(problem))).boxed();
        };
        let mut services = self.services.write();
        if let Err(error) = services.check(&record, key, &self.limits) {
            return ready(Err(error)).boxed();
        }
        let former = services.get(&record.id).cloned();
        if let Some(former) = &former {
            services.remove(former);
        }
        services.insert(&record, key);
        drop(services);
        done(former.is_some())
    }

    fn remove_service<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        let mut services = self.services.write();
        let record = services.get(id).cloned();
        if let Some(record) = &record {
            services.remove(record);
        }
        drop(services);
        done(record.is_some())
    }

    fn find_services<'a>(&'a self, pattern: &'a ServicePattern) -> Answer<'a, Vec<Arc<Record>>> {
        let services = self.services.read();
        let mut found = Vec::new();
        if pattern.workspace.contains('*') {
            for (id, inside) in &services.workspaces {
                inside.search(id, pattern, &mut found);
            }
        } else if let Some(inside) = services.workspaces.get(pattern.workspace.as_str()) {
            inside.search(&pattern.workspace, pattern, &mut found);
        }
        drop(services);
        found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        done(found)
    }

    fn remove_client<'a>(
        &'a self,
        workspace: &'a str,
        client_id: &'a str,
        _owner: Option<&'a str>,
    ) -> Answer<'a, ()> {
        let mut services = self.services.write();
        let inside = services.workspaces.get(workspace);
        let group = inside.and_then(|inside| inside.clients.get(client_id));
        let records = group.map(|group| group.records.values().cloned().collect());
        let records: Vec<_> = records.unwrap_or_default();
        for record in &records {
            services.remove(record);
        }
        drop(services);
        // The records are dropped here, after the lock is released, because a client may have
        // thousands of large records.
        done(())
    }

    fn workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>> {
        done(self.workspaces.read().get(id).cloned())
    }

    fn workspaces(&self) -> Answer<'_, Vec<WorkspaceInfo>> {
        done(self.workspaces.read().values().cloned().collect())
    }

    fn put_workspace(&self, workspace: WorkspaceInfo) -> Answer<'_, ()> {
        async move {
            // The change is stored on disk first, because a change that cannot be stored must not
            // be made. Most calls change only the status, which is not stored, so these calls do
            // not access the disk.
            if let Some(new) = lasting(&workspace) {
                let present = self.workspaces.read().get(&workspace.id).and_then(lasting);
                if present.as_ref() != Some(&new) {
                    self.store.put_workspace(new).await?;
                }
            }
            let id = workspace.id.clone();
            self.workspaces.write().insert(id, workspace);
            Ok(())
        }
        .boxed()
    }

    fn remove_workspace<'a>(&'a self, id: &'a str) -> Answer<'a, Option<WorkspaceInfo>> {
        async move {
            let present = self.workspaces.read().get(id).and_then(lasting);
            if present.is_some() {
                self.store.remove_workspace(id).await?;
            }
            // This method takes the two locks one after the other. In between, the workspace has no
            // services, which is a valid state.
            let mut services = self.services.write();
            let inside = services.workspaces.remove(id);
            services.bytes -= inside.as_ref().map_or(0, |inside| inside.all.bytes);
            drop(services);
            let removed = self.workspaces.write().remove(id);
            self.tasks.remove(id);
            Ok(removed)
        }
        .boxed()
    }

    fn push_task<'a>(
        &'a self,
        workspace: &'a str,
        queue: &'a str,
        text: String,
        charge: Charge,
        max: usize,
    ) -> Answer<'a, ()> {
        // This lock is held until the task is added, so that the workspace is not removed in
        // between.
        let workspaces = self.workspaces.read();
        let pushed = match workspaces.contains_key(workspace) {
            true => self.tasks.push(workspace, queue, text, charge, max),
            false => Err(RegistryError::Invalid(format!(
                "there is no workspace {workspace}"
            ))),
        };
        drop(workspaces);
        ready(pushed).boxed()
    }

    fn pop_task<'a>(&'a self, workspace: &'a str, queue: &'a str) -> Answer<'a, Option<String>> {
        done(self.tasks.pop(workspace, queue))
    }

    fn count_tasks<'a>(&'a self, workspace: &'a str, queue: &'a str) -> Answer<'a, usize> {
        done(self.tasks.len(workspace, queue))
    }

    fn peek_tasks<'a>(
        &'a self,
        workspace: &'a str,
        queue: &'a str,
        count: usize,
    ) -> Answer<'a, Vec<String>> {
        done(self.tasks.peek(workspace, queue, count))
    }

    #[cfg(feature = "accounts")]
    fn account<'a>(&'a self, email: &'a str) -> Answer<'a, Option<String>> {
        done(self.accounts.get(email))
    }

    #[cfg(feature = "accounts")]
    fn accounts(&self) -> Answer<'_, Vec<String>> {
        done(self.accounts.all())
    }

    #[cfg(feature = "accounts")]
    fn change_account<'a>(
        &'a self,
        email: &'a str,
        former: Option<String>,
        record: Option<String>,
        max: usize,
    ) -> Answer<'a, AccountChange> {
        let changed = self
            .accounts
            .change(&self.store, email, former, record, max);
        changed.boxed()
    }

    fn revoke<'a>(&'a self, token: &'a str, left: u64) -> Answer<'a, ()> {
        // Stores the hash of the token. For a reconnection token, also stores the hash of its
        // session. The database must not contain usable credentials, so hashes are stored instead
        // of tokens.
        let (hashes, now) = (auth::hashes_to_revoke(token), auth::now());
        async move {
            for hash in hashes {
                self.store
                    .revoke(hash, now.saturating_add(left), now)
                    .await?;
            }
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use hypha_rpc::workspace::ServiceInfo;

    use super::*;
    use crate::settings::Limits;

    fn registry() -> MemoryRegistry {
        with_limits(RecordLimits::from(&Limits::default()))
    }

    fn with_limits(limits: RecordLimits) -> MemoryRegistry {
        MemoryRegistry::new(Store::default(), Vec::new(), limits)
    }

    fn service(id: &str) -> ServiceInfo {
        ServiceInfo {
            id: id.into(),
            kind: Some("generic".into()),
            ..ServiceInfo::default()
        }
    }

    fn put(registry: &MemoryRegistry, service: &ServiceInfo) -> Result<bool, RegistryError> {
        let record = Record::new(service)?;
        registry.put_service(record, "a").now_or_never().unwrap()
    }

    fn find(registry: &MemoryRegistry, pattern: &ServicePattern) -> Vec<String> {
        let found = registry.find_services(pattern).now_or_never().unwrap();
        let found = found.unwrap();
        found.iter().map(|record| record.id.to_string()).collect()
    }

    fn in_workspace(workspace: &str) -> ServicePattern {
        ServicePattern {
            workspace: workspace.into(),
            ..ServicePattern::default()
        }
    }

    #[test]
    fn services_are_found_by_every_property() {
        let registry = registry();
        for (id, app, kind, visibility) in [
            ("w/a:x", "app", "t", Visibility::Public),
            ("w/a:y", "*", "generic", Visibility::Protected),
            ("w/b:x", "*", "t", Visibility::Unlisted),
            ("v/a:x", "app", "t", Visibility::Public),
        ] {
            let mut service = service(id);
            service.app_id = Some(app.into());
            service.kind = Some(kind.into());
            service.config.visibility = visibility;
            assert!(!put(&registry, &service).unwrap());
        }
        type Set = fn(&mut ServicePattern);
        let cases: [(Set, &[&str]); 10] = [
            (|_| (), &["w/a:x", "w/a:y", "w/b:x"]),
            (|p| p.client = "a".into(), &["w/a:x", "w/a:y"]),
            (|p| p.name = "x".into(), &["w/a:x", "w/b:x"]),
            (|p| p.app_id = "app".into(), &["w/a:x"]),
            (|p| p.kind = "t".into(), &["w/a:x", "w/b:x"]),
            (|p| p.visibility = "public".into(), &["w/a:x"]),
            (|p| p.visibility = "un*".into(), &["w/b:x"]),
            (|p| p.name = "none".into(), &[]),
            (
                |p| p.workspace = "*".into(),
                &["v/a:x", "w/a:x", "w/a:y", "w/b:x"],
            ),
            (
                |p| (p.client, p.name) = ("a".into(), "y".into()),
                &["w/a:y"],
            ),
        ];
        for (set, expected) in cases {
            let mut pattern = in_workspace("w");
            set(&mut pattern);
            assert_eq!(find(&registry, &pattern), expected, "{pattern:?}");
        }
    }

    #[test]
    fn services_are_replaced_and_are_removed_with_their_client() {
        let registry = registry();
        for id in ["w/a:x", "w/a:y", "w/ab:x", "v/a:x"] {
            assert!(!put(&registry, &service(id)).unwrap());
        }
        assert!(put(&registry, &service("w/a:x")).unwrap());
        let removed = registry.remove_client("w", "a", None);
        removed.now_or_never().unwrap().unwrap();
        assert_eq!(find(&registry, &in_workspace("w")), ["w/ab:x"]);
        let remove = || {
            let removed = registry.remove_service("w/ab:x").now_or_never();
            removed.unwrap().unwrap()
        };
        assert!(remove());
        assert!(!remove());
        let removed = registry.remove_workspace("v").now_or_never().unwrap();
        removed.unwrap();
        let services = registry.services.read();
        assert!(
            services.workspaces.is_empty(),
            "empty workspaces take no memory"
        );
        assert_eq!(services.bytes, 0);
    }

    #[test]
    fn a_singleton_excludes_services_with_its_name() {
        let registry = registry();
        let single = |id: &str| {
            let mut service = service(id);
            service.config.singleton = Some(true);
            service
        };
        let refused = |service: &ServiceInfo| {
            matches!(
                put(&registry, service),
                Err(RegistryError::Singleton { .. })
            )
        };
        put(&registry, &single("w/a:x")).unwrap();
        assert!(put(&registry, &single("w/a:x")).unwrap());
        assert!(refused(&single("w/b:x")));
        assert!(refused(&service("w/b:x")));
        assert!(refused(&service("w/a:x")));
        put(&registry, &service("w/a:y")).unwrap();
        assert!(refused(&single("w/b:y")));
        assert!(!refused(&service("w/b:y")));
    }

    #[test]
    fn records_beyond_a_limit_are_refused_by_name() {
        let size = Record::new(&service("w/a:0")).unwrap().len();
        let limits = RecordLimits {
            per_client: 3,
            client_bytes: 2 * size,
            workspace_bytes: 3 * size,
            total_bytes: 4 * size,
            found_bytes: 0,
        };
        let registry = with_limits(limits);
        let refused = |id: &str| put(&registry, &service(id)).unwrap_err().to_string();
        put(&registry, &service("w/a:0")).unwrap();
        put(&registry, &service("w/a:1")).unwrap();
        let error = refused("w/a:2");
        assert!(
            error.contains("`w/a:2`") && error.contains("client `w/a`"),
            "{error}"
        );
        assert!(
            put(&registry, &service("w/a:1")).unwrap(),
            "a replaced record does not count"
        );
        put(&registry, &service("w/b:0")).unwrap();
        assert!(refused("w/c:0").contains("workspace `w`"));
        put(&registry, &service("v/a:0")).unwrap();
        assert!(refused("u/a:0").contains("all workspaces"));

        let registry = with_limits(RecordLimits {
            client_bytes: 10 * size,
            workspace_bytes: 10 * size,
            total_bytes: 10 * size,
            ..limits
        });
        for name in ["built-in", "0", "1", "2"] {
            put(&registry, &service(&format!("w/a:{name}"))).unwrap();
        }
        let error = put(&registry, &service("w/a:3")).unwrap_err();
        assert!(
            error.to_string().contains("w/a already has 3 services"),
            "{error}"
        );
        put(&registry, &service("w/a:2")).unwrap();
    }

    /// Prints the time of one lookup, one registration and a list. Run this test in release mode:
    /// `cargo test --release -p hypha-server --lib times -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn times_of_a_workspace_that_grows() {
        use std::time::Instant;
        let mut limits = RecordLimits::from(&Limits::default());
        limits.total_bytes = usize::MAX;
        limits.workspace_bytes = usize::MAX;
        let registry = with_limits(limits);
        let id = |number: usize| format!("w/client-{}:service-{number}", number / 500);
        let mut count = 0;
        for size in [10, 1_000, 10_000, 30_000, 100_000] {
            while count < size {
                put(&registry, &service(&id(count))).unwrap();
                count += 1;
            }
            let rounds = 2_000;
            let begun = Instant::now();
            for round in 0..rounds {
                let id = id(round * 7919 % size);
                let (client, name) = id.trim_start_matches("w/").split_once(':').unwrap();
                let pattern = ServicePattern {
                    client: client.into(),
                    name: name.into(),
                    ..in_workspace("w")
                };
                assert_eq!(find(&registry, &pattern).len(), 1);
            }
            let found = begun.elapsed() / rounds as u32;
            let begun = Instant::now();
            for round in 0..rounds {
                put(&registry, &service(&id(round * 7919 % size))).unwrap();
            }
            let put = begun.elapsed() / rounds as u32;
            let begun = Instant::now();
            let pattern = in_workspace("w");
            let all = registry.find_services(&pattern).now_or_never().unwrap();
            let all: Vec<_> = all
                .unwrap()
                .into_iter()
                .map(|record| (record, true))
                .collect();
            let mut out = Vec::new();
            super::super::encode_list(&all, usize::MAX, &mut out).unwrap();
            let bytes = out.len();
            let list = begun.elapsed();
            println!("{size}: find {found:?}, put {put:?}, list {list:?} ({bytes} bytes)");
        }
    }
}
