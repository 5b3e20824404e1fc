//! From what somebody asks about to full subjects: which model, which devices, run in which way. What is not said is taken
//! from how things were run so far.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::CommandError;
use crate::domain::text::counted;
use crate::domain::{Device, DeviceKind, Mode, Platform, Precision, Subject, names};
use crate::engine::plan::{find_model, input_shape};
use crate::hardware::host_cpu;
use crate::predict::{DeviceSpec, Forecaster};

/// What somebody asks about. What is `None` is taken from what was measured.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The model.
    pub model: String,
    /// A platform, or a device by a part of its name.
    pub hardware: Option<String>,
    /// A device by a part of its name.
    pub device: Option<String>,
    /// This very device, reached so; then `hardware` and `device` say nothing.
    pub target: Option<(Device, Platform)>,
    /// The engine.
    pub engine: Option<String>,
    /// The precision.
    pub precision: Option<Precision>,
    /// The mode.
    pub mode: Option<Mode>,
    /// The batch size.
    pub batch_size: Option<u32>,
    /// The shape of one sample.
    pub input_shape: Option<String>,
    /// Other parameters.
    pub parameters: BTreeMap<String, Value>,
    /// Multiply-adds of a sample.
    pub multiply_adds: Option<f64>,
    /// Parameters of the model.
    pub parameter_count: Option<f64>,
    /// Elements that its operators write for one sample.
    pub activation_count: Option<f64>,
}

/// Lists whose combinations are asked about; an empty one but that of models leaves open what it would say.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// The models.
    pub models: &'w [String],
    /// Platforms, or devices by a part of their name.
    pub hardware: &'w [String],
    /// The precisions.
    pub precisions: &'w [Precision],
    /// The batch sizes.
    pub batch_sizes: &'w [u32],
}

/// All combinations; `common` says the rest.
pub fn combinations(common: &Question, wanted: &Wanted<'_>) -> Vec<Question> {
    fn or_any<T: Clone>(values: &[T]) -> Vec<Option<T>> {
        if values.is_empty() { vec![None] } else { values.iter().cloned().map(Some).collect() }
    }
    let mut questions = Vec::new();
    for model in wanted.models {
        for hardware in or_any(wanted.hardware) {
            for precision in or_any(wanted.precisions) {
                for batch_size in or_any(wanted.batch_sizes) {
                    questions.push(Question {
                        model: model.clone(),
                        hardware: hardware.clone(),
                        precision,
                        batch_size,
                        ..common.clone()
                    });
                }
            }
        }
    }
    questions
}

/// The platform of that name.
pub fn platform(name: &str) -> Option<Platform> {
    <Platform as clap::ValueEnum>::from_str(name.trim(), true).ok()
}

/// A device, and how it is reached where that is known.
type Target = (Device, Option<Platform>);

/// The subjects that a question means: one for each device that it fits.
///
/// # Errors
/// A model or a device that nothing is known of.
pub fn subjects(question: &Question, forecaster: &Forecaster) -> anyhow::Result<Vec<Subject>> {
    let targets = targets(question, forecaster)?;
    targets.into_iter().map(|target| subject(question, target, forecaster)).collect()
}

fn contains(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.trim().to_lowercase())
}

/// The devices that were measured and fit, each once.
fn measured<'f>(forecaster: &'f Forecaster, fits: impl Fn(&Subject) -> bool + 'f) -> Vec<Target> {
    let mut found: Vec<Target> = Vec::new();
    for way in forecaster.ways().iter().filter(|way| fits(way)) {
        let target = (way.device.clone(), Some(way.platform));
        if !found.contains(&target) {
            found.push(target);
        }
    }
    found
}

