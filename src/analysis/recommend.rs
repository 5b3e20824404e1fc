//! Recommendations: the best device, engine, precision and batch size for a model, by one objective under constraints.

use std::collections::BTreeMap;

use clap::ValueEnum;

use super::facts::{Facts, IntervalOf, Spread};
use super::prices::{Price, cost_per_million, find_price};
use super::scaling::WORK;
use crate::domain::label::display_as_label;
use crate::domain::metric::PEAK_MEMORY;
use crate::domain::{Configuration, DeviceKind, Forecast, Identity, Part, Prediction};

mod ranking;

/// What is to be best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Objective {
    /// Most samples per second.
    #[default]
    Throughput,
    /// Most generated tokens per second.
    Tokens,
    /// Least time of a batch.
    Latency,
    /// Least peak memory.
    Memory,
    /// Least energy of a sample.
    Energy,
    /// Least money for a million samples.
    Cost,
}

display_as_label!(Objective);

impl Objective {
    /// The unit of its numbers.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "samples/s",
            Self::Tokens => "tokens/s",
            Self::Latency => "ms",
            Self::Memory => "MB",
            Self::Energy => "J/sample",
            Self::Cost => "USD/million samples",
        }
    }

    fn larger_is_better(self) -> bool {
        matches!(self, Self::Throughput | Self::Tokens)
    }
}

/// From so many runs on their range is as good as an interval: five cover the median with 94 %.
const ENOUGH_RUNS: usize = 5;

/// Where the numbers of a candidate come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Measured, in so many runs.
    Measured {
        /// Valid runs.
        runs: usize,
    },
    /// Forecast, with how far that can be trusted.
    Predicted {
        /// The confidence tier.
        tier: String,
    },
}

impl Source {
    /// `measured`, or `predicted (tier)`.
    pub fn name(&self) -> String {
        match self {
            Self::Measured { .. } => "measured".to_owned(),
            Self::Predicted { tier } => format!("predicted ({tier})"),
        }
    }
}

/// A way to run a model, in numbers. What is not known is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What it is.
    pub identity: Identity,
    /// Whether software pretends to be the device.
    pub software: bool,
    /// Where the numbers come from.
    pub source: Source,
    /// The newest run behind it.
    pub run_id: Option<i64>,
    /// Samples per second, and the interval.
    pub throughput: Option<Estimate>,
    /// Generated tokens per second.
    pub tokens: Option<Estimate>,
    /// Time of a batch in ms.
    pub latency_ms: Option<Estimate>,
    /// Peak memory in MB.
    pub memory_mb: Option<Estimate>,
    /// Energy of a sample in J.
    pub energy_j: Option<Estimate>,
    /// Peak power in W, the mean where no peak is known.
    pub power_w: Option<f64>,
    /// Top-1 accuracy.
    pub accuracy: Option<f64>,
    /// US dollars for a million samples.
    pub cost_usd: Option<Estimate>,
    /// Why it has no numbers, where it has none.
    pub failure: Option<String>,
}

/// A number, and between what it may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its interval, where runs or samples give one.
    pub interval: Option<(f64, f64)>,
    /// How much the interval knows of how runs differ.
    pub knows: Knows,
}

/// How much an interval knows of how runs differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Knows {
    /// It is of five runs or more.
    #[default]
    Runs,
    /// It is the range of two to four runs.
    FewRuns,
    /// It is of the samples of one run.
    OneRun,
}

impl Knows {
    fn of(facts: &Facts) -> Self {
        match facts.spread {
            Some(Spread { of: IntervalOf::Samples, .. }) => Self::OneRun,
            _ if facts.runs < ENOUGH_RUNS => Self::FewRuns,
            _ => Self::Runs,
        }
    }
}

