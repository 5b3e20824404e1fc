//! Where the time of a network goes: the same work once as it is and once with a time for each of its operators, in turns.
//!
//! Every operator is timed from when the device has done all before it until it has done the operator, so a device that
//! works while the host goes on loses that: what it costs is the difference of the two iterations of a pair.

mod digest;
mod names;
mod recorder;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device as BurnDevice;

use super::super::sampler::Sampler;
use super::super::{EngineError, Loaded, ProfileWish, Profiled, Workload};
use super::BurnEngine;
use super::workloads::wait;
use crate::domain::profile::{CpuSamples, CpuStack, Profile};
use crate::domain::text::one_line;
use crate::domain::{PlannedRun, Sampling, StopReason};
use crate::hardware::procfs;
use crate::measure::{SamplingEnd, SamplingProgress, SamplingWindow};
use crate::stats;
use crate::zoo::Observation;
use digest::{Added, Digest};
use names::Names;
use recorder::Recorder;

/// How long iterations run while the processor is sampled.
const SAMPLED: Duration = Duration::from_secs(2);

/// How many there are at least, as long as the time limit of the run allows.
const FEWEST_SAMPLED: usize = 3;

/// How often whoever waits hears of them.
const REPORT: Duration = Duration::from_millis(100);

/// How often an idle device is waited for, to know what that takes by itself.
const IDLE_WAITS: usize = 200;

/// Profiles a run.
///
/// # Errors
/// What keeps the network from being built or run.
pub(super) fn profile(
    engine: BurnEngine,
    plan: &PlannedRun,
    wish: &ProfileWish,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(SamplingProgress),
) -> Result<Profiled, EngineError> {
    let mut remarks = Vec::new();
    let sampler = start(wish, &mut remarks);
    let is_sampled = sampler.is_some();
    let begun = Instant::now();
    let device = engine.working_device(plan)?;
    let network = engine.loaded_network(plan, &device)?;
    let names = Names::of(network.as_ref());
    let Loaded { workload, model_size_bytes, .. } = engine.loaded(plan, &device, network)?;
    let startup = begun.elapsed();
    let recorder = Arc::new(Recorder::new(&device));
    let observation = Observation::new(recorder.clone(), &device);
    let phases = match workload.phases() {
        [] => vec!["forward"],
        phases => phases.to_vec(),
    };
    let mut bench = Bench { workload, recorder, observation, device };
    let mut end = SamplingEnd {
        first: None,
        warmup: Vec::new(),
        iterations: Vec::new(),
        phases: Vec::new(),
        window: None,
        stop_reason: StopReason::Completed,
        error: None,
    };
    let mut profile = Profile::default();
    let mut digest = Digest::new(&names, phases);
    let outcome = bench.warm_up(&plan.sampling, &mut end, stop, progress).and_then(|()| {
        let mut seen = finish(sampler, "startup", &mut remarks);
        bench.take_pairs(&plan.sampling, &mut end, (&mut profile, &mut digest), stop, progress)?;
        // All pairs are there: what goes wrong from here on is told, and costs nothing else.
        profile.idle_wait_nanoseconds = bench.idle_wait().unwrap_or_else(|error| {
            remarks.push(format!("what waiting for an idle device takes is not known: {}", one_line(&error)));
            None
        });
        if end.stop_reason != StopReason::Interrupted
            && let Some(sampler) = start(wish, &mut Vec::new())
        {
            let began = end.window.map_or_else(Instant::now, |window| window.start);
            let mut tell = || {
                progress(SamplingProgress {
                    iterations: profile.pairs.len() as u64,
                    elapsed: began.elapsed().as_nanos() as u64,
                    warming_up: false,
                });
            };
            let mut iterations = Vec::new();
            let limit = plan.sampling.max_time;
            let done = repeat(limit, stop, &mut tell, &mut iterations, || Ok(bench.plain()?.0));
            if let Err(error) = done {
                remarks.push(format!("an iteration failed while the processor was sampled: {}", one_line(&error)));
            }
            let Seen { stacks, time } = finish(Some(sampler), "iterations", &mut remarks);
            seen.stacks.extend(stacks);
            let time = seen.time.zip(time).map(|(one, other)| (one + other).as_nanos() as u64);
            let stacks = seen.stacks;
            let samples = |hertz| CpuSamples { hertz, processor_nanoseconds: time, stacks, iterations };
            profile.cpu = wish.sampling_hertz.map(samples);
        }
        Ok(())
    });
    if is_sampled {
        // It ran while the sampler interrupted it.
        end.first = None;
    }
    if let Err(error) = outcome {
        end.stop_reason = StopReason::Error;
        end.error = Some(error);
    }
    profile.waits = digest.waits;
    if digest.is_tangled {
        remarks.push(
            "operators of the backward pass were computed in turns: some of their times belong to each other"
                .to_owned(),
        );
    }
    (profile.parts, profile.timeline) = digest.finish();
    profile.remarks = remarks;
    let startup = (!is_sampled).then_some(startup);
    Ok(Profiled { workload: bench.workload, end, startup, model_size_bytes, profile })
}

