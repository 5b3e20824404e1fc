//! `benchdb run`: plan, measure each run in a worker process, store each as soon as it is measured, sum up.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};

use super::{CommandError, Context, ExitStatus, OutputArgs, recovery};
use crate::domain::configuration::hex;
use crate::domain::metric::find_metric;
use crate::domain::{
    Artifact, Campaign, Category, Cell, Environment, Measurement, Mode, PlannedRun, Platform, Precision, RunRecord,
    RunStatus, Sampling, Table, TrainingOptimizer, WeightChoice,
};
use crate::engine::plan::{HardwareChoice, ModelChoice, Plan, PlanRequest, plan};
use crate::engine::{EngineError, Progress, Runner, record};
use crate::exchange::{Exporter, OwnJson};
use crate::hardware::capture_environment;
use crate::report::{Format, human_duration};
use crate::stats::smallest_sample_for_quantile;
use crate::store::campaigns::OpenRun;
use crate::store::list::{Detail, Selection};
use crate::store::{Access, Store, StoreError, now_text};

/// Batches in flight that `--throughput-mode` keeps, if nobody says how many.
const BATCHES_IN_FLIGHT: u32 = 4;

/// How often the lease of a run is renewed.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Options of `benchdb run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb run --model resnet18 --hardware cpu
  benchdb run --model bert,vit --batch-sizes 1,8 --engine burn-flex,burn-ndarray
  benchdb run --model cifar_cnn --training-mode --optimizer sgd --repeat 5
  benchdb run --all --hardware all --dry-run
  benchdb run --resume last")]
pub struct Args {
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Weight file of the model: safetensors, .pt or .pth (seeded random weights without)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Seed of the inputs, and of the weights where there is no file
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// A label for this campaign, to find it again
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Print the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on with a campaign that was stopped: its UUID or the beginning of it, its label, or `last`
    #[arg(long, value_name = "CAMPAIGN", conflicts_with_all = ["models", "category", "all", "dry_run", "weights", "label"])]
    resume: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What to measure")]
struct WhatArgs {
    /// Models, by forgiving names (`bert` is `bert-base-uncased`)
    #[arg(long = "model", value_name = "MODEL", value_delimiter = ',')]
    models: Vec<String>,
    /// All models of a category
    #[arg(long, value_enum, conflicts_with = "models")]
    category: Option<Category>,
    /// All models
    #[arg(long, conflicts_with_all = ["models", "category"])]
    all: bool,
    /// Platforms: cpu, cuda, rocm, mps, vulkan, ...; `all` that work, or `auto` for the first of cuda, rocm, mps,
    /// vulkan, cpu
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', default_value = "auto", value_parser = hardware_choice)]
    hardware: Vec<HardwareChoice>,
    /// Engines: burn-flex, burn-ndarray, burn-wgpu, ... (the default one of each platform without)
    #[arg(long = "engine", value_name = "ENGINE", value_delimiter = ',')]
    engines: Vec<String>,
    /// Batch sizes
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    batch_sizes: Vec<u32>,
    /// Precisions
    #[arg(long = "precision", value_enum, value_delimiter = ',', default_value = "fp32")]
    precisions: Vec<Precision>,
    /// What to time
    #[arg(long, value_enum, default_value = "inference")]
    mode: Mode,
    /// The same as `--mode training`
    #[arg(long, conflicts_with = "mode")]
    training_mode: bool,
    /// The optimizer of training steps
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: TrainingOptimizer,
    /// Threads on the host (all processors without)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    threads: Option<u32>,
    /// Which device of a platform, from 0 (the first real one without)
    #[arg(long, value_name = "N")]
    device_index: Option<u32>,
    /// Let `auto` and `all` take software adapters (lavapipe, SwiftShader)
    #[arg(long)]
    include_software: bool,
    /// Runs of each configuration, interleaved across the plan
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// At most this many runs
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How long to sample")]
struct SamplingArgs {
    /// Samples to take at least
    #[arg(long, visible_alias = "num-samples", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// Warm-up iterations before them at least, after a first call that is kept apart
    #[arg(long, value_name = "N", default_value_t = 3)]
    warmup: u32,
    /// Sample for at least this long: seconds, or with a unit (`500ms`, `2m`)
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = duration)]
    min_time: Duration,
    /// Stop after this long whatever was reached, warm-up included
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = duration)]
    max_time: Duration,
    /// Go on until the half-width of the median's 95 % interval is below this share of the median (0.01 is 1 %)
    #[arg(long, value_name = "SHARE", value_parser = share)]
    precision_target: Option<f64>,
    /// Keep several batches in flight and measure samples per second alone
    #[arg(long)]
    throughput_mode: bool,
    /// How many batches in flight
    #[arg(long, value_name = "N", requires = "throughput_mode", default_value_t = BATCHES_IN_FLIGHT, value_parser = clap::value_parser!(u32).range(2..=1024))]
    batches_in_flight: u32,
}

