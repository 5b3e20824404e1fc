//! Weights kept as 8-bit integers while products stay in floating point (`int8w`): it saves memory, not time.
//!
//! Symmetric, one scale a tensor: `w = scale * q` with `q` in [-127, 127] and `scale = max |w| / 127` (Jacob et al.,
//! "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018, without their
//! zero point). The engine's own operators turn each weight back into floats for every product.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};
use burn::tensor::{DType, Device, Int, Tensor};

/// The scheme of a device: its own way of storing, eight bits with a sign, one scale a tensor.
fn integer_scheme(device: &Device) -> QuantScheme {
    device.settings().quantization.scheme.with_value(QuantValue::Q8S).per_tensor(ScaleDtype::F32)
}

/// Whether a device really keeps weights as integers and reads them back, found by trying: what it says of the type is
/// about arithmetic in it, which nobody needs here.
pub fn keeps_integers(device: &Device) -> bool {
    let tried = || {
        // Wide enough for the devices that pack four integers into a word.
        let weight = Tensor::<1, Int>::arange(0..64, device).float().reshape([8, 8]) / 32.0 - 1.0;
        let integers = weight.clone().quantize_dynamic(&integer_scheme(device));
        let kept = matches!(integers.dtype(), DType::QFloat(_));
        let error = (integers.dequantize() - weight).abs().max();
        kept && error.try_to_vec_as::<f32>().is_ok_and(|error| error.iter().all(|&error| error <= 0.5 / 127.0 + 1e-6))
    };
    // Backends that cannot do it panic.
    catch_unwind(AssertUnwindSafe(tried)).unwrap_or(false)
}

/// Turns the weights of linear layers and convolutions into integers; answers the module and how many tensors they are.
/// Embeddings, normalisations and biases stay as they are: they are read, added or tiny.
pub(super) fn to_integers<M: Module>(module: M, device: &Device) -> (M, usize) {
    let mut mapper = ToIntegers { scheme: integer_scheme(device), path: Vec::new(), changed: 0 };
    let module = module.map(&mut mapper);
    (module, mapper.changed)
}

struct ToIntegers {
    scheme: QuantScheme,
    /// Field names and the types of the modules that hold them, from the outside in.
    path: Vec<(String, String)>,
    changed: usize,
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
            OutputTensor::D3(_) => panic!("logits of a classifier have two dimensions"),
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