fn targets(question: &Question, forecaster: &Forecaster) -> anyhow::Result<Vec<Target>> {
    if let Some((device, platform)) = &question.target {
        return Ok(vec![(device.clone(), Some(*platform))]);
    }
    let platform = question.hardware.as_deref().and_then(platform);
    let by_hardware = question.hardware.as_ref().filter(|_| platform.is_none());
    let Some(name) = question.device.as_ref().or(by_hardware) else {
        let found = measured(forecaster, move |way| platform.is_none_or(|wanted| wanted == way.platform));
        return match (found.is_empty(), platform) {
            (false, _) => Ok(found),
            (true, Some(Platform::Cpu)) => Ok(vec![(host_cpu(), Some(Platform::Cpu))]),
            (true, _) => Err(CommandError::new(
                format!(
                    "nothing was measured on {}, and no device is named",
                    platform.map_or_else(|| "any device".to_owned(), |platform| platform.to_string())
                ),
                "name one: `--device \"RTX 4090\"`",
            )
            .into()),
        };
    };
    let fits = |way: &Subject| platform.is_none_or(|wanted| wanted == way.platform);
    let exact = measured(forecaster, |way| fits(way) && way.device.name.eq_ignore_ascii_case(name.trim()));
    if !exact.is_empty() {
        return Ok(exact);
    }
    let known = measured(forecaster, |way| fits(way) && contains(&way.device.name, name));
    let words = name.trim().to_lowercase();
    let surely = |whole: &str| whole.to_lowercase().ends_with(&words);
    let sure: Vec<Target> = known.iter().filter(|target| surely(&target.0.name)).cloned().collect();
    if !sure.is_empty() {
        return Ok(sure);
    }
    let rows: Vec<&DeviceSpec> = forecaster
        .time()
        .devices()
        .rows()
        .iter()
        .filter(|row| platform.is_none_or(|platform| (platform == Platform::Cpu) == (row.kind == DeviceKind::Cpu)))
        .filter(|row| contains(&row.name, name) || contains(name, &row.name))
        .collect();
    // The longest name that stands in what was asked for, or the one that what was asked for is the end of.
    let whole = rows.iter().filter(|row| contains(name, &row.name)).max_by_key(|row| row.name.len());
    let row = whole.or_else(|| rows.iter().filter(|row| surely(&row.name)).min_by_key(|row| row.name.len()));
    if row.is_none() && !known.is_empty() {
        return Ok(known);
    }
    if row.is_none()
        && let [first, second, ..] = rows.as_slice()
    {
        return Err(CommandError::new(
            format!("`{}` could be {} of the table of devices", name.trim(), counted(rows.len(), "device", "devices")),
            format!("say more of its name, as in `{}` or `{}`", first.name, second.name),
        )
        .into());
    }
    let row = row.or(rows.first());
    let device = |kind, vendor: &str, memory: Option<f64>, name: &str| Device {
        kind,
        vendor: vendor.to_owned(),
        name: name.to_owned(),
        compute_units: None,
        memory_bytes: memory.map(|gigabytes| (gigabytes * 1e9) as u64),
        software: false,
    };
    if let Some(row) = row {
        let mut found = device(row.kind, &row.vendor, row.memory_gb, &row.name);
        // What was measured was measured on a device of that size.
        found.compute_units = row.compute_units.filter(|_| row.is_measured()).map(|units| units as u32);
        return Ok(vec![(found, platform)]);
    }
    if platform == Some(Platform::Cpu) && question.device.is_none() {
        return Ok(vec![(host_cpu(), platform)]);
    }
    let all = forecaster.time().devices().rows().iter().map(|row| row.name.as_str());
    let near = names::nearest(name, all).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    Err(CommandError::new(
        format!("no device `{}` was measured, and none is in the table of devices", name.trim()),
        format!("{near}`--devices FILE` takes a row with its data sheet"),
    )
    .into())
}

/// How a device of this kind and maker is usually reached.
fn usual_platform(device: &Device) -> Platform {
    match (device.kind, device.vendor.as_str()) {
        (DeviceKind::Cpu, _) => Platform::Cpu,
        (DeviceKind::Tpu, _) => Platform::Tpu,
        (DeviceKind::Npu, _) => Platform::Webnn,
        (DeviceKind::Gpu, "NVIDIA") => Platform::Cuda,
        (DeviceKind::Gpu, "AMD") => Platform::Rocm,
        (DeviceKind::Gpu, "Apple") => Platform::Mps,
        (DeviceKind::Gpu, _) => Platform::Vulkan,
    }
}

/// What was measured that is most like the question: on the same device before the same kind of one, by the same engine
/// before the same precision; with the fewest parameters, by the newest engine.
fn like<'f>(question: &Question, device: &Device, forecaster: &'f Forecaster) -> Option<&'f Subject> {
    let wanted = |parameters: &BTreeMap<String, Value>| {
        question.parameters.iter().filter(|(name, value)| parameters.get(*name) == Some(value)).count()
    };
    let mode = question.mode.unwrap_or(Mode::Inference);
    forecaster.ways().iter().max_by_key(|way| {
        (
            way.device == *device,
            way.device.kind == device.kind,
            way.mode == mode,
            question.engine.as_ref().is_some_and(|engine| *engine == way.engine),
            question.precision == Some(way.precision),
            wanted(&way.parameters),
            way.device.vendor == device.vendor,
            std::cmp::Reverse(way.parameters.len()),
            way.engine_version.clone(),
        )
    })
}

