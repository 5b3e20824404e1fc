//! Random numbers that are the same on every engine: drawn on the host.
//!
//! Every draw of a method has a stream of its own, which follows from the seed and the number of the draw alone: not from
//! the sample, its place in a batch, or the rows that share a pass. All samples get the same draws, so that a sample's
//! explanation is the same alone and in any company (a cache may serve it), and that what differs between two
//! explanations comes from their inputs, not from luck ("common random numbers").

use std::f64::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData};

use super::error::ExplainError;
use super::rows::Row;

/// Noise beyond this hides any input, and overflows in single precision further on.
const MOST_NOISE: f64 = 1e6;

/// Refuses a standard deviation that is none.
///
/// # Errors
///
/// [`ExplainError::Parameters`].
pub(super) fn check_noise(method: &'static str, standard_deviation: f64) -> Result<(), ExplainError> {
    if (0.0..=MOST_NOISE).contains(&standard_deviation) {
        return Ok(());
    }
    let reason = format!("noise_std is 0 to {MOST_NOISE:e}, not {standard_deviation:e}");
    Err(ExplainError::Parameters { method, reason })
}

/// What numbers are for; each purpose has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Where on the way a gradient is taken, and from which baseline.
    Place = 1,
    /// What is added to the input.
    Input = 2,
}

/// Draws of one method.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    seed: u64,
}

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream of a draw: numbers that are near each other as seeds must not give streams that are.
    fn stream(self, purpose: Purpose, draw: usize) -> fastrand::Rng {
        let seed = mixed(mixed(self.seed).wrapping_add(purpose as u64));
        let mut stream = fastrand::Rng::with_seed(mixed(seed.wrapping_add(draw as u64)));
        // The first number follows from the seed by one product. Of seed 0 and its first draw it is 1e-6, where all pictures
        // are nearly the baseline and rounding alone tells which pixel wins a pool.
        stream.u64(..);
        stream
    }

    /// Of a draw: a number that is uniform in [0, 1), and one that is uniform in 0..count.
    pub fn place(self, draw: usize, count: usize) -> (f64, usize) {
        let mut stream = self.stream(Purpose::Place, draw);
        (stream.f64(), stream.usize(0..count.max(1)))
    }

    /// For each row that of its draw, `[rows, features]`, normal with mean 0 and this standard deviation (Box and Muller
    /// 1958).
    pub fn normal(self, rows: &[Row], features: usize, standard_deviation: f64, device: &Device) -> Tensor<2> {
        let mut values: Vec<f32> = Vec::with_capacity(rows.len() * features);
        for (place, row) in rows.iter().enumerate() {
            // What another row of this pass has drawn already.
            match rows[..place].iter().position(|other| other.draw == row.draw) {
                Some(same) => values.extend_from_within(same * features..(same + 1) * features),
                None => self.append(&mut values, row.draw, features, standard_deviation),
            }
        }
        Tensor::from_data(TensorData::new(values, [rows.len(), features]), device)
    }

    fn append(self, values: &mut Vec<f32>, draw: usize, features: usize, standard_deviation: f64) {
        let mut stream = self.stream(Purpose::Input, draw);
        let end = values.len() + features;
        while values.len() < end {
            let radius = standard_deviation * (-2.0 * (1.0 - stream.f64()).ln()).sqrt();
            let (sine, cosine) = (TAU * stream.f64()).sin_cos();
            values.push((radius * cosine) as f32);
            values.push((radius * sine) as f32);
        }
        values.truncate(end);
    }
}

/// A bijection that spreads each bit over all of them (the finaliser of SplitMix64, Steele et al. 2014).
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;

    const FEATURES: usize = 33_333;

    fn rows(draws: &[usize]) -> Vec<Row> {
        let row = |&draw: &usize| Row { sample: 7, weight: 1.0, position: 1.0, baseline: 0, draw };
        draws.iter().map(row).collect()
    }

    fn normal(seed: u64, draws: &[usize]) -> Vec<f32> {
        let noise = Noise::new(seed).normal(&rows(draws), FEATURES, 2.0, &Device::flex());
        noise.try_to_vec_as().unwrap()
    }

    #[test]
    fn normal_draws_have_their_moments_and_their_seed() {
        let values = normal(1, &[0, 1, 2]);
        let count = values.len() as f64;
        let moment = |power: i32| values.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / count;
        // Five standard errors: 2 / sqrt(n), and 4 sqrt(2 / n).
        assert!(moment(1).abs() < 10.0 / count.sqrt());
        assert!((moment(2) - 4.0).abs() < 5.0 * 4.0 * (2.0 / count).sqrt());
        assert_eq!(values, normal(1, &[0, 1, 2]));
        assert_ne!(values, normal(2, &[0, 1, 2]));
        // Two draws have nothing in common: their correlation is within five standard errors of none.
        let products = values[..FEATURES].iter().zip(&values[FEATURES..]).map(|(one, other)| f64::from(one * other));
        assert!((products.sum::<f64>() / FEATURES as f64).abs() < 5.0 * 4.0 / (FEATURES as f64).sqrt());
    }

    #[test]
    fn a_draw_is_the_same_in_any_company() {
        let alone = normal(3, &[5]);
        let together = normal(3, &[2, 5, 2, 5]);
        for place in [1, 3] {
            assert_eq!(together[place * FEATURES..(place + 1) * FEATURES], alone);
        }
        assert_ne!(together[..FEATURES], alone);
        let noise = Noise::new(3);
        assert_eq!(noise.place(4, 10), noise.place(4, 10));
        let places: Vec<f64> = (0..1000).map(|draw| noise.place(draw, 3).0).collect();
        // Five standard errors of a uniform mean.
        let mean = places.iter().sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 5.0 / (12.0_f64 * 1000.0).sqrt(), "{mean}");
        assert!((0..1000).map(|draw| noise.place(draw, 3).1).all(|choice| choice < 3));
    }
}
