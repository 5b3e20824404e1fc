//! How good forecasts are: cross-validation by pair, by family, by device and at random, against the plain baselines.

use std::collections::{BTreeMap, BTreeSet};

use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::PredictError;
use super::baselines::{Answerer, Baselines};
use super::devices::DeviceTable;
use super::forecaster::{FitOptions, Forecaster, folds_of, pair_key};
use super::transfer::{device_key, model_key};
use crate::domain::{Device, Example, Subject};

/// How rows are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// All runs of a model and shape on a device; five folds over the pairs.
    Pair,
    /// All runs of a family; eight folds over the leading words of models' names.
    Family,
    /// All runs of a device, but for so many anchors drawn at random.
    Device {
        /// Rows of it that are known.
        anchors: usize,
    },
    /// All but so many rows drawn at random.
    Own {
        /// Rows that are known.
        rows: usize,
    },
}

impl Protocol {
    /// For tables.
    pub fn name(self) -> String {
        match self {
            Self::Pair => "pair".to_owned(),
            Self::Family => "family".to_owned(),
            Self::Device { anchors: 0 } => "device".to_owned(),
            Self::Device { anchors } => format!("device, {anchors} anchors"),
            Self::Own { rows } => format!("own {rows} rows"),
        }
    }
}

/// One hidden row and what was said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The row: its place in the examples.
    pub row: usize,
    /// Its device.
    pub device: String,
    /// Samples per second.
    pub truth: f64,
    /// What each of [`Answerer::ALL`] said.
    pub answers: [Option<f64>; 4],
    /// The learned model's intervals.
    pub half: Option<(f64, f64)>,
    /// Nine tenths.
    pub ninety: Option<(f64, f64)>,
}

/// How good one answerer was in one protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// How rows were hidden.
    pub protocol: Protocol,
    /// What answered.
    pub answerer: Answerer,
    /// Hidden rows that it answered.
    pub rows: usize,
    /// Median absolute percentage error of samples per second.
    pub median_error_percent: f64,
    /// Share within 20 %.
    pub within_20_percent: f64,
    /// Share of the 50 % intervals that hold the truth; learned model only.
    pub coverage_50: Option<f64>,
    /// Share of the 90 % intervals.
    pub coverage_90: Option<f64>,
    /// That share on the device where it is smallest.
    pub worst_device_coverage_90: Option<f64>,
    /// What is lost by taking the device that is forecast best for each model, in percent of throughput (pair only).
    pub regret_percent: Option<f64>,
}

fn interval_holds(interval: Option<(f64, f64)>, truth: f64) -> bool {
    interval.is_some_and(|(low, high)| (low..=high).contains(&truth))
}

/// Fits on what is not hidden and asks for what is.
///
/// # Errors
/// What fitting refuses.
pub fn try_split(
    examples: &[Example],
    hidden: &[usize],
    train: &[usize],
    devices: &DeviceTable,
    options: &FitOptions,
) -> Result<Vec<Trial>, PredictError> {
    let known: Vec<&Example> = train.iter().map(|&row| &examples[row]).collect();
    let forecaster = Forecaster::fit(&known, devices, options)?;
    let baselines = Baselines::new(&known);
    let subjects: Vec<&Subject> = hidden.iter().map(|&row| &examples[row].subject).collect();
    let plain = baselines.predict(&subjects);
    let trials = hidden.par_iter().zip(plain).filter_map(|(&row, [nearest, ratio])| {
        let subject = &examples[row].subject;
        let truth = 1.0 / examples[row].seconds_per_sample()?;
        let forecast = forecaster.forecast(subject, true).ok();
        let rate = |log_seconds: f64| (-log_seconds).exp();
        Some(Trial {
            row,
            device: device_key(subject),
            truth,
            answers: [
                forecast.as_ref().map(|forecast| forecast.throughput.median),
                forecaster.time().roofline(subject).map(rate),
                nearest.map(rate),
                ratio.map(rate),
            ],
            half: forecast.as_ref().map(|forecast| forecast.throughput.half),
            ninety: forecast.as_ref().map(|forecast| forecast.throughput.ninety),
        })
    });
    Ok(trials.collect())
}

/// Rows that are hidden, and those that are known.
pub type Split = (Vec<usize>, Vec<usize>);

