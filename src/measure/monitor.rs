//! The thread that reads sensors while a run is sampled.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::telemetry::{Log, Telemetry};
use crate::domain::{DeviceKind, Quantity, Sensor, SensorSource};

/// The time between two readings, unless the user says otherwise.
pub const DEFAULT_TELEMETRY_INTERVAL: Duration = Duration::from_millis(100);

/// How long idle power is measured before a run.
pub const IDLE_TIME: Duration = Duration::from_secs(1);

/// Shorter intervals would measure the readings themselves.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// Reads sensors in a thread of its own until it is stopped or dropped.
#[derive(Debug)]
pub struct Monitor {
    started: Instant,
    worked: DeviceKind,
    interval: Duration,
    measures_power: bool,
    idle: Option<(Instant, Instant)>,
    /// `None` where there is nothing to read.
    thread: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    /// Nothing is ever sent: the thread ends when this is dropped.
    lifeline: Sender<()>,
    handle: JoinHandle<Vec<Log>>,
}

impl Monitor {
    /// Reads all sources at once and from then on every `interval` (at least a millisecond). `worked` is the kind of
    /// device that does the work, whose sensors make the metrics. Without sources no thread is started.
    pub fn start(sources: Vec<Box<dyn SensorSource>>, worked: DeviceKind, interval: Duration) -> Self {
        let interval = interval.max(SHORTEST_INTERVAL);
        let measures_power =
            sources.iter().flat_map(|source| source.sensors()).any(|sensor| is_power_of(worked, sensor));
        let started = Instant::now();
        let thread = if sources.is_empty() {
            None
        } else {
            let (lifeline, ended) = channel();
            let builder = std::thread::Builder::new().name("telemetry".to_owned());
            // A system that starts no thread measures no telemetry, and the run all the same.
            let handle = builder.spawn(move || watch(sources, interval, &ended)).ok();
            handle.map(|handle| Thread { lifeline, handle })
        };
        Self { started, worked, interval, measures_power, idle: None, thread }
    }

    /// Waits for `time` and takes what is drawn meanwhile for idle power. Answers at once where no sensor tells the power
    /// of the device that does the work. Call it before the model is loaded.
    pub fn watch_idle(&mut self, time: Duration) {
        if self.measures_power && self.thread.is_some() {
            let from = Instant::now();
            std::thread::sleep(time);
            self.idle = Some((from, Instant::now()));
        }
    }

    /// Stops the thread and answers all readings.
    pub fn stop(self) -> Telemetry {
        let logs = self.thread.and_then(|Thread { lifeline, handle }| {
            drop(lifeline);
            // Readings of a thread that panicked are not to be trusted.
            handle.join().ok()
        });
        Telemetry {
            started: self.started,
            worked: self.worked,
            interval: self.interval,
            idle: self.idle,
            logs: logs.unwrap_or_default(),
        }
    }
}

fn is_power_of(worked: DeviceKind, sensor: &Sensor) -> bool {
    sensor.device == Some(worked) && matches!(sensor.quantity, Quantity::Power | Quantity::Energy)
}

fn watch(mut sources: Vec<Box<dyn SensorSource>>, interval: Duration, ended: &Receiver<()>) -> Vec<Log> {
    let mut logs: Vec<Log> = sources.iter().map(|source| Log::new(source.sensors())).collect();
    let mut next = Instant::now();
    loop {
        let began = Instant::now();
        read_all(&mut sources, &mut logs);
        next += interval;
        let now = Instant::now();
        if next < now {
            // Reading took longer than the interval: what was missed is not made up for.
            next = now + interval;
        }
        if !matches!(ended.recv_timeout(next - now), Err(RecvTimeoutError::Timeout)) {
            // One more, for what happened since; but a difference over a moment is noise.
            if began.elapsed() >= interval / 2 {
                read_all(&mut sources, &mut logs);
            }
            return logs;
        }
    }
}

