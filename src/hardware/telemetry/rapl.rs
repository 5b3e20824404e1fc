//! The energy counters of processor packages (RAPL: "running average power limit"), through Linux's powercap interface.
//!
//! `/sys/class/powercap/intel-rapl:N` are the packages, on AMD's processors too, and the platform (`psys`) where it is
//! told. `energy_uj` counts microjoules up to `max_energy_range_uj` and starts again at 0. (Linux: Documentation/power/
//! powercap/powercap.rst.) Cores, memory and graphics (`intel-rapl:N:M`) are parts of a package and not read.

use std::io;
use std::path::Path;

use super::SensorNotice;
use super::file::{TextFile, numbered, read_line};
use crate::domain::{DeviceKind, Quantity, Sensor, SensorSource};

/// The packages' counters, as one: a process may run on any of them.
#[derive(Debug)]
pub(super) struct Rapl {
    packages: Vec<Package>,
    sensor: Sensor,
}

#[derive(Debug)]
struct Package {
    energy: TextFile,
    /// Where the counter starts again.
    range_uj: Option<u64>,
    last_uj: Option<u64>,
    total_uj: u64,
    /// It went back and nobody knows how far it had come: what it counts from there on is not the whole energy.
    lost: bool,
}

/// Opens the counters below `sys` (`/sys`); a notice where they exist and this user may not read them.
pub(super) fn open(sys: &Path) -> Result<Option<Rapl>, SensorNotice> {
    open_with(sys, TextFile::open)
}

