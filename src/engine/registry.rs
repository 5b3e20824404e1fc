//! The list of engines: one row each. To add an engine, write its file and add a row.

use super::burn::BurnEngine;
use super::onnx::{OnnxRuntimeEngine, OpenVinoEngine, TractEngine};
use super::scripted::ScriptedEngine;
use super::{Engine, EngineError};
use crate::domain::names;

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
