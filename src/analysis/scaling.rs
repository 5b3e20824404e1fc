//! How configurations relate to others of the same model: by batch size, by mode, by rank.

use std::collections::BTreeMap;

use super::facts::Facts;
use crate::domain::{Identity, Part};

/// What configurations have in common that compete for a model: the batch size is theirs to choose.
pub const WORK: [Part; 4] = [Part::Model, Part::Variant, Part::Mode, Part::InputShape];

/// A batch size is at the knee when it reaches this share of the best throughput.
pub const KNEE: f64 = 0.9;

/// How throughput grows with the batch size.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling {
    /// The configuration without its batch size.
    pub identity: Identity,
    /// Batch sizes with their samples per second, ascending.
    pub points: Vec<(u32, f64)>,
    /// Highest samples per second.
    pub best_throughput: f64,
    /// The batch size that reaches it.
    pub best_batch: u32,
    /// The smallest batch size with [`KNEE`] of it: larger ones cost memory and latency for little.
    pub knee_batch: u32,
    /// Throughput at the best batch over the smallest batch's, divided by the ratio of the batch sizes: 1 is linear.
    pub efficiency: f64,
}

/// The scaling of every configuration that was measured at two batch sizes or more.
pub fn scaling(facts: &[Facts]) -> Vec<Scaling> {
    let others: Vec<Part> = Part::all().iter().copied().filter(|part| *part != Part::BatchSize).collect();
    let mut groups: BTreeMap<Identity, BTreeMap<u32, f64>> = BTreeMap::new();
    for fact in facts {
        if let (Ok(batch), Some(rate)) = (fact.identity.get(Part::BatchSize).parse(), fact.throughput()) {
            groups.entry(fact.identity.only(&others)).or_default().insert(batch, rate);
        }
    }
    groups
        .into_iter()
        .filter(|(_, points)| points.len() > 1)
        .filter_map(|(identity, points)| {
            let points: Vec<(u32, f64)> = points.into_iter().collect();
            let (smallest, base) = *points.first()?;
            let (best_batch, best_throughput) =
                points.iter().copied().reduce(|best, point| if point.1 > best.1 { point } else { best })?;
            let (knee_batch, _) = *points.iter().find(|(_, rate)| *rate >= KNEE * best_throughput)?;
            let ratio_of_batches = f64::from(best_batch) / f64::from(smallest);
            Some(Scaling {
                identity,
                best_throughput,
                best_batch,
                knee_batch,
                efficiency: best_throughput / base / ratio_of_batches,
                points,
            })
        })
        .collect()
}

/// A training step beside the inference of the same batch.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingInference {
    /// What both have in common.
    pub identity: Identity,
    /// Which of the facts is the inference.
    pub inference: usize,
    /// Which of the facts is the training.
    pub training: usize,
    /// Time of a step over time of a forward pass.
    pub time_ratio: Option<f64>,
    /// Peak memory of training over that of inference, where the same one is known of both: on the device, or of the
    /// process.
    pub memory_ratio: Option<f64>,
}

/// Pairs every training configuration with the inference that differs from it in nothing but the mode and the
/// parameters of training; the fastest where there are several. Profiles are paired with profiles.
pub fn training_vs_inference(facts: &[Facts]) -> Vec<TrainingInference> {
    let shared: Vec<Part> =
        Part::all().iter().copied().filter(|part| !matches!(part, Part::Mode | Part::Parameters)).collect();
    let key = |fact: &Facts| (fact.identity.only(&shared), fact.identity.is_profile());
    let mut inferences: BTreeMap<(Identity, bool), usize> = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate().filter(|(_, fact)| fact.identity.get(Part::Mode) == "inference") {
        let best = inferences.entry(key(fact)).or_insert(index);
        if fact.cost() < facts[*best].cost() {
            *best = index;
        }
    }
    let training = facts.iter().enumerate().filter(|(_, fact)| fact.identity.get(Part::Mode) == "training");
    training
        .filter_map(|(training, step)| {
            let key = key(step);
            let inference = *inferences.get(&key)?;
            let pass = &facts[inference];
            Some(TrainingInference {
                time_ratio: step.latency_ms().zip(pass.latency_ms()).map(|(step, pass)| step / pass),
                memory_ratio: step
                    .memory_of_both(pass)
                    .and_then(|metric| Some(step.median(metric)? / pass.median(metric)?)),
                identity: key.0,
                inference,
                training,
            })
        })
        .collect()
}

