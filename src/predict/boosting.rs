//! Gradient boosting of regression trees on histograms (Friedman 2001, "Greedy function approximation"; histograms and
//! leaf-wise growth as in Ke et al. 2017, "LightGBM"). linfa has no regression trees; this one implements its traits.
//!
//! Missing values (NaN) go to the side of a split that fits them better. Losses are Huber's, so that a row that went
//! wrong does not pull a leaf. The same seed gives the same trees on any number of threads: every sum is taken in order
//! by one thread, or in whole numbers.

use linfa::dataset::{AsSingleTargets, DatasetBase};
use linfa::traits::{Fit, PredictInplace};
use ndarray::{Array1, Array2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::PredictError;

/// Bins a feature has at most, the one of missing values not counted.
const BINS: usize = 63;

/// Rows times features below which threads cost more than they bring.
const WORTH_THREADS: usize = 1 << 16;

/// How trees are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoostingParams {
    /// Trees.
    pub rounds: usize,
    /// Share of each tree's answer that is taken.
    pub learning_rate: f64,
    /// Leaves of a tree.
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
            let grower =
                Grower { params: self, codes: &codes, residuals: &residuals, packed: &packed, features: &chosen };
            let tree = grower.grow(seen);
            let advance = |(row, answer): (usize, &mut f64)| {
                let own = &codes.rows[row * features..(row + 1) * features];
                *answer += tree.answer(|feature| own[feature]);
            };
            if rows >= WORTH_THREADS / 16 {
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

/// A residual as a whole number of steps, above the count of one row: one addition adds both to a bin, exactly, so that no
/// order and no subtraction of histograms leaves a trace.
type Packed = i64;

/// Bits of the count: so many rows, at most, hold 2^15 steps each without running over.
const COUNT_BITS: u32 = 24;

/// Steps of the largest residual.
const STEPS: f64 = 32_767.0;

/// Rows of a node from which several histograms are filled in turn and added up: additions to the same bin wait for each
/// other.
const WORTH_LANES: usize = 1024;

/// Histograms that are filled in turn.
const LANES: usize = 4;

fn sum_of(packed: Packed) -> f64 {
    (packed >> COUNT_BITS) as f64
}

fn count_of(packed: Packed) -> u32 {
    (packed & ((1 << COUNT_BITS) - 1)) as u32
}

fn pack(residuals: &[f64]) -> Vec<Packed> {
    let largest = residuals.iter().fold(0.0_f64, |largest, residual| largest.max(residual.abs()));
    let step = if largest > 0.0 { STEPS / largest } else { 0.0 };
    residuals.iter().map(|residual| (((residual * step).round() as Packed) << COUNT_BITS) + 1).collect()
}

/// The codes of all rows.
struct Codes {
    /// By feature: what histograms read.
    columns: Vec<Vec<u8>>,
    /// Row by row: what a tree reads.
    rows: Vec<u8>,
    /// Codes of each feature, that of missing values counted.
    widths: Vec<usize>,
    /// Features with two values, none of them missing.
    two_valued: Vec<bool>,
}

impl Codes {
    fn new(columns: Vec<Vec<u8>>, thresholds: &[Vec<f64>], count: usize) -> Self {
        let mut rows = vec![0; count * columns.len()];
        for (feature, column) in columns.iter().enumerate() {
            for (row, code) in column.iter().enumerate() {
                rows[row * columns.len() + feature] = *code;
            }
        }
        let widths: Vec<usize> = thresholds.iter().map(|ends| ends.len() + 2).collect();
        let two_valued =
            columns.iter().zip(&widths).map(|(column, width)| *width == 3 && !column.contains(&0)).collect();
        Self { columns, rows, widths, two_valued }
    }
}

struct Grower<'g> {
    params: &'g BoostingParams,
    codes: &'g Codes,
    residuals: &'g [f64],
    packed: &'g [Packed],
    features: &'g [usize],
}

/// A leaf that may still be split.
struct Open {
    node: usize,
    rows: Vec<u32>,
    /// Of each chosen feature in turn, one bin a code.
    histograms: Vec<Packed>,
    best: Option<Split>,
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    feature: usize,
    code: u8,
    missing_left: bool,
}

impl Grower<'_> {
    fn grow(&self, seen: Vec<u32>) -> Tree {
        let mut tree = Tree::default();
        let histograms = self.histograms(&seen);
        let root = tree.push_leaf(self.value(&seen));
        let best = self.best_split(&histograms);
        let mut open = vec![Open { node: root, rows: seen, histograms, best }];
        let mut leaves = 1;
        while leaves < self.params.leaves {
            let gain = |leaf: &Open| leaf.best.map_or(0.0, |split| split.gain);
            let Some(place) = (0..open.len()).filter(|&at| gain(&open[at]) > 0.0).max_by(|&a, &b| {
                // The older leaf wins a tie.
                gain(&open[a]).total_cmp(&gain(&open[b])).then(b.cmp(&a))
            }) else {
                break;
            };
            let Open { node, rows, histograms, best } = open.swap_remove(place);
            let Some(split) = best else { break };
            let codes = &self.codes.columns[split.feature];
            let (left, right): (Vec<u32>, Vec<u32>) = rows.into_iter().partition(|&row| match codes[row as usize] {
                0 => split.missing_left,
                code => code <= split.code,
            });
            let left_node = tree.push_leaf(self.value(&left));
            let right_node = tree.push_leaf(self.value(&right));
            tree.feature[node] = split.feature as u16;
            tree.code[node] = split.code;
            tree.missing_left[node] = split.missing_left;
            tree.left[node] = left_node as u16;
            let (small, small_node, large, large_node) = if left.len() <= right.len() {
                (left, left_node, right, right_node)
            } else {
                (right, right_node, left, left_node)
            };
            leaves += 1;
            if leaves == self.params.leaves {
                break;
            }
            // A leaf that cannot be split needs no histogram.
            let splits = |rows: &[u32]| rows.len() >= 2 * self.params.leaf_rows.max(1);
            if !splits(&large) {
                continue;
            }
            // The larger child is what the smaller one leaves of the parent.
            let of_small = self.histograms(&small);
            let mut of_large = histograms;
            for (large, small) in of_large.iter_mut().zip(&of_small) {
                *large -= small;
            }
            for (node, rows, histograms) in [(small_node, small, of_small), (large_node, large, of_large)] {
                if splits(&rows) {
                    let best = self.best_split(&histograms);
                    open.push(Open { node, rows, histograms, best });
                }
            }
        }
        tree
    }

    fn value(&self, rows: &[u32]) -> f64 {
        let sum: f64 = rows.iter().map(|&row| self.residuals[row as usize]).sum();
        self.params.learning_rate * sum / (rows.len() as f64 + self.params.shrinkage)
    }

    fn histograms(&self, rows: &[u32]) -> Vec<Packed> {
        let values: Vec<Packed> = rows.iter().map(|&row| self.packed[row as usize]).collect();
        let total: Packed = values.iter().sum();
        let widths = || self.features.iter().map(|&feature| self.codes.widths[feature]);
        let mut histograms = vec![0; widths().sum()];
        let mut parts = Vec::with_capacity(self.features.len());
        let mut rest = histograms.as_mut_slice();
        for (&feature, width) in self.features.iter().zip(widths()) {
            let (part, others) = rest.split_at_mut(width);
            parts.push((feature, part));
            rest = others;
        }
        let fill = |(feature, part): (usize, &mut [Packed])| {
            fill(part, &self.codes.columns[feature], self.codes.two_valued[feature], rows, &values, total);
        };
        if rows.len() * self.features.len() >= WORTH_THREADS {
            parts.into_par_iter().with_min_len(8).for_each(fill);
        } else {
            parts.into_iter().for_each(fill);
        }
        histograms
    }

    fn best_split(&self, histograms: &[Packed]) -> Option<Split> {
        let score = |sum: f64, count: u32| sum * sum / (f64::from(count) + self.params.shrinkage);
        let least = self.params.leaf_rows.max(1) as u32;
        let mut best: Option<Split> = None;
        let mut rest = histograms;
        // Every feature holds all rows of the node.
        let of_node: Packed = self.features.first().map_or(0, |&first| rest[..self.codes.widths[first]].iter().sum());
        let (total, count) = (sum_of(of_node), count_of(of_node));
        if count < 2 * least {
            return None;
        }
        let whole = score(total, count);
        for &feature in self.features {
            let (histogram, others) = rest.split_at(self.codes.widths[feature]);
            rest = others;
            let missing = histogram[0];
            let mut below: Packed = 0;
            for (code, bin) in histogram.iter().enumerate().skip(1) {
                if *bin == 0 {
                    continue;
                }
                below += bin;
                for missing_left in [false, true] {
                    if missing_left && missing == 0 {
                        continue;
                    }
                    let left = if missing_left { below + missing } else { below };
                    let left_count = count_of(left);
                    let right_count = count - left_count;
                    if left_count < least || right_count < least {
                        continue;
                    }
                    let left = sum_of(left);
                    let gain = score(left, left_count) + score(total - left, right_count) - whole;
                    if gain > 1e-9 * (1.0 + whole) && best.is_none_or(|best| gain > best.gain) {
                        best = Some(Split { gain, feature, code: code as u8, missing_left });
                    }
                }
            }
        }
        best
    }
}

