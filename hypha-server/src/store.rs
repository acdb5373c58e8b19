//! Owns the database file with the data that survives a restart: the server's id and secret,
//! workspaces, revoked tokens and accounts.
//!
//! The in-memory registry writes a changed workspace to the file before it changes the workspace in
//! memory. Without a data folder, nothing is stored and every operation succeeds.
//!
//! One lock serializes all work on the file. A change holds the lock while it writes to the disk,
//! so changes run on blocking threads. Only [`Store::setting`] and [`Store::load`] run on the
//! caller's thread. The server calls both before it accepts clients.
#![allow(
    clippy::result_large_err,
    reason = "the errors of redb are large; they leave this file in a box"
)]

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hypha_rpc::workspace::WorkspaceInfo;
use hypha_wire as wire;
use parking_lot::Mutex;
use redb::{Database, ReadableTable, TableDefinition};

/// Name of the database file in the data folder.
const FILE: &str = "hypha-server.redb";
/// The table of settings: strings by name.
const SETTINGS: TableDefinition<'_, &str, &str> = TableDefinition::new("settings");
/// The table of workspaces: records by id, as MessagePack.
const WORKSPACES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("workspaces");
/// The table of accounts: records by e-mail address, as JSON.
#[cfg(feature = "accounts")]
const ACCOUNTS: TableDefinition<'_, &str, &str> = TableDefinition::new("accounts");
/// Name of a setting that is written to check whether the file is writable.
const PROBE: &str = "probe";
/// The table of revoked tokens: expiry in seconds since 1970, by the hash of the token.
const REVOKED: TableDefinition<'_, &[u8], u64> = TableDefinition::new("revoked");

