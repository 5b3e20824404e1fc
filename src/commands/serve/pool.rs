//! Connections that read: opened when they are needed, kept while the file is the same, given up with the first error.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::store::{Access, Store, StoreError};

/// How long the statements of one page may take together.
const PAGE_TIME: Duration = Duration::from_secs(20);

/// How long a page waits for a process that has locked the database. Ours never do that to those who read.
const LOCK_TIME: Duration = Duration::from_secs(1);

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
    lock_time: Duration,
    idle: Mutex<Idle>,
    watch: Mutex<Watch>,
    /// The file that was looked at and found to be a database of ours.
    known: Mutex<Option<FileIdentity>>,
}

/// Connections that nobody uses. No statement runs while this is held.
#[derive(Debug, Default)]
struct Idle {
    file: Option<FileIdentity>,
    stores: Vec<Store>,
}

/// What looks whether the database has changed. A connection compares with what it has seen itself, so there is one, which
/// does nothing else; whoever wants to know as well waits for it, and for it alone.
#[derive(Debug, Default)]
struct Watch {
    store: Option<Store>,
    seen: i64,
    changes: u64,
}

impl Pool {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, lock_time: LOCK_TIME, idle: Mutex::default(), watch: Mutex::default(), known: Mutex::default() }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Which file there is; lets go of everything that belongs to one that is not there any more.
    fn follow(&self) -> Option<FileIdentity> {
        let file = FileIdentity::of(&self.path);
        let is_other = {
            let mut idle = locked(&self.idle);
            let is_other = file.is_none() || file != idle.file;
            if is_other {
                *idle = Idle { file, stores: Vec::new() };
            }
            is_other
        };
        if is_other {
            locked(&self.watch).store = None;
        }
        file
    }

    /// A new connection. A file is looked at before there is any to it, and by one at a time; see [`Store::open_again`].
    fn open(&self, file: Option<FileIdentity>) -> Result<Store, StoreError> {
        let mut known = locked(&self.known);
        if file.is_some() && *known == file {
            drop(known);
            return Store::open_again(&self.path, self.lock_time);
        }
        *known = None;
        let store = Store::open_within(&self.path, Access::Read, self.lock_time)?.0;
        *known = file;
        Ok(store)
    }

    /// Gives `ask` a connection for a page.
    pub(super) fn with<T, E: From<StoreError>>(&self, ask: impl FnOnce(&mut Store) -> Result<T, E>) -> Result<T, E> {
        self.within(PAGE_TIME, ask)
    }

    /// Gives `ask` a connection whose statements have this time together. One that has seen an error is not used again: the
    /// file may be damaged, or another one.
    pub(super) fn within<T, E: From<StoreError>>(
        &self,
        time: Duration,
        ask: impl FnOnce(&mut Store) -> Result<T, E>,
    ) -> Result<T, E> {
        let file = self.follow();
        let kept = locked(&self.idle).stores.pop();
        let mut store = match kept {
            Some(store) => store,
            None => self.open(file)?,
        };
        store.limit_time(time)?;
        let answer = ask(&mut store)?;
        let mut idle = locked(&self.idle);
        if idle.file == file {
            idle.stores.push(store);
        }
        Ok(answer)
    }

    /// A number that grows whenever the database has changed.
    ///
    /// # Errors
    /// What [`Store::open`] refuses.
    pub(super) fn changes(&self) -> Result<u64, StoreError> {
        let file = self.follow();
        let mut watch = locked(&self.watch);
        let kept = watch.store.take();
        // What happened before a connection was there it does not know.
        let is_new = kept.is_none();
        let store = match kept {
            Some(store) => store,
            None => self.open(file)?,
        };
        let version = store.data_version()?;
        if is_new || version != watch.seen {
            watch.changes += 1;
        }
        (watch.store, watch.seen) = (Some(store), version);
        Ok(watch.changes)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::Stranger;

    /// A pool that waits for nobody, over an empty database, and somebody else there.
    fn pool() -> (tempfile::TempDir, Pool, Stranger) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.sqlite");
        drop(Store::open(&path, Access::Create).unwrap());
        let other = Stranger::at(&path);
        (folder, Pool { lock_time: Duration::ZERO, ..Pool::new(path) }, other)
    }

    #[test]
    fn every_change_makes_another_number_and_nothing_else_does() {
        let (_folder, pool, other) = pool();
        let first = pool.changes().unwrap();
        assert_eq!(pool.changes().unwrap(), first);
        other.does("PRAGMA user_version = 7");
        let second = pool.changes().unwrap();
        assert!(second > first);
        assert_eq!(pool.changes().unwrap(), second);
        // The connection that looked is lost with the error; what was changed meanwhile is noticed all the same.
        other.does("BEGIN EXCLUSIVE; PRAGMA user_version = 8");
        assert!(matches!(pool.changes(), Err(StoreError::Locked { .. })));
        other.does("COMMIT");
        assert!(pool.changes().unwrap() > second);
    }

    #[test]
    fn a_database_that_is_locked_is_told_and_asked_again_later() {
        let (_folder, pool, other) = pool();
        let count = |store: &mut Store| store.page_of_configurations(&[], 0, 1).map(|(_, count)| count);
        assert_eq!(pool.with(count).unwrap(), 0);
        other.does("BEGIN EXCLUSIVE");
        for _ in 0..2 {
            assert!(matches!(pool.with(count), Err(StoreError::Locked { .. })));
        }
        other.does("ROLLBACK");
        assert_eq!(pool.with(count).unwrap(), 0);
    }
}
