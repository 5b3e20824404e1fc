//! What a server shows a page at a time: lists that are found without reading all runs, one run whole, and words to
//! choose from. `SELECT`s of ours alone; nothing of the outside becomes SQL.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rusqlite::{OptionalExtension as _, ToSql, params};

use super::list::{Children, Columns, Reader, Selection, SelectionParameters, json_list};
use super::query::cell;
use super::{Store, StoreError};
use crate::domain::{RunRecord, Table};

/// A part of all runs below which they are found through an index and sorted, and not by looking at one after the other.
const FEW: u64 = 8;

/// Which part of a list is shown. Lists of runs begin with the run that was stored last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    /// The beginning.
    Newest,
    /// What was stored before the run of this id.
    Before(i64),
    /// What was stored after the run of this id.
    After(i64),
}

/// A part of a list of runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunPage {
    /// A row a run; the first column is its id, the last that of its configuration.
    pub table: Table,
    /// Whether there are runs that were stored later.
    pub has_newer: bool,
    /// Whether there are runs that were stored earlier.
    pub has_older: bool,
    /// How many runs are selected, where that is known without counting.
    pub total: Option<u64>,
}

/// One run, with what a page about it needs besides.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRun {
    /// Its row id.
    pub id: i64,
    /// Its configuration's row id.
    pub configuration_id: i64,
    /// The number of its import, where it was imported.
    pub import: Option<i64>,
    /// All that is known of it.
    pub record: RunRecord,
}

/// What a selection was narrowed down to, without looking at a run: ids, where there is anything to narrow down.
#[derive(Debug, Default)]
struct Narrowed {
    ids: Option<Vec<i64>>,
    configurations: Option<Vec<i64>>,
    environments: Option<Vec<i64>>,
    campaigns: Option<Vec<i64>>,
    /// How many runs the configurations have, and the environments.
    of_configurations: u64,
    of_environments: u64,
    all: u64,
}

/// Where runs are looked for.
#[derive(Clone, Copy)]
enum From {
    All,
    Ids,
    Configurations,
    Environments,
    Campaigns,
}

/// The statements of a page: where runs are looked for, and in which order they come.
macro_rules! page_of_runs {
    ($from:literal, $order:literal) => {
        concat!(
            include_str!(concat!("sql/runs_of_", $from, ".sql")),
            include_str!("sql/page_of_runs.sql"),
            include_str!("sql/selected_runs.sql"),
            "ORDER BY run.id ",
            $order,
            " LIMIT :rows"
        )
    };
}

impl From {
    fn sql(self, newest_first: bool) -> &'static str {
        match (self, newest_first) {
            (Self::All, true) => page_of_runs!("all", "DESC"),
            (Self::All, false) => page_of_runs!("all", "ASC"),
            (Self::Ids, true) => page_of_runs!("ids", "DESC"),
            (Self::Ids, false) => page_of_runs!("ids", "ASC"),
            (Self::Configurations, true) => page_of_runs!("configurations", "DESC"),
            (Self::Configurations, false) => page_of_runs!("configurations", "ASC"),
            (Self::Environments, true) => page_of_runs!("environments", "DESC"),
            (Self::Environments, false) => page_of_runs!("environments", "ASC"),
            (Self::Campaigns, true) => page_of_runs!("campaigns", "DESC"),
            (Self::Campaigns, false) => page_of_runs!("campaigns", "ASC"),
        }
    }
}

impl Narrowed {
    /// Where at most `most` runs are looked for. A selection that every tenth run belongs to fills a page after ten pages'
    /// worth of all runs, which is less than all its own: those are gathered only if they are few in that sense, too.
    fn from(&self, most: usize) -> From {
        let few = |runs: u64| runs < self.all / FEW && u128::from(runs).pow(2) <= u128::from(self.all) * most as u128;
        if self.ids.is_some() {
            From::Ids
        } else if self.campaigns.is_some() {
            From::Campaigns
        } else if self.configurations.is_some()
            && few(self.of_configurations)
            && (self.environments.is_none() || self.of_configurations <= self.of_environments)
        {
            From::Configurations
        } else if self.environments.is_some() && few(self.of_environments) {
            From::Environments
        } else {
            From::All
        }
    }
}

impl Store {
    /// Every statement from now on, and all of them together, has to be done within this time.
    ///
    /// # Errors
    /// What SQLite refuses; it does not.
    pub fn limit_time(&mut self, time: Duration) -> Result<(), StoreError> {
        self.deadline = Some(Instant::now() + time);
        self.interrupt_at(self.deadline)
    }