impl Candidate {
    /// What was measured of a configuration.
    pub fn measured(facts: &Facts, prices: &[Price]) -> Self {
        let knows = Knows::of(facts);
        let latency = facts.latency_ms().map(|value| Estimate {
            value,
            interval: facts.spread.map(|spread| (spread.low, spread.high)),
            knows,
        });
        let throughput = facts.throughput().map(|value| Estimate {
            value,
            interval: facts.throughput_spread().map(|spread| (spread.low, spread.high)),
            knows,
        });
        let price = find_price(prices, facts.identity.get(Part::Device));
        let cost = throughput.zip(price).map(|(rate, price)| Estimate {
            value: cost_per_million(price.usd_per_hour, rate.value),
            interval: rate.interval.map(|(low, high)| {
                (cost_per_million(price.usd_per_hour, high), cost_per_million(price.usd_per_hour, low))
            }),
            knows,
        });
        let over_runs = |names: &[&str]| {
            let name = names.iter().find(|name| facts.median(name).is_some())?;
            Some(Estimate { value: facts.median(name)?, interval: facts.range(name), knows })
        };
        Self {
            identity: facts.identity.clone(),
            software: facts.software,
            source: Source::Measured { runs: facts.runs },
            run_id: facts.newest_run,
            throughput,
            tokens: over_runs(&["throughput_tokens_per_second"]),
            latency_ms: latency,
            memory_mb: over_runs(&PEAK_MEMORY),
            energy_j: over_runs(&["energy_per_sample_j"]),
            power_w: facts.median("power_peak_w").or(facts.median("power_mean_w")),
            accuracy: facts.median("accuracy_top1"),
            cost_usd: cost,
            failure: None,
        }
    }

    /// What is forecast of a configuration; the intervals are those of nine cases in ten.
    pub fn predicted(forecast: &Forecast, prices: &[Price]) -> Self {
        let subject = &forecast.subject;
        let configuration = Configuration {
            model: subject.model.clone(),
            variant: subject.variant.clone(),
            platform: subject.platform,
            device: subject.device.clone(),
            engine: subject.engine.clone(),
            precision: subject.precision,
            mode: subject.mode,
            batch_size: subject.batch_size,
            input_shape: subject.input_shape.clone(),
            threads: subject.threads,
            parameters: subject.parameters.clone(),
        };
        let estimate =
            |number: Prediction| Estimate { value: number.median, interval: Some(number.ninety), knows: Knows::Runs };
        let identity = Identity::of(&configuration);
        let price = find_price(prices, identity.get(Part::Device));
        let throughput = forecast.throughput;
        let cost = price.map(|price| Estimate {
            value: cost_per_million(price.usd_per_hour, throughput.median),
            interval: Some((
                cost_per_million(price.usd_per_hour, throughput.ninety.1),
                cost_per_million(price.usd_per_hour, throughput.ninety.0),
            )),
            knows: Knows::Runs,
        });
        let on_host = subject.device.kind == DeviceKind::Cpu;
        let memory = if on_host { forecast.host_memory_mb } else { forecast.device_memory_mb };
        Self {
            software: subject.device.software,
            source: Source::Predicted { tier: forecast.tier.to_string() },
            throughput: Some(estimate(throughput)),
            latency_ms: Some(estimate(forecast.latency_ms)),
            memory_mb: memory.map(estimate),
            cost_usd: cost,
            failure: None,
            ..Self::without_numbers(identity, false, String::new())
        }
    }

    /// Whether it is a forecast.
    pub fn is_predicted(&self) -> bool {
        matches!(self.source, Source::Predicted { .. })
    }

    /// A configuration that was tried and has no valid run.
    pub fn without_numbers(identity: Identity, software: bool, failure: String) -> Self {
        Self {
            identity,
            software,
            source: Source::Measured { runs: 0 },
            run_id: None,
            throughput: None,
            tokens: None,
            latency_ms: None,
            memory_mb: None,
            energy_j: None,
            power_w: None,
            accuracy: None,
            cost_usd: None,
            failure: Some(failure),
        }
    }

