//! Inputs that somebody wants a network to read without saying what they are: pictures, and tensors in NumPy's files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use npyz::{NpyHeader, Order};

use super::image_folder::readable_below;
use super::npz::{Layout, layout, picture_of_pixels, picture_of_planes};
use super::picture::{decode, preprocess};
use super::{DatasetError, read_error};
use crate::domain::{HostData, HostTensor, InputSpec, Preprocessing};
use crate::exchange::tensors::{read_npy, read_tensors};

const IMAGE: &str = "image";

/// No normalised picture has values beyond this, and no noise that stands for one: these are pictures from 0 to 255.
const LARGEST: f32 = 20.0;

/// A file with the name of what is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// The file.
    pub path: PathBuf,
    /// Its name without ending; in a folder that was given, with the names of the folders below that: `cat_1`. No two
    /// files of a list have the same.
    pub name: String,
}

/// One sample of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct UnlabelledSample {
    /// The file's name, with the sample's number where the file holds several: `x_0`.
    pub name: String,
    /// What the network reads, each tensor as a batch of one.
    pub inputs: Vec<HostTensor>,
    /// What the network sees of the input `image`, for people; `None` where it reads no picture.
    pub picture: Option<RgbImage>,
}

/// The files that paths mean: files as they are, folders with all readable files below them, in their order.
///
/// # Errors
/// A path that is not there, a folder without any readable file.
pub fn input_files(paths: &[PathBuf]) -> Result<Vec<InputFile>, DatasetError> {
    let mut files = Vec::new();
    for path in paths {
        let about = std::fs::metadata(path).map_err(|error| read_error(path, error))?;
        // Opening a pipe would wait for somebody who writes to it.
        if !about.is_dir() && !about.is_file() {
            return Err(read_error(path, std::io::Error::other("it is no regular file")));
        }
        if !about.is_dir() {
            files.push(InputFile { path: path.clone(), name: name_below(path, path.parent()) });
            continue;
        }
        let inside = readable_below(path)?;
        if inside.is_empty() {
            return Err(DatasetError::NoInputs { path: path.display().to_string() });
        }
        files.extend(inside.into_iter().map(|file| InputFile { name: name_below(&file, Some(path)), path: file }));
    }
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for file in &mut files {
        let count = taken.entry(file.name.to_lowercase()).or_default();
        *count += 1;
        if *count > 1 {
            // Cannot be another file's own name: these have no `~`.
            file.name = format!("{}~{count}", file.name);
        }
    }
    Ok(files)
}

/// The path below `folder` without its ending, in one word.
fn name_below(path: &Path, folder: Option<&Path>) -> String {
    let below = folder.and_then(|folder| path.strip_prefix(folder).ok()).unwrap_or(path).with_extension("");
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy().replace(['/', '\\', '~', ':'], "-")).collect();
    parts.join("_")
}

/// Reads samples for one model.
#[derive(Clone, Debug)]
pub struct SampleReader {
    model: String,
    inputs: Vec<InputSpec>,
    preprocessing: Option<Preprocessing>,
}

impl SampleReader {
    /// For a model of the zoo, by its canonical name, with these inputs.
    pub fn of_model(model: &str, inputs: &[InputSpec]) -> Self {
        let preprocessing = Preprocessing::published(model);
        Self { model: model.to_owned(), inputs: inputs.to_vec(), preprocessing }
    }

    /// The samples of a file: one of a picture, one or many of a .npy or .npz. Pictures are scaled and normalised as
    /// published for the model; bytes in a .npy are a picture too; floats are taken as they are.
    ///
    /// # Errors
    /// A file that is none of these, is broken, or does not fit the model; values that are not finite.
    pub fn read(&self, file: &InputFile) -> Result<Vec<UnlabelledSample>, DatasetError> {
        let bytes = std::fs::read(&file.path).map_err(|error| read_error(&file.path, error))?;
        let tensors = if bytes.starts_with(b"\x93NUMPY") {
            vec![self.array(&file.path, &bytes)?]
        } else if bytes.starts_with(b"PK") {
            read_tensors(&file.path, "")?
        } else {
            vec![self.picture(&file.path, bytes)?]
        };
        self.samples(file, &tensors)
    }

    fn published(&self) -> Result<&Preprocessing, DatasetError> {
        self.preprocessing.as_ref().ok_or_else(|| DatasetError::NoPreprocessing { model: self.model.clone() })
    }

    /// The name of the model's first input: that of a .npy.
    fn first(&self) -> &str {
        self.inputs.first().map_or(IMAGE, |input| &input.name)
    }

