//! Tensors in NumPy's files: .npy holds one, .npz several by name.

use std::io::{Cursor, ErrorKind, Read as _, Seek, Write};
use std::path::Path;

use npyz::{DType, Endianness, NpyFile, TypeChar, WriterBuilder as _};

use crate::domain::{HostData, HostTensor};

/// What can go wrong with a file of tensors.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// It cannot be read.
    #[error("cannot read the tensors in `{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is neither .npy nor .npz.
    #[error("`{path}` is neither .npy nor .npz")]
    Format {
        /// The file.
        path: String,
    },
    /// The archive is broken.
    #[error("cannot read the archive `{path}`")]
    Archive {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: zip::result::ZipError,
    },
    /// Elements that no network takes.
    #[error("tensor `{name}` in `{path}` has elements of type `{dtype}`")]
    ElementType {
        /// The file.
        path: String,
        /// The tensor.
        name: String,
        /// NumPy's name of the type.
        dtype: String,
    },
    /// Several tensors for a format that holds one.
    #[error("`{path}` can hold one tensor, there are {count}")]
    TooMany {
        /// The file.
        path: String,
        /// The tensors.
        count: usize,
    },
}

impl TensorFileError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Format { .. } => Some("write it with numpy.save (.npy) or numpy.savez (.npz)".to_owned()),
            Self::ElementType { .. } => Some("float32, float64 and integers are read: use `.astype`".to_owned()),
            Self::TooMany { .. } => Some("name a file that ends in .npz".to_owned()),
            Self::Read { .. } => Some("check the path, its permissions and that the file is whole".to_owned()),
            Self::Archive { .. } => Some("write it with numpy.savez".to_owned()),
        }
    }
}

