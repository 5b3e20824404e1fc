//! Weights that are int8 on disk, made floats again while they are loaded.
//!
//! A safetensors file may hold `NAME` as I8 beside `NAME.scale` as a float. The weight is then `NAME * NAME.scale`,
//! element by element: the scale has as many dimensions as the weight, each of them 1 or the weight's own, and is
//! stretched along those of 1; a scale of a single element serves all. Quantisation is symmetric: there is no
//! zero point. A file that is not in this form is refused as before.

use std::collections::BTreeMap;

use burn::store::bridge;
use burn::store::burn_pack::{Error as PackError, Tensor as PackTensor};
use burn::tensor::{DType, TensorData};

use super::error::{WeightError, readable_shape};
use super::weights::Tensors;

/// What is added to the name of an int8 weight for that of its scale.
pub const SCALE_SUFFIX: &str = ".scale";

/// Takes the scales of int8 tensors out of the tensors of a file; they are found by the names of what they scale.
pub(super) fn take_scales(tensors: &mut Tensors) -> BTreeMap<String, PackTensor> {
    let quantized: Vec<String> =
        tensors.iter().filter(|(_, tensor)| tensor.dtype == DType::I8).map(|(name, _)| name.clone()).collect();
    quantized
        .into_iter()
        .filter_map(|name| tensors.remove(&format!("{name}{SCALE_SUFFIX}")).map(|scale| (name, scale)))
        .collect()
}

/// An int8 tensor as floats, computed when it is drawn. `name` is the file's, for errors.
///
/// # Errors
///
/// No scale, or one of a shape or type that does not fit.
pub(super) fn dequantized(
    tensor: PackTensor,
    scale: Option<&PackTensor>,
    name: &str,
) -> Result<PackTensor, WeightError> {
    let refused = |problem: String| Err(WeightError::Scale { name: name.to_owned(), problem });
    let Some(scale) = scale.cloned() else {
        return refused(format!("has no scale `{name}{SCALE_SUFFIX}` beside it"));
    };
    let shape: Vec<usize> = tensor.shape.iter().copied().collect();
    let of_scale: Vec<usize> = scale.shape.iter().copied().collect();
    if !scale.dtype.is_float() {
        return refused(format!("has a scale that is no float but {:?}", scale.dtype));
    }
    let single = of_scale.iter().product::<usize>() == 1;
    let stretches = of_scale.len() == shape.len() && of_scale.iter().zip(&shape).all(|(&s, &w)| s == 1 || s == w);
    if !single && !stretches {
        let (of_scale, shape) = (readable_shape(&of_scale), readable_shape(&shape));
        return refused(format!("has a scale of the shape {of_scale}, which does not stretch to {shape}"));
    }
    // A single element of any rank stretches over everything.
    let of_scale = if single { vec![1; shape.len()] } else { of_scale };
    let (label, declared) = (tensor.name.clone(), tensor.shape.clone());
    Ok(bridge::deferred(label, DType::F32, declared, None, move || {
        let steps = bridge::to_data(&tensor)?.try_into_vec_as::<f32>().map_err(unreadable)?;
        let scale = bridge::to_data(&scale)?.try_into_vec_as::<f32>().map_err(unreadable)?;
        Ok(TensorData::new(stretched_product(&steps, &shape, &scale, &of_scale), shape.clone()))
    }))
}

fn unreadable(source: impl std::fmt::Display) -> PackError {
    PackError::ValidationError(source.to_string())
}

/// `steps * scale` with the scale stretched; both row-major, of the same rank.
fn stretched_product(steps: &[f32], shape: &[usize], scale: &[f32], of_scale: &[usize]) -> Vec<f32> {
    // The last dimensions along which the scale is stretched: neighbours that share one scale.
    let shared = of_scale.iter().rev().take_while(|&&extent| extent == 1).count();
    let (outer, inner) = shape.split_at(shape.len() - shared);
    let block = inner.iter().product::<usize>().max(1);
    let scale_of = |block_index: usize| {
        let (mut rest, mut index, mut stride) = (block_index, 0, 1);
        for (&extent, &of_scale) in outer.iter().zip(of_scale).rev() {
            index += if of_scale > 1 { rest % extent * stride } else { 0 };
            rest /= extent;
            stride *= of_scale;
        }
        scale[index]
    };
    let mut product = Vec::with_capacity(steps.len());
    for (index, steps) in steps.chunks(block).enumerate() {
        let scale = scale_of(index);
        product.extend(steps.iter().map(|step| step * scale));
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_stretch_along_every_dimension() {
        let steps = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let product = |scale: &[f32], of_scale: &[usize]| stretched_product(&steps, &[2, 3], scale, of_scale);
        assert_eq!(product(&[10.0, 100.0], &[2, 1]), [10.0, 20.0, 30.0, 400.0, 500.0, 600.0]);
        assert_eq!(product(&[1.0, 10.0, 100.0], &[1, 3]), [1.0, 20.0, 300.0, 4.0, 50.0, 600.0]);
        assert_eq!(product(&[2.0], &[1, 1]), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        let every = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(product(&every, &[2, 3]), [1.0, 0.0, 0.0, 0.0, 0.0, 6.0]);
    }
}