    fn picture(&self, path: &Path, bytes: Vec<u8>) -> Result<HostTensor, DatasetError> {
        let preprocessing = self.published()?;
        let broken = |source| DatasetError::Picture { path: path.display().to_string(), source };
        Ok(prepared(preprocessing, &[decode(bytes).map_err(broken)?]))
    }

    /// The tensor of a .npy.
    fn array(&self, path: &Path, bytes: &[u8]) -> Result<HostTensor, DatasetError> {
        let text = path.display().to_string();
        let mut rest = bytes;
        let header = NpyHeader::from_reader(&mut rest).map_err(|error| read_error(path, error))?;
        let tensor = || read_npy(&text, self.first(), bytes);
        let Some(preprocessing) = self.preprocessing.as_ref().filter(|_| self.first() == IMAGE) else {
            return Ok(tensor()?);
        };
        let mut shape: Vec<usize> = header.shape().iter().map(|&extent| extent as usize).collect();
        if shape.len() == 3 {
            shape.insert(0, 1);
        }
        let is_bytes = matches!(&header.dtype(), npyz::DType::Plain(plain) if plain.size_field() == 1);
        if !is_bytes || header.order() == Order::Fortran {
            return self.floats(&text, tensor()?);
        }
        let refused = |(problem, hint)| DatasetError::Array { path: text.clone(), name: IMAGE, problem, hint };
        let (layout, height, width) = layout(&header.dtype(), &shape, preprocessing.crop()).map_err(refused)?;
        let size = 3 * height * width;
        if rest.len() != shape[0] * size {
            let problem = "is shorter or longer than its header says".to_owned();
            return Err(refused((problem, "write the file again")));
        }
        let picture = |bytes: &[u8]| match layout {
            Layout::Pixels => picture_of_pixels(bytes, width, height),
            Layout::Planes | Layout::Prepared => picture_of_planes(bytes, width, height),
        };
        let pictures: Vec<RgbImage> = rest.chunks_exact(size).map(picture).collect();
        Ok(prepared(preprocessing, &pictures))
    }

    /// Floats for an image classifier: checked for what a glance at them tells.
    fn floats(&self, path: &str, tensor: HostTensor) -> Result<HostTensor, DatasetError> {
        if let HostData::F32(values) = &tensor.data
            && let Some(place) = values.iter().position(|value| value.is_finite() && value.abs() > LARGEST)
        {
            let size = 3 * self.preprocessing.map_or(1, |preprocessing| preprocessing.crop().pow(2));
            let sample = place / size;
            return Err(DatasetError::Value { path: path.to_owned(), sample, value: values[place] });
        }
        Ok(tensor)
    }

    /// Takes batches apart.
    fn samples(&self, file: &InputFile, tensors: &[HostTensor]) -> Result<Vec<UnlabelledSample>, DatasetError> {
        let path = || file.path.display().to_string();
        let mut count = None;
        let mut batches = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            if let HostData::F32(values) = &tensor.data
                && values.iter().any(|value| !value.is_finite())
            {
                return Err(DatasetError::NotFinite { path: path(), name: tensor.name.clone() });
            }
            let rank = self.inputs.iter().find(|input| input.name == tensor.name).map(|input| input.shape.len());
            let mut shape = tensor.shape.clone();
            if rank == Some(shape.len()) {
                // One sample that has no dimension for the batch.
                shape.insert(0, 1);
            }
            let samples = shape.first().copied().unwrap_or(0);
            let (first, ours) = *count.get_or_insert((&tensor.name, samples));
            if samples != ours {
                let (first, name, theirs) = (first.clone(), tensor.name.clone(), samples);
                return Err(DatasetError::SampleCount { path: path(), first, ours, name, theirs });
            }
            batches.push((tensor, shape));
        }
        let count = count.map_or(0, |(_, samples)| samples);
        if count == 0 {
            return Err(DatasetError::Empty { path: path() });
        }
        let sample = |index: usize| {
            let inputs: Vec<HostTensor> =
                batches.iter().map(|(tensor, shape)| sample_of(tensor, shape, index, count)).collect();
            let picture = inputs.iter().find(|tensor| tensor.name == IMAGE).and_then(|image| self.seen(image));
            let name = if count == 1 { file.name.clone() } else { format!("{}_{index}", file.name) };
            UnlabelledSample { name, inputs, picture }
        };
        Ok((0..count).map(sample).collect())
    }

    /// What a tensor `[1, 3, height, width]` shows: the colours before they were normalised; where nobody knows how
    /// they were, the least value is black and the largest white.
    fn seen(&self, image: &HostTensor) -> Option<RgbImage> {
        let ([1, 3, height, width], HostData::F32(values)) = (&image.shape[..], &image.data) else {
            return None;
        };
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shade = |channel: usize, value: f32| match &self.preprocessing {
            Some(preprocessing) => preprocessing.denormalise(channel, value),
            None => ((value - low) / (high - low).max(f32::MIN_POSITIVE) * 255.0).round() as u8,
        };
        let planes: Vec<u8> = values
            .chunks_exact((height * width).max(1))
            .enumerate()
            .flat_map(|(channel, plane)| plane.iter().map(move |value| (channel, *value)))
            .map(|(channel, value)| shade(channel, value))
            .collect();
        (!planes.is_empty()).then(|| picture_of_planes(&planes, *width, *height))
    }
}

