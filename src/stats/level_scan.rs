//! The search for changes of level in one series. Knows nothing of drifts.
//!
//! Two statistics compare the means of a stretch cut in two: a *split* at one place, and a *pulse*, an inner part against
//! what lies on both sides of it (a regression that was fixed). Both are Student's t of the best cut, which is what the
//! likelihood ratio of normal values comes to (Worsley 1979, On the likelihood ratio test for a shift in location of
//! normal populations; for the pulse Olshen, Venkatraman, Lucito and Wigler 2004, Circular binary segmentation).
//!
//! **Autocorrelation.** Positive autocorrelation rho widens the distribution of t by about sqrt((1 + rho) / (1 - rho)),
//! so t is divided by that. A short series cannot tell rho from 0.3, and histories of one machine are rarely
//! independent: rho is estimated, but taken as at least 0.3.
//!
//! **Critical values** are calibrated, not derived: p = M P(|T_f| >= t), Bonferroni's bound with an effective number of
//! cuts M and effective degrees of freedom f. Both were fitted to the 3 % and 0.3 % quantiles of the whole procedure,
//! spikes taken off and rho estimated, over 20,000 unchanged series a case: normal and Student-3 innovations with an
//! autocorrelation of 0.3, 6 to 400 points, segments of at least 3, 5 and 10. So p is about right for those, and
//! for independent values several times too large. docs/statistics.md has the resulting rates.

use super::median;
use super::student_t::two_sided_tail;

/// The shares of the false-alarm rate that the two statistics may use up.
const SPLIT_SHARE: f64 = 0.65;
const PULSE_SHARE: f64 = 0.15;
/// The share of each window of half the length; one of a quarter gets a quarter of that, and so on.
const WINDOW_SHARE: f64 = 0.03;
/// The autocorrelation is taken as at least this.
pub(super) const LEAST_AUTOCORRELATION: f64 = 0.3;
/// And at most this, or no change could ever be significant.
const MOST_AUTOCORRELATION: f64 = 0.95;
/// Pulses start and end on a grid of at most this many places, so that the search costs at most 80,000 trials a stretch.
const PULSE_GRID: usize = 400;

/// A series around its median, with running sums: any cut is judged in constant time.
pub(super) struct LevelScan {
    values: Vec<f64>,
    /// sums[i] is the sum of the first i values; likewise their squares.
    sums: Vec<f64>,
    squares: Vec<f64>,
    min_segment: usize,
}

/// One or two places at which the level changes.
#[derive(Debug, Clone, Copy)]
struct Cut {
    first: usize,
    second: Option<usize>,
    statistic: f64,
    p_value: f64,
}

impl LevelScan {
    /// Of finite values; segments have at least `min_segment` points, which is at least 2.
    pub(super) fn of(values: &[f64], min_segment: usize) -> Self {
        let centre = median(values).unwrap_or_default();
        let values: Vec<f64> = values.iter().map(|value| value - centre).collect();
        let cumulate = |term: fn(f64) -> f64| {
            let running = values.iter().scan(0.0, |total, &value| {
                *total += term(value);
                Some(*total)
            });
            std::iter::once(0.0).chain(running).collect()
        };
        let (sums, squares) = (cumulate(|value| value), cumulate(|value| value * value));
        Self { values, sums, squares, min_segment }
    }

    /// The first points of the new levels, ascending, at a false-alarm rate of `level` times the shares of both statistics.
    ///
    /// Binary segmentation (Scott and Knott 1974; Vostrikova 1981): the best cut of a stretch, if significant, and then
    /// the parts. A part gets the level in proportion to its length, so that all tests of one generation share it. Where a
    /// long stretch shows nothing, since many changes hide each other, its windows of half the length are tried, then of
    /// a quarter (Kovacs, Buhlmann, Li and Munk 2023, Seeded binary segmentation), at a level that falls faster than
    /// their number grows. At last every bound moves to the best place between its neighbours, and those that are not
    /// significant there go.
    pub(super) fn find_bounds(&self, level: f64) -> Vec<usize> {
        let mut bounds = Vec::new();
        let mut open = vec![(0, self.values.len())];
        while let Some((low, high)) = open.pop() {
            let mut inner = match self.best_cut(low, high, self.share(low, high, level)) {
                Some(cut) => std::iter::once(cut.first).chain(cut.second).collect(),
                None => self.cuts_in_windows(low, high, self.share(low, high, level)),
            };
            if inner.is_empty() {
                continue;
            }
            inner.sort_unstable();
            bounds.extend(&inner);
            open.extend(segments_between(low, &inner, high));
        }
        bounds.sort_unstable();
        self.settle(bounds, level)
    }

