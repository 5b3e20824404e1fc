//! The child process: it runs one configuration and tells its parent, through a pipe, what it found. Peak memory is
//! then that run's own, and a driver that crashes takes nothing else with it.

use std::io::{BufRead as _, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::evaluation::Evaluation;
use super::fidelity::{self, Fidelity};
use super::process::Guard;
use super::protocol::{Answer, MARK, Request, WORKER_ARGUMENT, Words};
use super::registry::executing_engine;
use super::{
    Engine, EngineError, ExternalError, GenerationShape, Loaded, OwnReport, Probed, ProfileWish, Profiled, RunClock,
    Versions, Workload, burn, find_engine,
};
use crate::domain::metric::Better;
use crate::domain::profile::{Profile, ProfiledPart};
use crate::domain::run::ExtraMetric;
use crate::domain::text::{one_line, panic_text};
use crate::domain::{Measurement, MetricSet, PlannedRun, Precision, RunStatus, SampleSeries, StopReason, Validity};
use crate::hardware::{procfs, telemetry};
use crate::measure::{
    DEFAULT_TELEMETRY_INTERVAL, IDLE_TIME, Laps, Monitor, Sampled, SamplingEnd, SamplingProgress, TelemetrySummary,
    sample, summarise,
};
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
        Request::Probe { engine } => Answer::Devices(guarded(|| {
            let engine = find_engine(&engine)?;
            let devices = engine.probe()?;
            Ok(Probed { devices, versions: engine.versions() })
        })),
        Request::Rates { engine, device_index, precision, limit } => Answer::Rates(guarded(|| {
            find_engine(&engine)?.measure_rates(device_index, precision, limit, &mut |so_far| {
                // A parent that does not listen any more ends this process by other means.
                let _ = send(&Answer::RatesSoFar(so_far.clone()));
            })
        })),
        Request::Fits { model, methods } => Answer::Fits(guarded(|| burn::fits(&model, &methods))),
        Request::Measure { plan, reference } => {
            let guard = Guard { stop, announce, print };
            Answer::Measured(Box::new(measure(&plan, reference.as_deref(), &guard)))
        }
        Request::Profile { plan, wish } => {
            let guard = Guard { stop, announce, print };
            let (measurement, profile) = profile(&plan, &wish, &guard);
            Answer::Profiled(Box::new(measurement), profile.map(Box::new))
        }
        Request::Reference { plan, path } => Answer::Referred(guarded(|| fidelity::write_reference(&plan, &path))),
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

/// Tells the parent of a group of processes that must not outlive the run.
fn announce(group: u32) {
    // A parent that does not listen any more ends this process by other means.
    let _ = send(&Answer::Started { group });
}

/// Has the parent show what a command printed.
fn print(text: String) {
    let _ = send(&Answer::Printed(text));
}

fn send(answer: &Answer) -> std::io::Result<()> {
    let mut line = MARK.as_bytes().to_vec();
    serde_json::to_writer(&mut line, answer)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// An answer, or why there is none: an error, or the panic of a driver.
fn guarded<T>(ask: impl FnOnce() -> Result<T, EngineError>) -> Result<T, Words> {
    match catch_unwind(AssertUnwindSafe(ask)) {
        Ok(answer) => answer.map_err(|error| Words::of(&error)),
        Err(panic) => Err(Words { message: panic_text(&*panic), hint: None }),
    }
}

fn measure(plan: &PlannedRun, reference: Option<&Path>, guard: &Guard) -> Measurement {
    caught(|| run(plan, reference, guard)).unwrap_or_else(|error| failure(&error))
}

/// Does the work of a run; a driver that panics is an error of its device.
fn caught<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(EngineError::Device { message: panic_text(&*panic) }))
}

/// The record of a run that ended with an error before it had numbers.
pub(super) fn failure(error: &EngineError) -> Measurement {
    Measurement::without_numbers(error.status(), one_line(error), error.hint())
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

    fn pending(&self) -> bool {
        self.0.pending()
    }
}

