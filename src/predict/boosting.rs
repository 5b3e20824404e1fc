//! Gradient boosting of regression trees on histograms (Friedman 2001, "Greedy function approximation"; histograms and
//! leaf-wise growth as in Ke et al. 2017, "LightGBM"). linfa has no regression trees; this one implements its traits.
//!
//! Missing values (NaN) go to the side of a split that fits them better. Losses are Huber's, so that a row that went
//! wrong does not pull a leaf. The same seed gives the same trees on any number of threads: every sum is taken in order
//! by one thread, or in whole numbers.

mod grower;

use linfa::dataset::{AsSingleTargets, DatasetBase};
use linfa::traits::{Fit, PredictInplace};
use ndarray::{Array1, Array2};
use rayon::iter::{
    IndexedParallelIterator as _, IntoParallelIterator as _, IntoParallelRefMutIterator as _, ParallelIterator as _,
};
use serde::{Deserialize, Serialize};

use super::PredictError;
use grower::{COUNT_BITS, Codes, Grower, pack};

/// Bins a feature has at most, the one of missing values not counted.
const BINS: usize = 63;

/// Rows for each leaf of a tree, and leaves that few rows have all the same.
const ROWS_A_LEAF: usize = 40;
const LEAST_LEAVES: usize = 8;

/// Rows from which their answers are brought forward by several threads.
const WORTH_THREADS: usize = 1 << 12;

/// How trees are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoostingParams {
    /// Trees.
    pub rounds: usize,
    /// Share of each tree's answer that is taken.
    pub learning_rate: f64,
    /// Leaves of a tree, at most; fewer where rows are, by `ROWS_A_LEAF`.
    pub leaves: usize,
    /// Rows of a leaf, at least.
    pub leaf_rows: usize,
    /// Added to the number of rows when a leaf's answer is taken.
    pub shrinkage: f64,
    /// Share of the rows that each tree sees.
    pub row_share: f64,
    /// Share of the features that each tree sees.
    pub feature_share: f64,
    /// Quantile of the absolute residuals above which they are cut (Huber's loss).
    pub huber_quantile: f64,
    /// The seed.
    pub seed: u64,
}

impl Default for BoostingParams {
    fn default() -> Self {
        Self {
            rounds: 200,
            learning_rate: 0.06,
            leaves: 48,
            leaf_rows: 8,
            shrinkage: 2.0,
            row_share: 0.6,
            feature_share: 0.4,
            huber_quantile: 0.9,
            seed: 1,
        }
    }
}

/// One tree: nodes in the order in which they were made; the root is the first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tree {
    /// The feature that a node asks about; `u16::MAX` marks a leaf.
    feature: Vec<u16>,
    /// Codes up to this one go left.
    code: Vec<u8>,
    /// Whether missing values go left.
    missing_left: Vec<bool>,
    /// The left child; the right one follows it.
    left: Vec<u16>,
    /// A leaf's answer.
    value: Vec<f32>,
}

const LEAF: u16 = u16::MAX;

impl Tree {
    fn push_leaf(&mut self, value: f64) -> usize {
        self.feature.push(LEAF);
        self.code.push(0);
        self.missing_left.push(false);
        self.left.push(0);
        self.value.push(value as f32);
        self.feature.len() - 1
    }

    fn answer(&self, code_of: impl Fn(usize) -> u8) -> f64 {
        let mut node = 0;
        while self.feature[node] != LEAF {
            let code = code_of(usize::from(self.feature[node]));
            let goes_left = if code == 0 { self.missing_left[node] } else { code <= self.code[node] };
            node = usize::from(self.left[node]) + usize::from(!goes_left);
        }
        f64::from(self.value[node])
    }
}

/// Fitted trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boosting {
    /// The upper ends of each feature's bins but the last.
    thresholds: Vec<Vec<f64>>,
    /// The answer before the first tree.
    start: f64,
    trees: Vec<Tree>,
}

