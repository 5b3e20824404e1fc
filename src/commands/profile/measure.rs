//! Measures a profile, stores it, and shows it.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::super::hardware::Rated;
use super::super::options::{hardware_of, only_run};
use super::super::run::{artifact_of, named_model, saved_elsewhere, stop_on_signals};
use super::super::{CommandError, Context, ExitStatus};
use super::{Args, files, tables};
use crate::analysis::profile::{Agreement, Peaks};
use crate::domain::profile::{PROFILE_PARAMETER, Profile};
use crate::domain::text::one_line;
use crate::domain::{Measurement, Mode, PlannedRun, Platform, Precision, RunRecord, RunStatus, Sampling, WeightChoice};
use crate::engine::plan::{ModelChoice, PlanRequest};
use crate::engine::{ProfileWish, Progress, Runner, record};
use crate::hardware::{capture_environment, logical_cpus};
use crate::onnx::is_onnx;
use crate::report::{count, human_duration};
use crate::store::insert::Inserted;
use crate::store::{Access, Store, now_text};

/// Looks at the processor for each second of its time, if nobody says. No round number, or what happens at round times
/// would always be seen, or never.
const SAMPLING_HERTZ: u32 = 99;

/// Runs the command.
///
/// # Errors
/// As [`super::execute`]. A profile that the database does not take is shown and written all the same, before that is told.
pub(super) fn execute(model: &str, args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let runner = Runner::for_this_program()?;
    let plan = planned(model, args, &runner)?;
    if let Some(folder) = &args.output {
        files::make_folder(folder)?;
    }
    let artifact = match &plan.weights {
        WeightChoice::File(path) => Some(artifact_of(path)?),
        WeightChoice::Seeded(_) => None,
    };
    let mut store = context.open(Access::Create)?;
    let on_host = plan.configuration.platform == Platform::Cpu;
    let usual = if on_host && cfg!(unix) { SAMPLING_HERTZ } else { 0 };
    let wish = ProfileWish { sampling_hertz: Some(args.sampling_rate.unwrap_or(usual)).filter(|&hertz| hertz > 0) };
    let (started_at, start) = (now_text(), Instant::now());
    let (measurement, profile) = measured(&plan, &wish, &runner, &*stop_on_signals()?, context);
    let record = RunRecord {
        artifact,
        started_at: Some(started_at),
        duration_s: Some(start.elapsed().as_secs_f64()),
        ..record(&plan, &capture_environment(Path::new(".")), measurement)
    };
    let (run_id, stored) = match store.insert_run(&record) {
        Ok(Inserted::New(id) | Inserted::Known(id)) => (Some(id), Ok(())),
        Err(error) => (None, Err(saved_elsewhere(store.path(), &record, error))),
    };
    let Some(profile) = profile.filter(|_| record.measurement.status == RunStatus::Ok) else {
        let status = failed(run_id, &record, context);
        return stored.map(|()| status);
    };
    let peaks = peaks(&mut store, &plan, args, &runner, context);
    let shown = tables::Shown { run_id, record: &record, profile: &profile, peaks };
    tell(&shown, context);
    let made = tables::of(&shown, args.top as usize, &args.printed());
    context.print("profile", &made, &args.printed())?;
    if args.printed().is_for_people()
        && let Some(why) = tables::beyond_roof(&profile, peaks, args.top as usize)
    {
        context.note(&why);
    }
    if let Some(folder) = &args.output {
        files::write(folder, &shown, context)?;
    }
    stored.map(|()| ExitStatus::Ok)
}

/// The run to profile.
fn planned(model: &str, args: &Args, runner: &Runner) -> anyhow::Result<PlannedRun> {
    if args.mode == Mode::Explanation {
        return Err(CommandError::new(
            "explanations have no profile: operators are timed in inference and training",
            "`--mode inference` or `--mode training`; `benchdb run --mode explanation` measures explanations",
        )
        .into());
    }
    let named = named_model(model)
        .map_err(|reason| CommandError::new(format!("`--model {model}`: {reason}"), "`benchdb models` lists them"))?;
    if named.is_onnx() || args.weights.as_deref().is_some_and(is_onnx) {
        return Err(CommandError::new(
            "an ONNX file has no profile: it is a graph that an engine runs in one call, not a tree of modules",
            "name the model of benchdb, with its weights: `--model resnet50 --weights resnet50.safetensors`",
        )
        .into());
    }
    let request = PlanRequest {
        models: ModelChoice::Named(vec![named]),
        hardware: vec![hardware_of(args.hardware, args.engine.as_deref())],
        engines: args.engine.iter().cloned().collect(),
        precisions: vec![args.precision],
        mode: args.mode,
        optimizer: args.optimizer,
        batch_sizes: vec![args.batch_size],
        threads: args.threads,
        seed: args.seed,
        weights: args.weights.clone(),
        device_index: args.device_index,
        // Who names a platform or an engine means the device that it has.
        include_software: true,
        sampling: Sampling { min_iterations: args.iterations, max_time: args.max_time, ..Sampling::default() },
        telemetry_interval: None,
        ..PlanRequest::default()
    };
    let mut plan = only_run(&request, runner)?;
    let (name, value) = PROFILE_PARAMETER;
    plan.configuration.parameters.insert(name.to_owned(), value.into());
    Ok(plan)
}

