//! The engines of ONNX Runtime: its library is looked for when it is asked for. Each execution provider is an engine of its
//! own, since it is other software on other silicon.

#[cfg(feature = "onnxruntime")]
mod calls;

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::Surroundings;
#[cfg(feature = "onnxruntime")]
use super::super::{EngineError, ProbedDevice, Versions};
use super::Library;
use super::library;
#[cfg(feature = "onnxruntime")]
use super::session::Open;
#[cfg(feature = "onnxruntime")]
use crate::domain::DeviceKind;
use crate::domain::{Device, Platform};
use crate::hardware::host_cpu;
#[cfg(feature = "onnxruntime")]
use crate::hardware::nvml;

/// The variable that says where the library is.
const PATH_VARIABLE: &str = "ORT_DYLIB_PATH";

/// ONNX Runtime with one of its execution providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnnxRuntimeEngine {
    /// The host's processor.
    Cpu,
    /// NVIDIA GPUs through CUDA and cuDNN.
    Cuda,
    /// NVIDIA GPUs through TensorRT.
    TensorRt,
    /// AMD GPUs through MIGraphX.
    MiGraphX,
    /// AMD GPUs through ROCm's libraries, in older releases.
    Rocm,
    /// Apple's chips through Core ML.
    CoreMl,
    /// Intel's chips through OpenVINO.
    OpenVino,
}

impl OnnxRuntimeEngine {
    /// All of them, the one that every library has first.
    pub const ALL: [Self; 7] =
        [Self::Cpu, Self::Cuda, Self::TensorRt, Self::MiGraphX, Self::Rocm, Self::CoreMl, Self::OpenVino];
}

impl Library for OnnxRuntimeEngine {
    fn name(&self) -> &'static str {
        match self {
            Self::Cpu => "onnxruntime",
            Self::Cuda => "onnxruntime-cuda",
            Self::TensorRt => "onnxruntime-tensorrt",
            Self::MiGraphX => "onnxruntime-migraphx",
            Self::Rocm => "onnxruntime-rocm",
            Self::CoreMl => "onnxruntime-coreml",
            Self::OpenVino => "onnxruntime-openvino",
        }
    }

    fn platforms(&self) -> &'static [Platform] {
        match self {
            Self::Cpu => &[Platform::Cpu],
            Self::Cuda | Self::TensorRt => &[Platform::Cuda],
            Self::MiGraphX | Self::Rocm => &[Platform::Rocm],
            Self::CoreMl => &[Platform::Mps],
            Self::OpenVino => &[Platform::Openvino],
        }
    }

    fn feature(&self) -> (&'static str, bool) {
        ("onnxruntime", cfg!(feature = "onnxruntime"))
    }

    fn surroundings(&self) -> Surroundings {
        if std::env::var_os(PATH_VARIABLE).is_some_and(|path| !path.is_empty()) {
            return Surroundings::default();
        }
        let found: Option<OsString> = find().map(Into::into);
        Surroundings { variables: found.into_iter().map(|path| (PATH_VARIABLE, path)).collect(), folder: None }
    }

    fn home(&self) -> Option<Device> {
        (*self == Self::Cpu).then(host_cpu)
    }

    #[cfg(feature = "onnxruntime")]
    fn versions(&self) -> Versions {
        calls::versions()
    }

    #[cfg(feature = "onnxruntime")]
    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        calls::probe(*self)
    }

    #[cfg(feature = "onnxruntime")]
    fn opener(&self) -> Result<Open, EngineError> {
        Ok(calls::opener(*self))
    }
}

impl OnnxRuntimeEngine {
    /// The silicon that the provider drives, as the drivers tell of it.
    #[cfg(feature = "onnxruntime")]
    fn devices(self) -> Vec<Device> {
        match self {
            // Core ML and OpenVINO share the work among the parts of the chip as they like.
            Self::Cpu | Self::CoreMl | Self::OpenVino => vec![host_cpu()],
            Self::Cuda | Self::TensorRt => nvml::gpus()
                .into_iter()
                .map(|gpu| Device {
                    kind: DeviceKind::Gpu,
                    vendor: "NVIDIA".to_owned(),
                    name: gpu.name,
                    compute_units: gpu.core_count,
                    memory_bytes: gpu.memory_bytes,
                    software: false,
                })
                .collect(),
            Self::MiGraphX | Self::Rocm => amd_gpus(),
        }
    }
}

/// The GPUs that AMD's compute driver lists.
#[cfg(feature = "onnxruntime")]
fn amd_gpus() -> Vec<Device> {
    let nodes = std::fs::read_dir("/sys/class/kfd/kfd/topology/nodes").into_iter().flatten().flatten();
    let mut found: Vec<(u64, Device)> = nodes
        .filter_map(|node| {
            let properties = std::fs::read_to_string(node.path().join("properties")).ok()?;
            let property = |name: &str| -> Option<u64> {
                properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
            };
            // A node of processors has no such units.
            let units = property("simd_count").filter(|count| *count > 0)?;
            let name = std::fs::read_to_string(node.path().join("name")).unwrap_or_default();
            let number = node.file_name().to_string_lossy().parse().ok()?;
            let per_unit = property("simd_per_cu").filter(|count| *count > 0).unwrap_or(1);
            let device = Device {
                kind: DeviceKind::Gpu,
                vendor: "AMD".to_owned(),
                name: name.trim().to_owned(),
                compute_units: u32::try_from(units / per_unit).ok().filter(|units| *units > 0),
                memory_bytes: None,
                software: false,
            };
            Some((number, device)).filter(|(_, device)| !device.name.is_empty())
        })
        .collect();
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, device)| device).collect()
}

/// The library, where no variable names it: in the package of a Python environment, or among the system's libraries.
fn find() -> Option<PathBuf> {
    let name = library::file_name("onnxruntime");
    let of_python = library::python_packages().iter().map(|packages| packages.join("onnxruntime").join("capi"));
    of_python.chain(library::system_folders()).find_map(|folder| library::library_in(&folder, &name))
}
