//! An NVIDIA card's sensors, by the driver's management library.
//!
//! What a card tells differs: cards before Volta have no energy counter, cards in a laptop no power, parts of a card (MIG)
//! next to nothing. What answers when it is asked first is a sensor; what refuses is none.

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::NVML_FI_DEV_POWER_INSTANT;

use super::SensorNotice;
use super::choose::{Card, Wanted, choose};
use crate::domain::{DeviceKind, Platform, Quantity, Sensor, SensorSource, ThrottleReason};
use crate::hardware::nvml::library;

/// Bytes of a megabyte, as everywhere in benchdb.
const MB: f64 = 1e6;

/// What is asked of a card. The driver's own units; tests answer from recordings.
pub(super) trait NvmlCard: Send {
    /// Power now, in milliwatts.
    fn instant_power(&self) -> Result<u32, NvmlError>;
    /// Power in milliwatts; on most cards since Ampere the mean of the last second.
    fn power(&self) -> Result<u32, NvmlError>;
    /// Energy in millijoules since the driver was loaded; Volta and later.
    fn energy(&self) -> Result<u64, NvmlError>;
    /// Temperature of the chip in degrees Celsius.
    fn temperature(&self) -> Result<u32, NvmlError>;
    /// Percent of the last sample period (1/6 to 1 s) in which a kernel ran.
    fn utilization(&self) -> Result<u32, NvmlError>;
    /// Memory in use by all processes, in bytes.
    fn memory_used(&self) -> Result<u64, NvmlError>;
    /// A clock in megahertz.
    fn clock(&self, clock: Clock) -> Result<u32, NvmlError>;
    /// Why the clocks are as they are.
    fn throttle_reasons(&self) -> Result<ThrottleReasons, NvmlError>;
}

impl NvmlCard for nvml_wrapper::Device<'static> {
    fn instant_power(&self) -> Result<u32, NvmlError> {
        let answers = self.field_values_for(&[FieldId(NVML_FI_DEV_POWER_INSTANT)])?;
        match answers.into_iter().next().ok_or(NvmlError::NotSupported)??.value? {
            SampleValue::U32(milliwatts) => Ok(milliwatts),
            _ => Err(NvmlError::NotSupported),
        }
    }

    fn power(&self) -> Result<u32, NvmlError> {
        self.power_usage()
    }

    fn energy(&self) -> Result<u64, NvmlError> {
        self.total_energy_consumption()
    }

    fn temperature(&self) -> Result<u32, NvmlError> {
        self.temperature(TemperatureSensor::Gpu)
    }

    fn utilization(&self) -> Result<u32, NvmlError> {
        Ok(self.utilization_rates()?.gpu)
    }

    fn memory_used(&self) -> Result<u64, NvmlError> {
        Ok(self.memory_info()?.used)
    }

    fn clock(&self, clock: Clock) -> Result<u32, NvmlError> {
        self.clock_info(clock)
    }

    fn throttle_reasons(&self) -> Result<ThrottleReasons, NvmlError> {
        self.current_throttle_reasons()
    }
}

type Reading = fn(&dyn NvmlCard) -> Result<f64, NvmlError>;

/// The sensors of a card, in the units of telemetry. Of two with one name the first that answers is taken.
const READINGS: [(&str, Quantity, Reading); 9] = [
    ("gpu_power", Quantity::Power, |card| milli(card.instant_power()?)),
    ("gpu_power", Quantity::Power, |card| milli(card.power()?)),
    ("gpu_energy", Quantity::Energy, |card| Ok(card.energy()? as f64 / 1e3)),
    ("gpu_temperature", Quantity::Temperature, |card| Ok(card.temperature()?.into())),
    ("gpu_utilization", Quantity::Utilization, |card| Ok(card.utilization()?.into())),
    ("gpu_memory_used", Quantity::Memory, |card| Ok(card.memory_used()? as f64 / MB)),
    ("gpu_sm_clock", Quantity::Clock, |card| Ok(card.clock(Clock::SM)?.into())),
    ("gpu_memory_clock", Quantity::Clock, |card| Ok(card.clock(Clock::Memory)?.into())),
    ("gpu_throttle", Quantity::Throttle, |card| Ok(reasons(card.throttle_reasons()?).into())),
];

/// A card draws power while it answers: 0 is a sensor that does not work.
fn milli(milliwatts: u32) -> Result<f64, NvmlError> {
    if milliwatts == 0 { Err(NvmlError::NotSupported) } else { Ok(f64::from(milliwatts) / 1e3) }
}

