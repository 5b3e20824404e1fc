//! What `benchdb run` prints: the plan before, the results after, a run in a few words.

use crate::analysis::metrics::iterations_needed;
use crate::domain::{Cell, Measurement, PlannedRun, RunRecord, RunStatus, Table, Validity};
use crate::engine::plan::Plan;
use crate::report::significant;

/// A run in a few words: `resnet18 on vulkan by burn-wgpu, fp32, inference, batch 8`.
pub(super) fn describe(plan: &PlannedRun) -> String {
    let configuration = &plan.configuration;
    let repetition = if plan.repetition > 1 { format!(", repetition {}", plan.repetition) } else { String::new() };
    if plan.command.is_some() {
        return format!("{}{repetition}", configuration.model);
    }
    let variant = match configuration.variant.as_str() {
        "" => String::new(),
        variant => format!(" ({variant})"),
    };
    let method = match configuration.method() {
        "" => String::new(),
        method => format!(" by {method}"),
    };
    format!(
        "{}{variant} on {} by {}, {}, {}{method}, batch {}{repetition}",
        configuration.model,
        configuration.platform,
        configuration.engine,
        configuration.precision,
        configuration.mode,
        configuration.batch_size
    )
}

/// How a run ended, in a few words: `45.2 ms`, `failed: ...`.
pub(super) fn outcome(measurement: &Measurement) -> String {
    match (measurement.status, measurement.metrics.get("latency_p50_ms")) {
        (RunStatus::Ok, Some(median)) => format!("{} ms", significant(median)),
        (RunStatus::Ok, None) => match measurement.metrics.get("throughput_samples_per_second") {
            Some(rate) => format!("{} samples/s", significant(rate)),
            None => "ok".to_owned(),
        },
        (status, _) => format!("{status}: {}", measurement.error.as_deref().unwrap_or("no reason was given")),
    }
}

/// The runs of a plan, and what is left out of it.
pub(super) fn plan_tables(plan: &Plan, people: bool) -> Vec<Table> {
    let columns = [
        "run",
        "model",
        "variant",
        "platform",
        "device",
        "engine",
        "precision",
        "mode",
        "batch_size",
        "threads",
        "parameters",
    ];
    let mut runs = Table::new("Plan", &columns);
    for planned in &plan.runs {
        let configuration = &planned.configuration;
        runs.push([
            (u64::from(planned.position) + 1).into(),
            configuration.model.clone().into(),
            configuration.variant.clone().into(),
            configuration.platform.to_string().into(),
            configuration.device.name.clone().into(),
            configuration.engine.clone().into(),
            configuration.precision.to_string().into(),
            configuration.mode.to_string().into(),
            configuration.batch_size.into(),
            configuration.threads.into(),
            configuration.parameters_json().into(),
        ]);
    }
    if people {
        runs.drop_empty(&["variant", "parameters"]);
    }
    let mut left_out = Table::new("Left out", &["what", "reason", "way_out"]);
    let reasons = plan.left_out.iter().map(|left_out| (left_out.what.clone(), &left_out.reason));
    let unsupported = plan.unsupported.iter().map(|(planned, reason)| (describe(planned), reason));
    for (what, reason) in reasons.chain(unsupported) {
        left_out.push([what.into(), reason.to_string().into(), reason.hint().into()]);
    }
    if people && left_out.rows.is_empty() { vec![runs] } else { vec![runs, left_out] }
}

/// The metrics of the table that ends a campaign, with the short names that people read.
const SHOWN: [(&str, &str); 17] = [
    ("latency_p50_ms", "p50 ms"),
    ("latency_p95_ms", "p95 ms"),
    ("latency_p99_ms", "p99 ms"),
    ("throughput_samples_per_second", "samples/s"),
    ("time_to_first_token_ms", "first token ms"),
    ("time_per_output_token_ms", "token ms"),
    ("throughput_tokens_per_second", "tokens/s"),
    ("forward_ms", "forward ms"),
    ("loss_ms", "loss ms"),
    ("backward_ms", "backward ms"),
    ("optimizer_step_ms", "optimizer ms"),
    ("first_inference_ms", "first ms"),
    ("memory_host_peak_mb", "peak MB"),
    ("accuracy_top1", "top-1"),
    ("accuracy_top5", "top-5"),
    ("fidelity_cosine", "cosine"),
    ("fidelity_relative_error", "rel. error"),
];

