//! A campaign that is being measured: one run after the other, each stored before the next starts.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::ProgressBar;
use sha2::{Digest as _, Sha256};

use super::costs::cost_tables;
use super::explanation::export_path;
use super::references::References;
use super::tables::{describe, outcome, result_table};
use super::variants::{variant_table, weight_metrics};
use crate::commands::analyze::campaign_tables;
use crate::commands::export::write_runs;
use crate::commands::{CommandError, Context, ExitStatus, OutputArgs, path_text, recovery, unreadable, write_to};
use crate::domain::configuration::hex;
use crate::domain::run::ExtraMetric;
use crate::domain::text::{folder_of, one_line};
use crate::domain::{
    Artifact, Campaign, Environment, Measurement, Mode, PlannedRun, RunRecord, RunStatus, Table, WeightChoice,
};
use crate::engine::plan::Plan;
use crate::engine::{EngineError, Progress, Runner, is_hidden, record};
use crate::exchange::{Exporter, OwnJson};
use crate::hardware::{capture_environment, telemetry};
use crate::onnx::{OnnxFile, is_onnx};
use crate::report::{Format, human_duration};
use crate::store::campaigns::{Lease, OpenRun};
use crate::store::list::{Detail, Selection};
use crate::store::{Store, StoreError, now_text};
use crate::zoo::weight_format;

/// How often the lease of a run is renewed.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A campaign that is being measured.
pub(in crate::commands) struct Session<'s> {
    context: &'s Context,
    store: &'s mut Store,
    runner: Runner,
    campaign: Campaign,
    environment: Environment,
    artifacts: HashMap<PathBuf, Artifact>,
    references: References,
    told: BTreeSet<String>,
    weights: HashMap<PathBuf, Vec<ExtraMetric>>,
    stop: Arc<AtomicBool>,
    compares: bool,
    output_ci: Option<PathBuf>,
    export_json: Option<PathBuf>,
    table: RunTable,
}

/// A table of runs, with all that belongs to them where it says so.
#[derive(Clone, Copy)]
pub(in crate::commands) struct RunTable {
    /// Makes it; for people or exact.
    pub make: fn(&[(i64, RunRecord)], bool) -> Table,
    /// What it needs of each run.
    pub detail: Detail,
}

