//! Statements that give the tables of a report again: what a selection means, written as SQL that `benchdb query`, or any
//! other client, runs. They are text for people; the program itself binds its parameters (`sql/selection.sql`).

use clap::ValueEnum;
use serde_json::Value;

use super::list::Selection;
use crate::domain::Part;
use crate::domain::chart::Behind;
use crate::domain::document::{Gives, Statement};
use crate::domain::label::label;

/// What a statement asks of the selected runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Question<'q> {
    /// Counts, the first and the last run.
    Summary,
    /// How the runs ended.
    Outcomes,
    /// The models.
    Models,
    /// The devices, with what drove them.
    Devices,
    /// Where and with which software it was measured.
    Environments,
    /// The files that brought runs.
    Imports,
    /// The runs that do not count, and why.
    LeftOut,
    /// Medians of each configuration, and the speed-up over the fastest one that has all of these parts.
    Comparison(&'q [(Part, String)]),
    /// Throughput by batch size.
    Scaling,
    /// Training steps beside inference.
    Training,
    /// The first three of each model; software that pretends to be a device only if it is asked for.
    Rankings {
        /// Whether such software is ranked.
        include_software: bool,
    },
    /// The configurations of each model, by throughput; software that pretends to be a device only if it is asked for.
    Recommendations {
        /// Whether such software is recommended.
        include_software: bool,
    },
    /// The runs with the numbers that verdicts rest on.
    JudgedRuns,
    /// What explanations cost.
    Explanations,
    /// The runs that count, with these columns of `results`: what the charts of configurations rest on.
    Charted(&'q [&'static str]),
    /// All runs in time, with these columns of `results`.
    History(&'q [&'static str]),
}

/// The statement that answers a question about the runs that any of the selections means.
pub fn statement(question: Question<'_>, selections: &[&Selection]) -> String {
    let facts = include_str!("sql/again/facts.sql");
    let parts: Vec<&str> = match question {
        Question::Summary => vec![include_str!("sql/again/summary.sql")],
        Question::Outcomes => vec![include_str!("sql/again/outcomes.sql")],
        Question::Models => vec![include_str!("sql/again/models.sql")],
        Question::Devices => vec![include_str!("sql/again/devices.sql")],
        Question::Environments => vec![include_str!("sql/again/environments.sql")],
        Question::Imports => vec![include_str!("sql/again/imports.sql")],
        Question::LeftOut => vec![include_str!("sql/again/left_out.sql")],
        Question::Comparison(parts) => {
            let sql = [facts, &reference(parts), include_str!("sql/again/comparison.sql")].concat();
            return [selected(selections), sql].concat();
        }
        Question::Scaling => vec![facts, include_str!("sql/again/scaling.sql")],
        Question::Training => vec![facts, include_str!("sql/again/training.sql")],
        Question::Rankings { include_software } => {
            vec![facts, ranked(include_software), include_str!("sql/again/rankings.sql")]
        }
        Question::Recommendations { include_software } => {
            vec![facts, ranked(include_software), include_str!("sql/again/recommendations.sql")]
        }
        Question::JudgedRuns => vec![include_str!("sql/again/judged_runs.sql")],
        Question::Explanations => vec![include_str!("sql/again/explanations.sql")],
        Question::Charted(columns) => {
            return [selected(selections), with_columns(include_str!("sql/again/charted.sql"), columns)].concat();
        }
        Question::History(columns) => {
            return [selected(selections), with_columns(include_str!("sql/again/history.sql"), columns)].concat();
        }
    };
    [selected(selections), parts.concat()].concat()
}

/// How to ask the record again for what a chart rests on; the chart was made of these runs.
pub fn statement_of_chart(behind: &Behind, selection: &Selection) -> Statement {
    let of = |configurations: &[i64]| Selection { configurations: configurations.to_vec(), ..selection.clone() };
    let (sql, gives) = match behind {
        Behind::Configurations { ids, columns } => (statement(Question::Charted(columns), &[&of(ids)]), Gives::Runs),
        Behind::History { configuration, columns } => {
            (statement(Question::History(columns), &[&of(&[*configuration])]), Gives::Numbers)
        }
        Behind::Samples(run) => (of_run(include_str!("sql/again/samples.sql"), *run), Gives::Numbers),
        Behind::Telemetry(run) => (of_run(include_str!("sql/again/telemetry.sql"), *run), Gives::Numbers),
    };
    Statement { sql, gives }
}

