//! Sensors: what telemetry reads, whoever reads it. The sources lie in `hardware`, the thread that asks them in
//! `measure`; this is what they say to each other.

use super::hardware::DeviceKind;

/// What a sensor measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Power in watts.
    Power,
    /// Energy in joules, counted up from a moment that does not matter.
    Energy,
    /// Temperature in degrees Celsius.
    Temperature,
    /// Busy time in percent of all time.
    Utilization,
    /// Memory in use, in megabytes (1e6 bytes).
    Memory,
    /// A clock's frequency in megahertz.
    Clock,
    /// Processes that run or wait to run.
    Load,
    /// Why a device slowed down: a sum of [`ThrottleReason::bit`]s, 0 where it did not.
    Throttle,
}

impl Quantity {
    /// The unit of its values.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Power => "W",
            Self::Energy => "J",
            Self::Temperature => "C",
            Self::Utilization => "%",
            Self::Memory => "MB",
            Self::Clock => "MHz",
            Self::Load => "1",
            Self::Throttle => "bitmask",
        }
    }
}

/// The time that a reading is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// The moment of the reading.
    Moment,
    /// All the time since the reading before.
    SincePrevious,
}

/// One sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Its name, unique among the sensors of a run: `gpu_power`, `cpu_utilization`.
    pub name: String,
    /// What it measures.
    pub quantity: Quantity,
    /// The device that it is about; `None` for the host as a whole.
    pub device: Option<DeviceKind>,
    /// The time that a reading is about.
    pub span: Span,
}

impl Sensor {
    /// A sensor whose readings are about their moment.
    pub fn new(name: impl Into<String>, quantity: Quantity, device: Option<DeviceKind>) -> Self {
        Self { name: name.into(), quantity, device, span: Span::Moment }
    }

    /// The same sensor, with readings that are about the time since the one before.
    pub fn since_previous(mut self) -> Self {
        self.span = Span::SincePrevious;
        self
    }
}

/// Something with sensors that are read together.
pub trait SensorSource: Send {
    /// Its sensors, always the same and in the same order.
    fn sensors(&self) -> &[Sensor];

    /// Reads all sensors into `values`, one for each of [`Self::sensors`]. What could not be read is NaN, never 0.
    fn read(&mut self, values: &mut [f64]);
}

/// Why a device runs slower than it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThrottleReason {
    /// The driver lowered the clocks because of heat.
    SoftwareThermal,
    /// The hardware lowered the clocks because of heat.
    HardwareThermal,
    /// The power supply asked for less.
    PowerBrake,
    /// The hardware lowered the clocks and does not say why. NVIDIA's driver may also tell of it for a moment while
    /// clocks change.
    HardwareSlowdown,
    /// The power limit holds the clocks. Under heavy work most cards run like that all day: it is stored, and marks
    /// no run.
    PowerCap,
}

impl ThrottleReason {
    /// All of them, by rising bit.
    pub const ALL: [Self; 5] =
        [Self::SoftwareThermal, Self::HardwareThermal, Self::PowerBrake, Self::HardwareSlowdown, Self::PowerCap];

    /// Its bit in a reading: 1, 2, 4, 8, 16.
    pub fn bit(self) -> u32 {
        1 << self as u32
    }

    /// What people call it.
    pub fn description(self) -> &'static str {
        match self {
            Self::SoftwareThermal => "software thermal slowdown",
            Self::HardwareThermal => "hardware thermal slowdown",
            Self::PowerBrake => "power brake",
            Self::HardwareSlowdown => "hardware slowdown",
            Self::PowerCap => "power cap",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_bit_of_its_own() {
        let bits: Vec<u32> = ThrottleReason::ALL.iter().map(|reason| reason.bit()).collect();
        assert_eq!(bits, [1, 2, 4, 8, 16]);
    }
}
