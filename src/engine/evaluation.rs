//! Real pictures: how often a measured network is right about them, and batches of them to time.

use std::path::Path;

use super::{EngineError, Workload};
use crate::dataset::{self, Accuracy, Dataset, Requirements, Split};
use crate::domain::{MetricSet, PlannedRun};
use crate::zoo::{self, ModelEntry};

/// Pictures that are looked at together: enough to keep a device busy, few enough for any memory.
const BATCH: usize = 32;

/// A test set that fits the model of a run.
pub(super) struct Evaluation {
    set: Dataset,
    classes: usize,
}

impl Evaluation {
    /// Opens the test set of a run; `None` where it has none.
    ///
    /// # Errors
    /// A set that is none, or does not fit the model.
    pub fn open(plan: &PlannedRun) -> Result<Option<Self>, EngineError> {
        let Some(data) = &plan.data else { return Ok(None) };
        let model = &plan.configuration.model;
        let Some(entry) = zoo::find(model) else { return Ok(None) };
        Ok(Some(Self { set: open_set(entry, &data.path, Split::Test)?, classes: entry.labels }))
    }

    /// Classifies the whole set with what was measured and stores the accuracy. `progress` hears
    /// after each batch how many samples are done, and how many there are.
    ///
    /// # Errors
    /// A broken picture, or whatever the forward pass says.
    pub fn run(
        &self,
        workload: &mut dyn Workload,
        progress: &mut dyn FnMut(u64, u64),
        metrics: &mut MetricSet,
    ) -> Result<(), EngineError> {
        let mut accuracy = Accuracy::new(self.classes);
        for batch in self.set.batches(BATCH) {
            let batch = batch?;
            let outputs = workload.outputs(std::slice::from_ref(&batch.image))?;
            // The outputs of files have names of their own.
            let only = outputs.as_deref().and_then(|outputs| if let [only] = outputs { Some(only) } else { None });
            if let Some(logits) = outputs.iter().flatten().find(|output| output.name == "logits").or(only) {
                accuracy.add(logits, &batch.labels)?;
            }
            progress(accuracy.samples() as u64, self.set.samples() as u64);
        }
        metrics.set_optional("accuracy_top1", accuracy.top1());
        metrics.set_optional("accuracy_top5", accuracy.top5());
        Ok(())
    }
}

/// Opens a part of a set for a model of the zoo.
///
/// # Errors
/// A set that is none, or does not fit the model.
pub fn open_set(entry: &ModelEntry, path: &Path, split: Split) -> Result<Dataset, EngineError> {
    let inputs = entry.inputs();
    let shape = inputs.first().map(|input| input.shape.as_slice()).unwrap_or_default();
    let requirements = Requirements::of_model(entry.name, shape, entry.labels, split)?;
    Ok(dataset::open(path, &requirements)?)
}

/// What is worth saying of a set before it is used: its name and the beginning of its digest, and what was decided while
/// it was opened. The name alone where it cannot be read, which the run will say.
pub(super) fn introduce(entry: &ModelEntry, path: &Path) -> (String, Vec<String>) {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let Ok(set) = open_set(entry, path, Split::Test) else { return (name.into_owned(), Vec::new()) };
    let notes = set.notes().to_vec();
    match set.digest() {
        Ok(digest) => (format!("{name}@{}", &digest[..12]), notes),
        Err(_) => (name.into_owned(), notes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Task;

    #[test]
    fn every_image_classifier_has_a_published_pre_processing() {
        for entry in zoo::models().iter().filter(|entry| entry.task == Task::ImageClassification) {
            let input = entry.inputs().remove(0).shape;
            let required = Requirements::of_model(entry.name, &input, entry.labels, Split::Test);
            assert!(required.is_ok(), "{}: {required:?}", entry.name);
        }
    }
}
