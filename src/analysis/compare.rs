//! Comparison: every configuration beside a reference that does the same work, and the geometric means over what both
//! have.

use std::collections::BTreeMap;

use super::facts::{Facts, Iterations};
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
/// Draws of all resamples together.
const MOST_DRAWS: usize = 20_000_000;
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

    fn matches(&self, identity: &Identity) -> bool {
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
    let of_rates = || reference.throughput().zip(candidate.throughput()).map(|(before, after)| after / before);
    of_times.or_else(of_rates).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
}

/// Geometric means of the speed-ups of each contender over the works that it and the reference did, the fastest first. A
/// contender that did one work in several ways (batch sizes, where they may differ) counts with the fastest.
pub fn overall(facts: &[Facts], compared: &[Compared], same_work: &[Part], iterations: &Iterations) -> Vec<Overall> {
    let by_rate = !same_work.contains(&Part::BatchSize);
    let mut contenders: BTreeMap<Identity, Vec<(usize, usize, f64)>> = BTreeMap::new();
    for row in compared {
        if let (Some(reference), Some(speed_up)) = (row.reference, row.speed_up)
            && reference != row.index
        {
            let contender = facts[row.index].identity.only(&CONTENDER);
            let pairs: &mut Vec<(usize, usize, f64)> = contenders.entry(contender).or_default();
            // The rows of one work stand one after the other.
            match pairs.last_mut().filter(|(other, ..)| *other == reference) {
                Some(best) if best.2 < speed_up => *best = (reference, row.index, speed_up),
                Some(_) => {}
                None => pairs.push((reference, row.index, speed_up)),
            }
        }
    }
    let mut all: Vec<Overall> = contenders
        .into_iter()
        .filter_map(|(contender, pairs)| {
            let speed_ups: Vec<f64> = pairs.iter().map(|(_, _, speed_up)| *speed_up).collect();
            let estimate = estimate(facts, &pairs, by_rate, iterations)?;
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
) -> Option<RatioEstimate> {
    // A pair is compared by what both have: latencies, or rates as times of a sample.
    let sides: Vec<[Vec<(Option<i64>, f64)>; 2]> = pairs
        .iter()
        .map(|(reference, index, _)| {
            let (one, other) = (&facts[*reference], &facts[*index]);
            if !by_rate && one.latency_ms().is_some() && other.latency_ms().is_some() {
                return [one.latencies.clone(), other.latencies.clone()];
            }
            [one, other].map(|fact| fact.throughput().map(|rate| (None, 1.0 / rate)).into_iter().collect())
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
    let draws: usize = sides.iter().map(|[reference, candidate]| reference.len() + candidate.len()).sum();
    let resamples = (MOST_DRAWS / draws.max(1)).clamp(FEWEST_RESAMPLES, RESAMPLES);
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
