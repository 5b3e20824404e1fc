//! What the readings of a run's sensors say of the run.

use std::time::{Duration, Instant};

use super::SamplingWindow;
use super::energy::{Reading, Window, counted_power, derived_power, energy_per_sample, mean_of_spans, mean_over_time};
use crate::domain::{DeviceKind, MetricSet, Quantity, Sensor, Span, TelemetrySeries, ThrottleReason};

/// The readings of one source.
#[derive(Debug)]
pub(super) struct Log {
    sensors: Vec<Sensor>,
    /// When each reading began.
    times: Vec<Instant>,
    /// One row a reading with a value for each sensor; NaN where it failed.
    values: Vec<f64>,
}

impl Log {
    /// Rows that fit without growing: a minute at the usual interval.
    const ROWS: usize = 600;

    pub(super) fn new(sensors: &[Sensor]) -> Self {
        let values = Vec::with_capacity(Self::ROWS * sensors.len());
        Self { sensors: sensors.to_vec(), times: Vec::with_capacity(Self::ROWS), values }
    }

    /// The row of a reading that begins `now`, to be filled; NaN until then.
    pub(super) fn next_row(&mut self, now: Instant) -> &mut [f64] {
        self.times.push(now);
        let start = self.values.len();
        self.values.resize(start + self.sensors.len(), f64::NAN);
        &mut self.values[start..]
    }
}

/// All readings of a run.
#[derive(Debug)]
pub struct Telemetry {
    pub(super) started: Instant,
    pub(super) worked: DeviceKind,
    pub(super) interval: Duration,
    pub(super) idle: Option<(Instant, Instant)>,
    pub(super) logs: Vec<Log>,
}

/// What telemetry says of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TelemetrySummary {
    /// The standard metrics that come from sensors. What was not measured is not there.
    pub metrics: MetricSet,
    /// Why the device slowed down while samples were taken, if it did: the run's numbers are then not the device's.
    pub throttled: Option<String>,
    /// The readings, one series a sensor that answered at all. Energy counts from its first reading; where a device has
    /// an energy counter and tells no power, `..._power` is derived from `..._energy`.
    pub series: Vec<TelemetrySeries>,
}

/// The readings of one sensor that did not fail, in seconds since the monitor started.
struct Track<'t> {
    sensor: &'t Sensor,
    readings: Vec<Reading>,
}

impl Telemetry {
    /// Lays the readings beside the samples: `samples` of them were taken in `window` (iterations times samples an
    /// iteration). Offsets count from the window's start, or from the monitor's where nothing was sampled; metrics but
    /// idle power are then not measured.
    pub fn finish(self, window: Option<SamplingWindow>, samples: u64) -> TelemetrySummary {
        let tracks = self.tracks();
        let mut summary = TelemetrySummary::default();
        if let Some((from, to)) = self.idle {
            let idle = self.window(from, to);
            let power = self.power(&tracks, idle).map(|(mean, _)| mean);
            summary.metrics.set_optional("power_idle_w", power);
        }
        if let Some(SamplingWindow { start, end }) = window {
            let window = self.window(start, end);
            self.measure(&tracks, window, samples, &mut summary.metrics);
            summary.throttled = self.throttling(&tracks, window);
        }
        let origin = window.map_or(0.0, |window| self.seconds(window.start));
        summary.series = self.series(&tracks, origin);
        summary
    }

    fn seconds(&self, instant: Instant) -> f64 {
        instant.saturating_duration_since(self.started).as_secs_f64()
    }

    fn window(&self, from: Instant, to: Instant) -> Window {
        Window { from: self.seconds(from), to: self.seconds(to) }
    }

