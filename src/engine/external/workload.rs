//! What an external program repeats: asked for in batches of steps, told to the sampling loop one by one.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::error::ExternalError;
use super::messages::{Answer, Hello, HelloMetric, Memory, Prepared, Request, Steps, known_phases};
use super::talk::Talk;
use super::{MOST_BYTES, read, write};
use crate::domain::run::ExtraMetric;
use crate::domain::{AnswerTimes, HostTensor, Mode, PlannedRun, Precision};
use crate::engine::burn::prompt_tokens;
use crate::engine::{DeviceMemory, EngineError, GenerationShape, OwnReport, Versions, Workload};
use crate::measure::ReportedClock;

/// How long one batch of steps should take: long enough that asking does not matter, short enough to stop in time.
const BATCH_TIME: Duration = Duration::from_millis(150);

/// The most steps of a batch.
const MOST_STEPS: u64 = 1000;

/// By how much a batch may grow over the one before.
const GROWTH: u64 = 8;

/// What a batch of steps may take beyond the run's time limit: it was asked for before the limit was reached.
const OVERTIME: Duration = Duration::from_secs(10);

/// Two clocks that count the same time may differ by this share, and by this much.
const CLOCK_SHARE: f64 = 1e-3;
const CLOCK_SLACK: Duration = Duration::from_millis(1);

/// A program whose steps take less than this share of its answers has spent its time on something else.
const LEAST_SHARE: f64 = 0.1;

/// Phases are measured with calls between them: their sum may differ from the step by this share, and by this much.
const PHASE_SHARE: f64 = 0.01;
const PHASE_SLACK: u64 = 20_000;

/// One step: how long each phase took, or the whole where there are none.
type Step = Vec<u64>;

/// A program that was prepared.
pub(super) struct ExternalWorkload {
    talk: Talk,
    folder: TempDir,
    times: AnswerTimes,
    precision: Precision,
    phases: Vec<&'static str>,
    model_size_bytes: Option<u64>,
    compile: Option<Duration>,
    generation: Option<GenerationShape>,
    samples: u64,
    training: bool,
    versions: Versions,
    declared: Vec<HelloMetric>,
    clock: ReportedClock,
    max_time: Duration,
    first_asked: Option<Instant>,
    /// Done, and not told yet.
    done: VecDeque<Step>,
    /// What the last batch took beyond its steps; passes between two iterations.
    unaccounted: u64,
    batches: u32,
    batch: u64,
    step_time: Duration,
    losses: Option<(f64, f64)>,
    memory: Memory,
    metrics: BTreeMap<String, f64>,
    /// What all steps took by the program's word, and all its answers by our clock.
    told: Duration,
    seen: Duration,
}

impl ExternalWorkload {
    pub fn new(
        talk: Talk,
        folder: TempDir,
        prepared: Prepared,
        hello: Hello,
        plan: &PlannedRun,
    ) -> Result<Self, ExternalError> {
        let phases = known_phases(&prepared.phases).map_err(|what| talk.lie("prepare", what))?;
        let configuration = &plan.configuration;
        let in_flight = plan.sampling.batches_in_flight.max(1);
        let generation = plan.generate.map(|new_tokens| GenerationShape {
            prompt_tokens: prompt_tokens(&plan.inputs),
            new_tokens: new_tokens.into(),
        });
        if generation.is_some() && phases != ["prefill", "decode"] {
            return Err(talk.lie("prepare", "a generation has the phases `prefill` and `decode`"));
        }
        let framework = hello.framework.unwrap_or_else(|| format!("{} {}", hello.engine, hello.version));
        Ok(Self {
            talk,
            folder,
            times: plan.external.as_ref().map(|program| program.times).unwrap_or_default(),
            precision: prepared.precision,
            phases,
            model_size_bytes: prepared.model_size_bytes,
            compile: prepared.compile_ns.map(Duration::from_nanos),
            generation,
            samples: u64::from(configuration.batch_size) * u64::from(in_flight),
            training: configuration.mode == Mode::Training,
            versions: Versions { engine: hello.version, framework },
            declared: hello.metrics,
            clock: ReportedClock::default(),
            max_time: plan.sampling.max_time,
            first_asked: None,
            done: VecDeque::new(),
            unaccounted: 0,
            batches: 0,
            batch: 1,
            step_time: Duration::ZERO,
            losses: None,
            memory: Memory::default(),
            metrics: BTreeMap::new(),
            told: Duration::ZERO,
            seen: Duration::ZERO,
        })
    }

    /// The clock that the program's words move.
    pub fn clock(&self) -> ReportedClock {
        self.clock.clone()
    }

    /// What compiling took, by the program's word.
    pub fn compile(&self) -> Option<Duration> {
        self.compile
    }

    /// Parameters and buffers at their precision, by the program's word.
    pub fn model_size_bytes(&self) -> Option<u64> {
        self.model_size_bytes
    }

