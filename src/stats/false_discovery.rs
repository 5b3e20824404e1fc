//! Many tests at once.

/// The q values of Benjamini and Hochberg (1995), in the order of the input: the smallest false discovery rate at which
/// each test would be called significant. Empty for an empty slice; a NaN sorts last and counts as a test.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len() as f64;
    let mut descending: Vec<usize> = (0..p_values.len()).collect();
    descending.sort_by(|&a, &b| p_values[b].total_cmp(&p_values[a]));
    let mut q_values = vec![1.0; p_values.len()];
    let mut smallest = 1.0_f64;
    for (above, &index) in descending.iter().enumerate() {
        let rank = (p_values.len() - above) as f64;
        smallest = smallest.min(p_values[index] * count / rank);
        q_values[index] = smallest;
    }
    q_values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn agrees_with_scipy() {
        let golden: Value = serde_json::from_str(include_str!("../../fixtures/golden/statistics.json")).unwrap();
        let p: Vec<f64> = serde_json::from_value(golden["benjamini_hochberg"]["p"].clone()).unwrap();
        let q: Vec<f64> = serde_json::from_value(golden["benjamini_hochberg"]["q"].clone()).unwrap();
        for (ours, theirs) in benjamini_hochberg(&p).iter().zip(&q) {
            assert!((ours - theirs).abs() < 1e-12, "{ours} and {theirs}");
        }
    }

    proptest! {
        #[test]
        fn q_is_at_least_p_and_keeps_its_order(p in prop::collection::vec(0.0..=1.0_f64, 0..40)) {
            let q = benjamini_hochberg(&p);
            prop_assert_eq!(q.len(), p.len());
            for i in 0..p.len() {
                prop_assert!(q[i] >= p[i] - 1e-15 && q[i] <= 1.0);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || q[i] <= q[j]);
                }
            }
        }
    }

    #[test]
    fn unordered_values_are_no_trouble() {
        assert_eq!(benjamini_hochberg(&[f64::NAN, 0.01]), vec![1.0, 0.02]);
    }
}
