//! The two sides of a comparison: which runs are judged, and what they are held against.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{CommandError, Context, TransferError, path_text};
use crate::analysis::history::Restarts;
use crate::domain::label::Labelled as _;
use crate::domain::series::SeriesBuilder;
use crate::domain::text::counted;
use crate::domain::{ImportItem, Metric, Part, Refusal, RunGroup, Series, SeriesSet};
use crate::exchange::{ColumnMap, Head, Importer, OwnCsv, importer_for, is_identity_csv, read_identity_csv};
use crate::store::Store;
use crate::store::list::Selection;

/// Refusals of a file that are shown.
const SHOWN_REFUSALS: usize = 20;

/// What the candidate is held against.
#[derive(Clone, Debug)]
pub(super) enum Against {
    /// A file.
    File(PathBuf),
    /// A baseline of the database.
    Baseline(String),
    /// Other runs of the database.
    Runs { selection: Box<Selection>, text: String },
    /// The earlier runs of each series.
    Earlier,
}

impl Against {
    pub(super) fn text(&self) -> String {
        match self {
            Self::File(path) => format!("file {}", path.display()),
            Self::Baseline(name) => format!("baseline {name}"),
            Self::Runs { text, .. } => text.clone(),
            Self::Earlier => "the earlier runs of each series".to_owned(),
        }
    }
}

/// Both sides, and what has to be said about them.
pub(super) struct Sides {
    pub(super) baseline: SeriesSet,
    pub(super) candidate: SeriesSet,
    /// What the candidate is, in words.
    pub(super) candidate_text: String,
    /// Series whose candidate begins with a change that was accepted.
    pub(super) accepted: usize,
    /// Rows of a file that were refused.
    pub(super) refused_rows: usize,
    pub(super) notes: Vec<String>,
}

