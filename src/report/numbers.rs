//! Numbers for people.

use std::time::Duration;

/// A count with a unit prefix: `11.7 M`, `4.09 G`.
pub fn count(value: u64) -> String {
    let number = value as f64;
    for (size, prefix) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if number >= size {
            return format!("{} {prefix}", three(number / size));
        }
    }
    value.to_string()
}

/// Bytes with a decimal unit: `46.8 MB` (1 MB = 1e6 bytes).
pub fn bytes(value: u64) -> String {
    if value < 1000 {
        return format!("{value} B");
    }
    let counted = count(value);
    counted.replace(" k", " kB").replace(" M", " MB").replace(" G", " GB").replace(" T", " TB")
}

fn three(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// A duration as people say it: `350 ms`, `12.3 s`, `4 min 10 s`, `2 h 5 min`.
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else if seconds < 3600.0 {
        format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
    } else {
        format!("{} h {} min", duration.as_secs() / 3600, duration.as_secs() % 3600 / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes_have_prefixes() {
        assert_eq!(count(11_689_512), "11.7 M");
        assert_eq!(count(999), "999");
        assert_eq!(bytes(46_830_571), "46.8 MB");
        assert_eq!(bytes(12), "12 B");
    }

    #[test]
    fn durations_are_said_in_two_units_at_most() {
        assert_eq!(human_duration(Duration::from_millis(350)), "350 ms");
        assert_eq!(human_duration(Duration::from_secs(250)), "4 min 10 s");
        assert_eq!(human_duration(Duration::from_secs(7500)), "2 h 5 min");
    }
}
