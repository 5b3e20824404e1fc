//! Versions of a model side by side: how they are named, and the table that compares them.

use std::path::{Path, PathBuf};

use crate::commands::CommandError;
use crate::domain::metric::Better;
use crate::domain::run::ExtraMetric;
use crate::domain::{Cell, PlannedRun, RunRecord, RunStatus, Table};
use crate::engine::plan::{NamedModel, find_model};
use crate::engine::{Learning, network_on_host};
use crate::optimize::WeightFacts;
use crate::report::{count, significant};
use crate::zoo::WeightSource;

/// Metrics of a run's weights that belong to no table of standard ones.
const PARAMETER_COUNT: &str = "parameter_count";
const MULTIPLY_ADDS: &str = "multiply_adds";
const ACTIVATIONS: &str = "activations_per_sample";
const NONZERO_SHARE: &str = "nonzero_share";

/// A model as it is named on the command line: `resnet50`, `resnet50:FILE`, `VARIANT=resnet50:FILE`, `FILE.onnx`,
/// `NAME=FILE.onnx`.
pub(in crate::commands) fn named_model(text: &str) -> Result<NamedModel, String> {
    let (variant, model) = match text.split_once('=').filter(|_| !is_file_of_onnx(text)) {
        Some((variant, model)) => (variant.trim(), model),
        None => ("", text),
    };
    if variant.chars().chain(model.chars()).any(char::is_control) {
        return Err("it holds control characters".to_owned());
    }
    if !is_file_of_onnx(text) && model.split(':').next().is_some_and(|name| name.contains('=')) {
        return Err("`=` stands once: `VARIANT=MODEL:FILE`".to_owned());
    }
    if text.starts_with('=') {
        return Err("the variant before `=` has no name".to_owned());
    }
    let (name, file) = match model.split_once(':') {
        Some((name, file)) => (name.trim(), Some(file)),
        None => (model.trim(), None),
    };
    let is_path = |name: &str| crate::onnx::is_onnx(Path::new(name)) || name.contains(['/', '\\']);
    match (name, file) {
        // `FILE.onnx` is a model by itself, and `NAME=FILE.onnx` one of that name.
        (path, None) if crate::onnx::is_onnx(Path::new(path)) => {
            Ok(NamedModel { variant: String::new(), name: variant.to_owned(), weights: Some(PathBuf::from(path)) })
        }
        (path, _) if is_path(path) => Err("a path of an ONNX file ends in `.onnx` and holds no `:`".to_owned()),
        ("", _) => Err("the model has no name; a version of one is `VARIANT=MODEL:FILE`".to_owned()),
        (_, Some("")) => Err("there is no file after `:`".to_owned()),
        _ => Ok(NamedModel { variant: variant.to_owned(), name: name.to_owned(), weights: file.map(PathBuf::from) }),
    }
}

/// Whether a text is the path of a file that is there, whatever else it could mean.
fn is_file_of_onnx(text: &str) -> bool {
    crate::onnx::is_onnx(Path::new(text)) && Path::new(text).is_file()
}

/// Whether versions are compared.
pub(super) fn are_named(models: &[NamedModel]) -> bool {
    models.iter().any(|model| !model.variant.is_empty())
}

/// The same models, their weight files by whole paths: a campaign may be resumed from another folder.
///
/// # Errors
/// A file that cannot be read; two versions of one name.
pub(super) fn with_whole_paths(models: &[NamedModel]) -> anyhow::Result<Vec<NamedModel>> {
    for (at, model) in models.iter().enumerate() {
        // A model may come as weights for the zoo's network and as an ONNX file; those that name themselves are many.
        let alike = |other: &&NamedModel| {
            other.variant == model.variant && other.name == model.name && other.is_onnx() == model.is_onnx()
        };
        let twin = models[..at].iter().filter(|_| !model.name.is_empty()).find(alike);
        if twin.is_some_and(|twin| twin.weights != model.weights) {
            let what = match model.variant.as_str() {
                "" => format!("`{}` comes with two weight files", model.name),
                variant => format!("two versions of `{}` are called `{variant}`", model.name),
            };
            return Err(CommandError::new(what, "give each a name of its own: `a=MODEL:FILE,b=MODEL:FILE`").into());
        }
    }
    models
        .iter()
        .map(|model| {
            let weights = model.weights.as_deref().map(super::request::weight_file).transpose()?;
            Ok(NamedModel { weights, ..model.clone() })
        })
        .collect()
}