    /// How many steps to ask for: the first two alone, for the first is apart and may say nothing of the others.
    fn next_batch(&self) -> u64 {
        if self.batches < 2 || self.step_time.is_zero() {
            return 1;
        }
        let fitting = (BATCH_TIME.as_secs_f64() / self.step_time.as_secs_f64()) as u64;
        fitting.clamp(1, MOST_STEPS.min(self.batch * GROWTH))
    }

    /// How long they may take: within the run's time limit, but for the first, which may compile.
    fn patience(&self, count: u64) -> Duration {
        let Some(first) = self.first_asked.filter(|_| self.batches > 0) else { return self.times.steps };
        let left = self.max_time.saturating_sub(first.elapsed());
        let expected = self.step_time.saturating_mul(u32::try_from(4 * count).unwrap_or(u32::MAX));
        self.times.steps.min(left.saturating_add(OVERTIME).saturating_add(expected))
    }

    /// Has the program do a batch of steps.
    fn fetch(&mut self) -> Result<(), ExternalError> {
        let count = self.next_batch();
        let patience = self.patience(count);
        self.first_asked.get_or_insert_with(Instant::now);
        let (answer, seen) = self.talk.ask(&Request::Steps { count }, patience)?;
        let Answer::Steps(steps) = answer else {
            return Err(self.talk.lie("steps", "it answered something else"));
        };
        let done = self.checked(&steps, count, seen).map_err(|what| self.talk.lie("steps", what))?;
        let told: u64 = done.iter().flatten().sum();
        let seen_ns = u64::try_from(seen.as_nanos()).unwrap_or(u64::MAX);
        self.unaccounted = seen_ns.saturating_sub(told);
        self.step_time = seen / u32::try_from(count).unwrap_or(u32::MAX);
        self.batch = count;
        self.batches += 1;
        self.done.extend(done);
        if let Some(loss) = steps.loss {
            self.losses = Some((self.losses.map_or(loss, |(first, _)| first), loss));
        }
        self.told += Duration::from_nanos(told);
        self.seen += seen;
        let Memory { device_peak_bytes, device_allocated_bytes, device_reserved_bytes } = steps.memory;
        self.memory.device_peak_bytes = self.memory.device_peak_bytes.max(device_peak_bytes);
        self.memory.device_allocated_bytes = device_allocated_bytes.or(self.memory.device_allocated_bytes);
        self.memory.device_reserved_bytes = device_reserved_bytes.or(self.memory.device_reserved_bytes);
        self.metrics.extend(steps.metrics);
        Ok(())
    }

    /// The steps of an answer, if they can be true.
    fn checked(&self, steps: &Steps, count: u64, seen: Duration) -> Result<Vec<Step>, String> {
        let totals = durations(&steps.nanoseconds, "step")?;
        if totals.len() as u64 != count {
            return Err(format!("{} steps were told, {count} were asked for", totals.len()));
        }
        if let Some(at) = totals.iter().position(|&total| total == 0) {
            return Err(format!("step {} took no time", at + 1));
        }
        let told = totals.iter().try_fold(0_u64, |sum, &total| sum.checked_add(total));
        let most = seen.mul_f64(1.0 + CLOCK_SHARE) + CLOCK_SLACK;
        match told.map(Duration::from_nanos) {
            Some(told) if told <= most => {}
            told => {
                let told = told.map_or("more than 584 years".to_owned(), |told| format!("{told:?}"));
                return Err(format!("its steps took {told} together, but its answer came after {seen:?}"));
            }
        }
        let memory = &steps.memory;
        let sizes = [memory.device_peak_bytes, memory.device_allocated_bytes, memory.device_reserved_bytes];
        if let Some(bytes) = sizes.into_iter().flatten().find(|bytes| *bytes > MOST_BYTES) {
            return Err(format!("its device holds {bytes} bytes"));
        }
        if let Some(undeclared) =
            steps.metrics.keys().find(|name| !self.declared.iter().any(|known| known.name == **name))
        {
            return Err(format!("it never said that it has a metric `{undeclared}`"));
        }
        let named = steps.phases.len() == self.phases.len()
            && self.phases.iter().all(|phase| steps.phases.contains_key(*phase));
        if !named {
            let told: Vec<&str> = steps.phases.keys().map(String::as_str).collect();
            return Err(format!("the phases are [{}], not [{}] as prepared", told.join(", "), self.phases.join(", ")));
        }
        if self.phases.is_empty() {
            return Ok(totals.into_iter().map(|total| vec![total]).collect());
        }
        let phases =
            self.phases.iter().map(|phase| durations(&steps.phases[*phase], phase)).collect::<Result<Vec<_>, _>>()?;
        if let Some((phase, found)) = self.phases.iter().zip(&phases).find(|(_, phase)| phase.len() != totals.len()) {
            return Err(format!("the phase `{phase}` has {} times for {count} steps", found.len()));
        }
        totals
            .iter()
            .enumerate()
            .map(|(at, &total)| step(total, phases.iter().map(|phase| phase[at]).collect()))
            .collect()
    }

