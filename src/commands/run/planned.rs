//! `run --plan FILE`: measures what `predict --suggest-anchors N --output FILE` wrote, or a list of one's own.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use crate::commands::predict::matrix::Row;
use crate::commands::predict::questions::platform;
use crate::commands::{CommandError, unreadable};
use crate::domain::{Mode, Precision, Sampling};
use crate::engine::plan::{HardwareChoice, ModelChoice, NamedModel, PlanRequest, find_model, input_shape};
use crate::engine::{EngineError, find_engine};
use crate::explain::InnerBatch;

/// The columns, for hints.
const COLUMNS: &str = "`predict --suggest-anchors 10 --output plan.json` writes one; a CSV has the columns model, platform, \
    device, engine, precision, mode, batch_size, input_shape and parameters, of which only `model` is needed";

/// A plan as JSON.
#[derive(Debug, Deserialize)]
struct Document {
    kind: String,
    measure_next: Vec<Row>,
}

/// What a plan's file asks for.
pub(super) struct Wanted {
    /// One request for each configuration that `run` can measure.
    pub requests: Vec<PlanRequest>,
    /// The others, with the reason and the way out.
    pub left_out: Vec<(String, String)>,
}

/// Reads a plan's file; `base` says how long to sample and all else that configurations share.
///
/// # Errors
/// A file that cannot be read or is no plan. What this program cannot measure is left out, not an error.
pub(super) fn read(path: &Path, base: &PlanRequest) -> anyhow::Result<Wanted> {
    let bad = |reason: String| CommandError::new(format!("`{}` is no plan: {reason}", path.display()), COLUMNS);
    let text = std::fs::read_to_string(path).with_context(|| unreadable(path))?;
    let rows = if text.trim_start().starts_with('{') {
        let document: Document = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if document.kind != "plan" {
            return Err(bad(format!("it holds `{}`", document.kind)).into());
        }
        document.measure_next
    } else {
        Row::of_csv(&text).map_err(|error| bad(error.to_string()))?
    };
    if rows.is_empty() {
        return Err(bad("it holds no configuration".to_owned()).into());
    }
    let mut wanted = Wanted { requests: Vec::new(), left_out: Vec::new() };
    for row in rows {
        let parameters = row.parameters().map_err(&bad)?;
        match request(&row, parameters, base) {
            Ok(request) => wanted.requests.push(request),
            Err((reason, hint)) => wanted.left_out.push((format!("{}: {reason}", row.model), hint)),
        }
    }
    Ok(wanted)
}

/// The request for one configuration, or why `run` cannot measure it and the way out.
fn request(
    row: &Row,
    parameters: BTreeMap<String, Value>,
    base: &PlanRequest,
) -> Result<PlanRequest, (String, String)> {
    let unknown = |error: EngineError| (error.to_string(), error.hint().unwrap_or_default());
    let entry = find_model(&row.model).map_err(unknown)?;
    let own_shape = input_shape(&entry.inputs());
    if let Some(shape) = row.input_shape.as_ref().filter(|shape| !shape.is_empty() && **shape != own_shape) {
        return Err((format!("`run` measures it at {own_shape}, not at {shape}"), "take another configuration".into()));
    }
    if row.batch_size == Some(0) {
        return Err(("a batch of 0 samples takes no time".into(), "the least is 1".into()));
    }
    let hardware = match row.hardware.as_deref().filter(|name| !name.is_empty()) {
        None => HardwareChoice::Auto,
        Some(name) => platform(name).map(HardwareChoice::Platform).ok_or_else(|| {
            (format!("there is no platform `{name}`"), "`benchdb hardware` lists what can be measured here".to_owned())
        })?,
    };
    let engines: Vec<String> = row.engine.iter().filter(|engine| !engine.is_empty()).cloned().collect();
    for engine in &engines {
        find_engine(engine).map_err(unknown)?;
    }
    let mut request = PlanRequest {
        models: ModelChoice::Named(vec![NamedModel::plain(entry.name)]),
        hardware: vec![hardware],
        engines,
        device: row.device.clone().filter(|device| !device.is_empty()),
        precisions: vec![row.precision.unwrap_or(Precision::Fp32)],
        mode: row.mode.unwrap_or(Mode::Inference),
        batch_sizes: vec![row.batch_size.unwrap_or(1)],
        ..base.clone()
    };
    for (name, value) in &parameters {
        let known = match name.as_str() {
            "optimizer" => serde_json::from_value(value.clone()).map(|optimizer| request.optimizer = optimizer).is_ok(),
            "generate" => count(value).map(|tokens| request.generate = Some(tokens)).is_some(),
            "method" => value.as_str().map(|name| request.explanation.methods = vec![name.to_owned()]).is_some(),
            "method_parameters" => value
                .as_object()
                .map(|own| request.explanation.parameters = own.clone().into_iter().collect())
                .is_some(),
            "target" => count_from_zero(value).map(|class| request.explanation.target = Some(class)).is_some(),
            "workers" => count(value).map(|workers| request.explanation.workers = Some(workers)).is_some(),
            "inner_batch" => inner_batch(value).map(|rows| request.explanation.inner_batch = Some(rows)).is_some(),
            "batches_in_flight" => count(value)
                .map(|batches_in_flight| request.sampling = Sampling { batches_in_flight, ..base.sampling.clone() })
                .is_some(),
            _ => false,
        };
        if !known {
            return Err((
                format!("`run` has no parameter `{name}` with the value {value}"),
                "take another configuration".into(),
            ));
        }
    }
    Ok(request)
}

