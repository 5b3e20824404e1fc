//! The reference outputs of a campaign: computed once for each model, weights and inputs, and removed at its end.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::commands::Context;
use crate::domain::PlannedRun;
use crate::domain::text::one_line;
use crate::engine::Runner;
use crate::engine::fidelity::reference_plans;

/// Files of reference outputs, by the plans that give them.
#[derive(Default)]
pub(super) struct References {
    folder: Option<TempDir>,
    /// `None` for one that could not be computed; it is not tried again.
    known: HashMap<String, Option<PathBuf>>,
    /// The models whose lack of a reference was said; the same file has it in every batch size and by every engine.
    said: HashSet<String>,
}

impl References {
    /// The file that a run's outputs are compared with; `None` where there is nothing to compare, or the reference
    /// could not be computed, which is said once.
    pub fn of(&mut self, plan: &PlannedRun, runner: &Runner, stop: &AtomicBool, context: &Context) -> Option<PathBuf> {
        let candidates = reference_plans(plan);
        let key = serde_json::to_string(&candidates).ok().filter(|_| !candidates.is_empty())?;
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let mut reasons = Vec::new();
        let mut written = None;
        for reference in &candidates {
            let tried = self.path().and_then(|path| {
                runner.write_reference(reference, &path, stop).map_err(|error| one_line(&error)).map(|()| path)
            });
            match tried {
                Ok(path) => {
                    written = Some(path);
                    break;
                }
                Err(reason) => reasons.push(format!("by {}: {reason}", reference.configuration.engine)),
            }
        }
        let model = format!("{} {}", plan.configuration.model, plan.configuration.variant).trim_end().to_owned();
        if written.is_none() && !stop.load(Ordering::Relaxed) && self.said.insert(model.clone()) {
            context.note(&format!(
                "no fidelity for {model}: its reference in fp32 could not be computed {}",
                reasons.join("; ")
            ));
        }
        self.known.entry(key).or_insert(written).clone()
    }

    /// A new file in the campaign's folder.
    fn path(&mut self) -> Result<PathBuf, String> {
        let number = self.known.len();
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => tempfile::Builder::new().prefix("benchdb-").tempdir().map_err(|error| error.to_string())?,
        };
        Ok(self.folder.insert(folder).path().join(format!("{number}.safetensors")))
    }
}
