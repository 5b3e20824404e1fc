//! The relative positions of T5 (Raffel et al. 2020, section 2.1): classes of distances, and what each adds to the
//! scores of the attention.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The class of a relative position: half of the classes are one position each, the others grow logarithmically up to
/// `max_distance`. `offset` is the key's position less the query's. Where both directions occur, the second half of all
/// classes is for keys that come later; otherwise these are of class 0.
///
/// In single precision, as the reference computes it: at a border the last bit decides.
fn bucket(offset: isize, both_directions: bool, buckets: usize, max_distance: usize) -> usize {
    let later = offset > 0;
    let (buckets, first) = match (both_directions, later) {
        (true, true) => (buckets / 2, buckets / 2),
        (true, false) => (buckets / 2, 0),
        (false, true) => return 0,
        (false, false) => (buckets, 0),
    };
    let distance = offset.unsigned_abs();
    let exact = buckets / 2;
    if distance < exact {
        return first + distance;
    }
    let range = (max_distance as f64 / exact as f64).ln() as f32;
    let logarithmic = (distance as f32 / exact as f32).ln() / range * (buckets - exact) as f32;
    first + (exact + logarithmic as usize).min(buckets - 1)
}

/// What relative positions add to the scores of the self-attention, in all layers of a stack alike.
#[derive(Module, Debug)]
pub struct T5Positions {
    /// `[buckets, heads]`.
    pub table: Embedding,
    /// The distance from which on all positions are of one class.
    pub max_distance: usize,
}

impl T5Positions {
    /// The table for this many classes and heads, not initialised yet.
    pub(super) fn new(buckets: usize, heads: usize, max_distance: usize, device: &Device) -> Self {
        Self { table: EmbeddingConfig::new(buckets, heads).init(device), max_distance }
    }

    /// For `queries` positions from `start` on, and all keys up to the last of them: `[1, heads, queries, keys]`.
    pub(super) fn bias(&self, start: usize, queries: usize, both_directions: bool) -> Tensor<4> {
        let table = self.table.weight.val();
        let [buckets, _] = table.dims();
        let keys = start + queries;
        let classes: Vec<i64> = (start..keys)
            .flat_map(|query| (0..keys).map(move |key| key as isize - query as isize))
            .map(|offset| bucket(offset, both_directions, buckets, self.max_distance) as i64)
            .collect();
        let classes = Tensor::<2, Int>::from_data(TensorData::new(classes, [queries, keys]), &table.device());
        let bias: Tensor<3> = self.table.forward(classes); // [queries, keys, heads]
        bias.permute([2, 0, 1]).unsqueeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offsets at which the class changes, from `-distance` to `distance`.
    fn borders(both_directions: bool, distance: isize) -> Vec<(isize, usize)> {
        let class = |offset| bucket(offset, both_directions, 32, 128);
        (-distance..=distance)
            .filter(|&offset| offset == -distance || class(offset) != class(offset - 1))
            .map(|offset| (offset, class(offset)))
            .collect()
    }

    // Both lists come from `T5Attention._relative_position_bucket` of transformers 5.23 for -140..=140.
    #[test]
    fn classes_of_positions_equal_the_reference() {
        let past = [(-140, 15), (-90, 14), (-63, 13), (-45, 12), (-31, 11), (-22, 10), (-15, 9), (-11, 8)];
        let near = (-7..=0).map(|offset: isize| (offset, offset.unsigned_abs()));
        let later = (1..=8).map(|offset: isize| (offset, 16 + offset.unsigned_abs()));
        let future = [(12, 25), (16, 26), (23, 27), (32, 28), (46, 29), (64, 30), (91, 31)];
        let expected: Vec<_> = past.into_iter().chain(near).chain(later).chain(future).collect();
        assert_eq!(borders(true, 140), expected);

        let past = [
            (-140, 31),
            (-112, 30),
            (-98, 29),
            (-86, 28),
            (-76, 27),
            (-66, 26),
            (-58, 25),
            (-51, 24),
            (-45, 23),
            (-39, 22),
            (-34, 21),
            (-30, 20),
            (-26, 19),
            (-23, 18),
            (-20, 17),
            (-18, 16),
        ];
        let near = (-15..=0).map(|offset: isize| (offset, offset.unsigned_abs()));
        let expected: Vec<_> = past.into_iter().chain(near).collect();
        assert_eq!(borders(false, 140), expected);
    }

    #[test]
    fn a_bias_of_the_last_position_is_the_last_row_of_all() {
        let device = Device::flex();
        let positions = T5Positions::new(8, 2, 6, &device);
        let all = positions.bias(0, 9, false);
        assert_eq!(all.dims(), [1, 2, 9, 9]);
        let last = positions.bias(8, 1, false);
        let difference = (all.narrow(2, 8, 1) - last).abs().max().into_scalar::<f32>();
        assert_eq!(difference, 0.0);
    }
}