fn measured(
    plan: &PlannedRun,
    wish: &ProfileWish,
    runner: &Runner,
    stop: &AtomicBool,
    context: &Context,
) -> (Measurement, Option<Profile>) {
    let what = format!("{} by {}", plan.configuration.model, plan.configuration.engine);
    let bar = context.bar(plan.sampling.min_iterations.into());
    let measured = runner.profile(plan, wish, stop, &mut |progress| match progress {
        Progress::Loading => bar.set_message(format!("{what}: loading")),
        Progress::WarmingUp => bar.set_message(format!("{what}: warming up")),
        Progress::Sampling { iterations, elapsed } => {
            bar.set_position(iterations);
            bar.set_message(format!("{what}: pairs of iterations, {}", human_duration(elapsed)));
        }
        Progress::Evaluating { .. } => {}
    });
    bar.finish_and_clear();
    let (measurement, profile) = measured;
    let hint = measurement.hint.map(|hint| with_own_options(&hint));
    (Measurement { hint, ..measurement }, profile)
}

/// A hint that names the options of `benchdb run`, with those of this command: it takes one batch size.
fn with_own_options(hint: &str) -> String {
    hint.replace("--batch-sizes", "--batch-size")
}

/// Says why there is no profile.
fn failed(run_id: Option<i64>, record: &RunRecord, context: &Context) -> ExitStatus {
    let measurement = &record.measurement;
    let reason = measurement.error.as_deref().unwrap_or("nothing was measured");
    let run = run_id.map_or_else(|| "the run".to_owned(), |id| format!("run {id}"));
    context.complain(&format!("{run} ({}) has no profile: {reason}", measurement.status), measurement.hint.as_deref());
    if measurement.status == RunStatus::Interrupted { ExitStatus::Interrupted } else { ExitStatus::Failed }
}

/// What the device can do at most: as the database knows it, or measured now and kept. What the database refuses is told:
/// the profile is there, with or without peaks.
fn peaks(store: &mut Store, plan: &PlannedRun, args: &Args, runner: &Runner, context: &Context) -> Peaks {
    let configuration = &plan.configuration;
    let (device, engine) = (&configuration.device, &configuration.engine);
    // Integer weights are multiplied in floating point.
    let precision = match configuration.precision {
        Precision::Int8w => Precision::Fp32,
        precision => precision,
    };
    if configuration.threads < logical_cpus() && configuration.platform == Platform::Cpu {
        context.note(&format!(
            "the device's peaks are those of all {} processors; this profile ran on {}",
            logical_cpus(),
            configuration.threads
        ));
    }
    let known = store.newest_device_probes().unwrap_or_else(|error| {
        context.note(&format!("the peaks that the database knows cannot be read: {}", one_line(&error)));
        Vec::new()
    });
    let known = known
        .into_iter()
        .find(|probe| probe.device == *device && probe.engine == *engine && probe.precision == precision);
    if let Some(probe) = known {
        return Peaks {
            gflop_per_second: probe.peak_gflop_per_second,
            gb_per_second: probe.copy_bandwidth_gb_per_second,
        };
    }
    if args.peak_time.is_zero() {
        return Peaks::default();
    }
    let rated = Rated { device, engine, index: plan.device_index, precision };
    context.note(&format!("measuring what {} can do at most in {precision}", device.name));
    let rates = rated.measure(args.peak_time, "--peak-time", runner, context);
    if let Err(error) = rated.keep(&rates, store) {
        context.note(&format!("the peaks could not be kept: {}", one_line(&error)));
    }
    Peaks { gflop_per_second: rates.peak_gflop_per_second, gb_per_second: rates.copy_bandwidth_gb_per_second }
}

/// Says what whoever reads the numbers should know.
fn tell(shown: &tables::Shown<'_>, context: &Context) {
    for remark in &shown.profile.remarks {
        context.note(remark);
    }
    if let Some(hint) = &shown.record.measurement.hint {
        context.note(hint);
    }
    if let Some(short) = tables::fewer_stacks(shown.profile) {
        context.note(&short);
    }
    if let Some(missing) = without_operators(shown) {
        context.note(&missing);
    }
    let Some(agreement) = Agreement::of(shown.profile) else { return };
    context.note(&tables::verdict(&agreement));
}

/// That a network does work which no operator tells of, in one sentence.
fn without_operators(shown: &tables::Shown<'_>) -> Option<String> {
    let configuration = &shown.record.configuration;
    // What a training step leaves out of a network, or adds to it, is not counted anywhere.
    let each = shown.record.model.multiply_adds.filter(|_| configuration.mode == Mode::Inference)?;
    let expected = each * u64::from(configuration.batch_size);
    let sum: u64 = shown.profile.parts.iter().map(|part| part.multiply_adds).sum();
    let found = sum / (shown.profile.pairs.len() as u64).max(1);
    (found < expected).then(|| {
        format!(
            "operators account for {} of the {} multiply-adds of {}: the others have no operator of their own, and their time \
             is in `(other)`",
            count(found),
            count(expected),
            configuration.model
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_an_option_that_there_is() {
        let hint = "take a smaller batch (`--batch-sizes`) or a smaller model";
        assert_eq!(with_own_options(hint), "take a smaller batch (`--batch-size`) or a smaller model");
    }
}
