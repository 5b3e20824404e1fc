//! Plain types that every layer shares: no I/O, no tensors, no SQL.

pub mod chart;
pub mod configuration;
pub mod document;
pub mod environment;
pub mod explanation;
pub mod forecast;
pub mod hardware;
pub mod import;
pub mod label;
pub mod metric;
pub mod model;
pub mod names;
pub mod plan;
pub mod preprocessing;
pub mod profile;
pub mod program;
pub mod run;
#[cfg(test)]
pub mod samples;
pub mod sensor;
pub mod series;
pub mod table;
pub mod text;
pub mod time;
pub mod verdict;

pub use configuration::{Configuration, Mode, Precision};
pub use environment::Environment;
pub use forecast::{Example, Forecast, Prediction, Subject, Tier};
pub use hardware::{Device, DeviceKind, DeviceProbe, DeviceRates, Platform};
pub use import::{ImportItem, Refusal};
pub use metric::{Metric, MetricKind, MetricSet};
pub use model::{
    Category, ElementType, Extent, Graph, GraphInput, HostData, HostTensor, InputKind, InputSpec, LabelledBatch,
    ModelCost, Task,
};
pub use plan::{DataChoice, PlannedRun, ReferenceChoice, Sampling, TrainingOptimizer, WeightChoice};
pub use preprocessing::Preprocessing;
pub use program::{AnswerTimes, ExternalProgram, ParsedMetric, WholeCommand};
pub use run::{
    Artifact, Campaign, Measurement, RunRecord, RunStatus, SampleSeries, StopReason, TelemetrySeries, Validity,
};
pub use sensor::{Quantity, Sensor, SensorSource, Span, ThrottleReason};
pub use series::{Identity, Part, RunGroup, Series, SeriesRun, SeriesSet};
pub use table::{Cell, Table};
pub use verdict::{Difference, Evidence, Judgement, Side, Verdict, VerdictReport};