/// Whoever looks at the processor, and the processor time at the beginning.
type Looking = (Sampler, Option<Duration>);

/// What was seen of the processor, and in how much of its time.
#[derive(Default)]
struct Seen {
    stacks: Vec<CpuStack>,
    time: Option<Duration>,
}

/// Begins to sample the processor, where that is wished and possible.
fn start(wish: &ProfileWish, remarks: &mut Vec<String>) -> Option<Looking> {
    let started = Sampler::start(wish.sampling_hertz?);
    let sampler = started.map_err(|reason| remarks.push(reason)).ok()?;
    Some((sampler, procfs::processor_time()))
}

fn finish(looking: Option<Looking>, about: &str, remarks: &mut Vec<String>) -> Seen {
    let Some((sampler, began)) = looking else { return Seen::default() };
    let time = began.zip(procfs::processor_time()).map(|(began, now)| now.saturating_sub(began));
    let stacks = sampler.finish(about).unwrap_or_else(|reason| {
        remarks.push(reason);
        Vec::new()
    });
    Seen { stacks, time }
}

/// Iterates for [`SAMPLED`], and [`FEWEST_SAMPLED`] times at least, but begins nothing after `limit`; `done` gets the
/// nanoseconds of each.
///
/// # Errors
/// The first error of `iterate`; what was done before it is in `done`.
fn repeat(
    limit: Duration,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(),
    done: &mut Vec<u64>,
    mut iterate: impl FnMut() -> Result<u64, EngineError>,
) -> Result<(), EngineError> {
    let start = Instant::now();
    let mut told = start;
    while !stop.load(Ordering::Relaxed)
        && (done.is_empty() || start.elapsed() < limit)
        && (done.len() < FEWEST_SAMPLED || start.elapsed() < SAMPLED)
    {
        done.push(iterate()?);
        if told.elapsed() >= REPORT {
            told = Instant::now();
            tell();
        }
    }
    Ok(())
}

/// The work, and what watches it.
struct Bench {
    workload: Box<dyn Workload>,
    recorder: Arc<Recorder>,
    observation: Observation,
    device: BurnDevice,
}

impl Bench {
    /// One iteration as it is: its nanoseconds, and those of its phases.
    fn plain(&mut self) -> Result<(u64, Vec<u64>), EngineError> {
        let mut ends = Vec::new();
        let start = Instant::now();
        let done = self.workload.iterate(&mut || ends.push(start.elapsed()));
        let took = start.elapsed();
        done?;
        self.workload.between();
        ends.push(took);
        let starts = std::iter::once(Duration::ZERO).chain(ends.iter().copied());
        let phases = ends.iter().zip(starts).map(|(end, start)| (*end - start).as_nanos() as u64).collect();
        Ok((took.as_nanos() as u64, phases))
    }

    /// One iteration with a time for each operator, which the digest gets.
    fn profiled(&mut self, digest: Option<&mut Digest<'_>>) -> Result<Added, EngineError> {
        let Self { workload, recorder, observation, .. } = self;
        let done = observation.observe(|| {
            recorder.phase();
            workload.iterate(&mut || recorder.phase())
        });
        let notes = recorder.finish();
        if let Err(error) = done {
            recorder.forget();
            return Err(error);
        }
        self.workload.between();
        Ok(digest.map_or_else(Added::default, |digest| digest.add(notes)))
    }