/// A statement with the columns that it is asked for.
fn with_columns(sql: &str, columns: &[&str]) -> String {
    sql.replace(":columns", &columns.join(", "))
}

/// A statement about one run.
fn of_run(sql: &str, run: i64) -> String {
    sql.replace(":run", &run.to_string())
}

/// What is ranked and recommended.
fn ranked(include_software: bool) -> &'static str {
    if include_software {
        ", ranked AS (\n    SELECT * FROM facts\n)\n"
    } else {
        ", ranked AS (\n    SELECT * FROM facts WHERE software = 0\n)\n"
    }
}

/// Which configurations may be the reference of a comparison.
fn reference(parts: &[(Part, String)]) -> String {
    let conditions = parts.iter().map(|(part, wanted)| {
        let (column, wanted) = (part.to_string(), text(wanted));
        match part {
            Part::Device => ["instr(lower(device), lower(", &wanted, ")) > 0"].concat(),
            _ => ["lower(", &column, ") = lower(", &wanted, ")"].concat(),
        }
    });
    let all: Vec<String> = conditions.collect();
    [", reference AS (\n    SELECT configuration_id, ", &all.join(" AND "), " AS is_reference FROM facts\n)\n"].concat()
}

/// The selected runs, under the name that every statement asks.
fn selected(selections: &[&Selection]) -> String {
    let alternatives: Vec<String> = selections.iter().map(|selection| joined(&conditions(selection))).collect();
    let condition = match alternatives.as_slice() {
        several if several.is_empty() || several.iter().any(String::is_empty) => String::new(),
        [one] => ["    WHERE ", one, "\n"].concat(),
        several => ["    WHERE (", &several.join(")\n        OR ("), ")\n"].concat(),
    };
    [
        "WITH selected AS (
    SELECT results.*, device.compute_units, run.configuration_id, run.environment_id, run.import_batch_id, run.error,
        run.hint
    FROM results
        JOIN run ON run.id = results.run_id
        JOIN configuration ON configuration.id = run.configuration_id
        JOIN device ON device.id = configuration.device_id
",
        &condition,
        ")\n",
    ]
    .concat()
}

fn joined(conditions: &[Condition]) -> String {
    conditions.iter().map(|condition| condition.sql.as_str()).collect::<Vec<_>>().join("\n        AND ")
}

/// A selection in words: `model resnet18, batch size 1 or 8`; nothing where everything is selected.
pub fn in_words(selection: &Selection) -> String {
    conditions(selection).into_iter().map(|condition| condition.words).collect::<Vec<_>>().join(", ")
}

/// Values of a list that are named in words.
const NAMED: usize = 6;

/// One thing that a selection asks for.
struct Condition {
    words: String,
    sql: String,
}

/// A text in SQL.
fn text(value: &str) -> String {
    ["'", &value.replace('\'', "''"), "'"].concat()
}

/// A JSON value as SQLite's `->>` gives it.
fn json(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(string) => text(string),
        Value::Array(_) | Value::Object(_) => text(&value.to_string()),
    }
}

