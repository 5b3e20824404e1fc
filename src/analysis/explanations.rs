//! What explanations cost: per method, in order of speed, and what each speed feature brings.

use crate::domain::explanation::{
    BACKWARD_PASSES, COMPLETE, COST_IN_INFERENCES, FORWARD_PASSES, MEMORY_PER_EXPLANATION,
};
use crate::domain::metric::PEAK_MEMORY;
use crate::domain::{Configuration, RunRecord, RunStatus};
use crate::stats;

/// A metric that a run brought beside the standard ones.
pub fn extra(run: &RunRecord, name: &str) -> Option<f64> {
    run.measurement.extra_metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

/// The largest memory of a run in MB: on the device where that is known, of the process otherwise.
pub fn peak_memory(run: &RunRecord) -> Option<f64> {
    PEAK_MEMORY.iter().find_map(|name| run.measurement.metrics.get(name))
}

/// A time of a run for one explanation of its batch.
pub fn per_explanation(run: &RunRecord, metric: &str) -> Option<f64> {
    Some(run.measurement.metrics.get(metric)? / f64::from(run.configuration.batch_size.max(1)))
}

/// What a method costs on one device, over all repetitions: medians of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodCost<'r> {
    /// One of its runs.
    pub run: &'r RunRecord,
    /// Place by speed, from 1.
    pub speed_rank: usize,
    /// Place by memory for each explanation, from 1; equals share one.
    pub memory_rank: Option<usize>,
    /// Place by passes, a backward pass counted as two forward passes (Kaplan et al. 2020, section 2.1); equals share one.
    pub passes_rank: Option<usize>,
    /// Explanations per second.
    pub per_second: f64,
    /// How much slower than the fastest method of its group it is; 1 for that one.
    pub times_fastest: f64,
    /// See [`COST_IN_INFERENCES`].
    pub inferences: Option<f64>,
    /// See [`MEMORY_PER_EXPLANATION`].
    pub memory_mb: Option<f64>,
}

/// The same work but for what is explained, and how.
fn same_place(a: &Configuration, b: &Configuration) -> bool {
    Configuration { parameters: b.parameters.clone(), ..a.clone() } == *b
}

/// The successful runs of the same configuration as `run`.
fn repetitions<'r>(runs: &'r [RunRecord], of: &'r Configuration) -> impl Iterator<Item = &'r RunRecord> {
    runs.iter().filter(move |run| run.configuration == *of && run.measurement.status == RunStatus::Ok)
}

fn median_of<'r>(runs: impl Iterator<Item = &'r RunRecord>, value: impl Fn(&RunRecord) -> Option<f64>) -> Option<f64> {
    stats::median(&runs.filter_map(value).collect::<Vec<_>>())
}

/// The methods of every group of runs that share model, device, engine, precision and batch, the fastest first.
pub fn efficiency(runs: &[RunRecord]) -> Vec<Vec<MethodCost<'_>>> {
    let mut groups: Vec<Vec<MethodCost<'_>>> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let own = &run.configuration;
        let speed = |run: &RunRecord| run.measurement.metrics.get("throughput_samples_per_second");
        let known = runs[..at]
            .iter()
            .any(|earlier| earlier.configuration == *own && earlier.measurement.status == RunStatus::Ok);
        let Some(per_second) = median_of(repetitions(runs, own), speed).filter(|_| !known) else { continue };
        let cost = MethodCost {
            run,
            speed_rank: 0,
            memory_rank: None,
            passes_rank: None,
            per_second,
            times_fastest: 1.0,
            inferences: median_of(repetitions(runs, own), |run| extra(run, COST_IN_INFERENCES)),
            memory_mb: median_of(repetitions(runs, own), |run| extra(run, MEMORY_PER_EXPLANATION)),
        };
        match groups.iter_mut().find(|group| same_place(&group[0].run.configuration, own)) {
            Some(group) => group.push(cost),
            None => groups.push(vec![cost]),
        }
    }
    for group in &mut groups {
        rank(group);
    }
    groups
}

fn rank(group: &mut [MethodCost<'_>]) {
    group.sort_by(|a, b| b.per_second.total_cmp(&a.per_second));
    let fastest = group.first().map_or(1.0, |first| first.per_second);
    let place = |values: &[Option<f64>], own: Option<f64>| {
        own.map(|own| 1 + values.iter().flatten().filter(|&&value| value < own).count())
    };
    let memory: Vec<_> = group.iter().map(|cost| cost.memory_mb).collect();
    let passes: Vec<_> = group.iter().map(|cost| work(cost.run)).collect();
    for (at, cost) in group.iter_mut().enumerate() {
        cost.speed_rank = at + 1;
        cost.times_fastest = fastest / cost.per_second;
        cost.memory_rank = place(&memory, cost.memory_mb);
        cost.passes_rank = place(&passes, passes[at]);
    }
}

/// The work of an explanation in forward passes.
fn work(run: &RunRecord) -> Option<f64> {
    Some(extra(run, FORWARD_PASSES)? + 2.0 * extra(run, BACKWARD_PASSES)?)
}

/// What one feature makes of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect<'r> {
    /// A run of the version.
    pub run: &'r RunRecord,
    /// The method's time for each explanation with this version, in ms: the median of the repetitions' medians.
    pub ms: f64,
    /// How much faster than [`COMPLETE`] it is: the median of the ratios of repetitions, which were measured in turns.
    pub speed_up: f64,
    /// The smallest and the largest of these ratios, where there are several.
    pub range: Option<(f64, f64)>,
    /// How much more memory it takes at its peak, in MB.
    pub memory_mb: Option<f64>,
}

