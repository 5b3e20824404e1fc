//! Gradients as they are: at the input, times the input, and averaged over noise.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::super::error::ExplainError;
use super::super::method::{Method, Relevance};
use super::super::noise::{Noise, check_noise};
use super::super::rows::{Row, check_rows, samples_of, sums};
use super::super::subject::{Subject, no_hooks};
use super::named;

/// The gradient of the score (Simonyan et al., "Deep inside convolutional networks", 2014).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Saliency {
    /// Without its sign.
    pub absolute: bool,
}

impl Default for Saliency {
    fn default() -> Self {
        Self { absolute: true }
    }
}

/// The gradient of the score times the input (Shrikumar et al., "Not just a black box", 2016).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputXGradient {}

/// The mean gradient at inputs with normal noise (Smilkov et al., "SmoothGrad", 2017). The defaults are those of Captum's
/// `NoiseTunnel` on `Saliency`; the paper takes 50 draws and a noise of 0.1 to 0.2 times the range of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmoothGrad {
    /// Draws for each sample.
    pub samples: usize,
    /// The noise's standard deviation, in the input's own unit.
    pub noise_std: f64,
    /// Averages gradients without their sign.
    pub absolute: bool,
    /// Of the draws, which are the same for all samples.
    pub seed: u64,
}

impl Default for SmoothGrad {
    fn default() -> Self {
        Self { samples: 5, noise_std: 1.0, absolute: true, seed: 0 }
    }
}

/// The gradients of all samples at their inputs, in passes of the subject's inner batch.
fn at_inputs(method: &'static str, subject: &Subject<'_>) -> Result<Tensor<2>, ExplainError> {
    let samples = subject.every_sample();
    let parts = samples
        .chunks(subject.inner_batch())
        .map(|chunk| subject.gradients(method, no_hooks(), subject.input_of(chunk), chunk))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Tensor::cat(parts, 0))
}

impl Method for Saliency {
    named!("saliency");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        let gradients = at_inputs(self.name(), subject)?;
        Ok(Relevance::Features(if self.absolute { gradients.abs() } else { gradients }))
    }
}

impl Method for InputXGradient {
    named!("input_x_gradient");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        Ok(Relevance::Features(subject.input() * at_inputs(self.name(), subject)?))
    }
}

impl Method for SmoothGrad {
    named!("smooth_grad");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        check_rows(self.name(), "samples", self.samples)?;
        check_noise(self.name(), self.noise_std)?;
        let weight = 1.0 / self.samples as f64;
        let rows: Vec<Row> = subject
            .every_sample()
            .into_iter()
            .flat_map(|sample| {
                (0..self.samples).map(move |draw| Row { sample, weight, position: 1.0, baseline: 0, draw })
            })
            .collect();
        let noise = Noise::new(self.seed);
        let mean = sums(subject, &rows, |chunk| {
            let samples = samples_of(chunk);
            let noise = noise.normal(chunk, subject.features(), self.noise_std, subject.device());
            let points = subject.input_of(&samples) + noise;
            let gradients = subject.gradients(self.name(), no_hooks(), points, &samples)?;
            Ok(if self.absolute { gradients.abs() } else { gradients })
        })?;
        Ok(Relevance::Features(mean))
    }
}
