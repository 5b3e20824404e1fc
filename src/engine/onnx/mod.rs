//! The engines that run ONNX files: what they share. Each has a file of its own that holds its library alone.

mod library;
mod onnxruntime;
mod openvino;
#[cfg_attr(
    not(any(feature = "tract", feature = "onnxruntime", feature = "openvino")),
    allow(dead_code, reason = "the libraries that convert elements are not compiled in")
)]
mod session;
mod tract;

use super::{Engine, EngineError, Form, Loaded, ProbedDevice, Surroundings, Versions};
use crate::domain::{Device, HostTensor, Mode, PlannedRun, Platform, Precision};
use session::Open;

pub use onnxruntime::OnnxRuntimeEngine;
pub use openvino::OpenVinoEngine;
pub use tract::TractEngine;

/// A library that runs ONNX files. What is not overridden is what a build without the library answers.
trait Library: Sync {
    /// The engine's name.
    fn name(&self) -> &'static str;

    /// The platforms that it serves.
    fn platforms(&self) -> &'static [Platform];

    /// The cargo feature that compiles it in, and whether it is.
    fn feature(&self) -> (&'static str, bool);

    /// As [`Engine::surroundings`].
    fn surroundings(&self) -> Surroundings {
        Surroundings::default()
    }

    /// As [`Engine::home`].
    fn home(&self) -> Option<Device>;

    /// As [`Engine::versions`].
    fn versions(&self) -> Versions {
        Versions { engine: String::new(), framework: String::new() }
    }

    /// As [`Engine::probe`].
    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        Err(self.missing())
    }

    /// What loads files.
    fn opener(&self) -> Result<Open, EngineError> {
        Err(self.missing())
    }

    /// Whether it has this arithmetic at all; if not, why.
    fn computes(&self, _precision: Precision) -> Result<(), EngineError> {
        Ok(())
    }

    /// Whether a file in one arithmetic can be run in another, and is then called so.
    fn converts(&self, _from: Precision, _to: Precision) -> bool {
        false
    }

    /// That the library is not compiled in.
    fn missing(&self) -> EngineError {
        EngineError::NotCompiled { engine: self.name(), feature: self.feature().0 }
    }
}

impl<L: Library> Engine for L {
    fn name(&self) -> &'static str {
        Library::name(self)
    }

    fn platforms(&self) -> &'static [Platform] {
        Library::platforms(self)
    }

    fn feature(&self) -> (&'static str, bool) {
        Library::feature(self)
    }

    fn takes(&self, form: Form) -> bool {
        form == Form::Onnx
    }

    fn surroundings(&self) -> Surroundings {
        Library::surroundings(self)
    }

    fn home(&self) -> Option<Device> {
        Library::home(self)
    }

    fn versions(&self) -> Versions {
        Library::versions(self)
    }

    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        Library::probe(self)
    }

    fn supports(&self, mode: Mode, precision: Precision) -> Result<(), EngineError> {
        self.computes(precision)?;
        let engine = Library::name(self);
        let unsupported =
            |what: String, reason, nearest| Err(EngineError::Unsupported { engine, what, reason, nearest });
        match (mode, precision) {
            (Mode::Training, _) => unsupported(
                "training".to_owned(),
                "an ONNX file holds the forward pass alone",
                Some("`--engine burn-flex` with the network of benchdb"),
            ),
            (Mode::Explanation, _) => unsupported(
                "mode explanation".to_owned(),
                "an ONNX file holds the forward pass alone",
                Some("`--mode inference`"),
            ),
            (_, Precision::Tf32 | Precision::Amp) => unsupported(
                precision.to_string(),
                "the arithmetic of an ONNX file is the one that it was written in",
                Some("`--precision fp32`"),
            ),
            _ => Ok(()),
        }
    }

    /// The arithmetic of a file is the one that it is run in: nobody converts it in silence.
    fn accepts(&self, plan: &PlannedRun) -> Result<(), EngineError> {
        let engine = Library::name(self);
        if plan.generate.is_some() {
            return Err(EngineError::Unsupported {
                engine,
                what: "writing tokens".to_owned(),
                reason: "an ONNX file holds one forward pass",
                nearest: Some("`--engine burn-flex` with the network of benchdb"),
            });
        }
        let asked = plan.configuration.precision;
        match plan.graph.as_ref().map(|graph| graph.precision) {
            Some(real) if real != asked && !self.converts(real, asked) => Err(EngineError::FilePrecision {
                engine: engine.to_owned(),
                model: plan.configuration.model.clone(),
                asked,
                real,
            }),
            _ => Ok(()),
        }
    }

    fn load(&self, plan: &PlannedRun) -> Result<Loaded, EngineError> {
        session::load(plan, self.opener()?)
    }

    fn infer(&self, plan: &PlannedRun, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
        session::infer(plan, &self.opener()?, inputs)
    }
}

/// The ONNX file of a run.
fn file_of(plan: &PlannedRun) -> Result<(&crate::domain::Graph, &std::path::Path), EngineError> {
    match (&plan.graph, &plan.weights) {
        (Some(graph), crate::domain::WeightChoice::File(path)) => Ok((graph, path)),
        _ => Err(EngineError::WrongForm {
            engines: plan.configuration.engine.clone(),
            form: super::Form::Zoo,
            model: plan.configuration.model.clone(),
        }),
    }
}

/// What a library says, as one sentence that fits a line.
fn refused(engine: &str, doing: &str, message: &str) -> EngineError {
    /// Longer ones list half a graph.
    const LONGEST: usize = 300;
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = words.chars().take(LONGEST).collect();
    if short.len() < words.len() {
        short.push_str(" ...");
    }
    EngineError::Refused { engine: engine.to_owned(), doing: doing.to_owned(), message: short }
}