    /// The best single place in [low, high) and its p value; `None` where a side would be too short.
    pub(super) fn best_split(&self, low: usize, high: usize) -> Option<(usize, f64)> {
        self.split(low, high).map(|split| (split.first, split.p_value))
    }

    /// What is left of all values after the means of the segments between these bounds.
    pub(super) fn residuals(&self, bounds: &[usize]) -> Vec<f64> {
        self.residuals_within(0, bounds, self.values.len())
    }

    /// The squared distance of all values from their mean.
    pub(super) fn total_squares(&self) -> f64 {
        self.squares_within(0, self.values.len())
    }

    fn share(&self, low: usize, high: usize, level: f64) -> f64 {
        level * (high - low) as f64 / self.values.len() as f64
    }

    fn best_cut(&self, low: usize, high: usize, share: f64) -> Option<Cut> {
        let split = self.split(low, high).filter(|split| split.p_value <= SPLIT_SHARE * share);
        let pulse = self.pulse(low, high).filter(|pulse| pulse.p_value <= PULSE_SHARE * share);
        match (split, pulse) {
            (Some(split), Some(pulse)) if pulse.statistic > split.statistic => Some(pulse),
            (split, pulse) => split.or(pulse),
        }
    }

    /// The cuts of windows that do not overlap, strongest first, of the widest windows that show any.
    fn cuts_in_windows(&self, low: usize, high: usize, share: f64) -> Vec<usize> {
        let mut share = WINDOW_SHARE * share;
        let mut width = (high - low) / 2;
        while width >= 4 * self.min_segment {
            let starts = (low..=high - width).step_by((width / 2).max(1));
            let mut found: Vec<(usize, Cut)> =
                starts.filter_map(|start| Some((start, self.best_cut(start, start + width, share)?))).collect();
            found.sort_by(|a, b| b.1.statistic.total_cmp(&a.1.statistic));
            let mut chosen: Vec<(usize, Cut)> = Vec::new();
            for (start, cut) in found {
                if chosen.iter().all(|(other, _)| other.abs_diff(start) >= width) {
                    chosen.push((start, cut));
                }
            }
            if !chosen.is_empty() {
                return chosen.iter().flat_map(|(_, cut)| std::iter::once(cut.first).chain(cut.second)).collect();
            }
            (share, width) = (share / 4.0, width / 2);
        }
        Vec::new()
    }

    /// Moves every bound to the best place between its neighbours; when none moves, takes the least significant one off.
    fn settle(&self, mut bounds: Vec<usize>, level: f64) -> Vec<usize> {
        // Moves can chase each other; the limit is never reached otherwise.
        for _ in 0..2 * bounds.len() + 3 {
            let mut has_moved = false;
            let mut worst: Option<(usize, f64)> = None;
            for i in 0..bounds.len() {
                let low = if i == 0 { 0 } else { bounds[i - 1] };
                let high = bounds.get(i + 1).copied().unwrap_or(self.values.len());
                let Some(split) = self.split(low, high) else { continue };
                has_moved |= bounds[i] != split.first;
                bounds[i] = split.first;
                let excess = split.p_value / (SPLIT_SHARE * self.share(low, high, level));
                if excess > 1.0 && worst.is_none_or(|(_, largest)| excess > largest) {
                    worst = Some((i, excess));
                }
            }
            match worst {
                _ if has_moved => {}
                Some((i, _)) => {
                    bounds.remove(i);
                }
                None => break,
            }
        }
        bounds
    }

