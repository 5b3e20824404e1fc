//! Charts as data: one file a family of charts, each a pure function from what analysis knows to a
//! [`Sheet`](crate::domain::chart::Sheet). Nothing here reads, draws or prints.

use clap::ValueEnum;

use crate::domain::label::display_as_label;

/// A chart, by its name; its label is also the name of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ChartName {
    /// Samples per second of every configuration.
    Throughput,
    /// Median, p95 and p99 of every configuration.
    Latency,
    /// Peak memory of the process and of the device.
    Memory,
    /// Throughput and latency over the batch size.
    BatchScaling,
    /// Training steps beside inference.
    TrainingInference,
    /// Other precisions against fp32.
    Precision,
    /// Speed-ups of models over a reference, as a heat map.
    Speedup,
    /// Energy of a sample.
    Energy,
    /// Accuracy over throughput, with the Pareto front.
    Accuracy,
    /// Build, compilation and first inference.
    ColdStart,
    /// Sensors of one run over time, under its iterations.
    Telemetry,
    /// The iterations of one run: histogram and sequence.
    Samples,
    /// The runs of one configuration in time, with changes and verdicts.
    History,
    /// Forecasts beside what was measured.
    Predicted,
    /// What explanations cost: six panels.
    Explanations,
}

display_as_label!(ChartName);
