//! The work of the command: samples in batches, each explained by every method, from the cache where it was before.

use std::path::PathBuf;
use std::time::Instant;

use indicatif::ProgressBar;
use rayon::prelude::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::super::{CommandError, Context};
use super::files::{Destination, Drawn, Written};
use super::seam::{Answer, Explained, Explainer, Failure, Job, Request};
use super::shelf::Shelf;
use super::tables::{Report, Row};
use super::targets::{TargetChoice, Targets};
use crate::cache::{CacheKey, CachedAttribution, InputDigest, Work};
use crate::dataset::{InputFile, SampleReader, UnlabelledSample};
use crate::domain::model::shape_text;
use crate::domain::{HostData, HostTensor};
use crate::measure::StageProfiler;

/// All that the work needs.
pub(super) struct Session<'a> {
    pub(super) explainer: &'a dyn Explainer,
    pub(super) methods: &'a [Box<dyn Job + 'a>],
    /// Whether the methods are those that fit, so that those that do not are no failure.
    pub(super) all: bool,
    pub(super) reader: SampleReader,
    pub(super) model: &'a str,
    /// What says which weights they are.
    pub(super) weights: &'a str,
    pub(super) targets: &'a [TargetChoice],
    pub(super) baselines: Option<&'a HostTensor>,
    pub(super) batch_size: usize,
    pub(super) shelf: Shelf,
    pub(super) destination: Destination,
    pub(super) profiler: &'a StageProfiler,
    pub(super) context: &'a Context,
}

/// A sample that is to be explained.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) path: PathBuf,
    pub(super) sample: UnlabelledSample,
    pub(super) target: Option<TargetChoice>,
}

impl Waiting {
    /// Whether both can be in one batch.
    fn is_like(&self, other: &Self) -> bool {
        let alike = |(one, other): (&HostTensor, &HostTensor)| one.name == other.name && one.shape == other.shape;
        let (ours, theirs) = (&self.sample.inputs, &other.sample.inputs);
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(alike)
    }
}

/// What one method said of one sample.
#[derive(Debug)]
pub(super) enum Outcome {
    Done(Done),
    Unsupported(String),
    Failed(anyhow::Error),
}

/// An explanation of one sample.
#[derive(Debug)]
pub(super) struct Done {
    /// Of the sample alone: no dimension for the batch.
    pub(super) attribution: HostTensor,
    pub(super) facts: Facts,
    pub(super) cached: bool,
    /// The most rows of one pass, where it was computed.
    pub(super) inner_batch: Option<usize>,
    /// To look it up, or the sample's share of the time that its batch took.
    pub(super) seconds: f64,
}

/// What is kept beside an attribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) target: Explained,
    /// Forward and backward passes.
    pub(super) passes: [f64; 2],
}

/// The map of an explanation, where it is one, and its files.
type Filed = (Option<Drawn>, Written);

