//! Samples of one size behind each other in a file: any of them can be read at any time, from any thread.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{DatasetError, read_error};

/// A run of records of one size.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    file: Mutex<File>,
    start: u64,
    size: usize,
}

impl Records {
    /// Records of `size` bytes from byte `start` of `file` on; `path` is where they come from.
    pub(super) fn new(path: PathBuf, file: File, start: u64, size: usize) -> Self {
        Self { path, file: Mutex::new(file), start, size }
    }

    /// The file that they come from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The record number `index`, from 0.
    ///
    /// # Errors
    /// The file cannot be read or ends too early.
    pub(super) fn read(&self, index: usize) -> Result<Vec<u8>, DatasetError> {
        let mut record = vec![0; self.size];
        let offset = self.start + index as u64 * self.size as u64;
        // A thread that panicked between seeking and reading does no harm: every read seeks.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut record))
            .map_err(|error| read_error(&self.path, error))?;
        Ok(record)
    }
}
