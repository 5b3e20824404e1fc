//! NumPy's .npz as a test set: the arrays `images` and `labels`.
//!
//! `images` may be larger than memory: it is never read as a whole. A compressed one is unpacked to a temporary file
//! first.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _};
use std::path::Path;

use image::RgbImage;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use zip::{CompressionMethod, ZipArchive};

use super::records::Records;
use super::{DatasetError, Requirements, Sample, read_error};
use crate::domain::model::shape_text;
use crate::domain::{HostData, Preprocessing};
use crate::exchange::tensors::read_npy;

const IMAGES: &str = "images";
const LABELS: &str = "labels";

/// How the elements of a sample lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// `uint8` `[3, height, width]`.
    Planes,
    /// `uint8` `[height, width, 3]`.
    Pixels,
    /// `float32` `[3, height, width]`, pre-processed by whoever wrote them.
    Prepared,
}

/// The pictures of an archive.
#[derive(Debug)]
pub(super) struct Npz {
    records: Records,
    layout: Layout,
    height: usize,
    width: usize,
    preprocessing: Preprocessing,
}

type Archive = ZipArchive<BufReader<File>>;

/// Opens an archive, and reads the class of every sample.
///
/// # Errors
/// A broken archive, missing arrays, arrays of other shapes and types, classes that the model does not have.
pub(super) fn open(path: &Path, requirements: &Requirements) -> Result<(Npz, Vec<usize>), DatasetError> {
    let text = path.display().to_string();
    let file = File::open(path).map_err(|error| read_error(path, error))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|source| archive_error(&text, source))?;
    let labels = labels(&mut archive, path, requirements.labels)?;
    let images = images(&mut archive, path, labels.len(), requirements.preprocessing)?;
    Ok((images, labels))
}

fn archive_error(path: &str, source: zip::result::ZipError) -> DatasetError {
    DatasetError::Archive { path: path.to_owned(), source }
}

/// Where an array is in the archive.
fn find(archive: &Archive, path: &str, name: &'static str) -> Result<usize, DatasetError> {
    archive.index_for_name(&[name, ".npy"].concat()).ok_or_else(|| {
        let names = archive.file_names().filter_map(Result::ok);
        let found: Vec<String> = names.map(|name| format!("`{}`", name.trim_end_matches(".npy"))).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        DatasetError::MissingArray { path: path.to_owned(), name, found }
    })
}

/// The classes: `[n]` integers below `classes`.
fn labels(archive: &mut Archive, path: &Path, classes: usize) -> Result<Vec<usize>, DatasetError> {
    let text = path.display().to_string();
    let refused =
        |problem: String, hint: &'static str| DatasetError::Array { path: text.clone(), name: LABELS, problem, hint };
    let index = find(archive, &text, LABELS)?;
    let mut content = Vec::new();
    let mut entry = archive.by_index(index).map_err(|source| archive_error(&text, source))?;
    entry.read_to_end(&mut content).map_err(|error| read_error(path, error))?;
    let tensor = read_npy(&text, LABELS, &content)?;
    let HostData::I64(values) = tensor.data else {
        return Err(refused("holds floats".into(), "store integers: `.astype(numpy.int64)`"));
    };
    if tensor.shape.len() != 1 {
        let problem = format!("has the shape {}, expected one class a sample", shape_text(&tensor.shape));
        return Err(refused(problem, "`.ravel()` flattens it; of one-hot rows take `.argmax(1)`"));
    }
    let class = |(sample, value): (usize, i64)| {
        usize::try_from(value).ok().filter(|class| *class < classes).ok_or_else(|| DatasetError::Label {
            path: text.clone(),
            what: format!("sample {sample}"),
            label: value,
            labels: classes,
        })
    };
    values.into_iter().enumerate().map(class).collect()
}

/// The pictures: as many as there are classes of samples.
fn images(
    archive: &mut Archive,
    path: &Path,
    samples: usize,
    preprocessing: Preprocessing,
) -> Result<Npz, DatasetError> {
    let text = path.display().to_string();
    let refused =
        |problem: String, hint: &'static str| DatasetError::Array { path: text.clone(), name: IMAGES, problem, hint };
    let index = find(archive, &text, IMAGES)?;
    let entry = archive.by_index(index).map_err(|source| archive_error(&text, source))?;
    let stored = (entry.compression() == CompressionMethod::Stored).then(|| entry.data_start()).flatten();
    let unpacked = entry.size();
    let mut content = entry.take(unpacked);
    let header = NpyHeader::from_reader(&mut content).map_err(|error| read_error(path, error))?;
    if header.order() == Order::Fortran {
        return Err(refused("is in column-major order".into(), "`numpy.ascontiguousarray` puts it in row-major order"));
    }
    let shape: Vec<usize> = header.shape().iter().map(|&extent| extent as usize).collect();
    let (layout, height, width) =
        layout(&header.dtype(), &shape, preprocessing.crop()).map_err(|(problem, hint)| refused(problem, hint))?;
    if shape[0] != samples {
        let problem = format!("holds {} pictures, `{LABELS}` {samples} classes", shape[0]);
        return Err(refused(problem, "write one class for every picture"));
    }
    let element = if layout == Layout::Prepared { size_of::<f32>() } else { 1 };
    let size = [height, width].iter().try_fold(3 * element, |size, extent| size.checked_mul(*extent));
    let bytes = size.and_then(|size| size.checked_mul(samples)).map(|bytes| bytes as u64);
    let (Some(size), true) = (size, bytes == Some(content.limit())) else {
        return Err(refused("is shorter or longer than its header says".into(), "write the file again"));
    };
    let (file, start) = match stored {
        Some(start) => (File::open(path).map_err(|error| read_error(path, error))?, start + unpacked - content.limit()),
        None => {
            let mut file = tempfile::tempfile().map_err(|error| read_error(&std::env::temp_dir(), error))?;
            std::io::copy(&mut content, &mut file).map_err(|error| read_error(path, error))?;
            file.rewind().map_err(|error| read_error(&std::env::temp_dir(), error))?;
            (file, 0)
        }
    };
    let records = Records::new(path.to_path_buf(), file, start, size);
    Ok(Npz { records, layout, height, width, preprocessing })
}

