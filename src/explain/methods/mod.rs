//! The attribution methods, one file for each family.

mod cam;
mod deeplift;
mod deeplift_rules;
mod gradient;
mod lrp;
mod occlusion;
mod path;
mod rectified;
mod rollout;

pub use cam::{GradCam, GuidedGradCam};
pub use deeplift::{DeepLift, DeepLiftShap, MaxPoolRule};
pub use gradient::{InputXGradient, Saliency, SmoothGrad};
pub use lrp::{Lrp, LrpRule};
pub use occlusion::Occlusion;
pub use path::{GradientShap, IntegratedGradients};
pub use rectified::{Deconvolution, GuidedBackpropagation};
pub use rollout::{AttentionRollout, HeadFusion};

use serde::Serialize;
use serde_json::Value;

/// The parameters of a method as JSON.
fn parameters_of<P: Serialize>(parameters: &P) -> Value {
    // Structs of numbers, texts and truth values always are JSON objects.
    serde_json::to_value(parameters).unwrap_or_default()
}

/// Implements the parts of [`Method`](super::Method) that all methods share.
macro_rules! named {
    ($name:literal) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn parameters(&self) -> serde_json::Value {
            super::parameters_of(self)
        }
    };
}

use named;
