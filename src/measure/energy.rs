//! From readings over time to means, power and energy. Pure functions on tracks: the readings of one sensor as (seconds,
//! value), in order of time, those that failed left out.

/// A sampling window shorter than this says nothing about energy, in seconds: counters are renewed some ten times a
/// second, and so the error of a difference would be above ten per cent.
pub(super) const SHORTEST_WINDOW_S: f64 = 1.0;

/// Fewer readings than this in the window say nothing about energy.
pub(super) const FEWEST_READINGS: usize = 5;

/// The readings must cover this share of the window: the rest is taken to be like them.
pub(super) const LEAST_COVERED: f64 = 0.5;

/// One reading: seconds and value.
pub(super) type Reading = (f64, f64);

/// From and to, in seconds on the clock of the readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Window {
    pub(super) fn seconds(self) -> f64 {
        self.to - self.from
    }

    /// The readings from `from` to `to`, both included.
    pub(super) fn readings(self, track: &[Reading]) -> &[Reading] {
        let first = track.partition_point(|&(time, _)| time < self.from);
        let end = track.partition_point(|&(time, _)| time <= self.to);
        &track[first..end.max(first)]
    }
}

/// Mean power over the readings of a counter of joules: what it counted over the time between the first and the last.
/// `None` for fewer than two readings, and for a counter that did not move or went back: it does not count.
pub(super) fn counted_power(readings: &[Reading]) -> Option<f64> {
    let (&(from, first), &(to, last)) = (readings.first()?, readings.last()?);
    let counts = last > first && readings.windows(2).all(|pair| pair[0].1 <= pair[1].1);
    (to > from && counts).then(|| (last - first) / (to - from))
}

/// Mean of a value that is known at moments, over the time between the first and the last: the trapezoids below the line
/// through the readings over its length. A single reading is its own mean; none is `None`.
pub(super) fn mean_over_time(readings: &[Reading]) -> Option<f64> {
    let (&(from, first), &(to, _)) = (readings.first()?, readings.last()?);
    if to <= from {
        return Some(first);
    }
    let area: f64 = readings.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0).sum();
    Some(area / (to - from))
}

/// Mean of a value that is about the time since the reading before, over the time between the first and the last; the
/// first is about a time that the others do not see and left out. `None` for fewer than two.
pub(super) fn mean_of_spans(readings: &[Reading]) -> Option<f64> {
    let (&(from, _), &(to, _)) = (readings.first()?, readings.last()?);
    let area: f64 = readings.windows(2).map(|pair| (pair[1].0 - pair[0].0) * pair[1].1).sum();
    (to > from).then(|| area / (to - from))
}

/// Power from a counter of joules: at each reading the mean since the one before. Readings closer than `shortest_s` to
/// the last one used are passed over: the counter is renewed in steps, and a difference of a step over a moment is no
/// power. Where the counter went back there is none, and none at all of a counter that never moved.
pub(super) fn derived_power(track: &[Reading], shortest_s: f64) -> Vec<Reading> {
    let mut power = Vec::new();
    let mut readings = track.iter().copied();
    let Some((mut time, mut energy)) = readings.next() else {
        return power;
    };
    for (now, total) in readings {
        if now - time >= shortest_s {
            if total >= energy {
                power.push((now, (total - energy) / (now - time)));
            }
            (time, energy) = (now, total);
        }
    }
    if power.iter().all(|&(_, watts)| watts == 0.0) {
        power.clear();
    }
    power
}

