//! What `benchdb run` prints: the plan before, the results after, a run in a few words.

use crate::domain::{Cell, Measurement, PlannedRun, RunRecord, RunStatus, Table};
use crate::engine::plan::Plan;
use crate::report::significant;
use crate::stats::smallest_sample_for_quantile;

/// A run in a few words: `resnet18 on vulkan by burn-wgpu, fp32, inference, batch 8`.
pub(super) fn describe(plan: &PlannedRun) -> String {
    let configuration = &plan.configuration;
    let repetition = if plan.repetition > 1 { format!(", repetition {}", plan.repetition) } else { String::new() };
    format!(
        "{} on {} by {}, {}, {}, batch {}{repetition}",
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
pub(super) fn plan_tables(plan: &Plan) -> Vec<Table> {
    let columns = ["run", "model", "platform", "device", "engine", "precision", "mode", "batch_size", "threads"];
    let mut runs = Table::new("Plan", &columns);
    for planned in &plan.runs {
        let configuration = &planned.configuration;
        runs.push([
            (u64::from(planned.position) + 1).into(),
            configuration.model.clone().into(),
            configuration.platform.to_string().into(),
            configuration.device.name.clone().into(),
            configuration.engine.clone().into(),
            configuration.precision.to_string().into(),
            configuration.mode.to_string().into(),
            configuration.batch_size.into(),
            configuration.threads.into(),
        ]);
    }
    let mut left_out = Table::new("Left out", &["what", "reason", "way_out"]);
    let reasons = plan.left_out.iter().map(|left_out| (left_out.what.clone(), &left_out.reason));
    let unsupported = plan.unsupported.iter().map(|(planned, reason)| (describe(planned), reason));
    for (what, reason) in reasons.chain(unsupported) {
        left_out.push([what.into(), reason.to_string().into(), reason.hint().into()]);
    }
    if left_out.rows.is_empty() { vec![runs] } else { vec![runs, left_out] }
}

/// The metrics of the table that ends a campaign, with the short names that people read.
const SHOWN: [(&str, &str); 10] = [
    ("latency_p50_ms", "p50 ms"),
    ("latency_p95_ms", "p95 ms"),
    ("latency_p99_ms", "p99 ms"),
    ("throughput_samples_per_second", "samples/s"),
    ("forward_ms", "forward ms"),
    ("loss_ms", "loss ms"),
    ("backward_ms", "backward ms"),
    ("optimizer_step_ms", "optimizer ms"),
    ("first_inference_ms", "first ms"),
    ("memory_host_peak_mb", "peak MB"),
];

/// One row a run, with the metrics that any of them has. For people the names are short, and a percentile that its
/// samples cannot support carries a `~`.
pub(super) fn result_table(runs: &[(i64, RunRecord)], people: bool) -> Table {
    let measured = |name: &str| runs.iter().any(|(_, run)| run.measurement.metrics.get(name).is_some());
    let shown: Vec<(&str, &str)> = SHOWN.into_iter().filter(|(name, _)| measured(name)).collect();
    let identity = [
        ("run_id", "run"),
        ("model", "model"),
        ("platform", "platform"),
        ("engine", "engine"),
        ("precision", "precision"),
        ("mode", "mode"),
        ("batch_size", "batch"),
    ];
    let ending = [("iterations", "samples"), ("status", "status"), ("validity", "validity")];
    let columns: Vec<&str> = identity
        .into_iter()
        .chain(shown.iter().copied())
        .chain(ending)
        .map(|(name, short)| if people { short } else { name })
        .collect();
    let mut table = Table::new("", &columns);
    for (id, run) in runs {
        let configuration = &run.configuration;
        let platform = if people && configuration.device.software {
            format!("{} (software)", configuration.platform)
        } else {
            configuration.platform.to_string()
        };
        let mut row: Vec<Cell> = vec![
            (*id).into(),
            configuration.model.clone().into(),
            platform.into(),
            configuration.engine.clone().into(),
            configuration.precision.to_string().into(),
            configuration.mode.to_string().into(),
            configuration.batch_size.into(),
        ];
        row.extend(shown.iter().map(|(name, _)| metric_cell(name, run, people)));
        row.push(run.measurement.iterations.into());
        row.push(run.measurement.status.to_string().into());
        row.push(run.measurement.validity.to_string().into());
        table.push(row);
    }
    table
}

fn metric_cell(name: &str, run: &RunRecord, people: bool) -> Cell {
    let Some(value) = run.measurement.metrics.get(name) else {
        return Cell::Null;
    };
    let needed = match name {
        "latency_p90_ms" => smallest_sample_for_quantile(0.9, 0.95),
        "latency_p95_ms" => smallest_sample_for_quantile(0.95, 0.95),
        "latency_p99_ms" => smallest_sample_for_quantile(0.99, 0.95),
        "latency_p999_ms" => smallest_sample_for_quantile(0.999, 0.95),
        _ => 0,
    };
    if people && run.measurement.iterations < needed {
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
