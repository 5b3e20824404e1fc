//! `benchdb query`: ad-hoc SQL and the named queries, read-only.

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;

use super::{CommandError, Context, ExitStatus, OutputArgs};
use crate::domain::{Table, names};
use crate::store::Access;
use crate::store::named::{NAMED_QUERIES, find_named};
use crate::store::query::QueryLimits;

/// Shows the tables and views with their columns.
const SCHEMA_SQL: &str = "SELECT sqlite_schema.type, sqlite_schema.name, group_concat(columns.name, ', ') AS columns
    FROM sqlite_schema, pragma_table_info(sqlite_schema.name) AS columns
    WHERE sqlite_schema.type IN ('table', 'view') AND sqlite_schema.name NOT LIKE 'sqlite%'
        AND sqlite_schema.name <> 'refinery_schema_history'
    GROUP BY sqlite_schema.name ORDER BY sqlite_schema.type DESC, sqlite_schema.name";

/// Options of `benchdb query`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb query \"SELECT model, engine, latency_p50_ms FROM results ORDER BY 3\"
  benchdb query --name leaderboard
  benchdb query --name history --param model=resnet18
  benchdb query --schema
  echo 'SELECT count(*) FROM run' | benchdb query -")]
pub struct Args {
    /// One SELECT statement; `-` reads it from standard input
    #[arg(required_unless_present_any = ["name", "list", "schema"])]
    sql: Option<String>,
    /// A named query
    #[arg(long, value_name = "NAME", conflicts_with = "sql")]
    name: Option<String>,
    /// List the named queries
    #[arg(long, conflicts_with_all = ["sql", "name"])]
    list: bool,
    /// Show the tables and views with their columns
    #[arg(long, conflicts_with_all = ["sql", "name", "list"])]
    schema: bool,
    /// Bind a parameter: `--param model=resnet18` for `:model`; those that are not bound are NULL
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Stop after this many rows; 0 for all
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_rows: usize,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    max_time: f64,
    #[command(flatten)]
    output: OutputArgs,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.trim_start_matches(':').to_owned(), value.to_owned())),
        _ => Err("a parameter is NAME=VALUE".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 1e9 => Ok(seconds),
        _ => Err("it is a positive number of seconds".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// A query that is refused, a database that cannot be read.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if args.list {
        let mut table = Table::new("", &["name", "question"]);
        for query in NAMED_QUERIES {
            table.push([query.name.into(), query.question().into()]);
        }
        context.print("named_queries", &[table], &args.output)?;
        return Ok(ExitStatus::Ok);
    }
    let sql = statement(args)?;
    let mut store = context.open(Access::Read)?;
    let limits = QueryLimits {
        time: Duration::from_secs_f64(args.max_time),
        rows: (args.max_rows > 0).then_some(args.max_rows),
    };
    let answer = store.query(&sql, &args.parameters, limits)?;
    let rows = answer.table.rows.len();
    context.print("query", &[answer.table], &args.output)?;
    if answer.cut_by_rows {
        context.note(&format!("cut after {rows} rows; `--max-rows 0` shows all"));
    }
    if answer.cut_by_time {
        context.note(&format!("cut after {} seconds with {rows} rows; `--max-time` gives it more", args.max_time));
        return Ok(ExitStatus::Failed);
    }
    Ok(ExitStatus::Ok)
}

fn statement(args: &Args) -> anyhow::Result<String> {
    if args.schema {
        return Ok(SCHEMA_SQL.to_owned());
    }
    if let Some(name) = &args.name {
        let query = find_named(name).ok_or_else(|| {
            let near = names::nearest(name, NAMED_QUERIES.iter().map(|query| query.name));
            CommandError::new(
                format!("there is no named query `{name}`"),
                match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`benchdb query --list` shows them".to_owned(),
                },
            )
        })?;
        return Ok(query.sql.to_owned());
    }
    match args.sql.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read the query from standard input")?;
            Ok(text)
        }
        sql => Ok(sql.unwrap_or_default().to_owned()),
    }
}
