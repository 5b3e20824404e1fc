//! Weights kept as 8-bit integers while products stay in floating point (`int8w`): the model takes a quarter of the memory,
//! and no less time. While it is loaded, and in each product, a weight is a float.
//!
//! Symmetric, one scale a tensor: `w = scale * q` with `q` in [-127, 127] and `scale = max |w| / 127` (Jacob et al.,
//! "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018, without their
//! zero point). The engine's own operators turn each weight back into floats for every product.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::module::{conv2d, linear};
use burn::tensor::ops::ConvOptions;
use burn::tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};
use burn::tensor::{DType, Device, Int, Tensor};

use super::error::ZooError;

/// The scheme of a device: its own way of storing, eight bits with a sign, one scale a tensor.
fn integer_scheme(device: &Device) -> QuantScheme {
    device.settings().quantization.scheme.with_value(QuantValue::Q8S).per_tensor(ScaleDtype::F32)
}

/// Whether a device really multiplies with weights that are kept as integers, found by trying: what it says of the type
/// is about arithmetic in it, which nobody needs here.
pub fn multiplies_with_integers(device: &Device) -> bool {
    tried(device, [8, 8], |weight| linear(ramp([8, 8], device), weight, None))
}

/// The same for convolutions.
fn convolves_with_integers(device: &Device) -> bool {
    let options = || ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    tried(device, [8, 8, 3, 3], |weight| conv2d(ramp([1, 8, 8, 8], device), weight, None, options()))
}

/// Whether a product with integer weights comes near the product with the weights themselves.
fn tried<const D: usize>(device: &Device, shape: [usize; D], product: impl Fn(Tensor<D>) -> Tensor<D>) -> bool {
    let near = || {
        let weight = ramp(shape, device);
        let integers = weight.clone().quantize_dynamic(&integer_scheme(device));
        let kept = matches!(integers.dtype(), DType::QFloat(_));
        let values = |tensor: Tensor<D>| tensor.try_to_vec_as::<f32>().ok();
        let (Some(found), Some(expected)) = (values(product(integers)), values(product(weight))) else { return false };
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
        let difference = norm(&mut found.iter().zip(&expected).map(|(a, b)| a - b));
        kept && difference <= 0.02 * norm(&mut expected.iter().copied())
    };
    // Backends that cannot do it panic, or fail where the result is read.
    catch_unwind(AssertUnwindSafe(near)).unwrap_or(false)
}

/// Numbers from -1 to 1 in equal steps.
fn ramp<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let count = shape.iter().product::<usize>() as i64;
    Tensor::<1, Int>::arange(0..count, device).float().reshape(shape) * (2.0 / (count - 1) as f64) - 1.0
}

/// Turns the weights of linear layers and convolutions into integers; answers the module and how many tensors they are.
/// Embeddings, normalisations and biases stay as they are: they are read, added or tiny.
///
/// # Errors
///
/// The device cannot convolve with integer weights, and there are convolutions.
pub(super) fn to_integers<M: Module>(module: M, device: &Device) -> Result<(M, usize), ZooError> {
    let mut mapper = ToIntegers {
        scheme: integer_scheme(device),
        device: device.clone(),
        path: Vec::new(),
        changed: 0,
        convolves: None,
    };
    let module = module.map(&mut mapper);
    if mapper.convolves == Some(false) { Err(ZooError::IntegerConvolutions) } else { Ok((module, mapper.changed)) }
}

struct ToIntegers {
    scheme: QuantScheme,
    device: Device,
    /// Field names and the types of the modules that hold them, from the outside in.
    path: Vec<(String, String)>,
    changed: usize,
    /// Whether the device convolves with integers; not known before the first convolution.
    convolves: Option<bool>,
}

impl ModuleMapper for ToIntegers {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push((name.to_owned(), container_type.to_owned()));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let multiplied =
            self.path.last().is_some_and(|(name, owner)| name == "weight" && !owner.ends_with("Embedding"));
        if D < 2 || !multiplied {
            return param;
        }
        if D > 2 && !*self.convolves.get_or_insert_with(|| convolves_with_integers(&self.device)) {
            return param;
        }
        self.changed += 1;
        let scheme = self.scheme;
        param.map(|weight| weight.quantize_dynamic(&scheme))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::batch::{Batch, OutputTensor, host_inputs};
    use crate::zoo::registry::find;
    use crate::zoo::weights::WeightSource;

    #[test]
    fn integers_take_a_quarter_and_answer_nearly_the_same() {
        let device = Device::flex();
        let entry = find("cifar_cnn").unwrap();
        let mut network = entry.build(&device);
        network.load(&WeightSource::Seeded(0)).unwrap();
        let batch = Batch::from_host(&host_inputs(&entry.inputs(), 2, 0), &device).unwrap();
        let logits = |network: &dyn crate::zoo::Network| match &network.forward(&batch).unwrap()[0].tensor {
            OutputTensor::D2(logits) => logits.clone(),
            other => panic!("logits of a classifier have two dimensions, not {other:?}"),
        };
        let (exact, size) = (logits(network.as_ref()), network.size_bytes());
        assert!(!network.has_integer_weights());
        let network = network.with_integer_weights().unwrap();
        assert!(network.has_integer_weights());
        let ratio = network.size_bytes() as f64 / size as f64;
        assert!((0.25..0.27).contains(&ratio), "{ratio}");
        let integers = logits(network.as_ref());
        let norm = |x: Tensor<2>| x.powf_scalar(2.0).sum().sqrt().into_scalar::<f32>();
        let error = norm(integers - exact.clone()) / norm(exact);
        assert!(error > 0.0 && error < 0.1, "{error}");
    }
}
