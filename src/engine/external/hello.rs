//! What a program says of itself, checked, and what follows from it for a plan.

use std::path::Path;

use super::MOST_BYTES;
use super::error::ExternalError;
use super::messages::{Hello, HelloDevice, Models, PROTOCOL};
use crate::domain::metric::find_metric;
use crate::domain::{Device, DeviceKind, PlannedRun, Platform, Precision, WeightChoice};
use crate::engine::command::COMMAND_ENGINE;
use crate::engine::{ProbedDevice, find_engine};
use crate::hardware::{host_cpu, nvml};
use crate::onnx::is_onnx;
use crate::zoo::weight_format;

/// Metrics that benchdb makes itself, beside the standard ones.
const OWN_METRICS: [&str; 10] = [
    "first_loss",
    "last_loss",
    "fidelity_top1_agreement",
    "prefill_tokens_per_second",
    "decode_tokens_per_second",
    "parameter_count",
    "multiply_adds",
    "multiply_adds_per_sample",
    "activations_per_sample",
    "nonzero_share",
];

/// The most letters of a version or a name.
const LONGEST_TEXT: usize = 200;

/// Checks a hello.
///
/// # Errors
/// Another version of the protocol, or what cannot be; `program` stands in messages.
pub(super) fn check(hello: &Hello, program: &str) -> Result<(), ExternalError> {
    if hello.protocol != PROTOCOL {
        return Err(ExternalError::Version { program: program.to_owned(), found: hello.protocol });
    }
    let lie = |what: String| Err(ExternalError::Lie { program: program.to_owned(), asked: "hello", what });
    if !is_name(&hello.engine) {
        return lie(format!(
            "its engine is called `{}`; a name has up to 64 lower-case letters, digits, `-`, `_` and `.`",
            hello.engine
        ));
    }
    if let Ok(known) = find_engine(&hello.engine) {
        return lie(format!("`{}` is an engine of benchdb's own (`{}`)", hello.engine, known.name()));
    }
    if hello.engine == COMMAND_ENGINE {
        return lie(format!("`{COMMAND_ENGINE}` is the engine of `benchdb exec`"));
    }
    if hello.version.trim().is_empty() {
        return lie("its version is empty".to_owned());
    }
    let texts = [Some(&hello.version), hello.framework.as_ref()].into_iter();
    let of_devices = hello.devices.iter().flat_map(|device| [device.name.as_ref(), device.vendor.as_ref()]);
    let of_metrics = hello.metrics.iter().map(|metric| Some(&metric.unit));
    let mut all = texts.chain(of_devices).chain(of_metrics).flatten();
    if let Some(text) = all.find(|text| text.chars().count() > LONGEST_TEXT || text.chars().any(char::is_control)) {
        let start: String = text.chars().take(40).collect();
        return lie(format!("the text {start:?} has control characters, or more than {LONGEST_TEXT} letters"));
    }
    if let Some(device) = hello.devices.iter().find(|device| device.memory_bytes > Some(MOST_BYTES)) {
        return lie(format!("its device for `{}` has {} bytes", device.platform, device.memory_bytes.unwrap_or(0)));
    }
    if hello.devices.is_empty() || hello.devices.iter().any(|device| device.precisions.is_empty()) {
        return lie("it has no device, or one without a precision".to_owned());
    }
    if let Some(device) = hello.devices.iter().find(|device| {
        device.platform != Platform::Cpu && device.name.as_deref().is_none_or(|name| name.trim().is_empty())
    }) {
        return lie(format!("its device for `{}` has no name", device.platform));
    }
    for (at, metric) in hello.metrics.iter().enumerate() {
        let taken = find_metric(&metric.name).is_some() || OWN_METRICS.contains(&metric.name.as_str());
        let twice = hello.metrics[..at].iter().any(|other| other.name == metric.name);
        if !is_name(&metric.name) || taken || twice {
            return lie(format!("it cannot have a metric `{}`: it is no name, taken or there twice", metric.name));
        }
    }
    Ok(())
}

/// The format of a file with weights, by its ending.
pub(super) fn file_format(path: &Path) -> &'static str {
    if is_onnx(path) { "onnx" } else { weight_format(path).unwrap_or("unknown") }
}

fn is_name(text: &str) -> bool {
    let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    text.len() <= 64
        && text.starts_with(plain)
        && text.chars().all(|character| plain(character) || "-_.".contains(character))
}

impl Hello {
    /// The platforms that it serves, in the order in which it named them.
    pub fn platforms(&self) -> Vec<Platform> {
        self.devices.iter().fold(Vec::new(), |mut platforms, device| {
            if !platforms.contains(&device.platform) {
                platforms.push(device.platform);
            }
            platforms
        })
    }

    /// Its devices on a platform.
    pub fn devices_on(&self, platform: Platform) -> Vec<ProbedDevice> {
        let here = self.devices.iter().filter(|device| device.platform == platform);
        here.map(|device| ProbedDevice { device: described(device), precisions: device.precisions.clone() }).collect()
    }

