//! DeepLIFT: contributions to the difference from a baseline (Shrikumar et al., "Learning important features through
//! propagating activation differences", 2017), by the rescale rule, as Captum computes it.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::super::baseline::Baseline;
use super::super::error::ExplainError;
use super::super::method::{Method, Relevance};
use super::super::rows::{Row, baselines_of, samples_of, sums};
use super::super::subject::Subject;
pub use super::deeplift_rules::MaxPoolRule;
use super::deeplift_rules::{Recorder, Reference, Rescale};
use super::named;

/// Its rules stand at the head of its file. With several baselines: the mean over them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepLift {
    /// What the input is compared with.
    pub baseline: Baseline,
    /// What poolings by maxima pass back.
    pub max_pool: MaxPoolRule,
}

/// The mean of DeepLIFT over several baselines, an estimate of Shapley values (Lundberg and Lee, "A unified approach to
/// interpreting model predictions", 2017).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepLiftShap {
    /// What the input is compared with; Captum has no default.
    pub baseline: Baseline,
    /// What poolings by maxima pass back.
    pub max_pool: MaxPoolRule,
}

impl Default for DeepLiftShap {
    fn default() -> Self {
        Self { baseline: Baseline::Noise { scale: 0.5, count: 4, seed: 0 }, max_pool: MaxPoolRule::Winner }
    }
}

/// What the network computes for rows of baselines.
fn references(
    method: &'static str,
    subject: &Subject<'_>,
    max_pool: MaxPoolRule,
    rows: Tensor<2>,
    samples: &[usize],
) -> Result<Rc<Vec<Reference>>, ExplainError> {
    let recorder = Rc::new(RefCell::new(Recorder::new(max_pool)));
    subject.run(recorder.clone(), rows, samples)?;
    let mut recorder = recorder.borrow_mut();
    match recorder.refused {
        Some(reason) => Err(ExplainError::Unsupported { method, reason: reason.to_owned() }),
        None => Ok(Rc::new(std::mem::take(&mut recorder.references))),
    }
}

/// The mean contributions over all baselines, `[samples, features]`.
fn contributions(
    method: &'static str,
    subject: &Subject<'_>,
    baseline: Baseline,
    max_pool: MaxPoolRule,
) -> Result<Tensor<2>, ExplainError> {
    let baselines = subject.baselines(baseline)?;
    let [count, _] = baselines.dims();
    let weight = 1.0 / count as f64;
    let rows: Vec<Row> = subject
        .every_sample()
        .into_iter()
        .flat_map(|sample| (0..count).map(move |baseline| Row { sample, weight, position: 1.0, baseline, draw: 0 }))
        .collect();
    // Where the network reads nothing else, baselines are the same for all samples.
    let shared = if subject.has_other_inputs() {
        None
    } else {
        Some(references(method, subject, max_pool, baselines.clone(), &vec![0; count])?)
    };
    let mean = sums(subject, &rows, |chunk| {
        let samples = samples_of(chunk);
        let from = baselines_of(subject, &baselines, chunk);
        let to = subject.input_of(&samples);
        let rescale = match &shared {
            Some(references) => {
                let places: Vec<usize> = chunk.iter().map(|row| row.baseline).collect();
                Rescale::new(max_pool, references.clone(), (count > 1).then(|| subject.index(&places)))
            }
            None => {
                let rows = from.clone().expand([chunk.len(), subject.features()]);
                Rescale::new(max_pool, references(method, subject, max_pool, rows, &samples)?, None)
            }
        };
        let multipliers = subject.gradients(method, Rc::new(RefCell::new(rescale)), to.clone(), &samples)?;
        Ok(multipliers * (to - from))
    })?;
    Ok(mean)
}

impl Method for DeepLift {
    named!("deeplift");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        Ok(Relevance::Features(contributions(self.name(), subject, self.baseline, self.max_pool)?))
    }
}

impl Method for DeepLiftShap {
    named!("deeplift_shap");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        Ok(Relevance::Features(contributions(self.name(), subject, self.baseline, self.max_pool)?))
    }
}