/// The versions of an ablation beside the complete one, in the order in which they were measured.
pub fn ablation(runs: &[RunRecord]) -> Vec<Effect<'_>> {
    let mut effects: Vec<Effect<'_>> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let own = &run.configuration;
        if runs[..at].iter().any(|earlier| earlier.configuration == *own) {
            continue;
        }
        let Some(base) = runs.iter().find(|base| is_base(&base.configuration, own)) else { continue };
        let times = |of: &Configuration| -> Vec<f64> {
            repetitions(runs, of).filter_map(|run| per_explanation(run, "latency_p50_ms")).collect()
        };
        let (before, after) = (times(&base.configuration), times(own));
        let mut ratios: Vec<f64> = before.iter().zip(&after).map(|(before, after)| before / after).collect();
        ratios.sort_by(f64::total_cmp);
        let (Some(speed_up), Some(ms)) = (stats::median(&ratios), stats::median(&after)) else { continue };
        let memory = |of: &Configuration| median_of(repetitions(runs, of), peak_memory);
        let range = match ratios[..] {
            [least, .., most] => Some((least, most)),
            _ => None,
        };
        let memory_mb = memory(own).zip(memory(&base.configuration)).map(|(own, base)| own - base);
        effects.push(Effect { run, ms, speed_up, range, memory_mb });
    }
    effects
}

/// Whether a configuration is the complete version of another one.
fn is_base(base: &Configuration, of: &Configuration) -> bool {
    let Some(stem) = base.variant.strip_suffix(COMPLETE) else { return false };
    base.method() == of.method()
        && of.variant.starts_with(stem)
        && of.variant != base.variant
        && Configuration {
            variant: of.variant.clone(),
            parameters: of.parameters.clone(),
            precision: of.precision,
            ..base.clone()
        } == *of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mode;
    use crate::domain::metric::Better;
    use crate::domain::run::ExtraMetric;
    use crate::domain::samples;

    fn run(method: &str, variant: &str, ms: f64, memory: f64, passes: [f64; 2]) -> RunRecord {
        let mut run = samples::run(1);
        run.configuration.mode = Mode::Explanation;
        run.configuration.batch_size = 2;
        run.configuration.variant = variant.to_owned();
        run.configuration.parameters = [("method".to_owned(), method.into())].into();
        run.measurement.metrics.set("latency_p50_ms", ms);
        run.measurement.metrics.set("throughput_samples_per_second", 2e3 / ms);
        let extra = [(MEMORY_PER_EXPLANATION, memory), (FORWARD_PASSES, passes[0]), (BACKWARD_PASSES, passes[1])];
        run.measurement.extra_metrics = extra
            .map(|(name, value)| ExtraMetric { name: name.into(), unit: String::new(), better: Better::Lower, value })
            .into();
        run
    }

    #[test]
    fn methods_are_ranked_by_speed_memory_and_passes() {
        let runs = [
            run("saliency", "", 4.0, 1.0, [1.0, 1.0]),
            run("occlusion", "", 40.0, 0.5, [20.0, 0.0]),
            run("saliency", "", 6.0, 1.0, [1.0, 1.0]),
            run("deconvolution", "", 20.0, 1.0, [1.0, 1.0]),
            run("saliency", "other", 1.0, 1.0, [1.0, 1.0]),
        ];
        let groups = efficiency(&runs);
        assert_eq!(groups.len(), 2);
        let found: Vec<_> = groups[0]
            .iter()
            .map(|cost| (cost.run.configuration.method(), cost.speed_rank, cost.memory_rank, cost.passes_rank))
            .collect();
        let expected = [
            ("saliency", 1, Some(2), Some(1)),
            ("deconvolution", 2, Some(2), Some(1)),
            ("occlusion", 3, Some(1), Some(3)),
        ];
        assert_eq!(found, expected);
        // The median of the rates of two repetitions, 500 and 333 a second.
        assert!((groups[0][0].per_second - 1250.0 / 3.0).abs() < 1e-9);
        assert!((groups[0][2].times_fastest - 1250.0 / 3.0 / 50.0).abs() < 1e-9);
        assert_eq!(per_explanation(&runs[0], "latency_p50_ms"), Some(2.0));
    }

    #[test]
    fn a_feature_is_compared_with_the_complete_version_of_its_own_method_turn_by_turn() {
        let runs = [
            run("saliency", "complete", 4.0, 1.0, [1.0, 1.0]),
            run("saliency", "cached", 1.0, 1.0, [1.0, 1.0]),
            run("occlusion", "complete", 40.0, 1.0, [1.0, 1.0]),
            run("saliency", "complete", 8.0, 1.0, [1.0, 1.0]),
            run("saliency", "cached", 4.0, 1.0, [1.0, 1.0]),
            run("occlusion", "cached", 4.0, 1.0, [1.0, 1.0]),
        ];
        let found: Vec<_> = ablation(&runs)
            .into_iter()
            .map(|effect| (effect.run.configuration.method(), effect.speed_up, effect.range, effect.ms))
            .collect();
        assert_eq!(found, [("saliency", 3.0, Some((2.0, 4.0)), 1.25), ("occlusion", 10.0, None, 2.0)]);
        assert!(ablation(&runs[..1]).is_empty());
    }
}
