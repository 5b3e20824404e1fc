//! torchvision's `ImageFolder`: a folder for every class, pictures in it at any depth.
//!
//! The classes are numbered by the order of their names, as in torchvision; but folders whose names are all plain
//! numbers are numbered by these, so that a part of a model's classes can be evaluated.

use std::ffi::{OsStr, OsString};
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::picture::{PictureError, decode};
use super::{DatasetError, Split, read_error};

/// Endings of picture files, in lower case.
const PICTURES: &[&str] = &["png", "jpg", "jpeg"];
/// Endings of files that a network can read, in lower case.
const READABLE: &[&str] = &["png", "jpg", "jpeg", "npy", "npz"];

/// Names, in lower case, of folders for evaluation, the best first.
const TEST_PARTS: &[&str] = &["test", "val", "valid", "validation"];
/// Names, in lower case, of folders for training.
const TRAIN_PARTS: &[&str] = &["train"];

/// Names of class folders that an error shows.
const SHOWN: usize = 3;

/// The pictures of a folder.
#[derive(Debug)]
pub(super) struct ImageFolder {
    root: PathBuf,
    /// Below `root`, in the order of the classes.
    pictures: Vec<PathBuf>,
}

/// What a folder of class folders holds.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) pictures: ImageFolder,
    /// The class of every picture.
    pub(super) labels: Vec<usize>,
    /// By class; empty where the folders have numbers for names.
    pub(super) class_names: Vec<String>,
    /// What the user should know.
    pub(super) notes: Vec<String>,
}

/// What lies in one folder, without hidden files.
#[derive(Debug, Default)]
struct Content {
    folders: Vec<PathBuf>,
    /// Those with the endings that are looked for.
    files: Vec<PathBuf>,
    others: usize,
}

/// What an entry of a folder is.
enum Kind {
    Folder,
    File,
    /// A device, a pipe, a socket: reading it might never end.
    Other,
}

/// The subfolder that holds the asked-for part, if all subfolders of `folder` are named for parts (`train`, `val`,
/// `test`). Tests take `test`, or else the validation part.
///
/// # Errors
/// A folder that cannot be read, or that has parts but not this one.
pub(super) fn part_of(folder: &Path, split: Split) -> Result<Option<PathBuf>, DatasetError> {
    let wanted = match split {
        Split::Test => TEST_PARTS,
        Split::Train => TRAIN_PARTS,
    };
    let named = |folder: &PathBuf| name_of(folder).to_lowercase();
    let is_part = |folder: &PathBuf| [TEST_PARTS, TRAIN_PARTS].concat().contains(&named(folder).as_str());
    let folders = content(folder, PICTURES)?.folders;
    if folders.is_empty() || !folders.iter().all(is_part) {
        return Ok(None);
    }
    let part = wanted.iter().find_map(|wanted| folders.iter().find(|folder| named(folder) == *wanted));
    part.cloned().map(Some).ok_or_else(|| DatasetError::NoSplit {
        path: folder.display().to_string(),
        wanted: split.name(),
        found: folders.iter().map(|folder| format!("`{}`", name_of(folder))).collect::<Vec<_>>().join(", "),
    })
}

/// Lists the pictures below `root`, for a model of `labels` classes. No picture is opened.
///
/// # Errors
/// No class folders, no pictures, other classes than the model has, folders that cannot be read or hold themselves.
pub(super) fn list(root: &Path, labels: usize) -> Result<Listed, DatasetError> {
    let path = root.display().to_string();
    let Content { folders, files: stray, mut others } = content(root, PICTURES)?;
    if folders.is_empty() {
        return Err(if stray.is_empty() {
            DatasetError::Unknown { path }
        } else {
            DatasetError::NoClassFolders { path }
        });
    }
    others += stray.len();
    let mut classes = Vec::new();
    for folder in folders {
        let mut pictures = Vec::new();
        walk(&folder, PICTURES, &mut vec![resolved(root)?], &mut pictures, &mut others)?;
        // As torchvision: folder by folder in the order of their paths, by name in each.
        pictures.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        classes.push((folder, pictures));
    }
    if classes.iter().all(|(_, pictures)| pictures.is_empty()) {
        return Err(DatasetError::Empty { path });
    }
    let names: Vec<String> = classes.iter().map(|(folder, _)| name_of(folder)).collect();
    let numbers = numbers(root, &names, labels)?;
    if numbers.is_none() && names.len() != labels {
        let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
        let more = if names.len() > SHOWN { ", ..." } else { "" };
        let (found, names) = (names.len(), shown.join(", ") + more);
        return Err(DatasetError::ClassCount { path, found, names, expected: labels });
    }
    let mut notes = Vec::new();
    if others > 0 {
        notes.push(format!("other files left out: {others}"));
    }
    let class_names = if numbers.is_some() { Vec::new() } else { names };
    let mut by_class: Vec<(usize, Vec<PathBuf>)> = classes
        .into_iter()
        .enumerate()
        .map(|(index, (_, pictures))| (numbers.as_ref().map_or(index, |numbers| numbers[index]), pictures))
        .collect();
    by_class.sort_by_key(|(label, _)| *label);
    let labels = by_class.iter().flat_map(|(label, pictures)| pictures.iter().map(|_| *label)).collect();
    let pictures = by_class
        .into_iter()
        .flat_map(|(_, pictures)| pictures)
        .map(|picture| picture.strip_prefix(root).map_or_else(|_| picture.clone(), Path::to_path_buf))
        .collect();
    Ok(Listed { pictures: ImageFolder { root: root.to_path_buf(), pictures }, labels, class_names, notes })
}

