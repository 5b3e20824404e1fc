//! A Gaussian process (Rasmussen and Williams 2006, chapter 2) for thin data: a few hundred rows at most. What two ways of
//! running models share (device, way of compiling, size, words of the name, the model itself) makes their residuals alike.
//! Noise and weight of the kernel come from leave-one-out errors in closed form (section 5.4.2).

use serde::{Deserialize, Serialize};

use super::words::Words;

/// What the kernel sees of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Sizes and shares, each with a spread of about one; 0 where unknown.
    pub sizes: Vec<f64>,
    /// Words of the model's name, one bit each.
    pub words: Words,
    /// Device.
    pub device: u32,
    /// Precision, mode, engine and parameters.
    pub way: u32,
    /// Engine's version.
    pub version: f64,
    /// The model.
    pub model: u32,
    /// Its family.
    pub family: u32,
}

/// Shares of the variance that each way of being alike explains.
const CONSTANT: f64 = 0.3;
const DEVICE: f64 = 0.5;
const WAY: f64 = 0.5;
const VERSION: f64 = 0.1;
const LINEAR: f64 = 0.1;
const SMOOTH: f64 = 0.6;
pub(super) const WORDS: f64 = 0.5;
const FAMILY: f64 = 0.4;
const MODEL: f64 = 0.4;

/// How much one row says of another.
pub(super) fn kernel(one: &Point, other: &Point, length: f64, word_weight: f64) -> f64 {
    let same = |alike: bool, weight: f64| if alike { weight } else { 0.0 };
    let (mut product, mut distance) = (0.0, 0.0);
    for (a, b) in one.sizes.iter().zip(&other.sizes) {
        product += a * b;
        distance += (a - b) * (a - b);
    }
    let shared = one.words.likeness(&other.words).unwrap_or_default();
    let near = (-distance / (2.0 * length * length)).exp();
    let same_way = one.way == other.way;
    let version_gap = one.version - other.version;
    let version = if version_gap.is_nan() { 0.0 } else { (-version_gap * version_gap / 0.1).exp() };
    CONSTANT
        + same(one.device == other.device, DEVICE)
        + same(same_way, WAY)
        + same(same_way && one.device == other.device, VERSION * version)
        + LINEAR * product * if same_way { 1.0 } else { 0.5 }
        + SMOOTH * near * if one.device == other.device { 1.0 } else { 0.6 }
        + word_weight * shared * if same_way { 1.0 } else { 0.7 }
        + same(one.family == other.family, FAMILY)
        + same(one.model == other.model, MODEL)
}

/// Rows by which length and noise are chosen.
const CHOOSERS: usize = 160;

/// A fitted process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaussianProcess {
    mean: f64,
    length: f64,
    word_weight: f64,
    points: Vec<Point>,
    weights: Vec<f64>,
}

/// The inner product; partial sums let the processor work on several at once, in the same order everywhere.
fn dot(one: &[f64], other: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (left, right) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left.zip(right) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The lower triangle L of A = L L', row by row; `None` where A is not positive definite.
fn cholesky(mut matrix: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    for row in 0..size {
        let (before, rest) = matrix.split_at_mut(row * size);
        let current = &mut rest[..size];
        for column in 0..row {
            let other = &before[column * size..column * size + column + 1];
            let sum = dot(&current[..column], &other[..column]);
            current[column] = (current[column] - sum) / other[column];
        }
        let square = dot(&current[..row], &current[..row]);
        let pivot = current[row] - square;
        if pivot <= 0.0 || !pivot.is_finite() {
            return None;
        }
        current[row] = pivot.sqrt();
    }
    Some(matrix)
}

/// Solves L L' x = b.
fn solve(lower: &[f64], size: usize, right: &[f64]) -> Vec<f64> {
    let mut answer = right.to_vec();
    for row in 0..size {
        let sum = dot(&lower[row * size..row * size + row], &answer[..row]);
        answer[row] = (answer[row] - sum) / lower[row * size + row];
    }
    for row in (0..size).rev() {
        answer[row] /= lower[row * size + row];
        let (before, own) = answer.split_at_mut(row);
        let of_row = &lower[row * size..row * size + row];
        before.iter_mut().zip(of_row).for_each(|(other, value)| *other -= value * own[0]);
    }
    answer
}

/// The diagonal of the inverse of L L': the squares of the columns of the inverse of L, summed.
fn inverse_diagonal(lower: &[f64], size: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; size];
    let of_unit = |unit: usize| {
        inverse[unit] = 1.0 / lower[unit * size + unit];
        for row in unit + 1..size {
            let sum = dot(&lower[row * size + unit..row * size + row], &inverse[unit..row]);
            inverse[row] = -sum / lower[row * size + row];
        }
        inverse[unit..].iter().map(|value| value * value).sum()
    };
    (0..size).map(of_unit).collect()
}

