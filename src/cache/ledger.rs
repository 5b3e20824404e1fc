//! The ledger of a cache: one small file with what was counted, whose lock orders all changes of the folder.
//!
//! Counts outlive the process, because a command that explains one picture is a process of its own: its own hits and
//! misses would say nothing.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use serde::{Deserialize, Serialize};

/// The file's name.
const NAME: &str = "ledger.json";

/// The file is always of this size, so that it can be written where it lies, on a full disk too.
const SIZE: usize = 256;

/// Lookups that are written down together: a hit is to cost no more than reading what was kept. A process that is killed
/// takes as many at most with it.
const WRITTEN_TOGETHER: u64 = 64;

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evictions: u64,
    pub(super) dropped: u64,
}

impl Counts {
    pub(super) const HIT: Self = Self { hits: 1, misses: 0, evictions: 0, dropped: 0 };
    pub(super) const MISS: Self = Self { hits: 0, misses: 1, evictions: 0, dropped: 0 };
}

/// What the ledger says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) counts: Counts,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// Whether `entries` and `bytes` are what lies in the folder; not after a ledger was lost, and not while somebody
    /// changes the folder: they may die, or fail.
    pub(super) trusted: bool,
}

impl State {
    /// That of an empty folder.
    pub(super) fn empty() -> Self {
        Self { trusted: true, ..Self::default() }
    }

    pub(super) fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn set(&mut self, entries: u64, bytes: u64) {
        (self.entries, self.bytes, self.trusted) = (entries, bytes, true);
    }
}

/// An open ledger. Lookups are written down some at a time, and later where it is locked, so that they never wait.
#[derive(Debug)]
pub(super) struct Ledger {
    file: Mutex<File>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Ledger {
    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(NAME).is_file()
    }

    /// # Errors
    /// A file that cannot be made or written.
    pub(super) fn open(folder: &Path) -> std::io::Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(folder.join(NAME))?;
        Ok(Self { file: Mutex::new(file), hits: AtomicU64::new(0), misses: AtomicU64::new(0) })
    }

    /// Waits for the lock; no other thread or process changes the folder until it is gone.
    ///
    /// # Errors
    /// A file system without locks, a ledger that cannot be read.
    pub(super) fn lock(&self) -> std::io::Result<Locked<'_>> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock()?;
        self.take(file)
    }

    /// Counts lookups, and writes them down with the next lock: that of whoever changes or asks for something, or of the
    /// end, or its own where there are [many](WRITTEN_TOGETHER) and nobody holds it.
    pub(super) fn count(&self, counts: Counts) {
        let hits = self.hits.fetch_add(counts.hits, Ordering::Relaxed) + counts.hits;
        let misses = self.misses.fetch_add(counts.misses, Ordering::Relaxed) + counts.misses;
        if hits + misses < WRITTEN_TOGETHER {
            return;
        }
        let file = match self.file.try_lock() {
            Ok(file) => file,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        if file.try_lock().is_ok() {
            // Counts are worth no error.
            let _ = self.take(file).and_then(Locked::commit);
        }
    }

    fn take<'l>(&'l self, file: MutexGuard<'l, File>) -> std::io::Result<Locked<'l>> {
        let mut locked = Locked { file, state: State::default() };
        // Gives the file's lock back where this fails.
        locked.state = locked.read()?;
        locked.state.counts.hits += self.hits.swap(0, Ordering::Relaxed);
        locked.state.counts.misses += self.misses.swap(0, Ordering::Relaxed);
        Ok(locked)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if self.hits.load(Ordering::Relaxed) + self.misses.load(Ordering::Relaxed) > 0 {
            // Counts are worth no error.
            let _ = self.lock().and_then(Locked::commit);
        }
    }
}

/// The lock, and what the ledger says.
#[derive(Debug)]
pub(super) struct Locked<'l> {
    file: MutexGuard<'l, File>,
    pub(super) state: State,
}

impl Locked<'_> {
    fn read(&mut self) -> std::io::Result<State> {
        let mut text = String::new();
        self.file.rewind()?;
        // A ledger that was damaged counts from zero; what lies in the folder is looked up.
        match self.file.read_to_string(&mut text) {
            Err(error) if error.kind() != std::io::ErrorKind::InvalidData => Err(error),
            _ => Ok(serde_json::from_str(&text).unwrap_or_default()),
        }
    }

    /// Notes that the folder is about to change: until [`commit`](Self::commit), nobody trusts what was counted there.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub(super) fn begin(&mut self) -> std::io::Result<()> {
        self.write(State { trusted: false, ..self.state })
    }

    /// Writes what is to be remembered.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub(super) fn commit(mut self) -> std::io::Result<()> {
        self.write(self.state)
    }

    fn write(&mut self, state: State) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(&state)?;
        text.resize(SIZE, b' ');
        self.file.rewind()?;
        self.file.write_all(&text)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // The system unlocks it at the latest when the process ends.
        let _ = self.file.unlock();
    }
}