    /// A first call, then both kinds of iterations until the rule of every run is met.
    fn warm_up(
        &mut self,
        rule: &Sampling,
        end: &mut SamplingEnd<EngineError>,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(SamplingProgress),
    ) -> Result<(), EngineError> {
        progress(SamplingProgress { iterations: 0, elapsed: 0, warming_up: true });
        end.first = Some(self.plain()?.0);
        let start = Instant::now();
        while (end.warmup.len() < rule.warmup_iterations as usize || start.elapsed() < rule.warmup_time)
            && (end.warmup.is_empty() || start.elapsed() < rule.max_time)
            && !stop.load(Ordering::Relaxed)
        {
            end.warmup.push(self.plain()?.0);
            self.profiled(None)?;
        }
        Ok(())
    }

    /// Pairs of iterations; which of the two comes first changes from pair to pair, so that drift hits both alike.
    fn take_pairs(
        &mut self,
        rule: &Sampling,
        end: &mut SamplingEnd<EngineError>,
        (profile, digest): (&mut Profile, &mut Digest<'_>),
        stop: &AtomicBool,
        progress: &mut dyn FnMut(SamplingProgress),
    ) -> Result<(), EngineError> {
        let start = Instant::now();
        while profile.pairs.len() < rule.min_iterations as usize {
            if stop.load(Ordering::Relaxed) {
                end.stop_reason = StopReason::Interrupted;
                break;
            }
            if !profile.pairs.is_empty() && start.elapsed() >= rule.max_time {
                end.stop_reason = StopReason::MaxTime;
                break;
            }
            let plain_first = profile.pairs.len().is_multiple_of(2);
            let before = if plain_first { Some(self.plain()?) } else { None };
            let profiled = self.profiled(Some(&mut *digest))?;
            let (plain, phases) = match before {
                Some(plain) => plain,
                None => self.plain()?,
            };
            profile.pairs.push([plain, profiled.whole]);
            profile.operators.push(profiled.operators);
            end.iterations.push(plain);
            end.phases.resize_with(phases.len(), Vec::new);
            end.phases.iter_mut().zip(phases).for_each(|(phase, nanoseconds)| phase.push(nanoseconds));
            progress(SamplingProgress {
                iterations: profile.pairs.len() as u64,
                elapsed: start.elapsed().as_nanos() as u64,
                warming_up: false,
            });
        }
        end.window = Some(SamplingWindow { start, end: Instant::now() });
        Ok(())
    }

    /// What it takes to wait for a device that has nothing to do.
    fn idle_wait(&self) -> Result<Option<u64>, EngineError> {
        wait(&self.device)?;
        let mut took = Vec::with_capacity(IDLE_WAITS);
        for _ in 0..IDLE_WAITS {
            let start = Instant::now();
            wait(&self.device)?;
            took.push(start.elapsed().as_nanos() as f64);
        }
        Ok(stats::median(&took).map(|nanoseconds| nanoseconds.round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sampled_ends_at_the_limit_and_keeps_what_was_done_before_an_error() {
        let stop = AtomicBool::new(false);
        let mut done = Vec::new();
        // A limit that is over at once leaves one iteration, not the fewest that there are otherwise.
        repeat(Duration::ZERO, &stop, &mut || (), &mut done, || Ok(7)).unwrap();
        assert_eq!(done, [7]);
        let mut left = 2;
        let broken = repeat(Duration::from_secs(60), &stop, &mut || (), &mut done, || {
            left -= 1;
            if left > 0 { Ok(8) } else { Err(EngineError::Device { message: "lost".into() }) }
        });
        assert!(broken.is_err());
        assert_eq!(done, [7, 8]);
        stop.store(true, Ordering::Relaxed);
        repeat(Duration::from_secs(60), &stop, &mut || (), &mut done, || Ok(9)).unwrap();
        assert_eq!(done, [7, 8]);
    }
}