fn subject(question: &Question, (device, platform): Target, forecaster: &Forecaster) -> anyhow::Result<Subject> {
    let like = like(question, &device, forecaster);
    let book = forecaster.time().book();
    let shapes = book.shapes(&question.model);
    let entry = if shapes.is_empty() { find_model(&question.model).ok() } else { crate::zoo::find(&question.model) };
    let name = entry.map_or(question.model.as_str(), |entry| entry.name);
    // The zoo's own name may have been measured.
    let shapes = if shapes.is_empty() { book.shapes(name) } else { shapes };
    let given = [
        ("--multiply-adds", question.multiply_adds),
        ("--parameter-count", question.parameter_count),
        ("--activation-count", question.activation_count),
    ];
    for (option, value) in given.iter().filter_map(|(option, value)| Some((option, (*value)?))) {
        if !(value > 0.0 && value.is_finite()) {
            return Err(CommandError::new(format!("`{option}` is {value}"), "it is a number above 0").into());
        }
        if entry.is_some() || !shapes.is_empty() {
            return Err(CommandError::new(
                format!("`{option}` is for a model that is not known, and `{name}` is"),
                "leave it out, or give the model another name",
            )
            .into());
        }
    }
    if shapes.is_empty() && entry.is_none() && question.multiply_adds.is_none() {
        let near = names::nearest(&question.model, book.models());
        let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        return Err(CommandError::new(
            format!("nothing is known of the model `{}`", question.model),
            format!("{hint}`--multiply-adds`, `--parameter-count` and `--activation-count` say what it is"),
        )
        .into());
    }
    let inputs = entry.map(crate::zoo::ModelEntry::inputs);
    let cost = entry.zip(inputs.as_ref()).map(|(entry, inputs)| entry.cost(inputs));
    let usual_shape = inputs.as_deref().map(input_shape);
    // The zoo's cost is that of its own shape.
    let own_shape = question.input_shape.is_none() || question.input_shape == usual_shape;
    let shape = question.input_shape.clone().or(usual_shape).or(shapes.first().map(|&shape| shape.to_owned()));
    let of_zoo = |value: fn(&crate::domain::ModelCost) -> u64| {
        cost.as_ref().filter(|_| own_shape).map(|cost| value(cost) as f64)
    };
    let mode = question.mode.unwrap_or(Mode::Inference);
    let engine = question.engine.clone().or(like.map(|way| way.engine.clone())).unwrap_or_default();
    let same_engine = like.filter(|way| way.engine == engine);
    // What another engine, or another mode, was told means nothing here.
    let mut parameters =
        same_engine.filter(|way| way.mode == mode).map(|way| way.parameters.clone()).unwrap_or_default();
    parameters.extend(question.parameters.clone());
    parameters.retain(|_, value| !value.is_null());
    Ok(Subject {
        model: name.to_owned(),
        variant: String::new(),
        family: entry.map(|entry| entry.family.to_owned()),
        category: entry.map(|entry| entry.category).or(like.and_then(|way| way.category)),
        parameter_count: question.parameter_count.or_else(|| cost.as_ref().map(|cost| cost.parameter_count as f64)),
        multiply_adds: question.multiply_adds.or_else(|| of_zoo(|cost| cost.multiply_adds)),
        activation_count: question.activation_count.or_else(|| of_zoo(|cost| cost.activation_count)),
        platform: platform
            .or(like.filter(|way| way.device == device).map(|way| way.platform))
            .unwrap_or_else(|| usual_platform(&device)),
        engine_version: same_engine.and_then(|way| way.engine_version.clone()),
        engine,
        precision: question.precision.or(like.map(|way| way.precision)).unwrap_or(Precision::Fp32),
        mode,
        batch_size: question.batch_size.or(like.map(|way| way.batch_size)).unwrap_or(1),
        input_shape: shape.unwrap_or_default(),
        threads: like.filter(|way| way.device == device).map_or(0, |way| way.threads),
        parameters,
        device,
    })
}