/// Errors of the database file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another server uses the file.
    #[error("the database {path} is in use: each server needs a data folder of its own")]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file is truncated, or another program has written to it.
    #[error(
        "the database {path} is damaged: restore a copy of it, or move it away to start without \
         its workspaces, revoked tokens and secret"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// The damage that was found.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk is full or cannot be read or written.
    #[error("cannot read or write the database {path}")]
    Disk {
        /// The database file.
        path: PathBuf,
        /// The failed operation.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A handle of the database file. Without a file, nothing is stored and every change succeeds.
/// Clones share the file.
#[derive(Clone, Default)]
pub(crate) struct Store {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    path: PathBuf,
    /// Opens the file at the start, and again after each failure. Tests replace the storage
    /// backend.
    open: Box<dyn Fn() -> Result<Database, redb::Error> + Send + Sync>,
    database: Mutex<State>,
    /// Whether the last operation succeeded. This flag is read without the lock, because an
    /// operation holds the lock while a disk hangs.
    works: AtomicBool,
}

/// The state of the database file.
enum State {
    Open(Database),
    /// The last operation failed. The next operation opens the file again, because redb refuses all
    /// operations on a database that has failed.
    Failed,
    /// The file was closed when the server stopped.
    Closed,
}

/// The data that was stored before the start of the server.
#[derive(Default)]
pub(crate) struct StoredData {
    pub(crate) workspaces: Vec<WorkspaceInfo>,
    /// Hashes of revoked tokens, each with its expiry in seconds since 1970.
    pub(crate) revoked: Vec<(Vec<u8>, u64)>,
    /// Records of accounts, by e-mail address.
    #[cfg(feature = "accounts")]
    pub(crate) accounts: Vec<(String, String)>,
    /// Number of workspaces that could not be decoded. These workspaces stay in the file.
    pub(crate) skipped: u64,
}

impl Store {
    /// Opens the database in `folder`. Creates the folder if it does not exist. Blocks.
    ///
    /// On Unix, only the user that runs the process may read the folder and the file, because the
    /// file contains the secret that signs tokens.
    ///
    /// # Errors
    ///
    /// Fails if another server uses the file, if the file is damaged, or if the disk cannot be read
    /// or written.
    pub(crate) fn open(folder: &Path) -> Result<Store, StoreError> {
        let path = folder.join(FILE);
        let (folder, file) = (folder.to_owned(), path.clone());
        Store::open_with(path, move || {
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
            let file = builder.create(&folder).and_then(|()| options.open(&file));
            Ok(Database::builder().create_file(file.map_err(redb::Error::Io)?)?)
        })
    }

    /// Opens a database with `open`, and creates missing tables.
    fn open_with(
        path: PathBuf,
        open: impl Fn() -> Result<Database, redb::Error> + Send + Sync + 'static,
    ) -> Result<Store, StoreError> {
        let inner = Inner {
            path,
            open: Box::new(open),
            database: Mutex::new(State::Failed),
            works: AtomicBool::new(true),
        };
        inner.work(|database| {
            let begun = database.begin_write()?;
            begun.open_table(SETTINGS)?;
            begun.open_table(WORKSPACES)?;
            begun.open_table(REVOKED)?;
            #[cfg(feature = "accounts")]
            begun.open_table(ACCOUNTS)?;
            Ok(begun.commit()?)
        })?;
        Ok(Store {
            inner: Some(Arc::new(inner)),
        })
    }

    /// Returns the stored setting `name`. If the setting is missing, stores and returns the result
    /// of `make`. Without a database, every call runs `make`. Blocks.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot be read or written.
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

    /// Returns the stored workspaces, revoked tokens and accounts. Blocks.
    ///
    /// # Errors
    ///
    /// Fails if the database cannot be read. Records that cannot be decoded are logged and counted
    /// instead.
    pub(crate) fn load(&self) -> Result<StoredData, StoreError> {
        let Some(inner) = &self.inner else {
            return Ok(StoredData::default());
        };
        let stored = inner.work(|database| {
            let begun = database.begin_read()?;
            let mut stored = StoredData::default();
            for entry in begun.open_table(WORKSPACES)?.iter()? {
                let (id, record) = entry?;
                let record = bytes::Bytes::copy_from_slice(record.value());
                match wire::from_slice(&record) {
                    Ok(workspace) => stored.workspaces.push(workspace),
                    // The record stays in the database for a version that can read it.
                    Err(error) => {
                        let (workspace, error) = (id.value(), &error as &dyn std::error::Error);
                        tracing::error!(workspace, error, "skipped a record that cannot be read");
                        stored.skipped += 1;
                    }
                }
            }
            for entry in begun.open_table(REVOKED)?.iter()? {
                let (hash, end) = entry?;
                stored.revoked.push((hash.value().to_owned(), end.value()));
            }
            #[cfg(feature = "accounts")]
            for entry in begun.open_table(ACCOUNTS)?.iter()? {
                let (email, record) = entry?;
                let record = record.value().to_owned();
                stored.accounts.push((email.value().to_owned(), record));
            }
            Ok(stored)
        })?;
        Ok(stored.unwrap_or_default())
    }

    /// Stores the record of a workspace. Completes when the record is on the disk.
    ///
    /// # Errors
    ///
    /// Fails if the record cannot be encoded or written.
    ///
    /// # Cancellation
    ///
    /// The record may still be stored after the future is dropped.
    pub(crate) async fn put_workspace(&self, workspace: WorkspaceInfo) -> Result<(), StoreError> {
        let Some(inner) = &self.inner else {
            return Ok(());
        };
        let record = wire::to_vec(&workspace).map_err(|error| StoreError::Disk {
            path: inner.path.clone(),
            source: error.into(),
        })?;
        self.write(move |database| {
            let begun = database.begin_write()?;
            begun
                .open_table(WORKSPACES)?
                .insert(workspace.id.as_str(), record.as_slice())?;
            Ok(begun.commit()?)
        })
        .await
    }

    /// Removes the record of a workspace. Completes when the change is on the disk.
    ///
    /// # Errors
    ///
    /// Fails if the change cannot be written.
    pub(crate) async fn remove_workspace(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(move |database| {
            let begun = database.begin_write()?;
            begun.open_table(WORKSPACES)?.remove(id.as_str())?;
            Ok(begun.commit()?)
        })
        .await
    }

    /// Stores the record of an account, or removes the record.
    #[cfg(feature = "accounts")]
    pub(crate) async fn put_account(
        &self,
        email: &str,
        record: Option<String>,
    ) -> Result<(), StoreError> {
        let email = email.to_owned();
        self.write(move |database| {
            let begun = database.begin_write()?;
            {
                let mut table = begun.open_table(ACCOUNTS)?;
                match &record {
                    Some(record) => table.insert(email.as_str(), record.as_str())?,
                    None => table.remove(email.as_str())?,
                };
            }
            Ok(begun.commit()?)
        })
        .await
    }

    /// Stores the hash of a revoked token until `end`, and removes the hashes that have expired by
    /// `now`. Both times are in seconds since 1970.
    ///
    /// # Errors
    ///
    /// Fails if the change cannot be written.
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
                // The server refuses expired tokens anyway. If the table kept their hashes, it
                // would only grow.
                table.retain(|_, end| end > now)?;
                table.insert(hash.as_slice(), end)?;
            }
            Ok(begun.commit()?)
        })
        .await
    }

    /// Returns whether changes can be stored. If the last operation failed, writes a setting as a
    /// test, which also reopens the file.
    pub(crate) async fn is_writable(&self) -> bool {
        match &self.inner {
            Some(inner) if !inner.works.load(Ordering::Relaxed) => {
                // Another operation is in progress, which will show whether the file is writable.
                // If each health check waited for the lock, it would block one thread while the
                // disk hangs.
                if inner.database.is_locked() {
                    return false;
                }
                let probed = self.write(|database| {
                    let begun = database.begin_write()?;
                    begun.open_table(SETTINGS)?.insert(PROBE, "")?;
                    Ok(begun.commit()?)
                });
                probed.await.is_ok()
            }
            _ => true,
        }
    }

    /// Runs a change on a blocking thread, because a commit waits for the disk.
    async fn write(
        &self,
        work: impl FnOnce(&Database) -> Result<(), redb::Error> + Send + 'static,
    ) -> Result<(), StoreError> {
        let Some(inner) = self.inner.clone() else {
            return Ok(());
        };
        let path = inner.path.clone();
        let done = tokio::task::spawn_blocking(move || inner.work(work)).await;
        match done {
            Ok(done) => done.map(drop),
            Err(error) => Err(StoreError::Disk {
                path,
                source: error.into(),
            }),
        }
    }

    /// Closes the file, so that another server can open it. Later changes succeed but are not
    /// stored.
    pub(crate) fn close(&self) {
        if let Some(inner) = &self.inner {
            *inner.database.lock() = State::Closed;
        }
    }
}

