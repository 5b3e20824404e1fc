//! The list of engines: one row each. To add an engine, write its file and add a row.

use super::burn::BurnEngine;
use super::command::CommandEngine;
use super::external::ExternalEngine;
use super::onnx::{OnnxRuntimeEngine, OpenVinoEngine, TractEngine};
use super::process::Guard;
use super::scripted::ScriptedEngine;
use super::{Engine, EngineError};
use crate::domain::{PlannedRun, names};

/// All engines of this program, compiled in or not; for a platform that several serve, the first is the default.
pub fn engines() -> Vec<&'static dyn Engine> {
    let burn: [&'static dyn Engine; 5] =
        [&BurnEngine::Flex, &BurnEngine::Ndarray, &BurnEngine::Wgpu, &BurnEngine::Cuda, &BurnEngine::Rocm];
    let runtimes = OnnxRuntimeEngine::ALL.iter().map(|engine| engine as &'static dyn Engine);
    // The one that needs no library comes after those that are faster where they are.
    let others: [&'static dyn Engine; 3] = [&OpenVinoEngine, &TractEngine, &ScriptedEngine];
    burn.into_iter().chain(runtimes).chain(others).collect()
}

/// The engine of that name; forgiving of case and separators, and `flex` is `burn-flex`.
///
/// # Errors
/// [`EngineError::UnknownEngine`] with the nearest names.
pub fn find_engine(name: &str) -> Result<&'static dyn Engine, EngineError> {
    let wanted = names::folded(name);
    let visible = || engines().into_iter().filter(|engine| !engine.hidden());
    engines()
        .into_iter()
        .find(|engine| {
            let own = names::folded(engine.name());
            own == wanted || own.strip_prefix("burn") == Some(&wanted)
        })
        .ok_or_else(|| EngineError::UnknownEngine {
            name: name.to_owned(),
            hint: match names::nearest(name, visible().map(Engine::name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", visible().map(Engine::name).collect::<Vec<_>>().join(", ")),
            },
        })
}

/// The engine of this program that a run is planned on.
///
/// # Errors
/// [`EngineError::UnknownEngine`] for a plan of another benchdb, or where a program of others is the engine.
pub(super) fn engine_of(plan: &PlannedRun) -> Result<&'static dyn Engine, EngineError> {
    find_engine(&plan.configuration.engine)
}

/// Whether a run is one of a test engine.
pub fn is_hidden(plan: &PlannedRun) -> bool {
    plan.external.is_none() && plan.command.is_none() && engine_of(plan).map_or(true, |engine| engine.hidden())
}

/// The engine that executes a run, in its worker: one of this program, a program of others, or a command line. It
/// lives as long as the worker, which has one run.
///
/// # Errors
/// As [`find_engine`].
pub(super) fn executing_engine(plan: &PlannedRun, guard: &Guard) -> Result<&'static dyn Engine, EngineError> {
    match (&plan.external, &plan.command) {
        (Some(program), _) => Ok(ExternalEngine::planned(program, &plan.configuration.engine, guard.clone())),
        (None, Some(_)) => Ok(Box::leak(Box::new(CommandEngine { guard: guard.clone() }))),
        (None, None) => engine_of(plan),
    }
}
