//! The child process: it runs one configuration and tells its parent, through a pipe, what it found. Peak memory is
//! then that run's own, and a driver that crashes takes nothing else with it.

use std::io::{BufRead as _, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::protocol::{Answer, MARK, Request, WORKER_ARGUMENT};
use super::{EngineError, Loaded, RunClock, Workload, find_engine};
use crate::domain::text::one_line;
use crate::domain::{Measurement, PlannedRun, RunStatus, SampleSeries, StopReason, Validity};
use crate::hardware::procfs;
use crate::measure::{Laps, Sampled, SamplingEnd, sample, summarise};
use crate::stats;

/// Fewer samples than this judge nothing.
const FEWEST_SAMPLES: usize = 10;

/// Bytes of a megabyte, as everywhere in benchdb.
const MB: f64 = 1e6;

/// How long a worker that lost its parent may go on with the iteration that is under way.
const GRACE: Duration = Duration::from_secs(5);

/// Serves as a worker if this process was started as one; answers whether it did. A program that measures through
/// [`super::Runner`] calls this first in its `main` and returns if the answer is `true`.
///
/// # Errors
/// The pipe to the parent broke.
pub fn serve_if_asked() -> std::io::Result<bool> {
    if std::env::args_os().nth(1).is_none_or(|argument| argument != WORKER_ARGUMENT) {
        return Ok(false);
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    let stop = Arc::new(AtomicBool::new(false));
    watch_parent(Arc::clone(&stop));
    let answer = match request {
        Request::Probe { engine } => Answer::Devices(probe(&engine)),
        Request::Measure(plan) => Answer::Measured(Box::new(measure(&plan, &stop))),
    };
    send(&answer)?;
    Ok(true)
}

/// The parent keeps the pipe open for as long as it lives. When it ends, so does the worker: after the iteration under
/// way, or at once when that takes too long.
fn watch_parent(stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // Either way the parent is gone.
        let _ = std::io::stdin().read_to_end(&mut rest);
        stop.store(true, Ordering::Relaxed);
        std::thread::sleep(GRACE);
        std::process::abort();
    });
}

fn send(answer: &Answer) -> std::io::Result<()> {
    let mut line = MARK.as_bytes().to_vec();
    serde_json::to_writer(&mut line, answer)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn probe(engine: &str) -> Result<Vec<super::ProbedDevice>, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| find_engine(engine)?.probe()));
    match outcome {
        Ok(devices) => devices.map_err(|error| error.to_string()),
        Err(panic) => Err(panic_text(&*panic)),
    }
}

fn measure(plan: &PlannedRun, stop: &AtomicBool) -> Measurement {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(plan, stop)));
    let measured = match outcome {
        Ok(measured) => measured,
        Err(panic) => Err(EngineError::Device { message: panic_text(&*panic) }),
    };
    measured.unwrap_or_else(|error| failure(&error))
}

/// The record of a run that ended with an error before it had numbers.
pub(super) fn failure(error: &EngineError) -> Measurement {
    Measurement::without_numbers(error.status(), one_line(error), error.hint())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked without a word")
        .replace('\n', " ")
}

/// Lets a workload be sampled.
struct Sampling<'w>(&'w mut dyn Workload);

impl Sampled<RunClock> for Sampling<'_> {
    type Error = EngineError;

    #[inline]
    fn iterate(&mut self, laps: &mut Laps<'_, RunClock>) -> Result<(), EngineError> {
        self.0.iterate(&mut || laps.mark())
    }

    fn between(&mut self) {
        self.0.between();
    }
}

