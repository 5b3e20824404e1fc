//! The files in the folder of a cache.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::NamedTempFile;

use super::CacheKey;

/// What a file's content takes up on disk is counted in blocks of this size, the usual one: a cache of small entries
/// would otherwise take many times its limit.
const BLOCK: u64 = 4096;

/// The beginning of the names of files that are being written.
const DRAFT: &str = ".draft-";

const ENDING: &str = ".npy";

/// One entry as the file system knows it.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    /// On disk, in whole blocks.
    pub(super) size: u64,
    /// When it was served or written last.
    pub(super) used: SystemTime,
}

/// What `bytes` bytes take on disk.
pub(super) fn charged(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK)
}

/// What a file takes; `None` where there is none.
pub(super) fn size_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|about| charged(about.len()))
}

/// Fills `bytes` from a place of a file on, from any number of threads at once.
pub(super) fn read_at(file: &File, bytes: &mut [u8], place: u64) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileExt as _;

        file.read_exact_at(bytes, place)
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::FileExt as _;

        let mut done = 0;
        while done < bytes.len() {
            match file.seek_read(&mut bytes[done..], place + done as u64)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => done += count,
            }
        }
        Ok(())
    }
}

/// The name of an entry's file.
pub(super) fn file_name(key: &CacheKey) -> String {
    format!("{key}{ENDING}")
}

/// Whether a file is an entry, by its name; no other file is ever removed.
fn is_entry(name: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.strip_suffix(ENDING).is_some_and(|key| key.len() == 64 && key.bytes().all(digit))
}

/// A file to write an entry into; it goes where it is not given its name.
pub(super) fn draft(folder: &Path) -> std::io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(DRAFT).tempfile_in(folder)
}

/// All entries. Whoever calls holds the lock, so that a draft in the folder is one whose writer died; these are removed.
pub(super) fn sweep(folder: &Path) -> std::io::Result<Vec<Listed>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(DRAFT) {
            // Somebody else's, perhaps: it is in nobody's way.
            let _ = std::fs::remove_file(entry.path());
        }
        if !is_entry(name) {
            continue;
        }
        match entry.metadata() {
            Ok(about) => {
                entries.push(Listed { path: entry.path(), size: charged(about.len()), used: about.modified()? })
            }
            // Removed by hand meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(entries)
}

/// Tells programs that make backups to pass the folder over (<https://bford.info/cachedir/>).
pub(super) fn tag(folder: &Path) {
    let path = folder.join("CACHEDIR.TAG");
    if !path.exists() {
        // A courtesy to other programs.
        let _ = std::fs::write(
            path,
            "Signature: 8a477f597d28d172789f06886806bc55\n# Explanations that benchdb keeps; `benchdb explain --clear-cache` removes them.\n",
        );
    }
}
