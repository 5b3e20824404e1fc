//! A series of numbers as one line of letters.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The course of numbers, oldest first, from the least (`▁`) to the largest (`█`). Changes below a hundredth of the
/// values are shown as none: they would look like mountains.
pub fn sparkline(values: &[f64]) -> String {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let range = high - low;
    let flat = range <= 0.01 * high.abs().max(low.abs());
    finite()
        .map(|value| match flat {
            true => LEVELS[3],
            false => LEVELS[((value - low) / range * 7.0).round() as usize],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_the_values() {
        assert_eq!(sparkline(&[1.0, 2.0, 8.0, f64::NAN, 4.5]), "▁▂█▅");
        assert_eq!(sparkline(&[100.0, 100.5, 99.8]), "▄▄▄");
        assert_eq!(sparkline(&[]), "");
    }
}
