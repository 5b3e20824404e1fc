//! What explanations cost, as tables: every run, the methods in order, what the features of an ablation bring.

use crate::analysis::explanations::{Effect, MethodCost, ablation, efficiency, extra, peak_memory, per_explanation};
use crate::domain::explanation::{
    BACKWARD_PASSES, COMPLETE, COST_IN_INFERENCES, FORWARD_PASSES, MEMORY_PER_EXPLANATION,
};
use crate::domain::{Cell, Configuration, Mode, RunRecord, RunStatus, Table};

/// What rows share stands in the title for people.
const PLACE: [&str; 7] = ["model", "platform", "device", "engine", "precision", "batch_size", "variant"];

/// The times of one explanation, by the metric of a whole batch.
const TIMES: [(&str, &str, &str); 8] = [
    ("latency_mean_ms", "time_per_explanation_mean_ms", "mean ms"),
    ("latency_min_ms", "time_per_explanation_min_ms", "min ms"),
    ("latency_p50_ms", "time_per_explanation_p50_ms", "p50 ms"),
    ("latency_p90_ms", "time_per_explanation_p90_ms", "p90 ms"),
    ("latency_p95_ms", "time_per_explanation_p95_ms", "p95 ms"),
    ("latency_p99_ms", "time_per_explanation_p99_ms", "p99 ms"),
    ("latency_p999_ms", "time_per_explanation_p999_ms", "p999 ms"),
    ("latency_max_ms", "time_per_explanation_max_ms", "max ms"),
];

/// The tables of a campaign of explanations. Its other runs are passed over.
pub(in crate::commands) fn cost_tables(runs: &[RunRecord], people: bool) -> Vec<Table> {
    let runs: Vec<RunRecord> = runs.iter().filter(|run| run.configuration.mode == Mode::Explanation).cloned().collect();
    let mut tables = vec![cost_table(&runs, people)];
    let mut groups = efficiency(&runs);
    let of_ablation = |configuration: &Configuration| {
        let complete = |other: &RunRecord| other.configuration.variant.ends_with(COMPLETE);
        !configuration.variant.ends_with(COMPLETE) && runs.iter().any(complete)
    };
    groups.retain(|group| group.len() > 1 && !of_ablation(&group[0].run.configuration));
    if !groups.is_empty() {
        tables.push(ranking(&groups, people));
    }
    let effects = ablation(&runs);
    if !effects.is_empty() {
        tables.push(ablation_table(&effects, people));
    }
    tables
}

fn place(configuration: &Configuration) -> [Cell; 7] {
    [
        configuration.model.clone().into(),
        configuration.platform.to_string().into(),
        configuration.device.name.clone().into(),
        configuration.engine.clone().into(),
        configuration.precision.to_string().into(),
        configuration.batch_size.into(),
        configuration.variant.clone().into(),
    ]
}

/// Every run with what it cost.
fn cost_table(runs: &[RunRecord], people: bool) -> Table {
    let mut names: Vec<&str> = PLACE.to_vec();
    names.push("method");
    names.extend(TIMES.map(|(_, name, _)| name));
    names.extend([
        "explanations_per_second",
        "success_rate",
        "peak_memory_mb",
        MEMORY_PER_EXPLANATION,
        FORWARD_PASSES,
        BACKWARD_PASSES,
        COST_IN_INFERENCES,
        "parameters",
        "iterations",
        "status",
        "error",
    ]);
    let mut table = Table::new("Explanations", &names);
    for run in runs {
        let measurement = &run.measurement;
        let mut row: Vec<Cell> = place(&run.configuration).into();
        row.push(run.configuration.method().to_owned().into());
        row.extend(TIMES.map(|(metric, ..)| per_explanation(run, metric).into()));
        row.extend([
            measurement.metrics.get("throughput_samples_per_second").into(),
            measurement.metrics.get("success_rate").into(),
            peak_memory(run).into(),
            extra(run, MEMORY_PER_EXPLANATION).into(),
            extra(run, FORWARD_PASSES).into(),
            extra(run, BACKWARD_PASSES).into(),
            extra(run, COST_IN_INFERENCES).into(),
            run.configuration.parameters_json().into(),
            measurement.iterations.into(),
            measurement.status.to_string().into(),
            measurement.error.clone().into(),
        ]);
        table.push(row);
    }
    if people {
        table.fold_shared(&PLACE);
        table.drop_empty(&["variant", "error"]);
        table.drop_columns(&[
            "parameters",
            "time_per_explanation_mean_ms",
            "time_per_explanation_p90_ms",
            "time_per_explanation_p999_ms",
        ]);
        if runs.iter().all(|run| {
            run.measurement.status != RunStatus::Ok || run.measurement.metrics.get("success_rate") == Some(1.0)
        }) {
            table.drop_columns(&["success_rate"]);
        }
        for (_, name, short) in TIMES {
            table.rename_column(name, short);
        }
        for (name, short) in [
            ("batch_size", "batch"),
            ("explanations_per_second", "per second"),
            ("success_rate", "success"),
            ("peak_memory_mb", "peak MB"),
            (MEMORY_PER_EXPLANATION, "MB each"),
            (FORWARD_PASSES, "forward"),
            (BACKWARD_PASSES, "backward"),
            (COST_IN_INFERENCES, "x inference"),
            ("iterations", "samples"),
        ] {
            table.rename_column(name, short);
        }
    }
    table
}