/// Pictures as one batch `[pictures, 3, crop, crop]`.
fn prepared(preprocessing: &Preprocessing, pictures: &[RgbImage]) -> HostTensor {
    let shape = preprocessing.shape();
    let length: usize = shape.iter().product();
    let mut values = vec![0.0; pictures.len() * length];
    for (picture, sample) in pictures.iter().zip(values.chunks_exact_mut(length)) {
        preprocess(picture, preprocessing, sample);
    }
    let shape = std::iter::once(pictures.len()).chain(shape).collect();
    HostTensor { name: IMAGE.to_owned(), shape, data: HostData::F32(values) }
}

/// Sample `index` of `count` as a batch of one.
fn sample_of(tensor: &HostTensor, shape: &[usize], index: usize, count: usize) -> HostTensor {
    let size = tensor.data.len() / count;
    let part = index * size..(index + 1) * size;
    let data = match &tensor.data {
        HostData::F32(values) => HostData::F32(values[part].to_vec()),
        HostData::I64(values) => HostData::I64(values[part].to_vec()),
    };
    let shape = std::iter::once(1).chain(shape.iter().skip(1).copied()).collect();
    HostTensor { name: tensor.name.clone(), shape, data }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::dataset::tests::fixtures;
    use crate::domain::InputKind;
    use crate::exchange::tensors::write_tensors;

    fn cifar() -> SampleReader {
        let image = InputSpec { name: IMAGE.into(), kind: InputKind::Float, shape: vec![3, 32, 32] };
        SampleReader::of_model("cifar_cnn", &[image])
    }

    fn gpt() -> SampleReader {
        let kind = InputKind::Tokens { vocabulary: 50257 };
        SampleReader::of_model("gpt2", &[InputSpec { name: "ids".into(), kind, shape: vec![128] }])
    }

    fn floats(shape: &[usize], value: impl Fn(usize) -> f32) -> HostTensor {
        let data = HostData::F32((0..shape.iter().product()).map(value).collect());
        HostTensor { name: IMAGE.into(), shape: shape.into(), data }
    }

    fn file(path: PathBuf) -> InputFile {
        input_files(&[path]).unwrap().remove(0)
    }

    fn written(folder: &tempfile::TempDir, name: &str, tensors: &[HostTensor]) -> InputFile {
        let path = folder.path().join(name);
        write_tensors(&mut File::create(&path).unwrap(), tensors, name.ends_with('z'), name).unwrap();
        file(path)
    }

    /// A .npy of bytes, which `write_tensors` does not make.
    fn bytes_file(folder: &tempfile::TempDir, shape: &[u64], bytes: &[u8]) -> InputFile {
        use npyz::WriterBuilder as _;
        let path = folder.path().join("bytes.npy");
        let options = npyz::WriteOptions::new().default_dtype().shape(shape);
        let mut writer = options.writer(File::create(&path).unwrap()).begin_nd().unwrap();
        writer.extend(bytes.iter().copied()).unwrap();
        writer.finish().unwrap();
        file(path)
    }

    #[test]
    fn a_picture_is_prepared_as_the_data_set_prepares_it_and_seen_as_the_network_sees_it() {
        let read = |ending: &str| file(fixtures().join("preprocessing").join(["tall", ending].concat()));
        let sample = cifar().read(&read(".png")).unwrap().remove(0);
        assert_eq!((sample.name.as_str(), sample.inputs[0].shape.as_slice()), ("tall", &[1, 3, 32, 32][..]));
        let expected = decode(std::fs::read(read(".expected.png").path).unwrap()).unwrap();
        assert_eq!(sample.picture.unwrap(), expected);
    }

    #[test]
    fn bytes_in_an_array_are_a_picture_and_floats_are_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let picture = RgbImage::from_fn(32, 32, |x, y| image::Rgb([x as u8 * 8, y as u8 * 8, 77]));
        let png = folder.path().join("picture.png");
        picture.save(&png).unwrap();
        let expected = cifar().read(&file(png)).unwrap().remove(0);
        assert_eq!(expected.picture.as_ref(), Some(&picture));
        let pixels = cifar().read(&bytes_file(&folder, &[32, 32, 3], picture.as_raw())).unwrap().remove(0);
        assert_eq!(pixels.inputs, expected.inputs);
        let planes: Vec<u8> = (0..3).flat_map(|channel| picture.pixels().map(move |pixel| pixel.0[channel])).collect();
        let twice = [planes.clone(), planes].concat();
        let samples = cifar().read(&bytes_file(&folder, &[2, 3, 32, 32], &twice)).unwrap();
        assert_eq!([&samples[0].name, &samples[1].name], ["bytes_0", "bytes_1"]);
        assert!(samples.iter().all(|sample| sample.inputs == expected.inputs));
        // With and without a dimension for the batch.
        for shape in [&[3, 32, 32][..], &[1, 3, 32, 32]] {
            let whole = HostTensor { shape: shape.into(), ..expected.inputs[0].clone() };
            let sample = cifar().read(&written(&folder, "x.npy", &[whole])).unwrap().remove(0);
            assert_eq!((&sample.inputs, &sample.picture), (&expected.inputs, &expected.picture));
        }
    }

    #[test]
    fn a_batch_is_taken_apart() {
        let folder = tempfile::tempdir().unwrap();
        let batch = floats(&[3, 3, 32, 32], |place| (place / 3072) as f32);
        let samples = cifar().read(&written(&folder, "x.npy", &[batch])).unwrap();
        assert_eq!(samples.len(), 3);
        assert_eq!(samples[2].inputs[0], floats(&[1, 3, 32, 32], |_| 2.0));
        let ids = HostTensor { name: "ids".into(), shape: vec![2, 4], data: HostData::I64((0..8).collect()) };
        let samples = gpt().read(&written(&folder, "ids.npz", &[ids])).unwrap();
        assert_eq!(samples[1].inputs[0].data, HostData::I64(vec![4, 5, 6, 7]));
        assert_eq!((samples[1].inputs[0].shape.as_slice(), &samples[1].picture), (&[1, 4][..], &None));
    }

    #[test]
    fn what_cannot_be_read_is_said_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |reader: SampleReader, file: &InputFile| {
            let error = reader.read(file).unwrap_err();
            assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
            error.to_string()
        };
        let nan =
            written(&folder, "x.npy", &[floats(&[1, 3, 32, 32], |place| if place == 9 { f32::NAN } else { 0.0 })]);
        assert!(refused(cifar(), &nan).ends_with("x.npy` holds values that are not finite"));
        let raw = written(&folder, "x.npy", &[floats(&[2, 3, 32, 32], |place| (place / 3072 * 255) as f32)]);
        assert!(refused(cifar(), &raw).starts_with("sample 1 of"));
        let grey = bytes_file(&folder, &[32, 32], &[0; 1024]);
        assert!(refused(cifar(), &grey).contains("has the shape 32x32, expected n x 3 x height x width"));
        let alpha = bytes_file(&folder, &[32, 32, 4], &[0; 4096]);
        assert!(refused(cifar(), &alpha).contains("has the shape 1x32x32x4"));
        let text = folder.path().join("x.png");
        std::fs::write(&text, "no picture").unwrap();
        assert!(refused(cifar(), &file(text)).ends_with("x.png` cannot be used"));
        let picture = file(fixtures().join("preprocessing/tall.png"));
        assert!(refused(gpt(), &picture).contains("no published pre-processing of pictures for the model `gpt2`"));
        let ids = |name: &str, samples| {
            let data = HostData::I64(vec![1; samples * 4]);
            HostTensor { name: name.into(), shape: vec![samples, 4], data }
        };
        let uneven = written(&folder, "y.npz", &[ids("ids", 2), ids("mask", 3)]);
        assert!(refused(gpt(), &uneven).ends_with("`ids` has 2, `mask` 3"));
        let none = written(&folder, "z.npy", &[ids("ids", 0)]);
        assert!(refused(gpt(), &none).contains("holds no sample"));
        let missing = input_files(&[folder.path().join("missing.png")]).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read `"));
    }

    #[test]
    fn folders_are_searched_and_every_file_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["set/dog/1.png", "set/cat/1.JPG", "set/cat/2.npy", "set/cat/notes.txt", "set/.hidden.png", "1.png"]
        {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "").unwrap();
        }
        let files = input_files(&[at("set"), at("1.png"), at("set/dog/1.png")]).unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["cat_1", "cat_2", "dog_1", "1", "1~2"]);
        assert_eq!(files[2].path, at("set/dog/1.png"));
        std::fs::create_dir(at("empty")).unwrap();
        let error = input_files(&[at("empty")]).unwrap_err();
        assert!(error.to_string().ends_with("holds no picture and no tensor"), "{error}");
    }
}