/// Adds the rows of a node to the empty histogram of a feature.
fn fill(
    histogram: &mut [Packed],
    codes: &[u8],
    two_valued: bool,
    rows: &[u32],
    values: &[Packed],
    total: Packed,
) {
    if two_valued {
        let mut second: Packed = 0;
        for (&row, value) in rows.iter().zip(values) {
            // All ones where the code is 2, else nothing.
            second += value & -Packed::from(codes[row as usize] >> 1);
        }
        (histogram[1], histogram[2]) = (total - second, second);
        return;
    }
    if rows.len() < WORTH_LANES {
        for (&row, value) in rows.iter().zip(values) {
            histogram[usize::from(codes[row as usize])] += value;
        }
        return;
    }
    let mut lanes = [[0; BINS + 2]; LANES];
    let (rows_in_turn, values_in_turn) = (rows.chunks_exact(LANES), values.chunks_exact(LANES));
    for (&row, value) in rows_in_turn.remainder().iter().zip(values_in_turn.remainder()) {
        histogram[usize::from(codes[row as usize])] += value;
    }
    for (rows, values) in rows_in_turn.zip(values_in_turn) {
        for lane in 0..LANES {
            lanes[lane][usize::from(codes[rows[lane] as usize])] += values[lane];
        }
    }
    for lane in &lanes {
        histogram.iter_mut().zip(lane).for_each(|(bin, more)| *bin += more);
    }
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
