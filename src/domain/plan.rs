//! What is going to be measured: what travels from the command line to an engine and its worker process.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::configuration::Configuration;
use super::label::display_as_label;
use super::model::{Graph, InputSpec};
use super::program::{ExternalProgram, WholeCommand};
use super::run::ModelRecord;

/// How many samples to take, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Iterations before sampling starts; the first call is apart from them.
    pub warmup_iterations: u32,
    /// Warm up for at least this long.
    pub warmup_time: Duration,
    /// Take at least this many samples.
    pub min_iterations: u32,
    /// Sample for at least this long.
    pub min_time: Duration,
    /// Stop after this long, whatever was reached.
    pub max_time: Duration,
    /// Go on until the half-width of the median's interval is below this share of the median.
    pub precision_target: Option<f64>,
    /// Batches in flight between two synchronisations; 1 measures latency.
    pub batches_in_flight: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            warmup_iterations: 3,
            warmup_time: Duration::from_millis(200),
            min_iterations: 50,
            min_time: Duration::from_secs(1),
            max_time: Duration::from_secs(60),
            precision_target: None,
            batches_in_flight: 1,
        }
    }
}

/// The optimizer of a training step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum TrainingOptimizer {
    /// Adam with its published defaults.
    #[default]
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

display_as_label!(TrainingOptimizer);

/// Where a model's weights come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightChoice {
    /// Made by the rule from the seed.
    Seeded(u64),
    /// Read from a file.
    File(PathBuf),
}

/// A labelled set of pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataChoice {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the timed batches are made of it, too; of inputs by the rule otherwise.
    pub feeds_batches: bool,
}

/// The weights that a run's outputs are compared with, in single precision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceChoice {
    /// The file.
    pub path: PathBuf,
    /// What it describes, where it holds a whole network.
    pub graph: Option<Graph>,
}

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// Place in the plan, from 0.
    pub position: u32,
    /// Which repetition of the configuration this is, from 1.
    pub repetition: u32,
    /// What to measure.
    pub configuration: Configuration,
    /// Which of the platform's devices, from 0.
    pub device_index: u32,
    /// The model's inputs.
    pub inputs: Vec<InputSpec>,
    /// The weights.
    pub weights: WeightChoice,
    /// Seed of inputs and targets.
    pub seed: u64,
    /// The optimizer, in training.
    pub optimizer: TrainingOptimizer,
    /// How long to sample.
    pub sampling: Sampling,
    /// Tokens to write after the prompt, for models that write; a forward pass alone without.
    #[serde(default)]
    pub generate: Option<u32>,
    /// The test set that the accuracy is measured on.
    #[serde(default)]
    pub data: Option<DataChoice>,
    /// The time between two readings of the sensors; they are not read where there is none.
    #[serde(default)]
    pub telemetry_interval: Option<Duration>,
    /// The program that executes, where it is none of benchdb's engines.
    #[serde(default)]
    pub external: Option<ExternalProgram>,
    /// The command line that is measured as a whole process, instead of a network.
    #[serde(default)]
    pub command: Option<WholeCommand>,
    /// The network in the file that `weights` names, where that file holds a whole one; its inputs are those of
    /// `inputs`, in the same order.
    #[serde(default)]
    pub graph: Option<Graph>,
    /// What the file says of its network; all that is known of a model that the zoo does not have.
    #[serde(default)]
    pub described: Option<ModelRecord>,
    /// Tensors to measure with instead of made-up ones, as NumPy writes them.
    #[serde(default)]
    pub input: Option<PathBuf>,
    /// What the outputs are compared with, where somebody named it.
    #[serde(default)]
    pub reference: Option<ReferenceChoice>,
}
