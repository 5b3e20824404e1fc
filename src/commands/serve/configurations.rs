//! Configurations: a list to search in, and the history of one.

use super::ask::Pairs;
use super::runs::{in_minutes, links_of_ids, run_table};
use super::site::{Made, Pages, Problem};
use crate::analysis::MetricChoice;
use crate::analysis::charts::ChartName;
use crate::analysis::metrics::Cost;
use crate::commands::regress::{change_table, judge_history};
use crate::commands::sheets::{SheetOptions, sheets};
use crate::domain::document::TableBlock;
use crate::domain::metric::find_metric;
use crate::domain::text::counted;
use crate::domain::{Cell, Table};
use crate::report::html::{Drawn, Field, Form, Link, LivePart, LiveTable};
use crate::report::verdicts::{change_text, summary, verdict_table};
use crate::store::list::Selection;
use crate::store::pages::Paging;

/// Configurations on a page.
const ROWS: usize = 50;

/// The last page that can be asked for.
const LAST_PAGE: i64 = 1_000_000;

/// Runs that the page of a history lists, and points that it looks at; `benchdb regress --history` looks at all.
const RUNS: usize = 25;

/// A change by this share of the cost is too much.
const ALERT: f64 = 0.1;

/// The list.
pub(super) fn page(pages: &Pages, asked: &Pairs) -> Made {
    if let Some(name) = asked.names().into_iter().find(|name| !["q", "page"].contains(&name.as_str())) {
        return Err(Problem::Unclear(format!("There is no option `{name}` here; there are `q` and `page`.")));
    }
    let number = asked.number("page", 1, LAST_PAGE)?.unwrap_or(1);
    let search = asked.one("q")?.unwrap_or_default().to_owned();
    let words: Vec<String> = search.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let skip = number.unsigned_abs().saturating_sub(1) * ROWS as u64;
    let (mut table, all) = pages.pool.with(|store| store.page_of_configurations(&words, skip, ROWS))?;
    let last = all.div_ceil(ROWS as u64).max(1);
    table.title = "Configurations".to_owned();
    in_minutes(&mut table, "newest");
    table.drop_empty(&["variant", "method", "shape", "threads", "median [ms]", "rate [samples/s]"]);
    let links = vec![links_of_ids(&table, "configuration", "/configurations/")];
    let mut block = TableBlock::whole(table);
    block.notes.push(format!(
        "Page {number} of {last}; {}. A number leads to the history.",
        counted(all as usize, "configuration", "configurations")
    ));
    let search_field = Field {
        name: "q".to_owned(),
        label: "words, all of which a configuration has".to_owned(),
        value: search,
        example: "resnet cuda batch=8".to_owned(),
        ..Field::default()
    };
    let mut around = Vec::new();
    let at = |page: u64| asked.with("page", Some(&page.to_string())).address("/configurations");
    let here = number.unsigned_abs();
    if here > 1 {
        around.push(Link::new("First", asked.with("page", None).address("/configurations")));
        around.push(Link::new("Previous", at((here - 1).min(last))));
    }
    if here < last {
        around.push(Link::new("Next", at(here + 1)));
        around.push(Link::new("Last", at(last)));
    }
    let mut parts = vec![
        LivePart::Form(Form {
            action: "/configurations".to_owned(),
            button: "Search",
            label: "Search",
            groups: vec![(String::new(), vec![search_field])],
        }),
        LivePart::Table(LiveTable { block, id: "configurations", links }),
    ];
    if !around.is_empty() {
        parts.push(LivePart::Links("Pages".to_owned(), around));
    }
    parts.push(LivePart::Again(vec![
        [&pages.program(), " query \"SELECT * FROM latest_results ORDER BY model, mode, device, engine\""].concat(),
    ]));
    Ok(parts)
}