impl<'s> Session<'s> {
    pub(in crate::commands) fn new(
        context: &'s Context,
        store: &'s mut Store,
        runner: Runner,
        campaign: Campaign,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            context,
            store,
            runner,
            campaign,
            environment: capture_environment(Path::new(".")),
            artifacts: HashMap::new(),
            references: References::default(),
            told: BTreeSet::new(),
            weights: HashMap::new(),
            stop: stop_on_signals()?,
            compares: false,
            output_ci: None,
            export_json: None,
            table: RunTable { make: result_table, detail: Detail::Row },
        })
    }

    /// Analyses the campaign at its end, and writes its results to a file besides.
    pub(super) fn compared(mut self, compares: bool, output_ci: Option<PathBuf>) -> Self {
        self.compares = compares;
        self.output_ci = output_ci;
        self
    }

    /// Writes the campaign's runs to a file besides, as `export` does.
    pub(super) fn exported(mut self, pattern: Option<&Path>) -> Self {
        self.export_json = pattern.map(|pattern| export_path(pattern, &self.campaign.started_at));
        self
    }

    /// Shows the runs in another table.
    pub(in crate::commands) fn shown_as(mut self, table: RunTable) -> Self {
        self.table = table;
        self
    }

    /// Stores the plan, and what an engine cannot really do as outcomes, in one transaction.
    pub(in crate::commands) fn insert_plan(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let unsupported = self.unsupported(plan);
        Ok(self.store.insert_campaign(&self.campaign, &plan.runs, &unsupported)?)
    }

    /// Stores what an engine cannot really do; the runs are planned one by one.
    pub(super) fn insert_unsupported(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let unsupported = self.unsupported(plan);
        Ok(self.store.insert_campaign(&self.campaign, &[], &unsupported)?)
    }

    fn unsupported(&self, plan: &Plan) -> Vec<RunRecord> {
        let outcome =
            |reason: &EngineError| Measurement::without_numbers(reason.status(), one_line(reason), reason.hint());
        plan.unsupported.iter().map(|(planned, reason)| self.record(planned, None, outcome(reason))).collect()
    }

    /// Measures what is open, then prints the whole campaign.
    pub(in crate::commands) fn go_on(mut self, output: &OutputArgs) -> anyhow::Result<ExitStatus> {
        self.measure_open()?;
        self.sum_up(Vec::new(), output)
    }

    /// Measures what is open, one run after the other; answers those that were measured now.
    pub(super) fn measure_open(&mut self) -> anyhow::Result<Vec<RunRecord>> {
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
        self.tell_unread_sensors(&free);
        let bar = self.context.bar(free.len() as u64);
        let started = Instant::now();
        let mut measured = Vec::new();
        for (index, open) in free.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if !self.store.take_run(open.id, &lease)? {
                continue;
            }
            let what = describe(&open.plan);
            bar.set_message(what.clone());
            let record = self.measure(open, &bar);
            self.save(open, &record, &lease)?;
            bar.inc(1);
            if !self.context.shows_progress() {
                self.context.note(&format!("[{}/{}] {what}: {}", index + 1, free.len(), outcome(&record.measurement)));
            }
            measured.push(record);
        }
        bar.finish_and_clear();
        self.context.detail(&format!("campaign {} took {}", self.campaign.uuid, human_duration(started.elapsed())));
        Ok(measured)
    }

    /// Says once for each device what its sensors would tell, if they could be read.
    fn tell_unread_sensors(&mut self, open: &[OpenRun]) {
        for OpenRun { plan, .. } in open {
            let configuration = &plan.configuration;
            if plan.telemetry_interval.is_none() || is_hidden(plan) {
                continue;
            }
            for notice in telemetry::open(&configuration.device, configuration.platform, plan.device_index).notices {
                if self.told.insert(notice.to_string()) {
                    self.context.note(&notice.cause);
                    self.context.note(&format!("hint: {}", notice.way_out));
                }
            }
        }
    }

    /// Adds one run to the campaign's plan and measures it; `None` after Ctrl-C.
    pub(super) fn measure_one(&mut self, planned: &PlannedRun) -> anyhow::Result<Option<RunRecord>> {
        if self.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.store.insert_campaign(&self.campaign, std::slice::from_ref(planned), &[])?;
        Ok(self.measure_open()?.pop().filter(|record| record.measurement.status != RunStatus::Interrupted))
    }

    fn measure(&mut self, open: &OpenRun, bar: &ProgressBar) -> RunRecord {
        let (started_at, start) = (now_text(), Instant::now());
        let artifact = match self.artifact(&open.plan.weights) {
            Ok(artifact) => artifact,
            Err(error) => {
                let hint = crate::commands::hint_of(&error);
                let outcome = Measurement::without_numbers(RunStatus::Failed, one_line(error.as_ref()), hint);
                return self.record(&open.plan, None, outcome);
            }
        };
        let what = describe(&open.plan);
        let mut last_beat = Instant::now();
        let store = &mut *self.store;
        let reference = self.references.of(&open.plan, &self.runner, &self.stop, self.context);
        let measurement = self.runner.measure(&open.plan, reference.as_deref(), &self.stop, &mut |progress| {
            bar.set_message(match progress {
                Progress::Loading => format!("{what}: loading"),
                Progress::WarmingUp => format!("{what}: warming up"),
                Progress::Sampling { iterations, elapsed } => {
                    format!("{what}: {iterations} samples in {}", human_duration(elapsed))
                }
                Progress::Evaluating { done, total } => format!("{what}: accuracy, {done} of {total} pictures"),
            });
            if last_beat.elapsed() >= HEARTBEAT {
                last_beat = Instant::now();
                // A heartbeat that is missed does no harm; the process id tells, too.
                let _ = store.beat(open.id);
            }
        });
        let mut record = self.record(&open.plan, artifact, measurement);
        if record.measurement.status == RunStatus::Ok
            && let WeightChoice::File(path) = &open.plan.weights
        {
            let facts = self.weights.entry(path.clone()).or_insert_with(|| weight_metrics(&open.plan, path));
            record.measurement.extra_metrics.extend(facts.iter().cloned());
        }
        record.started_at = Some(started_at);
        record.duration_s = Some(start.elapsed().as_secs_f64());
        record
    }

    fn record(&self, plan: &PlannedRun, artifact: Option<Artifact>, measurement: Measurement) -> RunRecord {
        RunRecord { campaign: Some(self.campaign.clone()), artifact, ..record(plan, &self.environment, measurement) }
    }

    /// Stores a run. An interrupted one gives its place in the plan back. What the database does not take is written
    /// beside it, so that nothing that was measured is lost.
    fn save(&mut self, open: &OpenRun, record: &RunRecord, lease: &Lease) -> anyhow::Result<()> {
        let saved = if record.measurement.status == RunStatus::Interrupted {
            self.store.release_interrupted(open.id, lease, record).map(drop)
        } else {
            self.store.finish_run(open.id, lease, record).map(drop)
        };
        saved.map_err(|error| saved_elsewhere(self.store.path(), record, error))
    }

    fn artifact(&mut self, weights: &WeightChoice) -> anyhow::Result<Option<Artifact>> {
        let WeightChoice::File(path) = weights else {
            return Ok(None);
        };
        if let Some(known) = self.artifacts.get(path) {
            return Ok(Some(known.clone()));
        }
        let artifact = artifact_of(path)?;
        let text = path_text(path);
        if self.store.used_other_content(&self.campaign.uuid, &text, &artifact.sha256)? {
            let message = format!("`{text}` is another file than the one that this campaign began with");
            return Err(CommandError::new(message, "put that one back, or begin anew: `benchdb run`").into());
        }
        self.artifacts.insert(path.clone(), artifact.clone());
        Ok(Some(artifact))
    }

    /// The versions of the campaign side by side, where it compares any.
    fn variants(&self, runs: &[(i64, RunRecord)], people: bool) -> anyhow::Result<Option<Table>> {
        let versions =
            |run: &RunRecord| run.configuration.mode != Mode::Explanation && !run.configuration.variant.is_empty();
        if !runs.iter().any(|(_, run)| versions(run)) {
            return Ok(None);
        }
        Ok(Some(variant_table(&self.whole_runs()?, people)))
    }

    /// What the methods of the campaign cost beside each other, where it measured explanations.
    fn of_explanations(&self, runs: &[(i64, RunRecord)], people: bool) -> anyhow::Result<Vec<Table>> {
        if runs.iter().all(|(_, run)| run.configuration.mode != Mode::Explanation) {
            return Ok(Vec::new());
        }
        Ok(cost_tables(&self.whole_runs()?, people))
    }

    /// The campaign's runs with their own metrics, which a row does not bring.
    fn whole_runs(&self) -> anyhow::Result<Vec<RunRecord>> {
        let campaign = Selection { campaign: Some(self.campaign.uuid.clone()), ..Selection::default() };
        Ok(self.store.list_runs(&campaign, Detail::Whole)?.into_iter().map(|(_, run)| run).collect())
    }

    /// Writes the campaign as `export` does.
    fn export(&self) -> anyhow::Result<()> {
        let Some(path) = &self.export_json else { return Ok(()) };
        let campaign = Selection { campaign: Some(self.campaign.uuid.clone()), ..Selection::default() };
        write_runs(self.store, &campaign, &mut OwnJson::default(), Detail::Whole, self.context, Some(path))?;
        self.context.note(&format!("wrote the runs to `{}`", path.display()));
        Ok(())
    }

    /// The context of the invocation.
    pub(super) fn context(&self) -> &'s Context {
        self.context
    }

    /// Removes what was planned and not measured.
    pub(super) fn forget_plan(&mut self) -> anyhow::Result<()> {
        Ok(self.store.delete_open_plan(&self.campaign.uuid).map(drop)?)
    }

    /// Prints the whole campaign, after what was found in it; answers how the command ends.
    pub(super) fn sum_up(self, found: Vec<Table>, output: &OutputArgs) -> anyhow::Result<ExitStatus> {
        let runs = self.store.list_runs(
            &Selection { campaign: Some(self.campaign.uuid.clone()), ..Selection::default() },
            self.table.detail,
        )?;
        let people = output.is_for_people();
        let compared = if self.compares {
            campaign_tables(self.store, &self.campaign.uuid, self.context, people)?
        } else {
            Vec::new()
        };
        // Tables that stand beside others need a name.
        let named = |table: Table, alone: bool| {
            if people || alone { table } else { Table { title: "Runs".to_owned(), ..table } }
        };
        let mut tables = found.clone();
        tables.extend(self.of_explanations(&runs, people)?);
        tables.extend(self.variants(&runs, people)?);
        // The costs of explanations tell people all that the runs do.
        if !people || runs.iter().any(|(_, run)| run.configuration.mode != Mode::Explanation) || runs.is_empty() {
            let alone = tables.is_empty() && compared.is_empty();
            tables.push(named((self.table.make)(&runs, people), alone));
        }
        tables.extend(compared);
        if output.format() == Format::Csv {
            // A CSV is one table: the answer that was asked for.
            tables.truncate(1);
        }
        self.context.print("runs", &tables, output)?;
        if let Some(path) = &self.output_ci {
            let json = OutputArgs { format: Some(Format::Json), output: Some(path.clone()) };
            let mut tables = found;
            let alone = tables.is_empty();
            let table = (self.table.make)(&runs, false);
            tables.push(if alone { table } else { Table { title: "Runs".to_owned(), ..table } });
            self.context.print("runs", &tables, &json)?;
        }
        self.export()?;
        for (id, record) in &runs {
            if let (Some(hint), RunStatus::Ok) = (&record.measurement.hint, record.measurement.status) {
                self.context.note(&format!("run {id}: {hint}"));
            }
            if let (Some(error), RunStatus::Failed | RunStatus::OutOfMemory) =
                (&record.measurement.error, record.measurement.status)
            {
                self.context.complain(&format!("run {id}: {error}"), record.measurement.hint.as_deref());
            }
        }
        if self.stop.load(Ordering::Relaxed) {
            let open = !self.store.list_open_runs(&self.campaign.uuid)?.is_empty();
            self.context.note(&if open {
                format!("interrupted; `benchdb run --resume {}` goes on", self.campaign.uuid)
            } else {
                "interrupted; what was measured is kept".to_owned()
            });
            return Ok(ExitStatus::Interrupted);
        }
        let count = |status| runs.iter().filter(|(_, run)| run.measurement.status == status).count();
        let broken = count(RunStatus::Failed) + count(RunStatus::OutOfMemory);
        Ok(if broken > 0 || count(RunStatus::Ok) == 0 { ExitStatus::Failed } else { ExitStatus::Ok })
    }
}

