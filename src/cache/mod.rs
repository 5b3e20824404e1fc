//! Attributions kept on disk, so that the same explanation is not computed twice.
//!
//! One folder, one file an attribution: a .npy that NumPy reads, with a checked tail. Any number of threads and processes
//! may use it at once, and any of them may die at any moment: a file appears whole (it is renamed into place), changes
//! of the folder are made under the lock of its ledger, and what is read is checked before it is served. The time of
//! the last use is the file's own time of change, so that no index can go wrong. Nothing is forced to the disk
//! (`fsync`): after a power failure, what was lost is found by its checksum and computed anew.
//!
//! The layer knows no network and no method: what makes two explanations the same is in their [`CacheKey`].

mod entry;
mod error;
mod folder;
mod key;
mod ledger;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::domain::HostTensor;

use entry::{decode, decode_bytes, encode};
pub use error::CacheError;
pub use key::{CacheKey, InputDigest, Work};
use ledger::{Counts, Ledger, Locked};

/// Of a cache whose user names no limit, in bytes.
pub const DEFAULT_LIMIT: u64 = 1_000_000_000;

/// Eviction goes on until this share of the limit is left free, so that not every new entry has to look through the
/// folder: one tenth.
const FREED_SHARE: u64 = 10;

/// An attribution with what its owner wants to know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedAttribution {
    /// The attribution.
    pub values: HostTensor,
    /// Anything that is short: what was explained, what it took.
    pub facts: Value,
}

/// What a cache holds and how well it served, over all processes since it was made or cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Explanations that were found.
    pub hits: u64,
    /// Explanations that were not.
    pub misses: u64,
    /// Entries that had to go because of the limit.
    pub evictions: u64,
    /// Entries that were damaged, and dropped.
    pub dropped: u64,
    /// Entries that are there.
    pub entries: u64,
    /// What they take on disk, whole blocks of 4096 bytes.
    pub bytes: u64,
    /// What they may take.
    pub limit: u64,
}

impl CacheStatistics {
    /// The share of lookups that found something; `None` before the first one.
    pub fn hit_rate(&self) -> Option<f64> {
        let lookups = self.hits + self.misses;
        (lookups > 0).then(|| self.hits as f64 / lookups as f64)
    }

    /// The share of the limit that is used; above 1 where the limit was larger before.
    pub fn utilisation(&self) -> f64 {
        self.bytes as f64 / self.limit.max(1) as f64
    }
}

/// A folder of attributions; may be shared by threads.
#[derive(Debug)]
pub struct AttributionCache {
    folder: PathBuf,
    limit: u64,
    ledger: Ledger,
}

impl AttributionCache {
    /// Opens the cache in a folder, which is made where it is not there. `limit` is what all entries together may take on
    /// disk, in bytes; it holds for what this value writes, others may have other limits.
    ///
    /// # Errors
    /// A folder that cannot be made or written.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, CacheError> {
        let refused = |source| CacheError::Open { path: folder.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(refused)?;
        let ledger = Ledger::open(folder).map_err(refused)?;
        folder::tag(folder);
        Ok(Self { folder: folder.to_path_buf(), limit, ledger })
    }

