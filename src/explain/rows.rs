//! Inner samples of a method (steps of a path, draws, baselines) as rows of batches of a chosen size.

use burn::tensor::{Tensor, TensorData};

use super::error::ExplainError;
use super::subject::Subject;

/// One row of a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// The sample that it belongs to.
    pub sample: usize,
    /// How much of it is added to the sample's sum.
    pub weight: f64,
    /// How far it stands from the baseline (0) to the sample (1).
    pub position: f64,
    /// Its baseline.
    pub baseline: usize,
    /// Which draw it is.
    pub draw: usize,
}

/// The most rows that a method may make of one sample: more are a slip, and would take all memory.
const MOST_ROWS: usize = 100_000;

/// Refuses steps or draws that are none, or more than anybody means.
///
/// # Errors
///
/// [`ExplainError::Parameters`].
pub(super) fn check_rows(method: &'static str, what: &str, rows: usize) -> Result<(), ExplainError> {
    if (1..=MOST_ROWS).contains(&rows) {
        return Ok(());
    }
    Err(ExplainError::Parameters { method, reason: format!("{what} are 1 to {MOST_ROWS}, not {rows}") })
}

/// The weighted sums over the rows of every sample, `[samples, features]`; `values` computes what the rows of one pass
/// add, `[rows, features]`.
///
/// # Errors
///
/// Those of `values`.
pub(super) fn sums(
    subject: &Subject<'_>,
    rows: &[Row],
    mut values: impl FnMut(&[Row]) -> Result<Tensor<2>, ExplainError>,
) -> Result<Tensor<2>, ExplainError> {
    let samples = subject.samples();
    let mut sums = Tensor::zeros([samples, subject.features()], subject.device());
    for chunk in rows.chunks(subject.inner_batch()) {
        // As a product with a matrix that holds the weights: one operation, whatever rows share a pass.
        let mut weights = vec![0.0_f32; samples * chunk.len()];
        for (place, row) in chunk.iter().enumerate() {
            weights[row.sample * chunk.len() + place] = row.weight as f32;
        }
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [samples, chunk.len()]), subject.device());
        sums = sums + weights.matmul(values(chunk)?);
    }
    Ok(sums)
}

/// The samples of rows.
pub(super) fn samples_of(rows: &[Row]) -> Vec<usize> {
    rows.iter().map(|row| row.sample).collect()
}

/// A number for every row, `[rows, 1]`.
pub(super) fn column(subject: &Subject<'_>, values: impl Iterator<Item = f64>) -> Tensor<2> {
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    let rows = values.len();
    Tensor::from_data(TensorData::new(values, [rows, 1]), subject.device())
}

/// The baselines of rows, `[rows, features]`, or `[1, features]` where there is only one.
pub(super) fn baselines_of(subject: &Subject<'_>, baselines: &Tensor<2>, rows: &[Row]) -> Tensor<2> {
    if baselines.dims()[0] == 1 {
        return baselines.clone();
    }
    let places: Vec<usize> = rows.iter().map(|row| row.baseline).collect();
    baselines.clone().select(0, subject.index(&places))
}
