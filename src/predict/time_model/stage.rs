//! A ridge a setting on the deviations of the same model elsewhere, and boosting on what that leaves.

use linfa::dataset::DatasetBase;
use linfa::traits::Fit as _;
use ndarray::Array1;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use serde::{Deserialize, Serialize};

use super::super::PredictError;
use super::super::boosting::{Boosting, BoostingParams};
use super::super::ridge::Ridge;
use super::super::transfer::{Asked, Gap};
use super::{TimeModel, TimeOptions, matrix};

/// Rows of a setting from which it has a ridge of its own.
const RIDGE_ROWS: usize = 60;

/// A ridge a setting, and the trees on what they leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stage {
    ridges: Vec<Option<Ridge>>,
    boosting: Vec<Boosting>,
}

impl Stage {
    /// Whether all of its trees end.
    pub fn is_whole(&self) -> bool {
        self.boosting.iter().all(Boosting::is_whole)
    }
}

impl TimeModel {
    pub(super) fn fit_stage(&self, gap: Gap, plain: &[Vec<f64>], options: &TimeOptions) -> Result<Stage, PredictError> {
        let transferred: Vec<Vec<f64>> = (0..plain.len())
            .into_par_iter()
            .map(|row| self.transfer.features(&self.transfer.asked_again(row), gap))
            .collect();
        let mut by_setting: Vec<Vec<usize>> = vec![Vec::new(); self.transfer.settings()];
        for row in 0..plain.len() {
            by_setting[self.transfer.setting(row) as usize].push(row);
        }
        let ridges: Vec<Option<Ridge>> = by_setting
            .into_par_iter()
            .map(|members| {
                if members.len() < RIDGE_ROWS {
                    return None;
                }
                // Least squares of a thousand rows say as much as those of ten thousand.
                let step = members.len().div_ceil(2000);
                let members: Vec<usize> = members.into_iter().step_by(step).collect();
                let rows: Vec<Vec<f64>> =
                    members.iter().map(|&row| linear_features(gap, &plain[row], &transferred[row])).collect();
                let targets: Vec<f64> = members.iter().map(|&row| self.transfer.deviation(row)).collect();
                Ridge::fit(&matrix(&rows), &targets, 5.0).ok()
            })
            .collect();
        let mut targets = Vec::with_capacity(plain.len());
        let mut rows = Vec::with_capacity(plain.len());
        for row in 0..plain.len() {
            let ridge = ridges[self.transfer.setting(row) as usize].as_ref();
            let (features, linear) = stage_features(gap, ridge, &plain[row], &transferred[row]);
            targets.push(self.transfer.deviation(row) - linear);
            rows.push(features);
        }
        let dataset = DatasetBase::new(matrix(&rows), Array1::from_vec(targets));
        let boosting = BoostingParams { seed: options.seed ^ gap as u64, ..options.boosting.clone() };
        Ok(Stage { ridges, boosting: vec![boosting.fit(&dataset)?] })
    }

    pub(super) fn deviation(&self, stage: &Stage, gap: Gap, asked: &Asked, plain: &[f64]) -> f64 {
        let transferred = self.transfer.features(asked, gap);
        let setting = self.transfer.setting_of(asked);
        let ridge = setting.and_then(|setting| stage.ridges.get(setting as usize)?.as_ref());
        let (features, linear) = stage_features(gap, ridge, plain, &transferred);
        let trees: f64 = stage.boosting.iter().map(|trees| trees.predict_row(&features)).sum();
        linear + trees / stage.boosting.len().max(1) as f64
    }
}

/// The features of the ridge: deviations elsewhere and neighbours, and sizes.
fn linear_features(gap: Gap, plain: &[f64], transferred: &[f64]) -> Vec<f64> {
    let mut row: Vec<f64> = match gap {
        // Counts are no deviations.
        Gap::Pair => [&transferred[..4], &transferred[6..8], &transferred[10..]].concat(),
        Gap::Family => transferred.to_vec(),
    };
    row.extend_from_slice(&plain[..15]);
    row
}

/// What the trees see, and what the ridge says before them.
fn stage_features(gap: Gap, ridge: Option<&Ridge>, plain: &[f64], transferred: &[f64]) -> (Vec<f64>, f64) {
    let linear = ridge.map(|ridge| ridge.predict_row(&linear_features(gap, plain, transferred)));
    let mut features = plain.to_vec();
    features.extend_from_slice(transferred);
    features.push(linear.unwrap_or(f64::NAN));
    (features, linear.unwrap_or(0.0))
}