    /// Its number by an objective.
    pub fn estimate(&self, objective: Objective) -> Option<Estimate> {
        match objective {
            Objective::Throughput => self.throughput,
            Objective::Tokens => self.tokens,
            Objective::Latency => self.latency_ms,
            Objective::Memory => self.memory_mb,
            Objective::Energy => self.energy_j,
            Objective::Cost => self.cost_usd,
        }
    }
}

/// What a recommendation has to keep to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constraints {
    /// Most peak memory in MB.
    pub memory_mb: Option<f64>,
    /// Longest time of a batch in ms.
    pub latency_ms: Option<f64>,
    /// Least top-1 accuracy.
    pub accuracy: Option<f64>,
    /// Most power in W.
    pub power_w: Option<f64>,
    /// Allowed platforms; all where it is empty.
    pub platforms: Vec<String>,
    /// Whether software adapters may be recommended.
    pub include_software: bool,
}

impl Constraints {
    /// Why a candidate does not keep to them, one reason each.
    fn broken_by(&self, candidate: &Candidate) -> Vec<String> {
        let mut reasons: Vec<String> = candidate.failure.iter().cloned().collect();
        if !reasons.is_empty() {
            return reasons;
        }
        if candidate.software && !self.include_software {
            reasons.push("software pretends to be the device".to_owned());
        }
        let platform = candidate.identity.get(Part::Platform);
        if !self.platforms.is_empty() && !self.platforms.iter().any(|allowed| allowed == platform) {
            reasons.push(format!("the platform {platform} was not asked for"));
        }
        // A forecast keeps to a limit if its interval does: nobody wants to run out of memory in two cases of five.
        let most = |estimate: Option<Estimate>| match estimate {
            Some(Estimate { interval: Some((_, high)), .. }) if candidate.is_predicted() => Some(high),
            other => other.map(|estimate| estimate.value),
        };
        let upper = [
            ("peak memory", "MB", most(candidate.memory_mb), self.memory_mb),
            ("latency", "ms", most(candidate.latency_ms), self.latency_ms),
            ("power", "W", candidate.power_w, self.power_w),
        ];
        let is = if candidate.is_predicted() { "may be" } else { "is" };
        for (name, unit, value, limit) in upper {
            match (value, limit) {
                (Some(value), Some(limit)) if value > limit => {
                    reasons.push(format!("{name} {is} {} {unit}, more than {limit} {unit}", short(value)));
                }
                (None, Some(_)) => reasons.push(format!("{name} was not measured")),
                _ => {}
            }
        }
        match (candidate.accuracy, self.accuracy) {
            (Some(value), Some(limit)) if value < limit => {
                reasons.push(format!("accuracy is {}, less than {limit}", short(value)));
            }
            (None, Some(_)) => reasons.push("accuracy was not measured".to_owned()),
            _ => {}
        }
        reasons
    }
}

/// A number with at most four decimals.
fn short(value: f64) -> String {
    ((value * 1e4).round() / 1e4).to_string()
}

/// How sure the first place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// Its interval and that of the second do not overlap.
    Clear,
    /// They do not overlap, but one of them is of a single run.
    ClearWithinRuns,
    /// They do not overlap, but one of them is the range of a few runs.
    ClearByFewRuns,
    /// They overlap.
    Close,
    /// One of them has no interval.
    Unknown,
    /// There is no second.
    Alone,
}

impl Certainty {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear: the intervals of the first two do not overlap",
            Self::ClearWithinRuns => {
                "clear within single runs, whose intervals do not overlap; `--repeat` would tell how runs differ"
            }
            Self::ClearByFewRuns => {
                "clear so far: the ranges of the first two do not overlap, but come from fewer than five runs"
            }
            Self::Close => "close: the intervals of the first two overlap",
            Self::Unknown => "not known: one of the first two has no interval (more runs would give one)",
            Self::Alone => "there is nothing else to choose from",
        }
    }
}