    fn tracks(&self) -> Vec<Track<'_>> {
        let mut tracks = Vec::new();
        for log in &self.logs {
            let width = log.sensors.len();
            for (index, sensor) in log.sensors.iter().enumerate() {
                let values = log.values.iter().skip(index).step_by(width);
                let readings: Vec<Reading> = log
                    .times
                    .iter()
                    .zip(values)
                    .filter(|(_, value)| value.is_finite())
                    .map(|(time, value)| (self.seconds(*time), *value))
                    .collect();
                if !readings.is_empty() {
                    tracks.push(Track { sensor, readings });
                }
            }
        }
        tracks
    }

    /// Mean power of the device that worked, and the readings behind it: of its energy counter where it has one that
    /// counts, of its power otherwise.
    fn power<'t>(&self, tracks: &'t [Track<'_>], window: Window) -> Option<(f64, &'t [Reading])> {
        let counter = find(tracks, Quantity::Energy, self.worked).map(|track| window.readings(&track.readings));
        if let Some(readings) = counter
            && let Some(mean) = counted_power(readings)
        {
            return Some((mean, readings));
        }
        let readings = window.readings(&find(tracks, Quantity::Power, self.worked)?.readings);
        Some((mean_over_time(readings)?, readings))
    }

    fn measure(&self, tracks: &[Track<'_>], window: Window, samples: u64, metrics: &mut MetricSet) {
        if let Some((mean, readings)) = self.power(tracks, window) {
            metrics.set("power_mean_w", mean);
            metrics.set_optional("energy_per_sample_j", energy_per_sample(mean, readings, window, samples));
        }
        let peak = match find(tracks, Quantity::Power, self.worked) {
            Some(track) => highest(window.readings(&track.readings)),
            None => find(tracks, Quantity::Energy, self.worked)
                .and_then(|track| highest(&self.derived(window.readings(&track.readings)))),
        };
        metrics.set_optional("power_peak_w", peak);
        for (name, device) in
            [("cpu_utilization_percent", DeviceKind::Cpu), ("gpu_utilization_percent", DeviceKind::Gpu)]
        {
            let mean = find(tracks, Quantity::Utilization, device).and_then(|track| {
                let readings = window.readings(&track.readings);
                match track.sensor.span {
                    Span::Moment => mean_over_time(readings),
                    Span::SincePrevious => mean_of_spans(readings),
                }
            });
            metrics.set_optional(name, mean);
        }
        if let Some(track) = find(tracks, Quantity::Temperature, self.worked) {
            let readings = window.readings(&track.readings);
            metrics.set_optional("temperature_mean_c", mean_over_time(readings));
            metrics.set_optional("temperature_max_c", highest(readings));
        }
    }

    fn derived(&self, readings: &[Reading]) -> Vec<Reading> {
        derived_power(readings, self.interval.as_secs_f64() / 2.0)
    }

    fn throttling(&self, tracks: &[Track<'_>], window: Window) -> Option<String> {
        let track = find(tracks, Quantity::Throttle, self.worked)?;
        let mut readings = window.readings(&track.readings);
        if track.sensor.span == Span::SincePrevious {
            // The first reading after the window is about its end.
            let first = track.readings.partition_point(|&(time, _)| time < window.from);
            readings = &track.readings[first..track.readings.len().min(first + readings.len() + 1)];
        }
        let bits: Vec<u32> = readings.iter().map(|&(_, bits)| bits as u32).collect();
        let told: Vec<String> = ThrottleReason::ALL
            .into_iter()
            .filter_map(|reason| {
                let set: Vec<bool> = bits.iter().map(|bits| bits & reason.bit() != 0).collect();
                let count = set.iter().filter(|set| **set).count();
                let marks = match reason {
                    ThrottleReason::SoftwareThermal | ThrottleReason::HardwareThermal | ThrottleReason::PowerBrake => {
                        count > 0
                    }
                    // A change of clocks may look like it for a moment.
                    ThrottleReason::HardwareSlowdown => set.windows(2).any(|pair| pair[0] && pair[1]),
                    ThrottleReason::PowerCap => false,
                };
                marks.then(|| format!("{} in {count} of {} readings", reason.description(), set.len()))
            })
            .collect();
        (!told.is_empty()).then(|| format!("the {} throttled: {}", self.worked, told.join(", ")))
    }

    fn series(&self, tracks: &[Track<'_>], origin: f64) -> Vec<TelemetrySeries> {
        let mut series: Vec<TelemetrySeries> = Vec::new();
        for Track { sensor, readings } in tracks {
            if sensor.quantity != Quantity::Energy {
                series.push(to_series(&sensor.name, sensor.quantity, readings, origin));
                continue;
            }
            let zero = readings.first().map_or(0.0, |&(_, energy)| energy);
            let counted: Vec<Reading> = readings.iter().map(|&(time, energy)| (time, energy - zero)).collect();
            series.push(to_series(&sensor.name, sensor.quantity, &counted, origin));
            let power = self.derived(&counted);
            let name = format!("{}_power", sensor.name.trim_end_matches("_energy"));
            if !power.is_empty() && tracks.iter().all(|track| track.sensor.name != name) {
                series.push(to_series(&name, Quantity::Power, &power, origin));
            }
        }
        series
    }
}

fn find<'t, 's>(tracks: &'t [Track<'s>], quantity: Quantity, device: DeviceKind) -> Option<&'t Track<'s>> {
    tracks.iter().find(|track| track.sensor.quantity == quantity && track.sensor.device == Some(device))
}

fn highest(readings: &[Reading]) -> Option<f64> {
    readings.iter().map(|&(_, value)| value).reduce(f64::max)
}

/// Microseconds and millionths of a unit are finer than any sensor; more digits would only fill the database.
fn to_series(name: &str, quantity: Quantity, readings: &[Reading], origin: f64) -> TelemetrySeries {
    TelemetrySeries {
        sensor: name.to_owned(),
        unit: quantity.unit().to_owned(),
        offsets_ms: readings.iter().map(|&(time, _)| ((time - origin) * 1e6).round() / 1e3).collect(),
        values: readings.iter().map(|&(_, value)| (value * 1e6).round() / 1e6).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Telemetry with readings at the given seconds since the monitor started, and a window in the same seconds.
    struct Made {
        telemetry: Telemetry,
        window: Option<SamplingWindow>,
    }

    impl Made {
        fn new(worked: DeviceKind, window: (f64, f64)) -> Self {
            let started = Instant::now();
            let at = |seconds: f64| started + Duration::from_secs_f64(seconds);
            Self {
                telemetry: Telemetry {
                    started,
                    worked,
                    interval: Duration::from_millis(100),
                    idle: None,
                    logs: Vec::new(),
                },
                window: Some(SamplingWindow { start: at(window.0), end: at(window.1) }),
            }
        }

        fn with(mut self, sensor: Sensor, readings: &[Reading]) -> Self {
            let mut log = Log::new(&[sensor]);
            for &(time, value) in readings {
                log.next_row(self.telemetry.started + Duration::from_secs_f64(time))[0] = value;
            }
            self.telemetry.logs.push(log);
            self
        }

        fn idle(mut self, from: f64, to: f64) -> Self {
            let at = |seconds: f64| self.telemetry.started + Duration::from_secs_f64(seconds);
            self.telemetry.idle = Some((at(from), at(to)));
            self
        }

        fn finish(self, samples: u64) -> TelemetrySummary {
            self.telemetry.finish(self.window, samples)
        }
    }

    fn sensor(name: &str, quantity: Quantity, device: DeviceKind) -> Sensor {
        Sensor::new(name, quantity, Some(device))
    }

    fn close(value: Option<f64>, expected: f64) {
        assert!(value.is_some_and(|value| (value - expected).abs() < 1e-6), "{value:?} is not {expected}");
    }

    /// A reading each tenth of a second from 0 to 4 s.
    fn each_tenth(value: impl Fn(f64) -> f64) -> Vec<Reading> {
        (0..=40).map(|tenth| f64::from(tenth) / 10.0).map(|time| (time, value(time))).collect()
    }

    #[test]
    fn a_gpu_with_a_counter_is_measured_by_it() {
        // 50 W before the work starts at 1.5 s, 250 W from then on; the power sensor lags and says something else.
        let counter = each_tenth(|time| 1e6 + if time < 1.5 { 50.0 * time } else { 75.0 + 250.0 * (time - 1.5) });
        let summary = Made::new(DeviceKind::Gpu, (2.0, 4.0))
            .with(sensor("gpu_power", Quantity::Power, DeviceKind::Gpu), &each_tenth(|time| 100.0 + time))
            .with(sensor("gpu_energy", Quantity::Energy, DeviceKind::Gpu), &counter)
            .with(sensor("cpu_package_energy", Quantity::Energy, DeviceKind::Cpu), &each_tenth(|time| 9.0 * time))
            .with(sensor("gpu_temperature", Quantity::Temperature, DeviceKind::Gpu), &each_tenth(|time| 50.0 + time))
            .with(sensor("cpu_temperature", Quantity::Temperature, DeviceKind::Cpu), &each_tenth(|_| 99.0))
            .with(sensor("gpu_utilization", Quantity::Utilization, DeviceKind::Gpu), &each_tenth(|_| 97.0))
            .idle(0.0, 1.0)
            .finish(1000);
        let metric = |name| summary.metrics.get(name);
        close(metric("power_mean_w"), 250.0);
        close(metric("power_idle_w"), 50.0);
        close(metric("power_peak_w"), 104.0);
        close(metric("energy_per_sample_j"), 0.5);
        close(metric("temperature_mean_c"), 53.0);
        close(metric("temperature_max_c"), 54.0);
        close(metric("gpu_utilization_percent"), 97.0);
        assert_eq!(metric("cpu_utilization_percent"), None);
        assert_eq!(summary.throttled, None);
        let names: Vec<&str> = summary.series.iter().map(|series| series.sensor.as_str()).collect();
        assert_eq!(
            names,
            [
                "gpu_power",
                "gpu_energy",
                "cpu_package_energy",
                "cpu_package_power",
                "gpu_temperature",
                "cpu_temperature",
                "gpu_utilization"
            ]
        );
        let energy = &summary.series[1];
        assert_eq!((energy.offsets_ms[0], energy.values[0], energy.unit.as_str()), (-2000.0, 0.0, "J"));
        assert_eq!((energy.offsets_ms[20], energy.values[20]), (0.0, 200.0));
        let derived = &summary.series[3];
        assert_eq!((derived.offsets_ms[0], derived.values[0], derived.unit.as_str()), (-1900.0, 9.0, "W"));
    }

    #[test]
    fn a_gpu_without_a_counter_is_measured_by_its_power() {
        let summary = Made::new(DeviceKind::Gpu, (1.0, 3.0))
            .with(sensor("gpu_power", Quantity::Power, DeviceKind::Gpu), &each_tenth(|time| 100.0 * time))
            .finish(10);
        close(summary.metrics.get("power_mean_w"), 200.0);
        close(summary.metrics.get("power_peak_w"), 300.0);
        close(summary.metrics.get("energy_per_sample_j"), 40.0);
        assert_eq!(summary.metrics.get("power_idle_w"), None);
    }

    #[test]
    fn a_counter_that_stands_still_gives_way_to_the_power() {
        let still = each_tenth(|_| 5.0);
        let alone = Made::new(DeviceKind::Gpu, (1.0, 3.0))
            .with(sensor("gpu_energy", Quantity::Energy, DeviceKind::Gpu), &still)
            .finish(10);
        assert!(alone.metrics.is_empty(), "{:?}", alone.metrics);
        assert_eq!(alone.series.len(), 1, "and no power is derived from it");
        let summary = Made::new(DeviceKind::Gpu, (1.0, 3.0))
            .with(sensor("gpu_energy", Quantity::Energy, DeviceKind::Gpu), &still)
            .with(sensor("gpu_power", Quantity::Power, DeviceKind::Gpu), &each_tenth(|_| 80.0))
            .finish(10);
        close(summary.metrics.get("power_mean_w"), 80.0);
    }

    #[test]
    fn a_processor_is_measured_by_its_packages() {
        let summary = Made::new(DeviceKind::Cpu, (1.0, 3.0))
            .with(
                sensor("cpu_package_energy", Quantity::Energy, DeviceKind::Cpu),
                &each_tenth(|time| if time < 2.0 { 40.0 * time } else { 80.0 + 60.0 * (time - 2.0) }),
            )
            .with(
                sensor("cpu_utilization", Quantity::Utilization, DeviceKind::Cpu).since_previous(),
                &each_tenth(|time| if time <= 1.0 { 0.0 } else { 90.0 }),
            )
            .with(sensor("gpu_temperature", Quantity::Temperature, DeviceKind::Gpu), &each_tenth(|_| 30.0))
            .finish(4);
        close(summary.metrics.get("power_mean_w"), 50.0);
        close(summary.metrics.get("power_peak_w"), 60.0);
        close(summary.metrics.get("energy_per_sample_j"), 25.0);
        // The reading at the window's start is about the time before it.
        close(summary.metrics.get("cpu_utilization_percent"), 90.0);
        assert_eq!(summary.metrics.get("temperature_mean_c"), None);
    }

    #[test]
    fn readings_that_failed_are_left_out() {
        let readings = each_tenth(|time| if (1.95..2.55).contains(&time) { f64::NAN } else { 70.0 });
        let summary = Made::new(DeviceKind::Gpu, (1.0, 3.0))
            .with(sensor("gpu_power", Quantity::Power, DeviceKind::Gpu), &readings)
            .with(sensor("gpu_temperature", Quantity::Temperature, DeviceKind::Gpu), &each_tenth(|_| f64::NAN))
            .finish(10);
        close(summary.metrics.get("power_mean_w"), 70.0);
        assert_eq!(summary.series.len(), 1, "a sensor that never answered has no series");
        assert_eq!(summary.series[0].values.len(), 35);
        assert_eq!(summary.series[0].offsets_ms.len(), 35);
    }

    #[test]
    fn a_short_window_has_power_and_no_energy() {
        let summary = Made::new(DeviceKind::Gpu, (1.0, 1.8))
            .with(sensor("gpu_power", Quantity::Power, DeviceKind::Gpu), &each_tenth(|_| 70.0))
            .finish(10);
        close(summary.metrics.get("power_mean_w"), 70.0);
        assert_eq!(summary.metrics.get("energy_per_sample_j"), None);
        let none = Made::new(DeviceKind::Gpu, (1.01, 1.02))
            .with(sensor("gpu_power", Quantity::Power, DeviceKind::Gpu), &each_tenth(|_| 70.0))
            .finish(10);
        assert!(none.metrics.is_empty(), "no reading fell into the window");
    }

    fn throttled(worked: DeviceKind, sensor: Sensor, bits: impl Fn(f64) -> f64) -> Option<String> {
        Made::new(worked, (1.0, 2.05)).with(sensor, &each_tenth(bits)).finish(10).throttled
    }

    #[test]
    fn throttling_while_sampling_marks_the_run() {
        let gpu = || sensor("gpu_throttle", Quantity::Throttle, DeviceKind::Gpu);
        let bit = |reason: ThrottleReason| f64::from(reason.bit());
        let at = |second: f64| move |time: f64| (time - second).abs() < 0.01;
        let thermal = bit(ThrottleReason::HardwareThermal) + bit(ThrottleReason::PowerCap);
        let told = throttled(DeviceKind::Gpu, gpu(), |time| if at(1.5)(time) { thermal } else { 0.0 });
        assert_eq!(told.as_deref(), Some("the gpu throttled: hardware thermal slowdown in 1 of 11 readings"));
        let before = throttled(DeviceKind::Gpu, gpu(), |time| if time < 0.95 { thermal } else { 0.0 });
        assert_eq!(before, None, "only while sampling");
        assert_eq!(throttled(DeviceKind::Gpu, gpu(), |_| bit(ThrottleReason::PowerCap)), None);
        assert_eq!(throttled(DeviceKind::Cpu, gpu(), |_| thermal), None, "another device");
        let slow = bit(ThrottleReason::HardwareSlowdown);
        let once = throttled(DeviceKind::Gpu, gpu(), |time| if at(1.5)(time) { slow } else { 0.0 });
        assert_eq!(once, None, "a change of clocks");
        let twice = |time: f64| if at(1.5)(time) || at(1.6)(time) { slow } else { 0.0 };
        assert_eq!(
            throttled(DeviceKind::Gpu, gpu(), twice).as_deref(),
            Some("the gpu throttled: hardware slowdown in 2 of 11 readings")
        );
    }

    #[test]
    fn a_count_of_events_is_about_the_time_before_its_reading() {
        let cpu = || sensor("cpu_throttle", Quantity::Throttle, DeviceKind::Cpu).since_previous();
        let bit = f64::from(ThrottleReason::HardwareThermal.bit());
        let after = |second: f64| {
            throttled(DeviceKind::Cpu, cpu(), move |time| if (time - second).abs() < 0.01 { bit } else { 0.0 })
        };
        assert!(after(2.1).is_some(), "the reading after the window is about its end");
        assert_eq!(after(2.2), None);
        assert!(after(1.0).is_some());
        assert_eq!(after(0.9), None);
    }

    #[test]
    fn without_samples_only_idle_power_and_series_are_left() {
        let made = Made::new(DeviceKind::Gpu, (0.0, 0.0))
            .with(sensor("gpu_power", Quantity::Power, DeviceKind::Gpu), &each_tenth(|_| 20.0))
            .idle(0.0, 1.0);
        let summary = made.telemetry.finish(None, 0);
        let metrics: Vec<(&str, f64)> = summary.metrics.iter().collect();
        assert_eq!(metrics, [("power_idle_w", 20.0)]);
        assert_eq!(summary.series[0].offsets_ms[..2], [0.0, 100.0]);
    }
}
