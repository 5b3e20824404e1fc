//! Reads the host once: device record of the processor, environment of a run.

use std::path::Path;

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use super::{git, nvml};
use crate::domain::{Device, DeviceKind, Environment};

/// The host's processor as a device.
pub fn host_cpu() -> Device {
    let system = System::new_with_specifics(
        RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing()).with_memory(MemoryRefreshKind::nothing().with_ram()),
    );
    let first = system.cpus().first();
    let text =
        |read: fn(&sysinfo::Cpu) -> &str| first.map(|cpu| read(cpu).trim().to_owned()).filter(|text| !text.is_empty());
    let cores = System::physical_core_count().unwrap_or_else(|| system.cpus().len());
    Device {
        kind: DeviceKind::Cpu,
        vendor: text(sysinfo::Cpu::vendor_id).unwrap_or_default(),
        name: text(sysinfo::Cpu::brand).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        compute_units: u32::try_from(cores).ok().filter(|&cores| cores > 0),
        memory_bytes: Some(system.total_memory()).filter(|&bytes| bytes > 0),
        software: false,
    }
}

/// Processors that this process may use, by affinity and control group.
pub fn logical_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// The surroundings of runs that start now in `directory`. What the engine knows (its versions) is added by each run.
pub fn capture_environment(directory: &Path) -> Environment {
    let cpu = host_cpu();
    let commit = git::head(directory);
    Environment {
        host: System::host_name(),
        os: System::long_os_version(),
        kernel: System::kernel_version(),
        architecture: Some(std::env::consts::ARCH.to_owned()),
        cpu_name: Some(cpu.name),
        cpu_logical: Some(logical_cpus()),
        host_memory_bytes: cpu.memory_bytes,
        cpu_governor: read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        driver_version: nvml::driver_version(),
        engine_version: None,
        framework_version: None,
        tool_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        tool_build: Some(env!("BENCHDB_BUILD").to_owned()),
        git_dirty: commit.as_ref().map(|commit| commit.dirty),
        git_commit: commit.map(|commit| commit.hash),
    }
}

fn read_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|line| !line.is_empty())
}