impl Session<'_> {
    /// Explains all files.
    ///
    /// # Errors
    /// Targets that are more or fewer than the samples, files that cannot be written. What is wrong with one input is
    /// in the report.
    pub(super) fn run(&self, files: &[InputFile]) -> anyhow::Result<Report> {
        let mut report = Report::new(self.all, self.explainer.engine());
        let mut targets = Targets::new(self.targets);
        let methods = self.methods.len() as u64;
        let bar = self.context.bar(files.len() as u64 * methods);
        for part in files.chunks(self.batch_size) {
            bar.set_message(part[0].name.clone());
            // Of the session, threads see these two alone.
            let (profiler, reader) = (self.profiler, &self.reader);
            let read: Vec<_> = part.par_iter().map(|file| profiler.time("read", || reader.read(file))).collect();
            let mut waiting: Vec<Waiting> = Vec::new();
            for (file, samples) in part.iter().zip(read) {
                match samples {
                    Ok(samples) => {
                        bar.inc_length((samples.len() as u64 - 1) * methods);
                        self.destination.check(files.len(), samples.len())?;
                        for sample in samples {
                            waiting.push(Waiting { path: file.path.clone(), sample, target: targets.next()? });
                        }
                    }
                    Err(error) => {
                        // Its target goes with it.
                        targets.next()?;
                        report.push(Row::of_file(file, error.into()));
                        bar.inc(methods);
                    }
                }
            }
            for alike in waiting.chunk_by(Waiting::is_like) {
                for batch in alike.chunks(self.batch_size) {
                    self.explain(batch, &mut report, &bar)?;
                }
            }
        }
        targets.end()?;
        bar.finish_and_clear();
        Ok(report)
    }

    /// Explains a batch by all methods, and writes what comes of it.
    fn explain(&self, batch: &[Waiting], report: &mut Report, bar: &ProgressBar) -> anyhow::Result<()> {
        let profiler = self.profiler;
        let digest = |waiting: &Waiting| profiler.time("digest", || InputDigest::of(&waiting.sample.inputs));
        let digests: Vec<InputDigest> =
            if self.shelf.is_there() { batch.par_iter().map(digest).collect() } else { Vec::new() };
        let mut sheets: Vec<Vec<Drawn>> = batch.iter().map(|_| Vec::new()).collect();
        for job in self.methods {
            bar.set_message(format!("{} by {}", batch[0].sample.name, job.name()));
            let outcomes = self.outcomes(job.as_ref(), batch, &digests);
            let files = self.write(job.name(), batch, &outcomes)?;
            for (((waiting, outcome), files), sheet) in batch.iter().zip(outcomes).zip(files).zip(&mut sheets) {
                let mut row = Row::new(waiting, job.name(), &outcome);
                if let Some((drawn, written)) = files {
                    row.files = written;
                    sheet.extend(drawn);
                }
                report.add(row, outcome);
                bar.inc(1);
            }
        }
        if self.methods.len() > 1 {
            for (waiting, drawn) in batch.iter().zip(&sheets).filter(|(_, drawn)| !drawn.is_empty()) {
                self.destination.write_sheet(self.context, self.profiler, waiting, drawn)?;
            }
        }
        Ok(())
    }

    /// Draws and writes what a method found, a sample on each core.
    ///
    /// # Errors
    /// What the file system refuses.
    fn write(
        &self,
        method: &'static str,
        batch: &[Waiting],
        outcomes: &[Outcome],
    ) -> anyhow::Result<Vec<Option<Filed>>> {
        // Of the session, threads see these alone.
        let Self { destination, profiler, context, model, .. } = self;
        let write = |(waiting, outcome): (&Waiting, &Outcome)| {
            let Outcome::Done(done) = outcome else { return Ok(None) };
            let drawn = profiler.time("map", || Drawn::new(model, method, waiting, done));
            let written = destination.write(context, profiler, waiting, method, done, drawn.as_ref())?;
            Ok(Some((drawn, written)))
        };
        batch.par_iter().zip(outcomes).map(write).collect()
    }

    /// What a method says of each sample of a batch.
    fn outcomes(&self, job: &dyn Job, batch: &[Waiting], digests: &[InputDigest]) -> Vec<Outcome> {
        let keys = self.keys(job, batch, digests);
        let mut outcomes: Vec<Option<Outcome>> = match &keys {
            Some(keys) => keys.iter().map(|key| self.profiler.time("look up", || self.kept(key))).collect(),
            None => batch.iter().map(|_| None).collect(),
        };
        let missing: Vec<usize> = (0..batch.len()).filter(|place| outcomes[*place].is_none()).collect();
        let samples: Vec<&Waiting> = missing.iter().map(|place| &batch[*place]).collect();
        let computed = if samples.is_empty() { Vec::new() } else { self.compute(job, &samples) };
        for (place, outcome) in missing.into_iter().zip(computed) {
            if let (Outcome::Done(done), Some(keys)) = (&outcome, &keys) {
                self.profiler.time("keep", || self.keep(&keys[place], done));
            }
            outcomes[place] = Some(outcome);
        }
        outcomes.into_iter().flatten().collect()
    }

    /// What each sample is kept under; `None` without a cache.
    fn keys(&self, job: &dyn Job, batch: &[Waiting], digests: &[InputDigest]) -> Option<Vec<CacheKey>> {
        if !self.shelf.is_there() {
            return None;
        }
        let parameters = job.parameters();
        let baselines = self.baselines.map(|tensor| InputDigest::of(std::slice::from_ref(tensor)).to_string());
        let key = |(waiting, digest): (&Waiting, &InputDigest)| {
            let work = Work {
                model: self.model,
                weights: self.weights,
                engine: self.explainer.engine(),
                version: env!("CARGO_PKG_VERSION"),
                method: job.name(),
                parameters: &parameters,
                target: &serde_json::json!(waiting.target),
                baselines: baselines.as_deref().unwrap_or_default(),
            };
            CacheKey::new(digest, &work)
        };
        Some(batch.iter().zip(digests).map(key).collect())
    }

    /// What was computed before.
    fn kept(&self, key: &CacheKey) -> Option<Outcome> {
        let start = Instant::now();
        let CachedAttribution { values, facts } = self.shelf.find(key)?;
        let facts = serde_json::from_value(facts).ok()?;
        let seconds = start.elapsed().as_secs_f64();
        Some(Outcome::Done(Done { attribution: values, facts, cached: true, inner_batch: None, seconds }))
    }

    fn keep(&self, key: &CacheKey, done: &Done) {
        let facts = serde_json::json!(done.facts);
        self.shelf.keep(key, &CachedAttribution { values: done.attribution.clone(), facts });
    }

    /// Asks the method. Where a batch fails, its samples are asked for one by one: only those that are to blame fail.
    fn compute(&self, job: &dyn Job, samples: &[&Waiting]) -> Vec<Outcome> {
        let inputs = joined(samples);
        let targets: Vec<Explained> = samples.iter().filter_map(|waiting| waiting.target).collect();
        let (baselines, inner_batch) = (self.baselines, self.batch_size);
        let request = Request { inputs: &inputs, targets: &targets, baselines, inner_batch };
        let start = Instant::now();
        let answer = self.profiler.time(job.name(), || job.explain(&request));
        let seconds = start.elapsed().as_secs_f64() / samples.len() as f64;
        match answer {
            Ok(answer) => parted(answer, samples.len(), seconds),
            Err(Failure::Unsupported(reason)) => samples.iter().map(|_| Outcome::Unsupported(reason.clone())).collect(),
            Err(Failure::Error(error)) if samples.len() == 1 => vec![Outcome::Failed(error)],
            Err(Failure::Error(_)) => samples.iter().flat_map(|waiting| self.compute(job, &[waiting])).collect(),
        }
    }
}