fn open_with(sys: &Path, open: impl Fn(&Path) -> io::Result<TextFile>) -> Result<Option<Rapl>, SensorNotice> {
    let mut packages = Vec::new();
    for folder in numbered(&sys.join("class/powercap"), "intel-rapl:") {
        // The counter of the platform holds the packages' energy a second time.
        if !read_line(&folder.join("name")).is_some_and(|name| name.starts_with("package")) {
            continue;
        }
        let path = folder.join("energy_uj");
        // A file that opens and holds no number is no counter.
        match open(&path).map(|mut file| file.counter().is_some().then_some(file)) {
            Ok(Some(energy)) => packages.push(Package {
                energy,
                range_uj: read_line(&folder.join("max_energy_range_uj")).and_then(|text| text.parse().ok()),
                last_uj: None,
                total_uj: 0,
                lost: false,
            }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(not_permitted(&path)),
            // The energy of some packages is not the processor's energy.
            _ => return Ok(None),
        }
    }
    let sensor = Sensor::new("cpu_package_energy", Quantity::Energy, Some(DeviceKind::Cpu));
    Ok((!packages.is_empty()).then_some(Rapl { packages, sensor }))
}

fn not_permitted(path: &Path) -> SensorNotice {
    SensorNotice {
        cause: format!("the processor's power is not measured: this user may not read {}", path.display()),
        way_out:
            "`sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj` lasts until the next boot; docs/telemetry.md \
                  has the udev rule that stays"
                .to_owned(),
    }
}

impl Package {
    /// Microjoules since the first reading.
    fn advance(&mut self) -> Option<u64> {
        let now = self.energy.counter()?;
        if let Some(last) = self.last_uj {
            match (now.checked_sub(last), self.range_uj) {
                (Some(step), _) => self.total_uj += step,
                (None, Some(range)) if range >= last => self.total_uj += range - last + now,
                (None, _) => self.lost = true,
            }
        }
        self.last_uj = Some(now);
        (!self.lost).then_some(self.total_uj)
    }
}

impl SensorSource for Rapl {
    fn sensors(&self) -> &[Sensor] {
        std::slice::from_ref(&self.sensor)
    }

    fn read(&mut self, values: &mut [f64]) {
        let mut total = Some(0);
        // Every package is read each time, or one that fails would keep the others from seeing their wrap.
        for package in &mut self.packages {
            total = match (total, package.advance()) {
                (Some(total), Some(energy)) => Some(total + energy),
                _ => None,
            };
        }
        values[0] = total.map_or(f64::NAN, |microjoules: u64| microjoules as f64 / 1e6);
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tree::write;
    use super::*;

    const RANGE: u64 = 262_143_328_850;

    fn package(root: &Path, number: u32, name: &str, energy: u64) {
        let folder = format!("class/powercap/intel-rapl:{number}");
        write(root, &format!("{folder}/name"), &format!("{name}\n"));
        write(root, &format!("{folder}/energy_uj"), &format!("{energy}\n"));
        write(root, &format!("{folder}/max_energy_range_uj"), &format!("{RANGE}\n"));
    }

    fn read(rapl: &mut Rapl) -> f64 {
        let mut values = [0.0];
        rapl.read(&mut values);
        values[0]
    }

    #[test]
    fn packages_are_summed_and_their_parts_and_the_platform_left_out() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, "package-0", 5_000_000);
        package(root.path(), 1, "package-1", 1_000_000);
        package(root.path(), 2, "psys", 7);
        write(root.path(), "class/powercap/intel-rapl:0:0/name", "core\n");
        write(root.path(), "class/powercap/intel-rapl:0:0/energy_uj", "9\n");
        let mut rapl = open(root.path()).unwrap().unwrap();
        assert_eq!(read(&mut rapl), 0.0, "the first reading is where it counts from");
        package(root.path(), 0, "package-0", 7_500_000);
        package(root.path(), 1, "package-1", 1_250_000);
        package(root.path(), 2, "psys", 700_000_000);
        assert_eq!(read(&mut rapl), 2.75);
        assert_eq!((rapl.sensors()[0].name.as_str(), rapl.sensors()[0].quantity.unit()), ("cpu_package_energy", "J"));
    }

    #[test]
    fn a_counter_that_starts_again_goes_on() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, "package-0", RANGE - 1_000_000);
        let mut rapl = open(root.path()).unwrap().unwrap();
        read(&mut rapl);
        package(root.path(), 0, "package-0", 500_000);
        assert_eq!(read(&mut rapl), 1.5);
        package(root.path(), 0, "package-0", 600_000);
        assert_eq!(read(&mut rapl), 1.6);
    }

    #[test]
    fn a_counter_that_went_back_without_a_known_end_is_not_believed_any_more() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, "package-0", 1_000_000);
        std::fs::remove_file(root.path().join("class/powercap/intel-rapl:0/max_energy_range_uj")).unwrap();
        let mut rapl = open(root.path()).unwrap().unwrap();
        read(&mut rapl);
        for energy in [10, 2_000_000] {
            write(root.path(), "class/powercap/intel-rapl:0/energy_uj", &energy.to_string());
            assert!(read(&mut rapl).is_nan());
        }
    }

    #[test]
    fn a_reading_that_fails_is_absent_and_the_next_one_complete() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, "package-0", 0);
        package(root.path(), 1, "package-1", 0);
        let mut rapl = open(root.path()).unwrap().unwrap();
        read(&mut rapl);
        package(root.path(), 0, "package-0", 1_000_000);
        write(root.path(), "class/powercap/intel-rapl:1/energy_uj", "");
        assert!(read(&mut rapl).is_nan());
        package(root.path(), 1, "package-1", 3_000_000);
        assert_eq!(read(&mut rapl), 4.0);
    }

    #[test]
    fn a_missing_permission_is_told_with_the_way_out() {
        let root = tempfile::tempdir().unwrap();
        package(root.path(), 0, "package-0", 1);
        // Tests may run as root, whom no mode keeps out.
        let notice = open_with(root.path(), |_| Err(io::ErrorKind::PermissionDenied.into())).unwrap_err();
        assert!(notice.cause.contains("class/powercap/intel-rapl:0/energy_uj"), "{notice}");
        assert!(notice.way_out.contains("sudo chmod a+r"), "{notice}");
    }

    #[test]
    fn no_counter_is_no_source_and_no_notice() {
        let root = tempfile::tempdir().unwrap();
        assert!(open(root.path()).unwrap().is_none());
        package(root.path(), 0, "package-0", 1);
        assert!(open_with(root.path(), |_| Err(io::ErrorKind::NotFound.into())).unwrap().is_none());
    }
}
