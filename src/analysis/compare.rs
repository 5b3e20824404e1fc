//! Comparison: every configuration beside a reference that does the same work, and the geometric means over what both
//! have.

use std::collections::BTreeMap;

use super::facts::{Facts, Iterations, RunValues};
use crate::domain::{Identity, Part};
use crate::stats::{Interval, PairedGroups, RatioEstimate, Replicate, geometric_mean_ratio, median};

/// What two configurations have in common that do the same work.
pub const SAME_WORK: [Part; 5] = [Part::Model, Part::Variant, Part::Mode, Part::BatchSize, Part::InputShape];

/// How the work is done: what is compared.
pub const CONTENDER: [Part; 6] =
    [Part::Platform, Part::Device, Part::Engine, Part::Precision, Part::Threads, Part::Parameters];

/// The seed of every bootstrap: the same record gives the same answer.
const SEED: u64 = 20_261_121;
/// Resamples, where the record is small enough.
const RESAMPLES: usize = 2_000;
/// Fewest resamples, however large the record is.
const FEWEST_RESAMPLES: usize = 100;
/// Draws of all resamples together, of all contenders: a second or so.
const MOST_DRAWS: usize = 10_000_000;
const CONFIDENCE: f64 = 0.95;

/// What makes a configuration a possible reference: all of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(Vec<(Part, String)>);

impl Default for Reference {
    fn default() -> Self {
        Self(vec![(Part::Platform, "cpu".to_owned())])
    }
}

impl Reference {
    /// From `part=value` pairs, with commas between them; a value alone is a platform.
    ///
    /// # Errors
    /// A sentence about what is no part.
    pub fn parse(text: &str) -> Result<Self, String> {
        use crate::domain::label::parse_label;
        let one = |pair: &str| match pair.split_once('=') {
            None => Ok((Part::Platform, pair.trim().to_lowercase())),
            Some((part, value)) => {
                let name = part.trim().replace('-', "_");
                let name = if name == "hardware" { "platform" } else { &name };
                let part: Part = parse_label(name).ok_or_else(|| {
                    let known: Vec<String> = Part::all().iter().map(Part::to_string).collect();
                    format!("`{name}` is no part of a configuration; it is one of {}", known.join(", "))
                })?;
                Ok((part, value.trim().to_owned()))
            }
        };
        text.split(',').map(one).collect::<Result<Vec<_>, String>>().map(Self)
    }

    /// What a reference has to have: all of these parts.
    pub fn parts(&self) -> &[(Part, String)] {
        &self.0
    }

    /// Whether a configuration may be the reference.
    pub fn matches(&self, identity: &Identity) -> bool {
        self.0.iter().all(|(part, wanted)| {
            let has = identity.get(*part).to_lowercase();
            let wanted = wanted.to_lowercase();
            // Of a device people say a part of its name.
            if *part == Part::Device { has.contains(&wanted) } else { has == wanted }
        })
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(part, value)| format!("{part} {value}")).collect();
        f.write_str(&pairs.join(", "))
    }
}

/// One configuration beside its reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Which of the facts it is.
    pub index: usize,
    /// Which of the facts is the reference; `None` where nothing that does the same work is one.
    pub reference: Option<usize>,
    /// How many times faster it is than the reference: the ratio of latencies, or of rates where there are none.
    pub speed_up: Option<f64>,
}

/// A way of doing the work against the reference, over all that both did.
#[derive(Clone, Debug, PartialEq)]
pub struct Overall {
    /// How the work is done.
    pub contender: Identity,
    /// How the reference does it; empty parts where that differs from work to work.
    pub reference: Identity,
    /// How many works both did.
    pub matched: usize,
    /// The geometric mean of the speed-ups.
    pub speed_up: f64,
    /// Its bootstrap interval at 95 %; none where no side of any pair has more than one number.
    pub interval: Option<Interval>,
    /// The median of the speed-ups.
    pub median: f64,
}