/// What a selection asks for, in words and as conditions on `results`, `run` and `configuration`: those of
/// `sql/selection.sql`, in the same order.
fn conditions(selection: &Selection) -> Vec<Condition> {
    let mut all = Conditions(Vec::new());
    if !selection.runs.is_empty() {
        let list = in_list(selection.runs.iter().map(|run| text(run)));
        let sql = ["(run.uuid IN ", &list, " OR CAST(run.id AS TEXT) IN ", &list, ")"].concat();
        all.push("run", &selection.runs, sql);
    }
    all.equal("campaign", "results.campaign_uuid", selection.campaign.as_deref());
    all.equal("label", "results.label", selection.label.as_deref());
    all.one_of("model", "results.model", &selection.models);
    all.equal("variant", "results.variant", selection.variant.as_deref());
    all.one_of("platform", "results.platform", &labels(&selection.platforms));
    if let Some(name) = &selection.device {
        let sql = ["instr(lower(results.device), lower(", &text(name), ")) > 0"].concat();
        all.push("device", std::slice::from_ref(name), sql);
    }
    all.one_of("engine", "results.engine", &selection.engines);
    all.one_of("precision", "results.precision", &labels(&selection.precisions));
    all.one_of("mode", "results.mode", &labels(&selection.modes));
    all.numbers("batch size", "results.batch_size", &selection.batch_sizes);
    all.one_of("status", "results.status", &labels(&selection.statuses));
    all.equal("host", "results.host", selection.host.as_deref());
    if let Some(commit) = &selection.git_commit {
        let commit_text = text(commit);
        let sql = ["substr(results.git_commit, 1, length(", &commit_text, ")) = ", &commit_text].concat();
        all.push("commit", std::slice::from_ref(commit), sql);
    }
    if let Some(time) = &selection.since {
        all.push("since", std::slice::from_ref(time), ["results.started_at >= ", &text(time)].concat());
    }
    if let Some(time) = &selection.until {
        all.push("until", std::slice::from_ref(time), ["results.started_at < ", &text(time)].concat());
    }
    if let Some(version) = &selection.framework {
        let within = |column: &str| ["instr(lower(results.", column, "), lower(", &text(version), ")) > 0"].concat();
        let sql = ["(", &within("framework_version"), " OR ", &within("engine_version"), ")"].concat();
        all.push("framework", std::slice::from_ref(version), sql);
    }
    for (name, value) in &selection.parameters {
        let path = text(&["$.\"", name, "\""].concat());
        let sql = ["(results.parameters ->> ", &path, ") IS ", &json(value)].concat();
        all.push("parameter", &[[name.as_str(), "=", &value.to_string()].concat()], sql);
    }
    all.numbers("import", "run.import_batch_id", &selection.imports);
    if let Some(name) = &selection.baseline {
        let sql = [
            "run.id IN (\n            SELECT baseline_run.run_id FROM baseline_run \
             JOIN baseline ON baseline.id = baseline_run.baseline_id\n            WHERE baseline.name = ",
            &text(name),
            ")",
        ];
        all.push("baseline", std::slice::from_ref(name), sql.concat());
    }
    all.numbers("configuration", "run.configuration_id", &selection.configurations);
    all.0
}

fn labels<T: ValueEnum>(list: &[T]) -> Vec<String> {
    list.iter().map(label).collect()
}

fn in_list(literals: impl Iterator<Item = String>) -> String {
    ["(", &literals.collect::<Vec<_>>().join(", "), ")"].concat()
}

/// Conditions as they are gathered.
struct Conditions(Vec<Condition>);

impl Conditions {
    fn push(&mut self, what: &str, values: &[String], sql: String) {
        let mut words = [what, " ", &values[..values.len().min(NAMED)].join(" or ")].concat();
        if values.len() > NAMED {
            words.push_str(&[" or ", &(values.len() - NAMED).to_string(), " others"].concat());
        }
        self.0.push(Condition { words, sql });
    }

