//! What a few rows of a new device say of it: how far its forecasts are off as a whole, and how far those of compiled models
//! are. More was tried - a Gaussian process on what the offsets leave - and made ten and twenty rows worse.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::roofline::is_compiled;
use super::super::transfer::device_key;
use super::{TimeModel, log_seconds_of};
use crate::domain::{Example, Subject};

/// By how much the forecasts of a new device are off as a whole, usually (a logarithm).
const USUAL_OFFSET: f64 = 0.1;

/// Rows below which their spread says nothing.
const SPREAD_FROM: usize = 4;

/// Rows that a mean leans by where their spread says nothing.
const LEANING: f64 = 4.0;

/// Corrections of one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Anchors {
    /// Of models that are not compiled, and of those that are.
    offsets: [f64; 2],
    /// What each row missed when the offsets did not see it.
    left_out: Vec<f64>,
}

/// The median, leaning on another value by as many rows as their spread makes worth one: the posterior mean of an offset
/// of a usual size under noise (Gelman et al. 2013, "Bayesian Data Analysis", section 2.5), with robust estimates.
fn leaning_median(values: &[f64], on: f64) -> f64 {
    let Some(middle) = crate::stats::median(values) else { return on };
    let sizes: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    // 1.4826 times the median absolute deviation estimates the standard deviation.
    let spread = crate::stats::median(&sizes).filter(|_| values.len() >= SPREAD_FROM).map(|size| 1.4826 * size);
    let leaning = spread.map_or(LEANING, |spread| (spread / USUAL_OFFSET).powi(2).clamp(1.0, 10.0));
    let count = values.len() as f64;
    (count * middle + leaning * on) / (count + leaning)
}

fn offsets(rows: &[(f64, bool)]) -> [f64; 2] {
    let all: Vec<f64> = rows.iter().map(|(residual, _)| *residual).collect();
    let whole = leaning_median(&all, 0.0);
    [false, true].map(|way| {
        let own: Vec<f64> = rows.iter().filter(|(_, is)| *is == way).map(|(residual, _)| *residual).collect();
        leaning_median(&own, whole)
    })
}

impl Anchors {
    /// Learns from what the forecasts of a new device missed (logarithms), and whether each row was compiled.
    pub fn fit(rows: &[(f64, bool)]) -> Self {
        let missed_without = |place: usize| {
            let others: Vec<(f64, bool)> = [&rows[..place], &rows[place + 1..]].concat();
            let (residual, compiled) = rows[place];
            residual - offsets(&others)[usize::from(compiled)]
        };
        Self { offsets: offsets(rows), left_out: (0..rows.len()).map(missed_without).collect() }
    }

    /// The correction, a logarithm.
    pub fn offset(&self, compiled: bool) -> f64 {
        self.offsets[usize::from(compiled)]
    }

    /// What each row missed when the others alone were known.
    pub fn left_out(&self) -> &[f64] {
        &self.left_out
    }
}

impl TimeModel {
    /// Corrects the forecasts of a device that is not among those that were fitted by rows of it; answers how many of them
    /// could be used.
    pub(super) fn anchor<'r>(&mut self, device: String, rows: impl Iterator<Item = (&'r Subject, f64)>) -> usize {
        let missed: Vec<(f64, bool)> = rows
            .filter_map(|(subject, log_seconds)| {
                Some((log_seconds - self.on_new_device(subject)?, is_compiled(subject)))
            })
            .collect();
        if !missed.is_empty() {
            self.anchored.insert(device, Anchors::fit(&missed));
        }
        missed.len()
    }

    /// Takes rows of devices that were not fitted as anchors; answers how many of each device could be used.
    pub fn anchor_by(&mut self, examples: &[&Example]) -> BTreeMap<String, usize> {
        self.book.extend(examples.iter().copied());
        let mut by_device: BTreeMap<String, Vec<(&Subject, f64)>> = BTreeMap::new();
        for example in examples.iter().filter(|example| !self.transfer.knows_device(&example.subject)) {
            if let Some(log_seconds) = log_seconds_of(example) {
                by_device.entry(device_key(&example.subject)).or_default().push((&example.subject, log_seconds));
            }
        }
        let anchored =
            by_device.into_iter().map(|(device, rows)| (device.clone(), self.anchor(device, rows.into_iter())));
        anchored.filter(|(_, used)| *used > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_agree_are_believed_and_few_or_wild_ones_less() {
        let agreed = Anchors::fit(&[(0.3, false); 10]);
        assert!((agreed.offset(false) - 0.3).abs() < 0.06, "{agreed:?}");
        // What is not compiled says something of what is.
        assert!(agreed.offset(true) > 0.2);
        assert!(Anchors::fit(&[(0.3, false)]).offset(false) < 0.15);
        let wild: Vec<(f64, bool)> = (0..10).map(|row| (if row % 2 == 0 { 1.3 } else { -0.7 }, false)).collect();
        assert!(Anchors::fit(&wild).offset(false).abs() < 0.25);
        assert!(Anchors::fit(&wild).left_out().iter().all(|missed| missed.abs() > 0.5));
    }

    #[test]
    fn one_row_that_went_wrong_moves_nothing() {
        let mut rows = vec![(0.1, false); 9];
        rows.push((5.0, false));
        assert!((Anchors::fit(&rows).offset(false) - 0.1).abs() < 0.03);
        assert_eq!(Anchors::fit(&[]).offset(true), 0.0);
    }
}
