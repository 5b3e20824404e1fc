//! Moments and outliers.

use super::quantile::quantile;

/// The arithmetic mean; `None` for an empty slice.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation with n - 1 in the denominator; `None` for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let centre = mean(values)?;
    let freedom = values.len().checked_sub(1).filter(|&freedom| freedom > 0)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some((squares / freedom as f64).sqrt())
}

/// How many values in ascending order lie outside Tukey's outer fences, three interquartile ranges beyond the quartiles
/// (Tukey 1977, Exploratory Data Analysis); 0 for an empty slice.
pub fn outlier_count(ascending: &[f64]) -> usize {
    let (Some(first), Some(third)) = (quantile(ascending, 0.25), quantile(ascending, 0.75)) else {
        return 0;
    };
    let reach = 3.0 * (third - first);
    ascending.iter().filter(|&&value| value < first - reach || value > third + reach).count()
}