/// What a weight file makes of a model: its parameters, the multiply-adds of a sample, and the share of its elements
/// that is not zero. Nothing where the file cannot be read; the run has said so.
pub(super) fn weight_metrics(plan: &PlannedRun, path: &Path) -> Vec<ExtraMetric> {
    if plan.graph.is_some() {
        // Another file, or another shape, of the same model has other counts.
        let counted = plan.described.iter().flat_map(|model| {
            [
                (PARAMETER_COUNT, model.parameter_count),
                (MULTIPLY_ADDS, model.multiply_adds),
                (ACTIVATIONS, model.activation_count),
            ]
        });
        return counted.filter_map(|(name, count)| Some(fact(name, count? as f64))).collect();
    }
    let Ok(entry) = find_model(&plan.configuration.model) else { return Vec::new() };
    let network = network_on_host(entry, &WeightSource::File(path.to_owned()), Learning::No);
    let Some(weights) = network.ok().and_then(|network| network.weights().ok()) else { return Vec::new() };
    let facts = WeightFacts::of(entry, &plan.inputs, &weights);
    [
        (PARAMETER_COUNT, facts.parameter_count as f64),
        (MULTIPLY_ADDS, facts.multiply_adds as f64),
        (NONZERO_SHARE, facts.nonzero_share),
    ]
    .map(|(name, value)| fact(name, value))
    .to_vec()
}

fn fact(name: &str, value: f64) -> ExtraMetric {
    ExtraMetric { name: name.to_owned(), unit: String::new(), better: Better::None, value }
}

/// The versions of a campaign, one row for each and each batch size above 1 (or 1, where there is no other): size,
/// accuracy and speed together. The runs come with their own metrics.
pub(super) fn variant_table(runs: &[RunRecord], people: bool) -> Table {
    let columns = [
        "variant",
        "model",
        "platform",
        "engine",
        "precision",
        "mode",
        "parameters",
        "nonzero_share",
        "model_size_mb",
        "file_size_mb",
        "accuracy_top1",
        "accuracy_top5",
        "batch_1_latency_p50_ms",
        "batch_size",
        "latency_p50_ms",
        "throughput_samples_per_second",
        "peak_memory_mb",
        "status",
    ];
    let mut table = Table::new("Variants", &columns);
    let mut known: Vec<&RunRecord> = Vec::new();
    for run in runs {
        let batch_one = run.configuration.batch_size == 1;
        // Batch 1 stands in a column of the others' rows.
        if known
            .iter()
            .any(|other| same_but_batch(other, run) && other.configuration.batch_size == run.configuration.batch_size)
            || (batch_one && runs.iter().any(|other| same_but_batch(other, run) && other.configuration.batch_size > 1))
        {
            continue;
        }
        known.push(run);
        table.push(row(run, runs, people));
    }
    if people {
        table.fold_shared(&["model", "platform", "engine", "precision", "mode"]);
        table.drop_empty(&["nonzero_share", "file_size_mb", "accuracy_top1", "accuracy_top5", "parameters"]);
        for (name, short) in [
            ("nonzero_share", "nonzero"),
            ("model_size_mb", "size MB"),
            ("file_size_mb", "file MB"),
            ("accuracy_top1", "top-1"),
            ("accuracy_top5", "top-5"),
            ("batch_1_latency_p50_ms", "batch 1 ms"),
            ("batch_size", "batch"),
            ("latency_p50_ms", "p50 ms"),
            ("throughput_samples_per_second", "samples/s"),
            ("peak_memory_mb", "peak MB"),
        ] {
            table.rename_column(name, short);
        }
    }
    table
}