fn hardware_choice(text: &str) -> Result<HardwareChoice, String> {
    use clap::ValueEnum as _;
    match text.to_lowercase().as_str() {
        "auto" => Ok(HardwareChoice::Auto),
        "all" => Ok(HardwareChoice::All),
        name => Platform::from_str(name, true).map(HardwareChoice::Platform).map_err(|_| {
            let known: Vec<String> = Platform::value_variants().iter().map(Platform::to_string).collect();
            let near = crate::domain::names::nearest(name, known.iter().map(String::as_str));
            match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it is one of auto, all, {}", known.join(", ")),
            }
        }),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(365 * 24 * 3600);
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => text
            .parse::<jiff::SignedDuration>()
            .map_err(|_| "it is a number of seconds, or has a unit: `500ms`, `30s`, `2m`".to_owned())
            .and_then(|parsed| Duration::try_from(parsed).map_err(|_| "it is negative".to_owned())),
    }?;
    if parsed > MOST { Err("it is more than a year".to_owned()) } else { Ok(parsed) }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("it is a share between 0 and 1: 0.01 is one per cent".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// What keeps the plan from being made or the database from being written. A run that fails is a row, not an error.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let runner = Runner::for_this_program()?;
    if let Some(wanted) = &args.resume {
        let mut store = context.open(Access::Write)?;
        let campaign = store.find_campaign(wanted)?;
        return Session::new(context, &mut store, runner, campaign)?.go_on(&args.output);
    }
    let request = request(args)?;
    let plan = plan(&request, &runner)?;
    if args.dry_run {
        context.print("plan", &plan_tables(&plan), &args.output)?;
        for note in &plan.notes {
            context.note(note);
        }
        return Ok(if plan.runs.is_empty() { ExitStatus::Failed } else { ExitStatus::Ok });
    }
    for note in &plan.notes {
        context.note(note);
    }
    for left_out in &plan.left_out {
        report_left_out(context, &left_out.what, &left_out.reason);
    }
    for (planned, reason) in &plan.unsupported {
        report_left_out(context, &describe(planned), reason);
    }
    if plan.runs.is_empty() && plan.unsupported.is_empty() {
        context.note("nothing that was asked for can run here");
        return Ok(ExitStatus::Failed);
    }
    if let Some(path) = &request.weights {
        // Before a database is made for nothing.
        std::fs::File::open(path).with_context(|| format!("cannot read the weights `{}`", path.display()))?;
    }
    let campaign = Campaign {
        uuid: uuid::Uuid::now_v7().to_string(),
        started_at: now_text(),
        command_line: command_line(),
        label: args.label.clone(),
        seed: Some(request.seed),
    };
    let mut store = context.open(Access::Create)?;
    store.insert_campaign(&campaign, &plan.runs)?;
    let mut session = Session::new(context, &mut store, runner, campaign)?;
    session.insert_unsupported(&plan)?;
    session.go_on(&args.output)
}

fn report_left_out(context: &Context, what: &str, reason: &EngineError) {
    context.note(&format!("left out: {what}: {reason}"));
    if let Some(hint) = reason.hint() {
        context.note(&format!("hint: {hint}"));
    }
}

