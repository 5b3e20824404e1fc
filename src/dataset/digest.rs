//! The identity of a set, for the record: what was evaluated, wherever it lay.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};
use sha2::{Digest as _, Sha256};

use super::{Dataset, DatasetError, Source, read_error};
use crate::domain::configuration::hex;

impl Dataset {
    /// SHA-256 in lower-case hex over the content of all files in their order and, for image folders, the path below
    /// the folder and the class of each. Where the set lies, and the names of the files of other formats, do not
    /// count. Reads every file to its end, as evaluation does.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn digest(&self) -> Result<String, DatasetError> {
        let files: Vec<PathBuf> = match &self.source {
            Source::ImageFolder(folder) => (0..self.samples()).map(|index| folder.path(index)).collect(),
            Source::Cifar(cifar) => cifar.paths().map(Path::to_path_buf).collect(),
            Source::Npz(npz) => vec![npz.path().to_path_buf()],
        };
        let contents: Vec<Result<[u8; 32], DatasetError>> = files.par_iter().map(|file| content_digest(file)).collect();
        let mut digest = Sha256::new();
        digest.update(b"benchdb dataset 1\n");
        for (index, content) in contents.into_iter().enumerate() {
            if let Source::ImageFolder(folder) = &self.source {
                let name = folder.relative(index);
                let name = name.as_encoded_bytes();
                // With its length, so that no two lists of names read alike.
                digest.update((name.len() as u64).to_le_bytes());
                digest.update(name);
                digest.update((self.labels[index] as u64).to_le_bytes());
            }
            digest.update(content?);
        }
        Ok(hex(&digest.finalize()))
    }
}

/// SHA-256 of a file.
pub(super) fn content_digest(path: &Path) -> Result<[u8; 32], DatasetError> {
    let mut file = File::open(path).map_err(|error| read_error(path, error))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = file.read(&mut buffer).map_err(|error| read_error(path, error))?;
        if length == 0 {
            return Ok(digest.finalize().into());
        }
        digest.update(&buffer[..length]);
    }
}
