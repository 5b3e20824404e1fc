//! The software that executes networks, behind one trait; the worker process that runs one configuration; the runner
//! that starts it; and plans of what to run.
//!
//! This layer produces [`crate::domain::Measurement`]s. It knows nothing of databases and reports.

pub mod burn;
mod error;
pub mod evaluation;
pub mod fidelity;
pub mod plan;
mod protocol;
mod rates;
mod record;
pub mod registry;
pub mod runner;
pub mod scripted;
pub mod worker;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{Device, DeviceRates, HostTensor, Mode, PlannedRun, Platform, Precision};
use crate::measure::{Clock, MonotonicClock};

pub use burn::{Learning, network_on_host};
pub use error::EngineError;
pub use evaluation::open_set;
pub use record::record;
pub use registry::{engines, find_engine};
pub use runner::{Progress, Runner};

/// The version of an engine and of the framework below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The engine's own version.
    pub engine: String,
    /// The framework's name and version.
    pub framework: String,
}

/// A device as an engine sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbedDevice {
    /// The silicon.
    pub device: Device,
    /// What the engine can really compute in on it.
    pub precisions: Vec<Precision>,
}

/// Software that executes networks.
pub trait Engine: Sync {
    /// Its name: `burn-flex`, `onnxruntime-cuda`, ...
    fn name(&self) -> &'static str;

    /// The platforms that it serves on this operating system, best first.
    fn platforms(&self) -> &'static [Platform];

    /// The cargo feature that compiles it in, and whether it is.
    fn feature(&self) -> (&'static str, bool);

    /// Whether it is left out of lists (test engines).
    fn hidden(&self) -> bool {
        false
    }

    /// Its versions.
    fn versions(&self) -> Versions;

    /// The devices that it finds. Drivers may crash here, so only a worker process asks.
    ///
    /// # Errors
    /// The engine is not compiled in. No device is an empty list.
    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError>;

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

    /// The names of the phases that `iterate` marks, in order; empty for work of one phase.
    fn phases(&self) -> &'static [&'static str] {
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

    /// Memory that the engine holds on the device now.
    fn device_memory(&self) -> Option<DeviceMemory> {
        None
    }
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

/// The clock of a run: the real one, or that of the scripted test engine.
#[derive(Clone, Debug)]
pub enum RunClock {
    /// The operating system's.
    Monotonic(MonotonicClock),
    /// A script's.
    Scripted(scripted::ScriptedClock),
}

impl Clock for RunClock {
    #[inline]
    fn now(&mut self) -> u64 {
        match self {
            Self::Monotonic(clock) => clock.now(),
            Self::Scripted(clock) => clock.now(),
        }
    }
}
