//! Other vendors' GPUs, by what Linux tells of a card below /sys/class/drm: amdgpu's own files and those of its hardware
//! monitor, and the monitors of Intel's i915 and xe. (Linux: Documentation/gpu/amdgpu/thermal.rst,
//! Documentation/ABI/testing/sysfs-driver-intel-{i915,xe}-hwmon, drivers/gpu/drm/xe/xe_gt_throttle.c.)

use std::path::{Path, PathBuf};

use super::SensorNotice;
use super::choose::{Card, Wanted, choose};
use super::file::{TextFile, numbered, read_line};
use crate::domain::{DeviceKind, Platform, Quantity, Sensor, SensorSource, ThrottleReason};

/// PCI numbers of vendors. NVIDIA's own driver tells nothing here, the free one does.
const VENDORS: [(&str, &str); 3] = [("0x1002", "AMD"), ("0x8086", "Intel"), ("0x10de", "NVIDIA")];

/// Sensors, the files below the card's folder that may hold them, and what their numbers are multiplied by. The first
/// file that is there is taken, whether it has a value or not: a card that sleeps has none, and the work will wake it.
const FILES: [(&str, Quantity, &[&str], f64); 7] = [
    // Some cards tell the mean since the last reading, some the power now.
    ("gpu_power", Quantity::Power, &["hwmon/power1_average", "hwmon/power1_input"], 1e-6),
    // The first counter of Intel's cards is the board's, the second the package's.
    ("gpu_energy", Quantity::Energy, &["hwmon/energy1_input", "hwmon/energy2_input"], 1e-6),
    ("gpu_temperature", Quantity::Temperature, &["hwmon/temp1_input", "hwmon/temp2_input"], 1e-3),
    ("gpu_utilization", Quantity::Utilization, &["gpu_busy_percent"], 1.0),
    ("gpu_memory_used", Quantity::Memory, &["mem_info_vram_used"], 1e-6),
    ("gpu_sm_clock", Quantity::Clock, &["hwmon/freq1_input"], 1e-6),
    ("gpu_memory_clock", Quantity::Clock, &["hwmon/freq2_input"], 1e-6),
];

/// Intel's reasons: the ends of the names of files that hold 0 or 1. Limits of power and current (pl1, pl2, pl4, ratl,
/// vr_tdc) are the card's way of working and not read.
const REASONS: [(&str, ThrottleReason); 3] = [
    ("reason_thermal", ThrottleReason::HardwareThermal),
    ("reason_prochot", ThrottleReason::HardwareThermal),
    ("reason_vr_thermalert", ThrottleReason::HardwareThermal),
];

/// The sensors of one card.
#[derive(Debug)]
pub(super) struct DrmCard {
    sensors: Vec<Sensor>,
    files: Vec<(TextFile, f64)>,
    throttle: Vec<(TextFile, ThrottleReason)>,
}