impl GaussianProcess {
    /// Rows beyond which it would take too long; the caller thins them out.
    pub const MOST: usize = 400;

    /// Fits residuals, with the best of these noises (in units of the kernel). `None` without rows, or where they cannot be fitted at all.
    pub fn fit(points: Vec<Point>, residuals: &[f64], noises: &[f64], word_weight: f64) -> Option<Self> {
        let choosers = points.len().min(CHOOSERS).min(residuals.len());
        if choosers < points.len() {
            let (_, length, noise) =
                Self::choose(points[..choosers].to_vec(), &residuals[..choosers], &[1.0, 2.5], noises, word_weight)?;
            return Self::choose(points, residuals, &[length], &[noise], word_weight).map(|(process, ..)| process);
        }
        Self::choose(points, residuals, &[1.0, 2.5], noises, word_weight).map(|(process, ..)| process)
    }

    /// The best of these lengths and noises, with both.
    fn choose(
        points: Vec<Point>,
        residuals: &[f64],
        lengths: &[f64],
        noises: &[f64],
        word_weight: f64,
    ) -> Option<(Self, f64, f64)> {
        let size = points.len();
        if size == 0 || size != residuals.len() {
            return None;
        }
        let mean = crate::stats::median(residuals)?;
        let targets: Vec<f64> = residuals.iter().map(|residual| residual - mean).collect();
        let mut best: Option<(f64, Self, f64)> = None;
        for &length in lengths {
            let mut gram = vec![0.0; size * size];
            for row in 0..size {
                for column in 0..=row {
                    let value = kernel(&points[row], &points[column], length, word_weight);
                    gram[row * size + column] = value;
                    gram[column * size + row] = value;
                }
            }
            for &noise in noises {
                let mut noisy = gram.clone();
                (0..size).for_each(|row| noisy[row * size + row] += noise);
                let Some(lower) = cholesky(noisy, size) else { continue };
                let weights = solve(&lower, size, &targets);
                let error = if lengths.len() * noises.len() == 1 {
                    // There is no choice, and this takes longer than all else.
                    0.0
                } else {
                    // The mean of absolute errors, left out one by one: one row that went wrong must not decide.
                    let diagonal = inverse_diagonal(&lower, size);
                    let left_out = weights.iter().zip(&diagonal).map(|(weight, inverse)| weight / inverse);
                    left_out.map(f64::abs).sum::<f64>() / size as f64
                };
                if error.is_finite()
                    && weights.iter().all(|weight| weight.is_finite())
                    && best.as_ref().is_none_or(|(least, ..)| error < *least)
                {
                    best = Some((error, Self { mean, length, word_weight, points: points.clone(), weights }, noise));
                }
            }
        }
        best.map(|(_, process, noise)| {
            let length = process.length;
            (process, length, noise)
        })
    }

    /// The residual that is to be expected of a row.
    pub fn predict(&self, point: &Point) -> f64 {
        let terms = self.points.iter().zip(&self.weights);
        self.mean
            + terms.map(|(known, weight)| weight * kernel(known, point, self.length, self.word_weight)).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISES: [f64; 3] = [0.01, 0.1, 1.0];

    fn point(size: f64, model: u32) -> Point {
        Point { sizes: vec![size], words: Words::default(), device: 1, way: 1, version: 2.0, model, family: model }
    }

    #[test]
    fn a_curve_is_followed_and_nothing_is_refused() {
        let points: Vec<Point> = (0..60).map(|row| point(f64::from(row) / 10.0, row)).collect();
        let values: Vec<f64> = points.iter().map(|point| point.sizes[0].sin() + 7.0).collect();
        let process = GaussianProcess::fit(points, &values, &NOISES, WORDS).unwrap();
        assert!((process.predict(&point(2.05, 99)) - (2.05_f64.sin() + 7.0)).abs() < 0.1);
        assert!(GaussianProcess::fit(Vec::new(), &[], &NOISES, WORDS).is_none());
        let same = GaussianProcess::fit(vec![point(1.0, 1); 5], &[3.0; 5], &NOISES, WORDS).unwrap();
        assert!((same.predict(&point(1.0, 1)) - 3.0).abs() < 1e-9);
    }
}