/// Joules of one sample: mean power over the readings in the window, times the window, over the samples that were taken in
/// it. Readings do not meet the edges of the window; the samples are taken to be spread evenly over it, so that the time
/// between first and last reading stands for the whole.
///
/// `None` where the window is too short, the readings are too few or cover too little of it, or nothing was sampled.
pub(super) fn energy_per_sample(power_w: f64, readings: &[Reading], window: Window, samples: u64) -> Option<f64> {
    let covered = readings.last()?.0 - readings.first()?.0;
    let enough = window.seconds() >= SHORTEST_WINDOW_S
        && readings.len() >= FEWEST_READINGS
        && covered >= LEAST_COVERED * window.seconds()
        && samples > 0;
    enough.then(|| power_w * window.seconds() / samples as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_the_readings_at_its_edges() {
        let track = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)];
        assert_eq!(Window { from: 1.0, to: 2.0 }.readings(&track), &track[1..3]);
        assert!(Window { from: 1.2, to: 1.9 }.readings(&track).is_empty());
        assert!(Window { from: 9.0, to: 8.0 }.readings(&track).is_empty());
        assert!(Window { from: 0.0, to: 9.0 }.readings(&[]).is_empty());
    }

    #[test]
    fn counters_and_powers_give_the_same_mean() {
        // 10 W for one second, 30 W for two: 70 J in 3 s.
        let counter = [(5.0, 1000.0), (6.0, 1010.0), (7.0, 1040.0), (8.0, 1070.0)];
        assert_eq!(counted_power(&counter), Some(70.0 / 3.0));
        // 10 W rising to 30 W over a second (20 J), then 30 W for two.
        let power = [(5.0, 10.0), (6.0, 30.0), (8.0, 30.0)];
        assert_eq!(mean_over_time(&power), Some(80.0 / 3.0));
        assert_eq!(mean_over_time(&power[..1]), Some(10.0));
        assert_eq!(mean_over_time(&[]), None);
    }

    #[test]
    fn a_counter_that_stands_still_or_goes_back_measures_nothing() {
        assert_eq!(counted_power(&[(0.0, 7.0), (1.0, 7.0)]), None);
        assert_eq!(counted_power(&[(0.0, 7.0), (1.0, 1.0), (2.0, 9.0)]), None);
        assert_eq!(derived_power(&[(0.0, 7.0), (1.0, 1.0), (2.0, 9.0)], 0.5), [(2.0, 8.0)]);
        assert!(derived_power(&[(0.0, 7.0), (1.0, 7.0), (2.0, 7.0)], 0.5).is_empty());
        assert_eq!(counted_power(&[(0.0, 7.0)]), None);
        assert_eq!(counted_power(&[]), None);
    }

    #[test]
    fn spans_weigh_as_much_as_they_last() {
        // The first reading is about the time before it.
        assert_eq!(mean_of_spans(&[(0.0, 99.0), (1.0, 10.0), (4.0, 50.0)]), Some(40.0));
        assert_eq!(mean_of_spans(&[(0.0, 99.0)]), None);
        assert_eq!(mean_of_spans(&[]), None);
    }

    #[test]
    fn power_from_a_counter_loses_no_energy_to_readings_that_come_too_close() {
        let counter = [(0.0, 100.0), (0.1, 102.0), (0.101, 102.0), (0.2, 106.0)];
        let power = derived_power(&counter, 0.05);
        assert_eq!(power.len(), 2);
        assert_eq!(power[0], (0.1, 20.0));
        assert!((power[1].1 - 40.0).abs() < 1e-9, "{power:?}");
        assert!(derived_power(&counter[..1], 0.05).is_empty());
        assert!(derived_power(&[], 0.05).is_empty());
    }

    fn counter(from: f64, step: f64, count: usize, watts: f64) -> Vec<Reading> {
        (0..count).map(|index| from + step * index as f64).map(|time| (time, watts * time)).collect()
    }

    #[test]
    fn energy_of_a_sample_is_power_times_window_over_samples() {
        // 100 W; readings at 0.05, 0.15 ... 1.95 s of a window of 2 s that took 40 samples: 200 J over 40.
        let readings = counter(10.05, 0.1, 20, 100.0);
        let window = Window { from: 10.0, to: 12.0 };
        let energy = energy_per_sample(counted_power(&readings).unwrap(), &readings, window, 40).unwrap();
        assert!((energy - 5.0).abs() < 1e-9, "{energy}");
    }

    #[test]
    fn a_window_that_cannot_be_trusted_has_no_energy() {
        let energy = |readings: &[Reading], seconds: f64, samples| {
            energy_per_sample(50.0, readings, Window { from: 0.0, to: seconds }, samples)
        };
        assert!(energy(&counter(0.0, 0.25, 5, 50.0), 1.0, 10).is_some());
        assert_eq!(energy(&counter(0.0, 0.24, 5, 50.0), 0.99, 10), None, "the window is too short");
        assert_eq!(energy(&counter(0.0, 0.25, 4, 50.0), 1.0, 10), None, "too few readings");
        assert_eq!(energy(&counter(0.0, 0.1, 10, 50.0), 2.0, 10), None, "they cover too little");
        assert_eq!(energy(&counter(0.0, 0.25, 5, 50.0), 1.0, 0), None, "no samples");
        assert_eq!(energy(&[], 2.0, 10), None, "no readings");
    }
}