/// Puts each configuration beside the fastest reference that does the same work; a reference in fp32 goes before all
/// others. Where the batch size is no part of the `same_work`, the fastest is that with the highest rate.
pub fn compare(facts: &[Facts], reference: &Reference, same_work: &[Part]) -> Vec<Compared> {
    let mut works: BTreeMap<(Identity, String), Vec<usize>> = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        works.entry((fact.identity.only(same_work), fact.identity.work())).or_default().push(index);
    }
    let by_rate = !same_work.contains(&Part::BatchSize);
    let cost = |fact: &Facts| if by_rate { fact.throughput().map(|rate| 1e3 / rate) } else { fact.cost() };
    let mut compared = Vec::with_capacity(facts.len());
    for indices in works.values() {
        let preference = |index: &&usize| {
            let fact = &facts[**index];
            (fact.identity.get(Part::Precision) != "fp32", cost(fact))
        };
        let best = indices
            .iter()
            .filter(|&&index| reference.matches(&facts[index].identity) && cost(&facts[index]).is_some())
            .min_by(|left, right| preference(left).partial_cmp(&preference(right)).unwrap_or(std::cmp::Ordering::Equal))
            .copied();
        compared.extend(indices.iter().map(|&index| Compared {
            index,
            reference: best,
            speed_up: best.and_then(|best| speed_up(&facts[best], &facts[index], by_rate)),
        }));
    }
    compared
}

/// How many times faster: of latencies where both have one, of rates otherwise, or where they alone may be compared.
pub fn speed_up(reference: &Facts, candidate: &Facts, by_rate: bool) -> Option<f64> {
    let of_times =
        reference.latency_ms().zip(candidate.latency_ms()).filter(|_| !by_rate).map(|(before, after)| before / after);
    let ratio =
        |rate: fn(&Facts) -> Option<f64>| rate(reference).zip(rate(candidate)).map(|(before, after)| after / before);
    of_times
        .or_else(|| ratio(Facts::throughput))
        .or_else(|| ratio(Facts::tokens))
        .filter(|ratio| ratio.is_finite() && *ratio > 0.0)
}

/// Geometric means of the speed-ups of each contender over the works that it and the reference did, the fastest first. A
/// contender that did one work in several ways (batch sizes, where they may differ) counts with the fastest.
pub fn overall(facts: &[Facts], compared: &[Compared], same_work: &[Part], iterations: &Iterations) -> Vec<Overall> {
    let by_rate = !same_work.contains(&Part::BatchSize);
    // By contender, and within it by reference: a reference stands for one work.
    let mut best: BTreeMap<Identity, BTreeMap<usize, (usize, f64)>> = BTreeMap::new();
    for row in compared {
        if let (Some(reference), Some(speed_up)) = (row.reference, row.speed_up)
            && reference != row.index
        {
            let contender = facts[row.index].identity.only(&CONTENDER);
            let known = best.entry(contender).or_default().entry(reference).or_insert((row.index, speed_up));
            if known.1 < speed_up {
                *known = (row.index, speed_up);
            }
        }
    }
    let contenders: BTreeMap<Identity, Vec<(usize, usize, f64)>> = best
        .into_iter()
        .map(|(contender, works)| {
            let pairs = works.into_iter().map(|(reference, (index, speed_up))| (reference, index, speed_up));
            (contender, pairs.collect())
        })
        .collect();
    let draws = |side: usize| {
        let latencies = &facts[side].latencies;
        // Runs without iterations are drawn all at once.
        1 + latencies.iter().filter(|(run, _)| run.is_some_and(|run| iterations.contains_key(&run))).count()
    };
    let all_draws: usize = contenders.values().flatten().map(|(one, other, _)| draws(*one) + draws(*other)).sum();
    let resamples = (MOST_DRAWS / all_draws.max(1)).clamp(FEWEST_RESAMPLES, RESAMPLES);
    let mut all: Vec<Overall> = contenders
        .into_iter()
        .filter_map(|(contender, pairs)| {
            let speed_ups: Vec<f64> = pairs.iter().map(|(_, _, speed_up)| *speed_up).collect();
            let estimate = estimate(facts, &pairs, by_rate, iterations, resamples)?;
            Some(Overall {
                reference: common(pairs.iter().map(|(reference, _, _)| &facts[*reference].identity)),
                contender,
                matched: pairs.len(),
                speed_up: estimate.ratio,
                interval: estimate.interval,
                median: median(&speed_ups)?,
            })
        })
        .collect();
    all.sort_by(|left, right| right.speed_up.total_cmp(&left.speed_up));
    all
}