/// How the pictures lie, their height and width; or what is wrong with them and the way out.
pub(super) fn layout(
    dtype: &DType,
    shape: &[usize],
    crop: usize,
) -> Result<(Layout, usize, usize), (String, &'static str)> {
    let DType::Plain(plain) = dtype else {
        return Err(("holds records".into(), "store uint8 pictures"));
    };
    let odd_shape =
        |expected: String, hint| Err((format!("has the shape {}, expected {expected}", shape_text(shape)), hint));
    let colours = "store red, green and blue; a grey picture three times: `numpy.repeat(images, 3, axis=1)`";
    match (plain.type_char(), plain.size_field()) {
        (TypeChar::Uint, 1) => match *shape {
            [_, 3, _, 3] => odd_shape("planes or pixels, not both".into(), "pictures of three pixels are ambiguous"),
            [_, 3, height, width] if height > 0 && width > 0 => Ok((Layout::Planes, height, width)),
            [_, height, width, 3] if height > 0 && width > 0 => Ok((Layout::Pixels, height, width)),
            _ => odd_shape("n x 3 x height x width or n x height x width x 3".into(), colours),
        },
        (TypeChar::Float, 4) if plain.endianness() != Endianness::Big => {
            if shape.len() == 4 && shape[1..] == [3, crop, crop] {
                return Ok((Layout::Prepared, crop, crop));
            }
            let hint = "floats are taken as pre-processed already; give uint8 pictures to have it done as published";
            odd_shape(format!("n x 3 x {crop} x {crop}"), hint)
        }
        _ => Err((
            format!("has elements of type `{}`", dtype.descr().trim_matches('\'')),
            "store uint8 pictures, or pre-processed ones as float32",
        )),
    }
}

/// The picture in bytes `[3, height, width]`.
pub(super) fn picture_of_planes(bytes: &[u8], width: usize, height: usize) -> RgbImage {
    picture(width, height, |pixel, channel| bytes[channel * width * height + pixel])
}

/// The picture in bytes `[height, width, 3]`.
pub(super) fn picture_of_pixels(bytes: &[u8], width: usize, height: usize) -> RgbImage {
    picture(width, height, |pixel, channel| bytes[pixel * 3 + channel])
}

fn picture(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> RgbImage {
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let pixel = y as usize * width + x as usize;
        image::Rgb([value(pixel, 0), value(pixel, 1), value(pixel, 2)])
    })
}

impl Npz {
    /// The file.
    pub(super) fn path(&self) -> &Path {
        self.records.path()
    }

    /// Sample `index`.
    ///
    /// # Errors
    /// The file cannot be read, or a float is none that the pre-processing can make.
    pub(super) fn sample(&self, index: usize) -> Result<Sample, DatasetError> {
        let record = self.records.read(index)?;
        let (width, height) = (self.width, self.height);
        match self.layout {
            Layout::Planes => Ok(Sample::Picture(picture_of_planes(&record, width, height))),
            Layout::Pixels => Ok(Sample::Picture(picture_of_pixels(&record, width, height))),
            Layout::Prepared => {
                let (values, _) = record.as_chunks::<4>();
                let values: Vec<f32> = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
                self.check(index, &values)?;
                Ok(Sample::Prepared(values))
            }
        }
    }

    /// Floats from 0 to 255, or with a NaN among them, were not pre-processed; an interpolation that overshoots a
    /// little is well inside.
    fn check(&self, sample: usize, values: &[f32]) -> Result<(), DatasetError> {
        const MARGIN: f32 = 1.0;
        for (channel, plane) in values.chunks_exact(self.width * self.height).enumerate() {
            let possible =
                self.preprocessing.normalise(channel, 0) - MARGIN..=self.preprocessing.normalise(channel, 255) + MARGIN;
            if let Some(&value) = plane.iter().find(|value| !possible.contains(value)) {
                return Err(DatasetError::Value { path: self.path().display().to_string(), sample, value });
            }
        }
        Ok(())
    }
}
