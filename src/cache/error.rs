//! What can go wrong with the folder of a cache. None of it keeps an explanation from being given.

use std::path::PathBuf;

use crate::exchange::tensors::TensorFileError;

/// An error of the cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder cannot be made, read or locked.
    #[error("the explanation cache `{}` cannot be used", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no cache in the folder.
    #[error("there is no explanation cache in `{}`", path.display())]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// Something cannot be written or removed: a full disk, for example.
    #[error("the explanation cache `{}` cannot be written", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// One explanation alone would take more than all may.
    #[error("an explanation of {bytes} bytes does not fit into a cache of at most {limit} bytes")]
    TooLarge {
        /// What it takes.
        bytes: u64,
        /// What all may take.
        limit: u64,
    },
    /// Attributions are floats.
    #[error("an attribution of integers cannot be kept")]
    Integers,
    /// It cannot be written as a .npy.
    #[error(transparent)]
    Tensor(#[from] TensorFileError),
}

impl CacheError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Open { .. } => "name another folder with `--cache`, or leave it out with `--no-cache`",
            Self::None { .. } => "`benchdb explain` makes one when it explains something",
            Self::Write { .. } => "make room on its disk, name another folder with `--cache`, or use `--no-cache`",
            Self::TooLarge { .. } => "raise `--cache-limit`",
            Self::Integers => "this is a mistake in the method that made it",
            Self::Tensor(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}