fn estimate(
    facts: &[Facts],
    pairs: &[(usize, usize, f64)],
    by_rate: bool,
    iterations: &Iterations,
    resamples: usize,
) -> Option<RatioEstimate> {
    // A pair is compared by what both have: latencies, or rates as times of a sample.
    let sides: Vec<[RunValues; 2]> = pairs
        .iter()
        .map(|(reference, index, _)| {
            let (one, other) = (&facts[*reference], &facts[*index]);
            if !by_rate && one.latency_ms().is_some() && other.latency_ms().is_some() {
                return [one.latencies.clone(), other.latencies.clone()];
            }
            let by_samples = one.throughput().is_some() && other.throughput().is_some();
            let rate = |fact: &Facts| if by_samples { fact.throughput() } else { fact.tokens() };
            [one, other].map(|fact| rate(fact).map(|rate| (None, 1.0 / rate)).into_iter().collect())
        })
        .collect();
    let none: &[f64] = &[];
    let replicates = |side: &[(Option<i64>, f64)]| {
        side.iter()
            .map(|(run, value)| Replicate {
                value: *value,
                samples: run.and_then(|run| iterations.get(&run)).map_or(none, Vec::as_slice),
            })
            .collect::<Vec<_>>()
    };
    let groups: Vec<PairedGroups<'_>> = sides
        .iter()
        .map(|[reference, candidate]| PairedGroups {
            reference: replicates(reference),
            candidate: replicates(candidate),
        })
        .collect();
    geometric_mean_ratio(&groups, resamples, SEED, CONFIDENCE)
}

/// What all of these have in common of how the work is done.
fn common<'i>(identities: impl Iterator<Item = &'i Identity>) -> Identity {
    let all: Vec<Identity> = identities.map(|identity| identity.only(&CONTENDER)).collect();
    let mut common = Identity::default();
    for part in CONTENDER {
        if let Some(first) = all.first()
            && all.iter().all(|identity| identity.get(part) == first.get(part))
        {
            common.set(part, first.get(part).to_owned());
        }
    }
    common
}