impl Boosting {
    /// Whether every tree ends: a file may hold anything.
    pub fn is_whole(&self) -> bool {
        self.trees.iter().all(|tree| {
            let size = tree.feature.len();
            let parts = [tree.code.len(), tree.missing_left.len(), tree.left.len(), tree.value.len()];
            let ends = |node: usize| {
                let (feature, left) = (usize::from(tree.feature[node]), usize::from(tree.left[node]));
                // Children stand behind their parent, so that no way goes in circles.
                tree.feature[node] == LEAF || feature < self.thresholds.len() && left > node && left + 1 < size
            };
            size > 0 && parts.iter().all(|part| *part == size) && (0..size).all(ends)
        })
    }

    /// The answer for one row; a row of another width answers what was asked before any tree.
    pub fn predict_row(&self, row: &[f64]) -> f64 {
        if row.len() != self.thresholds.len() {
            return self.start;
        }
        let codes: Vec<u8> = row.iter().zip(&self.thresholds).map(|(value, ends)| code(*value, ends)).collect();
        self.start + self.trees.iter().map(|tree| tree.answer(|feature| codes[feature])).sum::<f64>()
    }
}

/// 0 for a missing value, else the number of its bin from 1.
fn code(value: f64, thresholds: &[f64]) -> u8 {
    if value.is_nan() { 0 } else { thresholds.partition_point(|end| *end < value) as u8 + 1 }
}

/// The ends of bins that hold about the same number of rows, between values that differ.
fn thresholds_of(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut ascending: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    ascending.sort_unstable_by(f64::total_cmp);
    let mut distinct = ascending.clone();
    distinct.dedup();
    let between = |low: f64, high: f64| f64::midpoint(low, high);
    if distinct.len() <= BINS {
        return distinct.windows(2).map(|pair| between(pair[0], pair[1])).collect();
    }
    let mut ends: Vec<f64> = (1..BINS)
        .filter_map(|bin| {
            let at = bin * ascending.len() / BINS;
            let low = ascending[at];
            let above = distinct.partition_point(|value| *value <= low);
            distinct.get(above).map(|high| between(low, *high))
        })
        .collect();
    ends.dedup();
    ends
}

impl<T: AsSingleTargets<Elem = f64>> Fit<Array2<f64>, T, PredictError> for BoostingParams {
    type Object = Boosting;

    /// Records are [rows, features], NaN where a value is missing; targets are finite.
    fn fit(&self, dataset: &DatasetBase<Array2<f64>, T>) -> Result<Boosting, PredictError> {
        let records = dataset.records();
        let targets: Vec<f64> = dataset.as_single_targets().iter().copied().collect();
        let (rows, features) = records.dim();
        if rows == 0 || rows != targets.len() || targets.iter().any(|target| !target.is_finite()) {
            return Err(PredictError::BadTargets);
        }
        if features >= usize::from(LEAF) || self.leaves * 2 >= usize::from(LEAF) || rows >= 1 << COUNT_BITS {
            return Err(PredictError::TooWide { rows, features });
        }
        let thresholds: Vec<Vec<f64>> = (0..features)
            .into_par_iter()
            .map(|feature| thresholds_of(records.column(feature).iter().copied()))
            .collect();
        let codes: Vec<Vec<u8>> = (0..features)
            .into_par_iter()
            .map(|feature| records.column(feature).iter().map(|value| code(*value, &thresholds[feature])).collect())
            .collect();
        // A feature of one value alone splits nothing.
        let useful: Vec<usize> =
            (0..features).filter(|&feature| codes[feature].iter().any(|code| *code != codes[feature][0])).collect();
        let codes = Codes::new(codes, &thresholds, rows);
        let start = crate::stats::median(&targets).unwrap_or_default();
        let mut answers = vec![start; rows];
        let mut residuals = vec![0.0; rows];
        let mut random = fastrand::Rng::with_seed(self.seed);
        let leaves = self.leaves.min((rows / ROWS_A_LEAF).max(LEAST_LEAVES));
        let mut trees = Vec::with_capacity(self.rounds);
        for _ in 0..self.rounds {
            for ((residual, target), answer) in residuals.iter_mut().zip(&targets).zip(&answers) {
                *residual = target - answer;
            }
            let cut = cut_of(&residuals, self.huber_quantile);
            for residual in &mut residuals {
                *residual = residual.clamp(-cut, cut);
            }
            let seen: Vec<u32> =
                (0..rows as u32).filter(|_| self.row_share >= 1.0 || random.f64() < self.row_share).collect();
            let mut chosen = useful.clone();
            random.shuffle(&mut chosen);
            chosen.truncate(((useful.len() as f64 * self.feature_share).ceil() as usize).max(1));
            chosen.sort_unstable();
            let packed = pack(&residuals);
            let grower = Grower {
                params: self,
                leaves,
                codes: &codes,
                residuals: &residuals,
                packed: &packed,
                features: &chosen,
            };
            let tree = grower.grow(seen);
            let advance = |(row, answer): (usize, &mut f64)| {
                let own = &codes.rows[row * features..(row + 1) * features];
                *answer += tree.answer(|feature| own[feature]);
            };
            if rows >= WORTH_THREADS {
                answers.par_iter_mut().enumerate().with_min_len(1024).for_each(advance);
            } else {
                answers.iter_mut().enumerate().for_each(advance);
            }
            trees.push(tree);
        }
        Ok(Boosting { thresholds, start, trees })
    }
}

