//! Files of /proc and /sys that are opened once and read again and again.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

/// Longer than anything that is read here: numbers of one line, and the beginnings of /proc/stat and /proc/meminfo.
const LONGEST: usize = 512;

/// A file whose text changes. Each reading starts anew at its beginning, which makes the kernel write it anew.
#[derive(Debug)]
pub(super) struct TextFile {
    file: File,
    text: [u8; LONGEST],
}

impl TextFile {
    /// Opens it.
    ///
    /// # Errors
    /// It is not there, or this user may not read it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, text: [0; LONGEST] })
    }

    /// Opens it if it can be read now and holds a number: many sensors have a file and no value.
    pub(super) fn open_number(path: &Path) -> Option<Self> {
        let mut file = Self::open(path).ok()?;
        file.number()?;
        Some(file)
    }

    /// Its first 512 bytes; `None` if it cannot be read now.
    pub(super) fn read(&mut self) -> Option<&str> {
        self.file.rewind().ok()?;
        let length = self.file.read(&mut self.text).ok()?;
        std::str::from_utf8(&self.text[..length]).ok()
    }

    /// The number that is all its text.
    pub(super) fn number(&mut self) -> Option<f64> {
        self.read()?.trim().parse().ok()
    }

    /// The same for counters, which may need all 64 bits.
    pub(super) fn counter(&mut self) -> Option<u64> {
        self.read()?.trim().parse().ok()
    }
}

/// The first line of a small file, if there is one.
pub(super) fn read_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().next()?.trim().to_owned()).filter(|line| !line.is_empty())
}

/// What lies in a folder under names of `prefix` and a number, by that number: `hwmon2` before `hwmon10`. Empty where
/// there is no such folder.
pub(super) fn numbered(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// A made tree of files, for tests.
#[cfg(test)]
pub(super) mod tree {
    use std::path::{Path, PathBuf};

    pub(in super::super) fn write(root: &Path, path: &str, text: &str) -> PathBuf {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reading_sees_what_stands_there_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = tree::write(folder.path(), "a/value", "12\n");
        let mut file = TextFile::open_number(&path).unwrap();
        assert_eq!(file.number(), Some(12.0));
        std::fs::write(&path, "-7.5\n").unwrap();
        assert_eq!(file.number(), Some(-7.5));
        std::fs::write(&path, "18446744073709551615\n").unwrap();
        assert_eq!(file.counter(), Some(u64::MAX));
        std::fs::write(&path, "unknown\n").unwrap();
        assert_eq!(file.number(), None);
        assert!(TextFile::open_number(&path).is_none());
    }

    #[test]
    fn numbered_folders_are_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["hwmon10", "hwmon2", "hwmonx", "other1"] {
            tree::write(folder.path(), &format!("{name}/name"), "x");
        }
        let names: Vec<_> =
            numbered(folder.path(), "hwmon").iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["hwmon2", "hwmon10"]);
        assert!(numbered(&folder.path().join("nothing"), "hwmon").is_empty());
    }
}