/// The tensors of a file; the one of a .npy gets the name `single`.
///
/// # Errors
/// A file that is not there, is of another format, or holds other elements than floats and integers.
pub fn read_tensors(path: &Path, single: &str) -> Result<Vec<HostTensor>, TensorFileError> {
    let text = path.to_string_lossy().into_owned();
    let unreadable = |source| TensorFileError::Read { path: text.clone(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    if bytes.starts_with(b"\x93NUMPY") {
        return Ok(vec![read_npy(&text, single, &bytes)?]);
    }
    if !bytes.starts_with(b"PK") {
        return Err(TensorFileError::Format { path: text });
    }
    let broken = |source| TensorFileError::Archive { path: text.clone(), source };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let mut tensors = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.trim_end_matches(".npy").to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(unreadable)?;
        tensors.push(read_npy(&text, &name, &content)?);
    }
    Ok(tensors)
}

/// The tensor in the `bytes` of a .npy, under the name `name`. `path` is for messages.
///
/// # Errors
/// Bytes that are no .npy, too few of them, elements that are neither floats nor integers of at most 64 bits.
pub fn read_npy(path: &str, name: &str, bytes: &[u8]) -> Result<HostTensor, TensorFileError> {
    let unreadable = |source| TensorFileError::Read { path: path.to_owned(), source };
    let file = NpyFile::new(bytes).map_err(unreadable)?;
    let shape: Vec<usize> = file.shape().iter().map(|&extent| extent as usize).collect();
    // The header may claim anything; the smallest element is one byte.
    let elements = shape.iter().try_fold(1_usize, |all, extent| all.checked_mul(*extent));
    if elements.is_none_or(|elements| elements > bytes.len()) {
        return Err(unreadable(std::io::Error::new(
            ErrorKind::InvalidData,
            "the header promises more elements than the file holds",
        )));
    }
    let fortran = file.order() == npyz::Order::Fortran;
    let dtype = file.dtype();
    let (kind, swapped) = match &dtype {
        DType::Plain(plain) => ((plain.type_char(), plain.size_field()), plain.endianness() == Endianness::Big),
        _ => ((TypeChar::RawData, 0), false),
    };
    let data = match kind {
        // The usual case; one element after the other would take some times as long.
        (TypeChar::Float, 4) if !swapped => {
            let (elements, _) = file.into_inner().as_chunks::<4>();
            let all =
                elements.get(..shape.iter().product()).ok_or_else(|| unreadable(ErrorKind::UnexpectedEof.into()))?;
            HostData::F32(all.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        (TypeChar::Float, 4) => HostData::F32(file.into_vec().map_err(unreadable)?),
        (TypeChar::Float, 8) => {
            let wide: Vec<f64> = file.into_vec().map_err(unreadable)?;
            HostData::F32(wide.into_iter().map(|value| value as f32).collect())
        }
        (TypeChar::Bool, 1) => {
            let truths: Vec<bool> = file.into_vec().map_err(unreadable)?;
            HostData::I64(truths.into_iter().map(i64::from).collect())
        }
        (TypeChar::Int, 8) => HostData::I64(file.into_vec().map_err(unreadable)?),
        (TypeChar::Int, 4) => widened::<i32>(file).map_err(unreadable)?,
        (TypeChar::Int, 2) => widened::<i16>(file).map_err(unreadable)?,
        (TypeChar::Int, 1) => widened::<i8>(file).map_err(unreadable)?,
        (TypeChar::Uint, 8) => widened::<u64>(file).map_err(unreadable)?,
        (TypeChar::Uint, 4) => widened::<u32>(file).map_err(unreadable)?,
        (TypeChar::Uint, 2) => widened::<u16>(file).map_err(unreadable)?,
        (TypeChar::Uint, 1) => widened::<u8>(file).map_err(unreadable)?,
        _ => {
            return Err(TensorFileError::ElementType {
                path: path.to_owned(),
                name: name.to_owned(),
                dtype: dtype.descr(),
            });
        }
    };
    Ok(HostTensor { name: name.to_owned(), data: if fortran { row_major(&shape, data) } else { data }, shape })
}

/// Integers of another type.
fn widened<T: npyz::Deserialize + TryInto<i64>>(file: NpyFile<&[u8]>) -> std::io::Result<HostData> {
    let too_large = || std::io::Error::new(ErrorKind::InvalidData, "an integer does not fit into 64 bits");
    let values: Vec<T> = file.into_vec()?;
    let values: Result<Vec<i64>, _> =
        values.into_iter().map(|value| value.try_into().map_err(|_| too_large())).collect();
    values.map(HostData::I64)
}

/// Elements in column-major order, put into row-major order.
fn row_major(shape: &[usize], data: HostData) -> HostData {
    fn reorder<T: Copy>(shape: &[usize], values: &[T]) -> Vec<T> {
        let mut strides = vec![1; shape.len()];
        for axis in 1..shape.len() {
            strides[axis] = strides[axis - 1] * shape[axis - 1];
        }
        (0..values.len())
            .map(|mut index| {
                let mut offset = 0;
                for axis in (0..shape.len()).rev() {
                    offset += index % shape[axis] * strides[axis];
                    index /= shape[axis];
                }
                values[offset]
            })
            .collect()
    }
    match data {
        HostData::F32(values) => HostData::F32(reorder(shape, &values)),
        HostData::I64(values) => HostData::I64(reorder(shape, &values)),
    }
}

/// Writes tensors to `out`: a .npz where `archive` says so, else the one tensor as a .npy.
///
/// # Errors
/// More than one tensor for a .npy, or what the writer refuses. `path` is for messages.
pub fn write_tensors(
    out: &mut dyn Write,
    tensors: &[HostTensor],
    archive: bool,
    path: &str,
) -> Result<(), TensorFileError> {
    let unwritable = |source| TensorFileError::Read { path: path.to_owned(), source };
    if !archive {
        let [single] = tensors else {
            return Err(TensorFileError::TooMany { path: path.to_owned(), count: tensors.len() });
        };
        let mut bytes = Vec::new();
        write_npy(&mut bytes, single).map_err(unwritable)?;
        return out.write_all(&bytes).map_err(unwritable);
    }
    let mut bytes = Cursor::new(Vec::new());
    write_npz(&mut bytes, tensors).map_err(|source| TensorFileError::Archive { path: path.to_owned(), source })?;
    out.write_all(&bytes.into_inner()).map_err(unwritable)
}

fn write_npz(out: impl Write + Seek, tensors: &[HostTensor]) -> Result<(), zip::result::ZipError> {
    let mut archive = zip::ZipWriter::new(out);
    // As numpy.savez does: stored, not deflated.
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    for tensor in tensors {
        archive.start_file([&tensor.name, ".npy"].concat(), options)?;
        write_npy(&mut archive, tensor)?;
    }
    archive.finish()?;
    Ok(())
}

fn write_npy(out: &mut impl Write, tensor: &HostTensor) -> std::io::Result<()> {
    let shape: Vec<u64> = tensor.shape.iter().map(|&extent| extent as u64).collect();
    match &tensor.data {
        HostData::F32(values) => {
            let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(out).begin_nd()?;
            writer.extend(values.iter().copied())?;
            writer.finish()
        }
        HostData::I64(values) => {
            let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(out).begin_nd()?;
            writer.extend(values.iter().copied())?;
            writer.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> Vec<HostTensor> {
        vec![
            HostTensor {
                name: "logits".into(),
                shape: vec![2, 3],
                data: HostData::F32(vec![1.0, -2.5, 3.0, 0.0, 1e-30, 6.0]),
            },
            HostTensor { name: "ids".into(), shape: vec![2], data: HostData::I64(vec![7, -8]) },
        ]
    }

    #[test]
    fn an_archive_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        write_tensors(&mut std::fs::File::create(&path).unwrap(), &tensors(), true, "x.npz").unwrap();
        assert_eq!(read_tensors(&path, "image").unwrap(), tensors());
    }

    #[test]
    fn integers_of_every_width_are_read() {
        fn npy<T: npyz::Serialize + npyz::AutoSerialize + Copy>(values: &[T]) -> Vec<u8> {
            let mut bytes = Vec::new();
            let options = npyz::WriteOptions::new().default_dtype().shape(&[values.len() as u64]);
            let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
            writer.extend(values.iter().copied()).unwrap();
            writer.finish().unwrap();
            bytes
        }
        let read = |bytes: Vec<u8>| read_npy("x.npy", "x", &bytes).map(|tensor| tensor.data);
        assert_eq!(read(npy(&[-1_i8, 7])).unwrap(), HostData::I64(vec![-1, 7]));
        assert_eq!(read(npy(&[-300_i16, 7])).unwrap(), HostData::I64(vec![-300, 7]));
        assert_eq!(read(npy(&[255_u8, 7])).unwrap(), HostData::I64(vec![255, 7]));
        assert_eq!(read(npy(&[65_535_u16])).unwrap(), HostData::I64(vec![65_535]));
        assert_eq!(read(npy(&[u32::MAX])).unwrap(), HostData::I64(vec![i64::from(u32::MAX)]));
        assert_eq!(read(npy(&[7_u64])).unwrap(), HostData::I64(vec![7]));
        assert!(read(npy(&[u64::MAX])).is_err());
    }

    #[test]
    fn floats_of_either_byte_order_are_read_to_the_last_one() {
        let npy = |order: &str, values: [f32; 3]| {
            let mut bytes = Vec::new();
            let dtype = DType::Plain(order.parse().unwrap());
            let mut writer = npyz::WriteOptions::new().dtype(dtype).shape(&[3]).writer(&mut bytes).begin_nd().unwrap();
            writer.extend(values).unwrap();
            writer.finish().unwrap();
            bytes
        };
        let values = [1.5, -0.0, f32::MIN_POSITIVE];
        let [little, big] = ["<f4", ">f4"].map(|order| npy(order, values));
        assert_ne!(little[little.len() - 12..], big[big.len() - 12..]);
        for bytes in [little, big] {
            assert_eq!(read_npy("x.npy", "x", &bytes).unwrap().data, HostData::F32(values.to_vec()));
            assert!(read_npy("x.npy", "x", &bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_single_tensor_takes_the_name_that_it_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write_tensors(&mut std::fs::File::create(&path).unwrap(), &tensors()[..1], false, "x.npy").unwrap();
        assert_eq!(read_tensors(&path, "image").unwrap()[0].name, "image");
    }

    #[test]
    fn column_major_elements_are_put_in_order() {
        // [[1, 2, 3], [4, 5, 6]] by columns.
        let data = HostData::I64(vec![1, 4, 2, 5, 3, 6]);
        assert_eq!(row_major(&[2, 3], data), HostData::I64(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn two_tensors_do_not_fit_into_a_npy() {
        assert!(matches!(
            write_tensors(&mut Vec::new(), &tensors(), false, "x.npy"),
            Err(TensorFileError::TooMany { count: 2, .. })
        ));
    }
}
