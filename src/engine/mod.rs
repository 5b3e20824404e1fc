//! The software that executes networks, behind one trait; the worker process that runs one configuration; the runner
//! that starts it; and plans of what to run.
//!
//! This layer produces [`crate::domain::Measurement`]s. It knows nothing of databases and reports.

pub mod burn;
pub mod command;
mod error;
pub mod evaluation;
pub mod external;
pub mod fidelity;
mod inputs;
mod onnx;
pub mod plan;
mod process;
mod protocol;
mod rates;
mod record;
pub mod registry;
pub mod runner;
mod sampler;
pub mod scripted;
pub mod worker;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::profile::Profile;
use crate::domain::run::ExtraMetric;
use crate::domain::{
    Device, DeviceRates, HostTensor, Mode, PlannedRun, Platform, Precision, SampleSeries, TelemetrySeries,
};
use crate::measure::{Clock, MonotonicClock, ReportedClock, SamplingEnd, SamplingProgress};

pub use burn::{Learning, OpenedNetwork, Settled, network_on_host, settle};
pub use error::EngineError;
pub use evaluation::open_set;
pub use external::{ExternalEngine, ExternalError};
pub use process::Surroundings;
pub use record::record;
pub use registry::{engines, find_engine, is_hidden};
pub use runner::{Progress, Runner};

/// The version of an engine and of the framework below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The engine's own version.
    pub engine: String,
    /// The framework's name and version.
    pub framework: String,
}

/// An attribution method with those of its parameters that are not its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodChoice {
    /// Its name in [`crate::explain::registry`].
    pub method: String,
    /// By their names.
    pub parameters: Map<String, Value>,
}

/// The form in which a network comes to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Code of the zoo, with weights by their names.
    Zoo,
    /// An ONNX file, which holds graph and weights.
    Onnx,
}

/// A device as an engine sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbedDevice {
    /// The silicon.
    pub device: Device,
    /// What the engine can really compute in on it.
    pub precisions: Vec<Precision>,
}

/// What an engine finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// The devices, in its order.
    pub devices: Vec<ProbedDevice>,
    /// Its versions, those of a library that had to be loaded included.
    pub versions: Versions,
}

/// Software that executes networks.
pub trait Engine: Sync {
    /// Its name: `burn-flex`, `onnxruntime-cuda`, ...
    fn name(&self) -> &'static str;

    /// The platforms that it serves on this operating system, best first.
    fn platforms(&self) -> &'static [Platform];

    /// The cargo feature that compiles it in, and whether it is.
    fn feature(&self) -> (&'static str, bool);

    /// Whether it runs networks that come in this form.
    fn takes(&self, form: Form) -> bool {
        form == Form::Zoo
    }

    /// Whether it is left out of lists (test engines).
    fn hidden(&self) -> bool {
        false
    }

    /// Its versions; empty where they are the versions of a library that this process has not loaded.
    fn versions(&self) -> Versions;

    /// What its worker processes need around them.
    fn surroundings(&self) -> Surroundings {
        Surroundings::default()
    }

    /// The device that it would run on even where its library is missing, so that a run which was asked for by name has
    /// a record; `None` where that is not known.
    fn home(&self) -> Option<Device> {
        None
    }

    /// The devices that it finds. Drivers may crash here, so only a worker process asks.
    ///
    /// # Errors
    /// The engine is not compiled in. No device is an empty list.
    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError>;

    /// The devices of one platform, where they are known without looking for them.
    fn known_devices(&self, _platform: Platform) -> Option<Vec<ProbedDevice>> {
        None
    }

    /// The engine as a program of others, where it is one.
    fn external(&self) -> Option<&ExternalEngine> {
        None
    }

    /// Whether it can do this kind of work at all.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] with the reason and the nearest thing that works.
    fn supports(&self, mode: Mode, precision: Precision) -> Result<(), EngineError>;

    /// Whether it can do this very run, beyond what [`Self::supports`] says of its kind.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] with the reason and the nearest thing that works.
    fn accepts(&self, _plan: &PlannedRun) -> Result<(), EngineError> {
        Ok(())
    }

    /// Builds the model on the device, with its weights and inputs, ready to be run.
    ///
    /// # Errors
    /// Everything that keeps it from being built.
    fn load(&self, plan: &PlannedRun) -> Result<Loaded, EngineError>;

    /// Measures a run with a time for each operator of its network; what was measured until an error or `stop` is told.
    ///
    /// # Errors
    /// As [`Self::load`]; and an engine that does not see the operators of a network.
    fn profile(
        &self,
        _plan: &PlannedRun,
        _wish: &ProfileWish,
        _stop: &AtomicBool,
        _progress: &mut dyn FnMut(SamplingProgress),
    ) -> Result<Profiled, EngineError> {
        Err(EngineError::Unsupported {
            engine: self.name(),
            what: "a profile of operators".to_owned(),
            reason: "a network is one call for it, not a tree of modules",
            nearest: Some("`--engine burn-flex`"),
        })
    }

    /// What a device can do at most in a precision, measured in about `limit`; `report` hears what is known so far.
    ///
    /// # Errors
    /// A device or a precision that the engine does not have, an engine that cannot measure them, nothing that worked.
    fn measure_rates(
        &self,
        _device_index: u32,
        precision: Precision,
        _limit: Duration,
        _report: &mut dyn FnMut(&DeviceRates),
    ) -> Result<DeviceRates, EngineError> {
        Err(EngineError::Unsupported {
            engine: self.name(),
            what: format!("measuring the rates of a device in {precision}"),
            reason: "it was not written into it",
            nearest: None,
        })
    }

    /// One forward pass over host tensors, for checking against other software.
    ///
    /// # Errors
    /// As [`Self::load`]; and inputs that do not fit.
    fn infer(&self, plan: &PlannedRun, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError>;
}

/// A model that is ready to be run.
pub struct Loaded {
    /// What is repeated.
    pub workload: Box<dyn Workload>,
    /// The clock that times it.
    pub clock: RunClock,
    /// Parameters and buffers at their precision.
    pub model_size_bytes: Option<u64>,
    /// What compiling or optimising the network took, where the engine does that at once and apart from reading it.
    pub compile: Option<Duration>,
}

/// How to profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileWish {
    /// How often to look at what the processor does, for each second of its time; never without.
    pub sampling_hertz: Option<u32>,
}

/// What a profile measured.
pub struct Profiled {
    /// What was repeated.
    pub workload: Box<dyn Workload>,
    /// The iterations without a time for each operator.
    pub end: SamplingEnd<EngineError>,
    /// What building and loading the network took; `None` where the processor was sampled meanwhile.
    pub startup: Option<Duration>,
    /// Parameters and buffers at their precision.
    pub model_size_bytes: Option<u64>,
    /// Everything else.
    pub profile: Profile,
}

/// What is repeated and timed.
pub trait Workload {
    /// Does it once and waits for the device; `mark` ends each phase but the last.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn iterate(&mut self, mark: &mut dyn FnMut()) -> Result<(), EngineError>;

