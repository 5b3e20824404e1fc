//! Heat: temperatures that Linux tells of the processor and of other places, and whether the processor slowed down for it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::file::{TextFile, numbered, read_line};
use crate::domain::{DeviceKind, Quantity, Sensor, SensorSource, ThrottleReason};

/// Drivers of processors' own sensors, and how the sensor of the whole package is labelled; Intel's has others for its
/// cores, AMD's the control temperature first.
const CPU_DRIVERS: [(&str, &str); 3] = [("coretemp", "Package"), ("k10temp", "Tctl"), ("zenpower", "Tdie")];

/// Thermal zones that are the processor itself, on x86 and on boards with Arm.
const CPU_ZONES: [&str; 5] = ["x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal"];

/// Zones that the firmware answers for (`acpitz`) may keep a processor busy for milliseconds. One that takes longer than
/// this is not read: it would cost the samples more than it tells.
const SLOWEST_READING: Duration = Duration::from_millis(2);

/// All temperatures but those of GPUs.
#[derive(Debug)]
pub(super) struct Thermal {
    sensors: Vec<Sensor>,
    /// The files of each sensor; of several packages the hottest counts.
    files: Vec<Vec<TextFile>>,
}

impl Thermal {
    /// Those below `sys` (`/sys`) that have a value; `None` if there is none.
    pub(super) fn open(sys: &Path) -> Option<Self> {
        let mut thermal = Self { sensors: Vec::new(), files: Vec::new() };
        let mut packages: Vec<TextFile> =
            package_sensors(sys).iter().filter_map(|path| TextFile::open_number(path)).collect();
        let told_by_driver = !packages.is_empty();
        for zone in numbered(&sys.join("class/thermal"), "thermal_zone") {
            let (Some(mut file), Some(kind)) =
                (TextFile::open_number(&zone.join("temp")), read_line(&zone.join("type")))
            else {
                continue;
            };
            if shortest_of_three(|| file.number()) > SLOWEST_READING {
                continue;
            }
            if CPU_ZONES.contains(&kind.as_str()) && !told_by_driver {
                packages.push(file);
            } else {
                thermal.add_zone(&kind, file);
            }
        }
        if !packages.is_empty() {
            let sensor = Sensor::new("cpu_temperature", Quantity::Temperature, Some(DeviceKind::Cpu));
            thermal.sensors.push(sensor);
            thermal.files.push(packages);
        }
        (!thermal.sensors.is_empty()).then_some(thermal)
    }

    fn add_zone(&mut self, kind: &str, file: TextFile) {
        let plain = format!("zone_{}_temperature", kind.to_lowercase().replace(['-', ' '], "_"));
        let taken = |name: &String| self.sensors.iter().any(|sensor| sensor.name == *name);
        // `acpitz` and others come more than once.
        let mut names = std::iter::once(plain.clone()).chain((2..).map(|count| format!("{plain}_{count}")));
        let name = names.find(|name| !taken(name)).unwrap_or(plain);
        self.sensors.push(Sensor::new(name, Quantity::Temperature, None));
        self.files.push(vec![file]);
    }
}

/// The shortest is the reading's own time: on a busy machine any single one may have to wait.
fn shortest_of_three<T>(mut read: impl FnMut() -> T) -> Duration {
    let times = std::array::from_fn::<Duration, 3, _>(|_| {
        let start = Instant::now();
        read();
        start.elapsed()
    });
    times.into_iter().min().unwrap_or_default()
}

/// The files of the packages' temperatures, by the drivers that are known.
fn package_sensors(sys: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in numbered(&sys.join("class/hwmon"), "hwmon") {
        let Some(driver) = read_line(&folder.join("name")) else {
            continue;
        };
        let Some((_, label)) = CPU_DRIVERS.iter().find(|(name, _)| *name == driver) else {
            continue;
        };
        let labelled = (1..=8).find(|index| {
            read_line(&folder.join(format!("temp{index}_label"))).is_some_and(|text| text.starts_with(label))
        });
        // Old drivers have one value and no label.
        found.push(folder.join(format!("temp{}_input", labelled.unwrap_or(1))));
    }
    found
}

impl SensorSource for Thermal {
    fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    fn read(&mut self, values: &mut [f64]) {
        for (value, files) in values.iter_mut().zip(&mut self.files) {
            // `f64::max` leaves out what is not a number.
            let hottest = files.iter_mut().filter_map(TextFile::number).fold(f64::NAN, f64::max);
            // The kernel tells thousandths of a degree.
            *value = hottest / 1e3;
        }
    }
}

/// Whether processors slowed down because they were too hot, by the kernel's count of such events (x86 alone:
/// Documentation/ABI/testing/sysfs-devices-system-cpu, `thermal_throttle`).
#[derive(Debug)]
pub(super) struct CpuThrottle {
    sensor: Sensor,
    packages: Vec<(TextFile, Option<u64>)>,
}

impl CpuThrottle {
    /// One counter for each package; `None` where the kernel does not count.
    pub(super) fn open(sys: &Path) -> Option<Self> {
        let mut seen = Vec::new();
        let mut packages = Vec::new();
        for processor in numbered(&sys.join("devices/system/cpu"), "cpu") {
            let package = read_line(&processor.join("topology/physical_package_id"));
            if seen.contains(&package) {
                continue;
            }
            if let Ok(mut file) = TextFile::open(&processor.join("thermal_throttle/package_throttle_count"))
                && let Some(count) = file.counter()
            {
                packages.push((file, Some(count)));
                seen.push(package);
            }
        }
        let sensor = Sensor::new("cpu_throttle", Quantity::Throttle, Some(DeviceKind::Cpu)).since_previous();
        (!packages.is_empty()).then_some(Self { sensor, packages })
    }
}