fn run(plan: &PlannedRun, reference: Option<&Path>, guard: &Guard) -> Result<Measurement, EngineError> {
    let engine = executing_engine(plan, guard)?;
    let mut monitor = monitor(engine, plan);
    monitor.watch_idle(IDLE_TIME);
    // A set that does not fit is no reason to measure first.
    let evaluation = Evaluation::open(plan)?;
    let start = Instant::now();
    let Loaded { mut workload, mut clock, model_size_bytes, compile } = engine.load(plan)?;
    let startup = start.elapsed();
    let end = sample(&mut Sampling(&mut *workload), &mut clock, &plan.sampling, &guard.stop, &mut tell);
    let telemetry = {
        let samples = end.iterations.len() as u64 * workload.samples_per_iteration();
        monitor.stop().finish(end.window, samples)
    };
    let losses = losses(engine, plan, &mut *workload)?;
    let mut measurement = describe(plan, &*workload, end);
    add_losses(&mut measurement, losses);
    add_telemetry(&mut measurement, telemetry);
    let metrics = &mut measurement.metrics;
    metrics.set("startup_ms", startup.as_secs_f64() * 1e3);
    metrics.set_optional("compile_ms", compile.map(|time| time.as_secs_f64() * 1e3));
    metrics.set_optional("model_size_mb", model_size_bytes.map(|bytes| bytes as f64 / MB));
    let own_report = workload.report(measurement.iterations as usize);
    // Work of another process takes that one's memory.
    let peak = own_report.as_ref().map_or_else(procfs::peak_resident_bytes, |report| report.host_peak_bytes);
    metrics.set_optional("memory_host_peak_mb", peak.map(|bytes| bytes as f64 / MB));
    if let Some(memory) = workload.device_memory() {
        metrics.set("memory_device_allocated_mb", memory.allocated as f64 / MB);
        metrics.set("memory_device_reserved_mb", memory.reserved as f64 / MB);
    }
    let reported_versions = own_report.and_then(|report| add_report(&mut measurement, report));
    // Memory was read; what is computed from here on counts no more.
    check_precision(engine, plan, &*workload)?;
    if measurement.status == RunStatus::Ok {
        workload.verify()?;
        let median = measurement.metrics.get("latency_p50_ms").map(|ms| Duration::from_secs_f64(ms / 1e3));
        measurement.extra_metrics.extend(workload.own_metrics(median)?);
    }
    if let (Some(evaluation), RunStatus::Ok) = (evaluation, measurement.status) {
        let mut progress = |done, total| {
            let _ = send(&Answer::Evaluating { done, total });
        };
        if let Err(error) = evaluation.run(&mut *workload, &mut progress, &mut measurement.metrics) {
            // The accuracy was asked for, so the run failed; what was measured stays.
            measurement.status = RunStatus::Failed;
            measurement.validity = Validity::NotMeasured;
            measurement.error = Some(format!("the accuracy could not be measured: {}", one_line(&error)));
            measurement.hint = error.hint();
        }
    }
    let mut workload = Some(workload);
    if let (Some(path), RunStatus::Ok) = (reference, measurement.status) {
        match compare(engine, plan, &mut workload, path) {
            Ok(fidelity) => {
                measurement.hint = measurement.hint.take().or(fidelity.remark().map(str::to_owned));
                fidelity.store(&mut measurement.metrics, &mut measurement.extra_metrics);
            }
            Err(error) if error.breaks_trust() => distrust(&mut measurement, &error),
            // What was measured stays measured.
            Err(error) => measurement.hint = Some(format!("the fidelity is not known: {}", one_line(&error))),
        }
    }
    if let (Some(workload), RunStatus::Ok) = (workload, measurement.status)
        && let Err(error) = workload.finish()
    {
        distrust(&mut measurement, &error);
    }
    let versions = reported_versions.unwrap_or_else(|| engine.versions());
    let known = |version: String| Some(version).filter(|version| !version.is_empty());
    measurement.engine_version = known(versions.engine);
    measurement.framework_version = known(versions.framework);
    Ok(measurement)
}

/// The losses of the first and the last training step, where there were any.
///
/// # Errors
/// A loss that is no number, unless in single precision: there it is the optimizer that went astray, and the times are
/// those of any step.
fn losses(
    engine: &dyn Engine,
    plan: &PlannedRun,
    workload: &mut dyn Workload,
) -> Result<Option<(f32, f32)>, EngineError> {
    let losses = workload.losses();
    if !are_finite(losses) && plan.configuration.precision != Precision::Fp32 {
        return Err(EngineError::LossDiverged {
            engine: engine.name(),
            model: plan.configuration.model.clone(),
            precision: plan.configuration.precision,
        });
    }
    Ok(losses)
}

fn are_finite(losses: Option<(f32, f32)>) -> bool {
    losses.is_none_or(|(first, last)| first.is_finite() && last.is_finite())
}

