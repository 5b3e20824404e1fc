//! Which explanations of a model are planned: its methods, tried before anything is measured, and the versions of them
//! that an ablation compares.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::models::Chosen;
use super::targets::Target;
use super::{LeftOut, Plan};
use crate::domain::explanation::COMPLETE;
use crate::domain::{Mode, PlannedRun, Platform, Precision};
use crate::engine::{EngineError, Form, MethodChoice, Runner};
use crate::explain::registry::{self, Selected};
use crate::explain::{ExplainError, Fit, InnerBatch, MethodEntry};

/// How explanations are made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExplanationChoice {
    /// The methods by name; all that fit a model where there is none.
    pub methods: Vec<String>,
    /// Their parameters: `NAME` of all of them, `METHOD.NAME` of one.
    pub parameters: Vec<(String, Value)>,
    /// The class that is explained; each sample's own answer without.
    pub target: Option<usize>,
    /// The most rows of one pass.
    pub inner_batch: Option<InnerBatch>,
    /// Workers that share the samples of a batch.
    pub workers: Option<u32>,
    /// Whether each speed feature is measured by leaving it out.
    pub ablation: bool,
}

/// The versions of an explanation that an ablation compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Version {
    /// No ablation was asked for.
    #[default]
    AsAsked,
    /// With every feature.
    Complete,
    /// Other parameters.
    Changed,
    /// The samples of a batch one after the other.
    OneByOne,
    /// Shared out among workers.
    Workers,
    /// In the half precision that the device has.
    HalfPrecision,
}

/// What is done with a model: one unit for a forward pass or a training step, one for each version of each method.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    /// The label of a version, beside the model's own.
    pub variant: &'static str,
    /// The method; `None` for what is no explanation.
    pub method: Option<&'static MethodEntry>,
    /// What the configuration's parameters say of it.
    pub parameters: BTreeMap<String, Value>,
    /// Which version of it.
    pub version: Version,
    /// Why it cannot be done.
    pub unfit: Option<Arc<str>>,
}

impl Work {
    /// Why it cannot be done with its model, on whatever engine.
    pub fn misfit(&self) -> Option<EngineError> {
        let (method, reason) = (self.method?.name, self.unfit.as_deref()?);
        Some(EngineError::Explain(ExplainError::Unsupported { method, reason: reason.to_owned() }))
    }

    /// The run of it on a target; `None` where the version would be no other than the complete one.
    pub fn on(&self, target: &Target, mut planned: PlannedRun) -> Option<PlannedRun> {
        let configuration = &mut planned.configuration;
        let several = configuration.batch_size > 1;
        match self.version {
            Version::AsAsked | Version::Complete | Version::Changed => {}
            Version::OneByOne if several => {}
            Version::Workers if several && configuration.threads > 1 && target.platform == Platform::Cpu => {}
            Version::HalfPrecision => {
                let halves = [Precision::Fp16, Precision::Bf16];
                configuration.precision = halves
                    .into_iter()
                    .find(|half| *half != configuration.precision && target.probed.precisions.contains(half))?;
            }
            Version::OneByOne | Version::Workers => return None,
        }
        Some(planned)
    }
}

impl ExplanationChoice {
    /// What is planned of a model: its methods tried on a small input by a worker process, and their versions.
    /// Who asks for all methods gets those that fit, the others are left out of the plan.
    ///
    /// # Errors
    /// Methods that do not exist, parameters that they do not have; no worker.
    pub(super) fn works(&self, model: &Chosen, runner: &Runner, plan: &mut Plan) -> Result<Vec<Work>, EngineError> {
        let methods = registry::select(&self.methods, &self.parameters)?;
        let fits = match (model.entry, model.form()) {
            (Some(entry), Form::Zoo) => {
                let choice = |(method, parameters): &Selected| MethodChoice {
                    method: method.name.to_owned(),
                    parameters: parameters.clone(),
                };
                runner.fits(entry.name, methods.iter().map(choice).collect())?
            }
            // Programs of others say themselves what they do.
            _ => vec![Fit::Works; methods.len()],
        };
        let mut works = Vec::new();
        for ((method, parameters), fit) in methods.into_iter().zip(fits) {
            let unfit = match fit {
                Fit::Works => None,
                Fit::Unsupported(reason) if self.methods.is_empty() => {
                    let reason = EngineError::Explain(ExplainError::Unsupported { method: method.name, reason });
                    plan.left_out.push(LeftOut { what: model.name.clone(), reason });
                    continue;
                }
                Fit::Unsupported(reason) => Some(Arc::from(reason)),
                // The run itself tells what is wrong, and is a record of it.
                Fit::Failed(_) => None,
            };
            let whole = self.work(method, &parameters);
            if unfit.is_some() || !self.ablation {
                works.push(Work { unfit, ..whole });
            } else {
                works.extend(versions(&whole));
            }
        }
        Ok(works)
    }

    /// A method as it was asked for.
    fn work(&self, method: &'static MethodEntry, own: &Map<String, Value>) -> Work {
        let mut parameters = BTreeMap::from([("method".to_owned(), Value::from(method.name))]);
        if !own.is_empty() {
            parameters.insert("method_parameters".to_owned(), Value::Object(own.clone()));
        }
        if let Some(target) = self.target {
            parameters.insert("target".to_owned(), target.into());
        }
        match self.inner_batch {
            Some(InnerBatch::Rows(rows)) => parameters.insert("inner_batch".to_owned(), rows.into()),
            Some(InnerBatch::Auto) => parameters.insert("inner_batch".to_owned(), "auto".into()),
            None => None,
        };
        if let Some(workers) = self.workers {
            parameters.insert("workers".to_owned(), workers.into());
        }
        Work { method: Some(method), parameters, ..Work::default() }
    }
}

/// The complete version, and one for each feature that is left out or added.
fn versions(complete: &Work) -> Vec<Work> {
    let with = |version, variant, name: &str, value: Value| {
        let mut parameters = complete.parameters.clone();
        parameters.insert(name.to_owned(), value);
        Work { version, variant, parameters, ..complete.clone() }
    };
    let mut versions = vec![Work { version: Version::Complete, variant: COMPLETE, ..complete.clone() }];
    if complete.method.is_some_and(|method| method.has_inner_samples) {
        versions.push(with(Version::Changed, "no inner batching", "inner_batch", 1.into()));
        versions.push(with(Version::Changed, "tuned inner batch", "inner_batch", "auto".into()));
    }
    versions.push(with(Version::OneByOne, "one by one", "one_by_one", true.into()));
    versions.push(with(Version::Changed, "tracked weights", "optimized", false.into()));
    versions.push(with(Version::Workers, "parallel workers", "workers", 2.into()));
    versions.push(Work { version: Version::HalfPrecision, variant: "half precision", ..complete.clone() });
    versions.push(with(Version::Changed, "cached", "cached", true.into()));
    versions
}

/// What is done with a model in a mode.
///
/// # Errors
/// As [`ExplanationChoice::works`].
pub(super) fn works(
    mode: Mode,
    choice: &ExplanationChoice,
    model: &Chosen,
    runner: &Runner,
    plan: &mut Plan,
) -> Result<Vec<Work>, EngineError> {
    match mode {
        Mode::Explanation => choice.works(model, runner, plan),
        Mode::Inference | Mode::Training => Ok(vec![Work::default()]),
    }
}
