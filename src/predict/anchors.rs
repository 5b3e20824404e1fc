//! What to measure next: the rows that say most of all others, by the variance that a Gaussian process loses with each
//! (Cohn 1996, "Neural network exploration using optimal experiment design"; greedy).

use super::gaussian_process::{Point, WORDS, kernel};
use super::time_model::TimeModel;
use crate::domain::Subject;

/// Candidates that are looked at, at most; more are thinned out evenly.
const MOST: usize = 600;

/// Variance of a measurement in units of the kernel.
const NOISE: f64 = 0.3;

/// A suggestion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// Its place among the candidates.
    pub candidate: usize,
    /// Share of the variance of all forecasts that is left once it and those before it are measured, between 0 and 1.
    pub variance_left: f64,
}

/// The `count` candidates to measure, the most telling first. `measured` is what is known of the same devices.
pub fn suggest_anchors(model: &TimeModel, candidates: &[Subject], measured: &[&Subject], count: usize) -> Vec<Anchor> {
    const LENGTH: f64 = 2.5;
    let step = candidates.len().div_ceil(MOST).max(1);
    let places: Vec<usize> = (0..candidates.len()).step_by(step).collect();
    let point = |subject: &Subject| model.point(subject, &model.facts(subject));
    let points: Vec<Point> = places.iter().map(|&place| point(&candidates[place])).collect();
    let size = points.len();
    let mut covariance: Vec<f64> = Vec::with_capacity(size * size);
    for one in &points {
        covariance.extend(points.iter().map(|other| kernel(one, other, LENGTH, WORDS)));
    }
    let total = |covariance: &[f64]| (0..size).map(|at| covariance[at * size + at]).sum::<f64>();
    // What is known already takes its share first.
    let step = measured.len().div_ceil(100).max(1);
    let mut known: Vec<(Vec<f64>, f64)> = Vec::new();
    for subject in measured.iter().step_by(step) {
        let seen = point(subject);
        let mut own = kernel(&seen, &seen, LENGTH, WORDS);
        let mut column: Vec<f64> = points.iter().map(|one| kernel(one, &seen, LENGTH, WORDS)).collect();
        // Only what the ones before do not say; the approximation takes them as independent of it.
        for (other, variance) in &known {
            let shared = column.iter().zip(other).map(|(one, other)| one * other).sum::<f64>()
                / other.iter().map(|value| value * value).sum::<f64>().max(1e-12);
            own = (own - shared * shared * variance).max(0.05);
            column.iter_mut().zip(other).for_each(|(one, other)| *one -= shared * other);
        }
        take(&mut covariance, &column, own + NOISE, size);
        known.push((column, own + NOISE));
    }
    let start = total(&covariance).max(1e-12);
    let mut chosen = Vec::new();
    let mut free: Vec<bool> = vec![true; size];
    while chosen.len() < count.min(size) {
        let gain = |at: usize| {
            let column = &covariance[at * size..(at + 1) * size];
            column.iter().map(|value| value * value).sum::<f64>() / (column[at].max(0.0) + NOISE)
        };
        let best = (0..size)
            .filter(|&at| free[at])
            .max_by(|&one, &other| gain(one).total_cmp(&gain(other)).then(other.cmp(&one)));
        let Some(best) = best else { break };
        free[best] = false;
        let column = covariance[best * size..(best + 1) * size].to_vec();
        let variance = column[best].max(0.0) + NOISE;
        take(&mut covariance, &column, variance, size);
        let left = (total(&covariance) / start).clamp(0.0, 1.0);
        chosen.push(Anchor { candidate: places[best], variance_left: left });
    }
    chosen
}

/// Takes off what a measurement with these covariances explains.
fn take(covariance: &mut [f64], column: &[f64], variance: f64, size: usize) {
    for (row, weight) in column.iter().enumerate() {
        let weight = weight / variance;
        for (value, other) in covariance[row * size..(row + 1) * size].iter_mut().zip(column) {
            *value -= weight * other;
        }
        let diagonal = &mut covariance[row * size + row];
        *diagonal = diagonal.max(0.0);
    }
}