    /// All precisions of all devices.
    pub fn precisions(&self) -> Vec<Precision> {
        let mut all: Vec<Precision> = self.devices.iter().flat_map(|device| device.precisions.clone()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether it has a model of that name.
    pub fn has_model(&self, name: &str) -> bool {
        match &self.models {
            Models::Any(_) => true,
            Models::Listed(names) => names.iter().any(|known| known == name),
        }
    }

    /// What keeps it from doing a run, with the reason and the nearest thing that works.
    pub fn refuses(&self, plan: &PlannedRun) -> Option<(String, String, Option<String>)> {
        let configuration = &plan.configuration;
        let model = &configuration.model;
        if !self.has_model(model) {
            let known = match &self.models {
                Models::Listed(names) => names.join(", "),
                Models::Any(_) => String::new(),
            };
            return Some((model.clone(), "it does not have this model".to_owned(), Some(format!("one of {known}"))));
        }
        let weights = match &plan.weights {
            WeightChoice::Seeded(_) => "rule",
            WeightChoice::File(path) => file_format(path),
        };
        if !self.weights.iter().any(|known| known == weights) {
            let reason = format!("it takes weights as {}", self.weights.join(", "));
            return Some((format!("{weights} weights for {model}"), reason, None));
        }
        if plan.generate.is_some() && !self.generates {
            let reason = "it does not write tokens one after another".to_owned();
            return Some((format!("generation by {model}"), reason, Some("a run without `--generate`".to_owned())));
        }
        if plan.sampling.batches_in_flight > 1 && !self.batches_in_flight {
            let reason = "it waits after every batch".to_owned();
            return Some((
                "several batches in flight".to_owned(),
                reason,
                Some("a run without `--throughput-mode`".to_owned()),
            ));
        }
        let asked = plan.external.iter().flat_map(|program| program.options.keys());
        let unknown = asked.into_iter().find(|option| !self.options.contains(option))?;
        let reason = match self.options.as_slice() {
            [] => "it has no options".to_owned(),
            known => format!("its options are {}", known.join(", ")),
        };
        Some((format!("the option `{unknown}`"), reason, None))
    }
}

/// The silicon: the host's own processor is known better than any program tells it, and so is a card of NVIDIA's.
fn described(device: &HelloDevice) -> Device {
    if device.platform == Platform::Cpu {
        return host_cpu();
    }
    let name = device.name.clone().unwrap_or_default();
    let card = nvml::gpus().into_iter().find(|gpu| device.platform == Platform::Cuda && gpu.name == name);
    Device {
        kind: match device.platform {
            Platform::Tpu => DeviceKind::Tpu,
            Platform::Webnn => DeviceKind::Npu,
            _ => DeviceKind::Gpu,
        },
        vendor: device
            .vendor
            .clone()
            .unwrap_or_else(|| if card.is_some() { "NVIDIA".to_owned() } else { String::new() }),
        compute_units: card
            .as_ref()
            .and_then(|card| card.core_count)
            .or(device.compute_units)
            .filter(|&units| units > 0),
        memory_bytes: card.and_then(|card| card.memory_bytes).or(device.memory_bytes).filter(|&bytes| bytes > 0),
        software: device.software,
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::external::messages::Answer;

    fn hello(change: &str, to: &str) -> Hello {
        let text = r#"{"type":"hello","protocol":1,"engine":"mine","version":"1","models":["a"],
            "devices":[{"platform":"cpu","precisions":["fp32"]}],"metrics":[{"name":"queue"}]}"#;
        assert!(text.contains(change));
        match serde_json::from_str(&text.replace(change, to)).unwrap() {
            Answer::Hello(hello) => *hello,
            other => panic!("{}", other.name()),
        }
    }

    #[test]
    fn a_hello_that_cannot_be_is_refused() {
        assert!(check(&hello("mine", "mine"), "p").is_ok());
        for (change, to) in [
            (r#""protocol":1"#, r#""protocol":2"#),
            ("mine", "My Engine"),
            ("mine", ""),
            ("mine", "burn-flex"),
            (r#""version":"1""#, r#""version":" ""#),
            (r#"[{"platform":"cpu","precisions":["fp32"]}]"#, "[]"),
            (r#"["fp32"]"#, "[]"),
            (r#""cpu""#, r#""cuda""#),
            ("queue", "latency_p50_ms"),
            ("queue", "last_loss"),
            (r#"{"name":"queue"}"#, r#"{"name":"queue"},{"name":"queue"}"#),
        ] {
            assert!(check(&hello(change, to), "p").is_err(), "{change} -> {to}");
        }
    }

    #[test]
    fn listed_models_are_all_that_there_are() {
        assert!(hello("mine", "mine").has_model("a") && !hello("mine", "mine").has_model("b"));
        assert!(hello(r#"["a"]"#, r#""any""#).has_model("b"));
    }
}