/// The answer for one model, variant, mode and input shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommendation {
    /// Model, variant, mode and input shape.
    pub identity: Identity,
    /// The kind of the work where a mode has several.
    pub work: String,
    /// What may be chosen, the best first: indices of the candidates.
    pub ranked: Vec<usize>,
    /// Those of them that nothing beats in every respect.
    pub pareto: Vec<usize>,
    /// What was ruled out, and why.
    pub ruled_out: Vec<(usize, String)>,
    /// How sure the first place is.
    pub certainty: Certainty,
}

/// One recommendation for each model, variant, mode and input shape, in alphabetical order.
pub fn recommend(candidates: &[Candidate], objective: Objective, constraints: &Constraints) -> Vec<Recommendation> {
    let mut groups: BTreeMap<(Identity, String), Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let group = candidate.identity.only(&WORK);
        groups.entry((group, candidate.identity.work())).or_default().push(index);
    }
    groups
        .into_iter()
        .map(|((identity, work), indices)| {
            let (mut ranked, mut ruled_out) = (Vec::new(), Vec::new());
            for index in indices {
                let candidate = &candidates[index];
                let mut reasons = constraints.broken_by(candidate);
                if reasons.is_empty() && candidate.estimate(objective).is_none() {
                    reasons.push(match objective {
                        Objective::Cost => format!("no price of `{}` is known", candidate.identity.get(Part::Device)),
                        _ => format!("its {objective} was not measured"),
                    });
                }
                if reasons.is_empty() { ranked.push(index) } else { ruled_out.push((index, reasons.join("; "))) }
            }
            let ranked = ranking::best_first(candidates, ranked, objective);
            Recommendation {
                identity,
                work,
                pareto: pareto(candidates, &ranked),
                certainty: certainty(candidates, &ranked, objective),
                ranked,
                ruled_out,
            }
        })
        .collect()
}

fn certainty(candidates: &[Candidate], ranked: &[usize], objective: Objective) -> Certainty {
    let [first, second, ..] = ranked else {
        return Certainty::Alone;
    };
    let [first, second] = [first, second].map(|index| candidates[*index].estimate(objective));
    let (Some(first), Some(second)) = (first, second) else {
        return Certainty::Unknown;
    };
    match (first.interval, second.interval) {
        (Some((low, high)), Some((other_low, other_high))) if high < other_low || other_high < low => {
            match (first.knows, second.knows) {
                (Knows::Runs, Knows::Runs) => Certainty::Clear,
                (Knows::OneRun, _) | (_, Knows::OneRun) => Certainty::ClearWithinRuns,
                _ => Certainty::ClearByFewRuns,
            }
        }
        (Some(_), Some(_)) => Certainty::Close,
        _ => Certainty::Unknown,
    }
}

/// The candidates that no other beats: at least as good by everything that is known of all of them, and better by
/// something.
fn pareto(candidates: &[Candidate], among: &[usize]) -> Vec<usize> {
    const BY: [Objective; 4] = [Objective::Throughput, Objective::Latency, Objective::Memory, Objective::Energy];
    let known: Vec<Objective> = BY
        .into_iter()
        .filter(|objective| among.iter().all(|&index| candidates[index].estimate(*objective).is_some()))
        .collect();
    let cost = |index: usize, objective: Objective| match ranking::cost(&candidates[index], objective) {
        None => f64::INFINITY,
        // A forecast counts as what it may be at worst.
        Some(cost) => {
            if candidates[index].is_predicted() {
                cost.worst
            } else {
                cost.value
            }
        }
    };
    let beats = |one: usize, other: usize| {
        known.iter().all(|by| cost(one, *by) <= cost(other, *by))
            && known.iter().any(|by| cost(one, *by) < cost(other, *by))
    };
    among.iter().copied().filter(|&index| !among.iter().any(|&other| beats(other, index))).collect()
}

#[cfg(test)]
mod tests;