impl Inner {
    /// Runs `work` on the database. Opens the database first if the last operation failed. Returns
    /// `None` if the database is closed.
    fn work<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<Option<T>, StoreError> {
        let mut state = self.database.lock();
        let opened = match &*state {
            State::Closed => return Ok(None),
            State::Open(_) => Ok(()),
            State::Failed => self.open_file().map(|database| {
                *state = State::Open(database);
            }),
        };
        let done = opened.and_then(|()| match &*state {
            State::Open(database) => work(database).map(Some),
            State::Failed | State::Closed => Ok(None),
        });
        let works = done.is_ok();
        // Dropping the database closes the file, which must happen before the file is opened again.
        if !works {
            *state = State::Failed;
        }
        drop(state);
        // `Relaxed` suffices, because no other data depends on the flag. The lock orders the
        // operations.
        let worked = self.works.swap(works, Ordering::Relaxed);
        if works && !worked {
            tracing::info!(path = %self.path.display(), "the database can be written again");
        }
        done.map_err(|error| self.problem(error))
    }

    /// Opens the file. A panic becomes an error, because redb panics on some damaged files.
    fn open_file(&self) -> Result<Database, redb::Error> {
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| (self.open)()));
        opened.unwrap_or_else(|_| Err(redb::Error::Corrupted("it cannot be opened".into())))
    }

    /// Converts an error of redb.
    fn problem(&self, error: redb::Error) -> StoreError {
        use redb::Error::{
            Corrupted, DatabaseAlreadyOpen, Io, RepairAborted, TableDoesNotExist,
            TableTypeMismatch, TypeDefinitionChanged, UpgradeRequired,
        };
        let path = self.path.clone();
        let damaged = match &error {
            DatabaseAlreadyOpen => return StoreError::InUse { path },
            // A truncated file ends early, and a file of another format has another signature.
            Io(error) => matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
            ),
            Corrupted(_)
            | RepairAborted
            | TableDoesNotExist(_)
            | TableTypeMismatch { .. }
            | TypeDefinitionChanged { .. }
            | UpgradeRequired(_) => true,
            _ => false,
        };
        let source = error.into();
        if damaged {
            StoreError::Damaged { path, source }
        } else {
            StoreError::Disk { path, source }
        }
    }
}

#[cfg(test)]
mod tests {
    use hypha_rpc::workspace::WorkspaceProperties;
    use redb::backends::FileBackend;

    use super::*;

