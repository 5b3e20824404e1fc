//! From samples to standard metrics.

use crate::domain::MetricSet;
use crate::stats;

const NANOSECONDS_PER_MS: f64 = 1e6;

/// Latency and throughput of timed iterations (nanoseconds), each of which did `samples_per_iteration` samples.
/// Answers the metrics and the number of outliers; nothing for an empty slice. `latency` says whether one iteration is
/// one batch; with several in flight it is not, and only the throughput is stored.
pub fn summarise(iterations: &[u64], samples_per_iteration: u64, latency: bool) -> (MetricSet, Option<u64>) {
    let mut metrics = MetricSet::default();
    if iterations.is_empty() {
        return (metrics, None);
    }
    let ms: Vec<f64> = iterations.iter().map(|&ns| ns as f64 / NANOSECONDS_PER_MS).collect();
    let ascending = stats::sorted(&ms);
    let total_s = ms.iter().sum::<f64>() / 1e3;
    metrics.set("throughput_samples_per_second", (iterations.len() as u64 * samples_per_iteration) as f64 / total_s);
    if latency {
        metrics.set_optional("latency_mean_ms", stats::mean(&ms));
        metrics.set_optional("latency_std_ms", stats::standard_deviation(&ms));
        for (name, q) in [
            ("latency_min_ms", 0.0),
            ("latency_p50_ms", 0.5),
            ("latency_p90_ms", 0.9),
            ("latency_p95_ms", 0.95),
            ("latency_p99_ms", 0.99),
            ("latency_p999_ms", 0.999),
            ("latency_max_ms", 1.0),
        ] {
            metrics.set_optional(name, stats::quantile(&ascending, q));
        }
    }
    (metrics, Some(stats::outlier_count(&ascending) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_counts_samples_over_the_whole_time() {
        let (metrics, outliers) = summarise(&[10_000_000, 30_000_000], 8, true);
        assert_eq!(metrics.get("throughput_samples_per_second"), Some(400.0));
        assert_eq!(metrics.get("latency_p50_ms"), Some(20.0));
        assert_eq!(outliers, Some(0));
    }

    #[test]
    fn batches_in_flight_have_no_latency() {
        let (metrics, _) = summarise(&[10_000_000], 4, false);
        assert_eq!(metrics.get("latency_p50_ms"), None);
        assert_eq!(metrics.get("throughput_samples_per_second"), Some(400.0));
    }

    #[test]
    fn nothing_measured_is_nothing_stored() {
        assert!(summarise(&[], 1, true).0.is_empty());
    }
}