    fn split(&self, low: usize, high: usize) -> Option<Cut> {
        let (first, between) = self.widest_split(low, high)?;
        let statistic = self.statistic(low, high, between);
        let n = (high - low) as f64;
        let cuts = 5.0 * (n / self.min_segment as f64 / 1.6).ln();
        let p_value = (cuts * two_sided_tail(statistic, (0.6 * (n - 2.0)).min(20.0))).min(1.0);
        Some(Cut { first, second: None, statistic, p_value })
    }

    fn pulse(&self, low: usize, high: usize) -> Option<Cut> {
        let (first, second, between) = self.widest_pulse(low, high)?;
        let statistic = self.statistic(low, high, between);
        let n = (high - low) as f64;
        let cuts = 7.0 * (n / self.min_segment as f64 - 3.0) + 1.0;
        let p_value = (cuts * two_sided_tail(statistic, (0.6 * (n - 2.0)).min(16.0))).min(1.0);
        Some(Cut { first, second: Some(second), statistic, p_value })
    }

    /// Student's t of a cut with these squares between its parts, deflated for autocorrelation; infinite where nothing is
    /// left within them, and 0 where all values are equal.
    fn statistic(&self, low: usize, high: usize, between: f64) -> f64 {
        let total = self.squares_within(low, high);
        if total == 0.0 {
            return 0.0;
        }
        let within = total - between;
        if within <= 1e-12 * total {
            return f64::INFINITY;
        }
        let rho = self.autocorrelation_within(low, high);
        (between / within * (high - low - 2) as f64 * (1.0 - rho) / (1.0 + rho)).sqrt()
    }

    fn squares_within(&self, low: usize, high: usize) -> f64 {
        let sum = self.sums[high] - self.sums[low];
        let squares = self.squares[high] - self.squares[low] - sum * sum / (high - low) as f64;
        // What rounding leaves of equal values.
        if squares <= 1e-13 * self.squares[high] { 0.0 } else { squares }
    }

    /// The squares between [from, to) and the rest of [low, high).
    fn squares_between(&self, low: usize, high: usize, from: usize, to: usize) -> f64 {
        let (n, inner) = ((high - low) as f64, (to - from) as f64);
        let deviation = self.sums[to] - self.sums[from] - inner / n * (self.sums[high] - self.sums[low]);
        deviation * deviation * n / (inner * (n - inner))
    }