/// The sensors of the card that is wanted, below `sys` (`/sys`); `None` if there is no such card or it tells nothing.
///
/// # Errors
/// Several cards can be the one that is wanted.
pub(super) fn open(sys: &Path, wanted: &Wanted<'_>) -> Result<Option<DrmCard>, SensorNotice> {
    // Beside `card0` stand its connectors, `card0-DP-1`.
    let mut found: Vec<(Card, PathBuf)> = numbered(&sys.join("class/drm"), "card")
        .into_iter()
        .filter_map(|folder| {
            let vendor = read_line(&folder.join("device/vendor"))?;
            let (_, name) = VENDORS.iter().find(|(number, _)| *number == vendor)?;
            let address = std::fs::canonicalize(folder.join("device")).ok()?;
            let pci = address.file_name()?.to_string_lossy().into_owned();
            Some((Card { name: (*name).to_owned(), pci, uuid: String::new() }, folder))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.pci.cmp(&other.pci));
    let (cards, folders): (Vec<Card>, Vec<PathBuf>) = found.into_iter().unzip();
    // The kernel knows vendors, no names.
    let vendor = match wanted.platform {
        Platform::Rocm => "AMD",
        _ => wanted.vendor,
    };
    let chosen = choose(&cards, &Wanted { name: vendor, ..wanted.clone() })?;
    Ok(chosen.and_then(|card| DrmCard::open(&folders[card])))
}

impl DrmCard {
    fn open(card: &Path) -> Option<Self> {
        let device = card.join("device");
        let monitors = numbered(&device.join("hwmon"), "hwmon");
        let place = |name: &str| match name.strip_prefix("hwmon/") {
            Some(name) => Some(monitors.first()?.join(name)),
            None => Some(device.join(name)),
        };
        let mut opened = Self { sensors: Vec::new(), files: Vec::new(), throttle: throttle_files(card) };
        for (name, quantity, files, factor) in FILES {
            if let Some(file) = files.iter().find_map(|file| TextFile::open(&place(file)?).ok()) {
                opened.sensors.push(Sensor::new(name, quantity, Some(DeviceKind::Gpu)));
                opened.files.push((file, factor));
            }
        }
        if !opened.throttle.is_empty() {
            opened.sensors.push(Sensor::new("gpu_throttle", Quantity::Throttle, Some(DeviceKind::Gpu)));
        }
        (!opened.sensors.is_empty()).then_some(opened)
    }
}

/// The files of i915 (`gt/gt0/throttle_reason_thermal`) and of xe (`device/tile0/gt0/freq0/throttle/reason_thermal`).
fn throttle_files(card: &Path) -> Vec<(TextFile, ThrottleReason)> {
    let i915 = numbered(&card.join("gt"), "gt").into_iter().map(|engine| (engine, "throttle_"));
    let tiles = numbered(&card.join("device"), "tile");
    let xe = tiles.iter().flat_map(|tile| numbered(tile, "gt")).map(|engine| (engine.join("freq0/throttle"), ""));
    let mut found = Vec::new();
    for (folder, prefix) in i915.chain(xe) {
        for (name, reason) in REASONS {
            found.extend(TextFile::open(&folder.join(format!("{prefix}{name}"))).ok().map(|file| (file, reason)));
        }
    }
    found
}

impl SensorSource for DrmCard {
    fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    fn read(&mut self, values: &mut [f64]) {
        for ((value, (file, factor)), sensor) in values.iter_mut().zip(&mut self.files).zip(&self.sensors) {
            let number = file.number().map(|number| number * *factor);
            // A card that sleeps tells a power of 0: that is no measurement of what it draws.
            *value = number.filter(|&number| sensor.quantity != Quantity::Power || number > 0.0).unwrap_or(f64::NAN);
        }
        if let Some(value) = values.get_mut(self.files.len()) {
            let mut bits = Some(0);
            for (file, reason) in &mut self.throttle {
                bits = match (bits, file.number()) {
                    (Some(bits), Some(set)) => Some(if set > 0.0 { bits | reason.bit() } else { bits }),
                    _ => None,
                };
            }
            *value = bits.map_or(f64::NAN, f64::from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tree::write;
    use super::*;

    fn wanted(vendor: &str) -> Wanted<'_> {
        Wanted {
            name: "as the engine calls it",
            vendor,
            platform: Platform::Vulkan,
            index: 0,
            pci: None,
            cuda_visible: None,
            cuda_by_pci: false,
        }
    }

    /// A card with its files below its PCI folder, and the link to it that the kernel makes.
    fn card(root: &Path, number: u32, pci: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            write(root, &format!("devices/{pci}/{name}"), text);
        }
        let folder = root.join(format!("class/drm/card{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.join("devices").join(pci), folder.join("device")).unwrap();
    }

    fn readings(source: &mut DrmCard) -> Vec<(String, f64)> {
        let mut values = vec![0.0; source.sensors.len()];
        source.read(&mut values);
        source.sensors.iter().map(|sensor| sensor.name.clone()).zip(values).collect()
    }

    const RADEON: [(&str, &str); 8] = [
        ("vendor", "0x1002\n"),
        ("gpu_busy_percent", "97\n"),
        ("mem_info_vram_used", "1500000000\n"),
        ("hwmon/hwmon4/power1_average", "212000000\n"),
        ("hwmon/hwmon4/power1_input", "999000000\n"),
        ("hwmon/hwmon4/temp1_input", "64000\n"),
        ("hwmon/hwmon4/freq1_input", "2450000000\n"),
        ("hwmon/hwmon4/freq2_input", "1249000000\n"),
    ];

    #[test]
    #[cfg(unix)]
    fn a_radeon_is_read_by_its_drivers_files() {
        let root = tempfile::tempdir().unwrap();
        card(root.path(), 1, "0000:03:00.0", &RADEON);
        card(root.path(), 0, "0000:00:02.0", &[("vendor", "0x8086\n")]);
        let asleep = write(root.path(), "devices/0000:03:00.0/hwmon/hwmon4/temp1_input", "");
        write(root.path(), "class/drm/card1-DP-1/status", "connected\n");
        let mut radeon = open(root.path(), &wanted("AMD")).unwrap().unwrap();
        assert!(readings(&mut radeon)[1].1.is_nan(), "asleep");
        std::fs::write(asleep, "64000\n").unwrap();
        let expected = [
            ("gpu_power", 212.0),
            ("gpu_temperature", 64.0),
            ("gpu_utilization", 97.0),
            ("gpu_memory_used", 1500.0),
            ("gpu_sm_clock", 2450.0),
            ("gpu_memory_clock", 1249.0),
        ];
        for ((name, value), (expected_name, expected_value)) in readings(&mut radeon).iter().zip(expected) {
            assert_eq!(name, expected_name);
            assert!((value - expected_value).abs() < 1e-9, "{name} {value}");
        }
        assert_eq!(radeon.sensors.len(), expected.len());
        write(root.path(), "devices/0000:03:00.0/hwmon/hwmon4/power1_average", "0\n");
        assert!(readings(&mut radeon)[0].1.is_nan(), "no power is no reading");
    }

    #[test]
    #[cfg(unix)]
    fn intels_drivers_tell_energy_and_reasons() {
        let root = tempfile::tempdir().unwrap();
        let energy = ("hwmon/hwmon0/energy1_input", "123456789\n");
        card(root.path(), 0, "0000:03:00.0", &[("vendor", "0x8086\n"), energy]);
        for (name, set) in [("reason_thermal", "0\n"), ("reason_prochot", "0\n"), ("reason_pl1", "1\n")] {
            write(root.path(), &format!("class/drm/card0/gt/gt0/throttle_{name}"), set);
            write(root.path(), &format!("class/drm/card0/device/tile0/gt1/freq0/throttle/{name}"), set);
        }
        let mut arc = open(root.path(), &wanted("Intel")).unwrap().unwrap();
        let named = |name: &str, value: f64| (name.to_owned(), value);
        assert_eq!(readings(&mut arc), [named("gpu_energy", 123.456_789), named("gpu_throttle", 0.0)]);
        write(root.path(), "class/drm/card0/device/tile0/gt1/freq0/throttle/reason_prochot", "1\n");
        assert_eq!(readings(&mut arc)[1].1, 2.0);
    }

    #[test]
    #[cfg(unix)]
    fn cards_that_tell_nothing_or_cannot_be_told_apart_are_no_source() {
        let root = tempfile::tempdir().unwrap();
        assert!(open(root.path(), &wanted("AMD")).unwrap().is_none());
        card(root.path(), 0, "0000:00:02.0", &[("vendor", "0x8086\n")]);
        assert!(open(root.path(), &wanted("Intel")).unwrap().is_none());
        card(root.path(), 1, "0000:03:00.0", &RADEON);
        card(root.path(), 2, "0000:0c:00.0", &RADEON);
        assert!(open(root.path(), &wanted("AMD")).is_err());
        let rocm = Wanted { platform: Platform::Rocm, ..wanted("") };
        assert!(open(root.path(), &rocm).is_err());
        let named = Wanted { pci: Some("0000:0c:00.0".into()), ..wanted("AMD") };
        assert!(open(root.path(), &named).unwrap().is_some());
    }
}