/// Adds the losses of a training, and says it where they are no numbers.
fn add_losses(measurement: &mut Measurement, losses: Option<(f32, f32)>) {
    if !are_finite(losses) {
        measurement.hint =
            Some("the loss is not a number any more: the times are real, what was learnt is not".to_owned());
    }
    let losses = losses.map(|(first, last)| [("first_loss", first), ("last_loss", last)]).into_iter().flatten();
    measurement.extra_metrics.extend(losses.filter(|(_, loss)| loss.is_finite()).map(|(name, loss)| ExtraMetric {
        name: name.to_owned(),
        unit: String::new(),
        better: Better::None,
        value: f64::from(loss),
    }));
}

/// Whether the work was done in the precision that was asked for.
///
/// # Errors
/// It was not.
fn check_precision(engine: &dyn Engine, plan: &PlannedRun, workload: &dyn Workload) -> Result<(), EngineError> {
    let asked = plan.configuration.precision;
    match workload.result_precision() {
        Some(real) if real != asked => {
            let model = plan.configuration.model.clone();
            Err(EngineError::OtherPrecision { engine: engine.name(), model, asked, real })
        }
        _ => Ok(()),
    }
}

/// Tells the parent how far sampling is.
fn tell(progress: SamplingProgress) {
    // A parent that does not listen any more ends this process by other means.
    let _ = send(&Answer::Progress {
        iterations: progress.iterations,
        elapsed_ns: progress.elapsed,
        warming_up: progress.warming_up,
    });
}

/// A run with a time for each operator; without a profile where nothing was measured.
fn profile(plan: &PlannedRun, wish: &ProfileWish, guard: &Guard) -> (Measurement, Option<Profile>) {
    match caught(|| profiled(plan, wish, guard)) {
        Ok((measurement, profile)) => (measurement, Some(profile)),
        Err(error) => (failure(&error), None),
    }
}

/// What [`run`] is for plain runs. Memory is not measured: what the profile itself takes would count.
fn profiled(plan: &PlannedRun, wish: &ProfileWish, guard: &Guard) -> Result<(Measurement, Profile), EngineError> {
    let engine = executing_engine(plan, guard)?;
    let profiled = engine.profile(plan, wish, &guard.stop, &mut tell)?;
    let Profiled { mut workload, end, startup, model_size_bytes, profile } = profiled;
    let losses = losses(engine, plan, &mut *workload)?;
    let mut measurement = describe(plan, &*workload, end);
    add_losses(&mut measurement, losses);
    check_precision(engine, plan, &*workload)?;
    if measurement.status == RunStatus::Ok {
        workload.verify()?;
    }
    let metrics = &mut measurement.metrics;
    metrics.set_optional("startup_ms", startup.map(|time| time.as_secs_f64() * 1e3));
    metrics.set_optional("model_size_mb", model_size_bytes.map(|bytes| bytes as f64 / MB));
    measurement.operator_times = profile.parts.iter().map(ProfiledPart::time).collect();
    let timed: Vec<u64> = profile.pairs.iter().map(|[_, timed]| *timed).collect();
    if !timed.is_empty() {
        measurement.samples.push(SampleSeries { phase: "profiled_iteration".to_owned(), nanoseconds: timed });
    }
    let versions = engine.versions();
    measurement.engine_version = Some(versions.engine);
    measurement.framework_version = Some(versions.framework);
    Ok((measurement, profile))
}

/// Adds what another process knows of itself; answers its versions.
fn add_report(measurement: &mut Measurement, report: OwnReport) -> Option<Versions> {
    let metrics = &mut measurement.metrics;
    metrics.set_optional("memory_device_peak_mb", report.device_peak_bytes.map(|bytes| bytes as f64 / MB));
    metrics.set_optional("success_rate", report.success_rate);
    measurement.extra_metrics.extend(report.extra_metrics.into_iter().filter(|metric| metric.value.is_finite()));
    measurement.samples.extend(report.samples.into_iter().filter(|series| !series.nanoseconds.is_empty()));
    measurement.telemetry.extend(report.series);
    measurement.hint = measurement.hint.take().or(report.hint);
    report.versions
}

/// A program that goes wrong at its end makes what it said before doubtful: the run failed. Its numbers stay to be seen.
fn distrust(measurement: &mut Measurement, error: &EngineError) {
    measurement.status = error.status();
    measurement.validity = Validity::NotMeasured;
    measurement.error = Some(one_line(error));
    measurement.hint = error.hint();
}

