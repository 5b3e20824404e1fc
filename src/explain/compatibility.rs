//! What works with what, found by trying: every method explains one small sample of the real network.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;
use serde_json::{Map, Value, json};

use super::error::ExplainError;
use super::method::explain;
use super::registry::{MethodEntry, methods};
use super::subject::Subject;
use crate::domain::model::{HostData, HostTensor, InputKind, InputSpec};
use crate::zoo::{Batch, ModelEntry, Network, WeightError, WeightSource, host_inputs};

/// Whether a method fits a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It answered.
    Works,
    /// It does not, for this reason.
    Unsupported(String),
    /// It should, and failed.
    Failed(String),
}

/// What every method makes of one model.
#[derive(Clone, Debug)]
pub struct Compatibility {
    /// The model's canonical name.
    pub model: &'static str,
    /// Every method, in the order of the registry.
    pub fits: Vec<(&'static str, Fit)>,
}

/// The least height and width that every convolution of a network without a fixed size can read.
const SMALL_IMAGE: usize = 64;

/// Words of a short text.
const SHORT_TEXT: usize = 4;

/// Tries all methods on a model with made weights, one sample, and inputs as small as its structure takes.
///
/// # Errors
///
/// The weights cannot be made.
pub fn compatibility(entry: &'static ModelEntry, device: &Device) -> Result<Compatibility, WeightError> {
    let network = entry.build_loaded(&WeightSource::Seeded(0), device)?;
    let specs = small_inputs(entry, network.as_ref(), device);
    let fits = methods().iter().map(|method| (method.name, tried(method, network.as_ref(), &specs))).collect();
    Ok(Compatibility { model: entry.name, fits })
}

/// Whether a method explains a network, with parameters that make it short.
pub fn tried(method: &MethodEntry, network: &dyn Network, specs: &[InputSpec]) -> Fit {
    let attempt = || {
        let subject = Subject::new(network, &host_inputs(specs, 1, 0))?;
        let method = method.build(&short_parameters(method.name, subject.shape(), subject.is_text()))?;
        explain(method.as_ref(), &subject)?.to_host()
    };
    // A backend that cannot do something panics.
    let Ok(answer) = catch_unwind(AssertUnwindSafe(attempt)) else {
        return Fit::Failed("the engine stopped in the middle".to_owned());
    };
    match answer {
        Ok(attribution) if attribution_is_finite(&attribution) => Fit::Works,
        Ok(_) => Fit::Failed("it answers numbers that are not finite".to_owned()),
        Err(ExplainError::Unsupported { reason, .. }) => Fit::Unsupported(reason),
        Err(error) => Fit::Failed(error.to_string()),
    }
}

fn attribution_is_finite(attribution: &HostTensor) -> bool {
    match &attribution.data {
        HostData::F32(values) => values.iter().all(|value| value.is_finite()),
        HostData::I64(_) => false,
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