impl SensorSource for CpuThrottle {
    fn sensors(&self) -> &[Sensor] {
        std::slice::from_ref(&self.sensor)
    }

    fn read(&mut self, values: &mut [f64]) {
        let mut events = None;
        for (file, last) in &mut self.packages {
            let now = file.counter();
            if let (Some(now), Some(last)) = (now, *last) {
                events = Some(events.unwrap_or(0) + now.saturating_sub(last));
            }
            *last = now.or(*last);
        }
        values[0] = match events {
            None => f64::NAN,
            Some(0) => 0.0,
            Some(_) => f64::from(ThrottleReason::HardwareThermal.bit()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tree::write;
    use super::*;

    fn readings(source: &mut dyn SensorSource) -> Vec<(String, f64)> {
        let mut values = vec![0.0; source.sensors().len()];
        source.read(&mut values);
        source.sensors().iter().map(|sensor| sensor.name.clone()).zip(values).collect()
    }

    #[test]
    fn the_hottest_package_is_the_processors_temperature() {
        let root = tempfile::tempdir().unwrap();
        for (hwmon, package) in [(1, 61_000), (3, 72_500)] {
            write(root.path(), &format!("class/hwmon/hwmon{hwmon}/name"), "coretemp\n");
            write(root.path(), &format!("class/hwmon/hwmon{hwmon}/temp1_label"), "Core 0\n");
            write(root.path(), &format!("class/hwmon/hwmon{hwmon}/temp1_input"), "99000\n");
            write(root.path(), &format!("class/hwmon/hwmon{hwmon}/temp2_label"), "Package id 0\n");
            write(root.path(), &format!("class/hwmon/hwmon{hwmon}/temp2_input"), &format!("{package}\n"));
        }
        write(root.path(), "class/hwmon/hwmon2/name", "nvme\n");
        write(root.path(), "class/hwmon/hwmon2/temp1_input", "40000\n");
        for (zone, kind) in [(0, "acpitz"), (1, "acpitz"), (2, "x86_pkg_temp")] {
            write(root.path(), &format!("class/thermal/thermal_zone{zone}/type"), &format!("{kind}\n"));
            write(root.path(), &format!("class/thermal/thermal_zone{zone}/temp"), &format!("{}\n", 30_000 + zone));
        }
        let mut thermal = Thermal::open(root.path()).unwrap();
        let named = |name: &str, value: f64| (name.to_owned(), value);
        assert_eq!(
            readings(&mut thermal),
            [
                named("zone_acpitz_temperature", 30.0),
                named("zone_acpitz_temperature_2", 30.001),
                named("zone_x86_pkg_temp_temperature", 30.002),
                named("cpu_temperature", 72.5),
            ]
        );
        let of_the_processor: Vec<_> =
            thermal.sensors().iter().filter(|sensor| sensor.device == Some(DeviceKind::Cpu)).collect();
        assert_eq!(of_the_processor.len(), 1);
    }

    #[test]
    fn a_zone_is_the_processor_where_its_driver_has_no_sensor() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "class/thermal/thermal_zone0/type", "cpu-thermal\n");
        write(root.path(), "class/thermal/thermal_zone0/temp", "45500\n");
        write(root.path(), "class/thermal/thermal_zone1/type", "iwlwifi_1\n");
        // A zone without a value: its driver answers with an error, here with nothing.
        write(root.path(), "class/thermal/thermal_zone1/temp", "");
        let mut thermal = Thermal::open(root.path()).unwrap();
        assert_eq!(readings(&mut thermal), [("cpu_temperature".to_owned(), 45.5)]);
        write(root.path(), "class/thermal/thermal_zone0/temp", "");
        assert!(readings(&mut thermal)[0].1.is_nan());
    }

    #[test]
    fn a_reading_that_is_always_slow_is_told_from_one_that_had_to_wait() {
        let nap = SLOWEST_READING * 2;
        assert!(shortest_of_three(|| std::thread::sleep(nap)) > SLOWEST_READING);
        let mut naps = [nap, Duration::ZERO, nap].into_iter();
        assert!(shortest_of_three(|| std::thread::sleep(naps.next().unwrap())) < nap);
    }

    #[test]
    fn no_temperature_is_no_source() {
        let root = tempfile::tempdir().unwrap();
        assert!(Thermal::open(root.path()).is_none());
        assert!(CpuThrottle::open(root.path()).is_none());
    }

    #[test]
    fn an_event_of_any_package_is_told_once() {
        let root = tempfile::tempdir().unwrap();
        let count = |processor: u32, count: u32| {
            let folder = format!("devices/system/cpu/cpu{processor}");
            write(root.path(), &format!("{folder}/topology/physical_package_id"), &format!("{}\n", processor / 2));
            write(root.path(), &format!("{folder}/thermal_throttle/package_throttle_count"), &format!("{count}\n"));
        };
        for processor in 0..4 {
            count(processor, 7);
        }
        let mut throttle = CpuThrottle::open(root.path()).unwrap();
        assert_eq!(throttle.packages.len(), 2);
        assert_eq!(readings(&mut throttle)[0].1, 0.0);
        count(2, 9);
        assert_eq!(readings(&mut throttle)[0].1, 2.0);
        assert_eq!(readings(&mut throttle)[0].1, 0.0);
    }
}
