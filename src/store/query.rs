//! Ad-hoc SQL: read-only, by the connection and by an authorizer, within limits of time and rows.

use std::time::{Duration, Instant};

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, ErrorCode, Statement};

use super::{Store, StoreError};
use crate::domain::{Cell, Table};

/// Pragmas that only tell.
const READING_PRAGMAS: [&str; 7] =
    ["table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list", "user_version"];

/// The largest text that a query may make, in bytes; a single step that makes it is not looked at.
const LARGEST_VALUE: i32 = 100_000_000;

/// How often the time limit is looked at, in steps of SQLite's virtual machine.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// How long a query may run and how much it may answer.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// Wall-clock time.
    pub time: Duration,
    /// Rows; `None` for all.
    pub rows: Option<usize>,
}

/// What a query answered.
#[derive(Clone, Debug)]
pub struct QueryAnswer {
    /// The rows.
    pub table: Table,
    /// Whether the row limit cut it.
    pub cut_by_rows: bool,
    /// Whether the time limit cut it.
    pub cut_by_time: bool,
}

impl Store {
    /// Runs one statement of the user's. `parameters` bind `:name`s; the others are NULL.
    ///
    /// # Errors
    /// [`StoreError::QueryRefused`] for more or less than one statement, for one that is not a question, for a name
    /// that is not there and for whatever SQLite cannot parse.
    pub fn query(
        &mut self,
        sql: &str,
        parameters: &[(String, String)],
        limits: QueryLimits,
    ) -> Result<QueryAnswer, StoreError> {
        let own = Instant::now() + limits.time;
        self.connection.authorizer(Some(authorize)).map_err(|source| StoreError::sqlite(&self.path, source))?;
        self.interrupt_at(Some(self.deadline.map_or(own, |of_all| of_all.min(own))))?;
        let usual = self
            .connection
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, LARGEST_VALUE)
            .map_err(|source| StoreError::sqlite(&self.path, source))?;
        let answer = self.run_guarded(sql, parameters, limits.rows);
        let _ = self.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, usual);
        // The guards go in any case; clearing a hook does not fail.
        let _ = self.connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>);
        let _ = self.interrupt_at(self.deadline);
        answer
    }

    /// Interrupts what runs longer than until then; nothing without a time.
    pub(super) fn interrupt_at(&mut self, deadline: Option<Instant>) -> Result<(), StoreError> {
        let late = deadline.map(|deadline| move || Instant::now() >= deadline);
        self.connection
            .progress_handler(STEPS_BETWEEN_LOOKS, late)
            .map_err(|source| StoreError::sqlite(&self.path, source))
    }

    fn run_guarded(
        &self,
        sql: &str,
        parameters: &[(String, String)],
        row_limit: Option<usize>,
    ) -> Result<QueryAnswer, StoreError> {
        let mut batch = Batch::new(&self.connection, sql);
        let Some(mut statement) = batch.next().map_err(|source| self.refuse(source))? else {
            return Err(refused("it holds no statement", None));
        };
        if batch.next().map_err(|source| self.refuse(source))?.is_some() {
            return Err(refused("it holds more than one statement", Some("run them one at a time")));
        }
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(refused(
                "it would change the database",
                Some("`benchdb query` only reads; `benchdb delete` removes runs"),
            ));
        }
        bind(&mut statement, parameters).map_err(|error| match error {
            BindError::Unknown(name) => refused(
                &["it has no parameter `:", &name, "`"].concat(),
                Some("parameters stand in the statement as `:name`"),
            ),
            BindError::Sqlite(source) => self.refuse(source),
        })?;
        let mut answer = QueryAnswer {
            table: Table {
                title: String::new(),
                columns: statement.column_names().map(str::to_owned).collect(),
                rows: Vec::new(),
                // Whoever asks may put anything below each other.
                unrelated: true,
            },
            cut_by_rows: false,
            cut_by_time: false,
        };
        let columns = answer.table.columns.len();
        let mut rows = statement.raw_query();
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                    answer.cut_by_time = true;
                    break;
                }
                Err(error) => return Err(self.refuse(error)),
            };
            if row_limit.is_some_and(|limit| answer.table.rows.len() >= limit) {
                answer.cut_by_rows = true;
                break;
            }
            let cells = (0..columns)
                .map(|column| row.get_ref(column).map(cell))
                .collect::<Result<_, _>>()
                .map_err(|source| self.fail(source))?;
            answer.table.rows.push(cells);
        }
        Ok(answer)
    }

    /// Names of the tables and views, for hints.
    fn relation_names(&self) -> Vec<String> {
        self.connection
            .prepare("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .unwrap_or_default()
    }

    fn refuse(&self, source: rusqlite::Error) -> StoreError {
        match source.sqlite_error_code() {
            Some(ErrorCode::AuthorizationForStatementDenied) => refused(
                "it asks for more than reading",
                Some("`benchdb query` only reads tables and views of this database"),
            ),
            Some(ErrorCode::Unknown) | None => {
                let reason = match &source {
                    rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
                    rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
                    other => other.to_string(),
                };
                let hint = self.hint_for(&reason);
                StoreError::QueryRefused { reason, hint }
            }
            _ => self.fail(source),
        }
    }

    fn hint_for(&self, reason: &str) -> Option<String> {
        let nearest = |wanted: &str, names: Vec<String>| {
            crate::domain::names::nearest(wanted, names.iter().map(String::as_str))
                .map(|name| ["did you mean `", name, "`?"].concat())
        };
        if let Some(wanted) = reason.strip_prefix("no such table: ") {
            return nearest(wanted, self.relation_names())
                .or_else(|| Some("the flat view is `results`; `benchdb query --schema` shows all".into()));
        }
        if let Some(wanted) = reason.strip_prefix("no such column: ") {
            let columns: Vec<String> = self
                .connection
                .prepare("SELECT * FROM results LIMIT 0")
                .map(|statement| statement.column_names().map(str::to_owned).collect())
                .unwrap_or_default();
            return nearest(wanted, columns).or_else(|| Some("`benchdb query --schema` shows the columns".into()));
        }
        None
    }
}

enum BindError {
    Unknown(String),
    Sqlite(rusqlite::Error),
}

fn bind(statement: &mut Statement<'_>, parameters: &[(String, String)]) -> Result<(), BindError> {
    for (name, value) in parameters {
        let index = statement
            .parameter_index(&[":", name].concat())
            .map_err(BindError::Sqlite)?
            .ok_or_else(|| BindError::Unknown(name.clone()))?;
        // What only looks like a number (0123, 1e5) is a text.
        match (value.parse::<i64>(), value.parse::<f64>()) {
            (Ok(number), _) if number.to_string() == *value => statement.raw_bind_parameter(index, number),
            (_, Ok(number)) if number.to_string() == *value => statement.raw_bind_parameter(index, number),
            _ => statement.raw_bind_parameter(index, value),
        }
        .map_err(BindError::Sqlite)?;
    }
    Ok(())
}

fn refused(reason: &str, hint: Option<&str>) -> StoreError {
    StoreError::QueryRefused { reason: reason.to_owned(), hint: hint.map(str::to_owned) }
}

fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name } => {
            if function_name.eq_ignore_ascii_case("load_extension") {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        }
        AuthAction::Pragma { pragma_name, .. } if READING_PRAGMAS.contains(&pragma_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

pub(super) fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Text(crate::domain::configuration::hex(bytes)),
    }
}
