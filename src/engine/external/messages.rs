//! The messages of the protocol, version 1: one JSON object a line. docs/external.md describes every field; a request
//! and its answer have the same `type`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::metric::Better;
use crate::domain::{Mode, Platform, Precision, Task, TrainingOptimizer};

/// The version that is spoken here.
pub(super) const PROTOCOL: u64 = 1;

/// What a program is asked.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Request<'r> {
    /// Who are you?
    Hello { protocol: u64, benchdb: &'static str },
    /// Build this.
    Prepare(Box<Prepare<'r>>),
    /// Do it so many times.
    Steps { count: u64 },
    /// Compute the outputs of these inputs.
    Outputs { input: &'r Path, output: &'r Path },
    /// End.
    Bye,
}

impl Request<'_> {
    /// The `type`, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Prepare(_) => "prepare",
            Self::Steps { .. } => "steps",
            Self::Outputs { .. } => "outputs",
            Self::Bye => "bye",
        }
    }
}

/// What is to be built.
#[derive(Debug, Serialize)]
pub(super) struct Prepare<'r> {
    pub model: &'r str,
    pub variant: &'r str,
    pub task: Option<Task>,
    /// Classes or tokens that the targets choose from.
    pub labels: Option<usize>,
    pub mode: Mode,
    pub precision: Precision,
    pub platform: Platform,
    pub device_index: u32,
    pub batch_size: u32,
    pub batches_in_flight: u32,
    pub generate: Option<u32>,
    pub threads: u32,
    pub seed: u64,
    pub weights: Weights<'r>,
    pub inputs: Vec<Input<'r>>,
    /// The batch to work on: an .npz with the inputs by name; `None` where benchdb does not know them.
    pub input: Option<&'r Path>,
    /// What training compares with: an .npz; `None` where nothing is needed.
    pub targets: Option<&'r Path>,
    pub optimizer: Option<TrainingOptimizer>,
    pub learning_rate: Option<f64>,
    pub options: &'r BTreeMap<String, Value>,
}

/// Where weights come from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Weights<'r> {
    /// The rule of docs/measuring.md with this seed.
    Rule(u64),
    /// A file.
    File { path: &'r Path, format: &'r str },
}

/// One input of the model.
#[derive(Debug, Serialize)]
pub(super) struct Input<'r> {
    pub name: &'r str,
    /// With the batch.
    pub shape: Vec<usize>,
    #[serde(rename = "type")]
    pub element: &'static str,
}

/// What a program answers.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Answer {
    Hello(Box<Hello>),
    Prepare(Prepared),
    Steps(Steps),
    Outputs {},
    Bye {},
    /// It cannot do this.
    Unsupported {
        reason: String,
        #[serde(default)]
        nearest: Option<String>,
    },
    /// It broke.
    Error {
        message: String,
    },
}

impl Answer {
    /// The `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Prepare(_) => "prepare",
            Self::Steps(_) => "steps",
            Self::Outputs {} => "outputs",
            Self::Bye {} => "bye",
            Self::Unsupported { .. } => "unsupported",
            Self::Error { .. } => "error",
        }
    }
}

/// Who a program is and what it can do.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hello {
    pub protocol: u64,
    /// The engine's name: `pytorch`.
    pub engine: String,
    pub version: String,
    /// The framework below with its version; the engine and its version without.
    #[serde(default)]
    pub framework: Option<String>,
    pub devices: Vec<HelloDevice>,
    #[serde(default = "inference")]
    pub modes: Vec<Mode>,
    pub models: Models,
    /// `rule`, `safetensors`, `pytorch`, `onnx`.
    #[serde(default = "by_rule")]
    pub weights: Vec<String>,
    /// Names that `--external-option` may give.
    #[serde(default)]
    pub options: Vec<String>,
    #[serde(default)]
    pub generates: bool,
    #[serde(default)]
    pub batches_in_flight: bool,
    #[serde(default)]
    pub metrics: Vec<HelloMetric>,
    /// What changes its work and is not asked for: becomes a part of every configuration.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
}