/// The classes, if all folders have plain numbers for names.
fn numbers(root: &Path, names: &[String], labels: usize) -> Result<Option<Vec<usize>>, DatasetError> {
    let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok()).flatten();
    let Some(numbers) = names.iter().map(plain).collect::<Option<Vec<usize>>>() else {
        return Ok(None);
    };
    let path = root.display().to_string();
    for (index, &class) in numbers.iter().enumerate() {
        if class >= labels {
            let (what, label) = (format!("the folder `{}`", names[index]), class as i64);
            return Err(DatasetError::Label { path, what, label, labels });
        }
        if let Some(other) = numbers[..index].iter().position(|number| *number == class) {
            let (first, second) = (names[other].clone(), names[index].clone());
            return Err(DatasetError::TwiceClass { path, first, second, class });
        }
    }
    Ok(Some(numbers))
}

/// All files below `root` that a network can read, folder by folder in the order of their paths.
///
/// # Errors
/// Folders that cannot be read or hold themselves.
pub(super) fn readable_below(root: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let mut files = Vec::new();
    walk(root, READABLE, &mut Vec::new(), &mut files, &mut 0)?;
    files.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    Ok(files)
}

/// Adds the files with these endings below `folder`. `above` holds the folders that it lies in, links resolved.
fn walk(
    folder: &Path,
    endings: &[&str],
    above: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
    others: &mut usize,
) -> Result<(), DatasetError> {
    let real = resolved(folder)?;
    if above.contains(&real) {
        return Err(DatasetError::Loop { path: folder.display().to_string() });
    }
    let mut inside = content(folder, endings)?;
    files.append(&mut inside.files);
    *others += inside.others;
    above.push(real);
    for folder in inside.folders {
        walk(&folder, endings, above, files, others)?;
    }
    above.pop();
    Ok(())
}

fn resolved(folder: &Path) -> Result<PathBuf, DatasetError> {
    std::fs::canonicalize(folder).map_err(|error| read_error(folder, error))
}

/// What lies in `folder`; the folders in the order of their names.
fn content(folder: &Path, endings: &[&str]) -> Result<Content, DatasetError> {
    let mut content = Content::default();
    for entry in std::fs::read_dir(folder).map_err(|error| read_error(folder, error))? {
        let entry = entry.map_err(|error| read_error(folder, error))?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let is_wanted =
            path.extension().is_some_and(|ending| endings.iter().any(|known| ending.eq_ignore_ascii_case(known)));
        match kind(&entry)? {
            Kind::Folder => content.folders.push(path),
            Kind::File if is_wanted => content.files.push(path),
            Kind::File | Kind::Other => content.others += 1,
        }
    }
    content.folders.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(content)
}

/// What an entry, or what a link leads to, is. A link to nowhere is a file: if it should be a picture, reading it will
/// say so.
fn kind(entry: &DirEntry) -> Result<Kind, DatasetError> {
    let path = entry.path();
    let mut kind = entry.file_type().map_err(|error| read_error(&path, error))?;
    if kind.is_symlink() {
        kind = match std::fs::metadata(&path) {
            Ok(target) => target.file_type(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Kind::File),
            Err(error) => return Err(read_error(&path, error)),
        };
    }
    Ok(if kind.is_dir() {
        Kind::Folder
    } else if kind.is_file() {
        Kind::File
    } else {
        Kind::Other
    })
}

/// The folder of a picture, then its name, as bytes.
fn sort_key(picture: &Path) -> (&[u8], &[u8]) {
    let bytes = OsStr::as_encoded_bytes;
    (bytes(picture.parent().unwrap_or(Path::new("")).as_os_str()), bytes(picture.file_name().unwrap_or_default()))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(OsStr::to_string_lossy).unwrap_or_default().into_owned()
}

impl ImageFolder {
    /// The file of sample `index`.
    pub(super) fn path(&self, index: usize) -> PathBuf {
        self.root.join(&self.pictures[index])
    }

    /// The path of sample `index` below the folder, with `/` on every system.
    pub(super) fn relative(&self, index: usize) -> OsString {
        let parts: Vec<&OsStr> = self.pictures[index].iter().collect();
        parts.join(OsStr::new("/"))
    }

    /// The picture of sample `index`.
    pub(super) fn picture(&self, index: usize) -> Result<RgbImage, DatasetError> {
        let path = self.path(index);
        let bytes = std::fs::read(&path).map_err(|error| read_error(&path, error))?;
        let broken = |source: PictureError| DatasetError::Picture { path: path.display().to_string(), source };
        decode(bytes).map_err(broken)
    }
}
