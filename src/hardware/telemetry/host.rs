//! The host as a whole: how busy its processors are, memory in use, load.

use std::path::Path;
use std::time::Instant;

use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, System};

use super::file::TextFile;
use crate::domain::{DeviceKind, Quantity, Sensor, SensorSource};
use crate::hardware::procfs::kilobytes;

/// Bytes of a megabyte, as everywhere in benchdb.
const MB: f64 = 1e6;

/// The host's sensors: from files below `proc` (`/proc`) where they are, by sysinfo on other systems.
pub(super) fn open(proc: &Path) -> Box<dyn SensorSource> {
    match ProcHost::open(proc) {
        Some(host) => Box::new(host),
        None => Box::new(OtherHost::open()),
    }
}

fn sensors() -> [Sensor; 3] {
    [
        Sensor::new("cpu_utilization", Quantity::Utilization, Some(DeviceKind::Cpu)).since_previous(),
        Sensor::new("host_memory_used", Quantity::Memory, None),
        Sensor::new("host_load", Quantity::Load, None),
    ]
}

/// Ticks of all processors since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    total: u64,
}

/// Linux. The files stay open: sysinfo opens and reads many more of them for the same three numbers.
#[derive(Debug)]
struct ProcHost {
    sensors: [Sensor; 3],
    stat: TextFile,
    memory: TextFile,
    load: TextFile,
    last: Option<Ticks>,
}

impl ProcHost {
    fn open(proc: &Path) -> Option<Self> {
        let file = |name| TextFile::open(&proc.join(name)).ok();
        let mut stat = file("stat")?;
        let last = ticks(stat.read()?);
        Some(Self { sensors: sensors(), stat, memory: file("meminfo")?, load: file("loadavg")?, last })
    }

    /// Percent of the time since the reading before.
    fn utilization(&mut self) -> Option<f64> {
        let now = ticks(self.stat.read()?)?;
        let last = self.last.replace(now)?;
        // Counters of single processors may go back a little when they are put to sleep.
        let total = now.total.checked_sub(last.total).filter(|&total| total > 0)?;
        let busy = now.busy.checked_sub(last.busy)?;
        Some(busy as f64 / total as f64 * 100.0)
    }
}

/// The line of all processors in /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; guests are counted
/// as users already (proc_stat(5)). Stolen time is not idle: something wanted to run.
fn ticks(stat: &str) -> Option<Ticks> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map(str::parse::<u64>);
    let mut total = 0;
    let mut idle = 0;
    for index in 0..8 {
        // Old kernels tell fewer.
        let Some(field) = fields.next() else {
            break;
        };
        let field = field.ok()?;
        total += field;
        if index == 3 || index == 4 {
            idle += field;
        }
    }
    Some(Ticks { busy: total - idle, total })
}

fn memory_used(meminfo: &str) -> Option<f64> {
    let (total, available) = (kilobytes(meminfo, "MemTotal:")?, kilobytes(meminfo, "MemAvailable:")?);
    Some(total.checked_sub(available)? as f64 / MB)
}

impl SensorSource for ProcHost {
    fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    fn read(&mut self, values: &mut [f64]) {
        values[0] = self.utilization().unwrap_or(f64::NAN);
        values[1] = self.memory.read().and_then(memory_used).unwrap_or(f64::NAN);
        let load = self.load.read().and_then(|text| text.split_whitespace().next()?.parse().ok());
        values[2] = load.unwrap_or(f64::NAN);
    }
}

/// Systems without /proc.
#[derive(Debug)]
struct OtherHost {
    sensors: Vec<Sensor>,
    system: System,
    looked: Instant,
}

impl OtherHost {
    fn open() -> Self {
        let mut system = System::new();
        system.refresh_cpu_usage();
        let mut sensors = sensors().to_vec();
        // Windows has no load: sysinfo says 0, which was not measured.
        if cfg!(windows) {
            sensors.truncate(2);
        }
        Self { sensors, system, looked: Instant::now() }
    }
}

impl SensorSource for OtherHost {
    fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    fn read(&mut self, values: &mut [f64]) {
        values.fill(f64::NAN);
        if self.looked.elapsed() >= MINIMUM_CPU_UPDATE_INTERVAL {
            self.system.refresh_cpu_usage();
            self.looked = Instant::now();
            values[0] = f64::from(self.system.global_cpu_usage());
        }
        self.system.refresh_memory();
        if self.system.total_memory() > 0 {
            values[1] = self.system.used_memory() as f64 / MB;
        }
        if let Some(load) = values.get_mut(2) {
            *load = System::load_average().one;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tree::write;
    use super::*;

    fn read(source: &mut dyn SensorSource) -> Vec<f64> {
        let mut values = vec![0.0; source.sensors().len()];
        source.read(&mut values);
        values
    }

    #[test]
    fn utilization_is_about_the_time_since_the_reading_before() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "stat", "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n");
        write(
            root.path(),
            "meminfo",
            "MemTotal:  1000000 kB\nMemFree:  10 kB\nMemAvailable:  750000 kB\nBuffers: 1 kB\n",
        );
        write(root.path(), "loadavg", "2.50 1.00 0.50 3/112 18544\n");
        let mut host = open(root.path());
        // 100 ticks more: 60 user, 10 stolen, 25 idle, 5 waiting. Guests are in the users' ticks already.
        write(root.path(), "stat", "cpu  160 0 50 825 55 0 0 10 30 0\ncpu0 1 2 3\n");
        let values = read(&mut *host);
        assert_eq!(values, [70.0, 256.0, 2.5]);
        // No tick has passed: there is nothing to divide by.
        assert!(read(&mut *host)[0].is_nan());
        write(root.path(), "stat", "cpu  160 0 50 835 55 0 0 10 30 0\n");
        assert_eq!(read(&mut *host)[0], 0.0);
    }

    #[test]
    fn what_cannot_be_read_is_absent() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "stat", "cpu  1 2 3 4\n");
        write(root.path(), "meminfo", "MemTotal:  1000000 kB\n");
        write(root.path(), "loadavg", "");
        let mut host = ProcHost::open(root.path()).unwrap();
        assert!(read(&mut host).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn without_proc_the_system_is_asked_in_another_way() {
        let mut host = OtherHost::open();
        assert!(read(&mut host)[0].is_nan(), "too early for a utilization");
        std::thread::sleep(MINIMUM_CPU_UPDATE_INTERVAL + std::time::Duration::from_millis(20));
        let values = read(&mut host);
        assert!((0.0..=100.0).contains(&values[0]), "{values:?}");
        assert!(values[1] > 1.0, "{values:?}");
    }
}