fn inner_batch(value: &Value) -> Option<InnerBatch> {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse().ok()
}

fn count_from_zero(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|count| usize::try_from(count).ok())
}

fn count(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Platform;

    fn read_text(text: &str) -> anyhow::Result<Wanted> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan");
        std::fs::write(&path, text).unwrap();
        read(&path, &PlanRequest::default())
    }

    #[test]
    fn a_row_says_what_is_measured() {
        let wanted = read_text(
            "model,platform,device,engine,precision,mode,batch_size,input_shape,parameters\n\
             cifar-cnn,cpu,A CPU,burn-flex,bf16,training,4,3x32x32,\"{\"\"optimizer\"\":\"\"sgd\"\"}\"\n\
             resnet18,,,,,,,,\n",
        )
        .unwrap();
        let [first, second] = wanted.requests.as_slice() else { panic!("two rows") };
        assert_eq!(first.models, ModelChoice::Named(vec![NamedModel::plain("cifar_cnn")]));
        assert_eq!(first.hardware, [HardwareChoice::Platform(Platform::Cpu)]);
        assert_eq!((first.device.as_deref(), first.engines.as_slice()), (Some("A CPU"), &["burn-flex".to_owned()][..]));
        assert_eq!((first.precisions.as_slice(), first.mode), (&[Precision::Bf16][..], Mode::Training));
        assert_eq!((first.batch_sizes.as_slice(), first.optimizer), (&[4][..], crate::domain::TrainingOptimizer::Sgd));
        assert_eq!((second.device.as_deref(), second.hardware.as_slice()), (None, &[HardwareChoice::Auto][..]));
    }

    #[test]
    fn a_row_says_what_is_explained() {
        let wanted = read_text(
            "model,mode,parameters\n\
             cifar_cnn,explanation,\"{\"\"method\"\":\"\"lrp\"\",\"\"method_parameters\"\":{\"\"rule\"\":\"\"gamma\"\"},\"\"target\"\":0,\
             \"\"inner_batch\"\":\"\"auto\"\",\"\"workers\"\":2}\"\n",
        )
        .unwrap();
        let explanation = &wanted.requests[0].explanation;
        assert_eq!(explanation.methods, ["lrp"]);
        assert_eq!(explanation.parameters, [("rule".to_owned(), "gamma".into())]);
        assert_eq!((explanation.target, explanation.workers), (Some(0), Some(2)));
        assert_eq!(explanation.inner_batch, Some(InnerBatch::Auto));
    }

    #[test]
    fn what_cannot_be_measured_is_left_out_and_the_rest_stays() {
        let wanted = read_text(
            r#"{"kind": "plan", "measure_next": [
                {"model": "no such model"},
                {"model": "resnet18", "engine": "caffe"},
                {"model": "resnet18", "input_shape": "3x999x999"},
                {"model": "resnet18", "parameters": "{\"compiled\": true}"},
                {"model": "resnet18", "variance_left": 0.5}]}"#,
        )
        .unwrap();
        assert_eq!((wanted.requests.len(), wanted.left_out.len()), (1, 4));
        assert!(wanted.left_out[2].0.contains("3x224x224"), "{:?}", wanted.left_out);
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for text in ["", "[1]", "{}", r#"{"kind": "runs", "measure_next": []}"#, "model,batch_size\nresnet18,-1\n"] {
            let error = read_text(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(error.to_string().contains("is no plan"), "{error}");
        }
    }
}