/// The history of one configuration.
pub(super) fn one(pages: &Pages, wanted: &str) -> Made {
    let not_there = || Problem::NotThere("There is no such configuration; its runs may have been deleted.".to_owned());
    let id: i64 = wanted.parse().ok().filter(|id| *id > 0).ok_or_else(not_there)?;
    pages.pool.with(|store| -> Made {
        let selection = Selection { configurations: vec![id], ..Selection::default() };
        let found = store.page_of_runs(&selection, Paging::Newest, RUNS)?;
        let Some(first) = found.table.rows.first() else { return Err(not_there()) };
        let name = in_words(&found.table, first);
        let (report, changes) = judge_history(store, &selection, &MetricChoice::primary(), ALERT)?;
        // It was asked for by its number, whatever its device is.
        let options = SheetOptions {
            charts: vec![ChartName::History],
            include_software: true,
            alert: ALERT,
            ..SheetOptions::default()
        };
        let mut parts = vec![LivePart::Note(name)];
        for (place, sheet) in sheets(store, &selection, &options)?.iter().enumerate() {
            let drawn = Drawn::new(sheet, &format!("chart-{place}")).map_err(anyhow::Error::from)?;
            parts.push(LivePart::Drawn(drawn));
        }
        let mut verdicts = TableBlock::whole(verdict_table(&report, true, None));
        verdicts.notes = summary(&report);
        parts.push(LivePart::Table(LiveTable { block: verdicts, id: "verdicts", ..LiveTable::default() }));
        if !changes.is_empty() {
            parts.push(LivePart::Table(linked(change_table(&changes, true, None), "changes")));
        }
        let mut kept = store.list_verdicts_of(id)?;
        if !kept.rows.is_empty() {
            kept.title = "Verdicts that were kept".to_owned();
            in_percent(&mut kept);
            kept.drop_empty(&["evidence", "p", "accepted", "note"]);
            parts.push(LivePart::Table(linked(kept, "kept")));
        }
        let all = found.total.unwrap_or_default();
        let mut runs = run_table(found.table, "Newest runs", "runs");
        // What all of them are stands above.
        let same = ["model", "variant", "mode", "method", "device", "platform", "engine", "precision", "batch"];
        runs.block.table.drop_columns(&[&same[..], &["configuration"]].concat());
        runs.block.rows = (all as usize).max(runs.block.rows);
        parts.push(LivePart::Table(runs));
        let fingerprint = format!(
            "{} query \"SELECT results.* FROM results JOIN run ON run.id = results.run_id WHERE run.configuration_id = {id} ORDER BY results.started_at, results.run_id\"",
            pages.program()
        );
        parts.push(LivePart::Again(vec![fingerprint]));
        Ok(parts)
    })
}

/// What is measured, in a line.
fn in_words(table: &Table, row: &[Cell]) -> String {
    let part = |name: &str| {
        let cell = table.columns.iter().position(|column| column == name).and_then(|column| row.get(column));
        match cell {
            Some(Cell::Text(text)) if !text.is_empty() => Some(text.clone()),
            Some(Cell::Integer(number)) => Some([name, " ", &number.to_string()].concat()),
            _ => None,
        }
    };
    let parts = ["model", "variant", "mode", "method", "device", "platform", "engine", "precision", "batch"];
    parts.into_iter().filter_map(part).collect::<Vec<_>>().join(", ")
}

/// Effects as changes of the cost.
fn in_percent(table: &mut Table) {
    let metric = table.columns.iter().position(|name| name == "metric");
    let is_absolute = |row: &Vec<Cell>| match metric.and_then(|metric| row.get(metric)) {
        Some(Cell::Text(name)) => find_metric(name).is_some_and(|metric| Cost::of(metric).is_absolute()),
        _ => false,
    };
    let mut absolute = table.rows.iter().map(is_absolute).collect::<Vec<_>>().into_iter();
    table.map_column("effect", |cell| match (cell, absolute.next()) {
        (Cell::Real(value), is_absolute) => change_text(*value, is_absolute.unwrap_or_default()).into(),
        (other, _) => other.clone(),
    });
    table.rename_column("effect", "cost");
}

/// A table with a column of runs, which lead to them.
fn linked(table: Table, id: &'static str) -> LiveTable {
    let links = vec![links_of_ids(&table, "run", "/runs/")];
    LiveTable { block: TableBlock::whole(table), id, links }
}
