//! Verdicts: is the candidate slower than the baseline, and how sure is that? docs/verdicts.md explains the rules to
//! people; here they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::metrics::{Cost, MetricChoice, iterations_needed};
use crate::domain::metric::Better;
use crate::domain::{
    Difference, Environment, Evidence, Identity, Judgement, Metric, MetricKind, Part, Series, SeriesSet, Side,
    Validity, Verdict,
};
use crate::stats::{
    benjamini_hochberg, hodges_lehmann, mann_whitney, mean, mean_difference_interval, median, pooled_deviation,
    prediction_interval, prediction_p_value, runs_for_shift, smallest_shift,
};

/// A test is significant at this probability of a false alarm, and a prediction interval leaves this much outside.
pub const SIGNIFICANCE: f64 = 0.01;
/// Confidence of the interval of an effect.
pub const CONFIDENCE: f64 = 0.95;
/// The probability with which the smallest effect would have been found.
pub const POWER: f64 = 0.8;
/// Runs a side from which the two sides are tested against each other.
pub const RUNS_FOR_TEST: usize = 5;
/// Baseline runs from which fewer new runs than that are held against a prediction interval.
pub const RUNS_FOR_PREDICTION: usize = 10;
/// More runs than this nobody will make.
const MOST_RUNS: u64 = 1_000;
/// Room for rounding where a change is exactly the threshold.
const ROUNDING: f64 = 1e-12;

/// What is compared, and how strictly.
#[derive(Clone, Debug)]
pub struct JudgeOptions {
    /// A change by this share is too much: 0.1 is ten per cent.
    pub alert: f64,
    /// What is judged.
    pub metrics: Vec<MetricChoice>,
    /// The parts of a configuration that both sides must have in common.
    pub matched_on: Vec<Part>,
    /// Lets q values decide at this rate of false discoveries, instead of p values.
    pub false_discovery_rate: Option<f64>,
    /// Whether differences below a metric's absolute floor count as none.
    pub floors: bool,
    /// The run-to-run noise (relative standard deviation) that earlier runs had, by configuration and metric.
    pub noise: HashMap<(i64, String), f64>,
}

/// All verdicts of one comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The worst first.
    pub judgements: Vec<Judgement>,
    /// The parts that both sides have and were matched on.
    pub matched_on: Vec<Part>,
    /// Parts that were to be matched, but that one side does not tell.
    pub not_known: Vec<Part>,
    /// Pairs whose two sides differ in a part that they were not matched on.
    pub differing_parts: BTreeMap<Part, usize>,
    /// Series that a test judged.
    pub tested: usize,
    /// Series that the threshold alone judged.
    pub by_threshold: usize,
}

/// The most false alarms to expect among the regressions of `tested` series, if nothing had changed: half of what the
/// tests let through by chance, as a change can go both ways.
pub fn expected_false_alarms(tested: usize) -> f64 {
    tested as f64 * SIGNIFICANCE / 2.0
}

/// Judges every series that either side has.
pub fn judge(baseline: &SeriesSet, candidate: &SeriesSet, options: &JudgeOptions) -> Comparison {
    let known = |part: &Part| {
        [baseline, candidate].iter().all(|set| set.series.iter().all(|series| series.identity.has(*part)))
    };
    let (matched_on, not_known): (Vec<Part>, Vec<Part>) = options.matched_on.iter().partition(|part| known(part));
    let mut pairs: BTreeMap<Identity, Pair<'_>> = BTreeMap::new();
    for series in &baseline.series {
        pairs.entry(series.identity.only(&matched_on)).or_default().baseline.push(series);
    }
    for series in &candidate.series {
        pairs.entry(series.identity.only(&matched_on)).or_default().candidate.push(series);
    }
    let mut comparison = Comparison {
        judgements: Vec::new(),
        matched_on,
        not_known,
        differing_parts: BTreeMap::new(),
        tested: 0,
        by_threshold: 0,
    };
    for (identity, pair) in &pairs {
        for part in pair.differing_parts() {
            *comparison.differing_parts.entry(part).or_default() += 1;
        }
        for choice in &options.metrics {
            let judge = Judge { baseline, candidate, options, identity, pair, choice };
            comparison.judgements.extend(judge.judgement());
        }
    }
    control_false_discoveries(&mut comparison.judgements, options);
    let by = |evidence: &[Evidence]| {
        comparison
            .judgements
            .iter()
            .filter(|judgement| judgement.evidence.is_some_and(|own| evidence.contains(&own)))
            .count()
    };
    comparison.tested = by(&[Evidence::TwoSamples, Evidence::Prediction]);
    comparison.by_threshold = by(&[Evidence::ThresholdOnly]);
    comparison.judgements.sort_by(|left, right| {
        let size = |judgement: &Judgement| -judgement.effect.unwrap_or(0.0);
        left.verdict.cmp(&right.verdict).then(size(left).total_cmp(&size(right)))
    });
    comparison
}

/// What both sides have of one key.
#[derive(Debug, Default)]
struct Pair<'s> {
    baseline: Vec<&'s Series>,
    candidate: Vec<&'s Series>,
}