    /// Temporary folder, deleted when dropped.
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
    fn an_invalid_folder_is_an_error() {
        let folder = Folder::new();
        std::fs::write(&folder.0, "a file").unwrap();
        let error = Store::open(&folder.0.join("below")).err().unwrap();
        assert!(matches!(error, StoreError::Disk { .. }), "{error}");
        std::fs::remove_file(&folder.0).unwrap();
    }

    /// A simulated disk that can be full.
    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        full: Arc<AtomicBool>,
    }

    impl Disk {
        fn checked(&self) -> io::Result<()> {
            if self.full.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }
    }

    impl redb::StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
            self.file.read(offset, len)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.checked()?;
            self.file.set_len(len)
        }

        fn sync_data(&self, eventual: bool) -> io::Result<()> {
            self.checked()?;
            self.file.sync_data(eventual)
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.checked()?;
            self.file.write(offset, data)
        }
    }

    #[tokio::test]
    async fn writes_succeed_again_after_a_full_disk() {
        let folder = Folder::new();
        std::fs::create_dir(&folder.0).unwrap();
        let path = folder.0.join(FILE);
        let full = Arc::new(AtomicBool::new(false));
        let opened = (path.clone(), full.clone());
        let store = Store::open_with(path, move || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&opened.0).map_err(redb::Error::Io)?;
            let file = FileBackend::new(file)?;
            let full = opened.1.clone();
            Ok(Database::builder().create_with_backend(Disk { file, full })?)
        });
        let store = store.unwrap();
        store.revoke([1; 32], 100, 10).await.unwrap();
        assert!(store.is_writable().await);
        full.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            let error = store.revoke([2; 32], 100, 10).await.unwrap_err();
            assert!(matches!(error, StoreError::Disk { .. }), "{error}");
            assert!(std::error::Error::source(&error).is_some());
            assert!(!store.is_writable().await);
        }
        full.store(false, Ordering::Relaxed);
        assert!(store.is_writable().await);
        store.revoke([3; 32], 100, 10).await.unwrap();
        let kept = store.load().unwrap().revoked;
        assert_eq!(kept, [(vec![1; 32], 100), (vec![3; 32], 100)]);
        store.close();
        assert_eq!(
            Store::open(&folder.0).unwrap().load().unwrap().revoked,
            kept
        );
    }

    #[tokio::test]
    async fn a_damaged_file_is_reported_as_damaged() {
        let folder = Folder::new();
        let store = Store::open(&folder.0).unwrap();
        for number in 0..100_u8 {
            store.revoke([number; 32], 100, 10).await.unwrap();
        }
        store.close();
        let path = folder.0.join(FILE);
        let whole = std::fs::read(&path).unwrap();
        let length = whole.len();
        let truncated = [
            1,
            9,
            100,
            320,
            4096,
            8192,
            length / 3,
            length / 2,
            length - 1,
        ];
        let truncated = truncated.map(|kept| whole[..kept].to_vec());
        let text = vec![b"no database at all, but text\n".repeat(1000)];
        let mut scrambled = whole.clone();
        scrambled[..length / 2].fill(0x5a);
        for file in truncated.into_iter().chain(text).chain([scrambled]) {
            let length = file.len();
            std::fs::write(&path, file).unwrap();
            let opened = Store::open(&folder.0).and_then(|store| store.load().map(drop));
            let error = opened.err().unwrap();
            let damaged = matches!(error, StoreError::Damaged { .. });
            assert!(damaged, "{length} bytes: {error}: {error:?}");
        }
        std::fs::write(&path, whole).unwrap();
        assert_eq!(
            Store::open(&folder.0)
                .unwrap()
                .load()
                .unwrap()
                .revoked
                .len(),
            100
        );
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_is_skipped() {
        let folder = Folder::new();
        let store = Store::open(&folder.0).unwrap();
        let workspace = WorkspaceInfo {
            id: "w-1".into(),
            ..WorkspaceInfo::default()
        };
        store.put_workspace(workspace.clone()).await.unwrap();
        let broken = store.write(|database| {
            let begun = database.begin_write()?;
            begun.open_table(WORKSPACES)?.insert("w-0", &[0xc1][..])?;
            Ok(begun.commit()?)
        });
        broken.await.unwrap();
        let stored = store.load().unwrap();
        assert_eq!((stored.workspaces, stored.skipped), (vec![workspace], 1));
    }
}
