//! The silicon that executes, and the names by which people ask for it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Precision;
use super::label::display_as_label;

/// What `--hardware` asks for: a way to reach a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Platform {
    /// The host's processor.
    Cpu,
    /// NVIDIA GPUs through CUDA.
    Cuda,
    /// AMD GPUs through ROCm (HIP).
    Rocm,
    /// Apple GPUs through Metal.
    Mps,
    /// GPUs through Vulkan.
    Vulkan,
    /// Intel's OpenVINO runtime.
    Openvino,
    /// GPUs through a browser's WebGPU.
    Webgpu,
    /// Neural processors through a browser's WebNN.
    Webnn,
    /// Google's TPUs.
    Tpu,
}

impl Platform {
    /// The order in which `--hardware auto` tries platforms; the processor always works.
    pub const AUTO_ORDER: [Self; 5] = [Self::Cuda, Self::Rocm, Self::Mps, Self::Vulkan, Self::Cpu];
}

/// The kind of silicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A host processor.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// A neural processor.
    Npu,
    /// A tensor processor.
    Tpu,
}

display_as_label!(Platform, DeviceKind);

/// One piece of silicon, whatever software drives it.
///
/// Two of them are the same device if kind, vendor, name, number of units and the software flag agree; the
/// memory size is a description (two hosts with the same processor may differ in it).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Device {
    /// The kind of silicon.
    pub kind: DeviceKind,
    /// The maker; empty where unknown.
    pub vendor: String,
    /// The part's name as it reports it.
    pub name: String,
    /// Cores of a processor, compute units of a GPU.
    pub compute_units: Option<u32>,
    /// Memory that the device can use, in bytes.
    pub memory_bytes: Option<u64>,
    /// Whether software pretends to be the device (lavapipe, SwiftShader).
    pub software: bool,
}

/// What a device can do at most in one precision, as an engine measured it. What could not be measured is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceRates {
    /// Operations of a product of two square matrices of side n, 2 n^3, in 1e9 a second: at the best of all sides.
    pub peak_gflop_per_second: Option<f64>,
    /// The side n of that product.
    pub matrix_side: Option<u64>,
    /// Bytes that a copy reads and writes, in 1e9 a second: of the largest copy, which fits into no cache.
    pub copy_bandwidth_gb_per_second: Option<f64>,
    /// Bytes that this copy reads; it writes as many.
    pub copied_bytes: Option<u64>,
    /// What was not measured, or not to its end, and why.
    pub left_out: Vec<String>,
}

impl DeviceRates {
    /// Whether there is a number at all.
    pub fn any(&self) -> bool {
        self.peak_gflop_per_second.is_some() || self.copy_bandwidth_gb_per_second.is_some()
    }
}

/// The rates of a device as they are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceProbe {
    /// The device.
    pub device: Device,
    /// The engine that measured them.
    pub engine: String,
    /// The precision of the product.
    pub precision: Precision,
    /// When, ISO-8601 UTC.
    pub probed_at: String,
    /// As in [`DeviceRates`].
    pub peak_gflop_per_second: Option<f64>,
    /// As in [`DeviceRates`].
    pub copy_bandwidth_gb_per_second: Option<f64>,
    /// The version of benchdb that measured them.
    pub tool_version: Option<String>,
}
