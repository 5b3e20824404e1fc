//! Devices, networks and numbers that the tests share.

use benchdb::domain::model::{HostData, HostTensor, InputKind, InputSpec};
use benchdb::explain::{Attribution, Method, Subject, explain, registry};
use benchdb::zoo::{Network, WeightSource, find, host_inputs, rule};
use burn::tensor::Device;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

pub fn network(model: &str, device: &Device) -> Box<dyn Network> {
    find(model).unwrap().build_loaded(&WeightSource::Seeded(0), device).unwrap()
}

/// A method with parameters as JSON.
pub fn method(name: &str, parameters: Value) -> Box<dyn Method> {
    registry::find(name).unwrap().build(parameters.as_object().unwrap()).unwrap()
}

pub fn image(size: usize, samples: usize, seed: u64) -> Vec<HostTensor> {
    let spec = InputSpec { name: "image".into(), kind: InputKind::Float, shape: vec![3, size, size] };
    host_inputs(&[spec], samples, seed)
}

pub fn floats(tensor: &HostTensor) -> Vec<f64> {
    match &tensor.data {
        HostData::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
        HostData::I64(_) => panic!("{} holds integers", tensor.name),
    }
}

pub fn values(attribution: &Attribution) -> Vec<f64> {
    floats(&attribution.to_host().unwrap())
}

pub fn attributed(method: &dyn Method, subject: &Subject<'_>) -> Vec<f64> {
    values(&explain(method, subject).unwrap())
}

/// The scores of a subject's samples.
pub fn scores(subject: &Subject<'_>) -> Vec<f64> {
    let samples: Vec<usize> = (0..subject.samples()).collect();
    let scores = subject.scores(subject.input(), &samples).unwrap();
    scores.try_to_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
}

/// The scores of zeros in place of a subject's input.
pub fn scores_of_zeros(subject: &Subject<'_>) -> Vec<f64> {
    let samples: Vec<usize> = (0..subject.samples()).collect();
    let scores = subject.scores(subject.input().zeros_like(), &samples).unwrap();
    scores.try_to_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
}

pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// |a - b| / |b|
pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference = norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>());
    // A network of random weights may be dead: that its answers are all zero is no error of who says so.
    if difference == 0.0 { 0.0 } else { difference / norm(b) }
}

#[cfg(feature = "flex")]
pub fn flex() -> Option<Device> {
    Some(Device::flex())
}

#[cfg(feature = "ndarray")]
#[allow(deprecated)]
pub fn ndarray() -> Option<Device> {
    Some(Device::ndarray())
}

/// The first adapter, if a driver is installed.
#[cfg(feature = "wgpu")]
pub fn wgpu() -> Option<Device> {
    use burn::tensor::DeviceType;

    let device = Device::enumerate(DeviceType::Wgpu).into_vec().into_iter().next();
    if device.is_none() {
        eprintln!("SKIPPED: no wgpu adapter (Vulkan driver) on this machine");
    }
    device
}

/// The weights that a network would get from this seed, changed by `edit` (name, shape, values), loaded.
pub fn with_weights(
    mut network: Box<dyn Network>,
    seed: u64,
    edit: impl Fn(&str, &[usize], &mut [f32]),
) -> Box<dyn Network> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = network
        .parameters()
        .into_iter()
        .map(|info| {
            let mut values = rule::parameter(&info.name, &info.shape, seed);
            edit(&info.name, &info.shape, &mut values);
            (info.name, info.shape, values.into_iter().flat_map(f32::to_le_bytes).collect())
        })
        .collect();
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()))
        .collect();
    safetensors::serialize_to_file(views, None, &path).unwrap();
    network.load(&WeightSource::File(path)).unwrap();
    network
}