impl Pair<'_> {
    /// Parts that both sides tell, each with one value, and tell differently.
    fn differing_parts(&self) -> Vec<Part> {
        let one = |side: &[&Series], part: Part| match side {
            [] => None,
            [first, rest @ ..] => (first.identity.has(part)
                && rest.iter().all(|series| series.identity.get(part) == first.identity.get(part)))
            .then(|| first.identity.get(part).to_owned()),
        };
        let differs = |part: &Part| match (one(&self.baseline, *part), one(&self.candidate, *part)) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        Part::all().iter().copied().filter(differs).collect()
    }
}

/// Parts in which the series of one side differ among themselves: they are not one series.
fn mixed_parts(side: &[&Series]) -> Vec<Part> {
    let Some((first, rest)) = side.split_first() else {
        return Vec::new();
    };
    let differs = |part: &Part| rest.iter().any(|series| series.identity.get(*part) != first.identity.get(*part));
    Part::all().iter().copied().filter(differs).collect()
}

/// One metric of one pair.
struct Judge<'j> {
    baseline: &'j SeriesSet,
    candidate: &'j SeriesSet,
    options: &'j JudgeOptions,
    identity: &'j Identity,
    pair: &'j Pair<'j>,
    choice: &'j MetricChoice,
}

impl Judge<'_> {
    /// The judgement; `None` where neither side measured the metric.
    fn judgement(&self) -> Option<Judgement> {
        let mut judgement = Judgement {
            identity: self.identity.clone(),
            configuration_id: self.pair.candidate.first().or(self.pair.baseline.first())?.configuration_id,
            first_candidate_run: self.pair.candidate.iter().flat_map(|series| &series.runs).find_map(|run| run.run_id),
            metric: self.choice.name().to_owned(),
            verdict: Verdict::Invalid,
            evidence: None,
            baseline: Side::default(),
            candidate: Side::default(),
            effect: None,
            absolute: false,
            effect_low: None,
            effect_high: None,
            p_value: None,
            q_value: None,
            smallest_effect: None,
            more_runs: None,
            below_floor: false,
            broken: false,
            notes: Vec::new(),
            differences: Vec::new(),
        };
        let measured = |set: &SeriesSet, side: &[&Series], metric: &Metric| {
            set.metric(&metric.name).is_some_and(|column| {
                side.iter().any(|series| (0..series.runs.len()).any(|run| series.value(run, column).is_some()))
            })
        };
        let (before, after) = (&self.pair.baseline, &self.pair.candidate);
        let has = |metric: &Metric| (measured(self.baseline, before, metric), measured(self.candidate, after, metric));
        let candidates = &self.choice.candidates;
        let metric = candidates
            .iter()
            .find(|metric| has(metric) == (true, true))
            .or_else(|| candidates.iter().find(|metric| has(metric) != (false, false)));
        // A run that broke has no numbers at all, and is a reason all the same.
        let broken = |side: &[&Series]| !side.is_empty() && side.iter().all(|series| series.valid_runs() == 0);
        let metric = match metric {
            Some(metric) => metric,
            None if (broken(before) || broken(after)) && self.choice.name().starts_with("latency") => {
                candidates.first()?
            }
            None => return None,
        };
        judgement.metric.clone_from(&metric.name);
        // Of memory there are two kinds, and neither stands in for the other.
        if metric.name != self.choice.name() && metric.kind != MetricKind::Size {
            judgement.notes.push(format!("{} stands in for {}", metric.name, self.choice.name()));
        }
        self.compare(metric, &mut judgement);
        Some(judgement)
    }

    fn compare(&self, metric: &Metric, judgement: &mut Judgement) {
        let (before, after) = (&self.pair.baseline, &self.pair.candidate);
        if before.is_empty() || after.is_empty() {
            judgement.verdict = if before.is_empty() { Verdict::New } else { Verdict::Missing };
        }
        for (name, side) in [("baseline", before), ("candidate", after)] {
            let mixed = mixed_parts(side);
            if !mixed.is_empty() {
                judgement.verdict = Verdict::Incomparable;
                judgement.notes.push(format!(
                    "the {name} is {} configurations: {}",
                    side.len(),
                    describe(&mixed, side)
                ));
            }
        }
        if let (Some(one), Some(other)) = (before.first(), after.first())
            && let (Some(kind), Some(now)) = (one.device_kind, other.device_kind)
            && kind != now
        {
            judgement.verdict = Verdict::Incomparable;
            judgement.notes.push(format!("the device was a {kind}, now it is a {now}"));
        }
        // Two sizes of a machine may have one name. Where the device may differ, so may its size.
        if judgement.identity.has(Part::Device) {
            let units: BTreeSet<u32> = before.iter().chain(after).filter_map(|series| series.compute_units).collect();
            if units.len() > 1 {
                judgement.verdict = Verdict::Incomparable;
                let units: Vec<String> = units.iter().map(u32::to_string).collect();
                judgement.notes.push(format!("devices of one name have {} compute units", units.join(" and ")));
            }
        }
        for part in self.pair.differing_parts() {
            let (was, is) = (before[0].identity.get(part), after[0].identity.get(part));
            judgement.notes.push(format!("{part} was {}, now {}", shown(was), shown(is)));
            if part == Part::BatchSize && is_per_batch(metric) {
                judgement.verdict = Verdict::Incomparable;
                judgement.notes.push(format!("{} is of a whole batch; compare the throughput", metric.name));
            }
        }
        let was = values(self.baseline, before, metric);
        let is = values(self.candidate, after, metric);
        judgement.baseline = Side { runs: was.len(), median: median(&was) };
        judgement.candidate = Side { runs: is.len(), median: median(&is) };
        if judgement.verdict != Verdict::Invalid {
            return;
        }
        for (name, side, values) in [("baseline", before, &was), ("candidate", after, &is)] {
            if values.is_empty() {
                judgement.notes.push(format!("the {name} has {}", why_none(side, metric)));
            }
        }
        if was.is_empty() || is.is_empty() {
            let all_broke =
                after.iter().flat_map(|series| &series.runs).all(|run| run.validity == Validity::NotMeasured);
            judgement.broken = !was.is_empty() && all_broke;
            return;
        }
        judgement.differences = self.environment_differences();
        self.decide(metric, &was, &is, judgement);
    }

    /// The heart: effect, evidence, verdict.
    fn decide(&self, metric: &Metric, was: &[f64], is: &[f64], judgement: &mut Judgement) {
        let cost = Cost::of(metric);
        let scale = |values: &[f64]| values.iter().filter_map(|value| cost.scale(*value)).collect::<Vec<f64>>();
        let (before, after) = (scale(was), scale(is));
        if judgement.baseline.median == Some(0.0) || judgement.candidate.median == Some(0.0) {
            self.decide_by_floor(metric, was, is, judgement);
            return;
        }
        let zeros = was.len() + is.len() - before.len() - after.len();
        if zeros > 0 {
            judgement.notes.push(format!("{zeros} runs with a {} of 0 were left out", metric.name));
        }
        let threshold = if cost.is_absolute() { metric.floor } else { self.options.alert.ln_1p() };
        let (Some(was), Some(is)) = (median(was), median(is)) else { return };
        // Of the medians as they are shown, not of the logarithms' medians: with an even number of runs these differ.
        let Some(effect) = cost.scale(is).zip(cost.scale(was)).map(|(after, before)| after - before) else { return };
        judgement.effect = Some(effect);
        judgement.absolute = cost.is_absolute();
        let evidence = match (before.len(), after.len()) {
            (old, new) if old >= RUNS_FOR_TEST && new >= RUNS_FOR_TEST => Evidence::TwoSamples,
            (old, new) if old >= RUNS_FOR_PREDICTION && new < RUNS_FOR_TEST => Evidence::Prediction,
            _ => Evidence::ThresholdOnly,
        };
        judgement.evidence = Some(evidence);
        let found = Found::by(evidence, &before, &after, effect);
        judgement.p_value = found.p_value;
        if let Some((low, high)) = found.interval {
            // The Hodges-Lehmann interval is of the shift between the distributions, the effect is of their medians; in
            // small samples one may lie beside the other.
            judgement.effect_low = Some(low.min(effect));
            judgement.effect_high = Some(high.max(effect));
        }
        let noise = found.deviation.or_else(|| {
            let configuration = judgement.configuration_id?;
            self.options.noise.get(&(configuration, metric.name.clone())).copied()
        });
        judgement.smallest_effect = noise
            .and_then(|noise| match evidence {
                Evidence::Prediction => smallest_predicted_shift(noise, &before, after.len()),
                Evidence::ThresholdOnly => Some(smallest_shift_by_noise(noise, before.len(), after.len())),
                _ => smallest_shift(noise, before.len(), after.len(), SIGNIFICANCE, POWER),
            })
            .map(|smallest| smallest.max(threshold));
        let past = effect.abs() >= threshold - ROUNDING;
        let above_floor = (is - was).abs() > metric.floor || cost.is_absolute() || !self.options.floors;
        let inside = match (judgement.effect_low, judgement.effect_high) {
            (Some(low), Some(high)) => low > -threshold && high < threshold,
            _ => evidence == Evidence::ThresholdOnly && !past,
        };
        judgement.verdict = match (past, above_floor, found.significant) {
            (true, true, true) if effect > 0.0 => Verdict::Regressed,
            (true, true, true) => Verdict::Improved,
            (true, true, false) if effect > 0.0 => Verdict::Suspect,
            (true, false, _) => {
                judgement.below_floor = true;
                judgement.notes.push(format!("the change is below the floor of {} {}", metric.floor, metric.unit));
                Verdict::Unchanged
            }
            _ if inside => Verdict::Unchanged,
            _ => Verdict::Inconclusive,
        };
        if matches!(judgement.verdict, Verdict::Suspect | Verdict::Inconclusive) {
            judgement.more_runs = more_runs(effect, threshold, noise, before.len().min(after.len()), past);
        }
    }

    /// Where a side is 0 there is no ratio: the difference is held against the metric's floor.
    fn decide_by_floor(&self, metric: &Metric, was: &[f64], is: &[f64], judgement: &mut Judgement) {
        let (Some(before), Some(after)) = (median(was), median(is)) else { return };
        let worse = if metric.better == Better::Higher { before - after } else { after - before };
        let tested = was.len() >= RUNS_FOR_TEST && is.len() >= RUNS_FOR_TEST;
        judgement.evidence = Some(if tested { Evidence::TwoSamples } else { Evidence::ThresholdOnly });
        judgement.p_value = if tested { mann_whitney(was, is).map(|test| test.p_value) } else { None };
        let significant = judgement.p_value.is_none_or(|p_value| p_value <= SIGNIFICANCE);
        judgement.notes.push(format!("a side is 0: judged by the floor of {} {}", metric.floor, metric.unit));
        judgement.verdict = match (worse.abs() > metric.floor, significant) {
            (false, _) => Verdict::Unchanged,
            (true, true) if worse > 0.0 => Verdict::Regressed,
            (true, true) => Verdict::Improved,
            (true, false) if worse > 0.0 => Verdict::Suspect,
            (true, false) => Verdict::Inconclusive,
        };
    }

    /// What the environments of the two sides do not have in common.
    fn environment_differences(&self) -> Vec<Difference> {
        let sides = [(self.baseline, &self.pair.baseline), (self.candidate, &self.pair.candidate)];
        let [before, after] = sides.map(|(set, side)| {
            let valid = side.iter().flat_map(|series| &series.runs).filter(|run| run.validity == Validity::Valid);
            let used: BTreeSet<usize> = valid.map(|run| run.environment).collect();
            facts_of_all(used.into_iter().filter_map(|index| set.environments.get(index)))
        });
        differences_of(&before, &after)
    }
}