/// The methods of every group, the fastest first.
fn ranking(groups: &[Vec<MethodCost<'_>>], people: bool) -> Table {
    let mut names: Vec<&str> = PLACE.to_vec();
    names.extend([
        "rank",
        "method",
        "explanations_per_second",
        "times_the_fastest",
        COST_IN_INFERENCES,
        MEMORY_PER_EXPLANATION,
        "memory_rank",
        "passes_rank",
    ]);
    let mut table = Table::new("Efficiency", &names);
    let rank = |rank: Option<usize>| -> Cell { rank.map(|rank| rank as u64).into() };
    for cost in groups.iter().flatten() {
        let mut row: Vec<Cell> = place(&cost.run.configuration).into();
        row.extend([
            rank(Some(cost.speed_rank)),
            cost.run.configuration.method().to_owned().into(),
            cost.per_second.into(),
            cost.times_fastest.into(),
            cost.inferences.into(),
            cost.memory_mb.into(),
            rank(cost.memory_rank),
            rank(cost.passes_rank),
        ]);
        table.push(row);
    }
    if people {
        table.fold_shared(&PLACE);
        table.drop_empty(&["variant"]);
        for (name, short) in [
            ("batch_size", "batch"),
            ("explanations_per_second", "per second"),
            ("times_the_fastest", "x fastest"),
            (COST_IN_INFERENCES, "x inference"),
            (MEMORY_PER_EXPLANATION, "MB each"),
            ("memory_rank", "by memory"),
            ("passes_rank", "by passes"),
        ] {
            table.rename_column(name, short);
        }
    }
    table
}

/// What each feature brings beside the complete version.
fn ablation_table(effects: &[Effect<'_>], people: bool) -> Table {
    let mut names: Vec<&str> = PLACE.to_vec();
    names.extend([
        "method",
        "time_per_explanation_p50_ms",
        "speed_up",
        "smallest_speed_up",
        "largest_speed_up",
        "more_memory_mb",
    ]);
    let mut table = Table::new("Ablation", &names);
    for effect in effects {
        let mut row: Vec<Cell> = place(&effect.run.configuration).into();
        row.extend([
            effect.run.configuration.method().to_owned().into(),
            effect.ms.into(),
            effect.speed_up.into(),
            effect.range.map(|(least, _)| least).into(),
            effect.range.map(|(_, most)| most).into(),
            effect.memory_mb.into(),
        ]);
        table.push(row);
    }
    if people {
        table.fold_shared(&PLACE[..6]);
        table.drop_empty(&["smallest_speed_up", "largest_speed_up"]);
        for (name, short) in [
            ("batch_size", "batch"),
            ("time_per_explanation_p50_ms", "p50 ms"),
            ("speed_up", "speed-up"),
            ("smallest_speed_up", "least"),
            ("largest_speed_up", "most"),
            ("more_memory_mb", "peak MB more"),
        ] {
            table.rename_column(name, short);
        }
    }
    table
}
