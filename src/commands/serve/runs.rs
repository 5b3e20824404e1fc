//! Runs: a list that is leafed through, and one run with all that is known of it.

use std::collections::BTreeMap;

use super::ask::Pairs;
use super::site::{Made, Pages, Problem, select};
use crate::analysis::charts;
use crate::commands::profile::stored_operators;
use crate::domain::document::{Gives, Statement, TableBlock};
use crate::domain::label::Labelled as _;
use crate::domain::metric::{Better, find_metric};
use crate::domain::text::counted;
use crate::domain::{Cell, Identity, Part, RunRecord, Table};
use crate::report::html::{Drawn, Field, FieldKind, Form, Link, LivePart, LiveTable};
use crate::store::again::{Question, statement};
use crate::store::pages::{FoundRun, Paging};

/// Runs on a page, and the most that may be asked for.
const ROWS: usize = 50;
const MOST_ROWS: i64 = 500;

/// Operators that are listed, those that took longest.
const OPERATORS: usize = 50;

/// The options of a selection that the forms have a field for; an address takes all of them.
pub(super) const SHOWN: [&str; 12] = [
    "model",
    "mode",
    "hardware",
    "device",
    "engine",
    "precision",
    "batch-sizes",
    "status",
    "label",
    "git-commit",
    "since",
    "until",
];

/// The words of the database that fields offer.
pub(super) type Choices = BTreeMap<String, Vec<String>>;

/// A field for an option of a selection; `name` may have a prefix before the option's own name.
pub(super) fn option_field(asked: &Pairs, choices: &Choices, name: &str, option: &str) -> Field {
    let words = choices.get(option).cloned().unwrap_or_default();
    let kind = match option {
        "mode" | "hardware" | "precision" | "baseline" => FieldKind::Choice(words),
        "status" => FieldKind::Choice(crate::domain::RunStatus::labels().to_vec()),
        _ if words.is_empty() => FieldKind::Text,
        _ => FieldKind::Words(words),
    };
    let example = match option {
        "since" | "until" => "2026-11-21",
        "device" => "part of its name",
        "git-commit" => "its beginning",
        "batch-sizes" => "1,8",
        _ => "",
    };
    Field {
        name: name.to_owned(),
        label: option.replace('-', " "),
        value: asked.text(name),
        example: example.to_owned(),
        kind,
    }
}

/// A field for any text.
pub(super) fn text_field(asked: &Pairs, (name, label, example): (&str, &str, &str)) -> Field {
    Field {
        name: name.to_owned(),
        label: label.to_owned(),
        value: asked.text(name),
        example: example.to_owned(),
        kind: FieldKind::Text,
    }
}

/// The field for the share that is too much.
pub(super) const ALERT_FIELD: (&str, &str, &str) = ("regression-alert", "alert at this share", "0.1");

/// The form that narrows a list down.
pub(super) fn filters(asked: &Pairs, choices: &Choices, action: &str, options: &[&str]) -> Form {
    let mut fields: Vec<Field> = options.iter().map(|option| option_field(asked, choices, option, option)).collect();
    // What was asked for by another option stays, in a field of its own.
    let others = asked.only(|name| super::ask::is_selecting(name) && !options.contains(&name));
    fields.extend(others.names().iter().map(|name| option_field(asked, choices, name, name)));
    Form { action: action.to_owned(), button: "Show", label: "Selection", groups: vec![(String::new(), fields)] }
}

/// A list of runs, as the store gives it, with its links.
pub(super) fn run_table(mut table: Table, title: &str, id: &'static str) -> LiveTable {
    title.clone_into(&mut table.title);
    in_minutes(&mut table, "started");
    table.drop_empty(&["started", "variant", "method", "validity", "label", "rate [samples/s]", "median [ms]"]);
    let links = vec![links_of_ids(&table, "run", "/runs/"), links_of_ids(&table, "configuration", "/configurations/")];
    LiveTable { block: TableBlock::whole(table), id, links }
}

/// Where the ids of a column lead: to the pages below a path.
pub(super) fn links_of_ids(table: &Table, column: &str, path: &str) -> (String, Vec<Option<String>>) {
    let place = table.columns.iter().position(|name| name == column);
    let target = |row: &Vec<Cell>| match place.and_then(|place| row.get(place)) {
        Some(Cell::Integer(id)) => Some(format!("{path}{id}")),
        _ => None,
    };
    (column.to_owned(), table.rows.iter().map(target).collect())
}

/// Cuts the ISO-8601 times of a column to `2026-11-21 08:00`.
pub(super) fn in_minutes(table: &mut Table, column: &str) {
    table.map_column(column, |cell| match cell {
        Cell::Text(time) => time.chars().take("2026-11-21T08:00".len()).collect::<String>().replace('T', " ").into(),
        other => other.clone(),
    });
}

