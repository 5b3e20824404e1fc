//! Sensors of the machine: power, energy, temperature, utilisation, memory, clocks, and why a device slowed down.
//!
//! Each source opens what it can read and is silent about what is not there; what is there and may not be read is a
//! [`SensorNotice`]. A reading that fails is absent, never 0. docs/telemetry.md lists the sensors.

mod choose;
mod drm;
mod file;
mod host;
mod nvml;
mod rapl;
mod thermal;

use std::fmt;
use std::path::Path;

use crate::domain::{Device, DeviceKind, Platform, SensorSource};
use choose::Wanted;

/// Why something is not measured that could be, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SensorNotice {
    /// What is not measured, and why.
    pub cause: String,
    /// What to do about it.
    pub way_out: String,
}

impl fmt::Display for SensorNotice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.cause, self.way_out)
    }
}

/// The sensors that can be read here for a run.
pub struct Sensors {
    /// Where to read them.
    pub sources: Vec<Box<dyn SensorSource>>,
    /// The kind of silicon that does the work, whose sensors make the metrics: a GPU that is software is the processor.
    pub worked: DeviceKind,
    /// What could be measured and is not.
    pub notices: Vec<SensorNotice>,
}

impl fmt::Debug for Sensors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.sources.iter().flat_map(|source| source.sensors()).map(|sensor| &sensor.name);
        formatter.debug_list().entries(names).finish()
    }
}

/// Opens the sensors of the host and of the device that does the work: the `device_index`-th of the platform. The
/// processor's sensors are among them for a run on a GPU too.
pub fn open(device: &Device, platform: Platform, device_index: u32) -> Sensors {
    let wanted = Wanted::from_environment(device, platform, device_index);
    open_below(Path::new("/sys"), Path::new("/proc"), device, &wanted)
}

fn open_below(sys: &Path, proc: &Path, device: &Device, wanted: &Wanted<'_>) -> Sensors {
    let worked = if device.software { DeviceKind::Cpu } else { device.kind };
    let mut sensors = Sensors { sources: Vec::new(), worked, notices: Vec::new() };
    if worked == DeviceKind::Gpu {
        let found = nvml::open(wanted).and_then(|source| match source {
            Some(source) => Ok(Some(source)),
            None => Ok(drm::open(sys, wanted)?.map(|card| Box::new(card) as Box<dyn SensorSource>)),
        });
        sensors.take(found);
    }
    sensors.take(rapl::open(sys).map(|rapl| rapl.map(|rapl| Box::new(rapl) as Box<dyn SensorSource>)));
    sensors.sources.push(host::open(proc));
    sensors.sources.extend(thermal::Thermal::open(sys).map(|source| Box::new(source) as Box<dyn SensorSource>));
    sensors.sources.extend(thermal::CpuThrottle::open(sys).map(|source| Box::new(source) as Box<dyn SensorSource>));
    sensors
}

impl Sensors {
    fn take(&mut self, found: Result<Option<Box<dyn SensorSource>>, SensorNotice>) {
        match found {
            Ok(source) => self.sources.extend(source),
            Err(notice) => self.notices.push(notice),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::file::tree::write;
    use super::*;

    fn device(kind: DeviceKind, name: &str, software: bool) -> Device {
        let vendor = name.split(' ').next().unwrap_or_default().to_owned();
        Device { kind, vendor, name: name.into(), compute_units: None, memory_bytes: None, software }
    }

    fn names(sensors: &Sensors) -> Vec<&str> {
        sensors.sources.iter().flat_map(|source| source.sensors()).map(|sensor| sensor.name.as_str()).collect()
    }

    fn machine(root: &Path) {
        for (path, text) in [
            ("proc/stat", "cpu  1 2 3 4 5 6 7 8\n"),
            ("proc/meminfo", "MemTotal: 8 kB\nMemAvailable: 4 kB\n"),
            ("proc/loadavg", "1.0 1.0 1.0 1/1 1\n"),
            ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
            ("sys/class/powercap/intel-rapl:0/energy_uj", "1000\n"),
            ("sys/class/drm/card0/device/vendor", "0x1002\n"),
            ("sys/class/drm/card0/device/gpu_busy_percent", "3\n"),
            ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
            ("sys/class/thermal/thermal_zone0/temp", "51000\n"),
            ("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "0\n"),
        ] {
            write(root, path, text);
        }
    }

    fn open_at(root: &Path, device: &Device, platform: Platform) -> Sensors {
        let wanted = Wanted {
            name: &device.name,
            vendor: &device.vendor,
            platform,
            index: 0,
            pci: None,
            cuda_visible: None,
            cuda_by_pci: false,
        };
        open_below(&root.join("sys"), &root.join("proc"), device, &wanted)
    }

    const OF_THE_HOST: [&str; 6] =
        ["cpu_package_energy", "cpu_utilization", "host_memory_used", "host_load", "cpu_temperature", "cpu_throttle"];

    #[test]
    fn a_gpu_adds_its_sensors_to_those_of_the_host() {
        let root = tempfile::tempdir().unwrap();
        machine(root.path());
        let radeon = device(DeviceKind::Gpu, "AMD Radeon RX 7900 XTX", false);
        let sensors = open_at(root.path(), &radeon, Platform::Vulkan);
        assert_eq!(sensors.worked, DeviceKind::Gpu);
        assert_eq!(names(&sensors)[0], "gpu_utilization");
        assert_eq!(names(&sensors)[1..], OF_THE_HOST);
        assert!(sensors.notices.is_empty(), "{:?}", sensors.notices);
        let distinct: BTreeSet<&str> = names(&sensors).into_iter().collect();
        assert_eq!(distinct.len(), names(&sensors).len());
    }

    #[test]
    fn software_that_pretends_to_be_a_gpu_is_the_processor() {
        let root = tempfile::tempdir().unwrap();
        machine(root.path());
        for device in [device(DeviceKind::Gpu, "llvmpipe (LLVM 15)", true), device(DeviceKind::Cpu, "AMD EPYC", false)]
        {
            let sensors = open_at(root.path(), &device, Platform::Cpu);
            assert_eq!(sensors.worked, DeviceKind::Cpu);
            assert_eq!(names(&sensors), OF_THE_HOST);
        }
    }

    #[test]
    fn an_nvidia_card_without_its_library_is_told() {
        if crate::hardware::nvml::driver_version().is_some() {
            eprintln!("skipped: this machine has NVIDIA's driver");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        machine(root.path());
        let card = device(DeviceKind::Gpu, "NVIDIA H200", false);
        let sensors = open_at(root.path(), &card, Platform::Cuda);
        assert_eq!(names(&sensors), OF_THE_HOST, "the host is measured all the same");
        assert_eq!(sensors.notices.len(), 1);
        assert!(sensors.notices[0].way_out.contains("nvidia-smi"), "{}", sensors.notices[0]);
    }

    #[test]
    fn this_machine_can_be_asked() {
        let mut sensors = open(&crate::hardware::host_cpu(), Platform::Cpu, 0);
        for source in &mut sensors.sources {
            let mut values = vec![f64::INFINITY; source.sensors().len()];
            source.read(&mut values);
            assert!(values.iter().all(|value| !value.is_infinite()), "{:?} {values:?}", source.sensors());
        }
        assert!(names(&sensors).contains(&"cpu_utilization"));
    }
}