/// Starts reading the sensors of a run; those of a test engine's device are nobody's.
fn monitor(engine: &dyn Engine, plan: &PlannedRun) -> Monitor {
    let configuration = &plan.configuration;
    let Some(interval) = plan.telemetry_interval.filter(|_| !engine.hidden()) else {
        return Monitor::start(Vec::new(), configuration.device.kind, DEFAULT_TELEMETRY_INTERVAL);
    };
    let sensors = telemetry::open(&configuration.device, configuration.platform, plan.device_index);
    Monitor::start(sensors.sources, sensors.worked, interval)
}

/// Adds what the sensors say; a device that slowed down makes the run's numbers somebody else's.
fn add_telemetry(measurement: &mut Measurement, telemetry: TelemetrySummary) {
    for (name, value) in telemetry.metrics.iter() {
        measurement.metrics.set(name, value);
    }
    measurement.telemetry = telemetry.series;
    if let (Some(reason), RunStatus::Ok) = (telemetry.throttled, measurement.status) {
        measurement.validity = Validity::Throttled;
        measurement.hint = Some(format!("the device slowed down ({reason}): cool it, or lower its load, and repeat"));
    }
}

/// Compares the outputs of what was measured with the reference.
fn compare(
    engine: &dyn Engine,
    plan: &PlannedRun,
    workload: &mut Option<Box<dyn Workload>>,
    reference: &Path,
) -> Result<Fidelity, EngineError> {
    let inputs = fidelity::inputs(plan)?;
    let own = workload.as_mut().map(|workload| workload.outputs(&inputs)).transpose()?.flatten();
    let outputs = match own {
        Some(outputs) => outputs,
        None => {
            // What was measured changed the network: a fresh one answers, once there is room for it.
            workload.take().map(Workload::finish).transpose()?;
            engine.infer(plan, &inputs)?
        }
    };
    if let (Some(_), Some(unlike)) = (engine.external(), fidelity::unlike(&outputs, reference)?) {
        return Err(ExternalError::Lie { program: engine.name().to_owned(), asked: "outputs", what: unlike }.into());
    }
    fidelity::against_file(&outputs, reference)
}

/// The metrics of a generation, from the nanoseconds of its phases: the time to the first token is the median of the
/// prefill; the time of each further one the median of the decoding, shared by all of them. Tokens are counted over
/// the whole batch.
fn generation_metrics(
    shape: GenerationShape,
    batch: u64,
    prefill: &[u64],
    decode: &[u64],
    metrics: &mut MetricSet,
) -> Vec<ExtraMetric> {
    let median = |nanoseconds: &[u64]| {
        let ms: Vec<f64> = nanoseconds.iter().map(|&ns| ns as f64 / 1e6).collect();
        stats::quantile(&stats::sorted(&ms), 0.5)
    };
    let first = median(prefill);
    let later = shape.new_tokens - 1;
    let each = median(decode).filter(|_| later > 0).map(|ms| ms / later as f64);
    metrics.set_optional("time_to_first_token_ms", first);
    metrics.set_optional("time_per_output_token_ms", each);
    let rate = metrics.get("throughput_samples_per_second").map(|samples| samples * shape.new_tokens as f64);
    metrics.set_optional("throughput_tokens_per_second", rate);
    let rates = [
        ("prefill_tokens_per_second", first.map(|ms| (batch * shape.prompt_tokens) as f64 / ms * 1e3)),
        ("decode_tokens_per_second", each.map(|ms| batch as f64 / ms * 1e3)),
    ];
    rates
        .into_iter()
        .filter_map(|(name, rate)| rate.filter(|rate| rate.is_finite() && *rate > 0.0).map(|rate| (name, rate)))
        .map(|(name, value)| ExtraMetric {
            name: name.to_owned(),
            unit: "tokens/s".to_owned(),
            better: Better::Higher,
            value,
        })
        .collect()
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
    let extra_metrics = match (workload.generation(), &end.phases[..]) {
        (Some(shape), [prefill, decode]) => {
            generation_metrics(shape, workload.samples_per_iteration(), prefill, decode, &mut metrics)
        }
        _ => {
            for (phase, nanoseconds) in &phases {
                let ms: Vec<f64> = nanoseconds.iter().map(|&ns| ns as f64 / 1e6).collect();
                metrics.set_optional(&format!("{phase}_ms"), stats::mean(&ms));
            }
            Vec::new()
        }
    };
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
        extra_metrics,
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