    fn equal(&mut self, what: &str, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.push(what, &[value.to_owned()], [column, " = ", &text(value)].concat());
        }
    }

    fn one_of(&mut self, what: &str, column: &str, values: &[String]) {
        if !values.is_empty() {
            let sql = [column, " IN ", &in_list(values.iter().map(|value| text(value)))].concat();
            self.push(what, values, sql);
        }
    }

    fn numbers<N: ToString>(&mut self, what: &str, column: &str, values: &[N]) {
        if !values.is_empty() {
            let numbers: Vec<String> = values.iter().map(N::to_string).collect();
            let sql = [column, " IN ", &in_list(numbers.iter().cloned())].concat();
            self.push(what, &numbers, sql);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde_json::json;

    use super::super::list::Detail;
    use super::super::query::{QueryAnswer, QueryLimits};
    use super::super::samples::{broken, new_store, of_model, on_gpu, run, with};
    use super::super::{Store, StoreError};
    use super::*;
    use crate::domain::{Cell, Mode, Platform, Precision, RunStatus, SampleSeries, TelemetrySeries};

    fn filled() -> (tempfile::TempDir, Store) {
        let (folder, mut store) = new_store();
        let slow = with(run(1), &[("throughput_samples_per_second", 10.0)]);
        let mut odd = with(of_model(run(2), "it's \"odd\""), &[("throughput_samples_per_second", 20.0)]);
        odd.configuration.parameters.insert("memory_layout".into(), json!("nchw"));
        odd.configuration.parameters.insert("compiled".into(), json!(true));
        odd.environment.host = Some("other".into());
        odd.environment.framework_version = Some("PyTorch 2.4.0".into());
        odd.environment.git_commit = Some("abcdef0123".into());
        let mut large = on_gpu(with(run(3), &[("throughput_samples_per_second", 400.0)]));
        large.configuration.batch_size = 8;
        large.configuration.precision = Precision::Fp16;
        let failed = broken(on_gpu(run(4)), RunStatus::OutOfMemory);
        for record in [slow, odd, large, failed] {
            store.insert_run(&record).unwrap();
        }
        (folder, store)
    }

    fn ask(store: &mut Store, question: Question<'_>, selections: &[&Selection]) -> Result<QueryAnswer, StoreError> {
        let limits = QueryLimits { time: Duration::from_secs(20), rows: None };
        store.query(&statement(question, selections), &[], limits)
    }

    fn ids(store: &mut Store, selections: &[&Selection]) -> Vec<i64> {
        let table = ask(store, Question::JudgedRuns, selections).unwrap().table;
        let column = table.columns.iter().position(|name| name == "run_id").unwrap();
        let mut ids: Vec<i64> = table
            .rows
            .iter()
            .map(|row| match row[column] {
                Cell::Integer(id) => id,
                _ => panic!("no id"),
            })
            .collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn the_statement_means_what_the_selection_means() {
        let (_folder, mut store) = filled();
        let uuid = store.list_runs(&Selection::default(), Detail::Row).unwrap()[0].1.uuid.clone();
        let everything = Selection::default();
        let all = [
            everything.clone(),
            Selection { runs: vec![uuid, "3".into()], ..everything.clone() },
            Selection { models: vec!["it's \"odd\"".into(), "nobody".into()], ..everything.clone() },
            Selection { platforms: vec![Platform::Cuda], ..everything.clone() },
            Selection { device: Some("GRAPH".into()), ..everything.clone() },
            Selection { engines: vec!["burn-cuda".into()], ..everything.clone() },
            Selection { precisions: vec![Precision::Fp16], ..everything.clone() },
            Selection { modes: vec![Mode::Inference], ..everything.clone() },
            Selection { modes: vec![Mode::Training], ..everything.clone() },
            Selection { batch_sizes: vec![8, 9], ..everything.clone() },
            Selection { statuses: vec![RunStatus::OutOfMemory], ..everything.clone() },
            Selection { host: Some("other".into()), ..everything.clone() },
            Selection { git_commit: Some("abc".into()), ..everything.clone() },
            Selection { framework: Some("pytorch 2.4".into()), ..everything.clone() },
            Selection { since: Some("2026-01-01T00:00:00.000Z".into()), ..everything.clone() },
            Selection { until: Some("2000-01-01T00:00:00.000Z".into()), ..everything.clone() },
            Selection { variant: Some(String::new()), ..everything.clone() },
            Selection { label: Some("nothing".into()), ..everything.clone() },
            Selection { campaign: Some("nothing".into()), ..everything.clone() },
            Selection { imports: vec![1], ..everything.clone() },
            Selection { baseline: Some("main".into()), ..everything.clone() },
            Selection { configurations: vec![1, 2], ..everything.clone() },
        ];
        let parameters = [
            json!({"memory_layout": "nchw"}),
            json!({"compiled": true}),
            json!({"compiled": null}),
            json!({"memory_layout": "nchw", "compiled": false}),
        ];
        let with_parameters = parameters.into_iter().map(|value| Selection {
            parameters: serde_json::from_value::<BTreeMap<String, Value>>(value).unwrap(),
            ..Selection::default()
        });
        let mut counts = Vec::new();
        for selection in all.into_iter().chain(with_parameters) {
            let listed = store.list_runs(&selection, Detail::Row).unwrap();
            let expected: Vec<i64> = listed.into_iter().map(|(id, _)| id).collect();
            assert_eq!(ids(&mut store, &[&selection]), expected, "{selection:?}");
            counts.push(expected.len());
        }
        // They do not all mean the same.
        assert!(counts.contains(&0) && counts.contains(&1) && counts.contains(&2) && counts.contains(&4), "{counts:?}");
    }

    #[test]
    fn several_selections_mean_the_runs_of_any() {
        let (_folder, mut store) = filled();
        let model = Selection { models: vec!["it's \"odd\"".into()], ..Selection::default() };
        let failed = Selection { statuses: vec![RunStatus::OutOfMemory], ..Selection::default() };
        assert_eq!(ids(&mut store, &[&model, &failed]), [2, 4]);
        assert_eq!(ids(&mut store, &[&model, &Selection::default()]).len(), 4);
    }

    #[test]
    fn every_question_is_answered() {
        let (_folder, mut store) = filled();
        let pairs = [(Part::Platform, "CPU".to_owned()), (Part::Device, "a".to_owned())];
        let narrow = Selection { batch_sizes: vec![1, 8], ..Selection::default() };
        for question in [
            Question::Summary,
            Question::Outcomes,
            Question::Models,
            Question::Devices,
            Question::Environments,
            Question::Imports,
            Question::LeftOut,
            Question::Comparison(&pairs),
            Question::Scaling,
            Question::Training,
            Question::Rankings { include_software: false },
            Question::Rankings { include_software: true },
            Question::Recommendations { include_software: false },
            Question::Recommendations { include_software: true },
            Question::JudgedRuns,
            Question::Explanations,
            Question::Charted(&["latency_p50_ms", "iterations"]),
            Question::History(&["memory_host_peak_mb"]),
        ] {
            for selection in [&Selection::default(), &narrow] {
                if let Err(error) = ask(&mut store, question, &[selection]) {
                    panic!("{question:?}: {error}\n{}", statement(question, &[selection]));
                }
            }
        }
    }

    #[test]
    fn charts_are_asked_again_about_their_configurations_and_runs() {
        let (_folder, mut store) = filled();
        let mut watched = run(9);
        watched.measurement.samples =
            vec![SampleSeries { phase: "iteration".into(), nanoseconds: vec![2_000_000, 3_000_000] }];
        watched.measurement.telemetry = vec![TelemetrySeries {
            sensor: "power".into(),
            unit: "W".into(),
            offsets_ms: vec![0.0, 10.0, 20.0],
            values: vec![30.0, 31.0, 32.0],
        }];
        store.insert_run(&watched).unwrap();
        let all = Selection::default();
        let watched = 5;
        let columns = || vec!["latency_p50_ms", "throughput_samples_per_second"];
        let first = Selection { runs: vec!["1".into()], ..Selection::default() };
        for (behind, selection, rows, gives) in [
            (Behind::Configurations { ids: vec![1, 2], columns: columns() }, &all, 3, Gives::Runs),
            (Behind::Configurations { ids: vec![1, 2], columns: columns() }, &first, 1, Gives::Runs),
            (Behind::History { configuration: 1, columns: columns() }, &all, 2, Gives::Numbers),
            (Behind::Samples(watched), &all, 2, Gives::Numbers),
            (Behind::Telemetry(watched), &all, 3, Gives::Numbers),
            (Behind::Telemetry(1), &all, 0, Gives::Numbers),
        ] {
            let asked = statement_of_chart(&behind, selection);
            let limits = QueryLimits { time: Duration::from_secs(20), rows: None };
            let found = store.query(&asked.sql, &[], limits).unwrap_or_else(|error| panic!("{error}\n{}", asked.sql));
            assert_eq!((found.table.rows.len(), asked.gives), (rows, gives), "{behind:?}\n{}", asked.sql);
        }
    }

    #[test]
    fn a_selection_can_be_said_in_words() {
        let selection = Selection {
            models: vec!["resnet18".into(), "vit".into()],
            batch_sizes: (1..=8).collect(),
            ..Selection::default()
        };
        assert_eq!(in_words(&selection), "model resnet18 or vit, batch size 1 or 2 or 3 or 4 or 5 or 6 or 2 others");
        assert_eq!(in_words(&Selection::default()), "");
    }
}
