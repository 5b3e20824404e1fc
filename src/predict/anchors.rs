//! What to measure next: the rows that say most of all others, by the variance that a Gaussian process loses with each
//! (Cohn 1996, "Neural network exploration using optimal experiment design"; greedy).

use super::gaussian_process::{Point, WORDS, kernel};
use super::time_model::TimeModel;
use crate::domain::Subject;

/// Candidates that are looked at, at most; more are thinned out evenly.
const MOST: usize = 600;

/// Measurements that are looked at, at most.
const MOST_KNOWN: usize = 200;

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
    let step = measured.len().div_ceil(MOST_KNOWN).max(1);
    let known: Vec<&Subject> = measured.iter().step_by(step).copied().collect();
    // Candidates first, then what is known.
    let subjects = places.iter().map(|&place| &candidates[place]).chain(known.iter().copied());
    let points: Vec<Point> = subjects.map(|subject| model.point(subject, &model.facts(subject))).collect();
    let (asked, size) = (places.len(), points.len());
    let mut covariance: Vec<f64> = Vec::with_capacity(size * size);
    for one in &points {
        covariance.extend(points.iter().map(|other| kernel(one, other, LENGTH, WORDS)));
    }
    // What is known already takes its share first.
    for at in asked..size {
        condition(&mut covariance, at, size);
    }
    let total = |covariance: &[f64]| (0..asked).map(|at| covariance[at * size + at]).sum::<f64>();
    let start = total(&covariance).max(1e-12);
    let mut chosen = Vec::new();
    let mut free: Vec<bool> = vec![true; asked];
    while chosen.len() < count.min(asked) {
        let gain = |at: usize| {
            let column = &covariance[at * size..at * size + asked];
            column.iter().map(|value| value * value).sum::<f64>() / (column[at].max(0.0) + NOISE)
        };
        let best = (0..asked)
            .filter(|&at| free[at])
            .max_by(|&one, &other| gain(one).total_cmp(&gain(other)).then(other.cmp(&one)));
        let Some(best) = best else { break };
        free[best] = false;
        condition(&mut covariance, best, size);
        let left = (total(&covariance) / start).clamp(0.0, 1.0);
        chosen.push(Anchor { candidate: places[best], variance_left: left });
    }
    chosen
}

/// What the covariances are once the point at `at` is measured.
fn condition(covariance: &mut [f64], at: usize, size: usize) {
    let column = covariance[at * size..(at + 1) * size].to_vec();
    let variance = column[at].max(0.0) + NOISE;
    take(covariance, &column, variance, size);
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
