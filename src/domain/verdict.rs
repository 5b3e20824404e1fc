//! What was concluded of a series, and on what evidence.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::label::display_as_label;
use super::series::Identity;

/// What was concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Verdict {
    /// Worse by the threshold or more, and the evidence says that it is no chance.
    Regressed,
    /// Worse by the threshold or more, but it may be chance.
    Suspect,
    /// Better by the threshold or more, and the evidence says that it is no chance.
    Improved,
    /// The data cannot tell.
    Inconclusive,
    /// The change is within the threshold.
    Unchanged,
    /// The baseline does not have it.
    New,
    /// The candidate does not have it.
    Missing,
    /// A side has runs, but none whose numbers count.
    Invalid,
    /// The two sides are different work.
    Incomparable,
}

impl Verdict {
    /// Whether two numbers were compared at all.
    pub fn is_judged(self) -> bool {
        matches!(self, Self::Regressed | Self::Suspect | Self::Improved | Self::Inconclusive | Self::Unchanged)
    }
}

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Evidence {
    /// An exact test of the run medians of both sides.
    TwoSamples,
    /// New runs against the prediction interval of many older ones.
    Prediction,
    /// Nothing but the threshold: too few runs for a test.
    ThresholdOnly,
    /// Steps and drifts in the sequence of runs.
    ChangePoints,
}

display_as_label!(Verdict, Evidence);

/// One side of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    /// Valid runs in which the metric was measured.
    pub runs: usize,
    /// The median of the run medians, in the metric's unit.
    pub median: Option<f64>,
}

/// A part of the environment that differs between the sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// What differs: `driver_version`.
    pub what: String,
    /// What the baseline has.
    pub baseline: String,
    /// What the candidate has.
    pub candidate: String,
}

/// One metric of one series, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// The parts by which the sides were matched.
    pub identity: Identity,
    /// The configuration in the database.
    #[serde(skip)]
    pub configuration_id: Option<i64>,
    /// The oldest run of the candidate.
    pub first_candidate_run: Option<i64>,
    /// The metric.
    pub metric: String,
    /// What was concluded.
    pub verdict: Verdict,
    /// On what evidence; none where nothing was compared.
    pub evidence: Option<Evidence>,
    /// What was there before.
    pub baseline: Side,
    /// What is there now.
    pub candidate: Side,
    /// ln(candidate cost / baseline cost), or with `absolute` the change for the worse itself; positive is worse.
    pub effect: Option<f64>,
    /// Whether effects are absolute: proportions and temperatures have no ratios that mean anything.
    pub absolute: bool,
    /// Lower end of the effect's 95 % interval.
    pub effect_low: Option<f64>,
    /// Upper end of it.
    pub effect_high: Option<f64>,
    /// Probability of so much evidence or more if nothing had changed.
    pub p_value: Option<f64>,
    /// The same after Benjamini and Hochberg, over every series that was judged on this metric.
    pub q_value: Option<f64>,
    /// The smallest effect that these data would have found with probability 0.8; never below the threshold.
    pub smallest_effect: Option<f64>,
    /// How many runs more, on each side, would decide; for suspect and inconclusive verdicts.
    pub more_runs: Option<u64>,
    /// Whether the change is past the threshold, but below the metric's absolute floor.
    pub below_floor: bool,
    /// Whether the baseline had runs that count, and all runs of the candidate broke.
    pub broken: bool,
    /// What has to be said besides: why nothing was compared, which number stood in.
    pub notes: Vec<String>,
    /// What differs between the environments of the sides.
    pub differences: Vec<Difference>,
    /// The medians of the newest runs of both sides, oldest first, in the metric's unit: the course at a glance.
    #[serde(skip)]
    pub recent: Vec<f64>,
}

/// So many runs of a course are kept.
const RECENT: usize = 24;

/// The newest of these values, which are in order of time.
pub fn newest(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let all: Vec<f64> = values.collect();
    all[all.len().saturating_sub(RECENT)..].to_vec()
}

/// All verdicts of one question, with what has to be said about them as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictReport {
    /// What the candidate was.
    pub candidate: String,
    /// What it was held against.
    pub against: String,
    /// The threshold: 0.1 is ten per cent.
    pub alert: f64,
    /// The parts of a configuration by which the sides were matched.
    pub matched_on: Vec<super::Part>,
    /// The judgements, the worst first.
    pub verdicts: Vec<Judgement>,
    /// Judgements that rest on a test or a prediction interval.
    pub tested: usize,
    /// Judgements that rest on the threshold alone.
    pub by_threshold: usize,
    /// Regressions that chance alone would bring among the tested, at most, if nothing had changed; not known where q
    /// values decide.
    pub expected_false_alarms: Option<f64>,
    /// Series whose newest runs begin with a change that was accepted: there is nothing before them.
    pub accepted: usize,
    /// Rows of the baseline's file that were refused.
    pub refused_rows: usize,
    /// What has to be said besides.
    pub notes: Vec<String>,
}

impl VerdictReport {
    /// How many judgements ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.iter().filter(|judgement| judgement.verdict == verdict).count()
    }

    /// How many judgements compared two numbers.
    pub fn judged(&self) -> usize {
        self.verdicts.iter().filter(|judgement| judgement.is_judged()).count()
    }

    /// How many series broke.
    pub fn broken(&self) -> usize {
        self.verdicts.iter().filter(|judgement| judgement.broken).count()
    }

    /// `2 regressed, 1 suspect, 40 unchanged`.
    pub fn counts(&self) -> String {
        let counted = Verdict::value_variants().iter().filter_map(|verdict| {
            let count = self.count(*verdict);
            (count > 0).then(|| format!("{count} {verdict}"))
        });
        let counts = counted.collect::<Vec<_>>().join(", ");
        if counts.is_empty() { "nothing to judge".to_owned() } else { counts }
    }
}

impl Judgement {
    /// Whether numbers were compared.
    pub fn is_judged(&self) -> bool {
        self.verdict.is_judged() && self.evidence.is_some()
    }
}

/// The relative change of the cost that an effect on the logarithmic scale stands for: 0.0953 is +10 %.
pub fn relative_change(effect: f64) -> f64 {
    effect.exp_m1()
}
