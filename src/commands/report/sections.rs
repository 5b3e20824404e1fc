//! The sections of a report: what is read for each of them, and the statement that gives it again.

use std::time::Duration;

use clap::ValueEnum as _;

use super::notes::{about_environments, about_validity};
use crate::analysis::MetricChoice;
use crate::analysis::charts::ChartName;
use crate::analysis::compare::Reference;
use crate::commands::Context;
use crate::commands::analyze::{Analysis, Section as Analysed, analyze, parameters_in_words};
use crate::commands::recommend::{RUNNERS_UP, Recommended, recommended};
use crate::commands::regress::{change_table, judge_history};
use crate::commands::run::costs::cost_tables;
use crate::commands::sheets::{SheetOptions, sheets};
use crate::commands::verdicts::{Against, JudgeArgs, judge_runs};
use crate::domain::document::{Block, Document, Gives, Section, Statement, TableBlock};
use crate::domain::text::{counted, sentence};
use crate::domain::verdict::VerdictReport;
use crate::domain::{Cell, Mode, Table, Verdict};
use crate::report::verdicts::{summary as verdict_notes, verdict_table};
use crate::store::again::{Question, in_words, statement};
use crate::store::list::{Detail, Selection};
use crate::store::query::QueryLimits;
use crate::store::{Store, now_text};

/// How long one of the statements may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a report is about.
pub(in crate::commands) struct Subject<'s> {
    /// The runs.
    pub(in crate::commands) selection: &'s Selection,
    /// What speed-ups are relative to.
    pub(in crate::commands) reference: Reference,
    /// Whether software that pretends to be a device is ranked and recommended.
    pub(in crate::commands) include_software: bool,
    /// What verdicts are held against; the history of each series without one.
    pub(in crate::commands) baseline: Option<String>,
    /// The share of the cost that is too much.
    pub(in crate::commands) alert: f64,
    /// Whether people read it: short names and numbers instead of exact ones.
    pub(in crate::commands) people: bool,
    /// Rows of each table.
    pub(in crate::commands) limit: Option<usize>,
}

impl Subject<'_> {
    /// A table that was computed, with the statement that gives what it rests on.
    fn computed(&self, table: Table, question: Question<'_>, gives: Gives) -> Block {
        let block = TableBlock::whole(table);
        self.asking(block, question, gives)
    }

    /// A table, of which rows may have been left out already, with the statement that gives what it rests on.
    fn asking(&self, mut block: TableBlock, question: Question<'_>, gives: Gives) -> Block {
        if self.people {
            parameters_in_words(&mut block.table);
        }
        block.statement = Some(Statement { sql: statement(question, &[self.selection]), gives });
        Block::Table(block.cut(self.limit))
    }
}

/// The whole report; `None` where no run is selected.
///
/// # Errors
/// A database that cannot be read, a baseline that is not there.
pub(in crate::commands) fn document(
    store: &mut Store,
    subject: &Subject<'_>,
    title: &str,
    context: &Context,
) -> anyhow::Result<Option<Document>> {
    let Some(mut sections) = in_tables(store, subject, context)? else { return Ok(None) };
    sections.push(charts(store, subject)?);
    let selected = in_words(subject.selection);
    let file = store.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let about = vec![
        format!("From the database `{file}`, at {}, by benchdb {}.", now_text(), env!("CARGO_PKG_VERSION")),
        if selected.is_empty() { "All its runs.".to_owned() } else { format!("Its runs with {selected}.") },
        "Below each table and each chart stands the SQL that asks the database again: `benchdb query -` runs it."
            .to_owned(),
    ];
    Ok(Some(Document { title: title.to_owned(), about, sections }))
}

/// All sections but the charts; `None` where no run is selected.
///
/// # Errors
/// A database that cannot be read, a baseline that is not there.
pub(in crate::commands) fn in_tables(
    store: &mut Store,
    subject: &Subject<'_>,
    context: &Context,
) -> anyhow::Result<Option<Vec<Section>>> {
    let Some(summary) = summary(store, subject)? else { return Ok(None) };
    let analysis = analyze(store, subject.selection, &subject.reference, subject.include_software, subject.people)?;
    let mut sections = vec![summary, environment(store, subject, &analysis)?];
    sections.extend(comparisons(subject, analysis));
    sections.push(verdicts(store, subject, context)?);
    sections.push(recommendations(store, subject)?);
    sections.extend(explanations(store, subject)?);
    Ok(Some(sections))
}

