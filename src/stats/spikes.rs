//! Single values far off their neighbours.

use super::median;

/// The running median is over this many values on either side.
const HALF_WINDOW: usize = 3;
const WINDOW: usize = 2 * HALF_WINDOW + 1;
/// In robust standard deviations.
const REACH: f64 = 3.0;

/// A copy in which no value lies further than three robust standard deviations from the median of the seven around it;
/// what does is drawn in to there (Hampel's filter: Davies and Gather 1993, The identification of multiple outliers).
/// One to three spikes in a row shrink to noise, while a step stays where it is, since the running median keeps it.
///
/// The deviation is 1.4826 times the median distance from the running median; where most distances are 0, as for counted
/// values, 1.2533 times their mean. Empty for an empty slice.
pub(super) fn without_spikes(values: &[f64]) -> Vec<f64> {
    let width = WINDOW.min(values.len());
    let centre = |i: usize| {
        // At either end the window stays whole.
        let low = i.saturating_sub(HALF_WINDOW).min(values.len() - width);
        let mut window = [0.0; WINDOW];
        let window = &mut window[..width];
        window.copy_from_slice(&values[low..low + width]);
        window.sort_unstable_by(f64::total_cmp);
        window[width / 2]
    };
    let centres: Vec<f64> = (0..values.len()).map(centre).collect();
    let distances: Vec<f64> = values.iter().zip(&centres).map(|(value, centre)| (value - centre).abs()).collect();
    let typical = 1.4826 * median(&distances).unwrap_or_default();
    let mean = 1.2533 * distances.iter().sum::<f64>() / values.len().max(1) as f64;
    let reach = REACH * if typical > 0.0 { typical } else { mean };
    // Not clamp, which panics on a NaN.
    values.iter().zip(&centres).map(|(value, centre)| value.max(centre - reach).min(centre + reach)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_shrink_and_steps_stay() {
        let noise = |i: i32| f64::from(i * 37 % 11) / 10.0;
        let mut values: Vec<f64> = (0..40).map(|i| noise(i) + if i < 20 { 0.0 } else { 5.0 }).collect();
        assert_eq!(without_spikes(&values), values);
        values[7] = 100.0;
        values[30] = -100.0;
        let cleaned = without_spikes(&values);
        assert!(cleaned[7] < 4.0 && cleaned[30] > 2.0, "{} {}", cleaned[7], cleaned[30]);
        assert_eq!(cleaned[8..30], values[8..30]);
    }

    #[test]
    fn short_and_constant_series_stay() {
        assert!(without_spikes(&[]).is_empty());
        assert_eq!(without_spikes(&[1.0]), [1.0]);
        assert_eq!(without_spikes(&[2.0; 9]), [2.0; 9]);
    }
}