/// Reads both sides. `all_runs` takes every selected run, and not only the newest that belong together.
pub(super) fn sides(
    store: &Store,
    selection: &Selection,
    against: &Against,
    metrics: &[&'static Metric],
    all_runs: bool,
    context: &Context,
) -> anyhow::Result<Sides> {
    let mut notes = Vec::new();
    if matches!(against, Against::Earlier) {
        let (candidate, candidate_text) = candidate_of_history(store, selection, metrics, all_runs)?;
        let ids: Vec<i64> = candidate.series.iter().filter_map(|series| series.configuration_id).collect();
        let pool = if ids.is_empty() {
            SeriesSet::new(metrics.to_vec())
        } else {
            store.read_series(&Selection { configurations: ids, ..Selection::default() }, metrics.to_vec())?
        };
        let (baseline, accepted) = earlier_than(pool, &candidate, &restarts(store)?, &mut notes);
        return Ok(Sides { baseline, candidate, candidate_text, accepted, refused_rows: 0, notes });
    }
    let mut refused_rows = 0;
    let mut baseline = match against {
        Against::File(path) => {
            let (mut set, refused) = read_baseline(path, metrics.to_vec(), context, &mut notes)?;
            refused_rows = refused;
            narrow(&mut set, selection);
            set
        }
        Against::Baseline(name) => {
            if !store.list_baselines()?.iter().any(|known| known.name == *name) {
                return Err(CommandError::new(
                    format!("there is no baseline `{name}`"),
                    "`benchdb baseline list` shows them; `benchdb baseline save NAME` makes one",
                )
                .into());
            }
            let wanted = Selection { baseline: Some(name.clone()), ..selection.of_series() };
            store.read_series(&wanted, metrics.to_vec())?
        }
        Against::Runs { selection: wanted, .. } => {
            let mut set = store.read_series(wanted, metrics.to_vec())?;
            if wanted.label.is_some() && !all_runs && newest_of_each(&mut set) {
                notes.push("several campaigns have the baseline's label: the newest of each series counts".to_owned());
            }
            set
        }
        Against::Earlier => SeriesSet::default(),
    };
    let mut candidate = store.read_series(selection, metrics.to_vec())?;
    let known: HashSet<u128> =
        baseline.series.iter().flat_map(|series| &series.runs).filter_map(|run| run.uuid).collect();
    let before = candidate.run_count();
    candidate.retain_runs(|run| run.uuid.is_none_or(|uuid| !known.contains(&uuid)));
    if before > candidate.run_count() {
        notes.push(format!(
            "{} on the side of the baseline alone",
            counted(before - candidate.run_count(), "run is", "runs are")
        ));
    }
    baseline.series.retain(|series| !series.runs.is_empty());
    let candidate_text = take_candidate(&mut candidate, selection, all_runs, &mut notes);
    Ok(Sides { baseline, candidate, candidate_text, accepted: 0, refused_rows, notes })
}

/// Leaves the runs that are judged, and says which they are.
fn take_candidate(candidate: &mut SeriesSet, selection: &Selection, all_runs: bool, notes: &mut Vec<String>) -> String {
    if all_runs {
        return "all selected runs".to_owned();
    }
    if !selection.names_runs() {
        newest_of_each(candidate);
        return "the newest campaign or import of each series".to_owned();
    }
    // A label may be used again and again; what it meant months ago must not dilute what it means now.
    let by_label_alone = Selection { label: None, ..selection.clone() };
    if selection.label.is_some() && !by_label_alone.names_runs() && newest_of_each(candidate) {
        notes.push(
            "several campaigns have the label: the newest of each series counts; `--all-runs` takes all".to_owned(),
        );
    }
    "the selected runs".to_owned()
}

fn candidate_of_history(
    store: &Store,
    selection: &Selection,
    metrics: &[&'static Metric],
    all_runs: bool,
) -> anyhow::Result<(SeriesSet, String)> {
    if selection.names_runs() || all_runs {
        return Ok((store.read_series(selection, metrics.to_vec())?, "the selected runs".to_owned()));
    }
    let Some(newest) = store.newest_together(selection)? else {
        return Ok((SeriesSet::new(metrics.to_vec()), "no run".to_owned()));
    };
    let text = match &newest {
        Selection { imports, .. } if !imports.is_empty() => format!("import {}, the newest", imports[0]),
        Selection { campaign: Some(_), .. } => "the newest campaign".to_owned(),
        _ => "the newest run".to_owned(),
    };
    Ok((store.read_series(&newest, metrics.to_vec())?, text))
}

/// Leaves the series of a file that the selection means, as far as the file tells.
fn narrow(set: &mut SeriesSet, selection: &Selection) {
    let wanted: [(Part, Vec<String>); 6] = [
        (Part::Model, selection.models.clone()),
        (Part::Platform, selection.platforms.iter().map(|one| one.label().to_owned()).collect()),
        (Part::Engine, selection.engines.clone()),
        (Part::Precision, selection.precisions.iter().map(|one| one.label().to_owned()).collect()),
        (Part::Mode, selection.modes.iter().map(|one| one.label().to_owned()).collect()),
        (Part::BatchSize, selection.batch_sizes.iter().map(u32::to_string).collect()),
    ];
    set.series.retain(|series| {
        let identity = &series.identity;
        wanted.iter().all(|(part, texts)| {
            texts.is_empty() || !identity.has(*part) || texts.iter().any(|text| text == identity.get(*part))
        })
    });
}

/// The changes that were accepted: where each series starts anew.
pub(super) fn restarts(store: &Store) -> anyhow::Result<Restarts> {
    let mut restarts = Restarts::new();
    for change in store.list_acceptances()? {
        restarts.entry(change.configuration_id).or_default().push(change.run_id);
    }
    Ok(restarts)
}

/// Leaves of each series the runs that belong together with its newest run; answers whether any others went.
fn newest_of_each(set: &mut SeriesSet) -> bool {
    let before = set.run_count();
    for series in &mut set.series {
        let Some(newest) = series.runs.iter().max_by_key(|run| run.run_id).copied() else { continue };
        series.retain(|run| {
            if newest.group == RunGroup::Alone { run.run_id == newest.run_id } else { run.group == newest.group }
        });
    }
    set.run_count() < before
}

/// The runs of the candidate's series that are older than the candidate, from the last change on that was accepted.
fn earlier_than(
    mut pool: SeriesSet,
    candidate: &SeriesSet,
    restarts: &Restarts,
    notes: &mut Vec<String>,
) -> (SeriesSet, usize) {
    let (mut restarted, mut begun) = (0, 0);
    pool.series.retain_mut(|series| {
        let Some(newer) = candidate.series.iter().find(|other| other.configuration_id == series.configuration_id)
        else {
            return false;
        };
        let position = |series: &Series, id: Option<i64>| series.runs.iter().position(|run| run.run_id == id);
        let first = newer.runs.iter().filter_map(|run| position(series, run.run_id)).min().unwrap_or(0);
        let accepted = series.configuration_id.and_then(|id| restarts.get(&id)).into_iter().flatten();
        let start = accepted.filter_map(|run| position(series, Some(*run))).filter(|start| *start <= first).max();
        restarted += usize::from(start.is_some());
        begun += usize::from(start == Some(first));
        let kept: HashSet<i64> = series.runs[start.unwrap_or(0)..first].iter().filter_map(|run| run.run_id).collect();
        series.retain(|run| run.run_id.is_some_and(|id| kept.contains(&id)));
        !series.runs.is_empty()
    });
    if begun > 0 {
        let series = counted(begun, "series begins", "series begin");
        notes.push(format!("{series} with these runs: the change was accepted, and nothing is held against them"));
    }
    if restarted > begun {
        let series = counted(restarted - begun, "series starts", "series start");
        notes.push(format!("{series} with a change that was accepted"));
    }
    (pool, begun)
}

/// Reads the baseline of a file: runs in any format that can be imported, or any table with models and a metric.
fn read_baseline(
    path: &Path,
    metrics: Vec<&'static Metric>,
    context: &Context,
    notes: &mut Vec<String>,
) -> anyhow::Result<(SeriesSet, usize)> {
    let (head, mut content) = super::import::open(path)?;
    let name = path_text(path);
    let mut refused = Vec::new();
    // A table that is no export of ours is taken as it is: its rows need not be whole runs.
    let head = Head::new(&name, &head);
    let is_export = Importer::<TransferError>::recognises(&OwnCsv, &head);
    let set = if is_identity_csv(&head) && !is_export {
        let table = read_identity_csv(&name, &mut content, metrics)?;
        notes.extend(table.notes.into_iter().map(|note| format!("`{name}`: {note}")));
        refused = table.refused;
        table.set
    } else {
        let importer =
            importer_for::<TransferError>(&head, &ColumnMap::default()).map_err(|error| no_baseline(error.into()))?;
        let mut builder = SeriesBuilder::new(metrics);
        let mut seen: HashSet<String> = HashSet::new();
        let said = importer
            .read(&name, &mut content, &mut |item| {
                match item {
                    ImportItem::Run(record) if !seen.insert(record.uuid.clone()) => {
                        let line = line_of_second(path, &record.uuid);
                        refused.push(Refusal { line, reason: format!("the run {} is there twice", record.uuid) });
                    }
                    ImportItem::Run(record) => builder.push(&record),
                    ImportItem::Refused(refusal) => refused.push(refusal),
                }
                Ok(())
            })
            .map_err(|error| no_baseline(error.into_cause()))?;
        notes.extend(said.into_iter().map(|note| format!("`{name}`: {note}")));
        builder.finish()
    };
    for refusal in refused.iter().take(SHOWN_REFUSALS) {
        let line = if refusal.line > 0 { format!(":{}", refusal.line) } else { String::new() };
        context.note(&format!("refused: {name}{line}: {}", refusal.reason));
    }
    if !refused.is_empty() {
        let were = if refused.len() == 1 { "was" } else { "were" };
        notes.push(format!("{} of `{name}` {were} refused", counted(refused.len(), "row", "rows")));
    }
    Ok((set, refused.len()))
}

/// What is wrong with a file that was to be a baseline; the way out is another than that of an import.
fn no_baseline(error: anyhow::Error) -> anyhow::Error {
    let reason = crate::domain::text::one_line(error.as_ref());
    CommandError::new(
        reason,
        "a baseline is an export of benchdb, a file of another tool that `benchdb import` takes, or a CSV with a column \
         `model` and a metric such as latency_p50_ms",
    )
    .into()
}

/// The line on which a text stands for the second time; 0 where it cannot be found.
fn line_of_second(path: &Path, text: &str) -> u64 {
    let Ok(file) = std::fs::File::open(path) else { return 0 };
    let lines = std::io::BufRead::lines(std::io::BufReader::new(file)).map_while(Result::ok);
    (1..).zip(lines).filter(|(_, line)| line.contains(text)).nth(1).map_or(0, |(line, _)| line)
}
