//! Connections that read: opened when they are needed, kept while the file is the same, given up with the first error.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::store::{Access, Store, StoreError};

/// How long the statements of one page may take together.
const PAGE_TIME: Duration = Duration::from_secs(20);

/// Which file a path leads to: another one that was put in its place is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
    /// Device and inode, where there are any.
    number: (u64, u64),
    created: Option<SystemTime>,
}

impl FileIdentity {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let number = (0, 0);
        Some(Self { number, created: metadata.created().ok() })
    }
}

/// The connections of a server.
#[derive(Debug)]
pub(super) struct Pool {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    file: Option<FileIdentity>,
    idle: Vec<Store>,
    /// Never used for anything but looking whether the database has changed.
    watch: Option<Store>,
    seen: i64,
    changes: u64,
}

impl Inner {
    /// Lets go of everything that belongs to a file that is not there any more.
    fn follow(&mut self, path: &Path) {
        let file = FileIdentity::of(path);
        if file.is_none() || file != self.file {
            self.idle.clear();
            self.watch = None;
            self.file = file;
            self.changes += 1;
        }
    }
}

impl Pool {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, inner: Mutex::default() }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `ask` a connection. One that has seen an error is not used again: the file may be damaged, or another one.
    pub(super) fn with<T, E: From<StoreError>>(&self, ask: impl FnOnce(&mut Store) -> Result<T, E>) -> Result<T, E> {
        let (file, kept) = {
            let mut inner = self.lock();
            inner.follow(&self.path);
            (inner.file, inner.idle.pop())
        };
        let mut store = match kept {
            Some(store) => store,
            None => Store::open(&self.path, Access::Read)?.0,
        };
        store.limit_time(PAGE_TIME)?;
        let answer = ask(&mut store)?;
        let mut inner = self.lock();
        if inner.file == file {
            inner.idle.push(store);
        }
        Ok(answer)
    }

    /// A number that is another one whenever the database has changed.
    ///
    /// # Errors
    /// What [`Store::open`] refuses.
    pub(super) fn changes(&self) -> Result<u64, StoreError> {
        let mut inner = self.lock();
        inner.follow(&self.path);
        let watch = match inner.watch.take() {
            Some(watch) => watch,
            None => Store::open(&self.path, Access::Read)?.0,
        };
        let version = watch.data_version()?;
        inner.watch = Some(watch);
        if version != inner.seen {
            inner.seen = version;
            inner.changes += 1;
        }
        Ok(inner.changes)
    }
}