fn read_all(sources: &mut [Box<dyn SensorSource>], logs: &mut [Log]) {
    for (source, log) in sources.iter_mut().zip(logs) {
        source.read(log.next_row(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts its readings, at one watt each.
    struct Counting {
        sensors: Vec<Sensor>,
        readings: f64,
    }

    impl Counting {
        fn boxed(quantity: Quantity, device: DeviceKind) -> Box<dyn SensorSource> {
            Box::new(Self { sensors: vec![Sensor::new("counting", quantity, Some(device))], readings: 0.0 })
        }
    }

    impl SensorSource for Counting {
        fn sensors(&self) -> &[Sensor] {
            &self.sensors
        }

        fn read(&mut self, values: &mut [f64]) {
            self.readings += 1.0;
            values[0] = self.readings;
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn stopping_does_not_wait_for_the_next_reading() {
        let monitor = Monitor::start(vec![Counting::boxed(Quantity::Load, DeviceKind::Cpu)], DeviceKind::Cpu, MINUTE);
        std::thread::sleep(Duration::from_millis(50));
        let asked = Instant::now();
        let telemetry = monitor.stop();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(
            telemetry.finish(None, 0).series[0].values,
            [1.0],
            "the first reading comes at once, no last one so soon"
        );
    }

    #[test]
    fn readings_go_on_until_the_end() {
        let sources = vec![Counting::boxed(Quantity::Load, DeviceKind::Cpu)];
        let interval = Duration::from_millis(5);
        let start = Instant::now();
        let monitor = Monitor::start(sources, DeviceKind::Cpu, interval);
        std::thread::sleep(interval * 40);
        let series = monitor.stop().finish(None, 0).series;
        let most = start.elapsed().div_duration_f64(interval) as usize + 2;
        assert!((5..=most).contains(&series[0].values.len()), "{} of {most}", series[0].values.len());
        assert!(series[0].offsets_ms.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", series[0].offsets_ms);
        assert_eq!(series[0].values, (1..=series[0].values.len()).map(|count| count as f64).collect::<Vec<_>>());
    }

    #[test]
    fn a_monitor_that_is_dropped_lets_its_sources_go() {
        struct Dropped(Sender<()>);
        impl SensorSource for Dropped {
            fn sensors(&self) -> &[Sensor] {
                &[]
            }
            fn read(&mut self, _: &mut [f64]) {}
        }
        impl Drop for Dropped {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (sender, dropped) = channel();
        drop(Monitor::start(vec![Box::new(Dropped(sender))], DeviceKind::Cpu, MINUTE));
        dropped.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn idle_power_is_waited_for_where_power_is_measured() {
        let short = Duration::from_millis(30);
        for (quantity, device, idle, waits) in [
            (Quantity::Power, DeviceKind::Cpu, short, true),
            (Quantity::Energy, DeviceKind::Cpu, short, true),
            (Quantity::Temperature, DeviceKind::Cpu, MINUTE, false),
            (Quantity::Power, DeviceKind::Gpu, MINUTE, false),
        ] {
            let sources = vec![Counting::boxed(quantity, device)];
            let mut monitor = Monitor::start(sources, DeviceKind::Cpu, Duration::from_millis(10));
            let start = Instant::now();
            monitor.watch_idle(idle);
            assert_eq!(start.elapsed() >= idle, waits, "{quantity:?} of {device:?}");
            let span = monitor.stop().idle.map(|(from, to)| to - from);
            assert_eq!(span.is_some_and(|span| span >= idle), waits, "{span:?} for {quantity:?} of {device:?}");
        }
    }

    #[test]
    fn without_sensors_nothing_is_measured_and_nothing_waited_for() {
        let mut monitor = Monitor::start(Vec::new(), DeviceKind::Gpu, DEFAULT_TELEMETRY_INTERVAL);
        assert!(monitor.thread.is_none());
        let start = Instant::now();
        monitor.watch_idle(MINUTE);
        assert!(start.elapsed() < MINUTE / 2);
        let summary = monitor.stop().finish(None, 10);
        assert!(summary.series.is_empty() && summary.metrics.is_empty() && summary.throttled.is_none());
    }
}