/// The driver's reasons as ours. Idleness, the user's own clock settings and other cards' needs (sync boost) are no
/// throttling.
fn reasons(driver: ThrottleReasons) -> u32 {
    let known = [
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, ThrottleReason::SoftwareThermal),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, ThrottleReason::HardwareThermal),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, ThrottleReason::PowerBrake),
        (ThrottleReasons::HW_SLOWDOWN, ThrottleReason::HardwareSlowdown),
        (ThrottleReasons::SW_POWER_CAP, ThrottleReason::PowerCap),
    ];
    known.iter().filter(|(theirs, _)| driver.contains(*theirs)).map(|(_, ours)| ours.bit()).sum()
}

/// The sensors of one card.
pub(super) struct NvmlSource<C> {
    card: C,
    sensors: Vec<Sensor>,
    readings: Vec<Reading>,
}

impl<C: NvmlCard> NvmlSource<C> {
    /// Asks the card for everything once; `None` if it tells nothing.
    pub(super) fn new(card: C) -> Option<Self> {
        let mut sensors: Vec<Sensor> = Vec::new();
        let mut readings = Vec::new();
        for (name, quantity, reading) in READINGS {
            if sensors.iter().all(|sensor| sensor.name != name) && reading(&card).is_ok() {
                sensors.push(Sensor::new(name, quantity, Some(DeviceKind::Gpu)));
                readings.push(reading);
            }
        }
        (!sensors.is_empty()).then_some(Self { card, sensors, readings })
    }
}

impl<C: NvmlCard> SensorSource for NvmlSource<C> {
    fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    fn read(&mut self, values: &mut [f64]) {
        for (value, reading) in values.iter_mut().zip(&self.readings) {
            *value = reading(&self.card).unwrap_or(f64::NAN);
        }
    }
}

