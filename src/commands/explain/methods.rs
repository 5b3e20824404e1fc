//! The attribution methods of `explain`, on a network of the zoo: the only file here that knows them.

use std::cell::{Cell, RefCell};
use std::panic::{set_hook, take_hook};

use serde_json::{Map, Value};

use super::choice::BASELINE;
use super::place::{PlaceArgs, Settings};
use super::seam::{Answer, Explained, Explainer, Failure, Job, Request};
use crate::engine::settle;
use crate::explain::{
    Crew, ExplainError, InnerBatch, Method, MethodEntry, Prepared, Target, Work, all_methods, guarded, registry,
};
use crate::zoo::{ModelEntry, WeightSource, check_inputs};

/// A network with its weights, as often as there are workers.
pub(super) struct Methods {
    entry: &'static ModelEntry,
    crew: RefCell<Crew>,
    settings: Settings,
    /// `burn-flex fp32`
    engine: String,
    /// The device and the threads, in words.
    pub(super) place: String,
    remarks: RefCell<Vec<String>>,
}

impl Methods {
    /// A model of the zoo where it is to be computed.
    ///
    /// # Errors
    /// Weights that do not fit, no such engine or device, a driver that panics.
    pub(super) fn load(entry: &'static ModelEntry, weights: &WeightSource, place: &PlaceArgs) -> anyhow::Result<Self> {
        let settings = place.settings();
        let opened = quietly(|| guarded(|| Ok(place.open(entry, weights))))??;
        let engine = format!("{} {}", opened.engine, opened.precision);
        let (threads, workers) = (opened.threads, settings.workers);
        let mut words = format!("{engine} on {}", opened.device);
        let crew = if opened.on_host && (workers > 1 || settings.threads.is_some()) {
            words.push_str(&format!(", {threads} threads, {workers} workers"));
            Crew::new(opened.network, workers as usize, threads as usize)?
        } else {
            Crew::alone(opened.network)
        };
        Ok(Self { entry, crew: RefCell::new(crew), settings, engine, place: words, remarks: RefCell::default() })
    }
}

/// Does what may panic without a word on standard error: what was said is in the error.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let usual = take_hook();
    set_hook(Box::new(|_| {}));
    let done = work();
    set_hook(usual);
    done
}

impl Explainer for Methods {
    fn method_names(&self) -> Vec<&'static str> {
        all_methods().iter().map(|entry| entry.name).collect()
    }

    fn compares(&self, name: &str) -> bool {
        let method = registry::find(name).and_then(MethodEntry::default_method);
        method.is_ok_and(|method| method.parameters().get(BASELINE).is_some())
    }

    fn engine(&self) -> &str {
        &self.engine
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.borrow().clone()
    }

    fn job<'e>(
        &'e self,
        name: &str,
        parameters: &Map<String, Value>,
        given_baselines: bool,
    ) -> anyhow::Result<Box<dyn Job + 'e>> {
        let entry = registry::find(name)?;
        let defaults = entry.default_method()?.parameters();
        let mut parameters = parameters.clone();
        if given_baselines && defaults.get(BASELINE).is_some() {
            parameters.entry(BASELINE).or_insert_with(|| "given".into());
        }
        Ok(Box::new(OneMethod { method: entry.build(&parameters)?, methods: self, rows: Cell::new(None) }))
    }
}

/// A method and the network that it explains.
struct OneMethod<'e> {
    method: Box<dyn Method>,
    methods: &'e Methods,
    /// The rows of a pass that were found to be best, or to fit.
    rows: Cell<Option<usize>>,
}

impl OneMethod<'_> {
    fn answer(&self, request: &Request<'_>) -> Result<Answer, ExplainError> {
        let given = |target: &Explained| Target { class: target.class, position: target.position };
        let targets: Vec<Target> = request.targets.iter().map(given).collect();
        let Request { inputs, baselines, inner_batch, .. } = *request;
        let entry = self.methods.entry;
        check_inputs(entry.task, &entry.inputs(), inputs)?;
        let work = Work { inputs, targets: &targets, baselines, inner_batch };
        let crew = &mut *self.methods.crew.borrow_mut();
        let (parts, rows) = self.parts(crew, &work)?;
        let attribution = crew.explain(self.method.as_ref(), &parts)?;
        let explained = |target: &Target| Explained { class: target.class, position: target.position };
        Ok(Answer {
            // A device that computes later fails here.
            attribution: guarded(|| attribution.to_host())?,
            targets: attribution.targets.iter().map(explained).collect(),
            passes: attribution.passes_per_sample(),
            inner_batch: Some(rows),
        })
    }

    /// The work on the device, and the rows of a pass; what the first batch settles is kept for the others.
    fn parts(&self, crew: &mut Crew, work: &Work<'_>) -> Result<(Vec<Prepared>, usize), ExplainError> {
        let Settings { inner_batch, memory, .. } = self.methods.settings;
        let choice = inner_batch.unwrap_or(InnerBatch::Rows(work.inner_batch));
        let choice = self.rows.get().map_or(choice, InnerBatch::Rows);
        let limit = memory.filter(|_| self.rows.get().is_none());
        let settled = settle(crew, self.method.as_ref(), work, choice, limit)?;
        if self.rows.replace(Some(settled.rows)).is_none() {
            let name = self.method.name();
            let lowered = |wanted: usize| settled.rows < wanted;
            let remark = match (&settled.tuned, choice) {
                (Some(tuned), _) => Some(format!("{name}: {tuned}")),
                (None, InnerBatch::Rows(wanted)) if lowered(wanted) => Some(format!(
                    "{name}: {} rows in a pass, not {wanted}: more do not fit into the memory",
                    settled.rows
                )),
                _ => None,
            };
            self.methods.remarks.borrow_mut().extend(remark);
        }
        Ok((settled.parts, settled.rows))
    }
}

impl Job for OneMethod<'_> {
    fn name(&self) -> &'static str {
        self.method.name()
    }

    fn parameters(&self) -> Value {
        self.method.parameters()
    }

    fn explain(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        quietly(|| guarded(|| self.answer(request))).map_err(|error| match error {
            ExplainError::Unsupported { reason, .. } => Failure::Unsupported(reason),
            error => Failure::Error(error.into()),
        })
    }
}
