//! Test sets of pictures: image folders, CIFAR-10's binary files and .npz archives, told by their content; their
//! pre-processing as published for the model; batches as host tensors; accuracy. And what somebody wants a network to
//! read without saying what it is.
//!
//! It knows no network and no device, and never holds a whole set in memory.

mod accuracy;
mod batches;
mod cifar;
mod digest;
mod error;
mod image_folder;
mod inputs;
mod npz;
mod picture;
mod records;
mod resample;
#[cfg(test)]
mod tests;
mod unlabelled;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::domain::Preprocessing;

pub use accuracy::Accuracy;
pub use batches::Batches;
pub use error::DatasetError;
pub use inputs::{file_digest, read_inputs};
pub use picture::PictureError;
pub use unlabelled::{InputFile, SampleReader, UnlabelledSample, input_files};

/// Which part of a set that comes in parts is wanted. A set without parts is taken as a whole for either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For evaluation: the folder `test` (or `val`), CIFAR-10's `test_batch.bin`.
    #[default]
    Test,
    /// For training: the folder `train`, CIFAR-10's `data_batch_*.bin`.
    Train,
}

impl Split {
    /// What people call it.
    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Train => "train",
        }
    }
}

/// What a model needs of a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requirements {
    /// How pictures become inputs.
    pub preprocessing: Preprocessing,
    /// The classes of the model; the set must have these.
    pub labels: usize,
    /// The part that is wanted.
    pub split: Split,
}

impl Requirements {
    /// What a model of the zoo needs, by its canonical name, the shape of one sample of its image input
    /// (`[3, height, width]`) and the number of its classes.
    ///
    /// # Errors
    /// A model without published pre-processing, or an input of another shape than that makes.
    pub fn of_model(model: &str, input: &[usize], labels: usize, split: Split) -> Result<Self, DatasetError> {
        let Some(preprocessing) = Preprocessing::published(model) else {
            return Err(DatasetError::NoPreprocessing { model: model.to_owned() });
        };
        let expected = preprocessing.shape();
        if input != expected {
            let (model, found) = (model.to_owned(), input.to_vec());
            return Err(DatasetError::InputShape { model, found, expected: expected.to_vec() });
        }
        Ok(Self { preprocessing, labels, split })
    }
}

/// How a set is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A folder for every class.
    ImageFolder,
    /// CIFAR-10's binary version.
    Cifar10,
    /// NumPy's archive with `images` and `labels`.
    Npz,
}

/// An open set: which samples there are and their classes. The pictures are read when they are asked for.
#[derive(Debug)]
pub struct Dataset {
    source: Source,
    format: Format,
    labels: Vec<usize>,
    class_names: Vec<String>,
    notes: Vec<String>,
    preprocessing: Preprocessing,
}

/// Where the samples come from.
#[derive(Debug)]
enum Source {
    ImageFolder(image_folder::ImageFolder),
    Cifar(cifar::Cifar),
    Npz(npz::Npz),
}

/// A sample as it is stored.
#[derive(Debug)]
enum Sample {
    /// A picture, as it is.
    Picture(RgbImage),
    /// `[3, crop, crop]`, pre-processed by whoever made the set.
    Prepared(Vec<f32>),
}

/// Opens the set at `path`, a folder or a file. The classes of all samples are read and checked; pictures are not
/// opened, so that a broken one is found when its batch is read.
///
/// # Errors
/// Nothing that is a set, an empty one, one with other classes than the model's, one that lacks the wanted part, and
/// what the file system refuses.
pub fn open(path: &Path, requirements: &Requirements) -> Result<Dataset, DatasetError> {
    let about = std::fs::metadata(path).map_err(|error| read_error(path, error))?;
    let mut set = if about.is_dir() {
        open_folder(path, requirements)?
    } else if about.is_file() {
        open_file(path, requirements)?
    } else {
        // A device or a pipe may never end.
        return Err(DatasetError::Unknown { path: path.display().to_string() });
    };
    if set.labels.is_empty() {
        return Err(DatasetError::Empty { path: path.display().to_string() });
    }
    // Right for a part of the classes; a mistake where the set is of another kind altogether.
    let (classes, labels) = (set.classes(), requirements.labels);
    if classes < labels {
        set.notes.push(format!("it has samples of {classes} of the model's {labels} classes"));
    }
    Ok(set)
}