/// What a ranking is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Criterion {
    /// Least time of a batch.
    Fastest,
    /// Most samples per second.
    HighestThroughput,
    /// Least peak memory.
    LeastMemory,
    /// Least energy of a sample.
    LeastEnergy,
}

impl Criterion {
    const ALL: [Self; 4] = [Self::Fastest, Self::HighestThroughput, Self::LeastMemory, Self::LeastEnergy];

    /// In words, with the unit.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fastest => "fastest (ms)",
            Self::HighestThroughput => "highest throughput (samples/s)",
            Self::LeastMemory => "least memory (MB)",
            Self::LeastEnergy => "least energy (J/sample)",
        }
    }

    fn value(self, fact: &Facts) -> Option<f64> {
        match self {
            Self::Fastest => fact.latency_ms(),
            Self::HighestThroughput => fact.throughput(),
            Self::LeastMemory => fact.memory_mb(),
            Self::LeastEnergy => fact.energy_j(),
        }
    }
}

/// One place of a ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Model, variant, mode and input shape.
    pub identity: Identity,
    /// The kind of the work where a mode has several.
    pub work: String,
    /// What the ranking is by.
    pub criterion: Criterion,
    /// From 1.
    pub place: usize,
    /// Which of the facts.
    pub index: usize,
    /// The number that it is ranked by.
    pub value: f64,
}

/// The first `places` of each model, mode and input shape by each criterion. Software that pretends to be a device is
/// ranked only if it is asked for.
pub fn rankings(facts: &[Facts], places: usize, include_software: bool) -> Vec<Place> {
    let mut groups: BTreeMap<(Identity, String), Vec<usize>> = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate().filter(|(_, fact)| include_software || !fact.software) {
        let group = fact.identity.only(&WORK);
        groups.entry((group, fact.identity.work())).or_default().push(index);
    }
    let mut ranked = Vec::new();
    for ((identity, work), indices) in groups {
        for criterion in Criterion::ALL {
            let mut values: Vec<(usize, f64)> =
                indices.iter().filter_map(|&index| Some((index, criterion.value(&facts[index])?))).collect();
            let sign = if criterion == Criterion::HighestThroughput { -1.0 } else { 1.0 };
            values.sort_by(|left, right| (sign * left.1).total_cmp(&(sign * right.1)));
            ranked.extend(values.into_iter().take(places).enumerate().map(|(place, (index, value))| Place {
                identity: identity.clone(),
                work: work.clone(),
                criterion,
                place: place + 1,
                index,
                value,
            }));
        }
    }
    ranked
}

#[cfg(test)]
mod tests {
    use super::super::facts::Iterations;
    use super::super::samples::{Sample, facts_of};
    use super::*;

    fn at_batch(batch: &str, rate: f64) -> Sample {
        Sample::new("m").with(Part::BatchSize, batch).run(&[("throughput_samples_per_second", rate)])
    }

