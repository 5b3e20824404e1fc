//! The rows of a pass, with the clock and the meters that the search of [`explain::tuner`](crate::explain::tuner) needs.

use std::time::Instant;

use burn::tensor::Device as BurnDevice;

use super::workloads::memory_of;
use crate::explain::tuner::{Limits, MOST_ROWS, Seen, TIME_LIMIT, activation_bytes, fitting, tune};
use crate::explain::{Crew, ExplainError, InnerBatch, Method, Prepared, Tuned, Work, guarded};
use crate::hardware::procfs;

/// A pass or two of fewer rows are too short to be timed.
const FEWEST_ROWS: usize = 4;

/// Work that is ready to be done with as many rows in a pass as it should have.
pub struct Settled {
    /// One part for each worker.
    pub parts: Vec<Prepared>,
    /// The most rows of one pass of one worker.
    pub rows: usize,
    /// What the search found, where there was one.
    pub tuned: Option<Tuned>,
}

/// Prepares work, and finds the rows of a pass: those that are asked for, or those that are fastest, as far as they fit into
/// `memory` bytes. That is the resident memory of this process, or what the engine has reserved on a device of its own.
///
/// # Errors
///
/// Samples that cannot be explained; [`ExplainError::Memory`] where not even one row fits.
pub fn settle(
    crew: &mut Crew,
    method: &dyn Method,
    work: &Work<'_>,
    rows: InnerBatch,
    memory: Option<u64>,
) -> Result<Settled, ExplainError> {
    let wanted = match rows {
        InnerBatch::Rows(rows) => rows,
        InnerBatch::Auto => work.inner_batch,
    };
    let parts = crew.prepare(&Work { inner_batch: wanted, ..*work })?;
    if memory.is_none() && rows != InnerBatch::Auto {
        return Ok(Settled { parts, rows: wanted, tuned: None });
    }
    // Predictions are no part of an explanation.
    let parts = crew.resolve(&parts)?;
    let device = crew.network().device();
    // What loading the weights took is over.
    procfs::restart_peak();
    let workers = parts.len() as u64;
    let row_bytes = match (memory, parts.first()) {
        (Some(limit), Some(part)) => {
            let row_bytes = workers * guarded(|| activation_bytes(&part.clone().of(crew.network())))?;
            let needed = in_use(&device).unwrap_or(0) + row_bytes;
            if needed > limit {
                return Err(ExplainError::Memory { method: method.name(), needed, limit });
            }
            row_bytes
        }
        _ => 0,
    };
    let mut measure = |rows: usize| {
        let parts: Vec<Prepared> = parts.iter().map(|part| part.clone().with_inner_batch(rows)).collect();
        let start = Instant::now();
        let run = crew.begin(method, &parts, rows.max(FEWEST_ROWS) as u64)?;
        device.sync().map_err(|error| ExplainError::Stopped { message: error.to_string() })?;
        Ok(Seen { rows: run, seconds: start.elapsed().as_secs_f64(), bytes: in_use(&device) })
    };
    let (rows, tuned) = match (rows, memory) {
        (InnerBatch::Auto, memory) => {
            let limits = Limits { rows: MOST_ROWS, memory, seconds: TIME_LIMIT };
            let tuned = tune(method.name(), limits, measure)?;
            (tuned.rows, Some(tuned))
        }
        (InnerBatch::Rows(rows), Some(limit)) => (fitting(method.name(), rows, limit, row_bytes, &mut measure)?, None),
        (InnerBatch::Rows(rows), None) => (rows, None),
    };
    // As they came: whoever asks for a prediction pays for it.
    let parts = crew.prepare(&Work { inner_batch: rows, ..*work })?;
    Ok(Settled { parts, rows, tuned })
}

/// The most memory that was in use: on the device, or of this process.
fn in_use(device: &BurnDevice) -> Option<u64> {
    memory_of(device).map(|memory| memory.reserved).or_else(procfs::peak_since_restart)
}
