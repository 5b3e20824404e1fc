//! Golden files, rule-made weight files, devices.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use benchdb::domain::model::{HostData, HostTensor, InputKind, InputSpec};
use benchdb::zoo::{host_inputs, rule};
use burn::tensor::Device;
use safetensors::{Dtype, View};
use serde::Deserialize;

/// What a public implementation answers; see the README of the golden files.
#[derive(Deserialize)]
pub struct Golden {
    pub parameter_count: u64,
    pub inputs: Vec<GoldenInput>,
    pub outputs: std::collections::BTreeMap<String, GoldenOutput>,
    pub state_dict: Vec<GoldenTensor>,
}

#[derive(Deserialize)]
pub struct GoldenInput {
    pub name: String,
    pub shape: Vec<usize>,
    pub vocab: Option<usize>,
    pub last_token: Option<usize>,
}

#[derive(Deserialize)]
pub struct GoldenOutput {
    pub shape: Vec<usize>,
    pub mean: f64,
    pub l2: f64,
    pub stride: usize,
    pub values: Vec<f64>,
}

#[derive(Deserialize)]
pub struct GoldenTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: String,
    pub tied_to: Option<String>,
}

impl Golden {
    pub fn read(model: &str) -> Self {
        let path = fixture(&format!("golden/{model}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    }

    /// The state_dict without counters, position ids and second names of the same tensor.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        self.state_dict
            .iter()
            .filter(|tensor| tensor.dtype.starts_with("float") && tensor.tied_to.is_none())
            .map(|tensor| (tensor.name.clone(), tensor.shape.clone()))
            .collect()
    }

    /// The inputs by the rule, each with a batch size of its own.
    pub fn host_inputs(&self) -> Vec<HostTensor> {
        self.inputs
            .iter()
            .flat_map(|input| {
                let kind = match (input.vocab, input.last_token) {
                    (Some(words), Some(end)) => InputKind::Words { vocabulary: end + 1, words, end: Some(end) },
                    (Some(vocabulary), None) => InputKind::Tokens { vocabulary },
                    (None, _) => InputKind::Float,
                };
                let name = input.name.strip_prefix("input.").unwrap().to_owned();
                host_inputs(&[InputSpec { name, kind, shape: input.shape[1..].to_vec() }], input.shape[0], 0)
            })
            .collect()
    }
}

pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// A tensor of a weight file, made by the rule while it is written.
pub struct RuleTensor {
    pub rule_name: String,
    pub shape: Vec<usize>,
}

impl View for RuleTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = rule::parameter(&self.rule_name, &self.shape, 0);
        values.into_iter().flat_map(f32::to_le_bytes).collect()
    }

    fn data_len(&self) -> usize {
        4 * self.shape.iter().product::<usize>()
    }
}

/// Writes a safetensors file: (name in the file, name in the rule, shape).
pub fn write_weights(path: &Path, tensors: Vec<(String, String, Vec<usize>)>) {
    let views = tensors.into_iter().map(|(name, rule_name, shape)| (name, RuleTensor { rule_name, shape }));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

pub fn f32_values(tensor: &HostTensor) -> &[f32] {
    match &tensor.data {
        HostData::F32(values) => values,
        HostData::I64(_) => panic!("{} holds integers", tensor.name),
    }
}

/// |a - b| / |b|
pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
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