/// What two environments do not have in common.
pub(super) fn differences_between(before: &Environment, after: &Environment) -> Vec<Difference> {
    differences_of(&facts_of_all(std::iter::once(before)), &facts_of_all(std::iter::once(after)))
}

type EnvironmentFacts = BTreeMap<&'static str, Vec<String>>;

fn facts_of_all<'e>(environments: impl Iterator<Item = &'e Environment>) -> EnvironmentFacts {
    let mut facts = EnvironmentFacts::new();
    for (name, fact) in environments.flat_map(facts_of) {
        let known = facts.entry(name).or_default();
        if let Some(fact) = fact.filter(|fact| !known.contains(fact)) {
            known.push(fact);
        }
    }
    facts
}

/// The last three of a list, and how many others there are.
fn few(facts: &[String]) -> String {
    let others = facts.len().saturating_sub(3);
    let shown = facts[others..].join(", ");
    if others > 0 { format!("{shown} and {others} others") } else { shown }
}

/// What both sides tell, and tell differently.
fn differences_of(before: &EnvironmentFacts, after: &EnvironmentFacts) -> Vec<Difference> {
    before
        .iter()
        .filter_map(|(what, was)| {
            let is = after.get(what)?;
            // What the baseline has seen as well explains nothing.
            let differs = !was.is_empty() && is.iter().any(|fact| !was.contains(fact));
            differs.then(|| Difference { what: (*what).to_owned(), baseline: few(was), candidate: few(is) })
        })
        .collect()
}

