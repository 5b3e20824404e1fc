//! Gradients along the way from a baseline to the input.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::super::baseline::Baseline;
use super::super::error::ExplainError;
use super::super::method::{Method, Relevance};
use super::super::noise::{Noise, check_noise};
use super::super::quadrature::Quadrature;
use super::super::rows::{Row, baselines_of, check_rows, column, samples_of, sums};
use super::super::subject::{Subject, no_hooks};
use super::named;

/// The integral of the gradient over the straight way from the baseline to the input, times this way (Sundararajan et
/// al., "Axiomatic attribution for deep networks", 2017). With several baselines: the mean over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntegratedGradients {
    /// Where the way begins.
    pub baseline: Baseline,
    /// Places at which the gradient is taken.
    pub steps: usize,
    /// Which places, and how much each counts.
    pub quadrature: Quadrature,
}

impl Default for IntegratedGradients {
    fn default() -> Self {
        Self { baseline: Baseline::Zeros, steps: 50, quadrature: Quadrature::GaussLegendre }
    }
}

/// The mean of the gradient at random places between random baselines and inputs with noise, times their difference
/// (Erion et al., "Improving performance of deep learning models with axiomatic attribution priors and expected
/// gradients", 2021; `GradientShap` of Captum).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradientShap {
    /// Where a way may begin; each draw takes one.
    pub baseline: Baseline,
    /// Draws for each sample.
    pub samples: usize,
    /// The standard deviation of the noise on the input, in the input's own unit.
    pub noise_std: f64,
    /// Takes the places on the way one from each of as many equal parts as there are draws: the same mean with less
    /// noise. Captum draws them all from the whole way.
    pub stratified: bool,
    /// Of the draws, which are the same for all samples.
    pub seed: u64,
}

impl Default for GradientShap {
    fn default() -> Self {
        Self { baseline: Baseline::Zeros, samples: 5, noise_std: 0.0, stratified: false, seed: 0 }
    }
}

impl Method for IntegratedGradients {
    named!("integrated_gradients");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        check_rows(self.name(), "steps", self.steps)?;
        let baselines = subject.baselines(self.baseline)?;
        let [count, _] = baselines.dims();
        let places = self.quadrature.places(self.steps);
        let mut rows = Vec::with_capacity(subject.samples() * count * self.steps);
        for sample in subject.every_sample() {
            for baseline in 0..count {
                rows.extend(places.iter().map(|&(position, weight)| Row {
                    sample,
                    weight: weight / count as f64,
                    position,
                    baseline,
                    draw: 0,
                }));
            }
        }
        let gradients = |chunk: &[Row]| {
            let samples = samples_of(chunk);
            let from = baselines_of(subject, &baselines, chunk);
            let way = subject.input_of(&samples) - from.clone();
            let points = from + way.clone() * column(subject, chunk.iter().map(|row| row.position));
            let gradients = subject.gradients(self.name(), no_hooks(), points, &samples)?;
            // The way is the same for all rows of a sample where there is one baseline.
            Ok(if count == 1 { gradients } else { gradients * way })
        };
        let sum = sums(subject, &rows, gradients)?;
        Ok(Relevance::Features(if count == 1 { sum * (subject.input() - baselines) } else { sum }))
    }
}

impl Method for GradientShap {
    named!("gradient_shap");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        check_rows(self.name(), "samples", self.samples)?;
        check_noise(self.name(), self.noise_std)?;
        let baselines = subject.baselines(self.baseline)?;
        let [count, _] = baselines.dims();
        let noise = Noise::new(self.seed);
        let draws = self.samples as f64;
        let mut rows = Vec::with_capacity(subject.samples() * self.samples);
        for sample in subject.every_sample() {
            for draw in 0..self.samples {
                let (place, baseline) = noise.place(draw, count);
                let position = if self.stratified { (draw as f64 + place) / draws } else { place };
                rows.push(Row { sample, weight: 1.0 / draws, position, baseline, draw });
            }
        }
        let mean = sums(subject, &rows, |chunk| {
            let samples = samples_of(chunk);
            let from = baselines_of(subject, &baselines, chunk);
            let mut to: Tensor<2> = subject.input_of(&samples);
            if self.noise_std > 0.0 {
                to = to + noise.normal(chunk, subject.features(), self.noise_std, subject.device());
            }
            let way = to - from.clone();
            let points = from + way.clone() * column(subject, chunk.iter().map(|row| row.position));
            Ok(subject.gradients(self.name(), no_hooks(), points, &samples)? * way)
        })?;
        Ok(Relevance::Features(mean))
    }
}