/// The list.
pub(super) fn page(pages: &Pages, asked: &Pairs) -> Made {
    asked.knows(&["before", "after", "rows"])?;
    let rows = asked.number("rows", 1, MOST_ROWS)?.map_or(ROWS, |rows| rows.unsigned_abs() as usize);
    let (before, after) = (asked.number("before", 1, i64::MAX)?, asked.number("after", 0, i64::MAX)?);
    let paging = match (before, after) {
        (Some(_), Some(_)) => return Err(Problem::Unclear("A page is `before` a run or `after` one.".to_owned())),
        (Some(run), None) => Paging::Before(run),
        (None, Some(run)) => Paging::After(run),
        (None, None) => Paging::Newest,
    };
    let (found, selection, choices) = pages.pool.with(|store| -> Result<_, Problem> {
        let selection = select(store, asked)?;
        Ok((store.page_of_runs(&selection, paging, rows)?, selection, store.list_choices()?))
    })?;
    let selected = asked.with("before", None).with("after", None);
    let mut links = Vec::new();
    let id_at = |place: Option<&Vec<Cell>>| match place.and_then(|row| row.first()) {
        Some(Cell::Integer(id)) => Some(id.to_string()),
        _ => None,
    };
    if found.has_newer {
        links.push(Link::new("Newest", selected.address("/runs")));
        let first = id_at(found.table.rows.first());
        links.extend(first.map(|id| Link::new("Newer", selected.with("after", Some(&id)).address("/runs"))));
    }
    if found.has_older {
        let last = id_at(found.table.rows.last());
        links.extend(last.map(|id| Link::new("Older", selected.with("before", Some(&id)).address("/runs"))));
    }
    let shown = counted(found.table.rows.len(), "run", "runs");
    let note = match found.total {
        Some(total) => format!("{shown} of {total}, those that were stored last first."),
        None => format!("{shown}, those that were stored last first."),
    };
    let mut list = run_table(found.table, "Runs", "runs");
    list.block.notes.push(note);
    list.block.statement = Some(Statement {
        sql: ["SELECT * FROM (\n", &statement(Question::JudgedRuns, &[&selection]), "\n) ORDER BY run_id DESC"]
            .concat(),
        gives: Gives::Runs,
    });
    let only_selected = asked.only(super::ask::is_selecting);
    let mut parts = vec![LivePart::Form(filters(asked, &choices, "/runs", &SHOWN)), LivePart::Table(list)];
    if !links.is_empty() {
        parts.push(LivePart::Links("Pages".to_owned(), links));
    }
    parts.push(LivePart::Links(
        "The same selection".to_owned(),
        vec![
            Link::new("Report of these runs", only_selected.address("/report")),
            Link::new("Charts of these runs", only_selected.address("/charts")),
        ],
    ));
    parts.push(LivePart::Again(vec![[&pages.program(), " export --format csv", &only_selected.options()].concat()]));
    Ok(parts)
}

/// One run.
pub(super) fn one(pages: &Pages, wanted: &str) -> Made {
    pages.pool.with(|store| -> Made {
        let not_there = || Problem::NotThere("There is no such run; it may have been deleted.".to_owned());
        let found = store.find_run(wanted)?.ok_or_else(not_there)?;
        let mut parts = tables(&found);
        parts.push(LivePart::Heading { id: "charts", text: "Charts".to_owned() });
        let sheets = [charts::samples(found.id, &found.record), charts::telemetry(found.id, &found.record)];
        for (sheet, id) in sheets.iter().zip(["chart-samples", "chart-telemetry"]) {
            parts.push(LivePart::Drawn(Drawn::new(sheet, id).map_err(anyhow::Error::from)?));
        }
        parts.push(LivePart::Again(vec![
            format!("{} export --run {} --format json", pages.program(), found.id),
            format!("{} query \"SELECT * FROM results WHERE run_id = {}\"", pages.program(), found.id),
        ]));
        Ok(parts)
    })
}

fn tables(found: &FoundRun) -> Vec<LivePart> {
    let record = &found.record;
    let mut parts = Vec::new();
    if let Some(error) = &record.measurement.error {
        let hint = record.measurement.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        parts.push(LivePart::Alert(format!("{}: {error}{hint}", record.measurement.status)));
    }
    let history = Link::new("History of this configuration", format!("/configurations/{}", found.configuration_id));
    parts.push(LivePart::Links("Related pages".to_owned(), vec![history]));
    let plain = |table, id| LivePart::Table(LiveTable { block: TableBlock::whole(table), id, ..LiveTable::default() });
    parts.push(plain(about(found), "run"));
    parts.push(plain(metrics(record), "metrics"));
    parts.push(plain(environment(record), "environment"));
    if !record.measurement.operator_times.is_empty() {
        parts.push(plain(stored_operators(&record.measurement, OPERATORS), "operators"));
    }
    parts
}

