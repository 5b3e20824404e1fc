//! CIFAR-10's binary version (Krizhevsky 2009): records of one byte for the class and 3 x 32 x 32 bytes for the red,
//! the green and the blue plane.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::records::Records;
use super::{DatasetError, Split, read_error};

/// Classes of the set.
pub(super) const CLASSES: usize = 10;
/// Height and width of the pictures.
const SIDE: usize = 32;
/// Bytes of one channel.
const PLANE: usize = SIDE * SIDE;
/// Bytes of one record: the class and three planes.
const RECORD: usize = 1 + 3 * PLANE;

const TEST: &str = "test_batch.bin";
const NAMES: &str = "batches.meta.txt";

/// The records of one or more files.
#[derive(Debug)]
pub(super) struct Cifar {
    /// Each with the number of the sample that follows its last.
    files: Vec<(usize, Records)>,
}

/// The files in `folder` that hold the asked-for part, and whether they are another part for want of it; none if there
/// is no CIFAR-10 in the folder.
///
/// # Errors
/// A folder that cannot be read, or that has the test pictures alone when those for training are wanted.
pub(super) fn files_of(folder: &Path, split: Split) -> Result<Option<Vec<PathBuf>>, DatasetError> {
    let test = folder.join(TEST);
    let mut train = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| read_error(folder, error))? {
        let path = entry.map_err(|error| read_error(folder, error))?.path();
        if path.file_name().is_some_and(|name| is_train_batch(&name.to_string_lossy())) {
            train.push(path);
        }
    }
    // Batch 10 comes after batch 9.
    train.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    match (split, test.is_file(), train.is_empty()) {
        (_, false, true) => Ok(None),
        (Split::Test, true, _) => Ok(Some(vec![test])),
        (Split::Train, true, true) => Err(DatasetError::NoSplit {
            path: folder.display().to_string(),
            wanted: split.name(),
            found: format!("`{TEST}`"),
        }),
        _ => Ok(Some(train)),
    }
}

fn is_train_batch(name: &str) -> bool {
    name.strip_prefix("data_batch_")
        .and_then(|rest| rest.strip_suffix(".bin"))
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Whether a single file looks like one of the set: by its name, or by its size and classes.
pub(super) fn is_batch(path: &Path, start: &[u8], bytes: u64) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == TEST
        || is_train_batch(&name)
        || bytes > 0
            && bytes.is_multiple_of(RECORD as u64)
            && start.first().is_some_and(|class| usize::from(*class) < CLASSES)
}

/// Opens the files and reads the class of every sample.
///
/// # Errors
/// A file that cannot be read, a size that is no multiple of a record's, a class above 9.
pub(super) fn open(paths: &[PathBuf]) -> Result<(Cifar, Vec<usize>), DatasetError> {
    let mut files = Vec::new();
    let mut labels = Vec::new();
    for path in paths {
        let file = File::open(path).map_err(|error| read_error(path, error))?;
        let bytes = file.metadata().map_err(|error| read_error(path, error))?.len();
        if !bytes.is_multiple_of(RECORD as u64) {
            return Err(DatasetError::Records { path: path.display().to_string(), bytes });
        }
        let mut reader = BufReader::with_capacity(64 * RECORD, &file);
        let mut record = [0; RECORD];
        for index in 0..bytes / RECORD as u64 {
            reader.read_exact(&mut record).map_err(|error| read_error(path, error))?;
            let label = usize::from(record[0]);
            if label >= CLASSES {
                let (path, what) = (path.display().to_string(), format!("record {index}"));
                return Err(DatasetError::Label { path, what, label: label as i64, labels: CLASSES });
            }
            labels.push(label);
        }
        files.push((labels.len(), Records::new(path.clone(), file, 0, RECORD)));
    }
    Ok((Cifar { files }, labels))
}

/// The names of the classes from `batches.meta.txt` in `folder`; none if it is not there or does not name ten.
pub(super) fn class_names(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(NAMES)).unwrap_or_default();
    let names: Vec<String> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if names.len() == CLASSES { names } else { Vec::new() }
}

impl Cifar {
    /// The files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(_, records)| records.path())
    }

    /// The picture of sample `index`.
    pub(super) fn picture(&self, index: usize) -> Result<RgbImage, DatasetError> {
        let at = self.files.partition_point(|(end, _)| *end <= index);
        let before = if at == 0 { 0 } else { self.files[at - 1].0 };
        let record = self.files[at].1.read(index - before)?;
        let planes = &record[1..];
        Ok(RgbImage::from_fn(SIDE as u32, SIDE as u32, |x, y| {
            let pixel = y as usize * SIDE + x as usize;
            image::Rgb([planes[pixel], planes[PLANE + pixel], planes[2 * PLANE + pixel]])
        }))
    }
}