    /// A number that changes whenever somebody else has changed the database since this store was opened.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        self.connection.query_row("PRAGMA data_version", [], |row| row.get(0)).map_err(|source| self.fail(source))
    }

    /// Some of the selected runs, at most `rows` of them.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn page_of_runs(&self, selection: &Selection, paging: Paging, rows: usize) -> Result<RunPage, StoreError> {
        let narrowed = self.narrow(selection)?;
        // One more than is shown says whether there are more.
        let mut ids = self.ids_of_page(selection, &narrowed, paging, rows + 1)?;
        let more = ids.len() > rows;
        ids.truncate(rows);
        let (has_newer, has_older) = match paging {
            Paging::Newest => (false, more),
            Paging::Before(id) => {
                (!self.ids_of_page(selection, &narrowed, Paging::After(id.saturating_sub(1)), 1)?.is_empty(), more)
            }
            Paging::After(id) => {
                (more, !self.ids_of_page(selection, &narrowed, Paging::Before(id.saturating_add(1)), 1)?.is_empty())
            }
        };
        let table = self.table(include_str!("sql/rows_of_runs.sql"), &[(":ids", &json_ids(&ids))])?;
        Ok(RunPage { table, has_newer, has_older, total: total(selection, &narrowed) })
    }

    /// The ids of the selected runs, the one that was stored last first; at most `most` of them.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn find_runs(&self, selection: &Selection, most: usize) -> Result<Vec<i64>, StoreError> {
        self.ids_of_page(selection, &self.narrow(selection)?, Paging::Newest, most)
    }

    /// The ids of the selected runs as a JSON array, where an index leads to them; `None` where all runs would be looked
    /// at.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub(super) fn find_few_runs(&self, selection: &Selection) -> Result<Option<String>, StoreError> {
        let narrowed = self.narrow(selection)?;
        if matches!(narrowed.from(usize::MAX), From::All) {
            return Ok(None);
        }
        Ok(Some(json_ids(&self.ids_of_page(selection, &narrowed, Paging::Newest, usize::MAX)?)))
    }

    fn ids_of_page(
        &self,
        selection: &Selection,
        narrowed: &Narrowed,
        paging: Paging,
        rows: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let (before, after) = match paging {
            Paging::Newest => (i64::MAX, i64::MIN),
            Paging::Before(id) => (id, i64::MIN),
            Paging::After(id) => (i64::MAX, id),
        };
        let lists = [&narrowed.ids, &narrowed.configurations, &narrowed.environments, &narrowed.campaigns]
            .map(|ids| ids.as_deref().map(json_ids));
        let (most, rows) = (rows, i64::try_from(rows).unwrap_or(i64::MAX));
        let mut own: Vec<(&str, &dyn ToSql)> = vec![(":before", &before), (":after", &after), (":rows", &rows)];
        own.extend(
            [":ids", ":configurations", ":environments", ":campaigns"]
                .into_iter()
                .zip(&lists)
                .map(|(name, list)| -> (&str, &dyn ToSql) { (name, list) }),
        );
        let sql = narrowed.from(most).sql(!matches!(paging, Paging::After(_)));
        self.ids(sql, selection, &own)
    }

    /// Turns the conditions on configurations, environments and campaigns into ids: there are far fewer of them than runs.
    fn narrow(&self, selection: &Selection) -> Result<Narrowed, StoreError> {
        let mut narrowed = Narrowed {
            all: self
                .connection
                .prepare_cached("SELECT ifnull(sum(run_count), 0) FROM series_summary")
                .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
                .map_err(|source| self.fail(source))?
                .cast_unsigned(),
            ..Narrowed::default()
        };
        if !selection.runs.is_empty() {
            narrowed.ids = Some(self.ids(include_str!("sql/narrow_ids.sql"), selection, &[])?);
        }
        if selection.of_series() != Selection::default() {
            let (ids, runs) = self.counted_ids(
                concat!(include_str!("sql/narrow_configurations.sql"), include_str!("sql/selected_configurations.sql")),
                selection,
            )?;
            (narrowed.configurations, narrowed.of_configurations) = (Some(ids), runs);
        }
        if selection.host.is_some() || selection.git_commit.is_some() || selection.framework.is_some() {
            let (ids, runs) = self.counted_ids(
                concat!(include_str!("sql/narrow_environments.sql"), include_str!("sql/selected_environments.sql")),
                selection,
            )?;
            (narrowed.environments, narrowed.of_environments) = (Some(ids), runs);
        }
        if selection.campaign.is_some() || selection.label.is_some() {
            narrowed.campaigns = Some(self.ids(include_str!("sql/narrow_campaigns.sql"), selection, &[])?);
        }
        Ok(narrowed)
    }

    /// The first column of what a statement answers. Parameters are those of a selection, but for `own`.
    fn ids(&self, sql: &str, selection: &Selection, own: &[(&str, &dyn ToSql)]) -> Result<Vec<i64>, StoreError> {
        Ok(self.pairs(sql, selection, own, false)?.into_iter().map(|(id, _)| id).collect())
    }

    /// Ids, and the sum of the numbers beside them.
    fn counted_ids(&self, sql: &str, selection: &Selection) -> Result<(Vec<i64>, u64), StoreError> {
        let pairs = self.pairs(sql, selection, &[], true)?;
        let runs = pairs.iter().map(|(_, runs)| runs.cast_unsigned()).sum();
        Ok((pairs.into_iter().map(|(id, _)| id).collect(), runs))
    }

    fn pairs(
        &self,
        sql: &str,
        selection: &Selection,
        own: &[(&str, &dyn ToSql)],
        counted: bool,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let selected = SelectionParameters::new(selection);
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            // A statement has some of a selection's parameters, and perhaps its own of the same name.
            for (name, value) in selected.bind().into_iter().chain(own.iter().copied()) {
                if let Some(index) = statement.parameter_index(name)? {
                    statement.raw_bind_parameter(index, value)?;
                }
            }
            let mut rows = statement.raw_query();
            let mut pairs = Vec::new();
            while let Some(row) = rows.next()? {
                pairs.push((row.get(0)?, if counted { row.get(1)? } else { 0 }));
            }
            Ok(pairs)
        };
        read().map_err(|source| self.fail(source))
    }

    /// The run of this id or UUID, whole.
    ///
    /// # Errors
    /// What SQLite refuses, and a value that no benchdb wrote.
    pub fn find_run(&self, wanted: &str) -> Result<Option<FoundRun>, StoreError> {
        let failed = |source| self.fail(source);
        let by_id: Option<i64> = wanted.parse().ok().filter(|id: &i64| id.to_string() == wanted);
        let found: Option<(i64, i64, Option<i64>)> = self
            .connection
            .prepare_cached("SELECT id, configuration_id, import_batch_id FROM run WHERE id = ?1 OR uuid = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![by_id, wanted], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .optional()
            })
            .map_err(failed)?;
        let Some((id, configuration_id, import)) = found else { return Ok(None) };
        let mut statement = self
            .connection
            .prepare_cached(concat!(include_str!("sql/select_runs.sql"), "WHERE run.id = ?1"))
            .map_err(failed)?;
        let columns = Columns::of(&statement);
        let mut rows = statement.query([id]).map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
        let (_, mut record) = Reader { row, columns: &columns, store: self }.record()?;
        Children::prepare(self)?.attach(self, id, &mut record.measurement)?;
        Ok(Some(FoundRun { id, configuration_id, import, record }))
    }

    /// Configurations that have runs and hold every one of these words, in small letters, and how many there are of them;
    /// the first column is the configuration's id.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn page_of_configurations(&self, words: &[String], skip: u64, rows: usize) -> Result<(Table, u64), StoreError> {
        let words = serde_json::to_string(words).unwrap_or_default();
        let count: i64 = self
            .connection
            .prepare_cached(include_str!("sql/count_configurations.sql"))
            .and_then(|mut statement| statement.query_row(&[(":words", &words)], |row| row.get(0)))
            .map_err(|source| self.fail(source))?;
        let (skip, rows) = (i64::try_from(skip).unwrap_or(i64::MAX), rows as i64);
        let table = self.table(
            include_str!("sql/page_of_configurations.sql"),
            &[(":words", &words), (":skip", &skip), (":rows", &rows)],
        )?;
        Ok((table, count.cast_unsigned()))
    }

    /// What was concluded of a configuration, newest first, fifty at most.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_verdicts_of(&self, configuration: i64) -> Result<Table, StoreError> {
        self.table(include_str!("sql/verdicts_of_configuration.sql"), &[(":configuration", &configuration)])
    }

    /// The words that a selection can be made of, by the names of its options.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_choices(&self) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        let mut choices: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let read = |choices: &mut BTreeMap<String, Vec<String>>| {
            let mut statement = self.connection.prepare_cached(include_str!("sql/choices.sql"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let word = match row.get_ref(1)? {
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    other => other.as_str_or_null()?.unwrap_or_default().to_owned(),
                };
                choices.entry(row.get(0)?).or_default().push(word);
            }
            Ok(())
        };
        read(&mut choices).map_err(|source| self.fail(source))?;
        Ok(choices)
    }

    fn table(&self, sql: &str, parameters: &[(&str, &dyn ToSql)]) -> Result<Table, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let width = columns.len();
            let mut rows = statement.query(parameters)?;
            let mut table = Table { columns, ..Table::default() };
            while let Some(row) = rows.next()? {
                table.rows.push((0..width).map(|column| row.get_ref(column).map(cell)).collect::<Result<_, _>>()?);
            }
            Ok(table)
        };
        read().map_err(|source| self.fail(source))
    }
}

/// Ids as a JSON array; unlike an empty list of a selection, no ids are no runs.
fn json_ids(ids: &[i64]) -> String {
    json_list(ids).unwrap_or_else(|| "[]".to_owned())
}

/// How many runs are selected, where the summaries know it.
fn total(selection: &Selection, narrowed: &Narrowed) -> Option<u64> {
    let by_series = *selection == selection.of_series();
    match (&narrowed.ids, &narrowed.configurations) {
        _ if selection.is_everything() => Some(narrowed.all),
        (_, Some(_)) if by_series => Some(narrowed.of_configurations),
        (Some(ids), None) if *selection == (Selection { runs: selection.runs.clone(), ..Selection::default() }) => {
            Some(ids.len() as u64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
