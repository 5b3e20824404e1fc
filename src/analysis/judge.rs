//! Verdicts: is the candidate slower than the baseline, and how sure is that? docs/verdicts.md explains the rules to
//! people; here they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::differences::{differences_of, facts_of_all};
use super::evidence::{Found, RUNS_FOR_TEST, SIGNIFICANCE, evidence_for, more_runs, smallest_effect};
use super::metrics::{Cost, MetricChoice, iterations_needed};
use crate::domain::metric::Better;
use crate::domain::verdict::newest;
use crate::domain::{
    Difference, Evidence, Identity, Judgement, Metric, MetricKind, Part, Series, SeriesSet, Side, Validity, Verdict,
};
use crate::stats::{benjamini_hochberg, mann_whitney, median};

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
    // A profile is judged beside profiles, whatever the parts are: a file may know no parameters.
    let key = |series: &Series| (series.identity.only(&matched_on), series.identity.is_profile());
    let mut pairs: BTreeMap<(Identity, bool), Pair<'_>> = BTreeMap::new();
    for series in &baseline.series {
        pairs.entry(key(series)).or_default().baseline.push(series);
    }
    for series in &candidate.series {
        pairs.entry(key(series)).or_default().candidate.push(series);
    }
    let mut comparison = Comparison {
        judgements: Vec::new(),
        matched_on,
        not_known,
        differing_parts: BTreeMap::new(),
        tested: 0,
        by_threshold: 0,
    };
    for ((identity, _), pair) in &pairs {
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
            recent: Vec::new(),
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
        judgement.recent = newest(was.iter().chain(&is).copied());
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
        let evidence = evidence_for(before.len(), after.len());
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
            .and_then(|noise| smallest_effect(evidence, noise, &before, after.len()))
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
mod tests;
