//! The silicon that executes, and the names by which people ask for it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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
