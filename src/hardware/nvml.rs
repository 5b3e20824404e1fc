//! NVIDIA's management library: loaded at run time, absent on most machines.

use std::sync::LazyLock;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

/// Loaded once and kept: devices borrow from it, and a driver does not come while a process runs.
static LIBRARY: LazyLock<Result<Nvml, NvmlError>> = LazyLock::new(Nvml::init);

/// The library, or why it cannot be used.
pub(super) fn library() -> Result<&'static Nvml, &'static NvmlError> {
    LIBRARY.as_ref()
}

/// What the driver tells of one GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NvidiaGpu {
    /// The part's name: `NVIDIA H200`.
    pub name: String,
    /// Its memory in bytes.
    pub memory_bytes: Option<u64>,
    /// CUDA cores.
    pub core_count: Option<u32>,
}

/// The version of NVIDIA's driver; `None` where there is none.
pub fn driver_version() -> Option<String> {
    library().ok()?.sys_driver_version().ok()
}

/// The GPUs that NVIDIA's driver sees; empty where there is none.
pub fn gpus() -> Vec<NvidiaGpu> {
    let Ok(nvml) = library() else {
        return Vec::new();
    };
    (0..nvml.device_count().unwrap_or(0))
        .filter_map(|index| {
            let device = nvml.device_by_index(index).ok()?;
            Some(NvidiaGpu {
                name: device.name().ok()?,
                memory_bytes: device.memory_info().ok().map(|memory| memory.total),
                core_count: device.num_cores().ok(),
            })
        })
        .collect()
}