    /// The outputs of other inputs.
    pub fn compute_outputs(&mut self, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, ExternalError> {
        let [input, output] = ["outputs-input.npz", "outputs.npz"].map(|file| self.folder.path().join(file));
        write(&self.talk, inputs, &input)?;
        // What an earlier request left there is no answer to this one.
        let _ = std::fs::remove_file(&output);
        let request = Request::Outputs { input: &input, output: &output };
        match self.talk.ask(&request, self.times.outputs)? {
            (Answer::Outputs {}, _) => read(&self.talk, &output),
            (other, _) => Err(self.talk.lie("outputs", format!("it answered `{}`", other.name()))),
        }
    }

    /// Lets the program end.
    pub fn bye(self) -> Result<(), ExternalError> {
        self.talk.bye(self.times.bye)
    }
}

/// Nanoseconds as whole numbers that are not negative.
fn durations(values: &[Value], what: &str) -> Result<Vec<u64>, String> {
    let one = |(at, value): (usize, &Value)| {
        value.as_u64().ok_or_else(|| format!("{what} {} took `{value}` nanoseconds", at + 1))
    };
    values.iter().enumerate().map(one).collect()
}

/// A step cut into its phases; the last one takes what was lost between them, so that they sum to the step.
fn step(total: u64, mut phases: Vec<u64>) -> Result<Step, String> {
    let sum = phases.iter().try_fold(0_u64, |sum, &phase| sum.checked_add(phase)).unwrap_or(u64::MAX);
    let slack = PHASE_SLACK.max((total as f64 * PHASE_SHARE) as u64);
    if sum.abs_diff(total) > slack {
        return Err(format!("a step took {total} nanoseconds, its phases {sum} together"));
    }
    let mut left = total;
    for phase in &mut phases {
        *phase = (*phase).min(left);
        left -= *phase;
    }
    if let Some(last) = phases.last_mut() {
        *last += left;
    }
    Ok(phases)
}

impl Workload for ExternalWorkload {
    fn iterate(&mut self, mark: &mut dyn FnMut()) -> Result<(), EngineError> {
        if self.done.is_empty() {
            self.fetch()?;
        }
        let step = self.done.pop_front().unwrap_or_default();
        for (at, phase) in step.iter().enumerate() {
            if at > 0 {
                mark();
            }
            self.clock.advance(*phase);
        }
        Ok(())
    }

    fn between(&mut self) {
        self.clock.advance(std::mem::take(&mut self.unaccounted));
    }

    fn pending(&self) -> bool {
        !self.done.is_empty()
    }

    fn phases(&self) -> &[&'static str] {
        &self.phases
    }

    fn samples_per_iteration(&self) -> u64 {
        self.samples
    }

    fn result_precision(&self) -> Option<Precision> {
        Some(self.precision)
    }

    fn generation(&self) -> Option<GenerationShape> {
        self.generation
    }

    fn outputs(&mut self, inputs: &[HostTensor]) -> Result<Option<Vec<HostTensor>>, EngineError> {
        // A network that was trained is another one.
        if self.training { Ok(None) } else { Ok(self.compute_outputs(inputs).map(Some)?) }
    }

    fn losses(&mut self) -> Option<(f32, f32)> {
        self.losses.map(|(first, last)| (first as f32, last as f32))
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        let Memory { device_allocated_bytes, device_reserved_bytes, .. } = self.memory;
        Some(DeviceMemory { allocated: device_allocated_bytes?, reserved: device_reserved_bytes? })
    }

    fn report(&mut self, _: usize) -> Option<OwnReport> {
        let metrics = self.declared.iter().filter_map(|declared| {
            let value = *self.metrics.get(&declared.name)?;
            let HelloMetric { name, unit, better } = declared.clone();
            Some(ExtraMetric { name, unit, better, value })
        });
        Some(OwnReport {
            host_peak_bytes: self.talk.peak_memory(),
            device_peak_bytes: self.memory.device_peak_bytes,
            extra_metrics: metrics.collect(),
            versions: Some(self.versions.clone()),
            hint: (self.told < self.seen.mul_f64(LEAST_SHARE)).then(|| {
                let share = 100.0 * self.told.as_secs_f64() / self.seen.as_secs_f64();
                format!(
                    "by its own word its steps took {share:.1e} % of the time in which it answered: look at what it times"
                )
            }),
            ..OwnReport::default()
        })
    }

    fn finish(self: Box<Self>) -> Result<(), EngineError> {
        Ok(self.bye()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_sum_to_their_step() {
        assert_eq!(step(1_000_000, vec![300_000, 699_000]), Ok(vec![300_000, 700_000]));
        assert_eq!(step(1_000_000, vec![300_000, 705_000]), Ok(vec![300_000, 700_000]));
        assert!(step(1_000_000, vec![300_000, 500_000]).is_err());
        assert!(step(1_000_000, vec![u64::MAX, 2]).is_err());
    }

    #[test]
    fn times_are_whole_numbers_of_nanoseconds() {
        let read = |text: &str| durations(&serde_json::from_str::<Vec<Value>>(text).unwrap(), "step");
        assert_eq!(read("[1, 2]"), Ok(vec![1, 2]));
        for wrong in ["[-1]", "[1.5]", "[null]", "[\"1\"]", "[1e3]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