/// The files besides this one that hold weights of it; none where it cannot be read, which its run says.
fn external_files(path: &Path) -> Vec<PathBuf> {
    match is_onnx(path).then(|| OnnxFile::read(path)) {
        Some(Ok(file)) => file.external_files(),
        _ => Vec::new(),
    }
}

/// The format of a file with weights, by its ending.
fn file_format(path: &Path) -> &'static str {
    if is_onnx(path) { "onnx" } else { weight_format(path).unwrap_or("unknown") }
}

/// What a weight or ONNX file is.
///
/// # Errors
/// A file that cannot be read.
pub(in crate::commands) fn artifact_of(path: &Path) -> anyhow::Result<Artifact> {
    let mut digest = Sha256::new();
    let mut size_bytes = 0;
    // The weights of an ONNX file may lie in others; without them it is another network.
    for part in std::iter::once(path.to_path_buf()).chain(external_files(path)) {
        let failed = || unreadable(&part);
        let mut file = std::fs::File::open(&part).with_context(failed)?;
        size_bytes += std::io::copy(&mut file, &mut digest).with_context(failed)?;
    }
    Ok(Artifact {
        sha256: hex(&digest.finalize()),
        format: file_format(path).to_owned(),
        size_bytes,
        path: Some(path_text(path)),
    })
}