/// What an environment says, by name.
fn facts_of(environment: &Environment) -> [(&'static str, Option<String>); 12] {
    let commit = environment.git_commit.as_ref().map(|commit| {
        let short: String = commit.chars().take(10).collect();
        if environment.git_dirty == Some(true) { [&short, " (changed)"].concat() } else { short }
    });
    [
        ("host", environment.host.clone()),
        ("os", environment.os.clone()),
        ("kernel", environment.kernel.clone()),
        ("cpu_name", environment.cpu_name.clone()),
        ("cpu_governor", environment.cpu_governor.clone()),
        ("driver_version", environment.driver_version.clone()),
        ("engine_version", environment.engine_version.clone()),
        ("framework_version", environment.framework_version.clone()),
        ("tool_version", environment.tool_version.clone()),
        ("tool_build", environment.tool_build.clone()),
        ("git_commit", commit),
        ("host_memory_bytes", environment.host_memory_bytes.map(|bytes| bytes.to_string())),
    ]
}

/// The values of a metric in all valid runs of a side that support it.
fn values(set: &SeriesSet, side: &[&Series], metric: &Metric) -> Vec<f64> {
    let Some(column) = set.metric(&metric.name) else {
        return Vec::new();
    };
    let needed = iterations_needed(&metric.name);
    let measured = side.iter().flat_map(|series| series.measured(column));
    measured.filter(|(run, _)| run.iterations >= needed).map(|(_, value)| value).collect()
}

fn why_none(side: &[&Series], metric: &Metric) -> String {
    let mut counts: BTreeMap<Validity, usize> = BTreeMap::new();
    for run in side.iter().flat_map(|series| &series.runs) {
        *counts.entry(run.validity).or_default() += 1;
    }
    if counts.get(&Validity::Valid).copied().unwrap_or(0) == 0 {
        let counted: Vec<String> = counts.iter().map(|(validity, count)| format!("{count} {validity}")).collect();
        return format!("no valid run ({})", counted.join(", "));
    }
    match iterations_needed(&metric.name) {
        0 => format!("no {}", metric.name),
        needed => format!("no run with the {needed} samples that {} needs", metric.name),
    }
}

fn describe(parts: &[Part], side: &[&Series]) -> String {
    let one = |part: &Part| {
        let mut texts: Vec<&str> = side.iter().map(|series| series.identity.get(*part)).collect();
        texts.sort_unstable();
        texts.dedup();
        let more = if texts.len() > 4 { ", ..." } else { "" };
        format!("{part} {}{more}", texts.iter().take(4).map(|text| shown(text)).collect::<Vec<_>>().join(", "))
    };
    parts.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

/// Whether a number grows with the batch: times and memory do, rates and what is said per sample do not.
fn is_per_batch(metric: &Metric) -> bool {
    match metric.kind {
        MetricKind::Time => !matches!(metric.name.as_str(), "startup_ms" | "time_per_output_token_ms"),
        MetricKind::Size => metric.name != "model_size_mb",
        _ => false,
    }
}

/// What the evidence found.
struct Found {
    significant: bool,
    p_value: Option<f64>,
    /// 95 % interval of the effect.
    interval: Option<(f64, f64)>,
    /// Run-to-run standard deviation on the scale of the effect.
    deviation: Option<f64>,
}

impl Found {
    fn by(evidence: Evidence, before: &[f64], after: &[f64], effect: f64) -> Self {
        match evidence {
            Evidence::TwoSamples => {
                let p_value = mann_whitney(before, after).map(|test| test.p_value);
                Self {
                    significant: p_value.is_some_and(|p_value| p_value <= SIGNIFICANCE),
                    p_value,
                    interval: hodges_lehmann(before, after, CONFIDENCE).map(|shift| (shift.low, shift.high)),
                    deviation: pooled_deviation(before, after),
                }
            }
            Evidence::Prediction => {
                let interval = prediction_interval(before, 1.0 - SIGNIFICANCE);
                let outside = |value: f64| {
                    interval
                        .as_ref()
                        .is_some_and(|interval| if effect > 0.0 { value > interval.high } else { value < interval.low })
                };
                Self {
                    significant: after.iter().all(|value| outside(*value)),
                    // Runs on both sides of the old ones are no evidence of a change.
                    p_value: if one_sided(before, after, effect) {
                        prediction_p_value(before, after)
                    } else {
                        Some(1.0)
                    },
                    interval: mean_difference_interval(before, after, CONFIDENCE)
                        .map(|interval| (interval.low, interval.high)),
                    deviation: pooled_deviation(before, &[]),
                }
            }
            Evidence::ThresholdOnly | Evidence::ChangePoints => {
                Self { significant: true, p_value: None, interval: None, deviation: None }
            }
        }
    }
}

/// Whether all new values lie on the side of the old ones' mean to which the effect points.
fn one_sided(before: &[f64], after: &[f64], effect: f64) -> bool {
    mean(before).is_some_and(|centre| after.iter().all(|value| (value - centre) * effect > 0.0))
}

/// The smallest shift with which all of `new` runs lie outside the prediction interval, with probability [`POWER`]: the
/// half-width of the interval and what normal noise of that many runs adds.
fn smallest_predicted_shift(deviation: f64, before: &[f64], new: usize) -> Option<f64> {
    let interval = prediction_interval(before, 1.0 - SIGNIFICANCE)?;
    let each = POWER.powf(1.0 / new.max(1) as f64);
    Some((interval.high - interval.low) / 2.0 + Normal::standard().inverse_cdf(each) * deviation)
}

/// The smallest shift that stands out of a known noise with probability [`POWER`], by the normal test of two means: what
/// a threshold alone should not be below.
fn smallest_shift_by_noise(deviation: f64, before: usize, after: usize) -> f64 {
    let normal = Normal::standard();
    let reach = normal.inverse_cdf(1.0 - SIGNIFICANCE / 2.0) + normal.inverse_cdf(POWER);
    reach * deviation * (1.0 / before.max(1) as f64 + 1.0 / after.max(1) as f64).sqrt()
}

/// How many more runs a side would decide: enough to make out the gap between the effect and what it is held against.
fn more_runs(effect: f64, threshold: f64, deviation: Option<f64>, have: usize, past: bool) -> Option<u64> {
    let few = (RUNS_FOR_TEST.saturating_sub(have)) as u64;
    // Past the threshold the question is whether it is chance; before it, on which side of the threshold the truth is.
    let gap = if past { effect.abs() } else { threshold - effect.abs() };
    let needed = match deviation {
        Some(deviation) if deviation > 0.0 => runs_for_shift(deviation, gap, SIGNIFICANCE, POWER)? as u64,
        _ => RUNS_FOR_TEST as u64,
    };
    Some(needed.saturating_sub(have as u64).max(few).clamp(1, MOST_RUNS))
}

/// Fills in the q values, metric by metric, and lets them decide where that was asked for.
fn control_false_discoveries(judgements: &mut [Judgement], options: &JudgeOptions) {
    let mut by_metric: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, judgement) in judgements.iter().enumerate() {
        if judgement.p_value.is_some() {
            by_metric.entry(judgement.metric.clone()).or_default().push(index);
        }
    }
    for indices in by_metric.values() {
        let p_values: Vec<f64> = indices.iter().filter_map(|&index| judgements[index].p_value).collect();
        for (&index, q_value) in indices.iter().zip(benjamini_hochberg(&p_values)) {
            let judgement = &mut judgements[index];
            judgement.q_value = Some(q_value);
            let Some(rate) = options.false_discovery_rate else { continue };
            let better = judgement.effect.is_some_and(|effect| effect <= -options.alert.ln_1p() + ROUNDING);
            judgement.verdict = match judgement.verdict {
                Verdict::Regressed if q_value > rate => Verdict::Suspect,
                Verdict::Suspect if q_value <= rate => Verdict::Regressed,
                Verdict::Improved if q_value > rate => Verdict::Inconclusive,
                Verdict::Inconclusive if q_value <= rate && better => Verdict::Improved,
                other => other,
            };
            if matches!(judgement.verdict, Verdict::Regressed | Verdict::Improved) {
                judgement.more_runs = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::metrics::metrics_of;
    use crate::domain::{DeviceKind, RunGroup, SeriesRun};

    /// A set with one series a name, each with these values of a metric, in 100 iterations each.
    fn set(metric: &str, series: &[(&str, &[f64])]) -> SeriesSet {
        let choice = MetricChoice::parse(metric).unwrap();
        let metrics = metrics_of(std::slice::from_ref(&choice));
        let column = metrics.iter().position(|known| known.name == choice.name()).unwrap();
        let width = metrics.len();
        let mut set = SeriesSet::new(metrics);
        set.environments.push(Environment::default());
        for (name, values) in series {
            let mut identity = Identity::default();
            for part in Part::all() {
                identity.set(*part, if *part == Part::BatchSize { "8".into() } else { String::new() });
            }
            identity.set(Part::Model, (*name).to_owned());
            let mut one = Series::new(Some(1), identity);
            for (index, value) in values.iter().enumerate() {
                let run = SeriesRun {
                    run_id: Some(index as i64),
                    uuid: None,
                    group: RunGroup::Alone,
                    started_at_ms: None,
                    environment: 0,
                    iterations: 100,
                    validity: Validity::Valid,
                };
                let mut row = vec![f64::NAN; width];
                row[column] = *value;
                one.push(run, row);
            }
            set.series.push(one);
        }
        set
    }

    fn options(metric: &str) -> JudgeOptions {
        JudgeOptions {
            alert: 0.1,
            metrics: vec![MetricChoice::parse(metric).unwrap()],
            matched_on: Part::all().to_vec(),
            false_discovery_rate: None,
            floors: true,
            noise: HashMap::new(),
        }
    }

    fn verdict(metric: &str, before: &[f64], after: &[f64]) -> Judgement {
        let comparison = judge(&set(metric, &[("m", before)]), &set(metric, &[("m", after)]), &options(metric));
        assert_eq!(comparison.judgements.len(), 1);
        comparison.judgements[0].clone()
    }

    const STEADY: [f64; 6] = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2];

    fn times(values: &[f64], factor: f64) -> Vec<f64> {
        values.iter().map(|value| value * factor).collect()
    }

    #[test]
    fn five_runs_a_side_are_tested() {
        let judged = verdict("latency", &STEADY, &times(&STEADY, 1.2));
        assert_eq!((judged.verdict, judged.evidence), (Verdict::Regressed, Some(Evidence::TwoSamples)));
        assert!((judged.effect.unwrap() - 1.2_f64.ln()).abs() < 1e-12);
        // Two samples of six that do not overlap: 2 of C(12, 6) = 924 arrangements.
        assert!((judged.p_value.unwrap() - 2.0 / 924.0).abs() < 1e-12);
        assert!(judged.effect_low.unwrap() < 1.2_f64.ln() && judged.effect_high.unwrap() > 1.2_f64.ln());
        assert_eq!(verdict("latency", &STEADY, &times(&STEADY, 0.8)).verdict, Verdict::Improved);
        assert_eq!(verdict("latency", &STEADY, &times(&STEADY, 1.02)).verdict, Verdict::Unchanged);
    }

    #[test]
    fn a_rate_that_falls_is_a_regression() {
        let judged = verdict("throughput", &STEADY, &times(&STEADY, 0.8));
        assert_eq!(judged.verdict, Verdict::Regressed);
        assert!((judged.effect.unwrap() - 1.25_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_change_in_noise_is_suspect_and_says_what_would_decide() {
        let noisy = [100.0, 140.0, 80.0, 120.0, 95.0];
        let judged = verdict("latency", &noisy, &times(&noisy, 1.15));
        assert_eq!(judged.verdict, Verdict::Suspect);
        assert!(judged.more_runs.unwrap() > 5);
        assert!(judged.smallest_effect.unwrap() > 0.3);
        let judged = verdict("latency", &noisy, &times(&noisy, 1.02));
        assert_eq!(judged.verdict, Verdict::Inconclusive);
        assert!(judged.more_runs.is_some());
    }

    #[test]
    fn new_runs_are_held_against_many_old_ones() {
        let history: Vec<f64> = STEADY.iter().chain(&STEADY).copied().collect();
        let judged = verdict("latency", &history, &[120.0, 121.0]);
        assert_eq!((judged.verdict, judged.evidence), (Verdict::Regressed, Some(Evidence::Prediction)));
        // One of two inside: it may be chance. The median of the two is past the threshold.
        let judged = verdict("latency", &history, &[100.0, 121.0]);
        assert_eq!(judged.verdict, Verdict::Suspect);
        assert_eq!(verdict("latency", &history, &[100.3]).verdict, Verdict::Unchanged);
    }

    #[test]
    fn a_single_number_a_side_is_judged_by_the_threshold() {
        for (after, wanted) in [
            (110.0, Verdict::Regressed),
            (109.9, Verdict::Unchanged),
            (100.0 / 1.1, Verdict::Improved),
            (91.0, Verdict::Unchanged),
        ] {
            let judged = verdict("latency", &[100.0], &[after]);
            assert_eq!((judged.verdict, judged.evidence), (wanted, Some(Evidence::ThresholdOnly)), "{after}");
            assert_eq!((judged.p_value, judged.effect_low), (None, None));
        }
    }

    #[test]
    fn four_runs_a_side_are_not_tested() {
        let judged = verdict("latency", &STEADY[..4], &times(&STEADY[..4], 1.2));
        assert_eq!(judged.evidence, Some(Evidence::ThresholdOnly));
    }

    #[test]
    fn the_kept_noise_tells_what_a_threshold_alone_would_find() {
        let before = set("latency", &[("m", &[100.0])]);
        let after = set("latency", &[("m", &[120.0])]);
        let mut options = options("latency");
        options.noise.insert((1, "latency_p50_ms".into()), 0.03);
        let judged = judge(&before, &after, &options).judgements.remove(0);
        assert_eq!(judged.evidence, Some(Evidence::ThresholdOnly));
        // (2.5758 + 0.8416) * 0.03 * sqrt(1/1 + 1/1)
        assert!((judged.smallest_effect.unwrap() - 0.144_987).abs() < 1e-4, "{judged:?}");
    }

    #[test]
    fn below_the_floor_nothing_matters() {
        // 0.005 ms is 50 % of 0.01 ms, and below the floor of 0.01 ms.
        let judged = verdict("latency", &times(&STEADY, 1e-4), &times(&STEADY, 1.5e-4));
        assert_eq!(judged.verdict, Verdict::Unchanged);
        assert!(judged.notes[0].contains("floor"));
    }

    #[test]
    fn proportions_are_judged_by_their_difference() {
        let before = [0.760, 0.761, 0.759, 0.760, 0.7605, 0.7595];
        let judged = verdict("accuracy", &before, &before.map(|value| value - 0.02));
        assert_eq!((judged.verdict, judged.absolute), (Verdict::Regressed, true));
        assert!((judged.effect.unwrap() - 0.02).abs() < 1e-12);
        assert_eq!(verdict("accuracy", &before, &before.map(|value| value + 0.02)).verdict, Verdict::Improved);
    }

    #[test]
    fn what_only_one_side_has_is_listed() {
        let before = set("latency", &[("gone", &STEADY), ("both", &STEADY)]);
        let after = set("latency", &[("both", &STEADY), ("fresh", &STEADY)]);
        let comparison = judge(&before, &after, &options("latency"));
        let found: Vec<(&str, Verdict)> = comparison
            .judgements
            .iter()
            .map(|judgement| (judgement.identity.get(Part::Model), judgement.verdict))
            .collect();
        assert_eq!(found, [("both", Verdict::Unchanged), ("fresh", Verdict::New), ("gone", Verdict::Missing)]);
    }

    #[test]
    fn a_side_without_valid_runs_is_invalid() {
        let before = set("latency", &[("m", &STEADY)]);
        let mut after = set("latency", &[("m", &STEADY)]);
        for run in &mut after.series[0].runs {
            run.validity = Validity::Throttled;
        }
        let judged = judge(&before, &after, &options("latency")).judgements.remove(0);
        assert_eq!(judged.verdict, Verdict::Invalid);
        assert!(judged.notes[0].contains("6 throttled"), "{:?}", judged.notes);
    }

    #[test]
    fn a_batch_time_is_not_compared_across_batch_sizes_but_a_rate_is() {
        let without_batch: Vec<Part> = Part::all().iter().copied().filter(|part| *part != Part::BatchSize).collect();
        for (metric, wanted) in [("latency", Verdict::Incomparable), ("throughput", Verdict::Regressed)] {
            let before = set(metric, &[("m", &STEADY)]);
            let mut after = set(metric, &[("m", &times(&STEADY, if metric == "latency" { 2.0 } else { 0.5 }))]);
            after.series[0].identity.set(Part::BatchSize, "16".into());
            let options = JudgeOptions { matched_on: without_batch.clone(), ..options(metric) };
            let comparison = judge(&before, &after, &options);
            assert_eq!(comparison.judgements[0].verdict, wanted);
            assert!(comparison.judgements[0].notes[0].contains("batch_size was 8, now 16"));
            assert_eq!(comparison.differing_parts[&Part::BatchSize], 1);
        }
    }

    #[test]
    fn several_configurations_on_one_side_are_not_mixed() {
        let without_batch: Vec<Part> = Part::all().iter().copied().filter(|part| *part != Part::BatchSize).collect();
        let mut before = set("throughput", &[("m", &STEADY), ("m", &STEADY)]);
        before.series[1].identity.set(Part::BatchSize, "16".into());
        let options = JudgeOptions { matched_on: without_batch, ..options("throughput") };
        let judged = judge(&before, &set("throughput", &[("m", &STEADY)]), &options).judgements.remove(0);
        assert_eq!(judged.verdict, Verdict::Incomparable);
        assert!(judged.notes[0].contains("batch_size"), "{:?}", judged.notes);
    }

    #[test]
    fn another_kind_of_device_is_another_thing() {
        let mut before = set("latency", &[("m", &STEADY)]);
        let mut after = set("latency", &[("m", &STEADY)]);
        before.series[0].device_kind = Some(DeviceKind::Cpu);
        after.series[0].device_kind = Some(DeviceKind::Gpu);
        assert_eq!(judge(&before, &after, &options("latency")).judgements[0].verdict, Verdict::Incomparable);
    }

    #[test]
    fn a_percentile_without_the_samples_is_not_judged() {
        let before = set("latency_p99_ms", &[("m", &STEADY)]);
        let judged = judge(&before, &before.clone(), &options("latency_p99_ms")).judgements.remove(0);
        assert_eq!(judged.verdict, Verdict::Invalid);
        assert!(judged.notes[0].contains("299 samples"), "{:?}", judged.notes);
    }

    #[test]
    fn q_values_may_decide() {
        let names: Vec<String> = (0..40).map(|index| format!("m{index:02}")).collect();
        let before: Vec<(&str, &[f64])> = names.iter().map(|name| (name.as_str(), &STEADY[..])).collect();
        let slower = times(&STEADY, 1.2);
        // One of forty is slower: its p value is small, its q value forty times as large.
        let after: Vec<(&str, &[f64])> = names
            .iter()
            .map(|name| (name.as_str(), if name == "m00" { slower.as_slice() } else { &STEADY[..] }))
            .collect();
        let (before, after) = (set("latency", &before), set("latency", &after));
        let plain = judge(&before, &after, &options("latency"));
        assert_eq!(plain.judgements[0].verdict, Verdict::Regressed);
        let q_value = plain.judgements[0].q_value.unwrap();
        assert!((q_value - 40.0 * 2.0 / 924.0).abs() < 1e-9, "{q_value}");
        let strict = JudgeOptions { false_discovery_rate: Some(0.05), ..options("latency") };
        assert_eq!(judge(&before, &after, &strict).judgements[0].verdict, Verdict::Suspect);
    }

    #[test]
    fn what_differs_between_the_environments_is_named() {
        let mut before = set("latency", &[("m", &STEADY)]);
        let mut after = set("latency", &[("m", &times(&STEADY, 1.3))]);
        before.environments[0].driver_version = Some("550".into());
        after.environments[0].driver_version = Some("560".into());
        before.environments[0].host = Some("a".into());
        let judged = judge(&before, &after, &options("latency")).judgements.remove(0);
        let wanted = Difference { what: "driver_version".into(), baseline: "550".into(), candidate: "560".into() };
        assert_eq!(judged.differences, [wanted]);
    }

    /// The promise of docs/verdicts.md: without a change, a test calls hardly anything regressed.
    #[test]
    fn unchanged_noise_is_hardly_ever_called_regressed() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut noise = |spread: f64| {
            let sum: f64 = (0..12).map(|_| random.f64()).sum();
            100.0 * (spread * (sum - 6.0)).exp()
        };
        let (mut regressed, mut judged) = (0, 0);
        for spread in [0.03, 0.1, 0.3] {
            for _ in 0..700 {
                let before: Vec<f64> = (0..8).map(|_| noise(spread)).collect();
                let after: Vec<f64> = (0..6).map(|_| noise(spread)).collect();
                judged += 1;
                regressed += usize::from(verdict("latency", &before, &after).verdict == Verdict::Regressed);
            }
        }
        // Half of one per cent at most; three standard deviations of room.
        assert!(
            regressed as f64 <= 0.005 * f64::from(judged) + 3.0 * (0.005 * f64::from(judged)).sqrt(),
            "{regressed}"
        );
    }
}