/// How a protocol splits the rows. `folds` narrows the folds down to the first ones, for quick looks.
pub fn splits_of(examples: &[Example], protocol: Protocol, seed: u64, folds: usize) -> Vec<Split> {
    let all: Vec<usize> = (0..examples.len()).collect();
    let by_key = |key: &dyn Fn(&Subject) -> String, count: usize| -> Vec<Split> {
        let fold_of = folds_of(examples.iter().map(|example| key(&example.subject)).collect(), count, seed);
        (0..count.min(folds))
            .map(|fold| all.iter().partition(|&&row| fold_of[&key(&examples[row].subject)] == fold))
            .collect()
    };
    match protocol {
        Protocol::Pair => by_key(&pair_key, 5),
        Protocol::Family => by_key(&|subject| subject.leading_word().to_owned(), 8),
        Protocol::Device { anchors } => {
            let mut known: BTreeMap<String, &Device> = BTreeMap::new();
            for example in examples {
                known.insert(device_key(&example.subject), &example.subject.device);
            }
            let several = |device: &Device| known.values().filter(|other| other.kind == device.kind).count() > 1;
            let tested = known.iter().filter(|(_, device)| several(device)).map(|(key, _)| key.clone());
            // Few anchors depend on the draw: it is repeated.
            let draws = if anchors == 0 { 1 } else { folds.min(3) };
            let hide = |device: String| (0..draws).map(move |draw| (device.clone(), draw)).collect::<Vec<_>>();
            tested
                .flat_map(hide)
                .map(|(device, draw)| {
                    let (mut own, mut train): Split =
                        all.iter().partition(|&&row| device_key(&examples[row].subject) == device);
                    fastrand::Rng::with_seed(seed ^ (100 + draw as u64)).shuffle(&mut own);
                    let hidden = own.split_off(anchors.min(own.len()));
                    train.extend(own);
                    (hidden, train)
                })
                .collect()
        }
        Protocol::Own { rows } => (0..folds.min(8))
            .map(|draw| {
                let mut shuffled = all.clone();
                fastrand::Rng::with_seed(seed ^ (200 + draw as u64)).shuffle(&mut shuffled);
                let hidden = shuffled.split_off(rows.min(shuffled.len()));
                (hidden, shuffled)
            })
            .collect(),
    }
}

/// Tries a protocol. `folds` narrows the folds down to the first ones, for quick looks.
///
/// # Errors
/// What fitting refuses in every split.
pub fn try_protocol(
    examples: &[Example],
    protocol: Protocol,
    devices: &DeviceTable,
    options: &FitOptions,
    folds: usize,
) -> Result<Vec<Trial>, PredictError> {
    let (mut trials, mut failure) = (Vec::new(), None);
    for (hidden, train) in splits_of(examples, protocol, options.time.seed, folds) {
        match try_split(examples, &hidden, &train, devices, options) {
            Ok(found) => trials.extend(found),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if trials.is_empty() => Err(error),
        _ => Ok(trials),
    }
}

/// Scores trials.
pub fn score(examples: &[Example], protocol: Protocol, trials: &[Trial]) -> Vec<Score> {
    let mut scores = Vec::new();
    for (place, answerer) in Answerer::ALL.into_iter().enumerate() {
        let errors: Vec<f64> =
            trials.iter().filter_map(|trial| Some((trial.answers[place]? / trial.truth - 1.0).abs())).collect();
        let Some(median) = crate::stats::median(&errors) else { continue };
        let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
        let learned = answerer == Answerer::Learned;
        let covered = |trials: &[&Trial]| {
            share(trials.iter().filter(|trial| interval_holds(trial.ninety, trial.truth)).count(), trials.len())
        };
        let mut by_device: BTreeMap<&str, Vec<&Trial>> = BTreeMap::new();
        for trial in trials {
            by_device.entry(&trial.device).or_default().push(trial);
        }
        let everything: Vec<&Trial> = trials.iter().collect();
        scores.push(Score {
            protocol,
            answerer,
            rows: errors.len(),
            median_error_percent: 100.0 * median,
            within_20_percent: share(errors.iter().filter(|error| **error <= 0.2).count(), errors.len()),
            coverage_50: learned.then(|| {
                share(trials.iter().filter(|trial| interval_holds(trial.half, trial.truth)).count(), trials.len())
            }),
            coverage_90: learned.then(|| covered(&everything)),
            worst_device_coverage_90: if learned {
                by_device.values().map(|trials| covered(trials)).reduce(f64::min)
            } else {
                None
            },
            regret_percent: if protocol == Protocol::Pair { regret(examples, trials, place) } else { None },
        });
    }
    scores
}

/// The mean loss of throughput, in percent, of running each model on the device that is forecast fastest; the best setting of
/// each device counts.
fn regret(examples: &[Example], trials: &[Trial], place: usize) -> Option<f64> {
    let mut models: BTreeMap<String, BTreeMap<&str, (f64, f64)>> = BTreeMap::new();
    for trial in trials {
        let Some(answer) = trial.answers[place] else { continue };
        let devices = models.entry(model_key(&examples[trial.row].subject)).or_default();
        let best = devices.entry(&trial.device).or_insert((0.0, 0.0));
        *best = (best.0.max(answer), best.1.max(trial.truth));
    }
    let losses: Vec<f64> = models
        .values()
        .filter(|devices| devices.len() > 1)
        .filter_map(|devices| {
            let chosen = devices.values().max_by(|one, other| one.0.total_cmp(&other.0))?.1;
            let best = devices.values().map(|(_, truth)| *truth).reduce(f64::max)?;
            Some(100.0 * (1.0 - chosen / best))
        })
        .collect();
    crate::stats::mean(&losses)
}

/// What is best in each protocol: the learned model, unless a plain one errs less.
pub fn verdict(scores: &[Score]) -> Vec<(Protocol, Answerer)> {
    let protocols: BTreeSet<Protocol> = scores.iter().map(|score| score.protocol).collect();
    protocols
        .into_iter()
        .filter_map(|protocol| {
            let of = scores.iter().filter(|score| score.protocol == protocol);
            // An answerer that answers few rows is no replacement.
            let most = of.clone().map(|score| score.rows).max()?;
            let best = of
                .filter(|score| score.rows * 10 >= most * 9)
                .min_by(|one, other| one.median_error_percent.total_cmp(&other.median_error_percent))?;
            Some((protocol, best.answerer))
        })
        .collect()
}