/// The inputs of samples as one batch; all have the same names and shapes.
fn joined(samples: &[&Waiting]) -> Vec<HostTensor> {
    let [first, others @ ..] = samples else { return Vec::new() };
    let mut joined = first.sample.inputs.clone();
    for (place, tensor) in joined.iter_mut().enumerate() {
        for other in others {
            match (&mut tensor.data, &other.sample.inputs[place].data) {
                (HostData::F32(values), HostData::F32(more)) => values.extend(more),
                (HostData::I64(values), HostData::I64(more)) => values.extend(more),
                // One file has floats where another has integers: the network will say which it wants.
                _ => {}
            }
        }
        tensor.shape[0] = samples.len();
    }
    joined
}

/// An answer as one explanation for each sample.
fn parted(answer: Answer, samples: usize, seconds: f64) -> Vec<Outcome> {
    let Answer { attribution, targets, passes, inner_batch } = answer;
    let wrong = |what: String| {
        CommandError::new(format!("the method answered {what}"), "this is a mistake in the method, not in the input")
    };
    let size = attribution.shape.iter().skip(1).product::<usize>();
    let HostData::F32(values) = attribution.data else {
        return (0..samples).map(|_| Outcome::Failed(wrong("integers".to_owned()).into())).collect();
    };
    if attribution.shape.first() != Some(&samples) || targets.len() != samples || values.len() != samples * size {
        let what = format!("{} for {samples} samples", shape_text(&attribution.shape));
        return (0..samples).map(|_| Outcome::Failed(wrong(what.clone()).into())).collect();
    }
    let shape: Vec<usize> = attribution.shape[1..].to_vec();
    let part = |(place, target): (usize, Explained)| {
        let values = values[place * size..(place + 1) * size].to_vec();
        if values.iter().any(|value| !value.is_finite()) {
            return Outcome::Failed(wrong("values that are not finite".to_owned()).into());
        }
        let attribution =
            HostTensor { name: attribution.name.clone(), shape: shape.clone(), data: HostData::F32(values) };
        Outcome::Done(Done { attribution, facts: Facts { target, passes }, cached: false, inner_batch, seconds })
    };
    targets.into_iter().enumerate().map(part).collect()
}