fn open_folder(path: &Path, requirements: &Requirements) -> Result<Dataset, DatasetError> {
    // What the archive of the set unpacks to.
    let inner = path.join("cifar-10-batches-bin");
    for folder in [path, &inner] {
        if folder.is_dir()
            && let Some(files) = cifar::files_of(folder, requirements.split)?
        {
            return open_cifar(&files, folder, requirements);
        }
    }
    let part = image_folder::part_of(path, requirements.split)?;
    let listed = image_folder::list(part.as_deref().unwrap_or(path), requirements.labels)?;
    let mut notes = listed.notes;
    if let Some(part) = &part {
        notes.insert(0, format!("the part `{}` was taken", part.display()));
    }
    Ok(Dataset {
        source: Source::ImageFolder(listed.pictures),
        format: Format::ImageFolder,
        labels: listed.labels,
        class_names: listed.class_names,
        notes,
        preprocessing: requirements.preprocessing,
    })
}

fn open_cifar(files: &[PathBuf], folder: &Path, requirements: &Requirements) -> Result<Dataset, DatasetError> {
    let class_names = cifar::class_names(folder);
    if requirements.labels != cifar::CLASSES {
        let names = class_names.iter().take(3).map(|name| format!("`{name}`, ")).collect::<String>() + "...";
        let (path, found, expected) = (folder.display().to_string(), cifar::CLASSES, requirements.labels);
        return Err(DatasetError::ClassCount { path, found, names, expected });
    }
    let (source, labels) = cifar::open(files)?;
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()).map(|name| name.to_string_lossy()).collect();
    Ok(Dataset {
        source: Source::Cifar(source),
        format: Format::Cifar10,
        labels,
        class_names,
        notes: vec![format!("taken from {}", names.join(", "))],
        preprocessing: requirements.preprocessing,
    })
}

fn open_file(path: &Path, requirements: &Requirements) -> Result<Dataset, DatasetError> {
    let mut file = File::open(path).map_err(|error| read_error(path, error))?;
    let bytes = file.metadata().map_err(|error| read_error(path, error))?.len();
    let mut start = Vec::new();
    file.by_ref().take(4).read_to_end(&mut start).map_err(|error| read_error(path, error))?;
    if start.starts_with(b"PK") {
        let (source, labels) = npz::open(path, requirements)?;
        return Ok(Dataset {
            source: Source::Npz(source),
            format: Format::Npz,
            labels,
            class_names: Vec::new(),
            notes: Vec::new(),
            preprocessing: requirements.preprocessing,
        });
    }
    if cifar::is_batch(path, &start, bytes) {
        let folder = path.parent().unwrap_or(Path::new(""));
        return open_cifar(&[path.to_path_buf()], folder, requirements);
    }
    Err(DatasetError::Unknown { path: path.display().to_string() })
}

fn read_error(path: &Path, source: std::io::Error) -> DatasetError {
    DatasetError::Read { path: path.display().to_string(), source }
}

impl Dataset {
    /// The number of samples; at least one.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// How the set is stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The class of every sample, in the order of [`Self::batches`].
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The number of distinct classes among the samples.
    pub fn classes(&self) -> usize {
        self.labels.iter().collect::<std::collections::BTreeSet<_>>().len()
    }

    /// The names of the classes, by class; empty where the set does not say them.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// What the user should know: which part was taken, what was left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Sample `index` as it is stored.
    fn sample(&self, index: usize) -> Result<Sample, DatasetError> {
        match &self.source {
            Source::ImageFolder(folder) => folder.picture(index).map(Sample::Picture),
            Source::Cifar(cifar) => cifar.picture(index).map(Sample::Picture),
            Source::Npz(npz) => npz.sample(index),
        }
    }
}
