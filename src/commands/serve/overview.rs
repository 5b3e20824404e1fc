//! What there is: counts, the newest runs, what broke, and the charts of everything.

use std::time::Duration;

use super::ask::Pairs;
use super::runs::{SHOWN, filters, in_minutes, links_of_ids, run_table};
use super::site::{Made, Pages, Problem};
use crate::analysis::charts::ChartName;
use crate::commands::status;
use crate::domain::Cell;
use crate::domain::document::TableBlock;
use crate::report::html::{LivePart, LiveTable};
use crate::store::again::{Question, statement};
use crate::store::list::Selection;
use crate::store::named::find_named;
use crate::store::pages::Paging;
use crate::store::query::QueryLimits;

/// Newest runs that are listed.
const NEWEST: usize = 10;

/// Failures that are listed.
const FAILURES: usize = 5;

/// Models in the table of coverage.
const COVERED: usize = 100;

/// What the overview shows of the charts.
const FIRST_CHARTS: [ChartName; 3] = [ChartName::Throughput, ChartName::Speedup, ChartName::BatchScaling];

pub(super) fn page(pages: &Pages, asked: &Pairs) -> Made {
    asked.knows(&[])?;
    if !asked.is_empty() {
        return Err(Problem::Unclear("The overview shows everything; /runs and /charts take a selection.".to_owned()));
    }
    let mut parts = pages.pool.with(|store| -> Made {
        let table =
            |table, id| LivePart::Table(LiveTable { block: TableBlock::whole(table), id, ..LiveTable::default() });
        let newest = store.page_of_runs(&Selection::default(), Paging::Newest, NEWEST)?.table;
        let coverage = TableBlock {
            notes: vec!["Runs that were measured; /configurations says of what.".to_owned()],
            ..TableBlock::whole(status::coverage(store)?)
        }
        .cut(Some(COVERED));
        let models = coverage.table.rows.iter().map(|row| match row.first() {
            Some(Cell::Text(model)) => Some(Pairs::default().with("model", Some(model)).address("/runs")),
            _ => None,
        });
        let links = vec![("model".to_owned(), models.collect())];
        let mut parts = vec![
            table(status::summary(store, true)?, "database"),
            LivePart::Table(run_table(newest, "Newest runs", "newest")),
            LivePart::Table(LiveTable { block: coverage, id: "coverage", links }),
        ];
        if let Some(failures) = find_named("failures") {
            let limits = QueryLimits { time: Duration::from_secs(5), rows: Some(FAILURES) };
            let mut failed = store.query(failures.sql, &[], limits)?.table;
            if !failed.rows.is_empty() {
                failed.title = "Failures".to_owned();
                failed.drop_empty(&["hint"]);
                in_minutes(&mut failed, "started_at");
                let links = vec![links_of_ids(&failed, "run_id", "/runs/")];
                parts.push(LivePart::Table(LiveTable { block: TableBlock::whole(failed), id: "failures", links }));
            }
        }
        Ok(parts)
    })?;
    parts.push(LivePart::Heading { id: "charts", text: "Charts of everything".to_owned() });
    parts.extend(pages.charts(&Pairs::default(), &Selection::default(), Some(&FIRST_CHARTS))?);
    parts.push(LivePart::Again(vec![
        [&pages.program(), " status"].concat(),
        [&pages.program(), " visualize"].concat(),
        String::new(),
        statement(Question::Summary, &[&Selection::default()]),
    ]));
    Ok(parts)
}

/// All charts of a selection.
pub(super) fn charts_page(pages: &Pages, asked: &Pairs) -> Made {
    asked.knows(&[])?;
    let selection = pages.selection(asked)?;
    let choices = pages.pool.with(|store| store.list_choices())?;
    let mut parts = vec![LivePart::Form(filters(asked, &choices, "/charts", &SHOWN))];
    parts.extend(pages.charts(asked, &selection, None)?);
    let options = asked.options();
    parts.push(LivePart::Again(vec![
        [&pages.program(), " visualize", &options].concat(),
        [&pages.program(), " analyze", &options].concat(),
    ]));
    Ok(parts)
}