    /// Opens a cache that is there already, to look at it or to clear it.
    ///
    /// # Errors
    /// The folder holds no cache, or cannot be written.
    pub fn open_existing(folder: &Path, limit: u64) -> Result<Self, CacheError> {
        if !Ledger::is_in(folder) {
            return Err(CacheError::None { path: folder.to_path_buf() });
        }
        Self::open(folder, limit)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is kept under a key, if anything is. A damaged entry is dropped, and nothing is found. What cannot be read
    /// is not found either: whoever asks can compute it.
    pub fn get(&self, key: &CacheKey) -> Option<CachedAttribution> {
        let found = self.read(key);
        self.ledger.count(if found.is_some() { Counts::HIT } else { Counts::MISS });
        found
    }

    fn read(&self, key: &CacheKey) -> Option<CachedAttribution> {
        let path = self.path(key);
        // A file that may only be read can be served, but its use cannot be noted.
        let file = File::options().read(true).write(true).open(&path).or_else(|_| File::open(&path)).ok()?;
        let size = usize::try_from(file.metadata().ok()?.len()).ok()?;
        match decode(size, |bytes, place| folder::read_at(&file, bytes, place as u64), key) {
            Some(found) => {
                // Without it, the entry is evicted earlier than it should be.
                let _ = file.set_modified(SystemTime::now());
                Some(found)
            }
            None => {
                drop(file);
                self.drop_damaged(key, &path);
                None
            }
        }
    }

    /// Removes an entry, unless somebody has put a good one in its place.
    fn drop_damaged(&self, key: &CacheKey, path: &Path) {
        // Where it cannot be locked or removed, it is found damaged again, and not served again.
        let Ok(mut locked) = self.ledger.lock() else { return };
        let Ok(bytes) = std::fs::read(path) else { return };
        if decode_bytes(&bytes, key).is_none() && locked.begin().is_ok() && std::fs::remove_file(path).is_ok() {
            locked.state.counts.dropped += 1;
            locked.state.remove(folder::charged(bytes.len() as u64));
            // What is not written down is looked up the next time.
            let _ = locked.commit();
        }
    }

    /// Keeps an attribution under a key, in the place of what was there. The entries that were not used for longest go
    /// where there is no room.
    ///
    /// # Errors
    /// An attribution that is larger than the limit; a full disk, a folder that cannot be written. The cache is as it was
    /// but for what was evicted.
    pub fn put(&self, key: &CacheKey, attribution: &CachedAttribution) -> Result<(), CacheError> {
        let refused = |source| CacheError::Write { path: self.folder.clone(), source };
        let bytes = encode(attribution, key)?;
        let size = folder::charged(bytes.len() as u64);
        if size > self.limit {
            return Err(CacheError::TooLarge { bytes: size, limit: self.limit });
        }
        let mut locked = self.ledger.lock().map_err(refused)?;
        locked.begin().map_err(refused)?;
        if !locked.state.trusted || locked.state.bytes + size > self.limit {
            self.make_room(&mut locked, size).map_err(refused)?;
        }
        let path = self.path(key);
        let old = folder::size_of(&path);
        let mut draft = folder::draft(&self.folder).map_err(refused)?;
        draft.write_all(&bytes).map_err(refused)?;
        // The system's own times are coarser, and entries that come one after another should be told apart.
        draft.as_file().set_modified(SystemTime::now()).map_err(refused)?;
        draft.persist(&path).map_err(|error| refused(error.error))?;
        if let Some(old) = old {
            locked.state.remove(old);
        }
        locked.state.add(size);
        locked.commit().map_err(refused)
    }

    /// Counts what is there, and evicts where `incoming` bytes would not fit.
    fn make_room(&self, locked: &mut Locked<'_>, incoming: u64) -> std::io::Result<()> {
        let mut entries = folder::sweep(&self.folder)?;
        let mut bytes: u64 = entries.iter().map(|entry| entry.size).sum();
        let mut count = entries.len() as u64;
        if bytes + incoming > self.limit {
            let goal = (self.limit - self.limit / FREED_SHARE).max(incoming) - incoming;
            entries.sort_by(|left, right| (left.used, &left.path).cmp(&(right.used, &right.path)));
            for entry in entries {
                if bytes <= goal {
                    break;
                }
                match std::fs::remove_file(&entry.path) {
                    Ok(()) => locked.state.counts.evictions += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                bytes -= entry.size;
                count -= 1;
            }
        }
        locked.state.set(count, bytes);
        Ok(())
    }

    /// What the cache holds and how it served. Looks through the folder.
    ///
    /// # Errors
    /// A folder that cannot be read or locked.
    pub fn statistics(&self) -> Result<CacheStatistics, CacheError> {
        let refused = |source| CacheError::Open { path: self.folder.clone(), source };
        let mut locked = self.ledger.lock().map_err(refused)?;
        let entries = folder::sweep(&self.folder).map_err(refused)?;
        locked.state.set(entries.len() as u64, entries.iter().map(|entry| entry.size).sum());
        let state = locked.state;
        locked.commit().map_err(refused)?;
        let Counts { hits, misses, evictions, dropped } = state.counts;
        let (entries, bytes, limit) = (state.entries, state.bytes, self.limit);
        Ok(CacheStatistics { hits, misses, evictions, dropped, entries, bytes, limit })
    }

    /// Removes all entries, and nothing else that lies in the folder; counts from zero on. Answers what was removed:
    /// entries and bytes.
    ///
    /// # Errors
    /// An entry that cannot be removed.
    pub fn clear(&self) -> Result<(u64, u64), CacheError> {
        let refused = |source| CacheError::Write { path: self.folder.clone(), source };
        let mut locked = self.ledger.lock().map_err(refused)?;
        let entries = folder::sweep(&self.folder).map_err(refused)?;
        let bytes = entries.iter().map(|entry| entry.size).sum();
        locked.begin().map_err(refused)?;
        for entry in &entries {
            std::fs::remove_file(&entry.path).map_err(refused)?;
        }
        locked.state = ledger::State::empty();
        locked.commit().map_err(refused)?;
        Ok((entries.len() as u64, bytes))
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        self.folder.join(folder::file_name(key))
    }
}