fn command_line() -> String {
    std::env::args()
        .map(|word| {
            let plain = |character: char| character.is_alphanumeric() || "-_./,=:+@%".contains(character);
            if !word.is_empty() && word.chars().all(plain) {
                word
            } else {
                format!("'{}'", word.replace('\'', "'\\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn request(args: &Args) -> anyhow::Result<PlanRequest> {
    let what = &args.what;
    let models = match (what.all, what.category, what.models.is_empty()) {
        (true, _, _) => ModelChoice::All,
        (_, Some(category), _) => ModelChoice::Category(category),
        (_, _, false) => ModelChoice::Named(what.models.clone()),
        _ => {
            return Err(CommandError::new(
                "no model was named",
                "`--model resnet18`, `--category vision` or `--all`; `benchdb models` lists them",
            )
            .into());
        }
    };
    if args.weights.is_some() && !matches!(&models, ModelChoice::Named(names) if names.len() == 1) {
        return Err(CommandError::new("`--weights` belongs to one model", "name one with `--model`").into());
    }
    if args.sampling.max_time < args.sampling.min_time {
        return Err(CommandError::new(
            "`--max-time` is shorter than `--min-time`",
            "lower `--min-time`, or raise `--max-time`",
        )
        .into());
    }
    Ok(PlanRequest {
        models,
        hardware: what.hardware.clone(),
        engines: what.engines.clone(),
        batch_sizes: without_repeats(&what.batch_sizes),
        precisions: without_repeats(&what.precisions),
        mode: if what.training_mode { Mode::Training } else { what.mode },
        optimizer: what.optimizer,
        sampling: Sampling {
            warmup_iterations: args.sampling.warmup,
            min_iterations: args.sampling.iterations,
            min_time: args.sampling.min_time,
            max_time: args.sampling.max_time,
            precision_target: args.sampling.precision_target,
            batches_in_flight: if args.sampling.throughput_mode { args.sampling.batches_in_flight } else { 1 },
            ..Sampling::default()
        },
        repeat: what.repeat,
        threads: what.threads,
        seed: args.seed,
        weights: args.weights.clone(),
        device_index: what.device_index,
        include_software: what.include_software,
        limit: what.limit,
    })
}

fn without_repeats<T: PartialEq + Copy>(list: &[T]) -> Vec<T> {
    list.iter().fold(Vec::new(), |mut kept, item| {
        if !kept.contains(item) {
            kept.push(*item);
        }
        kept
    })
}

/// A campaign that is being measured.
struct Session<'s> {
    context: &'s Context,
    store: &'s mut Store,
    runner: Runner,
    campaign: Campaign,
    environment: Environment,
    artifacts: HashMap<PathBuf, Artifact>,
    stop: Arc<AtomicBool>,
}

impl<'s> Session<'s> {
    fn new(context: &'s Context, store: &'s mut Store, runner: Runner, campaign: Campaign) -> anyhow::Result<Self> {
        Ok(Self {
            context,
            store,
            runner,
            campaign,
            environment: capture_environment(Path::new(".")),
            artifacts: HashMap::new(),
            stop: stop_on_signals()?,
        })
    }

    fn insert_unsupported(&mut self, plan: &Plan) -> anyhow::Result<()> {
        for (planned, reason) in &plan.unsupported {
            let measurement = Measurement::without_numbers(RunStatus::Unsupported, reason.to_string(), reason.hint());
            let record = self.record(planned, None, measurement);
            self.store.insert_run(&record)?;
        }
        Ok(())
    }

    /// Measures what is open, then prints the whole campaign.
    fn go_on(mut self, output: &OutputArgs) -> anyhow::Result<ExitStatus> {
        let lease = recovery::own_lease();
        let (free, held): (Vec<OpenRun>, Vec<OpenRun>) =
            self.store.list_open_runs(&self.campaign.uuid)?.into_iter().partition(|open| open.lease.is_none());
        if let (true, Some(OpenRun { lease: Some(other), .. })) = (free.is_empty(), held.first()) {
            return Err(StoreError::CampaignBusy {
                campaign: self.campaign.uuid.clone(),
                process_id: other.process_id.into(),
                host: other.host.clone(),
            }
            .into());
        }
        if free.is_empty() {
            self.context.note(&format!("campaign {} has nothing left to measure", self.campaign.uuid));
        }
        let bar = self.bar(free.len() as u64);
        let started = Instant::now();
        for (index, open) in free.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if !self.store.take_run(open.id, &lease)? {
                continue;
            }
            let what = describe(&open.plan);
            bar.set_message(what.clone());
            let record = self.measure(open, &bar)?;
            self.save(open, &record, &lease)?;
            bar.inc(1);
            if !self.context.shows_progress() {
                self.context.note(&format!("[{}/{}] {what}: {}", index + 1, free.len(), outcome(&record.measurement)));
            }
        }
        bar.finish_and_clear();
        self.context.detail(&format!("campaign {} took {}", self.campaign.uuid, human_duration(started.elapsed())));
        self.sum_up(output)
    }

    fn bar(&self, length: u64) -> ProgressBar {
        if !self.context.shows_progress() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg} {elapsed} (left {eta})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    fn measure(&mut self, open: &OpenRun, bar: &ProgressBar) -> anyhow::Result<RunRecord> {
        let artifact = self.artifact(&open.plan.weights)?;
        let (started_at, start) = (now_text(), Instant::now());
        let what = describe(&open.plan);
        let mut last_beat = Instant::now();
        let store = &mut *self.store;
        let measurement = self.runner.measure(&open.plan, &self.stop, &mut |progress| {
            bar.set_message(match progress {
                Progress::Loading => format!("{what}: loading"),
                Progress::WarmingUp => format!("{what}: warming up"),
                Progress::Sampling { iterations, elapsed } => {
                    format!("{what}: {iterations} samples in {}", human_duration(elapsed))
                }
            });
            if last_beat.elapsed() >= HEARTBEAT {
                last_beat = Instant::now();
                // A heartbeat that is missed does no harm; the process id tells, too.
                let _ = store.beat(open.id);
            }
        });
        let mut record = self.record(&open.plan, artifact, measurement);
        record.started_at = Some(started_at);
        record.duration_s = Some(start.elapsed().as_secs_f64());
        Ok(record)
    }

    fn record(&self, plan: &PlannedRun, artifact: Option<Artifact>, measurement: Measurement) -> RunRecord {
        RunRecord { campaign: Some(self.campaign.clone()), artifact, ..record(plan, &self.environment, measurement) }
    }

    /// Stores a run. An interrupted one gives its place in the plan back. What the database does not take is written
    /// beside it, so that nothing that was measured is lost.
    fn save(
        &mut self,
        open: &OpenRun,
        record: &RunRecord,
        lease: &crate::store::campaigns::Lease,
    ) -> anyhow::Result<()> {
        let saved = if record.measurement.status == RunStatus::Interrupted {
            self.store.release_interrupted(open.id, lease, record).map(drop)
        } else {
            self.store.finish_run(open.id, record).map(drop)
        };
        let Err(error) = saved else { return Ok(()) };
        match spill(self.store.path(), record) {
            Some(path) => Err(anyhow::Error::new(error).context(CommandError::new(
                format!("the run could not be stored and was saved in `{}`", path.display()),
                format!("once the cause is gone: `benchdb import {}`", path.display()),
            ))),
            None => Err(anyhow::Error::new(error).context("the run could not be stored anywhere")),
        }
    }

    fn artifact(&mut self, weights: &WeightChoice) -> anyhow::Result<Option<Artifact>> {
        let WeightChoice::File(path) = weights else {
            return Ok(None);
        };
        if let Some(known) = self.artifacts.get(path) {
            return Ok(Some(known.clone()));
        }
        let failed = || format!("cannot read the weights `{}`", path.display());
        let mut file = std::fs::File::open(path).with_context(failed)?;
        let mut digest = Sha256::new();
        let size_bytes = std::io::copy(&mut file, &mut digest).with_context(failed)?;
        let artifact = Artifact {
            sha256: hex(&digest.finalize()),
            format: match path.extension().and_then(|ending| ending.to_str()) {
                Some("pt" | "pth") => "pytorch",
                _ => "safetensors",
            }
            .to_owned(),
            size_bytes,
            path: Some(super::path_text(path)),
        };
        self.artifacts.insert(path.clone(), artifact.clone());
        Ok(Some(artifact))
    }

    fn sum_up(self, output: &OutputArgs) -> anyhow::Result<ExitStatus> {
        let runs = self.store.list_runs(
            &Selection { campaign: Some(self.campaign.uuid.clone()), ..Selection::default() },
            Detail::Row,
        )?;
        let people = output.format() == Format::Table || output.format() == Format::Markdown;
        self.context.print("runs", &[result_table(&runs, people)], output)?;
        for (id, record) in &runs {
            if let (Some(error), RunStatus::Failed | RunStatus::OutOfMemory) =
                (&record.measurement.error, record.measurement.status)
            {
                self.context.note(&format!("run {id}: {error}"));
                if let Some(hint) = &record.measurement.hint {
                    self.context.note(&format!("hint: {hint}"));
                }
            }
        }
        if self.stop.load(Ordering::Relaxed) {
            self.context.note(&format!("interrupted; `benchdb run --resume {}` goes on", self.campaign.uuid));
            return Ok(ExitStatus::Interrupted);
        }
        let count = |status| runs.iter().filter(|(_, run)| run.measurement.status == status).count();
        let broken = count(RunStatus::Failed) + count(RunStatus::OutOfMemory);
        Ok(if broken > 0 || count(RunStatus::Ok) == 0 { ExitStatus::Failed } else { ExitStatus::Ok })
    }
}

/// The first Ctrl-C or SIGTERM asks for an end, the second one is the end.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen for Ctrl-C")?;
    }
    Ok(stop)
}

/// Writes a run that the database did not take where there is room for it; `None` if there is none.
fn spill(database: &Path, record: &RunRecord) -> Option<PathBuf> {
    let name = format!("benchdb-unsaved-{}.json", record.uuid);
    let beside = database.parent().unwrap_or(Path::new("")).join(&name);
    [beside, PathBuf::from(&name), std::env::temp_dir().join(&name)].into_iter().find(|path| {
        super::write_to(Some(path), |mut out| {
            let mut json = OwnJson::default();
            json.begin(&mut out)?;
            json.write(&mut out, 0, record)?;
            Ok(json.end(&mut out)?)
        })
        .is_ok()
    })
}

/// A run in a few words: `resnet18 on vulkan by burn-wgpu, fp32, inference, batch 8`.
fn describe(plan: &PlannedRun) -> String {
    let configuration = &plan.configuration;
    let repetition = if plan.repetition > 1 { format!(", repetition {}", plan.repetition) } else { String::new() };
    format!(
        "{} on {} by {}, {}, {}, batch {}{repetition}",
        configuration.model,
        configuration.platform,
        configuration.engine,
        configuration.precision,
        configuration.mode,
        configuration.batch_size
    )
}

fn outcome(measurement: &Measurement) -> String {
    match (measurement.status, measurement.metrics.get("latency_p50_ms")) {
        (RunStatus::Ok, Some(median)) => format!("{} ms", crate::report::significant(median)),
        (RunStatus::Ok, None) => match measurement.metrics.get("throughput_samples_per_second") {
            Some(rate) => format!("{} samples/s", crate::report::significant(rate)),
            None => "ok".to_owned(),
        },
        (status, _) => format!("{status}: {}", measurement.error.as_deref().unwrap_or("no reason was given")),
    }
}

fn plan_tables(plan: &Plan) -> Vec<Table> {
    let columns = ["run", "model", "platform", "device", "engine", "precision", "mode", "batch_size", "threads"];
    let mut runs = Table::new("Plan", &columns);
    for planned in &plan.runs {
        let configuration = &planned.configuration;
        runs.push([
            (u64::from(planned.position) + 1).into(),
            configuration.model.clone().into(),
            configuration.platform.to_string().into(),
            configuration.device.name.clone().into(),
            configuration.engine.clone().into(),
            configuration.precision.to_string().into(),
            configuration.mode.to_string().into(),
            configuration.batch_size.into(),
            configuration.threads.into(),
        ]);
    }
    let mut left_out = Table::new("Left out", &["what", "reason", "way_out"]);
    let reasons = plan.left_out.iter().map(|left_out| (left_out.what.clone(), &left_out.reason));
    let unsupported = plan.unsupported.iter().map(|(planned, reason)| (describe(planned), reason));
    for (what, reason) in reasons.chain(unsupported) {
        left_out.push([what.into(), reason.to_string().into(), reason.hint().into()]);
    }
    if left_out.rows.is_empty() { vec![runs] } else { vec![runs, left_out] }
}

/// The metrics of the table that ends a campaign, with the short names that people read.
const SHOWN: [(&str, &str); 10] = [
    ("latency_p50_ms", "p50 ms"),
    ("latency_p95_ms", "p95 ms"),
    ("latency_p99_ms", "p99 ms"),
    ("throughput_samples_per_second", "samples/s"),
    ("forward_ms", "forward ms"),
    ("loss_ms", "loss ms"),
    ("backward_ms", "backward ms"),
    ("optimizer_step_ms", "optimizer ms"),
    ("first_inference_ms", "first ms"),
    ("memory_host_peak_mb", "peak MB"),
];

/// One row a run, with the metrics that any of them has. For people the names are short, and a percentile that its
/// samples cannot support carries a `~`.
fn result_table(runs: &[(i64, RunRecord)], people: bool) -> Table {
    let measured = |name: &str| runs.iter().any(|(_, run)| run.measurement.metrics.get(name).is_some());
    let shown: Vec<(&str, &str)> = SHOWN.into_iter().filter(|(name, _)| measured(name)).collect();
    let identity = [
        ("run_id", "run"),
        ("model", "model"),
        ("platform", "platform"),
        ("engine", "engine"),
        ("precision", "precision"),
        ("mode", "mode"),
        ("batch_size", "batch"),
    ];
    let ending = [("iterations", "samples"), ("status", "status"), ("validity", "validity")];
    let columns: Vec<&str> = identity
        .into_iter()
        .chain(shown.iter().copied())
        .chain(ending)
        .map(|(name, short)| if people { short } else { name })
        .collect();
    let mut table = Table::new("", &columns);
    for (id, run) in runs {
        let configuration = &run.configuration;
        let platform = if people && configuration.device.software {
            format!("{} (software)", configuration.platform)
        } else {
            configuration.platform.to_string()
        };
        let mut row: Vec<Cell> = vec![
            (*id).into(),
            configuration.model.clone().into(),
            platform.into(),
            configuration.engine.clone().into(),
            configuration.precision.to_string().into(),
            configuration.mode.to_string().into(),
            configuration.batch_size.into(),
        ];
        row.extend(shown.iter().map(|(name, _)| metric_cell(name, run, people)));
        row.push(run.measurement.iterations.into());
        row.push(run.measurement.status.to_string().into());
        row.push(run.measurement.validity.to_string().into());
        table.push(row);
    }
    table
}

fn metric_cell(name: &str, run: &RunRecord, people: bool) -> Cell {
    debug_assert!(find_metric(name).is_some(), "{name} is a standard metric");
    let Some(value) = run.measurement.metrics.get(name) else {
        return Cell::Null;
    };
    let needed = match name {
        "latency_p90_ms" => smallest_sample_for_quantile(0.9, 0.95),
        "latency_p95_ms" => smallest_sample_for_quantile(0.95, 0.95),
        "latency_p99_ms" => smallest_sample_for_quantile(0.99, 0.95),
        "latency_p999_ms" => smallest_sample_for_quantile(0.999, 0.95),
        _ => 0,
    };
    if people && run.measurement.iterations < needed {
        return Cell::Text(format!("~{}", crate::report::significant(value)));
    }
    Cell::Real(value)
}
