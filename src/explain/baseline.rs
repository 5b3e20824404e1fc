//! What an input is compared with: the absence of what it shows.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::error::ExplainError;
use crate::zoo::rule;

/// The baselines of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Zero everywhere: the mean colour of pictures that are normalised, no sound, no word.
    #[default]
    Zeros,
    /// Uniform noise in `[-scale, scale)`, the same for the same seed on every engine.
    Noise {
        /// How far it goes.
        scale: f32,
        /// How many baselines.
        count: usize,
        /// Which ones.
        #[serde(default)]
        seed: u64,
    },
    /// Those that came with the input, see [`Subject::with_baselines`](super::Subject::with_baselines).
    Given,
}

/// What all baselines together may consist of: 400 MB.
const MOST_NUMBERS: usize = 100_000_000;

impl Baseline {
    /// `[count, features]`.
    ///
    /// # Errors
    ///
    /// None were given where they should be, or none were asked for.
    pub(super) fn rows(
        self,
        features: usize,
        given: Option<&Tensor<2>>,
        device: &Device,
    ) -> Result<Tensor<2>, ExplainError> {
        match self {
            Self::Zeros => Ok(Tensor::zeros([1, features], device)),
            Self::Noise { count: 0, .. } => Err(ExplainError::Baseline { reason: "at least one is needed".to_owned() }),
            Self::Noise { count, .. } if count.saturating_mul(features) > MOST_NUMBERS => {
                let reason = format!("{count} of {features} numbers each are too many");
                Err(ExplainError::Baseline { reason })
            }
            Self::Noise { scale, count, seed } => {
                let mut values = rule::floats("baseline.image", count * features, seed);
                values.iter_mut().for_each(|value| *value *= scale);
                Ok(Tensor::from_data(TensorData::new(values, [count, features]), device))
            }
            Self::Given => {
                given.cloned().ok_or_else(|| ExplainError::Baseline { reason: "none came with the input".to_owned() })
            }
        }
    }
}
