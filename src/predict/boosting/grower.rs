//! Grows one regression tree on histograms of whole numbers.

use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use super::{BINS, BoostingParams, Tree};

/// Rows times features below which threads cost more than they bring.
const WORTH_THREADS: usize = 1 << 16;

/// A residual as a whole number of steps, above the count of one row: one addition adds both to a bin, exactly, so that no
/// order and no subtraction of histograms leaves a trace.
pub(super) type Packed = i64;

/// Bits of the count: so many rows, at most, hold 2^15 steps each without running over.
pub(super) const COUNT_BITS: u32 = 24;

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

/// Residuals in steps of their largest.
pub(super) fn pack(residuals: &[f64]) -> Vec<Packed> {
    let largest = residuals.iter().fold(0.0_f64, |largest, residual| largest.max(residual.abs()));
    let step = if largest > 0.0 { STEPS / largest } else { 0.0 };
    residuals.iter().map(|residual| (((residual * step).round() as Packed) << COUNT_BITS) + 1).collect()
}

/// The codes of all rows.
pub(super) struct Codes {
    /// By feature: what histograms read.
    columns: Vec<Vec<u8>>,
    /// Row by row: what a tree reads.
    pub(super) rows: Vec<u8>,
    /// Codes of each feature, that of missing values counted.
    widths: Vec<usize>,
    /// Features with two values, none of them missing.
    two_valued: Vec<bool>,
}

impl Codes {
    pub(super) fn new(columns: Vec<Vec<u8>>, thresholds: &[Vec<f64>], count: usize) -> Self {
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

/// Grows one tree.
pub(super) struct Grower<'g> {
    pub(super) params: &'g BoostingParams,
    /// Leaves, at most.
    pub(super) leaves: usize,
    pub(super) codes: &'g Codes,
    /// What is left to learn of each row, already cut.
    pub(super) residuals: &'g [f64],
    /// The same by [`pack`].
    pub(super) packed: &'g [Packed],
    /// The features that this tree sees.
    pub(super) features: &'g [usize],
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
    /// The tree on these rows, leaf by leaf, the one that gains most first.
    pub(super) fn grow(&self, seen: Vec<u32>) -> Tree {
        let mut tree = Tree::default();
        let histograms = self.histograms(&seen);
        let root = tree.push_leaf(self.value(&seen));
        let best = self.best_split(&histograms);
        let mut open = vec![Open { node: root, rows: seen, histograms, best }];
        let mut leaves = 1;
        while leaves < self.leaves {
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
            if leaves == self.leaves {
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
fn fill(histogram: &mut [Packed], codes: &[u8], two_valued: bool, rows: &[u32], values: &[Packed], total: Packed) {
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
