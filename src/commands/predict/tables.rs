//! Forecasts, scores and suggestions as tables.

use crate::domain::{Cell, DeviceKind, Forecast, Prediction, Subject, Table};
use crate::predict::evaluate::Score;
use crate::predict::{Memory, MemoryScore};
use crate::report::significant;

/// What tells one question from another.
const IDENTITY: [&str; 9] =
    ["model", "input_shape", "platform", "device", "engine", "precision", "mode", "batch_size", "parameters"];

fn identity(subject: &Subject) -> Vec<Cell> {
    let parameters = if subject.parameters.is_empty() {
        String::new()
    } else {
        serde_json::to_string(&subject.parameters).unwrap_or_default()
    };
    vec![
        subject.model.clone().into(),
        subject.input_shape.clone().into(),
        subject.platform.to_string().into(),
        subject.device.name.clone().into(),
        subject.engine.clone().into(),
        subject.precision.to_string().into(),
        subject.mode.to_string().into(),
        subject.batch_size.into(),
        parameters.into(),
    ]
}

/// Whether a forecast fits into the device's memory: no interval's end decides alone.
fn fits(forecast: &Forecast) -> Cell {
    let device = &forecast.subject.device;
    let need = if device.kind == DeviceKind::Cpu { forecast.host_memory_mb } else { forecast.device_memory_mb };
    let (Some(need), Some(room)) = (need, device.memory_bytes) else { return Cell::Null };
    let room = room as f64 / 1e6;
    if need.ninety.1 <= room {
        "yes"
    } else if need.ninety.0 > room {
        "no"
    } else {
        "perhaps not"
    }
    .into()
}

/// A forecast number: its name, its short name, where it stands.
type Number = (&'static str, &'static str, fn(&Forecast) -> Option<Prediction>);

/// Forecasts: short for people, whole for programs.
pub fn forecasts(forecasts: &[Forecast], people: bool) -> Table {
    let numbers: [Number; 4] = [
        ("throughput_samples_per_second", "samples/s", |forecast| Some(forecast.throughput)),
        ("latency_ms", "ms", |forecast| Some(forecast.latency_ms)),
        ("memory_host_peak_mb", "host MB", |forecast| forecast.host_memory_mb),
        ("memory_device_peak_mb", "device MB", |forecast| forecast.device_memory_mb),
    ];
    let mut columns: Vec<String> = IDENTITY.map(str::to_owned).to_vec();
    columns.push("tier".to_owned());
    for (long, short, _) in &numbers {
        if people {
            columns.extend([(*short).to_owned(), [short, " 50 %"].concat(), [short, " 90 %"].concat()]);
        } else {
            columns.push((*long).to_owned());
            columns.extend(["low_50", "high_50", "low_90", "high_90"].map(|end| [long, "_", end].concat()));
        }
    }
    columns.extend(["fits", "outside", "model_used", "learned_from"].map(str::to_owned));
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("Forecasts", &names);
    for forecast in forecasts {
        let mut row = identity(&forecast.subject);
        row.push(forecast.tier.to_string().into());
        for (.., number) in &numbers {
            let number = number(forecast);
            if people {
                let range = |(low, high): (f64, f64)| [significant(low), significant(high)].join(" .. ");
                row.push(number.map(|number| significant(number.median)).into());
                row.push(number.map(|number| range(number.half)).into());
                row.push(number.map(|number| range(number.ninety)).into());
            } else {
                row.push(number.map(|number| number.median).into());
                for end in [
                    number.map(|number| number.half.0),
                    number.map(|number| number.half.1),
                    number.map(|number| number.ninety.0),
                    number.map(|number| number.ninety.1),
                ] {
                    row.push(end.into());
                }
            }
        }
        row.push(fits(forecast));
        row.push(forecast.outside.join("; ").into());
        row.push(forecast.model_name.clone().into());
        row.push(forecast.learned_from.clone().into());
        table.push(row);
    }
    if people {
        // Half of the cases say little beside nine tenths of them where room is short; programs get both.
        table.drop_columns(&["outside", "model_used", "learned_from", "ms 50 %", "host MB 50 %", "device MB 50 %"]);
        table.fold_shared(&IDENTITY);
        table.drop_empty(&["host MB", "host MB 90 %", "device MB", "device MB 90 %", "fits"]);
    }
    table
}

/// Questions without an answer.
pub fn refused(refusals: &[(String, String)]) -> Table {
    let mut table = Table::new("Refused", &["question", "reason"]);
    for (question, reason) in refusals {
        table.push([question.clone().into(), reason.clone().into()]);
    }
    table
}

/// Scores of a cross-validation.
pub fn scores(scores: &[Score], people: bool) -> Table {
    let mut table = Table::new(
        "Evaluation",
        &[
            "protocol",
            "answerer",
            "rows",
            "median_error_percent",
            "within_20_percent",
            "coverage_50",
            "coverage_90",
            "worst_device_coverage_90",
            "regret_percent",
        ],
    );
    for score in scores {
        let number = |value: Option<f64>| {
            if people { Cell::from(value.map(|value| format!("{value:.1}"))) } else { Cell::from(value) }
        };
        let percent = |share: Option<f64>| number(share.map(|share| 100.0 * share));
        table.push([
            score.protocol.name().into(),
            score.answerer.name().into(),
            (score.rows as u64).into(),
            number(Some(score.median_error_percent)),
            percent(Some(score.within_20_percent)),
            percent(score.coverage_50),
            percent(score.coverage_90),
            percent(score.worst_device_coverage_90),
            number(score.regret_percent),
        ]);
    }
    if people {
        for (long, short) in [
            ("median_error_percent", "median error %"),
            ("within_20_percent", "within 20 %"),
            ("coverage_50", "in 50 % interval"),
            ("coverage_90", "in 90 % interval"),
            ("worst_device_coverage_90", "worst device"),
            ("regret_percent", "regret %"),
        ] {
            table.rename_column(long, short);
        }
    }
    table
}

/// Scores of forecasts of memory, for models that are hidden.
pub fn memory_scores(scores: &[MemoryScore], people: bool) -> Table {
    let mut table = Table::new(
        "Memory of models that are hidden",
        &["memory", "rows", "median_error_percent", "arithmetic_error_percent", "coverage_50", "coverage_90"],
    );
    for score in scores {
        let number = |value: f64| if people { Cell::from(format!("{value:.1}")) } else { Cell::from(value) };
        let memory = match score.memory {
            Memory::Host => "host",
            Memory::Device => "device",
        };
        table.push([
            memory.into(),
            (score.rows as u64).into(),
            number(score.median_error_percent),
            number(score.arithmetic_error_percent),
            number(100.0 * score.coverage_50),
            number(100.0 * score.coverage_90),
        ]);
    }
    if people {
        for (long, short) in [
            ("median_error_percent", "median error %"),
            ("arithmetic_error_percent", "arithmetic alone %"),
            ("coverage_50", "in 50 % interval"),
            ("coverage_90", "in 90 % interval"),
        ] {
            table.rename_column(long, short);
        }
    }
    table
}

/// What to measure next, with the share of the variance of all forecasts that is left then.
pub fn anchors(chosen: &[(Subject, f64)], people: bool) -> Table {
    let mut columns = IDENTITY.to_vec();
    columns.push("variance_left");
    let mut table = Table::new("Measure next", &columns);
    for (subject, left) in chosen {
        let mut row = identity(subject);
        row.push(if people { format!("{:.0} %", 100.0 * left).into() } else { Cell::from(*left) });
        table.push(row);
    }
    if people {
        table.fold_shared(&IDENTITY);
    }
    table
}