/// The runs whose iterations [`overall`] would look at, unless there are more than `most` of them.
pub fn runs_to_resample(facts: &[Facts], compared: &[Compared], most: usize) -> Vec<i64> {
    let mut runs: Vec<i64> = compared
        .iter()
        .filter(|row| row.reference.is_some_and(|reference| reference != row.index))
        .flat_map(|row| [Some(row.index), row.reference].into_iter().flatten())
        .flat_map(|index| facts[index].latencies.iter().filter_map(|(run, _)| *run))
        .collect();
    runs.sort_unstable();
    runs.dedup();
    if runs.len() > most { Vec::new() } else { runs }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Sample, facts_of};
    use super::*;

    fn gpu(model: &str) -> Sample {
        Sample::new(model).with(Part::Platform, "cuda").with(Part::Device, "RTX").with(Part::Engine, "burn-cuda")
    }

    #[test]
    fn the_reference_is_the_fastest_processor_run_in_fp32() {
        let facts = facts_of(
            vec![
                Sample::new("m").with(Part::Engine, "slow").latencies(&[40.0]),
                Sample::new("m").latencies(&[20.0]),
                Sample::new("m").with(Part::Precision, "bf16").latencies(&[10.0]),
                gpu("m").latencies(&[2.0]),
                gpu("m").with(Part::BatchSize, "8").latencies(&[4.0]),
            ],
            &Iterations::new(),
        );
        let compared = compare(&facts, &Reference::default(), &SAME_WORK);
        let speed_up = |index: usize| compared.iter().find(|row| row.index == index).unwrap();
        assert_eq!(speed_up(3).reference, Some(1));
        assert!((speed_up(3).speed_up.unwrap() - 10.0).abs() < 1e-12);
        assert!((speed_up(0).speed_up.unwrap() - 0.5).abs() < 1e-12);
        // Nothing on the processor did that work.
        assert_eq!((speed_up(4).reference, speed_up(4).speed_up), (None, None));
    }

    #[test]
    fn a_profile_is_no_reference_for_a_plain_run() {
        let profile =
            || Sample::new("m").with(Part::Parameters, r#"{"profile":"operators"}"#).with(Part::Engine, "fastest");
        let facts = facts_of(
            vec![Sample::new("m").latencies(&[20.0]), profile().latencies(&[10.0]), gpu("m").latencies(&[2.0])],
            &Iterations::new(),
        );
        let compared = compare(&facts, &Reference::default(), &SAME_WORK);
        let reference = |index: usize| compared.iter().find(|row| row.index == index).unwrap().reference;
        assert_eq!((reference(0), reference(1), reference(2)), (Some(0), Some(1), Some(0)));
    }

    #[test]
    fn without_fp32_another_precision_serves() {
        let facts = facts_of(
            vec![Sample::new("m").with(Part::Precision, "bf16").latencies(&[10.0]), gpu("m").latencies(&[2.0])],
            &Iterations::new(),
        );
        assert_eq!(compare(&facts, &Reference::default(), &SAME_WORK)[0].reference, Some(0));
    }

    #[test]
    fn another_reference_may_be_named() {
        let reference = Reference::parse("device=rtx,precision=fp32").unwrap();
        let facts = facts_of(vec![Sample::new("m").latencies(&[20.0]), gpu("m").latencies(&[2.0])], &Iterations::new());
        let compared = compare(&facts, &reference, &SAME_WORK);
        assert!((compared.iter().find(|row| row.index == 0).unwrap().speed_up.unwrap() - 0.1).abs() < 1e-12);
        assert!(Reference::parse("color=red").unwrap_err().contains("batch_size"));
    }

    #[test]
    fn geometric_means_are_over_what_both_did() {
        let facts = facts_of(
            vec![
                Sample::new("a").latencies(&[20.0]),
                Sample::new("b").latencies(&[30.0]),
                Sample::new("c").latencies(&[30.0]),
                gpu("a").latencies(&[10.0]),
                gpu("b").latencies(&[3.75]),
                gpu("d").latencies(&[1.0]),
            ],
            &Iterations::new(),
        );
        let compared = compare(&facts, &Reference::default(), &SAME_WORK);
        let all = overall(&facts, &compared, &SAME_WORK, &Iterations::new());
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].matched, 2);
        // sqrt(2 * 8)
        assert!((all[0].speed_up - 4.0).abs() < 1e-12);
        assert!((all[0].median - 5.0).abs() < 1e-12);
        assert_eq!(all[0].interval, None);
    }

    #[test]
    fn several_runs_give_an_interval_and_the_same_one_each_time() {
        let facts = facts_of(
            vec![
                Sample::new("a").latencies(&[20.0, 20.4, 19.8, 20.1, 20.3]),
                gpu("a").latencies(&[10.0, 10.3, 9.9, 10.1, 10.2]),
            ],
            &Iterations::new(),
        );
        let compared = compare(&facts, &Reference::default(), &SAME_WORK);
        let once = overall(&facts, &compared, &SAME_WORK, &Iterations::new());
        let interval = once[0].interval.unwrap();
        assert!(interval.low < once[0].speed_up && once[0].speed_up < interval.high);
        assert_eq!(once, overall(&facts, &compared, &SAME_WORK, &Iterations::new()));
    }

    #[test]
    fn iterations_of_single_runs_give_an_interval() {
        let facts =
            facts_of(vec![Sample::new("a").latencies(&[20.0]), gpu("a").latencies(&[10.0])], &Iterations::new());
        let compared = compare(&facts, &Reference::default(), &SAME_WORK);
        let iterations = Iterations::from([
            (1, (0..50).map(|index| 19.5 + f64::from(index) / 50.0).collect()),
            (2, (0..50).map(|index| 9.5 + f64::from(index) / 50.0).collect()),
        ]);
        assert_eq!(runs_to_resample(&facts, &compared, 10), [1, 2]);
        assert!(runs_to_resample(&facts, &compared, 1).is_empty());
        assert!(overall(&facts, &compared, &SAME_WORK, &iterations)[0].interval.is_some());
    }

    #[test]
    fn across_batch_sizes_rates_are_compared() {
        let facts = facts_of(
            vec![
                Sample::new("a").run(&[("latency_p50_ms", 10.0), ("throughput_samples_per_second", 100.0)]),
                gpu("a")
                    .with(Part::BatchSize, "64")
                    .run(&[("latency_p50_ms", 20.0), ("throughput_samples_per_second", 3200.0)]),
            ],
            &Iterations::new(),
        );
        let same_work: Vec<Part> = SAME_WORK.into_iter().filter(|part| *part != Part::BatchSize).collect();
        let compared = compare(&facts, &Reference::default(), &same_work);
        let all = overall(&facts, &compared, &same_work, &Iterations::new());
        assert!((all[0].speed_up - 32.0).abs() < 1e-9);
    }
}
