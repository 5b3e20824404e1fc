//! Weight files with int8 weights: a quarter of the size, and an error of at most half a step.

use std::borrow::Cow;

use super::error::OptimizeError;
use super::weight_file::{Stored, StoredData, file_of};
use crate::domain::model::{HostData, HostTensor};
use crate::zoo::int8::SCALE_SUFFIX;

/// Steps on either side of zero; -128 is left out, so that the range is symmetric.
const STEPS: f32 = 127.0;

/// A safetensors file in which every weight is int8 beside its scales, in the form that [`crate::zoo::int8`] reads.
///
/// Weights are the tensors of two or more dimensions; biases, normalisations and running statistics stay floats.
/// Quantisation is symmetric with one scale for each index of the first dimension: the output channels of convolutions
/// and linear layers, the rows of embedding tables, the input features of GPT-2's linear layers, which are stored
/// `[in, out]`. The scale is the largest absolute value / 127, and a weight is rounded to the nearest step, so it is
/// off by at most half a scale (Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference",
/// 2018).
///
/// # Errors
///
/// Weights that are not finite numbers, data that do not fill their shapes, names that come twice.
pub fn int8_file(weights: &[HostTensor]) -> Result<Vec<u8>, OptimizeError> {
    let names: Vec<String> = weights.iter().map(|tensor| format!("{}{SCALE_SUFFIX}", tensor.name)).collect();
    let mut stored = Vec::with_capacity(2 * weights.len());
    for (tensor, scale_name) in weights.iter().zip(&names) {
        match &tensor.data {
            HostData::F32(values) if tensor.shape.len() >= 2 && !values.is_empty() => {
                let (steps, scales) = quantized(values, tensor.shape[0])
                    .ok_or_else(|| OptimizeError::NotFinite { name: tensor.name.clone() })?;
                let mut shape = vec![1; tensor.shape.len()];
                shape[0] = scales.len();
                stored
                    .push((tensor.name.as_str(), Stored { shape: tensor.shape.clone(), data: StoredData::I8(steps) }));
                stored.push((scale_name.as_str(), Stored { shape, data: StoredData::F32(Cow::Owned(scales)) }));
            }
            _ => stored.push((tensor.name.as_str(), Stored::of(tensor))),
        }
    }
    file_of(stored)
}

/// The steps, and one scale for each of `rows`; `None` where a value is no finite number.
fn quantized(values: &[f32], rows: usize) -> Option<(Vec<i8>, Vec<f32>)> {
    let width = values.len().div_ceil(rows).max(1);
    let mut steps = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(rows);
    for row in values.chunks(width) {
        if !row.iter().all(|value| value.is_finite()) {
            return None;
        }
        let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        // A row of zeros, or of values too small for a scale of their own: its steps are all 0.
        let scale = if largest / STEPS > 0.0 { largest / STEPS } else { 1.0 };
        steps.extend(row.iter().map(|value| (value / scale).round().clamp(-STEPS, STEPS) as i8));
        scales.push(scale);
    }
    Some((steps, scales))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_scale_of_its_own() {
        let (steps, scales) = quantized(&[1.27, -0.5, 0.004, 0.0, 0.0, 0.0, 254.0, -254.0, 1.0], 3).unwrap();
        assert_eq!(steps, [127, -50, 0, 0, 0, 0, 127, -127, 1]);
        assert!((scales[0] - 0.01).abs() < 1e-9);
        assert_eq!(scales[1..], [1.0, 2.0]);
    }

    #[test]
    fn the_smallest_numbers_have_a_scale_too() {
        let tiny = f32::from_bits(1);
        assert_eq!(quantized(&[tiny, -tiny], 1).unwrap(), (vec![0, 0], vec![1.0]));
        assert!(quantized(&[1.0, f32::NAN], 1).is_none());
        assert!(quantized(&[f32::INFINITY], 1).is_none());
        let (steps, scales) = quantized(&[f32::MAX, -f32::MAX], 1).unwrap();
        assert_eq!(steps, [127, -127]);
        assert!(scales[0].is_finite());
    }
}