    /// Between two iterations, untimed: releases what the last one made.
    fn between(&mut self) {}

    /// Whether more was done already than `iterate` told; see [`crate::measure::Sampled::pending`].
    fn pending(&self) -> bool {
        false
    }

    /// The names of the phases that `iterate` marks, in order; empty for work of one phase.
    fn phases(&self) -> &[&'static str] {
        &[]
    }

    /// The samples that one iteration works on.
    fn samples_per_iteration(&self) -> u64;

    /// The precision of the results, read from the results themselves; `None` where it cannot be read.
    fn result_precision(&self) -> Option<Precision> {
        None
    }

    /// What one iteration reads and writes, where it generates text; its phases are then `prefill` and `decode`.
    fn generation(&self) -> Option<GenerationShape> {
        None
    }

    /// The outputs of one forward pass of the measured network over other inputs, untimed; `None` where the network
    /// was changed by what was measured.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn outputs(&mut self, _inputs: &[HostTensor]) -> Result<Option<Vec<HostTensor>>, EngineError> {
        Ok(None)
    }

    /// Does the measured work once more, untimed, and reads a result of it back: a device may fail silently and be fast at
    /// it.
    ///
    /// # Errors
    /// What kept the work from being done.
    fn verify(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// The losses of the first and the last training step.
    fn losses(&mut self) -> Option<(f32, f32)> {
        None
    }

    /// What it knows beside its times; asked once, after the last iteration and after memory was read, so that it may
    /// still measure something to compare with. `median` is that of the iterations, where there were any.
    ///
    /// # Errors
    /// What kept it from measuring.
    fn own_metrics(&mut self, _median: Option<Duration>) -> Result<Vec<ExtraMetric>, EngineError> {
        Ok(Vec::new())
    }

    /// Memory that the engine holds on the device now.
    fn device_memory(&self) -> Option<DeviceMemory> {
        None
    }

    /// What work that is done by another process knows of itself; `None` for work of this one. Asked once, after the
    /// last iteration, with the number of samples.
    fn report(&mut self, _iterations: usize) -> Option<OwnReport> {
        None
    }

    /// The end of the work: what another process does last may still go wrong.
    ///
    /// # Errors
    /// It did.
    fn finish(self: Box<Self>) -> Result<(), EngineError> {
        Ok(())
    }
}

/// What work that is done by another process knows of itself. What it does not know was not measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnReport {
    /// The largest resident memory of that process, in bytes.
    pub host_peak_bytes: Option<u64>,
    /// The most that it held on the device, in bytes.
    pub device_peak_bytes: Option<u64>,
    /// The share of what was tried that succeeded, where a failure does not end the run.
    pub success_rate: Option<f64>,
    /// Metrics of its own.
    pub extra_metrics: Vec<ExtraMetric>,
    /// Durations beside those of the iterations.
    pub samples: Vec<SampleSeries>,
    /// Values of each iteration, by the time since the run began.
    pub series: Vec<TelemetrySeries>,
    /// Its versions, by its own word.
    pub versions: Option<Versions>,
    /// What whoever reads the numbers should know.
    pub hint: Option<String>,
}

/// The tokens of one sample of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenerationShape {
    /// Tokens that are read before the first one is written: those of the encoder, where there is one, and those that
    /// the decoder starts with.
    pub prompt_tokens: u64,
    /// Tokens that are written.
    pub new_tokens: u64,
}

/// Memory on a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// In use by tensors.
    pub allocated: u64,
    /// Held by the engine, for use or reuse.
    pub reserved: u64,
}

/// The clock of a run: the real one, or what another process or the scripted test engine says.
#[derive(Clone, Debug)]
pub enum RunClock {
    /// The operating system's.
    Monotonic(MonotonicClock),
    /// That of whoever did the work.
    Reported(ReportedClock),
}

impl Clock for RunClock {
    #[inline]
    fn now(&mut self) -> u64 {
        match self {
            Self::Monotonic(clock) => clock.now(),
            Self::Reported(clock) => clock.now(),
        }
    }
}
