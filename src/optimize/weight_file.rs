//! Host tensors as the bytes of a safetensors file.

use std::borrow::Cow;

use safetensors::{Dtype, View};

use super::error::OptimizeError;
use crate::domain::model::{HostData, HostTensor};

/// A safetensors file of these tensors under their names. The format sorts them, so the same tensors in any order give
/// the same bytes.
///
/// # Errors
///
/// Tensors whose data do not fill their shapes, or names that come twice.
pub fn weight_file(tensors: &[HostTensor]) -> Result<Vec<u8>, OptimizeError> {
    file_of(tensors.iter().map(|tensor| (tensor.name.as_str(), Stored::of(tensor))).collect())
}

/// A file of stored tensors by name.
pub(super) fn file_of(tensors: Vec<(&str, Stored<'_>)>) -> Result<Vec<u8>, OptimizeError> {
    for (index, (name, tensor)) in tensors.iter().enumerate() {
        let twice = tensors[..index].iter().any(|(earlier, _)| earlier == name);
        if twice || tensor.data.len() != tensor.shape.iter().product::<usize>() {
            let expected =
                if twice { "a name of its own".to_owned() } else { "as many elements as its shape".to_owned() };
            return Err(OptimizeError::Tensor { name: (*name).to_owned(), expected });
        }
    }
    safetensors::serialize(tensors, None).map_err(|source| OptimizeError::Serialize { source: Box::new(source) })
}

/// A tensor as it lies in a file.
pub(super) struct Stored<'a> {
    /// The shape in the reference's layout.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: StoredData<'a>,
}

/// The elements of a [`Stored`] tensor.
pub(super) enum StoredData<'a> {
    /// Floats.
    F32(Cow<'a, [f32]>),
    /// Steps of a scale.
    I8(Vec<i8>),
    /// Integers.
    I64(&'a [i64]),
}

impl StoredData<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }
}

impl<'a> Stored<'a> {
    /// A host tensor as it is.
    pub(super) fn of(tensor: &'a HostTensor) -> Self {
        let data = match &tensor.data {
            HostData::F32(values) => StoredData::F32(Cow::Borrowed(values)),
            HostData::I64(values) => StoredData::I64(values),
        };
        Self { shape: tensor.shape.clone(), data }
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.data {
            StoredData::F32(_) => Dtype::F32,
            StoredData::I8(_) => Dtype::I8,
            StoredData::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.data {
            StoredData::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            StoredData::I8(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            StoredData::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        let width = match self.data {
            StoredData::F32(_) => size_of::<f32>(),
            StoredData::I8(_) => size_of::<i8>(),
            StoredData::I64(_) => size_of::<i64>(),
        };
        self.data.len() * width
    }
}