    #[test]
    fn the_knee_is_where_more_brings_little() {
        let facts = facts_of(
            vec![at_batch("1", 100.0), at_batch("16", 950.0), at_batch("4", 380.0), at_batch("64", 1000.0)],
            &Iterations::new(),
        );
        let found = scaling(&facts);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].best_batch, found[0].knee_batch), (64, 16));
        // Ten times the throughput with 64 times the batch.
        assert!((found[0].efficiency - 10.0 / 64.0).abs() < 1e-12);
        assert_eq!(found[0].points.iter().map(|point| point.0).collect::<Vec<_>>(), [1, 4, 16, 64]);
    }

    #[test]
    fn one_batch_size_does_not_scale() {
        assert!(scaling(&facts_of(vec![at_batch("1", 100.0)], &Iterations::new())).is_empty());
    }

    #[test]
    fn a_training_step_is_put_beside_its_inference() {
        let step = |latency: f64| {
            Sample::new("m")
                .with(Part::Mode, "training")
                .with(Part::Parameters, "{\"optimizer\":\"adam\"}")
                .run(&[("latency_p50_ms", latency), ("memory_host_peak_mb", 300.0)])
        };
        let pass = Sample::new("m").run(&[("latency_p50_ms", 10.0), ("memory_host_peak_mb", 100.0)]);
        let facts = facts_of(vec![pass, step(35.0), Sample::new("other").latencies(&[1.0])], &Iterations::new());
        let pairs = training_vs_inference(&facts);
        assert_eq!(pairs.len(), 1);
        assert!((pairs[0].time_ratio.unwrap() - 3.5).abs() < 1e-12);
        assert!((pairs[0].memory_ratio.unwrap() - 3.0).abs() < 1e-12);
    }

    #[test]
    fn memory_of_a_device_is_not_divided_by_memory_of_a_process() {
        let of = |mode: &str, memory: &[(&'static str, f64)]| Sample::new("m").with(Part::Mode, mode).run(memory);
        let ratio = |training: &[(&'static str, f64)], inference: &[(&'static str, f64)]| {
            let samples = vec![of("inference", inference), of("training", training)];
            training_vs_inference(&facts_of(samples, &Iterations::new()))[0].memory_ratio
        };
        let (device, host) = ("memory_device_peak_mb", "memory_host_peak_mb");
        assert_eq!(ratio(&[(device, 900.0)], &[(host, 100.0)]), None);
        assert_eq!(ratio(&[(device, 900.0), (host, 200.0)], &[(host, 100.0)]), Some(2.0));
        assert_eq!(ratio(&[(device, 900.0), (host, 200.0)], &[(device, 300.0), (host, 1.0)]), Some(3.0));
    }

    #[test]
    fn a_profile_is_no_partner_of_a_plain_step_and_has_a_ranking_of_its_own() {
        let profile = || Sample::new("m").with(Part::Parameters, "{\"profile\":\"operators\"}");
        let step = Sample::new("m").with(Part::Mode, "training").with(Part::Parameters, "{\"optimizer\":\"adam\"}");
        let facts = facts_of(vec![profile().latencies(&[5.0]), step.latencies(&[35.0])], &Iterations::new());
        assert!(training_vs_inference(&facts).is_empty());
        let facts =
            facts_of(vec![profile().latencies(&[5.0]), Sample::new("m").latencies(&[10.0])], &Iterations::new());
        let first = |work: &str| rankings(&facts, 1, false).into_iter().find(|place| place.work == work).unwrap().index;
        assert_eq!((first(""), first("profile=operators")), (1, 0));
    }

    #[test]
    fn rankings_are_by_each_criterion_and_leave_software_out() {
        let facts = facts_of(
            vec![
                Sample::new("m").latencies(&[10.0]),
                Sample::new("m").with(Part::Engine, "fast").latencies(&[5.0]),
                Sample::new("m").with(Part::Engine, "pretended").software().latencies(&[1.0]),
            ],
            &Iterations::new(),
        );
        let ranked = rankings(&facts, 1, false);
        let winners: Vec<(Criterion, usize)> = ranked.iter().map(|place| (place.criterion, place.index)).collect();
        assert_eq!(winners, [(Criterion::Fastest, 1), (Criterion::HighestThroughput, 1)]);
    }
}