/// The first Ctrl-C, SIGTERM or hang-up asks for an end, the second one is the end.
pub(in crate::commands) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen for Ctrl-C")?;
    }
    Ok(stop)
}

/// The error of a database that did not take a run; the run is written beside it, so that nothing that was measured is
/// lost.
pub(in crate::commands) fn saved_elsewhere(database: &Path, record: &RunRecord, error: StoreError) -> anyhow::Error {
    let error = anyhow::Error::new(error);
    match spill(database, record) {
        Some(path) => error.context(CommandError::new(
            format!("the run could not be stored and was saved in `{}`", path.display()),
            format!("once the cause is gone: `benchdb import {}`", path.display()),
        )),
        None => error.context("the run could not be stored anywhere"),
    }
}

/// Writes a run that the database did not take where there is room for it; `None` if there is none.
fn spill(database: &Path, record: &RunRecord) -> Option<PathBuf> {
    let name = format!("benchdb-unsaved-{}.json", record.uuid);
    let beside = folder_of(database).join(&name);
    [beside, PathBuf::from(&name), std::env::temp_dir().join(&name)].into_iter().find(|path| {
        write_to(Some(path), |mut out| {
            let mut json = OwnJson::default();
            json.begin(&mut out)?;
            json.write(&mut out, 0, record)?;
            Ok(json.end(&mut out)?)
        })
        .is_ok()
    })
}