fn inference() -> Vec<Mode> {
    vec![Mode::Inference]
}

fn by_rule() -> Vec<String> {
    vec!["rule".to_owned()]
}

/// A device that a program can work on; the host's processor needs no more than the first two fields.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HelloDevice {
    pub platform: Platform,
    pub precisions: Vec<Precision>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub vendor: Option<String>,
    #[serde(default)]
    pub compute_units: Option<u32>,
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    #[serde(default)]
    pub software: bool,
}

/// The models that a program has.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Models {
    /// `"any"`: whatever name comes.
    Any(AnyModel),
    /// These.
    Listed(Vec<String>),
}

/// The word `any`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AnyModel {
    Any,
}

/// A metric that a program may report.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HelloMetric {
    pub name: String,
    #[serde(default)]
    pub unit: String,
    #[serde(default = "neither")]
    pub better: Better,
}

fn neither() -> Better {
    Better::None
}

/// What was built.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Prepared {
    /// The arithmetic that it really does.
    pub precision: Precision,
    /// The phases that every step reports, in order.
    #[serde(default)]
    pub phases: Vec<String>,
    #[serde(default)]
    pub model_size_bytes: Option<u64>,
    /// What compiling took.
    #[serde(default)]
    pub compile_ns: Option<u64>,
}

/// What the steps took.
#[derive(Debug, Deserialize)]
pub(super) struct Steps {
    /// One number a step.
    pub nanoseconds: Vec<Value>,
    /// One list for each phase that `prepare` named.
    #[serde(default)]
    pub phases: BTreeMap<String, Vec<Value>>,
    /// Of the last step.
    #[serde(default)]
    pub loss: Option<f64>,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

/// Memory on the device, in bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Memory {
    #[serde(default)]
    pub device_peak_bytes: Option<u64>,
    #[serde(default)]
    pub device_allocated_bytes: Option<u64>,
    #[serde(default)]
    pub device_reserved_bytes: Option<u64>,
}

/// The phases of a step that benchdb has names for, in the order in which they happen.
const PHASES: [&str; 6] = ["prefill", "decode", "forward", "loss", "backward", "optimizer_step"];

/// The phases by benchdb's own names.
///
/// # Errors
/// A name that benchdb does not know, twice the same, or another order; in one line.
pub(super) fn known_phases(named: &[String]) -> Result<Vec<&'static str>, String> {
    let known: Vec<&'static str> = PHASES.into_iter().filter(|phase| named.iter().any(|name| name == phase)).collect();
    if known.len() == named.len() && known.iter().zip(named).all(|(known, name)| known == name) {
        Ok(known)
    } else {
        Err(format!("the phases are `{}`; there are {}, in this order", named.join(", "), PHASES.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_that_say_their_type() {
        let line = |request: &Request<'_>| serde_json::to_string(request).unwrap();
        assert_eq!(line(&Request::Steps { count: 3 }), r#"{"type":"steps","count":3}"#);
        assert_eq!(line(&Request::Bye), r#"{"type":"bye"}"#);
        assert_eq!(serde_json::to_string(&Weights::Rule(7)).unwrap(), r#"{"rule":7}"#);
    }

    #[test]
    fn a_short_hello_is_enough() {
        let text = r#"{"type":"hello","protocol":1,"engine":"mine","version":"1","models":"any",
            "devices":[{"platform":"cpu","precisions":["fp32"]}]}"#;
        let Answer::Hello(hello) = serde_json::from_str(text).unwrap() else { panic!("no hello") };
        assert!(matches!(hello.models, Models::Any(_)));
        assert_eq!(
            (hello.modes.as_slice(), hello.weights.as_slice()),
            (&[Mode::Inference][..], &["rule".to_owned()][..])
        );
    }

    #[test]
    fn phases_have_names_and_an_order() {
        let named = |names: &[&str]| known_phases(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(named(&["forward", "backward"]), Ok(vec!["forward", "backward"]));
        assert!(named(&["backward", "forward"]).is_err());
        assert!(named(&["forward", "forward"]).is_err());
        assert!(named(&["think"]).is_err());
    }
}
