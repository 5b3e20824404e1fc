//! What a few rows of a new device say of it: how far it is off as a whole, how far compiled models are, and what a Gaussian
//! process sees in the rest.

use serde::{Deserialize, Serialize};

use super::super::gaussian_process::{GaussianProcess, Point};

/// Noise, in units of the kernel, that the rows may have: what is left there has little structure.
const NOISE: [f64; 2] = [10.0, 40.0];

/// By how much the forecasts of a new device are off as a whole, usually (a logarithm).
const USUAL_OFFSET: f64 = 0.1;

/// Rows below which their spread says nothing.
const SPREAD_FROM: usize = 4;

/// Corrections of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anchors {
    /// Of models that are not compiled, and of those that are.
    offsets: [f64; 2],
    process: GaussianProcess,
}

/// The median, leaning on another value by as many rows as their spread makes worth one: the posterior mean of an offset
/// with a usual size under noise (Gelman et al. 2013, "Bayesian Data Analysis", section 2.5), with robust estimates of both.
fn leaning_median(values: &[f64], on: f64) -> f64 {
    let Some(middle) = crate::stats::median(values) else { return on };
    let sizes: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    // 1.4826 times the median absolute deviation estimates the standard deviation.
    let spread = crate::stats::median(&sizes).filter(|_| values.len() >= SPREAD_FROM).map(|size| 1.4826 * size);
    let leaning = spread.map_or(4.0, |spread| (spread / USUAL_OFFSET).powi(2).clamp(1.0, 10.0));
    let count = values.len() as f64;
    (count * middle + leaning * on) / (count + leaning)
}

impl Anchors {
    /// Learns from what the forecasts of a new device missed (logarithms), and whether each row was compiled. `None` without
    /// rows.
    pub fn fit(points: Vec<Point>, residuals: &[f64], compiled: &[bool]) -> Option<Self> {
        let whole = leaning_median(residuals, 0.0);
        let offsets = [false, true].map(|way| {
            let own: Vec<f64> =
                residuals.iter().zip(compiled).filter(|(_, is)| **is == way).map(|(residual, _)| *residual).collect();
            leaning_median(&own, whole)
        });
        let left: Vec<f64> =
            residuals.iter().zip(compiled).map(|(residual, is)| residual - offsets[usize::from(*is)]).collect();
        Some(Self { offsets, process: GaussianProcess::fit(points, &left, &NOISE)? })
    }

    /// The correction of a row.
    pub fn predict(&self, point: &Point, compiled: bool) -> f64 {
        self.offsets[usize::from(compiled)] + self.process.predict(point)
    }

    /// What each row missed when the process did not see it.
    pub fn left_out(&self) -> &[f64] {
        self.process.left_out()
    }
}
