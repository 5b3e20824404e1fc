//! Ridge regression through linfa-linear (Hoerl and Kennard 1970).
//!
//! linfa's least squares answers garbage without an error where columns depend on each other, as one-hot columns do. With
//! the penalty written as rows of their own (Marquardt 1970: sqrt(penalty) times the unit matrix, with the target 0), the
//! matrix has full rank and the same solver answers the ridge solution.

use linfa::dataset::DatasetBase;
use linfa::traits::Fit;
use linfa_linear::LinearRegression;
use ndarray::{Array1, Array2, s};
use serde::{Deserialize, Serialize};

use super::PredictError;

/// A fitted linear model. Missing values (NaN) count as the mean of their column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ridge {
    intercept: f64,
    means: Vec<f64>,
    /// One a column, of the raw values.
    weights: Vec<f64>,
}

impl Ridge {
    /// Fits rows [rows, columns] to targets. Columns are brought to unit deviation, so that `penalty` (in rows) treats all
    /// alike; a column without spread gets no weight.
    ///
    /// # Errors
    /// No rows, targets that are not finite, what linfa refuses.
    pub fn fit(rows: &Array2<f64>, targets: &[f64], penalty: f64) -> Result<Self, PredictError> {
        let (count, width) = rows.dim();
        if count == 0 || count != targets.len() || targets.iter().any(|target| !target.is_finite()) {
            return Err(PredictError::BadTargets);
        }
        let intercept = targets.iter().sum::<f64>() / count as f64;
        let mut means = vec![0.0; width];
        let mut deviations = vec![0.0; width];
        for column in 0..width {
            let known: Vec<f64> = rows.column(column).iter().copied().filter(|value| value.is_finite()).collect();
            means[column] = crate::stats::mean(&known).unwrap_or_default();
            let deviation = crate::stats::standard_deviation(&known).unwrap_or_default();
            // Rounding leaves a little spread in a column of one value.
            deviations[column] = if deviation > 1e-9 * (1.0 + means[column].abs()) { deviation } else { 0.0 };
        }
        let mut augmented = Array2::zeros((count + width, width));
        augmented.slice_mut(s![..count, ..]).assign(rows);
        for column in 0..width {
            for row in 0..count {
                let value = &mut augmented[(row, column)];
                let usable = value.is_finite() && deviations[column] > 0.0;
                *value = if usable { (*value - means[column]) / deviations[column] } else { 0.0 };
            }
            augmented[(count + column, column)] = penalty.max(1e-6).sqrt();
        }
        let mut goals = Array1::zeros(count + width);
        for (goal, target) in goals.iter_mut().zip(targets) {
            *goal = target - intercept;
        }
        let fitted = LinearRegression::new().with_intercept(false).fit(&DatasetBase::new(augmented, goals))?;
        let weights = fitted
            .params()
            .iter()
            .zip(&deviations)
            .map(|(weight, deviation)| if *deviation > 0.0 { weight / deviation } else { 0.0 })
            .collect();
        Ok(Self { intercept, means, weights })
    }

    /// The answer for one row.
    pub fn predict_row(&self, row: &[f64]) -> f64 {
        let terms = row.iter().zip(&self.means).zip(&self.weights);
        self.intercept
            + terms
                .map(|((value, mean), weight)| if value.is_finite() { (value - mean) * weight } else { 0.0 })
                .sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_depend_on_each_other_share_the_weight() {
        let rows = Array2::from_shape_fn((50, 3), |(row, column)| if column == 2 { 1.0 } else { row as f64 });
        let targets: Vec<f64> = (0..50).map(|row| 3.0 + 2.0 * f64::from(row)).collect();
        let ridge = Ridge::fit(&rows, &targets, 1e-4).unwrap();
        assert!((ridge.weights[0] - 1.0).abs() < 1e-3 && (ridge.weights[1] - 1.0).abs() < 1e-3);
        assert_eq!(ridge.weights[2], 0.0);
        assert!((ridge.predict_row(&[10.0, 10.0, 1.0]) - 23.0).abs() < 1e-2);
        assert!((ridge.predict_row(&[f64::NAN; 3]) - 52.0).abs() < 1e-6);
    }

    #[test]
    fn agrees_with_the_closed_form_of_one_column() {
        // beta = sum(z y) / (n' + penalty) with z the standardised column and n' = sum(z z) = n - 1.
        let rows = Array2::from_shape_vec((4, 1), vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let ridge = Ridge::fit(&rows, &[1.0, 3.0, 2.0, 5.0], 2.0).unwrap();
        let deviation = (5.0_f64 / 3.0).sqrt();
        assert!((ridge.weights[0] - 5.5 / deviation / (3.0 + 2.0) / deviation).abs() < 1e-9);
    }

    #[test]
    fn refuses_targets_that_are_no_numbers() {
        assert!(Ridge::fit(&Array2::zeros((2, 1)), &[1.0, f64::NAN], 1.0).is_err());
        assert!(Ridge::fit(&Array2::zeros((0, 1)), &[], 1.0).is_err());
    }
}
