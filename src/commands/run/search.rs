//! `run --memory-constrained`: the largest batch that fits, and the fastest, found by measuring.

use super::session::Session;
use super::tables::describe;
use crate::commands::{ExitStatus, OutputArgs};
use crate::domain::metric::PEAK_MEMORY;
use crate::domain::{PlannedRun, RunRecord, RunStatus, Table};
use crate::engine::plan::Plan;
use crate::report::significant;

/// A limit in megabytes.
pub(super) fn megabytes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("it is a number of megabytes above 0".to_owned()),
    }
}

/// How a search ends that found a run without an answer.
const BROKE: &str = "a run broke, or its memory is not known";

/// What a measurement says of the limit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fit {
    /// It stays below, at this throughput.
    Yes { memory_mb: f64, throughput: f64 },
    /// It needs more, or there was no more.
    No,
    /// It broke for another reason, or nobody knows what it needs.
    Unknown,
}

fn fit(record: &RunRecord, limit: f64) -> Fit {
    let metrics = &record.measurement.metrics;
    match record.measurement.status {
        RunStatus::OutOfMemory => Fit::No,
        RunStatus::Ok => {
            let memory = PEAK_MEMORY.iter().find_map(|name| metrics.get(name));
            match (memory, metrics.get("throughput_samples_per_second")) {
                (Some(memory), _) if memory > limit => Fit::No,
                (Some(memory_mb), Some(throughput)) => Fit::Yes { memory_mb, throughput },
                _ => Fit::Unknown,
            }
        }
        _ => Fit::Unknown,
    }
}

/// What was found for one precision on one device.
struct Found {
    what: PlannedRun,
    tried: usize,
    largest: Option<(u32, f64)>,
    fastest: Option<(u32, f64)>,
    ended: &'static str,
}

/// Searches for every run of the plan, each of which stands for a model, device, engine and precision.
pub(super) fn search(
    mut session: Session<'_>,
    plan: &Plan,
    limit: f64,
    most: u32,
    output: &OutputArgs,
) -> anyhow::Result<ExitStatus> {
    // The outcomes that are unsupported belong to the campaign; its runs come one by one.
    session.insert_unsupported(plan)?;
    let mut position = 0;
    let mut found = Vec::new();
    let mut starts: Vec<&PlannedRun> = Vec::new();
    for planned in &plan.runs {
        let same = |other: &&PlannedRun| {
            let mut configuration = other.configuration.clone();
            configuration.batch_size = planned.configuration.batch_size;
            configuration == planned.configuration
        };
        if !starts.iter().any(same) {
            starts.push(planned);
        }
    }
    for start in starts {
        match search_one(&mut session, start, limit, most, &mut position)? {
            Some(result) => found.push(result),
            None => break,
        }
    }
    let people = output.is_for_people();
    // A search is not resumed: what it would have tried next is not written down.
    session.forget_plan()?;
    let context = session.context();
    let fits = found.iter().any(|found| found.largest.is_some());
    let broke = found.iter().any(|found| found.ended == BROKE);
    let status = session.sum_up(vec![table(&found, limit, people)], output)?;
    if status == ExitStatus::Interrupted {
        return Ok(status);
    }
    if !fits && !broke {
        context.complain(
            &format!("nothing fits into {limit} MB"),
            Some("allow more memory, or take a smaller model or precision"),
        );
    }
    // Running out of memory is an answer here, and no failure; that nothing fits is one, or that a run broke.
    Ok(if fits && !broke { ExitStatus::Ok } else { ExitStatus::Failed })
}

/// `None` after Ctrl-C.
fn search_one(
    session: &mut Session<'_>,
    start: &PlannedRun,
    limit: f64,
    most: u32,
    position: &mut u32,
) -> anyhow::Result<Option<Found>> {
    let mut found = Found { what: start.clone(), tried: 0, largest: None, fastest: None, ended: "bisection" };
    let mut measure = |batch: u32, found: &mut Found| -> anyhow::Result<Option<Fit>> {
        let mut planned = PlannedRun { position: *position, ..start.clone() };
        planned.configuration.batch_size = batch;
        *position += 1;
        let Some(record) = session.measure_one(&planned)? else {
            return Ok(None);
        };
        found.tried += 1;
        let fit = fit(&record, limit);
        if let Fit::Yes { memory_mb, throughput } = fit {
            if found.largest.is_none_or(|(largest, _)| batch > largest) {
                found.largest = Some((batch, memory_mb));
            }
            if found.fastest.is_none_or(|(_, fastest)| throughput > fastest) {
                found.fastest = Some((batch, throughput));
            }
        }
        Ok(Some(fit))
    };
    let mut fits = 0;
    let mut batch = start.configuration.batch_size.min(most);
    let mut too_large = loop {
        match measure(batch, &mut found)? {
            None => return Ok(None),
            Some(Fit::Yes { .. }) => fits = batch,
            Some(Fit::No) => break batch,
            Some(Fit::Unknown) => {
                found.ended = BROKE;
                return Ok(Some(found));
            }
        }
        if batch == most {
            found.ended = "`--max-batch-size`";
            return Ok(Some(found));
        }
        batch = batch.saturating_mul(2).min(most);
    };
    if fits == 0 && too_large == 1 {
        found.ended = "the smallest batch is too large";
    }
    while too_large - fits > 1 {
        let middle = u32::midpoint(fits, too_large);
        match measure(middle, &mut found)? {
            None => return Ok(None),
            Some(Fit::Yes { .. }) => fits = middle,
            Some(Fit::No) => too_large = middle,
            Some(Fit::Unknown) => {
                found.ended = BROKE;
                break;
            }
        }
    }
    Ok(Some(found))
}

fn table(found: &[Found], limit: f64, people: bool) -> Table {
    let columns =
        ["what", "precision", "runs", "largest_batch", "memory_mb", "fastest_batch", "samples_per_second", "ended_by"];
    let mut table = Table::new(&if people { format!("Within {limit} MB") } else { "Search".to_owned() }, &columns);
    for found in found {
        let mut what = found.what.clone();
        what.configuration.batch_size = 1;
        let text = describe(&what);
        let number = |value: Option<f64>| -> crate::domain::Cell {
            if people { value.map(significant).into() } else { value.into() }
        };
        table.push([
            text.strip_suffix(", batch 1").unwrap_or(&text).into(),
            what.configuration.precision.to_string().into(),
            (found.tried as u64).into(),
            found.largest.map(|(batch, _)| batch).into(),
            number(found.largest.map(|(_, memory)| memory)),
            found.fastest.map(|(batch, _)| batch).into(),
            number(found.fastest.map(|(_, rate)| rate)),
            found.ended.into(),
        ]);
    }
    table
}
