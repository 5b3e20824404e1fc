//! Tensors that somebody wants a network to read.

use std::path::Path;

use super::DatasetError;
use super::digest::content_digest;
use crate::domain::HostTensor;
use crate::domain::configuration::hex;
use crate::exchange::tensors::read_tensors;

/// The tensors of a .npz by their names, or the one of a .npy with an empty name.
///
/// # Errors
/// A file that cannot be read, or holds something else.
pub fn read_inputs(path: &Path) -> Result<Vec<HostTensor>, DatasetError> {
    Ok(read_tensors(path, "")?)
}

/// SHA-256 of a file in lower-case hex.
///
/// # Errors
/// A file that cannot be read.
pub fn file_digest(path: &Path) -> Result<String, DatasetError> {
    Ok(hex(&content_digest(path)?))
}
