//! What Linux tells of processes under /proc. Everything is `None` elsewhere.

use std::path::Path;

/// The largest resident memory of this process so far, in bytes (`VmHWM`).
pub fn peak_resident_bytes() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The number behind a key, in bytes where the kernel tells kB (`VmHWM:   12 kB`).
pub(super) fn kilobytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number * 1024)
}

/// When a process started, in clock ticks since boot; `None` if there is no such process. Together with the process
/// id it names one process.
pub fn process_start(process_id: u32) -> Option<u64> {
    let path = Path::new("/proc").join(process_id.to_string()).join("stat");
    let stat = std::fs::read_to_string(path).ok()?;
    // The second field is the command in brackets and may hold anything; the 22nd is the start time.
    let after_command = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<&str> = after_command.split_whitespace().collect();
    // A zombie is over, it only waits to be reaped.
    if fields.first() == Some(&"Z") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// How many processes the kernel killed for want of memory, on this machine and in this control group.
pub fn out_of_memory_kills() -> Option<u64> {
    let machine = counter(&std::fs::read_to_string("/proc/vmstat").ok()?, "oom_kill");
    let group =
        std::fs::read_to_string("/sys/fs/cgroup/memory.events").ok().and_then(|events| counter(&events, "oom_kill"));
    match (machine, group) {
        (None, None) => None,
        (machine, group) => Some(machine.unwrap_or(0) + group.unwrap_or(0)),
    }
}

fn counter(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes() {
        assert_eq!(kilobytes("VmPeak:\t 12 kB\nVmHWM:\t     3 kB\n", "VmHWM:"), Some(3072));
    }

    #[test]
    fn this_process_has_started_and_no_other_has_its_start() {
        assert!(process_start(std::process::id()).is_some() || !cfg!(target_os = "linux"));
        assert_eq!(process_start(u32::MAX), None);
    }

    #[test]
    fn counters_are_found_by_their_whole_name() {
        assert_eq!(counter("oom_kill_x 4\noom_kill 2\n", "oom_kill"), Some(2));
    }
}