impl PredictInplace<Array2<f64>, Array1<f64>> for Boosting {
    fn predict_inplace(&self, records: &Array2<f64>, answers: &mut Array1<f64>) {
        let rows: Vec<f64> =
            (0..records.nrows()).into_par_iter().map(|row| self.predict_row(&records.row(row).to_vec())).collect();
        answers.iter_mut().zip(rows).for_each(|(answer, row)| *answer = row);
    }

    fn default_target(&self, records: &Array2<f64>) -> Array1<f64> {
        Array1::zeros(records.nrows())
    }
}

fn cut_of(residuals: &[f64], quantile: f64) -> f64 {
    let mut sizes: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
    let place = ((sizes.len() - 1) as f64 * quantile.clamp(0.0, 1.0)) as usize;
    let (_, cut, _) = sizes.select_nth_unstable_by(place, f64::total_cmp);
    // Where nearly all rows are fitted exactly, the cut must not silence the others.
    if *cut > 0.0 { *cut } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use linfa::traits::Predict;

    use super::*;

    fn data(rows: usize) -> DatasetBase<Array2<f64>, Array1<f64>> {
        let mut random = fastrand::Rng::with_seed(7);
        let mut records = Array2::from_shape_fn((rows, 4), |_| random.f64() * 10.0);
        for row in (0..rows).step_by(7) {
            records[(row, 1)] = f64::NAN;
        }
        let targets = records
            .rows()
            .into_iter()
            .map(|row| row[0].sin() * 3.0 + if row[1].is_nan() { 5.0 } else { 0.1 * row[1] * row[2] })
            .collect();
        DatasetBase::new(records, targets)
    }

    #[test]
    fn learns_a_curve_a_product_and_what_a_missing_value_means() {
        let model = BoostingParams::default().fit(&data(4000)).unwrap();
        let test = data(4000);
        let answers = model.predict(test.records());
        let worst = crate::stats::median(
            &answers.iter().zip(test.targets()).map(|(answer, target)| (answer - target).abs()).collect::<Vec<_>>(),
        );
        assert!(worst.unwrap() < 0.25, "{worst:?}");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let fit = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| BoostingParams { rounds: 20, ..BoostingParams::default() }.fit(&data(20_000)).unwrap())
        };
        assert_eq!(fit(1), fit(3));
    }

    #[test]
    fn survives_json() {
        let model = BoostingParams { rounds: 5, ..BoostingParams::default() }.fit(&data(500)).unwrap();
        let again: Boosting = serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
        assert_eq!(model, again);
    }

    #[test]
    fn constant_targets_give_a_constant_and_bad_ones_an_error() {
        let records = Array2::from_shape_fn((40, 2), |(row, _)| row as f64);
        let model =
            BoostingParams::default().fit(&DatasetBase::new(records.clone(), Array1::from_elem(40, 2.0))).unwrap();
        assert_eq!(model.predict_row(&[3.0, f64::NAN]), 2.0);
        assert_eq!(model.predict_row(&[3.0]), 2.0);
        let bad = DatasetBase::new(records, Array1::from_elem(40, f64::NAN));
        assert!(BoostingParams::default().fit(&bad).is_err());
        let none = DatasetBase::new(Array2::zeros((0, 2)), Array1::zeros(0));
        assert!(BoostingParams::default().fit(&none).is_err());
    }
}