fn same_but_batch(a: &RunRecord, b: &RunRecord) -> bool {
    let (mut a, b) = (a.configuration.clone(), &b.configuration);
    a.batch_size = b.batch_size;
    a == *b
}

/// One version at one batch size; numbers are medians over its repetitions.
fn row(run: &RunRecord, runs: &[RunRecord], people: bool) -> Vec<Cell> {
    let configuration = &run.configuration;
    let ok = |batch_size: u32| {
        runs.iter().filter(move |other| {
            other.measurement.status == RunStatus::Ok
                && same_but_batch(other, run)
                && other.configuration.batch_size == batch_size
        })
    };
    let median = |values: Vec<f64>| crate::stats::quantile(&crate::stats::sorted(&values), 0.5);
    let metric = |batch_size: u32, name: &str| {
        median(ok(batch_size).filter_map(|run| run.measurement.metrics.get(name)).collect())
    };
    let extra = |name: &str| {
        let of = |run: &RunRecord| {
            run.measurement.extra_metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
        };
        median(ok(configuration.batch_size).filter_map(of).collect())
    };
    let number = |value: Option<f64>| -> Cell { if people { value.map(significant).into() } else { value.into() } };
    let percent = |value: Option<f64>| -> Cell {
        if people { value.map(|share| format!("{:.1} %", 100.0 * share)).into() } else { value.into() }
    };
    let batch = configuration.batch_size;
    let parameters = extra(PARAMETER_COUNT).map(|value| value as u64);
    let peak = crate::domain::metric::PEAK_MEMORY.iter().find_map(|name| metric(batch, name));
    let failed =
        runs.iter().filter(|other| same_but_batch(other, run)).find(|run| run.measurement.status != RunStatus::Ok);
    vec![
        configuration.variant.clone().into(),
        configuration.model.clone().into(),
        configuration.platform.to_string().into(),
        configuration.engine.clone().into(),
        configuration.precision.to_string().into(),
        configuration.mode.to_string().into(),
        if people { parameters.map(count).into() } else { parameters.into() },
        percent(extra(NONZERO_SHARE)),
        number(metric(batch, "model_size_mb")),
        number(run.artifact.as_ref().map(|artifact| artifact.size_bytes as f64 / 1e6)),
        percent(metric(batch, "accuracy_top1")),
        percent(metric(batch, "accuracy_top5")),
        number(metric(1, "latency_p50_ms")),
        batch.into(),
        number(metric(batch, "latency_p50_ms")),
        number(metric(batch, "throughput_samples_per_second")),
        number(peak),
        failed.map_or("ok".to_owned(), |run| run.measurement.status.to_string()).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_with_their_files() {
        let named = |variant: &str, name: &str, file: Option<&str>| {
            Ok(NamedModel { variant: variant.into(), name: name.into(), weights: file.map(PathBuf::from) })
        };
        assert_eq!(named_model("resnet50"), named("", "resnet50", None));
        assert_eq!(named_model("a=resnet50:x/y.safetensors"), named("a", "resnet50", Some("x/y.safetensors")));
        assert_eq!(named_model("resnet50:y.pt"), named("", "resnet50", Some("y.pt")));
        assert_eq!(named_model("a=bert"), named("a", "bert", None));
        assert_eq!(named_model("x/net.onnx"), named("", "", Some("x/net.onnx")));
        assert_eq!(named_model("resnet50=x/net.ONNX"), named("", "resnet50", Some("x/net.ONNX")));
        assert_eq!(named_model("a=resnet50:x/net.onnx"), named("a", "resnet50", Some("x/net.onnx")));
        for wrong in ["=resnet50", "a=", "a=:x", "resnet50:", "", "x/net", "x/net.onnx:y"] {
            assert!(named_model(wrong).is_err(), "{wrong}");
        }
    }
}
