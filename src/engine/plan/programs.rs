//! The programs of others that a plan runs on: each is asked once what it can do.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::HardwareChoice;
use super::targets::Target;
use crate::domain::{ExternalProgram, Platform, Precision};
use crate::engine::ProbedDevice;
use crate::engine::external::{ExternalEngine, ExternalError};
use crate::engine::process::Guard;
use crate::hardware::host_cpu;

/// The programs of a request.
pub(super) struct Programs {
    /// Those that said what they can do.
    pub speaking: Vec<&'static ExternalEngine>,
    /// Those that did not.
    pub silent: Vec<Silent>,
}

/// A program that could not be asked.
pub(super) struct Silent {
    program: ExternalProgram,
    /// Why not.
    pub reason: Arc<ExternalError>,
}

impl Programs {
    /// Asks them all; `stop` ends that.
    pub fn meet(programs: &[ExternalProgram], stop: &Arc<AtomicBool>) -> Self {
        let (mut speaking, mut silent) = (Vec::new(), Vec::new());
        for program in programs {
            match ExternalEngine::meet(program, Guard::of(stop)) {
                Ok(engine) => speaking.push(engine),
                Err(reason) => silent.push(Silent { program: program.clone(), reason: Arc::new(reason) }),
            }
        }
        Self { speaking, silent }
    }

    /// Whether one of them has a model of that name, or may have: of those that said nothing, nobody knows.
    pub fn may_have(&self, model: &str) -> bool {
        !self.silent.is_empty() || self.speaking.iter().any(|program| program.has_model(model))
    }
}

impl Silent {
    /// Where it would have run, so that its failure can be recorded: on the processor, under its file's name. `None` where
    /// other hardware was asked for; nobody knows what it would have found there.
    pub fn target(&self, hardware: &[HardwareChoice]) -> Option<Target> {
        let processor = hardware.iter().any(|choice| {
            matches!(choice, HardwareChoice::Auto | HardwareChoice::All | HardwareChoice::Platform(Platform::Cpu))
        });
        processor.then(|| Target {
            platform: Platform::Cpu,
            engine: ExternalEngine::planned(&self.program, &self.program.short_name(), Guard::of(&Arc::default())),
            device_index: 0,
            probed: ProbedDevice { device: host_cpu(), precisions: vec![Precision::Fp32] },
            missing: None,
        })
    }
}