fn run(plan: &PlannedRun, stop: &AtomicBool) -> Result<Measurement, EngineError> {
    let engine = find_engine(&plan.configuration.engine)?;
    let start = Instant::now();
    let Loaded { mut workload, mut clock, model_size_bytes } = engine.load(plan)?;
    let startup = start.elapsed();
    let end = sample(&mut Sampling(&mut *workload), &mut clock, &plan.sampling, stop, &mut |progress| {
        // A parent that does not listen any more ends this process by other means.
        let _ = send(&Answer::Progress {
            iterations: progress.iterations,
            elapsed_ns: progress.elapsed,
            warming_up: progress.warming_up,
        });
    });
    if let (Some(real), asked) = (workload.result_precision(), plan.configuration.precision)
        && real != asked
    {
        return Err(EngineError::Unsupported {
            engine: engine.name(),
            what: format!("{asked} for {}", plan.configuration.model),
            reason: "its results came out in another precision",
            nearest: Some("`--precision fp32`"),
        });
    }
    let mut measurement = describe(plan, &*workload, end);
    let metrics = &mut measurement.metrics;
    metrics.set("startup_ms", startup.as_secs_f64() * 1e3);
    metrics.set_optional("model_size_mb", model_size_bytes.map(|bytes| bytes as f64 / MB));
    metrics.set_optional("memory_host_peak_mb", procfs::peak_resident_bytes().map(|bytes| bytes as f64 / MB));
    if let Some(memory) = workload.device_memory() {
        metrics.set("memory_device_allocated_mb", memory.allocated as f64 / MB);
        metrics.set("memory_device_reserved_mb", memory.reserved as f64 / MB);
    }
    let versions = engine.versions();
    measurement.engine_version = Some(versions.engine);
    measurement.framework_version = Some(versions.framework);
    Ok(measurement)
}

/// Turns what sampling brought into a measurement.
fn describe(plan: &PlannedRun, workload: &dyn Workload, end: SamplingEnd<EngineError>) -> Measurement {
    let single = plan.sampling.batches_in_flight <= 1;
    let (mut metrics, outlier_count) = summarise(&end.iterations, workload.samples_per_iteration(), single);
    metrics.set_optional("first_inference_ms", end.first.map(|ns| ns as f64 / 1e6));
    let tried = end.iterations.len() + usize::from(end.error.is_some());
    if tried > 0 {
        metrics.set("success_rate", end.iterations.len() as f64 / tried as f64);
    }
    let phases: Vec<(&str, &Vec<u64>)> = workload.phases().iter().copied().zip(&end.phases).collect();
    for (phase, nanoseconds) in &phases {
        let ms: Vec<f64> = nanoseconds.iter().map(|&ns| ns as f64 / 1e6).collect();
        metrics.set_optional(&format!("{phase}_ms"), stats::mean(&ms));
    }
    let status = match (&end.error, end.stop_reason) {
        (Some(error), _) => error.status(),
        (None, StopReason::Interrupted) => RunStatus::Interrupted,
        (None, _) => RunStatus::Ok,
    };
    let series =
        |phase: &str, nanoseconds: &[u64]| SampleSeries { phase: phase.to_owned(), nanoseconds: nanoseconds.to_vec() };
    let mut samples = vec![series("warmup", &end.warmup), series("iteration", &end.iterations)];
    samples.extend(phases.iter().map(|(phase, nanoseconds)| series(phase, nanoseconds)));
    samples.retain(|series| !series.nanoseconds.is_empty());
    Measurement {
        status,
        validity: validity(status, end.iterations.len()),
        stop_reason: Some(end.stop_reason),
        iterations: end.iterations.len() as u64,
        warmup_iterations: end.warmup.len() as u64,
        outlier_count,
        error: match (&end.error, status) {
            (Some(error), _) => Some(one_line(error)),
            (None, RunStatus::Interrupted) => Some("it was stopped from outside".into()),
            (None, _) => None,
        },
        hint: end.error.as_ref().and_then(EngineError::hint),
        metrics,
        extra_metrics: Vec::new(),
        samples,
        telemetry: Vec::new(),
        operator_times: Vec::new(),
        engine_version: None,
        framework_version: None,
    }
}

fn validity(status: RunStatus, samples: usize) -> Validity {
    match status {
        RunStatus::Ok if samples >= FEWEST_SAMPLES => Validity::Valid,
        RunStatus::Ok => Validity::TooFewSamples,
        _ => Validity::NotMeasured,
    }
}
