//! What the score loses when a window of the input is covered.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::super::baseline::Baseline;
use super::super::error::ExplainError;
use super::super::method::{Method, Relevance};
use super::super::subject::Subject;
use super::named;

/// A window slides over the input, in its place a baseline; every feature gets the mean loss of score over all windows that
/// covered it (Zeiler and Fergus 2014; `Occlusion` of Captum). The last window of a row is cut at the border.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Occlusion {
    /// Its extents: channels, height and width of a picture, bins and frames of a spectrogram, tokens of a text. If they
    /// are not given: one token, or all of the first dimension and a quarter of the others.
    pub window: Option<Vec<usize>>,
    /// How far it moves, by as many extents; half of a window that is not given, rounded up.
    pub stride: Option<Vec<usize>>,
    /// What covers.
    pub baseline: Baseline,
}

/// Dimensions of an input as windows see it; those that it lacks are 1.
const DIMENSIONS: usize = 3;

/// A window: the extents that it covers.
type Window = [Range<usize>; DIMENSIONS];

/// All windows over an input.
struct Windows {
    shape: [usize; DIMENSIONS],
    windows: Vec<Window>,
}

impl Occlusion {
    fn refused(&self, reason: String) -> ExplainError {
        ExplainError::Parameters { method: self.name(), reason }
    }

    fn windows(&self, subject: &Subject<'_>) -> Result<Windows, ExplainError> {
        // What is covered of a word is the whole word.
        let free = if subject.is_text() { &subject.shape()[..1] } else { subject.shape() };
        let window = match &self.window {
            Some(window) => window.clone(),
            None if subject.is_text() => vec![1],
            None => free
                .iter()
                .enumerate()
                .map(|(axis, &extent)| if axis == 0 { extent } else { extent.div_ceil(4) })
                .collect(),
        };
        let stride = match (&self.stride, &self.window) {
            (Some(stride), _) => stride.clone(),
            (None, Some(_)) => window.clone(),
            (None, None) => window.iter().map(|&extent| extent.div_ceil(2)).collect(),
        };
        if window.len() != free.len() || stride.len() != free.len() {
            let expected = free.len();
            return Err(self.refused(format!("window and stride need {expected} extents for an input of {free:?}")));
        }
        let mut starts = Vec::with_capacity(free.len());
        for ((&extent, &window), &stride) in free.iter().zip(&window).zip(&stride) {
            if window == 0 || stride == 0 || window > extent {
                return Err(
                    self.refused(format!("a window of {window} with stride {stride} does not fit into {extent}"))
                );
            }
            if stride > window && window < extent {
                return Err(self.refused(format!("a stride of {stride} leaves gaps between windows of {window}")));
            }
            let count = (extent - window).div_ceil(stride) + 1;
            starts.push(
                (0..count).map(|place| place * stride..(place * stride + window).min(extent)).collect::<Vec<_>>(),
            );
        }
        let mut shape = [1; DIMENSIONS];
        for (axis, &extent) in subject.shape().iter().enumerate() {
            shape[axis] = extent;
            if axis >= starts.len() {
                starts.push(std::iter::once(0..extent).collect());
            }
        }
        starts.resize_with(DIMENSIONS, || std::iter::once(0..1).collect());
        let mut windows = Vec::new();
        for first in &starts[0] {
            for second in &starts[1] {
                windows.extend(starts[2].iter().map(|third| [first.clone(), second.clone(), third.clone()]));
            }
        }
        Ok(Windows { shape, windows })
    }
}

impl Windows {
    /// Spreads the loss `[sample][window]` over the features that each window covered, and divides by how many did.
    fn spread(&self, losses: &[f32], samples: usize) -> Vec<f32> {
        let [first, second, third] = self.shape;
        let features = first * second * third;
        let mut sums = vec![0.0_f64; samples * features];
        let mut counts = vec![0_u32; features];
        for (number, [a, b, c]) in self.windows.iter().enumerate() {
            for row in a.clone().flat_map(|a| b.clone().map(move |b| (a * second + b) * third)) {
                for feature in row + c.start..row + c.end {
                    counts[feature] += 1;
                    for sample in 0..samples {
                        sums[sample * features + feature] += f64::from(losses[sample * self.windows.len() + number]);
                    }
                }
            }
        }
        let mean = |(place, sum): (usize, &f64)| (sum / f64::from(counts[place % features].max(1))) as f32;
        sums.iter().enumerate().map(mean).collect()
    }
}

impl Method for Occlusion {
    named!("occlusion");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        let windows = self.windows(subject)?;
        let baselines = subject.baselines(self.baseline)?;
        if baselines.dims()[0] != 1 {
            return Err(self.refused("one baseline covers, not several".to_owned()));
        }
        let [first, second, third] = windows.shape;
        let cover = baselines.reshape([1, first, second, third]);
        let (samples, features) = (subject.samples(), subject.features());
        let input = subject.input();
        // Sample by sample, row 0 the sample as it is.
        let per_sample = windows.windows.len() + 1;
        let mut scores: Vec<f32> = Vec::with_capacity(samples * per_sample);
        let rows: Vec<usize> = (0..samples * per_sample).collect();
        for chunk in rows.chunks(subject.inner_batch()) {
            let covered = chunk.iter().map(|&row| {
                let sample = input.clone().narrow(0, row / per_sample, 1);
                let Some(window) = (row % per_sample).checked_sub(1).map(|number| &windows.windows[number]) else {
                    return sample;
                };
                let [a, b, c] = window.clone();
                let place = [0..1, a, b, c];
                let patch = cover.clone().slice(place.clone());
                sample.reshape([1, first, second, third]).slice_assign(place, patch).reshape([1, features])
            });
            let of: Vec<usize> = chunk.iter().map(|&row| row / per_sample).collect();
            let found = subject.scores(Tensor::cat(covered.collect(), 0), &of)?;
            let found = found.try_to_vec_as::<f32>();
            scores.extend(found.map_err(|source| ExplainError::Read { source: Box::new(source) })?);
        }
        let losses: Vec<f32> =
            scores.chunks(per_sample).flat_map(|scores| scores[1..].iter().map(|score| scores[0] - score)).collect();
        let values = windows.spread(&losses, samples);
        if subject.is_text() {
            // A window covers whole words: all numbers of a word's vector share its loss.
            let (tokens, width) = (first, second);
            let words: Vec<f32> = values.iter().step_by(width).copied().collect();
            let words = Tensor::from_data(TensorData::new(words, [samples, tokens]), subject.device());
            return Ok(Relevance::Map(words, vec![tokens]));
        }
        Ok(Relevance::Features(Tensor::from_data(TensorData::new(values, [samples, features]), subject.device())))
    }
}
