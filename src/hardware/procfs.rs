//! What Linux tells of processes under /proc. Everything is `None` elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The largest resident memory of this process so far, in bytes (`VmHWM`).
pub fn peak_resident_bytes() -> Option<u64> {
    Some(peak_since_restart()?.max(PEAK_BEFORE.load(Ordering::SeqCst)))
}

/// What the process had at most before the kernel's own count began anew.
static PEAK_BEFORE: AtomicU64 = AtomicU64::new(0);

/// Begins a new count of the largest resident memory; answers what is resident now, in bytes. [`peak_resident_bytes`]
/// does not forget what was before. `None` where the kernel does not let a process do so.
pub fn restart_peak() -> Option<u64> {
    let before = peak_since_restart()?;
    // First, so that nobody who asks in between is told less than before.
    PEAK_BEFORE.fetch_max(before, Ordering::SeqCst);
    // The kernel's documentation: 5 resets VmHWM to the current value.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The largest resident memory of this process since [`restart_peak`], in bytes.
pub fn peak_since_restart() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The resident memory of this process that is no file's, in bytes: what a copy of it made by `fork` starts with.
pub fn private_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(kilobytes(&status, "RssAnon:")? + kilobytes(&status, "RssShmem:").unwrap_or(0))
}

/// The largest resident memory that a process of a group has had so far, in bytes: of the one that had most. The group
/// is named by the process id of its leader.
pub fn group_peak_resident_bytes(leader: u32) -> Option<u64> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let members = ids.filter(|&id| group_of(id) == Some(leader));
    let peaks =
        members.filter_map(|id| kilobytes(&std::fs::read_to_string(format!("/proc/{id}/status")).ok()?, "VmHWM:"));
    peaks.max()
}

/// The process group of a process.
fn group_of(process_id: u32) -> Option<u32> {
    stat_field(process_id, 2)?.parse().ok()
}

/// A field of /proc/PID/stat, counted from 0 behind the command: 0 is the state.
fn stat_field(process_id: u32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
    // The second field is the command in brackets and may hold anything.
    let after_command = &stat[stat.rfind(')')? + 1..];
    after_command.split_whitespace().nth(field).map(str::to_owned)
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
    // A zombie is over, it only waits to be reaped.
    if stat_field(process_id, 0)? == "Z" {
        return None;
    }
    stat_field(process_id, 19)?.parse().ok()
}

/// The processor time that this process used so far, in all its threads.
pub fn processor_time() -> Option<Duration> {
    let ticks = |field| stat_field(std::process::id(), field)?.parse::<u64>().ok();
    // In user and in kernel mode. The kernel tells both in hundredths of a second (USER_HZ), whatever its own clock is.
    Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
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
    fn a_peak_can_begin_anew() {
        // More than the other tests of this process take meanwhile.
        let bytes = 1 << 28;
        drop(std::hint::black_box(vec![1_u8; bytes]));
        let before = peak_since_restart();
        if restart_peak().is_some() {
            assert!(peak_since_restart() < before, "256 MB were given back");
            assert!(peak_resident_bytes() >= before, "the whole peak is not forgotten");
        }
    }

    #[test]
    fn sizes_are_bytes() {
        assert_eq!(kilobytes("VmPeak:\t 12 kB\nVmHWM:\t     3 kB\n", "VmHWM:"), Some(3072));
    }

    #[test]
    fn this_process_has_started_and_no_other_has_its_start() {
        assert!(process_start(std::process::id()).is_some() || !cfg!(target_os = "linux"));
        assert_eq!(process_start(u32::MAX), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_grows_with_work() {
        let before = processor_time().unwrap();
        while processor_time().unwrap() <= before {}
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_private_is_a_part_of_all() {
        assert!(private_resident_bytes() <= peak_resident_bytes() && private_resident_bytes() > Some(0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_group_needs_what_its_largest_process_needs() {
        use std::os::unix::process::CommandExt;
        // A process that does nothing more: what this one and its other tests need changes all the time.
        let mut child = std::process::Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let id = child.id();
        let peak_of = |id: u32| kilobytes(&std::fs::read_to_string(format!("/proc/{id}/status")).unwrap(), "VmHWM:");
        assert_eq!(group_of(id), Some(id));
        let before = peak_of(id);
        let told = group_peak_resident_bytes(id);
        let after = peak_of(id);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(before.is_some() && before <= told && told <= after, "{before:?} {told:?} {after:?}");
        assert_eq!(group_peak_resident_bytes(u32::MAX), None);
    }

    #[test]
    fn counters_are_found_by_their_whole_name() {
        assert_eq!(counter("oom_kill_x 4\noom_kill 2\n", "oom_kill"), Some(2));
    }
}
