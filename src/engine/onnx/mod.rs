//! The engines that run ONNX files: what they share. Each has a file of its own that holds its library alone.

mod library;
mod onnxruntime;
mod openvino;
#[cfg(any(feature = "tract", feature = "onnxruntime", feature = "openvino"))]
mod session;
mod tract;

use super::EngineError;
use crate::domain::{Mode, PlannedRun, Precision};

pub use library::Surroundings;
pub use onnxruntime::OnnxRuntimeEngine;
pub use openvino::OpenVinoEngine;
pub use tract::TractEngine;

/// What every engine of ONNX files refuses.
fn supports(engine: &'static str, mode: Mode, precision: Precision) -> Result<(), EngineError> {
    let unsupported = |what: String, reason, nearest| Err(EngineError::Unsupported { engine, what, reason, nearest });
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
fn accepts(engine: &'static str, plan: &PlannedRun) -> Result<(), EngineError> {
    if plan.generate.is_some() {
        return Err(EngineError::Unsupported {
            engine,
            what: "writing tokens".to_owned(),
            reason: "an ONNX file holds one forward pass",
            nearest: Some("`--engine burn-flex` with the network of benchdb"),
        });
    }
    let configuration = &plan.configuration;
    match &plan.graph {
        Some(graph) if graph.precision != configuration.precision => Err(EngineError::FilePrecision {
            engine: engine.to_owned(),
            model: configuration.model.clone(),
            asked: configuration.precision,
            real: graph.precision,
        }),
        _ => Ok(()),
    }
}

/// The ONNX file of a run.
#[cfg(any(feature = "tract", feature = "onnxruntime", feature = "openvino"))]
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
#[cfg(any(feature = "tract", feature = "onnxruntime", feature = "openvino"))]
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