    fn widest_split(&self, low: usize, high: usize) -> Option<(usize, f64)> {
        let places = low + self.min_segment..=high.checked_sub(self.min_segment)?;
        places.map(|k| (k, self.squares_between(low, high, low, k))).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn widest_pulse(&self, low: usize, high: usize) -> Option<(usize, usize, f64)> {
        let shortest = self.min_segment;
        if high - low < 3 * shortest {
            return None;
        }
        let stride = (high - low).div_ceil(PULSE_GRID);
        let mut best = (low + shortest, low + 2 * shortest, f64::NEG_INFINITY);
        let mut consider = |i: usize, j: usize| {
            let between = self.squares_between(low, high, i, j);
            if between > best.2 {
                best = (i, j, between);
            }
        };
        for i in (low + shortest..=high - 2 * shortest).step_by(stride) {
            for j in (i + shortest..=high - shortest).step_by(stride) {
                consider(i, j);
            }
        }
        Some(best)
    }

    fn residuals_within(&self, low: usize, bounds: &[usize], high: usize) -> Vec<f64> {
        let mut residuals = Vec::with_capacity(high - low);
        for (from, to) in segments_between(low, bounds, high) {
            let mean = (self.sums[to] - self.sums[from]) / (to - from) as f64;
            residuals.extend(self.values[from..to].iter().map(|value| value - mean));
        }
        residuals
    }

    /// Of what is left after up to five splits, significant or not, so that steps do not pass for autocorrelation.
    fn autocorrelation_within(&self, low: usize, high: usize) -> f64 {
        let wanted = ((high - low) / 10).clamp(1, 5);
        let mut bounds = Vec::with_capacity(wanted);
        let mut pieces = vec![(low, high, self.widest_split(low, high))];
        while bounds.len() < wanted {
            let splits = pieces.iter().enumerate().filter_map(|(i, &(from, to, split))| Some((i, from, to, split?)));
            let Some((i, from, to, (k, _))) = splits.max_by(|a, b| a.3.1.total_cmp(&b.3.1)) else { break };
            bounds.push(k);
            pieces[i] = (from, k, self.widest_split(from, k));
            pieces.push((k, to, self.widest_split(k, to)));
        }
        bounds.sort_unstable();
        autocorrelation(&self.residuals_within(low, &bounds, high), bounds.len() + 1)
    }
}

/// The lag-one autocorrelation of residuals after this many fitted levels, within 0.3..=0.95. The levels bias it
/// downwards, the more so the shorter the series; what is added for that was found by simulation.
pub(super) fn autocorrelation(residuals: &[f64], fitted: usize) -> f64 {
    let squares: f64 = residuals.iter().map(|residual| residual * residual).sum();
    if squares <= 0.0 {
        return LEAST_AUTOCORRELATION;
    }
    let products: f64 = residuals.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let correction = 4.0 * fitted as f64 / (residuals.len() as f64 + 40.0);
    (products / squares + correction).clamp(LEAST_AUTOCORRELATION, MOST_AUTOCORRELATION)
}

/// The stretches that ascending bounds cut [low, high) into.
pub(super) fn segments_between(low: usize, bounds: &[usize], high: usize) -> impl Iterator<Item = (usize, usize)> {
    let starts = std::iter::once(low).chain(bounds.iter().copied());
    starts.zip(bounds.iter().copied().chain(std::iter::once(high)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_is_students_t() {
        // 0, 2 | 5, 7 | 0, 2 with rho at its least: the pulse's t is 5 / (sqrt(6 / 4) sqrt(1/2 + 1/4)).
        let scan = LevelScan::of(&[0.0, 2.0, 5.0, 7.0, 0.0, 2.0], 2);
        let pulse = scan.pulse(0, 6).unwrap();
        assert_eq!((pulse.first, pulse.second), (2, Some(4)));
        let rho = scan.autocorrelation_within(0, 6);
        let t = 5.0 / (1.5_f64.sqrt() * 0.75_f64.sqrt());
        assert!((pulse.statistic - t * ((1.0 - rho) / (1.0 + rho)).sqrt()).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_best_split_leaves_the_fewest_squares(values in prop::collection::vec(-5.0..5.0_f64, 10..60)) {
            let scan = LevelScan::of(&values, 5);
            let left = |k: usize| scan.residuals(&[k]).iter().map(|residual| residual * residual).sum::<f64>();
            let (place, p_value) = scan.best_split(0, values.len()).unwrap();
            for k in 5..=values.len() - 5 {
                prop_assert!(left(place) <= left(k) + 1e-9);
            }
            prop_assert!((0.0..=1.0).contains(&p_value));
        }

        #[test]
        fn bounds_keep_their_distance(values in prop::collection::vec(-5..5_i32, 0..120), shortest in 2..8_usize) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let bounds = LevelScan::of(&values, shortest).find_bounds(0.9);
            prop_assert!(segments_between(0, &bounds, values.len()).all(|(low, high)| high - low >= shortest || bounds.is_empty()));
        }
    }

    #[test]
    fn many_changes_do_not_hide_each_other() {
        let alternating: Vec<f64> =
            (0..400).map(|i| f64::from(i / 20 * 7 % 13) + f64::from(i * 37 % 11) / 20.0).collect();
        let bounds = LevelScan::of(&alternating, 5).find_bounds(0.05);
        assert_eq!(bounds, (1..20).map(|i| 20 * i).collect::<Vec<_>>());
    }
}
