//! Quantiles.

/// A sorted copy; NaN sorts last.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut copy = values.to_vec();
    copy.sort_unstable_by(f64::total_cmp);
    copy
}

/// The `q`-quantile of values in ascending order by linear interpolation of the order statistics (Hyndman and Fan
/// 1996, definition 7: NumPy's and R's default). `None` for an empty slice or a `q` outside [0, 1].
pub fn quantile(ascending: &[f64], q: f64) -> Option<f64> {
    let last = ascending.len().checked_sub(1)?;
    if !(0.0..=1.0).contains(&q) {
        return None;
    }
    let position = q * last as f64;
    let below = position.floor();
    let share = position - below;
    let below = below as usize;
    let low = ascending[below];
    let high = ascending[(below + 1).min(last)];
    Some(low + share * (high - low))
}

/// The median of values in any order; `None` for an empty slice.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(&sorted(values), 0.5)
}

/// The smallest sample whose largest value is above the `q`-quantile with this confidence: the smallest n with
/// 1 - q^n >= confidence (Wilks 1941, one-sided, distribution-free).
pub fn smallest_sample_for_quantile(q: f64, confidence: f64) -> u64 {
    ((1.0 - confidence).ln() / q.ln()).ceil() as u64
}
