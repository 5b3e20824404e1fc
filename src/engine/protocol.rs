//! What a runner and its worker say to each other: one JSON document a line, each behind a mark, so that a driver that
//! prints to the same pipe does no harm.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{EngineError, MethodChoice, Probed, ProfileWish};
use crate::domain::profile::Profile;
use crate::domain::text::one_line;
use crate::domain::{DeviceRates, Measurement, PlannedRun, Precision};
use crate::explain::Fit;

/// The first argument of a worker process.
pub(super) const WORKER_ARGUMENT: &str = "__worker";

/// Opens every line of the protocol.
pub(super) const MARK: &str = "@benchdb ";

/// What a worker is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Which devices does this engine find?
    Probe {
        /// The engine's name.
        engine: String,
    },
    /// What can this device do at most?
    Rates {
        /// The engine's name.
        engine: String,
        /// Which of its devices, from 0.
        device_index: u32,
        /// In which arithmetic.
        precision: Precision,
        /// About how long it may take.
        limit: Duration,
    },
    /// Which attribution methods explain this model?
    Fits {
        /// The model's canonical name.
        model: String,
        /// The methods.
        methods: Vec<MethodChoice>,
    },
    /// Measure this.
    Measure {
        /// The run.
        plan: Box<PlannedRun>,
        /// Where the reference outputs are that its own are compared with.
        reference: Option<PathBuf>,
    },
    /// Measure this, with a time for each operator.
    Profile {
        /// The run.
        plan: Box<PlannedRun>,
        /// How.
        wish: ProfileWish,
    },
    /// Compute the outputs of this and write them to a file.
    Reference {
        /// The run that gives the reference.
        plan: Box<PlannedRun>,
        /// The file.
        path: PathBuf,
    },
}

/// An error on its way between two processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Words {
    /// What went wrong.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl Words {
    /// The words of an error.
    pub fn of(error: &EngineError) -> Self {
        Self { message: one_line(error), hint: error.hint() }
    }
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// The devices, or why there are none.
    Devices(Result<Probed, Words>),
    /// The rates that are known so far.
    RatesSoFar(DeviceRates),
    /// All rates, or why there are none.
    Rates(Result<DeviceRates, Words>),
    /// What each method makes of the model, or why that is not known.
    Fits(Result<Vec<Fit>, Words>),
    /// How far it is.
    Progress {
        /// Samples taken.
        iterations: u64,
        /// Since sampling started.
        elapsed_ns: u64,
        /// Still warming up.
        warming_up: bool,
    },
    /// It started a program of others, the leader of this process group.
    Started {
        /// The leader's process id.
        group: u32,
    },
    /// It passes on what a command printed.
    Printed(String),
    /// The samples are taken; the accuracy is measured.
    Evaluating {
        /// Pictures classified.
        done: u64,
        /// Pictures in the set.
        total: u64,
    },
    /// The result.
    Measured(Box<Measurement>),
    /// The result of a profile; without one where nothing was measured.
    Profiled(Box<Measurement>, Option<Box<Profile>>),
    /// The reference is written, or why not.
    Referred(Result<(), Words>),
}
