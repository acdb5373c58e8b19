//! Data that survives a restart, in one database file: the server's id and secret, workspaces and
//! revoked tokens.

use std::fs::{DirBuilder, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hypha_rpc::workspace::WorkspaceInfo;
use hypha_wire as wire;
use parking_lot::Mutex;
use redb::{Database, ReadableTable, TableDefinition};

/// The database in the data folder.
const FILE: &str = "hypha-server.redb";
/// Texts by name.
const SETTINGS: TableDefinition<'_, &str, &str> = TableDefinition::new("settings");
/// Records by id, in msgpack.
const WORKSPACES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("workspaces");
/// Expiry in seconds since 1970, by the hash of the token.
const REVOKED: TableDefinition<'_, &[u8], u64> = TableDefinition::new("revoked");

/// The data folder cannot be used, or its database cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the data in {path}: {problem}")]
pub struct StoreError {
    path: PathBuf,
    problem: String,
}

/// The database. Without one, nothing is stored.
#[derive(Clone, Default)]
pub(crate) struct Store {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    path: PathBuf,
    /// `None` when the server has ended.
    database: Mutex<Option<Database>>,
}

/// The data that was stored before the start.
#[derive(Default)]
pub(crate) struct StoredData {
    pub(crate) workspaces: Vec<WorkspaceInfo>,
    /// Hashes of tokens, with their expiry.
    pub(crate) revoked: Vec<(Vec<u8>, u64)>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Store {
    /// Opens the database in `folder`, which is created if it does not exist. Only the user of the
    /// process may read it: it contains a secret.
    pub(crate) fn open(folder: &Path) -> Result<Store, StoreError> {
        let path = folder.join(FILE);
        let open = || -> Result<Database, Failure> {
            let mut builder = DirBuilder::new();
            builder.recursive(true);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            #[cfg(unix)]
            {
                use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
                builder.mode(0o700);
                options.mode(0o600);
            }
            builder.create(folder)?;
            let database = Database::builder().create_file(options.open(&path)?)?;
            let begun = database.begin_write()?;
            begun.open_table(SETTINGS)?;
            begun.open_table(WORKSPACES)?;
            begun.open_table(REVOKED)?;
            begun.commit()?;
            Ok(database)
        };
        match open() {
            Ok(database) => Ok(Store {
                inner: Some(Arc::new(Inner {
                    path,
                    database: Mutex::new(Some(database)),
                })),
            }),
            Err(error) => Err(StoreError {
                path,
                problem: error.to_string(),
            }),
        }
    }

    /// Returns a text that is made once and then stays the same.
    pub(crate) fn setting(
        &self,
        name: &str,
        make: impl FnOnce() -> String,
    ) -> Result<String, StoreError> {
        let Some(inner) = &self.inner else {
            return Ok(make());
        };
        let found = inner.work(|database| {
            let table = database.begin_read()?.open_table(SETTINGS)?;
            Ok(table.get(name)?.map(|value| value.value().to_owned()))
        })?;
        if let Some(Some(found)) = found {
            return Ok(found);
        }
        let made = make();
        inner.work(|database| {
            let begun = database.begin_write()?;
            begun.open_table(SETTINGS)?.insert(name, made.as_str())?;
            Ok(begun.commit()?)
        })?;
        Ok(made)
    }

    /// Returns everything else that is stored.
    pub(crate) fn load(&self) -> Result<StoredData, StoreError> {
        let Some(inner) = &self.inner else {
            return Ok(StoredData::default());
        };
        let stored = inner.work(|database| {
            let begun = database.begin_read()?;
            let mut stored = StoredData::default();
            for entry in begun.open_table(WORKSPACES)?.iter()? {
                let record = bytes::Bytes::copy_from_slice(entry?.1.value());
                stored.workspaces.push(wire::from_slice(&record)?);
            }
            for entry in begun.open_table(REVOKED)?.iter()? {
                let (hash, end) = entry?;
                stored.revoked.push((hash.value().to_owned(), end.value()));
            }
            Ok(stored)
        })?;
        Ok(stored.unwrap_or_default())
    }

    pub(crate) async fn put_workspace(&self, workspace: WorkspaceInfo) -> Result<(), StoreError> {
        self.write(move |database| {
            let record = wire::to_vec(&workspace)?;
            let begun = database.begin_write()?;
            begun
                .open_table(WORKSPACES)?
                .insert(workspace.id.as_str(), record.as_slice())?;
            Ok(begun.commit()?)
        })
        .await
    }

    pub(crate) async fn remove_workspace(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |database| {
            let begun = database.begin_write()?;
            begun.open_table(WORKSPACES)?.remove(id.as_str())?;
            Ok(begun.commit()?)
        })
        .await
    }

    /// Stores a revoked token until `end`, and drops those that have expired by `now`.
    pub(crate) async fn revoke(
        &self,
        hash: [u8; 32],
        end: u64,
        now: u64,
    ) -> Result<(), StoreError> {
        self.write(move |database| {
            let begun = database.begin_write()?;
            {
                let mut table = begun.open_table(REVOKED)?;
                table.retain(|_, end| end > now)?;
                table.insert(hash.as_slice(), end)?;
            }
            Ok(begun.commit()?)
        })
        .await
    }

    /// Writes on a blocking thread: a commit waits for the disk.
    async fn write(
        &self,
        work: impl FnOnce(&Database) -> Result<(), Failure> + Send + 'static,
    ) -> Result<(), StoreError> {
        let Some(inner) = self.inner.clone() else {
            return Ok(());
        };
        let path = inner.path.clone();
        let done = tokio::task::spawn_blocking(move || inner.work(work)).await;
        match done {
            Ok(done) => done.map(drop),
            Err(error) => Err(StoreError {
                path,
                problem: error.to_string(),
            }),
        }
    }

    /// Closes the file, so that another server can open it.
    pub(crate) fn close(&self) {
        if let Some(inner) = &self.inner {
            *inner.database.lock() = None;
        }
    }
}

impl Inner {
    /// Runs `work` on the database. Returns `None` if it is closed.
    fn work<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Failure>,
    ) -> Result<Option<T>, StoreError> {
        let database = self.database.lock();
        let done = database.as_ref().map(work).transpose();
        done.map_err(|error| StoreError {
            path: self.path.clone(),
            problem: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypha_rpc::workspace::WorkspaceProperties;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            let name = format!("hypha-server-test-{}", wire::random_id());
            Folder(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn stored_data_survives_a_restart() {
        let folder = Folder::new();
        let store = Store::open(&folder.0).unwrap();
        assert_eq!(store.setting("a", || "1".into()).unwrap(), "1");
        let workspace = WorkspaceInfo {
            id: "w-1".into(),
            properties: WorkspaceProperties {
                owners: vec!["ann".into()],
                ..WorkspaceProperties::default()
            },
            ..WorkspaceInfo::default()
        };
        store.put_workspace(workspace.clone()).await.unwrap();
        store.revoke([1; 32], 100, 10).await.unwrap();
        store.revoke([2; 32], 300, 200).await.unwrap();
        assert!(Store::open(&folder.0).is_err(), "one server at a time");
        store.close();

        let store = Store::open(&folder.0).unwrap();
        assert_eq!(store.setting("a", || "2".into()).unwrap(), "1");
        let stored = store.load().unwrap();
        assert_eq!(stored.workspaces, [workspace]);
        assert_eq!(stored.revoked, [(vec![2; 32], 300)]);
        store.remove_workspace("w-1").await.unwrap();
        assert!(store.load().unwrap().workspaces.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn other_users_cannot_read_the_secret() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let _store = Store::open(&folder.0).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.0), 0o700);
        assert_eq!(mode(&folder.0.join(FILE)), 0o600);
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error() {
        let folder = Folder::new();
        std::fs::write(&folder.0, "a file").unwrap();
        assert!(Store::open(&folder.0.join("below")).is_err());
        std::fs::remove_file(&folder.0).unwrap();
    }
}