/// One row a run, with the metrics that any of them has. For people the names are short, what all runs share stands in
/// the title, and a percentile that its samples cannot support carries a `~`.
pub(in crate::commands) fn result_table(runs: &[(i64, RunRecord)], people: bool) -> Table {
    let mut columns: Vec<Column> = vec![
        Column::new("run_id", "run", |id, _| id.into()),
        Column::new("model", "model", |_, run| run.configuration.model.clone().into()),
        Column::new("variant", "variant", |_, run| run.configuration.variant.clone().into()),
        Column::shared("platform", |_, run| run.configuration.platform.to_string().into()),
        Column::shared("engine", |_, run| run.configuration.engine.clone().into()),
        Column::shared("precision", |_, run| run.configuration.precision.to_string().into()),
        Column::shared("mode", |_, run| run.configuration.mode.to_string().into()),
        Column::new("batch_size", "batch", |_, run| run.configuration.batch_size.into()),
    ];
    if people && runs.iter().any(|(_, run)| run.configuration.device.software) {
        columns[3].cell = |_, run| {
            let mark = if run.configuration.device.software { " (software)" } else { "" };
            format!("{}{mark}", run.configuration.platform).into()
        };
    }
    let mut title = Vec::new();
    if people && runs.iter().all(|(_, run)| run.configuration.variant.is_empty()) {
        columns.retain(|column| column.name != "variant");
    }
    if people {
        columns.retain(|column| match column.common_value(runs) {
            Some(value) if column.may_be_shared => {
                title.push(value);
                false
            }
            _ => true,
        });
    }
    let measured = |name: &str| runs.iter().any(|(_, run)| run.measurement.metrics.get(name).is_some());
    let metrics: Vec<(&str, &str)> = SHOWN.into_iter().filter(|(name, _)| measured(name)).collect();
    let ending = if people { vec!["samples", "status"] } else { vec!["iterations", "status", "validity", "error"] };
    let mut names: Vec<&str> = columns.iter().map(|column| if people { column.short } else { column.name }).collect();
    names.extend(metrics.iter().map(|(name, short)| if people { short } else { name }));
    names.extend(ending);
    let mut table = Table::new(&title.join(", "), &names);
    for (id, run) in runs {
        let mut row: Vec<Cell> = columns.iter().map(|column| (column.cell)(*id, run)).collect();
        row.extend(metrics.iter().map(|(name, _)| metric_cell(name, run, people)));
        row.push(run.measurement.iterations.into());
        row.extend(ending_cells(run, people));
        table.push(row);
    }
    table
}

/// Status and validity; in one cell for people.
fn ending_cells(run: &RunRecord, people: bool) -> Vec<Cell> {
    let (status, validity) = (run.measurement.status, run.measurement.validity);
    if !people {
        return vec![status.to_string().into(), validity.to_string().into(), run.measurement.error.clone().into()];
    }
    let plain = status != RunStatus::Ok || validity == Validity::Valid;
    vec![if plain { status.to_string() } else { format!("{status}, {validity}") }.into()]
}

/// A column that tells which run a row is.
struct Column {
    name: &'static str,
    short: &'static str,
    may_be_shared: bool,
    cell: fn(i64, &RunRecord) -> Cell,
}

impl Column {
    fn new(name: &'static str, short: &'static str, cell: fn(i64, &RunRecord) -> Cell) -> Self {
        Self { name, short, may_be_shared: false, cell }
    }

    fn shared(name: &'static str, cell: fn(i64, &RunRecord) -> Cell) -> Self {
        Self { name, short: name, may_be_shared: true, cell }
    }

    /// The text that all rows would have here.
    fn common_value(&self, runs: &[(i64, RunRecord)]) -> Option<String> {
        let (id, first) = runs.first()?;
        let value = (self.cell)(*id, first);
        let same = runs.iter().all(|(id, run)| (self.cell)(*id, run) == value);
        match value {
            Cell::Text(text) if same => Some(text),
            _ => None,
        }
    }
}

fn metric_cell(name: &str, run: &RunRecord, people: bool) -> Cell {
    let Some(value) = run.measurement.metrics.get(name) else {
        return Cell::Null;
    };
    if people && run.measurement.iterations < iterations_needed(name) {
        return Cell::Text(format!("~{}", significant(value)));
    }
    Cell::Real(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::find_metric;

    #[test]
    fn every_metric_that_is_shown_is_a_standard_one() {
        assert!(SHOWN.iter().all(|(name, _)| find_metric(name).is_some()));
    }
}
