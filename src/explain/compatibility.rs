//! What works with what, found by trying: every method explains one small sample of the real network.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::ExplainError;
use super::method::explain;
use super::parallel::guarded;
use super::registry::{MethodEntry, Selected};
use super::subject::Subject;
use crate::domain::model::{InputKind, InputSpec};
use crate::zoo::{Batch, ModelEntry, Network, WeightError, WeightSource, host_inputs};

/// Whether a method fits a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// It answered.
    Works,
    /// It does not, for this reason.
    Unsupported(String),
    /// It should, and failed.
    Failed(String),
}

/// The least height and width that every convolution of a network without a fixed size can read.
const SMALL_IMAGE: usize = 64;

/// Words of a short text.
const SHORT_TEXT: usize = 4;

/// Tries methods with their own parameters on a model with made weights, one sample, and inputs as small as its structure
/// takes.
///
/// # Errors
///
/// The weights cannot be made.
pub fn fits(entry: &ModelEntry, methods: &[Selected], device: &Device) -> Result<Vec<Fit>, WeightError> {
    let network = entry.build_loaded(&WeightSource::Seeded(0), device)?;
    let specs = small_inputs(entry, network.as_ref(), device);
    Ok(methods.iter().map(|(method, own)| tried(method, own, network.as_ref(), &specs)).collect())
}

/// Whether a method explains a network, with parameters of its own where they do not make it long.
pub fn tried(method: &MethodEntry, own: &Map<String, Value>, network: &dyn Network, specs: &[InputSpec]) -> Fit {
    let attempt = || {
        let subject = Subject::new(network, &host_inputs(specs, 1, 0))?;
        let mut parameters = own.clone();
        parameters.extend(short_parameters(method.name, subject.shape(), subject.is_text()));
        let method = method.build(&parameters)?;
        explain(method.as_ref(), &subject)?.to_host()
    };
    // A backend that cannot do something panics.
    match guarded(attempt) {
        Ok(attribution) if attribution.is_finite() => Fit::Works,
        Ok(_) => Fit::Failed("it answers numbers that are not finite".to_owned()),
        Err(ExplainError::Unsupported { reason, .. }) => Fit::Unsupported(reason),
        Err(error) => Fit::Failed(error.to_string()),
    }
}

/// One step, one draw, one window: the structure decides, not the number.
fn short_parameters(method: &str, shape: &[usize], text: bool) -> Map<String, Value> {
    let parameters = match method {
        "integrated_gradients" => json!({ "steps": 1 }),
        "gradient_shap" | "smooth_grad" => json!({ "samples": 1 }),
        "deeplift_shap" => json!({ "baseline": { "noise": { "scale": 0.5, "count": 1 } } }),
        "occlusion" => json!({ "window": if text { &shape[..1] } else { shape } }),
        _ => json!({}),
    };
    match parameters {
        Value::Object(parameters) => parameters,
        _ => Map::new(),
    }
}

/// The inputs with short texts and small pictures, where the network reads them so.
fn small_inputs(entry: &ModelEntry, network: &dyn Network, device: &Device) -> Vec<InputSpec> {
    let full = entry.inputs();
    let mut small = full.clone();
    for spec in &mut small {
        match (&spec.kind, &mut spec.shape[..]) {
            (InputKind::Float, [_, height, width]) => (*height, *width) = (SMALL_IMAGE, SMALL_IMAGE),
            (InputKind::Tokens { .. } | InputKind::Words { .. }, [length]) => *length = SHORT_TEXT.min(*length),
            _ => {}
        }
    }
    let reads = |specs: &[InputSpec]| {
        let batch = Batch::from_host(&host_inputs(specs, 1, 0), device);
        batch.and_then(|batch| network.forward(&batch)).is_ok()
    };
    if reads(&small) {
        return small;
    }
    // The picture's size is fixed; a text is short all the same.
    for (small, full) in small.iter_mut().zip(&full) {
        if full.kind == InputKind::Float {
            small.shape.clone_from(&full.shape);
        }
    }
    if reads(&small) { small } else { full }
}