/// The sensors of the card that is wanted; `None` where it is not NVIDIA's.
///
/// # Errors
/// The card is NVIDIA's, and its library or the card cannot be found.
pub(super) fn open(wanted: &Wanted<'_>) -> Result<Option<Box<dyn SensorSource>>, SensorNotice> {
    let is_nvidia = wanted.platform == Platform::Cuda || wanted.name.to_lowercase().contains("nvidia");
    let library = match library() {
        Ok(library) => library,
        Err(error) if is_nvidia => {
            return Err(SensorNotice {
                cause: format!("the GPU's power and temperature are not measured: {error}"),
                way_out: "install NVIDIA's driver with its library `libnvidia-ml.so.1`; `nvidia-smi` needs it too"
                    .to_owned(),
            });
        }
        Err(_) => return Ok(None),
    };
    let count = library.device_count().unwrap_or(0);
    let mut found: Vec<_> = (0..count)
        .filter_map(|index| {
            let device = library.device_by_index(index).ok()?;
            let card = Card {
                name: device.name().ok()?,
                pci: device.pci_info().map(|pci| pci.bus_id).unwrap_or_default(),
                uuid: device.uuid().unwrap_or_default(),
            };
            Some((card, device))
        })
        .collect();
    found.sort_by(|(one, _): &(Card, _), (other, _)| one.pci.cmp(&other.pci));
    let (cards, devices): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let Some(chosen) = choose(&cards, wanted)? else {
        return Ok(None);
    };
    let source = devices.into_iter().nth(chosen).and_then(NvmlSource::new);
    Ok(source.map(|source| Box::new(source) as Box<dyn SensorSource>))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a card answered, written down: an H100 at work, and changes of it.
    #[derive(Clone)]
    struct Recorded {
        instant: Result<u32, NvmlErrorKind>,
        power: Result<u32, NvmlErrorKind>,
        energy: Result<u64, NvmlErrorKind>,
        throttle: u64,
        rest: Result<(), NvmlErrorKind>,
    }

    /// The library's own error cannot be copied.
    #[derive(Clone, Copy)]
    enum NvmlErrorKind {
        NotSupported,
        NoPermission,
        GpuLost,
    }

    impl From<NvmlErrorKind> for NvmlError {
        fn from(kind: NvmlErrorKind) -> Self {
            match kind {
                NvmlErrorKind::NotSupported => Self::NotSupported,
                NvmlErrorKind::NoPermission => Self::NoPermission,
                NvmlErrorKind::GpuLost => Self::GpuLost,
            }
        }
    }

    const AT_WORK: Recorded =
        Recorded { instant: Ok(412_345), power: Ok(398_100), energy: Ok(9_876_543_210), throttle: 4, rest: Ok(()) };

    impl NvmlCard for Recorded {
        fn instant_power(&self) -> Result<u32, NvmlError> {
            Ok(self.instant?)
        }
        fn power(&self) -> Result<u32, NvmlError> {
            Ok(self.power?)
        }
        fn energy(&self) -> Result<u64, NvmlError> {
            Ok(self.energy?)
        }
        fn temperature(&self) -> Result<u32, NvmlError> {
            self.rest?;
            Ok(61)
        }
        fn utilization(&self) -> Result<u32, NvmlError> {
            self.rest?;
            Ok(97)
        }
        fn memory_used(&self) -> Result<u64, NvmlError> {
            self.rest?;
            Ok(12_345_000_000)
        }
        fn clock(&self, clock: Clock) -> Result<u32, NvmlError> {
            self.rest?;
            Ok(if clock == Clock::SM { 1980 } else { 2619 })
        }
        fn throttle_reasons(&self) -> Result<ThrottleReasons, NvmlError> {
            self.rest?;
            Ok(ThrottleReasons::from_bits_truncate(self.throttle))
        }
    }

    fn readings(source: &mut NvmlSource<Recorded>) -> Vec<(String, f64, &'static str)> {
        let mut values = vec![0.0; source.sensors.len()];
        source.read(&mut values);
        let named = source.sensors.iter().zip(values);
        named.map(|(sensor, value)| (sensor.name.clone(), value, sensor.quantity.unit())).collect()
    }

    fn named(name: &str, value: f64, unit: &'static str) -> (String, f64, &'static str) {
        (name.to_owned(), value, unit)
    }

    #[test]
    fn a_card_that_tells_all_is_read_in_our_units() {
        let mut source = NvmlSource::new(AT_WORK).unwrap();
        assert_eq!(
            readings(&mut source),
            [
                named("gpu_power", 412.345, "W"),
                named("gpu_energy", 9_876_543.21, "J"),
                named("gpu_temperature", 61.0, "C"),
                named("gpu_utilization", 97.0, "%"),
                named("gpu_memory_used", 12_345.0, "MB"),
                named("gpu_sm_clock", 1980.0, "MHz"),
                named("gpu_memory_clock", 2619.0, "MHz"),
                named("gpu_throttle", 16.0, "bitmask"),
            ]
        );
    }

    #[test]
    fn an_old_card_has_no_energy_counter_and_a_mean_power() {
        let old =
            Recorded { instant: Err(NvmlErrorKind::NotSupported), energy: Err(NvmlErrorKind::NotSupported), ..AT_WORK };
        let mut source = NvmlSource::new(old).unwrap();
        let readings = readings(&mut source);
        assert_eq!(readings[0], named("gpu_power", 398.1, "W"));
        assert!(readings.iter().all(|(name, ..)| name != "gpu_energy"));
    }

    #[test]
    fn a_power_of_zero_is_no_reading() {
        let mut source = NvmlSource::new(Recorded { instant: Ok(0), power: Ok(0), ..AT_WORK }).unwrap();
        assert!(readings(&mut source).iter().all(|(name, ..)| name != "gpu_power"));
        source = NvmlSource::new(AT_WORK).unwrap();
        source.card.instant = Ok(0);
        assert!(readings(&mut source)[0].1.is_nan());
    }

    #[test]
    fn a_card_that_refuses_everything_is_no_source() {
        let refused = Recorded {
            instant: Err(NvmlErrorKind::NoPermission),
            power: Err(NvmlErrorKind::NoPermission),
            energy: Err(NvmlErrorKind::NoPermission),
            rest: Err(NvmlErrorKind::NoPermission),
            ..AT_WORK
        };
        assert!(NvmlSource::new(refused).is_none());
    }

    #[test]
    fn a_card_that_is_lost_on_the_way_is_absent_from_then_on() {
        let mut source = NvmlSource::new(AT_WORK).unwrap();
        let lost = Err(NvmlErrorKind::GpuLost);
        source.card = Recorded {
            instant: lost,
            energy: Err(NvmlErrorKind::GpuLost),
            rest: Err(NvmlErrorKind::GpuLost),
            ..AT_WORK
        };
        assert!(readings(&mut source).iter().all(|(_, value, _)| value.is_nan()));
    }

    #[test]
    fn the_drivers_reasons_are_told_apart() {
        // The bits of nvml.h: idle 1, application clocks 2, power cap 4, slowdown 8, sync boost 0x10, software thermal 0x20,
        // hardware thermal 0x40, power brake 0x80, display clocks 0x100.
        for (theirs, ours) in [
            (0, 0),
            (1, 0),
            (2, 0),
            (4, 16),
            (8, 8),
            (0x10, 0),
            (0x20, 1),
            (0x40, 2),
            (0x48, 10),
            (0x80, 4),
            (0x100, 0),
        ] {
            assert_eq!(reasons(ThrottleReasons::from_bits_truncate(theirs)), ours, "{theirs:#x}");
        }
    }
}