/// What a statement answers, as a table with that statement.
///
/// # Errors
/// A database that cannot be read.
fn asked(store: &mut Store, subject: &Subject<'_>, title: &str, question: Question<'_>) -> anyhow::Result<TableBlock> {
    let sql = statement(question, &[subject.selection]);
    let answer = store.query(&sql, &[], QueryLimits { time: PATIENCE, rows: None })?;
    let mut table = answer.table;
    title.clone_into(&mut table.title);
    let mut block = TableBlock::whole(table);
    if answer.cut_by_time {
        block.notes.push(format!("This took longer than {} s: rows are missing.", PATIENCE.as_secs()));
    }
    block.statement = Some(Statement { sql, gives: Gives::Rows });
    Ok(block)
}

/// The cell of a row under a column's name.
pub(super) fn cell<'t>(table: &'t Table, row: &'t [Cell], column: &str) -> &'t Cell {
    table.columns.iter().position(|name| name == column).and_then(|index| row.get(index)).unwrap_or(&Cell::Null)
}

/// A count in a row; 0 where there is none.
pub(super) fn count(table: &Table, row: &[Cell], column: &str) -> usize {
    match cell(table, row, column) {
        Cell::Integer(number) => usize::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

/// Counts, outcomes and models; `None` where no run is selected.
///
/// # Errors
/// A database that cannot be read.
fn summary(store: &mut Store, subject: &Subject<'_>) -> anyhow::Result<Option<Section>> {
    let counts = asked(store, subject, "Counts", Question::Summary)?;
    if counts.table.rows.first().is_none_or(|row| count(&counts.table, row, "value") == 0) {
        return Ok(None);
    }
    let mut section = Section::new("summary", "Summary");
    let outcomes = asked(store, subject, "How the runs ended", Question::Outcomes)?;
    let models = asked(store, subject, "Models", Question::Models)?;
    for block in [counts, outcomes, models] {
        section.blocks.push(Block::Table(block.cut(subject.limit)));
    }
    Ok(Some(section))
}

/// Devices, environments, imported files, what was left out, and what all that means for the numbers.
///
/// # Errors
/// A database that cannot be read.
fn environment(store: &mut Store, subject: &Subject<'_>, analysis: &Analysis) -> anyhow::Result<Section> {
    let mut section = Section::new("environment", "Environment and validity");
    let mut devices = asked(store, subject, "Devices", Question::Devices)?;
    let mut environments = asked(store, subject, "Environments", Question::Environments)?;
    let imports = asked(store, subject, "Imported files", Question::Imports)?;
    let mut left_out = asked(store, subject, "Runs that do not count", Question::LeftOut)?;
    section.notes = about_environments(&environments.table);
    section.notes.extend(about_validity(&left_out.table, &imports.table, analysis));
    if subject.people {
        let names: Vec<String> = environments.table.columns.clone();
        environments.table.drop_empty(&names.iter().map(String::as_str).collect::<Vec<_>>());
        left_out.table.drop_empty(&["reason"]);
        devices.table.map_column("software", yes_or_nothing);
        environments.table.map_column("git_dirty", yes_or_nothing);
    }
    for (block, is_shown) in [(devices, true), (environments, true), (imports, false), (left_out, false)] {
        if is_shown || !subject.people || block.rows > 0 {
            section.blocks.push(Block::Table(block.cut(subject.limit)));
        }
    }
    Ok(section)
}

/// The tables of the analysis: comparison, scaling and training, rankings.
fn comparisons(subject: &Subject<'_>, analysis: Analysis) -> Vec<Section> {
    let mut comparison = Section::new("comparison", "Comparison");
    let mut scaling = Section::new("scaling", "Batch sizes and training");
    let mut rankings = Section::new("rankings", "Rankings");
    comparison.notes = analysis.notes.iter().map(|note| sentence(note)).collect();
    let reference = Question::Comparison(subject.reference.parts());
    for (part, table) in analysis.tables {
        let (section, question, gives) = match part {
            Analysed::Comparison => (&mut comparison, reference, Gives::Numbers),
            Analysed::Overall => (&mut comparison, reference, Gives::Parts),
            Analysed::Scaling => (&mut scaling, Question::Scaling, Gives::Rows),
            Analysed::Training => (&mut scaling, Question::Training, Gives::Rows),
            Analysed::Rankings => {
                let question = Question::Rankings { include_software: subject.include_software };
                (&mut rankings, question, Gives::Rows)
            }
        };
        let mut block = TableBlock::whole(table);
        match part {
            Analysed::Comparison if subject.people => numbers_first(&mut block.table),
            Analysed::Rankings if subject.people => {
                section.notes.extend(without_single_contenders(&mut block.table));
                block.rows = block.table.rows.len();
                if block.table.rows.is_empty() {
                    continue;
                }
            }
            _ => {}
        }
        section.blocks.push(subject.asking(block, question, gives));
    }
    let mut sections = vec![comparison, scaling, rankings];
    if subject.people {
        sections.retain(|section| !section.blocks.is_empty() || !section.notes.is_empty());
    }
    sections
}

/// What tells one row from another only now and then stands behind the numbers, so that these are seen without scrolling.
fn numbers_first(table: &mut Table) {
    const SELDOM: [&str; 4] = ["variant", "input_shape", "threads", "parameters"];
    let (last, first): (Vec<usize>, Vec<usize>) =
        (0..table.columns.len()).partition(|column| SELDOM.contains(&table.columns[*column].as_str()));
    let order = [first, last].concat();
    for row in &mut table.rows {
        *row = order.iter().filter_map(|column| row.get(*column).cloned()).collect();
    }
    table.columns = order.into_iter().map(|column| std::mem::take(&mut table.columns[column])).collect();
}

/// Leaves the rankings out in which nobody competes, and says how many they were: a first place of one says nothing.
fn without_single_contenders(table: &mut Table) -> Option<String> {
    let of_what = table.columns.iter().position(|column| column == "place")?;
    let mut contenders: Vec<(Vec<Cell>, usize)> = Vec::new();
    for row in &table.rows {
        match contenders.last_mut() {
            Some((what, count)) if *what == row[..of_what] => *count += 1,
            _ => contenders.push((row[..of_what].to_vec(), 1)),
        }
    }
    let alone: Vec<Vec<Cell>> = contenders.into_iter().filter(|(_, count)| *count == 1).map(|(what, _)| what).collect();
    table.rows.retain(|row| !alone.iter().any(|what| *what == row[..of_what]));
    let have = counted(alone.len(), "ranking has", "rankings have");
    let where_else = if table.rows.is_empty() { "the JSON report has" } else { "the SQL and the JSON report have" };
    (!alone.is_empty()).then(|| format!("{have} one contender alone and no row here; {where_else} them."))
}

/// Verdicts against the baseline, or of the history of each series.
///
/// # Errors
/// A database that cannot be read, a baseline that is not there.
fn verdicts(store: &Store, subject: &Subject<'_>, context: &Context) -> anyhow::Result<Section> {
    let mut section = Section::new("verdicts", "Verdicts");
    let mut selections = vec![subject.selection.clone()];
    let (mut report, changes) = match &subject.baseline {
        Some(name) => {
            selections.push(Selection { baseline: Some(name.clone()), ..subject.selection.of_series() });
            let args = JudgeArgs::with_alert(subject.alert);
            let judged = judge_runs(store, subject.selection, &Against::Baseline(name.clone()), &args, context)?;
            (judged.report, Vec::new())
        }
        None => judge_history(store, subject.selection, &MetricChoice::primary(), subject.alert)?,
    };
    section.notes = verdict_notes(&report);
    if subject.people && subject.baseline.is_none() {
        // Of a history that is too short there is nothing to read.
        let all = report.verdicts.len();
        report.verdicts.retain(|judgement| judgement.verdict != Verdict::Inconclusive);
        let short = all - report.verdicts.len();
        if short > 0 {
            let have = counted(short, "series has", "series have");
            section.notes.push(format!("{have} too few runs for a history (ten at least) and no row here."));
        }
    }
    let selections: Vec<&Selection> = selections.iter().collect();
    let runs = || Some(Statement { sql: statement(Question::JudgedRuns, &selections), gives: Gives::Runs });
    let table = verdict_table(&report, subject.people, None);
    if !subject.people || !table.rows.is_empty() {
        section.blocks.push(verdict_block(table, &report, subject, runs()));
    }
    if !changes.is_empty() || !subject.people {
        let table = change_table(&changes, subject.people, None);
        let block = TableBlock { statement: runs(), ..TableBlock::whole(table) };
        section.blocks.push(Block::Table(block.cut(subject.limit)));
    }
    Ok(section)
}

/// The verdicts, the worst first; none that alarms is cut.
fn verdict_block(table: Table, report: &VerdictReport, subject: &Subject<'_>, runs: Option<Statement>) -> Block {
    use Verdict::{Regressed, Suspect};
    let alarming = report.verdicts.iter().rposition(|judgement| matches!(judgement.verdict, Regressed | Suspect));
    let limit = subject.limit.map(|limit| limit.max(alarming.map_or(0, |last| last + 1)));
    Block::Table(TableBlock { statement: runs, ..TableBlock::whole(table) }.cut(limit))
}

/// The best of each model by throughput.
///
/// # Errors
/// A database that cannot be read.
fn recommendations(store: &Store, subject: &Subject<'_>) -> anyhow::Result<Section> {
    let mut section = Section::new("recommendations", "Recommendations");
    let Recommended { tables, places, notes } =
        recommended(store, subject.selection, subject.include_software, subject.people)?;
    section.notes.push(
        "By throughput; `pareto` marks what nothing beats in every respect. `benchdb recommend` knows other objectives \
         and constraints."
            .to_owned(),
    );
    section.notes.extend(notes.iter().map(|note| sentence(note)));
    for (index, table) in tables.into_iter().enumerate() {
        if subject.people && table.rows.is_empty() {
            continue;
        }
        let (question, gives) = match index {
            0 => (Question::Recommendations { include_software: subject.include_software }, Gives::Numbers),
            _ => (Question::JudgedRuns, Gives::Runs),
        };
        let mut block = TableBlock::whole(table);
        if index == 0 && places > block.rows {
            block.notes.push(format!(
                "The first {} places of each model and its Pareto set: {} of {places}. The SQL and the JSON report give all.",
                RUNNERS_UP + 1,
                block.rows
            ));
        }
        section.blocks.push(subject.asking(block, question, gives));
    }
    if section.blocks.is_empty() {
        section.notes = vec!["Nothing that was measured can be recommended.".to_owned()];
    }
    Ok(section)
}

/// What explanations cost; `None` where none was measured.
///
/// # Errors
/// A database that cannot be read.
fn explanations(store: &Store, subject: &Subject<'_>) -> anyhow::Result<Option<Section>> {
    let modes = &subject.selection.modes;
    if !modes.is_empty() && !modes.contains(&Mode::Explanation) {
        return Ok(None);
    }
    let selection = Selection { modes: vec![Mode::Explanation], ..subject.selection.clone() };
    let runs: Vec<_> = store.list_runs(&selection, Detail::Whole)?.into_iter().map(|(_, run)| run).collect();
    if runs.is_empty() {
        return Ok(None);
    }
    let mut section = Section::new("explanations", "Explanations");
    for (index, table) in cost_tables(&runs, subject.people).into_iter().enumerate() {
        let gives = if index == 0 { Gives::Numbers } else { Gives::Parts };
        section.blocks.push(subject.computed(table, Question::Explanations, gives));
    }
    Ok(Some(section))
}

/// The charts that take no time of their own, those that have something to show first; the others are named.
///
/// # Errors
/// A database that cannot be read.
fn charts(store: &Store, subject: &Subject<'_>) -> anyhow::Result<Section> {
    let mut section = Section::new("charts", "Charts");
    let options = SheetOptions {
        relative_to: subject.reference.clone(),
        include_software: subject.include_software,
        alert: subject.alert,
        ..SheetOptions::default()
    };
    let (shown, empty): (Vec<_>, Vec<_>) =
        sheets(store, subject.selection, &options)?.into_iter().partition(|sheet| sheet.chart().is_some());
    section.blocks.extend(shown.into_iter().chain(empty).map(Block::Sheet));
    for chart in ChartName::value_variants().iter().filter(|chart| !options.charts.contains(chart)) {
        let title = chart.title();
        section.notes.push(format!(
            "{title}: left out, because they take their time; `benchdb visualize {chart}` with the same selection draws them."
        ));
    }
    Ok(section)
}

/// A flag as people read it.
fn yes_or_nothing(cell: &Cell) -> Cell {
    if *cell == Cell::Integer(1) { "yes".into() } else { Cell::Null }
}