/// Names and values, those that say something.
fn facts(title: &str, rows: Vec<(&str, Cell)>) -> Table {
    let mut table = Table::new(title, &["what", "value"]);
    let says = |what: &str, cell: &Cell| match cell {
        Cell::Null => false,
        Cell::Text(text) => !text.is_empty() && text != "{}",
        // Nobody said how many.
        Cell::Integer(0) => what != "threads",
        _ => true,
    };
    for (what, value) in rows.into_iter().filter(|(what, value)| says(what, value)) {
        table.push([what.into(), value]);
    }
    table
}

fn about(found: &FoundRun) -> Table {
    let record = &found.record;
    let identity = Identity::of(&record.configuration);
    let parts: Vec<String> = Part::all().iter().map(Part::to_string).collect();
    let mut rows: Vec<(&str, Cell)> = vec![("run", found.id.into()), ("uuid", record.uuid.as_str().into())];
    rows.extend(parts.iter().map(String::as_str).zip(Part::all().iter().map(|part| identity.cell(*part))));
    let measurement = &record.measurement;
    let campaign = record.campaign.as_ref();
    rows.extend([
        ("status", measurement.status.label().into()),
        ("validity", measurement.validity.label().into()),
        ("stop reason", measurement.stop_reason.map(|reason| reason.label()).into()),
        ("started at", record.started_at.clone().into()),
        ("duration s", record.duration_s.into()),
        ("iterations", measurement.iterations.into()),
        ("warm-up iterations", measurement.warmup_iterations.into()),
        ("outliers (kept)", measurement.outlier_count.into()),
        ("repetition", record.repetition.into()),
        ("weight seed", record.weight_seed.into()),
        ("weight file (SHA-256)", record.artifact.as_ref().map(|artifact| artifact.sha256.clone()).into()),
        ("campaign", campaign.map(|campaign| campaign.uuid.clone()).into()),
        ("label", campaign.and_then(|campaign| campaign.label.clone()).into()),
        ("command", campaign.map(|campaign| campaign.command_line.clone()).into()),
        ("import", found.import.into()),
        ("parameters of the model", record.model.parameter_count.into()),
        ("multiply-adds per sample", record.model.multiply_adds.into()),
    ]);
    facts("Run", rows)
}

/// Every metric that was measured; what was not is not there.
fn metrics(record: &RunRecord) -> Table {
    let mut table = Table::new("Metrics", &["metric", "value", "unit", "better", "what it is"]);
    for (name, value, known) in record.measurement.metrics.described() {
        table.push([
            name.into(),
            value.into(),
            known.map(|metric| metric.unit.as_str()).into(),
            known.filter(|metric| metric.better != Better::None).map(|metric| metric.better.label()).into(),
            known.map(|metric| metric.description.as_str()).into(),
        ]);
    }
    for extra in &record.measurement.extra_metrics {
        let better = Some(extra.better).filter(|better| *better != Better::None);
        table.push([
            extra.name.as_str().into(),
            extra.value.into(),
            extra.unit.as_str().into(),
            better.map(|better| better.label()).into(),
            find_metric(&extra.name).map(|metric| metric.description.as_str()).into(),
        ]);
    }
    table.drop_empty(&["what it is"]);
    table
}

fn environment(record: &RunRecord) -> Table {
    let environment = &record.environment;
    let clean = environment.git_dirty.map(|dirty| if dirty { "with changes" } else { "clean" });
    facts(
        "Environment",
        vec![
            ("host", environment.host.clone().into()),
            ("operating system", environment.os.clone().into()),
            ("kernel", environment.kernel.clone().into()),
            ("architecture", environment.architecture.clone().into()),
            ("processor", environment.cpu_name.clone().into()),
            ("logical processors", environment.cpu_logical.into()),
            ("memory", environment.host_memory_bytes.map(crate::report::bytes).into()),
            ("governor", environment.cpu_governor.clone().into()),
            ("driver", environment.driver_version.clone().into()),
            ("engine version", environment.engine_version.clone().into()),
            ("framework", environment.framework_version.clone().into()),
            ("benchdb", environment.tool_version.clone().into()),
            ("build", environment.tool_build.clone().into()),
            ("git commit", environment.git_commit.clone().into()),
            ("git state", clean.into()),
        ],
    )
}
